"""Examples of filters, orders and pages on four key servers. They stand on the reference page; a test makes them."""

from __future__ import annotations

from typing import Final, NamedTuple


class Server(NamedTuple):
    """A key server of the examples, at the port 5696 of its name beneath ``example.com``."""

    name: str
    timeout: int
    username: str
    secondary: str = ""

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{self.name}.example.com:5696"


class QueryExample(NamedTuple):
    """A query string, decoded; what it means; and the names of the servers that the answer holds, in their order."""

    query: str
    meaning: str
    found: str


SERVERS: Final = (
    Server("ks1", 10, ""),
    Server("ks2", 25, "backup", "ks9.example.com"),
    Server("ks3", 25, "nightly backup"),
    Server("ks4", 60, "restore|test"),
)

EXAMPLES: Final = (
    QueryExample("timeout=25", "equal", "ks2 ks3"),
    QueryExample("server=ks1.example.com", "equal as a key server: the port 5696 need not be said", "ks1"),
    QueryExample("server=ks1*", "`*` is any text, also none", "ks1"),
    QueryExample("username=*backup*", "anywhere in the value", "ks2 ks3"),
    QueryExample("timeout=>25", "greater", "ks4"),
    QueryExample("timeout=<=25", "at most", "ks1 ks2 ks3"),
    QueryExample("timeout=20..30", "in a range, both ends included", "ks2 ks3"),
    QueryExample("timeout=10|60", "either", "ks1 ks4"),
    QueryExample("timeout=!25", "not", "ks1 ks4"),
    QueryExample("timeout=<20|>30", "comparisons as alternatives", "ks1 ks4"),
    QueryExample('username="restore|test"', "between quotes nothing is an operator", "ks4"),
    QueryExample("username={restore|test}", "between braces neither", "ks4"),
    QueryExample('username=""', "the empty text", "ks1"),
    QueryExample("secondary_key_servers=null", "unset, or an empty array", "ks1 ks3 ks4"),
    QueryExample("secondary_key_servers=!null", "set", "ks2"),
    QueryExample("secondary_key_servers=ks9*", "of an array one element must match", "ks2"),
    QueryExample("timeout=25&username=*night*", "several filters must all match", "ks3"),
    QueryExample("query=backup&query_fields=username,server", "a word in any of some fields", "ks2 ks3"),
    QueryExample("query=night backup&query_fields=username", "several words must all be found", "ks3"),
    QueryExample("query=ks1|ks4&query_fields=server", "a choice of words", "ks1 ks4"),
    QueryExample(
        "order_by=timeout desc", "the longest first; what is equal in the list's own order", "ks4 ks2 ks3 ks1"
    ),
    QueryExample("order_by=timeout,username desc", "by a second field", "ks1 ks3 ks2 ks4"),
    QueryExample("max_records=2", "a page; `_links.next` leads to the next", "ks1 ks2"),
    QueryExample("offset=3", "without the first three", "ks4"),
)

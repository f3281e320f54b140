"""Examples of filters, orders and pages on four key servers, for the reference page. A test makes these calls."""

from __future__ import annotations

from typing import Final, NamedTuple


class Server(NamedTuple):
    """A key server of the examples. Its host is its name below ``example.com``; its port is 5696."""

    name: str
    timeout: int
    username: str
    secondary: str = ""

    @property
    def address(self) -> str:
        """The host and port."""
        return f"{self.name}.example.com:5696"


class QueryExample(NamedTuple):
    """A decoded query string, its meaning, and the names of the servers in the answer, in their order."""

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
    QueryExample("server=ks1.example.com", "equal as a key server; 5696 is the default port", "ks1"),
    QueryExample("server=ks1*", "`*` matches any text, also the empty text", "ks1"),
    QueryExample("username=*backup*", "anywhere in the value", "ks2 ks3"),
    QueryExample("timeout=>25", "greater", "ks4"),
    QueryExample("timeout=<=25", "at most", "ks1 ks2 ks3"),
    QueryExample("timeout=20..30", "in a range, both ends included", "ks2 ks3"),
    QueryExample("timeout=10|60", "one of two values", "ks1 ks4"),
    QueryExample("timeout=!25", "not", "ks1 ks4"),
    QueryExample("timeout=<20|>30", "comparisons as alternatives", "ks1 ks4"),
    QueryExample('username="restore|test"', "operators have no meaning between quotes", "ks4"),
    QueryExample("username={restore|test}", "operators have no meaning between braces", "ks4"),
    QueryExample('username=""', "the empty text", "ks1"),
    QueryExample("secondary_key_servers=null", "unset, or an empty array", "ks1 ks3 ks4"),
    QueryExample("secondary_key_servers=!null", "set", "ks2"),
    QueryExample("secondary_key_servers=ks9*", "at least one element of the array must match", "ks2"),
    QueryExample("timeout=25&username=*night*", "several filters must all match", "ks3"),
    QueryExample("query=backup&query_fields=username,server", "a word in at least one of the fields", "ks2 ks3"),
    QueryExample("query=night backup&query_fields=username", "all words must be found", "ks3"),
    QueryExample("query=ks1|ks4&query_fields=server", "alternative words", "ks1 ks4"),
    QueryExample("order_by=timeout desc", "the longest first; equal values in the list's own order", "ks4 ks2 ks3 ks1"),
    QueryExample("order_by=timeout,username desc", "then by a second field", "ks1 ks3 ks2 ks4"),
    QueryExample("max_records=2", "a page; `_links.next` leads to the next page", "ks1 ks2"),
    QueryExample("offset=3", "without the first three", "ks4"),
)

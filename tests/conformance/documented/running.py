"""Runs an example of the client's documentation, and looks at what it did.

Each change is looked at from outside: what was sent must be shown by the service afterwards, and what was deleted must
be gone.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest
from netapp_ontap import HostConnection, NetAppRestError
from netapp_ontap.host_connection import LoggingAdapter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.conformance.documented.reading import Example
    from tests.peers.keystead import Client

SECRETS = {"password", "passphrase", "private_key", "password_hash_algorithm"}
"""What the service takes and never shows."""
_HOST = re.compile(
    r'HostConnection\(\s*"<(?:mgmt|cluster|svm)[-_]ip>", username="[^"]+", password="password", verify=False\s*\)'
)
_LINE = re.compile(r"(?P<method>[A-Z]+) (?P<path>\S+)(?: '(?P<body>.*)')?")
_IDENTIFIER = re.compile(r"[0-9a-f]{7,8}(?:-[0-9a-f]{3,4}){3}-[0-9a-f]{12}|[{<][A-Za-z-]+[}>]|[0-9a-f]{80}")


@dataclass(frozen=True)
class Login:
    """How the client reaches the service, in place of the printed host, user and password."""

    port: int
    ca: str
    username: str
    password: str

    @property
    def text(self) -> str:
        """The connection as Python. Jobs are looked at often, to save time."""
        login = f'username="{self.username}", password="{self.password}", verify="{self.ca}"'
        return f'HostConnection("127.0.0.1", {login}, port={self.port}, poll_interval=0.1)'


@dataclass(frozen=True)
class Exchange:
    """A request of the client, with its answer. Without a body it has None."""

    method: str
    path: str
    query: str
    sent: Any
    status: int
    answer: Any
    location: str


@dataclass
class Ran:
    """The effects of an example: its exchanges, what it printed, and the error that it ended with."""

    exchanges: list[Exchange] = field(default_factory=list)
    printed: Any = None
    error: Exception | None = None

    @property
    def failure(self) -> str:
        """The code of the service's refusal, or the name of the client's own error. Empty if all went well."""
        refusals = [each.answer["error"]["code"] for each in self.exchanges if each.status >= 400]
        if refusals:
            code: str = refusals[-1]
            return code
        return type(self.error).__name__ if self.error else ""


def as_printed(example: Example, given: Mapping[str, str], login: Login) -> str:
    """Return the example's text with host and login, and with what ``given`` puts in place of printed identifiers.

    No other identifier may remain, so that a new one in a new version of the package is noticed.
    """
    text = example.text
    if given:
        printed = "|".join(map(re.escape, sorted(given, key=len, reverse=True)))
        text = re.sub(printed, lambda found: given[found[0]], text)
    text = _HOST.sub(lambda _: login.text, text)
    real = " ".join(given.values())
    unknown = [each for each in _IDENTIFIER.findall(text) if each not in real]
    assert not unknown, f"printed identifiers that have nothing in their place: {unknown}"
    return text


def run(example: Example, text: str, login: Login) -> Ran:
    """Run an example that :func:`as_printed` returned. Errors of the client end in the result."""
    ran = Ran()
    with _noting(ran), contextlib.redirect_stdout(io.StringIO()) as output:
        try:
            if example.is_request:
                _request(text, login)
            else:
                exec(compile(text, f"<{example.name}>", "exec"), {"__name__": "__example__"})  # noqa: S102
        except Exception as error:  # noqa: BLE001 - what it is, the table of expected failures says
            ran.error = error
    if output.getvalue():
        ran.printed = value_of(output.getvalue())
    elif ran.exchanges:  # nothing was printed: a request, or a call whose result the documentation shows
        ran.printed = ran.exchanges[-1].answer
    return ran


def value_of(printed: str) -> Any:
    """Return printed resources as dictionaries, and JSON as it is."""
    with contextlib.suppress(json.JSONDecodeError):
        return json.loads(printed)
    return eval(printed, {"datetime": _Moment}, _Resources())  # noqa: S307 - the documentation's or the client's text


class _Moment:
    """``datetime`` in what the client prints: the values do not matter."""

    timezone = timedelta = staticmethod(lambda *_, **__: None)
    datetime = timedelta

    utc = None


class _Resources(dict[str, Any]):
    """Names of resources: each prints as a call with its fields."""

    def __missing__(self, name: str) -> Any:
        return lambda fields: fields


def fields_of(value: Any, within: str = "") -> set[str]:
    """Return the dotted names of all fields of a value. Elements of lists count together."""
    if isinstance(value, list):
        return {name for element in value for name in fields_of(element, within)}
    if not isinstance(value, dict):
        return set()
    names = {f"{within}{name}" for name in value}
    return names.union(*(fields_of(member, f"{within}{name}.") for name, member in value.items()))


def check_changes(ran: Ran, call: Client) -> None:
    """Look at what the example changed: it is shown, or gone."""
    for exchange in ran.exchanges:
        if exchange.method == "DELETE":
            assert call("GET", exchange.path).status == 404
        elif exchange.method in {"POST", "PATCH"}:
            assert isinstance(exchange.sent, dict)
            where = exchange.location or exchange.path
            shown = call.get(f"{where}?{_all_fields(exchange)}")
            records = shown.get("records", [shown])
            wanted = exchange.sent.get("records", [exchange.sent])
            assert records
            for each in wanted:
                assert any(includes(record, each) for record in records), (each, records)


def _all_fields(exchange: Exchange) -> str:
    """Return a query that shows everything of what a change was about."""
    filters = [
        each
        for each in exchange.query.split("&")
        if exchange.method == "PATCH" and each and not each.startswith(("return_", "hydrate"))
    ]
    return "&".join(["fields=**", *filters])


def includes(shown: Any, sent: Any) -> bool:
    """Return True if all that was sent is shown, but for secrets. Texts such as "20" and "false" count as their values.

    What is not shown counts as empty.
    """
    if isinstance(sent, dict):
        return all(includes(shown.get(name, ""), value) for name, value in sent.items() if name not in SECRETS)
    if isinstance(sent, list):
        return len(shown) == len(sent) and all(map(includes, shown, sent))
    return str(shown).casefold() == str(sent).casefold()


def _request(text: str, login: Login) -> None:
    """Send a request that the documentation prints, over the client's connection. Its paths may lack ``/api``."""
    match = _LINE.fullmatch(text)
    assert match, text
    path = "/api" + match["path"].strip('"').removeprefix("/api")
    connection: Any = eval(login.text, {"HostConnection": HostConnection})  # noqa: S307 - our own text
    headers = {"Accept": "application/hal+json", "Content-Type": "application/json"}
    answer = connection.session.request(match["method"], connection.origin + path, data=match["body"], headers=headers)
    if not answer.ok:
        raise NetAppRestError(answer.text)


def _json(body: Any) -> Any:
    """Return a body's value, None for no body and for what is no JSON."""
    with contextlib.suppress(json.JSONDecodeError, TypeError):
        return json.loads(body)
    return None


@contextlib.contextmanager
def _noting(ran: Ran) -> Iterator[None]:
    """Note all that the client sends and gets, and close its connections in the end."""
    adapters = set()
    send = LoggingAdapter.send

    def noted(adapter: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        adapters.add(adapter)
        response = send(adapter, request, *args, **kwargs)
        url = urlsplit(request.url)
        path = url.path.removeprefix("/api")
        location = urlsplit(response.headers.get("Location", "")).path.removeprefix("/api")
        ran.exchanges.append(
            Exchange(
                *(request.method, path, unquote(url.query)),
                *(_json(request.body), response.status_code, response.json(), location),
            )
        )
        return response

    with pytest.MonkeyPatch.context() as patch:
        for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to a session's own ``verify``
            patch.delenv(name, raising=False)
        patch.setattr(LoggingAdapter, "send", noted)
        yield
    for adapter in adapters:
        adapter.close()

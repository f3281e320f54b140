"""How a line of the checklist is written: a rule and the calls that show it, as data.

``$P`` is the path of a new key manager's key servers, ``$A`` the one server that it has, ``$B`` to ``$E`` further sound
servers; the other names are in :data:`NAMES`. Bodies are JSON as it is sent, also where it is none.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = {
    "$P": "/security/key-managers/KM/key-servers",
    "$KM": "its key manager's uuid",
    "$Q": "the key servers of another key manager, with one server",
    "$SVM": "the SVM of the key manager",
    "$CLIENT, $CA": "uuids of installed certificates",
    "$OTHER_CLIENT": "the uuid of a client certificate of another key pair",
    "$HOST2": "a second address of all sound servers",
    "$PORT": "the port of $B",
    "$V6": "the port of a sound server on [::1]",
    "$WRONG_CA": "a server whose certificate another CA issued",
    "$WRONG_CLIENT": "a server that trusts another CA's clients",
    "$CLOSED": "nothing listens there",
    "$HOLE": "nothing answers there",
    "$GARBAGE": "TLS, then bytes that are no KMIP",
    "$FOREIGN": "a server that shares no KMIP version",
    "$FAILING": "a server that fails after Discover Versions",
}
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Call:
    """A request and what its answer must be: ``has`` is a part of the JSON, ``lacks`` are texts that are nowhere."""

    method: str
    path: str
    body: str | None = None
    status: int = 200
    code: str | None = None
    target: str | None = None
    has: Mapping[str, Any] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    sent: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 45


@dataclass(frozen=True)
class Item:
    """One line of the checklist."""

    number: int
    rule: str
    calls: tuple[Call, ...]


def item(number: int, rule: str, *calls: Call) -> Item:
    """An item and its calls."""
    return Item(number, rule, calls)


def post(body: str, query: str = "", status: int = 201, path: str = "$P", **expected: Any) -> Call:
    """A POST of key servers."""
    return Call("POST", path + query, body, status, **expected)


def refused(body: str, code: str, target: str | None = None, query: str = "", **expected: Any) -> Call:
    """A POST of key servers that is refused."""
    return Call("POST", "$P" + query, body, expected.pop("status", 400), code, target, **expected)


def get(query: str = "", path: str = "$P", **expected: Any) -> Call:
    """A GET of key servers."""
    return Call("GET", path + query, **expected)


def patch(body: str, code: str | None = None, target: str | None = None, server: str = "$A", **expected: Any) -> Call:
    """A PATCH of a key server; with a code it is refused."""
    return Call("PATCH", f"$P/{server}", body, 400 if code else 200, code, target, **expected)


def secondaries(*hosts: str) -> str:
    """A body that replaces the secondaries."""
    return '{"secondary_key_servers": [' + ", ".join(f'"{host}"' for host in hosts) + "]}"


def delete(server: str = "$A", query: str = "", body: str | None = None, **expected: Any) -> Call:
    """A DELETE of a key server."""
    return Call("DELETE", f"$P/{server}{query}", body, **expected)


def key_manager(code: str, external: str, svm: str = "") -> Call:
    """A POST of a key manager that is refused."""
    owner = f'"svm": {{"name": "{svm}"}}, ' if svm else ""
    return Call("POST", "/security/key-managers", f'{{{owner}"external": {{{external}}}}}', 400, code)

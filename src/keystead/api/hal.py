"""Replies: an object as JSON with the selected fields, and HAL links as ``Accept`` asks.

Source: "Getting started with the ONTAP REST API", "HAL links" and "Response body". ``_links`` are left out only with
``Accept: application/json``. The resource's declaration decides what is shown; this module adds nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from keystead.api.filtering import beneath, matches
from keystead.api.resource import Field, Node, Resource, itself
from keystead.api.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Send

    from keystead.core.query.where import Where
    from keystead.core.secret import Secret

HAL_TYPE = b"application/hal+json"
JSON_TYPE = b"application/json"
OCTETS_TYPE = b"application/octet-stream"
_FIXED_HEADERS = [
    (b"cache-control", b"no-cache,no-store,must-revalidate"),
    (b"x-content-type-options", b"nosniff"),
]
_encode = json.JSONEncoder(separators=(",", ":")).encode
_encode_pretty = json.JSONEncoder(indent=2).encode
_CHUNK = 64 * 1024  # minimum number of characters of a chunk, except the last


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply: the status, the JSON object and further headers."""

    status: int
    body: Mapping[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send, *, hal: bool, bodiless: bool = False, pretty: bool = False) -> None:
        """Send the reply. ``bodiless`` (HEAD) sends only the headers; ``pretty`` indents the JSON."""
        chunks = await _chunks(self.body, pretty=pretty)
        headers = [
            (b"content-type", HAL_TYPE if hal else JSON_TYPE),
            (b"content-length", str(sum(map(len, chunks))).encode()),
            *_FIXED_HEADERS,
            *self.headers,
        ]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        *leading, last = [b""] if bodiless else chunks
        for chunk in leading:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": last})


@dataclass(frozen=True, slots=True)
class Octets:
    """A reply that holds a secret as raw octets, without JSON. No cache may keep it."""

    content: Secret

    async def send(self, send: Send, *, hal: bool, bodiless: bool = False, pretty: bool = False) -> None:
        """Send the reply with status 200. The options of :meth:`Reply.send` have no effect."""
        del hal, bodiless, pretty
        octets = self.content.reveal()
        length = (b"content-length", str(len(octets)).encode())
        headers = [(b"content-type", OCTETS_TYPE), length, *_FIXED_HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": octets})


Answer = Reply | Octets


async def _chunks(body: Mapping[str, Any], *, pretty: bool) -> list[bytes]:
    """Return a body as JSON in chunks. Encode records one by one, because many records take long."""
    encode, newline = (_encode_pretty, "\n    ") if pretty else (_encode, "")
    records = body.get("records")
    if not records:
        return [f"{encode(body)}\n".encode()]
    members = list({**body, "records": [None]}.items())
    at = list(body).index("records")
    text = encode(dict(members[: at + 1])).rpartition("null")[0]
    after = encode(dict(members[at:])).partition("null")[2]
    chunks: list[bytes] = []
    turns = Turns()
    for place, record in enumerate(records):
        text += (f",{newline}" if place else "") + encode(record).replace("\n", newline)
        if len(text) > _CHUNK:
            chunks.append(text.encode())
            text = ""
        await turns.pause()
    return [*chunks, f"{text}{after}\n".encode()]


def wants_links(accept: bytes) -> bool:
    """Return True if an ``Accept`` header asks for HAL. Only plain JSON without HAL does not."""
    return b"application/json" not in accept.lower() or b"hal+json" in accept.lower()


def wants_octets(accept: bytes) -> bool:
    """Return True if an ``Accept`` header asks for octets and not for JSON."""
    return OCTETS_TYPE in accept.lower() and b"json" not in accept.lower()


def wants_arguments(wanted: bytes) -> bool:
    """Return True if errors hold ``arguments``: unless the header X-Dot-Error-Arguments is ``false``."""
    return wanted.lower() != b"false"


def wants_pretty(query_string: bytes) -> bool:
    """Return True if a query string asks for indented answers. The rest of the query string is not checked."""
    return any(piece.lower() == b"pretty=true" for piece in query_string.split(b"&"))


def segment(text: str) -> str:
    """Return a path segment percent-encoded as in ONTAP, including the colon."""
    return quote(text, safe="")


def self_link(path: str) -> dict[str, Any]:
    """Return a ``_links`` object that holds ``self``."""
    return {"self": {"href": path}}


@dataclass(frozen=True, slots=True)
class _Plan:
    """How to write one object.

    Each entry has a name and a getter. A group's entry also has a plan, and for an array a function that selects
    elements.
    """

    entries: tuple[tuple[str, Callable[[Any], Any], _Plan | None, _ElementFilter | None], ...]
    link: Callable[[Any], str] | None


_ElementFilter = Callable[[Any], bool]


def render(resource: Resource, selected: frozenset[str], view: Any, *, hal: bool, pruned: Where = ()) -> dict[str, Any]:
    """Return the JSON object for ``view`` with the selected fields. Fields without a value are left out.

    An element of an array is left out if it fails a clause of ``pruned`` about its fields.
    """
    record = _render(_plan_of(resource, selected, pruned), view, hal=hal)
    if hal:
        further = {name: path_of(view) for name, path_of in resource.links.items()}
        record["_links"] |= {name: {"href": path} for name, path in further.items() if path is not None}
    return record


@lru_cache(maxsize=256)
def _plan_of(resource: Resource, selected: frozenset[str], pruned: Where) -> _Plan:
    return _plan(resource, resource.tree, selected, resource.link, pruned)


def _plan(
    resource: Resource, node: Node, selected: frozenset[str], link: Callable[[Any], str] | None, pruned: Where
) -> _Plan:
    entries: list[tuple[str, Callable[[Any], Any], _Plan | None, _ElementFilter | None]] = []
    for name, member in node.members.items():
        declared = member.declared
        if isinstance(declared, Field):
            if member.path in selected and declared.get is not None:
                entries.append((name, declared.get, None, None))
        elif any(path.startswith(f"{member.path}.") for path in selected):
            get, link_beneath = (declared.get, declared.link) if declared else (itself, None)
            plan = _plan(resource, member, selected, link_beneath, pruned)
            entries.append((name, get, plan, _element_filter(resource, member.path, pruned) if member.many else None))
    return _Plan(tuple(entries), link)


def _element_filter(resource: Resource, path: str, pruned: Where) -> _ElementFilter:
    """Return a function that returns True for the elements to keep in the array at ``path``."""
    about = beneath(pruned, path)
    return lambda element: matches(resource, about, element, path)


def _render(plan: _Plan, view: Any, *, hal: bool) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for name, get, members, kept in plan.entries:
        value = get(view)
        if value is None:
            continue
        if members is None:
            record[name] = value
        elif kept is not None:
            record[name] = [_render(members, item, hal=hal) for item in value if kept(item)]
        else:
            record[name] = _render(members, value, hal=hal)
    if hal and plan.link is not None:
        record["_links"] = self_link(plan.link(view))
    return record

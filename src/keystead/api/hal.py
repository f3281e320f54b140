"""Answers: an object as JSON with the fields that were asked for, HAL links by ``Accept``, and the reply itself.

Source: "Getting started with the ONTAP REST API", "HAL links" and "Response body"; ``_links`` are left out with
``Accept: application/json`` only. What is shown comes from the resource's declaration, nothing else is added here.
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
_CHUNK = 64 * 1024  # characters of an answer that are sent at a time, at least


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, JSON object, further headers."""

    status: int
    body: Mapping[str, Any]
    headers: tuple[tuple[bytes, bytes], ...] = ()

    async def send(self, send: Send, *, hal: bool, bodiless: bool = False, pretty: bool = False) -> None:
        """Send it; ``bodiless`` (HEAD) sends the headers only, ``pretty`` is for people."""
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
    """An answer that is a secret as it is, without JSON around it; no cache keeps it."""

    content: Secret

    async def send(self, send: Send, *, hal: bool, bodiless: bool = False, pretty: bool = False) -> None:
        """Send it, as :meth:`Reply.send` does."""
        del hal, bodiless, pretty
        octets = self.content.reveal()
        length = (b"content-length", str(len(octets)).encode())
        headers = [(b"content-type", OCTETS_TYPE), length, *_FIXED_HEADERS]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": octets})


Answer = Reply | Octets


async def _chunks(body: Mapping[str, Any], *, pretty: bool) -> list[bytes]:
    """A body as JSON, in pieces. Records are written one by one: many take long."""
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
    """Whether an ``Accept`` header asks for HAL: everything but plain JSON without HAL does."""
    return b"application/json" not in accept.lower() or b"hal+json" in accept.lower()


def wants_octets(accept: bytes) -> bool:
    """Whether an ``Accept`` header asks for octets, and for no JSON."""
    return OCTETS_TYPE in accept.lower() and b"json" not in accept.lower()


def wants_arguments(wanted: bytes) -> bool:
    """Whether errors hold ``arguments``: unless the header X-Dot-Error-Arguments says ``false``."""
    return wanted.lower() != b"false"


def wants_pretty(query_string: bytes) -> bool:
    """Whether a query string asks for answers that people read. What else it holds may be anything."""
    return any(piece.lower() == b"pretty=true" for piece in query_string.split(b"&"))


def segment(text: str) -> str:
    """A path segment, percent-encoded as ONTAP does: the colon too."""
    return quote(text, safe="")


def self_link(path: str) -> dict[str, Any]:
    """A ``_links`` object that holds ``self``."""
    return {"self": {"href": path}}


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to write of one object: name, getter, and for groups their own plan and which elements of an array stay."""

    entries: tuple[tuple[str, Callable[[Any], Any], _Plan | None, _Kept | None], ...]
    link: Callable[[Any], str] | None


_Kept = Callable[[Any], bool]


def render(resource: Resource, selected: frozenset[str], view: Any, *, hal: bool, pruned: Where = ()) -> dict[str, Any]:
    """Return the JSON object for ``view`` with the selected fields; what has no value is left out.

    Of arrays of objects the elements are left out that do not meet a clause of ``pruned`` about them.
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
    entries: list[tuple[str, Callable[[Any], Any], _Plan | None, _Kept | None]] = []
    for name, member in node.members.items():
        declared = member.declared
        if isinstance(declared, Field):
            if member.path in selected and declared.get is not None:
                entries.append((name, declared.get, None, None))
        elif any(path.startswith(f"{member.path}.") for path in selected):
            get, link_beneath = (declared.get, declared.link) if declared else (itself, None)
            plan = _plan(resource, member, selected, link_beneath, pruned)
            entries.append((name, get, plan, _kept(resource, member.path, pruned) if member.many else None))
    return _Plan(tuple(entries), link)


def _kept(resource: Resource, path: str, pruned: Where) -> _Kept:
    """Whether an element of the array at a path stays."""
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

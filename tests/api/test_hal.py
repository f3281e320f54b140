"""keystead.api.hal: objects as JSON, links, the reply."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from keystead.api.hal import Reply, render, segment, wants_links
from keystead.api.resource import Field, Group, Resource, itself
from keystead.api.resources.key_servers import KEY_SERVERS
from keystead.api.values import TEXT, integer
from keystead.core.model import KeyServer
from keystead.core.query.query import Read
from keystead.core.server_address import ServerAddress

THINGS = Resource(
    name="thing",
    help="",
    declared=(
        Field(name="key", type=TEXT, help="", get=lambda thing: thing.key, read=Read.KEY),
        Field(name="plain.size", type=integer(0, 9), help="", get=lambda thing: thing.size),
        Group(name="owner", help="", get=lambda thing: thing.owner, link=lambda owner: f"/owners/{owner}"),
        Field(name="owner.name", type=TEXT, help="", get=itself),
        Group(name="parts", help="", get=lambda thing: thing.parts, many=True, link=lambda part: f"/parts/{part}"),
        Field(name="parts.id", type=integer(0, 9), help="", get=itself),
        Field(name="parts.double", type=integer(0, 18), help="", get=lambda part: 2 * part, read=Read.EXPENSIVE),
        Field(name="secret", type=TEXT, help="", read=Read.NEVER, secret=True),
    ),
    link=lambda thing: f"/things/{thing.key}",
)
THING = SimpleNamespace(key="k", size=3, owner="o", parts=(1, 2))


def shown(fields: str, thing: Any = THING, *, hal: bool = False) -> dict[str, Any]:
    """Render with a ``fields`` parameter."""
    return render(THINGS, THINGS.catalogue.select(fields, single=False), thing, hal=hal)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("", {"key": "k"}),
        ("plain", {"key": "k", "plain": {"size": 3}}),
        ("owner.name", {"key": "k", "owner": {"name": "o"}}),
        ("parts.double", {"key": "k", "parts": [{"double": 2}, {"double": 4}]}),
        ("*", {"key": "k", "plain": {"size": 3}, "owner": {"name": "o"}, "parts": [{"id": 1}, {"id": 2}]}),
    ],
)
def test_only_what_was_selected_is_shown(fields: str, expected: dict[str, Any]) -> None:
    """Objects and arrays appear with their selected members; expensive fields by name only."""
    assert shown(fields) == expected


def test_what_has_no_value_is_left_out() -> None:
    """An absent group or value has no key, an empty array is shown."""
    assert shown("*", SimpleNamespace(key="k", size=None, owner=None, parts=())) == {
        "key": "k",
        "plain": {},
        "parts": [],
    }


def test_links_stand_in_every_linked_object() -> None:
    """With HAL the object and its linked members hold ``_links.self``."""
    assert shown("owner,parts.id", hal=True) == {
        "key": "k",
        "owner": {"name": "o", "_links": {"self": {"href": "/owners/o"}}},
        "parts": [
            {"id": 1, "_links": {"self": {"href": "/parts/1"}}},
            {"id": 2, "_links": {"self": {"href": "/parts/2"}}},
        ],
        "_links": {"self": {"href": "/things/k"}},
    }


def test_a_filters_values_come_through_arrays() -> None:
    """A field inside an array has a value per element, an absent one none."""
    assert list(THINGS.values(THING, "parts.double")) == [2, 4]
    assert list(THINGS.values(THING, "plain.size")) == [3]
    assert list(THINGS.values(SimpleNamespace(owner=None), "owner.name")) == []


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (b"", True),
        (b"*/*", True),
        (b"application/hal+json", True),
        (b"text/html", True),
        (b"application/json", False),
        (b"Application/JSON", False),
        (b"application/json, application/hal+json", True),
    ],
)
def test_plain_json_has_no_links(accept: bytes, expected: bool) -> None:
    """Only ``application/json`` without HAL turns links off."""
    assert wants_links(accept) is expected


@pytest.mark.parametrize(
    ("server", "link"),
    [
        ("10.225.89.34", "10.225.89.34%3A5696"),
        ("[fd20::9]:1234", "%5Bfd20%3A%3A9%5D%3A1234"),
        ("KS_1.example.:15696", "KS_1.example.%3A15696"),
    ],
)
def test_a_key_servers_link_is_encoded_as_clients_do(server: str, link: str) -> None:
    """The address in a path is percent-encoded, the colon too, in the caller's spelling."""
    row = KeyServer("u", "43e0", 1, ServerAddress.parse(server), 25, 10, "", ())
    path = f"/api/security/key-managers/43e0/key-servers/{link}"
    assert render(KEY_SERVERS, frozenset({"server"}), row, hal=True)["_links"] == {"self": {"href": path}}


def test_a_segment_cannot_leave_its_place() -> None:
    """Slashes, dots before slashes and query marks are encoded."""
    assert segment("../a?b#c d") == "..%2Fa%3Fb%23c%20d"


@pytest.mark.parametrize(("hal", "content_type"), [(True, b"application/hal+json"), (False, b"application/json")])
async def test_a_reply_is_compact_json_that_nobody_stores(hal: bool, content_type: bytes) -> None:
    """Content type by HAL, no caching, no sniffing, the exact length; HEAD has the headers of GET and no body."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    reply = Reply(200, {"a": "é", "b": 1}, ((b"x", b"y"),))
    await reply.send(send, hal=hal)
    await reply.send(send, hal=hal, bodiless=True)
    start, body, head_start, head_body = sent
    headers = dict(start["headers"])
    assert headers[b"content-type"] == content_type
    assert headers[b"cache-control"] == b"no-cache,no-store,must-revalidate"
    assert headers[b"x-content-type-options"] == b"nosniff"
    assert headers[b"x"] == b"y"
    assert int(headers[b"content-length"]) == len(body["body"])
    assert body["body"] == b'{"a":"\\u00e9","b":1}\n'
    assert json.loads(body["body"]) == reply.body
    assert head_start == start
    assert head_body["body"] == b""


@pytest.mark.parametrize(("pretty", "indent"), [(False, None), (True, 2)])
async def test_many_records_are_sent_in_pieces(pretty: bool, indent: int | None) -> None:
    """Together they are what the whole would be as JSON, whatever stands beside them; the length is that of all."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    records = [{"uuid": "null", "at": number, "parts": [{"text": "a\nb" * 50}], "none": []} for number in range(2000)]
    body = {"null": None, "records": records, "num_records": 2000, "_links": {"next": {"href": "/x?a=null"}}}
    await Reply(200, body).send(send, hal=True, pretty=pretty)
    start, *pieces = sent
    content = b"".join(piece["body"] for piece in pieces)
    separators = None if pretty else (",", ":")
    assert content == json.dumps(body, indent=indent, separators=separators).encode() + b"\n"
    assert int(dict(start["headers"])[b"content-length"]) == len(content)
    assert len(pieces) > 4
    assert [piece.get("more_body", False) for piece in pieces] == [*[True] * (len(pieces) - 1), False]

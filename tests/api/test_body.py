"""keystead.api.body: one strict parser, bounded in size and time."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.api import body
from keystead.api.body import ClientGoneError, declares_body, parse_object, read_body
from keystead.core import errors
from keystead.core.errors import OntapError
from tests.costs import cpu_seconds

if TYPE_CHECKING:
    from starlette.types import Message, Receive

SECRET = "c4nary-s3cret"


def refusal(data: bytes) -> OntapError:
    """Parse what must be refused, and check that the refusal repeats nothing of the body."""
    with pytest.raises(OntapError) as caught:
        parse_object(data)
    assert SECRET not in f"{caught.value.message} {caught.value.target} {caught.value.arguments}"
    return caught.value


@pytest.mark.parametrize(
    "data",
    [
        b"{}",
        b' {"a": 1, "b": [true, false, null], "c": {"d": "\xc3\xa9"}} \r\n\t',
        b'{"a": -0, "b": 1.5e3, "c": "\\ud83d\\ude00", "e": 9223372036854775807}',
        b"",
    ],
)
def test_strict_json_is_read(data: bytes) -> None:
    """Read what RFC 8259 calls a JSON object as json reads it; nothing at all is the empty object."""
    assert parse_object(data) == json.loads(data or b"{}")


@pytest.mark.parametrize(
    "data",
    [
        b" ",
        b"[]",
        b"1",
        b"null",
        b'"' + SECRET.encode() + b'"',
        b"{",
        b'{"a":1}{',
        b'{"a":1,}',
        b'{"password":"' + SECRET.encode() + b"}",
        b'{"a":\'' + SECRET.encode() + b"'}",
        b'{"a":"\x01"}',
        b'{"a":"\\q"}',
        b'{"a":01}',
        b'{"a":+1}',
        b'{"a":.5}',
        b'{"a":tru}',
        b"{'a':1}",
        b'{"a":1 /* no */}',
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\xc0\x80"}',
        '{"a":1}'.encode("utf-16"),
        '{"a":1}'.encode("utf-32"),
        b'{"a":\x001}',
    ],
)
def test_what_is_not_strict_json_is_262199(data: bytes) -> None:
    """Broken JSON, a top that is no object, a BOM and invalid UTF-8 are refused with a place, quoting nothing."""
    assert refusal(data).kind is errors.INVALID_JSON


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (b'{"a":NaN}', None),
        (b'{"a":-Infinity}', None),
        (b'{"a":1e999}', None),
        (b'{"a":-1e999}', None),
        (b'{"a":' + b"9" * 20 + b"}", None),
        (b'{"a":-' + b"9" * 5000 + b"}", None),
        (b'{"a":' + b"[" * 33 + b"]" * 33 + b"}", None),
        (b'{"a":' * 33 + b"1" + b"}" * 33, None),
        (b'{"a":"x\\u0000y"}', "a"),
        (b'{"a":["x",{"b":"\\u0000"}]}', "a[1].b"),
        (b'{"a":"\\ud800"}', "a"),
        (b'{"a":"\\udc00\\ud800"}', "a"),
        (b'{"\\ud800":1}', None),
        (b'{"a":{"\\u0000":1}}', "a"),
    ],
)
def test_what_is_out_of_range_is_262200(data: bytes, target: str | None) -> None:
    """NaN, infinities, huge integers, deep nesting, NUL and lone surrogates (escaped too) are refused."""
    error = refusal(data)
    assert error.kind is errors.JSON_OUT_OF_RANGE
    assert error.target == target


def test_depth_is_counted_outside_strings() -> None:
    """Brackets inside strings do not count, and the deepest that is allowed is read."""
    text = '[{\\"[' * 100
    assert parse_object(f'{{"a":"{text}"}}'.encode())["a"].count("[") == 200
    assert parse_object(b'{"a":' + b"[" * 31 + b"]" * 31 + b"}")


@pytest.mark.parametrize(
    ("data", "target"),
    [
        (b'{"server":"a","server":"b"}', "server"),
        (b'{"records":[{"server":"a"},{"server":"b","server":"c"}]}', "records[1].server"),
        (b'{"password":"' + SECRET.encode() + b'","password":""}', "password"),
    ],
)
def test_a_name_given_twice_is_262188_where_it_stands(data: bytes, target: str) -> None:
    """A duplicate key is refused, never resolved, with its path as the target."""
    error = refusal(data)
    assert error.kind is errors.FIELD_TWICE
    assert error.target == target


@pytest.mark.parametrize(
    "data",
    [
        b'{"a":"' + b'\\"[' * 20000,
        b"[" * 65000,
        b'{"a":' * 13000,
        b"{" + b",".join(b'"k%d":1' % i for i in range(6000)) + b',"k5999":1}',
        b'{"a":' + b"1" * 64000 + b"}",
        b'{"a":0.' + b"1" * 64000 + b"e" + b"9" * 100 + b"}",
        b'"' * 65000,
    ],
)
def test_hostile_bodies_are_refused_at_once(data: bytes) -> None:
    """No body within the size limit costs more than a few tens of milliseconds."""
    assert cpu_seconds(lambda: refusal(data)) < 0.5


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Arbitrary bytes give an object or one of the body's own codes, never another exception."""
    error = None
    try:
        assert isinstance(parse_object(data), dict)
    except OntapError as refused:
        error = refused
    assert error is None or error.kind in {errors.INVALID_JSON, errors.JSON_OUT_OF_RANGE, errors.FIELD_TWICE}


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
NUMBERS = st.integers(-(10**18), 10**18) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@given(st.dictionaries(TEXTS, JSON))
def test_any_clean_object_survives(value: dict[str, Any]) -> None:
    """Read back unchanged what a JSON library writes."""
    assert parse_object(json.dumps(value).encode()) == value


def receiver(*messages: Message) -> Receive:
    """Return a receive channel that yields these messages and then stays silent."""
    left = list(messages)

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


def chunk(data: bytes, *, more: bool = True) -> Message:
    """Return a piece of a request body."""
    return {"type": "http.request", "body": data, "more_body": more}


def scope(**headers: str) -> dict[str, Any]:
    """Return a scope with these headers."""
    return {"headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]}


async def test_a_body_is_joined_from_its_pieces() -> None:
    """A body may come in any pieces."""
    assert await read_body(scope(), receiver(chunk(b'{"a"'), chunk(b":1}"), chunk(b"", more=False))) == b'{"a":1}'


async def test_a_declared_large_body_is_refused_unread() -> None:
    """A Content-Length beyond the limit is enough."""
    with pytest.raises(OntapError) as caught:
        await read_body(scope(content_length="65537"), receiver())
    assert caught.value.kind is errors.BODY_TOO_LARGE


async def test_a_large_body_without_length_is_refused_while_it_comes() -> None:
    """A chunked body is refused as soon as it exceeds the limit; exactly the limit is read."""
    piece = b"x" * 32768
    with pytest.raises(OntapError) as caught:
        await read_body(scope(), receiver(chunk(piece), chunk(piece), chunk(b"x")))
    assert caught.value.kind is errors.BODY_TOO_LARGE
    assert len(await read_body(scope(), receiver(chunk(piece), chunk(piece, more=False)))) == 65536


async def test_a_body_that_does_not_come_is_408(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that stops in the middle of its body is answered after the limit."""
    monkeypatch.setattr(body, "READ_LIMIT_S", 0.05)
    with pytest.raises(OntapError) as caught:
        await read_body(scope(), receiver(chunk(b"{")))
    assert caught.value.kind is errors.BODY_TOO_SLOW


async def test_a_client_that_leaves_needs_no_answer() -> None:
    """A connection closed inside the body ends the request."""
    with pytest.raises(ClientGoneError):
        await read_body(scope(), receiver(chunk(b"{"), {"type": "http.disconnect"}))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"content_length": "0"}, False),
        ({"content_length": "2"}, True),
        ({"content_length": "10"}, True),
        ({"transfer_encoding": "chunked"}, True),
    ],
)
def test_a_body_is_announced_by_headers(headers: dict[str, str], expected: bool) -> None:
    """Content-Length other than 0, or any Transfer-Encoding, announces a body."""
    assert declares_body(scope(**headers)) is expected

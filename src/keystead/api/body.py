"""The only reader of request bodies: strict JSON (RFC 8259, RFC 7493) with an object at the top.

Size and reading time are limited. This module knows no fields: the resource's declaration says which fields the object
may hold. No error or exception repeats content of the body, because the content may be a secret.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Never

from keystead.api.checking import joined
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

SIZE_LIMIT = 64 * 1024  # a chain of PEM certificates with its key is a tenth of that
DEPTH_LIMIT = 32
INTEGER_DIGITS = 19  # of a 64-bit integer
READ_LIMIT_S = 10.0

# A string or a bracket. An unterminated string matches too, so that a search stays linear.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class ClientGoneError(Exception):
    """The error for a client that closed the connection before its request was complete. No answer is sent."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body, or raise 262200 (413) if it is too large or 262201 (408) if it is too slow.

    Raise 262200 as soon as the size is known. Raise ClientGoneError if the client disconnects.
    """
    declared = header(scope, b"content-length")
    if declared == b"0":
        return b""
    if declared.isdigit() and int(declared[:10]) > SIZE_LIMIT:
        raise OntapError(errors.BODY_TOO_LARGE, limit=SIZE_LIMIT)
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(READ_LIMIT_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if size > SIZE_LIMIT:
                    raise OntapError(errors.BODY_TOO_LARGE, limit=SIZE_LIMIT)
                if not message.get("more_body", False):
                    return b"".join(parts)
    except TimeoutError:
        raise OntapError(errors.BODY_TOO_SLOW) from None


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has closed its connection. Call this only after the body was read."""
    gone = False
    while not gone:
        gone = (await receive())["type"] == "http.disconnect"


def header(scope: Scope, name: bytes) -> bytes:
    """Return the value of a request header, or empty bytes if the client did not send it."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def declares_body(scope: Scope) -> bool:
    """Return True if the request's headers announce a body."""
    return header(scope, b"content-length").strip(b"0 ") != b"" or header(scope, b"transfer-encoding") != b""


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that ``data`` holds. Empty ``data`` is an empty object.

    Raise 262199 if it is not strict JSON, 262200 if it is out of range, and 262188 if a name is repeated.
    """
    if not data:
        return {}
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise OntapError(errors.INVALID_JSON, reason="not UTF-8", line=1, column=1) from None
    _check_depth(text)
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
        raise OntapError(errors.INVALID_JSON, reason=reason, line=error.lineno, column=error.colno) from None
    if not isinstance(value, dict):
        raise OntapError(errors.INVALID_JSON, reason="an object is expected", line=1, column=1)
    _check_texts(value, "")
    return value


class _DuplicateName(dict[str, Any]):
    """An object with a repeated name. :func:`_check_texts` reports it, because only that function knows the path."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            duplicate = _DuplicateName()
            duplicate.name = name
            return duplicate
        members[name] = value
    return members


def _out_of_range(reason: str) -> Never:
    raise OntapError(errors.JSON_OUT_OF_RANGE, reason=reason)


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > INTEGER_DIGITS:
        _out_of_range("an integer has too many digits")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if number in {float("inf"), float("-inf")}:
        _out_of_range("a number is too large")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_float,
    parse_constant=lambda name: _out_of_range(f"{name} is no JSON number"),
)


def _check_depth(text: str) -> None:
    """Refuse deep nesting before the decoder recurses into it."""
    if text.count("[") + text.count("{") <= DEPTH_LIMIT:
        return
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > DEPTH_LIMIT:
            _out_of_range(f"nested deeper than {DEPTH_LIMIT} levels")


def _check_texts(value: Any, path: str) -> None:
    """Refuse repeated names anywhere, and characters that a database or log cannot hold."""
    if isinstance(value, str):
        _check_characters(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(item, f"{path}[{index}]")
    elif isinstance(value, _DuplicateName):
        name = quoted(joined(path, value.name))
        raise OntapError(errors.FIELD_TWICE, target=name, field=name)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_characters(name, path)
            _check_texts(item, joined(path, name))


def _check_characters(text: str, path: str) -> None:
    if "\0" in text:
        raise OntapError(errors.JSON_OUT_OF_RANGE, target=quoted(path) or None, reason="a text holds a NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            reason = "a text holds half of a surrogate pair"
            raise OntapError(errors.JSON_OUT_OF_RANGE, target=quoted(path) or None, reason=reason) from None

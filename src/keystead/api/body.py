"""The one reader of request bodies: bounded in size and time, strict JSON (RFC 8259, RFC 7493), an object at the top.

It knows no field: what the object must hold is the resource's declaration. No error and no exception repeats what the
body held, because that may be a secret.
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING, Any, Never

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

SIZE_LIMIT = 64 * 1024  # a chain of PEM certificates with its key is a tenth of that
DEPTH_LIMIT = 32
INTEGER_DIGITS = 19  # of a 64-bit integer
READ_LIMIT_S = 10.0

# A string (one that never ends too, so that a search stays linear) or a bracket.
_TOKENS = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[{]|[\]}]', re.DOTALL)


class ClientGoneError(Exception):
    """The client closed the connection before its request was complete: nobody waits for an answer."""


async def read_body(scope: Scope, receive: Receive) -> bytes:
    """Return the whole body, or raise 262200 (413) as soon as it is known to be too large, 262201 (408) if too slow."""
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
    """Return when the client has closed its connection; only after the body was read."""
    gone = False
    while not gone:
        gone = (await receive())["type"] == "http.disconnect"


def header(scope: Scope, name: bytes) -> bytes:
    """Return a request header's value, empty when it was not sent."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


def declares_body(scope: Scope) -> bool:
    """Whether the request's headers announce a body."""
    return header(scope, b"content-length").strip(b"0 ") != b"" or header(scope, b"transfer-encoding") != b""


def parse_object(data: bytes) -> dict[str, Any]:
    """Return the JSON object that ``data`` holds; nothing at all is the empty object.

    Raises 262199 for what is not strict JSON, 262200 for what is out of range, 262188 for a name given twice.
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


class _Twice(dict[str, Any]):
    """An object in which a name stood twice; the walk that knows the path reports it."""

    name = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            twice = _Twice()
            twice.name = name
            return twice
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
    """Refuse names given twice, and characters that no database or log can hold, wherever they stand."""
    if isinstance(value, str):
        _check_characters(value, path)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_texts(item, f"{path}[{index}]")
    elif isinstance(value, _Twice):
        name = quoted(_joined(path, value.name))
        raise OntapError(errors.FIELD_TWICE, target=name, field=name)
    elif isinstance(value, dict):
        for name, item in value.items():
            _check_characters(name, path)
            _check_texts(item, _joined(path, name))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _check_characters(text: str, path: str) -> None:
    if "\0" in text:
        raise OntapError(errors.JSON_OUT_OF_RANGE, target=quoted(path) or None, reason="a text holds a NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            reason = "a text holds half of a surrogate pair"
            raise OntapError(errors.JSON_OUT_OF_RANGE, target=quoted(path) or None, reason=reason) from None

"""KMIP answers written by hand, independent of the library under test: scripts for TLS fault servers.

Only what a probe asks is understood: the operation of the first batch item. ``answering`` turns a table of answers into
a script; what is not in the table is answered as a sound server would that keeps no objects.
"""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

QUERY, LOCATE, DISCOVER_VERSIONS = 0x18, 0x08, 0x1E

AUTHENTICATION_NOT_SUCCESSFUL, INVALID_MESSAGE, NOT_SUPPORTED = 0x03, 0x04, 0x05
PERMISSION_DENIED, GENERAL_FAILURE = 0x0C, 0x100

Version = tuple[int, int]
ALL_VERSIONS: tuple[Version, ...] = ((2, 1), (2, 0), (1, 4), (1, 3), (1, 2), (1, 1), (1, 0))


def structure(tag: int, *children: bytes) -> bytes:
    """Tag, type, length and children."""
    body = b"".join(children)
    return _header(tag, 1, len(body)) + body


def integer(tag: int, value: int) -> bytes:
    """An Integer."""
    return _header(tag, 2, 4) + struct.pack(">i4x", value)


def enumeration(tag: int, value: int) -> bytes:
    """An Enumeration."""
    return _header(tag, 5, 4) + struct.pack(">I4x", value)


def date_time(tag: int, value: int) -> bytes:
    """A Date-Time, in seconds."""
    return _header(tag, 9, 8) + struct.pack(">q", value)


def text(tag: int, value: str) -> bytes:
    """A Text String."""
    data = value.encode()
    return _header(tag, 7, len(data)) + data + bytes(-len(data) % 8)


def response(version: Version, *fields: bytes, clock: float = 0) -> bytes:
    """A Response Message of one batch item with these fields; ``clock`` is how far the server's clock is ahead."""
    header = structure(
        0x42007A,
        protocol_version(version),
        date_time(0x420092, int(time.time() + clock)),
        integer(0x42000D, 1),
    )
    return structure(0x42007B, header, structure(0x42000F, *fields))


def protocol_version(version: Version) -> bytes:
    """Protocol Version."""
    return structure(0x420069, integer(0x42006A, version[0]), integer(0x42006B, version[1]))


def success(operation: int, *payload: bytes) -> tuple[bytes, ...]:
    """The fields of a successful batch item."""
    return enumeration(0x42005C, operation), enumeration(0x42007F, 0), structure(0x42007C, *payload)


def failure(operation: int | None, reason: int, message: str = "no") -> tuple[bytes, ...]:
    """The fields of a failed batch item; without an operation it is the whole message that failed."""
    named = () if operation is None else (enumeration(0x42005C, operation),)
    return *named, enumeration(0x42007F, 1), enumeration(0x42007E, reason), text(0x42007D, message)


def discovered(*versions: Version) -> tuple[bytes, ...]:
    """A successful answer to Discover Versions."""
    return success(DISCOVER_VERSIONS, *map(protocol_version, versions))


def _header(tag: int, kind: int, length: int) -> bytes:
    return struct.pack(">II", tag << 8 | kind, length)


SOUND: Mapping[int, tuple[bytes, ...]] = {
    DISCOVER_VERSIONS: discovered(*ALL_VERSIONS),
    QUERY: success(QUERY, enumeration(0x42005C, LOCATE), text(0x42009D, "Fault Server")),
    LOCATE: success(LOCATE),
}

Answer = tuple[bytes, ...] | bytes | None
"""The fields of a batch item, or the raw bytes to send, or None: close the connection."""


def answering(
    table: Mapping[int, Answer | Callable[[Version], Answer]] | None = None, *, clock: float = 0
) -> Callable[[Any], None]:
    """Return a script that answers requests by the table; a function gets the version of the request's header."""
    answers = {**SOUND, **(table or {})}

    def script(connection: Any) -> None:
        while (request := _read_message(connection)) is not None:
            version, operation = _version(request), _operation(request)
            answer: Any = answers.get(operation, failure(operation, NOT_SUPPORTED))
            if callable(answer):
                answer = answer(version)
            if answer is None:
                return
            connection.sendall(answer if isinstance(answer, bytes) else response(version, *answer, clock=clock))

    return script


def _read_message(connection: Any) -> bytes | None:
    data = b""
    while len(data) < 8 or len(data) < 8 + int.from_bytes(data[4:8]):
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    return data


def _version(request: bytes) -> Version:
    start = request.index(bytes.fromhex("42006a"))
    return int.from_bytes(request[start + 8 : start + 12]), int.from_bytes(request[start + 24 : start + 28])


def _operation(request: bytes) -> int:
    start = request.index(bytes.fromhex("42005c"))
    return int.from_bytes(request[start + 8 : start + 12])

"""TTLV bytes put together by hand, without the library: what the tests compare the library with."""

from __future__ import annotations

import re
import struct

STRUCTURE, INTEGER, ENUMERATION, TEXT, BYTES = 1, 2, 5, 7, 8


def unhex(text: str) -> bytes:
    """Bytes from hexadecimal with blanks, bars and ``# comments``, as the specification prints them."""
    return bytes.fromhex(re.sub(r"#.*|[|\s]", "", text))


def item(tag: int, kind: int, value: bytes) -> bytes:
    """One item: tag, type, length, value, padding."""
    return struct.pack(">I", tag << 8 | kind) + struct.pack(">I", len(value)) + value + bytes(-len(value) % 8)


def structure(tag: int, *children: bytes) -> bytes:
    """Return a Structure of finished items."""
    return item(tag, STRUCTURE, b"".join(children))


def integer(tag: int, value: int) -> bytes:
    """Return an Integer."""
    return item(tag, INTEGER, struct.pack(">i", value))


def enumeration(tag: int, value: int) -> bytes:
    """Return an Enumeration."""
    return item(tag, ENUMERATION, struct.pack(">I", value))


def text(tag: int, value: str) -> bytes:
    """Return a Text String."""
    return item(tag, TEXT, value.encode())


def version(major: int, minor: int) -> bytes:
    """Return a Protocol Version."""
    return structure(0x420069, integer(0x42006A, major), integer(0x42006B, minor))


def request(operation: int, payload: bytes, protocol: tuple[int, int] = (1, 4)) -> bytes:
    """Return a Request Message with one batch item and the shortest header."""
    header = structure(0x420077, version(*protocol), integer(0x42000D, 1))
    return structure(0x420078, header, structure(0x42000F, enumeration(0x42005C, operation), payload))


def response(
    operation: int | None, payload: bytes = b"", protocol: tuple[int, int] = (1, 4), *, status: int = 0, reason: int = 0
) -> bytes:
    """Return a Response Message with one batch item and the shortest header."""
    stamp = item(0x420092, 9, struct.pack(">q", 1_700_000_000))
    header = structure(0x42007A, version(*protocol), stamp, integer(0x42000D, 1))
    named = b"" if operation is None else enumeration(0x42005C, operation)
    result = enumeration(0x42007F, status) + (enumeration(0x42007E, reason) if reason else b"")
    return structure(0x42007B, header, structure(0x42000F, named, result, payload))

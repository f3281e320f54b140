"""TTLV: items as trees of (tag, type, value), their bytes, and the limits on both.

It knows only item types: no messages, no versions, no I/O. The only readers and writers of primitive values are here.
:mod:`keystead.kmip.ttlv.schema` calls them for typed structures. KMIP 1.4 section 9.1, KMIP 2.1 section 9.1.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystead.kmip.ttlv import tags
from keystead.kmip.ttlv.errors import LocalProtocolError, TTLVError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class ItemType(IntEnum):
    """Item Type (KMIP 2.1 section 9.1.1.2). DATE_TIME_EXTENDED is new in 2.0."""

    STRUCTURE = 0x01
    INTEGER = 0x02
    LONG_INTEGER = 0x03
    BIG_INTEGER = 0x04
    ENUMERATION = 0x05
    BOOLEAN = 0x06
    TEXT_STRING = 0x07
    BYTE_STRING = 0x08
    DATE_TIME = 0x09
    INTERVAL = 0x0A
    DATE_TIME_EXTENDED = 0x0B


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits for messages of a peer: ``message_bytes`` including the header, and the ``depth`` of nesting.

    PyKMIP and the ovh library also take 1 MiB. A Locate answer of 20,000 identifiers fits. The deepest message of the
    OASIS test cases has 11 levels.
    """

    message_bytes: int = 1 << 20
    depth: int = 32


DEFAULT_LIMITS: Final = Limits()
PROBE_LIMITS: Final = Limits(message_bytes=64 << 10)
"""Limits for a peer that is not trusted yet. Answers to DiscoverVersions, Query and a Locate of one item are small."""


class Item(NamedTuple):
    """One TTLV item. ``repr`` never shows text, bytes or big integers, because they may be secret.

    ``value`` depends on ``type``:

    - a tuple of items for Structure; ``bool``, ``str`` or ``bytes`` for Boolean, Text String and Byte String.
    - ``int`` for Integer, Long Integer, Big Integer and Enumeration.
    - ``int`` in seconds for Interval and Date-Time (since 1970 UTC).
    - ``int`` in microseconds since 1970 UTC for Date-Time Extended.
    """

    tag: int
    type: int
    value: Any

    def __repr__(self) -> str:
        name = tags.NAMES.get(self.tag, f"0x{self.tag:06X}")
        if self.type in _HIDDEN:
            return f"<{name}: {ItemType(self.type).name}>"
        return f"<{name}: {self.value!r}>"

    def find(self, tag: int) -> Item | None:
        """Return the first child with that tag, or ``None``. Only for a Structure."""
        return next((child for child in self.value if child.tag == tag), None)


_HIDDEN: Final = frozenset({ItemType.BIG_INTEGER, ItemType.TEXT_STRING, ItemType.BYTE_STRING})

read_header: Final[Callable[[bytes, int], tuple[int, int]]] = struct.Struct(">II").unpack_from
"""Read tag and type as one number (``tag << 8 | type``), then the length: the first 8 bytes of every item."""

_PADDING: Final = tuple(bytes(-n % 8) for n in range(8))
_HEADER: Final = struct.Struct(">II").pack


def key(tag: int, item_type: int) -> int:
    """Return tag and type as the one number at the beginning of an item."""
    return tag << 8 | item_type


def padded(length: int) -> int:
    """Return the encoded length of a value: its length with padding to a multiple of 8."""
    return length + 7 & -8


# Readers: (buffer, start of the value, its length) -> value. The caller has checked that the padded value is inside.


def _wrong_length(length: int) -> TTLVError:
    return TTLVError(f"an item of a fixed-length type has length {length}")


def word_reader(layout: str, names: Mapping[int, int] | None = None) -> Callable[[bytes, int, int], int]:
    """Return the reader of a 4-byte number and its padding. ``names`` may map the number to an enumeration's member."""
    unpack = struct.Struct(layout).unpack_from

    def read(buffer: bytes, start: int, length: int) -> int:
        if length != 4:
            raise _wrong_length(length)
        value: int
        value, padding = unpack(buffer, start)
        if padding:
            raise TTLVError("padding is not zero")
        return value

    def read_name(buffer: bytes, start: int, length: int) -> int:
        value = read(buffer, start, length)
        return known.get(value, value)

    known = names or {}
    return read_name if known else read


def _read_long(buffer: bytes, start: int, length: int) -> int:
    if length != 8:
        raise _wrong_length(length)
    value: int = _LONG(buffer, start)[0]
    return value


_LONG: Final = struct.Struct(">q").unpack_from


def _read_big_integer(buffer: bytes, start: int, n: int) -> int:
    if n == 0 or n % 8:
        raise TTLVError(f"a Big Integer has length {n}, not a multiple of 8")
    return int.from_bytes(buffer[start : start + n], "big", signed=True)


def _read_boolean(buffer: bytes, start: int, n: int) -> bool:
    value = _read_long(buffer, start, n)
    if not 0 <= value <= 1:
        raise TTLVError("a Boolean is neither 0 nor 1")
    return value == 1


def _read_bytes(buffer: bytes, start: int, n: int) -> bytes:
    stop = start + n
    if n & 7 and buffer[stop : start + (n + 7 & -8)] != _PADDING[n & 7]:
        raise TTLVError("padding is not zero")
    return buffer[start:stop]


def _read_text(buffer: bytes, start: int, n: int) -> str:
    stop = start + n
    if n & 7 and buffer[stop : start + (n + 7 & -8)] != _PADDING[n & 7]:
        raise TTLVError("padding is not zero")
    try:
        text = buffer[start:stop].decode()
    except UnicodeDecodeError:
        raise TTLVError("a Text String is not UTF-8") from None
    if "\0" in text:
        raise TTLVError("a Text String holds a null character")
    return text


READERS: Final[dict[int, Callable[[bytes, int, int], Any]]] = {
    ItemType.INTEGER: word_reader(">iI"),
    ItemType.LONG_INTEGER: _read_long,
    ItemType.BIG_INTEGER: _read_big_integer,
    ItemType.ENUMERATION: word_reader(">II"),
    ItemType.BOOLEAN: _read_boolean,
    ItemType.TEXT_STRING: _read_text,
    ItemType.BYTE_STRING: _read_bytes,
    ItemType.DATE_TIME: _read_long,
    ItemType.INTERVAL: word_reader(">II"),
    ItemType.DATE_TIME_EXTENDED: _read_long,
}


# Writers: (tag << 8 | type, value) -> the item's bytes.


FIXED: Final[dict[int, tuple[Callable[..., bytes], int]]] = {
    ItemType.INTEGER: (struct.Struct(">IIi4x").pack, 4),
    ItemType.LONG_INTEGER: (struct.Struct(">IIq").pack, 8),
    ItemType.ENUMERATION: (struct.Struct(">III4x").pack, 4),
    ItemType.BOOLEAN: (struct.Struct(">II7x?").pack, 8),
    ItemType.DATE_TIME: (struct.Struct(">IIq").pack, 8),
    ItemType.INTERVAL: (struct.Struct(">III4x").pack, 4),
    ItemType.DATE_TIME_EXTENDED: (struct.Struct(">IIq").pack, 8),
}
"""Types of a fixed length: the function that packs (key, length, value), and the length."""


def write_bytes(item_key: int, value: bytes) -> bytes:
    """Return the item of a value that is bytes already: Byte String, Text String, Big Integer or Structure."""
    length = len(value)
    return _HEADER(item_key, length) + value + _PADDING[length & 7]


def _write_text(item_key: int, value: str) -> bytes:
    if "\0" in value:
        raise ValueError("a Text String holds a null character")
    return write_bytes(item_key, value.encode())


def _write_big_integer(item_key: int, value: int) -> bytes:
    length = padded((value.bit_length() + 8) // 8)
    return write_bytes(item_key, value.to_bytes(length, "big", signed=True))


def _write_byte_string(item_key: int, value: bytes) -> bytes:
    return write_bytes(item_key, bytes(memoryview(value)))


_SIZED: Final[dict[int, Callable[[int, Any], bytes]]] = {
    ItemType.BIG_INTEGER: _write_big_integer,
    ItemType.TEXT_STRING: _write_text,
    ItemType.BYTE_STRING: _write_byte_string,
}


def write(item_key: int, value: Any) -> bytes:
    """Return the bytes of one primitive item. Raises one of :data:`ENCODING_ERRORS`."""
    fixed = FIXED.get(item_key & 0xFF)
    if fixed:
        pack, length = fixed
        return pack(item_key, length, value)
    return _SIZED[item_key & 0xFF](item_key, value)


ENCODING_ERRORS: Final = (struct.error, ValueError, TypeError, AttributeError, OverflowError)
"""Errors of a writer for a value that is not of its item type. The caller turns them into a LocalProtocolError."""


def encode(item: Item) -> bytes:
    """Return the bytes of an item and of everything in it. Raises LocalProtocolError for a value that does not fit."""
    item_key = item.tag << 8 | item.type
    try:
        if item.type == ItemType.STRUCTURE:
            return write_bytes(item_key, b"".join([encode(child) for child in item.value]))
        return write(item_key, item.value)
    except (*ENCODING_ERRORS, KeyError):
        name = tags.NAMES.get(item.tag, f"0x{item.tag:06X}")
        raise LocalProtocolError(f"{name}: not a value of its item type") from None


def decode(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Item:
    """Return the one item that ``data`` holds, with everything in it. Raises TTLVError."""
    if len(data) > limits.message_bytes:
        raise TTLVError(f"{len(data)} bytes exceed the limit of {limits.message_bytes}", limit=True)
    items = decode_items(data, 0, len(data), limits.depth)
    if len(items) != 1:
        raise TTLVError(f"{len(items)} items where one was expected")
    return items[0]


def decode_items(buffer: bytes, start: int, end: int, depth: int) -> tuple[Item, ...]:
    """Return the items between two positions of a buffer, with at most ``depth`` levels of structures.

    Raises TTLVError.
    """
    items = []
    while start < end:
        item_key, length, after = next_item(buffer, start, end)
        items.append(decode_value(item_key, buffer, start + 8, length, depth))
        start = after
    return tuple(items)


def next_item(buffer: bytes, start: int, end: int) -> tuple[int, int, int]:
    """Return (key, length, position after the padding) of the item at ``start``. Raises TTLVError if it is too long."""
    if end - start < 8:
        raise TTLVError("an item's header is cut short")
    item_key, length = read_header(buffer, start)
    after = start + 8 + (length + 7 & -8)
    if after > end:
        raise TTLVError("an item is longer than what holds it")
    return item_key, length, after


def decode_value(item_key: int, buffer: bytes, start: int, length: int, depth: int) -> Item:
    """Return the item whose value begins at ``start``. Its key has been read, and its value lies inside the buffer.

    Raises TTLVError.
    """
    item_type = item_key & 0xFF
    if item_type == ItemType.STRUCTURE:
        check_structure(length, depth)
        return Item(item_key >> 8, item_type, decode_items(buffer, start, start + length, depth - 1))
    read = READERS.get(item_type)
    if read is None:
        raise TTLVError(f"unknown item type {item_type:#04x}")
    return Item(item_key >> 8, item_type, read(buffer, start, length))


def check_structure(length: int, depth: int) -> None:
    """Raise TTLVError if a structure cannot have that length, or if no further level of nesting is allowed."""
    if length & 7:
        raise TTLVError(f"a Structure has length {length}, not a multiple of 8")
    if depth <= 0:
        raise TTLVError("items are nested deeper than the limit", limit=True)

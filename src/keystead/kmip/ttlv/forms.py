"""Forms: the possible encodings of a field's value, each with its reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Decode = Callable[[bytes, int, int, int, Any], Any]
"""(buffer, start of the value, its length, depth left, earlier fields of the same structure) -> value."""

Encode = Callable[[Any], bytes]
"""(structure) -> the bytes of its fields."""

PlainReader = Callable[[bytes, int, int], Any]
"""(buffer, start of the value, its length) -> value."""


class NestedReader(Protocol):
    """A reader of a value that contains other values, or depends on other values."""

    decode: Decode
    """See :data:`Decode`. Look it up at each call, because a codec replaces it once."""


class Form(NamedTuple):
    """One possible encoding of a field's value: its key (tag and type), and either a plain or a nested reader."""

    key: int
    plain: PlainReader | None
    nested: NestedReader | None = None

    def reader(self) -> NestedReader:
        """Return the reader, with the call of a nested reader."""
        if self.nested is not None:
            return self.nested
        assert self.plain is not None  # noqa: S101 - a Form has one reader
        return _Plain(self.plain)


class _Plain:
    def __init__(self, read: PlainReader) -> None:
        self.decode: Decode = lambda buffer, start, length, _depth, _siblings: read(buffer, start, length)

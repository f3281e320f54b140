"""Forms: the ways in which the value of one field may stand on the wire, each with its reader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

Decode = Callable[[bytes, int, int, int, Any], Any]
"""(buffer, start of the value, its length, depth left, fields before it in the structure that holds it) -> value."""

Encode = Callable[[Any], bytes]
"""structure -> the bytes of its fields."""

PlainReader = Callable[[bytes, int, int], Any]
"""(buffer, start of the value, its length) -> value."""


class NestedReader(Protocol):
    """What reads a value that has others inside, or depends on others."""

    decode: Decode
    """See :data:`keystead.kmip.ttlv.specialise.Decode`; looked up at each call, since a codec replaces it once."""


class Form(NamedTuple):
    """One way in which a field's value may stand on the wire: its key (tag and type) and the one reader that is set."""

    key: int
    plain: PlainReader | None
    nested: NestedReader | None = None

    def reader(self) -> NestedReader:
        """Return either reader behind the same call."""
        if self.nested is not None:
            return self.nested
        assert self.plain is not None  # noqa: S101 - a Form has one reader
        return _Plain(self.plain)


class _Plain:
    def __init__(self, read: PlainReader) -> None:
        self.decode: Decode = lambda buffer, start, length, _depth, _siblings: read(buffer, start, length)

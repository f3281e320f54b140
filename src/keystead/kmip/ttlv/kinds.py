"""Kinds of fields whose value can have several shapes: raw, one of several types, or chosen by another field.

These are only declarations. The codec that uses them is :mod:`keystead.kmip.ttlv.schema`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError
from keystead.kmip.ttlv.forms import Form, NestedReader
from keystead.kmip.ttlv.schema import Kind, Structure, Writer, as_kind
from keystead.kmip.ttlv.ttlv import Item, ItemType

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from keystead.kmip.ttlv.forms import Decode
    from keystead.kmip.ttlv.versions import Version


class Raw:
    """Any item under the field's tag, as an :class:`Item` tree. It is lossless, for fields that need no own type."""

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002 - alike in every version
        """Yield the forms of a value."""
        for item_type in ItemType:
            yield Form(ttlv.key(tag, item_type), None, _RawReader(ttlv.key(tag, item_type)))

    def writer(self, tag: int, version: Version) -> Writer:  # noqa: ARG002
        """Return the encoder of a value."""

        def write(value: Any, _: Structure) -> bytes:
            if not isinstance(value, Item) or value.tag != tag:
                raise LocalProtocolError(f"{tags.NAMES[tag]}: not a raw item with that tag")
            return ttlv.encode(value)

        return write


class Either:
    """One of several kinds under one tag. Decoding selects by item type, encoding by Python type."""

    def __init__(self, *kinds: Any) -> None:
        self._kinds = [as_kind(kind) for kind in kinds]

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        """Yield the forms of a value."""
        seen = set()
        for kind in self._kinds:
            for form in kind.forms(tag, version):
                if form.key not in seen:
                    seen.add(form.key)
                    yield form

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""
        writers = [kind.writer(tag, version) for kind in self._kinds]

        def write(value: Any, owner: Structure) -> bytes:
            for attempt in writers[:-1]:
                try:
                    return attempt(value, owner)
                except (LocalProtocolError, *ttlv.ENCODING_ERRORS):
                    continue
            return writers[-1](value, owner)

        return write


class OneOf:
    """One of several structures, each under its own tag. Other known tags are kept raw."""

    def __init__(self, *classes: type[Structure], raw: tuple[int, ...] = ()) -> None:
        self._kinds: dict[int, Kind] = {cls.TAG: as_kind(cls) for cls in classes} | dict.fromkeys(raw, Raw())

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002 - the value has its own tag
        """Yield the forms of a value."""
        for own, kind in self._kinds.items():
            yield from kind.forms(own, version)

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""
        writers = {own: kind.writer(own, version) for own, kind in self._kinds.items()}

        def write(value: Any, owner: Structure) -> bytes:
            own = value.tag if isinstance(value, Item) else getattr(value, "TAG", None)
            if own not in writers:
                raise LocalProtocolError(f"{tags.NAMES[tag]}: not one of the structures that may stand here")
            return writers[own](value, owner)

        return write


class Select:
    """A kind that is chosen by the values of earlier fields. If the choice is not in ``table``, the item is kept raw.

    ``table`` maps the field's value to a kind. If ``by`` names several fields, its keys are tuples of values.
    """

    def __init__(self, table: Mapping[Any, Any], *by: str) -> None:
        self._by = by
        self._kinds = {key if len(by) > 1 else (key,): as_kind(kind) for key, kind in table.items()}

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        """Yield the forms of a value."""
        choices = {key: {form.key: form for form in kind.forms(tag, version)} for key, kind in self._kinds.items()}
        for item_type in ItemType:
            item_key = ttlv.key(tag, item_type)
            readers = {key: forms[item_key].reader() if item_key in forms else None for key, forms in choices.items()}
            yield Form(item_key, None, _SelectReader(item_key, self._by, readers))

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""
        writers = {key: kind.writer(tag, version) for key, kind in self._kinds.items()}
        write_raw = Raw().writer(tag, version)

        def write(value: Any, owner: Structure) -> bytes:
            if isinstance(value, Item):
                return write_raw(value, owner)
            return writers.get(tuple([getattr(owner, name) for name in self._by]), write_raw)(value, owner)

        return write


class _RawReader:
    """A reader of any value under one key."""

    def __init__(self, item_key: int) -> None:
        def decode(buffer: bytes, start: int, length: int, depth: int, _: Mapping[str, Any]) -> Item:
            return ttlv.decode_value(item_key, buffer, start, length, depth)

        self.decode: Decode = decode


class _SelectReader:
    """A reader of a value under one key, chosen by earlier fields. ``None`` stands for a wrong item type."""

    def __init__(
        self, item_key: int, by: tuple[str, ...], readers: Mapping[tuple[Any, ...], NestedReader | None]
    ) -> None:
        raw = _RawReader(item_key)

        def decode(buffer: bytes, start: int, length: int, depth: int, siblings: Mapping[str, Any]) -> Any:
            read = readers.get(tuple([siblings.get(name) for name in by]), raw)
            if read is None:
                raise RemoteProtocolError(f"{tags.NAMES[item_key >> 8]} has another item type than {by} ask for")
            return read.decode(buffer, start, length, depth, siblings)

        self.decode: Decode = decode

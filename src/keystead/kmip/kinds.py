"""Kinds of fields whose value has more than one shape: raw, one of several types, or chosen by another field.

Only declarations: the codec that uses them is :mod:`keystead.kmip.schema`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from keystead.kmip import tags, ttlv
from keystead.kmip.errors import LocalProtocolError, RemoteProtocolError
from keystead.kmip.schema import Form, Kind, NestedReader, Structure, Writer, as_kind
from keystead.kmip.ttlv import Item, ItemType
from keystead.kmip.versions import Version


class Raw:
    """Any item under the field's tag, as an :class:`Item` tree; lossless, for what needs no type of its own."""

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002 - alike in every version
        for item_type in ItemType:
            yield Form(ttlv.key(tag, item_type), None, _raw_reader(ttlv.key(tag, item_type)))

    def writer(self, tag: int, version: Version) -> Writer:  # noqa: ARG002
        def write(value: Any, _: Structure) -> bytes:
            if not isinstance(value, Item) or value.tag != tag:
                raise LocalProtocolError(f"{tags.NAMES[tag]}: not a raw item with that tag")
            return ttlv.encode(value)

        return write


class Either:
    """One of several kinds under one tag, told apart by item type on the wire and by Python type when encoding."""

    def __init__(self, *kinds: Any) -> None:
        self._kinds = [as_kind(kind) for kind in kinds]

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        seen = set()
        for kind in self._kinds:
            for form in kind.forms(tag, version):
                if form.key not in seen:
                    seen.add(form.key)
                    yield form

    def writer(self, tag: int, version: Version) -> Writer:
        writers = [kind.writer(tag, version) for kind in self._kinds]

        def write(value: Any, owner: Structure) -> bytes:
            for attempt in writers[:-1]:
                try:
                    return attempt(value, owner)
                except LocalProtocolError:
                    continue
            return writers[-1](value, owner)

        return write


class OneOf:
    """One of several structures, each under its own tag; other known tags are kept raw."""

    def __init__(self, *classes: type[Structure], raw: tuple[int, ...] = ()) -> None:
        self._kinds: dict[int, Kind] = {cls.TAG: as_kind(cls) for cls in classes} | dict.fromkeys(raw, Raw())

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002 - the value brings its own tag
        for own, kind in self._kinds.items():
            yield from kind.forms(own, version)

    def writer(self, tag: int, version: Version) -> Writer:
        writers = {own: kind.writer(own, version) for own, kind in self._kinds.items()}

        def write(value: Any, owner: Structure) -> bytes:
            own = value.tag if isinstance(value, Item) else getattr(value, "TAG", None)
            if own not in writers:
                raise LocalProtocolError(f"{tags.NAMES[tag]}: not one of the structures that may stand here")
            return writers[own](value, owner)

        return write


class Select:
    """A kind chosen by the values of earlier fields; for a choice that is not in ``table`` the item is kept raw.

    ``table`` maps the field's value (a tuple of values when ``by`` names several fields) to a kind.
    """

    def __init__(self, table: Mapping[Any, Any], *by: str) -> None:
        self._by = by
        self._kinds = {key if len(by) > 1 else (key,): as_kind(kind) for key, kind in table.items()}

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        choices = {key: {form.key: form for form in kind.forms(tag, version)} for key, kind in self._kinds.items()}
        for item_type in ItemType:
            item_key = ttlv.key(tag, item_type)
            yield Form(item_key, None, self._reader(item_key, choices))

    def _reader(self, item_key: int, choices: Mapping[tuple[Any, ...], Mapping[int, Form]]) -> NestedReader:
        by = self._by
        read_raw = _raw_reader(item_key)

        def read(buffer: bytes, start: int, length: int, depth: int, siblings: Mapping[str, Any]) -> Any:
            forms = choices.get(tuple([siblings.get(name) for name in by]))
            if forms is None:
                return read_raw(buffer, start, length, depth, siblings)
            form = forms.get(item_key)
            if form is None:
                raise RemoteProtocolError(f"{tags.NAMES[item_key >> 8]} has another item type than {' and '.join(by)} ask for")
            if form.nested:
                return form.nested(buffer, start, length, depth, siblings)
            return form.plain(buffer, start, length) if form.plain else None

        return read

    def writer(self, tag: int, version: Version) -> Writer:
        writers = {key: kind.writer(tag, version) for key, kind in self._kinds.items()}
        write_raw = Raw().writer(tag, version)

        def write(value: Any, owner: Structure) -> bytes:
            if isinstance(value, Item):
                return write_raw(value, owner)
            return writers.get(tuple([getattr(owner, name) for name in self._by]), write_raw)(value, owner)

        return write


def _raw_reader(item_key: int) -> NestedReader:
    def read(buffer: bytes, start: int, length: int, depth: int, _: Mapping[str, Any]) -> Item:
        return ttlv.decode_value(item_key, buffer, start, length, depth)

    return read

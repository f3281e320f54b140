"""Structures as declarations, and the one codec that walks them.

A structure is a frozen dataclass made by :func:`structure`; its fields are declared by :func:`field` with tag, kind,
optional or many, and the versions that have it. Decoding goes from bytes to typed objects in one pass, over a table
built once per class and protocol version. Nothing here knows a particular message.

What a peer sends is tolerated like this: an unknown tag, or a field that the message's version does not have, is kept
as a raw item in ``extra`` and encoded again after the known fields; an unknown enumeration value stays a plain ``int``.
A field that is missing, repeated or of another item type raises RemoteProtocolError. KMIP 1.4 sections 2 to 6 and 9.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from functools import lru_cache, partial
from typing import Any, Final, NamedTuple, Protocol, TypeVar, dataclass_transform

from keystead.kmip import tags, ttlv
from keystead.kmip.errors import LocalProtocolError, RemoteProtocolError, TTLVError
from keystead.kmip.ttlv import DEFAULT_LIMITS, Item, ItemType, Limits
from keystead.kmip.versions import V1_0, Version, nearest


PlainReader = Callable[[bytes, int, int], Any]
"""(buffer, start of the value, its length) -> value."""

NestedReader = Callable[[bytes, int, int, int, Mapping[str, Any]], Any]
"""The same with the depth left, and the fields that came before it in the same structure."""


class Form(NamedTuple):
    """One way in which a field's value may stand on the wire: its key (tag and type) and the one reader that is set."""

    key: int
    plain: PlainReader | None
    nested: NestedReader | None = None


Writer = Callable[[Any, "Structure"], bytes]
"""(value, the structure that holds it) -> the bytes of its item; raises LocalProtocolError for another kind of value."""


class Kind(Protocol):
    """What the values of a field are. The composite ones are in :mod:`keystead.kmip.kinds`."""

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        """Yield every form in which a value may come."""

    def writer(self, tag: int, version: Version) -> Writer:
        """Return what encodes a value."""


class Declared(NamedTuple):
    """What :func:`field` was told."""

    tag: int
    kind: Kind
    optional: bool
    many: bool
    since: Version
    until: Version | None
    secret: bool

    def exists_in(self, version: Version) -> bool:
        """Say whether the field exists at that version."""
        return self.since <= version and (self.until is None or version < self.until)


_DECLARED: Final = "kmip"


def field(
    tag: int,
    kind: Any,
    *,
    optional: bool = False,
    many: bool = False,
    since: Version = V1_0,
    until: Version | None = None,
    secret: bool = False,
    kw_only: bool = False,
) -> Any:
    """Declare a field of a structure.

    ``kind`` is an ItemType, an IntEnum (Enumeration), a structure's class or a :class:`Kind`. An ``optional`` field is
    ``None`` when absent; a ``many`` field is a tuple. The field exists from version ``since`` up to, but not including,
    ``until``. The value of a ``secret`` field is never in ``repr``. A required field after an optional one is ``kw_only``.
    """
    metadata = {_DECLARED: Declared(tag, as_kind(kind), optional or many, many, since, until, secret)}
    if many:
        return dataclasses.field(default=(), metadata=metadata)
    if optional:
        return dataclasses.field(default=None, metadata=metadata)
    return dataclasses.field(metadata=metadata, kw_only=kw_only)


@dataclasses.dataclass(frozen=True, repr=False)
class Structure:
    """Base of every structure; ``extra`` is what the peer sent beyond the fields that this version has, raw."""

    TAG = 0
    extra: tuple[Item, ...] = dataclasses.field(default=(), kw_only=True)

    def __repr__(self) -> str:
        secrets = {name for name, declared in declared_fields(type(self)) if declared.secret}
        shown = [f"{name}={'***' if name in secrets else repr(value)}" for name, value in present_fields(self)]
        return f"{type(self).__name__}({', '.join(shown)})"


_S = TypeVar("_S", bound=Structure)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def structure(tag: int = 0) -> Callable[[type[_S]], type[_S]]:
    """Return the decorator that makes a class a structure; without ``tag`` it stands under the tags of fields only."""

    def decorate(cls: type[_S]) -> type[_S]:
        cls.TAG = tag
        return dataclasses.dataclass(frozen=True, repr=False)(cls)

    return decorate


@lru_cache(maxsize=None)
def declared_fields(cls: type[Structure]) -> tuple[tuple[str, Declared], ...]:
    """Return (name, declaration) of a structure's fields in the specification's order."""
    fields = dataclasses.fields(cls)
    return tuple((entry.name, entry.metadata[_DECLARED]) for entry in fields if _DECLARED in entry.metadata)


def present_fields(value: Structure) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of the fields that are there, ``extra`` last."""
    for name in (*(name for name, _ in declared_fields(type(value))), "extra"):
        content = getattr(value, name)
        if content is not None and content != ():
            yield name, content


class Primitive(NamedTuple):
    """Kind of a value that stands alone: ``int``, ``bool``, ``str`` or ``bytes`` by item type."""

    type: ItemType

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002 - alike in every version
        yield Form(ttlv.key(tag, self.type), ttlv.READERS[self.type])

    def writer(self, tag: int, version: Version) -> Writer:  # noqa: ARG002
        item_key = ttlv.key(tag, self.type)
        return lambda value, _: ttlv.write(item_key, value)


class Enumeration(NamedTuple):
    """Kind of an enumeration's member; a value that the enumeration does not know is a plain ``int``."""

    members: type[IntEnum]

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002
        read = ttlv.READERS[ItemType.ENUMERATION]
        known = {int(member): member for member in self.members}

        def read_member(buffer: bytes, start: int, length: int) -> int:
            value: int = read(buffer, start, length)
            return known.get(value, value)

        yield Form(ttlv.key(tag, ItemType.ENUMERATION), read_member)

    def writer(self, tag: int, version: Version) -> Writer:
        return Primitive(ItemType.ENUMERATION).writer(tag, version)


class Nested(NamedTuple):
    """Kind of a structure within a structure."""

    cls: type[Structure]

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        yield Form(ttlv.key(tag, ItemType.STRUCTURE), None, partial(_decode, _plan(self.cls, version)))

    def writer(self, tag: int, version: Version) -> Writer:
        plan = _plan(self.cls, version)
        item_key = ttlv.key(tag, ItemType.STRUCTURE)

        def write(value: Any, _: Structure) -> bytes:
            if not isinstance(value, plan.cls):
                raise LocalProtocolError(f"{tags.NAMES[tag]}: not a {plan.cls.__name__}")
            return ttlv.write_bytes(item_key, _encode(plan, value))

        return write


def as_kind(kind: Any) -> Kind:
    """Return the kind that an item type, an enumeration or a structure's class stands for."""
    if isinstance(kind, ItemType):
        return Primitive(kind)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return Enumeration(kind)
    if isinstance(kind, type) and issubclass(kind, Structure):
        return Nested(kind)
    declared: Kind = kind
    return declared


class _Plan(NamedTuple):
    """A class at one version: what may come, by key, and how each field is written."""

    cls: type[Structure]
    forms: dict[int, tuple[str, bool, Any, Any]]
    tags: frozenset[int]
    required: tuple[str, ...]
    many: tuple[str, ...]
    writers: tuple[tuple[str, Declared, Writer], ...]
    absent: tuple[str, ...]


@lru_cache(maxsize=None)
def _plan(cls: type[Structure], version: Version) -> _Plan:
    forms: dict[int, tuple[str, bool, Any, Any]] = {}
    writers = []
    for name, declared in declared_fields(cls):
        if declared.exists_in(version):
            for form in declared.kind.forms(declared.tag, version):
                forms[form.key] = (name, declared.many, form.plain, form.nested)
            writers.append((name, declared, declared.kind.writer(declared.tag, version)))
    return _Plan(
        cls=cls,
        forms=forms,
        tags=frozenset(item_key >> 8 for item_key in forms),
        required=tuple(name for name, declared, _ in writers if not declared.optional),
        many=(*(name for name, declared, _ in writers if declared.many), "extra"),
        writers=tuple(writers),
        absent=tuple(name for name, declared in declared_fields(cls) if not declared.exists_in(version)),
    )


def decode(cls: type[_S], data: bytes, version: Version, limits: Limits = DEFAULT_LIMITS) -> _S:
    """Return the structure that ``data`` holds, nothing before or after it.

    Raises TTLVError for bytes that are not TTLV or exceed a limit, RemoteProtocolError for items that do not make this
    structure.
    """
    if len(data) > limits.message_bytes:
        raise TTLVError(f"{len(data)} bytes exceed the limit of {limits.message_bytes}", limit=True)
    item_key, length, after = ttlv.next_item(data, 0, len(data))
    if after != len(data):
        raise TTLVError("bytes follow the item")
    if item_key != ttlv.key(cls.TAG, ItemType.STRUCTURE):
        raise RemoteProtocolError(f"not a {tags.NAMES[cls.TAG]}")
    value = _decode(_plan(cls, nearest(version)), bytes(data), 8, length, limits.depth)
    assert isinstance(value, cls)  # noqa: S101 - for the type checker
    return value


def encode(value: Structure, version: Version) -> bytes:
    """Return the bytes of a structure under its own tag.

    Raises LocalProtocolError for a missing field, one that the version does not have, or a value of another kind.
    """
    return ttlv.write_bytes(ttlv.key(value.TAG, ItemType.STRUCTURE), _encode(_plan(type(value), nearest(version)), value))


def _decode(
    plan: _Plan, buffer: bytes, start: int, length: int, depth: int, _siblings: Mapping[str, Any] | None = None
) -> Structure:
    if length & 7 or depth <= 0:
        ttlv.check_structure(length, depth)
    end = start + length
    depth -= 1
    forms, read_header = plan.forms, ttlv.read_header
    values: dict[str, Any] = {}
    while start < end:
        # ttlv.next_item() written out: this loop is where decoding spends its time.
        item_key, length = read_header(buffer, start)
        at = start + 8
        start = at + (length + 7 & -8)
        if start > end:
            raise TTLVError("an item is longer than what holds it")
        form = forms.get(item_key)
        if form is None:
            values.setdefault("extra", []).append(_unknown(plan, item_key, buffer, at, length, depth))
            continue
        name, many, plain, nested = form
        value = plain(buffer, at, length) if plain else nested(buffer, at, length, depth, values)
        if many:
            values.setdefault(name, []).append(value)
        elif name in values:
            raise RemoteProtocolError(f"{plan.cls.__name__}: {name} is there twice")
        else:
            values[name] = value
    for name in plan.many:
        if name in values:
            values[name] = tuple(values[name])
    for name in plan.required:
        if name not in values:
            raise RemoteProtocolError(f"{plan.cls.__name__}: {name} is missing")
    result = object.__new__(plan.cls)
    # Absent optional fields are the class attributes that dataclasses made of their defaults.
    object.__setattr__(result, "__dict__", values)
    return result


def _unknown(plan: _Plan, item_key: int, buffer: bytes, start: int, length: int, depth: int) -> Item:
    if item_key >> 8 in plan.tags:
        raise RemoteProtocolError(f"{plan.cls.__name__}: {tags.NAMES[item_key >> 8]} has another item type")
    return ttlv.decode_value(item_key, buffer, start, length, depth)


def _encode(plan: _Plan, value: Structure) -> bytes:
    content = value.__dict__
    parts = []
    for name, declared, write in plan.writers:
        item = content.get(name)
        if item is None:
            if not declared.optional:
                raise LocalProtocolError(f"{plan.cls.__name__}: {name} is missing")
        elif declared.many:
            parts += [write(one, value) for one in item]
        else:
            parts.append(write(item, value))
    for name in plan.absent:
        if content.get(name) not in (None, ()):  # noqa: PLR6201 - a value need not be hashable
            raise LocalProtocolError(f"{plan.cls.__name__}: {name} does not exist in this protocol version")
    parts += [ttlv.encode(item) for item in value.extra]
    return b"".join(parts)

"""Structures as declarations, and the one codec for all of them.

A structure is a frozen dataclass made by :func:`structure`. :func:`field` declares its fields: tag, kind, optional or
many, and the versions that have the field. Decoding goes from bytes to typed objects in one pass. It uses a table that
is built once per class and protocol version. This module knows no particular message.

An unknown tag, or a field that the message's version does not have, is kept as a raw item in ``extra``. It is encoded
again after the known fields. An unknown enumeration value stays a plain ``int``. A field that is missing, repeated or
of another item type raises RemoteProtocolError. KMIP 1.4 sections 2 to 6 and 9.1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, ClassVar, Final, NamedTuple, Protocol, TypeVar, dataclass_transform

from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import LocalProtocolError, RemoteProtocolError, TTLVError
from keystead.kmip.ttlv.forms import Decode, Encode, Form
from keystead.kmip.ttlv.specialise import specialise_decode, specialise_encode
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Item, ItemType, Limits
from keystead.kmip.ttlv.versions import V1_0, Version, nearest

Writer = Callable[[Any, "Structure"], bytes]
"""(value, the structure that holds it) -> the bytes of its item.

Raises LocalProtocolError, or one of ttlv.ENCODING_ERRORS, for a value of another kind.
"""


class Kind(Protocol):
    """The kind of a field's values. The composite kinds are in :mod:`keystead.kmip.ttlv.kinds`."""

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        """Yield every form in which a value may come."""

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""


class Declared(NamedTuple):
    """The arguments of :func:`field`."""

    tag: int
    kind: Kind
    optional: bool
    many: bool
    since: Version
    until: Version | None
    secret: bool

    def exists_in(self, version: Version) -> bool:
        """Return True if the field exists in that version."""
        return self.since <= version and (self.until is None or version < self.until)


_DECLARED: Final = "kmip"


def field(
    tag: int,
    kind: Any,
    *,
    default: Any = dataclasses.MISSING,
    since: Version = V1_0,
    until: Version | None = None,
    secret: bool = False,
    kw_only: bool = False,
) -> Any:
    """Declare a field of a structure.

    ``kind`` is an ItemType, an IntEnum (Enumeration), a structure's class or a :class:`Kind`. A field without a default
    is required. With the default ``None`` it is optional; with ``()`` it holds any number of values. Other defaults are
    not allowed. The field exists from version ``since`` up to, but not including, ``until``. The value of a ``secret``
    field is never in ``repr``. A required field after an optional one is ``kw_only``.
    """
    optional = default is not dataclasses.MISSING
    metadata = {_DECLARED: Declared(tag, as_kind(kind), optional, default == (), since, until, secret)}
    return dataclasses.field(default=default, metadata=metadata, kw_only=kw_only)


@dataclasses.dataclass(frozen=True, repr=False)
class Structure:
    """The base of every structure. ``extra`` holds raw items that the peer sent beyond the fields of this version."""

    TAG: ClassVar[int] = 0
    FIELDS: ClassVar[tuple[tuple[str, Declared], ...]] = ()
    """(name, declaration) of the fields, in the specification's order."""
    extra: tuple[Item, ...] = dataclasses.field(default=(), kw_only=True)

    def __repr__(self) -> str:
        secrets = {name for name, declared in self.FIELDS if declared.secret}
        shown = [f"{name}={'***' if name in secrets else repr(value)}" for name, value in present_fields(self)]
        return f"{type(self).__name__}({', '.join(shown)})"


_S = TypeVar("_S", bound=Structure)


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def structure(tag: int = 0) -> Callable[[type[_S]], type[_S]]:
    """Return the decorator that makes a class a structure. Without ``tag``, it has only the tags of fields."""

    def decorate(cls: type[_S]) -> type[_S]:
        made = dataclasses.dataclass(frozen=True, repr=False)(cls)
        made.TAG = tag
        made.FIELDS = tuple(
            (entry.name, entry.metadata[_DECLARED]) for entry in dataclasses.fields(made) if entry.name != "extra"
        )
        return made

    return decorate


def present_fields(value: Structure) -> Iterator[tuple[str, Any]]:
    """Yield (name, value) of the fields that are present, ``extra`` last."""
    for name in (*(name for name, _ in value.FIELDS), "extra"):
        content = getattr(value, name)
        if content is not None and content != ():
            yield name, content


class Primitive(NamedTuple):
    """The kind of a single value: ``int``, ``bool``, ``str`` or ``bytes``, depending on the item type."""

    type: ItemType

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002 - alike in every version
        """Yield the forms of a value."""
        yield Form(ttlv.key(tag, self.type), ttlv.READERS[self.type])

    def writer(self, tag: int, version: Version) -> Writer:  # noqa: ARG002
        """Return the encoder of a value."""
        item_key = ttlv.key(tag, self.type)
        if self.type in ttlv.FIXED:
            pack, length = ttlv.FIXED[self.type]
            return lambda value, _: pack(item_key, length, value)
        return lambda value, _: ttlv.write(item_key, value)


class Enumeration(NamedTuple):
    """The kind of an enumeration's member. A value that the enumeration does not know is a plain ``int``."""

    members: type[IntEnum]

    def forms(self, tag: int, version: Version) -> Iterator[Form]:  # noqa: ARG002
        """Yield the forms of a value."""
        members = {int(member): member for member in self.members}
        yield Form(ttlv.key(tag, ItemType.ENUMERATION), ttlv.word_reader(">II", members))

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""
        return Primitive(ItemType.ENUMERATION).writer(tag, version)


class Nested(NamedTuple):
    """The kind of a structure within a structure."""

    cls: type[Structure]

    def forms(self, tag: int, version: Version) -> Iterator[Form]:
        """Yield the forms of a value."""
        yield Form(ttlv.key(tag, ItemType.STRUCTURE), None, codec(self.cls, version))

    def writer(self, tag: int, version: Version) -> Writer:
        """Return the encoder of a value."""
        own = codec(self.cls, version)
        item_key = ttlv.key(tag, ItemType.STRUCTURE)

        def write(value: Any, _: Structure) -> bytes:
            if not isinstance(value, own.cls):
                raise LocalProtocolError(f"{tags.NAMES[tag]}: not a {own.cls.__name__}")
            return ttlv.write_bytes(item_key, own.encode(value))

        return write


def as_kind(kind: Any) -> Kind:
    """Return the kind for an item type, an enumeration or a structure's class."""
    if isinstance(kind, ItemType):
        return Primitive(kind)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return Enumeration(kind)
    if isinstance(kind, type) and issubclass(kind, Structure):
        return Nested(kind)
    declared: Kind = kind
    return declared


class Codec:
    """The codec of one class in one version. Its tables are built at the first use."""

    def __init__(self, cls: type[Structure], version: Version) -> None:
        self.cls = cls
        self._version = version
        self._fields = [(name, declared) for name, declared in cls.FIELDS if declared.exists_in(version)]
        self.decode: Decode = self._decode_first
        self.encode: Encode = self._encode_first
        """The function that returns the bytes of a structure's fields, without its own header."""

    def _encode_first(self, value: Structure) -> bytes:
        writers = [
            (name, declared.optional, declared.many, declared.kind.writer(declared.tag, self._version))
            for name, declared in self._fields
        ]
        absent = [name for name, declared in self.cls.FIELDS if not declared.exists_in(self._version)]
        self.encode = specialise_encode(self.cls, writers, absent)
        return self.encode(value)

    def _decode_first(self, *arguments: Any) -> Any:
        required = frozenset(name for name, declared in self._fields if not declared.optional)
        fields = [
            (name, declared.many, tuple(declared.kind.forms(declared.tag, self._version)))
            for name, declared in self._fields
        ]
        self.decode = specialise_decode(self.cls, fields, required)
        return self.decode(*arguments)


_CODECS: Final[dict[tuple[type[Structure], Version], Codec]] = {}


def codec(cls: type[Structure], version: Version) -> Codec:
    """Return the one codec of a class in one of the known versions."""
    found = _CODECS.get((cls, version))
    if found is None:
        found = _CODECS[cls, version] = Codec(cls, version)
    return found


def decode(cls: type[_S], data: bytes, version: Version, limits: Limits = DEFAULT_LIMITS) -> _S:
    """Return the structure that ``data`` holds. Nothing may come before or after it.

    Raises TTLVError for bytes that are not TTLV or exceed a limit. Raises RemoteProtocolError for items that do not
    form this structure.
    """
    if len(data) > limits.message_bytes:
        raise TTLVError(f"{len(data)} bytes exceed the limit of {limits.message_bytes}", limit=True)
    item_key, length, after = ttlv.next_item(data, 0, len(data))
    if after != len(data):
        raise TTLVError("bytes follow the item")
    if item_key != cls.TAG << 8 | 0x01:
        raise RemoteProtocolError(f"not a {tags.NAMES[cls.TAG]}")
    value: _S = codec(cls, nearest(version)).decode(bytes(data), 8, length, limits.depth, {})
    return value


def encode(value: Structure, version: Version) -> bytes:
    """Return the bytes of a structure under its own tag.

    Raises LocalProtocolError for a missing field, a field that the version does not have, or a value of another kind.
    """
    item_key = ttlv.key(value.TAG, ItemType.STRUCTURE)
    return ttlv.write_bytes(item_key, codec(type(value), nearest(version)).encode(value))

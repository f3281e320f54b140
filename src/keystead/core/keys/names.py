"""The names of objects on key servers, and key ids in ONTAP's form.

A name gives, in short ids, the incarnation and the attempt that wrote the object. Objects are found by their exact
name, and the name of an unknown object is parsed. A name contains nothing that a user chose.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from keystead.core.keys.model import KeyForm, KeyType

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.keys.model import Attempt, Incarnation

PREFIX = "keystead-"

_NAME = re.compile(r"keystead-([0-9a-f]{8})-([kcdf])([0-9a-f]{16})-([1-9][0-9]{0,8})(?:-([12]))?")
INCARNATION_DIGITS = 8
ID_DIGITS = 16

_KEY_ID_PREFIX = {
    KeyType.NSE_AK: "00000000000000000200000000000100",
    KeyType.VEK: "00000000000000000200000000000500",
    KeyType.KMIP: "00000000000000000200000000000900",  # not ONTAP's
}
_KEY_ID_SUFFIX = "0" * 16


class ObjectKind(StrEnum):
    """The kind of an object of ours: a copy of a key, a canary, a descriptor, or an epoch marker."""

    KEY = "k"
    CANARY = "c"
    DESCRIPTOR = "d"
    EPOCH_MARKER = "f"


@dataclass(frozen=True, slots=True)
class ObjectName:
    """The parts of an object's name. ``incarnation`` and ``id`` are the first digits of uuids.

    The id is of a key; for a canary or an epoch marker it is of a key server. ``part`` is 1 or 2 for an object of a
    pair, else 0.
    """

    incarnation: str
    kind: ObjectKind
    id: str
    attempt: int
    part: int = 0

    def __str__(self) -> str:
        part = f"-{self.part}" if self.part else ""
        return f"{PREFIX}{self.incarnation}-{self.kind}{self.id}-{self.attempt}{part}"


def object_name(attempt: Attempt, kind: ObjectKind = ObjectKind.KEY) -> ObjectName:
    """Return the name under which the attempt writes the key, or the descriptor of the key.

    The name has no part: for a pair, :func:`parts` makes two names of it.
    """
    return ObjectName(_short(attempt.incarnation, INCARNATION_DIGITS), kind, _short(attempt.key), attempt.number)


def canary_name(incarnation: str, key_server: str, number: int) -> ObjectName:
    """Return the name of a server's canary. The number grows with each canary that is written there.

    Called while a server is learned.
    """
    return ObjectName(_short(incarnation, INCARNATION_DIGITS), ObjectKind.CANARY, _short(key_server), number)


def epoch_marker_name(incarnation: str, key_server: str, number: int) -> ObjectName:
    """Return the name of a server's epoch marker; see :mod:`keystead.core.keys.epoch_markers`."""
    return ObjectName(_short(incarnation, INCARNATION_DIGITS), ObjectKind.EPOCH_MARKER, _short(key_server), number)


def parts(name: ObjectName, form: KeyForm) -> tuple[str, ...]:
    """Return the names of the objects that hold a key or a canary in this form: one name, or two for a pair.

    Called before an object is looked for by its name.
    """
    if form is KeyForm.SYMMETRIC_KEY_PAIR:
        return tuple(str(replace(name, part=part)) for part in (1, 2))
    return (str(name),)


def parse(name: str) -> ObjectName | None:
    """Return the parts of an object's name; None if the name is not one of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    incarnation, kind, id_, attempt, part = found.groups()
    return ObjectName(incarnation, ObjectKind(kind), id_, int(attempt), int(part or 0))


def is_written_by(name: str, incarnations: Iterable[Incarnation]) -> bool:
    """Return True if the name is one of ours and says that one of these incarnations wrote the object.

    Called when orphans are listed, to show which of them this database wrote itself.
    """
    parsed = parse(name)
    return parsed is not None and any(each.uuid.startswith(parsed.incarnation) for each in incarnations)


def key_id(key_type: KeyType, uuid: str) -> str:
    """Return the id of a key in ONTAP's form: 80 hexadecimal digits, 32 of them from the uuid.

    Called when a key is created or adopted.
    """
    return _KEY_ID_PREFIX[key_type] + uuid.replace("-", "") + _KEY_ID_SUFFIX


def _short(uuid: str, digits: int = ID_DIGITS) -> str:
    return uuid.replace("-", "")[:digits]

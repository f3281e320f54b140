"""The names that objects have on key servers, and the ids that keys have in ONTAP's form.

A name says which incarnation's which attempt wrote the object, in short ids; it is looked for exactly, and read back
when objects of unknown origin are found. It holds nothing that a user chose.
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
}
_KEY_ID_SUFFIX = "0" * 16


class ObjectKind(StrEnum):
    """What an object of ours is: a copy of a key, a canary, the descriptor of a copy, or a fence."""

    KEY = "k"
    CANARY = "c"
    DESCRIPTOR = "d"
    EPOCH_MARKER = "f"


@dataclass(frozen=True, slots=True)
class ObjectName:
    """A name, taken apart. ``incarnation`` and ``id`` are the first digits of uuids; ``part`` is 0 for a whole."""

    incarnation: str
    kind: ObjectKind
    id: str
    attempt: int
    part: int = 0

    def __str__(self) -> str:
        part = f"-{self.part}" if self.part else ""
        return f"{PREFIX}{self.incarnation}-{self.kind}{self.id}-{self.attempt}{part}"


def object_name(attempt: Attempt, kind: ObjectKind = ObjectKind.KEY) -> ObjectName:
    """The name under which an attempt writes a key, or its descriptor."""
    return ObjectName(_short(attempt.incarnation, INCARNATION_DIGITS), kind, _short(attempt.key), attempt.number)


def canary_name(incarnation: str, key_server: str, number: int) -> ObjectName:
    """The name of a server's canary; the number grows with each one that is written."""
    return ObjectName(_short(incarnation, INCARNATION_DIGITS), ObjectKind.CANARY, _short(key_server), number)


def epoch_marker_name(incarnation: str, key_server: str, number: int) -> ObjectName:
    """The name of a server's fence; see :mod:`keystead.core.keys.epoch_markers`."""
    return ObjectName(_short(incarnation, INCARNATION_DIGITS), ObjectKind.EPOCH_MARKER, _short(key_server), number)


def parts(name: ObjectName, form: KeyForm) -> tuple[str, ...]:
    """The names of the objects that keep a key under a name: one, or those of a pair."""
    if form is KeyForm.SYMMETRIC_KEY_PAIR:
        return tuple(str(replace(name, part=part)) for part in (1, 2))
    return (str(name),)


def parse(name: str) -> ObjectName | None:
    """Take a name apart; None when it is not one of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    incarnation, kind, id_, attempt, part = found.groups()
    return ObjectName(incarnation, ObjectKind(kind), id_, int(attempt), int(part or 0))


def is_written_by(name: str, incarnations: Iterable[Incarnation]) -> bool:
    """Whether one of these incarnations wrote an object, as its name tells."""
    parsed = parse(name)
    return parsed is not None and any(each.uuid.startswith(parsed.incarnation) for each in incarnations)


def key_id(key_type: KeyType, uuid: str) -> str:
    """A key's id in ONTAP's form: 80 hexadecimal digits, of which 32 are the uuid's."""
    return _KEY_ID_PREFIX[key_type] + uuid.replace("-", "") + _KEY_ID_SUFFIX


def _short(uuid: str, digits: int = ID_DIGITS) -> str:
    return uuid.replace("-", "")[:digits]

"""An inventory made of what key servers hold: which keys are certain, and which objects only are there.

Pure. A key is certain when authentic descriptors agree on it, and copies with its digest were read in two replication
domains, or in the only one there is. Anything else under our names is unclaimed: listed, never destroyed.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.names import ID_DIGITS, ObjectKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.descriptors import Descriptor
    from keystead.core.keys.names import ObjectName

ENOUGH: Final = 2
"""Domains whose copies are compared, where there are so many."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object under one of our names on a key server; ``state`` is the KMIP State's name, if it has one."""

    key_server: str
    unique_identifier: str
    name: ObjectName
    state: str = ""

    @property
    def ended(self) -> bool:
        """Whether it was destroyed: there are servers that show it all the same."""
        return self.state in DESTROYED_STATES


@dataclass(frozen=True, slots=True)
class FoundDescriptor:
    """A descriptor that is authentic, and stands under its own name."""

    object: FoundObject
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class FoundCopy:
    """All objects of a copy, whose material was read and agreed with the descriptor's digest."""

    key_server: str
    unique_identifiers: tuple[str, ...]
    descriptor: Descriptor


class Doubt(StrEnum):
    """Why a described key is not taken."""

    CONTRADICTED = "descriptors contradict each other"
    ELSEWHERE = "it belongs to another key manager"
    NO_OWNER = "its SVM does not exist"
    NAME_TAKEN = "another key has its name"
    TOO_FEW_DOMAINS = "too few replication domains hold a copy that agrees"
    CHANGED = "servers, certificate or keys were changed while it was read: rebuild again"
    UNDER_WAY = "the database has only its beginning, whose time is not over: rebuild again in some minutes"


@dataclass(frozen=True, slots=True)
class Certain:
    """A key to be taken, with its copies by attempt. ``compared`` is how many domains hold one."""

    descriptor: Descriptor
    copies: tuple[FoundCopy, ...]
    compared: int


@dataclass(frozen=True, slots=True)
class Known:
    """What a database knows that keys are taken into. ``svms`` are the uuids of those there are, ``""`` for none.

    ``keys`` are those (uuids) that it has. Of some it has only the beginning, of this life of it: ``under_way`` while
    their time is not over, then ``over``. Whoever described them has seen them committed.
    """

    key_manager: str
    domain_of: Mapping[str, str]
    svms: Collection[str]
    keys: Collection[str]
    names: Collection[str]
    under_way: Collection[str] = frozenset()
    over: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Inventory:
    """What comes of it: keys, doubts by key uuid, and the copies of keys that nothing accounts for.

    ``known`` are keys that the database has, with the copies that were found of them: it may not know of each.
    """

    keys: tuple[Certain, ...]
    doubts: Mapping[str, Doubt]
    unclaimed: tuple[FoundObject, ...]
    known: tuple[Certain, ...] = ()


def inventory(
    objects: Iterable[FoundObject],
    descriptors: Iterable[FoundDescriptor],
    copies: Iterable[FoundCopy],
    known: Known,
) -> Inventory:
    """Make it. Of keys that the database has, only copies are looked at: all else is its keeper's.

    Keys that adopted an object come first: the key that it was before is not taken beside them.
    """
    described: dict[str, list[Descriptor]] = defaultdict(list)
    for found in descriptors:
        described[found.descriptor.uuid].append(found.descriptor)
    held: dict[str, list[FoundCopy]] = defaultdict(list)
    for copy in copies:
        held[copy.descriptor.uuid].append(copy)
    keys: list[Certain] = []
    there: list[Certain] = []
    begun = {*known.under_way, *known.over}
    doubts: dict[str, Doubt] = {}
    heirs = _heirs(each for of_key in described.values() for each in of_key)
    for uuid, of_key in sorted(described.items(), key=lambda each: (not any(of.adopted for of in each[1]), each[0])):
        certain = Certain(of_key[0], tuple(held[uuid]), len({known.domain_of[copy.key_server] for copy in held[uuid]}))
        if uuid in known.keys and uuid not in begun:
            there.append(certain)
            continue
        doubt = _doubt(certain, of_key, known, heirs)
        if doubt is None:
            keys.append(certain)
        else:
            doubts[uuid] = doubt
    return Inventory(tuple(keys), doubts, tuple(_unclaimed(objects, keys, known)), tuple(there))


def _heirs(descriptors: Iterable[Descriptor]) -> dict[tuple[str, str], str]:
    """Whose a name is in a key manager: that of the key created last, for it was free again then."""
    last = sorted(descriptors, key=lambda each: (each.created, each.uuid))
    return {(each.key_manager, each.name): each.uuid for each in last}


def _doubt(
    certain: Certain, descriptors: Sequence[Descriptor], known: Known, heirs: Mapping[tuple[str, str], str]
) -> Doubt | None:
    key = certain.descriptor
    rules = {
        Doubt.UNDER_WAY: key.uuid in known.under_way,
        Doubt.CONTRADICTED: len({each.key for each in descriptors}) > 1,
        Doubt.ELSEWHERE: key.key_manager != known.key_manager,
        Doubt.NO_OWNER: key.svm not in known.svms,
        Doubt.NAME_TAKEN: key.name in known.names or heirs[key.key_manager, key.name] != key.uuid,
        Doubt.TOO_FEW_DOMAINS: certain.compared < min(ENOUGH, len(set(known.domain_of.values()))),
    }
    return next((doubt for doubt, broken in rules.items() if broken), None)


def _unclaimed(objects: Iterable[FoundObject], keys: Iterable[Certain], known: Known) -> list[FoundObject]:
    """What may be copies of keys, and belongs to none, be it taken now or known before."""
    ids = {uuid.replace("-", "")[:ID_DIGITS] for uuid in known.keys}
    claimed = {(copy.key_server, id_) for key in keys for copy in key.copies for id_ in copy.unique_identifiers}
    return [
        found
        for found in objects
        if found.name.kind is ObjectKind.KEY
        and not found.ended
        and found.name.id not in ids
        and (found.key_server, found.unique_identifier) not in claimed
    ]

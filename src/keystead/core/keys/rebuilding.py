"""Rebuilding: an inventory from the objects on key servers: which keys are certain, which objects are orphans. Pure.

A key is certain if its authentic descriptors agree, and copies with its digest were read in two replication domains (or
in the only one). Any other object under our names is an orphan: listed, and never destroyed.
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
"""In how many domains copies must agree, if there are so many."""


@dataclass(frozen=True, slots=True)
class FoundObject:
    """An object under one of our names on a key server. ``state`` is the name of its KMIP State, or empty."""

    key_server: str
    unique_identifier: str
    name: ObjectName
    state: str = ""

    @property
    def ended(self) -> bool:
        """True if the object was destroyed. Some servers show destroyed objects."""
        return self.state in DESTROYED_STATES


@dataclass(frozen=True, slots=True)
class FoundDescriptor:
    """An authentic descriptor, in an object with the right name."""

    object: FoundObject
    descriptor: Descriptor


@dataclass(frozen=True, slots=True)
class FoundCopy:
    """All objects of a copy. Their material was read and agrees with the digest in the descriptor."""

    key_server: str
    unique_identifiers: tuple[str, ...]
    descriptor: Descriptor


class Doubt(StrEnum):
    """Why a described key is not imported."""

    CONTRADICTED = "descriptors contradict each other"
    ELSEWHERE = "it belongs to another key manager"
    NO_OWNER = "its SVM does not exist"
    OTHER_OWNER = "the database has it as the key of another owner"
    NAME_TAKEN = "another key has its name"
    TOO_FEW_DOMAINS = "too few replication domains hold a copy that agrees"
    CHANGED = "servers, certificate or keys were changed while it was read: rebuild again"
    UNDER_WAY = "the database has only its beginning, whose time is not over: rebuild again in some minutes"


@dataclass(frozen=True, slots=True)
class CertainKey:
    """A key to be imported, with its copies. ``compared`` is the number of domains that hold a copy."""

    descriptor: Descriptor
    copies: tuple[FoundCopy, ...]
    compared: int


@dataclass(frozen=True, slots=True)
class Known:
    """What the database knows before keys are imported. ``svms`` are the uuids of all SVMs, and ``""`` for none.

    ``keys`` maps the uuids of its keys to the uuids of their SVMs, empty for the cluster. Some of them are pending or
    aborted here: ``under_way`` while an attempt of this incarnation has not expired, else ``ended``. A descriptor
    proves that its key was committed.
    """

    key_manager: str
    domain_of: Mapping[str, str]
    svms: Collection[str]
    keys: Mapping[str, str]
    names: Collection[str]
    under_way: Collection[str] = frozenset()
    ended: Collection[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Inventory:
    """The result: the keys to import, doubts by key uuid, and the orphans that may be copies of keys.

    ``known`` are keys that the database has, with the copies found: the database may lack some of these copies.
    """

    keys: tuple[CertainKey, ...]
    doubts: Mapping[str, Doubt]
    unclaimed: tuple[FoundObject, ...]
    known: tuple[CertainKey, ...] = ()


def inventory(
    objects: Iterable[FoundObject],
    descriptors: Iterable[FoundDescriptor],
    copies: Iterable[FoundCopy],
    known: Known,
) -> Inventory:
    """Make the inventory. Of keys that the database has, only the copies are returned: all else is the keeper's task.

    A key that is pending or aborted in the database counts as one that the database does not have. But it is in doubt
    while its attempt is under way. Keys with an adopted object come first, so that the former key of that object is not
    imported as well. Called by a rebuild when the servers of a key manager were read. Nothing is stored here.
    """
    described: dict[str, list[Descriptor]] = defaultdict(list)
    for found in descriptors:
        described[found.descriptor.uuid].append(found.descriptor)
    held: dict[str, list[FoundCopy]] = defaultdict(list)
    for copy in copies:
        held[copy.descriptor.uuid].append(copy)
    keys: list[CertainKey] = []
    known_keys: list[CertainKey] = []
    uncommitted = {*known.under_way, *known.ended}
    doubts: dict[str, Doubt] = {}
    name_owners = _name_owners(each for of_key in described.values() for each in of_key)
    for uuid, of_key in sorted(described.items(), key=lambda each: (not any(of.adopted for of in each[1]), each[0])):
        certain = CertainKey(
            of_key[0], tuple(held[uuid]), len({known.domain_of[copy.key_server] for copy in held[uuid]})
        )
        if uuid in known.keys and uuid not in uncommitted:
            if any(each.svm != known.keys[uuid] for each in of_key):
                doubts[uuid] = Doubt.OTHER_OWNER
            else:
                known_keys.append(certain)
            continue
        doubt = _doubt(certain, of_key, known, name_owners)
        if doubt is None:
            keys.append(certain)
        else:
            doubts[uuid] = doubt
    return Inventory(tuple(keys), doubts, tuple(_unclaimed(objects, keys, known)), tuple(known_keys))


def _name_owners(descriptors: Iterable[Descriptor]) -> dict[tuple[str, str], str]:
    """Return the key (uuid) that a name belongs to, by key manager and name: the key created last.

    The name was free again when that key was created. A described key that does not own its name is not imported.
    """
    last = sorted(descriptors, key=lambda each: (each.created, each.uuid))
    return {(each.key_manager, each.name): each.uuid for each in last}


def _doubt(
    certain: CertainKey, descriptors: Sequence[Descriptor], known: Known, name_owners: Mapping[tuple[str, str], str]
) -> Doubt | None:
    """Return the first reason why a described key is not imported, or None if the key is certain."""
    key = certain.descriptor
    rules = {
        Doubt.UNDER_WAY: key.uuid in known.under_way,
        Doubt.CONTRADICTED: len({each.key for each in descriptors}) > 1,
        Doubt.ELSEWHERE: key.key_manager != known.key_manager,
        Doubt.NO_OWNER: key.svm not in known.svms,
        Doubt.NAME_TAKEN: key.name in known.names or name_owners[key.key_manager, key.name] != key.uuid,
        Doubt.TOO_FEW_DOMAINS: certain.compared < min(ENOUGH, len(set(known.domain_of.values()))),
    }
    return next((doubt for doubt, broken in rules.items() if broken), None)


def _unclaimed(objects: Iterable[FoundObject], keys: Iterable[CertainKey], known: Known) -> list[FoundObject]:
    """Return the objects that may be copies of keys, but belong to no key that is imported now or was known before.

    They become orphans. Destroyed objects, canaries, descriptors and epoch markers are left out.
    """
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

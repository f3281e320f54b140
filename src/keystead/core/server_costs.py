"""What Keystead costs a key server: its objects there, and the connections and operations of one node. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.core.keys.epoch_markers import EpochMarker


@dataclass(frozen=True, slots=True)
class ObjectCounts:
    """The numbers of our Managed Objects on a key server, by kind, as the database knows them.

    ``keys`` are objects of copies: a copy in the form of a pair is two objects.
    """

    keys: int = 0
    descriptors: int = 0
    canary: int = 0
    markers: int = 0


@dataclass(frozen=True, slots=True)
class Traffic:
    """The open connections of one node to a key server and its secondaries, and the KMIP operations of a day.

    ``watching`` are operations of checks and probes, ``keys`` those of work with keys.
    """

    connections: int
    watching: int
    keys: int


@dataclass(frozen=True, slots=True)
class ServerCost:
    """What Keystead costs a key server. ``traffic`` is None if it may not be seen, or is not known."""

    objects: ObjectCounts
    traffic: Traffic | None


def marker_objects(marker: EpochMarker) -> int:
    """Return how many objects an incarnation has for its markers: the newest, the previous one, and the anchor."""
    newest, previous = len(marker.unique_identifiers), len(marker.previous_identifiers)
    return newest + previous + max(newest, previous)

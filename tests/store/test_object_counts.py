"""Our objects on key servers, counted in the database by kind, on both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.epoch_markers import EpochMarker, EpochMarkerState
from keystead.core.keys.model import Presence
from keystead.core.server_costs import ObjectCounts
from tests.store.keys import attempt, copy, key, profile

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore


async def test_objects_are_counted_by_server_and_kind(filled: SqlStore) -> None:
    """A pair is two objects; secondaries count; what is gone, or was never there, does not."""

    def fill(tx: Transaction) -> None:
        for uuid in ("k1", "k2"):
            tx.add_key(key(uuid))
            tx.add_attempt(attempt(uuid))
        ids = {"unique_identifiers": ("1", '2", "3'), "descriptor": "d"}
        copies = [
            copy("k1", "a", presence=Presence.PRESENT, **ids),
            copy("k1", "a", host="b.example", presence=Presence.UNKNOWN, unique_identifiers=("4",)),
            copy("k1", "b", presence=Presence.MISSING, **ids),
            copy("k1", "c", presence=Presence.DIFFERENT, **ids),
            copy("k2", "a"),
            copy("k2", "b", presence=Presence.DESTROYED, **ids),
        ]
        tx.put_copies(copies, new=True)
        tx.put_profile(profile("b", canary=("c1", "c2")))
        tx.put_epoch_marker(EpochMarker("c", "inc-1", 2, b"t", EpochMarkerState.HELD, ("m1",)))

    await filled.write(fill)
    assert await filled.read(lambda tx: tx.object_counts(["a", "b", "c", "d"])) == {
        "a": ObjectCounts(keys=3, descriptors=1),
        "b": ObjectCounts(canary=2),
        "c": ObjectCounts(keys=2, descriptors=1, markers=2),
        "d": ObjectCounts(),
    }
    assert await filled.read(lambda tx: tx.object_counts([])) == {}


@pytest.mark.parametrize(
    ("newest", "previous", "objects"),
    [((), (), 0), (("m2",), (), 2), (("m3",), ("m2",), 3), ((), ("m2",), 2), (("3a", "3b"), ("2a", "2b"), 6)],
)
async def test_markers_have_an_anchor(
    filled: SqlStore, newest: tuple[str, ...], previous: tuple[str, ...], objects: int
) -> None:
    """The newest marker, the previous one until it is destroyed, and the anchor; each may be a pair."""
    marker = EpochMarker("a", "inc-1", 3, b"t", EpochMarkerState.SENT, newest, previous)
    await filled.write(lambda tx: tx.put_epoch_marker(marker))
    assert await filled.read(lambda tx: tx.object_counts(["a"])) == {"a": ObjectCounts(markers=objects)}

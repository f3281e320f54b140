"""Changes of copies: what an observation changes, and storing it by compare-and-set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.keys.guarding import is_elsewhere
from keystead.core.keys.keeping import CopyAnswer, looked_at
from keystead.core.keys.model import Presence
from keystead.service.keys.attempts import unchanged
from keystead.service.keys.topology import load_topology

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import Tracked
    from keystead.service.keys.looking.look import CopyObservation
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction


CopyChange = tuple["Copy", "Copy"]
"""A copy as it was when it was looked at, and as it is now."""


def changes_of(at: Visit, row: Tracked, seen: CopyObservation, now: datetime) -> list[CopyChange]:
    """What a look at a copy changes.

    What is read on the primary is there: where the primary's row names no object, it is that one from now on. Of a
    secondary for which the primary stands in that says nothing.
    """
    after = with_seen(looked_at(row.copy, seen.look, row.attempt, now, canary=at.absence_counts), seen)
    primary = row.primary
    if seen.look is not CopyAnswer.AGREES or at.host == row.copy.host or primary is None:
        return [(row.copy, after)]
    none_there = primary.presence is Presence.MISSING and not primary.unique_identifiers
    there = [(primary, replace(after, host=primary.host))] if none_there else []
    return there if at.stands_in else [(row.copy, after), *there]


def store_changes(
    tx: Transaction, holding: Holding, changes: Sequence[CopyChange], *, seen_in: ServerTopology | None = None
) -> list[CopyChange]:
    """Store changes while the lease is held; see :func:`put_changes`."""
    holding.check(tx)
    return put_changes(tx, changes, seen_in=seen_in)


def put_changes(
    tx: Transaction, changes: Sequence[CopyChange], *, seen_in: ServerTopology | None = None
) -> list[CopyChange]:
    """Store copies that are in the database still as they were; return what was stored. Locks the keys.

    What was ``seen_in`` places is stored only while servers are where they were, and know us as who has seen it; that
    locks the key manager before.
    """
    standing = None if seen_in is None else _standing(tx, seen_in)
    uuids = sorted({before.key for before, _ in changes})
    for uuid in uuids:
        tx.lock_key(uuid)
    now = {copy for copy in tx.copies(uuids) if standing is None or copy.key_server in standing}
    stored = [(before, after) for before, after in changes if before in now and before != after]
    tx.put_copies([after for _, after in stored], new=False)
    return stored


def _standing(tx: Transaction, then: ServerTopology) -> set[str]:
    """The servers (uuids) of which holds what was seen then."""
    manager = tx.key_manager(then.key_manager.uuid, lock=True)
    now = None if manager is None else load_topology(tx, manager)
    if now is None or not unchanged(then, now):
        return set()
    after = {server.uuid: server for server in now.servers}
    return {each.uuid for each in then.servers if each.uuid in after and not is_elsewhere(each, after[each.uuid])}


def with_seen(copy: Copy, seen: CopyObservation) -> Copy:
    """A copy with the identifiers and the State that were seen."""
    return replace(
        copy,
        unique_identifiers=seen.unique_identifiers or copy.unique_identifiers,
        object_state=seen.state or copy.object_state,
    )

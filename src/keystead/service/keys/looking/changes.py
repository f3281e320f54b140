"""Changes of copies: what an observation changes, and how it is stored by compare-and-set."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from keystead.core.keys.guarding import is_elsewhere
from keystead.core.keys.keeping import CopyAnswer, after_look
from keystead.core.keys.model import Presence
from keystead.service.keys.attempts import same_identity
from keystead.service.keys.topology import load_topology
from keystead.service.ports.cluster import LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import CopyRows, KeyRows, TopologyRows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import Tracked
    from keystead.service.keys.looking.look import CopyObservation
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology


CopyChange = tuple["Copy", "Copy"]
"""A copy as it was before the look, and as it is after the look."""


class Rows(TopologyRows, KeyManagerRows, LeaseRows, KeyRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


def changes_of(at: Visit, row: Tracked, seen: CopyObservation, now: datetime) -> list[CopyChange]:
    """Return what one look at a copy changes.

    Bytes that were read on the primary prove a copy on the primary. If the primary's copy is ``missing`` and has no
    identifiers, it gets the identifiers that were read. A look at a primary that stands in for a secondary changes
    nothing for the secondary, if the primary has a row.
    """
    after = with_seen(after_look(row.copy, seen.look, row.attempt, now, canary=at.absence_counts), seen)
    primary = row.primary
    if seen.look is not CopyAnswer.AGREES or at.host == row.copy.host or primary is None:
        return [(row.copy, after)]
    none_there = primary.presence is Presence.MISSING and not primary.unique_identifiers
    there = [(primary, replace(after, host=primary.host))] if none_there else []
    return there if at.stands_in else [(row.copy, after), *there]


def store_changes(
    tx: Rows, holding: Holding, changes: Sequence[CopyChange], *, seen_in: ServerTopology | None = None
) -> list[CopyChange]:
    """Store changes if the lease is still held; see :func:`put_changes`. Raises LeaseLost."""
    holding.check(tx)
    return put_changes(tx, changes, seen_in=seen_in)


def put_changes(tx: Rows, changes: Sequence[CopyChange], *, seen_in: ServerTopology | None = None) -> list[CopyChange]:
    """Store the copies that nobody has changed since the look; return the changes that were stored.

    Locks the keys. With ``seen_in``, a change is stored only if its server has not moved since. Incarnation and client
    certificate must be the same as well. This check locks the key manager before the keys.
    """
    unmoved = None if seen_in is None else _unmoved_servers(tx, seen_in)
    uuids = sorted({before.key for before, _ in changes})
    for uuid in uuids:
        tx.lock_key(uuid)
    now = {copy for copy in tx.copies(uuids) if unmoved is None or copy.key_server in unmoved}
    stored = [(before, after) for before, after in changes if before in now and before != after]
    tx.put_copies([after for _, after in stored], new=False)
    return stored


def _unmoved_servers(tx: Rows, then: ServerTopology) -> set[str]:
    """Return the servers (uuids) that are still where they were in ``then``. Locks the key manager.

    Empty if the incarnation or the client certificate has changed.
    """
    manager = tx.key_manager(then.key_manager.uuid, lock=True)
    now = None if manager is None else load_topology(tx, manager)
    if now is None or not same_identity(then, now):
        return set()
    after = {server.uuid: server for server in now.servers}
    return {each.uuid for each in then.servers if each.uuid in after and not is_elsewhere(each, after[each.uuid])}


def with_seen(copy: Copy, seen: CopyObservation) -> Copy:
    """Return the copy with the identifiers and the State that were seen."""
    return replace(
        copy,
        unique_identifiers=seen.unique_identifiers or copy.unique_identifiers,
        object_state=seen.state or copy.object_state,
    )

"""Purge keys: destroy the objects of purging keys and of aborted attempts, with a receipt for each.

Three checks come before an object is destroyed. A transaction under the keeper's lease reads that it may be destroyed,
by :func:`keystead.core.keys.destroying.may_destroy`; this permission is final. The server confirms by the object's
name, else by its bytes, that it is the expected object. A packet leaves only while no other process can hold the lease.

An object that is not the expected one is left alone. An adopted object is left alone, because another system wrote it
and may need it. For attempts that timed out see :mod:`keystead.service.keys.destroying.expired`. No recovery window
expires while the clock is untrusted (:mod:`keystead.service.cluster.trusted_clock`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core.keys.destroying import (
    ABSENT,
    DESTROYED,
    LEFT,
    aborted_elsewhere,
    as_purging,
    is_due,
    is_purged,
    may_arrive,
    may_destroy,
    not_written,
)
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import KeyState, Presence, Receipt
from keystead.core.keys.names import object_name
from keystead.service.cluster.incarnations import CloneFound
from keystead.service.keys.context import COPIES_PER_READ, Site, topology_of, tracked
from keystead.service.keys.destroying.expired import TimedOutAttempts, attempt_id
from keystead.service.keys.destroying.objects import (
    attributes_if_present,
    descriptor_ids,
    destroy_object,
    objects_of_attempt,
    with_ids,
)
from keystead.service.keys.looking.changes import store_changes
from keystead.service.keys.looking.visit import visit_each
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AuditRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, ReceiptRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from keystead.service.cluster.leases import Holding
    from keystead.service.cluster.trusted_clock import TrustedClock
    from keystead.service.keys.context import KeeperContext, Tracked
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.cluster import IncarnationRows

log = structlog.get_logger(__name__)

_AddressId = tuple[str, str]
"""An address id: server (uuid) and host, empty for the primary."""

_FINAL_ACTIONS: Final = frozenset({DESTROYED, ABSENT, LEFT})


class Rows(
    TopologyRows,
    KeyManagerRows,
    LeaseRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReceiptRows,
    DetachedRows,
    AuditRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class KeyPurge:
    """The step that purges keys and destroys objects. Only the keeper calls it.

    ``on_cloned`` begins a new incarnation after the given one (uuid). ``check`` raises StoreError in a transaction on a
    database that has gone back since the last look at it.
    """

    def __init__(
        self,
        context: KeeperContext,
        clock: TrustedClock,
        on_cloned: Callable[[str], Awaitable[None]],
        check: Callable[[IncarnationRows], None] = lambda _: None,
    ) -> None:
        self._context = context
        self._clock = clock
        self._on_cloned = on_cloned
        self._check = check
        self._expired = TimedOutAttempts(context, check)

    async def end(self, holding: Holding, key_manager: str, marked: AbstractSet[str]) -> None:
        """Purge keys whose recovery window has ended, and destroy objects of aborted attempts, in a key manager.

        Called in each round of the keeper, after epoch markers were replaced. Nothing happens in a held incarnation. A
        server that cannot be asked waits for the next round. So does a server that is not among the ``marked`` ones
        (uuids): those that :meth:`EpochMarkers.advance` returned.

        If this database turns out to be a clone, a new incarnation begins. Raises StoreError, LeaseLost.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None or not topology.incarnation.destroys:
            return
        try:
            await self._end(holding, topology, marked)
        except CloneFound:
            log.warning("a clone of the database committed an attempt that is aborted here", key_manager=key_manager)
            await self._on_cloned(topology.incarnation.uuid)

    async def _end(self, holding: Holding, topology: ServerTopology, marked: AbstractSet[str]) -> None:
        """Do one round of purging: begin purges, destroy objects, finish purges, and delete empty detached servers.

        While the clock is untrusted no purge begins, but everything else is done. Raises CloneFound, StoreError,
        LeaseLost.
        """
        store, key_manager = self._context.store, topology.key_manager.uuid
        now = await self._clock.now()
        known = await store.read(lambda tx: sites_of(tx, topology))
        sites = {uuid: site for uuid, site in known.items() if uuid in marked}
        if now is not None:
            await self._begin_purges(holding, key_manager, now, known.keys() - marked)
        silent: set[_AddressId] = set()
        for read_batch in (_aborted_batch, _purging_batch):
            await self._destroy_batches(holding, topology, sites, read_batch, silent)
        for uuid in await store.read(lambda tx: _keys_in(tx, key_manager, KeyState.PURGING)):
            await store.write(lambda tx: _finish_purge(tx, holding, uuid))  # noqa: B023 - awaited
        for detached in await store.read(lambda tx: tx.detached_key_servers(key_manager)):
            await store.write(lambda tx: _delete_if_empty(tx, holding, detached.server.uuid))  # noqa: B023 - awaited

    async def _begin_purges(self, holding: Holding, key_manager: str, now: datetime, unmarked: Collection[str]) -> None:
        """Begin the purge of each retired key whose recovery window has ended: see :meth:`_begin_purge`."""
        store = self._context.store
        for uuid in await store.read(lambda tx: _keys_in(tx, key_manager, KeyState.RETIRED, due=now)):
            await store.write(lambda tx: self._begin_purge(tx, holding, uuid, now, unmarked))  # noqa: B023 - awaited

    async def _destroy_batches(
        self,
        holding: Holding,
        topology: ServerTopology,
        sites: Mapping[str, Site],
        read_batch: _ReadBatch,
        silent: set[_AddressId],
    ) -> None:
        """Destroy the copies that ``read_batch`` returns, batch by batch.

        Called for aborted attempts, then for purging keys. Only copies on servers in ``sites`` are destroyed. Addresses
        in ``silent`` are left alone. Addresses that do not answer are added to ``silent``.
        """
        after: str | None = ""
        while after is not None:
            after, rows = await self._context.store.read(lambda tx: read_batch(tx, topology, after or ""))  # noqa: B023 - awaited
            by_address: dict[_AddressId, list[Tracked]] = {}
            for row in await self._expired.may_end(holding, topology, sites, rows):
                by_address.setdefault((row.copy.key_server, row.copy.host), []).append(row)
            for address, some in by_address.items():
                site = sites.get(address[0])
                if site is None or address in silent:
                    continue
                if not await visit_each(self._context, topology, site, some, partial(self._destroy_or_log, holding)):
                    silent.add(address)

    async def _destroy_or_log(self, holding: Holding, at: Visit, row: Tracked) -> None:
        """Destroy a copy, and only log if the server refuses. Raises KeyServerFault if the server does not answer."""
        try:
            await self._destroy_copy(holding, at, row)
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
            log.warning("a copy is not destroyed", address=at.address, key=row.key.key_id, why=fault.reason)

    async def _destroy_copy(self, holding: Holding, at: Visit, row: Tracked) -> None:
        """Destroy the objects of a copy and its descriptor, if :meth:`_permits` allows it, and store receipts.

        The objects of an adopted copy are left. An object that is not found is absent only if the server shows its
        canary; for a copy without identifiers, only if it cannot arrive any more, too. If destroying fails, receipts
        are stored all the same. Raises KeyServerFault, StoreError, LeaseLost.
        """
        if not await self._context.store.write(lambda tx: self._permits(tx, holding, row)):
            return
        ids = row.copy.unique_identifiers or await objects_of_attempt(at.session, row)
        done: dict[str, list[str]] = {id_: [] for id_ in (*await descriptor_ids(at.session, row), *ids)}
        if not ids and at.canary and not await self._may_arrive(row):
            done[""] = [ABSENT]
        try:
            for id_ in filter(None, done):
                if row.attempt.adopted and id_ in ids:
                    done[id_].append(LEFT)
                    continue
                facts = await attributes_if_present(at.session, id_)
                if facts is None or facts.state in DESTROYED_STATES:
                    done[id_] += [ABSENT] * (at.canary or facts is not None)
                else:
                    await destroy_object(holding, at, with_ids(row, ids), id_, facts, done[id_])
        finally:
            await self._context.store.write(lambda tx: self._store_receipts(tx, holding, row, ids, done))

    async def _may_arrive(self, row: Tracked) -> bool:
        """Return True if the object of a copy without identifiers may still be written: see :func:`may_arrive`."""
        receipts = await self._context.store.read(lambda tx: tx.receipts([row.key.uuid]))
        return may_arrive(row.copy, row.attempt, not_written(receipts), self._context.clock.now())

    def _permits(self, tx: Rows, holding: Holding, row: Tracked) -> bool:
        """Return True if the objects of a copy may be destroyed, by the rows as they are now. Locks the key.

        Return False if the row of the copy has changed, or if any key has adopted an object with its name. Return
        False, too, if another copy of the same key on the same server shares an identifier with it and must not be
        destroyed. Called right before each copy is destroyed. Raises StoreError if the database has gone back;
        LeaseLost.
        """
        self._check(tx)
        holding.check(tx)
        key = tx.key(row.key.uuid, lock=True)
        if tx.keys_adopting(str(object_name(row.attempt))):
            return False
        rows = [] if key is None else tracked(tx, tx.copies([key.uuid]))
        incarnation = incarnation_of(tx)
        kept_ids = {
            id_
            for each in rows
            if each.copy.key_server == row.copy.key_server and not may_destroy(each.key, each.attempt, incarnation)
            for id_ in each.copy.unique_identifiers
        }
        return any(
            each.copy == row.copy and may_destroy(each.key, each.attempt, incarnation) for each in rows
        ) and not kept_ids & set(row.copy.unique_identifiers)

    def _begin_purge(self, tx: Rows, holding: Holding, uuid: str, now: datetime, unmarked: Collection[str]) -> None:
        """Begin the purge of a retired key if its recovery window has ended. Then the key cannot be recovered any more.

        A clone of this database may have recovered the key, and only epoch markers show a clone. So the purge waits
        while all servers with copies of the key are among the ``unmarked`` ones (uuids). The key is marked as overdue
        meanwhile, and cannot be recovered either.
        """
        self._check(tx)
        holding.check(tx)
        key = tx.key(uuid, lock=True)
        incarnation = incarnation_of(tx)
        if key is None or not incarnation.destroys or not is_due(key, incarnation, now):
            return
        on = _servers_with_copies(tx, [uuid])
        if not on or on - set(unmarked):
            tx.change_key(as_purging(key), KeyState.RETIRED)
            self._context.audit.act(tx, f"began to purge key {key.key_id}", svm=key.svm)
        elif not key.overdue:
            tx.change_key(replace(key, overdue=True), KeyState.RETIRED)

    def _store_receipts(
        self, tx: Rows, holding: Holding, row: Tracked, ids: tuple[str, ...], done: dict[str, list[str]]
    ) -> None:
        """Store a receipt for each action in ``done``, which has lists of actions by Unique Identifier.

        Store the copy as destroyed if each of its objects (``ids``) is destroyed, absent or left. The descriptor does
        not count for that. Called after each try to destroy a copy, also after one that failed. Raises LeaseLost.
        """
        ended = all(_FINAL_ACTIONS & set(done.get(id_, ())) for id_ in ids or ("",))
        presence = Presence.DESTROYED if ended else row.copy.presence
        after = replace(row.copy, presence=presence, unique_identifiers=ids)
        store_changes(tx, holding, [(row.copy, after)])
        incarnation, now = incarnation_of(tx).uuid, self._context.clock.now()
        copy, node = row.copy, self._context.node
        tx.add_receipts(
            [
                Receipt(copy.key, copy.attempt, copy.key_server, copy.host, id_, action, now, incarnation, node)
                for id_, actions in done.items()
                for action in actions
            ]
        )


# --- transactions ---


def _keys_in(tx: Rows, key_manager: str, state: KeyState, *, due: datetime | None = None) -> list[str]:
    """Return all keys (uuids) of a key manager in this state. They are read page by page.

    With ``due``, return only those whose recovery window has ended at this time.
    """
    found: list[str] = []
    incarnation, after = incarnation_of(tx), ""
    while some := tx.keys_in(key_manager, (state,), after, COPIES_PER_READ):
        after = some[-1].uuid
        found += [key.uuid for key in some if due is None or is_due(key, incarnation, due)]
    return found


def _finish_purge(tx: Rows, holding: Holding, uuid: str) -> None:
    """Mark a purging key as purged if its purge is complete: its copies are destroyed, and no attempt is pending.

    Copies of attempts that another incarnation aborted do not count. Called for each purging key at the end of a round.
    Raises LeaseLost.
    """
    holding.check(tx)
    key = tx.key(uuid, lock=True)
    if key is not None and is_purged(tx.attempts([uuid]), tx.copies([uuid]), incarnation_of(tx)):
        tx.change_key(replace(key, state=KeyState.PURGED), KeyState.PURGING)


def _servers_with_copies(tx: CopyRows, keys: Sequence[str]) -> set[str]:
    """Return the servers (uuids) with copies of these keys that are not destroyed.

    Called before a purge begins, and to find the servers whose epoch markers must be replaced before it. Whether a
    purge is complete, :func:`is_purged` says.
    """
    return {copy.key_server for copy in tx.copies(keys) if copy.presence is not Presence.DESTROYED}


def servers_to_destroy_on(tx: Rows, topology: ServerTopology, now: datetime, failed: Collection[str]) -> set[str]:
    """Return the servers (uuids) on which objects are to be destroyed now; none in a held incarnation.

    Called before the purge, because the epoch markers of these servers are replaced first. ``failed`` are servers
    (uuids) that failed lately. An attempt that timed out waits for all servers with its copies, so it does not count if
    one of them failed.
    """
    incarnation = topology.incarnation
    found: set[str] = set()
    if not incarnation.destroys:
        return found
    after: str | None = ""
    while after is not None:
        after, rows = _aborted_batch(tx, topology, after)
        waiting = {attempt_id(row) for row in rows if row.attempt.expired and row.copy.key_server in failed}
        found |= {row.copy.key_server for row in rows if attempt_id(row) not in waiting}
    after = ""
    while keys := tx.keys_in(topology.key_manager.uuid, (KeyState.RETIRED, KeyState.PURGING), after, COPIES_PER_READ):
        after = keys[-1].uuid
        due = [key.uuid for key in keys if key.state is KeyState.PURGING or is_due(key, incarnation, now)]
        found |= _servers_with_copies(tx, due) if due else set()
    return found


def sites_of(tx: Rows, topology: ServerTopology) -> dict[str, Site]:
    """Return the servers of a key manager by uuid, configured and detached, because both may have copies.

    A server that was not learned has no profile.
    """
    detached = [each.server for each in tx.detached_key_servers(topology.key_manager.uuid)]
    profiles = {each.key_server: each for each in tx.profiles([server.uuid for server in detached])}
    known = {**profiles, **topology.profiles}
    return {server.uuid: Site(server, known.get(server.uuid)) for server in (*topology.servers, *detached)}


_ReadBatch = Callable[["Rows", "ServerTopology", str], tuple[str | None, list["Tracked"]]]
"""A function that reads a batch of copies to destroy, of keys after a uuid.

It returns the last key (uuid) of the batch, or None at the end, and the copies.
"""


def _aborted_batch(tx: Rows, topology: ServerTopology, after: str) -> tuple[str | None, list[Tracked]]:
    """Read one batch of copies to destroy: of aborted attempts of this incarnation. See :data:`_ReadBatch`."""
    copies = tx.aborted_copies(topology.key_manager.uuid, topology.incarnation.uuid, after, COPIES_PER_READ)
    return copies[-1].key if copies else None, tracked(tx, copies)


def _purging_batch(tx: Rows, topology: ServerTopology, after: str) -> tuple[str | None, list[Tracked]]:
    """Read the next purging keys. Return the last of them (uuid; None at the end), and their undestroyed copies.

    At most :data:`COPIES_PER_READ` keys are read, with all their copies. See :data:`_ReadBatch`.
    """
    keys = tx.keys_in(topology.key_manager.uuid, (KeyState.PURGING,), after, COPIES_PER_READ)
    copies = tx.copies([key.uuid for key in keys]) if keys else ()
    left = [copy for copy in copies if copy.presence is not Presence.DESTROYED]
    return keys[-1].uuid if keys else None, tracked(tx, left)


def _delete_if_empty(tx: Rows, holding: Holding, key_server: str) -> None:
    """Delete a detached server and its profile if it has no copies that this incarnation can ever destroy.

    Called at the end of each round, for each detached server. Destroyed copies do not count, and copies of attempts
    that another incarnation aborted. Raises LeaseLost.
    """
    holding.check(tx)
    incarnation, after = incarnation_of(tx), ""
    while rows := tracked(tx, tx.copies_on(key_server, after, COPIES_PER_READ)):
        after = rows[-1].key.uuid
        for row in rows:
            if row.copy.presence is not Presence.DESTROYED and not aborted_elsewhere(row.attempt, incarnation):
                return
    tx.delete_detached_key_server(key_server)
    tx.delete_profile(key_server)

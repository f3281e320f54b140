"""Destroy the objects of what was purged or aborted, with a receipt for each, and say when that is over.

Before an object is destroyed, a transaction under the keeper's lease has read that it may be
(:func:`keystead.core.keys.destroying.may_destroy`, whose answer is final); then its server was asked whether it is that
object, by its name, else by its bytes; and each packet leaves only while no other process can hold the lease. What
turns out to be another object is left alone. So is an adopted one: somebody else wrote it, and may need it. Of attempts
that were aborted for their time alone see :mod:`keystead.service.keys.destroying.expired`. Nobody's time to undo is
over by a clock that is not believed (:mod:`keystead.service.cluster.trusted_clock`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.destroying import (
    ABSENT,
    DESTROYED,
    LEFT,
    is_absent,
    is_anothers,
    is_due,
    is_over,
    may_destroy,
    purging,
)
from keystead.core.keys.keeping import DESTROYED_STATES
from keystead.core.keys.model import KeyState, Presence, Receipt
from keystead.core.keys.names import object_name
from keystead.service.cluster.incarnations import Cloned
from keystead.service.keys.context import COPIES_PER_READ, Site, topology_of, tracked
from keystead.service.keys.destroying.expired import ExpiredAttempts, named
from keystead.service.keys.destroying.objects import attributes_if_present, descriptors, end_object, left_by, with_ids
from keystead.service.keys.looking.changes import store_changes
from keystead.service.keys.looking.visit import visit_each
from keystead.service.loading import incarnation_of
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
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

_Address = tuple[str, str]
"""A primary's uuid, and the host of one of its secondaries or nothing."""

_OVER: Final = frozenset({DESTROYED, ABSENT, LEFT})


class KeyPurge:
    """Goes on with what has to end. The keeper calls it, and nobody else.

    ``on_cloned`` begins a new incarnation after the one (uuid) that it is given. ``check`` raises StoreError in a
    transaction whose database is not the one that was looked at before the round.
    """

    def __init__(
        self,
        context: KeeperContext,
        clock: TrustedClock,
        on_cloned: Callable[[str], Awaitable[None]],
        check: Callable[[Transaction], None] = lambda _: None,
    ) -> None:
        self._context = context
        self._clock = clock
        self._on_cloned = on_cloned
        self._check = check
        self._expired = ExpiredAttempts(context, check)

    async def end(self, holding: Holding, key_manager: str, fenced: AbstractSet[str]) -> None:
        """Go on with the end of a key manager's keys, and of what aborted attempts left. Raises StoreError, LeaseLost.

        Nothing happens while the incarnation may not destroy. A server that cannot be asked is left for the next round,
        and so is one that is not ``fenced`` (uuids): see :mod:`keystead.service.keys.destroying.epoch_markers`.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None or not topology.incarnation.destroys:
            return
        try:
            await self._end(holding, topology, fenced)
        except Cloned:
            log.warning("an attempt that was aborted here was committed elsewhere", key_manager=key_manager)
            await self._on_cloned(topology.incarnation.uuid)

    async def _end(self, holding: Holding, topology: ServerTopology, fenced: AbstractSet[str]) -> None:
        store, key_manager = self._context.store, topology.key_manager.uuid
        now = await self._clock.now()
        known = await store.read(lambda tx: sites_of(tx, topology))
        sites = {uuid: site for uuid, site in known.items() if uuid in fenced}
        if now is not None:
            await self._begin_purges(holding, key_manager, now, known.keys() - fenced)
        silent: set[_Address] = set()
        for ending in (_aborted, _purging):
            await self._end_all(holding, topology, sites, ending, silent)
        for uuid in await store.read(lambda tx: _keys_in(tx, key_manager, KeyState.PURGING)):
            await store.write(lambda tx: _finish_purge(tx, holding, uuid))  # noqa: B023 - awaited
        for detached in await store.read(lambda tx: tx.detached_key_servers(key_manager)):
            await store.write(lambda tx: _forget_empty(tx, holding, detached.server.uuid))  # noqa: B023 - awaited

    async def _begin_purges(self, holding: Holding, key_manager: str, now: datetime, unfenced: Collection[str]) -> None:
        store = self._context.store
        for uuid in await store.read(lambda tx: _keys_in(tx, key_manager, KeyState.RETIRED)):
            await store.write(lambda tx: self._begin_purge(tx, holding, uuid, now, unfenced))  # noqa: B023 - awaited

    async def _end_all(
        self,
        holding: Holding,
        topology: ServerTopology,
        sites: Mapping[str, Site],
        ending: _Ending,
        silent: set[_Address],
    ) -> None:
        """End copies, slice by slice; addresses that do not answer join the ``silent`` ones, which are left alone."""
        after: str | None = ""
        while after is not None:
            after, rows = await self._context.store.read(lambda tx: ending(tx, topology, after or ""))  # noqa: B023 - awaited
            by_address: dict[_Address, list[Tracked]] = {}
            for row in await self._expired.may_end(holding, topology, sites, rows):
                by_address.setdefault((row.copy.key_server, row.copy.host), []).append(row)
            for address, some in by_address.items():
                site = sites.get(address[0])
                if site is None or address in silent:
                    continue
                if not await visit_each(self._context, topology, site, some, partial(self._try, holding)):
                    silent.add(address)

    async def _try(self, holding: Holding, at: Visit, row: Tracked) -> None:
        """End a copy; what the server refuses about it holds up no other. Raises KeyServerFault without an answer."""
        try:
            await self._end_copy(holding, at, row)
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
            log.warning("a copy is not ended", address=at.address, key=row.key.key_id, why=fault.reason)

    async def _end_copy(self, holding: Holding, at: Visit, row: Tracked) -> None:
        """End what an attempt has left on a server, if it may be; what was done is noted whatever comes after it."""
        if not await self._context.store.write(lambda tx: self._permits(tx, holding, row)):
            return
        ids = row.copy.unique_identifiers or await left_by(at.session, row)
        done: dict[str, list[str]] = {id_: [] for id_ in (*await descriptors(at.session, row), *ids)}
        absent = is_absent(row.copy, row.attempt, self._context.clock.now(), canary=at.canary)
        if not ids and absent:
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
                    await end_object(holding, at, with_ids(row, ids), id_, facts, done[id_])
        finally:
            await self._context.store.write(lambda tx: self._note(tx, holding, row, ids, done))

    def _permits(self, tx: Transaction, holding: Holding, row: Tracked) -> bool:
        """Whether the objects of a copy may be destroyed: as its rows say now, and no copy that is kept is the same.

        Nor may another key have adopted them.
        """
        self._check(tx)
        holding.check(tx)
        key = tx.key(row.key.uuid, lock=True)
        if tx.keys_adopting(str(object_name(row.attempt))):
            return False
        rows = [] if key is None else tracked(tx, tx.copies([key.uuid]))
        incarnation = incarnation_of(tx)
        kept = {
            id_
            for each in rows
            if each.copy.key_server == row.copy.key_server and not may_destroy(each.key, each.attempt, incarnation)
            for id_ in each.copy.unique_identifiers
        }
        return any(
            each.copy == row.copy and may_destroy(each.key, each.attempt, incarnation) for each in rows
        ) and not kept & set(row.copy.unique_identifiers)

    def _begin_purge(
        self, tx: Transaction, holding: Holding, uuid: str, now: datetime, unfenced: Collection[str]
    ) -> None:
        """From here on, a key whose window has ended cannot be recovered; a twin of this database may have done so.

        So it waits while every server that has a copy is one of the ``unfenced`` ones, which would tell.
        """
        self._check(tx)
        holding.check(tx)
        key = tx.key(uuid, lock=True)
        incarnation = incarnation_of(tx)
        if key is None or not incarnation.destroys or not is_due(key, incarnation, now):
            return
        on = _standing_on(tx, [uuid])
        if not on or on - set(unfenced):
            tx.change_key(purging(key), KeyState.RETIRED)
        elif not key.overdue:
            tx.change_key(replace(key, overdue=True), KeyState.RETIRED)

    def _note(
        self, tx: Transaction, holding: Holding, row: Tracked, ids: tuple[str, ...], done: dict[str, list[str]]
    ) -> None:
        """Store receipts, and that the copy has ended when all objects that it is made of have."""
        ended = all(_OVER & set(done.get(id_, ())) for id_ in ids or ("",))
        presence = Presence.DESTROYED if ended else row.copy.presence
        after = replace(row.copy, presence=presence, unique_identifiers=ids)
        store_changes(tx, holding, [(row.copy, after)])
        incarnation, now = incarnation_of(tx).uuid, self._context.clock.now()
        copy = row.copy
        tx.add_receipts(
            [
                Receipt(
                    copy.key,
                    copy.attempt,
                    copy.key_server,
                    copy.host,
                    id_,
                    action,
                    now,
                    incarnation,
                    self._context.node,
                )
                for id_, actions in done.items()
                for action in actions
            ]
        )


# --- transactions ---


def _keys_in(tx: Transaction, key_manager: str, state: KeyState) -> list[str]:
    found: list[str] = []
    while some := tx.keys_in(key_manager, (state,), found[-1] if found else "", COPIES_PER_READ):
        found += [key.uuid for key in some]
    return found


def _finish_purge(tx: Transaction, holding: Holding, uuid: str) -> None:
    holding.check(tx)
    key = tx.key(uuid, lock=True)
    if key is not None and is_over(tx.attempts([uuid]), tx.copies([uuid]), incarnation_of(tx)):
        tx.change_key(replace(key, state=KeyState.PURGED), KeyState.PURGING)


def _standing_on(tx: Transaction, keys: Sequence[str]) -> set[str]:
    """The servers (uuids) on which copies of keys have not come to their end."""
    return {copy.key_server for copy in tx.copies(keys) if copy.presence is not Presence.DESTROYED}


def ending_on(tx: Transaction, topology: ServerTopology, now: datetime, away: Collection[str]) -> set[str]:
    """The servers (uuids) on which something is to be destroyed now: not what waits for one that is ``away``."""
    incarnation = topology.incarnation
    found: set[str] = set()
    if not incarnation.destroys:
        return found
    after: str | None = ""
    while after is not None:
        after, rows = _aborted(tx, topology, after)
        waiting = {named(row) for row in rows if row.attempt.expired and row.copy.key_server in away}
        found |= {row.copy.key_server for row in rows if named(row) not in waiting}
    after = ""
    while keys := tx.keys_in(topology.key_manager.uuid, (KeyState.RETIRED, KeyState.PURGING), after, COPIES_PER_READ):
        after = keys[-1].uuid
        due = [key.uuid for key in keys if key.state is KeyState.PURGING or is_due(key, incarnation, now)]
        found |= _standing_on(tx, due) if due else set()
    return found


def sites_of(tx: Transaction, topology: ServerTopology) -> dict[str, Site]:
    """The servers on which copies can be, configured or detached, by uuid."""
    detached = [each.server for each in tx.detached_key_servers(topology.key_manager.uuid)]
    profiles = {each.key_server: each for each in tx.profiles([server.uuid for server in detached])}
    known = {**profiles, **topology.profiles}
    return {server.uuid: Site(server, known.get(server.uuid)) for server in (*topology.servers, *detached)}


_Ending = Callable[["Transaction", "ServerTopology", str], tuple[str | None, list["Tracked"]]]
"""Reads the copies that are to end of some keys after a uuid; also returns the last of these keys, None at the end."""


def _aborted(tx: Transaction, topology: ServerTopology, after: str) -> tuple[str | None, list[Tracked]]:
    """Copies of aborted attempts of this incarnation."""
    copies = tx.aborted_copies(topology.key_manager.uuid, topology.incarnation.uuid, after, COPIES_PER_READ)
    return copies[-1].key if copies else None, tracked(tx, copies)


def _purging(tx: Transaction, topology: ServerTopology, after: str) -> tuple[str | None, list[Tracked]]:
    """Copies of keys whose end has begun."""
    keys = tx.keys_in(topology.key_manager.uuid, (KeyState.PURGING,), after, COPIES_PER_READ)
    copies = tx.copies([key.uuid for key in keys]) if keys else ()
    left = [copy for copy in copies if copy.presence is not Presence.DESTROYED]
    return keys[-1].uuid if keys else None, tracked(tx, left)


def _forget_empty(tx: Transaction, holding: Holding, key_server: str) -> None:
    """Forget a detached server on which nothing is left that this incarnation could ever end."""
    holding.check(tx)
    incarnation, after = incarnation_of(tx), ""
    while rows := tracked(tx, tx.copies_on(key_server, after, COPIES_PER_READ)):
        after = rows[-1].key.uuid
        for row in rows:
            if row.copy.presence is not Presence.DESTROYED and not is_anothers(row.attempt, incarnation):
                return
    tx.delete_detached_key_server(key_server)
    tx.delete_profile(key_server)

"""Settle what creating left open: attempts whose time is over, copies of which it is not known whether they are there.

An attempt is aborted by compare-and-set, after its state was read; its coordinator, should it wake, finds that it was.
Copies are looked at on their servers, and activated and described where that was not done. Nothing is destroyed here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.attempts import AHEAD
from keystead.core.keys.destroying import ACTIVE, PRE_ACTIVE
from keystead.core.keys.keeping import CopyAnswer, looked_at
from keystead.core.keys.model import AttemptState, KeyForm, KeyState, Purpose
from keystead.core.keys.names import ObjectKind, object_name
from keystead.core.secret import Secret
from keystead.service.announcing import add_events
from keystead.service.keys.announcing import different
from keystead.service.keys.context import COPIES_PER_READ, by_host, topology_of, tracked
from keystead.service.keys.looking.changes import store_changes, with_seen
from keystead.service.keys.looking.look import look
from keystead.service.keys.looking.visit import visit
from keystead.service.ports.objects import KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.keys.model import Attempt
    from keystead.core.model import KeyServer
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext, Tracked
    from keystead.service.keys.looking.changes import CopyChange
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.keys.writing.attempt_runner import Describe
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

AT_ONCE: Final = 256
"""Attempts that are aborted in one round at most."""

UNDESCRIBED_S: Final = 3600.0
"""How long a server that refused a descriptor is asked to take none."""

_NOT_YET = ("", PRE_ACTIVE)


class AttemptSettlement:
    """Ends expired attempts, and finds out about copies."""

    def __init__(self, context: KeeperContext, describe: Describe | None = None) -> None:
        self._context = context
        self._describe = describe
        self._broke_off: dict[str, str] = {}  # by server, the key after which to go on
        self._undescribed: dict[str, float] = {}  # by server that refused a descriptor, until when (monotonic)

    # --- attempts ---

    async def abort_expired(self, holding: Holding) -> int:
        """Abort attempts whose time is over; return how many. Raises StoreError, LeaseLost."""
        now = self._context.clock.now()
        expired = await self._context.store.read(lambda tx: tx.expired_attempts(now, now + AHEAD, AT_ONCE))
        aborted = 0
        for attempt in expired:
            aborted += await self._context.store.write(lambda tx: _abort(tx, holding, attempt))  # noqa: B023 - awaited
        if aborted:
            log.info("attempts aborted", count=aborted)
        return aborted

    # --- copies ---

    async def settle(self, holding: Holding, key_manager: str) -> int:
        """Look at what is open on each of a key manager's servers; return how many copies changed.

        A server that cannot be asked is left for the next round, and so is the rest where nothing is found out. It goes
        on where it broke off: no copy on which a server falls silent hides the others. Raises StoreError, LeaseLost.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return 0
        known = [server for server in topology.servers if server.uuid in topology.profiles]
        return sum([await self._settle_server(holding, topology, server) for server in known])

    async def _settle_server(self, holding: Holding, topology: ServerTopology, server: KeyServer) -> int:
        inactive, undescribed = topology.profiles[server.uuid].activates, self._describes(topology, server.uuid)
        after, changed = self._broke_off.pop(server.uuid, ""), 0
        while rows := await self._context.store.read(
            lambda tx: tracked(
                tx,
                tx.open_copies(server.uuid, after, COPIES_PER_READ, inactive=inactive, undescribed=undescribed),  # noqa: B023
            )
        ):
            changes, done = await self._look(topology, server, rows)
            stored = await self._context.store.write(lambda tx: self._store(tx, holding, topology, server, changes))  # noqa: B023
            changed += len(stored)
            after = done or after
            if not stored or done != rows[-1].key.uuid:
                self._broke_off[server.uuid] = after
                break
        return changed

    async def _look(
        self, topology: ServerTopology, server: KeyServer, rows: Sequence[Tracked]
    ) -> tuple[list[CopyChange], str]:
        """Look at copies as far as the server answers; also return the last key that it was asked about."""
        changes: list[CopyChange] = []
        done = ""
        try:
            for host, some in by_host(rows).items():
                async with visit(self._context, topology, server, host) as at:
                    for row in some:
                        await self._context.turn()
                        done = row.key.uuid
                        changes.append(await self._settled(topology, at, row))
        except KeyServerFault as fault:
            log.info("copies not settled yet", address=str(server.address), why=fault.reason)
            return changes, done
        return changes, rows[-1].key.uuid

    async def _settled(self, topology: ServerTopology, at: Visit, row: Tracked) -> CopyChange:
        """Look at a copy; activate and describe it where its server takes that and it was not done."""
        seen = await look(at, row)
        now, canary = self._context.clock.now(), at.absence_counts
        after = with_seen(looked_at(row.copy, seen.look, row.attempt, now, canary=canary), seen)
        if (
            seen.look is CopyAnswer.AGREES
            and at.profile is not None
            and at.profile.activates
            and seen.state in _NOT_YET
        ):
            after = replace(after, object_state=await _activated(at, seen.unique_identifiers, seen.state))
        if seen.look is CopyAnswer.AGREES and not row.copy.descriptor and self._describes(topology, at.key_server):
            after = replace(after, descriptor=await self._described(topology, at, row))
        return row.copy, after

    # --- descriptors ---

    def _describes(self, topology: ServerTopology, key_server: str) -> bool:
        """Whether copies on a server get descriptors: only Secret Data can hold one."""
        until = self._undescribed.get(key_server)
        return (
            self._describe is not None
            and topology.profiles[key_server].form is KeyForm.SECRET_DATA
            and (until is None or until <= self._context.clock.monotonic())
        )

    async def _described(self, topology: ServerTopology, at: Visit, row: Tracked) -> str:
        """Have a descriptor beside a copy; return its identifier. Raises KeyServerFault without an answer."""
        content = self._describe(row.key, row.attempt, topology) if self._describe is not None else None
        name = str(object_name(row.attempt, ObjectKind.DESCRIPTOR))
        try:
            by_name = at.profile is None or at.profile.locate_by_name  # else it asks for all attributes of all objects
            found = await at.session.locate(name) if by_name else ()  # one may be there whose answer never came
            if not found and content is not None:
                found = await at.session.register(
                    name, Secret(content), KeyForm.SECRET_DATA, application_information=None
                )
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
            log.warning("a copy is not described", address=at.address, why=fault.reason)
            self._undescribed[at.key_server] = self._context.clock.monotonic() + UNDESCRIBED_S
            return ""
        return found[0] if found else ""

    def _store(
        self,
        tx: Transaction,
        holding: Holding,
        topology: ServerTopology,
        server: KeyServer,
        changes: Sequence[CopyChange],
    ) -> list[CopyChange]:
        stored = store_changes(tx, holding, changes, seen_in=topology)
        add_events(tx, different(tx, self._context, topology, server, stored))
        return stored


def _abort(tx: Transaction, holding: Holding, attempt: Attempt) -> bool:
    """Abort an attempt that is still pending, and with it a key that it was to create."""
    holding.check(tx)
    key = tx.key(attempt.key)
    if key is None:
        return False
    tx.key_manager(key.key_manager, lock=True)
    key = tx.key(attempt.key, lock=True)
    if key is None or not tx.end_attempt(attempt, AttemptState.ABORTED, expired=True):
        return False
    if attempt.purpose is Purpose.CREATE:
        tx.change_key(replace(key, state=KeyState.ABORTED), KeyState.PENDING)
    return True


async def _activated(at: Visit, ids: Sequence[str], state: str) -> str:
    """Activate a copy's objects; return the State that they have then. Raises KeyServerFault without an answer."""
    try:
        for id_ in ids:
            await at.session.activate(id_)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        log.warning("a copy is not activated", address=at.address, why=fault.reason)
        return state
    return ACTIVE

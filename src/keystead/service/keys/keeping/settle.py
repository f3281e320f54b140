"""Settle attempts and copies: abort attempts that timed out, and find out about copies of unknown outcome.

An attempt is aborted by compare-and-set. If its own process was only slow, that process fails its own compare-and-set
later, and so notices the abort. Copies are looked at on their servers. They are activated and get a descriptor if they
lack that. Nothing is destroyed here.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core.keys.attempts import AHEAD
from keystead.core.keys.destroying import ACTIVE, PRE_ACTIVE
from keystead.core.keys.keeping import CopyAnswer, after_look
from keystead.core.keys.model import AttemptState, KeyForm, KeyState, Purpose
from keystead.core.keys.names import ObjectKind, object_name
from keystead.core.secret import Secret
from keystead.service.announcing import add_events
from keystead.service.keys.announcing import different_copy_events
from keystead.service.keys.context import by_host, topology_of, tracked
from keystead.service.keys.looking.changes import store_changes, with_seen
from keystead.service.keys.looking.look import look
from keystead.service.keys.looking.visit import visit
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, TopologyRows
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

log = structlog.get_logger(__name__)

AT_ONCE: Final = 256
"""How many attempts one call aborts at most."""

UNDESCRIBED_S: Final = 3600.0
"""How many seconds no descriptor is sent to a server that refused one."""

_NOT_ACTIVATED = ("", PRE_ACTIVE)


class Rows(
    TopologyRows,
    KeyManagerRows,
    ClusterRows,
    EventRows,
    AuditRows,
    LeaseRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    Protocol,
):
    """The rows that this module reads and writes."""


class AttemptSettlement:
    """The step that settles attempts and copies. ``describe`` makes descriptors; None makes none."""

    def __init__(self, context: KeeperContext, describe: Describe | None = None) -> None:
        self._context = context
        self._describe = describe
        self._resume_after: dict[str, str] = {}  # by server (uuid), the key (uuid) after which to continue
        self._refused_until: dict[str, float] = {}  # by server (uuid), monotonic

    # --- attempts ---

    async def abort_expired(self, holding: Holding) -> int:
        """Abort attempts that timed out, of all key managers. Return how many were aborted.

        At most :data:`AT_ONCE` are aborted in one call. Objects that they wrote are destroyed later, by the purge.
        Raises StoreError, LeaseLost.
        """
        now = self._context.clock.now()
        expired = await self._context.store.read(lambda tx: tx.expired_attempts(now, now + AHEAD, AT_ONCE))
        aborted = 0
        for attempt in expired:
            aborted += await self._context.store.write(lambda tx: self._abort(tx, holding, attempt))  # noqa: B023 - awaited
        if aborted:
            log.info("attempts aborted", count=aborted)
        return aborted

    def _abort(self, tx: Rows, holding: Holding, attempt: Attempt) -> bool:
        """Abort an attempt that timed out, and the key if the attempt was to create it.

        Return False, and change nothing, if the attempt was ended meanwhile or its key was deleted. Locks the key
        manager, then the key. Raises LeaseLost.
        """
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
        self._context.audit.act(
            tx, f"aborted attempt {attempt.number} of key {key.key_id}, which timed out", svm=key.svm
        )
        return True

    # --- copies ---

    async def settle(self, holding: Holding, key_manager: str) -> int:
        """Look at the open copies on each learned server of a key manager. Return how many copies changed.

        Called in each round of the keeper. Open copies are sent or unknown, or not activated, or without a descriptor.
        The walk over a server stops when the server does not answer, or when a batch changes nothing.

        The next round continues after the last copy that was asked about, so that a copy on which the server falls
        silent does not block the others. Raises StoreError, LeaseLost.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return 0
        known = [server for server in topology.servers if server.uuid in topology.profiles]
        return sum([await self._settle_server(holding, topology, server) for server in known])

    async def _settle_server(self, holding: Holding, topology: ServerTopology, server: KeyServer) -> int:
        """Settle the open copies on one server, batch by batch. Return how many copies changed.

        If the walk stops early, note the key after which the next round continues. Raises StoreError, LeaseLost.
        """
        inactive, undescribed = topology.profiles[server.uuid].activates, self._takes_descriptors(topology, server.uuid)
        after, changed = self._resume_after.pop(server.uuid, ""), 0
        most = self._context.copies_per_read
        while rows := await self._context.store.read(
            lambda tx: tracked(
                tx,
                tx.open_copies(server.uuid, after, most, inactive=inactive, undescribed=undescribed),  # noqa: B023
            )
        ):
            changes, done = await self._look(topology, server, rows)
            stored = await self._context.store.write(lambda tx: self._store(tx, holding, topology, server, changes))  # noqa: B023
            changed += len(stored)
            after = done or after
            if not stored or done != rows[-1].key.uuid:
                self._resume_after[server.uuid] = after
                break
        return changed

    async def _look(
        self, topology: ServerTopology, server: KeyServer, rows: Sequence[Tracked]
    ) -> tuple[list[CopyChange], str]:
        """Look at copies until the server does not answer. Return the changes, and the last key (uuid) looked at.

        The copies are also activated and get descriptors, but no row is stored. If the server falls silent, the next
        round continues after that key. The copy that failed, and copies of earlier keys at other addresses, then wait
        for a later walk. The uuid is empty if no copy was looked at.
        """
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
        """Look at a copy. Return its row as it was, and as it is after the look.

        If its bytes agree, activate it and write its descriptor where that was not done. Raises KeyServerFault if the
        server does not answer.
        """
        seen = await look(at, row)
        now, canary = self._context.clock.now(), at.absence_counts
        after = with_seen(after_look(row.copy, seen.look, row.attempt, now, canary=canary), seen)
        if (
            seen.look is CopyAnswer.AGREES
            and at.profile is not None
            and at.profile.activates
            and seen.state in _NOT_ACTIVATED
        ):
            after = replace(after, object_state=await _activate(at, seen.unique_identifiers, seen.state))
        if (
            seen.look is CopyAnswer.AGREES
            and not row.copy.descriptor
            and self._takes_descriptors(topology, at.key_server)
        ):
            after = replace(after, descriptor=await self._ensure_descriptor(topology, at, row))
        return row.copy, after

    # --- descriptors ---

    def _takes_descriptors(self, topology: ServerTopology, key_server: str) -> bool:
        """Return True if descriptors may be written to a server now.

        Only a server that stores keys as Secret Data can store a descriptor. A server that refused a descriptor gets
        none for :data:`UNDESCRIBED_S`.
        """
        until = self._refused_until.get(key_server)
        return (
            self._describe is not None
            and topology.profiles[key_server].form is KeyForm.SECRET_DATA
            and (until is None or until <= self._context.clock.monotonic())
        )

    async def _ensure_descriptor(self, topology: ServerTopology, at: Visit, row: Tracked) -> str:
        """Ensure that a copy has a descriptor on its server. Return its Unique Identifier, empty if there is none.

        It is empty if the server refuses. Then the server gets no descriptor for :data:`UNDESCRIBED_S`. Called for a
        copy whose bytes agree, but whose row has no descriptor. Raises KeyServerFault if the server does not answer.
        """
        content = self._describe(row.key, row.attempt, topology) if self._describe is not None else None
        name = str(object_name(row.attempt, ObjectKind.DESCRIPTOR))
        try:
            # an earlier answer may be lost; without Locate by name, the session would read attributes of every object
            by_name = at.profile is None or at.profile.locate_by_name
            found = await at.session.locate(name) if by_name else ()
            if not found and content is not None:
                found = await at.session.register(
                    name, Secret(content), KeyForm.SECRET_DATA, application_information=None
                )
        except KeyServerFault as fault:
            if not fault.fault.answered:
                raise
            log.warning("a descriptor is not written", address=at.address, why=fault.reason)
            self._refused_until[at.key_server] = self._context.clock.monotonic() + UNDESCRIBED_S
            return ""
        return found[0] if found else ""

    def _store(
        self,
        tx: Rows,
        holding: Holding,
        topology: ServerTopology,
        server: KeyServer,
        changes: Sequence[CopyChange],
    ) -> list[CopyChange]:
        """Store the changes that were found by looking at copies. Add an event for each that became ``different``.

        Return the changes that were stored: those of copies that nobody else has changed meanwhile.
        """
        stored = store_changes(tx, holding, changes, seen_in=topology)
        add_events(tx, different_copy_events(tx, self._context, topology, server, stored))
        return stored


async def _activate(at: Visit, ids: Sequence[str], state: str) -> str:
    """Activate the objects of a copy. Return ``Active``, or the given ``state`` if the server refused.

    Called for a copy that is not activated, on a server where objects must be activated. Raises KeyServerFault if the
    server does not answer.
    """
    try:
        for id_ in ids:
            await at.session.activate(id_)
    except KeyServerFault as fault:
        if not fault.fault.answered:
            raise
        log.warning("a copy is not activated", address=at.address, why=fault.reason)
        return state
    return ACTIVE

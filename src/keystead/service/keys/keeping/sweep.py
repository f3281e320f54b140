"""Keep copies: sweep servers, and fill servers with missing copies.

A sweep walks over all copies on one server and decides at its end which are missing. If too many are missing, none is
marked and an event is added. Existing objects are never overwritten. A missing copy is written as a new attempt by
:class:`keystead.service.keys.writing.create.KeyWriter`, with material that was just read from another copy.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core import events
from keystead.core.errors import OntapError
from keystead.core.keys import digests
from keystead.core.keys.keeping import KEPT_STATES, Sweep, Tally, servers_to_fill
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.keys.reading import NOT_NEEDED, sources
from keystead.core.keys.writing import fits
from keystead.service.announcing import add_events
from keystead.service.keys.announcing import different_copy_events, server_event
from keystead.service.keys.context import by_host, slices, topology_of, tracked
from keystead.service.keys.keeping.backoff import Pauses
from keystead.service.keys.keeping.lacking import lacking_keys, page_of
from keystead.service.keys.looking.changes import changes_of, store_changes
from keystead.service.keys.looking.look import look_at_many
from keystead.service.keys.looking.visit import endpoint_of, visit
from keystead.service.ports.cluster import ClusterRows, EventRows, LeaseRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.context import KeeperContext, Tracked
    from keystead.service.keys.keeping.lacking import Page
    from keystead.service.keys.looking.changes import CopyChange
    from keystead.service.keys.looking.look import CopyObservation
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology

log = structlog.get_logger(__name__)

ASKED: Final = 32
"""How many copies one request reads."""

WRITTEN: Final = 8
"""How many copies are written at a time."""


class Rows(TopologyRows, KeyManagerRows, ClusterRows, EventRows, LeaseRows, KeyRows, AttemptRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


class CopyWriter(Protocol):
    """The writer of one copy to one server; see :class:`keystead.service.keys.writing.create.KeyWriter`."""

    async def copy_to(self, key: Key, server: KeyServer, material: Secret, topology: ServerTopology) -> str: ...  # noqa: D102


@dataclass(slots=True)
class Filled:
    """The result of a walk over all keys.

    ``tally`` counts keys and copies as they were before the walk. ``copied`` is the number of copies written.
    ``failed`` is the number of missing copies that were not written. ``down`` are the servers (uuids) that did not
    store a copy, with the reason. They are offered no more copies in this walk.
    """

    tally: Tally = field(default_factory=Tally)
    copied: int = 0
    failed: int = 0
    down: dict[str, str] = field(default_factory=dict)


async def _nobody_listens(_: int) -> None:
    """Drop what a walk tells about its progress."""


class CopySweep:
    """The steps that sweep servers and fill missing copies."""

    def __init__(self, context: KeeperContext, writer: CopyWriter) -> None:
        self._context = context
        self._writer = writer
        self._pauses = Pauses()

    # --- sweep ---

    async def sweep(self, holding: Holding, key_manager: str, key_server: str) -> Sweep | None:
        """Look at every copy on a server that is to be swept, and store the findings. Return the counts.

        Which copies these are, :func:`_is_swept` says. Return None if the server did not answer to the end; what was
        seen until then is stored. None also if the server is not configured or not learned.

        Called about once an hour, and when a server begins to hide its keys. Raises StoreError, LeaseLost.
        """
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        server = None if topology is None else topology.server(key_server)
        if topology is None or server is None or key_server not in topology.profiles:
            return None
        sweep, after, hidden = Sweep(), "", False
        while rows := await self._rows(key_server, after):
            after = rows[-1].key.uuid
            try:
                changes, canary = await self._look(topology, server, list(filter(_is_swept, rows)), sweep)
            except KeyServerFault as fault:
                log.info("a key server is not swept", address=str(server.address), why=fault.reason)
                return None
            await self._context.store.write(lambda tx: self._store(tx, holding, topology, server, changes))  # noqa: B023
            hidden = hidden or not canary
        await self._context.store.write(lambda tx: self._conclude(tx, holding, topology, server, sweep, hidden=hidden))
        return sweep

    async def _rows(self, key_server: str, after: str) -> list[Tracked]:
        """Return the next copies on a server, of keys whose uuid is greater than ``after``; empty at the end."""
        most = self._context.copies_per_read
        return await self._context.store.read(lambda tx: tracked(tx, tx.copies_on(key_server, after, most)))

    async def _look(
        self, topology: ServerTopology, server: KeyServer, rows: Sequence[Tracked], sweep: Sweep
    ) -> tuple[list[CopyChange], bool]:
        """Look at copies of one batch, and count them in ``sweep``. Return the changes, and if all canaries were seen.

        The caller stores the changes. The second value is False if an address hid its canary. Raises KeyServerFault.
        """
        changes: list[CopyChange] = []
        canary = True
        for host, some in by_host(rows).items():
            at, looks = await self._look_at(topology, server, host, some)
            for row, seen, now in looks:
                sweep.note(row.copy, seen.look, canary=at.absence_counts)
                changes += changes_of(at, row, seen, now)
            canary = canary and at.canary
        return changes, canary

    async def _look_at(
        self,
        topology: ServerTopology,
        server: KeyServer,
        host: str,
        rows: Sequence[Tracked],
        *,
        secondary_failed: bool = False,
    ) -> tuple[Visit, list[tuple[Tracked, CopyObservation, datetime]]]:
        """Look at copies at one address. Return the visit, and for each copy the observation and its time.

        The visit has ended then, but it still tells what the address showed. If a secondary does not answer, all its
        copies are looked at on the primary: that is the call with ``secondary_failed``. Raises KeyServerFault if the
        primary does not answer. Called by a sweep only.
        """
        looks: list[tuple[Tracked, CopyObservation, datetime]] = []
        try:
            async with visit(self._context, topology, server, host, failed=secondary_failed) as at:
                for batch in slices(rows, ASKED):
                    await self._context.turn()
                    now = self._context.clock.now()
                    looks += [(row, seen, now) for row, seen in zip(batch, await look_at_many(at, batch), strict=True)]
        except KeyServerFault:
            if secondary_failed or not host:
                raise
            return await self._look_at(topology, server, host, rows, secondary_failed=True)
        return at, looks

    def _store(
        self,
        tx: Rows,
        holding: Holding,
        topology: ServerTopology,
        server: KeyServer,
        changes: Sequence[CopyChange],
    ) -> None:
        """Store the changes that were found by looking at copies. Add an event for each that became ``different``."""
        stored = store_changes(tx, holding, changes, seen_in=topology)
        add_events(tx, different_copy_events(tx, self._context, topology, server, stored))

    def _conclude(
        self,
        tx: Rows,
        holding: Holding,
        topology: ServerTopology,
        server: KeyServer,
        sweep: Sweep,
        *,
        hidden: bool,
    ) -> None:
        """End a sweep: mark lost copies as missing, unless the canary is hidden or too many are lost.

        Store an event if too many are lost, or if copies were marked. Monitors announce a hidden canary. A lost copy is
        marked only if its row is ``unknown``, as the sweep left it. Raises LeaseLost.
        """
        holding.check(tx)
        found = []
        if hidden:
            return
        if sweep.stopped:
            count = str(sweep.gone)
            found.append(server_event(tx, self._context, events.KEYS_LOST, topology, server, count=count))
        else:
            lost = [replace(copy, presence=Presence.UNKNOWN) for copy in sweep.lost]
            gone = [(copy, replace(copy, presence=Presence.MISSING)) for copy in lost]
            missing = store_changes(tx, holding, gone, seen_in=topology)
            if missing:
                count = str(len({copy.key for copy, _ in missing}))
                found.append(server_event(tx, self._context, events.KEYS_MISSING, topology, server, count=count))
        add_events(tx, found)

    # --- repair ---

    def try_again(self) -> None:
        """End the back-off of all servers, so that copies are offered to them at once.

        Called by a replication job, before it writes missing copies.
        """
        self._pauses.clear()

    async def fill(self, key_manager: str) -> Filled:
        """Count all committed and retired keys, and write the missing copies.

        Called at the end of each round. The database finds the keys that lack a copy in a domain. Only these are read.
        If the key manager was deleted, nothing more is done. Raises StoreError.
        """
        found = await self._context.store.read(lambda tx: lacking_keys(tx, key_manager))
        if found is None:
            return await self.fill_all(key_manager)
        complete, lacking = found
        filled = Filled(complete)
        for some in slices(lacking, self._context.copies_per_read):
            page = await self._context.store.read(lambda tx: page_of(tx, key_manager, tx.keys(some)))  # noqa: B023
            await self._fill_page(page, filled)
        self._pauses.walked(self._context.clock.monotonic())
        return filled

    async def fill_all(self, key_manager: str, progress: Callable[[int], Awaitable[None]] = _nobody_listens) -> Filled:
        """Walk over all committed and retired keys, count them and their copies, and write the missing copies.

        Called by a replication job, and in a round if the database cannot tell which keys lack copies. ``progress``
        gets the number of keys counted, after each page of keys. Otherwise as :meth:`fill`.
        """
        filled, after, most = Filled(), "", self._context.copies_per_read
        while True:
            page = await self._context.store.read(
                lambda tx: page_of(tx, key_manager, tx.keys_in(key_manager, KEPT_STATES, after, most))  # noqa: B023
            )
            if not page.keys:
                self._pauses.walked(self._context.clock.monotonic())
                return filled
            after = page.keys[-1][0].uuid
            await self._fill_page(page, filled)
            await progress(filled.tally.keys)

    async def _fill_page(self, page: Page, filled: Filled) -> None:
        """Count the keys of a page, and write their missing copies."""
        topology = page.topology
        if topology is None:
            return
        wanted = []
        for key, copies in page.keys:
            filled.tally.count(copies, topology.domain_of, topology.servers)
            fit = [uuid for uuid, profile in topology.profiles.items() if fits(profile.form, key.length)]
            there = servers_to_fill(copies, fit, topology.domain_of, topology.servers)
            wanted += [(key, copies, servers) for servers in there]
        for some in slices(wanted, WRITTEN):
            await asyncio.gather(*(self._write_to_one_of(topology, *each, filled) for each in some))

    async def _write_to_one_of(
        self, topology: ServerTopology, key: Key, copies: Sequence[Copy], servers: Sequence[str], filled: Filled
    ) -> None:
        """Write a copy to the first of these servers that stores it, with material that another copy proves now.

        The servers are those of one domain that lacks a copy. Servers in back-off are not tried. If no server has a
        copy in the end, count a failure in ``filled``.
        """
        await self._context.turn()
        material: Secret | None = None
        for server in filter(None, map(topology.server, servers)):
            if not self._may_try(topology, server, key, filled):
                continue
            material = material or await self.material(topology, key, copies)
            if material is None:
                break
            if await self._write_copy(key, server, material, topology, filled):
                return
        filled.failed += 1

    def _may_try(self, topology: ServerTopology, server: KeyServer, key: Key, filled: Filled) -> bool:
        """Return True if a copy of a key may be offered to a server.

        That is so if the server did not fail in this walk, is not paused, and can be asked.
        """
        now = self._context.clock.monotonic()
        return (
            server.uuid not in filled.down
            and self._pauses.may_try(server.uuid, key.uuid, now)
            and not self._is_down(topology, server)
        )

    async def _write_copy(
        self, key: Key, server: KeyServer, material: Secret, topology: ServerTopology, filled: Filled
    ) -> bool:
        """Write a copy to a server. Return True if the server has a copy now, or needs none from this walk.

        It needs none, for example, if another process writes one; then nothing is counted. A server that did not store
        the copy is noted in ``filled.down``, and paused for all keys: see :meth:`Pauses.failed`. An OntapError, or a
        certificate that cannot be used, is only logged.
        """
        try:
            why = await self._writer.copy_to(key, server, material, topology)
        except (OntapError, *NO_IDENTITY) as error:
            log.info("a copy is not written", address=str(server.address), why=type(error).__name__)
            return False
        if why in {"", NOT_NEEDED}:
            filled.copied += not why
            return True
        filled.down[server.uuid] = why
        self._pauses.failed(server.uuid, key.uuid, self._context.clock.monotonic())
        return False

    async def material(self, topology: ServerTopology, key: Key, copies: Iterable[Copy]) -> Secret | None:
        """Read the material of a key from a copy whose bytes agree with the digest. Return None if no copy does.

        Called before a missing copy is written. Addresses with an open circuit are not asked. If no copy is proven,
        only secondaries are asked, because one may still have a copy that its primary lost.
        """
        found = sources(copies, topology.servers)
        proven = [source for source in found if source.copy.presence is Presence.PRESENT]
        for source in proven or [source for source in found if source.host]:
            if self._is_down(topology, source.server, source.host):
                continue
            try:
                endpoint = endpoint_of(self._context, topology, source.server, source.host)
                async with self._context.objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                    material = await session.get(source.copy.unique_identifiers)
            except KeyServerFault as fault:
                log.info("a copy cannot be read", address=str(source.server.address), why=fault.reason)
                continue
            if digests.agrees(self._context.endpoints.digest_key(topology), key.uuid, material, key.digest):
                return material
        return None

    def _is_down(self, topology: ServerTopology, server: KeyServer, host: str = "") -> bool:
        """Return True if an address cannot be asked.

        Its circuit is open, or our own certificate or a password cannot be used.
        """
        try:
            return self._context.objects.circuit_open(endpoint_of(self._context, topology, server, host))
        except KeyServerFault:
            return True


def _is_swept(row: Tracked) -> bool:
    """Return True if a sweep reads a copy: it is committed and not destroyed, and its identifiers are known.

    Its key must be committed or retired.
    """
    return (
        row.attempt.state is AttemptState.COMMITTED
        and row.key.state in KEPT_STATES
        and row.copy.presence is not Presence.DESTROYED
        and bool(row.copy.unique_identifiers)
    )

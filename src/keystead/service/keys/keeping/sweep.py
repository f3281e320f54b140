"""Keep copies: sweep over what servers hold, and give servers the copies that they lack.

A sweep walks all copies on one server and decides at its end what is missing: when too much is, nothing is, and an
alarm is raised. Nothing is written over: a copy that is lacking is written as an attempt of its own, by
:class:`keystead.service.keys.writing.create.KeyWriter`, with material that another copy has just proven.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core import events
from keystead.core.errors import OntapError
from keystead.core.keys import digests
from keystead.core.keys.guarding import without_aborted
from keystead.core.keys.keeping import KEPT, CopyAnswer, Sweep, Tally, servers_to_fill
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.keys.reading import NOT_NEEDED, sources
from keystead.core.keys.writing import fits
from keystead.service.announcing import add_events
from keystead.service.keys.announcing import different, of_server
from keystead.service.keys.context import COPIES_PER_READ, by_host, slices, topology_of, tracked
from keystead.service.keys.keeping.backoff import Pauses
from keystead.service.keys.looking.changes import changes_of, store_changes
from keystead.service.keys.looking.look import look_at_many
from keystead.service.keys.looking.visit import endpoint_of, visit
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
    from keystead.service.keys.looking.changes import CopyChange
    from keystead.service.keys.looking.look import CopyObservation
    from keystead.service.keys.looking.visit import Visit
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction

log = structlog.get_logger(__name__)

ASKED: Final = 32
"""Copies that are asked for at a time."""

WRITTEN: Final = 8
"""Copies that are written at a time."""


SHOWN_S: Final = 3.0
"""How long a server may take to show its canary in a round."""


class CopyWriter(Protocol):
    """Gives one server its copy; see :class:`keystead.service.keys.writing.create.KeyWriter`."""

    async def copy_to(self, key: Key, server: KeyServer, material: Secret, topology: ServerTopology) -> str: ...  # noqa: D102


@dataclass(slots=True)
class Filled:
    """What came of a walk over all keys: ``tally`` counts them as they were, ``copied`` and ``failed`` are copies.

    ``down`` are servers (uuids) that did not take a copy, and why: they get no more in this walk.
    """

    tally: Tally = field(default_factory=Tally)
    copied: int = 0
    failed: int = 0
    down: dict[str, str] = field(default_factory=dict)


class CopySweep:
    """Sweeps and repairs."""

    def __init__(self, context: KeeperContext, writer: CopyWriter) -> None:
        self._context = context
        self._writer = writer
        self._pauses = Pauses()

    # --- sweep ---

    async def sweep(self, holding: Holding, key_manager: str, key_server: str) -> Sweep | None:
        """Look at every copy on a server and store what was found; None when it could not be asked to the end.

        Raises StoreError, LeaseLost.
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
        await self._context.store.write(lambda tx: self._decide(tx, holding, topology, server, sweep, hidden=hidden))
        return sweep

    async def showing(self, key_manager: str) -> dict[str, bool]:
        """Whether each server (uuid) that answers soon shows its canary now. Raises StoreError."""
        topology = await self._context.store.read(lambda tx: topology_of(tx, key_manager))
        if topology is None:
            return {}
        known = [server for server in topology.servers if server.uuid in topology.profiles]
        known = [server for server in known if not self._is_down(topology, server)]
        said = await asyncio.gather(*(self._shows(topology, server) for server in known))
        return {server.uuid: shows for server, shows in zip(known, said, strict=True) if shows is not None}

    async def _shows(self, topology: ServerTopology, server: KeyServer) -> bool | None:
        try:
            async with asyncio.timeout(SHOWN_S), visit(self._context, topology, server) as at:
                return at.canary
        except (KeyServerFault, TimeoutError):
            return None

    async def _rows(self, key_server: str, after: str) -> list[Tracked]:
        return await self._context.store.read(lambda tx: tracked(tx, tx.copies_on(key_server, after, COPIES_PER_READ)))

    async def _look(
        self, topology: ServerTopology, server: KeyServer, rows: Sequence[Tracked], sweep: Sweep
    ) -> tuple[list[CopyChange], bool]:
        """Look at copies; also return False when one was not proven, and the canary is not what it was either."""
        changes: list[CopyChange] = []
        canary = True
        for host, some in by_host(rows).items():
            at, looks = await self._look_at(topology, server, host, some)
            for row, seen, now in looks:
                sweep.note(row.copy, seen.look, canary=at.absence_counts)
                changes += changes_of(at, row, seen, now)
            canary = canary and (at.canary or all(seen.look is CopyAnswer.AGREES for _, seen, _ in looks))
        return changes, canary

    async def _look_at(
        self, topology: ServerTopology, server: KeyServer, host: str, rows: Sequence[Tracked], *, failed: bool = False
    ) -> tuple[Visit, list[tuple[Tracked, CopyObservation, datetime]]]:
        """Look at copies at one address, and when; at those of a secondary that ``failed``, on its primary."""
        looks: list[tuple[Tracked, CopyObservation, datetime]] = []
        try:
            async with visit(self._context, topology, server, host, failed=failed) as at:
                for batch in slices(rows, ASKED):
                    await self._context.turn()
                    now = self._context.clock.now()
                    looks += [(row, seen, now) for row, seen in zip(batch, await look_at_many(at, batch), strict=True)]
        except KeyServerFault:
            if failed or not host:
                raise
            return await self._look_at(topology, server, host, rows, failed=True)
        return at, looks

    def _store(
        self,
        tx: Transaction,
        holding: Holding,
        topology: ServerTopology,
        server: KeyServer,
        changes: Sequence[CopyChange],
    ) -> None:
        stored = store_changes(tx, holding, changes, seen_in=topology)
        add_events(tx, different(tx, self._context, topology, server, stored))

    def _decide(
        self,
        tx: Transaction,
        holding: Holding,
        topology: ServerTopology,
        server: KeyServer,
        sweep: Sweep,
        *,
        hidden: bool,
    ) -> None:
        """At the end: what was lost is missing, unless that is too much; and what is announced."""
        holding.check(tx)
        found = []
        if hidden:
            found.append(of_server(tx, self._context, events.CANARY_HIDDEN, topology, server))
        elif sweep.stopped:
            count = str(sweep.gone)
            found.append(of_server(tx, self._context, events.KEYS_LOST, topology, server, count=count))
        else:
            lost = [replace(copy, presence=Presence.UNKNOWN) for copy in sweep.lost]
            gone = [(copy, replace(copy, presence=Presence.MISSING)) for copy in lost]
            missing = store_changes(tx, holding, gone, seen_in=topology)
            if missing:
                count = str(len({copy.key for copy, _ in missing}))
                found.append(of_server(tx, self._context, events.KEYS_MISSING, topology, server, count=count))
        add_events(tx, found)

    # --- repair ---

    def try_again(self) -> None:
        """Offer copies at once to servers that took none lately."""
        self._pauses.clear()

    async def fill(self, key_manager: str, progress: Callable[[int], Awaitable[None]] | None = None) -> Filled:
        """Walk over all keys that are kept, count them, and write the copies that are lacking. Raises StoreError.

        ``progress`` is told, now and then, how many keys were looked at.
        """
        filled, after = Filled(), ""
        while True:
            topology, keys = await self._context.store.read(lambda tx: self._batch(tx, key_manager, after))  # noqa: B023
            if topology is None or not keys:
                self._pauses.walked(self._context.clock.monotonic())
                return filled
            after = keys[-1][0].uuid
            wanted = []
            for key, copies in keys:
                filled.tally.count(copies, topology.domain_of, topology.servers)
                fit = [uuid for uuid, profile in topology.profiles.items() if fits(profile.form, key.length)]
                there = servers_to_fill(copies, fit, topology.domain_of, topology.servers)
                wanted += [(key, copies, servers) for servers in there]
            for start in range(0, len(wanted), WRITTEN):
                some = wanted[start : start + WRITTEN]
                await asyncio.gather(*(self._give(topology, *each, filled) for each in some))
            if progress is not None:
                await progress(filled.tally.keys)

    def _batch(
        self, tx: Transaction, key_manager: str, after: str
    ) -> tuple[ServerTopology | None, list[tuple[Key, list[Copy]]]]:
        """The next keys that are kept, with their lasting copies."""
        topology = topology_of(tx, key_manager)
        keys = tx.keys_in(key_manager, KEPT, after, COPIES_PER_READ)
        copies: dict[str, list[Copy]] = {key.uuid: [] for key in keys}
        for copy in without_aborted(tx.copies(copies), tx.attempts(copies)):
            copies[copy.key].append(copy)
        return topology, [(key, copies[key.uuid]) for key in keys]

    async def _give(
        self, topology: ServerTopology, key: Key, copies: Sequence[Copy], servers: Sequence[str], filled: Filled
    ) -> None:
        """Give the first of these servers that takes it a copy, if any other copy can be proven now."""
        await self._context.turn()
        material: Secret | None = None
        for server in filter(None, map(topology.server, servers)):
            if not self._may_try(topology, server, key, filled):
                continue
            material = material or await self.material(topology, key, copies)
            if material is None:
                break
            if await self._copied(key, server, material, topology, filled):
                return
        filled.failed += 1

    def _may_try(self, topology: ServerTopology, server: KeyServer, key: Key, filled: Filled) -> bool:
        now = self._context.clock.monotonic()
        return (
            server.uuid not in filled.down
            and self._pauses.may_try(server.uuid, key.uuid, now)
            and not self._is_down(topology, server)
        )

    async def _copied(
        self, key: Key, server: KeyServer, material: Secret, topology: ServerTopology, filled: Filled
    ) -> bool:
        """Write a copy; whether there is one now, or somebody else is about to write it."""
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
        """Read a key from a copy whose bytes agree now; None when there is none that can be read.

        Where no copy is proven, a secondary may still have what its primary has lost.
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
        try:
            return self._context.objects.slow_or_dead(endpoint_of(self._context, topology, server, host))
        except KeyServerFault:
            return True


def _is_swept(row: Tracked) -> bool:
    """Whether a copy is one whose key is kept, and of which it is known where it is, or was."""
    return (
        row.attempt.state is AttemptState.COMMITTED
        and row.key.state in KEPT
        and row.copy.presence is not Presence.DESTROYED
        and bool(row.copy.unique_identifiers)
    )

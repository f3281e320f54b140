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
from keystead.core.keys.guarding import lasting
from keystead.core.keys.keeping import KEPT, Look, Sweep, Tally, lacking
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.keys.reading import NOT_NEEDED, sources
from keystead.core.keys.writing import fits
from keystead.service.keys.announcing import different, of_server
from keystead.service.keys.keeping.backoff import Pauses
from keystead.service.keys.looking.look import (
    BATCH,
    by_host,
    changes_of,
    look_at_many,
    places_of,
    reach_of,
    slices,
    store_changes,
    tracked,
    visit,
)
from keystead.service.ports.keys import KeyServerFault
from keystead.service.probing.observations import add_events
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.looking.look import Change, Seen, Tools, Tracked, Visit
    from keystead.service.keys.topology import KeyPlaces
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

    async def copy_to(self, key: Key, server: KeyServer, material: Secret, places: KeyPlaces) -> str: ...  # noqa: D102


@dataclass(slots=True)
class Filled:
    """What came of a walk over all keys: ``tally`` counts them as they were, ``copied`` and ``failed`` are copies.

    ``down`` are servers (uuids) that did not take a copy, and why: they get no more in this walk.
    """

    tally: Tally = field(default_factory=Tally)
    copied: int = 0
    failed: int = 0
    down: dict[str, str] = field(default_factory=dict)


class KeyKeeping:
    """Sweeps and repairs."""

    def __init__(self, tools: Tools, writer: CopyWriter) -> None:
        self._tools = tools
        self._writer = writer
        self._pauses = Pauses()

    # --- sweep ---

    async def sweep(self, holding: Holding, key_manager: str, key_server: str) -> Sweep | None:
        """Look at every copy on a server and store what was found; None when it could not be asked to the end.

        Raises StoreError, LeaseLost.
        """
        places = await self._tools.store.read(lambda tx: places_of(tx, key_manager))
        server = None if places is None else places.server(key_server)
        if places is None or server is None or key_server not in places.profiles:
            return None
        sweep, after, hidden = Sweep(), "", False
        while rows := await self._rows(key_server, after):
            after = rows[-1].key.uuid
            try:
                changes, canary = await self._look(places, server, list(filter(_is_swept, rows)), sweep)
            except KeyServerFault as fault:
                log.info("a key server is not swept", address=str(server.address), why=fault.reason)
                return None
            await self._tools.store.write(lambda tx: self._store(tx, holding, places, server, changes))  # noqa: B023
            hidden = hidden or not canary
        await self._tools.store.write(lambda tx: self._decide(tx, holding, places, server, sweep, hidden=hidden))
        return sweep

    async def showing(self, key_manager: str) -> dict[str, bool]:
        """Whether each server (uuid) that answers soon shows its canary now. Raises StoreError."""
        places = await self._tools.store.read(lambda tx: places_of(tx, key_manager))
        if places is None:
            return {}
        known = [server for server in places.servers if server.uuid in places.profiles]
        known = [server for server in known if not self._is_down(places, server)]
        said = await asyncio.gather(*(self._shows(places, server) for server in known))
        return {server.uuid: shows for server, shows in zip(known, said, strict=True) if shows is not None}

    async def _shows(self, places: KeyPlaces, server: KeyServer) -> bool | None:
        try:
            async with asyncio.timeout(SHOWN_S), visit(self._tools, places, server) as at:
                return at.canary
        except (KeyServerFault, TimeoutError):
            return None

    async def _rows(self, key_server: str, after: str) -> list[Tracked]:
        return await self._tools.store.read(lambda tx: tracked(tx, tx.copies_on(key_server, after, BATCH)))

    async def _look(
        self, places: KeyPlaces, server: KeyServer, rows: Sequence[Tracked], sweep: Sweep
    ) -> tuple[list[Change], bool]:
        """Look at copies; also return False when one was not proven, and the canary is not what it was either."""
        changes: list[Change] = []
        canary = True
        for host, some in by_host(rows).items():
            at, looks = await self._look_at(places, server, host, some)
            for row, seen, now in looks:
                sweep.note(row.copy, seen.look, canary=at.absence_counts)
                changes += changes_of(at, row, seen, now)
            canary = canary and (at.canary or all(seen.look is Look.AGREES for _, seen, _ in looks))
        return changes, canary

    async def _look_at(
        self, places: KeyPlaces, server: KeyServer, host: str, rows: Sequence[Tracked], *, failed: bool = False
    ) -> tuple[Visit, list[tuple[Tracked, Seen, datetime]]]:
        """Look at copies at one address, and when; at those of a secondary that ``failed``, on its primary."""
        looks: list[tuple[Tracked, Seen, datetime]] = []
        try:
            async with visit(self._tools, places, server, host, failed=failed) as at:
                for batch in slices(rows, ASKED):
                    await self._tools.turn()
                    now = self._tools.clock.now()
                    looks += [(row, seen, now) for row, seen in zip(batch, await look_at_many(at, batch), strict=True)]
        except KeyServerFault:
            if failed or not host:
                raise
            return await self._look_at(places, server, host, rows, failed=True)
        return at, looks

    def _store(
        self, tx: Transaction, holding: Holding, places: KeyPlaces, server: KeyServer, changes: Sequence[Change]
    ) -> None:
        stored = store_changes(tx, holding, changes, seen_in=places)
        add_events(tx, different(tx, self._tools, places, server, stored))

    def _decide(
        self,
        tx: Transaction,
        holding: Holding,
        places: KeyPlaces,
        server: KeyServer,
        sweep: Sweep,
        *,
        hidden: bool,
    ) -> None:
        """At the end: what was lost is missing, unless that is too much; and what is announced."""
        holding.check(tx)
        found = []
        if hidden:
            found.append(of_server(tx, self._tools, events.CANARY_HIDDEN, places, server))
        elif sweep.stopped:
            count = str(sweep.gone)
            found.append(of_server(tx, self._tools, events.KEYS_LOST, places, server, count=count))
        else:
            lost = [replace(copy, presence=Presence.UNKNOWN) for copy in sweep.lost]
            gone = [(copy, replace(copy, presence=Presence.MISSING)) for copy in lost]
            missing = store_changes(tx, holding, gone, seen_in=places)
            if missing:
                count = str(len({copy.key for copy, _ in missing}))
                found.append(of_server(tx, self._tools, events.KEYS_MISSING, places, server, count=count))
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
            places, keys = await self._tools.store.read(lambda tx: self._batch(tx, key_manager, after))  # noqa: B023
            if places is None or not keys:
                self._pauses.walked(self._tools.clock.monotonic())
                return filled
            after = keys[-1][0].uuid
            wanted = []
            for key, copies in keys:
                filled.tally.count(copies, places.domain_of, places.servers)
                fit = [uuid for uuid, profile in places.profiles.items() if fits(profile.form, key.length)]
                there = lacking(copies, fit, places.domain_of, places.servers)
                wanted += [(key, copies, servers) for servers in there]
            for start in range(0, len(wanted), WRITTEN):
                some = wanted[start : start + WRITTEN]
                await asyncio.gather(*(self._give(places, *each, filled) for each in some))
            if progress is not None:
                await progress(filled.tally.keys)

    def _batch(
        self, tx: Transaction, key_manager: str, after: str
    ) -> tuple[KeyPlaces | None, list[tuple[Key, list[Copy]]]]:
        """The next keys that are kept, with their lasting copies."""
        places = places_of(tx, key_manager)
        keys = tx.keys_in(key_manager, KEPT, after, BATCH)
        copies: dict[str, list[Copy]] = {key.uuid: [] for key in keys}
        for copy in lasting(tx.copies(copies), tx.attempts(copies)):
            copies[copy.key].append(copy)
        return places, [(key, copies[key.uuid]) for key in keys]

    async def _give(
        self, places: KeyPlaces, key: Key, copies: Sequence[Copy], servers: Sequence[str], filled: Filled
    ) -> None:
        """Give the first of these servers that takes it a copy, if any other copy can be proven now."""
        await self._tools.turn()
        material: Secret | None = None
        for server in filter(None, map(places.server, servers)):
            if not self._may_try(places, server, key, filled):
                continue
            material = material or await self.material(places, key, copies)
            if material is None:
                break
            if await self._copied(key, server, material, places, filled):
                return
        filled.failed += 1

    def _may_try(self, places: KeyPlaces, server: KeyServer, key: Key, filled: Filled) -> bool:
        now = self._tools.clock.monotonic()
        return (
            server.uuid not in filled.down
            and self._pauses.may_try(server.uuid, key.uuid, now)
            and not self._is_down(places, server)
        )

    async def _copied(self, key: Key, server: KeyServer, material: Secret, places: KeyPlaces, filled: Filled) -> bool:
        """Write a copy; whether there is one now, or somebody else is about to write it."""
        try:
            why = await self._writer.copy_to(key, server, material, places)
        except (OntapError, *NO_IDENTITY) as error:
            log.info("a copy is not written", address=str(server.address), why=type(error).__name__)
            return False
        if why in {"", NOT_NEEDED}:
            filled.copied += not why
            return True
        filled.down[server.uuid] = why
        self._pauses.failed(server.uuid, key.uuid, self._tools.clock.monotonic())
        return False

    async def material(self, places: KeyPlaces, key: Key, copies: Iterable[Copy]) -> Secret | None:
        """Read a key from a copy whose bytes agree now; None when there is none that can be read.

        Where no copy is proven, a secondary may still have what its primary has lost.
        """
        found = sources(copies, places.servers)
        proven = [source for source in found if source.copy.presence is Presence.PRESENT]
        for source in proven or [source for source in found if source.host]:
            if self._is_down(places, source.server, source.host):
                continue
            try:
                reach = reach_of(self._tools, places, source.server, source.host)
                async with self._tools.objects.session(reach, timeout_s=reach.target.timeout_s) as session:
                    material = await session.get(source.copy.unique_identifiers)
            except KeyServerFault as fault:
                log.info("a copy cannot be read", address=str(source.server.address), why=fault.reason)
                continue
            if digests.agrees(self._tools.reacher.digest_key(places), key.uuid, material, key.digest):
                return material
        return None

    def _is_down(self, places: KeyPlaces, server: KeyServer, host: str = "") -> bool:
        try:
            return self._tools.objects.slow_or_dead(reach_of(self._tools, places, server, host))
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

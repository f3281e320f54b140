"""Fetch a key's material from its key servers: the best first, the next one when that fails or is late.

What a server returns is compared with the key's digest. One that returns something else is passed over, its copy is
marked and announced, and never written over. A server that is overtaken finishes on its own, one question at a time, so
that its circuit and its times learn from it; until then other reads begin elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from keystead.core import events
from keystead.core.errors import OntapError
from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.digests import agrees
from keystead.core.keys.model import Presence
from keystead.core.keys.reading import (
    DIFFERENT,
    OVERTAKEN,
    READ,
    SourceHealth,
    Tried,
    in_order,
    not_asked,
    not_restored,
    sources,
)
from keystead.service.announcing import add_events, cluster_name
from keystead.service.keys.topology import load_topology
from keystead.service.ports.objects import KeyServerFault
from keystead.service.ports.store import StoreError
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.keys.reading import Source
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.store import Clock, Store, Transaction

log = structlog.get_logger(__name__)

FETCH_S = 30.0
"""How long a fetch may take in all: below the 40 s of a request."""

LATE_S = 1.0
"""After this the next server is asked as well, however many others were; the late one may still win."""

HEDGED = 0.05
"""The part of all fetches that may ask the second server early, when the first exceeds its recent 95th percentile."""

HEDGES_SAVED = 10.0

READ_CONTEXTS = 64
"""Key managers whose shelves are remembered."""

UNUSABLE = "identity_unusable"
"""Nobody was asked: a certificate or secret of the key manager is gone or cannot be opened."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Material that agrees with the key's digest, and what was tried for it, in order."""

    material: Secret
    tried: tuple[Tried, ...]


class Hedges:
    """Counts who may ask a second server early. Each fetch adds a part of a hedge, up to a few."""

    def __init__(self) -> None:
        self._tokens = HEDGES_SAVED

    def count(self) -> None:
        """One more fetch."""
        self._tokens = min(self._tokens + HEDGED, HEDGES_SAVED)

    def take(self) -> bool:
        """Use one, if there is one."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True)
class ReadContext:
    """Where a key manager's keys are, and how its servers are reached: by server (uuid) and host."""

    topology: ServerTopology
    endpoints: Mapping[tuple[str, str], Endpoint]
    digest_key: Secret = field(repr=False)

    def endpoint(self, source: Source) -> Endpoint:
        """How to reach a place."""
        return self.endpoints[source.server.uuid, source.host]


class Fetcher:
    """Fetches keys for one node. Belongs to one event loop."""

    def __init__(self, store: Store, objects: KeyObjects, endpoints: Endpoints, clock: Clock, node: str) -> None:
        self._store = store
        self._objects = objects
        self._endpoints = endpoints
        self._clock = clock
        self._node = node
        self._hedges = Hedges()
        self._shelves: OrderedDict[str, tuple[Hashable, ReadContext]] = OrderedDict()  # the longest unused first
        self._late: dict[tuple[str, str], asyncio.Task[Secret | None]] = {}
        self._marking: set[asyncio.Task[None]] = set()

    async def fetch(self, key: Key) -> Fetched:
        """Return a key's material. Raises OntapError when no server returns it (its arguments say why), StoreError."""
        shelf, copies = await self._find(key)
        if shelf is None:
            raise OntapError(not_restored(key), arguments=[("reason", UNUSABLE)])
        race = _Race(key, self.order(shelf, copies), shelf)
        material = await self._run(race)
        tried = tuple(race.tried(source, self.health(shelf, source)) for source in race.order)
        if material is None:
            raise OntapError(not_restored(key), arguments=_reasons(tried))
        return Fetched(material, tried)

    def shelf(self, topology: ServerTopology) -> ReadContext | None:
        """What reading from a key manager's servers takes; None when it cannot be had."""
        try:
            return ReadContext(topology, self._endpoints.addresses(topology), self._endpoints.digest_key(topology))
        except NO_IDENTITY as error:
            log.error("keys cannot be read", key_manager=topology.key_manager.uuid, why=type(error).__name__)  # noqa: TRY400
            return None

    async def _find(self, key: Key) -> tuple[ReadContext | None, Sequence[Copy]]:
        """The key's shelf, which is read again when the configuration has changed, and its copies."""
        known = self._shelves.get(key.key_manager)

        def read(tx: Transaction) -> tuple[Hashable, ServerTopology | None, Sequence[Copy]]:
            marker = tx.change_marker()
            topology = None if known is not None and known[0] == marker else _topology(tx, key)
            return marker, topology, tx.standing_copies([key.uuid])

        marker, topology, copies = await self._store.glance(read)
        if known is not None and topology is None:
            self._shelves.move_to_end(key.key_manager)
            return known[1], copies
        shelf = None if topology is None else self.shelf(topology)
        if shelf is not None:
            self._shelves[key.key_manager] = marker, shelf
            if len(self._shelves) > READ_CONTEXTS:
                self._shelves.popitem(last=False)
        return shelf, copies

    def order(self, shelf: ReadContext, copies: Sequence[Copy]) -> list[Source]:
        """Where to read a key, the best place first."""
        found = sources(copies, shelf.topology.servers)
        return in_order(found, shelf.topology.domain_of, lambda source: self.health(shelf, source))

    def health(self, shelf: ReadContext, source: Source) -> SourceHealth:
        """What is known of a place. One that somebody waits for since longer than usual is avoided as well."""
        endpoint = shelf.endpoint(source)
        late = (source.server.uuid, source.host) in self._late
        return SourceHealth(late or self._objects.slow_or_dead(endpoint), self._objects.latency_s(endpoint))

    async def close(self) -> None:
        """End what was overtaken, and wait for what is being marked."""
        for task in self._late.values():
            task.cancel()
        if rest := {*self._late.values(), *self._marking}:
            await asyncio.wait(rest)

    # --- one fetch ---

    async def _run(self, race: _Race) -> Secret | None:
        self._hedges.count()
        try:
            async with asyncio.timeout(FETCH_S):
                return await self._raced(race)
        except TimeoutError:
            return None
        finally:
            self._let_go(race)

    async def _raced(self, race: _Race) -> Secret | None:
        """Ask one server after the other, as the one before has failed or is late."""
        for source in race.order:
            race.running[asyncio.create_task(self._ask(race, source))] = source
            await self._wait(race, source)
            if race.found is not None:
                return race.found
        while race.running and race.found is None:
            await race.step(None)
        return race.found

    async def _wait(self, race: _Race, source: Source) -> None:
        """Wait for an end, or until the next server is to be asked as well: after the first, earlier than usual."""
        hedged = source is race.order[0] and len(race.order) > 1
        usual_s = self._objects.p95_s(race.shelf.endpoint(source)) if hedged else None
        if usual_s is not None and (await race.step(usual_s) or self._hedges.take()):
            return
        await race.step(LATE_S)

    async def _ask(self, race: _Race, source: Source) -> Secret | None:
        """Ask one server; the material if it agrees. Never raises."""
        endpoint = race.shelf.endpoint(source)
        race.began[source] = asyncio.get_running_loop().time()
        try:
            async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                material = await session.get(source.copy.unique_identifiers)
        except KeyServerFault as fault:
            race.end(source, fault.reason)
            return None
        if agrees(race.shelf.digest_key, race.key.uuid, material, race.key.digest):
            race.end(source, READ)
            return material
        race.end(source, DIFFERENT)
        self.report_different(race.key, source)
        return None

    def _let_go(self, race: _Race) -> None:
        """Leave those who were overtaken to themselves, but no more than one of each address."""
        for task, source in race.running.items():
            address = source.server.uuid, source.host
            if address in self._late:
                task.cancel()
                continue
            self._late[address] = task
            task.add_done_callback(partial(self._forget_late, address))

    def _forget_late(self, address: tuple[str, str], _: object) -> None:
        del self._late[address]

    # --- a server that lies ---

    def report_different(self, key: Key, source: Source) -> None:
        """Mark a copy that is not the key's, and announce it, in the background: to those who see the key server."""
        server = str(source.server.address)
        log.error("key server returned other material", address=server, host=source.host, key=key.key_id)
        if source.host == source.copy.host and source.copy.presence is not Presence.DIFFERENT:
            task = asyncio.get_running_loop().create_task(self._mark_different(key, source))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def _mark_different(self, key: Key, source: Source) -> None:
        address = str(address_of(source.server, source.host))

        def mark(tx: Transaction) -> None:
            server = source.server
            now = tx.key_server(server.key_manager, server.address)
            manager = tx.key_manager(server.key_manager)
            if now is None or now.uuid != server.uuid or manager is None or not _change_presence(tx, source.copy):
                return
            vserver = manager.svm.name if manager.svm else cluster_name(tx)
            values = {"vserver": vserver, "address": address, "key_id": key.key_id}
            add_events(tx, [events.KEY_DIFFERENT.happened(self._node, self._clock.now(), manager.svm, values)])

        try:
            await self._store.write(mark)
        except StoreError as error:
            log.warning("copy not marked", key=key.key_id, why=str(error))


class _Race:
    """One fetch: who is asked, what came of it, and what was found. Times are the loop's."""

    def __init__(self, key: Key, order: Sequence[Source], shelf: ReadContext) -> None:
        self.key = key
        self.order = order
        self.shelf = shelf
        self.running: dict[asyncio.Task[Secret | None], Source] = {}
        self.began: dict[Source, float] = {}
        self.found: Secret | None = None
        self._ended: dict[Source, tuple[str, float]] = {}

    async def step(self, limit_s: float | None) -> bool:
        """Wait until something ends, at most so many seconds; whether something did."""
        done, _ = await asyncio.wait(self.running, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self.running[task]
            self.found = self.found or task.result()
        return bool(done)

    def end(self, source: Source, outcome: str) -> None:
        """Note how asking a server ended."""
        self._ended[source] = outcome, self._elapsed_ms(source)

    def tried(self, source: Source, health: SourceHealth) -> Tried:
        """What is to be said of a place."""
        server = str(address_of(source.server, source.host))
        if source in self._ended:
            return Tried(server, source.host, *self._ended[source])
        if source in self.began:
            return Tried(server, source.host, OVERTAKEN, self._elapsed_ms(source))
        return Tried(server, source.host, not_asked(health, source.copy.presence))

    def _elapsed_ms(self, source: Source) -> float:
        return round((asyncio.get_running_loop().time() - self.began[source]) * 1000, 3)


def address_of(server: KeyServer, host: str) -> ServerAddress:
    """The address of a server's primary, or of one of its secondaries."""
    if not host:
        return server.address
    return dict(zip(server.secondary_key_servers, secondary_addresses(server), strict=True))[host]


def _topology(tx: Transaction, key: Key) -> ServerTopology:
    manager = tx.key_manager(key.key_manager)
    if manager is None:
        raise StoreError(f"key {key.uuid} has no key manager: the database is damaged")
    return load_topology(tx, manager)


def _change_presence(tx: Transaction, copy: Copy) -> bool:
    """Make a copy ``different``, unless something else is known of it by now; whether that changed anything."""
    tx.lock_key(copy.key)
    place = copy.attempt, copy.key_server, copy.host, copy.unique_identifiers
    for now in tx.copies([copy.key]):
        if (now.attempt, now.key_server, now.host, now.unique_identifiers) == place:
            if now.presence in {Presence.DIFFERENT, Presence.DESTROYED}:
                return False
            tx.put_copies([replace(now, presence=Presence.DIFFERENT)], new=False)
            return True
    return False


def _reasons(tried: Sequence[Tried]) -> list[tuple[str, str]]:
    return [pair for each in tried for pair in (("server", each.server), ("reason", each.outcome))]

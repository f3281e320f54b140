"""Fetch a key's material from its key servers: the best server first, the next when that server fails or is slow.

The material from a server is compared with the key's digest. If it is different, the copy is marked and announced, and
the next server is asked. A different copy is never overwritten.

A request is overtaken when another server answers first. An overtaken request runs on in the background, at most one at
each address. So its outcome still counts for the address's circuit and response times. Until it ends, other reads begin
at other addresses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog
from cachetools import LRUCache

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
from keystead.service.ports.cluster import ClusterRows, EventRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import CopyRows, KeyRows, TopologyRows
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
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

FETCH_S = 30.0
"""Seconds that a fetch may take in total: less than the 40 s of a request."""

LATE_S = 1.0
"""Seconds after which the next server is asked, too. No budget limits that. The slow server may still win."""

HEDGED = 0.05
"""The share of fetches that may send a hedged request.

A hedged request goes to the second server when the first exceeds its recent 95th percentile.
"""

HEDGES_SAVED = 10.0
"""The most hedged requests that unused shares add up to."""

READ_CONTEXTS = 64
"""Key managers with a cached read context (LRU)."""

UNUSABLE = "identity_unusable"
"""The reason when no server was asked: a certificate or secret of the key manager is gone or cannot be opened."""


class Rows(TopologyRows, KeyManagerRows, ClusterRows, ObservationRows, EventRows, KeyRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Material that agrees with the key's digest, and what happened at each address, in order."""

    material: Secret
    tried: tuple[Tried, ...]


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """The limits of fetches; see the constants of this module."""

    fetch_s: float = FETCH_S
    late_s: float = LATE_S
    hedges_saved: float = HEDGES_SAVED
    read_contexts: int = READ_CONTEXTS


class Hedges:
    """The budget (token bucket) of hedged requests. Each fetch adds a part of a token, up to ``saved`` tokens."""

    def __init__(self, saved: float = HEDGES_SAVED) -> None:
        self._saved = saved
        self._tokens = saved

    def count(self) -> None:
        """Add the share of one fetch."""
        self._tokens = min(self._tokens + HEDGED, self._saved)

    def take(self) -> bool:
        """Take one token. Return False if there is none."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True)
class ReadContext:
    """The data that reads from a key manager's servers need. ``endpoints`` are by server (uuid) and host."""

    topology: ServerTopology
    endpoints: Mapping[tuple[str, str], Endpoint]
    digest_key: Secret = field(repr=False)

    def endpoint(self, source: Source) -> Endpoint:
        """Return the endpoint of a source."""
        return self.endpoints[source.server.uuid, source.host]


class Fetcher:
    """The fetcher of keys for one node. It belongs to one event loop."""

    def __init__(
        self,
        store: Store[Rows],
        objects: KeyObjects,
        endpoints: Endpoints,
        clock: Clock,
        node: str,
        limits: FetchLimits = FetchLimits(),
    ) -> None:
        self._limits = limits
        self._store = store
        self._objects = objects
        self._endpoints = endpoints
        self._clock = clock
        self._node = node
        self._hedges = Hedges(limits.hedges_saved)
        self._contexts: LRUCache[str, tuple[Hashable, ReadContext]] = LRUCache(limits.read_contexts)
        self._late: dict[tuple[str, str], asyncio.Task[Secret | None]] = {}
        self._marking: set[asyncio.Task[None]] = set()

    async def fetch(self, key: Key) -> Fetched:
        """Return a key's material. Raise OntapError if no server returns it, or StoreError.

        The arguments of the OntapError give the reasons.
        """
        context, copies = await self._find(key)
        if context is None:
            raise OntapError(not_restored(key), arguments=[("reason", UNUSABLE)])
        race = _Race(key, self.order(context, copies), context)
        material = await self._run(race)
        tried = tuple(race.tried(source, self.health(context, source)) for source in race.order)
        if material is None:
            raise OntapError(not_restored(key), arguments=_reasons(tried))
        return Fetched(material, tried)

    def read_context(self, topology: ServerTopology) -> ReadContext | None:
        """Return the read context of a topology, or None if a certificate or secret cannot be used."""
        try:
            return ReadContext(topology, self._endpoints.addresses(topology), self._endpoints.digest_key(topology))
        except NO_IDENTITY as error:
            log.error("keys cannot be read", key_manager=topology.key_manager.uuid, why=type(error).__name__)  # noqa: TRY400
            return None

    async def _find(self, key: Key) -> tuple[ReadContext | None, Sequence[Copy]]:
        """Return the key's read context and its copies. The context is None if it cannot be used.

        Read the context again if the database's change marker shows that the configuration has changed.
        """
        known = self._contexts.get(key.key_manager)  # with the change marker that it was read at

        def read(tx: Rows) -> tuple[Hashable, ServerTopology | None, Sequence[Copy]]:
            change_marker = tx.change_marker()
            topology = None if known is not None and known[0] == change_marker else _topology(tx, key)
            return change_marker, topology, tx.copies_not_aborted([key.uuid])

        change_marker, topology, copies = await self._store.read_few(read)
        if known is not None and topology is None:
            return known[1], copies
        context = None if topology is None else self.read_context(topology)
        if context is not None:
            self._contexts[key.key_manager] = change_marker, context
        return context, copies

    def order(self, context: ReadContext, copies: Sequence[Copy]) -> list[Source]:
        """Return the sources of a key, the best first."""
        found = sources(copies, context.topology.servers)
        return in_order(found, context.topology.domain_of, lambda source: self.health(context, source))

    def health(self, context: ReadContext, source: Source) -> SourceHealth:
        """Return the health of a source.

        A source is avoided if its circuit is open, or if an overtaken request is still running there.
        """
        endpoint = context.endpoint(source)
        late = (source.server.uuid, source.host) in self._late
        return SourceHealth(late or self._objects.circuit_open(endpoint), self._objects.latency_s(endpoint))

    async def close(self) -> None:
        """Cancel the overtaken requests. Wait until they and the marking of copies have ended."""
        for task in self._late.values():
            task.cancel()
        if rest := {*self._late.values(), *self._marking}:
            await asyncio.wait(rest)

    # --- one fetch ---

    async def _run(self, race: _Race) -> Secret | None:
        self._hedges.count()
        try:
            async with asyncio.timeout(self._limits.fetch_s):
                return await self._ask_in_order(race)
        except TimeoutError:
            return None
        finally:
            self._keep_overtaken(race)

    async def _ask_in_order(self, race: _Race) -> Secret | None:
        """Ask the servers in order: the next one when the one before has failed or is slow."""
        for source in race.order:
            race.running[asyncio.create_task(self._ask(race, source))] = source
            await self._wait(race, source)
            if race.found is not None:
                return race.found
        while race.running and race.found is None:
            await race.step(None)
        return race.found

    async def _wait(self, race: _Race, source: Source) -> None:
        """Wait until a request ends, or until the next server is to be asked, too.

        For the first server the wait may be shorter: its recent 95th percentile, if the hedge budget allows that.
        """
        hedged = source is race.order[0] and len(race.order) > 1
        usual_s = self._objects.p95_s(race.context.endpoint(source)) if hedged else None
        if usual_s is not None and (await race.step(usual_s) or self._hedges.take()):
            return
        await race.step(self._limits.late_s)

    async def _ask(self, race: _Race, source: Source) -> Secret | None:
        """Ask one server. Return the material if it agrees with the digest, else None. Never raise."""
        endpoint = race.context.endpoint(source)
        race.began[source] = asyncio.get_running_loop().time()
        try:
            async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                material = await session.get(source.copy.unique_identifiers)
        except KeyServerFault as fault:
            race.end(source, fault.reason)
            return None
        if agrees(race.context.digest_key, race.key.uuid, material, race.key.digest):
            race.end(source, READ)
            return material
        race.end(source, DIFFERENT)
        self.report_different(race.key, source)
        return None

    def _keep_overtaken(self, race: _Race) -> None:
        """Let overtaken requests run on in the background, at most one at each address. Cancel the others."""
        for task, source in race.running.items():
            address = source.server.uuid, source.host
            if address in self._late:
                task.cancel()
                continue
            self._late[address] = task
            task.add_done_callback(partial(self._forget_late, address))

    def _forget_late(self, address: tuple[str, str], _: object) -> None:
        del self._late[address]

    # --- different material ---

    def report_different(self, key: Key, source: Source) -> None:
        """Log that a source returned different material. Mark the copy and announce it, in the background.

        The copy is marked only if it was read at the address where it was written, and is not marked yet. The event is
        for those who see the key server.
        """
        server = str(source.server.address)
        log.error("key server returned other material", address=server, host=source.host, key=key.key_id)
        if source.host == source.copy.host and source.copy.presence is not Presence.DIFFERENT:
            task = asyncio.get_running_loop().create_task(self._mark_different(key, source))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def _mark_different(self, key: Key, source: Source) -> None:
        address = str(address_of(source.server, source.host))

        def mark(tx: Rows) -> None:
            server = source.server
            now = tx.key_server(server.key_manager, server.address)
            manager = tx.key_manager(server.key_manager)
            if now is None or now.uuid != server.uuid or manager is None or not _set_different(tx, source.copy):
                return
            vserver = manager.svm.name if manager.svm else cluster_name(tx)
            values = {"vserver": vserver, "address": address, "key_id": key.key_id}
            add_events(tx, [events.KEY_DIFFERENT.happened(self._node, self._clock.now(), manager.svm, values)])

        try:
            await self._store.write(mark)
        except StoreError as error:
            log.warning("copy not marked as different", key=key.key_id, why=str(error))


class _Race:
    """One fetch: the sources in order, the running requests and the material found. Times are loop times."""

    def __init__(self, key: Key, order: Sequence[Source], context: ReadContext) -> None:
        self.key = key
        self.order = order
        self.context = context
        self.running: dict[asyncio.Task[Secret | None], Source] = {}
        self.began: dict[Source, float] = {}
        self.found: Secret | None = None
        self._ended: dict[Source, tuple[str, float]] = {}

    async def step(self, limit_s: float | None) -> bool:
        """Wait until a request ends, at most ``limit_s`` seconds (None: no limit). Return True if one ended."""
        done, _ = await asyncio.wait(self.running, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self.running[task]
            self.found = self.found or task.result()
        return bool(done)

    def end(self, source: Source, outcome: str) -> None:
        """Record the outcome of the request to a source."""
        self._ended[source] = outcome, self._elapsed_ms(source)

    def tried(self, source: Source, health: SourceHealth) -> Tried:
        """Return what happened at a source, for the explanation of the read."""
        server = str(address_of(source.server, source.host))
        if source in self._ended:
            return Tried(server, source.host, *self._ended[source])
        if source in self.began:
            return Tried(server, source.host, OVERTAKEN, self._elapsed_ms(source))
        return Tried(server, source.host, not_asked(health, source.copy.presence))

    def _elapsed_ms(self, source: Source) -> float:
        return round((asyncio.get_running_loop().time() - self.began[source]) * 1000, 3)


def address_of(server: KeyServer, host: str) -> ServerAddress:
    """Return the address of a server's primary (empty ``host``), or of one of its secondaries."""
    if not host:
        return server.address
    return dict(zip(server.secondary_key_servers, secondary_addresses(server), strict=True))[host]


def _topology(tx: Rows, key: Key) -> ServerTopology:
    manager = tx.key_manager(key.key_manager)
    if manager is None:
        raise StoreError(f"key {key.uuid} has no key manager: the database is damaged")
    return load_topology(tx, manager)


def _set_different(tx: Rows, copy: Copy) -> bool:
    """Mark a copy as ``different``. Return True if the row was changed.

    Change nothing if the copy has other identifiers by now, or is already ``different`` or ``destroyed``.
    """
    tx.lock_key(copy.key)
    place = copy.attempt, copy.key_server, copy.host, copy.unique_identifiers
    for row in tx.copies([copy.key]):
        if (row.attempt, row.key_server, row.host, row.unique_identifiers) == place:
            if row.presence in {Presence.DIFFERENT, Presence.DESTROYED}:
                return False
            tx.put_copies([replace(row, presence=Presence.DIFFERENT)], new=False)
            return True
    return False


def _reasons(tried: Sequence[Tried]) -> list[tuple[str, str]]:
    return [pair for each in tried for pair in (("server", each.server), ("reason", each.outcome))]

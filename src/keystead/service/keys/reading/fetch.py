"""Fetch a key's material from its key servers: the best server first, the next when that server fails or is slow.

The material from a server is compared with the key's digest. If it is different, the copy is marked and announced, and
the next server is asked. A different copy is never overwritten.

A request is overtaken when another server answers first. An overtaken request runs on in the background, at most one at
each address. So its outcome still counts for the address's circuit and response times. Until it ends, other reads begin
at other addresses.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Protocol

import structlog
from cachetools import LRUCache

from keystead.core import errors, events
from keystead.core.errors import OntapError
from keystead.core.keys.digests import agrees
from keystead.core.keys.model import Presence
from keystead.core.keys.reading import DIFFERENT, READ, SourceHealth, in_order, not_restored, sources
from keystead.service.announcing import add_events, cluster_name
from keystead.service.keys.looking.canaries import CANARY_NOT_SEEN, returns_canary
from keystead.service.keys.reading.context import ReadContext
from keystead.service.keys.reading.race import Race, address_of
from keystead.service.keys.reading.trials import TRIAL_S, Trials
from keystead.service.keys.topology import load_topology
from keystead.service.ports.cluster import ClusterRows, EventRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import CopyRows, KeyRows, TopologyRows
from keystead.service.ports.objects import Fault, KeyServerFault
from keystead.service.ports.store import StoreError
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.keys.reading import Source, Tried
    from keystead.core.secret import Secret
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects, ObjectSession
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

RETRY_AFTER_S = 1
"""Seconds after which a key that could not be read is worth another try: a trial of each address begins then."""

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
    """The limits of fetches; see the constants of this module, and of :mod:`.trials`."""

    fetch_s: float = FETCH_S
    late_s: float = LATE_S
    hedges_saved: float = HEDGES_SAVED
    read_contexts: int = READ_CONTEXTS
    trial_s: float = TRIAL_S


class Hedges:
    """The budget (token bucket) of hedged requests. Each fetch adds a part of a token, up to ``saved`` tokens."""

    def __init__(self, saved: float = HEDGES_SAVED) -> None:
        self._saved = saved
        self._tokens = saved

    def count(self) -> None:
        """Add the share of one fetch. Called when a fetch begins."""
        self._tokens = min(self._tokens + HEDGED, self._saved)

    def take(self) -> bool:
        """Take one token. Return False if there is none: then no hedged request is sent yet."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


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
        self._trials = Trials(objects, clock, limits.trial_s)

    async def fetch(self, key: Key, *, anew: bool = False) -> Fetched:
        """Return a key's material from its key servers. Raise OntapError if no server returns it, or StoreError.

        65536855 or 65536083: no server has the key. 262145 (503): one may have it. The arguments give the reasons.

        Called by a read of a key that is not in memory, and by a restore. With ``anew``, addresses with open circuits
        are tried as well, once the other addresses were asked. A restore does not do that, because each of its many
        keys would wait for silent servers.
        """
        context, copies = await self._find(key)
        if context is None:
            raise _not_read([("reason", UNUSABLE)])
        race = Race(key, copies, self.order(context, copies), context)
        material = await self._run(race, anew=anew)
        tried = tuple(race.tried(source, self.health(context, source)) for source in race.order)
        if material is not None:
            return Fetched(material, tried)
        reasons = race.reasons(tried)
        raise OntapError(not_restored(key), arguments=reasons) if race.lost else _not_read(reasons)

    def read_context(self, topology: ServerTopology) -> ReadContext | None:
        """Return a topology's read context. Log an error and return None if a certificate or secret cannot be used.

        Called before a fetch, a restore and a reboot drill.
        """
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
        """Return the sources of a key, the best first. Called before a fetch, and for each key of a reboot drill."""
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
        """Cancel the overtaken requests and the trials, when the node stops. Wait until they have ended.

        Wait also until the marking of copies has ended.
        """
        for task in self._late.values():
            task.cancel()
        if rest := {*self._late.values(), *self._marking}:
            await asyncio.wait(rest)
        await self._trials.close()

    # --- one fetch ---

    async def _run(self, race: Race, *, anew: bool) -> Secret | None:
        """Ask the servers until one returns the material. Return None if none does, or if time is over."""
        self._hedges.count()
        try:
            async with asyncio.timeout(self._limits.fetch_s):
                return await self._ask_in_order(race) or await self._wait_for_late(race, anew=anew)
        except TimeoutError:
            return None
        finally:
            self._keep_overtaken(race)

    async def _ask_in_order(self, race: Race) -> Secret | None:
        """Ask the servers in order, the next when one failed or is slow. Return the material if one returned it."""
        for source in race.order:
            race.start(source, self._ask(race, source))
            await self._wait(race, source)
            if race.found is not None:
                break
        return race.found

    async def _wait_for_late(self, race: Race, *, anew: bool) -> Secret | None:
        """Wait for the requests that still run. Return the material, or None if all failed.

        With ``anew``, try the paused addresses meanwhile: at once, and again while a slow server does not answer.
        """
        if anew:
            self._ask_paused(race)
        while race.running and race.found is None:
            if not await race.step(self._limits.late_s) and anew:
                self._ask_paused(race)
        return race.found

    def _ask_paused(self, race: Race) -> None:
        """Begin to ask the paused addresses, all at once. An address where this runs already is left out."""
        for source in race.paused - set(race.running.values()):
            race.start(source, self._ask_after_trial(race, source))

    async def _ask_after_trial(self, race: Race, source: Source) -> Secret | None:
        """Ask a paused address if it passes a trial. Return as :meth:`_ask` does."""
        if not await self._trials.passed(race.context.endpoint(source)):
            return None
        race.paused.discard(source)
        return await self._ask(race, source)

    async def _wait(self, race: Race, source: Source) -> None:
        """Wait until a request ends, or until the next server is to be asked, too.

        For the first server the wait may be shorter: its recent 95th percentile, if the hedge budget allows that.
        """
        hedged = source is race.order[0] and len(race.order) > 1
        usual_s = self._objects.p95_s(race.context.endpoint(source)) if hedged else None
        if usual_s is not None and (await race.step(usual_s) or self._hedges.take()):
            return
        await race.step(self._limits.late_s)

    async def _ask(self, race: Race, source: Source) -> Secret | None:
        """Ask one server. Return the material if it agrees with the digest, else None, also if the server fails."""
        endpoint = race.context.endpoint(source)
        race.began[source] = asyncio.get_running_loop().time()
        if self._objects.circuit_open(endpoint):  # then the session fails at once
            race.paused.add(source)
        try:
            async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                material = await _get(session, race.context, source)
        except KeyServerFault as fault:
            race.end(source, fault.reason)
            if fault.fault is Fault.NOT_FOUND:
                race.denied.add(source)
            return None
        if agrees(race.context.digest_key, race.key.uuid, material, race.key.digest):
            race.end(source, READ)
            return material
        race.end(source, DIFFERENT)
        self.report_different(race.key, source)
        return None

    def _keep_overtaken(self, race: Race) -> None:
        """Let overtaken requests run on in the background, at most one at each address. Cancel the others."""
        for task, source in race.running.items():
            address = source.server.uuid, source.host
            if address in self._late:
                task.cancel()
                continue
            self._late[address] = task
            task.add_done_callback(partial(self._forget_late, address))

    def _forget_late(self, address: tuple[str, str], _: object) -> None:
        """Note that an overtaken request has ended, so that its address is not avoided any more."""
        del self._late[address]

    # --- different material ---

    def report_different(self, key: Key, source: Source) -> None:
        """Log that a source returned different material. Mark the copy and announce it, in the background.

        Called by a fetch and by a restore. The copy is marked only if it was read at the address where it was written,
        and is not marked yet. The event is for those who see the key server.
        """
        server = str(source.server.address)
        log.error("key server returned other material", address=server, host=source.host, key=key.key_id)
        if source.host == source.copy.host and source.copy.presence is not Presence.DIFFERENT:
            task = asyncio.get_running_loop().create_task(self._mark_different(key, source))
            self._marking.add(task)
            task.add_done_callback(self._marking.discard)

    async def _mark_different(self, key: Key, source: Source) -> None:
        """Mark a copy as different and add the event, if its server and its row are still the same."""
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


def _not_read(reasons: Sequence[tuple[str, str]]) -> OntapError:
    """Return the error for a key that no server returned, although it may exist."""
    return OntapError(errors.KEY_NOT_READ, arguments=reasons, retry_after=RETRY_AFTER_S)


async def _get(session: ObjectSession, context: ReadContext, source: Source) -> Secret:
    """Return the material of a copy. Raise KeyServerFault. Called for each source that a fetch asks.

    The fault is ``not_found`` only if the server shows its canary in the same session. If it does not, or has none yet,
    the fault is ``refused``: the server may hide the copy as well.
    """
    try:
        return await session.get(source.copy.unique_identifiers)
    except KeyServerFault as fault:
        profile = context.topology.profiles.get(source.server.uuid)
        if fault.fault is not Fault.NOT_FOUND:
            raise
        if profile is None or not await returns_canary(session, profile, profile.canary, context.digest_key):
            raise KeyServerFault(Fault.REFUSED, CANARY_NOT_SEEN) from fault
        raise


def _topology(tx: Rows, key: Key) -> ServerTopology:
    """Return the topology of the key's key manager. Raise StoreError if there is no such key manager."""
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

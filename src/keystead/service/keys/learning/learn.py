"""Learn what the key servers of a key manager can do, before keys are written there: profiles, domains, digest key.

Learning goes on in the background, once per key manager at a time; who needs it waits for a while and goes on with what
is known. Nothing is asked of a server within a transaction. Of two nodes that learn at once the first one's profile
stays; the other's canary is harmless. What a canary is, and how a server is tried:
:mod:`keystead.service.keys.looking.canaries`.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.digests import DIGEST_KEY_BYTES
from keystead.core.keys.learning import first_number, lost, seeing
from keystead.core.secret import Secret
from keystead.service.keys.learning.profiles import store_profile, store_renumbered, store_seen
from keystead.service.keys.looking import canaries
from keystead.service.keys.looking.canaries import Sight, Subject
from keystead.service.keys.topology import digest_key_place, load_topology
from keystead.service.ports.objects import KeyServerFault
from keystead.service.ports.store import SealError, StoreError
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyServer
    from keystead.core.probing import TlsIdentity
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects, ObjectSession
    from keystead.service.ports.store import Clock, Sealer, Store, Transaction

log = structlog.get_logger(__name__)

WAIT_S: Final = 5.0
"""How long a caller waits for servers that are not learned yet: one that is dead must not hold up keys."""

OPERATION_S: Final = 10.0
SERVER_S: Final = 30.0
"""How long one operation, and all of them on one server, may take."""

AT_ONCE: Final = 32
"""Servers that are asked at a time, of all key managers together."""

REST_S: Final = 30.0
"""How long a server that could not be learned is left alone, unless something about it changes."""


@dataclass(frozen=True, slots=True)
class CanaryLook:
    """What was found on one server: its own canary or not, and those of which others that it was not known to see.

    ``canary``: the identifiers under which its own is there, if not those that are known.
    """

    own: Sight
    sees: tuple[str, ...]
    canary: tuple[str, ...]


@dataclass(slots=True)
class Absence:
    """A canary that is not there: at how many looks in a row, and since when (monotonic)."""

    looks: int
    since: float


@dataclass(frozen=True, slots=True)
class Rest:
    """A server that could not be learned is left alone until then (monotonic); ``reason`` is a fixed word."""

    until: float
    reason: str


class ServerLearner:
    """Learns key servers. Belongs to one event loop. ``wait_s`` is how long :meth:`ensure` waits."""

    def __init__(
        self,
        store: Store,
        objects: KeyObjects,
        endpoints: Endpoints,
        sealer: Sealer,
        clock: Clock,
        *,
        wait_s: float = WAIT_S,
    ) -> None:
        self._store = store
        self._objects = objects
        self._endpoints = endpoints
        self._sealer = sealer
        self._clock = clock
        self._wait_s = wait_s
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()
        self._resting: dict[tuple[str, str], Rest] = {}  # by key manager and server; only those that failed
        self._absences: dict[str, Absence] = {}
        self._closed = False

    async def ensure(self, key_manager: str) -> ServerTopology:
        """Return a key manager's places, with what can be learned of its servers in a short time.

        Servers that could not be learned are without a profile. Raises 4 (404) when there is no such key manager, and
        StoreError.
        """
        topology = await self._topology(key_manager)
        if not self._lacks(topology) or self._closed:
            return topology
        await asyncio.wait({self._begin(key_manager)}, timeout=self._wait_s)
        return await self._topology(key_manager)

    def unlearned(self, key_manager: str) -> Mapping[str, str]:
        """The servers (uuids) that could not be learned at the last try, and why."""
        return {server: rest.reason for (manager, server), rest in self._resting.items() if manager == key_manager}

    def retry(self, key_manager: str) -> None:
        """Leave no server alone any more: something about them, or about certificates, was stored."""
        self._resting = {place: rest for place, rest in self._resting.items() if place[0] != key_manager}

    async def look_for_canaries(self, key_manager: str) -> None:
        """Look on each server for its own canary and for those of the others, and store what follows.

        Another's canary makes the two one replication domain. A server whose own is lost for good is learned anew; one
        that has it under its name, and has numbered its objects anew, is the same. To be repeated: replication takes
        its time. Raises StoreError.
        """
        topology = await self._topology(key_manager)
        identity = self._identity(topology)
        if identity is None or topology.sealed_digest_key is None:
            return
        known = [server for server in topology.servers if server.uuid in topology.profiles]
        looks = await asyncio.gather(*(self._look(topology, identity, server) for server in known))
        found = [(server, look) for server, look in zip(known, looks, strict=True) if look is not None]
        seen = {server.uuid: look.sees for server, look in found if look.sees}
        if seen:
            await self._store.write(lambda tx: store_seen(tx, topology, seen))
        renumbered = {server.uuid: look.canary for server, look in found if look.canary}
        if renumbered:
            log.warning("key servers have numbered their objects anew", key_manager=key_manager, count=len(renumbered))
            await self._store.write(lambda tx: store_renumbered(tx, topology, renumbered))
        lost_on = [server for server, look in found if self._is_lost(server, look.own)]
        anew = [await self._learn_anew(topology, identity, server) for server in lost_on]
        if any(anew):  # with what was forgotten they count as independent until they are seen again
            await self.look_for_canaries(key_manager)

    async def close(self) -> None:
        """End what is under way. A canary that was sent is found by its name next time."""
        self._closed = True
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def learn(self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer) -> bool:
        """Learn one server, anew if it has a profile; whether what was learned is stored."""
        before = topology.profiles.get(server.uuid)
        place = topology.key_manager.uuid, server.uuid
        try:
            profile = await self._tried(topology, identity, server, first_number(before))
            stored = await self._store_learned(topology, identity, server, profile)
        except (KeyServerFault, TimeoutError, SealError, StoreError) as failure:
            rest = Rest(self._clock.monotonic() + REST_S, _why(failure))
            self._resting[place] = rest
            log.warning("key server not learned", address=str(server.address), why=rest.reason)
            return False
        self._resting.pop(place, None)
        if stored:
            known = {"form": profile.form.value, "canary": profile.canary_name}
            log.info("key server learned", address=str(server.address), **known)
        return stored

    async def _tried(
        self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer, first: int
    ) -> ServerProfile:
        subject = Subject(server.uuid, topology.incarnation.uuid, self._endpoints.digest_key(topology), first)
        endpoint = self._endpoints.primary(server, identity)
        async with self._turns, asyncio.timeout(SERVER_S), self._session(endpoint) as session:
            return await canaries.learn(session, subject, self._clock.now())

    async def _store_learned(
        self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer, profile: ServerProfile
    ) -> bool:
        """Store a profile; whether it is. From then on keys are kept there, so that it was looked there before for the
        canaries of all whose profiles are known: those replicate with it.
        """
        before = topology.profiles.get(server.uuid)
        while True:
            known = (await self._topology(topology.key_manager.uuid)).profiles
            others = [other for uuid, other in known.items() if uuid != server.uuid]
            found = await self._found(topology, identity, server, profile, others)
            work = partial(store_profile, before=before, profile=seeing(profile, found), looked_for=known)
            stored = await self._store.write(lambda tx: work(tx, topology, server))  # noqa: B023 - awaited
            if stored is not None:
                return stored

    async def _found(
        self,
        topology: ServerTopology,
        identity: TlsIdentity,
        server: KeyServer,
        profile: ServerProfile,
        others: Sequence[ServerProfile],
    ) -> list[str]:
        """The servers (uuids) whose canaries are on this one. Raises KeyServerFault, TimeoutError, SealError."""
        if not others:
            return []
        digest_key, endpoint = self._endpoints.digest_key(topology), self._endpoints.primary(server, identity)
        async with self._turns, asyncio.timeout(SERVER_S), self._session(endpoint) as session:
            return [each.key_server for each in others if await canaries.sees(session, profile, each, digest_key)]

    async def _learn_anew(self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer) -> bool:
        log.warning("the canary of a key server is lost", address=str(server.address))
        learned = await self.learn(topology, identity, server)
        if learned:
            del self._absences[server.uuid]
        return learned

    # --- what is lacking ---

    async def _topology(self, key_manager: str) -> ServerTopology:
        def read(tx: Transaction) -> ServerTopology | None:
            found = tx.key_manager(key_manager)
            return None if found is None else load_topology(tx, found)

        topology = await self._store.glance(read)
        if topology is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
        return topology

    def _lacks(self, topology: ServerTopology) -> bool:
        return topology.key_manager.enabled and (topology.sealed_digest_key is None or bool(self._unlearned(topology)))

    def _unlearned(self, topology: ServerTopology) -> list[KeyServer]:
        """The servers without a profile, but for those that have just shown that they cannot be learned now."""
        now, manager = self._clock.monotonic(), topology.key_manager.uuid
        lacking = [server for server in topology.servers if server.uuid not in topology.profiles]
        rests = [(server, self._resting.get((manager, server.uuid))) for server in lacking]
        return [server for server, rest in rests if rest is None or rest.until <= now]

    def _identity(self, topology: ServerTopology) -> TlsIdentity | None:
        try:
            return self._endpoints.identity(topology)
        except NO_IDENTITY as failure:
            log.warning("no identity", key_manager=topology.key_manager.uuid, why=type(failure).__name__)
            return None

    # --- in the background ---

    def _begin(self, key_manager: str) -> asyncio.Task[None]:
        """The task that learns a key manager's servers. One that runs already looks once more before it ends."""
        task = self._under_way.get(key_manager)
        if task is None:
            task = self._under_way[key_manager] = asyncio.create_task(self._run(key_manager))
        self._again.add(key_manager)
        return task

    async def _run(self, key_manager: str) -> None:
        try:
            while key_manager in self._again:
                self._again.discard(key_manager)
                await self._learn_lacking(key_manager)
        except (StoreError, OntapError) as failure:
            log.warning("key servers not learned", key_manager=key_manager, why=type(failure).__name__)
        finally:
            self._again.discard(key_manager)
            del self._under_way[key_manager]

    async def _learn_lacking(self, key_manager: str) -> None:
        topology = await self._topology(key_manager)
        if not self._lacks(topology):
            return
        if topology.sealed_digest_key is None:
            topology = await self._with_digest_key(topology)
        identity = self._identity(topology)
        if identity is None:
            return
        learning = (self.learn(topology, identity, server) for server in self._unlearned(topology))
        if any(await asyncio.gather(*learning)):
            await self.look_for_canaries(key_manager)

    async def _with_digest_key(self, topology: ServerTopology) -> ServerTopology:
        """Make the digest key unless another node has made it meanwhile."""
        manager = topology.key_manager.uuid
        sealed = self._sealer.seal(Secret(os.urandom(DIGEST_KEY_BYTES)), digest_key_place(manager))

        def work(tx: Transaction) -> None:
            if tx.key_manager(manager, lock=True) is not None and tx.digest_key(manager) is None:
                tx.add_digest_key(manager, sealed)

        await self._store.write(work)
        return await self._topology(manager)

    # --- canaries that are there ---

    async def _look(self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer) -> CanaryLook | None:
        """Look on one server; None when it does not answer."""
        profile = topology.profiles[server.uuid]
        others = [other for other in topology.profiles.values() if other.key_server not in {server.uuid, *profile.sees}]
        canary: tuple[str, ...] = ()
        try:
            digest_key, endpoint = self._endpoints.digest_key(topology), self._endpoints.primary(server, identity)
            async with self._turns, asyncio.timeout(SERVER_S), self._session(endpoint) as session:
                own = await canaries.sight(session, profile, digest_key)
                if own is not Sight.SEEN:
                    canary = await canaries.found_under(session, profile, profile, digest_key)
                found = [each.key_server for each in others if await canaries.sees(session, profile, each, digest_key)]
        except (KeyServerFault, TimeoutError, SealError) as failure:
            log.info("no look at a key server", address=str(server.address), why=_why(failure))
            return None
        return CanaryLook(Sight.SEEN if canary else own, tuple(found), canary)

    def _session(self, endpoint: Endpoint) -> AbstractAsyncContextManager[ObjectSession]:
        return self._objects.session(endpoint, timeout_s=min(endpoint.target.timeout_s, OPERATION_S))

    def _is_lost(self, server: KeyServer, own: Sight) -> bool:
        """Count a look; whether the server's canary is lost for good by now. What is unclear counts for nothing."""
        if own is Sight.SEEN:
            self._absences.pop(server.uuid, None)
        if own is not Sight.ABSENT:
            return False
        now = self._clock.monotonic()
        absence = self._absences.setdefault(server.uuid, Absence(0, now))
        absence.looks += 1
        return lost(absence.looks, now - absence.since)


def _why(failure: Exception) -> str:
    return failure.reason if isinstance(failure, KeyServerFault) else type(failure).__name__

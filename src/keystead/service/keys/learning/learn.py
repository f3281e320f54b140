"""Learn what a key manager's servers can do, before keys are written there: profiles, domains and the digest key.

Learning runs in the background, one task at a time for each key manager. A caller waits for a limited time, and
continues with what is known. No server is asked within a transaction. If two nodes learn a server at once, the first
profile stays, and the canary of the other node is harmless. For canaries and trials see
:mod:`keystead.service.keys.looking.canaries`.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.digests import DIGEST_KEY_BYTES
from keystead.core.keys.learning import first_number, with_sees
from keystead.core.secret import Secret
from keystead.service.keys.learning.canary_looks import Absences, look_for_canaries_on
from keystead.service.keys.learning.profiles import store_profile, store_recognized, store_seen
from keystead.service.keys.looking import canaries
from keystead.service.keys.looking.canaries import LearningTarget
from keystead.service.keys.topology import digest_key_context, load_topology
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import EpochMarkerRows, TopologyRows
from keystead.service.ports.objects import KeyServerFault
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from keystead.core.keys.model import ServerProfile
    from keystead.core.model import KeyServer
    from keystead.core.probing import TlsIdentity
    from keystead.service.keys.learning.canary_looks import CanaryLook
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects, ObjectSession
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

WAIT_S: Final = 15.0
"""Seconds that a caller waits for servers without a profile. A silent server delays a key once, then rests."""

OPERATION_S: Final = 10.0
SERVER_S: Final = 30.0
"""Seconds for one operation, and for all operations on one server."""

AT_ONCE: Final = 32
"""Servers that are asked at the same time, over all key managers."""

REST_S: Final = 30.0
"""Seconds before a server that could not be learned is tried again, unless a change ends the back-off."""


class Rows(TopologyRows, KeyManagerRows, EpochMarkerRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Rest:
    """The back-off of a server that could not be learned, until ``until`` (monotonic). ``reason`` is a fixed word."""

    until: float
    reason: str


class ServerLearner:
    """The learner of key servers. It belongs to one event loop.

    ``wait_s`` is how many seconds :meth:`ensure` waits. ``on_learned`` gets the uuid of each server that was learned;
    whoever watches key servers sets it.
    """

    def __init__(
        self,
        store: Store[Rows],
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
        self._look_again: set[str] = set()
        self._resting: dict[tuple[str, str], Rest] = {}  # servers that failed, by key manager and server
        self._absences = Absences()
        self._closed = False
        self.on_learned: Callable[[str], None] = lambda _: None

    async def ensure(self, key_manager: str) -> ServerTopology:
        """Return a key manager's topology, with what can be learned of its servers in a short time.

        Called before a key is created, if a server may lack a profile. Called also in each round of the keeper, and by
        a replication job. Servers that could not be learned have no profile. Raise 4 (404) if there is no such key
        manager. Raise StoreError.
        """
        topology = await self._topology(key_manager)
        if not self._needs_learning(topology) or self._closed:
            return topology
        await asyncio.wait({self._begin(key_manager)}, timeout=self._wait_s)
        return await self._topology(key_manager)

    def unlearned(self, key_manager: str) -> Mapping[str, str]:
        """Return the servers (uuids) that could not be learned at the last try, with the reasons, for an error."""
        return {server: rest.reason for (manager, server), rest in self._resting.items() if manager == key_manager}

    def retry(self, key_manager: str) -> None:
        """End the back-off of a key manager's servers, so that the next :meth:`ensure` tries them again.

        Called when a server or a certificate was changed, and by a replication job.
        """
        self._resting = {place: rest for place, rest in self._resting.items() if place[0] != key_manager}

    async def look_for_canaries(self, key_manager: str) -> None:
        """Look on each server for its own canary and for those of the others, and store the findings.

        If one server has the canary of another, both are in one replication domain. A server that has lost its canary
        for good is learned again if it has the public key that it had before. A server that has its canary under new
        identifiers is still the same server: it has renumbered its objects.

        Called by the keeper in its rounds, and after a server was learned. It is repeated, because replication takes
        time. Raise 4 (404) if there is no such key manager. Raise StoreError.
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
        renumbered = [server for server, look in found if look.canary]
        if renumbered:
            log.warning("key servers renumbered their objects", key_manager=key_manager, count=len(renumbered))
        recognized = {server.uuid: look for server, look in found if look.is_news(topology.profiles[server.uuid])}
        if recognized:
            await self._store.write(lambda tx: store_recognized(tx, topology, recognized))
        now = self._clock.monotonic()
        lost_on = [(server, look) for server, look in found if self._absences.is_lost(server.uuid, look.own, now)]
        relearned = [await self._relearn(topology, identity, server, look.public_key) for server, look in lost_on]
        if any(relearned):  # because new profiles count as independent until canaries are found
            await self.look_for_canaries(key_manager)

    async def close(self) -> None:
        """Cancel the running tasks, because the node stops. A canary that was sent is found by its name next time."""
        self._closed = True
        tasks = tuple(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def learn(self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer) -> bool:
        """Learn one server, also if it has a profile already. Return True if the new profile is stored.

        Called for a server without a profile, and for one that has lost its canary. If the server cannot be learned,
        log that, begin its back-off and return False.
        """
        before = topology.profiles.get(server.uuid)
        place = topology.key_manager.uuid, server.uuid
        try:
            profile = await self._learn_profile(topology, identity, server, first_number(before))
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
            self.on_learned(server.uuid)
        return stored

    async def _learn_profile(
        self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer, canary: int
    ) -> ServerProfile:
        """Find a canary on a server, or write one there. Return the profile that was learned; the caller stores it.

        ``canary`` is the number of the first canary to try. Called for a server without a profile, and for one that has
        lost its canary. Raise KeyServerFault, TimeoutError or SealError.

        The connection is fresh, because the profile must hold the server's present public key. A resumed TLS session
        would give the public key of an earlier session.
        """
        subject = LearningTarget(server.uuid, topology.incarnation.uuid, self._endpoints.digest_key(topology), canary)
        endpoint = self._endpoints.primary(server, identity)
        async with self._turns, asyncio.timeout(SERVER_S), self._session(endpoint, fresh=True) as session:
            return await canaries.learn(session, subject, self._clock.now())

    async def _store_learned(
        self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer, profile: ServerProfile
    ) -> bool:
        """Store a profile. Return True if it was stored: see :func:`store_profile`.

        Keys are written to the server once its profile is stored. So first look there for the canaries of all servers
        with a profile: those found replicate with it. Look again if another server gets a new canary meanwhile.
        """
        before = topology.profiles.get(server.uuid)
        while True:
            known = (await self._topology(topology.key_manager.uuid)).profiles
            others = [other for uuid, other in known.items() if uuid != server.uuid]
            found = await self._canaries_on(topology, identity, server, profile, others)
            work = partial(store_profile, before=before, profile=with_sees(profile, found), looked_for=known)
            stored = await self._store.write(lambda tx: work(tx, topology, server))  # noqa: B023 - awaited
            if stored is not None:
                return stored

    async def _canaries_on(
        self,
        topology: ServerTopology,
        identity: TlsIdentity,
        server: KeyServer,
        profile: ServerProfile,
        others: Sequence[ServerProfile],
    ) -> list[str]:
        """Return those of ``others`` (server uuids) with a canary that is on this server.

        Raise KeyServerFault, TimeoutError or SealError.
        """
        if not others:
            return []
        digest_key, endpoint = self._endpoints.digest_key(topology), self._endpoints.primary(server, identity)
        async with self._turns, asyncio.timeout(SERVER_S), self._session(endpoint) as session:
            return [
                each.key_server for each in others if await canaries.shows_canary_of(session, profile, each, digest_key)
            ]

    async def _relearn(
        self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer, public_key: str
    ) -> bool:
        """Learn a server that has lost its canary for good. Return True if the new profile is stored.

        ``public_key`` is the one that it shows now. If it cannot be learned, that is logged: see :meth:`learn`. Learn
        nothing from a server with another public key than before: it may be another machine, so keys must not go there
        until an administrator confirms it.
        """
        if not public_key or public_key != topology.profiles[server.uuid].public_key:
            log.warning(
                "a key server lost its canary and has another public key: confirm it", address=str(server.address)
            )
            return False
        log.warning("the canary of a key server is lost", address=str(server.address))
        learned = await self.learn(topology, identity, server)
        if learned:
            self._absences.forget(server.uuid)
        return learned

    # --- servers without a profile ---

    async def _topology(self, key_manager: str) -> ServerTopology:
        """Return a key manager's topology as it is now. Raise 4 (404) if there is no such key manager."""

        def read(tx: Rows) -> ServerTopology | None:
            found = tx.key_manager(key_manager)
            return None if found is None else load_topology(tx, found)

        topology = await self._store.read_few(read)
        if topology is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
        return topology

    def _needs_learning(self, topology: ServerTopology) -> bool:
        """Return True if an enabled key manager has no digest key, or has servers to learn now."""
        return topology.key_manager.enabled and (
            topology.sealed_digest_key is None or bool(self._due_servers(topology))
        )

    def _due_servers(self, topology: ServerTopology) -> list[KeyServer]:
        """Return the servers that have no profile and are not in back-off."""
        now, manager = self._clock.monotonic(), topology.key_manager.uuid
        lacking = [server for server in topology.servers if server.uuid not in topology.profiles]
        rests = [(server, self._resting.get((manager, server.uuid))) for server in lacking]
        return [server for server, rest in rests if rest is None or rest.until <= now]

    def _identity(self, topology: ServerTopology) -> TlsIdentity | None:
        """Return the client identity. Log a warning and return None if it cannot be used."""
        try:
            return self._endpoints.identity(topology)
        except NO_IDENTITY as failure:
            log.warning("client identity not usable", key_manager=topology.key_manager.uuid, why=type(failure).__name__)
            return None

    # --- in the background ---

    def _begin(self, key_manager: str) -> asyncio.Task[None]:
        """Return the task that learns a key manager's servers; start it if there is none.

        A task that runs already looks once more before it ends.
        """
        task = self._under_way.get(key_manager)
        if task is None:
            task = self._under_way[key_manager] = asyncio.create_task(self._run(key_manager))
        self._look_again.add(key_manager)
        return task

    async def _run(self, key_manager: str) -> None:
        """Learn a key manager's servers, until nobody has asked to look again. Only log failures."""
        try:
            while key_manager in self._look_again:
                self._look_again.discard(key_manager)
                await self._learn_due(key_manager)
        except (StoreError, OntapError) as failure:
            log.warning("key servers not learned", key_manager=key_manager, why=type(failure).__name__)
        finally:
            self._look_again.discard(key_manager)
            del self._under_way[key_manager]

    async def _learn_due(self, key_manager: str) -> None:
        """Learn the servers that are due. Before that, make the digest key if there is none.

        If a new profile was stored, also look for canaries. Do nothing if the client identity cannot be used.
        """
        topology = await self._topology(key_manager)
        if not self._needs_learning(topology):
            return
        if topology.sealed_digest_key is None:
            topology = await self._with_digest_key(topology)
        identity = self._identity(topology)
        if identity is None:
            return
        learning = (self.learn(topology, identity, server) for server in self._due_servers(topology))
        if any(await asyncio.gather(*learning)):
            await self.look_for_canaries(key_manager)

    async def _with_digest_key(self, topology: ServerTopology) -> ServerTopology:
        """Store a new digest key unless another node has stored one meanwhile. Return the new topology."""
        manager = topology.key_manager.uuid
        sealed = self._sealer.seal(Secret(os.urandom(DIGEST_KEY_BYTES)), digest_key_context(manager))

        def work(tx: Rows) -> None:
            if tx.key_manager(manager, lock=True) is not None and tx.digest_key(manager) is None:
                tx.add_digest_key(manager, sealed)

        await self._store.write(work)
        return await self._topology(manager)

    # --- search for canaries ---

    async def _look(self, topology: ServerTopology, identity: TlsIdentity, server: KeyServer) -> CanaryLook | None:
        """Look for canaries on one server; see :func:`look_for_canaries_on`. Called for each server with a profile.

        Return None if the server fails, time is over, or something sealed cannot be unsealed.
        """
        try:
            digest_key, endpoint = self._endpoints.digest_key(topology), self._endpoints.primary(server, identity)
            async with self._turns, asyncio.timeout(SERVER_S), self._session(endpoint) as session:
                return await look_for_canaries_on(session, server.uuid, topology.profiles, digest_key)
        except (KeyServerFault, TimeoutError, SealError) as failure:
            log.info("key server not searched for canaries", address=str(server.address), why=_why(failure))
            return None

    def _session(self, endpoint: Endpoint, *, fresh: bool = False) -> AbstractAsyncContextManager[ObjectSession]:
        """Open a session with a server in which an operation may take :data:`OPERATION_S` at most."""
        return self._objects.session(endpoint, timeout_s=min(endpoint.target.timeout_s, OPERATION_S), fresh=fresh)


def _why(failure: Exception) -> str:
    """Return a fixed word for a failure."""
    return failure.reason if isinstance(failure, KeyServerFault) else type(failure).__name__

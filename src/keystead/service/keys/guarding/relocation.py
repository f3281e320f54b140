"""Keys stay readable when we become somebody else to their servers, or look for a server somewhere else.

Key servers bind what they keep to the client certificate: a new one must read the canary and every copy before it takes
the old one's place. A server that is said to be elsewhere must show the canary there, and the copies that no other
domain has; what it has not shown there is unknown from then on, until it is settled. What was not there, or differed,
at the last look is read as well where a key has nothing better: it may pass only if no address of its server gives it,
as it is reached now. Proofs count for their call, and what is stored is checked against them under the key manager's
lock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from keystead.core.keys.guarding import (
    LATELY,
    Period,
    Relocation,
    Shown,
    is_configured,
    is_elsewhere,
    may_be_there,
    only_there,
    present_on,
    to_be_read,
)
from keystead.core.keys.model import Presence, copy_id
from keystead.service.keys.attempts import EXPIRES
from keystead.service.keys.guarding.removal import LOOKING_S, PAGE, copies_on, holding, kept, with_copies
from keystead.service.keys.guarding.showing import SERVER, RelocationCheck, Routes, raise_first
from keystead.service.keys.looking.verify import NO_CANARY, CopyVerifier
from keystead.service.keys.topology import PRIMARY, load_topology
from keystead.service.loading import incarnation_of
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from keystead.core.keys.model import AddressId, Copy, Key
    from keystead.core.model import KeyManager, KeyServer
    from keystead.service.context import Call
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.store import Clock, Store, Transaction

SKEW: Final = timedelta(minutes=1)
"""By how much clocks of nodes differ at most: one too many is read again."""

COMING: Final = EXPIRES + SKEW
"""How long before its commit a copy may have been proven: what was committed since then has no older proof."""

NOT_PRESENT: Final = frozenset(Presence) - {Presence.PRESENT}


@dataclass(frozen=True, slots=True)
class Readings:
    """What was shown with other certificates; ``began`` is before any proof of what was committed since."""

    began: datetime
    shown: Shown = field(default_factory=Shown)

    def without(self, unreached: Collection[AddressId]) -> Readings:
        """The same, where these addresses are silent."""
        return replace(self, shown=replace(self.shown, unreached=unreached))


class RelocationGuard:
    """Asked before a certificate, or the address of a key server, is replaced."""

    def __init__(self, store: Store, objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._prover = CopyVerifier(objects)
        self._showing = RelocationCheck(store, objects, endpoints, clock)
        self._endpoints = endpoints
        self._clock = clock

    # --- another client certificate ---

    def begin(self) -> Readings:
        """Nothing is read yet."""
        return Readings(self._clock.now() - COMING)

    async def no_longer_connects(
        self,
        key_manager: KeyManager,
        servers: Sequence[KeyServer],
        unreached: Collection[AddressId],
        until: float,
        target: str,
    ) -> bool:
        """Whether a key manager's certificates, its own or the server CAs, lead no more to all that the new ones lead
        to; ``unreached`` are those of its servers' addresses to which neither do.

        Then no server can be removed by what the others show with them: new ones have to be taken while one is silent.
        Raises 262145 (503) when time is over (loop time).
        """
        topology = await self._store.read(lambda tx: load_topology(tx, key_manager))
        known = [server for server in servers if _has_canary(topology, server)]
        if topology.sealed_digest_key is None or topology.servers != servers:
            return False
        try:
            reaches = self._endpoints.addresses(topology, known)
        except NO_IDENTITY:
            return True
        answers = await self._showing.answering(topology, reaches, until, target)
        silent = {at for at, answered in answers.items() if not answered}
        return bool(silent - set(unreached)) and not (reaches.keys() & set(unreached)) - silent

    async def prove(
        self,
        call: Call,
        after: KeyManager,
        servers: Sequence[KeyServer],
        readings: Readings,
        until: float,
        target: str,
    ) -> bool:
        """Prove canaries and copies with the certificates of ``after``, those that are not in ``readings`` yet.

        False when the key manager's servers are not these any more: what is read elsewhere proves nothing here.
        Raises 66060339 for what another client certificate cannot read, 66060341 for a server that cannot be reached,
        and 262145 (503) when time is over (loop time): with ``validate_certificates`` there is more of it. ``readings``
        has what was proven, then too.
        """
        topology, now = await self._store.read(lambda tx: (load_topology(tx, after), _as_they_are(tx, after)))
        if topology.servers != servers:
            return False
        if topology.sealed_digest_key is None:
            return True
        await self._prove_canaries(call, topology, readings.shown.unreached, until, target)
        page: str | None = ""
        while page is not None:
            work = partial(_copies, key_manager=after, after=page)
            topology, copies, page = await self._store.read(work)
            if topology.servers != servers:
                return False
            fresh = [(key, copy) for key, copy in copies if not readings.shown.covers(copy)]
            reaches, before = self._endpoints.addresses(topology), partial(self._endpoints.addresses, now)
            ways = Routes(topology, reaches, before, NOT_PRESENT, set(readings.shown.unreached))
            await self._showing.show(call, ways, fresh, readings.shown, until, target)
        return True

    def check(self, tx: Transaction, after: KeyManager, readings: Readings) -> bool:
        """Whether all copies that are known now were read, in the transaction that holds the key manager.

        What has come since the reading began has a newer proof than that.
        """
        servers = {server.uuid: server for server in tx.key_servers(after.uuid)}
        come = present_on(tx.copies_proven(after.uuid, readings.began), servers)
        unread = {copy.key for copy in come if not readings.shown.covers(copy)}
        return not holding(tx.keys(unread), incarnation_of(tx))

    def note_unreached(self, tx: Transaction, readings: Readings) -> None:
        """From now on nobody relies on servers that were not reached, but for what was read there with the new one."""
        for key_server in sorted({uuid for uuid, _ in readings.shown.unreached}):
            _doubt(tx, key_server, readings.shown, readings.began)

    async def _prove_canaries(
        self, call: Call, topology: ServerTopology, unreached: Collection[AddressId], until: float, target: str
    ) -> None:
        identity = self._endpoints.identity(topology)
        reached = [server for server in topology.servers if (server.uuid, PRIMARY) not in unreached]
        known = [server for server in reached if _has_canary(topology, server)]
        reaches = [self._endpoints.primary(server, identity) for server in known]
        await self._showing.see_canaries(call, topology, reaches, until, target)

    # --- a server that is somewhere else, or somebody else there ---

    async def prove_moved(
        self,
        call: Call,
        key_manager: KeyManager,
        before: KeyServer,
        server: KeyServer,
        until: float,
        earlier: Relocation | None = None,
    ) -> Relocation | None:
        """See the canary of a server that has anything of ours at all the addresses that it will have; None if it has
        nothing.

        Where it is going to be elsewhere, of keys that no other domain has the copies are read there, too. What was
        shown ``earlier`` in this call is not asked again, so that keys that come all the time are caught up with.
        Raises 66060341 where one is not: another server is there, or the same one for another user; or nothing is known
        that it could be told by.
        """
        began = self._clock.now()
        topology, keeps = await self._store.read(lambda tx: (load_topology(tx, key_manager), self.keeps(tx, server)))
        if not keeps:
            return None
        reaches = self._endpoints.addresses(topology, [server])
        ways = Routes(topology, reaches, partial(self._endpoints.addresses, topology, [before]), {Presence.MISSING})
        if earlier is not None and not is_elsewhere(earlier.server, server):
            if is_elsewhere(before, server):
                await self._show_more(call, ways, earlier, until)
            return earlier
        if not _has_canary(topology, server):
            raise_first(call, [(reaches[server.uuid, ""], NO_CANARY)], SERVER)
        await self._showing.see_canaries(call, topology, [*reaches.values()], until, SERVER)
        if not is_elsewhere(before, server):
            return Relocation(server, frozenset(), began)
        moving = Relocation(server, await self._others(topology, server, until), began)
        await self._show_all(call, ways, moving, until)
        return moving

    async def _show_more(self, call: Call, ways: Routes, moving: Relocation, until: float) -> None:
        """Read what has come since; where nothing has, something else was changed, and all is looked at again."""
        moving.shown.spared.clear()  # that was as the server was reached then
        come = await self._store.read(lambda tx: self._come(tx, ways.topology, moving))
        await self._showing.show(call, ways, come, moving.shown, until, SERVER)
        if not come:
            await self._show_all(call, ways, moving, until)

    async def _show_all(self, call: Call, ways: Routes, moving: Relocation, until: float) -> None:
        """Read what a server must have where it is going to be, and was not read yet."""
        page: str | None = ""
        while page is not None:
            work = partial(self._only_there, topology=ways.topology, moving=moving, after=page)
            copies, page = await self._store.read(work)
            unread = [(key, copy) for key, copy in copies if not moving.shown.covers(copy)]
            await self._showing.show(call, ways, unread, moving.shown, until, SERVER)

    async def _others(self, topology: ServerTopology, server: KeyServer, until: float) -> frozenset[AddressId]:
        """The addresses of servers of other domains that show their canary now."""
        domain = topology.domain_of.get(server.uuid)
        others = [each for each in topology.servers if topology.domain_of.get(each.uuid) != domain]
        known = [each for each in others if _has_canary(topology, each)]
        reaches, digest_key = self._endpoints.addresses(topology, known), self._endpoints.digest_key(topology)
        ends = min(until, asyncio.get_running_loop().time() + LOOKING_S)
        seen = await asyncio.gather(
            *(
                self._prover.see_canary(endpoint, topology.profiles[uuid], digest_key, ends)
                for (uuid, _), endpoint in reaches.items()
            )
        )
        return frozenset(at for at, outcome in zip(reaches, seen, strict=True) if outcome.proven)

    def _only_there(
        self, tx: Transaction, topology: ServerTopology, moving: Relocation, after: str
    ) -> tuple[list[tuple[Key, Copy]], str | None]:
        """Some of the copies that a server that moves must have there; and where to go on."""
        server, others = moving.server, _standing(topology, moving)
        primaries = {uuid for uuid, host in others if not host}
        uuids = tx.keys_at_risk(server.key_manager, [server.uuid], primaries, self._lately(moving), after, PAGE)
        return self._of_keys(tx, topology, moving, uuids), uuids[-1] if len(uuids) == PAGE else None

    def _come(self, tx: Transaction, topology: ServerTopology, moving: Relocation) -> list[tuple[Key, Copy]]:
        """Those of them that came since it was shown first what the server has where it is going to be."""
        proven = tx.copies_proven(moving.server.key_manager, moving.began - COMING)
        uuids = sorted({copy.key for copy in present_on(proven, {moving.server.uuid: moving.server})})
        pages = (uuids[first : first + PAGE] for first in range(0, len(uuids), PAGE))
        come = [found for page in pages for found in self._of_keys(tx, topology, moving, page)]
        return [(key, copy) for key, copy in come if not moving.shown.covers(copy)]

    def _of_keys(
        self, tx: Transaction, topology: ServerTopology, moving: Relocation, uuids: Sequence[str]
    ) -> list[tuple[Key, Copy]]:
        """The copies of these keys that a server that moves must have there."""
        server, others, period = moving.server, _standing(topology, moving), self._lately(moving)
        found = with_copies(tx, tx.keys(uuids), topology.incarnation)
        return [(key, copy) for key, copies in found for copy in only_there(copies, server, others, period)]

    def _lately(self, moving: Relocation) -> Period:
        return Period(moving.began - LATELY, self._clock.now())

    def check_moved(self, tx: Transaction, key_manager: KeyManager, moving: Relocation) -> bool:
        """Whether all that must be there now was shown, in the transaction that holds the key manager and moves."""
        topology = load_topology(tx, key_manager)
        page: str | None = ""
        while page is not None:
            copies, page = self._only_there(tx, topology, moving, page)
            if not all(moving.shown.covers(copy) for _, copy in copies):
                return False
        return True

    def note_moved(self, tx: Transaction, moving: Relocation) -> None:
        """From now on nobody relies on what was proven somewhere else: what was read here is present, and no more."""
        _doubt(tx, moving.server.uuid, moving.shown, moving.began)

    def keeps(self, tx: Transaction, server: KeyServer) -> bool:
        """Whether a server has, or may have, objects of ours, of keys in any state: what is to be destroyed, too."""
        return any(map(may_be_there, copies_on(tx, server)))


def _has_canary(topology: ServerTopology, server: KeyServer) -> bool:
    profile = topology.profiles.get(server.uuid)
    return profile is not None and bool(profile.canary)


def _copies(
    tx: Transaction, key_manager: KeyManager, after: str
) -> tuple[ServerTopology, list[tuple[Key, Copy]], str | None]:
    """Some of the copies that a key manager must be able to read; and where to go on."""
    topology = load_topology(tx, key_manager)
    servers = {server.uuid: server for server in topology.servers}
    keys, rest = kept(tx, key_manager.uuid, topology.incarnation, after)
    return topology, [(key, copy) for key, copies in keys for copy in to_be_read(copies, servers)], rest


def _standing(topology: ServerTopology, moving: Relocation) -> set[AddressId]:
    """Of the addresses that a move relies on, those that are configured still."""
    servers = {each.uuid: each for each in topology.servers}
    return {at for at in moving.others if is_configured(*at, servers)}


def _doubt(tx: Transaction, key_server: str, shown: Shown, began: datetime) -> None:
    """Make what a server has unknown, but for what it has shown since it was asked first."""
    tx.doubt_copies(key_server)
    keys = sorted(shown.read)
    for first in range(0, len(keys), PAGE):
        copies = (copy for copy in tx.copies(keys[first : first + PAGE]) if copy.key_server == key_server)
        read = (copy for copy in copies if copy_id(copy) in shown.read[copy.key])
        there = [copy for copy in read if copy.presence is not Presence.DESTROYED]
        tx.put_copies([replace(copy, presence=Presence.PRESENT, proven=began) for copy in there], new=False)


def _as_they_are(tx: Transaction, key_manager: KeyManager) -> ServerTopology:
    """A key manager's places with the certificate that still counts."""
    now = tx.key_manager(key_manager.uuid)
    return load_topology(tx, now or key_manager)

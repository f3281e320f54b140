"""Keep keys readable when the client identity or the address of a key server changes (a relocation).

Key servers tie objects to the client certificate. So a new certificate must read the canary and every copy before it
replaces the old one. A server that moves must show its canary at its new address, and the copies that no other domain
has. What it has not shown there is ``unknown`` until it is settled. Copies in doubt are read as well where a key has no
better copy. Such a copy may be passed over only if no address of its server returns it, as the server is reached now.

A proof is valid for one call. Whoever stores a change checks the proofs under the key manager's lock.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.guarding import (
    RELOCATION_PROOF_AGE,
    Period,
    Relocation,
    Shown,
    is_configured,
    is_elsewhere,
    may_be_present,
    must_show,
    present_on,
    to_be_read,
)
from keystead.core.keys.model import Presence, copy_id
from keystead.service.keys.attempts import EXPIRES
from keystead.service.keys.guarding.removal import (
    LOOKING_S,
    PAGE,
    copies_on,
    keys_in_the_way,
    keys_in_the_way_page,
    with_copies,
)
from keystead.service.keys.guarding.showing import SERVER, RelocationCheck, Routes, raise_first
from keystead.service.keys.looking.verify import NO_CANARY, CopyVerifier
from keystead.service.keys.topology import PRIMARY, load_topology
from keystead.service.loading import incarnation_of
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from keystead.core.keys.model import AddressId, Copy, Key
    from keystead.core.model import KeyManager, KeyServer
    from keystead.service.context import Call
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction

SKEW: Final = timedelta(minutes=1)
"""By how much the clocks of nodes may differ. If more copies are read again than necessary, that does no harm."""

COMING: Final = EXPIRES + SKEW
"""How long before its commit a copy may have been proven.

A copy that was committed after a moment was proven at most this long before that moment.
"""

NOT_PRESENT: Final = frozenset(Presence) - {Presence.PRESENT}


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, RemovalRows, DetachedRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Readings:
    """What was shown with other certificates.

    ``began`` is earlier than any proof of a copy that was committed since the readings began.
    """

    began: datetime
    shown: Shown = field(default_factory=Shown)

    def without(self, unreached: Collection[AddressId]) -> Readings:
        """Return the same readings, with these addresses as the unreached ones."""
        return replace(self, shown=replace(self.shown, unreached=unreached))


class RelocationGuard:
    """The guard to ask before a client certificate, or the address of a key server, is replaced."""

    def __init__(self, store: Store[Transaction], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._verifier = CopyVerifier(objects)
        self._relocation_check = RelocationCheck(store, objects, endpoints, clock)
        self._endpoints = endpoints
        self._clock = clock

    # --- another client certificate ---

    def begin(self) -> Readings:
        """Return empty readings that begin now."""
        return Readings(self._clock.now() - COMING)

    async def no_longer_connects(
        self,
        key_manager: KeyManager,
        servers: Sequence[KeyServer],
        unreached: Collection[AddressId],
        until: float,
        target: str,
    ) -> bool:
        """Return True if the current certificates do not reach an address that the new certificates reach.

        Certificates are the client certificate and the server CAs. ``unreached`` are the addresses that the new
        certificates do not reach. The answer is False if the current certificates reach one of these. It is also False
        if ``servers`` have changed, or if there is no digest key yet. It is True if the current certificates cannot be
        used.

        While the answer is True, no server can be removed: the other servers cannot prove their copies with the current
        certificates. So the new certificates have to be accepted although a server is silent. Raises 262145 (503) when
        time (``until``, loop time) is over.
        """
        topology = await self._store.read(lambda tx: load_topology(tx, key_manager))
        known = [server for server in servers if _has_canary(topology, server)]
        if topology.sealed_digest_key is None or topology.servers != servers:
            return False
        try:
            endpoints = self._endpoints.addresses(topology, known)
        except NO_IDENTITY:
            return True
        answers = await self._relocation_check.answering(topology, endpoints, until, target)
        silent = {at for at, answered in answers.items() if not answered}
        return bool(silent - set(unreached)) and not (endpoints.keys() & set(unreached)) - silent

    async def prove(
        self,
        call: Call,
        after: KeyManager,
        servers: Sequence[KeyServer],
        readings: Readings,
        until: float,
        target: str,
    ) -> bool:
        """Prove canaries and copies with the certificates of ``after``, except those in ``readings``.

        Return False if the key manager's servers are not ``servers`` any more, because copies read elsewhere prove
        nothing here. Raises 66060339 for copies that a new client certificate cannot read. Raises 66060341 for a server
        that cannot be reached. Raises 262145 (503) when time (``until``, loop time) is over; with
        ``validate_certificates`` there is more time. ``readings`` keeps what was proven, also after an error.
        """
        topology, now = await self._store.read(lambda tx: (load_topology(tx, after), _current_topology(tx, after)))
        if topology.servers != servers:
            return False
        if topology.sealed_digest_key is None:
            return True
        await self._prove_canaries(call, topology, readings.shown.unreached, until, target)
        page: str | None = ""
        while page is not None:
            work = partial(_readable_page, key_manager=after, after=page)
            topology, copies, page = await self._store.read(work)
            if topology.servers != servers:
                return False
            fresh = [(key, copy) for key, copy in copies if not readings.shown.covers(copy)]
            endpoints, before = self._endpoints.addresses(topology), partial(self._endpoints.addresses, now)
            routes = Routes(topology, endpoints, before, NOT_PRESENT, set(readings.shown.unreached))
            await self._relocation_check.show(call, routes, fresh, readings.shown, until, target)
        return True

    def check(self, tx: Rows, after: KeyManager, readings: Readings) -> bool:
        """Return True if all copies that are known now were read.

        Call it in the transaction that holds the key manager. Copies that came since the readings began were proven
        after ``readings.began``.
        """
        servers = {server.uuid: server for server in tx.key_servers(after.uuid)}
        come = present_on(tx.copies_proven(after.uuid, readings.began), servers)
        unread = {copy.key for copy in come if not readings.shown.covers(copy)}
        return not keys_in_the_way(tx.keys(unread), incarnation_of(tx))

    def note_unreached(self, tx: Rows, readings: Readings) -> None:
        """Make the copies on unreached servers ``unknown``, so that nobody relies on them.

        Copies that were read there with the new certificate are present.
        """
        for key_server in sorted({uuid for uuid, _ in readings.shown.unreached}):
            _doubt_copies(tx, key_server, readings.shown, readings.began)

    async def _prove_canaries(
        self, call: Call, topology: ServerTopology, unreached: Collection[AddressId], until: float, target: str
    ) -> None:
        identity = self._endpoints.identity(topology)
        reached = [server for server in topology.servers if (server.uuid, PRIMARY) not in unreached]
        known = [server for server in reached if _has_canary(topology, server)]
        endpoints = [self._endpoints.primary(server, identity) for server in known]
        await self._relocation_check.see_canaries(call, topology, endpoints, until, target)

    # --- a server that moves, or that knows us as another user ---

    async def prove_moved(
        self,
        call: Call,
        key_manager: KeyManager,
        before: KeyServer,
        server: KeyServer,
        until: float,
        earlier: Relocation | None = None,
    ) -> Relocation | None:
        """Check that a server shows its canary at all its future addresses; None if it has no objects of ours.

        If the server moves, it must also show there the copies that no other domain has. What was shown ``earlier`` in
        this call is not asked for again, so that the call catches up with keys that are created meanwhile.

        Raises 66060341 if the canary or a copy is not shown: there is another server, or we are another user there.
        Raises 66060341 also if no canary is known by which the server can be recognized. Raises 262145 (503) when time
        (``until``, loop time) is over.
        """
        began = self._clock.now()
        topology, keeps = await self._store.read(lambda tx: (load_topology(tx, key_manager), self.keeps(tx, server)))
        if not keeps:
            return None
        endpoints = self._endpoints.addresses(topology, [server])
        routes = Routes(topology, endpoints, partial(self._endpoints.addresses, topology, [before]), {Presence.MISSING})
        if earlier is not None and not is_elsewhere(earlier.server, server):
            if is_elsewhere(before, server):
                await self._show_more(call, routes, earlier, until)
            return earlier
        if not _has_canary(topology, server):
            raise_first(call, [(endpoints[server.uuid, ""], NO_CANARY)], SERVER)
        await self._relocation_check.see_canaries(call, topology, [*endpoints.values()], until, SERVER)
        if not is_elsewhere(before, server):
            return Relocation(server, frozenset(), began)
        moving = Relocation(server, await self._answering_elsewhere(topology, server, until), began)
        await self._show_all(call, routes, moving, until)
        return moving

    async def _show_more(self, call: Call, routes: Routes, moving: Relocation, until: float) -> None:
        """Read the copies that came since the last look.

        If there are none, something else has changed, and all copies are checked again.
        """
        moving.shown.spared.clear()  # because the address in use may have changed since
        new = await self._store.read(lambda tx: self._required_since(tx, routes.topology, moving))
        await self._relocation_check.show(call, routes, new, moving.shown, until, SERVER)
        if not new:
            await self._show_all(call, routes, moving, until)

    async def _show_all(self, call: Call, routes: Routes, moving: Relocation, until: float) -> None:
        """Read the copies that a server must have at its new address and has not shown yet."""
        page: str | None = ""
        while page is not None:
            work = partial(self._required_page, topology=routes.topology, moving=moving, after=page)
            copies, page = await self._store.read(work)
            unread = [(key, copy) for key, copy in copies if not moving.shown.covers(copy)]
            await self._relocation_check.show(call, routes, unread, moving.shown, until, SERVER)

    async def _answering_elsewhere(
        self, topology: ServerTopology, server: KeyServer, until: float
    ) -> frozenset[AddressId]:
        """Return the addresses of servers of other domains that show their canary now."""
        domain = topology.domain_of.get(server.uuid)
        others = [each for each in topology.servers if topology.domain_of.get(each.uuid) != domain]
        known = [each for each in others if _has_canary(topology, each)]
        endpoints, digest_key = self._endpoints.addresses(topology, known), self._endpoints.digest_key(topology)
        ends = min(until, asyncio.get_running_loop().time() + LOOKING_S)
        seen = await asyncio.gather(
            *(
                self._verifier.see_canary(endpoint, topology.profiles[uuid], digest_key, ends)
                for (uuid, _), endpoint in endpoints.items()
            )
        )
        return frozenset(at for at, outcome in zip(endpoints, seen, strict=True) if outcome.proven)

    def _required_page(
        self, tx: Rows, topology: ServerTopology, moving: Relocation, after: str
    ) -> tuple[list[tuple[Key, Copy]], str | None]:
        """Return one page of the copies that a server must have at its new address.

        The second value is the cursor of the next page; None at the end.
        """
        server, others = moving.server, _still_configured(topology, moving)
        primaries = {uuid for uuid, host in others if not host}
        uuids = tx.keys_at_risk(server.key_manager, [server.uuid], primaries, self._proof_period(moving), after, PAGE)
        return self._required_of_keys(tx, topology, moving, uuids), uuids[-1] if len(uuids) == PAGE else None

    def _required_since(self, tx: Rows, topology: ServerTopology, moving: Relocation) -> list[tuple[Key, Copy]]:
        """Return the required copies that came since the first look at the new address, and were not shown."""
        proven = tx.copies_proven(moving.server.key_manager, moving.began - COMING)
        uuids = sorted({copy.key for copy in present_on(proven, {moving.server.uuid: moving.server})})
        pages = (uuids[first : first + PAGE] for first in range(0, len(uuids), PAGE))
        come = [found for page in pages for found in self._required_of_keys(tx, topology, moving, page)]
        return [(key, copy) for key, copy in come if not moving.shown.covers(copy)]

    def _required_of_keys(
        self, tx: Rows, topology: ServerTopology, moving: Relocation, uuids: Sequence[str]
    ) -> list[tuple[Key, Copy]]:
        """Return the copies of these keys that a server must have at its new address."""
        server, others, period = moving.server, _still_configured(topology, moving), self._proof_period(moving)
        found = with_copies(tx, tx.keys(uuids), topology.incarnation)
        return [(key, copy) for key, copies in found for copy in must_show(copies, server, others, period)]

    def _proof_period(self, moving: Relocation) -> Period:
        return Period(moving.began - RELOCATION_PROOF_AGE, self._clock.now())

    def check_moved(self, tx: Rows, key_manager: KeyManager, moving: Relocation) -> bool:
        """Return True if all copies that the server must have at its new address were shown.

        Call it in the transaction that holds the key manager and moves the server.
        """
        topology = load_topology(tx, key_manager)
        page: str | None = ""
        while page is not None:
            copies, page = self._required_page(tx, topology, moving, page)
            if not all(moving.shown.covers(copy) for _, copy in copies):
                return False
        return True

    def note_moved(self, tx: Rows, moving: Relocation) -> None:
        """Make the server's copies ``unknown``, because they were proven at the old address.

        Copies that were read at the new address are present.
        """
        _doubt_copies(tx, moving.server.uuid, moving.shown, moving.began)

    def keeps(self, tx: CopyRows, server: KeyServer) -> bool:
        """Return True if a server has, or may have, objects of ours.

        Keys in any state count, so that objects that are to be destroyed count too.
        """
        return any(map(may_be_present, copies_on(tx, server)))


def _has_canary(topology: ServerTopology, server: KeyServer) -> bool:
    profile = topology.profiles.get(server.uuid)
    return profile is not None and bool(profile.canary)


def _readable_page(
    tx: Rows, key_manager: KeyManager, after: str
) -> tuple[ServerTopology, list[tuple[Key, Copy]], str | None]:
    """Return one page of the copies that a key manager must be able to read, and the cursor; None at the end."""
    topology = load_topology(tx, key_manager)
    servers = {server.uuid: server for server in topology.servers}
    keys, rest = keys_in_the_way_page(tx, key_manager.uuid, topology.incarnation, after)
    return topology, [(key, copy) for key, copies in keys for copy in to_be_read(copies, servers)], rest


def _still_configured(topology: ServerTopology, moving: Relocation) -> set[AddressId]:
    """Return the addresses that a move relies on and that are still configured."""
    servers = {each.uuid: each for each in topology.servers}
    return {at for at in moving.others if is_configured(*at, servers)}


def _doubt_copies(tx: Rows, key_server: str, shown: Shown, began: datetime) -> None:
    """Make the copies on a server unknown, except those that it has shown since ``began``."""
    tx.doubt_copies(key_server)
    keys = sorted(shown.read)
    for first in range(0, len(keys), PAGE):
        copies = (copy for copy in tx.copies(keys[first : first + PAGE]) if copy.key_server == key_server)
        read = (copy for copy in copies if copy_id(copy) in shown.read[copy.key])
        there = [copy for copy in read if copy.presence is not Presence.DESTROYED]
        tx.put_copies([replace(copy, presence=Presence.PRESENT, proven=began) for copy in there], new=False)


def _current_topology(tx: Rows, key_manager: KeyManager) -> ServerTopology:
    """Return a key manager's topology with the certificate that is in use now."""
    now = tx.key_manager(key_manager.uuid)
    return load_topology(tx, now or key_manager)

"""Keep keys readable when certificates change, or when the address of a key server changes (a relocation).

Key servers tie objects to the client certificate. So a new certificate must read the canary and every copy before it
replaces the old one. If a server moves, its canary must be read at its new address, and the copies that no other domain
has. Copies that were not read there are ``unknown`` until they are settled. Copies in doubt are read as well if a key
has no better copy. Such a copy need not be read if no address of its server, as it is now, returns it.

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
    ReadCopies,
    Relocation,
    is_configured,
    is_elsewhere,
    may_be_present,
    present_on,
    to_be_read,
    to_be_read_after_move,
)
from keystead.core.keys.model import Presence, copy_id
from keystead.core.keys.proving import NEVER, NeededProofs, Period
from keystead.service.keys.attempts import EXPIRES
from keystead.service.keys.guarding.pages import PAGE, blocking_keys, blocking_keys_page, copies_on, with_copies
from keystead.service.keys.guarding.removal import LOOKING_S
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

PROOF_TO_COMMIT: Final = EXPIRES + SKEW
"""How long before its commit a copy may have been proven.

A copy that was committed after a moment was proven at most this long before that moment.
"""

NOT_PRESENT: Final = frozenset(Presence) - {Presence.PRESENT}


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, RemovalRows, DetachedRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The copies that were read with new certificates.

    ``began`` is earlier than any proof of a copy that was committed since the readings began.
    """

    began: datetime
    read_copies: ReadCopies = field(default_factory=ReadCopies)

    def with_unreached(self, unreached: Collection[AddressId]) -> Readings:
        """Return the same readings, with these addresses as the unreached ones: those that may be left out."""
        return replace(self, read_copies=replace(self.read_copies, unreached=unreached))


class RelocationGuard:
    """The guard to ask before a client certificate, or the address of a key server, is replaced."""

    def __init__(self, store: Store[Transaction], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._verifier = CopyVerifier(objects)
        self._relocation_check = RelocationCheck(store, objects, endpoints, clock)
        self._endpoints = endpoints
        self._clock = clock

    # --- a change of certificates ---

    def begin(self) -> Readings:
        """Return empty readings. Called when a change of certificates begins.

        They begin :data:`PROOF_TO_COMMIT` before now, see :class:`Readings`.
        """
        return Readings(self._clock.now() - PROOF_TO_COMMIT)

    async def no_longer_connects(
        self,
        key_manager: KeyManager,
        servers: Sequence[KeyServer],
        unreached: Collection[AddressId],
        until: float,
        target: str,
    ) -> bool:
        """Return True if the current certificates do not reach an address that the new certificates reach.

        Called when the new certificates do not reach the addresses ``unreached``. After True these may be left out.
        Otherwise the change is refused. Certificates are the client certificate and the server CAs.

        The answer is False if the current certificates reach an unreached address, if ``servers`` have changed, or if
        there is no digest key yet. It is True if the current certificates cannot be used.

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

    async def prove_certificate_change(
        self,
        call: Call,
        after: KeyManager,
        servers: Sequence[KeyServer],
        readings: Readings,
        until: float,
        target: str,
    ) -> bool:
        """Read canaries and copies with the certificates of ``after``. Add the copies read to ``readings``.

        Copies that ``readings`` cover already are not read again, and unreached addresses are left out. A copy in doubt
        need not be read if it is lost already: see :class:`ReadCopies`. What was read is kept also after an error.

        Return True if all that must be read was read, or if there is no digest key yet. Return False if the key
        manager's servers are not ``servers`` any more. Then try again, because copies on other servers prove nothing.
        Called before new certificates are stored.

        Raises 66060339 for a copy or canary that a new client certificate cannot read. Raises 66060341 for a server
        that does not answer, and instead of 66060339 if ``target`` is not the client certificate. Raises 262145 (503)
        when time (``until``, loop time) is over. A caller for whose answer nobody waits gives a much later ``until``.
        """
        # ``stored`` has the certificates that are in use now, so that they can be tried, too.
        topology, stored = await self._store.read(
            lambda tx: (load_topology(tx, after), load_topology(tx, tx.key_manager(after.uuid) or after))
        )
        if topology.servers != servers:
            return False
        if topology.sealed_digest_key is None:
            return True
        await self._check_canaries(call, topology, readings.read_copies.unreached, until, target)
        page: str | None = ""
        while page is not None:
            work = partial(_readable_page, key_manager=after, after=page)
            topology, copies, page = await self._store.read(work)
            if topology.servers != servers:
                return False
            unread = [(key, copy) for key, copy in copies if not readings.read_copies.covers(copy)]
            endpoints, current = self._endpoints.addresses(topology), partial(self._endpoints.addresses, stored)
            routes = Routes(topology, endpoints, current, NOT_PRESENT, set(readings.read_copies.unreached))
            await self._relocation_check.check_copies(call, routes, unread, readings.read_copies, until, target)
        return True

    def check_certificate_change(self, tx: Rows, after: KeyManager, readings: Readings) -> bool:
        """Return True if no copy was stored meanwhile that is not among the ``readings``.

        Called in the transaction that locks the key manager and stores its new certificates. If it returns False, call
        :meth:`prove_certificate_change` again. Only copies proven after ``readings.began`` are checked, because all
        older copies were read. Copies of deleted keys that wait for their purge do not count.
        """
        servers = {server.uuid: server for server in tx.key_servers(after.uuid)}
        new = present_on(tx.copies_proven(after.uuid, readings.began), servers)
        unread = {copy.key for copy in new if not readings.read_copies.covers(copy)}
        return not blocking_keys(tx.keys(unread), incarnation_of(tx))

    def note_unreached(self, tx: Rows, readings: Readings) -> None:
        """Make the present copies on unreached servers ``unknown``, so that nobody relies on them.

        A server is unreached if one of its addresses is. Its copies that the new certificates read stay present. Called
        in the transaction that stores new certificates.
        """
        for key_server in sorted({uuid for uuid, _ in readings.read_copies.unreached}):
            _make_copies_unknown(tx, key_server, readings.read_copies, readings.began)

    async def _check_canaries(
        self, call: Call, topology: ServerTopology, unreached: Collection[AddressId], until: float, target: str
    ) -> None:
        """Check that the new certificates can read the canary of each reached primary that has one.

        Raises the error for the first primary where they cannot: see :func:`raise_first`.
        """
        identity = self._endpoints.identity(topology)
        reached = [server for server in topology.servers if (server.uuid, PRIMARY) not in unreached]
        known = [server for server in reached if _has_canary(topology, server)]
        endpoints = [self._endpoints.primary(server, identity) for server in known]
        await self._relocation_check.check_canaries(call, topology, endpoints, until, target)

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
        """Check that a server shows its canary at all addresses that it will have. Return what was found.

        Return None without asking if no copy of ours is, or may be, on the server. Called before a change of the server
        ``before`` to ``server`` is stored, and again after a try that could not be stored.

        If the server moves, also read there the copies that no other domain has. Copies that were read ``earlier`` in
        this call are not read again. So each further try has fewer copies to read, although keys are created meanwhile.

        Raises 66060341 if the canary or a copy cannot be read: there is another server, or we are another user there.
        Raises 66060341 also if no canary is known by which the server can be recognized. Raises 262145 (503) when time
        (``until``, loop time) is over.
        """
        began = self._clock.now()
        topology, may_have_objects = await self._store.read(
            lambda tx: (load_topology(tx, key_manager), self.may_have_objects(tx, server))
        )
        if not may_have_objects:
            return None
        endpoints = self._endpoints.addresses(topology, [server])
        routes = Routes(topology, endpoints, partial(self._endpoints.addresses, topology, [before]), {Presence.MISSING})
        if earlier is not None and not is_elsewhere(earlier.server, server):
            if is_elsewhere(before, server):
                await self._read_new_copies(call, routes, earlier, until)
            return earlier
        if not _has_canary(topology, server):
            raise_first(call, [(endpoints[server.uuid, ""], NO_CANARY)], SERVER)
        await self._relocation_check.check_canaries(call, topology, [*endpoints.values()], until, SERVER)
        if not is_elsewhere(before, server):
            return Relocation(server, frozenset(), began)
        moving = Relocation(server, await self._answering_elsewhere(topology, server, until), began)
        await self._read_required_copies(call, routes, moving, until)
        return moving

    async def _read_new_copies(self, call: Call, routes: Routes, moving: Relocation, until: float) -> None:
        """Read the required copies that were stored since the first read. Called in each further try.

        If there are none, something else has changed. Then all required copies are checked again, but those that were
        read already are not read again. Copies that need not be read (``not_required``) are judged anew. Raises as
        :meth:`prove_moved` does.
        """
        moving.read_copies.not_required.clear()  # because the address in use may have changed since
        new = await self._store.read(lambda tx: self._required_since(tx, routes.topology, moving))
        await self._relocation_check.check_copies(call, routes, new, moving.read_copies, until, SERVER)
        if not new:
            await self._read_required_copies(call, routes, moving, until)

    async def _read_required_copies(self, call: Call, routes: Routes, moving: Relocation, until: float) -> None:
        """Read the copies that a server must have at its new address and that were not read there yet."""
        page: str | None = ""
        while page is not None:
            work = partial(self._required_page, topology=routes.topology, moving=moving, after=page)
            copies, page = await self._store.read(work)
            unread = [(key, copy) for key, copy in copies if not moving.read_copies.covers(copy)]
            await self._relocation_check.check_copies(call, routes, unread, moving.read_copies, until, SERVER)

    async def _answering_elsewhere(
        self, topology: ServerTopology, server: KeyServer, until: float
    ) -> frozenset[AddressId]:
        """Return the addresses of servers of other domains that show their canary now. None has to answer."""
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
        server, needed = moving.server, NeededProofs(self._proof_period(moving), NEVER)
        primaries = {uuid for uuid, host in _still_configured(topology, moving) if not host}
        uuids = tx.keys_at_risk(server.key_manager, [server.uuid], [primaries], needed, after, PAGE)
        return self._required_of_keys(tx, topology, moving, uuids), uuids[-1] if len(uuids) == PAGE else None

    def _required_since(self, tx: Rows, topology: ServerTopology, moving: Relocation) -> list[tuple[Key, Copy]]:
        """Return the required copies that were stored since the first read at the new address, and were not read."""
        proven = tx.copies_proven(moving.server.key_manager, moving.began - PROOF_TO_COMMIT)
        uuids = sorted({copy.key for copy in present_on(proven, {moving.server.uuid: moving.server})})
        pages = (uuids[first : first + PAGE] for first in range(0, len(uuids), PAGE))
        new = [found for page in pages for found in self._required_of_keys(tx, topology, moving, page)]
        return [(key, copy) for key, copy in new if not moving.read_copies.covers(copy)]

    def _required_of_keys(
        self, tx: Rows, topology: ServerTopology, moving: Relocation, uuids: Sequence[str]
    ) -> list[tuple[Key, Copy]]:
        """Return the copies of these keys that a server must have at its new address."""
        server, others, period = moving.server, _still_configured(topology, moving), self._proof_period(moving)
        found = with_copies(tx, tx.keys(uuids), topology.incarnation)
        return [(key, copy) for key, copies in found for copy in to_be_read_after_move(copies, server, others, period)]

    def _proof_period(self, moving: Relocation) -> Period:
        """Return the period in which a proof on another server must have been made to count for a move."""
        return Period(moving.began - RELOCATION_PROOF_AGE, self._clock.now())

    def check_moved(self, tx: Rows, key_manager: KeyManager, moving: Relocation) -> bool:
        """Return True if all copies that the server must have at its new address were read there.

        Call it in the transaction that locks the key manager and moves the server.
        """
        topology = load_topology(tx, key_manager)
        page: str | None = ""
        while page is not None:
            copies, page = self._required_page(tx, topology, moving, page)
            if not all(moving.read_copies.covers(copy) for _, copy in copies):
                return False
        return True

    def note_moved(self, tx: Rows, moving: Relocation) -> None:
        """Make the server's present copies ``unknown``, because they were proven at the old address.

        Copies that were read at the new address stay present. Called in the transaction that moves the server.
        """
        _make_copies_unknown(tx, moving.server.uuid, moving.read_copies, moving.began)

    def may_have_objects(self, tx: CopyRows, server: KeyServer) -> bool:
        """Return True if a server has, or may have, a copy of ours. Canaries do not count.

        Keys in any state count, so that objects that are to be destroyed count too.
        """
        return any(map(may_be_present, copies_on(tx, server)))


def _has_canary(topology: ServerTopology, server: KeyServer) -> bool:
    """Return True if the server's profile has a canary. The server itself is not asked."""
    profile = topology.profiles.get(server.uuid)
    return profile is not None and bool(profile.canary)


def _readable_page(
    tx: Rows, key_manager: KeyManager, after: str
) -> tuple[ServerTopology, list[tuple[Key, Copy]], str | None]:
    """Return one page of the copies that a key manager must be able to read, and the cursor; None at the end."""
    topology = load_topology(tx, key_manager)
    servers = {server.uuid: server for server in topology.servers}
    keys, rest = blocking_keys_page(tx, key_manager.uuid, topology.incarnation, after)
    return topology, [(key, copy) for key, copies in keys for copy in to_be_read(copies, servers)], rest


def _still_configured(topology: ServerTopology, moving: Relocation) -> set[AddressId]:
    """Return the addresses that a move relies on and that are still configured."""
    servers = {each.uuid: each for each in topology.servers}
    return {at for at in moving.others if is_configured(*at, servers)}


def _make_copies_unknown(tx: Rows, key_server: str, read_copies: ReadCopies, began: datetime) -> None:
    """Make the present copies on a server ``unknown``, except those in ``read_copies``: they become ``present``.

    Copies with another presence stay as they are, unless they were read. ``began`` is when reading began. It is stored
    as the time of the proofs. A copy that was destroyed meanwhile stays destroyed.
    """
    tx.doubt_copies(key_server)
    keys = sorted(read_copies.proven)
    for first in range(0, len(keys), PAGE):
        copies = (copy for copy in tx.copies(keys[first : first + PAGE]) if copy.key_server == key_server)
        read = (copy for copy in copies if copy_id(copy) in read_copies.proven[copy.key])
        there = [copy for copy in read if copy.presence is not Presence.DESTROYED]
        tx.put_copies([replace(copy, presence=Presence.PRESENT, proven=began) for copy in there], new=False)

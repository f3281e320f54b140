"""Keys stay readable when we become somebody else to their servers, or look for a server somewhere else.

Key servers bind what they keep to the client certificate: a new one must read the canary and every copy before it takes
the old one's place. A server that is said to be elsewhere must show the canary there, and the copies that no other
domain has. Nothing is stored here: proofs count for their call, and what is stored is checked against them under the
key manager's lock.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import CLIENT_CERTIFICATE
from keystead.core.keys.guarding import may_be_there, only_there, place, to_be_read
from keystead.service import canaries
from keystead.service.canaries import Sight
from keystead.service.copy_proving import NOT_IN_TIME, CopyProver, Outcome, Proving
from keystead.service.key_guard import copies_on, kept
from keystead.service.key_places import load_places
from keystead.service.key_ports import KeyServerFault
from keystead.service.probe_queue import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from keystead.core.keys.guarding import Place
    from keystead.core.keys.model import Copy, Key, ServerProfile
    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.secret import Secret
    from keystead.service.context import Call
    from keystead.service.key_places import KeyPlaces, Reacher
    from keystead.service.key_ports import KeyObjects, Reach
    from keystead.service.ports import Clock, Store, Transaction

STAGE: Final = "keys"
"""The stage of a refusal, after those of the probe."""

SKEW: Final = timedelta(minutes=1)
"""By how much clocks of nodes differ at most: one too many is read again."""

CANARY: Final = Outcome("canary_not_seen")

SERVER: Final = "server"
"""The target of a refusal that is not about the client certificate."""


@dataclass(frozen=True, slots=True)
class Readings:
    """The copies that were read with another certificate, since ``began``."""

    began: datetime
    proven: set[Place] = field(default_factory=set)


class IdentityGuard:
    """Asked before a client certificate, or the address of a key server, is replaced."""

    def __init__(self, store: Store, objects: KeyObjects, reacher: Reacher, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._prover = CopyProver(objects)
        self._reacher = reacher
        self._clock = clock

    # --- another client certificate ---

    def begin(self) -> Readings:
        """Nothing is read yet."""
        return Readings(self._clock.now() - SKEW)

    async def prove(self, call: Call, after: KeyManager, readings: Readings, until: float) -> None:
        """Prove canaries and copies with the certificate of ``after``, those that are not in ``readings`` yet.

        Raises 66060339 for what it cannot read, 66060341 for a server that cannot be reached, and 262145 (503) when
        time is over (loop time): with ``validate_certificates`` there is more of it. ``readings`` has what was proven,
        then too.
        """
        places = await self._store.read(lambda tx: load_places(tx, after))
        if places.sealed_digest_key is None:
            return
        await self._prove_canaries(call, places, until)
        page: str | None = ""
        while page is not None:
            work = partial(_copies, key_manager=after, after=page)
            places, copies, page = await self._store.read(work)
            fresh = [(key, copy) for key, copy in copies if place(copy) not in readings.proven]
            reaches = [reach for server in places.servers for reach in self._reaches(places, server)]
            found = await self._read(places, reaches, fresh, until)
            readings.proven.update(place(copy) for _, copy, outcome in found if outcome.proven)
            _raise(call, [(reach, outcome) for reach, _, outcome in found], CLIENT_CERTIFICATE)

    def check(self, tx: Transaction, after: KeyManager, readings: Readings) -> bool:
        """Whether all copies that are known now were read, in the transaction that holds the key manager.

        What has come since the reading began has a newer proof than that.
        """
        servers = {server.uuid: server for server in tx.key_servers(after.uuid)}
        come = to_be_read(tx.copies_proven(after.uuid, readings.began), servers)
        return all(place(copy) in readings.proven for copy in come)

    async def _prove_canaries(self, call: Call, places: KeyPlaces, until: float) -> None:
        identity = self._reacher.identity(places)
        known = [server for server in places.servers if _has_canary(places, server)]
        reaches = [self._reacher.primary(server, identity) for server in known]
        await self._see_canaries(call, places, known, reaches, until, CLIENT_CERTIFICATE)

    # --- a server that is somewhere else, or somebody else there ---

    async def prove_moved(
        self, call: Call, key_manager: KeyManager, server: KeyServer, until: float, *, moved: bool = True
    ) -> bool:
        """See the canary of a server that has anything of ours at all the addresses that it will have; whether it has.

        With ``moved``, of keys that no other domain has the copies are read there, too. Raises 66060341 where one is
        not: another server is there, or the same one for another user; or nothing is known that it could be told by.
        """
        places, keeps = await self._store.read(lambda tx: (load_places(tx, key_manager), self.keeps(tx, server)))
        if not keeps:
            return False
        reaches = list(self._reaches(places, server))
        if not _has_canary(places, server):
            _raise(call, [(reaches[0], CANARY)], SERVER)
        await self._see_canaries(call, places, [server] * len(reaches), reaches, until, SERVER)
        page: str | None = "" if moved else None
        while page is not None:
            copies, page = await self._store.read(partial(_only_there, places=places, server=server, after=page))
            found = await self._read(places, reaches, copies, until)
            _raise(call, [(reach, outcome) for reach, _, outcome in found], SERVER)
        return True

    def keeps(self, tx: Transaction, server: KeyServer) -> bool:
        """Whether a server has, or may have, objects of ours, of keys in any state: what is to be destroyed, too."""
        return any(map(may_be_there, copies_on(tx, server)))

    # --- both ---

    def _reaches(self, places: KeyPlaces, server: KeyServer) -> Iterable[Reach]:
        return self._reacher.each(server, self._reacher.identity(places))

    async def _read(
        self, places: KeyPlaces, reaches: Iterable[Reach], copies: Iterable[tuple[Key, Copy]], until: float
    ) -> list[tuple[Reach, Copy, Outcome]]:
        """Read copies at these addresses; what came of each."""
        wanted: dict[tuple[str, str], list[tuple[Key, Copy]]] = defaultdict(list)
        for key, copy in copies:
            wanted[copy.key_server, copy.host].append((key, copy))
        if not wanted:
            return []
        digest_key = self._reacher.digest_key(places)
        at = {(reach.key_server, reach.host): reach for reach in reaches}
        provings = {
            where: [Proving(key.uuid, copy.unique_identifiers, key.digest) for key, copy in each]
            for where, each in wanted.items()
        }
        found = await asyncio.gather(
            *(self._prover.prove(at[where], digest_key, each, until) for where, each in provings.items())
        )
        return [
            (at[where], copy, outcome)
            for where, outcomes in zip(wanted, found, strict=True)
            for (_, copy), outcome in zip(wanted[where], outcomes, strict=True)
        ]

    async def _see_canaries(
        self,
        call: Call,
        places: KeyPlaces,
        servers: Sequence[KeyServer],
        reaches: Sequence[Reach],
        until: float,
        target: str,
    ) -> None:
        digest_key = self._reacher.digest_key(places)
        outcomes = await asyncio.gather(
            *(
                self._canary(reach, places.profiles[server.uuid], digest_key, until)
                for server, reach in zip(servers, reaches, strict=True)
            )
        )
        _raise(call, list(zip(reaches, outcomes, strict=True)), target)

    async def _canary(self, reach: Reach, profile: ServerProfile, digest_key: Secret, until: float) -> Outcome:
        """Whether a server's canary is at an address, under whatever identifier."""
        try:
            async with (
                asyncio.timeout_at(until),
                self._objects.session(reach, timeout_s=reach.target.timeout_s) as session,
            ):
                seen = await canaries.sight(session, profile, digest_key) is Sight.SEEN or await canaries.sees(
                    session, profile, profile, digest_key
                )
        except KeyServerFault as fault:
            return Outcome(fault.reason, fault.fault.answered)
        except TimeoutError:
            return NOT_IN_TIME
        return Outcome() if seen else CANARY


def _has_canary(places: KeyPlaces, server: KeyServer) -> bool:
    profile = places.profiles.get(server.uuid)
    return profile is not None and bool(profile.canary)


def _copies(
    tx: Transaction, key_manager: KeyManager, after: str
) -> tuple[KeyPlaces, list[tuple[Key, Copy]], str | None]:
    """Some of the copies that a key manager must be able to read; and where to go on."""
    places = load_places(tx, key_manager)
    servers = {server.uuid: server for server in places.servers}
    keys, rest = kept(tx, key_manager.uuid, after)
    return places, [(key, copy) for key, copies in keys for copy in to_be_read(copies, servers)], rest


def _only_there(
    tx: Transaction, places: KeyPlaces, server: KeyServer, after: str
) -> tuple[list[tuple[Key, Copy]], str | None]:
    """Some of the copies that a server that moves must have there; and where to go on."""
    keys, rest = kept(tx, server.key_manager, after)
    return [
        (key, copy) for key, copies in keys for copy in only_there(copies, server, places.servers, places.domain_of)
    ], rest


def _raise(call: Call, outcomes: Iterable[tuple[Reach, Outcome]], target: str) -> None:
    """Raise what the first failure says, if there is one; accounts of SVMs hear the stage, not why."""
    failed = [(reach, outcome) for reach, outcome in outcomes if not outcome.proven]
    if not failed:
        return
    if any(outcome is NOT_IN_TIME for _, outcome in failed):
        raise OntapError(errors.TOO_BUSY, target=target, retry_after=RETRY_AFTER_S)
    reach, outcome = failed[0]
    answered = errors.CLIENT_CERTIFICATE_REFUSED if target == CLIENT_CERTIFICATE else errors.NETWORK
    arguments = [("server", str(reach.server)), ("stage", STAGE)]
    arguments += [] if call.caller.svm else [("reason", outcome.reason)]
    raise OntapError(answered if outcome.answered else errors.NETWORK, target=target, arguments=arguments)

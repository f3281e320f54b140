"""Keys stay readable when we become somebody else to their servers, or look for a server somewhere else.

Key servers bind what they keep to the client certificate: a new one must read the canary and every copy before it takes
the old one's place. A server that is said to be elsewhere must show the canary there. Nothing is stored here: proofs
count for their call, and what is stored is checked against them under the key manager's lock.
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
from keystead.core.keys.guarding import place, to_be_read
from keystead.service import canaries
from keystead.service.canaries import Sight
from keystead.service.copy_proving import NOT_IN_TIME, CopyProver, Outcome, Proving
from keystead.service.key_guard import kept
from keystead.service.key_places import load_places
from keystead.service.key_ports import KeyServerFault
from keystead.service.probe_queue import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.errors import ErrorKind
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
            await self._prove_copies(call, places, copies, readings.proven, until)

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

    async def _prove_copies(
        self,
        call: Call,
        places: KeyPlaces,
        copies: Sequence[tuple[Key, Copy]],
        proofs: set[Place],
        until: float,
    ) -> None:
        wanted: dict[tuple[str, str], list[tuple[Key, Copy]]] = defaultdict(list)
        for key, copy in copies:
            if place(copy) not in proofs:
                wanted[copy.key_server, copy.host].append((key, copy))
        if not wanted:
            return
        identity, digest_key = self._reacher.identity(places), self._reacher.digest_key(places)
        reaches = {
            (reach.key_server, reach.host): reach
            for server in places.servers
            for reach in self._reacher.each(server, identity)
        }
        found = await asyncio.gather(
            *(
                self._prover.prove(
                    reaches[at],
                    digest_key,
                    [Proving(key.uuid, copy.unique_identifiers, key.digest) for key, copy in each],
                    until,
                )
                for at, each in wanted.items()
            )
        )
        failed = []
        for (at, each), outcomes in zip(wanted.items(), found, strict=True):
            proofs.update(place(copy) for (_, copy), outcome in zip(each, outcomes, strict=True) if outcome.proven)
            failed += [(reaches[at], outcome) for outcome in outcomes if not outcome.proven]
        _raise(call, failed, CLIENT_CERTIFICATE, errors.CLIENT_CERTIFICATE_REFUSED)

    # --- a server that is somewhere else, or somebody else there ---

    async def prove_moved(self, call: Call, key_manager: KeyManager, server: KeyServer, until: float) -> None:
        """See the canary of a server that keeps keys at all the addresses that it will have.

        Raises 66060341 where it is not: another server is there, or the same one for another user.
        """
        places, keeps = await self._store.read(lambda tx: (load_places(tx, key_manager), _keeps(tx, server)))
        if not keeps or not _has_canary(places, server):
            return
        reaches = list(self._reacher.each(server, self._reacher.identity(places)))
        await self._see_canaries(call, places, [server] * len(reaches), reaches, until, "server")

    # --- both ---

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
        failed = [(reach, found) for reach, found in zip(reaches, outcomes, strict=True) if not found.proven]
        answered = errors.CLIENT_CERTIFICATE_REFUSED if target == CLIENT_CERTIFICATE else errors.NETWORK
        _raise(call, failed, target, answered)

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


def _keeps(tx: Transaction, server: KeyServer) -> bool:
    """Whether a server has copies of keys that are kept."""
    after: str | None = ""
    while after is not None:
        keys, after = kept(tx, server.key_manager, after)
        if any(to_be_read(copies, {server.uuid: server}) for _, copies in keys):
            return True
    return False


def _raise(call: Call, failed: Sequence[tuple[Reach, Outcome]], target: str, answered: ErrorKind) -> None:
    """Raise what the first failure says; accounts of SVMs hear the stage, not why."""
    if not failed:
        return
    if any(outcome is NOT_IN_TIME for _, outcome in failed):
        raise OntapError(errors.TOO_BUSY, target=target, retry_after=RETRY_AFTER_S)
    reach, outcome = failed[0]
    arguments = [("server", str(reach.server)), ("stage", STAGE)]
    arguments += [] if call.caller.svm else [("reason", outcome.reason)]
    raise OntapError(answered if outcome.answered else errors.NETWORK, target=target, arguments=arguments)

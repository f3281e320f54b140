"""Keys are not lost when key servers go: no removal takes the only proven copy of a key.

Proofs are made outside of any transaction, and counted again under the key manager's lock in the one that removes: two
removals at once cannot rely on each other's server. Nothing is stored of them: a proof counts for its call.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from keystead.core.keys.guarding import Going, Stake, lasting, place, sole_copy, stake
from keystead.core.keys.keeping import KEPT
from keystead.core.keys.model import Detached, Presence
from keystead.service.copy_proving import CopyProver, Proving
from keystead.service.key_places import load_places
from keystead.service.key_servers import require_key_manager
from keystead.service.ports import SealError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from keystead.core.keys.guarding import Place
    from keystead.core.keys.model import Copy, Key
    from keystead.core.model import KeyManager, KeyServer
    from keystead.core.secret import Secret
    from keystead.service.context import Call
    from keystead.service.key_places import KeyPlaces, Reacher
    from keystead.service.key_ports import KeyObjects, Reach
    from keystead.service.ports import Clock, Store, Transaction

PAGE: Final = 1000
"""Keys that are read, and proven, together."""

PROVING_S: Final = 25.0
"""How long a removal may prove: what was proven first must still count when all is."""

NOT_READ: Final = "not_readable"
"""The reason of a copy on a server that cannot be asked: a certificate or a password is missing."""


@dataclass
class Removal:
    """A removal on its way: the proofs that were made for it, and why others could not be.

    ``explained``: the caller may know why; an account of an SVM may not, for it chooses the addresses.
    """

    explained: bool = True
    proofs: dict[Place, datetime] = field(default_factory=dict)
    reason: str = ""


class RemovalGuard:
    """Asked before a key server is removed, and again while it is."""

    def __init__(self, store: Store, objects: KeyObjects, reacher: Reacher, clock: Clock) -> None:
        self._store = store
        self._prover = CopyProver(objects)
        self._reacher = reacher
        self._clock = clock

    async def prove(
        self, call: Call, key_manager: KeyManager, server: KeyServer, after: KeyServer | None = None
    ) -> Removal:
        """Prove elsewhere what is at stake with a server, or with the secondaries that it loses by becoming ``after``.

        Raises 65536700 for what cannot be proven.
        """
        removal = Removal(explained=call.caller.svm is None)
        until = asyncio.get_running_loop().time() + PROVING_S
        page: str | None = ""
        while page is not None:
            work = partial(_stakes, key_manager=key_manager, server=server, becomes=after, after=page)
            places, stakes, page = await self._store.read(work)
            await self._prove(places, stakes, removal, until)
        return removal

    def check(
        self,
        tx: Transaction,
        key_manager: KeyManager,
        server: KeyServer,
        removal: Removal,
        after: KeyServer | None = None,
    ) -> bool:
        """Whether nothing would be lost now, in the transaction that holds the key manager and removes the server.

        False when others have changed something since it was proved, or proofs are too old by now: prove again.
        """
        now = self._clock.now()
        page: str | None = ""
        while page is not None:
            _, stakes, page = _stakes(tx, key_manager, server, after, page)
            if not all(each.is_safe(removal.proofs, now) for each in stakes):
                return False
        return True

    def detach(self, tx: Transaction, server: KeyServer) -> None:
        """Keep what is needed to clean up a server that is being removed, while there is anything to clean up."""
        if any(copy.presence is not Presence.DESTROYED for copy in _copies_on(tx, server)):
            tx.add_detached_key_server(Detached(server, self._clock.now()))
        else:
            tx.delete_profile(server.uuid)

    async def detached(self, call: Call, key_manager: str) -> tuple[Detached, ...]:
        """The removed servers of a key manager that still hold copies. Raises 4 (404)."""

        def read(tx: Transaction) -> tuple[Detached, ...]:
            return tx.detached_key_servers(require_key_manager(tx, call, key_manager).uuid)

        return await self._store.read(read)

    # --- proving ---

    async def _prove(self, places: KeyPlaces, stakes: Sequence[Stake], removal: Removal, until: float) -> None:
        """Prove one copy of each key that has no proof fresh enough to last: the likeliest first, then the next."""
        lasts = self._clock.now() + timedelta(seconds=PROVING_S)
        open_ = [each for each in stakes if not each.is_safe(removal.proofs, lasts)]
        if not open_:
            return
        digest_key = self._reacher.digest_key(places)
        reaches = self._reaches(places)
        for turn in range(max(len(each.elsewhere) for each in open_)):
            asked: dict[tuple[str, str], list[tuple[Key, Copy]]] = defaultdict(list)
            for each in open_:
                for copy in each.elsewhere[turn : turn + 1]:
                    asked[copy.key_server, copy.host].append((each.key, copy))
            await asyncio.gather(
                *(self._prove_at(reaches.get(at), digest_key, found, removal, until) for at, found in asked.items())
            )
            open_ = [each for each in open_ if not each.is_safe(removal.proofs, self._clock.now())]
            if not open_:
                return
        raise sole_copy([each.key for each in open_], removal.reason if removal.explained else "")

    async def _prove_at(
        self,
        reach: Reach | None,
        digest_key: Secret,
        wanted: Sequence[tuple[Key, Copy]],
        removal: Removal,
        until: float,
    ) -> None:
        if reach is None:
            removal.reason = removal.reason or NOT_READ
            return
        provings = [Proving(key.uuid, copy.unique_identifiers, key.digest) for key, copy in wanted]
        outcomes = await self._prover.prove(reach, digest_key, provings, until)
        now = self._clock.now()
        for (_, copy), outcome in zip(wanted, outcomes, strict=True):
            if outcome.proven:
                removal.proofs[place(copy)] = now
            else:
                removal.reason = outcome.reason

    def _reaches(self, places: KeyPlaces) -> dict[tuple[str, str], Reach]:
        """How each address is reached; without those that cannot be."""
        try:
            identity = self._reacher.identity(places)
        except (SealError, KeyError, ValueError):
            return {}
        return {
            (reach.key_server, reach.host): reach
            for server in places.servers
            for reach in self._reacher.each(server, identity)
        }


def kept(tx: Transaction, key_manager: str, after: str) -> tuple[list[tuple[Key, list[Copy]]], str | None]:
    """Some of a key manager's keys that are kept, with their lasting copies; and where to go on, None at the end."""
    keys = tx.keys_in(key_manager, KEPT, after, PAGE)
    uuids = [key.uuid for key in keys]
    copies: dict[str, list[Copy]] = defaultdict(list)
    for copy in lasting(tx.copies(uuids), tx.attempts(uuids)):
        copies[copy.key].append(copy)
    return [(key, copies[key.uuid]) for key in keys], keys[-1].uuid if len(keys) == PAGE else None


def _stakes(
    tx: Transaction, key_manager: KeyManager, server: KeyServer, becomes: KeyServer | None, after: str
) -> tuple[KeyPlaces, list[Stake], str | None]:
    """What is at stake with a server, of some of the keys; and where to go on."""
    places = load_places(tx, key_manager)
    going = _without(places, server) if becomes is None else _without_secondaries(places, server, becomes)
    keys, rest = kept(tx, key_manager.uuid, after)
    found = (stake(key, copies, going) for key, copies in keys)
    return places, [each for each in found if each is not None], rest


def _without(places: KeyPlaces, server: KeyServer) -> Going:
    domain = places.domain_of.get(server.uuid)
    servers = {uuid for uuid, of in places.domain_of.items() if of == domain} | {server.uuid}
    return Going(servers, {each.uuid: each for each in places.servers if each.uuid not in servers})


def _without_secondaries(places: KeyPlaces, server: KeyServer, becomes: KeyServer) -> Going:
    stay = {each.uuid: each for each in places.servers} | {server.uuid: becomes}
    return Going({server.uuid}, stay, set(server.secondary_key_servers) - set(becomes.secondary_key_servers))


def _copies_on(tx: Transaction, server: KeyServer) -> Iterator[Copy]:
    """Every copy on a server, of keys in any state."""
    after = ""
    while page := tx.copies_on(server.uuid, after, PAGE):
        yield from page
        after = page[-1].key

"""Keys are not lost when key servers go: no removal takes the only proven copy of a key.

Proofs are made outside of any transaction, noted with the copies, and counted again under the key manager's lock in the
transaction that removes: two removals at once cannot rely on each other's server. One that was noted before counts only
at an address that has shown, in this very call, that it still answers: its server's canary, or a copy that was read.
That a copy was not there, or differed, when it was looked at last frees nothing: each address that goes is asked once
more.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final

from keystead.core.keys.destroying import is_past_recovery
from keystead.core.keys.guarding import (
    Departure,
    KeyAtRisk,
    Period,
    Removal,
    RemovalFindings,
    fresh,
    key_at_risk,
    sole_copy,
    without_aborted,
)
from keystead.core.keys.keeping import KEPT
from keystead.core.keys.model import Detached, Presence, copy_id
from keystead.service.keys.guarding.doubts import CopyDoubts
from keystead.service.keys.guarding.showing import SERVER, no_time
from keystead.service.keys.looking.verify import UNREAD, CopyVerifier, Proving
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.probing.prober import NO_IDENTITY
from keystead.service.probing.queue import check_left

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from keystead.core.keys.model import AddressId, Copy, Incarnation, Key
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.context import Call
    from keystead.service.keys.looking.verify import VerifyResult
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.store import Clock, Store, Transaction

PAGE: Final = 1000
"""Keys that are read, and proven, together."""

PROVING_S: Final = 25.0
"""How long a removal may prove: what was proven first must still count when all is."""

LOOKING_S: Final = 3.0
"""How long the canaries of all servers that stay may take: what is not seen by then does not answer."""


class RemovalGuard:
    """Asked before a key server is removed, and again while it is."""

    def __init__(self, store: Store, objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._prover = CopyVerifier(objects)
        self._doubts = CopyDoubts(store, objects, endpoints, clock)
        self._endpoints = endpoints
        self._clock = clock

    async def prove(self, call: Call, removal: Removal, ends: float) -> RemovalFindings:
        """Prove elsewhere what is at stake, and return what was found out. Raises 65536700 for what cannot be proven,
        with the reason for accounts of the cluster: those of an SVM choose the addresses; 262145 (503) when the call
        ``ends`` (loop time) before.
        """
        until = min(asyncio.get_running_loop().time() + PROVING_S, ends)
        found = RemovalFindings()
        topology, stakes, page = await self._stakes(removal, found, "")
        if stakes:
            found.answering.update(await self._answering(topology, _going(topology, removal, found), until))
            page = ""
        while page is not None:
            topology, stakes, page = await self._stakes(removal, found, page)
            open_, reason = await self._prove(topology, stakes, found.answering, until)
            lost = await self._still_there(removal, topology, open_, found, until)
            if lost:
                check_left(ends)
                raise sole_copy(lost, reason if call.caller.svm is None else "")
        return found

    def check(self, tx: Transaction, removal: Removal, found: RemovalFindings) -> bool:
        """Whether nothing would be lost now, in the transaction that holds the key manager and removes.

        ``found`` is what this call has found out. False when others have changed something since it was proved, or
        proofs are too old by now: prove again.
        """
        now = fresh(self._clock.now())
        page: str | None = ""
        while page is not None:
            _, stakes, page = _stakes(tx, removal, now, found, page)
            if stakes:
                return False
        return True

    def detach(self, tx: Transaction, server: KeyServer) -> None:
        """Keep what is needed to clean up a server that is being removed, while there is anything to clean up."""
        if any(copy.presence is not Presence.DESTROYED for copy in copies_on(tx, server)):
            tx.add_detached_key_server(Detached(server, self._clock.now()))
        else:
            tx.delete_profile(server.uuid)

    async def detached(self, call: Call, key_manager: str) -> tuple[Detached, ...]:
        """The removed servers of a key manager that still hold copies. Raises 4 (404)."""

        def read(tx: Transaction) -> tuple[Detached, ...]:
            return tx.detached_key_servers(require_key_manager(tx, call, key_manager).uuid)

        return await self._store.read(read)

    # --- proving ---

    async def _stakes(
        self, removal: Removal, found: RemovalFindings, after: str
    ) -> tuple[ServerTopology, list[KeyAtRisk], str | None]:
        lasts = fresh(self._clock.now(), timedelta(seconds=PROVING_S))
        return await self._store.read(partial(_stakes, removal=removal, period=lasts, found=found, after=after))

    async def _answering(self, topology: ServerTopology, going: Departure, until: float) -> set[AddressId]:
        """The addresses that stay and show their server's canary now, on connections that are made now."""
        until = min(asyncio.get_running_loop().time() + LOOKING_S, until)
        digest_key = self._endpoints.digest_key(topology)
        asked = {
            at: self._prover.see_canary(endpoint, topology.profiles[endpoint.key_server], digest_key, until, fresh=True)
            for at, endpoint in self._reaches(topology).items()
            if going.leaves(*at) and endpoint.key_server in topology.profiles
        }
        seen = await asyncio.gather(*asked.values())
        return {at for at, outcome in zip(asked, seen, strict=True) if outcome.proven}

    async def _prove(
        self, topology: ServerTopology, stakes: Sequence[KeyAtRisk], answering: set[AddressId], until: float
    ) -> tuple[list[KeyAtRisk], str]:
        """Prove one copy of each key: the likeliest first, then the next. Return keys without one, and a reason.

        What is read answers: its address joins those that do.
        """
        open_ = {each.key.uuid: each for each in stakes}
        if not open_:
            return [], ""
        digest_key, reaches, reason = self._endpoints.digest_key(topology), self._reaches(topology), ""
        likeliest = {
            each.key.uuid: sorted(each.elsewhere, key=lambda copy: (copy.key_server, copy.host) not in answering)
            for each in stakes
        }
        for turn in range(max(map(len, likeliest.values()))):
            asked: dict[AddressId, list[tuple[Key, Copy]]] = defaultdict(list)
            for each in open_.values():
                for copy in likeliest[each.key.uuid][turn : turn + 1]:
                    asked[copy.key_server, copy.host].append((each.key, copy))
            proving = (self._prove_at(reaches.get(at), digest_key, found, until) for at, found in asked.items())
            for proven, why in await asyncio.gather(*proving):
                reason = why or reason
                for copy in proven:
                    del open_[copy.key]
                    answering.add((copy.key_server, copy.host))
        return list(open_.values()), reason

    async def _still_there(
        self,
        removal: Removal,
        topology: ServerTopology,
        stakes: Sequence[KeyAtRisk],
        found: RemovalFindings,
        until: float,
    ) -> list[Key]:
        """Of keys that have no other copy, those that may be at an address that goes.

        Where all that is known of them is in doubt they are asked for once more: what is not there joins the ``gone``.
        Raises 262145 (503) when it is for our own want of time that nobody knows of any of them.
        """
        going = _going(topology, removal, found)
        doubtful = [each for each in stakes if all(map(going.frees, each.going))]
        late = False
        if doubtful:
            reaches = {
                at: endpoint for at, endpoint in self._reaches(topology, removal.server).items() if going.goes(*at)
            }
            copies = [copy for each in doubtful for copy in each.going]
            answer = await self._doubts.gone(topology, reaches, copies, until)
            found.gone.update(answer.copies)
            late = answer.late
        free = {each.key.uuid for each in doubtful if all(copy_id(copy) in found.gone for copy in each.going)}
        if late and len(doubtful) == len(stakes) > len(free):
            raise no_time(SERVER)
        return [each.key for each in stakes if each.key.uuid not in free]

    async def _prove_at(
        self, endpoint: Endpoint | None, digest_key: Secret, wanted: Sequence[tuple[Key, Copy]], until: float
    ) -> tuple[list[Copy], str]:
        """Prove copies at one address, and note it; return those that are proven, and why others are not."""
        began = self._clock.now()
        outcomes = await self._read(endpoint, digest_key, wanted, until)
        proven = [copy for (_, copy), outcome in zip(wanted, outcomes, strict=True) if outcome.proven]
        await self._store.write(lambda tx: tx.note_proven(proven, began))
        return proven, next((outcome.reason for outcome in outcomes if not outcome.proven), "")

    async def _read(
        self, endpoint: Endpoint | None, digest_key: Secret, wanted: Sequence[tuple[Key, Copy]], until: float
    ) -> list[VerifyResult]:
        """Read copies at one address; what came of each, in order."""
        if endpoint is None:
            return [UNREAD] * len(wanted)
        provings = [Proving(key.uuid, copy.unique_identifiers, key.digest) for key, copy in wanted]
        return await self._prover.prove(endpoint, digest_key, provings, until)

    def _reaches(self, topology: ServerTopology, *removed: KeyServer) -> dict[AddressId, Endpoint]:
        """How each address is reached, of removed servers too; without those that cannot be."""
        try:
            return self._endpoints.addresses(topology, (*removed, *topology.servers))
        except NO_IDENTITY:
            return {}


def kept(
    tx: Transaction, key_manager: str, incarnation: Incarnation, after: str
) -> tuple[list[tuple[Key, list[Copy]]], str | None]:
    """Some of a key manager's keys that hold its servers, with their lasting copies; and where to go on, None at the
    end.
    """
    keys = tx.keys_in(key_manager, KEPT, after, PAGE)
    return with_copies(tx, keys, incarnation), keys[-1].uuid if len(keys) == PAGE else None


def with_copies(tx: Transaction, keys: Sequence[Key], incarnation: Incarnation) -> list[tuple[Key, list[Copy]]]:
    """Those of keys that hold servers, with their lasting copies."""
    keys = holding(keys, incarnation)
    uuids = [key.uuid for key in keys]
    copies: dict[str, list[Copy]] = defaultdict(list)
    for copy in without_aborted(tx.copies(uuids), tx.attempts(uuids)):
        copies[copy.key].append(copy)
    return [(key, copies[key.uuid]) for key in keys]


def holding(keys: Iterable[Key], incarnation: Incarnation) -> list[Key]:
    """Those of keys that hold servers: not what was deleted, cannot be recovered, and only waits for its purge."""
    return [key for key in keys if not is_past_recovery(key, incarnation)]


def _stakes(
    tx: Transaction, removal: Removal, period: Period, found: RemovalFindings, after: str
) -> tuple[ServerTopology, list[KeyAtRisk], str | None]:
    """Some of the keys that nothing proven since then, where it still answers, would save; and where to go on, None at
    the end.
    """
    topology = load_topology(tx, removal.key_manager)
    going = _going(topology, removal, found)
    # What stays there with a primary that loses secondaries is found out below.
    stay = {server for server, host in found.answering if not host} & (going.stay.keys() - going.servers)
    uuids = tx.keys_at_risk(removal.key_manager.uuid, going.servers, stay, period, after, PAGE)
    stakes = (key_at_risk(key, copies, going) for key, copies in with_copies(tx, tx.keys(uuids), topology.incarnation))
    unsafe = [each for each in stakes if each is not None and not each.is_safe(period, found.answering)]
    return topology, unsafe, uuids[-1] if len(uuids) == PAGE else None


def _going(topology: ServerTopology, removal: Removal, found: RemovalFindings) -> Departure:
    server, becomes = removal.server, removal.after
    stay = {each.uuid: each for each in topology.servers if each.uuid != server.uuid}
    if becomes is None:
        return Departure({server.uuid}, stay, gone=found.gone)
    hosts = set(server.secondary_key_servers) - set(becomes.secondary_key_servers)
    return Departure({server.uuid}, stay | {server.uuid: becomes}, hosts, found.gone)


def copies_on(tx: Transaction, server: KeyServer) -> Iterator[Copy]:
    """Every copy on a server, of keys in any state."""
    after = ""
    while page := tx.copies_on(server.uuid, after, PAGE):
        yield from page
        after = page[-1].key

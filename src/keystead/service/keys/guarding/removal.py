"""Prevent the loss of keys when key servers are removed: a removal that would lose a key is refused.

Copies are proven outside of any transaction, and the proofs are stored with them. The transaction that removes the
server counts the proofs again under the key manager's lock. So two removals at the same time cannot rely on each
other's server. A stored proof counts only at an address that has answered in this call: it showed its canary, or a copy
was read there. A copy in doubt does not permit a removal: each address to be removed is asked for it once more.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.destroying import is_past_recovery
from keystead.core.keys.guarding import (
    Departure,
    KeyAtRisk,
    Period,
    Removal,
    RemovalFindings,
    fresh_period,
    key_at_risk,
    sole_copy,
    without_aborted,
)
from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import Detached, Presence, copy_id
from keystead.service.keys.guarding.doubts import CopyDoubts
from keystead.service.keys.guarding.showing import SERVER, no_time
from keystead.service.keys.looking.verify import UNREAD, CopyVerifier, WantedCopy
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_key_manager
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, DetachedRows, KeyRows, RemovalRows, TopologyRows
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
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

PAGE: Final = 1000
"""How many keys are read, and proven, together."""

PROVING_S: Final = 25.0
"""How long a removal may prove: the first proof must still count when the last one is made."""

LOOKING_S: Final = 3.0
"""How long a look at the canaries of all other servers may take. A server not seen by then does not answer."""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, RemovalRows, DetachedRows, Protocol):
    """The rows that this module reads and writes."""


class RemovalGuard:
    """The guard to ask before a key server is removed, and in the transaction that removes it."""

    def __init__(self, store: Store[Rows], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._verifier = CopyVerifier(objects)
        self._doubts = CopyDoubts(store, objects, endpoints, clock)
        self._endpoints = endpoints
        self._clock = clock

    async def prove(self, call: Call, removal: Removal, ends: float) -> RemovalFindings:
        """Prove copies elsewhere of the keys at risk. Return what was found, for :meth:`check`.

        Called before a key server or secondaries are removed, and before a detached server is given up. Proofs are
        stored.

        Raises 65536700 for keys that cannot be proven elsewhere. Only accounts of the cluster get the reason, because
        accounts of an SVM choose the addresses. Raises 262145 (503) when the call ends first (``ends``, loop time).
        """
        until = min(asyncio.get_running_loop().time() + PROVING_S, ends)
        found = RemovalFindings()
        topology, at_risk, cursor = await self._read_keys_at_risk(removal, found, "")
        if at_risk:
            found.answering.update(await self._answering(topology, _departure(topology, removal, found), until))
            cursor = ""  # from the first key again, because now it is known which addresses answer
        while cursor is not None:
            topology, at_risk, cursor = await self._read_keys_at_risk(removal, found, cursor)
            unproven, reason = await self._prove(topology, at_risk, found.answering, until)
            lost = await self._keys_that_may_be_lost(removal, topology, unproven, found, until)
            if lost:
                check_left(ends)
                raise sole_copy(lost, reason if call.caller.svm is None else "")
        return found

    def check(self, tx: Rows, removal: Removal, found: RemovalFindings) -> bool:
        """Return True if the removal loses no key now.

        Call it in the transaction that holds the key manager and removes the server. ``found`` is what this call has
        found. False means that others have changed something since, or that the proofs are too old. Then prove again.
        """
        now = fresh_period(self._clock.now())
        cursor: str | None = ""
        while cursor is not None:
            _, at_risk, cursor = _keys_at_risk(tx, removal, now, found, cursor)
            if at_risk:
                return False
        return True

    def detach(self, tx: Rows, server: KeyServer) -> None:
        """Store a removed server as detached if it has copies that are not destroyed; else delete its server profile.

        Called in the transaction that removes the server. The caller deletes the server itself.
        """
        if any(copy.presence is not Presence.DESTROYED for copy in copies_on(tx, server)):
            tx.add_detached_key_server(Detached(server, self._clock.now()))
        else:
            tx.delete_profile(server.uuid)

    async def detached(self, call: Call, key_manager: str) -> tuple[Detached, ...]:
        """Return the detached key servers of a key manager.

        Raises 4 (404) if the call does not see the key manager. Called to list detached servers.
        """

        def read(tx: Rows) -> tuple[Detached, ...]:
            return tx.detached_key_servers(require_key_manager(tx, call, key_manager).uuid)

        return await self._store.read(read)

    # --- proving ---

    async def _read_keys_at_risk(
        self, removal: Removal, found: RemovalFindings, after: str
    ) -> tuple[ServerTopology, list[KeyAtRisk], str | None]:
        """Read one page of the keys at risk with :func:`_keys_at_risk`.

        A proof counts only if it stays fresh for :data:`PROVING_S` more. So :meth:`check` can still rely on it later.
        """
        lasts = fresh_period(self._clock.now(), timedelta(seconds=PROVING_S))
        return await self._store.read(partial(_keys_at_risk, removal=removal, period=lasts, found=found, after=after))

    async def _answering(self, topology: ServerTopology, departure: Departure, until: float) -> set[AddressId]:
        """Return the addresses that stay configured and show their canary now, on new connections.

        All are asked at once. An address that does not answer within :data:`LOOKING_S` is left out.
        """
        until = min(asyncio.get_running_loop().time() + LOOKING_S, until)
        digest_key = self._endpoints.digest_key(topology)
        asked = {
            at: self._verifier.see_canary(
                endpoint, topology.profiles[endpoint.key_server], digest_key, until, fresh=True
            )
            for at, endpoint in self._endpoints_of(topology).items()
            if departure.keeps_address(*at) and endpoint.key_server in topology.profiles
        }
        seen = await asyncio.gather(*asked.values())
        return {at for at, outcome in zip(asked, seen, strict=True) if outcome.proven}

    async def _prove(
        self, topology: ServerTopology, at_risk: Sequence[KeyAtRisk], answering: set[AddressId], until: float
    ) -> tuple[list[KeyAtRisk], str]:
        """Prove one copy of each key, trying its copies in turn. Return the keys without a proof, and a reason.

        The reason is that of a failed read, empty if none failed. Copies at answering addresses are tried first. An
        address where a copy was read is added to ``answering``. Proofs are stored.
        """
        unproven = {each.key.uuid: each for each in at_risk}
        if not unproven:
            return [], ""
        digest_key, endpoints, reason = self._endpoints.digest_key(topology), self._endpoints_of(topology), ""
        candidates = {
            each.key.uuid: sorted(each.elsewhere, key=lambda copy: (copy.key_server, copy.host) not in answering)
            for each in at_risk
        }
        for turn in range(max(map(len, candidates.values()))):
            asked: dict[AddressId, list[tuple[Key, Copy]]] = defaultdict(list)
            for each in unproven.values():
                for copy in candidates[each.key.uuid][turn : turn + 1]:
                    asked[copy.key_server, copy.host].append((each.key, copy))
            proving = (self._prove_at(endpoints.get(at), digest_key, found, until) for at, found in asked.items())
            for proven, why in await asyncio.gather(*proving):
                reason = why or reason
                for copy in proven:
                    del unproven[copy.key]
                    answering.add((copy.key_server, copy.host))
        return list(unproven.values()), reason

    async def _keys_that_may_be_lost(
        self,
        removal: Removal,
        topology: ServerTopology,
        at_risk: Sequence[KeyAtRisk],
        found: RemovalFindings,
        until: float,
    ) -> list[Key]:
        """Return those of the keys ``at_risk`` that may be lost by the removal.

        ``at_risk`` are keys without a copy that was just proven elsewhere. A key cannot be lost if the addresses to be
        removed do not have it. So if all its copies there are in doubt, these addresses are asked once more. Copies
        that they deny are added to ``found.denied``. Raises 262145 (503) if all keys are in doubt, and time was over
        before all were decided.
        """
        departure = _departure(topology, removal, found)
        doubtful = [each for each in at_risk if all(map(departure.denial_counts, each.departing))]
        late = False
        if doubtful:
            endpoints = {
                at: endpoint
                for at, endpoint in self._endpoints_of(topology, removal.server).items()
                if departure.removes_address(*at)
            }
            copies = [copy for each in doubtful for copy in each.departing]
            answer = await self._doubts.denied_everywhere(topology, endpoints, copies, until)
            found.denied.update(answer.copies)
            late = answer.late
        not_there = {
            each.key.uuid for each in doubtful if all(copy_id(copy) in found.denied for copy in each.departing)
        }
        lost = [each.key for each in at_risk if each.key.uuid not in not_there]
        if late and lost and len(doubtful) == len(at_risk):
            raise no_time(SERVER)
        return lost

    async def _prove_at(
        self, endpoint: Endpoint | None, digest_key: Secret, wanted: Sequence[tuple[Key, Copy]], until: float
    ) -> tuple[list[Copy], str]:
        """Prove copies at one address, and store the proofs. Without an endpoint no copy is proven.

        Return the copies that are proven, and the reason of the first failure, empty if there is none.
        """
        began = self._clock.now()
        outcomes = await self._read(endpoint, digest_key, wanted, until)
        proven = [copy for (_, copy), outcome in zip(wanted, outcomes, strict=True) if outcome.proven]
        await self._store.write(lambda tx: tx.note_proven(proven, began))
        return proven, next((outcome.reason for outcome in outcomes if not outcome.proven), "")

    async def _read(
        self, endpoint: Endpoint | None, digest_key: Secret, wanted: Sequence[tuple[Key, Copy]], until: float
    ) -> list[VerifyResult]:
        """Read copies at one address; return one result for each, in order. Nothing is stored.

        Without an endpoint all results are :data:`UNREAD`.
        """
        if endpoint is None:
            return [UNREAD] * len(wanted)
        provings = [WantedCopy(key.uuid, copy.unique_identifiers, key.digest) for key, copy in wanted]
        return await self._verifier.prove(endpoint, digest_key, provings, until)

    def _endpoints_of(self, topology: ServerTopology, *removed: KeyServer) -> dict[AddressId, Endpoint]:
        """Return how each address is reached, also those of ``removed`` servers.

        Servers whose password cannot be used are left out. Empty if our own certificate cannot be used.
        """
        found: dict[AddressId, Endpoint] = {}
        for server in (*removed, *topology.servers):
            with suppress(*NO_IDENTITY):
                found |= self._endpoints.addresses(topology, [server])
        return found


def blocking_keys_page(
    tx: Rows, key_manager: str, incarnation: Incarnation, after: str
) -> tuple[list[tuple[Key, list[Copy]]], str | None]:
    """Return one page of the keys that must not be lost, and the cursor of the next page; None at the end.

    Each key comes with its copies of attempts that were not aborted. Called when a new client certificate must read all
    keys.
    """
    keys = tx.keys_in(key_manager, KEPT_STATES, after, PAGE)
    return with_copies(tx, keys, incarnation), keys[-1].uuid if len(keys) == PAGE else None


def with_copies(tx: Rows, keys: Sequence[Key], incarnation: Incarnation) -> list[tuple[Key, list[Copy]]]:
    """Return the keys that must not be lost, each with its copies of attempts that were not aborted.

    Which keys these are, :func:`blocking_keys` says. Called before a removal or a relocation.
    """
    keys = blocking_keys(keys, incarnation)
    uuids = [key.uuid for key in keys]
    copies: dict[str, list[Copy]] = defaultdict(list)
    for copy in without_aborted(tx.copies(uuids), tx.attempts(uuids)):
        copies[copy.key].append(copy)
    return [(key, copies[key.uuid]) for key in keys]


def blocking_keys(keys: Iterable[Key], incarnation: Incarnation) -> list[Key]:
    """Return the keys that must not be lost: all except deleted keys that are overdue and wait for their purge.

    Each of them can prevent a removal, or a change of certificates.
    """
    return [key for key in keys if not is_past_recovery(key, incarnation)]


def _keys_at_risk(
    tx: Rows, removal: Removal, period: Period, found: RemovalFindings, after: str
) -> tuple[ServerTopology, list[KeyAtRisk], str | None]:
    """Return the topology, one page of the keys at risk, and the cursor of the next page; None at the end.

    A key is not at risk if a copy elsewhere was proven in this period, at an address that still answers. Called while
    copies are proven, and again in the transaction that removes the server.
    """
    topology = load_topology(tx, removal.key_manager)
    departure = _departure(topology, removal, found)
    # A server that only loses secondaries is left out, because ``is_safe`` checks its primary more exactly.
    stay = {server for server, host in found.answering if not host} & (departure.stay.keys() - departure.servers)
    uuids = tx.keys_at_risk(removal.key_manager.uuid, departure.servers, stay, period, after, PAGE)
    found_keys = with_copies(tx, tx.keys(uuids), topology.incarnation)
    at_risk = (key_at_risk(key, copies, departure) for key, copies in found_keys)
    unsafe = [each for each in at_risk if each is not None and not each.is_safe(period, found.answering)]
    return topology, unsafe, uuids[-1] if len(uuids) == PAGE else None


def _departure(topology: ServerTopology, removal: Removal, found: RemovalFindings) -> Departure:
    """Return what the removal removes and what stays: the whole server goes, or only some of its secondaries."""
    server, becomes = removal.server, removal.after
    stay = {each.uuid: each for each in topology.servers if each.uuid != server.uuid}
    if becomes is None:
        return Departure({server.uuid}, stay, denied=found.denied)
    hosts = set(server.secondary_key_servers) - set(becomes.secondary_key_servers)
    return Departure({server.uuid}, stay | {server.uuid: becomes}, hosts, found.denied)


def copies_on(tx: CopyRows, server: KeyServer) -> Iterator[Copy]:
    """Yield every copy on a server, of keys in any state and with any presence. Rows are read page by page."""
    after = ""
    while page := tx.copies_on(server.uuid, after, PAGE):
        yield from page
        after = page[-1].key

"""Read copies before a removal: those elsewhere that prove keys, and those in doubt at the addresses to be removed.

Proofs are stored as they are made. Nothing is decided here: see removal.py.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core.keys.model import copy_id
from keystead.service.keys.guarding.doubts import CopyDoubts
from keystead.service.keys.looking.verify import NOT_IN_TIME, UNREAD, CopyVerifier, WantedCopy
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, KeyRows, RemovalRows, TopologyRows
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from keystead.core.keys.guarding import Departure, KeyAtRisk, RemovalFindings
    from keystead.core.keys.model import AddressId, Copy, Key
    from keystead.core.keys.proving import Period
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.keys.looking.verify import VerifyResult
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

SESSIONS: Final = 6
"""How many connections to one address a removal uses at once. Others need the rest of the pool."""

Asked = dict["AddressId", list[tuple["Key", "Copy"]]]
"""The copies to read at each address."""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, RemovalRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(slots=True)
class _Lacking:
    """A key that lacks proofs: the copies that can still be read, and the domains in which it is proven."""

    of: KeyAtRisk
    left: list[Copy]
    domains: set[str]


@dataclass(slots=True)
class PageProving:
    """The proving of one page of keys, each in ``wanted`` replication domains: which copies to read next, and why.

    Proofs in the period ``attempt`` count already. Copies at addresses in ``answering`` are read first. An address
    where a copy was read is added there. ``reason`` is that of a failed read, ``made`` is the number of new proofs.
    """

    topology: ServerTopology
    at_risk: Sequence[KeyAtRisk]
    answering: set[AddressId]
    attempt: Period
    wanted: int
    made: int = 0
    reason: str = ""
    late: set[str] = field(default_factory=set)
    """The keys (uuids) that lack a proof because a copy was not read in time."""
    _lacking: dict[str, _Lacking] = field(init=False)

    def __post_init__(self) -> None:
        """Take all keys of the page as lacking."""
        domain_of = self.topology.domain_of
        self._lacking = {
            each.key.uuid: _Lacking(each, self._in_turn(each), each.proven_domains(self.attempt, domain_of))
            for each in self.at_risk
        }

    def _in_turn(self, each: KeyAtRisk) -> list[Copy]:
        """Return a key's copies in the order in which they are read, another server first for each key."""
        copies = list(each.elsewhere)
        first = int(each.key.uuid[:8], 16) % len(copies) if copies else 0
        return sorted(
            copies[first:] + copies[:first], key=lambda copy: (copy.key_server, copy.host) not in self.answering
        )

    @property
    def unproven(self) -> list[KeyAtRisk]:
        """The keys without any proof."""
        return [each.of for each in self._lacking.values() if not each.domains]

    def next_turn(self) -> Asked:
        """Return the copies to read next: as many of each key as it lacks proofs. Empty at the end."""
        asked: Asked = defaultdict(list)
        domain_of = self.topology.domain_of
        for each in self._lacking.values():
            domains = set(each.domains)
            for copy in list(each.left):
                if len(domains) < self.wanted and domain_of[copy.key_server] not in domains:
                    domains.add(domain_of[copy.key_server])
                    each.left.remove(copy)
                    asked[copy.key_server, copy.host].append((each.of.key, copy))
        return asked

    def take(self, copy: Copy, outcome: VerifyResult) -> None:
        """Note what came of reading a copy."""
        each = self._lacking[copy.key]
        if not outcome.proven:
            self.reason = outcome.reason
            self.late.update([copy.key] * (outcome is NOT_IN_TIME))
            return
        self.made += 1
        self.answering.add((copy.key_server, copy.host))
        each.domains.add(self.topology.domain_of[copy.key_server])
        if len(each.domains) >= self.wanted:
            del self._lacking[copy.key]
            self.late.discard(copy.key)


class RemovalReadings:
    """The reader of canaries and copies for a removal."""

    def __init__(self, store: Store[Rows], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._verifier = CopyVerifier(objects)
        self._doubts = CopyDoubts(store, objects, endpoints, clock)
        self._endpoints = endpoints
        self._clock = clock

    async def answering(self, topology: ServerTopology, departure: Departure, until: float) -> set[AddressId]:
        """Return the addresses that stay configured and show their canary by ``until``, on new connections."""
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

    async def prove(
        self, proving: PageProving, until: float, note: Callable[[Rows, Sequence[Copy], datetime], None]
    ) -> None:
        """Prove a page of keys until ``until`` (loop time), trying their copies in turn.

        ``note`` stores the proofs of a turn, in one transaction.
        """
        topology = proving.topology
        digest_key, endpoints = self._endpoints.digest_key(topology), self._endpoints_of(topology)
        while asked := proving.next_turn():
            began = self._clock.now()
            reading = (self._read(endpoints.get(at), digest_key, found, until) for at, found in asked.items())
            proven: list[Copy] = []
            for found, outcomes in zip(asked.values(), await asyncio.gather(*reading), strict=True):
                for (_, copy), outcome in zip(found, outcomes, strict=True):
                    proving.take(copy, outcome)
                    proven += [copy] * outcome.proven
            await self._store.write(lambda tx: note(tx, proven, began))  # noqa: B023

    async def may_be_lost(
        self,
        topology: ServerTopology,
        departure: Departure,
        removed: KeyServer,
        at_risk: Collection[KeyAtRisk],
        found: RemovalFindings,
        until: float,
    ) -> tuple[list[Key], set[str]]:
        """Return those of the keys ``at_risk`` that the removal may lose, and those of which that is undecided (uuids).

        ``at_risk`` are keys without a copy that was just proven elsewhere. A key cannot be lost if the addresses to be
        removed do not have it. So if all its copies there are in doubt, these addresses are asked once more. Copies
        that they deny are added to ``found.denied``. A key is undecided if time was over before they could answer.
        """
        doubtful = [each for each in at_risk if all(map(departure.denial_counts, each.departing))]
        late = False
        if doubtful:
            endpoints = {
                at: endpoint
                for at, endpoint in self._endpoints_of(topology, removed).items()
                if departure.removes_address(*at)
            }
            copies = [copy for each in doubtful for copy in each.departing]
            answer = await self._doubts.denied_everywhere(topology, endpoints, copies, until)
            found.denied.update(answer.copies)
            late = answer.late
        there = {
            each.key.uuid for each in doubtful if not all(copy_id(copy) in found.denied for copy in each.departing)
        }
        denied = {each.key.uuid for each in doubtful} - there
        return [each.key for each in at_risk if each.key.uuid not in denied], there if late else set()

    async def _read(
        self, endpoint: Endpoint | None, digest_key: Secret, wanted: Sequence[tuple[Key, Copy]], until: float
    ) -> list[VerifyResult]:
        """Read copies at one address; return one result for each, in order. Nothing is stored.

        Without an endpoint all results are :data:`UNREAD`.
        """
        if endpoint is None:
            return [UNREAD] * len(wanted)
        provings = [WantedCopy(key.uuid, copy.unique_identifiers, key.digest) for key, copy in wanted]
        return await self._verifier.prove(endpoint, digest_key, provings, until, sessions=SESSIONS)

    def _endpoints_of(self, topology: ServerTopology, *removed: KeyServer) -> dict[AddressId, Endpoint]:
        """Return how each address is reached, also those of ``removed`` servers.

        Servers whose password cannot be used are left out. Empty if our own certificate cannot be used.
        """
        found: dict[AddressId, Endpoint] = {}
        for server in (*removed, *topology.servers):
            with suppress(*NO_IDENTITY):
                found |= self._endpoints.addresses(topology, [server])
        return found

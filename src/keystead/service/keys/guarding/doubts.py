"""Copies in doubt: ask every address of their server for them.

A copy in doubt may be at another address than expected. The one look at which it was not there, or differed, may have
been wrong. A secondary may have what its primary lost. A copy that was imported again has the same name as the object
that differs, and another identifier. So a copy is lost only when each address denies it: it shows its canary and does
not have the copy. Each address is asked by identifier and by name, on a new connection.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from keystead.core.keys.guarding import is_on_its_way
from keystead.core.keys.keeping import CopyAnswer
from keystead.core.keys.model import copy_id
from keystead.service.keys.context import tracked
from keystead.service.keys.looking.canaries import CanarySight, find_own_canary
from keystead.service.keys.looking.look import look
from keystead.service.keys.looking.visit import Visit
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, KeyRows, TopologyRows
from keystead.service.ports.objects import NO_FREE_CONNECTION, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.model import AddressId, Copy, CopyId, Presence, ServerProfile
    from keystead.core.secret import Secret
    from keystead.service.keys.context import Tracked
    from keystead.service.keys.looking.look import CopyObservation
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(slots=True)
class PresenceAnswer:
    """What one address answers about copies: which are present, and which are absent although it shows its canary.

    ``silent``: the address does not answer. ``late``: before it could answer, our time was over or all our connections
    were in use.
    """

    present: set[CopyId] = field(default_factory=set)
    absent: set[CopyId] = field(default_factory=set)
    silent: bool = False
    late: bool = False

    def denies(self, copy: Copy, optional_if_silent: Collection[Presence]) -> bool:
        """Return True if the address answered that it does not have a copy.

        If the copy's presence is in ``optional_if_silent``, return True also if the address does not answer. A ``late``
        answer that does not name the copy denies nothing.
        """
        return copy_id(copy) in self.absent or (self.silent and copy.presence in optional_if_silent)


@dataclass(frozen=True, slots=True)
class DoubtFindings:
    """The copies in doubt for which a search succeeded: those that are present, or those that are lost.

    ``late``: other copies are undecided, because time was over.
    """

    copies: set[CopyId]
    late: bool


class CopyDoubts:
    """The search for copies in doubt, at all addresses of their servers."""

    def __init__(self, store: Store[Rows], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._endpoints = endpoints
        self._clock = clock

    async def present_anywhere(
        self, topology: ServerTopology, endpoints: Mapping[AddressId, Endpoint], copies: Sequence[Copy], until: float
    ) -> DoubtFindings:
        """Ask addresses until ``until`` (loop time). Return the copies that any address of their server has.

        ``endpoints`` say how each address is reached after the change: with new certificates, or at a new address.
        Called before such a change is stored, for copies in doubt that were not read under their identifiers. They may
        be there under other identifiers, or at another address. An address that does not answer shows no copy.
        """
        answers = await self._answers(topology, endpoints, copies, until, silent=set())
        everywhere = [answer for some in answers.values() for answer in some]
        return DoubtFindings(set().union(*(each.present for each in everywhere)), any(each.late for each in everywhere))

    async def denied_everywhere(
        self,
        topology: ServerTopology,
        endpoints: Mapping[AddressId, Endpoint],
        copies: Sequence[Copy],
        until: float,
        *,
        optional_if_silent: Collection[Presence] = (),
        silent: set[AddressId] | None = None,
    ) -> DoubtFindings:
        """Ask addresses until ``until`` (loop time). Return the copies that all addresses of their server deny.

        If a copy's presence is in ``optional_if_silent``, an address that does not answer counts as one that denies it.
        Addresses in ``silent`` are not asked again. Other addresses that do not answer are added there. A server
        without an address in ``endpoints``, or without a profile, denies nothing.

        Called with the addresses that a removal removes, and with the current addresses before a relocation.
        """
        answers = await self._answers(topology, endpoints, copies, until, set() if silent is None else silent)
        asked = [(copy, answers.get(copy.key_server, [])) for copy in copies]
        found = {
            copy_id(copy)
            for copy, some in asked
            if some and all(answer.denies(copy, optional_if_silent) for answer in some)
        }
        known = found.union(*(answer.present for some in answers.values() for answer in some))
        late = any(answer.late for copy, some in asked if copy_id(copy) not in known for answer in some)
        return DoubtFindings(found, late)

    async def _answers(
        self,
        topology: ServerTopology,
        endpoints: Mapping[AddressId, Endpoint],
        copies: Sequence[Copy],
        until: float,
        silent: set[AddressId],
    ) -> dict[str, list[PresenceAnswer]]:
        """Ask all addresses at once. Return what each address says of the copies of its server, by server (uuid).

        Addresses in ``silent`` are not asked, and their answer is silent. Addresses that do not answer are added to
        ``silent``. A server without a profile is not asked, and has no answers.
        """
        servers = {copy.key_server for copy in copies}

        def read(tx: Rows) -> tuple[list[Tracked], dict[str, ServerProfile]]:
            return tracked(tx, copies), {each.key_server: each for each in tx.profiles(servers)}

        rows, profiles = await self._store.read(read)
        digest_key = self._endpoints.digest_key(topology)
        asked = {at: endpoint for at, endpoint in endpoints.items() if endpoint.key_server in servers & profiles.keys()}
        found = await asyncio.gather(
            *(
                self._ask(
                    endpoint,
                    profiles[endpoint.key_server],
                    digest_key,
                    [row for row in rows if row.copy.key_server == endpoint.key_server and at not in silent],
                    until,
                )
                for at, endpoint in asked.items()
            )
        )
        answers: dict[str, list[PresenceAnswer]] = {}
        for at, answer in zip(asked, found, strict=True):
            answer.silent = answer.silent or at in silent
            silent.update([at] * answer.silent)
            answers.setdefault(at[0], []).append(answer)
        return answers

    async def _ask(
        self, endpoint: Endpoint, profile: ServerProfile, digest_key: Secret, rows: Iterable[Tracked], until: float
    ) -> PresenceAnswer:
        """Ask one address for copies, on a new connection. Without ``rows`` the answer is empty.

        The address is silent only if it does not even answer the search for its canary. If it fails later, the answer
        has what was seen until then.
        """
        answer, heard = PresenceAnswer(), False
        if not rows:
            return answer
        try:
            async with (
                asyncio.timeout_at(until),
                self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=True, anew=True) as session,
            ):
                canary = (
                    bool(profile.canary) and await find_own_canary(session, profile, digest_key) is CanarySight.SEEN
                )
                heard = True
                at = Visit(session, endpoint.key_server, str(endpoint.server), profile, canary, digest_key)
                for row in rows:
                    self._note(answer, row, await look(at, row, thorough=True), canary=canary)
        except KeyServerFault as fault:
            answer.late = fault.reason == NO_FREE_CONNECTION
            answer.silent = not (heard or answer.late or fault.fault.answered)
        except TimeoutError:
            answer.late = True
        return answer

    def _note(self, answer: PresenceAnswer, row: Tracked, seen: CopyObservation, *, canary: bool) -> None:
        """Add one look at a copy to the answer: the copy is present, absent, or neither.

        It is present if its bytes agree. It is absent only if the address shows its canary, refused nothing in the
        search, and the copy can no longer arrive.
        """
        may_arrive = is_on_its_way(row.copy, row.attempt, self._clock.now())
        if seen.look is CopyAnswer.AGREES:
            answer.present.add(copy_id(row.copy))
        elif seen.whole and seen.look is not CopyAnswer.REFUSED and canary and not may_arrive:
            answer.absent.add(copy_id(row.copy))

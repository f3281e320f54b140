"""Copies in doubt, asked for at every address of their server: what is not where it should be may be beside it.

One look at which a copy was not there, or differed, may have been wrong; a secondary may have what its primary has
lost; and what was imported again has its name, and another identifier, beside what differs, too. So a copy is gone only
when each address, asked by identifier and for all under its name on a connection that is made now, says that it has it
not, and shows the canary.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from keystead.core.keys.guarding import is_on_its_way
from keystead.core.keys.keeping import CopyAnswer
from keystead.core.keys.model import copy_id
from keystead.service.keys.context import tracked
from keystead.service.keys.looking.canaries import Sight, sight
from keystead.service.keys.looking.look import look
from keystead.service.keys.looking.visit import Visit
from keystead.service.ports.objects import NO_FREE_CONNECTION, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.model import AddressId, Copy, CopyId, Presence, ServerProfile
    from keystead.core.secret import Secret
    from keystead.service.keys.context import Tracked
    from keystead.service.keys.looking.look import CopyObservation
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.store import Clock, Store, Transaction


@dataclass(slots=True)
class PresenceAnswer:
    """What an address says of copies: those that it has, and those that it has not and shows its canary.

    ``silent``: it does not answer. ``late``: our own time was over, or our connections in use, before it could.
    """

    there: set[CopyId] = field(default_factory=set)
    absent: set[CopyId] = field(default_factory=set)
    silent: bool = False
    late: bool = False

    def frees(self, copy: Copy, hopeless: Collection[Presence]) -> bool:
        """Whether a copy cannot be read there; of one that is ``hopeless``, silence says so, too."""
        return copy_id(copy) in self.absent or (self.silent and copy.presence in hopeless)


@dataclass(frozen=True, slots=True)
class DoubtFindings:
    """What came of copies in doubt. ``late``: of others nobody knows, for want of time."""

    copies: set[CopyId]
    late: bool


class CopyDoubts:
    """Asks for them."""

    def __init__(self, store: Store, objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._endpoints = endpoints
        self._clock = clock

    async def there(
        self, topology: ServerTopology, reaches: Mapping[AddressId, Endpoint], copies: Sequence[Copy], until: float
    ) -> DoubtFindings:
        """Those of copies that an address of their server has, asked until then (loop time)."""
        answers = await self._answers(topology, reaches, copies, until, set())
        everywhere = [answer for some in answers.values() for answer in some]
        return DoubtFindings(set().union(*(each.there for each in everywhere)), any(each.late for each in everywhere))

    async def gone(
        self,
        topology: ServerTopology,
        reaches: Mapping[AddressId, Endpoint],
        copies: Sequence[Copy],
        until: float,
        *,
        hopeless: Collection[Presence] = (),
        silent: set[AddressId] | None = None,
    ) -> DoubtFindings:
        """Those of copies that cannot be read at any of these addresses of their server, asked until then (loop time).

        Those that are in ``hopeless`` presence cannot be where it is silent, either. What is known to be ``silent`` is
        not asked again, and is added to.
        """
        answers = await self._answers(topology, reaches, copies, until, set() if silent is None else silent)
        asked = [(copy, answers.get(copy.key_server, [])) for copy in copies]
        found = {copy_id(copy) for copy, some in asked if some and all(answer.frees(copy, hopeless) for answer in some)}
        known = found.union(*(answer.there for some in answers.values() for answer in some))
        late = any(answer.late for copy, some in asked if copy_id(copy) not in known for answer in some)
        return DoubtFindings(found, late)

    async def _answers(
        self,
        topology: ServerTopology,
        reaches: Mapping[AddressId, Endpoint],
        copies: Sequence[Copy],
        until: float,
        silent: set[AddressId],
    ) -> dict[str, list[PresenceAnswer]]:
        """What each address says of the copies of its server, by server (uuid); a silent one joins the ``silent``."""
        servers = {copy.key_server for copy in copies}

        def read(tx: Transaction) -> tuple[list[Tracked], dict[str, ServerProfile]]:
            return tracked(tx, copies), {each.key_server: each for each in tx.profiles(servers)}

        rows, profiles = await self._store.read(read)
        digest_key = self._endpoints.digest_key(topology)
        asked = {at: endpoint for at, endpoint in reaches.items() if endpoint.key_server in servers & profiles.keys()}
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
        """Ask one address for copies."""
        answer, heard = PresenceAnswer(), False
        if not rows:
            return answer
        try:
            async with (
                asyncio.timeout_at(until),
                self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=True, anew=True) as session,
            ):
                canary = bool(profile.canary) and await sight(session, profile, digest_key) is Sight.SEEN
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
        coming = is_on_its_way(row.copy, row.attempt, self._clock.now())
        if seen.look is CopyAnswer.AGREES:
            answer.there.add(copy_id(row.copy))
        elif seen.whole and seen.look is not CopyAnswer.REFUSED and canary and not coming:
            answer.absent.add(copy_id(row.copy))

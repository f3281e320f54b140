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

from keystead.core.keys.guarding import is_on_its_way, place
from keystead.core.keys.keeping import Look
from keystead.service.keys.looking.canaries import Sight, sight
from keystead.service.keys.looking.look import Visit, look, tracked
from keystead.service.ports.keys import NO_FREE_CONNECTION, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.guarding import At, Place
    from keystead.core.keys.model import Copy, Presence, ServerProfile
    from keystead.core.secret import Secret
    from keystead.service.keys.looking.look import Seen, Tracked
    from keystead.service.keys.topology import KeyPlaces, Reacher
    from keystead.service.ports.keys import KeyObjects, Reach
    from keystead.service.ports.store import Clock, Store, Transaction


@dataclass(slots=True)
class Answer:
    """What an address says of copies: those that it has, and those that it has not and shows its canary.

    ``silent``: it does not answer. ``late``: our own time was over, or our connections in use, before it could.
    """

    there: set[Place] = field(default_factory=set)
    absent: set[Place] = field(default_factory=set)
    silent: bool = False
    late: bool = False

    def frees(self, copy: Copy, hopeless: Collection[Presence]) -> bool:
        """Whether a copy cannot be read there; of one that is ``hopeless``, silence says so, too."""
        return place(copy) in self.absent or (self.silent and copy.presence in hopeless)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of copies in doubt. ``late``: of others nobody knows, for want of time."""

    copies: set[Place]
    late: bool


class CopyDoubts:
    """Asks for them."""

    def __init__(self, store: Store, objects: KeyObjects, reacher: Reacher, clock: Clock) -> None:
        self._store = store
        self._objects = objects
        self._reacher = reacher
        self._clock = clock

    async def there(
        self, places: KeyPlaces, reaches: Mapping[At, Reach], copies: Sequence[Copy], until: float
    ) -> Found:
        """Those of copies that an address of their server has, asked until then (loop time)."""
        answers = await self._answers(places, reaches, copies, until, set())
        everywhere = [answer for some in answers.values() for answer in some]
        return Found(set().union(*(each.there for each in everywhere)), any(each.late for each in everywhere))

    async def gone(
        self,
        places: KeyPlaces,
        reaches: Mapping[At, Reach],
        copies: Sequence[Copy],
        until: float,
        *,
        hopeless: Collection[Presence] = (),
        silent: set[At] | None = None,
    ) -> Found:
        """Those of copies that cannot be read at any of these addresses of their server, asked until then (loop time).

        Those that are in ``hopeless`` presence cannot be where it is silent, either. What is known to be ``silent`` is
        not asked again, and is added to.
        """
        answers = await self._answers(places, reaches, copies, until, set() if silent is None else silent)
        asked = [(copy, answers.get(copy.key_server, [])) for copy in copies]
        found = {place(copy) for copy, some in asked if some and all(answer.frees(copy, hopeless) for answer in some)}
        known = found.union(*(answer.there for some in answers.values() for answer in some))
        late = any(answer.late for copy, some in asked if place(copy) not in known for answer in some)
        return Found(found, late)

    async def _answers(
        self, places: KeyPlaces, reaches: Mapping[At, Reach], copies: Sequence[Copy], until: float, silent: set[At]
    ) -> dict[str, list[Answer]]:
        """What each address says of the copies of its server, by server (uuid); a silent one joins the ``silent``."""
        servers = {copy.key_server for copy in copies}

        def read(tx: Transaction) -> tuple[list[Tracked], dict[str, ServerProfile]]:
            return tracked(tx, copies), {each.key_server: each for each in tx.profiles(servers)}

        rows, profiles = await self._store.read(read)
        digest_key = self._reacher.digest_key(places)
        asked = {at: reach for at, reach in reaches.items() if reach.key_server in servers & profiles.keys()}
        found = await asyncio.gather(
            *(
                self._ask(
                    reach,
                    profiles[reach.key_server],
                    digest_key,
                    [row for row in rows if row.copy.key_server == reach.key_server and at not in silent],
                    until,
                )
                for at, reach in asked.items()
            )
        )
        answers: dict[str, list[Answer]] = {}
        for at, answer in zip(asked, found, strict=True):
            answer.silent = answer.silent or at in silent
            silent.update([at] * answer.silent)
            answers.setdefault(at[0], []).append(answer)
        return answers

    async def _ask(
        self, reach: Reach, profile: ServerProfile, digest_key: Secret, rows: Iterable[Tracked], until: float
    ) -> Answer:
        """Ask one address for copies."""
        answer, heard = Answer(), False
        if not rows:
            return answer
        try:
            async with (
                asyncio.timeout_at(until),
                self._objects.session(reach, timeout_s=reach.target.timeout_s, fresh=True, anew=True) as session,
            ):
                canary = bool(profile.canary) and await sight(session, profile, digest_key) is Sight.SEEN
                heard = True
                at = Visit(session, reach.key_server, str(reach.server), profile, canary, digest_key)
                for row in rows:
                    self._note(answer, row, await look(at, row, thorough=True), canary=canary)
        except KeyServerFault as fault:
            answer.late = fault.reason == NO_FREE_CONNECTION
            answer.silent = not (heard or answer.late or fault.fault.answered)
        except TimeoutError:
            answer.late = True
        return answer

    def _note(self, answer: Answer, row: Tracked, seen: Seen, *, canary: bool) -> None:
        coming = is_on_its_way(row.copy, row.attempt, self._clock.now())
        if seen.look is Look.AGREES:
            answer.there.add(place(row.copy))
        elif seen.whole and seen.look is not Look.REFUSED and canary and not coming:
            answer.absent.add(place(row.copy))

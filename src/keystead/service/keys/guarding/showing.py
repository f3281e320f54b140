"""What servers show of copies as they are going to be reached: by another client certificate, or somewhere else.

What is present has to be read. What was in doubt may pass where it is found after all, or was lost before.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import CLIENT_CERTIFICATE
from keystead.core.keys.model import Presence, copy_id
from keystead.service.keys.guarding.doubts import CopyDoubts
from keystead.service.keys.looking.verify import NOT_IN_TIME, UNREAD, UNSETTLED, CopyVerifier, Proving, VerifyResult
from keystead.service.probing.prober import NO_IDENTITY
from keystead.service.probing.queue import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.guarding import Shown
    from keystead.core.keys.model import AddressId, Copy, CopyId, Key
    from keystead.service.context import Call
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.store import Clock, Store

STAGE: Final = "keys"
"""The stage of a refusal, after those of the probe."""

SERVER: Final = "server"
"""The target of a refusal that is not about the client certificate."""


@dataclass(frozen=True, slots=True)
class Routes:
    """How servers are going to be reached, and how they are reached now.

    ``hopeless`` are the presences of copies that may pass unread where a server is silent as it is reached now: they
    could not be read before either, and whoever changes it can change it back. ``silent`` is who was found so.
    """

    topology: ServerTopology
    reaches: Mapping[AddressId, Endpoint]
    before: Callable[[], Mapping[AddressId, Endpoint]]
    hopeless: Collection[Presence]
    silent: set[AddressId] = field(default_factory=set)


class RelocationCheck:
    """Has them shown."""

    def __init__(self, store: Store, objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._prover = CopyVerifier(objects)
        self._doubts = CopyDoubts(store, objects, endpoints, clock)
        self._endpoints = endpoints

    async def show(
        self,
        call: Call,
        ways: Routes,
        copies: Sequence[tuple[Key, Copy]],
        shown: Shown,
        until: float,
        target: str,
    ) -> None:
        """Read copies as they are going to be reached; raise what the first says that was not shown."""
        found = await self._read(ways, copies, shown.unreached, until)
        for _, copy, outcome in found:
            if outcome.proven:
                shown.read[copy.key].add(copy_id(copy))
        hidden = (copy for _, copy in copies if not shown.covers(copy))
        doubted = [copy for copy in hidden if copy.presence is not Presence.PRESENT]
        if doubted:
            shown.spared.update(await self._spared(ways, doubted, shown.unreached, until, target))
        raise_first(call, [(endpoint, outcome) for endpoint, copy, outcome in found if not shown.covers(copy)], target)

    async def _spared(
        self, ways: Routes, copies: Sequence[Copy], unreached: Collection[AddressId], until: float, target: str
    ) -> set[CopyId]:
        """Of copies that were in doubt, and not read, those that hold nothing up.

        They are found after all as their server is going to be reached; or no address gives them as it is reached now:
        it says that it has them not, and shows its canary, or, of what is hopeless, is silent. Raises 262145 (503) when
        it is for our own want of time that nobody knows.
        """
        reaches = {at: endpoint for at, endpoint in ways.reaches.items() if at not in unreached}
        there = await self._doubts.there(ways.topology, reaches, copies, until)
        left = [copy for copy in copies if copy_id(copy) not in there.copies]
        if not left:
            return there.copies
        try:
            before = ways.before()
        except NO_IDENTITY:
            return there.copies | {copy_id(copy) for copy in left if copy.presence in ways.hopeless}
        gone = await self._doubts.gone(ways.topology, before, left, until, hopeless=ways.hopeless, silent=ways.silent)
        if (there.late or gone.late) and len(gone.copies) < len(left):
            raise no_time(target)
        return there.copies | gone.copies

    async def _read(
        self, ways: Routes, copies: Iterable[tuple[Key, Copy]], unreached: Collection[AddressId], until: float
    ) -> list[tuple[Endpoint, Copy, VerifyResult]]:
        """Read copies as they are going to be reached; what came of each.

        What has no identifier yet is not asked for; nor is who was not reached.
        """
        wanted: dict[AddressId, list[tuple[Key, Copy]]] = defaultdict(list)
        unread = []
        for key, copy in copies:
            where = copy.key_server, copy.host
            if where in unreached or not copy.unique_identifiers:
                unread.append((ways.reaches[where], copy, UNREAD if where in unreached else UNSETTLED))
            else:
                wanted[where].append((key, copy))
        if not wanted:
            return unread
        digest_key = self._endpoints.digest_key(ways.topology)
        provings = {
            where: [Proving(key.uuid, copy.unique_identifiers, key.digest) for key, copy in each]
            for where, each in wanted.items()
        }
        found = await asyncio.gather(
            *(self._prover.prove(ways.reaches[where], digest_key, each, until) for where, each in provings.items())
        )
        return unread + [
            (ways.reaches[where], copy, outcome)
            for where, outcomes in zip(wanted, found, strict=True)
            for (_, copy), outcome in zip(wanted[where], outcomes, strict=True)
        ]

    async def see_canaries(
        self, call: Call, topology: ServerTopology, reaches: Sequence[Endpoint], until: float, target: str
    ) -> None:
        """Raise what the first says of these addresses that does not show its server's canary."""
        digest_key = self._endpoints.digest_key(topology)
        outcomes = await asyncio.gather(
            *(
                self._prover.see_canary(
                    endpoint, topology.profiles[endpoint.key_server], digest_key, until, renumbered=True
                )
                for endpoint in reaches
            )
        )
        raise_first(call, list(zip(reaches, outcomes, strict=True)), target)

    async def answering(
        self, topology: ServerTopology, reaches: Mapping[AddressId, Endpoint], until: float, target: str
    ) -> dict[AddressId, bool]:
        """Whether each of these addresses answers now. Raises 262145 (503) when time is over (loop time)."""
        digest_key = self._endpoints.digest_key(topology)
        asked = (
            self._prover.see_canary(endpoint, topology.profiles[uuid], digest_key, until, fresh=True, anew=True)
            for (uuid, _), endpoint in reaches.items()
        )
        outcomes = await asyncio.gather(*asked)
        if NOT_IN_TIME in outcomes:
            raise no_time(target)
        return {at: outcome.answered for at, outcome in zip(reaches, outcomes, strict=True)}


def no_time(target: str) -> OntapError:
    """The refusal of what could not be found out in time."""
    return OntapError(errors.TOO_BUSY, target=target, retry_after=RETRY_AFTER_S)


def raise_first(call: Call, outcomes: Iterable[tuple[Endpoint, VerifyResult]], target: str) -> None:
    """Raise what the first failure says, if there is one; accounts of SVMs hear the stage, not why."""
    failed = [(endpoint, outcome) for endpoint, outcome in outcomes if not outcome.proven]
    if not failed:
        return
    if any(outcome is NOT_IN_TIME for _, outcome in failed):
        raise no_time(target)
    endpoint, outcome = failed[0]
    answered = errors.CLIENT_CERTIFICATE_REFUSED if target == CLIENT_CERTIFICATE else errors.NETWORK
    arguments = [("server", str(endpoint.server)), ("stage", STAGE)]
    arguments += [] if call.caller.svm else [("reason", outcome.reason)]
    raise OntapError(answered if outcome.answered else errors.NETWORK, target=target, arguments=arguments)

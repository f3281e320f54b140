"""Check what servers show when they are reached in another way: with another certificate, or at another address.

A present copy must be read. A copy in doubt may be passed over if it is found after all, or was lost before.
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
from keystead.service.keys.looking.verify import NOT_IN_TIME, UNREAD, UNSETTLED, CopyVerifier, VerifyResult, WantedCopy
from keystead.service.probing.prober import NO_IDENTITY
from keystead.service.probing.queue import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from keystead.core.keys.guarding import Shown
    from keystead.core.keys.model import AddressId, Copy, CopyId, Key
    from keystead.service.context import Call
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction

STAGE: Final = "keys"
"""The stage of a refusal here; the stages of the probe come before it."""

SERVER: Final = "server"
"""The target of a refusal that is not about the client certificate."""


@dataclass(frozen=True, slots=True)
class Routes:
    """How servers are going to be reached, and how they are reached now (``before``).

    ``hopeless`` are presences of copies that may stay unread if their server is silent as it is reached now. They could
    not be read before either, and the change can be undone. ``silent`` are the addresses that were found to be silent.
    """

    topology: ServerTopology
    reaches: Mapping[AddressId, Endpoint]
    before: Callable[[], Mapping[AddressId, Endpoint]]
    hopeless: Collection[Presence]
    silent: set[AddressId] = field(default_factory=set)


class RelocationCheck:
    """The check that servers show their canaries and copies as they are going to be reached."""

    def __init__(self, store: Store[Transaction], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._verifier = CopyVerifier(objects)
        self._doubts = CopyDoubts(store, objects, endpoints, clock)
        self._endpoints = endpoints

    async def show(
        self,
        call: Call,
        routes: Routes,
        copies: Sequence[tuple[Key, Copy]],
        shown: Shown,
        until: float,
        target: str,
    ) -> None:
        """Read copies as they are going to be reached, and add what was read to ``shown``.

        Raises the error for the first copy that must be shown and was not: see :func:`raise_first`.
        """
        found = await self._read(routes, copies, shown.unreached, until)
        for _, copy, outcome in found:
            if outcome.proven:
                shown.read[copy.key].add(copy_id(copy))
        hidden = (copy for _, copy in copies if not shown.covers(copy))
        doubted = [copy for copy in hidden if copy.presence is not Presence.PRESENT]
        if doubted:
            shown.spared.update(await self._spared(routes, doubted, shown.unreached, until, target))
        raise_first(call, [(endpoint, outcome) for endpoint, copy, outcome in found if not shown.covers(copy)], target)

    async def _spared(
        self, routes: Routes, copies: Sequence[Copy], unreached: Collection[AddressId], until: float, target: str
    ) -> set[CopyId]:
        """Return the copies in doubt, of those not read, that do not prevent the change.

        Such a copy is found after all as its server is going to be reached. Or no address returns it as its server is
        reached now: each denies it and shows its canary. For a ``hopeless`` presence, silence is enough. Raises 262145
        (503) if copies are undecided because time was over.
        """
        endpoints = {at: endpoint for at, endpoint in routes.reaches.items() if at not in unreached}
        there = await self._doubts.there(routes.topology, endpoints, copies, until)
        left = [copy for copy in copies if copy_id(copy) not in there.copies]
        if not left:
            return there.copies
        try:
            before = routes.before()
        except NO_IDENTITY:
            return there.copies | {copy_id(copy) for copy in left if copy.presence in routes.hopeless}
        gone = await self._doubts.gone(
            routes.topology, before, left, until, hopeless=routes.hopeless, silent=routes.silent
        )
        if (there.late or gone.late) and len(gone.copies) < len(left):
            raise no_time(target)
        return there.copies | gone.copies

    async def _read(
        self, routes: Routes, copies: Iterable[tuple[Key, Copy]], unreached: Collection[AddressId], until: float
    ) -> list[tuple[Endpoint, Copy, VerifyResult]]:
        """Read copies as they are going to be reached; return one result for each.

        A copy without an identifier is not asked for, and an unreached address is not asked.
        """
        wanted: dict[AddressId, list[tuple[Key, Copy]]] = defaultdict(list)
        unread = []
        for key, copy in copies:
            where = copy.key_server, copy.host
            if where in unreached or not copy.unique_identifiers:
                unread.append((routes.reaches[where], copy, UNREAD if where in unreached else UNSETTLED))
            else:
                wanted[where].append((key, copy))
        if not wanted:
            return unread
        digest_key = self._endpoints.digest_key(routes.topology)
        provings = {
            where: [WantedCopy(key.uuid, copy.unique_identifiers, key.digest) for key, copy in each]
            for where, each in wanted.items()
        }
        found = await asyncio.gather(
            *(self._verifier.prove(routes.reaches[where], digest_key, each, until) for where, each in provings.items())
        )
        return unread + [
            (routes.reaches[where], copy, outcome)
            for where, outcomes in zip(wanted, found, strict=True)
            for (_, copy), outcome in zip(wanted[where], outcomes, strict=True)
        ]

    async def see_canaries(
        self, call: Call, topology: ServerTopology, endpoints: Sequence[Endpoint], until: float, target: str
    ) -> None:
        """Raise the error for the first of these addresses that does not show its canary."""
        digest_key = self._endpoints.digest_key(topology)
        outcomes = await asyncio.gather(
            *(
                self._verifier.see_canary(
                    endpoint, topology.profiles[endpoint.key_server], digest_key, until, renumbered=True
                )
                for endpoint in endpoints
            )
        )
        raise_first(call, list(zip(endpoints, outcomes, strict=True)), target)

    async def answering(
        self, topology: ServerTopology, endpoints: Mapping[AddressId, Endpoint], until: float, target: str
    ) -> dict[AddressId, bool]:
        """Return for each of these addresses if it answers now, on a new connection.

        Raises 262145 (503) when time (``until``, loop time) is over.
        """
        digest_key = self._endpoints.digest_key(topology)
        asked = (
            self._verifier.see_canary(endpoint, topology.profiles[uuid], digest_key, until, fresh=True, anew=True)
            for (uuid, _), endpoint in endpoints.items()
        )
        outcomes = await asyncio.gather(*asked)
        if NOT_IN_TIME in outcomes:
            raise no_time(target)
        return {at: outcome.answered for at, outcome in zip(endpoints, outcomes, strict=True)}


def no_time(target: str) -> OntapError:
    """Return the error 262145 (503) for a check that could not be made in time."""
    return OntapError(errors.TOO_BUSY, target=target, retry_after=RETRY_AFTER_S)


def raise_first(call: Call, outcomes: Iterable[tuple[Endpoint, VerifyResult]], target: str) -> None:
    """Raise the error for the first failure, if there is one.

    It is 262145 (503) if any result is late. Accounts of SVMs get the stage, but not the reason.
    """
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

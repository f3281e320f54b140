"""Read canaries and copies before a relocation: with a new client certificate, or from a server at its new address.

A present copy must be read. A copy in doubt need not be read if it is found under another identifier, or if it was lost
before the change.
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

    from keystead.core.keys.guarding import ReadCopies
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
    """The endpoints of servers after a change (``endpoints``), and as they are now (``current_endpoints``).

    ``optional_if_silent`` are presences. A copy with such a presence need not be read if the current endpoint of its
    server does not answer. It could not be read before the change either, and the change can be undone. ``silent`` are
    the current addresses that did not answer.
    """

    topology: ServerTopology
    endpoints: Mapping[AddressId, Endpoint]
    current_endpoints: Callable[[], Mapping[AddressId, Endpoint]]
    optional_if_silent: Collection[Presence]
    silent: set[AddressId] = field(default_factory=set)


class RelocationCheck:
    """The check that canaries and copies can be read after a change of certificates or of a server's address."""

    def __init__(self, store: Store[Transaction], objects: KeyObjects, endpoints: Endpoints, clock: Clock) -> None:
        self._verifier = CopyVerifier(objects)
        self._doubts = CopyDoubts(store, objects, endpoints, clock)
        self._endpoints = endpoints

    async def check_copies(
        self,
        call: Call,
        routes: Routes,
        copies: Sequence[tuple[Key, Copy]],
        read_copies: ReadCopies,
        until: float,
        target: str,
    ) -> None:
        """Read copies from their endpoints after the change. Record in ``read_copies`` which copies were read.

        Record there also which unread copies in doubt need not be read. Raises the error for the first copy that must
        be read and was not: see :func:`raise_first`. Called before new certificates, or a moved server, are stored.
        """
        found = await self._read(routes, copies, read_copies.unreached, until)
        for _, copy, outcome in found:
            if outcome.proven:
                read_copies.proven[copy.key].add(copy_id(copy))
        unread = (copy for _, copy in copies if not read_copies.covers(copy))
        in_doubt = [copy for copy in unread if copy.presence is not Presence.PRESENT]
        if in_doubt:
            not_required = await self._not_required(routes, in_doubt, read_copies.unreached, until, target)
            read_copies.not_required.update(not_required)
        failed = [(endpoint, outcome) for endpoint, copy, outcome in found if not read_copies.covers(copy)]
        raise_first(call, failed, target)

    async def _not_required(
        self, routes: Routes, copies: Sequence[Copy], unreached: Collection[AddressId], until: float, target: str
    ) -> set[CopyId]:
        """Return those of the unread copies in doubt that need not be read.

        Such a copy is found at an endpoint after the change, for example under another identifier. Or it is lost
        already: each current endpoint of its server answers that it does not have the copy, and shows the canary. If
        the copy's presence is in ``routes.optional_if_silent``, an endpoint that does not answer counts as well. So
        does a current certificate that cannot be used. Raises 262145 (503) if copies are undecided because time was
        over.
        """
        endpoints = {at: endpoint for at, endpoint in routes.endpoints.items() if at not in unreached}
        present = await self._doubts.present_anywhere(routes.topology, endpoints, copies, until)
        left = [copy for copy in copies if copy_id(copy) not in present.copies]
        if not left:
            return present.copies
        try:
            current = routes.current_endpoints()
        except NO_IDENTITY:
            return present.copies | {copy_id(copy) for copy in left if copy.presence in routes.optional_if_silent}
        lost = await self._doubts.denied_everywhere(
            routes.topology, current, left, until, optional_if_silent=routes.optional_if_silent, silent=routes.silent
        )
        if (present.late or lost.late) and len(lost.copies) < len(left):
            raise no_time(target)
        return present.copies | lost.copies

    async def _read(
        self, routes: Routes, copies: Iterable[tuple[Key, Copy]], unreached: Collection[AddressId], until: float
    ) -> list[tuple[Endpoint, Copy, VerifyResult]]:
        """Read copies from their endpoints after the change; return one result for each, in any order.

        A copy without an identifier is not asked for: its result is :data:`UNSETTLED`. An unreached address is not
        asked: the result is :data:`UNREAD`. Called by each check of copies, see :meth:`check_copies`.
        """
        wanted: dict[AddressId, list[tuple[Key, Copy]]] = defaultdict(list)
        not_asked = []
        for key, copy in copies:
            where = copy.key_server, copy.host
            if where in unreached or not copy.unique_identifiers:
                not_asked.append((routes.endpoints[where], copy, UNREAD if where in unreached else UNSETTLED))
            else:
                wanted[where].append((key, copy))
        if not wanted:
            return not_asked
        digest_key = self._endpoints.digest_key(routes.topology)
        provings = {
            where: [WantedCopy(key.uuid, copy.unique_identifiers, key.digest) for key, copy in each]
            for where, each in wanted.items()
        }
        found = await asyncio.gather(
            *(
                self._verifier.prove(routes.endpoints[where], digest_key, each, until)
                for where, each in provings.items()
            )
        )
        return not_asked + [
            (routes.endpoints[where], copy, outcome)
            for where, outcomes in zip(wanted, found, strict=True)
            for (_, copy), outcome in zip(wanted[where], outcomes, strict=True)
        ]

    async def check_canaries(
        self, call: Call, topology: ServerTopology, endpoints: Sequence[Endpoint], until: float, target: str
    ) -> None:
        """Raise the error for the first of these addresses that does not show its canary: see :func:`raise_first`.

        The canary may have other identifiers than before. ``endpoints`` are those after the change. Called before the
        change is stored, and before copies are read there.
        """
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

        An address that answers without its canary counts as answering. Called with the current certificates, before new
        ones replace them. Raises 262145 (503) when time (``until``, loop time) is over.
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
    """Return the error 262145 (503) for a check that could not be made in time. The caller raises it."""
    return OntapError(errors.TOO_BUSY, target=target, retry_after=RETRY_AFTER_S)


def raise_first(call: Call, outcomes: Iterable[tuple[Endpoint, VerifyResult]], target: str) -> None:
    """Raise the error for the first result that is not proven; return if all are proven.

    It is 262145 (503) if any result is late. It is 66060341 if the server did not answer, or if ``target`` is not the
    client certificate. Else it is 66060339. Accounts of SVMs get the stage, but not the reason.
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

"""Verify copies on one address: read many at a time, and compare digests. Look for the canary there.

This module stores nothing. Material is compared and then dropped. Each copy that is not proven has a reason, which is a
fixed word.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.keys.digests import agrees
from keystead.service.keys.looking import canaries
from keystead.service.ports.objects import NO_FREE_CONNECTION, Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from keystead.core.keys.model import ServerProfile
    from keystead.core.secret import Secret
    from keystead.service.ports.objects import Endpoint, KeyObjects

log = structlog.get_logger(__name__)

COPIES_PER_MESSAGE: Final = 32
"""How many copies are requested in one batch."""

SESSIONS: Final = 4
"""How many connections to one address are used at once, unless the caller says otherwise."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """The result for one copy: ``reason`` is a fixed word, empty for a proven copy.

    ``answered``: the server itself answered. Otherwise the server was not reached, or not in time. ``absent``: the
    server said that the object does not exist, or returned other bytes.
    """

    reason: str = ""
    answered: bool = True
    absent: bool = False

    @property
    def proven(self) -> bool:
        """True if the material was read and agreed."""
        return not self.reason


PROVEN: Final = VerifyResult()
OTHER_MATERIAL: Final = VerifyResult("different_material", absent=True)
NOT_IN_TIME: Final = VerifyResult("not_proven_in_time", answered=False)
UNREAD: Final = VerifyResult("not_readable", answered=False)
"""The result on a server that cannot be asked: it is silent, or a certificate or a password is missing."""
UNSETTLED: Final = VerifyResult("unsettled")
"""The result for a copy of unknown outcome: its identifier is not known."""
NO_CANARY: Final = VerifyResult(canaries.CANARY_NOT_SEEN)


@dataclass(frozen=True, slots=True)
class WantedCopy:
    """Objects that must hold the material of the digest; see :mod:`keystead.core.keys.digests`.

    ``uuid`` is the key's uuid, or for a canary the uuid of its server.
    """

    uuid: str
    unique_identifiers: tuple[str, ...]
    digest: bytes


class CopyVerifier:
    """The reader that compares copies and canaries with their digests."""

    def __init__(self, objects: KeyObjects) -> None:
        self._objects = objects

    async def prove(
        self,
        endpoint: Endpoint,
        digest_key: Secret,
        wanted: Sequence[WantedCopy],
        until: float,
        *,
        sessions: int = SESSIONS,
    ) -> list[VerifyResult]:
        """Verify copies at one address; return one result for each, in order. Nothing is stored.

        ``sessions`` is how many connections are used at once. A copy that is not read by ``until`` (loop time) has the
        result :data:`NOT_IN_TIME`. A fault of the server is a result, too, and is not raised.
        """
        found = [NOT_IN_TIME] * len(wanted)
        batches = iter(range(0, len(wanted), COPIES_PER_MESSAGE))
        workers = min(sessions, -(-len(wanted) // COPIES_PER_MESSAGE))
        try:
            async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._verify_batches(endpoint, digest_key, wanted, batches, found))
        except TimeoutError:
            log.warning("copies not proven in time", address=str(endpoint.server), left=found.count(NOT_IN_TIME))
        return found

    async def see_canary(
        self,
        endpoint: Endpoint,
        profile: ServerProfile,
        digest_key: Secret,
        until: float,
        *,
        renumbered: bool = False,
        fresh: bool = False,
        anew: bool = False,
    ) -> VerifyResult:
        """Look for a server's canary at an address, by ``until`` (loop time). Return :data:`PROVEN` if it is there.

        Return :data:`NO_CANARY` if the server answers without it, and another result if the server does not answer.
        Called before a removal or a relocation, to find out whether an address still is the server that we know.

        The canary is looked for under its identifiers; with ``renumbered`` under its name as well. ``fresh``: the
        connection is new, not from the pool. ``anew``: the address is tried although it failed lately. For both see
        :meth:`keystead.service.ports.objects.KeyObjects.session`.
        """
        try:
            async with (
                asyncio.timeout_at(until),
                self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=fresh, anew=anew) as session,
            ):
                seen = await canaries.find_own_canary(session, profile, digest_key) is canaries.CanarySight.SEEN
                seen = seen or (renumbered and await canaries.shows_canary_of(session, profile, profile, digest_key))
        except KeyServerFault as fault:
            return _result_of_fault(fault)
        except TimeoutError:
            return NOT_IN_TIME
        return PROVEN if seen else NO_CANARY

    async def _verify_batches(
        self,
        endpoint: Endpoint,
        digest_key: Secret,
        wanted: Sequence[WantedCopy],
        batches: Iterator[int],
        found: list[VerifyResult],
    ) -> None:
        """Verify the batches that no other worker has begun. Store the results in ``found``.

        Several workers run at once, and take the places of their batches from ``batches``. A fault of the connection is
        the result for the whole batch. The worker then goes on with the next batch.
        """
        for first in batches:
            part = wanted[first : first + COPIES_PER_MESSAGE]
            try:
                async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                    got = await session.get_many([each.unique_identifiers for each in part])
            except KeyServerFault as fault:
                found[first : first + len(part)] = [_result_of_fault(fault)] * len(part)
                continue
            for index, (each, answer) in enumerate(zip(part, got, strict=True), first):
                found[index] = _compared(each, answer, digest_key)
                if found[index] is OTHER_MATERIAL:
                    log.error("key server returned other material", address=str(endpoint.server))


def _result_of_fault(fault: KeyServerFault) -> VerifyResult:
    """Return the result for a copy or a canary that was not read because of this fault.

    It is :data:`NOT_IN_TIME` if all our connections were in use, because the server is not at fault.
    """
    if fault.reason == NO_FREE_CONNECTION:
        return NOT_IN_TIME
    return VerifyResult(fault.reason, fault.fault.answered, fault.fault is Fault.NOT_FOUND)


def _compared(wanted: WantedCopy, answer: Secret | KeyServerFault, digest_key: Secret) -> VerifyResult:
    """Return the result for one copy: the server's answer, compared with the digest."""
    if isinstance(answer, KeyServerFault):
        return _result_of_fault(answer)
    return PROVEN if agrees(digest_key, wanted.uuid, answer, wanted.digest) else OTHER_MATERIAL

"""Prove copies live: read them from one address, many at a time, and compare digests; and look whether that address
shows its server's canary. It stores nothing.

Material is compared and dropped. What was not proven has a reason, a fixed word.
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
"""Copies that are asked for together."""

SESSIONS: Final = 4
"""Connections to one address that are used at once."""


CANARY_NOT_SEEN: Final = "canary_not_seen"
"""The reason of a server that answers, and does not show the canary that was left there."""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What came of one copy: ``reason`` is a fixed word, empty for a proven one.

    ``answered``: the server itself said so; else it was not reached, or not in time. ``absent``: it said that there is
    no such object, or another one.
    """

    reason: str = ""
    answered: bool = True
    absent: bool = False

    @property
    def proven(self) -> bool:
        """Whether the material was read and agreed."""
        return not self.reason


PROVEN: Final = VerifyResult()
OTHER_MATERIAL: Final = VerifyResult("different_material", absent=True)
NOT_IN_TIME: Final = VerifyResult("not_proven_in_time", answered=False)
UNREAD: Final = VerifyResult("not_readable", answered=False)
"""What comes of a copy on a server that cannot be asked: a certificate or a password is missing, or it is silent."""
UNSETTLED: Final = VerifyResult("unsettled")
"""What comes of a copy of which nobody knows whether it was taken, and under which identifier."""
NO_CANARY: Final = VerifyResult(CANARY_NOT_SEEN)


@dataclass(frozen=True, slots=True)
class Proving:
    """Objects that must hold what the digest was made of, as :mod:`keystead.core.keys.digests` says."""

    uuid: str
    unique_identifiers: tuple[str, ...]
    digest: bytes


class CopyVerifier:
    """Reads and compares."""

    def __init__(self, objects: KeyObjects) -> None:
        self._objects = objects

    async def prove(
        self, endpoint: Endpoint, digest_key: Secret, wanted: Sequence[Proving], until: float
    ) -> list[VerifyResult]:
        """Prove copies at one address until then (loop time); return what came of each, in order."""
        found = [NOT_IN_TIME] * len(wanted)
        batches = iter(range(0, len(wanted), COPIES_PER_MESSAGE))
        workers = min(SESSIONS, -(-len(wanted) // COPIES_PER_MESSAGE))
        try:
            async with asyncio.timeout_at(until), asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(self._work(endpoint, digest_key, wanted, batches, found))
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
        """Look for a server's canary at an address until then (loop time): under its identifier, or ``renumbered``."""
        try:
            async with (
                asyncio.timeout_at(until),
                self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s, fresh=fresh, anew=anew) as session,
            ):
                seen = await canaries.sight(session, profile, digest_key) is canaries.Sight.SEEN
                seen = seen or (renumbered and await canaries.sees(session, profile, profile, digest_key))
        except KeyServerFault as fault:
            return _failed(fault)
        except TimeoutError:
            return NOT_IN_TIME
        return PROVEN if seen else NO_CANARY

    async def _work(
        self,
        endpoint: Endpoint,
        digest_key: Secret,
        wanted: Sequence[Proving],
        batches: Iterator[int],
        found: list[VerifyResult],
    ) -> None:
        """Prove batches that nobody has begun. A connection that fails ends it: the others go on, or fail as well."""
        for first in batches:
            part = wanted[first : first + COPIES_PER_MESSAGE]
            try:
                async with self._objects.session(endpoint, timeout_s=endpoint.target.timeout_s) as session:
                    got = await session.get_many([each.unique_identifiers for each in part])
            except KeyServerFault as fault:
                found[first : first + len(part)] = [_failed(fault)] * len(part)
                continue
            for index, (each, answer) in enumerate(zip(part, got, strict=True), first):
                found[index] = _outcome(each, answer, digest_key)
                if found[index] is OTHER_MATERIAL:
                    log.error("key server returned other material", address=str(endpoint.server))


def _failed(fault: KeyServerFault) -> VerifyResult:
    if fault.reason == NO_FREE_CONNECTION:
        return NOT_IN_TIME
    return VerifyResult(fault.reason, fault.fault.answered, fault.fault is Fault.NOT_FOUND)


def _outcome(wanted: Proving, answer: Secret | KeyServerFault, digest_key: Secret) -> VerifyResult:
    if isinstance(answer, KeyServerFault):
        return _failed(answer)
    return PROVEN if agrees(digest_key, wanted.uuid, answer, wanted.digest) else OTHER_MATERIAL

"""Write the copies of a key to its key servers, read each copy back, and record what is known of each.

One :class:`AttemptCopies` does the work of one attempt. The attempt's intent and the rows of its copies are stored
before. This module decides nothing: :mod:`keystead.service.keys.writing.create` counts the copies.

Register is never repeated on an address. A secondary gets the key if nothing was sent to an earlier address of the same
server. Otherwise the secondary gets the key only if Locate does not find the attempt's object there.

Material is sent, compared by its digest, and dropped after the attempt.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import structlog

from keystead.core.keys import digests, names
from keystead.core.keys.destroying import ACTIVE
from keystead.core.keys.model import Copy, KeyForm, Presence
from keystead.core.keys.writing import SETTLED, UNSETTLED
from keystead.core.secret import Secret
from keystead.service.keys.looking.canaries import CANARY_NOT_SEEN, shows_own_canary
from keystead.service.ports.objects import Fault, KeyServerFault
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from keystead.core.keys.model import Attempt, Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects, ObjectSession
    from keystead.service.ports.process import Clock

    _Step = Callable[[ObjectSession, Endpoint], Awaitable[None]]

log = structlog.get_logger(__name__)

IMMEDIATE_S = 1.0
"""Seconds for an address with a ``create_remove_timeout`` of 0, which means "fail at once"."""

DIFFERENT, EXPIRED, NO_ANSWER, OVERTAKEN = "different_material", "attempt_expired", "no_answer", "attempt_ended"
"""Reasons why a server has no proven copy. ``attempt_ended``: another process has ended the attempt."""


@dataclass(frozen=True, slots=True)
class Target:
    """A key server to write to. ``endpoints`` are those of its addresses, the primary first.

    Writing to one address may take ``limit_s`` seconds.
    """

    server: KeyServer
    profile: ServerProfile
    endpoints: tuple[Endpoint, ...]
    limit_s: float


@dataclass(frozen=True)
class Writing:
    """The data that one attempt writes: the key, its material and the target servers.

    ``topology`` and ``targets`` are as the intent's transaction saw them. ``digest_key`` is the key of the key's
    digest. ``descriptor`` is written for each copy; None means no descriptor.
    """

    key: Key
    attempt: Attempt
    material: Secret = field(repr=False)
    digest_key: Secret = field(repr=False)
    topology: ServerTopology
    targets: tuple[Target, ...]
    descriptor: bytes | None = None


def limit_s(server: KeyServer, most_s: float) -> float:
    """Return how many seconds writing to one address of a server may take, at most ``most_s``.

    The time is the server's ``create_remove_timeout``: -1 means ``most_s``, and 0 means :data:`IMMEDIATE_S`. Called
    when an attempt chooses its targets.
    """
    return min({-1: most_s, 0: IMMEDIATE_S}.get(server.create_remove_timeout, server.create_remove_timeout), most_s)


class AttemptCopies:
    """The copies of one attempt while they are written.

    ``copies`` and ``reasons`` (by server) show the progress at any time. ``had`` are servers that already had the
    object when Register was sent. They replicate with another server that was sent the object. ``announce`` stores the
    row of a copy before a secondary gets that copy. It returns False if the attempt is no longer pending.
    """

    def __init__(
        self, writing: Writing, objects: KeyObjects, clock: Clock, announce: Callable[[Copy], Awaitable[bool]]
    ) -> None:
        self.writing = writing
        self.reasons: dict[str, str] = {}
        self.had: set[str] = set()
        self._objects = objects
        self._clock = clock
        self._announce = announce
        key, number = writing.key.uuid, writing.attempt.number
        self._copies = {
            (target.server.uuid, ""): Copy(key, number, target.server.uuid, Presence.MISSING)
            for target in writing.targets
        }

    @property
    def copies(self) -> list[Copy]:
        """The copies with stored rows, as they are known now."""
        return list(self._copies.values())

    async def write(self, until: float, grace_s: float, enough: Callable[[], bool], stopping: asyncio.Event) -> None:
        """Write to all targets at once, until all are done, ``until`` (loop time), or a stop of the service.

        Called once, after the intent is stored. The results are in ``copies`` and ``reasons``. After ``enough`` returns
        True, the unfinished targets have ``grace_s`` seconds more. So a slow or dead server delays the caller only by
        that time. A healthy server gets its copy in this attempt.
        """
        tasks = {asyncio.create_task(self._write(target)) for target in self.writing.targets}
        await _wait_for(tasks, until, grace_s, enough, stopping)
        present = {copy.key_server for copy in self.copies if copy.presence is Presence.PRESENT}
        for target in self.writing.targets:
            if target.server.uuid not in present:
                self.reasons.setdefault(target.server.uuid, NO_ANSWER)

    async def finish(self, until: float, stopping: asyncio.Event) -> None:
        """Activate every proven copy and write its descriptor, all at once.

        Called once, after the attempt is committed. End at ``until`` (loop time) or at a stop of the service. Steps
        that are not done then are cancelled; the keeper makes them later. Never raise. A copy that fails does not delay
        another copy.
        """
        tasks = {
            asyncio.create_task(self._finish(target, endpoint, step))
            for target in self.writing.targets
            for endpoint in target.endpoints
            if self._is_present(endpoint)
            for step in self._steps(target)
        }
        await _wait_for(tasks, until, grace_s=0.0, enough=lambda: False, stopping=stopping)

    # --- one server ---

    async def _write(self, target: Target) -> None:
        """Write to the primary; if that fails, write to the secondaries in order.

        Stop at the first address that returns a copy, even a different one.
        """
        sent = False
        for endpoint in target.endpoints:
            if not await self._may_begin(endpoint):
                return
            try:
                async with asyncio.timeout(target.limit_s):
                    await self._write_at(target, endpoint, look_first=sent)
            except KeyServerFault as fault:
                self.reasons[endpoint.key_server] = fault.reason
                sent = sent or fault.fault is not Fault.UNREACHABLE
            except TimeoutError:
                self.reasons[endpoint.key_server] = NO_ANSWER
            presence = self._copies[endpoint.key_server, endpoint.host].presence
            if presence in SETTLED:
                return
            sent = sent or presence in UNSETTLED

    async def _may_begin(self, endpoint: Endpoint) -> bool:
        """Return True if the attempt may write to this address now: it must not have expired.

        For a secondary, the attempt must also be pending, and the copy's row is stored first. The row must exist before
        anything is sent, so it says ``sent``. Here the copy is ``missing`` until Register is sent. If the row cannot be
        stored, return False.
        """
        if self._clock.now() >= self.writing.attempt.expires:
            self.reasons[endpoint.key_server] = EXPIRED
            return False
        if not endpoint.host:
            return True
        row = Copy(
            self.writing.key.uuid, self.writing.attempt.number, endpoint.key_server, Presence.SENT, host=endpoint.host
        )
        try:
            pending = await self._announce(row)
        except StoreError as failure:
            log.warning("secondary not tried", address=str(endpoint.server), why=str(failure))
            return False
        if not pending:
            self.reasons[endpoint.key_server] = OVERTAKEN
            return False
        self._copies[endpoint.key_server, endpoint.host] = replace(row, presence=Presence.MISSING)
        return True

    async def _write_at(self, target: Target, endpoint: Endpoint, *, look_first: bool) -> None:
        """Write a copy at one address and verify it. With ``look_first``, look there for the attempt's object first.

        Nothing is sent unless the address shows the server's canary on this very connection: another machine there may
        have a certificate that we trust.

        If the outcome of a write is unknown, look for the object once, on another connection.
        """
        try:
            async with self._objects.session(endpoint, timeout_s=target.limit_s) as session:
                if look_first and await self._verify_existing(session, target, endpoint):
                    return
                if not await shows_own_canary(session, target.profile, self.writing.digest_key):
                    raise KeyServerFault(Fault.UNREACHABLE, CANARY_NOT_SEEN)
                material = await self._register(session, target, endpoint)
                await self._verify(session, endpoint, material)
        except KeyServerFault:
            if self._copies[endpoint.key_server, endpoint.host].presence not in UNSETTLED:
                raise
            async with self._objects.session(endpoint, timeout_s=target.limit_s, fresh=True) as session:
                if not await self._verify_existing(session, target, endpoint):
                    raise

    async def _register(self, session: ObjectSession, target: Target, endpoint: Endpoint) -> Secret | None:
        """Register the attempt's object. Return the material if the answer to Register has it, else None.

        Raise KeyServerFault if the server refuses or does not answer. The copy is then ``missing``, or stays ``sent``
        if the object may be there.
        """
        writing = self.writing
        information = writing.key.key_id if target.profile.application_information else None
        new = str(names.object_name(writing.attempt)), writing.material, target.profile.form
        self._note(endpoint, presence=Presence.SENT)
        try:
            if target.profile.batches and target.profile.locate_by_name:
                ids, returned = await session.register_and_get(*new, application_information=information)
            else:
                ids, returned = await session.register(*new, application_information=information), None
        except KeyServerFault as fault:
            if fault.fault is Fault.EXISTS:
                self.had.add(endpoint.key_server)
            elif fault.fault is not Fault.UNANSWERED:
                self._note(endpoint, presence=Presence.MISSING)
            raise
        self._note(endpoint, presence=Presence.UNKNOWN, unique_identifiers=ids, written=self._clock.now())
        return returned

    async def _verify_existing(self, session: ObjectSession, target: Target, endpoint: Endpoint) -> bool:
        """Look for this attempt's object at an address and verify it. Return False if there is none."""
        ids = self._copies[endpoint.key_server, endpoint.host].unique_identifiers or await self._locate(session, target)
        if not ids:
            return False
        self._note(endpoint, presence=Presence.UNKNOWN, unique_identifiers=ids)
        await self._verify(session, endpoint)
        return True

    async def _locate(self, session: ObjectSession, target: Target) -> tuple[str, ...]:
        """Return the identifiers of the objects under the attempt's name; none unless all parts are there."""
        name = names.object_name(self.writing.attempt)
        others = {id_ for copy in self.copies for id_ in copy.unique_identifiers}
        found = []
        for part in names.parts(name, target.profile.form):
            ids = await session.locate(part)
            if not ids:
                return ()
            # Prefer an identifier that no other copy has, because servers that replicate have each other's objects.
            found.append(min(ids, key=lambda id_: id_ in others))
        return tuple(found)

    async def _verify(self, session: ObjectSession, endpoint: Endpoint, returned: Secret | None = None) -> None:
        """Compare the server's material with the digest. Note the copy as present or different.

        Called after Register, and for an object that was found. ``returned`` is material that came with the answer to
        Register. Unless it agrees, the object is read. Raises KeyServerFault.
        """
        if returned is None or not self._agrees(returned):
            returned = await session.get(self._copies[endpoint.key_server, endpoint.host].unique_identifiers)
        if self._agrees(returned):
            self._note(endpoint, presence=Presence.PRESENT, proven=self._clock.now())
            self.reasons.pop(endpoint.key_server, None)
        else:
            self._note(endpoint, presence=Presence.DIFFERENT)
            self.reasons[endpoint.key_server] = DIFFERENT
            log.error("key server returned other material", address=str(endpoint.server))

    def _agrees(self, material: Secret) -> bool:
        """Return True if material that a server returned has the digest of the key."""
        writing = self.writing
        return digests.agrees(writing.digest_key, writing.key.uuid, material, writing.key.digest)

    def _is_present(self, endpoint: Endpoint) -> bool:
        """Return True if the copy at this address was proven. After the commit, such copies are activated."""
        copy = self._copies.get((endpoint.key_server, endpoint.host))
        return copy is not None and copy.presence is Presence.PRESENT

    def _steps(self, target: Target) -> Iterator[_Step]:
        """Yield the steps that finish a copy. Only a server that stores keys as Secret Data can hold a descriptor."""
        if target.profile.activates:
            yield self._activate
        if self.writing.descriptor is not None and target.profile.form is KeyForm.SECRET_DATA:
            yield partial(self._describe, Secret(self.writing.descriptor))

    async def _finish(self, target: Target, endpoint: Endpoint, step: _Step) -> None:
        """Activate or describe a copy (``step``), on a connection of its own. Called after the commit.

        A failure is only logged: in a later round, the keeper finds what is not done.
        """
        try:
            async with self._objects.session(endpoint, timeout_s=target.limit_s) as session:
                await step(session, endpoint)
        except KeyServerFault as fault:
            log.warning("copy not activated or described", address=str(endpoint.server), why=fault.reason)

    async def _activate(self, session: ObjectSession, endpoint: Endpoint) -> None:
        """Activate each object of a copy, and note that it is Active. Raise KeyServerFault if that fails."""
        for id_ in self._copies[endpoint.key_server, endpoint.host].unique_identifiers:
            await session.activate(id_)
        self._note(endpoint, object_state=ACTIVE)

    async def _describe(self, descriptor: Secret, session: ObjectSession, endpoint: Endpoint) -> None:
        """Write the descriptor of a copy, and note its identifier. Raise KeyServerFault if that fails."""
        name = str(names.object_name(self.writing.attempt, names.ObjectKind.DESCRIPTOR))
        (id_,) = await session.register(name, descriptor, KeyForm.SECRET_DATA, application_information=None)
        self._note(endpoint, descriptor=id_)

    def _note(self, endpoint: Endpoint, **values: object) -> None:
        """Change what is known of the copy at this address. Nothing is stored in the database yet."""
        place = endpoint.key_server, endpoint.host
        self._copies[place] = replace(self._copies[place], **values)  # type: ignore[arg-type]


async def _wait_for(
    tasks: Collection[asyncio.Task[None]],
    until: float,
    grace_s: float,
    enough: Callable[[], bool],
    stopping: asyncio.Event,
) -> None:
    """Wait until the tasks are done, until ``until`` (loop time), or until ``stopping`` is set.

    After ``enough`` returns True, wait at most ``grace_s`` seconds more. Then cancel the tasks that are not done.
    """
    now = asyncio.get_running_loop().time
    under_way = set(tasks)
    stop = asyncio.create_task(stopping.wait())
    try:
        while under_way:
            done, _ = await asyncio.wait(
                {*under_way, stop}, timeout=max(until - now(), 0), return_when=asyncio.FIRST_COMPLETED
            )
            if not done or stop in done:
                break
            under_way -= done
            if enough():
                until = min(until, now() + grace_s)
    finally:
        for task in {*under_way, stop}:
            task.cancel()
        await asyncio.gather(*tasks, stop, return_exceptions=True)
    for task in tasks:
        failure = None if task.cancelled() else task.exception()
        if failure is not None:  # only its type, because its text might quote key material
            log.error("copying failed unexpectedly", why=type(failure).__name__)

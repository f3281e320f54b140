"""Bring copies of a key to its key servers, read each of them back, and say what became of every one.

One :class:`AttemptCopies` is the work of one attempt, whose intent and whose copies' rows are stored before it begins.
It decides nothing: :mod:`keystead.service.keys.writing.create` counts. Register is never repeated on an address; a
secondary stands in for its primary if nothing was sent to that, or if Locate says that the attempt's object is not on
the secondary. Material is sent, compared by its digest, and never kept after the attempt.
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
from keystead.service.ports.objects import Fault, KeyServerFault
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from keystead.core.keys.model import Attempt, Key, ServerProfile
    from keystead.core.model import KeyServer
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.objects import Endpoint, KeyObjects, ObjectSession
    from keystead.service.ports.store import Clock

    _Step = Callable[[ObjectSession, Endpoint], Awaitable[None]]

log = structlog.get_logger(__name__)

IMMEDIATE_S = 1.0
"""How long an address has whose ``create_remove_timeout`` is 0 ("fail at once")."""

DIFFERENT, EXPIRED, NO_ANSWER, OVERTAKEN = "different_material", "attempt_expired", "no_answer", "attempt_ended"


@dataclass(frozen=True, slots=True)
class Target:
    """A key server to write to: its addresses, the primary first, each of which has ``limit_s`` seconds."""

    server: KeyServer
    profile: ServerProfile
    reaches: tuple[Endpoint, ...]
    limit_s: float


@dataclass(frozen=True)
class Writing:
    """What one attempt writes: the key, its material and its digest's key, and where, as the intent's transaction saw
    it. ``descriptor`` is what is written beside each copy, None for nothing.
    """

    key: Key
    attempt: Attempt
    material: Secret = field(repr=False)
    digest_key: Secret = field(repr=False)
    topology: ServerTopology
    targets: tuple[Target, ...]
    descriptor: bytes | None = None


def limit_s(server: KeyServer, most_s: float) -> float:
    """How long writing to one address of a server may take: its ``create_remove_timeout``, in seconds."""
    return min({-1: most_s, 0: IMMEDIATE_S}.get(server.create_remove_timeout, server.create_remove_timeout), most_s)


class AttemptCopies:
    """Writes the copies of one attempt. ``copies`` and ``reasons`` (by server) say at any time how far it has come.

    ``had`` are servers that had the object before they took it: they replicate with another that was sent it.
    ``announce`` stores the row of a copy that a secondary is about to get, and says whether the attempt still stands.
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
        """The copies whose rows are stored, as they are known now."""
        return list(self._copies.values())

    async def write(self, until: float, grace_s: float, enough: Callable[[], bool], stopping: asyncio.Event) -> None:
        """Write to all targets at once, until all are done, ``until`` (loop time), or a stop of the service.

        Once there are ``enough``, what is still under way has ``grace_s`` seconds more: a slow or dead server costs
        the caller no more than that, and a server that is well has its copy from the beginning.
        """
        tasks = {asyncio.create_task(self._write(target)) for target in self.writing.targets}
        await _until(tasks, until, grace_s, enough, stopping)
        present = {copy.key_server for copy in self.copies if copy.presence is Presence.PRESENT}
        for target in self.writing.targets:
            if target.server.uuid not in present:
                self.reasons.setdefault(target.server.uuid, NO_ANSWER)

    async def finish(self, until: float, stopping: asyncio.Event) -> None:
        """Activate every proven copy and write its descriptor, all at once and as far as it goes until then.

        Never raises; one that fails holds up no other.
        """
        tasks = {
            asyncio.create_task(self._finish(target, endpoint, step))
            for target in self.writing.targets
            for endpoint in target.reaches
            if self._is_present(endpoint)
            for step in self._steps(target)
        }
        await _until(tasks, until, 0.0, lambda: False, stopping)

    # --- one server ---

    async def _write(self, target: Target) -> None:
        """Write to the primary, else to the first secondary that may stand in for it and takes the key."""
        sent = False
        for endpoint in target.reaches:
            if not await self._may_begin(endpoint):
                return
            try:
                async with asyncio.timeout(target.limit_s):
                    await self._place(target, endpoint, look_first=sent)
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
        """Whether the attempt still stands; a row must say that something may be sent to a secondary, before it is."""
        if self._clock.now() >= self.writing.attempt.expires:
            self.reasons[endpoint.key_server] = EXPIRED
            return False
        if not endpoint.host:
            return True
        row = Copy(
            self.writing.key.uuid, self.writing.attempt.number, endpoint.key_server, Presence.SENT, host=endpoint.host
        )
        try:
            stands = await self._announce(row)
        except StoreError as failure:
            log.warning("secondary not tried", address=str(endpoint.server), why=str(failure))
            return False
        if not stands:
            self.reasons[endpoint.key_server] = OVERTAKEN
            return False
        self._copies[endpoint.key_server, endpoint.host] = replace(row, presence=Presence.MISSING)
        return True

    async def _place(self, target: Target, endpoint: Endpoint, *, look_first: bool) -> None:
        """Have a proven copy at one address. What stays unknown there is looked for once, on another connection."""
        try:
            async with self._objects.session(endpoint, timeout_s=target.limit_s) as session:
                if look_first and await self._found(session, target, endpoint):
                    return
                material = await self._register(session, target, endpoint)
                await self._prove(session, endpoint, material)
        except KeyServerFault:
            if self._copies[endpoint.key_server, endpoint.host].presence not in UNSETTLED:
                raise
            async with self._objects.session(endpoint, timeout_s=target.limit_s, fresh=True) as session:
                if not await self._found(session, target, endpoint):
                    raise

    async def _register(self, session: ObjectSession, target: Target, endpoint: Endpoint) -> Secret | None:
        """Register the attempt's object; return what was read back in the same message, if anything was."""
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

    async def _found(self, session: ObjectSession, target: Target, endpoint: Endpoint) -> bool:
        """Prove what this attempt has left at an address; False when nothing is there."""
        ids = self._copies[endpoint.key_server, endpoint.host].unique_identifiers or await self._located(
            session, target
        )
        if not ids:
            return False
        self._note(endpoint, presence=Presence.UNKNOWN, unique_identifiers=ids)
        await self._prove(session, endpoint)
        return True

    async def _located(self, session: ObjectSession, target: Target) -> tuple[str, ...]:
        """The objects under the attempt's name, none unless all parts are there."""
        name = names.object_name(self.writing.attempt)
        others = {id_ for copy in self.copies for id_ in copy.unique_identifiers}
        found = []
        for part in names.parts(name, target.profile.form):
            ids = await session.locate(part)
            if not ids:
                return ()
            # Of several, one that no other copy accounts for: servers that replicate have each other's.
            found.append(min(ids, key=lambda id_: id_ in others))
        return tuple(found)

    async def _prove(self, session: ObjectSession, endpoint: Endpoint, returned: Secret | None = None) -> None:
        """Compare what the server returns with what was sent; it is asked for unless that was ``returned`` already."""
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
        writing = self.writing
        return digests.agrees(writing.digest_key, writing.key.uuid, material, writing.key.digest)

    def _is_present(self, endpoint: Endpoint) -> bool:
        copy = self._copies.get((endpoint.key_server, endpoint.host))
        return copy is not None and copy.presence is Presence.PRESENT

    def _steps(self, target: Target) -> Iterator[_Step]:
        """What is left to be done with a copy. Only Secret Data can hold a descriptor."""
        if target.profile.activates:
            yield self._activate
        if self.writing.descriptor is not None and target.profile.form is KeyForm.SECRET_DATA:
            yield partial(self._describe, Secret(self.writing.descriptor))

    async def _finish(self, target: Target, endpoint: Endpoint, step: _Step) -> None:
        """Take one step, on a connection of its own; what fails is left to the keeper."""
        try:
            async with self._objects.session(endpoint, timeout_s=target.limit_s) as session:
                await step(session, endpoint)
        except KeyServerFault as fault:
            log.warning("copy not finished yet", address=str(endpoint.server), why=fault.reason)

    async def _activate(self, session: ObjectSession, endpoint: Endpoint) -> None:
        for id_ in self._copies[endpoint.key_server, endpoint.host].unique_identifiers:
            await session.activate(id_)
        self._note(endpoint, object_state=ACTIVE)

    async def _describe(self, descriptor: Secret, session: ObjectSession, endpoint: Endpoint) -> None:
        """Write the descriptor beside a copy."""
        name = str(names.object_name(self.writing.attempt, names.ObjectKind.DESCRIPTOR))
        (id_,) = await session.register(name, descriptor, KeyForm.SECRET_DATA, application_information=None)
        self._note(endpoint, descriptor=id_)

    def _note(self, endpoint: Endpoint, **values: object) -> None:
        place = endpoint.key_server, endpoint.host
        self._copies[place] = replace(self._copies[place], **values)  # type: ignore[arg-type]


async def _until(
    tasks: Collection[asyncio.Task[None]],
    until: float,
    grace_s: float,
    enough: Callable[[], bool],
    stopping: asyncio.Event,
) -> None:
    """Wait for tasks as :meth:`AttemptCopies.write` says; those that are not done by then are cancelled."""
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
        if failure is not None:  # its text might quote what it was about
            log.error("copying failed unexpectedly", why=type(failure).__name__)

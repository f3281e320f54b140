"""What all attempts have in common as work: a durable beginning, copying, activation, and an end of their own.

Work that was begun is done to its end whether or not its caller waits; a stop of the service ends the waiting for
servers, not the work. It decides nothing about keys: that is :mod:`keystead.service.keys.writing.create`.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, cast

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import Purpose
from keystead.core.keys.writing import fits
from keystead.service.keys import attempts as key_attempts
from keystead.service.keys.writing.copies import AttemptCopies, Target, Writing, limit_s
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from keystead.core.keys.model import Attempt, Copy, Key
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.keys.topology import Endpoints, ServerTopology
    from keystead.service.ports.objects import KeyObjects
    from keystead.service.ports.store import Clock, Store, Transaction

    Describe = Callable[[Key, Attempt, ServerTopology], bytes | None]

log = structlog.get_logger(__name__)
T = TypeVar("T")

COPYING_S: Final = 34.0
"""How long all copies of an attempt may take; with what comes after it a call ends within its 40 s."""

FINISHING_S: Final = 3.0
"""How long activation may hold up an answer; the keeper does what was not done."""

UNDER_WAY: Final = 256
"""Attempts of a purpose at once, on this node: creations take no place of the keeper's copies."""

RETRY_AFTER_S: Final = 5

NOT_REACHED: Final = "not_reached"
NOT_TAKEN: Final = "key_length_not_supported"
"""Why nothing was sent to a server: what it can do is not known yet, or it cannot keep a key of this length."""


class AttemptRunner:
    """The attempts of one process. ``describe`` makes what is written beside each copy, None for nothing."""

    def __init__(
        self, store: Store, objects: KeyObjects, endpoints: Endpoints, clock: Clock, node: str, describe: Describe
    ) -> None:
        self._store = store
        self._objects = objects
        self._endpoints = endpoints
        self._clock = clock
        self._node = node
        self._describe = describe
        self._under_way: set[asyncio.Task[object]] = set()
        self._topology: dict[Purpose, Counter[str]] = {purpose: Counter() for purpose in Purpose}  # by key manager
        self.stopping = asyncio.Event()

    # --- as tasks ---

    async def run(self, work: Coroutine[object, object, T], purpose: Purpose, key_manager: str) -> T:
        """Do work to its end, whether or not the caller waits for it. Raises 262145 (503) when there is no place.

        A key manager has at most as many places as it leaves free: one whose servers are slow leaves others some.
        """
        taken = self._topology[purpose]
        if self.stopping.is_set() or taken[key_manager] >= UNDER_WAY - taken.total():
            work.close()
            raise self.unavailable()
        task = asyncio.get_running_loop().create_task(work)
        self._under_way.add(cast("asyncio.Task[object]", task))
        taken[key_manager] += 1
        task.add_done_callback(partial(self._ended, taken, key_manager))
        return await asyncio.shield(task)

    def _ended(self, taken: Counter[str], key_manager: str, task: asyncio.Task[T]) -> None:
        self._under_way.discard(cast("asyncio.Task[object]", task))
        taken[key_manager] -= 1
        if not taken[key_manager]:
            del taken[key_manager]
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, OntapError):  # a caller that went away does not hear of it
            log.warning("an attempt is left to be settled", why=type(failure).__name__)

    def unavailable(self) -> OntapError:
        """What a caller hears who may come again."""
        kind = errors.SHUTTING_DOWN if self.stopping.is_set() else errors.TOO_BUSY
        return OntapError(kind, retry_after=RETRY_AFTER_S)

    async def close(self) -> None:
        """Stop, and wait until what is under way has ended: within seconds."""
        self.stopping.set()
        if self._under_way:
            await asyncio.wait(self._under_way)

    # --- as attempts ---

    def targets(self, topology: ServerTopology, servers: Sequence[KeyServer], length: int) -> tuple[Target, ...]:
        """How to reach those servers that can be sent a key of this length. Raises as :class:`Endpoints` does."""
        identity = self._endpoints.identity(topology)
        without = unusable(topology, length)
        return tuple(
            Target(
                server,
                topology.profiles[server.uuid],
                tuple(self._endpoints.each(server, identity)),
                limit_s(server, COPYING_S),
            )
            for server in servers
            if server.uuid not in without
        )

    def begin(
        self,
        tx: Transaction,
        key: Key,
        number: int,
        purpose: Purpose,
        material: Secret,
        topology: ServerTopology,
        targets: tuple[Target, ...],
    ) -> Writing:
        """Store an attempt's intent; return what it writes once that is committed."""
        servers = [target.server.uuid for target in targets]
        attempt = key_attempts.begin(tx, key, number, purpose, topology, servers, self._node, self._clock.now())
        descriptor = self._describe(key, attempt, topology)
        return Writing(key, attempt, material, self._endpoints.digest_key(topology), topology, targets, descriptor)

    def copying(self, writing: Writing) -> AttemptCopies:
        """The copying of an attempt; what it adds to its intent is durable before it is sent."""

        async def announce(copy: Copy) -> bool:
            return await self._store.write(lambda tx: key_attempts.announce(tx, writing.attempt, copy))

        return AttemptCopies(writing, self._objects, self._clock, announce)

    async def finish(self, writing: Writing, copying: AttemptCopies) -> None:
        """Activate, and note it. The attempt is committed: nothing that fails here changes the answer."""
        await copying.finish(asyncio.get_running_loop().time() + FINISHING_S, self.stopping)
        try:
            await self._store.write(lambda tx: key_attempts.note_states(tx, writing.key, copying.copies))
        except StoreError as failure:
            log.warning("activation not noted", key=writing.key.key_id, why=str(failure))


def unusable(topology: ServerTopology, length: int) -> dict[str, str]:
    """The servers (uuids) to which a key of this length is not sent, and why."""
    profiles = {server.uuid: topology.profiles.get(server.uuid) for server in topology.servers}
    return {
        uuid: NOT_TAKEN if profile else NOT_REACHED
        for uuid, profile in profiles.items()
        if profile is None or not fits(profile.form, length)
    }

"""The work that all attempts share: the stored intent, the copying, the activation and the end.

An attempt runs to its end even if its caller is cancelled. A stop of the service ends the waiting for key servers, but
not the attempt. This module decides nothing about keys: :mod:`keystead.service.keys.writing.create` does.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import structlog

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import Purpose
from keystead.core.keys.writing import fits
from keystead.service.keys import attempts as key_attempts
from keystead.service.keys.writing.copies import AttemptCopies, Target, Writing, limit_s
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, ReceiptRows, TopologyRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from keystead.core.keys.model import Attempt, Copy, Key
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.service.keys.context import KeeperContext
    from keystead.service.keys.topology import ServerTopology

    Describe = Callable[[Key, Attempt, ServerTopology], bytes | None]

log = structlog.get_logger(__name__)
T = TypeVar("T")

COPYING_S: Final = 34.0
"""Seconds that all copies of an attempt may take. So a call ends within its 40 s, the later steps included."""

FINISHING_S: Final = 3.0
"""Seconds that activation and descriptors may delay an answer. The keeper does the rest later."""

SLOTS: Final = 256
"""How many attempts this node runs at a time, for each purpose. So creations use no slot of the keeper's copies."""

RETRY_AFTER_S: Final = 5

NOT_REACHED: Final = "not_reached"
LENGTH_NOT_SUPPORTED: Final = "key_length_not_supported"
"""Why nothing was sent to a server: it is not learned yet, or it cannot store a key of this length."""


class Rows(TopologyRows, KeyManagerRows, KeyRows, AttemptRows, CopyRows, ReceiptRows, Protocol):
    """The rows that this module reads and writes."""


class AttemptRunner:
    """The attempts of one process. ``describe`` returns the descriptor of an attempt's copies, None for none."""

    def __init__(self, context: KeeperContext, describe: Describe) -> None:
        self._context = context
        self._describe = describe
        self._running: set[asyncio.Task[object]] = set()
        self._slots: dict[Purpose, Counter[str]] = {purpose: Counter() for purpose in Purpose}  # by key manager
        self.stopping = asyncio.Event()

    # --- tasks ---

    async def run(self, work: Coroutine[object, object, T], purpose: Purpose, key_manager: str) -> T:
        """Run ``work`` to its end and return its result. It runs on if the caller is cancelled.

        Raise 262145 (503) during a stop, or if the key manager gets no slot of this ``purpose``. It gets one only while
        it uses fewer slots than are free: at most half of them. So a key manager with slow servers leaves slots for
        other key managers. Called for each creation of a key, and for each copy that the keeper writes.
        """
        used = self._slots[purpose]
        free = SLOTS - used.total()
        if self.stopping.is_set() or used[key_manager] >= free:
            work.close()
            raise self.unavailable()
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(cast("asyncio.Task[object]", task))
        used[key_manager] += 1
        task.add_done_callback(partial(self._ended, used, key_manager))
        return await asyncio.shield(task)

    def _ended(self, used: Counter[str], key_manager: str, task: asyncio.Task[T]) -> None:
        """Release the slot of a work that has ended. Log its failure, unless it is an OntapError."""
        self._running.discard(cast("asyncio.Task[object]", task))
        used[key_manager] -= 1
        if not used[key_manager]:
            del used[key_manager]
        failure = None if task.cancelled() else task.exception()
        if failure is not None and not isinstance(failure, OntapError):  # logged, because its caller may be cancelled
            log.warning("attempt failed, the keeper settles it", why=type(failure).__name__)

    def unavailable(self) -> OntapError:
        """Return the error 262145 (503) for a caller who may retry: the service stops, or else it is too busy."""
        kind = errors.SHUTTING_DOWN if self.stopping.is_set() else errors.TOO_BUSY
        return OntapError(kind, retry_after=RETRY_AFTER_S)

    async def close(self) -> None:
        """Stop, and wait for the running attempts. They end within seconds. Called when the node stops."""
        self.stopping.set()
        if self._running:
            await asyncio.wait(self._running)

    # --- attempts ---

    def targets(self, topology: ServerTopology, servers: Sequence[KeyServer], length: int) -> tuple[Target, ...]:
        """Return those servers that can be sent a key of this length. Raise what :class:`Endpoints` raises.

        A server without a profile, or with a form that cannot hold the key, is left out. Called in the transaction that
        stores an attempt's intent, before :meth:`begin`.
        """
        identity = self._context.endpoints.identity(topology)
        without = unusable(topology, length)
        return tuple(
            Target(
                server,
                topology.profiles[server.uuid],
                tuple(self._context.endpoints.each(server, identity)),
                limit_s(server, COPYING_S),
            )
            for server in servers
            if server.uuid not in without
        )

    def begin(
        self,
        tx: Rows,
        key: Key,
        number: int,
        purpose: Purpose,
        material: Secret,
        topology: ServerTopology,
        targets: tuple[Target, ...],
    ) -> Writing:
        """Store an attempt's intent: the attempt and the rows of its copies. Return the data to write.

        Called in the caller's transaction. Nothing may be sent before it has committed. The data include the
        descriptor and the key manager's digest key, which must exist already. Raises SealError or ValueError.
        """
        servers = [target.server.uuid for target in targets]
        node, now = self._context.node, self._context.clock.now()
        attempt = key_attempts.begin(tx, key, number, purpose, topology, servers, node, now)
        descriptor = self._describe(key, attempt, topology)
        digest_key = self._context.endpoints.digest_key(topology)
        return Writing(key, attempt, material, digest_key, topology, targets, descriptor)

    def copying(self, writing: Writing) -> AttemptCopies:
        """Return the writer of an attempt's copies. It stores each additional row before it sends the copy."""

        async def announce(copy: Copy) -> bool:
            """Store the row of a copy for a secondary. Return False if the attempt is no longer pending."""
            return await self._context.store.write(lambda tx: key_attempts.add_copy_row(tx, writing.attempt, copy))

        return AttemptCopies(writing, self._context.objects, self._context.clock, announce)

    async def finish(self, writing: Writing, copying: AttemptCopies) -> None:
        """Activate the copies, write their descriptors, and store that.

        The attempt is already committed. So a failure here does not change the answer.
        """
        await copying.finish(asyncio.get_running_loop().time() + FINISHING_S, self.stopping)
        try:
            await self._context.store.write(lambda tx: key_attempts.note_states(tx, writing.key, copying.copies))
        except StoreError as failure:
            log.warning("activation not stored", key=writing.key.key_id, why=str(failure))


def unusable(topology: ServerTopology, length: int) -> dict[str, str]:
    """Return the servers (uuids) that are not sent a key of this length, with the reasons.

    Called to choose the servers of an attempt, and to tell in errors and reports why a server has no copy.
    """
    profiles = {server.uuid: topology.profiles.get(server.uuid) for server in topology.servers}
    return {
        uuid: LENGTH_NOT_SUPPORTED if profile else NOT_REACHED
        for uuid, profile in profiles.items()
        if profile is None or not fits(profile.form, length)
    }

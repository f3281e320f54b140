"""The part of this process in the cluster: it says that it runs, and that it stops.

Each process has a token. Only the process whose token the node has may write: not one of a node that was removed, nor
one that was frozen while another process took its place. Each transaction that writes checks that.

A process with a copy of the data directory is refused while the first one is heard. The same directory at the same
place is locked, so that its earlier process is gone.

A node is silent if it was not heard for :data:`keystead.core.availability.SILENT_AFTER`. Then any other node ends the
jobs that its process ran, because nobody else would. Resumable jobs and other work under a lease pass on by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from keystead.core import events
from keystead.core.availability import SILENT_AFTER, silent_nodes
from keystead.service.announcing import add_events
from keystead.service.cluster.jobs import end_lost_jobs
from keystead.service.ports.cluster import AuditRows, EventRows, JobRows, NodeRows
from keystead.service.ports.store import NotAMember, StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Event, Node, NodeProcess
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

BEAT_S: Final = 10.0
"""Seconds between two signs of life: several in :data:`keystead.core.availability.SILENT_AFTER`."""

AGAIN_S: Final = 1.0
"""Seconds from a sign of life that was not stored to the next one."""

STEADY_S: Final = 20.0
"""Seconds for which this process must have been heard before it judges others.

While the database is away, nobody is heard. Afterwards all nodes need time until they are heard again: a call of the
database may hang for 15 seconds.
"""

WATCHED_S: Final = 1.5 * BEAT_S
"""Seconds for which a node that was heard lately is watched before another process may serve as it."""

REMOVED: Final = "this node was removed from the cluster: it needs a new data directory to join again"
UNFINISHED: Final = "this node is not in the database yet: run `keystead init` again, which makes the rest"
REPLACED: Final = "another process serves as this node"

Sleep = Callable[[float], Awaitable[object]]


class Rows(NodeRows, JobRows, EventRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class Membership:
    """The membership of this process, of ``node``. Once it is lost, each write calls ``on_lost``, in any thread."""

    on_lost: Callable[[], None] = staticmethod(lambda: None)

    def __init__(
        self, store: Store[Rows], clock: Clock, node: str, process: NodeProcess, sleep: Sleep = asyncio.sleep
    ) -> None:
        self.lost = ""
        """Why this process is no member any more, empty while it is one."""
        self._store = store
        self._process = process
        self._sleep = sleep
        self._clock = clock
        self._node = node
        self._is_member = False
        self._beaten = self._steady_from = -float("inf")

    async def require(self) -> None:
        """Raise NotAMember if the node was removed, or if another process serves as it. Raises StoreError.

        If the node was heard lately from another place, wait whether it is heard again. Then announce it.
        """
        before, now = await self._read()
        other = before.process.place if before.process else ""
        heard = before.heard_at
        is_silent = before.has_left or heard is None or now - heard > SILENT_AFTER
        if is_silent or other in {"", self._process.place}:
            return
        for _ in range(round(WATCHED_S)):
            await self._sleep(1)
            if (await self._read())[0].heard_at != heard:
                await self._store.write(lambda tx: add_events(tx, [self._copied(before)]))
                raise NotAMember(REPLACED)

    async def _read(self) -> tuple[Node, datetime]:
        """Return this node, and the database's time."""

        def read(tx: Rows) -> tuple[Node, datetime]:
            node = next((node for node in tx.nodes() if node.uuid == self._node), None)
            if node is None:
                raise NotAMember(REMOVED if tx.audit_head(self._node) else UNFINISHED)
            return node, tx.now()

        return await self._store.read(read)

    def _copied(self, node: Node) -> Event:
        return events.NODE_COPIED.happened(node.uuid, self._clock.now(), None, {"node": node.name})

    async def start(self) -> None:
        """Store that the process starts. Raises StoreError, and NotAMember if the node was removed."""
        if not await self._store.write(lambda tx: tx.start_node(self._node, self._process)):
            raise NotAMember(REMOVED)
        self._is_member = True

    def check(self, tx: NodeRows) -> None:
        """Raise NotAMember unless this process may write. Before :meth:`start` it may."""
        token = self._process.token
        process = tx.process_of(self._node) if self._is_member else token
        if process != token:
            if not self.lost:
                self.lost = REMOVED if process is None else REPLACED
                log.error("this process stops", why=self.lost)
            self.on_lost()
            raise NotAMember(self.lost)

    async def beat(self) -> None:
        """Store that this node runs, and end the jobs of silent nodes. Raises StoreError."""
        began = self._clock.monotonic()
        if began - self._beaten > 2 * BEAT_S:
            self._steady_from = began + STEADY_S

        def work(tx: Rows) -> None:
            tx.hear_node(self._node, self._clock.now())
            if began >= self._steady_from:
                for node in silent_nodes(tx.nodes()):
                    end_lost_jobs(tx, node, self._clock.now())

        await self._store.write(work)
        self._beaten = began

    async def close(self) -> None:
        """Store that the process stops, if it has started: nobody need wait for its next sign of life."""
        if self._is_member:
            try:
                await self._store.write(lambda tx: tx.leave_node(self._node))
            except StoreError as failure:
                log.warning("it is not stored that this node stops", why=str(failure))

"""The trusted clock. No recovery window expires while the clock is untrusted.

The clock may have jumped, or differ from all other clocks. It is untrusted for an hour after it moved differently from
the monotonic clock, and after the database or another node had a different time.

At its first reading in a process, it is also untrusted if any node's clock is marked as doubted, because both clocks
may show the same time. The mark is stored here, and when the lease is taken minutes before or after it expired: see
:meth:`keystead.service.cluster.leases.Leases.take`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keystead.core.model import Node
    from keystead.service.ports.cluster import NodeRows
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

JUMP_S: Final = 600.0
REST_S: Final = 3600.0
"""A clock that differs by more than ``JUMP_S`` seconds is untrusted for ``REST_S`` seconds."""


class TrustedClock:
    """The trusted clock of one process, of ``node``. A doubt is stored for the next process."""

    def __init__(self, store: Store[NodeRows], clock: Clock, node: str) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._read: tuple[datetime, float] | None = None
        self._heard: dict[str, datetime | None] = {}
        self._trusted_from = 0.0

    async def now(self) -> datetime | None:
        """Return the time, or None while the clock is untrusted. Raises StoreError."""
        nodes, shared = await self._store.read(lambda tx: (tx.nodes(), tx.now()))
        now, passed = self._clock.now(), self._clock.monotonic()
        differs_s = (now - shared).total_seconds()
        off_s = max(map(abs, [self._jumped_s(now, passed), differs_s, *self._differs_s(now, nodes)]))
        if off_s > JUMP_S or (self._read is None and any(node.clock_doubted for node in nodes)):
            log.warning("the clock is untrusted: no purge begins for an hour", seconds=round(off_s))
            self._trusted_from = passed + REST_S
        self._read = now, passed
        doubted = passed < self._trusted_from
        if doubted is not any(node.clock_doubted for node in nodes if node.uuid == self._node):
            await self._store.write(lambda tx: tx.doubt_clock(self._node, doubted=doubted))
        return None if doubted else now

    def _jumped_s(self, now: datetime, passed: float) -> float:
        """Return by how many seconds the clock moved differently from the monotonic clock since the last reading."""
        if self._read is None:
            return 0.0
        return (now - self._read[0]).total_seconds() - (passed - self._read[1])

    def _differs_s(self, now: datetime, nodes: Iterable[Node]) -> list[float]:
        """Return by how many seconds the clock differs from the clocks of other nodes.

        Only nodes count that were heard of since the last reading.
        """
        before, self._heard = self._heard, {node.uuid: node.reported for node in nodes if node.uuid != self._node}
        return [
            (now - at).total_seconds()
            for uuid, at in self._heard.items()
            if at is not None and uuid in before and at != before[uuid]
        ]

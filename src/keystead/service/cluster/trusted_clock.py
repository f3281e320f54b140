"""A clock that is believed before anybody's time to undo is over: it may have jumped, or be another than everybody's.

It is not believed for an hour after it went otherwise than time does (monotonic), and after another node of the cluster
said that it is another time; nor after the start of a process by which nobody kept keys for minutes, or before which
any node's clock was doubted: it may have the same time. That is stored when the lease is taken, see
:meth:`keystead.service.cluster.leases.Leases.take`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keystead.core.model import Node
    from keystead.service.ports.store import Clock, Store

log = structlog.get_logger(__name__)

JUMP_S: Final = 600.0
REST_S: Final = 3600.0
"""By so much a clock may differ; else it is not believed for so long."""


class TrustedClock:
    """The clock of one process, ``node``'s. That it is not believed is stored, for the process after this one."""

    def __init__(self, store: Store, clock: Clock, node: str) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._read: tuple[datetime, float] | None = None
        self._heard: dict[str, datetime | None] = {}
        self._believed_from = 0.0

    async def now(self) -> datetime | None:
        """The time, if it is believed. Raises StoreError."""
        nodes = await self._store.read(lambda tx: tx.cluster_and_nodes()[1])
        now, passed = self._clock.now(), self._clock.monotonic()
        off_s = max(map(abs, [self._jumped_s(now, passed), *self._differs_s(now, nodes)]))
        if off_s > JUMP_S or (self._read is None and any(node.clock_doubted for node in nodes)):
            log.warning("the clock is not believed: no purge begins for an hour", seconds=round(off_s))
            self._believed_from = passed + REST_S
        self._read = now, passed
        doubted = passed < self._believed_from
        if doubted is not any(node.clock_doubted for node in nodes if node.uuid == self._node):
            await self._store.write(lambda tx: tx.doubt_clock(self._node, doubted=doubted))
        return None if doubted else now

    def _jumped_s(self, now: datetime, passed: float) -> float:
        """By how much it went otherwise than time since it was read last."""
        if self._read is None:
            return 0.0
        return (now - self._read[0]).total_seconds() - (passed - self._read[1])

    def _differs_s(self, now: datetime, nodes: Iterable[Node]) -> list[float]:
        """How far it is from those of other nodes, that were heard of since the last time."""
        before, self._heard = self._heard, {node.uuid: node.heard_at for node in nodes if node.uuid != self._node}
        return [
            (now - at).total_seconds()
            for uuid, at in self._heard.items()
            if at is not None and uuid in before and at != before[uuid]
        ]

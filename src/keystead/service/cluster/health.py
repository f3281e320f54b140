"""The process as operators see it: readiness, metrics, and the state of the cluster and of this node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.service.cluster.info import with_up
from keystead.service.cluster.leases import KEEPER
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AccountRows, IncarnationRows, LeaseRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from keystead.core.keys.model import Incarnation, Lease
    from keystead.core.model import Node
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock, ListenerFacts, NodeFacts, Telemetry
    from keystead.service.ports.store import Store

READY_S = 1.0
"""Seconds that a database may take to answer. A slower database is not ready."""


class Rows(KeyManagerRows, AccountRows, NodeRows, LeaseRows, IncarnationRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class HealthView:
    """The state of the cluster and of the node that answers, at ``time``.

    ``keeper`` is the lease of the node that keeps keys, None if there was none yet. ``ready`` is what
    :meth:`Health.ready` returns. ``listener`` is None for a process without one.
    """

    nodes: tuple[Node, ...]
    keeper: Lease | None
    incarnation: Incarnation
    own: NodeFacts
    ready: bool
    listener: ListenerFacts | None
    time: datetime


class Health:
    """Readiness, metrics and state of the process. ``metrics_public`` means that metrics need no login.

    ``facts`` tells what this node knows of itself.
    """

    def __init__(
        self,
        store: Store[Rows],
        telemetry: Telemetry,
        facts: Callable[[], NodeFacts],
        clock: Clock,
        *,
        metrics_public: bool = False,
    ) -> None:
        self._store = store
        self._facts = facts
        self._clock = clock
        self.listener: Callable[[], ListenerFacts] | None = None
        """A function that tells of the listener, once there is one."""
        self.telemetry = telemetry
        self.metrics_public = metrics_public

    async def ready(self) -> bool:
        """Return True if the database answers in time, with this release's schema, and all that every call reads."""
        try:
            async with asyncio.timeout(READY_S):
                await self._store.check()
                await self._store.read(lambda tx: (tx.account(""), tx.key_manager("")))
        except (StoreError, TimeoutError):
            return False
        return True

    async def view(self, call: Call) -> HealthView:
        """Return the state of the cluster and of this node.

        A call confined to an SVM gets 4 (404). Raises StoreError.
        """
        call.check_sees(None)

        def read(tx: Rows) -> tuple[tuple[Node, ...], Lease | None, Incarnation]:
            return with_up(tx, tx.nodes()), tx.lease(KEEPER), incarnation_of(tx)

        nodes, keeper, incarnation = await self._store.read(read)
        listener = self.listener() if self.listener else None
        return HealthView(nodes, keeper, incarnation, self._facts(), await self.ready(), listener, self._clock.now())

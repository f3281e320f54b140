"""The process as operators see it: readiness, metrics, and the state of the cluster and of this node."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.service.cluster.info import with_up
from keystead.service.cluster.leases import KEEPER
from keystead.service.failures import retrieve_failure
from keystead.service.loading import incarnation_of
from keystead.service.ports.cluster import AccountRows, IncarnationRows, LeaseRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.store import NotAMember, SchemaError, StorageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from keystead.core.keys.model import Incarnation, Lease
    from keystead.core.model import Node
    from keystead.service.context import Call
    from keystead.service.offline import OfflineReads
    from keystead.service.ports.process import Clock, ListenerFacts, NodeFacts, Telemetry
    from keystead.service.ports.store import Store

READY_S = 1.0
"""Seconds that a database may take to answer a read. A slower database is not ready."""

COMMIT_S = 4.0
"""Seconds that a database may take to commit. A slower database is not ready."""

PROVE_COMMIT_S = 10.0
"""Seconds for which one commit proves that the database commits."""

NOT_READ = "the database does not answer"
NOT_THIS_RELEASE = "the database's schema is not this release's"
NOT_COMMITTED = "the database commits nothing"


class Rows(KeyManagerRows, AccountRows, NodeRows, LeaseRows, IncarnationRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class HealthView:
    """The state of the cluster and of the node that answers, at ``time`` by the database's clock.

    ``keeper`` is the lease of the node that keeps keys, None if there was none yet. ``not_ready`` is what
    :meth:`Health.not_ready` returns. ``listener`` is None for a process without one.
    """

    nodes: tuple[Node, ...]
    keeper: Lease | None
    incarnation: Incarnation
    own: NodeFacts
    not_ready: str
    listener: ListenerFacts | None
    time: datetime


class Health:
    """Readiness, metrics and state of the process. ``metrics_public`` means that metrics need no login.

    ``facts`` tells what this node knows of itself, ``offline`` how long it may read without the database.
    """

    def __init__(
        self,
        store: Store[Rows],
        telemetry: Telemetry,
        facts: Callable[[], NodeFacts],
        clock: Clock,
        offline: OfflineReads,
        *,
        metrics_public: bool = False,
    ) -> None:
        self._store = store
        self._facts = facts
        self._clock = clock
        self._offline = offline
        self.listener: Callable[[], ListenerFacts] | None = None
        """A function that tells of the listener, once there is one."""
        self.telemetry = telemetry
        self.metrics_public = metrics_public
        self._proof: asyncio.Task[None] | None = None
        self._proved_until = -math.inf

    async def not_ready_for_reads(self) -> str:
        """Return why this node cannot answer reads of keys, in words that anybody may read; empty if it can.

        While the database is away, keys in memory are read by callers that were remembered.
        """
        if self._offline.can_read():
            return ""
        return await self.not_ready()

    async def not_ready(self) -> str:
        """Return why this node cannot serve every call, in words that anybody may read; empty if it can.

        It can if the database answers in time, with this release's schema and all that every call reads, and if it
        commits. That it commits may be known from a commit up to ``PROVE_COMMIT_S`` ago.
        """
        try:
            async with asyncio.timeout(READY_S):
                await self._store.check()
                await self._store.read(lambda tx: (tx.account(""), tx.key_manager("")))
        except SchemaError:
            return NOT_THIS_RELEASE
        except (StoreError, TimeoutError):
            return NOT_READ
        try:
            async with asyncio.timeout(COMMIT_S):
                await self._prove_commit()
        except NotAMember as failure:
            return str(failure)
        except StorageError as failure:
            return f"{NOT_COMMITTED}: {failure.reason}"
        except (StoreError, TimeoutError):
            return NOT_COMMITTED
        return ""

    async def view(self, call: Call) -> HealthView:
        """Return the state of the cluster and of this node.

        A call confined to an SVM gets 4 (404). Raises StoreError.
        """
        call.check_sees(None)

        def read(tx: Rows) -> tuple[tuple[Node, ...], Lease | None, Incarnation, datetime]:
            return with_up(tx, tx.nodes()), tx.lease(KEEPER), incarnation_of(tx), tx.now()

        nodes, keeper, incarnation, now = await self._store.read(read)
        listener = self.listener() if self.listener else None
        not_ready = await self.not_ready()
        return HealthView(nodes, keeper, incarnation, self._facts(), not_ready, listener, now)

    async def _prove_commit(self) -> None:
        """Commit the row of this node as it is, unless that was just done. Raises StoreError.

        All callers wait for one commit, so that a database that hangs is not given one by each. A caller whose time is
        over does not end it for the others.
        """
        if self._clock.monotonic() < self._proved_until:
            return
        if self._proof is None or self._proof.done():
            node = self._facts().uuid
            self._proof = asyncio.create_task(self._store.write(lambda tx: tx.touch_node(node)))
            self._proof.add_done_callback(retrieve_failure)
        await asyncio.shield(self._proof)
        self._proved_until = self._clock.monotonic() + PROVE_COMMIT_S

"""Notice that the database is another one than was served: at the start, and again and again, for it can be promoted.

A database that was restored, cloned or promoted begins a new incarnation, in which nothing is destroyed until an
operator releases it. What a node remembers of its database stands in its data directory; the row is written first, so
that it is behind only in a database that is older than what this node has seen.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

import structlog

from keystead.core import events
from keystead.core.keys.incarnations import Reason, begun, plan_begin
from keystead.service.announcing import add_events
from keystead.service.loading import incarnation_of
from keystead.service.ports.store import StoreError
from keystead.service.repeated import Periodic

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.keys.incarnations import Storage, Witness
    from keystead.core.keys.model import Incarnation
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.store import Clock, Store, Transaction

log = structlog.get_logger(__name__)

BEAT_S: Final = 60.0
"""How often the epoch grows: a backup that is older than this is noticed when it is restored."""


class Cloned(Exception):  # noqa: N818 - what was found out
    """Another database goes on from the same past, or went on: this one lacks what that one has acknowledged."""


class Remembered(Protocol):
    """What a data directory remembers, and where its database stands."""

    async def storage(self) -> Storage:
        """Where the database stands now. Raises StoreError."""
        ...

    async def read(self) -> Witness:
        """What was remembered last. Raises StoreError."""
        ...

    async def write(self, witness: Witness) -> None:
        """Remember; on disk when it returns. Raises StoreError."""
        ...


class Incarnations:
    """The incarnation of the database, as one node sees it."""

    def __init__(self, store: Store, remembered: Remembered, audit: AuditLog, clock: Clock, node: str) -> None:
        self._store = store
        self._remembered = remembered
        self._audit = audit
        self._clock = clock
        self._node = node
        self._turn = asyncio.Lock()
        self._storage: Storage | None = None
        self._epoch = 0
        self._beat = Periodic(self.begin, BEAT_S, "the database's incarnation was not looked at")

    async def start(self) -> Incarnation:
        """Find out which incarnation it is, and go on to. Raises StoreError."""
        current = await self.begin()
        self._beat.start()
        return current

    async def close(self) -> None:
        """Stop looking."""
        await self._beat.close()

    async def begin(self) -> Incarnation:
        """Return the database's incarnation, which begins now if it is another database. Raises StoreError.

        Of several nodes that notice it at once, one begins it.
        """
        async with self._turn:
            witness, storage = await self._remembered.read(), await self._remembered.storage()
            before, after, epoch = await self._store.write(lambda tx: self._begin(tx, storage, witness))
            await self._remembered.write(witness.after(epoch, after.uuid))
            self._storage, self._epoch = storage, epoch
        if after.number != before.number:
            log.warning("a new incarnation of the database: nothing is destroyed", reason=after.reason)
        return after

    async def look(self) -> None:
        """Notice a database that has gone another way since the last look: before anything is ended. Raises StoreError.

        Cheaper than :meth:`begin`: it asks where the database stands, and how far it has come, and stores nothing if
        that is where it was, and no less.
        """
        epoch = await self._store.read(lambda tx: tx.node_epoch(self._node))
        if epoch < self._epoch or await self._remembered.storage() != self._storage:
            await self.begin()

    def check(self, tx: Transaction) -> None:
        """Raise StoreError in a transaction whose database is behind the one that was looked at last."""
        if tx.node_epoch(self._node) < self._epoch:
            raise StoreError("the database has gone back")

    async def cloned(self, incarnation: str) -> None:
        """Begin another incarnation than this one (a uuid), of which a twin was found. Raises StoreError."""

        def begin(tx: Transaction) -> None:
            tx.cluster(lock=True)
            current = incarnation_of(tx)
            if current.uuid == incarnation:
                now = self._clock.now()
                after = begun(current, Reason.CLONED, current.storage, str(uuid4()), now)
                tx.put_incarnation(after)
                self._announce(tx, after, now)

        await self._store.write(begin)

    async def get(self, call: Call) -> Incarnation:
        """Return the database's incarnation; the cluster's, and so 4 (404) for a call within an SVM."""
        call.check_sees(None)
        return await self._store.read(incarnation_of)

    async def release(self, call: Call) -> Incarnation:
        """Let this incarnation destroy: an operator says that no other one lives on. Raises 4 (404) within an SVM.

        What other incarnations wrote is not destroyed all the same.
        """
        call.check_sees(None)

        def release(tx: Transaction) -> Incarnation:
            tx.cluster(lock=True)
            current = incarnation_of(tx)
            if current.destroys:
                return current
            released = replace(current, destroys=True)
            tx.put_incarnation(released)
            self._audit.succeed(tx, call, f"released destruction in incarnation {current.number}, {current.reason}")
            values = {"incarnation": str(current.number)}
            now = self._clock.now()
            add_events(tx, [events.DESTRUCTION_RELEASED.happened(self._node, now, None, values)])
            return released

        return await self._store.write(release)

    def _begin(self, tx: Transaction, storage: Storage, witness: Witness) -> tuple[Incarnation, Incarnation, int]:
        """Store what :func:`plan_begin` says; return the incarnations before and after, and the node's new epoch."""
        tx.cluster(lock=True)  # one node at a time
        now = self._clock.now()
        before = incarnation_of(tx)
        epoch = tx.node_epoch(self._node)
        after = plan_begin(before, storage, epoch, witness, str(uuid4()), now)
        epoch = 1 + max(epoch, witness.epoch)
        tx.put_node_epoch(self._node, epoch)
        if after != before:
            tx.put_incarnation(after)
        if after.number != before.number:
            self._announce(tx, after, now)
        return before, after, epoch

    def _announce(self, tx: Transaction, begun: Incarnation, now: datetime) -> None:
        values = {"incarnation": str(begun.number), "reason": begun.reason}
        add_events(tx, [events.DESTRUCTION_HELD.happened(self._node, now, None, values)])

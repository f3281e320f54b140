"""The check whether the database is still the one that this node served.

The check is repeated, because a database can be promoted at any time. A database that was restored, cloned or promoted
begins a new incarnation. In a new incarnation nothing is destroyed until an operator releases destruction.

Nodes vouch for a promoted database that lacks nothing of what they were told is committed. If all of them do, the
incarnation goes on. See :mod:`keystead.service.cluster.acknowledged`.

A node remembers its database in its data directory (the witness). The row in the database is written first. So the row
is behind the witness only if the database is older than the one that this node has seen.
"""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

import structlog

from keystead.core import events
from keystead.core.keys.incarnations import Reason, next_incarnation, plan_begin, vouched
from keystead.service.announcing import add_events
from keystead.service.cluster.acknowledged import Acknowledged
from keystead.service.loading import incarnation_of
from keystead.service.periodic import Periodic
from keystead.service.ports.cluster import AuditRows, ClusterRows, EventRows, IncarnationRows, NodeRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.keys.incarnations import Storage, Witness
    from keystead.core.keys.model import Incarnation
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.acknowledged import Finding, Head
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

BEAT_S: Final = 60.0
"""Seconds between two increments of the node's epoch. The restore of a backup that is older than this is noticed."""


LEAVING_S: Final = 3.0
"""Seconds that a stop may take for what it leaves. If the database is away, the next process does without."""


class Rows(ClusterRows, NodeRows, EventRows, AuditRows, IncarnationRows, Protocol):
    """The rows that this module reads and writes."""


class CloneFound(Exception):  # noqa: N818 - a finding
    """A clone: another database has gone on from the same past. This database lacks what the other one acknowledged."""


@dataclass(frozen=True, slots=True)
class Left:
    """What a process that was stopped leaves for the next one: the heads that it knew, and a token.

    The database has the token as well, so that only one process can take the heads over.
    """

    token: str
    heads: frozenset[Head]


class WitnessStore(Protocol):
    """What a data directory remembers of its database, and where that database is stored."""

    async def storage(self) -> Storage:
        """Return where the database is stored now. Raises StoreError."""
        ...

    async def read(self) -> Witness:
        """Return what was remembered last. Raises StoreError."""
        ...

    async def write(self, witness: Witness) -> None:
        """Remember the witness. It is on disk when this returns. Raises StoreError."""
        ...

    async def leave(self, left: Left) -> None:
        """Leave something for the next process. It is on disk when this returns. Raises StoreError."""
        ...

    async def take_left(self) -> Left | None:
        """Return what the last process left, and remove it. None if it left nothing. Raises StoreError."""
        ...


class Incarnations:
    """The incarnation of the database, as one node sees it."""

    def __init__(self, store: Store[Rows], remembered: WitnessStore, audit: AuditLog, clock: Clock, node: str) -> None:
        self._store = store
        self._remembered = remembered
        self._audit = audit
        self._clock = clock
        self._node = node
        self._turn = asyncio.Lock()
        self._storage: Storage | None = None
        self._epoch = 0
        self.acknowledged = Acknowledged(node)
        self._beat = Periodic(self.begin, BEAT_S, "database incarnation check failed")

    async def start(self) -> Incarnation:
        """Find out the incarnation, and repeat the check from now on. Raises StoreError."""
        await self._take_over()
        current = await self.begin()
        self._beat.start()
        return current

    async def close(self) -> None:
        """Stop the repeated check. Leave for the next process what it must find in the database.

        Call it when nothing else writes audit records any more.
        """
        await self._beat.close()
        left = Left(secrets.token_hex(16), self.acknowledged.heads)
        if not left.heads:
            return
        try:
            async with asyncio.timeout(LEAVING_S):
                await self._store.write(lambda tx: tx.put_stop_token(self._node, left.token))
                await self._remembered.leave(left)
        except (StoreError, TimeoutError) as failure:
            log.warning("the next start cannot vouch for a promoted database", why=str(failure))

    async def _take_over(self) -> None:
        """Take over what the last process left, once."""
        try:
            left = await self._remembered.take_left()
        except StoreError as failure:
            log.warning("this process cannot vouch for the last one", why=str(failure))
            left = None

        def take(tx: Rows) -> str:
            token = tx.stop_token(self._node)
            tx.put_stop_token(self._node, "")
            return token

        if await self._store.write(take) == (left.token if left else None) and left:
            self.acknowledged.remember(left.heads)

    async def begin(self) -> Incarnation:
        """Return the database's incarnation. Begin a new one if it is another database. Raises StoreError.

        If several nodes notice another database at once, only one of them begins the incarnation.
        """
        async with self._turn:
            witness, storage = await self._remembered.read(), await self._remembered.storage()
            before, after, epoch, finding = await self._store.write(lambda tx: self._begin(tx, storage, witness))
            self.acknowledged.settle(finding)
            await self._remembered.write(witness.after(epoch, after.uuid))
            self._storage, self._epoch = storage, epoch
        if after.number != before.number:
            log.warning("a new incarnation of the database: nothing is destroyed", reason=after.reason)
        elif after.vouching:
            log.info("nodes vouch for the promoted database: nothing is destroyed meanwhile")
        return after

    async def look(self) -> None:
        """Notice a database that was restored, cloned or promoted since the last look. Raises StoreError.

        Call it before anything is destroyed. It is cheaper than :meth:`begin`: it reads the node's epoch and where the
        database is stored. If the place is the same and the epoch is not smaller, it stores nothing.
        """
        epoch = await self._store.read(lambda tx: tx.node_epoch(self._node))
        if epoch < self._epoch or await self._remembered.storage() != self._storage:
            await self.begin()

    def check(self, tx: IncarnationRows) -> None:
        """Raise StoreError if the node's epoch in this transaction is smaller than at the last look."""
        if tx.node_epoch(self._node) < self._epoch:
            raise StoreError("the database has gone back")

    async def cloned(self, incarnation: str) -> None:
        """Begin a new incarnation if this one (a uuid) is current, because a clone of it was found.

        Raises StoreError.
        """

        def begin(tx: Rows) -> None:
            tx.cluster(lock=True)
            current = incarnation_of(tx)
            if current.uuid == incarnation:
                now = self._clock.now()
                storage = current.vouching or current.storage
                after = next_incarnation(current, Reason.CLONED, storage, str(uuid4()), now)
                tx.put_incarnation(after)
                self._announce(tx, after, now)

        await self._store.write(begin)

    async def get(self, call: Call) -> Incarnation:
        """Return the database's incarnation. It belongs to the cluster, so a call within an SVM gets 4 (404)."""
        call.check_sees(None)
        return await self._store.read(incarnation_of)

    async def release(self, call: Call) -> Incarnation:
        """Release destruction: an operator says that no other incarnation lives on. Raises 4 (404) within an SVM.

        Objects that other incarnations wrote are still not destroyed.
        """
        call.check_sees(None)

        def release(tx: Rows) -> Incarnation:
            tx.cluster(lock=True)
            current = incarnation_of(tx)
            if current.destroys:
                return current
            storage = current.vouching or current.storage
            released = replace(current, destroys=True, storage=storage, vouching="", vouching_since=None)
            tx.put_incarnation(released)
            self._audit.succeed(tx, call, f"released destruction in incarnation {current.number}, {current.reason}")
            values = {"incarnation": str(current.number)}
            now = self._clock.now()
            add_events(tx, [events.DESTRUCTION_RELEASED.happened(self._node, now, None, values)])
            return released

        return await self._store.write(release)

    def _begin(self, tx: Rows, storage: Storage, witness: Witness) -> tuple[Incarnation, Incarnation, int, Finding]:
        """Store what :func:`plan_begin` says, and vouch.

        Return the incarnations before and after, the node's new epoch, and what was found of its audit chain.
        """
        tx.cluster(lock=True)  # so that one node at a time does this
        now = tx.now()
        before = incarnation_of(tx)
        epoch = tx.node_epoch(self._node)
        finding = self.acknowledged.find(tx)
        after = plan_begin(before, storage, epoch, witness, str(uuid4()), now, finding.lost)
        epoch = 1 + max(epoch, witness.epoch)
        tx.put_node_epoch(self._node, epoch)
        if after.vouching:
            after = self._vouch(tx, after, now)
        if after != before:
            tx.put_incarnation(after)
        if after.number != before.number:
            self._announce(tx, after, now, finding.lost or 0)
        elif before.storage not in {"", after.storage}:
            self._audit.act(tx, f"went on with incarnation {after.number} in a promoted database: all nodes vouched")
        return before, after, epoch, finding

    def _vouch(self, tx: Rows, current: Incarnation, now: datetime) -> Incarnation:
        """Vouch for a promoted database. Return its incarnation: it goes on if every node that ever ran has vouched."""
        tx.add_voucher(current.vouching, self._node, now)
        nodes = {node.uuid for node in tx.nodes() if node.heard_at is not None}
        return vouched(current) if nodes <= tx.vouchers(current.vouching) else current

    def _announce(self, tx: Rows, next_incarnation: Incarnation, now: datetime, lost: int = 0) -> None:
        reason = next_incarnation.reason
        if lost:
            last = f"the last {lost} audit records" if lost > 1 else "the last audit record"
            reason += f", without {last} of node {self._node}"
        values = {"incarnation": str(next_incarnation.number), "reason": reason}
        add_events(tx, [events.DESTRUCTION_HELD.happened(self._node, now, None, values)])
        self._audit.act(tx, f"began incarnation {next_incarnation.number}, {reason}")

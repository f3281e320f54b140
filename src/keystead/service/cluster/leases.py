"""Leases: work that one process in the cluster does at a time. A lease is a row that is taken, renewed, and expires.

Only the database's clock says when a lease expires, so a node whose own clock is wrong takes no lease from another.
A process that was held up may wrongly believe that it still holds a lease. So the work checks its fencing token in each
transaction that changes anything. Work outside the database goes on only while this process's own clock says that the
lease cannot have passed to another process.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol
from uuid import uuid4

import structlog
from cachetools import LRUCache

from keystead.core.keys.model import Lease
from keystead.core.leases import holds, take
from keystead.service.cluster.trusted_clock import JUMP_S
from keystead.service.ports.cluster import LeaseRows, NodeRows
from keystead.service.ports.store import SchemaError, StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

KEEPER: Final = "keeper"
"""The lease of the process that keeps keys."""

LENGTH: Final = timedelta(seconds=60)
RENEWALS: Final = 4
"""How often a lease is renewed within its length."""

REMEMBERED: Final = 1024
"""How many leases of others a process remembers at most."""


class Rows(NodeRows, LeaseRows, Protocol):
    """The rows that this module reads and writes."""


class LeaseLost(Exception):  # noqa: N818 - named as what happened, like a Refusal
    """Another process holds the lease, or may by now. The work must end at once and change nothing more."""


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease as this process holds it.

    ``until`` is the :meth:`Clock.monotonic` time at which another process may take it.
    """

    name: str
    token: int
    until: float


class Holding:
    """A lease that is renewed while work goes on. The work checks it before each of its steps."""

    def __init__(self, leases: Leases, held: HeldLease) -> None:
        self._leases = leases
        self.held = held

    def check(self, tx: LeaseRows) -> None:
        """See :meth:`Leases.check`."""
        self._leases.check(tx, self.held)

    def check_time(self) -> None:
        """See :meth:`Leases.check_time`."""
        self._leases.check_time(self.held)

    def end(self, tx: LeaseRows) -> None:
        """Remove the lease, because its work has ended with the transaction. Call :meth:`check` first."""
        tx.remove_lease(self.held.name)

    async def renew(self) -> None:
        """Renew the lease. Raises LeaseLost if another process has held it meanwhile, or may have; StoreError.

        A release that has become too old to write loses its lease at once: the database does not take it back.
        """
        try:
            renewed = await self._leases.take(self.held.name, only_renew=True)
        except SchemaError:
            renewed = None
        if renewed is None or renewed.token != self.held.token:
            self.held = replace(self.held, until=float("-inf"))
            raise LeaseLost(self.held.name)
        self.held = renewed


class Leases:
    """The leases of one process.

    ``node`` begins the holder's name. Another process of the same node is another holder. ``rests``: leases may be
    held by nobody for long, so that a late take says nothing about clocks.
    """

    def __init__(
        self, store: Store[Rows], clock: Clock, node: str, length: timedelta = LENGTH, *, rests: bool = False
    ) -> None:
        self._store = store
        self._clock = clock
        self._length = length
        self._node = node
        self._rests = rests
        self._holder = f"{node}/{uuid4().hex[:8]}"
        # the row of a lease as it was last read, and since when (monotonic)
        self._seen: LRUCache[str, tuple[Lease | None, float]] = LRUCache(REMEMBERED)

    def begin(self, tx: LeaseRows, name: str) -> HeldLease:
        """Take a lease that nobody else can know of yet, in the transaction that stores its work."""
        began = self._clock.monotonic()
        tx.put_lease(Lease(name, self._holder, 1, tx.now() + self._length))
        return HeldLease(name, 1, began + self._length.total_seconds())

    def inherit(self, tx: LeaseRows, name: str) -> None:
        """Remove a lease that an earlier process of this node holds.

        Only for work that checks its lease in each transaction, because that process may still run.
        """
        lease = tx.lease(name, lock=True)
        if lease is not None and lease.node == self._node:
            tx.remove_lease(name)

    async def take(self, name: str, *, only_renew: bool = False) -> HeldLease | None:
        """Take or renew a lease. Return None while another process holds it. Raises StoreError.

        With ``only_renew``, return None also if there is no such lease, because its work has ended meanwhile.
        If it is taken minutes after it expired, or minutes before, this node's clock is marked as doubted, unless
        ``rests``. For the database's clock may have jumped, and this one with it.
        """
        if not only_renew and await self._store.read(lambda tx: self._is_another_s(tx, name)):
            return None  # without a transaction that writes, because all but one process come here again and again
        began = self._clock.monotonic()

        def work(tx: Rows) -> HeldLease | None:
            found, now = tx.lease(name, lock=True), tx.now()
            if found is None and only_renew:
                return None
            left = self._is_left(name, found)
            lease = take(found, name, self._holder, now, self._length, left=left)
            if lease is None:
                return None
            tx.put_lease(lease)
            idle = timedelta() if found is None or found.token == lease.token else now - found.expires
            if abs(idle.total_seconds()) > JUMP_S and not self._rests:
                tx.doubt_clock(self._node, doubted=True)
            return HeldLease(name, lease.token, began + self._length.total_seconds())

        return await self._store.write(work)

    def _is_another_s(self, tx: LeaseRows, name: str) -> bool:
        """Return True if another process holds the lease now."""
        found = tx.lease(name)
        return take(found, name, self._holder, tx.now(), self._length, left=self._is_left(name, found)) is None

    def _is_left(self, name: str, lease: Lease | None) -> bool:
        """Return True if the lease has not changed for its length, by our monotonic clock.

        So a lease does not stay with a dead holder if the database's clock was a year ahead.
        """
        now = self._clock.monotonic()
        if name not in self._seen or self._seen[name][0] != lease:
            self._seen[name] = lease, now
        return now - self._seen[name][1] >= self._length.total_seconds()

    @asynccontextmanager
    async def holding(self, name: str, held: HeldLease | None = None) -> AsyncIterator[Holding | None]:
        """Hold a lease, and renew it until the work under it has ended. Yield None while another process holds it.

        ``held`` is the lease if :meth:`begin` has taken it.
        """
        held = held or await self.take(name)
        if held is None:
            yield None
            return
        holding, over = Holding(self, held), asyncio.Event()
        renewing = asyncio.create_task(self._keep(holding, over))
        try:
            yield holding
        finally:
            over.set()  # because a cancellation is lost during a commit
            renewing.cancel()
            await asyncio.wait([renewing])
            await self._leave(holding.held)

    async def _keep(self, holding: Holding, over: asyncio.Event) -> None:
        while not over.is_set():
            await asyncio.sleep(self._length.total_seconds() / RENEWALS)
            try:
                await holding.renew()
            except StoreError as failure:  # not raised, because the next renewal may be in time
                log.warning("a lease is not renewed", lease=holding.held.name, why=str(failure))
            except LeaseLost:
                return

    async def _leave(self, held: HeldLease) -> None:
        try:
            await self.release(held)
        except StoreError as failure:
            log.warning("a lease is not given back", lease=held.name, why=str(failure))

    def check(self, tx: LeaseRows, held: HeldLease) -> None:
        """Raise LeaseLost unless this process holds the lease until the end of the transaction.

        Take it before all other locks.
        """
        if not holds(tx.lease(held.name, lock=True), self._holder, held.token):
            raise LeaseLost(held.name)

    def check_time(self, held: HeldLease) -> None:
        """Raise LeaseLost if another process may have taken the lease by now.

        Call it before each packet that destroys.
        """
        if self._clock.monotonic() >= held.until:
            raise LeaseLost(held.name)

    async def release(self, held: HeldLease) -> None:
        """Release the lease, so that others can take it at once. Raises StoreError."""

        def work(tx: LeaseRows) -> None:
            lease = tx.lease(held.name, lock=True)
            if lease is not None and holds(lease, self._holder, held.token):
                tx.put_lease(replace(lease, expires=tx.now()))

        await self._store.write(work)

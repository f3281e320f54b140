"""The removal of old audit records, by the one node that holds the lease.

Records are read and verified first, so that no trace of tampering is removed. Then a short transaction deletes them and
appends the record of this cut. What no backup or export has stays, and so does what a destination still waits for.
"""

from __future__ import annotations

import asyncio
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

import structlog

from keystead.core import audit
from keystead.core.audit_retention import OVERDUE, AuditCut, cut_message, due, is_genuine, is_worth_a_cut
from keystead.core.forwarding.destinations import Log, cursors_in, skipped
from keystead.service.audit.log import append_to, own_record
from keystead.service.cluster.leases import LeaseLost
from keystead.service.periodic import Periodic
from keystead.service.ports.cluster import AuditRows, LeaseRows
from keystead.service.ports.forwarding import DestinationRows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.audit_retention import AuditSave, Retention, Rule, Way
    from keystead.core.model import AuditRecord
    from keystead.service.cluster.leases import Holding, Leases
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

LEASE: Final = "audit retention"

PERIOD_S: Final = 600.0
"""Seconds between two rounds over all chains."""

TOGETHER: Final = 1000
"""Most records that one transaction deletes."""


class Rows(AuditRows, LeaseRows, DestinationRows, Protocol):
    """The rows that this module reads and writes."""


class _Oldest(NamedTuple):
    """The oldest records of a chain, its last cut, and the notes of what has records. ``end`` is the last index.

    ``delivered`` is up to where every destination has them.
    """

    records: tuple[AuditRecord, ...]
    end: int
    cut: AuditCut | None
    saves: tuple[AuditSave, ...]
    delivered: int


class Waiting(NamedTuple):
    """Whether records stay that may go. ``unsaved``: nothing has them. ``overdue``: something has had them for days."""

    unsaved: bool
    overdue: bool


class _Plan(NamedTuple):
    """A cut to make, after the cut ``before``. It removes ``records``, the last of which has ``mac``."""

    before: AuditCut | None
    records: Sequence[AuditRecord]
    mac: bytes
    rule: Rule
    saved: Way


class Retainer:
    """The removal of old records in this process, from :meth:`start` to :meth:`close`. Belongs to one event loop."""

    def __init__(
        self,
        store: Store[Rows],
        leases: Leases,
        mac: audit.Mac,
        clock: Clock,
        retention: Retention,
        together: int = TOGETHER,
    ) -> None:
        self._store = store
        self._leases = leases
        self._mac = mac
        self._clock = clock
        self._retention = retention
        self._together = together
        self._loop = Periodic(self.round, PERIOD_S, "old audit records are not removed now")

    def start(self) -> None:
        """Begin to remove records, unless all are kept for ever."""
        if self._retention.is_on:
            self._loop.start()

    async def close(self) -> None:
        """Stop after the transaction under way."""
        await self._loop.close()

    async def round(self) -> None:
        """Remove from each chain what may go now, if this process gets the lease. Raises StoreError."""
        async with self._leases.holding(LEASE) as holding:
            if holding is None:
                return
            for end in await self._store.read(lambda tx: tx.audit_ends()):
                try:
                    await self._cut_chain(holding, end.node)
                except audit.BrokenChainError as broken:
                    log.error("old audit records stay: the chain is broken", node=end.node, why=str(broken))  # noqa: TRY400
                except LeaseLost:
                    return

    async def _cut_chain(self, holding: Holding, node: str) -> None:
        """Cut one chain as far as it may be cut. Raises BrokenChainError, LeaseLost, StoreError."""
        plan = await self._plan(node)
        if plan is None or not is_worth_a_cut(plan.records, plan.before, self._clock.now(), self._together):
            return
        while plan is not None:
            began = self._clock.monotonic()
            await self._store.write(partial(self._cut, holding, plan))
            await asyncio.sleep(self._clock.monotonic() - began)  # so that others get half of the database
            plan = await self._plan(node)

    async def _plan(self, node: str) -> _Plan | None:
        """Return the next cut of a chain, None if there is nothing to cut. Raises BrokenChainError."""
        found = await self._store.read(lambda tx: _oldest(tx, node, self._together))
        genuine = [each for each in found.saves if is_genuine(each, self._mac)]
        if not genuine:
            return None
        saved = max(genuine, key=attrgetter("index"))
        wanted, rule = due(self._retention, found.records, found.end, self._clock.now())
        index = min(wanted, saved.index, found.delivered)
        removed = [each for each in found.records if each.index <= index]
        if not removed:
            return None
        start = (found.cut.index, found.cut.mac) if found.cut else (0, b"")
        _, mac = audit.follow(node, removed, start, self._mac)
        return _Plan(found.cut, removed, mac, rule, saved.way)

    def _cut(self, holding: Holding, plan: _Plan, tx: Rows) -> None:
        """Make a cut, unless another one was made meanwhile."""
        holding.check(tx)
        last = plan.records[-1]
        tx.audit_head(last.node)  # locks the chain
        if tx.audit_cut(last.node) != plan.before:
            return
        cut = AuditCut(last.node, last.index, plan.mac, plan.rule, plan.saved, self._clock.now())
        tx.cut_audit_records(cut)
        append_to(tx, cut.node, self._mac, own_record(cut.node, cut.time, cut_message(cut)))


def _oldest(tx: Rows, node: str, most: int) -> _Oldest:
    """Read the oldest ``most`` records of a chain: from the beginning, so that records that were put back are seen."""
    ends = {each.node: each.index for each in tx.audit_ends()}
    delivered = [
        skipped(Log.AUDIT, cursors_in(each.progress, ends), ends)[0][node] for each in tx.destinations(Log.AUDIT)
    ]
    saves = tuple(each for each in tx.audit_saves(node) if _is_of_this_chain(tx, each))
    end = ends[node]
    return _Oldest(tx.audit_records(node, 0, most), end, tx.audit_cut(node), saves, min(delivered, default=end))


def _is_of_this_chain(tx: AuditRows, save: AuditSave) -> bool:
    """Return True if the chain has the record that a note names. After a restore it may have another one there."""
    return any(each.mac == save.mac for each in tx.audit_records(save.node, save.index - 1, 1))


def waiting(tx: AuditRows, retention: Retention, now: datetime) -> Waiting:
    """Return whether records that may go stay, because nothing has them, or for another reason."""
    unsaved = overdue = False
    for end in tx.audit_ends() if retention.is_on else ():
        cut = tx.audit_cut(end.node)
        first = cut.index if cut else 0
        saved = max([first, *(each.index for each in tx.audit_saves(end.node))])
        unsaved |= retention.is_over(end.index - saved) or _is_old(tx, end.node, saved, retention, now)
        overdue |= saved > first and _is_old(tx, end.node, first, retention, now - OVERDUE)
    return Waiting(unsaved, overdue)


def _is_old(tx: AuditRows, node: str, after: int, retention: Retention, now: datetime) -> bool:
    """Return True if the record after an index may go because of its age."""
    return any(retention.is_old(each, now) for each in tx.audit_records(node, after, 1))

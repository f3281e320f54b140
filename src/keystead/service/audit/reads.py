"""Audit records of reads of key material: each is durable before the material leaves.

Reads that come together share one transaction, and those of one key by one account from one address share one record.
The transaction also compares the rows of their keys with the keys that the reads used, so that nothing is read of a key
that has changed.

While the database is away, or takes longer than :data:`PATIENCE_S`, nothing is compared. The records then go to the
node's spool, as long as :class:`keystead.service.offline.OfflineReads` allows it. When the database is back, they are
merged into the audit chain, each exactly once. Every record has the ids of its reads. The merge searches the chain for
the first of them, because a commit that failed may have been stored.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from keystead.core.audit import READS_TOGETHER, read_message
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.announcing import add_events
from keystead.service.audit.first_reads import first_reads
from keystead.service.failures import retrieve_failure
from keystead.service.offline import WITHDRAWN
from keystead.service.ports.cluster import AccountRows, AuditRows, ClusterRows, EventRows
from keystead.service.ports.keys import KeyRows
from keystead.service.ports.store import NotAMember, StorageError, StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from keystead.core.keys.model import Key
    from keystead.core.model import AuditRecord
    from keystead.service.audit.log import AuditLog
    from keystead.service.audit.spool import Piece, ReadSpool
    from keystead.service.context import Call
    from keystead.service.offline import OfflineReads
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

PATIENCE_S = 2.0
"""Seconds that a commit may take before its records go to the spool."""

AWAY_S = 1.0
"""Seconds that a failed database is left alone, and the pause after a failed merge of the spool."""

GATHER_S = 0.002
"""Seconds that a group waits for more reads, when reads come together. A commit costs as much as forty records."""

TOGETHER = 500
"""Most records of one commit, and of one piece of the spool."""


_CALL = attrgetter("account", "role", "location", "svm_uuid", "svm", "method", "path", "input")


class Rows(AuditRows, AccountRows, ClusterRows, EventRows, KeyRows, Protocol):
    """The rows that this module reads and writes."""


class _Waiting(NamedTuple):
    """One or more reads that wait for their record. ``first`` is True if one may be the first of its account."""

    key: Key
    record: AuditRecord
    first: bool
    kept: tuple[asyncio.Future[bool], ...]


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """The limits of a recorder of reads; see the constants of this module."""

    patience_s: float = PATIENCE_S
    away_s: float = AWAY_S
    together: int = TOGETHER


class ReadAudit:
    """The recorder of reads, one group after the other. ``offline``: when the spool may take records."""

    def __init__(
        self,
        store: Store[Rows],
        audit: AuditLog,
        spool: ReadSpool,
        clock: Clock,
        node: str,
        offline: OfflineReads,
        *,
        limits: ReadLimits = ReadLimits(),
    ) -> None:
        self._offline = offline
        self._limits = limits
        self._store = store
        self._audit = audit
        self._spool = spool
        self._clock = clock
        self.node = node
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._together = False  # True if the last group had more than one read
        self._spooled = True  # until a merge shows that the spool is empty
        self._place = 0  # offset in the spool up to which it is merged
        self._away_until = 0.0
        self._merge_from = 0.0

    @property
    def is_waiting(self) -> bool:
        """True if records wait in the spool for the database."""
        return self._spooled

    def start(self) -> None:
        """Begin to record. Records that an earlier process left in the spool are merged soon."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    def keep(self, call: Call, key: Key) -> Awaitable[bool]:
        """Record a read. The awaitable ends when the record is durable. On StoreError, the read must not be answered.

        Its result is True if the key is unchanged. A read of a changed key is not recorded, and must not be answered.
        The record is written whether or not anybody waits for it. Raises StoreError once this recorder is closed.
        """
        if self._closing:
            raise StoreError("reads are not recorded any more")
        record = self._audit.read(call, key.key_id, secrets.token_hex(8), svm=key.svm)
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        kept.add_done_callback(retrieve_failure)
        self._waiting.append(_Waiting(key, record, not call.caller.has_read_keys, (kept,)))
        self._wake.set()
        return kept

    async def close(self) -> None:
        """Record the waiting reads, and end. Records in the spool stay there for the next process."""
        self._closing = True
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while self._waiting or not self._closing:
            if self._waiting:
                await self._keep_waiting()
            elif self._spooled and not self._away and self._merge_from <= self._clock.monotonic():
                await self._merge()
            else:
                await self._pause()

    async def _pause(self) -> None:
        """Wait for a read; only for a short time while the spool has records to merge."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.away_s if self._spooled else None):
                await self._wake.wait()
        self._wake.clear()

    @property
    def _away(self) -> bool:
        return self._clock.monotonic() < self._away_until

    # --- groups ---

    async def _keep_waiting(self) -> None:
        """Record a group of reads, and give each read its outcome or the error."""
        if self._together:
            await asyncio.sleep(GATHER_S)
        most = self._limits.together
        taken, self._waiting = self._waiting[:most], self._waiting[most:]
        self._together = len(taken) > 1
        group = _by_likeness(taken)
        try:
            outcomes = await self._keep(group)
        except StoreError as error:
            outcomes = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - on no failure may reads hang, or be answered
            log.error("reads not recorded", why=type(error).__name__)  # noqa: TRY400 - its text may quote anything
            outcomes = [StoreError("the audit record cannot be written")] * len(group)
        for each, outcome in zip(group, outcomes, strict=True):
            for kept in each.kept:
                if kept.done():  # its caller was cancelled
                    continue
                if isinstance(outcome, StoreError):
                    kept.set_exception(outcome)
                else:
                    kept.set_result(outcome)

    async def _keep(self, group: Sequence[_Waiting]) -> Sequence[bool | StoreError]:
        """Record the reads of unchanged keys, and return for each read whether its key is unchanged.

        In the spool all reads are recorded, and all keys count as unchanged, but for what another node has withdrawn.
        Raises StoreError if the spool fails too, or if the database fails and no read may be answered without it.
        """
        if not self._away or not self._offline.allowed():
            try:
                async with asyncio.timeout(self._limits.patience_s):
                    return await self._store.write(lambda tx: self._compare_and_append(tx, group))
            except NotAMember:
                raise
            except (StoreError, TimeoutError) as error:
                self._database_failed(error)
                self._offline.require()
        self._spooled = True
        try:
            await asyncio.to_thread(self._spool.append, [each.record for each in group if not self._withdrawn(each)])
        except OSError as error:
            raise StoreError(f"neither the database nor the spool takes audit records: {error.strerror}") from None
        return [self._withdrawn(each) or True for each in group]  # again, because a withdrawal may have come meanwhile

    def _withdrawn(self, waiting: _Waiting) -> StoreError | None:
        """Return the error for a read of a key, or by an account, that another node has withdrawn."""
        things = Withdrawn(Thing.KEY, waiting.key.key_id), Withdrawn(Thing.ACCOUNT, waiting.record.account)
        if self._offline.is_withdrawn(*things):
            return StorageError("a read of what was withdrawn is not answered without the database", WITHDRAWN)
        return None

    def _compare_and_append(self, tx: Rows, group: Sequence[_Waiting]) -> list[bool]:
        now = tx.key_standings({each.key.key_id for each in group})
        unchanged = [now.get(each.key.key_id) == each.key.standing for each in group]
        reads = [each for each, same in zip(group, unchanged, strict=True) if same]
        announced = first_reads(tx, [each.record for each in reads if each.first], self.node, self._clock.now())
        if reads:
            self._audit.append(tx, *(each.record for each in reads))
        add_events(tx, announced)
        return unchanged

    def _database_failed(self, error: Exception) -> None:
        """Leave the database alone for a while. The next merge starts again at the beginning of the spool."""
        if not self._spooled:
            log.warning("reads are recorded in the spool", why=str(error) or "the database is slow")
        self._away_until = self._clock.monotonic() + self._limits.away_s
        self._place = 0

    # --- the merge ---

    async def _merge(self) -> None:
        """Merge one piece of the spool into the chain, and delete the file after the last piece."""
        try:
            piece = await asyncio.to_thread(self._spool.read, self._place, self._limits.together)
            await self._store.write(lambda tx: self._append_unrecorded(tx, piece))
            if piece.damaged:
                log.error("read spool: lines skipped, torn or without a valid MAC", lines=piece.damaged)
            self._place = piece.next or 0
            if piece.next is None:
                await asyncio.to_thread(self._spool.clear)
                self._spooled = False
                log.info("the spool of reads is merged")
        except StoreError as error:
            self._database_failed(error)
        except FileNotFoundError:
            self._spooled = False
        except Exception as error:  # noqa: BLE001 - no failure of a merge may stop reads
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            log.error("the spool of reads cannot be merged", why=why)  # noqa: TRY400 - its text may quote anything
            self._place = 0
            self._merge_from = self._clock.monotonic() + self._limits.away_s

    def _append_unrecorded(self, tx: Rows, piece: Piece) -> None:
        announced = first_reads(tx, piece.records, self.node, self._clock.now())
        if records := self._audit.unrecorded(tx, piece.records):
            self._audit.append(tx, *records)
        add_events(tx, announced)


def _by_likeness(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Return reads that differ in nothing but their read ids as one each, in the order of the first of them.

    Such are the reads of one key by one account from one address. A record tells of a limited number of them.
    """
    alike: dict[tuple[object, ...], list[_Waiting]] = {}
    for each in waiting:
        alike.setdefault((each.key.key_id, each.key.standing, *_CALL(each.record)), []).append(each)
    return [
        _as_one(of[start : start + READS_TOGETHER])
        for of in alike.values()
        for start in range(0, len(of), READS_TOGETHER)
    ]


def _as_one(alike: Sequence[_Waiting]) -> _Waiting:
    """Return reads that are alike as one, whose record has every read id."""
    if len(alike) == 1:
        return alike[0]
    key, record = alike[0].key, alike[0].record
    message = read_message(key.key_id, *(each.record.read_id or "" for each in alike))
    kept = tuple(kept for each in alike for kept in each.kept)
    return _Waiting(key, replace(record, message=message), any(each.first for each in alike), kept)

"""Audit records of reads of key material: each is durable before the material leaves.

Reads that come together are one transaction, which also compares the rows of their keys with what the reads go by, so
that nothing is read of a key that has changed. While the database is away, or takes longer than :data:`PATIENCE_S`,
nothing is compared, and the records go to the node's spool instead; into the audit chain when it is back, each exactly
once: every record names its read, and the chain is searched for those of the spool, since nobody knows of a commit that
broke whether it happened.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import structlog

from keystead.service.audit.spool import Spooled
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from keystead.core.keys.model import Key
    from keystead.core.model import AuditRecord
    from keystead.service.audit.log import AuditLog
    from keystead.service.audit.spool import Piece, ReadSpool
    from keystead.service.context import Call
    from keystead.service.ports.store import Clock, Store, Transaction

log = structlog.get_logger(__name__)

PATIENCE_S = 2.0
"""How long a commit may take before its records go to the spool."""

AWAY_S = 1.0
"""How long a database that failed, and a spool that could not be merged, are left alone."""

GATHER_S = 0.002
"""How long a group waits for more reads where they come together: a commit costs as much as forty records."""

TOGETHER = 500
"""Records of one commit at most, and of one piece of the spool."""

_READ = re.compile(r", read ([0-9a-f]{16})$")


class _Waiting(NamedTuple):
    """A record whose read waits."""

    id: str
    key: Key
    record: AuditRecord
    kept: asyncio.Future[bool]


class ReadAudit:
    """Keeps the records, one group after the other. With ``fail_closed`` the database must have each of them."""

    def __init__(
        self, store: Store, audit: AuditLog, spool: ReadSpool, clock: Clock, *, fail_closed: bool = False
    ) -> None:
        self._fail_closed = fail_closed
        self._store = store
        self._audit = audit
        self._spool = spool
        self._clock = clock
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._together = False  # whether the last group was of more than one read
        self._spooled = False
        self._place = 0  # how far the spool is merged
        self._known: frozenset[str] | None = None  # reads that the chain had when the merge began
        self._after = 0  # the chain's last index, as it is known here
        self._away_until = 0.0
        self._merge_from = 0.0

    async def start(self) -> None:
        """Begin; what an earlier process left in the spool is merged soon. Raises StoreError."""
        self._after = await self._store.read(self._audit.last_index)
        self._spooled = await asyncio.to_thread(self._spool.waiting)
        self._task = asyncio.get_running_loop().create_task(self._run())

    def keep(self, call: Call, key: Key) -> Awaitable[bool]:
        """Record a read. What is returned is done when the record is durable; with StoreError, it must not be answered.

        It says whether the key is as it was; a read of one that has changed is neither recorded nor to be answered. The
        record is written whether or not anybody waits for it. Raises StoreError once this is closed.
        """
        if self._closing:
            raise StoreError("reads are not recorded any more")
        id_ = secrets.token_hex(8)
        record = self._audit.success(call, f"retrieval of key {key.key_id}, read {id_}", svm=key.svm)
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        kept.add_done_callback(_look_at)
        self._waiting.append(_Waiting(id_, key, record, kept))
        self._wake.set()
        return kept

    async def close(self) -> None:
        """Keep what waits, and end. What is in the spool stays there for the next process."""
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
        """Wait for a record; while there is something to merge, not for long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(AWAY_S if self._spooled else None):
                await self._wake.wait()
        self._wake.clear()

    @property
    def _away(self) -> bool:
        return self._clock.monotonic() < self._away_until

    # --- groups ---

    async def _keep_waiting(self) -> None:
        """Keep a group's records, or say to its reads why that failed."""
        if self._together:
            await asyncio.sleep(GATHER_S)
        group, self._waiting = self._waiting[:TOGETHER], self._waiting[TOGETHER:]
        self._together = len(group) > 1
        try:
            outcomes: Sequence[bool | StoreError] = await self._keep(group)
        except StoreError as error:
            outcomes = [error] * len(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, reads must neither hang nor be answered
            log.error("reads not recorded", why=type(error).__name__)  # noqa: TRY400 - its text may quote anything
            outcomes = [StoreError("the audit record cannot be written")] * len(group)
        for each, outcome in zip(group, outcomes, strict=True):
            if each.kept.done():  # its caller went away
                continue
            if isinstance(outcome, StoreError):
                each.kept.set_exception(outcome)
            else:
                each.kept.set_result(outcome)

    async def _keep(self, group: Sequence[_Waiting]) -> list[bool]:
        """Keep records of keys that are as they were, and say which are; in the spool, all are taken to be."""
        if self._fail_closed or not self._away:
            try:
                async with asyncio.timeout(PATIENCE_S):
                    unchanged, self._after = await self._store.write(lambda tx: self._compare_and_append(tx, group))
            except (StoreError, TimeoutError) as error:
                self._database_failed(error)
                if self._fail_closed:
                    raise StoreError("the audit record of a read is not in the database") from None
            else:
                return unchanged
        spooled = [Spooled(each.id, self._after, each.record) for each in group]
        self._spooled = True
        try:
            await asyncio.to_thread(self._spool.append, spooled)
        except OSError as error:
            raise StoreError(f"neither the database nor the spool takes audit records: {error.strerror}") from None
        return [True] * len(group)

    def _compare_and_append(self, tx: Transaction, group: Sequence[_Waiting]) -> tuple[list[bool], int]:
        now = tx.key_standings({each.key.key_id for each in group})
        unchanged = [now.get(each.key.key_id) == each.key.standing for each in group]
        records = [each.record for each, same in zip(group, unchanged, strict=True) if same]
        return unchanged, self._audit.append(tx, *records) if records else self._after

    def _database_failed(self, error: Exception) -> None:
        """Leave the database alone for a while; what is merged then is compared with the chain anew."""
        if not self._spooled:
            log.warning("reads are recorded in the spool", why=str(error) or "the database is slow")
        self._away_until = self._clock.monotonic() + AWAY_S
        self._place, self._known = 0, None

    # --- the merge ---

    async def _merge(self) -> None:
        """Bring one piece of the spool into the chain, and delete the file after the last."""
        try:
            piece = await asyncio.to_thread(self._spool.read, self._place, TOGETHER)
            self._known, self._after = await self._store.write(lambda tx: self._append(tx, piece))
            if piece.damaged:
                log.error("lines of the spool were torn or are not ours", lines=piece.damaged)
            self._place = piece.next or 0
            if piece.next is None:
                await asyncio.to_thread(self._spool.clear)
                self._spooled, self._known = False, None
                log.info("the spool of reads is merged")
        except StoreError as error:
            self._database_failed(error)
        except FileNotFoundError:
            self._spooled = False
        except Exception as error:  # noqa: BLE001 - whatever it is, reads go on
            why = error.strerror if isinstance(error, OSError) else type(error).__name__
            log.error("the spool of reads cannot be merged", why=why)  # noqa: TRY400 - its text may quote anything
            self._place, self._known = 0, None
            self._merge_from = self._clock.monotonic() + AWAY_S

    def _append(self, tx: Transaction, piece: Piece) -> tuple[frozenset[str], int]:
        """Append those that the chain has not. The first piece's search holds the chain: no commit comes late."""
        last = self._audit.last_index(tx)
        known = self._known
        if known is None:
            after = piece.records[0].after if piece.records else last
            messages = (record.message for record in self._audit.records_after(tx, after))
            known = frozenset(found[1] for message in messages if (found := _READ.search(message)))
        fresh = [each.record for each in piece.records if each.id not in known]
        return known, self._audit.append(tx, *fresh) if fresh else last


def _look_at(kept: asyncio.Future[bool]) -> None:
    """Look at how it ended: who has failed otherwise does not."""
    if not kept.cancelled():
        kept.exception()

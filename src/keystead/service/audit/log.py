"""The audit log: one chain of records per node, for changes, refusals, denials and failed logins.

The record of a change is part of the transaction that makes the change. The record of a refusal has a transaction of
its own, and its failure never changes the answer. Failed logins are counted per minute, account and address, so that a
password guesser cannot fill the database.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol

import structlog

from keystead.core import audit
from keystead.core.errors import AUTHENTICATION_FAILED
from keystead.core.model import AuditRecord, Role
from keystead.service.context import Call, Caller
from keystead.service.ports.cluster import AuditRows, ClusterRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.errors import OntapError
    from keystead.core.model import Account, Svm
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

BUCKETS = 1024
"""Most combinations of minute, account and address that have a count of their own.

Further failed logins share one count.
"""

FLUSH_S = 5.0
"""Seconds between two writes of the failed logins of past minutes."""

REFUSAL_WAIT_S = 1.0
"""Seconds that an answer waits for the record of its refusal. A slower record is written after the answer."""

SETTINGS_S = 5.0
"""Seconds for which the cluster's options are remembered. Another node may have changed them meanwhile."""

LATE_LIMIT = 1000
"""Most records that are written after their answers. Beyond this number, answers wait for their records."""

INITIALISED = "initialised"
"""The message of record 1 of every node. No other record has it."""

INTERNAL = Call(Caller("", Role.ADMIN, ""), "", "")
"""The call of records that no call made."""

_OTHERS = "(others)"
_MINUTE = timedelta(minutes=1)


class Rows(ClusterRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class _Bucket(NamedTuple):
    """Failed logins that are counted together. SVM and role are those of the account of this name, if there is one."""

    minute: datetime
    account: str
    location: str
    svm: Svm | None = None
    role: str = ""


@dataclass(frozen=True, slots=True)
class LogLimits:
    """The limits of an audit log; see the constants of this module."""

    flush_s: float = FLUSH_S
    refusal_wait_s: float = REFUSAL_WAIT_S
    late: int = LATE_LIMIT


class AuditLog:
    """The writer of one node's chain. ``svm`` is the SVM of the object that a call touches, None for the cluster."""

    def __init__(
        self, store: Store[Rows], sealer: Sealer, clock: Clock, node_uuid: str, limits: LogLimits = LogLimits()
    ) -> None:
        self._store = store
        self._limits = limits
        self._mac = sealer.mac
        self._clock = clock
        self._node = node_uuid
        self._failed_logins: dict[_Bucket, int] = {}
        self._timer: asyncio.Task[None] | None = None
        self._refusals: set[asyncio.Task[None]] = set()
        self._reads = False
        self._settings_until = 0.0

    def succeed(self, tx: AuditRows, call: Call, message: str = "", *, svm: Svm | None = None) -> None:
        """Append the record of a change to the transaction that makes it. Call it last, because it locks the chain."""
        self.append(tx, self.success(call, message, svm=svm))

    def act(self, tx: AuditRows, message: str, *, svm: Svm | None = None) -> None:
        """Append the record of what the service does of its own accord. Call it last, because it locks the chain.

        Needed wherever the loss of the transaction in a failover would do harm: see docs/explanation/failover.md.
        """
        self.succeed(tx, INTERNAL, message, svm=svm)

    def success(self, call: Call, message: str = "", *, svm: Svm | None = None) -> AuditRecord:
        """Return the record of a call that succeeded. The caller gives it to :meth:`append`."""
        return self._record(call, svm or call.scope, "success", "", message)

    def read(self, call: Call, key_id: str, read_id: str, *, svm: Svm | None) -> AuditRecord:
        """Return the record of a read of key material. The caller gives it to :meth:`append`."""
        return replace(self.success(call, audit.read_message(key_id, read_id), svm=svm), read_id=read_id)

    def append(self, tx: AuditRows, *records: AuditRecord) -> None:
        """Append one or more records to the node's chain, which it locks."""
        append_to(tx, self._node, self._mac, *records)

    def unrecorded(self, tx: AuditRows, reads: Sequence[AuditRecord]) -> list[AuditRecord]:
        """Return the records of reads that the node's chain lacks, by their read ids. In a write, it locks the chain.

        It locks before it searches, so that a record that another transaction commits meanwhile is found.
        """
        tx.audit_head(self._node)
        recorded = tx.recorded_reads(self._node, {each.read_id for each in reads if each.read_id})
        return [each for each in reads if each.read_id not in recorded]

    async def refuse(self, call: Call, error: OntapError) -> None:
        """Append the record of a refused or denied call in a transaction of its own. Raises no StoreError.

        It returns in about a second. If the database is busy for longer, the record is written later, or logged as
        lost.
        """
        await self._append_soon(self._refusal(call, error))

    async def _append_soon(self, record: AuditRecord) -> None:
        patience = self._limits.refusal_wait_s if len(self._refusals) < self._limits.late else None
        task = asyncio.get_running_loop().create_task(self._append_alone(record))
        self._refusals.add(task)
        task.add_done_callback(self._refusals.discard)
        done, _ = await asyncio.wait([task], timeout=patience)
        if not done:
            log.warning("audit record late", path=record.path, code=record.code, account=record.account)

    async def _append_alone(self, record: AuditRecord) -> None:
        try:
            await self._store.write(lambda tx: self.append(tx, record))
        except Exception as failure:  # noqa: BLE001 - nobody awaits this; only a StoreError's text is safe
            why = str(failure) if isinstance(failure, StoreError) else type(failure).__name__
            log.error(  # noqa: TRY400 - the text says it
                "audit record lost", path=record.path, code=record.code, account=record.account, why=why
            )

    async def answered(self, call: Call, error: OntapError | None) -> None:
        """Append the record of an answered read, if the cluster's options ask for such records."""
        if await self._records_reads():
            await self._append_soon(self._refusal(call, error) if error else self.success(call))

    def forget_settings(self) -> None:
        """Forget the options, so that the next answered read reads them again."""
        self._settings_until = 0.0

    async def _records_reads(self) -> bool:
        now = self._clock.monotonic()
        if now >= self._settings_until:
            self._settings_until = now + SETTINGS_S
            try:
                self._reads = (await self._store.read_few(lambda tx: tx.options())).audit_http
            except StoreError as failure:
                log.warning("audit settings not read", why=str(failure))
        return self._reads

    def login_failed(self, name: str, location: str, account: Account | None = None) -> None:
        """Count a failed login. The name is text from the caller, so it is cleaned and cut.

        ``account`` is the account of this name, if there is one. The record then belongs to the account's SVM, so that
        the SVM's readers see who tries to log in.
        """
        minute = self._clock.now().replace(second=0, microsecond=0)
        owner, role = (account.svm, account.role.value) if account else (None, "")
        bucket = _Bucket(minute, audit.cleaned(name, 64), audit.cleaned(location, 64), owner, role)
        if bucket not in self._failed_logins and len(self._failed_logins) >= BUCKETS:
            bucket = _Bucket(minute, _OTHERS, _OTHERS)
        self._failed_logins[bucket] = self._failed_logins.get(bucket, 0) + 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().create_task(self._flush_in_time())

    async def flush(self, *, everything: bool = False) -> None:
        """Write the failed logins of past minutes, or all with ``everything``.

        Logins that cannot be written stay for later.
        """
        over = self._clock.now() - _MINUTE
        due = {bucket: count for bucket, count in self._failed_logins.items() if everything or bucket.minute <= over}
        if not due:
            return
        records = [self._logins(bucket, count) for bucket, count in due.items()]
        try:
            await self._store.write(lambda tx: self.append(tx, *records))
        except StoreError as failure:  # logged without its traceback, because the text is enough
            log.error(  # noqa: TRY400
                "failed logins not recorded yet", logins=sum(due.values()), why=str(failure)
            )
            return
        for bucket, count in due.items():
            self._failed_logins[bucket] -= count
            if not self._failed_logins[bucket]:
                del self._failed_logins[bucket]

    async def close(self) -> None:
        """Write all failed logins that are only counted so far, and wait for late records."""
        if self._timer is not None:
            self._timer.cancel()
            await asyncio.wait([self._timer])  # so that a flush in its commit subtracts what it wrote
            self._timer = None
        await self.flush(everything=True)
        if self._refusals:
            await asyncio.wait(self._refusals)

    async def _flush_in_time(self) -> None:
        """Flush periodically while there are failed logins that are not written."""
        while self._failed_logins:
            await asyncio.sleep(self._limits.flush_s)
            await self.flush()
        self._timer = None

    def _refusal(self, call: Call, error: OntapError) -> AuditRecord:
        """Return the record of a refused call. Its SVM is that of the object that was found, else the caller's own.

        The SVM of a tunnel is not used, because the path may name an object of another SVM.
        """
        return self._record(call, error.svm or call.caller.svm, "error", str(error.kind.code), error.message)

    def _record(self, call: Call, svm: Svm | None, state: str, code: str, message: str) -> AuditRecord:
        return AuditRecord(
            node=self._node,
            index=0,
            timestamp=self._clock.now(),
            account=audit.cleaned(call.caller.account),
            location=audit.cleaned(call.caller.location),
            svm=svm.name if svm else "",
            method=audit.cleaned(call.method, 16),
            path=audit.cleaned(call.path, 4 * audit.TEXT_LIMIT),
            input=audit.cleaned(call.input, audit.INPUT_LIMIT),
            state=state,
            code=code,
            message=audit.cleaned(message, 4 * audit.TEXT_LIMIT),
            role=call.caller.role.value,
            svm_uuid=svm.uuid if svm else "",
        )

    def _logins(self, bucket: _Bucket, count: int) -> AuditRecord:
        return AuditRecord(
            node=self._node,
            index=0,
            timestamp=self._clock.now(),
            account=bucket.account,
            location=bucket.location,
            svm=bucket.svm.name if bucket.svm else "",
            method="",
            path="",
            input="",
            state="error",
            code=str(AUTHENTICATION_FAILED.code),
            message=f"{count} failed login{'s' * (count > 1)} in the minute of {bucket.minute:%Y-%m-%dT%H:%MZ}",
            role=bucket.role,
            svm_uuid=bucket.svm.uuid if bucket.svm else "",
        )


def append_to(tx: AuditRows, node: str, mac: audit.Mac, *records: AuditRecord) -> None:
    """Append one or more records to the chain of any node, which it locks."""
    chained, head = audit.append_all(records, tx.audit_head(node), mac)
    tx.add_audit_records(chained, head)


def own_record(node: str, time: datetime, message: str) -> AuditRecord:
    """Return the record of what the service itself did, without a call. The caller appends it to the node's chain."""
    return AuditRecord(node, 0, time, "", "", "", "", "", "", "success", "", message)


def begin(tx: AuditRows, sealer: Sealer, clock: Clock, node: str) -> None:
    """Append record 1 of a new node. Every node has it, so the loss of a whole chain is noticed."""
    if tx.audit_head(node) is None:
        append_to(tx, node, sealer.mac, own_record(node, clock.now(), INITIALISED))

"""How long audit records are kept, which of them may be removed, and what tells of a removal (a cut).

A cut removes the oldest records of a node's chain. It is itself a record of the chain, so nobody can cut silently. A
row beside the chain has the same facts, because a verification needs the last removed record's MAC to begin with. Only
records that a backup or an export has are removed. A note with a MAC says up to where each of them reached.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.audit import joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.audit import Mac
    from keystead.core.model import AuditRecord

AGAIN: Final = timedelta(days=1)
"""Time between two cuts of few records, so that the records of cuts do not crowd out the others."""

OVERDUE: Final = timedelta(days=2)
"""How long records may outlive their age before somebody has to look why."""


class Rule(StrEnum):
    """Why records were removed: by the setting ``audit_keep_days`` or ``audit_keep_records``."""

    AGE = "audit_keep_days"
    NUMBER = "audit_keep_records"


class Way(StrEnum):
    """What has the removed records."""

    BACKUP = "backup"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long records are kept: so many days, and so many of each node. 0 stands for no limit."""

    days: int = 0
    records: int = 0

    @property
    def is_on(self) -> bool:
        """True if records are removed at all."""
        return bool(self.days or self.records)

    def is_old(self, record: AuditRecord, now: datetime) -> bool:
        """Return True if a record may be removed because of its age."""
        return bool(self.days) and record.timestamp < now - timedelta(days=self.days)

    def is_over(self, kept: int) -> bool:
        """Return True if so many records of a node are too many."""
        return bool(self.records) and kept > self.records


FOR_EVER: Final = Retention()


@dataclass(frozen=True, slots=True)
class AuditCut:
    """The last cut of a node's chain: records 1 to ``index`` are gone, ``mac`` is the MAC of record ``index``.

    ``rule`` removed them, ``saved`` says what has them.
    """

    node: str
    index: int
    mac: bytes
    rule: Rule
    saved: Way
    time: datetime

    def __str__(self) -> str:
        return f"records 1 to {self.index} were removed on {self.time:%Y-%m-%d %H:%M} UTC after {self.saved}"


@dataclass(frozen=True, slots=True)
class AuditSave:
    """A note that a backup or an export has a node's records up to ``index``, whose MAC is ``mac``.

    ``note_mac`` covers the other fields, so that nobody who only has the database can have records removed.
    """

    node: str
    way: Way
    index: int
    mac: bytes
    time: datetime
    note_mac: bytes = b""


def signed(save: AuditSave, mac: Mac) -> AuditSave:
    """Return the note with its MAC."""
    return replace(save, note_mac=mac(_canonical(save)))


def is_genuine(save: AuditSave, mac: Mac) -> bool:
    """Return True if the note was made by this service."""
    return hmac.compare_digest(save.note_mac, mac(_canonical(save)))


def _canonical(save: AuditSave) -> bytes:
    time = save.time.astimezone(UTC).isoformat(timespec="microseconds")
    texts = ("keystead audit save v1", save.node, save.way.value, str(save.index), time)
    return joined([*(text.encode() for text in texts), save.mac])


# --- which records may be removed ---


def due(retention: Retention, oldest: Sequence[AuditRecord], end: int, now: datetime) -> tuple[int, Rule]:
    """Return up to which index the oldest records of a chain may be removed, and by which rule; index 0 for none.

    ``end`` is the index of the chain's last record. The record of the cut counts as one that is kept.
    """
    if not oldest:
        return 0, Rule.AGE
    by_age = next((each.index - 1 for each in oldest if not retention.is_old(each, now)), oldest[-1].index)
    kept = end - oldest[0].index + 1
    by_number = min(end + 1 - retention.records, oldest[-1].index) if retention.is_over(kept) else 0
    if by_age >= max(by_number, oldest[0].index):
        return by_age, Rule.AGE
    return by_number, Rule.NUMBER


def is_worth_a_cut(removed: Sequence[AuditRecord], before: AuditCut | None, now: datetime, many: int) -> bool:
    """Return True if these records should be removed now: few are removed once a day.

    ``before`` is the last cut. Records of cuts alone are not worth another one.
    """
    if all(cut_in(each) for each in removed):
        return False
    return len(removed) >= many or before is None or now - before.time >= AGAIN


# --- the record of a cut ---

_CUT: Final = re.compile(
    r"removed audit records 1 to (\d+), the last with MAC ([0-9a-f]+), because of (audit_keep_\w+), after (\w+)"
)


def cut_message(cut: AuditCut) -> str:
    """Return the message of the record of a cut."""
    return (
        f"removed audit records 1 to {cut.index}, the last with MAC {cut.mac.hex()},"
        f" because of {cut.rule}, after {cut.saved}"
    )


def cut_in(record: AuditRecord) -> AuditCut | None:
    """Return the cut that a record tells of, None for other records. No record of a call is one."""
    if record.method or record.path or record.account or record.state != "success":
        return None
    found = _CUT.fullmatch(record.message)
    if found is None:
        return None
    index, mac, rule, saved = found.groups()
    return AuditCut(record.node, int(index), bytes.fromhex(mac), Rule(rule), Way(saved), record.timestamp)

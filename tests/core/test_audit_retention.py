"""How long audit records are kept: which may go, and what the record of a cut says."""

from __future__ import annotations

import hmac
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.audit_retention import (
    FOR_EVER,
    AuditCut,
    AuditSave,
    Retention,
    Rule,
    Way,
    cut_in,
    cut_message,
    due,
    is_genuine,
    is_worth_a_cut,
    signed,
)
from keystead.core.model import AuditRecord

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CUT = AuditCut("node-1", 7, b"\x0a\xbc", Rule.AGE, Way.EXPORT, NOON)
SAVE = AuditSave("node-1", Way.BACKUP, 7, b"mac", NOON)


def mac(message: bytes) -> bytes:
    """Compute a MAC like the keyring's."""
    return hmac.digest(b"key", message, "sha256")


def record(index: int, days_old: float = 0, message: str = "done") -> AuditRecord:
    """Return a record of the service itself."""
    time = NOON - timedelta(days=days_old)
    return AuditRecord("node-1", index, time, "", "", "", "", "", "", "success", "", message)


def test_for_ever() -> None:
    """It is the default, and then nothing is due."""
    assert (FOR_EVER.is_on, Retention(1).is_on, Retention(0, 1).is_on) == (False, True, True)
    assert due(FOR_EVER, [record(1, 10_000)], 10**6, NOON)[0] == 0


@pytest.mark.parametrize(
    ("retention", "ages", "end", "expected"),
    [
        (Retention(30), [40, 31, 29], 10, (6, Rule.AGE)),
        (Retention(30), [40, 29, 31], 10, (5, Rule.AGE)),
        (Retention(30), [29, 40], 10, (0, Rule.NUMBER)),
        (Retention(30), [40, 40], 10, (6, Rule.AGE)),
        (Retention(0, 6), [0, 0, 0], 10, (0, Rule.NUMBER)),
        (Retention(0, 5), [0, 0, 0], 10, (6, Rule.NUMBER)),
        (Retention(0, 1), [0, 0, 0], 10, (7, Rule.NUMBER)),
        (Retention(30, 5), [40, 0, 0], 10, (6, Rule.NUMBER)),
        (Retention(30, 5), [40, 40, 0], 10, (6, Rule.AGE)),
        (Retention(30, 6), [40, 0, 0], 10, (5, Rule.AGE)),
    ],
    ids=[
        "old ones", "in order", "the first is young", "all that were read", "not too many", "the cut counts, too",
        "no more than were read", "number goes further", "age goes as far", "only age",
    ],
)  # fmt: skip
def test_which_records_are_due(retention: Retention, ages: list[float], end: int, expected: tuple[int, Rule]) -> None:
    """The oldest records are 5 and those after it."""
    oldest = [record(index, age) for index, age in enumerate(ages, 5)]
    found, rule = due(retention, oldest, end, NOON)
    assert (found, rule if found else Rule.NUMBER) == expected


def test_an_empty_chain_has_nothing_due() -> None:
    """Nor has one whose records are all gone."""
    assert due(Retention(1, 1), [], 5, NOON)[0] == 0


def test_few_records_are_removed_once_a_day() -> None:
    """Many at once, and the records of cuts never alone."""
    few, many = [record(1)], [record(1), record(2)]
    today, yesterday = replace(CUT, time=NOON - timedelta(hours=23)), replace(CUT, time=NOON - timedelta(days=1))
    assert [is_worth_a_cut(few, each, NOON, 2) for each in (None, today, yesterday)] == [True, False, True]
    assert is_worth_a_cut(many, today, NOON, 2)
    assert not is_worth_a_cut([record(1, 0, cut_message(CUT))] * 2, None, NOON, 2)


def test_the_record_of_a_cut_tells_all_of_it() -> None:
    """The message has what the row has; the time is the record's."""
    assert cut_in(record(9, 0, cut_message(CUT))) == CUT
    assert str(CUT) == "records 1 to 7 were removed on 2026-03-01 12:00 UTC after export"


@pytest.mark.parametrize("field", ["method", "path", "account", "state"])
def test_no_call_can_make_such_a_record(field: str) -> None:
    """Whatever its message says."""
    assert cut_in(replace(record(9, 0, cut_message(CUT)), **{field: "x"})) is None  # type: ignore[arg-type]
    assert cut_in(record(9)) is None


@pytest.mark.parametrize(
    "change", [{"node": "n"}, {"way": Way.EXPORT}, {"index": 8}, {"mac": b"m"}, {"time": NOON + timedelta(1)}]
)
def test_a_note_that_was_altered_is_not_genuine(change: dict[str, object]) -> None:
    """Its MAC covers every field."""
    note = signed(SAVE, mac)
    assert is_genuine(note, mac)
    assert not is_genuine(replace(note, **change), mac)  # type: ignore[arg-type]

"""Exported audit records: lines that come back, lines that do not, and how stretches join."""

from __future__ import annotations

import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keystead.core import audit
from keystead.core.audit_files import (
    DamagedFileError,
    Header,
    Part,
    Stretch,
    header_in,
    header_line,
    in_order,
    joints,
    record_in,
    record_line,
)
from keystead.core.model import AuditRecord

NOON = datetime(2026, 3, 1, 12, 0, 0, 5, tzinfo=UTC)
HEADER = Header(NOON, (Stretch("node-1", 0, b"", 7, b"\x01\xff"), Stretch("node-2", 3, b"\x02", 3, b"\x02")))


def mac(message: bytes) -> bytes:
    """Compute a MAC like the keyring's."""
    return hmac.digest(b"key", message, "sha256")


def record(message: str = "made") -> AuditRecord:
    """Return a record with strange texts."""
    texts = ("admin", "::1", "svm1", "POST", "/päth", '{"a":"\u2028\n"}', "success", "", message, "admin", "svm-1")
    return audit.append(AuditRecord("node-1", 0, NOON, *texts), None, mac)[0]


def test_a_header_comes_back() -> None:
    """On one line, with what a reader is told about each stretch."""
    line = header_line(HEADER, mac)
    assert "\n" not in line
    assert header_in(line, mac) == HEADER
    assert [str(each) for each in HEADER.stretches] == [
        "records 1 to 7, the last with MAC 01ff",
        "no records after record 3",
    ]


@pytest.mark.parametrize("message", ["made", audit.read_message("k", "0123456789abcdef")])
def test_a_record_comes_back(message: str) -> None:
    """It still verifies, and a read has its read id."""
    made = record(message)
    made = replace(made, read_id=audit.read_id_in_message(made))
    line = record_line(made)
    assert line.isascii()
    assert "\n" not in line
    assert record_in(line) == made
    assert audit.follow("node-1", [record_in(line)], (0, b""), mac) == (1, made.mac)


@pytest.mark.parametrize(
    "change",
    [
        {"time": "2026-03-02T12:00:00+00:00"},
        {"chains": []},
        {"mac": "00"},
        {"mac": "zz"},
        {"mac": 1},
        {"format": "other"},
        {"chains": "x"},
    ],
)
def test_a_header_that_was_altered_is_refused(change: dict[str, object]) -> None:
    """Whatever was altered. So is a header of another root key."""
    line = json.dumps(json.loads(header_line(HEADER, mac)) | change)
    with pytest.raises(DamagedFileError):
        header_in(line, mac)
    with pytest.raises(DamagedFileError, match="another root key"):
        header_in(header_line(HEADER, mac), lambda message: mac(message)[::-1])


@pytest.mark.parametrize("line", ["", "x", "[]", "1", "{}", '{"mac": "00"}', "[" * 100_000, '"\\ud800"'])
def test_what_is_no_line_is_refused(line: str) -> None:
    """With one error, whatever it is."""
    for read in (record_in, lambda text: header_in(text, mac)):
        with pytest.raises(DamagedFileError):
            read(line)


@pytest.mark.parametrize(
    "change",
    [
        {"node": 1},
        {"account": "\ud800"},
        {"index": "x"},
        {"timestamp": "noon"},
        {"timestamp": "0001-01-01T00:00:00+14:00"},
        {"mac": "0"},
        {"more": ""},
    ],
)
def test_a_record_of_other_types_is_refused(change: dict[str, object]) -> None:
    """Before anything is computed from it."""
    line = json.dumps(json.loads(record_line(record())) | change)
    with pytest.raises(DamagedFileError):
        record_in(line)


@pytest.mark.parametrize(
    ("stretches", "expected"),
    [
        ([], []),
        ([(0, 5)], []),
        ([(5, 9), (0, 5)], [((0, 5), (5, 9))]),
        ([(0, 5), (6, 9)], [((0, 5), None)]),
        ([(0, 5), (7, 9), (0, 12)], [((0, 5), (0, 12)), ((7, 9), (0, 12))]),
        ([(0, 5), (0, 5)], [((0, 5), (0, 5))]),
        ([(0, 5), (5, 5)], [((0, 5), (5, 5))]),
    ],
)
def test_how_stretches_join(
    stretches: list[tuple[int, int]], expected: list[tuple[tuple[int, int], tuple[int, int] | None]]
) -> None:
    """Each with one that has its end, if there is one. The one that reaches farthest is the last."""
    parts = [Part(str(place), Stretch("n", after, b"", end, b"")) for place, (after, end) in enumerate(stretches)]

    def short(part: Part) -> tuple[int, int]:
        return part.stretch.after, part.stretch.until

    found = [(short(one), short(other) if other else None) for one, other in joints(parts)]
    assert found == expected
    assert [short(each)[1] for each in in_order(parts)] == sorted(end for _, end in stretches)

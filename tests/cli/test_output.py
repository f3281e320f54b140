"""Tables for people, JSON for programs: what stands where, on a terminal and in a pipe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keystead.cli.output import counted, folded, print_records

RECORDS: list[dict[str, Any]] = [
    {"name": "a", "size": 5, "enabled": True, "list": ["x", "y"], "empty": ""},
    {"name": "a longer name", "size": None, "enabled": False, "list": []},
]


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    """Columns as wide as their widest cell, without those that are empty, without trailing blanks."""
    print_records(RECORDS, ["name", "size", "empty", "enabled", "list", "absent"], "table")
    assert capsys.readouterr().out.splitlines() == [
        "name           size  enabled  list",
        "a              5     true     x, y",
        "a longer name        false",
    ]


def test_wide_characters(capsys: pytest.CaptureFixture[str]) -> None:
    """A character that takes two places takes two places."""
    print_records([{"a": "鍵", "b": 1}, {"a": "key", "b": 2}], ["a", "b"], "table")
    assert capsys.readouterr().out.splitlines() == ["a    b", "鍵   1", "key  2"]


def test_times(capsys: pytest.CaptureFixture[str]) -> None:
    """Without microseconds, which JSON has."""
    record = {"time": "2026-03-01T12:00:00.123456+00:00", "name": "a.123456+00:00"}
    print_records([record], ["time", "name"], "table")
    assert capsys.readouterr().out.splitlines()[1] == "2026-03-01T12:00:00+00:00  a.123456+00:00"


@pytest.mark.parametrize(("number", "text"), [(0, "0 keys"), (1, "1 key"), (2, "2 keys")])
def test_counted(number: int, text: str) -> None:
    """One is one."""
    assert counted(number, "key") == text


def test_folded() -> None:
    """Between words, under the line's own beginning; a word that is too long stays whole."""
    assert folded("  the-first-word of it", 12) == "  the-first-word\n  of it"
    assert folded("as it is", 80) == "as it is"


def test_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    """No records are said to people, beside the output."""
    print_records([], ["a"], "table")
    assert capsys.readouterr() == ("", "no records\n")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything, as it came."""
    print_records(RECORDS, ["name"], "json")
    assert json.loads(capsys.readouterr().out) == RECORDS

"""Tables for people, JSON for programs: what stands where, on a terminal and in a pipe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from keystead.cli.output import print_records

if TYPE_CHECKING:
    import pytest

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


def test_nothing_to_show(capsys: pytest.CaptureFixture[str]) -> None:
    """No records are said to people, beside the output."""
    print_records([], ["a"], "table")
    assert capsys.readouterr() == ("", "no records\n")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    """Everything, as it came."""
    print_records(RECORDS, ["name"], "json")
    assert json.loads(capsys.readouterr().out) == RECORDS

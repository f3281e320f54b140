"""Revisions only add to what releases already use, so that the release before a revision can go on beside it.

What a revision takes away must be in ``CONTRACTIONS``. CONTRIBUTING.md says how to remove a column over two releases.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, text

from keystead.store import tables
from keystead.store.opening import open_database
from keystead.store.upgrade import MIGRATIONS
from tests.store.revisions import to_revision

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

FIRST = "0021"
"""The first revision that must only add. Releases with an older schema may not write beside a newer one at all."""

CONTRACTIONS: dict[str, frozenset[str]] = {}
"""What each revision takes away. ``WRITES_MIN`` must be a schema whose release no longer uses it."""


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a database of the schema before ``FIRST``, of each engine in turn."""
    before = f"{int(FIRST) - 1:04}"
    if request.param == "sqlite":
        to_revision(f"sqlite:///{tmp_path / 'old.db'}", before)
        yield f"sqlite:///{tmp_path / 'old.db'}"
        return
    with request.getfixturevalue("postgres").empty_database() as empty:
        to_revision(empty, before)
        yield empty


def test_revisions_only_add(url: str) -> None:
    """Each revision leaves what was there, but for what the table of contractions allows."""
    revisions = [each.revision for each in ScriptDirectory(str(MIGRATIONS)).walk_revisions()][::-1]
    database = open_database(url)
    try:
        with database.reader.connect() as connection:
            before = _shape(connection)
        for each in (number for number in revisions if number >= FIRST):
            to_revision(url, each)
            with database.reader.connect() as connection:
                after = _shape(connection)
            assert _taken_away(before, after) == CONTRACTIONS.get(each, frozenset()), each
            before = after
    finally:
        database.dispose()


def test_contractions_are_of_revisions_that_old_releases_do_not_share() -> None:
    """A release that uses what was taken away may not write any more."""
    assert all(FIRST < revision <= tables.WRITES_MIN <= tables.HEAD for revision in CONTRACTIONS)


@pytest.mark.parametrize(
    ("statement", "taken"),
    [
        ("DROP TABLE login_messages", {"login_messages"}),
        (
            "ALTER TABLE nodes RENAME COLUMN name TO title",
            {"nodes.name", "nodes.title must be given", "nodes: unique (title)"},
        ),
        ("ALTER TABLE nodes ADD COLUMN x TEXT NOT NULL DEFAULT ''", set()),
        ("ALTER TABLE nodes ADD COLUMN x TEXT", set()),
        ("CREATE UNIQUE INDEX u ON nodes (heard_at)", {"nodes: unique (heard_at)"}),
        ("CREATE INDEX u ON nodes (heard_at)", set()),
        ("CREATE TABLE more (x TEXT NOT NULL PRIMARY KEY)", set()),
    ],
)
def test_what_takes_away_is_seen(url: str, statement: str, taken: set[str]) -> None:
    """Drops, renames, rows that old releases cannot add; not what only adds."""
    database = open_database(url)
    try:
        with database.writer.begin() as connection:
            before = _shape(connection)
            connection.execute(text(statement))
            assert _taken_away(before, _shape(connection)) == taken
    finally:
        database.dispose()


class Shape(NamedTuple):
    """A table as a release depends on it: the type of each column, those that an insert must give, and its rules."""

    types: dict[str, str]
    required: set[str]
    rules: set[str]


def _shape(connection: Connection) -> dict[str, Shape]:
    """Return the shape of every table."""
    found = inspect(connection)
    shapes = {}
    for table in found.get_table_names():
        columns = found.get_columns(table)
        unique: list[Sequence[str | None]] = [each["column_names"] for each in found.get_unique_constraints(table)]
        unique += [each["column_names"] for each in found.get_indexes(table) if each["unique"]]
        shapes[table] = Shape(
            {each["name"]: str(each["type"]) for each in columns},
            {each["name"] for each in columns if not each["nullable"] and each["default"] is None},
            {f"unique ({', '.join(map(str, each))})" for each in unique}
            | {f"check ({each['sqltext']})" for each in found.get_check_constraints(table)}
            | {f"reference ({', '.join(each['constrained_columns'])})" for each in found.get_foreign_keys(table)},
        )
    return shapes


def _taken_away(before: Mapping[str, Shape], after: Mapping[str, Shape]) -> set[str]:
    """Return what a release that knows only ``before`` misses in ``after``, and what it would have to obey anew."""
    taken = set(before) - set(after)
    for table in set(before) & set(after):
        old, new = before[table], after[table]
        taken |= {f"{table}.{name}" for name, kind in old.types.items() if new.types.get(name) != kind}
        taken |= {f"{table}.{name} must be given" for name in new.required - old.required}
        taken |= {f"{table}: {rule}" for rule in new.rules - old.rules}
    return taken

"""Copies of whole databases: every table, every kind of value, from either engine to the other."""

from __future__ import annotations

import contextlib
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from sqlalchemy import BigInteger, Integer, LargeBinary, insert, inspect, select, text

from keystead.service.ports.store import StoreError
from keystead.store import tables, whole_copy
from keystead.store.copy_mark import CopyMark, CopyState, put_mark
from keystead.store.database import once
from keystead.store.engine import UNTIL
from keystead.store.opening import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Column, Connection, Table

    from keystead.store.database import Database
    from tests.peers.postgres import PostgresServer

NOON = datetime(2026, 3, 1, 12, 0, 0, 1, tzinfo=UTC)
NAMES = ("Zß", "a b'\"\\%\n", "ä\U0001f511")
"""Texts whose order differs between bytes and most locales."""


@contextlib.contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open a database."""
    database = open_database(url)
    yield database
    database.dispose()


class Both(NamedTuple):
    """A database that holds rows in every table, and an empty one of the other engine."""

    source_url: str
    source: Database
    target: Database


@pytest.fixture(params=["to postgresql", "to sqlite"])
def both(request: pytest.FixtureRequest, sqlite_url: str, postgres: PostgresServer) -> Iterator[Both]:
    """Yield the two."""
    with postgres.database() as server:
        from_, to = (sqlite_url, server) if request.param == "to postgresql" else (server, sqlite_url)
        with opened(from_) as source, opened(to) as target:
            with source.writer.begin() as connection:
                fill(connection)
            yield Both(from_, source, target)


def fill(connection: Connection) -> None:
    """Store three rows in every table that is copied, one if only one is allowed."""
    connection.execute(tables.incarnations.delete())
    for table in whole_copy.COPIED:
        rows = [row(table, number) for number in range(1 if table is tables.cluster else 3)]
        connection.execute(insert(table), rows)


def row(table: Table, number: int) -> dict[str, Any]:
    """Return a row whose values all differ. Columns that may be null are null in the first row."""
    return {column.name: value(column, number) for column in table.columns}


def value(column: Column[Any], number: int) -> Any:
    """Return a value of a column, which for a reference is that of the row with this number."""
    if column.nullable and number == 0:
        return None
    if column.name == "owner" and "svm_uuid" in column.table.columns:
        return value(column.table.columns["svm_uuid"], number) or ""
    for key in column.foreign_keys:
        return value(key.column, number)
    if isinstance(column.type, BigInteger):
        return 2**62 + number
    if isinstance(column.type, Integer):
        return 1 if number == 0 else 2**31 - number
    if isinstance(column.type, LargeBinary):
        return b"\x00\xff'" + bytes([number])
    if isinstance(column.type, tables.UtcTimestamp):
        return NOON + timedelta(days=number, microseconds=number)
    return f"{NAMES[number]} {column.table.name}.{column.name}"


def rows_of(database: Database) -> dict[str, list[tuple[Any, ...]]]:
    """Return all rows of all tables, but of those that each database has of its own."""
    with database.reader.connect() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in tables.metadata.sorted_tables
            if table not in whole_copy.OWN
        }


def copy(source: Database, target: Database) -> int:
    """Copy all rows."""
    with whole_copy.locked(source) as held, whole_copy.locked(target) as filled:
        return whole_copy.copy_rows(held, filled)


def test_every_table_is_copied(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new table is copied unless it is said to be each database's own. More rows than are read at once."""
    monkeypatch.setattr(whole_copy, "CHUNK", 2)
    _, source, target = both
    with target.reader.connect() as connection:
        there = set(inspect(connection).get_table_names()) - {"alembic_version"}
    assert there == set(tables.metadata.tables)
    assert {each.name for each in whole_copy.OWN} == {"change_marks", "compatibility", "database_copy"}
    before = rows_of(source)
    assert [name for name, rows in before.items() if not rows] == []
    assert copy(source, target) == sum(map(len, before.values()))
    assert rows_of(target) == before
    assert copy(source, target) == sum(map(len, before.values())), "over what an unfinished copy left"
    assert rows_of(target) == before == rows_of(source)


def test_no_number_is_generated(postgres: PostgresServer) -> None:
    """No column has a sequence or an identity, which a copy would have to set."""
    with postgres.database() as url, opened(url) as database, database.reader.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_sequences")).scalar() == 0
        identities = text("SELECT count(*) FROM information_schema.columns WHERE is_identity = 'YES'")
        assert connection.execute(identities).scalar() == 0


@pytest.mark.parametrize(
    "harm", ["UPDATE options SET value = 'x' WHERE name = new.name", "DELETE FROM options WHERE name = new.name"]
)
@pytest.mark.parametrize("both", ["to sqlite"], indirect=True)
def test_a_copy_that_differs_is_refused(both: Both, harm: str) -> None:
    """A row with another value, or one row too few. Nothing of the copy is kept."""
    _, source, target = both
    with target.writer.begin() as connection:
        connection.execute(text(f"CREATE TRIGGER harm AFTER INSERT ON options BEGIN {harm}; END"))
    with pytest.raises(StoreError, match="row 1 of table options is not the same in the copy"):
        copy(source, target)
    with target.reader.connect() as connection:
        assert connection.execute(select(tables.svms)).all() == []


def test_what_a_copy_may_overwrite(both: Both) -> None:
    """Nothing at all, and an unfinished copy of the same database."""
    _, source, target = both
    mark = CopyMark("copy", CopyState.UNFINISHED, "other", "storage", NOON)
    with target.writer.begin() as connection:
        whole_copy.check_takes_copy(connection, "storage")
        put_mark(connection, mark)
    copy(source, target)
    with target.writer.begin() as connection:
        whole_copy.check_takes_copy(connection, "storage")
        with pytest.raises(StoreError, match="an unfinished copy of other"):
            whole_copy.check_takes_copy(connection, "another storage")
    with source.writer.begin() as connection, pytest.raises(StoreError, match="not empty"):
        whole_copy.check_takes_copy(connection, "storage")


def test_nobody_else_writes_meanwhile(both: Both) -> None:
    """Another process can read, and its writes wait."""
    other = open_database(both.source_url)
    with whole_copy.locked(both.source):
        assert rows_of(other) == rows_of(both.source)
        with pytest.raises(StoreError, match=r"locked by another process|LockNotAvailable"):
            write_at_once(other)
    write_at_once(other)
    other.dispose()


def write_at_once(database: Database) -> None:
    """Write, without waiting for locks."""
    with once(database), database.writer.connect() as connection:
        connection.info[UNTIL] = time.monotonic()
        with connection.begin():
            if database.row_locks:
                connection.execute(text("SET LOCAL lock_timeout = 1"))
            connection.execute(tables.options.delete())


def test_a_database_in_use_is_not_opened(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process that has it open is noticed, even if it does nothing at the moment. One that is ending is not."""
    monkeypatch.setattr(whole_copy, "PATIENCE_S", 0.0)
    with both.source.reader.connect(), pytest.raises(StoreError, match="another process uses the database"):
        whole_copy.open_source(both.source_url)
    both.source.dispose()
    whole_copy.open_source(both.source_url).dispose()
    other = open_database(both.source_url)
    leaving = other.reader.connect()
    monkeypatch.setattr(whole_copy, "PATIENCE_S", 60.0)
    monkeypatch.setattr("keystead.store.whole_copy.time.sleep", lambda _: (leaving.close(), other.dispose()))
    whole_copy.open_source(both.source_url).dispose()

"""Copies of a whole database to another one, of either engine: every row of every table, compared afterwards.

A copy is one transaction of the target, while nobody can write to the source. It is imported only when it is needed,
because it may make the target's schema.
"""

from __future__ import annotations

import contextlib
import time
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import delete, insert, inspect, select, text
from sqlalchemy.exc import DBAPIError

from keystead.service.ports.store import SchemaError, StoreError
from keystead.store import postgres, sqlite, tables
from keystead.store.copy_mark import CopyMark, CopyState
from keystead.store.database import once
from keystead.store.opening import open_database, open_existing, parse
from keystead.store.schema import check_revision, revision
from keystead.store.upgrade import is_empty, upgrade

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, CursorResult, Table

    from keystead.store.database import Database

CHUNK: Final = 1000
"""Rows that are read, and written, at once."""

OWN: Final = (tables.change_marks, tables.compatibility, tables.database_copy)
"""The tables of which each database keeps its own rows."""

COPIED: Final = tuple(table for table in tables.metadata.sorted_tables if table not in OWN)
"""All other tables, each after those to which it refers."""

PATIENCE_S = 5.0
"""How long to wait for another process that has the database open."""

IN_USE: Final = "another process uses the database: stop every node, and any other command on it"
NOT_EMPTY: Final = "the database is not empty: nothing is written over it. Name a new one"

_PAUSE_S = 0.1
_LOCK_NOT_AVAILABLE = "55P03"
_IS_USED_ELSEWHERE = {"sqlite": sqlite.is_used_elsewhere, "postgresql": postgres.is_used_elsewhere}


def open_source(url: str | Path) -> Database:
    """Open the database to copy, which may have been moved. Raises StoreError if another process uses it."""
    return open_existing(url, _check_unused)


def open_target(url: str | Path) -> Database:
    """Open the database to copy to. Make its schema if it holds nothing. Raises StoreError."""
    if is_empty(url):
        _check_no_tables(url)
        upgrade(url)
    return open_source(url)


@contextlib.contextmanager
def locked(database: Database) -> Iterator[Connection]:
    """Begin a transaction in which nobody else can write, and commit it at the end. Raises StoreError."""
    with once(database), database.writer.begin() as connection:
        if database.row_locks:
            postgres.end_limits(connection)
            _lock_tables(connection)
        yield connection


def check_takes_copy(connection: Connection, storage: str) -> None:
    """Raise StoreError unless the database holds nothing, or an unfinished copy of the one that is stored there."""
    mark = CopyMark.of(connection)
    if mark is not None:
        if (mark.state, mark.storage) != (CopyState.UNFINISHED, storage):
            raise StoreError(f"nothing is copied there: {mark}")
        return
    for table in COPIED:
        if table is not tables.incarnations and connection.execute(select(table).limit(1)).first() is not None:
            raise StoreError(NOT_EMPTY)


def copy_rows(source: Connection, target: Connection) -> int:
    """Copy all rows in place of those that an unfinished copy left. Compare them, and return their number.

    Raises StoreError if a row is not the same on both sides.
    """
    for table in reversed(COPIED):
        target.execute(delete(table))
    return sum(_copy_table(source, target, table) for table in COPIED)


def _copy_table(source: Connection, target: Connection, table: Table) -> int:
    with _rows(source, table) as read:
        for rows in read.mappings().partitions(CHUNK):
            target.execute(insert(table), [dict(row) for row in rows])
    number = 0
    with _rows(source, table) as read, _rows(target, table) as copied:
        for number, (ours, theirs) in enumerate(zip_longest(read, copied), 1):
            if ours != theirs:
                raise StoreError(f"row {number} of table {table.name} is not the same in the copy")
    return number


def _rows(connection: Connection, table: Table) -> CursorResult[Any]:
    """Return all rows, in the same order on both engines, because text is ordered by its bytes."""
    ordered = select(table).order_by(*table.primary_key.columns)
    return connection.execute(ordered, execution_options={"yield_per": CHUNK})


def _lock_tables(connection: Connection) -> None:
    """Lock all tables against other writers, who can still read. It waits, because a vacuum soon gives way."""
    quote = connection.dialect.identifier_preparer.quote
    names = ", ".join(quote(table.name) for table in tables.metadata.sorted_tables)
    try:
        connection.execute(text(f"LOCK TABLE {names} IN EXCLUSIVE MODE"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise StoreError(IN_USE) from None
        raise


def _check_unused(database: Database) -> None:
    """Raise StoreError if another process has the database open, or if its schema is another one.

    It waits for the other process, because a PostgreSQL session outlives a killed one a little.
    """
    is_used_elsewhere = _IS_USED_ELSEWHERE[database.writer.dialect.name]
    until = time.monotonic() + PATIENCE_S
    with once(database):
        while is_used_elsewhere(database):
            if time.monotonic() >= until:
                raise StoreError(IN_USE)
            time.sleep(_PAUSE_S)
    check_revision(database)
    with once(database), database.reader.connect() as connection:
        found = revision(connection)
    if found != tables.HEAD:
        raise SchemaError(f"the database has schema {found}, not this release's {tables.HEAD}: use its own release")


def _check_no_tables(url: str | Path) -> None:
    """Raise StoreError if a database without our schema holds tables of others."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").exists():
        return
    database = open_database(parsed)
    try:
        with once(database), database.reader.connect() as connection:
            if inspect(connection).get_table_names():
                raise StoreError(NOT_EMPTY)
    finally:
        database.dispose()

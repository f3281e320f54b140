"""SQLite: only engines, transactions and the meaning of failures.

WAL with ``synchronous=FULL``: a commit that was answered survives a loss of power.

Python's driver would begin a deferred transaction only before the first write. Then two writers could both count three
key servers and both add one. So the driver begins nothing, and a write begins with BEGIN IMMEDIATE.

Only `upgrade` creates the file. Every connection must use the file that the first connection found, so that nothing is
written to a deleted or replaced file.
"""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import create_engine, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from keystead.service.ports.store import SchemaError, StorageError, StoreConflict, StoreError
from keystead.store import tables
from keystead.store.compatibility import FUNCTION, SQLSTATE, TOO_OLD
from keystead.store.database import Database
from keystead.store.engine import UNTIL
from keystead.store.failures import BUSY, DISK_FAILS, DISK_FULL, RunAgain, unavailable

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, PoolProxiedConnection

    from keystead.store.failures import Failure

READERS = 4
BUSY_TIMEOUT_S = 5
"""How long a connection waits for another process's lock, if the transaction has no deadline."""

BUSY_RUNS = 3
DEADLINE_S = 15.0
"""The longest time of a transaction. It is below the 40 s of a request."""

_WAL = "PRAGMA journal_mode = WAL"
_WAL_PAUSE_S = 0.01
_PRAGMAS = ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON")
_READ_ONLY = "PRAGMA query_only = ON"
_VERSION = "PRAGMA data_version"
_BEGIN_WRITE = "BEGIN IMMEDIATE"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_STORAGE = {sqlite3.SQLITE_FULL: DISK_FULL, sqlite3.SQLITE_IOERR: DISK_FAILS}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF

RESTORE = "move the data directory away, and `keystead restore` a backup"


def open_database(url: URL) -> Database:
    """Make the engines. No connection is opened yet. Raises StoreError for a URL without a path."""
    if not url.database:
        raise StoreError("the database URL must name a file: sqlite:////absolute/path")
    file = _File(url.database)
    # A URI, because only a URI can say "open, do not create". It is quoted because a path may hold any character.
    url = url.set(database=file.uri, query=url.query | {"uri": "true", "mode": "rw"})
    reader = _engine(url, file, READERS, "BEGIN", (*_PRAGMAS, _READ_ONLY), BUSY_TIMEOUT_S)
    writer = _engine(url, file, 1, _BEGIN_WRITE, _PRAGMAS, BUSY_TIMEOUT_S)
    inline_reader = _engine(url, file, 1, "BEGIN", (*_PRAGMAS, _READ_ONLY), 0)

    def version(connection: Connection) -> int:
        """Return SQLite's data version. It changes when another connection, of any process, has committed.

        This connection itself never commits.
        """
        file.check()
        raw: Any = connection.connection.dbapi_connection
        try:
            found: int = raw.execute(_VERSION).fetchone()[0]
        except sqlite3.Error as error:
            raise StoreError(f"the database failed: {error.sqlite_errorname}") from None
        return found

    return Database(
        *(reader, writer, inline_reader, READERS, 1),
        row_locks=False,
        classify=classify,
        now=_now,
        deadline_s=DEADLINE_S,
        version=version,
    )


def _now(_: Connection) -> datetime:
    return datetime.now(UTC)


def classify(error: SQLAlchemyError) -> Failure:
    """Classify a failure. SQLite's own texts hold names of tables and files, never values."""
    cause = getattr(error, "orig", None)
    if str(cause) == SQLSTATE:
        return SchemaError(TOO_OLD)
    if isinstance(error, IntegrityError):
        return RunAgain(StoreConflict(f"the database refuses a row: {cause}"), runs=2)
    if _is_busy(cause):
        return RunAgain(unavailable("the database is locked by another process", BUSY), runs=BUSY_RUNS)
    if isinstance(cause, sqlite3.Error):
        text = f"the database failed: {getattr(cause, 'sqlite_errorname', type(cause).__name__)}: {cause}"
        if _primary_code(cause) in _DAMAGED:
            text += f"; {RESTORE}"
        reason = _STORAGE.get(_primary_code(cause))
        return StorageError(text, reason) if reason else StoreError(text)
    return StoreError(f"the database failed: {type(cause or error).__name__}")


def is_used_elsewhere(database: Database) -> bool:
    """Return True if SQLite does not let one connection be the only one that has the file open.

    No connection of ``database`` may be open. Raises StoreError.
    """
    path = f"{database.writer.url.database}?mode=rw"
    with contextlib.closing(sqlite3.connect(path, timeout=0, uri=True, isolation_level=None)) as connection:
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE").close()
            connection.execute("BEGIN EXCLUSIVE").close()
        except sqlite3.Error as error:
            if _is_busy(error):
                return True
            raise StoreError(f"the database failed: {error.sqlite_errorname}") from None
    return False


def _is_busy(cause: BaseException | None) -> bool:
    return _primary_code(cause) in _BUSY


def _primary_code(cause: BaseException | None) -> int:
    return (getattr(cause, "sqlite_errorcode", 0) or 0) & _PRIMARY_CODE


def _wait(connection: Any, seconds: float) -> None:
    """Set how long the connection waits for locks from now on."""
    connection.execute(f"PRAGMA busy_timeout = {max(0, round(seconds * 1000))}").close()


def _use_wal(connection: sqlite3.Connection, wait_s: float) -> None:
    """Switch to WAL. Repeat, because if two switch at once, one fails without the wait of ``busy_timeout``."""
    give_up = time.monotonic() + wait_s
    while True:
        try:
            connection.execute(_WAL).close()
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() >= give_up:
                raise
            time.sleep(random.uniform(0, _WAL_PAUSE_S))  # noqa: S311 - so that two that switch do not collide again
        else:
            return


class _File:
    """The database's file, which must stay the same while its engines are used."""

    def __init__(self, path: str) -> None:
        self._path = os.path.abspath(path)  # noqa: PTH100 - Path.absolute() leaves ".." for later
        self._first: tuple[int, int] | None = None

    @property
    def uri(self) -> str:
        return f"file:{quote(os.fsencode(self._path))}"

    def check(self) -> None:
        """Raise StoreError if the file is gone, or if the path names another file than at first."""
        try:
            found = os.stat(self._path)  # noqa: PTH116 - for every transaction
        except OSError:
            raise StoreError("the database's file is gone: restore it and start again") from None
        identity = found.st_dev, found.st_ino
        if self._first is None:
            self._first = identity
        if identity != self._first:
            raise StoreError("the database's file was replaced while it was open: start again")


def _engine(url: URL, file: _File, connections: int, begin: str, pragmas: tuple[str, ...], wait_s: float) -> Engine:
    engine = create_engine(
        url, pool_size=connections, max_overflow=0, hide_parameters=True, connect_args={"isolation_level": None}
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        try:
            _wait(connection, wait_s)
            _use_wal(connection, wait_s)
            for pragma in pragmas:
                connection.execute(pragma).close()
            connection.create_function(FUNCTION, 0, lambda: tables.HEAD, deterministic=True)
        except sqlite3.Error:
            connection.close()  # because SQLAlchemy does not close a connection that a listener refuses
            raise

    def start(pooled: PoolProxiedConnection) -> None:
        until = pooled.info.pop(UNTIL, None)
        file.check()
        raw: Any = pooled.dbapi_connection
        if until is not None:
            _wait(raw, until - time.monotonic())
        raw.execute(begin).close()

    # Not a listener for "begin", because an engine with any listener needs a seventh more time for each statement.
    setattr(engine.dialect, "do_begin", start)  # noqa: B010 - a method of each dialect's own
    return engine

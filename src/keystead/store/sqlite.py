"""SQLite: engines, transactions and what its failures mean; nothing else.

WAL with ``synchronous=FULL``: a commit that was answered survives a loss of power. Python's driver would begin a
deferred transaction before the first write only, and two writers could both count three key servers and both add one;
so it begins nothing by itself, and a write begins with BEGIN IMMEDIATE.
"""

from __future__ import annotations

import random
import sqlite3
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from keystead.service.ports import StoreConflict, StoreError
from keystead.store.engine import UNTIL, Database
from keystead.store.failures import RunAgain

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

    from keystead.store.failures import Failure

READERS = 4
BUSY_TIMEOUT_S = 5
"""How long a connection waits for another process's lock, where no transaction's deadline says otherwise."""

BUSY_RUNS = 3

_WAL = "PRAGMA journal_mode = WAL"
_WAL_PAUSE_S = 0.01
_PRAGMAS = ("PRAGMA synchronous = FULL", "PRAGMA foreign_keys = ON")
_READ_ONLY = "PRAGMA query_only = ON"
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PRIMARY_CODE = 0xFF


def open_database(url: URL) -> Database:
    """Make the engines; nothing is opened yet."""
    reader = _engine(url, READERS, "BEGIN", (*_PRAGMAS, _READ_ONLY), BUSY_TIMEOUT_S)
    writer = _engine(url, 1, "BEGIN IMMEDIATE", _PRAGMAS, BUSY_TIMEOUT_S)
    glancer = _engine(url, 1, "BEGIN", (*_PRAGMAS, _READ_ONLY), 0)
    return Database(reader, writer, glancer, READERS, 1, row_locks=False, classify=classify)


def classify(error: SQLAlchemyError) -> Failure:
    """Tell what a failure means. SQLite's own texts hold names of tables and files, never values."""
    cause = getattr(error, "orig", None)
    if isinstance(error, IntegrityError):
        return RunAgain(StoreConflict(f"the database refuses a row: {cause}"), runs=2)
    if _is_busy(cause):
        return RunAgain(StoreError("the database is locked by another process"), runs=BUSY_RUNS)
    if isinstance(cause, sqlite3.Error):
        return StoreError(f"the database failed: {getattr(cause, 'sqlite_errorname', type(cause).__name__)}: {cause}")
    return StoreError(f"the database failed: {type(cause or error).__name__}")


def _is_busy(cause: BaseException | None) -> bool:
    return (getattr(cause, "sqlite_errorcode", 0) or 0) & _PRIMARY_CODE in _BUSY


def _wait(connection: Any, seconds: float) -> None:
    """Say how long the connection waits for others' locks from now on."""
    connection.execute(f"PRAGMA busy_timeout = {max(0, round(seconds * 1000))}").close()


def _use_wal(connection: sqlite3.Connection, wait_s: float) -> None:
    """Switch to WAL. When two do so at once, one fails without the wait of ``busy_timeout``."""
    give_up = time.monotonic() + wait_s
    while True:
        try:
            connection.execute(_WAL).close()
        except sqlite3.Error as error:
            if not _is_busy(error) or time.monotonic() >= give_up:
                raise
            time.sleep(random.uniform(0, _WAL_PAUSE_S))  # noqa: S311 - two that switch must not stay in step
        else:
            return


def _engine(url: URL, connections: int, begin: str, pragmas: tuple[str, ...], wait_s: float) -> Engine:
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
        except sqlite3.Error:
            connection.close()  # SQLAlchemy forgets a connection that a listener refuses
            raise

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        until = connection.get_execution_options().get(UNTIL)
        if until is not None:
            _wait(connection.connection.dbapi_connection, until - time.monotonic())
        connection.exec_driver_sql(begin)

    return engine

"""PostgreSQL, and databases with its protocol: only engines, transactions and the meaning of failures.

A read is REPEATABLE READ READ ONLY: one snapshot. A write is READ COMMITTED with row locks. So values that are loaded
after a lock include the changes of the previous holder. Every wait has a limit. A commit that was answered is on disk,
even if the database has ``synchronous_commit = off``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError, SQLAlchemyError

from keystead.service.ports.store import SchemaError, StorageError, StoreConflict, StoreError
from keystead.store import tables
from keystead.store.compatibility import ANNOUNCED, SQLSTATE, TOO_OLD
from keystead.store.database import Database
from keystead.store.failures import DISK_FAILS, DISK_FULL, RunAgain

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

    from keystead.store.failures import Failure

READERS = 8
WRITERS = 4
CONFLICT_RUNS = 8
TIMEOUT_S = 10
"""The longest wait for a statement, a lock or a silent peer. It is below the 40 s of a request."""

_TRANSIENT = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_STORAGE = {"53100": DISK_FULL, "58030": DISK_FAILS}  # disk_full, io_error
_APPLICATION = "keystead"
_OTHER_SESSIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name = :name"
)
_CONNECT = {
    "connect_timeout": 5,
    "application_name": _APPLICATION,
    "keepalives_idle": TIMEOUT_S,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": TIMEOUT_S * 1000,
}
_SESSION = {
    "statement_timeout": TIMEOUT_S * 1000,
    "lock_timeout": TIMEOUT_S * 1000,
    "idle_in_transaction_session_timeout": 2 * TIMEOUT_S * 1000,
    "synchronous_commit": "on",  # because material leaves once the record of its read is committed
    ANNOUNCED: tables.HEAD,
}


def open_database(url: URL) -> Database:
    """Make the engines. No connection is opened yet. Raises ModuleNotFoundError without psycopg."""
    reader = _engine(url, READERS, "REPEATABLE READ")
    writer = _engine(url, WRITERS, "READ COMMITTED")

    @event.listens_for(reader, "connect")
    def only_read(connection: Any, _record: object) -> None:
        connection.read_only = True

    return Database(reader, writer, None, READERS, WRITERS, row_locks=True, classify=classify)


def classify(error: SQLAlchemyError) -> Failure:
    """Classify a failure.

    The server's texts are not quoted, because they can hold values ("Key (name)=(x) already exists").
    """
    cause = getattr(error, "orig", None)
    state = getattr(cause, "sqlstate", None) or ""
    what = f"{type(cause or error).__name__} {state}".strip()
    if isinstance(error, IntegrityError):
        constraint = getattr(getattr(cause, "diag", None), "constraint_name", None)
        return RunAgain(StoreConflict(f"the database refuses a row: {what} {constraint or ''}".strip()), runs=2)
    if state in _TRANSIENT:
        return RunAgain(StoreConflict(f"writers keep conflicting: {what}"), runs=CONFLICT_RUNS)
    if state == SQLSTATE:
        return SchemaError(TOO_OLD)
    if getattr(error, "connection_invalidated", False):
        return RunAgain(StoreError(f"the database closed the connection: {what}"), runs=2)
    if isinstance(error, OperationalError) and not state:
        return StoreError(f"the database cannot be reached: {cause}")  # libpq's own text: hosts, ports and users
    said = f"the database failed: {what}"
    return StorageError(said, _STORAGE[state]) if state in _STORAGE else StoreError(said)


def is_used_elsewhere(database: Database) -> bool:
    """Return True if another session of Keystead is connected to the database. A service always has some.

    No connection of ``database`` may be open.
    """
    with database.reader.connect() as connection:
        return bool(connection.execute(_OTHER_SESSIONS, {"name": _APPLICATION}).scalar())


def _engine(url: URL, connections: int, isolation: str) -> Engine:
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    return create_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        hide_parameters=True,
        isolation_level=isolation,
        connect_args=_CONNECT | {"options": options},
    )

"""PostgreSQL, and databases with its protocol: only engines, transactions and the meaning of failures.

A read is REPEATABLE READ READ ONLY: one snapshot. A write is READ COMMITTED with row locks. So values that are loaded
after a lock include the changes of the previous holder. Every wait has a limit. A commit that was answered is on disk,
even if the database has ``synchronous_commit = off``.

Settings go with each BEGIN, because a pooler such as PgBouncer takes none when a connection begins.
"""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DisconnectionError, IntegrityError, OperationalError, SQLAlchemyError

from keystead.service.ports.store import AWAY, SchemaError, StorageError, StoreConflict, StoreError
from keystead.store import tables
from keystead.store.compatibility import ANNOUNCED, SQLSTATE, TOO_OLD
from keystead.store.database import Database
from keystead.store.engine import UNTIL
from keystead.store.failures import BUSY, DISK_FAILS, DISK_FULL, TAKES_NO_CHANGES, RunAgain, unavailable

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from sqlalchemy import URL, Connection, Engine, ExceptionContext, PoolProxiedConnection

    from keystead.store.failures import Failure

READERS = 8
WRITERS = 4
CONFLICT_RUNS = 8
TIMEOUT_S = 10
"""The longest wait for a statement or a lock, and of a transaction. It is below the 40 s of a request."""

_NOW = text("SELECT clock_timestamp()")  # not now(), which is the time when the transaction began
_TRANSIENT = {"40001", "40P01"}  # serialization_failure, deadlock_detected
_STORAGE = {"53100": DISK_FULL, "58030": DISK_FAILS}  # disk_full, io_error
_TOO_LATE = {"55P03", "57014"}  # lock_not_available, query_canceled
_READ_ONLY = "25006"  # read_only_sql_transaction: a primary that has become a standby, or is kept from writing
_LOST = {
    "55000",  # object_not_in_prerequisite_state: "recovery is in progress"
    "57P01",  # admin_shutdown
    "57P02",  # crash_shutdown
    "57P03",  # cannot_connect_now
}
"""The server of the connection goes away, or is not the primary: another connection may lead to the primary."""

_APPLICATION = "keystead"
_OTHER_SESSIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND application_name = :name"
)
_CONNECT = {
    "autocommit": True,  # BEGIN is sent by this module
    "connect_timeout": 2,
    "application_name": _APPLICATION,
    "keepalives_idle": TIMEOUT_S,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": TIMEOUT_S * 1000,
}
_SETTINGS = {
    "statement_timeout": TIMEOUT_S * 1000,
    "idle_in_transaction_session_timeout": 2 * TIMEOUT_S * 1000,
    "synchronous_commit": "on",  # because material leaves once the record of its read is committed
    ANNOUNCED: tables.HEAD,
}
_SET = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in _SETTINGS.items())
_BEGIN = f"SELECT {_SET}, set_config('lock_timeout', '%d', true), pg_is_in_recovery(), pg_backend_pid()"


def open_database(url: URL) -> Database:
    """Make the engines. No connection is opened yet. Raises ModuleNotFoundError without psycopg."""
    pools = _Pools()
    reader = _engine(url, READERS, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", pools, _LOST)
    writer = _engine(url, WRITERS, "BEGIN ISOLATION LEVEL READ COMMITTED", pools, _LOST | {_READ_ONLY})
    return Database(
        *(reader, writer, None, READERS, WRITERS),
        row_locks=True,
        classify=classify,
        now=_now,
        deadline_s=float(TIMEOUT_S),
    )


def _now(connection: Connection) -> datetime:
    found: datetime = connection.execute(_NOW).scalar_one()
    return found.astimezone(UTC)


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
    is_lost = getattr(error, "connection_invalidated", False)
    if is_lost or (isinstance(error, OperationalError) and not state):
        how = "closed the connection" if is_lost else "cannot be reached"
        reason = TAKES_NO_CHANGES if state == _READ_ONLY else AWAY
        shown = what if state else cause  # without a state it is libpq's own text: hosts, ports and users
        return RunAgain(unavailable(f"the database {how}: {shown}", reason), away=True)
    failed = f"the database failed: {what}"
    if state in _TOO_LATE:
        return unavailable(failed, BUSY)
    return StorageError(failed, _STORAGE[state]) if state in _STORAGE else StoreError(failed)


def is_used_elsewhere(database: Database) -> bool:
    """Return True if another session of Keystead is connected to the database. A service always has some.

    No connection of ``database`` may be open.
    """
    with database.reader.connect() as connection:
        return bool(connection.execute(_OTHER_SESSIONS, {"name": _APPLICATION}).scalar())


def end_limits(connection: Connection) -> None:
    """Let the rest of a transaction take as long as it needs."""
    for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(text(f"SET LOCAL {limit} = 0"))
    raw: Any = connection.connection.driver_connection
    raw.patience_s = math.inf


class _Pools:
    """The connections of both engines. When one of them is lost, all others that were open then are lost, too.

    Without this, reads would go on at a former primary that is cut off and does not know it.
    """

    def __init__(self) -> None:
        self._generation = 0

    def watch(self, engine: Engine, lost: AbstractSet[str]) -> None:
        """Watch the connections of an engine. ``lost`` are SQLSTATEs of a connection that is of no use any more."""

        def failed(context: ExceptionContext) -> None:
            if getattr(context.original_exception, "sqlstate", None) in lost:
                context.is_disconnect = True
            if context.is_disconnect and context.connection is not None:
                self._generation = max(self._generation, context.connection.info["generation"] + 1)

        event.listen(engine, "connect", self._connected)
        event.listen(engine, "checkout", self._check)
        event.listen(engine, "handle_error", failed)

    def _connected(self, _connection: object, record: Any) -> None:
        record.info["generation"] = self._generation

    def _check(self, _connection: object, record: Any, _proxy: object) -> None:
        if record.info["generation"] != self._generation:
            raise DisconnectionError


def _engine(url: URL, connections: int, begin: str, pools: _Pools, lost: AbstractSet[str]) -> Engine:
    options = _CONNECT | ({"target_session_attrs": "read-write"} if _hosts(url) > 1 else {})
    engine = create_engine(
        url, pool_size=connections, max_overflow=0, hide_parameters=True, use_native_hstore=False, connect_args=options
    )
    from keystead.store.postgres_connection import Connection

    def start(pooled: PoolProxiedConnection) -> None:
        until = pooled.info.pop(UNTIL, None)
        lock_s = TIMEOUT_S if until is None else until - time.monotonic()
        connection: Any = pooled.driver_connection
        connection.start(f"{begin}; {_BEGIN % max(1, round(lock_s * 1000))}")

    event.listen(engine, "do_connect", lambda _dialect, _record, args, more: Connection.connect(*args, **more))
    setattr(engine.dialect, "do_begin", start)  # noqa: B010 - a method of each dialect's own
    pools.watch(engine, lost)
    return engine


def _hosts(url: URL) -> int:
    """Return how many hosts the URL names."""
    return sum(len(host.split(",")) for host in url.normalized_query.get("host", ()))

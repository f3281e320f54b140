"""`keystead db upgrade`: upgrade a database's schema to this release's, by the revisions in migrations/versions.

This module is imported only when it is needed, so that a normal start does not import Alembic.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, null, select, text, type_coerce
from sqlalchemy.exc import SQLAlchemyError

from keystead.core.availability import SILENT_AFTER
from keystead.service.ports.store import SchemaError, StoreError
from keystead.store import tables
from keystead.store.compatibility import refuse_old_releases, writes_min
from keystead.store.copy_mark import MARKED_SINCE, check_not_marked
from keystead.store.engine import UNTIL
from keystead.store.failures import final
from keystead.store.opening import open_database, parse
from keystead.store.schema import NEWER, revision

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection

    from keystead.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x4B657973  # "Keys": a number that other programs are unlikely to lock
LOCK_TIMEOUT_S = 30
STATEMENT_TIMEOUT_S = 600


@dataclass(frozen=True)
class Plan:
    """What an upgrade does: the schema that it finds, and each revision that it adds, with its first line.

    ``in_the_way`` are the nodes that run and could not write afterwards. Each is a line to show.
    """

    found: str | None
    steps: tuple[tuple[str, str], ...] = ()
    in_the_way: tuple[str, ...] = ()


def upgrade(url: str | Path, stopped: Collection[str] | None = None) -> str | None:
    """Upgrade a database in one transaction, alone. Return its old revision, or None for an empty database.

    SQLite's file is created (mode 0600) if there is none. ``stopped`` are nodes (uuids) that do not run, None if no
    node can run on this database. Raises StoreError, and SchemaError for a newer schema, or if nodes are in the way.
    """
    parsed = parse(url)
    database = open_database(parsed)
    try:
        if parsed.get_backend_name() == "sqlite":
            os.close(os.open(str(parsed.database), os.O_CREAT | os.O_RDWR, 0o600))
        return _upgrade(database, stopped)
    except OSError as error:
        raise StoreError(f"the database file cannot be made: {error.strerror}") from None
    except SQLAlchemyError as error:
        raise final(database.classify(error)) from None
    finally:
        database.dispose()


def is_empty(url: str | Path) -> bool:
    """Return True if there is no database yet: no file of SQLite, or no schema. Create nothing. Raises StoreError."""
    parsed = parse(url)
    file = Path(parsed.database or "")
    if parsed.get_backend_name() == "sqlite" and not (file.is_file() and file.stat().st_size):
        return True
    database = open_database(parsed)
    try:
        with database.reader.connect() as connection:
            return revision(connection) is None
    except SQLAlchemyError as error:
        raise final(database.classify(error)) from None
    finally:
        database.dispose()


def plan(url: str | Path, stopped: Collection[str]) -> Plan:
    """Return what :func:`upgrade` would do. Change nothing. Raises StoreError, and SchemaError for a newer schema."""
    if is_empty(url):
        return Plan(None, _steps(None))
    database = open_database(url)
    try:
        with database.reader.connect() as connection:
            return _plan(connection, stopped)
    except SQLAlchemyError as error:
        raise final(database.classify(error)) from None
    finally:
        database.dispose()


def _upgrade(database: Database, stopped: Collection[str] | None) -> str | None:
    with database.writer.connect() as connection:
        connection.info[UNTIL] = time.monotonic() + LOCK_TIMEOUT_S
        with connection.begin():
            if database.row_locks:
                _lock_alone(connection)
            todo = _plan(connection, stopped)
            if todo.in_the_way:
                raise SchemaError("; ".join(todo.in_the_way))
            if todo.steps:
                migrate(connection, tables.HEAD)
                refuse_old_releases(connection)
            return todo.found


def _plan(connection: Connection, stopped: Collection[str] | None) -> Plan:
    found = revision(connection)
    if found is not None and found >= MARKED_SINCE:
        check_not_marked(connection)
    if found is not None and found >= tables.HEAD:
        if found > tables.HEAD < writes_min(connection):
            raise SchemaError(NEWER.format(found=found, own=tables.HEAD))
        return Plan(found)
    return Plan(found, _steps(found), () if found is None or stopped is None else _in_the_way(connection, stopped))


def _steps(found: str | None) -> tuple[tuple[str, str], ...]:
    """Return the revisions after ``found``, each with the first line of its docstring, the oldest first."""
    revisions = ScriptDirectory(str(MIGRATIONS)).iterate_revisions(tables.HEAD, found or "base")
    return tuple((each.revision, each.doc) for each in revisions)[::-1]


def _in_the_way(connection: Connection, stopped: Collection[str]) -> tuple[str, ...]:
    """Return a line for each node that was heard lately, was not stopped, and could not write after the upgrade."""
    columns = {column["name"] for column in inspect(connection).get_columns("nodes")}
    if "heard_at" not in columns:
        return ()
    later = (tables.nodes.c[name] if name in columns else null().label(name) for name in ("schema", "has_left"))
    heard = select(tables.nodes.c.uuid, tables.nodes.c.name, tables.nodes.c.heard_at, *later)
    now = connection.execute(select(type_coerce(func.now(), tables.UtcTimestamp))).scalar_one()
    return tuple(
        f"node {node.name} was heard {max(0, round((now - node.heard_at).total_seconds()))} s ago, and this upgrade"
        f" ends its writes: stop it, and try again once it was silent for {SILENT_AFTER.total_seconds():.0f} s"
        for node in connection.execute(heard.order_by(tables.nodes.c.name))
        if node.uuid not in stopped
        and not node.has_left
        and (node.schema or "") < tables.WRITES_MIN
        and node.heard_at is not None
        and node.heard_at > now - SILENT_AFTER
    )


def migrate(connection: Connection, revision: str) -> None:
    """Run the revisions up to this one, in the connection's transaction."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _lock_alone(connection: Connection) -> None:
    """Take the advisory lock that every upgrade takes, and limit every wait.

    SQLite needs none, because BEGIN IMMEDIATE is such a lock.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
    driver: Any = connection.connection.driver_connection
    driver.patience_s = STATEMENT_TIMEOUT_S
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})

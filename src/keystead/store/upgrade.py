"""`keystead db upgrade`: upgrade a database's schema to this release's, by the revisions in migrations/versions.

This module is imported only when it is needed, so that a normal start does not import Alembic.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alembic import command
from alembic.config import Config
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from keystead.service.ports.store import SchemaError, StoreError
from keystead.store import tables
from keystead.store.engine import UNTIL
from keystead.store.failures import final
from keystead.store.opening import open_database, parse
from keystead.store.schema import revision

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from keystead.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK = 0x4B657973  # "Keys": a number that other programs are unlikely to lock
LOCK_TIMEOUT_S = 30
STATEMENT_TIMEOUT_S = 600


def upgrade(url: str | Path) -> str | None:
    """Upgrade a database in one transaction, alone. Return its old revision, or None for an empty database.

    SQLite's file is created (mode 0600) if there is none. Raises StoreError, and SchemaError for a newer schema.
    """
    parsed = parse(url)
    database = open_database(parsed)
    try:
        if parsed.get_backend_name() == "sqlite":
            os.close(os.open(str(parsed.database), os.O_CREAT | os.O_RDWR, 0o600))
        return _upgrade(database)
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


def _upgrade(database: Database) -> str | None:
    with database.writer.connect() as connection:
        connection.info[UNTIL] = time.monotonic() + LOCK_TIMEOUT_S
        with connection.begin():
            if database.row_locks:
                _lock_alone(connection)
            return _to_head(connection)


def _to_head(connection: Connection) -> str | None:
    found = revision(connection)
    if found is not None and found > tables.HEAD:
        raise SchemaError(f"the database has schema {found}, newer than this release's {tables.HEAD}")
    if found != tables.HEAD:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, tables.HEAD)
    return found


def _lock_alone(connection: Connection) -> None:
    """Take the advisory lock that every upgrade takes, and limit every wait.

    SQLite needs none, because BEGIN IMMEDIATE is such a lock.
    """
    connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT_S}s'"))
    connection.execute(text(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT_S}s'"))
    driver: Any = connection.connection.driver_connection
    driver.patience_s = STATEMENT_TIMEOUT_S
    connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": LOCK})

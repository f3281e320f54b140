"""Copies of databases: the whole SQLite file, while it is in use, or the configuration as plain values.

The configuration can be copied from either engine. Sealed values stay sealed: a copy needs the root key of the original
database.
"""

from __future__ import annotations

import base64
import contextlib
import os
import sqlite3
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import LargeBinary, insert, select
from sqlalchemy.exc import SQLAlchemyError

from keystead.service.ports.store import StoreError
from keystead.store import tables
from keystead.store.database import once

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Table

    from keystead.store.database import Database

Rows = dict[str, list[dict[str, Any]]]
"""Rows by table, in a form for JSON: times in ISO 8601, bytes in base64."""

CONFIGURATION: Final = (
    tables.cluster,
    tables.nodes,
    tables.svms,
    tables.svm_attributes,
    tables.certificates,
    tables.certificate_intermediates,
    tables.key_managers,
    tables.key_manager_server_cas,
    tables.key_servers,
    tables.secondary_key_servers,
    tables.detached_key_servers,
    tables.accounts,
    tables.roles,
    tables.login_messages,
    tables.options,
    tables.destinations,
    tables.event_filters,
    tables.data_keys,
    tables.digest_keys,
    tables.server_profiles,
    tables.incarnations,
    tables.cluster_keys,
)
"""The tables that a new database needs to log in at the key servers again, as the same cluster.

Keys, audit records and events are not part of the configuration.
"""


def copy_file(database: Database, to: Path) -> None:
    """Copy SQLite's database into a new file (mode 0600), by SQLite's online backup. Raises StoreError."""
    try:
        os.close(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with (
            contextlib.closing(database.reader.raw_connection()) as source,
            contextlib.closing(sqlite3.connect(to)) as target,
        ):
            raw: Any = source.driver_connection
            raw.backup(target)
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise StoreError(f"the database cannot be copied: {error}") from None  # no statement, so no value in the text
    except OSError as error:
        raise StoreError(f"{to} cannot be written: {error.strerror}") from None


def configuration(database: Database) -> Rows:
    """Read the configuration in one snapshot. Raises StoreError."""
    with once(database), database.reader.connect() as connection:
        return {
            table.name: [_plain(row) for row in connection.execute(select(table)).mappings()] for table in CONFIGURATION
        }


def fill(database: Database, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Store a configuration in an empty database with this release's schema. Raises StoreError."""
    known = {table.name: table for table in CONFIGURATION}
    if set(rows) != set(known):
        raise StoreError("the configuration is another release's: restore it with that release, then upgrade")
    with once(database), database.writer.begin() as connection:
        connection.execute(tables.incarnations.delete())  # the migration's own row
        if any(connection.execute(select(table).limit(1)).first() is not None for table in CONFIGURATION):
            raise StoreError("the database is not empty: nothing is restored over it")
        for table in CONFIGURATION:
            if values := [_valued(table, row) for row in rows[table.name]]:
                connection.execute(insert(table), values)


def _plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the values of a row, without nulls."""
    return {str(name): _text(value) for name, value in row.items() if value is not None}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, datetime) else value


def _valued(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for column in table.columns:
        value = row.get(column.name)
        if value is not None and isinstance(column.type, LargeBinary):
            value = base64.b64decode(value)
        elif value is not None and isinstance(column.type, tables.UtcTimestamp):
            value = datetime.fromisoformat(value)
        values[column.name] = value
    return values

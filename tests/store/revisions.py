"""Databases with the schema of an earlier revision."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sqlalchemy import insert, make_url, text

from keystead.store import tables
from keystead.store.opening import open_database
from keystead.store.upgrade import migrate

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.store.database import Database


def to_revision(url: str, revision: str) -> None:
    """Bring a database to a revision, and no newer one. SQLite's file is made if there is none."""
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        os.close(os.open(str(parsed.database), os.O_CREAT | os.O_RDWR, 0o600))
    database: Database = open_database(parsed)
    try:
        with database.writer.begin() as connection:
            migrate(connection, revision)
    finally:
        database.dispose()


def hear_node(url: str, heard_at: datetime, *more: str, **columns: object) -> None:
    """Store the node ``node-1``, which was heard at this time. Run more statements in the same transaction."""
    values = {"uuid": "node-1", "name": "n1", "generation": 9, "major": 18, "minor": 1, "heard_at": heard_at} | columns
    database = open_database(url)
    try:
        with database.writer.begin() as connection:
            connection.execute(insert(tables.nodes).values(values))
            for statement in more:
                connection.execute(text(statement))
    finally:
        database.dispose()

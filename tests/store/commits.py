"""The last commit of a database, for tests that ask whether anything was committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Hashable

    from keystead.store import SqlStore
    from keystead.store.database import Database


async def last_commit(store: SqlStore) -> Hashable:
    """Return a value that is another one after each commit that wrote."""
    version = store.version()
    return await store.examine(_snapshot) if version is None else version


def _snapshot(database: Database) -> Hashable:
    """Return which transactions of PostgreSQL a new one sees."""
    with database.reader.connect() as connection:
        return str(connection.scalar(text("SELECT CAST(pg_current_snapshot() AS text)")))

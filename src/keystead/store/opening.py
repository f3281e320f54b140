"""From a database URL to an open store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from keystead.service.ports import StoreError
from keystead.store import postgres, sqlite
from keystead.store.engine import Database, SqlStore
from keystead.store.schema import check_schema

if TYPE_CHECKING:
    from sqlalchemy import URL

_ENGINES = {"sqlite": sqlite.open_database, "postgresql": postgres.open_database}


def open_store(url: str) -> SqlStore:
    """Open a database whose schema is of this release.

    ``url`` is in SQLAlchemy's form, ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``. Raises StoreError,
    whose text never holds the URL; SchemaError when `keystead db upgrade` must run first.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise StoreError(f"there is no database {parsed.database}: run `keystead init`")
    database = open_database(parsed)
    try:
        check_schema(database)
    except StoreError:
        database.dispose()
        raise
    return SqlStore(database)


def open_database(url: str | URL) -> Database:
    """Make the engines of a database, whatever its schema; nothing is opened yet. Raises StoreError."""
    parsed = _parse(url)
    make = _ENGINES.get(parsed.get_backend_name())
    if make is None:
        raise StoreError("the database URL must begin with sqlite:/// or postgresql://")
    try:
        return make(parsed)
    except ModuleNotFoundError:
        raise StoreError("PostgreSQL needs the driver: install keystead[postgres]") from None


def _parse(url: str | URL) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise StoreError("the database URL is malformed") from None

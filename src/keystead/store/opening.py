"""Opening a store from a database URL."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from keystead.service.ports.store import StoreError
from keystead.store import postgres, sqlite
from keystead.store.engine import SqlStore
from keystead.store.schema import check_schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.store.database import Database

MALFORMED = "the database URL is malformed (in a user and a password, / ? : @ % are written %2F %3F %3A %40 %25)"
DRIVER = "pip install '.[postgres]'"
"""The command that installs the driver. It has no project name, so that no package index is asked for that name."""

_SEVERAL_HOSTS = re.compile(
    r"(?P<start>postgres[^/]*://(?:[^@/?]*@)?)(?P<hosts>[^@/?]*,[^@/?]*)(?P<path>/[^?]*|)(?:\?(?P<query>.*))?"
)
_PLACE = re.compile(r"(?P<bracket>\[)?(?P<host>(?(bracket)[0-9a-fA-F:]+|[^\[\]:]+))(?(bracket)\])(?::(?P<port>\d+))?")
_ENGINES = {"sqlite": sqlite.open_database, "postgresql": postgres.open_database}


def open_store(url: str | Path) -> SqlStore:
    """Open a database whose schema is this release's.

    ``url`` is in SQLAlchemy's form, ``sqlite:////absolute/path`` or ``postgresql+psycopg://...``, or the path of
    SQLite's file. Raises StoreError, whose text never holds the URL. Raises SchemaError if `keystead db upgrade` must
    run first.
    """
    return SqlStore(open_existing(url, check_schema))


def open_existing(url: str | Path, check: Callable[[Database], None]) -> Database:
    """Open a database that is there and passes a check. Raises StoreError, as the check does."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite" and not Path(parsed.database or "").is_file():
        raise StoreError(
            f"there is no database {parsed.database}: run `keystead init`, or, if it was lost, `keystead restore`"
        )
    database = open_database(parsed)
    try:
        check(database)
    except StoreError:
        database.dispose()
        raise
    return database


def open_database(url: str | Path | URL) -> Database:
    """Make the engines of a database with any schema. No connection is opened yet. Raises StoreError."""
    parsed = parse(url)
    make = _ENGINES.get(parsed.get_backend_name())
    if make is None:
        raise StoreError("the database URL must begin with sqlite:/// or postgresql://")
    try:
        return make(parsed)
    except ModuleNotFoundError:
        raise StoreError(f"PostgreSQL needs its driver: in the checkout, {DRIVER}") from None
    except ArgumentError:
        raise StoreError(MALFORMED) from None


def parse(url: str | Path | URL) -> URL:
    """Return the URL of a database. Raises StoreError.

    The error text holds no part of the URL, because in a URL with an ``@`` too many a password may be anywhere.
    """
    if isinstance(url, Path):
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url if isinstance(url, URL) else _with_hosts(url))
    except (ArgumentError, ValueError):
        raise StoreError(MALFORMED) from None
    if isinstance(url, str) and parsed.get_backend_name() != "sqlite" and url.count("@") > 1:
        raise StoreError(MALFORMED)
    return parsed


def shown(url: str | Path) -> str:
    """Return the URL of a database as a setting has it, without its password. Raises StoreError."""
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        return f"sqlite:///{Path(parsed.database or '').resolve()}"
    options = {name: value for name, value in parsed.query.items() if "password" not in name}
    without = URL.create("postgresql", parsed.username, None, parsed.host, parsed.port, parsed.database, options)
    return without.render_as_string()


def _with_hosts(url: str) -> str:
    """Return libpq's form of a URL with several hosts in SQLAlchemy's form. Other URLs stay as they are."""
    found = _SEVERAL_HOSTS.fullmatch(url)
    places = [_PLACE.fullmatch(place) for place in found["hosts"].split(",")] if found else []
    if not found or None in places:
        return url
    hosts, ports = (",".join(place[name] or "5432" for place in places if place) for name in ("host", "port"))
    query = "&".join(part for part in (found["query"], f"host={hosts}", f"port={ports}") if part)
    return f"{found['start']}{found['path']}?{query}"

"""The thin pytest layer over databases: a SQLite file or a real PostgreSQL database of its own for each test."""

from __future__ import annotations

import os
import shutil
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.store import SqlStore, compatibility, open_store
from keystead.store.upgrade import upgrade
from tests.peers.postgres import PostgresServer, postgres_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from keystead.service.ports.process import Clock

__all__ = ["database_url", "postgres", "set_clock", "sqlite_template", "sqlite_url", "store"]


def set_clock(clock: Clock, *stores: SqlStore) -> None:
    """Have these processes read the database's clock from ``clock``."""
    for each in stores:
        each.database = replace(each.database, now=lambda _: clock.now())


def raw_sqlite(path: Path | str, **options: Any) -> sqlite3.Connection:
    """Connect to SQLite's file without the store. The database accepts what is written, as from any release."""
    connection: sqlite3.Connection = sqlite3.connect(path, isolation_level=None, **options)
    connection.create_function(compatibility.FUNCTION, 0, lambda: "9999")
    return connection


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for the whole test run: the workers of one run share it."""
    with postgres_server(os.environ.get("PYTEST_XDIST_TESTRUNUID", "")[:12] or None) as server:
        yield server


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded, empty database file, to be copied."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A SQLite database with the newest schema."""
    shutil.copyfile(sqlite_template, tmp_path / "keystead.db")
    return f"sqlite:///{tmp_path / 'keystead.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the newest schema, of each engine in turn."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
        return
    with request.getfixturevalue("postgres").database() as url:
        yield url


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[SqlStore]:
    """An open store of each engine in turn; a test that leaves a connection in use fails."""
    opened = open_store(database_url)
    yield opened
    database = opened.database
    in_use = {name: getattr(database, name).pool.checkedout() for name in ("reader", "writer")}
    await opened.close()
    assert in_use == {"reader": 0, "writer": 0}

"""Copies of databases: a whole file while it is used, and the configuration as plain values."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from keystead.service.ports.store import StoreError
from keystead.store import copying, open_store
from keystead.store.upgrade import upgrade

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.store import SqlStore

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@on_sqlite
async def test_a_file_is_copied_once(filled: SqlStore, tmp_path: Path) -> None:
    """A copy is readable by its owner only, and never replaces a file."""
    to = tmp_path / "copy.db"
    copying.copy_file(filled.database, to)
    with closing(sqlite3.connect(to)) as copy:
        assert copy.execute("SELECT count(*) FROM key_managers").fetchone() > (0,)
    with pytest.raises(StoreError, match=r"copy\.db"):
        copying.copy_file(filled.database, to)


@on_sqlite
async def test_a_file_that_cannot_be_copied(filled: SqlStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error contains SQLite's reason."""

    def refuse(_: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("disk is full")

    monkeypatch.setattr(sqlite3, "connect", refuse)
    with pytest.raises(StoreError, match="cannot be copied: disk is full"):
        copying.copy_file(filled.database, tmp_path / "copy.db")


async def test_a_configuration_comes_back(filled: SqlStore, tmp_path: Path) -> None:
    """Every value of every row survives JSON, and is written into an empty database only."""
    rows = json.loads(json.dumps(copying.configuration(filled.database)))
    url = f"sqlite:///{tmp_path / 'new.db'}"
    upgrade(url)
    new = open_store(url)
    try:
        broken = rows | {"svms": [{"uuid": "svm-9"}]}
        with pytest.raises(StoreError, match="refuses a row"):
            copying.fill(new.database, broken)
        copying.fill(new.database, rows)
        assert copying.configuration(new.database) == rows
        with pytest.raises(StoreError, match="not empty"):
            copying.fill(new.database, rows)
        with pytest.raises(StoreError, match="another release"):
            copying.fill(new.database, {})
    finally:
        await new.close()

"""What SQLite in particular must do: durability, waiting for other processes, and giving up in time."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url, text

from keystead.core.model import Svm
from keystead.service.ports.store import StorageError, StoreError
from keystead.store import SqlStore, open_store, sqlite
from keystead.store.opening import open_database
from tests.peers.databases import raw_sqlite

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterator


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[SqlStore]:
    """Yield an open store."""
    opened = open_store(sqlite_url)
    yield opened
    await opened.close()


@pytest.fixture
def other(sqlite_url: str) -> Iterator[sqlite3.Connection]:
    """Yield a connection of somebody else's."""
    connection = raw_sqlite(make_url(sqlite_url).database or "", check_same_thread=False)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", ["reader", "writer"])
def test_every_connection_is_set_up(store: SqlStore, name: str) -> None:
    """Each connection uses write-ahead log, full synchronous commits, foreign keys and a bounded wait."""
    with getattr(store.database, name).connect() as connection:
        values = {
            pragma: connection.execute(text(f"PRAGMA {pragma}")).scalar()
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout", "query_only")
        }
    expected = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    assert values == expected | {"query_only": int(name == "reader")}


def test_one_thread_writes(store: SqlStore) -> None:
    """One thread writes, so that writers of one process do not wait for each other's file lock."""
    assert store.database.writers == 1


async def test_a_write_waits_for_another_process(store: SqlStore, other: sqlite3.Connection) -> None:
    """And is then made."""
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.rollback)
    release.start()
    began = time.monotonic()
    await store.write(lambda tx: tx.add_svm(Svm("s", "s")))
    assert time.monotonic() - began > 0.2
    release.join()


async def test_a_read_does_not_wait_for_a_writer(store: SqlStore, other: sqlite3.Connection) -> None:
    """A read returns the last committed state without waiting for a writer."""
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO svms VALUES ('s', 's')")
    assert await store.read(lambda tx: tx.svm("s")) is None
    other.rollback()


@pytest.fixture
async def impatient(store: SqlStore) -> AsyncIterator[SqlStore]:
    """Yield a store whose transactions have a short deadline."""
    opened = SqlStore(store.database, deadline_s=0.3)
    yield opened
    await opened.close()


async def test_a_lock_that_is_never_released_is_a_store_error(impatient: SqlStore, other: sqlite3.Connection) -> None:
    """A write that waits for a lock raises StoreError at its deadline; later writes succeed."""
    store = impatient
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(StoreError, match="locked"):
        await store.write(lambda tx: tx.add_svm(Svm("s", "s")))
    assert 0.2 < time.monotonic() - began < 2
    other.rollback()
    await store.write(lambda tx: tx.add_svm(Svm("s", "s")))


async def test_writes_that_queue_behind_a_lock_fail_together(impatient: SqlStore, other: sqlite3.Connection) -> None:
    """Each write has its deadline from its submission, so the last one waits no longer than the first."""
    store = impatient
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()

    async def write(number: int) -> None:
        await store.write(lambda tx: tx.add_svm(Svm(f"{number}", f"{number}")))

    outcomes = await asyncio.gather(*map(write, range(20)), return_exceptions=True)
    assert time.monotonic() - began < 2
    assert {type(outcome) for outcome in outcomes} == {StorageError}
    other.rollback()


async def test_reads_of_a_file_that_another_process_keeps_to_itself_end_in_time(
    sqlite_url: str, other: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads of a file that another process has locked raise StoreError at their deadline."""
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT_S", 0.1)
    store = SqlStore(open_database(sqlite_url), deadline_s=0.3)
    store.database.dispose()
    other.execute("PRAGMA journal_mode = DELETE").close()
    other.execute("BEGIN EXCLUSIVE")
    began = time.monotonic()
    outcomes = await asyncio.gather(*[store.read(lambda tx: tx.cluster()) for _ in range(12)], return_exceptions=True)
    assert time.monotonic() - began < 4
    assert {type(outcome) for outcome in outcomes} == {StorageError}
    other.rollback()
    await store.close()


def _remove(file: Path, *, replace: bool) -> None:
    """Delete a database, or put a copy in its place."""
    copy = file.read_bytes()
    for path in file.parent.glob("keystead.db*"):
        path.unlink()
    if replace:
        (file.parent / "new").write_bytes(copy)
        (file.parent / "new").rename(file)


def _exists(file: Path) -> bool:
    return file.exists()


@pytest.mark.parametrize("replaced", [False, True])
async def test_a_file_that_is_gone_or_replaced_is_neither_read_nor_written(
    store: SqlStore, sqlite_url: str, *, replaced: bool
) -> None:
    """Connections that are open still have it, but what they commit would be lost; and no empty one is made."""
    file = Path(make_url(sqlite_url).database or "")
    await store.write(lambda tx: tx.add_svm(Svm("s", "s")))
    _remove(file, replace=replaced)
    found = "replaced" if replaced else "gone"
    for _ in range(2):
        with pytest.raises(StoreError, match=found):
            await store.write(lambda tx: tx.add_svm(Svm("t", "t")))
        for read in (store.read, store.read_few):
            with pytest.raises(StoreError, match=found):
                await read(lambda tx: tx.svm("s"))
        store.database.dispose()
        found = "replaced" if replaced else "unable to open|gone"
    assert _exists(file) == replaced


async def test_the_version_changes_with_every_commit(store: SqlStore, other: sqlite3.Connection) -> None:
    """This process' or another's; reading changes nothing, nor does what is rolled back."""
    first = store.version()
    await store.read_few(lambda tx: tx.svm("s"))
    other.execute("BEGIN IMMEDIATE")
    other.execute("ROLLBACK")
    assert store.version() == first
    await store.write(lambda tx: tx.add_svm(Svm("s", "s")))
    second = store.version()
    other.execute("UPDATE svms SET name = 'another'")
    assert len({first, second, store.version()}) == 3


def _stop(_: object) -> None:
    """Fail, so that the connection is given back."""
    raise StoreError("stop")


async def test_versions_of_two_connections_differ(store: SqlStore, other: sqlite3.Connection) -> None:
    """SQLite counts anew for each connection, so that a lost one must not hide a commit."""
    first = store.version()
    with pytest.raises(StoreError, match="stop"):
        await store.read_few(_stop)
    store.database.dispose()
    other.execute("UPDATE svms SET name = 'another'")
    assert store.version() != first


async def test_a_database_that_fails_has_no_version(store: SqlStore, sqlite_url: str) -> None:
    """A failing database has the version None, so that the next read finds the reason."""
    assert store.version() is not None
    _remove(Path(make_url(sqlite_url).database or ""), replace=True)
    assert store.version() is None


def test_all_waits_together_are_below_a_requests_deadline() -> None:
    """The deadline of a transaction and the wait for a lock are together below 40 s."""
    assert sqlite.DEADLINE_S + sqlite.BUSY_TIMEOUT_S < 40


async def test_a_full_database_is_a_storage_error(store: SqlStore) -> None:
    """SQLite's own answer to a file that cannot grow; what fits is stored when there is room again."""
    with store.database.writer.connect() as connection:
        pages = connection.execute(text("PRAGMA max_page_count = 1")).scalar()
    svms = [Svm(str(number), f"{number}-{'x' * 40}") for number in range(1000)]
    with pytest.raises(StorageError) as raised:
        await store.write(lambda tx: [tx.add_svm(each) for each in svms])
    assert (str(raised.value), raised.value.reason) == (
        "the database failed: SQLITE_FULL: database or disk is full",
        "its disk is full",
    )
    assert await store.read(lambda tx: tx.svm("0")) is None
    with store.database.writer.connect() as connection:
        connection.execute(text(f"PRAGMA max_page_count = {10 * (pages or 1)}"))
    await store.write(lambda tx: tx.add_svm(svms[0]))

"""The schema's revisions: what a database must have before it is opened, and what makes it so."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from keystead.service.ports.store import StoreError
from keystead.store import SchemaError, open_store, tables
from keystead.store.opening import DRIVER, open_database
from keystead.store.sqlite import RESTORE
from keystead.store.upgrade import MIGRATIONS, upgrade
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.peers.postgres import PostgresServer

POSTGRES_SHAPE = (
    "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE connamespace = 'public'::regnamespace",
    "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "SELECT table_name, column_name, data_type, collation_name, is_nullable FROM information_schema.columns"  # noqa: ISC004
    " WHERE table_schema = 'public'",
)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield a database without tables, of each engine in turn; the SQLite file does not exist yet."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new' / '100% new.db'}"
        return
    with request.getfixturevalue("postgres").empty_database() as url:
        yield url


@pytest.fixture
def new_folder(tmp_path: Path) -> Path:
    """Return the folder of the SQLite file."""
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def test_head_is_the_newest_revision() -> None:
    """The constant that spares a normal start from importing Alembic; revisions are ordered numbers."""
    script = ScriptDirectory(str(MIGRATIONS))
    assert script.get_heads() == [tables.HEAD]
    revisions = [revision.revision for revision in script.walk_revisions()][::-1]
    assert revisions == [f"{number:04}" for number in range(1, len(revisions) + 1)]


@pytest.mark.usefixtures("new_folder")
def test_the_revisions_make_the_declared_tables(empty_url: str) -> None:
    """Columns, types, constraints and indexes by name, as Alembic and as the database itself see them."""
    assert upgrade(empty_url) is None
    database = open_database(empty_url)
    with database.writer.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
        migrated = _shape(connection)
        connection.execute(text("DROP TABLE alembic_version"))
        tables.metadata.drop_all(connection)
        tables.metadata.create_all(connection)
        assert _shape(connection) == migrated
        assert len(migrated) > len(tables.metadata.tables)
    database.dispose()


def test_postgresql_compares_every_text_by_bytes(postgres: PostgresServer) -> None:
    """Whatever the database's locale, lists have the order that they have on SQLite."""
    with postgres.database() as url:
        database = open_database(url)
        with database.reader.begin() as connection:
            found = connection.execute(
                text(
                    "SELECT DISTINCT collation_name FROM information_schema.columns"
                    " WHERE table_schema = 'public' AND data_type = 'text'"
                )
            ).all()
        database.dispose()
    assert [tuple(row) for row in found] == [("C",)]


@pytest.mark.usefixtures("new_folder")
def test_an_upgrade_can_be_repeated(empty_url: str) -> None:
    """It says what the database had before."""
    assert [upgrade(empty_url) for _ in range(3)] == [None, tables.HEAD, tables.HEAD]


@pytest.mark.usefixtures("new_folder")
def test_upgrades_at_the_same_time_wait_for_each_other(empty_url: str) -> None:
    """As when several nodes start after an update: one does it."""
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(upgrade, [empty_url] * 4))
    assert sorted(found, key=str) == sorted([None, *[tables.HEAD] * 3], key=str)


def test_an_upgrade_waits_for_another_that_switches_the_file_to_wal(tmp_path: Path) -> None:
    """Both hold a lock that the other one needs gone: SQLite fails at once then, whatever busy_timeout says."""
    other = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.rollback)
    release.start()
    assert upgrade(f"sqlite:///{tmp_path / 'new.db'}") is None
    release.join()
    other.close()


def test_an_upgrade_that_fails_leaves_nothing(database_url: str) -> None:
    """One transaction: a revision stops in the middle, and no table of it remains."""
    database = open_database(database_url)
    with database.writer.begin() as connection:
        connection.execute(text("DROP TABLE alembic_version"))
        connection.execute(text("DROP TABLE sessions"))
        connection.execute(text("DROP TABLE application_accounts"))
        connection.execute(
            text("DROP TABLE accounts")
        )  # made again before the revision meets the tables that are there
    with pytest.raises(StoreError):
        upgrade(database_url)
    with database.reader.connect() as connection:
        assert not connection.dialect.has_table(connection, "accounts")
        assert not connection.dialect.has_table(connection, "alembic_version")
    database.dispose()


@pytest.mark.parametrize(
    ("revision", "says"),
    [
        (None, "no Keystead schema"),
        ("", "no Keystead schema"),
        ("0000", "older than this release's"),
        ("9999", "newer than this release's"),
    ],
)
def test_another_revision_is_refused(database_url: str, revision: str | None, says: str) -> None:
    """With the command that mends it."""
    database = open_database(database_url)
    with database.writer.begin() as connection:
        if revision:
            connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        else:
            connection.execute(
                text("DROP TABLE alembic_version" if revision is None else "DELETE FROM alembic_version")
            )
        connection.execute(text("UPDATE compatibility SET writes_min = :r"), {"r": revision or tables.HEAD})
    database.dispose()
    with pytest.raises(SchemaError, match=says) as caught:
        open_store(database_url)
    assert "`keystead db upgrade`" in str(caught.value)


@pytest.mark.parametrize("use", [open_store, upgrade])
def test_a_newer_schema_that_refuses_this_release(database_url: str, use: Callable[[str], object]) -> None:
    """There is no way back."""
    database = open_database(database_url)
    with database.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.execute(text("UPDATE compatibility SET writes_min = '9999'"))
    database.dispose()
    with pytest.raises(SchemaError, match="newer"):
        use(database_url)


async def test_a_newer_schema_that_accepts_this_release(database_url: str) -> None:
    """A rolling upgrade: this release starts again and writes on it, and `db upgrade` leaves it as it is."""
    database = open_database(database_url)
    with database.writer.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    database.dispose()
    assert upgrade(database_url) == "9999"
    store = open_store(database_url)
    try:
        await store.check()
        await store.write(samples.fill)
    finally:
        await store.close()


def test_a_missing_file_is_not_made_by_opening(tmp_path: Path) -> None:
    """The message says what makes it."""
    with pytest.raises(StoreError, match="keystead init"):
        open_store(f"sqlite:///{tmp_path / 'absent.db'}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a?b", "a%20b", "a#b&mode=memory", "a b", "a\udcff"])
def test_any_name_of_a_directory_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    """The path is no URL: nothing in it is decoded, and nothing lands elsewhere."""
    folder = tmp_path / name
    folder.mkdir()
    assert upgrade(folder / "keystead.db") is None
    open_database(folder / "keystead.db").dispose()
    open_store(folder / "keystead.db").database.dispose()
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (folder / "keystead.db").stat().st_size > 0


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:p@canary:w0rd@127.0.0.1:1/db",
        "postgresql+psycopg://u:p@canary@127.0.0.1:1/db",
        "postgresql+psycopg://u:p@canary/x@127.0.0.1:1/db",
        "postgresql+psycopg://u:p@canary?x@127.0.0.1:1/db",
        "postgresql+canary://u:p@127.0.0.1:1/db",
        "canary",
        "sqlite://",
    ],
)
def test_a_url_that_cannot_be_used_is_not_quoted(url: str) -> None:
    """It may hold a password, and where that begins and ends is not known."""
    with pytest.raises(StoreError) as caught:
        upgrade(url)
    assert "canary" not in str(caught.value)
    assert "w0rd" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_database_file_is_the_owners_alone(sqlite_template: Path, tmp_path: Path) -> None:
    """Hashes and sealed values are not for everybody."""
    upgrade(f"sqlite:///{tmp_path / 'new.db'}")
    for path in (sqlite_template, tmp_path / "new.db"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_folder_that_is_not_there_is_a_store_error(tmp_path: Path) -> None:
    """Not a stack trace."""
    with pytest.raises(StoreError, match="cannot be made"):
        upgrade(f"sqlite:///{tmp_path / 'absent' / 'new.db'}")


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    """For both commands."""
    (tmp_path / "text.db").write_text("no database at all, but long enough to look at" * 100)
    for use in (open_store, upgrade):
        with pytest.raises(StoreError, match=f"NOTADB.*{RESTORE}"):
            use(f"sqlite:///{tmp_path / 'text.db'}")


@pytest.mark.parametrize("url", ["mysql://u:canary@h/d", "canary", "postgresql+psycopg://u:canary@127.0.0.1:1/d"])
def test_a_url_that_cannot_be_used_is_never_quoted(url: str) -> None:
    """It may hold a password."""
    for use in (open_store, upgrade):
        with pytest.raises(StoreError) as caught:
            use(url)
        assert "canary" not in f"{caught.value!r}"


def test_opening_does_not_import_alembic(sqlite_url: str) -> None:
    """It would cost every start a third of a second."""
    program = f"import sys; from keystead.store import *; open_store({sqlite_url!r}); print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_its_driver_postgresql_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra of ours, which no package index has."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError, match=re.escape(f"in the checkout, {DRIVER}")):
        open_database("postgresql+psycopg://u@h/d")


def test_postgresql_keeps_the_password_out_of_errors(postgres: PostgresServer) -> None:
    """Also when the database does not exist."""
    with pytest.raises(StoreError) as caught:
        open_store(postgres.url("absent", password="canary"))
    assert "canary" not in f"{caught.value!r}"


def _shape(connection: Connection) -> set[tuple[str, ...]]:
    """Everything that the database knows about its tables but Alembic's own."""
    if connection.dialect.name == "sqlite":
        rows = connection.execute(
            text("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL")
        )
        # A column that was added later stands behind a comma of the line before.
        lines = {name: re.split(r"\n|, (?=\w+ [A-Z])", sql.replace('"', "")) for name, sql in rows}
        found = {(name, *sorted(line.strip(" \t,") for line in split)) for name, split in lines.items()}
    else:
        found = {tuple(map(str, row)) for query in POSTGRES_SHAPE for row in connection.execute(text(query))}
    return {row for row in found if not row[0].startswith("alembic_version")}

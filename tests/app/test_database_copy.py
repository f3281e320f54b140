"""``keystead db copy``: an installation goes to another database, and back, and is never in two places at once."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from click.testing import CliRunner

from keystead.app.audit import verify_audit
from keystead.app.database_copy import copy_database
from keystead.app.incarnation import DataDirectory
from keystead.app.initialise import initialise, upgrade
from keystead.app.opening import CannotStart, node_uuid, opened, served_alone
from keystead.app.wiring import running
from keystead.cli.main import cli
from keystead.core.model import AuditRecord, Event, Svm
from keystead.service.audit.log import AuditLog
from keystead.service.audit.spool import ReadSpool
from keystead.service.loading import incarnation_of
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from keystead.settings import Settings
from keystead.store import open_store, whole_copy
from tests.peers.adding import CALL
from tests.peers.databases import raw_sqlite
from tests.peers.keystead import Installation
from tests.peers.killing import Harness

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from keystead.core.keys.model import Incarnation
    from keystead.service.ports.store import Transaction
    from tests.peers.homes import Furnished
    from tests.peers.postgres import PostgresServer

T = TypeVar("T")
SECRET = "a-password-of-the-database"


@pytest.fixture
def settings(furnished_template: Furnished, tmp_path: Path) -> Settings:
    """Return an installation on SQLite, in its data directory, with certificates. It was served once."""
    shutil.copytree(furnished_template.settings.data, tmp_path / "data")
    made = Settings(data=tmp_path / "data")
    serve_once(made)
    return made


@pytest.fixture
def to(sqlite_template: Path, tmp_path: Path) -> str:
    """Return the URL of an empty database."""
    shutil.copyfile(sqlite_template, tmp_path / "copy.db")
    return f"sqlite:///{tmp_path / 'copy.db'}"


def serve_once(settings: Settings) -> Incarnation:
    """Serve an installation for a moment. Return its incarnation."""

    async def serve() -> Incarnation:
        async with running(settings) as open_:
            return await open_.services.incarnations.get(CALL)

    return asyncio.run(serve())


def read(settings: Settings, work: Callable[[Transaction], T]) -> T:
    """Read something from the database of an installation."""

    async def look() -> T:
        store = open_store(settings.database_url)
        try:
            return await store.read(work)
        finally:
            await store.close()

    return asyncio.run(look())


def announced(tx: Transaction) -> list[str]:
    """Return the names of the events."""
    return [each.name for each in tx.page(Event, Page())]


def contents(settings: Settings) -> tuple[object, ...]:
    """Return something of what an installation has, and its incarnation."""

    def work(tx: Transaction) -> tuple[object, ...]:
        current = incarnation_of(tx)
        return tx.cluster(), tx.nodes(), tx.data_keys(), tx.account("admin"), current.uuid, current.number

    return read(settings, work)


def plain(url: str) -> str:
    """Return a URL as a user writes it."""
    return url.replace("+psycopg", "")


def refusal(settings: Settings, to: str, *, keep_source: bool = False) -> str:
    """Return why a copy is refused."""
    with pytest.raises(CannotStart) as refused:
        copy_database(settings, to, keep_source=keep_source)
    return str(refused.value)


# --- there and back --------------------------------------------------------------------------------------------------


def test_an_installation_moves_to_postgresql_and_back(
    settings: Settings, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the same there: the incarnation goes on, and may destroy; the audit chain too, with reads that waited."""
    before, data = contents(settings), settings.data
    monkeypatch.setenv("KEYSTEAD_DATA", str(data))
    with postgres.empty_database() as url:
        there = replace(settings, database=plain(url).replace("keystead@", f"keystead:{SECRET}@"))
        monkeypatch.setenv("KEYSTEAD_COPY_TO", there.database)
        moved = CliRunner().invoke(cli, ["db", "copy"])
        assert moved.exit_code == 0, moved.output
        assert "audit chains that are intact: 1" in moved.output
        assert 'set `database = "postgresql://keystead@/' in moved.output
        assert "with its password" in moved.output
        with pytest.raises(CannotStart, match=r"the database was moved to postgresql://keystead@/") as refused:
            opened(settings)
        assert SECRET not in f"{moved.output}{refused.value}"
        assert SECRET.encode() not in (data / "keystead.db").read_bytes()
        spooled_read(settings, there)
        assert contents(there) == before
        assert serve_once(there).destroys
        before = contents(there)  # because the account has read its first key
        lines, intact = verify_audit(there)
        assert (intact, len(lines)) == (True, 1)
        messages = "\n".join(read(there, lambda tx: [each.message for each in tx.page(AuditRecord, Page())]))
        assert "moved the database from sqlite:///" in messages
        assert "retrieval of key 00ff" in messages, "what was in the spool"

        for file in data.glob("keystead.db*"):
            file.unlink()
        monkeypatch.setenv("KEYSTEAD_DATABASE", there.database)
        back = CliRunner().invoke(cli, ["db", "copy", "--to", f"sqlite:///{data / 'keystead.db'}"])
        assert back.exit_code == 0, back.output
        assert "remove the setting `database`" in back.output
        with pytest.raises(CannotStart, match="moved to sqlite:///"):
            opened(there)
    assert (data / "keystead.db").stat().st_mode & 0o777 == 0o600
    assert contents(settings) == before
    assert serve_once(settings).destroys
    assert verify_audit(settings)[1]
    assert read(settings, announced) == ["km.keyreader.firstread"], "no new incarnation"


def spooled_read(settings: Settings, there: Settings) -> None:
    """Leave the record of a read in the spool, as a node that stopped while its database was away."""
    from keystead.app.clock import SystemClock
    from keystead.sealing import Keyring, read_root_key

    store = open_store(there.database_url)
    keys = asyncio.run(store.read(lambda tx: tx.data_keys()))
    keyring = Keyring.open(read_root_key(settings.root_key_file), keys)
    audit = AuditLog(store, keyring, SystemClock(), node_uuid(settings.data))
    record = audit.read(CALL, "00ff", "0123456789abcdef", svm=None)
    ReadSpool(settings.data / "reads.spool", keyring.mac).append([record])
    asyncio.run(store.close())


def test_a_copy_beside_the_source_destroys_nothing(settings: Settings, to: str) -> None:
    """With --keep-source it is a new incarnation, held and announced; the source is served on."""
    there, before = replace(settings, database=to), contents(settings)
    lines = copy_database(settings, to, keep_source=True)
    assert "destroys nothing" in lines[1]
    assert contents(settings) == before
    assert serve_once(settings).destroys
    held = serve_once(there)
    assert (held.number, held.reason, held.destroys) == (2, "cloned", False)
    assert read(there, announced) == ["km.destruction.held"]
    assert verify_audit(there)[1]


def cloned(settings: Settings, folder: Path) -> Settings:
    """Copy the data directory."""
    shutil.copytree(settings.data, folder / "clone")
    return replace(settings, data=folder / "clone")


def put_back(settings: Settings, folder: Path) -> Settings:
    """Put the database back to an earlier state."""
    shutil.copy(settings.data / "keystead.db", folder / "earlier.db")
    serve_once(settings)
    (settings.data / "keystead.db").write_bytes((folder / "earlier.db").read_bytes())
    return settings


@pytest.mark.parametrize(("happens", "reason"), [(cloned, "cloned"), (put_back, "restored")])
def test_a_source_that_is_a_copy_itself(
    settings: Settings, to: str, tmp_path: Path, happens: Callable[[Settings, Path], Settings], reason: str
) -> None:
    """A move does not hide what a start would have noticed: the new database is held."""
    source = happens(settings, tmp_path)
    copy_database(source, to, keep_source=False)
    there = replace(source, database=to)
    assert read(there, announced) == ["km.destruction.held"]
    held = serve_once(there)
    assert (held.number, held.reason, held.destroys) == (2, reason, False)


def test_a_moved_database_can_be_copied_once_more(settings: Settings, to: str, tmp_path: Path) -> None:
    """Held, if the one that it was moved to is lost. The copy takes changes."""
    copy_database(settings, f"sqlite:///{tmp_path / 'lost.db'}", keep_source=False)
    (tmp_path / "lost.db").unlink()
    copy_database(settings, to, keep_source=True)
    there = replace(settings, database=to)
    assert not serve_once(there).destroys

    async def change() -> None:
        store = open_store(there.database_url)
        await store.write(lambda tx: tx.add_svm(Svm("new", "new")))
        await store.close()

    asyncio.run(change())


# --- what is refused -------------------------------------------------------------------------------------------------


def fill(path: Path, *statements: str) -> None:
    """Run statements on a SQLite file."""
    with closing(raw_sqlite(path)) as connection:
        for statement in ("PRAGMA journal_mode = WAL", *statements):
            connection.execute(statement)


def another_installation(_: Settings, to: Path) -> None:
    """Have an installation's database there."""
    there = Settings(data=to.parent / "another", database=f"sqlite:///{to}")
    initialise(there, b"a password of 1 test", terminal=False)


def copy_of_another(settings: Settings, to: Path) -> None:
    """Have an unfinished copy of another database there."""
    unfinished(settings, to)
    fill(to, "UPDATE database_copy SET storage = 'another'")


def unfinished(settings: Settings, to: Path) -> None:
    """Have an unfinished copy there."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("keystead.app.database_copy._finish", stop)
        assert refusal(settings, f"sqlite:///{to}", keep_source=True) == "stopped"


def stop(*_: object, **__: object) -> None:
    """Stop."""
    raise StoreError("stopped")


TARGETS: dict[str, tuple[Callable[[Settings, Path], object], str]] = {
    "installation": (another_installation, "the database is not empty"),
    "tables of others": (lambda _, to: fill(to, "CREATE TABLE mine (x)"), "the database is not empty"),
    "no database": (lambda _, to: to.write_bytes(b"no database" * 100), "SQLITE_NOTADB"),
    "copy of another": (copy_of_another, "nothing is copied there: the database is an unfinished copy of sqlite:///"),
    "older schema": (
        lambda settings, to: (unfinished(settings, to), fill(to, "UPDATE alembic_version SET version_num = '0001'")),
        "older than this release's",
    ),
    "newer schema": (
        lambda settings, to: (unfinished(settings, to), fill(to, "UPDATE alembic_version SET version_num = '9999'")),
        "not this release's",
    ),
    "no folder": (lambda _, to: to.parent.rmdir(), "the database file cannot be made: No such file or directory"),
}


@pytest.mark.parametrize(("prepare", "why"), TARGETS.values(), ids=TARGETS)
def test_targets_that_are_refused(
    settings: Settings, sqlite_template: Path, tmp_path: Path, prepare: Callable[[Settings, Path], object], why: str
) -> None:
    """Neither side is changed, and the source is served on."""
    to = tmp_path / "to" / "copy.db"
    to.parent.mkdir()
    if "unfinished" in why or "this release's" in why:
        shutil.copyfile(sqlite_template, to)
    prepare(settings, to)
    before = to.read_bytes() if to.exists() else None
    assert why in refusal(settings, f"sqlite:///{to}")
    assert (to.read_bytes() if to.exists() else None) == before
    opened(settings).database.dispose()


def wrong_root_key(settings: Settings) -> None:
    """Have another root key."""
    settings.root_key_file.chmod(0o600)
    settings.root_key_file.write_bytes(bytes(32))


def forged(settings: Settings) -> None:
    """Change an audit record."""
    fill(settings.data / "keystead.db", "UPDATE audit_records SET message = 'x' WHERE \"index\" = 2")


SOURCES: dict[str, tuple[Callable[[Settings], object], str]] = {
    "root key": (wrong_root_key, "the root key is not the one"),
    "audit chain": (forged, "nothing is moved, because an audit chain does not hold"),
    "schema": (
        lambda settings: fill(settings.data / "keystead.db", "UPDATE alembic_version SET version_num = '0001'"),
        "older than this release's",
    ),
    "no database": (lambda settings: (settings.data / "keystead.db").unlink(), "there is no database"),
    "no data directory": (lambda settings: (settings.data / "node.uuid").unlink(), "is no data directory"),
}


@pytest.mark.parametrize(("prepare", "why"), SOURCES.values(), ids=SOURCES)
def test_sources_that_are_refused(
    settings: Settings, tmp_path: Path, prepare: Callable[[Settings], object], why: str
) -> None:
    """Nothing is made where the copy was to be."""
    prepare(settings)
    assert why in refusal(settings, f"sqlite:///{tmp_path / 'copy.db'}")
    assert not (tmp_path / "copy.db").exists()


def test_a_database_is_not_copied_to_itself(settings: Settings) -> None:
    """However it is named."""
    assert "to another one" in refusal(settings, f"sqlite:///{settings.data / '..' / 'data' / 'keystead.db'}")


def test_an_unfinished_copy_is_not_a_source(settings: Settings, to: str, tmp_path: Path) -> None:
    """It may lack rows. It is not served, either."""
    unfinished(settings, tmp_path / "copy.db")
    there = replace(settings, database=to)
    with pytest.raises(CannotStart, match="is an unfinished copy of sqlite:///"):
        opened(there)
    assert "is an unfinished copy of" in refusal(there, f"sqlite:///{tmp_path / 'next.db'}")
    assert not (tmp_path / "next.db").exists()


def test_a_moved_database_is_not_moved_again(settings: Settings, to: str, tmp_path: Path) -> None:
    """Neither there nor elsewhere."""
    copy_database(settings, to, keep_source=False)
    for again in (to, f"sqlite:///{tmp_path / 'second.db'}"):
        assert f"the database was moved to {to} on 20" in refusal(settings, again)
    with pytest.raises(CannotStart, match="the database was moved to"):
        upgrade(settings)
    assert not (tmp_path / "second.db").exists()


@pytest.mark.parametrize(
    ("to", "why"),
    [
        (f"postgresql://keystead:{SECRET}@db/keystead", "comes from KEYSTEAD_COPY_TO"),
        (f"postgresql://db/keystead?password={SECRET}", "comes from KEYSTEAD_COPY_TO"),
        ("mysql://db/keystead", "must begin with"),
        ("nonsense", "malformed"),
        ("", "--to is empty"),
    ],
)
def test_urls_that_are_refused(settings: Settings, to: str, why: str) -> None:
    """The URL is not in the error."""
    ended = CliRunner().invoke(cli, ["db", "copy", "--data", str(settings.data), "--to", to])
    assert ended.exit_code
    assert why in ended.output
    assert SECRET not in ended.output


# --- others at the same time -----------------------------------------------------------------------------------------


def test_a_service_that_runs(settings: Settings, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of this data directory holds its lock; another one has the database open."""
    monkeypatch.setattr(whole_copy, "PATIENCE_S", 0.0)
    with served_alone(settings.data):
        assert "is used by another process" in refusal(settings, to)
    store = opened(settings)
    asyncio.run(store.read(lambda tx: tx.nodes()))
    assert "another process uses the database" in refusal(settings, to)
    asyncio.run(store.close())
    copy_database(settings, to, keep_source=False)


def test_a_process_that_slept_through_the_move(settings: Settings, to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It can store nothing, destroys nothing, and is not ready."""
    monkeypatch.setattr(whole_copy, "PATIENCE_S", 0.0)
    monkeypatch.setitem(whole_copy._IS_USED_ELSEWHERE, "sqlite", lambda _: False)
    slept = opened(settings)

    async def wake() -> None:
        await slept.read(lambda tx: tx.nodes())
        await asyncio.to_thread(copy_database, settings, to, keep_source=False)
        with pytest.raises(StoreError, match="or the database was moved"):
            await slept.write(lambda tx: tx.add_svm(Svm("new", "new")))
        for refused in (slept.check(), DataDirectory(settings.data, slept).storage()):
            with pytest.raises(StoreError, match="was moved to sqlite:///"):
                await refused
        await slept.close()

    asyncio.run(wake())


@pytest.mark.long
def test_two_at_once(settings: Settings, tmp_path: Path) -> None:
    """One of them moves the installation; the other one is refused, whichever data directory it has."""
    shutil.copytree(settings.data, tmp_path / "second")
    shared = f"sqlite:///{settings.data / 'keystead.db'}"
    for round_ in range(4):
        database = {"database": shared}
        both = [Installation(settings.data, settings=database), Installation(tmp_path / "second", settings=database)]
        names = [f"sqlite:///{tmp_path / f'{round_}-{number}.db'}" for number in (0, round_ % 2)]
        processes = [
            subprocess.Popen(
                each.command("db", "copy", "--to", to), env=each.environment, stderr=subprocess.PIPE, text=True
            )
            for each, to in zip(both, names, strict=True)
        ]
        ended = [(process.communicate(timeout=120)[1], process.returncode) for process in processes]
        assert sorted(status for _, status in ended) == [0, 1], ended
        (winner,) = (name for name, (_, status) in zip(names, ended, strict=True) if not status)
        assert verify_audit(replace(settings, database=winner))[1]
        with pytest.raises(CannotStart, match="was moved to"):
            opened(replace(settings, database=shared))
        shared = winner


# --- killed ----------------------------------------------------------------------------------------------------------


def is_served(settings: Settings) -> bool:
    """Return True if a service would start on the database: an empty one has no data keys."""
    try:
        return bool(read(settings, lambda tx: tx.data_keys()))
    except StoreError:
        return False


def check_killed(harness: Harness, settings: Settings, there: Settings, point: int, where: str) -> None:
    """Kill a copy at a point, and begin it again. At no time can both be served, and nothing is missing."""
    before = contents(settings)
    order: dict[str, Any] = {"data": str(settings.data), "database": settings.database, "to": plain(there.database)}
    assert harness.run("copy_database", point, **order).killed, where
    served = [each for each in (settings, there) if is_served(each)]
    assert len(served) <= 1, where
    assert all(contents(each) == before for each in served), where
    if there not in served:
        assert harness.run("copy_database", **order).result, where
    assert not is_served(settings), where
    assert contents(there) == before, where
    assert verify_audit(there)[1], where


def points_of(harness: Harness, template: Furnished, tmp_path: Path, database: str) -> list[str]:
    """Return the points at which a copy can be killed."""
    shutil.copytree(template.settings.data, tmp_path / "whole")
    order: dict[str, Any] = {"data": str(tmp_path / "whole"), "database": "", "to": plain(database)}
    return harness.run("copy_database", **order).points


def test_a_copy_killed_after_each_commit(furnished_template: Furnished, tmp_path: Path) -> None:
    """The rows are there; then the source is marked, too."""
    with Harness(statements=False) as harness:
        points = points_of(harness, furnished_template, tmp_path, f"sqlite:///{tmp_path / 'whole.db'}")
        commits = [number for number, point in enumerate(points) if point == "commit"]
        assert len(commits) > 3
        for point in commits[-3:-1]:
            data = tmp_path / f"killed-{point}"
            shutil.copytree(furnished_template.settings.data, data)
            there = Settings(data=data, database=f"sqlite:///{tmp_path / f'{point}.db'}")
            check_killed(harness, Settings(data=data), there, point + 1, f"point {point} of {points}")


KILLED = 24
"""How many times a copy to PostgreSQL is killed."""


@pytest.mark.long
def test_a_copy_to_postgresql_killed_at_any_point(
    furnished_template: Furnished, tmp_path: Path, postgres: PostgresServer
) -> None:
    """Also between its statements, while the schema is made."""
    with Harness() as harness:
        with postgres.empty_database() as url:
            points = points_of(harness, furnished_template, tmp_path, url)
        for point in range(0, len(points), len(points) // KILLED):
            data = tmp_path / f"killed-{point}"
            shutil.copytree(furnished_template.settings.data, data)
            with postgres.empty_database() as url:
                where = f"point {point}, {points[point]}"
                check_killed(harness, Settings(data=data), Settings(data=data, database=url), point, where)

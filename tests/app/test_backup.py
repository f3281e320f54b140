"""``keystead backup`` and ``restore``: everything comes back, nothing is written over, nothing is in clear."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import chain
from typing import IO, TYPE_CHECKING

import pytest
from click.testing import CliRunner

from keystead.app import backup as backup_module
from keystead.app.audit import verify_audit
from keystead.app.backup import backup, restore
from keystead.app.initialise import initialise
from keystead.app.new_files import new_file
from keystead.app.opening import CannotStart
from keystead.cli.main import cli
from keystead.core.events import DESTRUCTION_HELD
from keystead.core.model import Event, KeyManager, Svm
from keystead.core.secret import Secret
from keystead.sealing import passphrases
from keystead.service.ports.page import Page
from keystead.settings import Settings
from keystead.store import copying, open_store
from tests.peers.homes import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystead.core.keys.model import Incarnation
    from tests.peers.postgres import PostgresServer

PASSPHRASE = Secret("a passphrase of the tests")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Less memory for the passphrase than in earnest."""
    monkeypatch.setattr(passphrases, "MEMORY_KIB", 64)


@pytest.fixture
def saved(tmp_path: Path) -> Settings:
    """Return an installation on SQLite, in its data directory."""
    settings = Settings(data=tmp_path / "saved")
    initialise(settings, b"a password of 1 test", terminal=False)
    return settings


def incarnation(settings: Settings) -> tuple[Incarnation | None, list[Event]]:
    """Return the incarnation of an installation, and what was announced of it."""

    async def read() -> tuple[Incarnation | None, list[Event]]:
        store = open_store(settings.database_url)
        try:
            return await store.read(lambda tx: (tx.incarnation(), list(tx.page(Event, Page()))))
        finally:
            await store.close()

    return asyncio.run(read())


def test_an_installation_comes_back(saved: Settings, tmp_path: Path) -> None:
    """While its database is in use; it is another incarnation, which destroys nothing. Its audit chain goes on."""
    file, restored = tmp_path / "file.backup", Settings(data=tmp_path / "deep" / "restored")
    with closing(sqlite3.connect(saved.data / "keystead.db")) as in_use:
        in_use.execute("BEGIN")
        in_use.execute("SELECT count(*) FROM accounts").fetchone()
        assert str(file) in backup(saved, file, PASSPHRASE, bundle=False)[0]
    assert file.stat().st_mode & 0o777 == 0o600
    lines = restore(restored, file, PASSPHRASE)
    assert "nothing is destroyed" in lines[0]
    for name in ("root.key", "node.uuid", "tls.crt", "tls.key"):
        assert (restored.data / name).read_bytes() == (saved.data / name).read_bytes()
        assert (restored.data / name).stat().st_mode & 0o777 == (saved.data / name).stat().st_mode & 0o777
    assert (restored.data / "keystead.db").stat().st_mode & 0o777 == 0o600
    assert {each.name for each in restored.data.iterdir()} == {
        "root.key",
        "node.uuid",
        "tls.crt",
        "tls.key",
        "keystead.db",
    }
    held, announced = incarnation(restored)
    assert held is not None
    assert (held.number, held.reason, held.destroys, held.storage) == (2, "restored", False, "")
    assert [event.name for event in announced] == [DESTRUCTION_HELD.name]
    assert verify_audit(restored)[1]
    assert incarnation(saved)[0] != held


def test_a_backup_notes_what_audit_records_it_has(saved: Settings, tmp_path: Path) -> None:
    """A bundle has none, so it notes nothing. If the note cannot be stored, the backup is good, and a line says so."""
    note = 'SELECT way, "index" FROM audit_saves'
    with closing(sqlite3.connect(saved.data / "keystead.db", isolation_level=None)) as database:
        backup(saved, tmp_path / "bundle", PASSPHRASE, bundle=True)
        assert database.execute(note).fetchall() == []
        backup(saved, tmp_path / "first", PASSPHRASE, bundle=False)
        assert database.execute(note).fetchall() == [("backup", 1)]
        database.execute("CREATE TRIGGER full BEFORE INSERT ON audit_saves BEGIN SELECT RAISE(ABORT, 'full'); END")
        said, unnoted = backup(saved, tmp_path / "second", PASSPHRASE, bundle=False)
    assert str(tmp_path / "second") in said
    assert unnoted.startswith("old audit records stay until the next backup")


def test_nothing_is_in_clear(saved: Settings, tmp_path: Path) -> None:
    """The root key above all; nor is anything left lying about."""
    file = tmp_path / "file.backup"
    backup(saved, file, PASSPHRASE, bundle=False)
    content = file.read_bytes()
    assert (saved.data / "root.key").read_bytes() not in content
    assert b"SQLite format" not in content
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.backup", "saved"]


def test_nothing_is_written_over(saved: Settings, tmp_path: Path) -> None:
    """Neither a backup, nor a data directory, a database or a root key elsewhere."""
    file = tmp_path / "file.backup"
    backup(saved, file, PASSPHRASE, bundle=False)
    before = file.read_bytes()
    with pytest.raises(CannotStart, match="not written over"):
        backup(saved, file, PASSPHRASE, bundle=False)
    assert file.read_bytes() == before
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(CannotStart, match="link exists: it is not written over"):
        backup(saved, link, PASSPHRASE, bundle=False)
    link.unlink()
    with pytest.raises(CannotStart, match="not empty"):
        restore(saved, file, PASSPHRASE)
    with pytest.raises(CannotStart, match="not empty"):
        restore(Settings(data=file), file, PASSPHRASE)
    elsewhere = Settings(data=tmp_path / "new", database=f"sqlite:///{saved.data / 'keystead.db'}")
    with pytest.raises(CannotStart, match=r"keystead\.db exists"):
        restore(elsewhere, file, PASSPHRASE)
    (tmp_path / "other.key").write_bytes(bytes(32))
    (tmp_path / "other.key").chmod(0o400)
    with pytest.raises(CannotStart, match="another one"):
        restore(Settings(data=tmp_path / "new", root_key=tmp_path / "other.key"), file, PASSPHRASE)
    assert not (tmp_path / "new").exists()
    shutil.copyfile(saved.data / "root.key", tmp_path / "same.key")
    (tmp_path / "same.key").chmod(0o400)
    (tmp_path / "new").mkdir()
    restore(Settings(data=tmp_path / "new", root_key=tmp_path / "same.key"), file, PASSPHRASE)


def test_two_backups_to_one_file(saved: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cron began it twice: the one that ends first is whole, the other is told; neither touches what is not its own."""
    file, sealing = tmp_path / "file.backup", passphrases.write_sealed

    def meanwhile(target: IO[bytes], parts: Iterator[bytes], passphrase: Secret) -> None:
        monkeypatch.setattr(backup_module, "write_sealed", sealing)
        manifest, part = next(parts), next(parts)
        backup(saved, file, PASSPHRASE, bundle=False)
        sealing(target, chain([manifest, part], parts), passphrase)

    monkeypatch.setattr(backup_module, "write_sealed", meanwhile)
    with pytest.raises(CannotStart, match="not written over"):
        backup(saved, file, PASSPHRASE, bundle=False)
    restore(Settings(data=tmp_path / "restored"), file, PASSPHRASE)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.backup", "restored", "saved"]


def test_the_first_of_two_backups_ends_first(tmp_path: Path) -> None:
    """The other has written a half by then."""
    file = tmp_path / "file.backup"
    with ExitStack() as other:
        with new_file(file) as first:
            first.write(b"whole")
            other.enter_context(pytest.raises(CannotStart, match="not written over"))
            other.enter_context(new_file(file)).write(b"ha")
        assert file.read_bytes() == b"whole"
    assert [each.name for each in tmp_path.iterdir()] == ["file.backup"]


def test_what_a_killed_backup_leaves(saved: Settings, tmp_path: Path) -> None:
    """Is removed by one to the same file a day later; what another may be writing is left alone."""
    names = [("a.b", "1"), ("a.b", "2"), ("a+b", "1")]
    old, young, others = [f".{name}.{digit * 32}.database" for name, digit in names]
    for name in (old, young, others):
        (tmp_path / name).write_bytes(b"half")
    for name in (old, others):
        os.utime(tmp_path / name, (0, 0))
    backup(saved, tmp_path / "a.b", PASSPHRASE, bundle=True)
    assert {each.name for each in tmp_path.iterdir()} == {young, others, "a.b", "saved"}


@pytest.mark.parametrize("damage", ["passphrase", "altered", "cut off", "another file"])
def test_a_file_that_does_not_open(saved: Settings, tmp_path: Path, damage: str) -> None:
    """Nothing is made of it."""
    file = tmp_path / "file.backup"
    backup(saved, file, PASSPHRASE, bundle=False)
    content = file.read_bytes()
    file.write_bytes(
        {"altered": content[:-1] + b"\0", "cut off": content[:-100], "another file": b"text"}.get(damage, content)
    )
    passphrase = Secret("another passphrase") if damage == "passphrase" else PASSPHRASE
    with pytest.raises(CannotStart):
        restore(Settings(data=tmp_path / "new"), file, passphrase)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file.backup", "saved"]
    with pytest.raises(CannotStart, match="No such file"):
        restore(Settings(data=tmp_path / "new"), tmp_path / "none", PASSPHRASE)
    with pytest.raises(CannotStart, match="No such file"):
        backup(saved, tmp_path / "none" / "file", PASSPHRASE, bundle=False)


def test_a_directory_that_is_made_already(saved: Settings, tmp_path: Path) -> None:
    """It is a mount, say, in a directory of others: it stays the same one; a killed restore is no hindrance."""
    file, data = tmp_path / "file.backup", tmp_path / "others" / "mount"
    backup(saved, file, PASSPHRASE, bundle=False)
    for name in (".restoring", "lost+found"):
        (data / name).mkdir(parents=True)
    (data / ".restoring" / "root.key").write_bytes(b"half")
    before = data.stat().st_ino
    data.parent.chmod(0o500)
    restore(Settings(data=data), file, PASSPHRASE)
    assert data.stat().st_ino == before
    assert not (data / ".restoring").exists()
    assert verify_audit(Settings(data=data))[1]
    with pytest.raises(CannotStart, match="not empty"):
        restore(Settings(data=data), file, PASSPHRASE)


def test_what_a_failed_restore_leaves(saved: Settings, tmp_path: Path) -> None:
    """The directory as it was."""
    file, data = tmp_path / "file.backup", tmp_path / "new"
    backup(saved, file, PASSPHRASE, bundle=False)
    data.mkdir()
    with pytest.raises(CannotStart):
        restore(Settings(data=data), file, Secret("another passphrase"))
    assert list(data.iterdir()) == []


def test_a_backup_that_could_not_be_opened_is_not_made(saved: Settings, tmp_path: Path) -> None:
    """Its root key is another one."""
    (saved.data / "root.key").unlink()
    (saved.data / "root.key").write_bytes(bytes(32))
    (saved.data / "root.key").chmod(0o400)
    with pytest.raises(CannotStart, match="root key"):
        backup(saved, tmp_path / "file.backup", PASSPHRASE, bundle=False)
    assert not (tmp_path / "file.backup").exists()


async def _configured(home: Home) -> list[object]:
    """Return what a bundle must bring back."""
    managers = list(await home.store.read(lambda tx: tx.page(KeyManager, Page())))
    servers = [row for each in managers for row in await home.servers(each.uuid)]
    svms = list(await home.store.read(lambda tx: tx.page(Svm, Page())))
    certificates = list(await home.store.read(lambda tx: tx.certificates([home.client_certificate, home.server_ca])))
    return [managers, servers, svms, certificates]


async def test_a_bundle_brings_the_configuration_back(home: Home, tmp_path: Path) -> None:
    """Of either engine: all that it takes to log in at the key servers again."""
    await home.key_manager("127.0.0.1:5696", "127.0.0.2:5696")
    settings = Settings(data=home.data, database=home.database)
    file = tmp_path / "bundle"
    await asyncio.to_thread(backup, settings, file, PASSPHRASE, bundle=True)
    restored = Settings(data=tmp_path / "restored")
    lines = await asyncio.to_thread(restore, restored, file, PASSPHRASE)
    assert "rebuild" in lines[1]
    store = open_store(restored.database_url)
    try:
        again = Home(restored.data, "", store, home.keyring, home.client_certificate, home.server_ca)
        assert await _configured(again) == await _configured(home)
        found = await store.read(lambda tx: tx.incarnation())
        assert found is not None
        assert (found.number, found.destroys) == (2, False)
        await again.check_chain()
    finally:
        await store.close()
    with pytest.raises(CannotStart, match="not empty"):
        await asyncio.to_thread(restore, replace(settings, data=tmp_path / "other"), file, PASSPHRASE)


async def test_a_bundle_that_was_made_too_early(home: Home, tmp_path: Path) -> None:
    """It says so: there is no digest key yet, by which keys are found again."""
    uuid, without = await home.key_manager("127.0.0.1:5696"), await home.key_manager()
    settings = Settings(data=home.data, database=home.database)
    lines = await asyncio.to_thread(backup, settings, tmp_path / "early", PASSPHRASE, bundle=True)
    assert [uuid in line for line in lines] == [False, True]
    assert not any(without in line for line in lines)
    await home.store.write(lambda tx: tx.add_digest_key(uuid, b"sealed"))
    assert len(await asyncio.to_thread(backup, settings, tmp_path / "later", PASSPHRASE, bundle=True)) == 1


def test_a_bundle_for_postgresql(saved: Settings, postgres: PostgresServer, tmp_path: Path) -> None:
    """It fills a database that holds nothing yet; a backup of SQLite's database cannot."""
    backup(saved, tmp_path / "bundle", PASSPHRASE, bundle=True)
    backup(saved, tmp_path / "backup", PASSPHRASE, bundle=False)
    with postgres.empty_database() as url:
        restored = Settings(data=tmp_path / "restored", database=url)
        with pytest.raises(CannotStart, match="SQLite"):
            restore(restored, tmp_path / "backup", PASSPHRASE)
        restore(restored, tmp_path / "bundle", PASSPHRASE)
        held, _ = incarnation(restored)
        assert held is not None
        assert held.reason == "restored"
        with pytest.raises(CannotStart, match="pg_dump"):
            backup(restored, tmp_path / "another", PASSPHRASE, bundle=False)


def test_a_configuration_of_another_release(saved: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its tables are others: that release restores it."""
    with monkeypatch.context() as older:
        older.setattr(copying, "CONFIGURATION", copying.CONFIGURATION[:-1])
        backup(saved, tmp_path / "bundle", PASSPHRASE, bundle=True)
    with pytest.raises(CannotStart, match="another release"):
        restore(Settings(data=tmp_path / "new"), tmp_path / "bundle", PASSPHRASE)


def test_the_commands(saved: Settings, tmp_path: Path) -> None:
    """The passphrase comes from a file or the terminal, twice for a new one; never from the command line."""
    (tmp_path / "passphrase").write_text("a passphrase of the tests\n")
    (tmp_path / "short").write_text("short\n")
    data, file, runner = ["--data", str(saved.data)], str(tmp_path / "file.backup"), CliRunner()
    done = runner.invoke(cli, ["backup", *data, "--passphrase-file", str(tmp_path / "short"), file])
    assert (done.exit_code, "at least 12" in done.output) == (2, True)
    done = runner.invoke(cli, ["backup", *data, "--passphrase-file", str(tmp_path / "passphrase"), file])
    assert (done.exit_code, file in done.output) == (0, True)
    done = runner.invoke(cli, ["backup", *data, file], input="a passphrase of the tests\n" * 2)
    assert (done.exit_code, "not written over" in done.output) == (1, True)
    done = runner.invoke(cli, ["restore", "--data", str(tmp_path / "a" / "b"), file], input="another passphrase\n")
    assert (done.exit_code, (tmp_path / "a").exists()) == (1, False)
    new = ["--data", str(tmp_path / "new")]
    done = runner.invoke(cli, ["restore", *new, file], input="another passphrase\n")
    assert (done.exit_code, "passphrase" in done.output) == (1, True)
    done = runner.invoke(cli, ["restore", *new, file], input="a passphrase of the tests\n")
    assert done.exit_code == 0
    assert (tmp_path / "new" / "root.key").exists()

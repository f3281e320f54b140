"""``keystead audit export`` and ``verify --file``: what is exported can be proved, alone and with the database."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import text

from keystead.app.audit import export_audit, verify_audit
from keystead.app.clock import SystemClock
from keystead.app.opening import CannotStart, node_uuid
from keystead.cli.main import cli
from keystead.core.audit_retention import Retention
from keystead.core.model import Role
from keystead.sealing import Keyring, read_root_key
from keystead.service.audit.exporting import RemovedMeanwhileError, export
from keystead.service.audit.log import AuditLog, begin
from keystead.service.cluster.audit_retention import Retainer
from keystead.service.cluster.leases import Leases
from keystead.service.context import Call, Caller
from keystead.store import open_store
from keystead.store.opening import open_database

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.settings import Settings
    from keystead.store import SqlStore

CALL = Call(Caller("admin", Role.ADMIN, "192.0.2.1"), "POST", "/api/svm/svms")
OTHER = "ffffffff-0000-4000-8000-000000000000"
"""Another node, whose chain comes second."""


@dataclass
class House:
    """An installation with the chains of two nodes, and files beside it."""

    settings: Settings
    folder: Path

    def run(self, work: Callable[[SqlStore, Keyring], Awaitable[None]]) -> None:
        """Do something with the database, as a service does beside the commands."""

        async def running() -> None:
            store = open_store(self.settings.database_url)
            try:
                data_keys = await store.read(lambda tx: tx.data_keys())
                await work(store, Keyring.open(read_root_key(self.settings.root_key_file), data_keys))
            finally:
                await store.close()

        asyncio.run(running())

    def grow(self, records: int, node: str = "") -> None:
        """Add records to a chain: that of this node, or another's."""
        self.run(lambda store, keyring: grown(store, keyring, records, node or self.node))

    def cut(self, keep: int) -> None:
        """Remove what is too much."""

        async def cut(store: SqlStore, keyring: Keyring) -> None:
            leases = Leases(store, SystemClock(), self.node, rests=True)
            await Retainer(store, leases, keyring.mac, SystemClock(), Retention(records=keep)).round()

        self.run(cut)

    def damage(self, statement: str) -> None:
        """Change the database behind its back."""
        database = open_database(self.settings.database_url)
        with database.writer.begin() as connection:
            connection.execute(text(statement))
        database.dispose()

    def export(self, name: str, *, only_new: bool = False) -> Path:
        """Export to a new file."""
        export_audit(self.settings, self.folder / name, only_new=only_new)
        return self.folder / name

    def verify(self, *files: Path, alone: bool = False) -> tuple[list[str], bool]:
        """Verify the database with these files, or the files alone; without the names of nodes and folders."""
        lines, intact = verify_audit(self.settings, files, alone=alone)
        return [
            line.replace(self.node, "N").replace(OTHER, "O").replace(f"{self.folder}/", "") for line in lines
        ], intact

    @property
    def node(self) -> str:
        return node_uuid(self.settings.data)


async def grown(store: SqlStore, keyring: Keyring, records: int, node: str) -> None:
    """Add records to a chain."""
    log = AuditLog(store, keyring, SystemClock(), node)
    await store.write(lambda tx: begin(tx, keyring, SystemClock(), node))
    for _ in range(records):
        await store.write(lambda tx: log.succeed(tx, CALL, "made"))


@pytest.fixture
def house(home_settings: Settings, tmp_path: Path) -> House:
    """Return a house whose chains have some records."""
    made = House(home_settings, tmp_path)
    made.grow(3)
    made.grow(2, OTHER)
    return made


def end_of(lines: list[str], node: str) -> int:
    """Return the index of a node's last record, from the line of the database."""
    (line,) = [line for line in lines if line.startswith(f"node {node}: intact")]
    return int(line.partition(" records,")[0].rpartition(" ")[2])


def test_an_export_is_verified_alone_and_with_the_database(house: House) -> None:
    """With the root key only, or joined with what was written since."""
    file = house.export("first")
    assert file.stat().st_mode & 0o777 == 0o600
    lines, intact = house.verify(file, alone=True)
    assert intact
    assert [line.partition(", the last")[0] for line in lines] == [
        line
        for node, end in (("N", end_of(house.verify()[0], "N")), ("O", 3))
        for line in [f"first: node {node}: intact, records 1 to {end}"]
    ]
    house.grow(2)
    lines, intact = house.verify(file)
    assert intact
    end = end_of(lines, "N")
    assert f"node N: records 1 to {end} are joined without a gap" in lines
    assert "node O: records 1 to 3 are joined without a gap" in lines


def test_the_root_key_is_enough(house: House, tmp_path: Path) -> None:
    """On another machine, without a database."""
    file = house.export("first")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copyfile(house.settings.root_key_file, elsewhere / "root.key")
    (elsewhere / "root.key").chmod(0o400)
    assert verify_audit(replace(house.settings, data=elsewhere, database=""), [file], alone=True)[1]


def test_parts_join_after_a_cut(house: House) -> None:
    """Each export has what is new; the oldest records are only in the files then, and still proved."""
    first = house.export("first")
    house.grow(4)
    second = house.export("second", only_new=True)
    house.cut(keep=2)
    house.grow(1)
    for files in ((first, second), (second, first)):
        lines, intact = house.verify(*files)
        assert intact
        assert any(line.startswith("node N: records 1 to ") for line in lines)
    assert house.verify(first, second, alone=True)[1]
    lines, intact = house.verify(first)
    assert not intact
    assert [line for line in lines if "BROKEN" in line] == [
        f"node N: BROKEN: the records after record {end_of_file(house, first)}, the last in first, are missing"
    ]
    third = house.export("third", only_new=True)
    assert house.verify(first, second, third, alone=True)[1]
    assert not house.verify(first, third, alone=True)[1]
    assert house.verify(second, house.export("whole"))[1]


def end_of_file(house: House, file: Path) -> int:
    """Return the index of this node's last record in a file."""
    (line,) = [line for line in house.verify(file, alone=True)[0] if "node N" in line]
    return int(line.partition(", the last")[0].rpartition(" ")[2])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [*lines[:2], lines[2].replace("made", "mode"), *lines[3:]], "was altered"),
        (lambda lines: [*lines[:2], *lines[3:]], "is missing"),
        (lambda lines: lines[:-1], "is missing, and all after it"),
        (lambda lines: [*lines, lines[-1]], "it goes on after"),
        (lambda lines: [*lines[:2], "nonsense\n", *lines[3:]], "is not a line of an export"),
        (lambda lines: [*lines[:2], "\udcff\n", *lines[3:]], "is not a line of an export"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], "is missing"),
    ],
    ids=["altered", "left out", "cut off", "added", "nonsense", "not UTF-8", "moved"],
)
def test_what_was_done_to_a_file_is_reported(house: House, change: Callable[[list[str]], list[str]], said: str) -> None:
    """With the first record that does not hold."""
    file = house.export("first")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(change(lines)), errors="surrogateescape")
    found, intact = house.verify(file, alone=True)
    assert not intact
    assert any("BROKEN" in line and said in line for line in found)


@pytest.mark.parametrize("content", [b"", b"\xff\n", b"{}\n", None], ids=["empty", "bytes", "other", "altered"])
def test_what_is_no_export_is_refused(house: House, content: bytes | None) -> None:
    """Before anything is verified."""
    file = house.export("first")
    file.write_bytes(file.read_bytes().replace(b'"until":3', b'"until":2', 1) if content is None else content)
    with pytest.raises(CannotStart, match="first: line 1 "):
        house.verify(file)


def test_a_database_that_was_put_back_is_found(house: House) -> None:
    """It ends before the file, or has other records there. The file alone is intact."""
    house.damage("CREATE TABLE old_records AS SELECT * FROM audit_records")
    house.damage("CREATE TABLE old_heads AS SELECT * FROM audit_heads")
    house.grow(3)
    file = house.export("first")
    for table in ("records", "heads"):
        house.damage(f"DELETE FROM audit_{table}")  # noqa: S608 - names of this test
        house.damage(f"INSERT INTO audit_{table} SELECT * FROM old_{table}")  # noqa: S608
    lines, intact = house.verify(file)
    assert (intact, house.verify(file, alone=True)[1], house.verify()[1]) == (False, True, True)
    assert any("BROKEN: the database ends at record" in line for line in lines)
    house.grow(5)
    lines, intact = house.verify(file)
    assert not intact
    assert any("of the database is another one than in first" in line for line in lines)
    second = house.export("second", only_new=True)
    assert not house.verify(file, second, alone=True)[1]


def test_an_export_during_writes(house: House) -> None:
    """It has what was there when it began; what comes meanwhile is for the next one."""

    async def both(store: SqlStore, keyring: Keyring) -> None:
        lines: list[str] = []
        writing = asyncio.create_task(grown(store, keyring, 20, house.node))
        await asyncio.sleep(0)
        found = await export(store, keyring.mac, SystemClock().now(), lines.append, only_new=False, page=2)
        await writing
        assert len(lines) == 1 + sum(each.until - each.after for each in found)
        (house.folder / "first").write_text("".join(f"{line}\n" for line in lines))

    house.run(both)
    assert house.verify(house.folder / "first")[1]


def test_records_that_are_removed_during_an_export(house: House) -> None:
    """It says so, and writes no gap."""
    house.export("first")
    house.grow(3)

    async def work(store: SqlStore, keyring: Keyring) -> None:
        leases = Leases(store, SystemClock(), house.node, rests=True)
        retainer = Retainer(store, leases, keyring.mac, SystemClock(), Retention(records=2))
        read, reads = store.read, count(1)

        async def cutting(of: Callable[..., object]) -> object:
            if next(reads) == 2:
                store.read = read  # type: ignore[method-assign]
                await retainer.round()
            return await read(of)

        store.read = cutting  # type: ignore[assignment]
        with pytest.raises(RemovedMeanwhileError):
            await export(store, keyring.mac, SystemClock().now(), lambda _: None, only_new=False, page=2)

    house.run(work)


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE audit_records SET account = 'x' WHERE \"index\" = 2",
        'DELETE FROM audit_records WHERE "index" > 2',
        "UPDATE audit_heads SET mac = head_mac",
    ],
)
def test_a_broken_chain_is_not_exported(house: House, damage: str) -> None:
    """Nothing is written or noted."""
    house.damage(damage)
    with pytest.raises(CannotStart, match="the chain is broken"):
        house.export("first")
    assert not (house.folder / "first").exists()


def test_nothing_is_written_over(house: House) -> None:
    """And nothing can be written where there is no folder."""
    file = house.export("first")
    before = file.read_bytes()
    with pytest.raises(CannotStart, match="not written over"):
        house.export("first")
    assert file.read_bytes() == before
    with pytest.raises(CannotStart, match="No such file"):
        house.export("nowhere/first")


def test_the_commands(house: House) -> None:
    """Export, verify with the database and alone; the exit status tells."""
    runner, data = CliRunner(), ["--data", str(house.settings.data)]
    environment = {"KEYSTEAD_DATABASE": house.settings.database}
    file = str(house.folder / "first")

    def run(*words: str) -> tuple[int, str]:
        done = runner.invoke(cli, ["audit", *words, *data], env=environment)
        return done.exit_code, done.output

    status, output = run("export", file)
    assert (status, f"{file}: node {house.node}: records 1 to " in output) == (0, True)
    assert run("export", file, "--new")[0] == 1
    assert run("verify", "--file", file, "--file", file)[0] == 0
    assert run("verify", "--file", file, "--alone")[0] == 0
    assert run("verify", "--alone")[0] == 2
    with Path(file).open("a") as more:
        more.write("more")
    assert run("verify", "--file", file, "--alone")[0] == 1

"""Databases that are restored, cloned or set back while nodes remember more: noticed at the next look, by one node."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import make_url

from keystead.app.incarnation import WITNESS_FILE, DataDirectory
from keystead.core import errors, events
from keystead.core.errors import OntapError
from keystead.core.keys.incarnations import Storage, Witness
from keystead.core.model import ONTAP_LEVEL, Event, Node, Role, Svm
from keystead.sealing import Keyring, read_root_key
from keystead.service.audit.log import AuditLog
from keystead.service.cluster import incarnations
from keystead.service.cluster.incarnations import Incarnations
from keystead.service.context import Call, Caller
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from keystead.store import SqlStore, open_store
from tests.service.worlds.basics import HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.core.keys.model import Incarnation
    from keystead.settings import Settings
    from tests.peers.postgres import PostgresServer

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "PATCH", "/api/test")

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
on_postgresql = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@dataclass
class Served:
    """A database as one node serves it."""

    store: SqlStore
    incarnations: Incarnations

    async def events(self) -> list[Event]:
        """Return the announcements of incarnations."""
        found = await self.store.read(lambda tx: tx.page(Event, Page()))
        return [event for event in found if event.name == events.DESTRUCTION_HELD.name]


@contextlib.asynccontextmanager
async def served(settings: Settings, node: str | None = None) -> AsyncIterator[Served]:
    """Open a data directory's database; ``node`` is another one's than the directory's own."""
    store = open_store(settings.database_url)
    try:
        keyring = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys()))
        uuid = node or (settings.data / "node.uuid").read_text().strip()
        audit = AuditLog(store, keyring, HandClock(), uuid)
        yield Served(store, Incarnations(store, DataDirectory(settings.data, store), audit, HandClock(), uuid))
    finally:
        await store.close()


async def begun(settings: Settings) -> Incarnation:
    """Start once, and end."""
    async with served(settings) as each:
        return await each.incarnations.begin()


def database_file(settings: Settings) -> Path:
    """SQLite's file."""
    return Path(make_url(str(settings.database_url)).database or str(settings.database_url))


async def test_a_database_that_stays_is_the_same(home_settings: Settings) -> None:
    """The first start notes where it stands; later ones find it there, and may destroy."""
    first = await begun(home_settings)
    assert (first.number, first.reason, first.destroys) == (1, "created", True)
    assert first.storage.startswith(("sqlite:", "postgresql:"))
    assert await begun(home_settings) == first
    async with served(home_settings) as each:
        assert await each.incarnations.begin() == first
        assert await each.incarnations.begin() == first
        assert await each.events() == []
        assert await each.incarnations.get(CALL) == first


@on_sqlite
@pytest.mark.parametrize("way", ["written over", "replaced"])
async def test_an_older_file_is_put_back(home_settings: Settings, way: str) -> None:
    """Into the same file or in its place: restored, once, and nothing is destroyed any more."""
    first = await begun(home_settings)
    file = database_file(home_settings)
    backup = file.with_name("backup.db")
    shutil.copyfile(file, backup)
    await begun(home_settings)
    for leftover in file.parent.glob(f"{file.name}-*"):
        leftover.unlink()
    if way == "written over":
        shutil.copyfile(backup, file)
    else:
        backup.replace(file)
    async with served(home_settings) as each:
        second = await each.incarnations.begin()
        assert (second.number, second.reason, second.destroys) == (2, "restored", False)
        assert second.uuid != first.uuid
        (event,) = await each.events()
        assert dict(event.parameters) == {"incarnation": "2", "reason": "restored"}
    assert await begun(home_settings) == second


@on_sqlite
async def test_a_copied_directory_is_a_clone(home_settings: Settings, tmp_path: Path) -> None:
    """The original goes on as it was."""
    first = await begun(home_settings)
    file = database_file(home_settings)
    copied = tmp_path / "copied"
    shutil.copytree(home_settings.data, copied)
    for part in file.parent.glob(f"{file.name}*"):
        shutil.copyfile(part, copied / part.name)
    clone = replace(home_settings, data=copied, database=f"sqlite:///{copied / file.name}")
    second = await begun(clone)
    assert (second.number, second.reason, second.destroys) == (2, "cloned", False)
    assert await begun(clone) == second
    assert await begun(home_settings) == first


@on_postgresql
async def test_a_copied_database_is_a_clone(home_settings: Settings, postgres: PostgresServer, tmp_path: Path) -> None:
    """By CREATE DATABASE ... TEMPLATE, or a dump that is restored beside it."""
    first = await begun(home_settings)
    name = make_url(str(home_settings.database_url)).database
    postgres.execute(f"SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE datname = '{name}'")  # noqa: S608
    postgres.execute(f"CREATE DATABASE clone_of_{name} TEMPLATE {name}")
    try:
        shutil.copytree(home_settings.data, tmp_path / "clone")
        clone = replace(home_settings, data=tmp_path / "clone", database=postgres.url(f"clone_of_{name}"))
        second = await begun(clone)
    finally:
        postgres.execute(f"DROP DATABASE clone_of_{name} WITH (FORCE)")
    assert (second.number, second.reason, second.destroys) == (2, "cloned", False)
    assert await begun(home_settings) == first


async def test_several_nodes_notice_it_at_once(home_settings: Settings, tmp_path: Path) -> None:
    """A database that all of them remember as newer: one incarnation begins, and stays."""
    homes = [home_settings]
    for number in range(2):
        data = tmp_path / f"node-{number}"
        shutil.copytree(home_settings.data, data)
        (data / "node.uuid").chmod(0o600)
        (data / "node.uuid").write_text(f"{uuid4()}\n")
        homes.append(replace(home_settings, data=data, database=str(home_settings.database_url)))
    async with contextlib.AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(served(home)) for home in homes]
        uuids = [(home.data / "node.uuid").read_text().strip() for home in homes]
        for uuid in uuids[1:]:
            await nodes[0].store.write(lambda tx, uuid=uuid: tx.put_node(Node(uuid, uuid, ONTAP_LEVEL)))  # type: ignore[misc]
        for node in nodes:
            await node.incarnations.begin()
        before = await nodes[0].incarnations.begin()

        for uuid in uuids:
            await nodes[0].store.write(lambda tx, uuid=uuid: tx.put_node_epoch(uuid, 0))  # type: ignore[misc]
        after = await asyncio.gather(*(node.incarnations.begin() for node in nodes))
        assert {each.number for each in after} == {before.number + 1}
        assert len({each.uuid for each in after}) == 1
        assert after[0].reason == "restored"
        assert [(await node.incarnations.begin()).uuid for node in nodes] == [after[0].uuid] * 3


async def test_an_operator_releases_it(home_settings: Settings) -> None:
    """An audited act of the cluster; then it may destroy again, until the next time."""
    await begun(home_settings)
    async with served(home_settings) as each:
        (node,) = await each.store.read(lambda tx: tx.nodes())
        await each.store.write(lambda tx: tx.put_node_epoch(node.uuid, 0))
        held = await each.incarnations.begin()
        assert not held.destroys
        within = replace(CALL, scope=Svm("s", "vs0"))
        for call in (each.incarnations.release(within), each.incarnations.get(within)):
            with pytest.raises(OntapError) as raised:
                await call
            assert raised.value.kind is errors.ENTRY_NOT_FOUND
        released = await each.incarnations.release(CALL)
        assert released == replace(held, destroys=True)
        assert await each.incarnations.release(CALL) == released
        assert await each.incarnations.begin() == released
        records = await each.store.read(lambda tx: tx.audit_records(node.uuid, 1, 10))
        assert [record.message for record in records] == [
            "began incarnation 2, restored",
            "released destruction in incarnation 2, restored",
        ]
        announced = await each.store.read(
            lambda tx: tx.events_named(node.uuid, [events.DESTRUCTION_HELD.name, events.DESTRUCTION_RELEASED.name])
        )
        in_order = sorted(announced, key=lambda event: event.index)
        assert [(event.name, dict(event.parameters)["incarnation"]) for event in in_order] == [
            ("km.destruction.held", "2"),
            ("km.destruction.released", "2"),
        ]


async def test_it_looks_again_and_again(home_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The beat finds that the database was restored under a running node, and begins incarnation 2."""
    monkeypatch.setattr(incarnations, "BEAT_S", 0.01)
    async with served(home_settings) as each:
        await each.incarnations.start()
        (node,) = await each.store.read(lambda tx: tx.nodes())
        # Under the lock under which it looks: between its read and its write this would be lost.
        await each.store.write(lambda tx: (tx.cluster(lock=True), tx.put_node_epoch(node.uuid, 0)))
        async with asyncio.timeout(60):
            while (await each.incarnations.get(CALL)).number == 1:  # noqa: ASYNC110 - what is stored tells nobody
                await asyncio.sleep(0.01)
        assert (await each.incarnations.get(CALL)).number == 2
        await each.incarnations.close()
    async with served(home_settings) as each:
        await each.incarnations.close()  # never started


async def test_a_look_stores_nothing_unless_it_must(home_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that stands where it stood is the same; one that went another way is looked at anew."""
    async with served(home_settings) as each:
        first = await each.incarnations.begin()
        (node,) = await each.store.read(lambda tx: tx.nodes())
        epoch = await each.store.read(lambda tx: tx.node_epoch(node.uuid))
        await each.incarnations.look()
        assert await each.store.read(lambda tx: tx.node_epoch(node.uuid)) == epoch
        engine, identity, _ = first.storage.split(":")

        async def elsewhere(_: DataDirectory) -> Storage:
            return Storage(engine, identity, "another way")

        monkeypatch.setattr(DataDirectory, "storage", elsewhere)
        await each.incarnations.look()
        found = await each.incarnations.get(CALL)
        if engine == "postgresql":  # promoted, and the only node vouches
            assert (found.number, found.reason, found.destroys) == (1, "created", True)
        else:
            assert (found.number, found.reason, found.destroys) == (2, "restored", False)
        assert found.storage.endswith(":another way")


async def test_a_look_notices_an_older_state_in_the_same_place(home_settings: Settings) -> None:
    """A backup was restored into the database that is served, by its own tools: the place is the same."""
    async with served(home_settings) as each:
        await each.incarnations.begin()
        (node,) = await each.store.read(lambda tx: tx.nodes())
        epoch = await each.store.read(lambda tx: tx.node_epoch(node.uuid))
        await each.incarnations.begin()
        await each.store.write(lambda tx: tx.put_node_epoch(node.uuid, epoch))
        await each.incarnations.look()
        found = await each.incarnations.get(CALL)
        assert (found.number, found.reason, found.destroys) == (2, "restored", False)


@on_sqlite
async def test_a_damaged_witness_stops_the_start(home_settings: Settings) -> None:
    """What it remembers is for its owner only, and cannot be guessed; nor can it be written over a directory."""
    await begun(home_settings)
    witness = home_settings.data / WITNESS_FILE
    assert witness.stat().st_mode & 0o777 == 0o600
    witness.write_text("{")
    with pytest.raises(StoreError, match=WITNESS_FILE):
        await begun(home_settings)
    witness.unlink()
    witness.with_name(f".{WITNESS_FILE}.{os.getpid()}").mkdir()
    with pytest.raises(StoreError, match=WITNESS_FILE):
        await begun(home_settings)


@on_sqlite
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
async def test_what_root_runs_leaves_files_to_their_owner(home_settings: Settings) -> None:
    """`keystead key-manager rebuild` before the service's first start, or after: the service reads them."""
    database = Path(str(home_settings.database_url).removeprefix("sqlite:///"))
    for path in (home_settings.data, database):
        os.chown(path, 4321, 4321)
    place = database.with_name(f"{database.name}.place")
    await asyncio.to_thread(place.unlink, missing_ok=True)
    for _ in range(2):
        await begun(home_settings)
        for path in (home_settings.data / WITNESS_FILE, place):
            assert (path.stat().st_uid, path.stat().st_gid) == (4321, 4321)


def remember(data: Path) -> None:
    """Replace the witness again and again."""

    async def write_all() -> None:
        for epoch in range(200):
            await DataDirectory(data, None).write(Witness(epoch, ("an incarnation",)))  # type: ignore[arg-type]

    asyncio.run(write_all())


async def test_two_processes_remember(tmp_path: Path) -> None:
    """Neither fails, and what is there at the end is whole."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        list(pool.map(remember, [tmp_path, tmp_path]))
    assert await DataDirectory(tmp_path, None).read() == Witness(199, ("an incarnation",))  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == [WITNESS_FILE]  # noqa: PTH208 - an async test


async def test_a_witness_is_not_written_through_a_link(home_settings: Settings, tmp_path: Path) -> None:
    """Whoever owns the data directory could have root write elsewhere, and give that away."""
    async with served(home_settings) as each:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_text("another's")
        (home_settings.data / f".{WITNESS_FILE}.{os.getpid()}").symlink_to(elsewhere)
        await each.incarnations.begin()
        assert elsewhere.read_text() == "another's"

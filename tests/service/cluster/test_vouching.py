"""Nodes vouch for a promoted database if it has all that was acknowledged to them."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import pytest
from sqlalchemy import text

from keystead.app.incarnation import LEFT_FILE, DataDirectory
from keystead.core.keys.incarnations import VOUCHING_FOR, Storage, Witness
from keystead.core.model import ONTAP_LEVEL, Event, Node, Role
from keystead.service.audit.log import AuditLog
from keystead.service.cluster.incarnations import Incarnations, Left
from keystead.service.context import Call, Caller
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from keystead.store import open_store
from keystead.store.upgrade import upgrade
from tests.peers.databases import set_clock
from tests.peers.postgres_cluster import pair
from tests.peers.proxy import proxy
from tests.service.worlds.basics import KEYRING, HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from keystead.core.keys.model import Incarnation
    from keystead.settings import Settings
    from tests.peers.postgres_cluster import Cluster
    from tests.peers.proxy import Network

T = TypeVar("T")

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "PATCH", "/api/test")
FIRST, SECOND = (Storage("postgresql", "system", branch) for branch in ("1", "2"))
HELD, GOES_ON = (2, "promoted", False), (1, "created", True)
PENDING = (1, "created", False)


@dataclass
class Remembered:
    """What a data directory remembers, in memory, and where the database says that it is."""

    place: Storage = FIRST
    witness: Witness = field(default_factory=Witness)
    left: Left | None = None

    async def storage(self) -> Storage:
        return self.place

    async def read(self) -> Witness:
        return self.witness

    async def write(self, witness: Witness) -> None:
        self.witness = witness

    async def leave(self, left: Left) -> None:
        self.left = left

    async def take_left(self) -> Left | None:
        left, self.left = self.left, None
        return left


class Process:
    """A process of a node, with a store of its own."""

    def __init__(self, url: str, uuid: str, clock: HandClock, remembered: Remembered) -> None:
        self.store = open_store(url)
        set_clock(clock, self.store)
        self.uuid = uuid
        self.remembered = remembered
        self.audit = AuditLog(self.store, KEYRING, clock, uuid)
        self.incarnations = Incarnations(self.store, remembered, self.audit, clock, uuid)
        self.store.on_appended = self.incarnations.acknowledged.note

    async def act(self, number: int = 1) -> None:
        """Have records acknowledged."""
        for _ in range(number):
            message = f"acted {uuid4()}"
            await self.store.write(lambda tx: self.audit.act(tx, message))  # noqa: B023 - awaited

    async def look(self) -> tuple[int, str, bool]:
        """Look at the database, and return number, reason and whether it destroys."""
        return shown(await self.incarnations.begin())


def shown(found: Incarnation) -> tuple[int, str, bool]:
    """Return what the tests compare."""
    return found.number, found.reason, found.destroys


class World:
    """Nodes on one database, which is promoted by words. So each case takes no server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = HandClock()
        self.processes: list[Process] = []

    async def start(self, name: str, remembered: Remembered | None = None) -> Process:
        """Start a process of a node, which is heard of."""
        process = Process(self.url, name, self.clock, remembered or Remembered())
        self.processes.append(process)
        with process.store.database.writer.begin() as connection:
            if not connection.execute(text("SELECT 1 FROM nodes WHERE uuid = :u"), {"u": name}).first():
                connection.execute(
                    text("INSERT INTO nodes (uuid, name, generation, major, minor) VALUES (:u, :u, 9, 18, 1)"),
                    {"u": name},
                )
        await process.store.write(lambda tx: tx.hear_node(name, self.clock.now()))
        await process.incarnations.start()
        await process.act(3)
        return process

    def promote(self, lost: Sequence[tuple[Process, int]] = ()) -> None:
        """Lose the last records of nodes, and be on another branch."""
        with self.processes[0].store.database.writer.begin() as connection:
            for process, number in lost:
                (end,) = connection.execute(
                    text('SELECT "index" FROM audit_heads WHERE node = :n'), {"n": process.uuid}
                ).one()
                bound = {"n": process.uuid, "i": end - number}
                connection.execute(text('DELETE FROM audit_records WHERE node = :n AND "index" > :i'), bound)
                connection.execute(
                    text(
                        'UPDATE audit_heads SET "index" = :i, mac = (SELECT mac FROM audit_records WHERE node = :n AND'
                        ' "index" = :i) WHERE node = :n'
                    ),
                    bound,
                )
        for process in self.processes:
            process.remembered.place = SECOND

    async def announced(self) -> list[str]:
        """Return the reasons of the events, in order."""
        found = await self.processes[0].store.read(lambda tx: tx.page(Event, Page()))
        return [dict(event.parameters)["reason"] for event in found if event.name == "km.destruction.held"]

    async def messages(self, process: Process) -> list[str]:
        """Return what a node recorded besides the test's acts."""
        records = await process.store.read(lambda tx: tx.audit_records(process.uuid, 0, 100))
        return [each.message for each in records if not each.message.startswith("acted")]


@pytest.fixture
async def world(sqlite_url: str) -> AsyncIterator[World]:
    """Nodes on SQLite: the cases differ in what the nodes remember only."""
    made = World(sqlite_url)
    yield made
    for process in made.processes:
        await process.incarnations.close()
        await process.store.close()


async def test_a_lone_node_vouches_in_one_transaction(world: World) -> None:
    """Nobody has to act, and nothing was held in between."""
    one = await world.start("a")
    world.promote()
    assert await one.look() == GOES_ON
    assert (await one.incarnations.get(CALL)).storage == str(SECOND)
    assert await world.messages(one) == ["went on with incarnation 1 in a promoted database: all nodes vouched"]
    assert await one.look() == GOES_ON
    assert await world.announced() == []


async def test_nothing_is_destroyed_until_all_vouched(world: World) -> None:
    """Then the incarnation goes on, on every node."""
    one, two, three = [await world.start(name) for name in "abc"]
    world.promote()
    assert [await each.look() for each in (one, two, one)] == [PENDING] * 3
    assert [await each.look() for each in (three, one, two)] == [GOES_ON] * 3
    assert await world.announced() == []


async def test_a_node_that_is_behind_holds_destruction(world: World) -> None:
    """The event says how many records are lost, whatever was appended since. Who finds it later begins nothing."""
    one, two, three = [await world.start(name) for name in "abc"]
    world.promote([(two, 2), (three, 1)])
    assert await one.look() == PENDING
    await two.act(5)
    assert [await each.look() for each in (two, three, one)] == [HELD] * 3
    assert await world.announced() == ["promoted, without the last 2 audit records of node b"]
    assert await world.messages(two) == ["began incarnation 2, promoted, without the last 2 audit records of node b"]
    await one.incarnations.release(CALL)
    assert [(await each.look())[0::2] for each in (one, two, three)] == [(2, True)] * 3


async def test_a_node_that_is_missing_holds_destruction(world: World) -> None:
    """When its time is over. It finds that when it is back."""
    one, two = [await world.start(name) for name in "ab"]
    world.promote()
    assert await one.look() == PENDING
    world.clock.advance(VOUCHING_FOR.total_seconds() + 1)
    assert [await each.look() for each in (one, two)] == [HELD] * 2
    assert await world.announced() == ["promoted"]


async def test_a_node_that_was_evicted_does_not_vouch(world: World) -> None:
    """The others go on without it. If it comes back and lacks its records, destruction is held, whoever vouched."""
    one, two = [await world.start(name) for name in "ab"]
    world.promote([(two, 1)])
    assert await one.look() == PENDING
    with one.store.database.writer.begin() as connection:
        connection.execute(text("DELETE FROM nodes WHERE uuid = 'b'"))
    assert await one.look() == GOES_ON
    assert await two.look() == (2, "restored", False)
    assert await world.announced() == ["restored, without the last audit record of node b"]


async def test_an_operator_may_release_meanwhile(world: World) -> None:
    """Then nobody has to vouch any more."""
    one, two = [await world.start(name) for name in "ab"]
    world.promote()
    assert await one.look() == PENDING
    assert shown(await one.incarnations.release(CALL)) == GOES_ON
    assert [await each.look() for each in (one, two)] == [GOES_ON] * 2


async def test_a_process_that_was_killed_cannot_vouch(world: World) -> None:
    """Its memory is gone, so destruction is held."""
    one = await world.start("a")
    world.promote()
    again = Process(world.url, "a", world.clock, one.remembered)
    world.processes.append(again)
    assert await again.look() == HELD


async def test_a_process_that_was_stopped_leaves_its_heads(world: World) -> None:
    """The next one vouches for it, once: a copy of what it left is worth nothing."""
    one = await world.start("a")
    await one.incarnations.close()
    left = one.remembered.left
    assert left is not None
    world.promote()
    copy = replace(one.remembered)
    again = Process(world.url, "a", world.clock, one.remembered)
    world.processes.append(again)
    assert shown(await again.incarnations.start()) == GOES_ON
    assert one.remembered.left is None
    for each in world.processes:
        each.remembered.place = replace(SECOND, branch="3")
    copy.place = replace(SECOND, branch="3")
    twin = Process(world.url, "a", world.clock, copy)
    world.processes.append(twin)
    assert shown(await twin.incarnations.start())[::2] == (2, False)


async def test_what_was_left_is_missing(world: World) -> None:
    """A stopped process's last records were lost: the next one says how many."""
    one = await world.start("a")
    await one.incarnations.close()
    world.promote([(one, 2)])
    again = Process(world.url, "a", world.clock, one.remembered)
    world.processes.append(again)
    assert shown(await again.incarnations.start()) == HELD
    assert await world.announced() == ["promoted, without the last 2 audit records of node a"]


async def test_threads_note_in_any_order(world: World) -> None:
    """No head that was acknowledged is forgotten, and each look leaves one."""
    one = await world.start("a")
    await asyncio.gather(*(one.act() for _ in range(20)))
    assert await one.look() == GOES_ON
    end = next(iter(await one.store.read(lambda tx: tx.audit_ends())))
    assert one.incarnations.acknowledged.heads == {(end.index, end.mac)}


async def test_a_commit_of_unknown_outcome(world: World) -> None:
    """What is appended to it counts as well: the head before is looked for, and the one after."""
    one = await world.start("a")
    world.processes[0].store.on_appended = lambda _: None
    await one.act()
    one.store.on_appended = one.incarnations.acknowledged.note
    await one.act()
    assert len(one.incarnations.acknowledged.heads) == 2
    world.promote([(one, 1)])
    assert await one.look() == HELD
    assert await world.announced() == ["promoted, without the last audit record of node a"]


async def test_a_data_directory_keeps_what_is_left(home_settings: Settings) -> None:
    """On disk, for one reader; what cannot be read is nothing."""
    store = open_store(home_settings.database_url)
    directory, left = DataDirectory(home_settings.data, store), Left("token", frozenset({(7, b"mac"), (9, b"\xff")}))
    await directory.leave(left)
    assert (home_settings.data / LEFT_FILE).stat().st_mode & 0o777 == 0o600
    assert await directory.take_left() == left
    assert await directory.take_left() is None
    process = Incarnations(store, directory, AuditLog(store, KEYRING, HandClock(), "x"), HandClock(), "x")
    for damaged in ("{", "{}", '{"token": "t", "heads": [1]}', "[]"):
        (home_settings.data / LEFT_FILE).write_text(damaged)
        await process._take_over()
        assert not process.acknowledged.heads
    await store.close()


# --- a real primary and its standby ---


@pytest.fixture
def both() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary with the newest schema, and its standby."""
    with pair() as (primary, standby):
        upgrade(primary.url)
        yield primary, standby


class Behind:
    """Nodes that reach PostgreSQL through a proxy, which leads to the primary."""

    def __init__(self, port: int, network: Network, folder: Path, clock: HandClock) -> None:
        self.url = f"postgresql+psycopg://keystead@127.0.0.1:{port}/postgres"
        self.network = network
        self.folder = folder
        self.clock = clock
        self.processes: list[Process] = []

    async def start(self, name: str) -> Process:
        """Start a process of a node on its data directory, which is heard of."""
        (self.folder / name).mkdir(exist_ok=True)
        process = Process(self.url, name, self.clock, Remembered())
        process.incarnations._remembered = DataDirectory(self.folder / name, process.store)
        self.processes.append(process)
        await process.store.write(lambda tx: tx.put_node(Node(name, name, ONTAP_LEVEL)))
        await process.store.write(lambda tx: tx.hear_node(name, self.clock.now()))
        await process.incarnations.start()
        await process.act(3)
        return process

    async def fail_over(self, primary: Cluster, standby: Cluster) -> None:
        """Kill the primary, promote the standby, and have the proxy lead there."""
        await asyncio.to_thread(primary.stop, "immediate")
        await asyncio.to_thread(standby.promote)
        self.network.lead_to(standby.port)


@asynccontextmanager
async def behind(primary: Cluster, folder: Path) -> AsyncIterator[Behind]:
    """Give nodes that reach the primary."""
    with proxy(primary.port) as (port, network):
        made = Behind(port, network, folder, HandClock())
        try:
            yield made
        finally:
            for process in made.processes:
                await process.incarnations.close()
                await process.store.close()


async def again(work: Callable[[], Awaitable[T]]) -> T:
    """Do something again while the store finds out that the primary is another one."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await work()
            except StoreError:
                await asyncio.sleep(0.1)


async def caught_up(primary: Cluster, standby: Cluster) -> None:
    """Wait until the standby has every commit."""
    ((end,),) = primary.execute("SELECT pg_current_wal_lsn()")
    while not standby.execute(f"SELECT 1 WHERE pg_last_wal_replay_lsn() >= '{end}'"):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.02)


async def cut_off(standby: Cluster) -> None:
    """Have a standby follow its primary no more."""
    standby.execute("ALTER SYSTEM SET primary_conninfo = ''")
    standby.execute("SELECT pg_reload_conf()")
    while standby.execute("SELECT 1 FROM pg_stat_wal_receiver"):  # noqa: ASYNC110 - it tells nobody
        await asyncio.sleep(0.02)


@pytest.mark.parametrize("lost", [0, 2])
async def test_a_real_failover(both: tuple[Cluster, Cluster], tmp_path: Path, lost: int) -> None:
    """Two nodes live through it, one in a new process: nobody has to act, unless records are lost."""
    primary, standby = both
    async with behind(primary, tmp_path) as nodes:
        one, two = await nodes.start("a"), await nodes.start("b")
        await caught_up(primary, standby)
        if lost:
            await cut_off(standby)
            await one.act(lost)
        else:
            await two.incarnations.close()
            await caught_up(primary, standby)
        await nodes.fail_over(primary, standby)
        found = await again(one.look)
        if lost:
            assert found == HELD
            return
        assert found == PENDING
        restarted = Process(nodes.url, "b", nodes.clock, Remembered())
        restarted.incarnations._remembered = DataDirectory(tmp_path / "b", restarted.store)
        nodes.processes.append(restarted)
        assert shown(await again(restarted.incarnations.start)) == GOES_ON
        await restarted.incarnations.close()
        assert await one.look() == GOES_ON


@pytest.mark.long
async def test_three_nodes_fail_over_again_and_again(both: tuple[Cluster, Cluster], tmp_path: Path) -> None:
    """They write all the time. Each time the former primary follows the new one, and the incarnation is the first."""
    primary, standby = both
    async with behind(primary, tmp_path) as nodes:
        all_ = [await nodes.start(name) for name in "abc"]
        for _ in range(5):
            writing = [asyncio.create_task(again(partial(each.act, 20))) for each in all_]
            await asyncio.gather(*writing)
            await caught_up(primary, standby)
            await nodes.fail_over(primary, standby)
            for each in all_:
                await again(each.look)
            assert [await again(each.look) for each in all_] == [GOES_ON] * 3
            primary, standby = standby, primary
            await asyncio.to_thread(standby.follow, primary)


@pytest.mark.long
@pytest.mark.parametrize("lossy", [False, True])
async def test_writes_while_the_primary_dies(both: tuple[Cluster, Cluster], tmp_path: Path, *, lossy: bool) -> None:
    """A synchronous standby has all that was acknowledged; one that was cut off lacks some, and destruction is held."""
    primary, standby = both
    async with behind(primary, tmp_path) as nodes:
        all_ = [await nodes.start(name) for name in "abc"]
        await caught_up(primary, standby)
        if lossy:
            await cut_off(standby)
        else:
            primary.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
            primary.execute("SELECT pg_reload_conf()")
        told: list[str] = []
        over = asyncio.Event()

        async def write(process: Process) -> None:
            while not over.is_set():
                message = f"acted {uuid4()}"
                with suppress(StoreError):
                    await process.store.write(lambda tx: process.audit.act(tx, message))  # noqa: B023 - awaited
                    told.append(message)

        writing = [asyncio.create_task(write(each)) for each in all_]
        while len(told) < 50:  # noqa: ASYNC110 - a list tells nobody
            await asyncio.sleep(0.01)
        await nodes.fail_over(primary, standby)
        after = len(told)
        async with asyncio.timeout(60):
            while len(told) < after + 10:  # noqa: ASYNC110 - the new primary takes writes
                await asyncio.sleep(0.01)
        over.set()
        await asyncio.gather(*writing)
        found = [await again(each.look) for each in (*all_, *all_)][-3:]
        kept = {message for (message,) in standby.execute("SELECT message FROM audit_records")}
        assert bool(set(told) - kept) == lossy
        assert found == [HELD if lossy else GOES_ON] * 3

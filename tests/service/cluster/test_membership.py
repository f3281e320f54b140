"""The membership of processes on one database: what others do for one that is gone, and what it may do afterwards."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.availability import SILENT_AFTER, silent_nodes
from keystead.core.errors import OntapError
from keystead.core.model import Cluster, JobState, Node, NodeProcess, Release, Role
from keystead.core.resumable import Resumable
from keystead.monitor.metrics import Metrics
from keystead.service.audit.log import INITIALISED, AuditLog, begin
from keystead.service.audit.verifying import verify
from keystead.service.cluster.health import Health
from keystead.service.cluster.membership import BEAT_S, REMOVED, REPLACED, STEADY_S, WATCHED_S, Membership
from keystead.service.cluster.node_removal import NodeRemoval
from keystead.service.context import Call, Caller
from keystead.service.offline import OfflineReads
from keystead.service.ports.store import NotAMember
from keystead.store import open_store
from tests.peers.databases import set_clock
from tests.service.cluster.test_health import FACTS
from tests.service.worlds.basics import KEYRING, HandClock
from tests.service.worlds.jobs import jobs_of
from tests.store.test_jobs import job

if TYPE_CHECKING:
    from keystead.service.cluster.jobs import Jobs, Progress
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test")


class Cluster3:
    """Three nodes on one database, whose clock is set by hand."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.clock = HandClock()
        set_clock(self.clock, store)
        self.nodes = {f"node-{number}": self.process(f"node-{number}") for number in (1, 2, 3)}

    def process(self, node: str, place: str = "") -> Membership:
        """Return a new process of a node; it waits by the clock."""
        process = NodeProcess(uuid4().hex, "0.2", place)
        return Membership(self.store, self.clock, node, process, self.clock.sleep)

    async def pass_(self, seconds: float, *heard: str) -> None:
        """Let time pass, in which these nodes are heard."""
        for _ in range(round(seconds / BEAT_S)):
            self.clock.advance(BEAT_S)
            for node in heard:
                await self.nodes[node].beat()

    async def silent(self) -> set[str]:
        """Return the silent nodes."""
        return set(silent_nodes(await self.store.read(lambda tx: tx.nodes())))

    async def states(self) -> dict[str, str]:
        """Return the states of all jobs."""
        found = await self.store.read(lambda tx: [tx.job(f"job-{number}") for number in (1, 2, 3)])
        return {each.uuid: each.state.value for each in found if each is not None}


@pytest.fixture
async def cluster(store: SqlStore) -> Cluster3:
    """Return three nodes that have been heard for a while."""
    made = Cluster3(store)

    def fill(tx: Transaction) -> None:
        tx.put_cluster(Cluster("cluster-1", "c1"))
        for node in made.nodes:
            tx.put_node(Node(node, node, Release(9, 18, 1)))
            begin(tx, KEYRING, made.clock, node)

    await store.write(fill)
    for each in made.nodes.values():
        await each.start()
    await made.pass_(STEADY_S + BEAT_S, *made.nodes)
    assert await made.silent() == set()
    return made


async def fill_jobs(store: SqlStore) -> None:
    """Store a job of each node; that of node 3 is a resumable one."""

    def fill(tx: Transaction) -> None:
        for number in (1, 2):
            tx.add_job(job(f"job-{number}", node=f"node-{number}"))
        tx.add_job(replace(job("job-3", node="node-3"), resumable=Resumable("kind", "{}", "{}", total=3)))

    await store.write(fill)


async def test_others_end_the_jobs_of_a_node_that_died(cluster: Cluster3) -> None:
    """Within a minute, and only its own; a resumable job is left to who goes on with it."""
    await fill_jobs(cluster.store)
    await cluster.pass_(SILENT_AFTER.total_seconds() - BEAT_S, "node-1")
    assert set((await cluster.states()).values()) == {"running"}
    await cluster.pass_(2 * BEAT_S, "node-1")
    assert await cluster.silent() == {"node-2", "node-3"}
    assert await cluster.states() == {"job-1": "running", "job-2": "failure", "job-3": "running"}
    ended = await cluster.store.read(lambda tx: tx.job("job-2"))
    assert ended is not None
    assert ended.code == errors.JOB_INTERRUPTED.code


async def test_after_an_outage_of_the_database_nobody_is_judged_at_once(cluster: Cluster3) -> None:
    """Who comes back first leaves the others the time that they need."""
    await fill_jobs(cluster.store)
    cluster.clock.advance(300)
    await cluster.nodes["node-1"].beat()
    await cluster.pass_(BEAT_S, "node-1")
    assert set((await cluster.states()).values()) == {"running"}
    await cluster.pass_(STEADY_S, "node-2", "node-1")
    assert (await cluster.states())["job-2"] == "running"


async def test_a_node_that_was_frozen_does_not_undo_the_end_of_its_job(cluster: Cluster3, database_url: str) -> None:
    """Its work goes on when it is thawed, but its job has ended, with one end."""
    go, told = asyncio.Event(), asyncio.Event()

    async def work(progress: Progress) -> None:
        await go.wait()
        await progress(OntapError(errors.RECORDS_DONE, done=1, all=2))
        told.set()

    store = open_store(database_url)
    frozen: Jobs = jobs_of(store, cluster.clock, "node-2")
    try:
        begun = (await frozen.run(CALL, work, svm=None)).job
        await cluster.pass_(SILENT_AFTER.total_seconds() + BEAT_S, "node-1", "node-3")
        before = await cluster.store.read(lambda tx: tx.job(begun.uuid))
        go.set()
        await told.wait()
        await frozen.close()
        assert before is not None
        assert before.state is JobState.FAILURE
        assert await cluster.store.read(lambda tx: tx.job(begun.uuid)) == before
    finally:
        await frozen.close()
        await store.close()


async def test_a_node_that_stops_is_silent_at_once(cluster: Cluster3) -> None:
    """Until it starts again. A process that never started says nothing when it stops."""
    await cluster.nodes["node-2"].close()
    await cluster.process("node-3").close()
    assert await cluster.silent() == {"node-2"}
    await cluster.nodes["node-2"].start()
    assert await cluster.silent() == set()


async def test_a_removed_node_may_not_write(cluster: Cluster3) -> None:
    """Refused while it is heard. Its jobs end, its observations go, its chain is closed; then its process stops."""
    audit = AuditLog(cluster.store, KEYRING, cluster.clock, "node-1")
    removal = NodeRemoval(cluster.store, audit, KEYRING, cluster.clock, "node-1")
    await fill_jobs(cluster.store)
    for uuid, error in (("node-1", errors.NODE_IS_UP), ("node-2", errors.NODE_IS_UP), ("x", errors.ENTRY_NOT_FOUND)):
        with pytest.raises(OntapError) as refused:
            await removal.remove(CALL, uuid)
        assert refused.value.kind is error
    cluster.clock.advance(SILENT_AFTER.total_seconds() + 1)
    await cluster.nodes["node-1"].beat()
    await removal.remove(CALL, "node-2")
    assert (await cluster.states())["job-2"] == "failure"
    assert {node.uuid for node in await cluster.store.read(lambda tx: tx.nodes())} == {"node-1", "node-3"}
    chain = await cluster.store.read(lambda tx: tx.audit_records("node-2", 0, 9))
    assert [record.message for record in chain] == [INITIALISED, "closed: node node-2 was removed"]
    assert all(report.intact for report in await verify(cluster.store, KEYRING.mac, "node-1"))
    await assert_ends(cluster, "node-2", REMOVED)
    with pytest.raises(NotAMember):
        await cluster.nodes["node-2"].start()


async def test_of_two_processes_of_a_node_the_later_one_writes(cluster: Cluster3) -> None:
    """The earlier one was frozen, or is another copy of the data directory."""
    later = cluster.process("node-2")
    await later.start()
    await assert_ends(cluster, "node-2", REPLACED)
    await cluster.store.write(later.check)


@pytest.mark.parametrize("place", ["here", ""])
async def test_a_process_in_place_of_one_that_died_starts_at_once(cluster: Cluster3, place: str) -> None:
    """The directory is the same, or has its database in it, or the node was stopped, or was silent for long."""
    await cluster.process("node-2", place).start()
    await cluster.nodes["node-1"].beat()
    began = cluster.clock.now()
    await cluster.process("node-2", "here").require()
    if place:
        await cluster.process("node-1", "elsewhere").require()
        await cluster.store.write(lambda tx: tx.leave_node("node-2"))
        await cluster.process("node-2", "elsewhere").require()
        await cluster.nodes["node-2"].start()
    assert cluster.clock.now() == began


@pytest.mark.parametrize("lives", [True, False])
async def test_a_process_with_a_copy_of_the_directory(cluster: Cluster3, *, lives: bool) -> None:
    """It is refused if the node is heard again within some seconds, and that is announced once."""
    first, copy = cluster.process("node-2", "here"), cluster.process("node-2", "elsewhere")
    await first.start()
    await first.beat()

    async def sleep(seconds: float) -> None:
        await cluster.clock.sleep(seconds)
        if lives and len(cluster.clock.slept) == 10:
            await first.beat()

    copy._sleep = sleep
    if lives:
        with pytest.raises(NotAMember, match=REPLACED):
            await copy.require()
        assert len(cluster.clock.slept) == 10
    else:
        await copy.require()
        assert len(cluster.clock.slept) == WATCHED_S
    found = await cluster.store.read(lambda tx: tx.events_named("node-2", ["km.node.copied"]))
    assert [dict(each.parameters) for each in found] == ([{"node": "node-2"}] if lives else [])


async def assert_ends(cluster: Cluster3, node: str, why: str) -> None:
    """A process writes nothing any more, not even a sign of life. It is told to stop, and is not ready."""
    process, told = cluster.nodes[node], [0]
    process.on_lost = lambda: told.append(1)
    before = await cluster.store.read(lambda tx: tx.nodes())
    cluster.store.admit = process.check
    offline = OfflineReads(cluster.store, cluster.clock, node, limit_s=0)
    health = Health(cluster.store, Metrics(), lambda: FACTS._replace(uuid=node), cluster.clock, offline)
    try:
        for _ in range(2):
            with pytest.raises(NotAMember, match=why):
                await process.beat()
        assert await health.not_ready() == why
        await process.close()
    finally:
        del cluster.store.admit
    assert (process.lost, len(told) > 1) == (why, True)
    assert await cluster.store.read(lambda tx: tx.nodes()) == before


async def test_a_removal_waits_for_a_transaction_of_the_node(cluster: Cluster3, database_url: str) -> None:
    """What the node's process has begun is complete before its chain is closed."""
    if database_url.startswith("sqlite"):
        pytest.skip("SQLite has one writer")
    store = open_store(database_url)
    store.admit = cluster.nodes["node-2"].check
    removal = NodeRemoval(
        cluster.store, AuditLog(cluster.store, KEYRING, cluster.clock, "node-1"), KEYRING, cluster.clock, "node-1"
    )
    audit = AuditLog(store, KEYRING, cluster.clock, "node-2")
    loop, began = asyncio.get_running_loop(), asyncio.Event()
    go = threading.Event()

    def slow(tx: Transaction) -> None:
        loop.call_soon_threadsafe(began.set)
        go.wait(10)
        audit.succeed(tx, CALL, "the last one")

    try:
        await cluster.nodes["node-2"].close()
        writing = asyncio.create_task(store.write(slow))
        await began.wait()
        removing = asyncio.create_task(removal.remove(CALL, "node-2"))
        assert not (await asyncio.wait([removing], timeout=0.3))[0]
        go.set()
        await asyncio.gather(writing, removing)
    finally:
        await store.close()
    chain = await cluster.store.read(lambda tx: tx.audit_records("node-2", 0, 9))
    assert [record.message for record in chain] == [INITIALISED, "the last one", "closed: node node-2 was removed"]


async def test_a_stop_without_a_database(cluster: Cluster3) -> None:
    """It is only logged; the others notice the silence."""
    await cluster.store.close()
    await cluster.nodes["node-1"].close()

"""keystead.service.cluster.job_runner: jobs that go on after their process, on real databases."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.jobs import Action
from keystead.core.model import Cluster, CustomRole, Job, JobState, LoginMessages, Node, Release, Role, Svm
from keystead.core.resumable import Resumable
from keystead.service.cluster.job_origin import call_of, origin_of
from keystead.service.cluster.job_runner import lease_of
from keystead.service.cluster.jobs import StepRequest
from keystead.service.cluster.leases import LENGTH
from keystead.service.context import Call, Caller
from keystead.service.ports.store import StoreError
from keystead.store import open_store
from tests.peers.databases import set_clock
from tests.service.worlds.basics import HandClock
from tests.service.worlds.jobs import jobs_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.service.cluster.job_answers import JobAnswer
    from keystead.service.cluster.job_runner import Also, JobSteps
    from keystead.service.cluster.jobs import Jobs
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

TOTAL = 4
SVM = Svm("svm-1", "svm1")
OTHER = Svm("svm-2", "svm2")
CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test", input='{"a":"***"}')
OF_SVM = Call(Caller("tenant", Role.VSADMIN, "127.0.0.1", SVM), "PATCH", "/api/test", scope=SVM)
REQUEST = StepRequest("count", {"by": 1}, None, TOTAL)


@dataclass
class Counting:
    """Work that counts to a total, a step at a time. What it counted is in the database, in a text that grows.

    A step that is in ``gates`` waits for its event. ``began`` are the places from which the work began.
    """

    gates: dict[int, asyncio.Event] = field(default_factory=dict)
    raises: dict[int, Exception] = field(default_factory=dict)
    began: list[Any] = field(default_factory=list)
    at: int = -1

    async def __call__(self, steps: JobSteps) -> Also:
        """Count from the cursor on."""
        self.began.append(steps.cursor)
        for number in range(steps.cursor or 0, steps.total):
            self.at = number
            if number in self.gates:
                await self.gates[number].wait()
            if number in self.raises:
                raise self.raises.pop(number)
            await steps.store(number + steps.parameters["by"], number + 1, steps.total, _adds(str(number)))
        return _adds("end")

    async def reached(self, number: int) -> None:
        """Wait until the work is at this step."""
        async with asyncio.timeout(20):
            while True:
                if self.at >= number:
                    return
                await asyncio.sleep(0.005)


def _adds(word: str) -> Also:
    def work(tx: Transaction) -> None:
        (before,) = tx.login_messages([None])
        tx.put_login_messages(LoginMessages(None, f"{before.banner} {word}".strip(), "", show_cluster_message=True))

    return work


async def counted(store: SqlStore) -> str:
    """Return what all processes have counted."""
    return (await store.read(lambda tx: tx.login_messages([None])))[0].banner


@pytest.fixture
def clock(store: SqlStore, other: SqlStore) -> HandClock:
    """The clock of the database and of both processes."""
    made = HandClock()
    set_clock(made, store, other)
    return made


@pytest.fixture
async def other(store: SqlStore, database_url: str) -> AsyncIterator[SqlStore]:
    """Another process' store of the same database, which has two nodes and two SVMs."""

    def fill(tx: Transaction) -> None:
        tx.put_cluster(Cluster("cluster-1", "c1"))
        for number in (1, 2):
            tx.put_node(Node(f"node-{number}", f"n{number}", Release(9, 18, 1)))
        for svm in (SVM, OTHER):
            tx.add_svm(svm)

    await store.write(fill)
    opened = open_store(database_url)
    yield opened
    await opened.close()


@dataclass
class Process:
    """One process of a node: its jobs and its work."""

    jobs: Jobs
    work: Counting

    async def begin(self, request: StepRequest = REQUEST, call: Call = CALL, wait_s: int = 0) -> JobAnswer:
        """Begin a job."""
        return await self.jobs.run_in_steps(call, request, return_timeout=wait_s)

    async def look(self) -> None:
        """Take what no process runs, as the runner does every few seconds."""
        await self.jobs._runner.look()

    async def job(self, uuid: str, *states: str) -> Job:
        """Return a job, once it is in one of these states."""
        async with asyncio.timeout(20):
            while True:
                job = await self.jobs.get(CALL, uuid)
                if job.state in states:
                    return job
                await asyncio.sleep(0.01)

    async def idle(self) -> None:
        """Wait until this process works on nothing."""
        async with asyncio.timeout(20):
            while True:
                if not self.jobs._runner._tasks:
                    return
                await asyncio.sleep(0.01)


@pytest.fixture
async def processes(store: SqlStore, other: SqlStore, clock: HandClock) -> AsyncIterator[tuple[Process, Process]]:
    """Yield a process of each of two nodes, each with a store of its own."""
    made = []
    for at, node in ((store, "node-1"), (other, "node-2")):
        work = Counting()
        made.append(Process(jobs_of(at, clock, node, {"count": work}), work))
    yield made[0], made[1]
    for process in made:
        for gate in process.work.gates.values():
            gate.set()
        await process.jobs.close()


async def lease_is_gone(store: SqlStore, uuid: str) -> bool:
    """Return True if nobody has a lease of the job."""
    return await store.read(lambda tx: tx.lease(lease_of(uuid))) is None


async def test_a_job_counts_to_its_end(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """Each step is stored with what it changed; the end, too; nothing stays of it but the job."""
    one, _ = processes
    ran = await one.begin(wait_s=20)
    assert (ran.error, ran.job.state, ran.job.message) == (None, JobState.SUCCESS, "success")
    assert await counted(store) == "0 1 2 3 end"
    stored = await one.jobs.get(CALL, ran.job.uuid)
    assert stored == ran.job
    assert stored.resumable is not None
    assert (stored.resumable.done, stored.resumable.total, stored.resumable.cursor) == (TOTAL, TOTAL, "")
    await one.idle()
    assert await lease_is_gone(store, ran.job.uuid)


async def test_a_job_that_runs_says_how_far_it_is(processes: tuple[Process, Process]) -> None:
    """The call is answered with the running job, which shows the last step."""
    one, _ = processes
    one.work.gates[2] = asyncio.Event()
    ran = await one.begin()
    assert (ran.job.state, ran.error, ran.job.end_time) == (JobState.RUNNING, None, None)
    await one.work.reached(2)
    job = await one.jobs.get(CALL, ran.job.uuid)
    assert (job.state, job.message, one.jobs.running) == (JobState.RUNNING, "2 of 4 records complete.", 1)


async def test_a_stop_leaves_a_job_to_another_node(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """At once: it goes on where it was, and no step counts twice."""
    one, two = processes
    one.work.gates[2] = asyncio.Event()
    uuid = (await one.begin()).job.uuid
    await one.work.reached(2)
    await one.jobs.close()
    left = await two.jobs.get(CALL, uuid)
    assert (left.state, left.node) == (JobState.QUEUED, "node-1")
    assert await lease_is_gone(store, uuid)
    await two.look()
    done = await two.job(uuid, "success")
    assert (done.node, two.work.began) == ("node-2", [2])
    assert await counted(store) == "0 1 2 3 end"


async def test_a_process_that_was_lost_stores_nothing_more(
    store: SqlStore, processes: tuple[Process, Process], clock: HandClock
) -> None:
    """A node that stood still finds its lease taken: what it worked on meanwhile is not stored, and harms nothing."""
    one, two = processes
    gate = one.work.gates[2] = asyncio.Event()
    uuid = (await one.begin()).job.uuid
    await one.work.reached(2)
    await two.look()
    await two.idle()
    assert two.work.began == []  # while the lease lasts
    clock.advance(LENGTH.total_seconds() + 1)
    two.work.gates[3] = asyncio.Event()
    await two.look()
    await two.work.reached(3)
    gate.set()  # now the first one goes on, and both work on the job
    await one.idle()
    assert await counted(store) == "0 1 2"
    assert (await one.jobs.get(CALL, uuid)).node == "node-2"
    two.work.gates[3].set()
    done = await two.job(uuid, "success")
    assert (done.node, await counted(store)) == ("node-2", "0 1 2 3 end")


async def test_a_process_that_lost_its_job_answers_that_it_runs(
    processes: tuple[Process, Process], clock: HandClock
) -> None:
    """Who waited for it is answered with the job as it began."""
    one, two = processes
    gate = one.work.gates[0] = asyncio.Event()
    waiting = asyncio.create_task(one.begin(wait_s=20))
    await one.work.reached(0)
    clock.advance(LENGTH.total_seconds() + 1)
    await two.look()
    await two.idle()
    gate.set()
    ran = await waiting
    assert (ran.job.state, ran.error) == (JobState.RUNNING, None)
    assert (await two.jobs.get(CALL, ran.job.uuid)).state is JobState.SUCCESS


async def test_many_processes_take_a_job_once(
    store: SqlStore, other: SqlStore, processes: tuple[Process, Process], clock: HandClock
) -> None:
    """However many look at the same moment, one runs it, on two stores."""
    one, _ = processes
    one.work.gates[1] = asyncio.Event()
    uuid = (await one.begin()).job.uuid
    await one.work.reached(1)
    await one.jobs.close()
    crowd = []
    for number in range(6):
        work = Counting()
        at = other if number % 2 else store
        crowd.append(Process(jobs_of(at, clock, f"node-{1 + number % 2}", {"count": work}), work))
    await asyncio.gather(*(process.look() for process in crowd))
    await crowd[0].job(uuid, "success")
    assert Counter(len(process.work.began) for process in crowd) == {1: 1, 0: 5}
    assert await counted(store) == "0 1 2 3 end"
    for process in crowd:
        await process.jobs.close()


async def test_a_restart_goes_on_at_once(store: SqlStore, processes: tuple[Process, Process], clock: HandClock) -> None:
    """A process that starts takes its node's jobs: their lease is of a process that ended, another node's is not."""
    one, two = processes
    one.work.gates[1] = two.work.gates[1] = asyncio.Event()
    mine, theirs = (await one.begin()).job.uuid, (await two.begin()).job.uuid
    await one.work.reached(1)
    await two.work.reached(1)
    work = Counting()
    restarted = Process(jobs_of(store, clock, "node-1", {"count": work}), work)
    await restarted.jobs.start()
    assert (await restarted.job(mine, "success")).node == "node-1"
    assert work.began == [1]
    assert (await restarted.jobs.get(CALL, theirs)).state is JobState.RUNNING
    await restarted.jobs.close()


async def test_jobs_are_looked_for_all_the_time(
    store: SqlStore, other: SqlStore, clock: HandClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that has started takes what another one leaves, without being told."""
    monkeypatch.setattr("keystead.service.cluster.job_runner.LOOK_S", 0.02)
    one, two = (Counting(gates={2: asyncio.Event()}), Counting())
    first, second = (
        Process(jobs_of(at, clock, node, {"count": work}), work)
        for at, node, work in ((store, "node-1", one), (other, "node-2", two))
    )
    for process in (first, second):
        await process.jobs.start()
    uuid = (await first.begin()).job.uuid
    await one.reached(2)
    await first.jobs.close()
    assert (await second.job(uuid, "success")).node == "node-2"
    await second.jobs.close()


async def test_a_job_is_paused_and_resumed(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """It ends its step first. Another node may go on with it. Each call is recorded."""
    one, two = processes
    gate = one.work.gates[1] = asyncio.Event()
    waiting = asyncio.create_task(one.begin(wait_s=20))
    await one.work.reached(1)
    ((uuid, *_),) = [(view.uuid,) for view in await store.read(lambda tx: tx.resumable_jobs())]
    await two.jobs.ask(CALL, uuid, Action.PAUSE)
    asked = await one.jobs.get(CALL, uuid)
    assert asked.resumable is not None
    assert (asked.state, asked.resumable.requested) == (JobState.RUNNING, "pause")
    gate.set()
    ran = await waiting
    assert (ran.job.state, ran.error, ran.job.end_time) == (JobState.PAUSED, None, None)
    await one.idle()
    assert await counted(store) == "0 1"
    assert await lease_is_gone(store, uuid)
    for process in processes:
        await process.look()
        await process.idle()
    assert (await one.jobs.get(CALL, uuid)).state is JobState.PAUSED
    await two.jobs.ask(CALL, uuid, Action.RESUME)
    done = await two.job(uuid, "success")
    assert (done.node, two.work.began, await counted(store)) == ("node-2", [2], "0 1 2 3 end")
    records = await store.read(lambda tx: tx.audit_records("node-2", 0, 9))
    assert [record.message for record in records] == [f"asked job {uuid} to {word}" for word in ("pause", "resume")]


async def test_a_running_job_is_cancelled(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """At the end of its step, which stays; who waits for it gets the error."""
    one, _ = processes
    gate = one.work.gates[1] = asyncio.Event()
    waiting = asyncio.create_task(one.begin(wait_s=20))
    await one.work.reached(1)
    (job,) = await store.read(lambda tx: tx.resumable_jobs())
    await one.jobs.ask(CALL, job.uuid, Action.CANCEL)
    gate.set()
    ran = await waiting
    assert ran.error is not None
    assert ran.error.kind is errors.JOB_CANCELLED
    assert (ran.job.state, ran.job.message) == (JobState.FAILURE, errors.JOB_CANCELLED.text)
    await one.idle()
    assert await counted(store) == "0 1"
    assert await lease_is_gone(store, job.uuid)


async def test_a_paused_job_is_cancelled(processes: tuple[Process, Process]) -> None:
    """At once, and nothing resumes it."""
    one, _ = processes
    one.work.gates[0] = asyncio.Event()
    uuid = (await one.begin()).job.uuid
    await one.work.reached(0)
    await one.jobs.ask(CALL, uuid, Action.PAUSE)
    one.work.gates[0].set()
    await one.job(uuid, "paused")
    await one.jobs.ask(CALL, uuid, Action.CANCEL)
    assert (await one.jobs.get(CALL, uuid)).state is JobState.FAILURE
    with pytest.raises(OntapError) as refused:
        await one.jobs.ask(CALL, uuid, Action.RESUME)
    assert refused.value.kind is errors.JOB_ENDED


async def test_a_request_outlives_the_process(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """A job that was asked to pause when its process stopped is not worked on by the next one: it pauses."""
    one, two = processes
    one.work.gates[1] = asyncio.Event()
    uuid = (await one.begin()).job.uuid
    await one.work.reached(1)
    await one.jobs.ask(CALL, uuid, Action.PAUSE)
    await one.jobs.close()
    await two.look()
    assert (await two.job(uuid, "paused")).node == "node-2"
    await two.idle()
    assert (two.work.began, await counted(store)) == ([], "0")
    assert await lease_is_gone(store, uuid)


async def test_what_is_asked_at_the_same_time(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """Two callers on two nodes: to cancel wins, whoever comes first; two who resume do it once."""
    one, two = processes
    for _ in range(5):
        gate = one.work.gates[0] = asyncio.Event()
        one.work.at = -1
        uuid = (await one.begin()).job.uuid
        await one.work.reached(0)
        await asyncio.gather(
            one.jobs.ask(CALL, uuid, Action.CANCEL),
            two.jobs.ask(CALL, uuid, Action.PAUSE),
            return_exceptions=True,
        )
        gate.set()
        job = await one.job(uuid, "failure", "paused")
        assert job.state is JobState.FAILURE
        await one.idle()
    gate = one.work.gates[0] = asyncio.Event()
    one.work.at = -1
    uuid = (await one.begin()).job.uuid
    await one.work.reached(0)
    await one.jobs.ask(CALL, uuid, Action.PAUSE)
    gate.set()
    await one.job(uuid, "paused")
    await one.idle()
    before = await counted(store)
    said = await asyncio.gather(
        *(process.jobs.ask(CALL, uuid, Action.RESUME) for process in processes), return_exceptions=True
    )
    assert sorted(type(each).__name__ for each in said) == ["NoneType", "OntapError"]
    await one.job(uuid, "success")
    assert (await counted(store)).removeprefix(before) == " 1 2 3 end"


async def test_who_may_ask(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """An SVM's account steers the jobs of its SVM. Those of others do not exist for it, and nothing is recorded."""
    one, _ = processes
    one.work.gates[0] = asyncio.Event()
    own = (await one.begin(StepRequest("count", {"by": 1}, SVM, TOTAL), OF_SVM)).job.uuid
    cluster = (await one.begin()).job.uuid
    theirs = Call(Caller("stranger", Role.VSADMIN, "127.0.0.1", OTHER), "PATCH", "/api/test", scope=OTHER)
    for call, uuid in ((theirs, own), (OF_SVM, cluster), (CALL, "absent")):
        for action in Action:
            with pytest.raises(OntapError) as refused:
                await one.jobs.ask(call, uuid, action)
            assert (refused.value.kind, refused.value.target) == (errors.ENTRY_NOT_FOUND, "uuid")
    assert await store.read(lambda tx: tx.audit_records("node-1", 0, 9)) == ()
    await one.jobs.ask(OF_SVM, own, Action.CANCEL)
    (record,) = await store.read(lambda tx: tx.audit_records("node-1", 0, 9))
    assert (record.account, record.svm, record.message) == ("tenant", "svm1", f"asked job {own} to cancel")


async def test_a_refusal_is_about_the_jobs_svm(processes: tuple[Process, Process]) -> None:
    """So that the SVM's readers see it in the audit log."""
    one, _ = processes
    uuid = (await one.begin(StepRequest("count", {"by": 1}, SVM, TOTAL), wait_s=20)).job.uuid
    with pytest.raises(OntapError) as refused:
        await one.jobs.ask(CALL, uuid, Action.PAUSE)
    assert (refused.value.kind, refused.value.svm) == (errors.JOB_ENDED, SVM)


async def test_a_refusal_is_the_jobs_failure(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """As of any job: stored with its arguments, recorded once as the call's, and its steps stay."""
    one, _ = processes
    one.work.raises[1] = OntapError(errors.NETWORK, target="server", arguments=[("server", "ks1")])
    ran = await one.begin(StepRequest("count", {"by": 1}, SVM, TOTAL), wait_s=20)
    assert ran.error is not None
    assert ran.error.recorded
    assert (ran.job.state, ran.job.code, ran.job.target) == (JobState.FAILURE, errors.NETWORK.code, "server")
    assert ran.job.arguments == (("server", "ks1"),)
    assert await counted(store) == "0"
    (record,) = await store.read(lambda tx: tx.audit_records("node-1", 0, 9))
    assert (record.account, record.input, record.svm) == ("admin", '{"a":"***"}', "svm1")
    await one.idle()
    assert await lease_is_gone(store, ran.job.uuid)


async def test_a_fault_is_262145_without_its_text(
    processes: tuple[Process, Process], capsys: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception ends the job; what it says is shown to nobody."""
    one, _ = processes
    one.work.raises[0] = RuntimeError("c4nary-s3cret")
    ran = await one.begin(wait_s=20)
    assert ran.error is not None
    assert ran.error.kind is errors.INTERNAL_ERROR
    assert "c4nary" not in capsys.readouterr().out + ran.job.message


@pytest.mark.parametrize("failure", [StoreError("away"), OntapError(errors.SHUTTING_DOWN)])
async def test_what_is_no_fault_of_the_job(
    store: SqlStore, processes: tuple[Process, Process], failure: Exception
) -> None:
    """A database that is away, or a stop that the work notices first: the job goes on at the next look."""
    one, two = processes
    one.work.raises[2] = failure
    ran = await one.begin(wait_s=20)
    assert (ran.error, ran.job.end_time) == (None, None)
    await one.idle()
    await two.look()
    await two.job(ran.job.uuid, "success")
    assert (two.work.began, await counted(store)) == ([2], "0 1 2 3 end")


async def test_a_job_of_another_release_is_left_alone(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """Who does not know the kind takes no lease of it."""
    one, _ = processes
    request = StepRequest("unheard of", {}, None, 1)
    strange = Resumable(request.kind, "{}", origin_of(CALL))
    row = Job("j", "node-2", None, "admin", "POST /x", JobState.QUEUED, "", 0, "", HandClock().now(), resumable=strange)
    await store.write(lambda tx: tx.add_job(row))
    await one.look()
    await one.idle()
    assert await store.read(lambda tx: tx.job("j")) == row
    assert await lease_is_gone(store, "j")


async def test_a_job_that_ended_meanwhile(store: SqlStore, processes: tuple[Process, Process]) -> None:
    """Whoever still takes it finds nothing to do, and leaves no lease behind."""
    one, two = processes
    uuid = (await one.begin(wait_s=20)).job.uuid
    for each in (uuid, "absent"):
        assert await two.jobs._runner.run(each) is None
        assert await lease_is_gone(store, each)
    assert two.work.began == []


async def test_a_job_has_a_place_of_its_account(processes: tuple[Process, Process]) -> None:
    """Resumable jobs count as others do; an end and a pause make room, and after a stop none begins."""
    one, _ = processes
    one.work.gates[0] = asyncio.Event()
    begun = [(await one.begin()).job.uuid for _ in range(16)]
    with pytest.raises(OntapError) as refused:
        await one.begin()
    assert refused.value.kind is errors.TOO_MANY_REQUESTS
    await one.jobs.ask(CALL, begun[0], Action.PAUSE)
    one.work.gates[0].set()
    await one.idle()
    assert (await one.begin(wait_s=20)).job.state is JobState.SUCCESS
    one.jobs.stop()
    with pytest.raises(OntapError) as refused:
        await one.begin()
    assert refused.value.kind is errors.SHUTTING_DOWN


async def test_a_job_that_begins_during_a_stop_is_left(processes: tuple[Process, Process]) -> None:
    """A call whose job is being stored while the service stops gets a job that another process runs."""
    one, two = processes
    run = asyncio.create_task(one.begin(wait_s=20))
    await asyncio.sleep(0)  # it has passed the door, and waits for the database
    one.jobs.stop()
    ran = await run
    assert ran.error is None
    await one.idle()
    await two.look()
    await two.job(ran.job.uuid, "success")
    assert one.work.began == []


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        OF_SVM,
        Call(Caller("admin", Role.ADMIN, "::1"), "POST", "/api/a b", scope=SVM),
        Call(Caller("made", CustomRole("made-role", SVM, ()), "::1", SVM), "POST", "/api/x", scope=SVM),
    ],
)
def test_the_call_is_remembered(call: Call) -> None:
    """Account, role, address, scope and masked input, for the audit records of whoever goes on."""
    job = Job("j", "n", None, call.caller.account, f"{call.method} {call.path}", JobState.QUEUED, "", 0, "", None)  # type: ignore[arg-type]
    assert call_of(job, origin_of(call)) == call


async def test_a_lease_is_not_renewed_after_its_job(store: SqlStore, other: SqlStore, clock: HandClock) -> None:
    """A renewal that comes while the job ends makes no new lease."""
    del other
    work = Counting(gates={3: asyncio.Event()})
    one = Process(jobs_of(store, clock, "node-1", {"count": work}, length=timedelta(seconds=0.04)), work)
    uuid = (await one.begin()).job.uuid
    await work.reached(3)
    await asyncio.sleep(0.05)  # it is renewed meanwhile
    work.gates[3].set()
    await one.job(uuid, "success")
    await one.idle()
    assert await lease_is_gone(store, uuid)
    held = await one.jobs._runner.leases.take(lease_of(uuid), only_renew=True)
    assert held is None
    assert await lease_is_gone(store, uuid)
    await one.jobs.close()

"""keystead.service.cluster.jobs: work that outlives its call."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from keystead.core import errors, jobs
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.model import Cluster, Job, JobState, Node, Release, Role, Svm
from keystead.service.cluster import jobs as service
from keystead.service.cluster.svms import about_svm
from keystead.service.context import Call, Caller
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from tests.service.worlds.basics import HandClock
from tests.service.worlds.jobs import jobs_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.service.cluster.jobs import Jobs, Progress
    from keystead.service.ports.store import Store, Transaction
    from keystead.store import SqlStore

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test", input='{"a":"***"}')
SVM = Svm("svm-1", "svm1")
OTHER = Svm("svm-2", "svm2")
NODE = Node("node-1", "n1", Release(9, 18, 1))


def of(svm: Svm) -> Call:
    """Return the call of an SVM's account."""
    return Call(Caller("tenant", Role.VSADMIN, "127.0.0.1", svm), "GET", "/api/test", scope=svm)


def made(store: Store[Transaction], clock: HandClock) -> Jobs:
    """Return the jobs of a process of node-1."""
    return jobs_of(store, clock, NODE.uuid)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest_asyncio.fixture
async def running(store: SqlStore, clock: HandClock) -> AsyncIterator[Jobs]:
    """Yield the jobs of a node, on a store with two SVMs."""

    def fill(tx: Transaction) -> None:
        tx.put_cluster(Cluster("cluster-1", "c1"))
        tx.put_node(NODE)
        tx.add_svm(SVM)
        tx.add_svm(OTHER)

    await store.write(fill)
    found = made(store, clock)
    yield found
    await found.close()


async def refused(store: Store[Transaction]) -> list[tuple[str, str, str]]:
    """Code, SVM and input of the audit records."""
    records = await store.read(lambda tx: tx.audit_records(NODE.uuid, 0, 100))
    return [(record.code, record.svm, record.input) for record in records]


async def finished(running: Jobs, uuid: str) -> Job:
    """Return the job, once it has ended."""
    async with asyncio.timeout(60):
        while True:
            job = await running.get(CALL, uuid)
            if job.end_time is not None:
                return job
            await asyncio.sleep(0.01)


async def idle(_: Progress) -> None:
    """Work that never ends."""
    await asyncio.Event().wait()


async def test_a_job_is_stored_before_its_work_begins(running: Jobs) -> None:
    """The work finds its own row, running, with the call as its description."""
    seen: list[Job] = []

    async def work(_: Progress) -> None:
        seen.extend(view.job for view in await running.page(CALL, Page()))

    ran = await running.run(CALL, work, svm=None, return_timeout=10)
    assert ran.error is None
    (job,) = seen
    assert (job.state, job.description, job.account, job.end_time) == (
        JobState.RUNNING,
        "POST /api/test",
        "admin",
        None,
    )
    assert (ran.job.state, ran.job.message) == (JobState.SUCCESS, "success")
    assert await running.get(CALL, job.uuid) == ran.job


async def test_a_call_is_answered_before_a_long_job_ends(running: Jobs) -> None:
    """Without return_timeout the answer is the running job; its end is stored when it comes."""
    go, told = asyncio.Event(), asyncio.Event()

    async def work(progress: Progress) -> JobOutcome:
        await progress(OntapError(errors.RECORDS_DONE, done=1, all=2))
        told.set()
        await go.wait()
        return JobOutcome(results="{}")

    ran = await running.run(CALL, work, svm=None)
    assert (ran.job.state, ran.job.end_time, running.running) == (JobState.RUNNING, None, 1)
    await told.wait()
    assert (await running.get(CALL, ran.job.uuid)).message == "1 of 2 records complete."
    go.set()
    job = await finished(running, ran.job.uuid)
    assert (job.state, job.message, job.results) == (JobState.SUCCESS, "success", "{}")
    await running.close()
    assert running.running == 0


async def test_a_refusal_is_the_jobs_failure(store: SqlStore, running: Jobs) -> None:
    """Code, text and target of an OntapError are the job's; it is recorded once, about the job's SVM."""

    async def work(_: Progress) -> None:
        raise OntapError(errors.DUPLICATE_ENTRY, target="name")

    ran = await running.run(CALL, work, svm=SVM, return_timeout=10)
    assert ran.error is not None
    assert ran.error.recorded
    assert (ran.job.state, ran.job.code, ran.job.target) == (JobState.FAILURE, 1, "name")
    assert await refused(store) == [("1", "svm1", '{"a":"***"}')]


async def test_a_fault_is_262145_without_its_text(running: Jobs, capsys: pytest.CaptureFixture[str]) -> None:
    """An unexpected exception fails the job; what it says is shown to nobody, not in the log either."""

    async def work(_: Progress) -> None:
        raise RuntimeError("c4nary-s3cret")

    ran = await running.run(CALL, work, svm=None, return_timeout=10)
    assert ran.error is not None
    assert ran.error.kind is errors.INTERNAL_ERROR
    assert "c4nary" not in ran.job.message
    logged = capsys.readouterr().out
    assert "RuntimeError" in logged
    assert "c4nary" not in logged


async def test_a_restart_fails_what_was_under_way(store: SqlStore, running: Jobs, clock: HandClock) -> None:
    """A process that starts says of its node's unfinished jobs that they were interrupted; of no other node's."""
    mine = (await running.run(CALL, idle, svm=None)).job
    other = jobs_of(store, clock, "node-2")
    theirs = (await other.run(CALL, idle, svm=None)).job
    restarted = made(store, clock)
    clock.advance(5)
    await restarted.start()
    found = await restarted.get(CALL, mine.uuid)
    assert (found.state, found.code, found.message) == (
        JobState.FAILURE,
        errors.JOB_INTERRUPTED.code,
        errors.JOB_INTERRUPTED.text,
    )
    assert found.end_time == clock.now()
    assert (await restarted.get(CALL, theirs.uuid)).state is JobState.RUNNING
    await restarted.close()
    await other.close()


async def test_a_stop_ends_jobs_and_those_who_wait(running: Jobs) -> None:
    """A stop cancels the work; the job says that it was interrupted, who waits for it is told; new ones are refused."""
    begun = asyncio.Event()

    async def work(_: Progress) -> None:
        begun.set()
        await asyncio.Event().wait()

    waiting = asyncio.create_task(running.run(CALL, work, svm=None, return_timeout=60))
    await begun.wait()
    running.stop()
    ran = await waiting
    assert ran.error is not None
    assert ran.error.kind is errors.JOB_INTERRUPTED
    assert (await running.get(CALL, ran.job.uuid)).state is JobState.FAILURE
    with pytest.raises(OntapError) as caught:
        await running.run(CALL, idle, svm=None)
    assert caught.value.kind is errors.SHUTTING_DOWN
    assert len(await running.page(CALL, Page())) == 1


async def test_a_stop_that_the_work_notices_first(running: Jobs) -> None:
    """Work whose probe the stop has refused was interrupted: the same text as after a kill."""

    async def work(_: Progress) -> None:
        raise OntapError(errors.SHUTTING_DOWN, retry_after=5)

    ran = await running.run(CALL, work, svm=None, return_timeout=10)
    assert ran.error is not None
    assert ran.error.kind is errors.JOB_INTERRUPTED
    assert (ran.job.code, ran.job.message) == (errors.JOB_INTERRUPTED.code, errors.JOB_INTERRUPTED.text)


async def test_a_fault_about_an_svm_is_recorded_as_such(store: SqlStore, running: Jobs) -> None:
    """What the work knew when an unexpected exception was raised is in the audit record."""

    async def work(_: Progress) -> None:
        with about_svm(SVM):
            raise RuntimeError("c4nary")

    await running.run(CALL, work, svm=None, return_timeout=10)
    assert await refused(store) == [(str(errors.INTERNAL_ERROR.code), "svm1", '{"a":"***"}')]


async def test_a_stop_while_the_end_is_stored_loses_nothing(store: SqlStore, running: Jobs) -> None:
    """Work that was done is a success, whenever the stop comes after it."""
    ended = asyncio.Event()

    async def work(_: Progress) -> None:
        ended.set()

    waiting = asyncio.create_task(running.run(CALL, work, svm=None, return_timeout=60))
    await ended.wait()
    await running.close()
    job = (await waiting).job
    assert job.state is JobState.SUCCESS
    assert (await store.read(lambda tx: tx.job(job.uuid))) == job


async def test_an_account_has_a_bounded_number_of_jobs(running: Jobs) -> None:
    """One more than the limit is 262160; another account is not held back, and an end makes room."""
    for _ in range(service.PER_ACCOUNT):
        await running.run(CALL, idle, svm=None)
    with pytest.raises(OntapError) as caught:
        await running.run(CALL, idle, svm=None)
    assert caught.value.kind is errors.TOO_MANY_REQUESTS
    await running.run(of(SVM), idle, svm=SVM)


async def test_other_svms_see_no_job(running: Jobs) -> None:
    """An SVM's account finds its own SVM's jobs only; another's, and the cluster's, are code 4 as unknown ones."""
    own = (await running.run(of(SVM), idle, svm=SVM)).job
    cluster = (await running.run(CALL, idle, svm=None)).job
    assert {view.job.uuid for view in await running.page(CALL, Page())} == {own.uuid, cluster.uuid}
    (view,) = await running.page(of(SVM), Page())
    assert (view.job.uuid, view.node) == (own.uuid, NODE)
    assert await running.page(of(OTHER), Page()) == ()
    for call, uuid in ((of(OTHER), own.uuid), (of(SVM), cluster.uuid), (CALL, "absent")):
        for read in (running.get, running.view):
            with pytest.raises(OntapError) as caught:
                await read(call, uuid)
            assert (caught.value.kind, caught.value.target) == (errors.ENTRY_NOT_FOUND, "uuid")


async def test_who_is_told_the_arguments_of_an_error(store: SqlStore, running: Jobs) -> None:
    """Accounts of the cluster, and the account that began the job; for another one of the SVM there are none."""
    told = (("server", "ks1:5696"), ("stage", "connect"))

    async def work(_: Progress) -> None:
        raise OntapError(errors.NETWORK, arguments=told)

    own = (await running.run(of(SVM), work, svm=SVM, return_timeout=10)).job
    cluster = (await running.run(CALL, work, svm=SVM, return_timeout=10)).job
    neighbour = Call(Caller("neighbour", Role.VSADMIN, "127.0.0.1", SVM), "GET", "/api/test", scope=SVM)
    tunnelled = Call(CALL.caller, "GET", "/api/test", scope=SVM)
    seen = {
        (name, job.uuid): (await running.view(call, job.uuid)).arguments
        for name, call in {"own": of(SVM), "neighbour": neighbour, "admin": CALL, "tunnelled": tunnelled}.items()
        for job in (own, cluster)
    }
    for (name, uuid), arguments in seen.items():
        shown = name in {"admin", "tunnelled"} or (name == "own" and uuid == own.uuid)
        assert arguments == (told if shown else ()), (name, uuid)
    assert {view.arguments for view in await running.page(neighbour, Page())} == {()}
    assert await store.read(lambda tx: tx.job(own.uuid)) == own


async def test_finished_jobs_are_removed_in_time(running: Jobs, clock: HandClock) -> None:
    """A new job removes those that began longer ago than they are kept."""

    async def work(_: Progress) -> None:
        """Nothing to do."""

    old = (await running.run(CALL, work, svm=None, return_timeout=10)).job
    clock.advance((jobs.KEPT_FOR + timedelta(seconds=1)).total_seconds())
    new = (await running.run(CALL, work, svm=None, return_timeout=10)).job
    assert [view.job.uuid for view in await running.page(CALL, Page())] == [new.uuid]
    assert old.uuid != new.uuid


async def test_a_database_that_is_away_is_logged(
    store: SqlStore, running: Jobs, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job whose end cannot be stored still answers those who wait; the log says which."""

    async def work(_: Progress) -> None:
        await store.close()

    ran = await running.run(CALL, work, svm=None, return_timeout=10)
    assert ran.job.state is JobState.SUCCESS
    assert "the end of a job is not stored" in capsys.readouterr().out


async def test_a_job_that_cannot_be_stored_is_none(store: SqlStore, running: Jobs) -> None:
    """No work begins without its row, and the account's place is free again."""
    began: list[int] = []

    async def work(_: Progress) -> None:
        began.append(1)

    await store.close()
    for _ in range(service.PER_ACCOUNT + 1):
        with pytest.raises(StoreError):
            await running.run(CALL, work, svm=None)
    assert (began, running.running) == ([], 0)


async def test_a_job_that_begins_during_a_stop_ends_at_once(running: Jobs) -> None:
    """A call whose job is being stored while the service stops gets a job that was interrupted."""
    began: list[int] = []

    async def work(_: Progress) -> None:
        began.append(1)

    run = asyncio.create_task(running.run(CALL, work, svm=None, return_timeout=10))
    await asyncio.sleep(0)  # it has passed the door, and waits for the database
    running.stop()
    ran = await run
    assert ran.error is not None
    assert ran.error.kind is errors.JOB_INTERRUPTED
    assert began == []

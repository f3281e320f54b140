"""Rows of jobs, on both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from keystead.core.jobs import JobOutcome, ended
from keystead.core.keys.model import Lease
from keystead.core.model import Job, JobState, Svm
from keystead.core.resumable import Resumable
from keystead.service.ports.page import Page
from tests.store.samples import NOON, OTHER_SVM, SVM

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore


def job(uuid: str, *, node: str = "node-1", svm: Svm | None = None, hours: int = 0) -> Job:
    """Return a running job that began some hours after noon, whose texts all differ."""
    return Job(
        uuid=uuid,
        node=node,
        svm=svm,
        account="account",
        description="description",
        state=JobState.RUNNING,
        message="message",
        code=0,
        target="target",
        start_time=NOON + timedelta(hours=hours),
    )


async def test_a_job_comes_back_as_it_was_stored(filled: SqlStore) -> None:
    """Every value is read back, while the job runs and after its end; an unknown uuid gives None."""
    first = job("job-1", svm=SVM)
    await filled.write(lambda tx: tx.add_job(first))
    assert await filled.read(lambda tx: tx.job("job-1")) == first
    done = replace(ended(first, JobOutcome(results='{"keys": []}'), NOON), code=5, target="other", message="said")
    done = replace(done, arguments=(("server", "ks1"), ("reason", 'a "quoted" one')))
    await filled.write(lambda tx: tx.update_job(done))
    assert await filled.read(lambda tx: tx.job("job-1")) == done
    assert await filled.read(lambda tx: tx.job("job-2")) is None


async def test_a_removed_job_stays_removed(filled: SqlStore) -> None:
    """The end of a job whose row is gone is not stored, and is no error."""
    await filled.write(lambda tx: tx.update_job(job("job-1")))
    assert await filled.read(lambda tx: tx.job("job-1")) is None


async def test_a_job_that_ended_stays_as_it_ended(filled: SqlStore) -> None:
    """A process that was frozen changes nothing of it afterwards."""
    await filled.write(lambda tx: tx.add_job(job("job-1")))
    done = ended(job("job-1"), JobOutcome(), NOON)
    for each in (done, job("job-1"), replace(done, message="other")):
        await filled.write(lambda tx, each=each: tx.update_job(each))  # type: ignore[misc]
    assert await filled.read(lambda tx: tx.job("job-1")) == done


async def test_unfinished_jobs_are_those_of_one_node(filled: SqlStore) -> None:
    """Queued, running and paused jobs of the node are found; finished ones and another node's are not."""

    def add(tx: object) -> None:
        for place, state in enumerate(JobState):
            tx.add_job(replace(job(f"job-{place}"), state=state))  # type: ignore[attr-defined]
        tx.add_job(job("job-9", node="node-2"))  # type: ignore[attr-defined]

    await filled.write(add)
    found = await filled.read(lambda tx: tx.unfinished_jobs("node-1"))
    assert [item.state for item in found] == [JobState.QUEUED, JobState.RUNNING, JobState.PAUSED]


async def test_old_and_surplus_jobs_are_removed(filled: SqlStore) -> None:
    """Of one node's finished jobs the old ones go, and the oldest beyond the number that is kept; no running one."""

    def add(tx: object) -> None:
        for hours in range(6):
            begun = job(f"job-{hours}", hours=hours)
            tx.add_job(begun if hours == 1 else ended(begun, JobOutcome(), NOON))  # type: ignore[attr-defined]
        tx.add_job(ended(job("job-9", node="node-2"), JobOutcome(), NOON))  # type: ignore[attr-defined]

    await filled.write(add)

    async def left() -> list[str]:
        return [item.uuid for item in await filled.read(lambda tx: tx.page(Job, Page()))]

    await filled.write(lambda tx: tx.remove_jobs("node-1", before=NOON + timedelta(hours=2), beyond=10))
    assert await left() == ["job-1", "job-2", "job-3", "job-4", "job-5", "job-9"]
    await filled.write(lambda tx: tx.remove_jobs("node-1", before=NOON, beyond=2))
    assert await left() == ["job-1", "job-4", "job-5", "job-9"]


async def test_the_jobs_of_one_svm(filled: SqlStore) -> None:
    """A page is restricted to an SVM; jobs of an SVM that is deleted are the cluster's, and no other SVM's."""
    await filled.write(lambda tx: tx.add_job(job("job-1", svm=SVM)))
    await filled.write(lambda tx: tx.add_job(job("job-2", svm=OTHER_SVM)))
    await filled.write(lambda tx: tx.add_job(job("job-3")))
    found = await filled.read(lambda tx: tx.page(Job, Page().within(svm_uuid=OTHER_SVM.uuid)))
    assert [item.uuid for item in found] == ["job-2"]
    await filled.write(lambda tx: tx.delete_svm(OTHER_SVM.uuid))
    assert await filled.read(lambda tx: tx.job("job-2")) == job("job-2")
    await filled.write(lambda tx: tx.update_job(ended(job("job-2", svm=OTHER_SVM), JobOutcome(), NOON)))
    assert await filled.read(lambda tx: tx.job("job-2")) == ended(job("job-2"), JobOutcome(), NOON)
    for svm, uuids in ((OTHER_SVM, []), (SVM, ["job-1"])):
        found = await filled.read(lambda tx, of=svm: tx.page(Job, Page().within(svm_uuid=of.uuid)))  # type: ignore[misc]
        assert [item.uuid for item in found] == uuids


STEPS = Resumable("kind", '{"a": 1}', '{"role": "admin"}', cursor='{"after": "k"}', done=2, total=5, requested="pause")


async def test_a_resumable_job_comes_back_as_it_was_stored(filled: SqlStore) -> None:
    """How far it is, what it was asked for, and who runs it; what was given at its beginning never changes."""
    first = replace(job("job-1"), resumable=STEPS)
    await filled.write(lambda tx: tx.add_job(first))
    assert await filled.read(lambda tx: tx.job("job-1")) == first
    changed = replace(STEPS, cursor="", done=3, total=6, requested="", kind="other", parameters="other", origin="other")
    await filled.write(lambda tx: tx.update_job(replace(first, node="node-2", resumable=changed, account="other")))
    kept = replace(STEPS, cursor="", done=3, total=6, requested="")
    assert await filled.write(lambda tx: tx.job("job-1", lock=True)) == replace(first, node="node-2", resumable=kept)


async def test_jobs_that_some_process_should_run(filled: SqlStore) -> None:
    """Resumable ones that are queued or running, of all nodes."""

    def fill(tx: Transaction) -> None:
        tx.add_job(job("plain"))
        for state in JobState:
            tx.add_job(replace(job(state.value, node=f"node of {state}"), state=state, resumable=STEPS))

    await filled.write(fill)
    assert {found.uuid for found in await filled.read(lambda tx: tx.resumable_jobs())} == {"queued", "running"}


async def test_a_lease_is_removed(filled: SqlStore) -> None:
    """With its name; another one stays, and so does one that is not there."""
    kept, gone = (Lease(name, "node/1", 1, NOON) for name in ("kept", "gone"))
    for lease in (kept, gone):
        await filled.write(lambda tx: tx.put_lease(lease))  # noqa: B023 - run at once
    for _ in range(2):
        await filled.write(lambda tx: tx.remove_lease("gone"))
    assert await filled.read(lambda tx: (tx.lease("kept"), tx.lease("gone"))) == (kept, None)

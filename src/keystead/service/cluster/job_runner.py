"""The runner of resumable jobs: work in steps, which goes on after its process ended, on this node or on another one.

A job is run under a lease of its own. Each step is stored in one transaction that checks the lease, together with what
the step has changed. So a process that lost its lease stores nothing more, and no step counts twice. A step may be
worked on again, so that must be safe. Between two steps a job obeys who asked to pause or to cancel it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, Protocol

import structlog

from keystead.core import errors, jobs
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.model import JobState
from keystead.service.cluster.job_answers import JobAnswer, failure_of, record_failure
from keystead.service.cluster.job_origin import call_of
from keystead.service.cluster.leases import LeaseLost
from keystead.service.periodic import Periodic
from keystead.service.ports.cluster import JobRows, LeaseRows
from keystead.service.ports.store import StoreError, Transaction

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.model import Job
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.leases import HeldLease, Holding, Leases
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

log = structlog.get_logger(__name__)

LOOK_S: Final = 5.0
"""Seconds between two looks for jobs that no process runs."""

Also = Callable[[Transaction], None]
"""What a transaction stores together with a step. It may run again, as every transaction may."""


class Rows(JobRows, LeaseRows, Protocol):
    """The rows that this module reads and writes."""


class Stopped(Exception):  # noqa: N818 - named as what happened, like LeaseLost
    """The work must end here: somebody asked to pause or to cancel the job, or this process stops."""


def lease_of(uuid: str) -> str:
    """Return the name of the lease under which a resumable job runs."""
    return f"job {uuid}"


class JobSteps:
    """A resumable job, as its work sees it: what to do, where to go on, and how to store a step."""

    def __init__(self, runner: JobRunner, holding: Holding, job: Job) -> None:
        self._runner = runner
        self._holding = holding
        self.job = job
        """The job as this process stored it last."""
        assert job.resumable is not None  # noqa: S101 - no other job is run here
        self.kind = job.resumable.kind
        self.call: Call = call_of(job, job.resumable.origin)
        """The call that began the job."""
        self.total = job.resumable.total
        """How much there is to do, as it was counted last."""
        self.parameters: dict[str, Any] = json.loads(job.resumable.parameters)
        self.cursor: Any = json.loads(job.resumable.cursor) if job.resumable.cursor else None
        """The value that the last step stored, None before the first step."""

    async def store(self, cursor: object, done: int, total: int, also: Also) -> None:
        """Store a step: where to go on after it, how much is done, and by ``also`` what the step has changed.

        ``cursor`` is a JSON value. Raises LeaseLost, with nothing stored, if another process has taken the job. Raises
        Stopped after the step was stored if the work must end here. Raises StoreError.
        """

        def work(tx: Transaction) -> Job:
            job = self._locked(tx)
            also(tx)
            job = jobs.settled(jobs.stepped(job, json.dumps(cursor), done, total), self._runner.clock.now())
            return self._put(tx, job)

        self.job = await self._runner.store.write(work)
        if self.job.state is not JobState.RUNNING or self._runner.closed:
            raise Stopped(self.job.uuid)

    async def end(self, outcome: JobOutcome, also: Also | None = None) -> None:
        """Store the end of the job, with what its last step has changed. Raises LeaseLost, StoreError."""

        def work(tx: Transaction) -> Job:
            job = self._locked(tx)
            if also is not None:
                also(tx)
            return self._put(tx, jobs.ended(job, outcome, self._runner.clock.now()))

        self.job = await self._runner.store.write(work)

    async def leave(self) -> None:
        """Store that any process may go on, because this one stops. Raises LeaseLost, StoreError."""

        def work(tx: Transaction) -> Job:
            return self._put(tx, jobs.left(self._locked(tx)))

        self.job = await self._runner.store.write(work)

    def _locked(self, tx: Rows) -> Job:
        """Return the job as it is stored, locked. Raise LeaseLost if another process may run it."""
        self._holding.check(tx)
        return tx.job(self.job.uuid, lock=True) or self.job

    def _put(self, tx: Rows, job: Job) -> Job:
        tx.update_job(job)
        if job.state is not JobState.RUNNING:
            self._holding.end(tx)
        return job


StepWork = Callable[[JobSteps], Awaitable[Also | None]]
"""The work of a resumable job, from its cursor on. It stores its steps, and returns what the job's end stores.

None means that the work has stored the end itself. An OntapError that it raises is the job's failure.
"""


class JobRunner:
    """The resumable jobs that this node runs: those that it began, and those that no process runs.

    ``kinds`` are the works by the name of their kind. A job of an unknown kind is left to other releases.
    """

    def __init__(
        self,
        store: Store[Transaction],
        audit: AuditLog,
        clock: Clock,
        node: str,
        leases: Leases,
        kinds: Mapping[str, StepWork],
    ) -> None:
        self.store = store
        self.clock = clock
        self.leases = leases
        self.closed = False
        """True once the process stops."""
        self.steps: dict[str, JobSteps] = {}
        """The jobs that this process works on, by uuid."""
        self._node = node
        self._audit = audit
        self._kinds = kinds
        self._tasks: dict[str, asyncio.Task[JobAnswer | None]] = {}
        self._looking = Periodic(self.look, LOOK_S, "jobs are not taken over")

    def start(self) -> None:
        """Look for jobs that no process runs, from now on."""
        self._looking.start()

    def stop(self) -> None:
        """Cancel all work. Any process may go on with its jobs."""
        self.closed = True
        for task in self._tasks.values():
            task.cancel()

    async def close(self) -> None:
        """Stop, and wait until it is stored how far each job is."""
        self.stop()
        await self._looking.close()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def look(self) -> None:
        """Take the jobs that no process runs. Raises StoreError."""
        for job in await self.store.read(lambda tx: tx.resumable_jobs()):
            if job.resumable is not None and job.resumable.kind in self._kinds:
                self.run(job.uuid)

    def run(self, uuid: str, held: HeldLease | None = None) -> asyncio.Task[JobAnswer | None]:
        """Begin to work on a job, unless this process does already. ``held`` is its lease if it is taken.

        The task returns the job when it ended or was paused, and None if this process does not run it.
        """
        if uuid not in self._tasks:
            task = asyncio.get_running_loop().create_task(self._run(uuid, held))
            self._tasks[uuid] = task
            task.add_done_callback(lambda _: self._tasks.pop(uuid))
        return self._tasks[uuid]

    async def _run(self, uuid: str, held: HeldLease | None) -> JobAnswer | None:
        try:
            async with self.leases.holding(lease_of(uuid), held) as holding:
                steps = None if holding is None else await self._claim(holding, uuid)
                return None if steps is None else await self._work(steps)
        except (StoreError, LeaseLost) as failure:
            why = str(failure) if isinstance(failure, StoreError) else "its lease has passed to another process"
            log.warning("a job is left to whoever takes it next", job=uuid, why=why)
            return None

    async def _claim(self, holding: Holding, uuid: str) -> JobSteps | None:
        """Store that this node runs a job. Return None if there is nothing to run: it ended, or obeys a request."""

        def work(tx: Rows) -> Job | None:
            holding.check(tx)
            job = tx.job(uuid, lock=True)
            if job is not None and job.state in jobs.TO_RUN:
                job = jobs.settled(jobs.taken(job, self._node), self.clock.now())
                tx.update_job(job)
            if job is None or job.state is not JobState.RUNNING:
                holding.end(tx)
                return None
            return job

        job = await self.store.write(work)
        return None if job is None else JobSteps(self, holding, job)

    async def _work(self, steps: JobSteps) -> JobAnswer | None:
        self.steps[steps.job.uuid] = steps
        try:
            error = await self._worked(steps)
        finally:
            del self.steps[steps.job.uuid]
        return JobAnswer(steps.job, error)

    async def _worked(self, steps: JobSteps) -> OntapError | None:
        """Do the work from the cursor on, and store how it ended. Return the error with which the job failed."""
        try:
            if self.closed:
                raise Stopped
            also = await self._kinds[steps.kind](steps)
            if also is not None:
                await steps.end(JobOutcome(), also)
        except (StoreError, LeaseLost):
            raise
        except (Stopped, asyncio.CancelledError):
            return await self._stopped(steps)
        except Exception as raised:  # noqa: BLE001 - every failure of the work is the job's
            return await self._failed(steps, failure_of(steps.job, raised))
        return None

    async def _failed(self, steps: JobSteps, error: OntapError) -> OntapError | None:
        if error.kind is errors.JOB_INTERRUPTED:  # the work noticed the stop first
            return await self._stopped(steps)
        await record_failure(self._audit, steps.call, steps.job, error)
        await steps.end(JobOutcome(error))
        return error

    async def _stopped(self, steps: JobSteps) -> OntapError | None:
        """Leave a job that still runs to others. Return the error of one that was cancelled."""
        if steps.job.state is JobState.RUNNING:
            await steps.leave()
        return OntapError(errors.JOB_CANCELLED) if steps.job.state is JobState.FAILURE else None

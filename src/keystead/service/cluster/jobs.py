"""Jobs: work that goes on after its call was answered. A row keeps each job from its beginning to its end.

Most work runs as a task of this process. A stop or a crash ends it. The job then says so (262145): at once, when the
node starts again, or when the other nodes have not heard of it for a while. So no job runs for ever.

The work of a resumable job goes on: see job_runner.py. The use case that a job runs records its changes in the audit
log. A failure is recorded here.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import uuid4

import structlog

from keystead.core import errors, jobs
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.model import Job, JobState
from keystead.core.resumable import Resumable
from keystead.service.cluster.job_answers import JobAnswer, failure_of, record_failure
from keystead.service.cluster.job_origin import origin_of
from keystead.service.cluster.job_runner import lease_of
from keystead.service.cluster.svms import about_svm
from keystead.service.ports.cluster import AuditRows, JobRows, LeaseRows, NodeRows
from keystead.service.ports.configuration import ListRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.model import Node, Svm
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.job_runner import JobRunner
    from keystead.service.cluster.leases import HeldLease
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


log = structlog.get_logger(__name__)

PER_ACCOUNT = 16
"""Most jobs of one account that run at a time on one node."""

RETRY_AFTER_S = 5

Progress = Callable[[OntapError], Awaitable[None]]
"""A function that makes the text of an error row (262289, 262290) the message of a running job."""

Work = Callable[[Progress], Awaitable[JobOutcome | None]]
"""The work of a job. None means success. An OntapError that the work raises is the job's failure."""


class Rows(ListRows, NodeRows, JobRows, LeaseRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class JobView(NamedTuple):
    """A job, the node that runs it (None if that node is gone), and what the call may see of its error's arguments."""

    job: Job
    node: Node | None
    arguments: tuple[tuple[str, str], ...] = ()


class Jobs:
    """The jobs of the cluster. The jobs of this node are tasks of this process."""

    def __init__(self, store: Store[Rows], audit: AuditLog, clock: Clock, node: str, runner: JobRunner) -> None:
        self._store = store
        self._runner = runner
        self._audit = audit
        self._clock = clock
        self._node = node
        self._running: dict[
            asyncio.Task[JobAnswer], asyncio.Task[JobOutcome | None]
        ] = {}  # by task that stores the end
        self._accounts: Counter[str] = Counter()
        self._closed = False

    @property
    def running(self) -> int:
        """The number of jobs that run on this node."""
        return len(self._running) + len(self._runner.steps)

    @property
    def progress(self) -> tuple[tuple[str, Resumable], ...]:
        """How far the resumable jobs are that run on this node: the uuid of each, and its work."""
        jobs_here = (each.job for each in self._runner.steps.values())
        return tuple((job.uuid, job.resumable) for job in jobs_here if job.resumable is not None)

    async def start(self) -> None:
        """Mark the jobs as failed that an earlier process of this node left unfinished. Go on with resumable ones."""

        def end_all(tx: Rows) -> None:
            end_lost_jobs(tx, self._node, self._clock.now())
            for job in tx.unfinished_jobs(self._node):
                self._runner.leases.inherit(tx, lease_of(job.uuid))

        await self._store.write(end_all)
        await self._runner.look()
        self._runner.start()

    async def run(self, call: Call, work: Work, *, svm: Svm | None, return_timeout: int = 0) -> JobAnswer:
        """Store a job, begin its work, and wait for its end up to ``return_timeout`` seconds.

        ``svm`` owns the job: other SVMs never see it. Raises 262160 when the account has too many jobs, SHUTTING_DOWN
        once the jobs were stopped.
        """
        job = self._new(call, svm)
        async with self._place(call.caller.account):
            await self._store.write(lambda tx: self._add(tx, job))
            task = self._begin(job, call, work)
        return await _waited(job, task, return_timeout)

    async def run_in_steps(self, call: Call, request: StepRequest, *, return_timeout: int = 0) -> JobAnswer:
        """Store a resumable job, begin its work, and wait until it ends or pauses, up to ``return_timeout`` seconds.

        A request that ``joins`` waits for the same job if that runs already. Raises as :meth:`run`.
        """
        steps = Resumable(request.kind, request.text, origin_of(call), total=request.total)
        new = replace(self._new(call, request.svm), resumable=steps)

        def begin(tx: Rows) -> tuple[Job, HeldLease | None]:
            same = request.running(tx)
            if same is not None:
                return same, None
            self._add(tx, new)
            return new, self._runner.leases.begin(tx, lease_of(new.uuid))

        async with self._place(call.caller.account):
            job, held = await self._store.write(begin)
            task = self._runner.run(job.uuid, held)
        if job is new:
            task.add_done_callback(lambda _: self._leave(job.account))
        else:
            self._leave(call.caller.account)
        return await _waited(job, task, return_timeout)

    async def run_at_once_or_in_steps(
        self, call: Call, request: StepRequest, at_once: Callable[[], Awaitable[object]], *, return_timeout: int = 0
    ) -> JobAnswer | None:
        """Do the work of a job at once and return None. If its time runs out, begin the job.

        ``at_once`` raises 262145 (503) of kind KEYS_UNPROVEN when its time is over. If the same job runs already, wait
        for its end up to ``return_timeout`` seconds instead. Raises what ``at_once`` and :meth:`run_in_steps` raise.
        """
        if await self._store.read(request.running) is not None:
            return await self.run_in_steps(call, request, return_timeout=return_timeout)
        try:
            await at_once()
        except OntapError as error:
            if error.kind is not errors.KEYS_UNPROVEN:
                raise
            return await self.run_in_steps(call, request)
        return None

    async def ask(self, call: Call, uuid: str, action: jobs.Action) -> None:
        """Pause, resume or cancel a job. A running job obeys at the end of its step. The call is recorded.

        Raises 4 (404), or the reason why the job cannot be asked for this.
        """

        def work(tx: Rows) -> None:
            job = _seen(tx, call, uuid, lock=True)
            with about_svm(job.svm):
                tx.update_job(jobs.asked(job, action, self._clock.now()))
            self._audit.succeed(tx, call, f"asked job {uuid} to {action}", svm=job.svm)

        await self._store.write(work)
        if action is jobs.Action.RESUME:
            self._runner.run(uuid)

    async def get(self, call: Call, uuid: str) -> Job:
        """Return one job, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: _seen(tx, call, uuid))

    async def view(self, call: Call, uuid: str) -> JobView:
        """Return one job and its node, or raise 4 (404)."""
        return await self._store.read_few(lambda tx: _views(tx, call, [_seen(tx, call, uuid)])[0])

    async def page(self, call: Call, page: Page) -> tuple[JobView, ...]:
        """Return a slice of the jobs, by uuid, with their nodes."""
        return await self._store.read(lambda tx: _views(tx, call, tx.page(Job, call.within(page))))

    def stop(self) -> None:
        """Cancel all work. Each job says that it was interrupted."""
        self._closed = True
        self._runner.stop()
        for work in self._running.values():
            work.cancel()

    async def close(self) -> None:
        """Cancel all work, and wait until the end of every job is stored."""
        self.stop()
        await self._runner.close()
        if self._running:
            await asyncio.wait(self._running)

    def _new(self, call: Call, svm: Svm | None) -> Job:
        return Job(
            uuid=str(uuid4()),
            node=self._node,
            svm=svm,
            account=call.caller.account,
            description=f"{call.method} {call.path}",
            state=JobState.RUNNING,
            message="",
            code=0,
            target="",
            start_time=self._clock.now(),
        )

    def _add(self, tx: JobRows, job: Job) -> None:
        tx.remove_jobs(self._node, before=job.start_time - jobs.KEPT_FOR, beyond=jobs.KEPT_PER_NODE)
        tx.add_job(job)

    @asynccontextmanager
    async def _place(self, account: str) -> AsyncIterator[None]:
        """Take one of an account's places, and give it back if the job cannot begin. Its end gives it back, too."""
        if self._closed:
            raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S)
        if self._accounts[account] >= PER_ACCOUNT:
            raise OntapError(errors.TOO_MANY_REQUESTS, retry_after=RETRY_AFTER_S)
        self._accounts[account] += 1
        try:
            yield
        except BaseException:
            self._leave(account)
            raise

    def _leave(self, account: str) -> None:
        self._accounts[account] -= 1
        if not self._accounts[account]:
            del self._accounts[account]

    def _begin(self, job: Job, call: Call, work: Work) -> asyncio.Task[JobAnswer]:
        """Start two tasks, because a stop cancels the work, but never the storing of its end."""
        loop = asyncio.get_running_loop()
        working = loop.create_task(self._work(job, work))
        if self._closed:
            working.cancel()
        task = loop.create_task(self._finish(job, call, working))
        self._running[task] = working
        task.add_done_callback(self._running.__delitem__)
        task.add_done_callback(lambda _: self._leave(job.account))
        return task

    async def _work(self, job: Job, work: Work) -> JobOutcome | None:
        async def progress(said: OntapError) -> None:
            await self._store.write(lambda tx: tx.update_job(replace(job, message=said.message)))

        return await work(progress)

    async def _finish(self, job: Job, call: Call, working: asyncio.Task[JobOutcome | None]) -> JobAnswer:
        """Wait for the work, and store how it ended. Never raises."""
        await asyncio.wait([working])
        outcome = _outcome(job, working)
        if outcome.error is not None:  # first, so that a failed job has its record
            await record_failure(self._audit, call, job, outcome.error)
        done = jobs.ended(job, outcome, self._clock.now())
        try:
            await self._store.write(lambda tx: tx.update_job(done))
        except StoreError as failure:
            why = str(failure)
            log.error("the end of a job is not stored", job=job.uuid, why=why)  # noqa: TRY400 - the text says it
        return JobAnswer(done, outcome.error)


def end_lost_jobs(tx: JobRows, node: str, now: datetime) -> None:
    """End the jobs of a node whose process is gone. Resumable ones stay, because any process goes on with them."""
    for job in tx.unfinished_jobs(node):
        if job.resumable is None:
            tx.update_job(jobs.ended(job, jobs.interrupted(), now))


async def _waited(
    job: Job, task: asyncio.Task[JobAnswer] | asyncio.Task[JobAnswer | None], timeout_s: int
) -> JobAnswer:
    """Wait for a job's task. Return the job as it was at first if the time is over, or if another process has it."""
    done, _ = await asyncio.wait([task], timeout=timeout_s)
    return (done and not task.cancelled() and task.result()) or JobAnswer(job, None)


def _seen(tx: JobRows, call: Call, uuid: str, *, lock: bool = False) -> Job:
    job = tx.job(uuid, within=call.within_svm, lock=lock)
    if job is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
    return job


def tells(job: Job, call: Call) -> bool:
    """Return True if the call may see what a job's errors tell besides code and text: arguments and results.

    They were made for the account that began the job. So other accounts of its SVM do not see them: a call of theirs
    would tell them less than one of the cluster's accounts.
    """
    return call.caller.svm is None or call.caller.account == job.account


def _views(tx: NodeRows, call: Call, found: Sequence[Job]) -> tuple[JobView, ...]:
    nodes = {node.uuid: node for node in tx.nodes()}
    return tuple(JobView(job, nodes.get(job.node), job.arguments if tells(job, call) else ()) for job in found)


def _outcome(job: Job, working: asyncio.Task[JobOutcome | None]) -> JobOutcome:
    """Return how the work ended. A stop of the service interrupts the work, wherever the stop is noticed first."""
    if working.cancelled():
        return jobs.interrupted()
    error = working.exception()
    return JobOutcome(failure_of(job, error)) if error is not None else working.result() or JobOutcome()


class StepRequest(NamedTuple):
    """Arguments of :meth:`Jobs.run_in_steps`: the kind of the work, its parameters without secrets, and the owner.

    ``total`` is how much there is to do, as the work counts. ``joins``: a job that does the same is not begun twice.
    """

    kind: str
    parameters: Mapping[str, Any]
    svm: Svm | None
    total: int
    joins: bool = False

    @property
    def text(self) -> str:
        """The parameters as they are stored."""
        return json.dumps(self.parameters)

    def running(self, tx: JobRows) -> Job | None:
        """Return the job that does the same already, if the request joins it."""
        found = tx.resumable_jobs() if self.joins else ()
        same = (self.kind, self.text)
        return next(
            (job for job in found if job.resumable and (job.resumable.kind, job.resumable.parameters) == same), None
        )


class JobRequest(NamedTuple):
    """Arguments of :meth:`keystead.service.cluster.jobs.Jobs.run`: the work, and the SVM that owns the job."""

    work: Work
    svm: Svm | None

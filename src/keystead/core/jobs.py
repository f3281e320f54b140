"""The rules of jobs: what they come to, and what may be asked of them. Source: ONTAP REST API reference.

A job runs, then succeeds or fails, once. A resumable job stores after each step of its work how far it is. Any process
can go on from there, and the job can be paused and cancelled between two steps. Pure: the service runs the work and
stores the job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import JobState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from keystead.core.errors import ErrorKind
    from keystead.core.model import Job

KEPT_FOR = timedelta(days=7)
KEPT_PER_NODE = 1000
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)
TO_RUN = (JobState.QUEUED, JobState.RUNNING)
"""The states of resumable jobs that a process may take, once no other process holds their lease."""


class Action(StrEnum):
    """An action that a PATCH of a job asks for, in ONTAP's words."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How the work of a job ended. Without ``error`` it succeeded, and ``message`` is the job's message.

    ``results`` is a JSON object as text, or empty.
    """

    error: OntapError | None = None
    results: str = ""
    message: str = "success"


def ended(job: Job, outcome: JobOutcome, now: datetime) -> Job:
    """Return the job with its outcome. Nothing goes on from there, so the cursor is dropped."""
    error, steps = outcome.error, job.resumable
    done = replace(
        job,
        end_time=now,
        results=outcome.results,
        resumable=None if steps is None else replace(steps, cursor="", requested=""),
    )
    if error is None:
        return replace(done, state=JobState.SUCCESS, message=outcome.message)
    return replace(
        done,
        state=JobState.FAILURE,
        message=error.message,
        code=error.kind.code,
        target=error.target or "",
        arguments=error.arguments,
    )


def interrupted() -> JobOutcome:
    """Return the outcome of a job that was running when its node stopped."""
    return JobOutcome(OntapError(errors.JOB_INTERRUPTED))


# --- resumable jobs ---

_STATE_FORBIDS: Final[Mapping[tuple[Action, JobState], ErrorKind]] = {
    (Action.PAUSE, JobState.PAUSED): errors.JOB_NOT_RUNNING,
    (Action.RESUME, JobState.QUEUED): errors.JOB_IS_RUNNING,
    (Action.RESUME, JobState.RUNNING): errors.JOB_IS_RUNNING,
}
_NOT_RESUMABLE: Final[Mapping[Action, ErrorKind]] = {
    Action.PAUSE: errors.JOB_WITHOUT_PAUSE,
    Action.RESUME: errors.JOB_IS_RUNNING,
    Action.CANCEL: errors.JOB_WITHOUT_CANCEL,
}


def asked(job: Job, action: Action, now: datetime) -> Job:
    """Return the job after a PATCH asked for an action, or raise the reason why it cannot be done.

    A running job obeys at the end of its step: see :func:`settled`. Any other job obeys at once. To cancel wins over to
    pause, and is not taken back.
    """
    steps = job.resumable
    if job.state not in UNFINISHED:
        raise OntapError(errors.JOB_ENDED, target="uuid")
    if steps is None:
        raise OntapError(_NOT_RESUMABLE[action], target="uuid")
    forbidden = _STATE_FORBIDS.get((action, job.state))
    if action is Action.PAUSE and steps.requested == Action.CANCEL:
        forbidden = errors.JOB_NOT_RUNNING
    if forbidden is not None:
        raise OntapError(forbidden, target="uuid")
    if action is Action.RESUME:
        return replace(job, state=JobState.QUEUED)
    requested = replace(job, resumable=replace(steps, requested=action.value))
    return requested if job.state is JobState.RUNNING else settled(requested, now)


def settled(job: Job, now: datetime) -> Job:
    """Return the job after it obeyed a request, or the same job if there is none.

    Called between two steps, and before the first one.
    """
    steps = job.resumable
    if steps is None or not steps.requested:
        return job
    if steps.requested == Action.CANCEL:
        return ended(job, JobOutcome(OntapError(errors.JOB_CANCELLED)), now)
    return replace(job, state=JobState.PAUSED, resumable=replace(steps, requested=""))


def taken(job: Job, node: str) -> Job:
    """Return a resumable job that a node goes on with."""
    return replace(job, state=JobState.RUNNING, node=node)


def left(job: Job) -> Job:
    """Return a resumable job whose node stops. Any process may take it."""
    return replace(job, state=JobState.QUEUED)


def stepped(job: Job, cursor: str, done: int, total: int) -> Job:
    """Return a resumable job after a step of its work. ``total`` grows with ``done`` if there is more than expected."""
    said = OntapError(errors.RECORDS_DONE, done=done, all=max(done, total))
    assert job.resumable is not None  # noqa: S101 - no other job has steps
    steps = replace(job.resumable, cursor=cursor, done=done, total=max(done, total))
    return replace(job, message=said.message, resumable=steps)

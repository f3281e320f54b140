"""The rules of jobs: a job runs, then succeeds or fails, once. Source: ONTAP REST API reference, ``/cluster/jobs``.

Pure: the service runs the work and stores the job.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import JobState

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Job

KEPT_FOR = timedelta(days=7)
KEPT_PER_NODE = 1000
UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


@dataclass(frozen=True, slots=True)
class JobOutcome:
    """How the work of a job ended. Without ``error`` it succeeded, and ``message`` is the job's message.

    ``results`` is a JSON object as text, or empty.
    """

    error: OntapError | None = None
    results: str = ""
    message: str = "success"


def ended(job: Job, outcome: JobOutcome, now: datetime) -> Job:
    """Return the job with its outcome."""
    error = outcome.error
    if error is None:
        return replace(job, state=JobState.SUCCESS, message=outcome.message, end_time=now, results=outcome.results)
    return replace(
        job,
        state=JobState.FAILURE,
        message=error.message,
        code=error.kind.code,
        target=error.target or "",
        end_time=now,
        results=outcome.results,
        arguments=error.arguments,
    )


def interrupted() -> JobOutcome:
    """Return the outcome of a job that was running when its node stopped."""
    return JobOutcome(OntapError(errors.JOB_INTERRUPTED))

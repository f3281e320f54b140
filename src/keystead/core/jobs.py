"""What becomes of a job: running, then success or failure, once. Source: ONTAP REST API reference, ``/cluster/jobs``.

Pure: who runs the work, and where a job is kept, is the service's.
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
    """How the work of a job ended: without ``error`` it succeeded, and ``message`` is what it says then.

    ``results`` is a JSON object as text, or empty. ``detail`` is what the job says after the error's text: a job keeps
    no arguments.
    """

    error: OntapError | None = None
    results: str = ""
    message: str = "success"
    detail: str = ""


def ended(job: Job, outcome: JobOutcome, now: datetime) -> Job:
    """The job with its outcome."""
    error = outcome.error
    if error is None:
        return replace(job, state=JobState.SUCCESS, message=outcome.message, end_time=now, results=outcome.results)
    return replace(
        job,
        state=JobState.FAILURE,
        message=f"{error.message} {outcome.detail}".rstrip(),
        code=error.kind.code,
        target=error.target or "",
        end_time=now,
        results=outcome.results,
    )


def interrupted() -> JobOutcome:
    """The outcome of a job whose node stopped while it ran."""
    return JobOutcome(OntapError(errors.JOB_INTERRUPTED))

"""keystead.core.jobs: how a job ends."""

from __future__ import annotations

from datetime import UTC, datetime

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome, ended, interrupted
from keystead.core.model import Job, JobState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
RUNNING = Job("j", "n", None, "admin", "POST /api/x", JobState.RUNNING, "1 of 2 records complete.", 0, "", NOON)


def test_success() -> None:
    """A job that succeeded has that state and message, and keeps its results."""
    job = ended(RUNNING, JobOutcome(results='{"a":1}'), NOON)
    assert (job.state, job.message, job.code, job.end_time) == (JobState.SUCCESS, "success", 0, NOON)
    assert job.results == '{"a":1}'


def test_failure() -> None:
    """A failed job has the error's text, code and target, and keeps the results of the part that was done."""
    error = OntapError(errors.DUPLICATE_ENTRY, target="name")
    job = ended(RUNNING, JobOutcome(error, "{}"), NOON)
    assert (job.state, job.message, job.code, job.target) == (JobState.FAILURE, "duplicate entry", 1, "name")
    assert (job.end_time, job.results) == (NOON, "{}")


def test_a_failure_with_arguments() -> None:
    """The arguments of a job's error are the job's."""
    told = (("server", "ks1:5696"), ("reason", "connection_refused"))
    job = ended(RUNNING, JobOutcome(OntapError(errors.TOO_FEW_COPIES, arguments=told)), NOON)
    assert (job.message, job.arguments) == ("One or more key servers are unavailable.", told)


def test_an_interrupted_job_says_so() -> None:
    """A job whose node stopped has failed, with a text and code of its own."""
    job = ended(RUNNING, interrupted(), NOON)
    assert (job.state, job.code, job.target) == (JobState.FAILURE, errors.JOB_INTERRUPTED.code, "")
    assert job.message == errors.JOB_INTERRUPTED.text

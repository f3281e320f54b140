"""keystead.core.jobs: how a job ends, and what may be asked of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keystead.core import errors
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.jobs import (
    Action,
    JobOutcome,
    asked,
    ended,
    interrupted,
    left,
    settled,
    stepped,
    taken,
)
from keystead.core.model import Job, JobState
from keystead.core.resumable import Resumable

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


# --- resumable jobs ---


def resumable(state: JobState, requested: str = "") -> Job:
    """Return a resumable job after its first step."""
    steps = Resumable("count", "{}", "{}", cursor="1", done=1, total=3, requested=requested)
    return replace(RUNNING, state=state, resumable=steps)


ASKED = {
    ("running", "", "pause"): ("running", "pause"),
    ("running", "", "cancel"): ("running", "cancel"),
    ("running", "", "resume"): errors.JOB_IS_RUNNING,
    ("running", "pause", "pause"): ("running", "pause"),
    ("running", "pause", "resume"): errors.JOB_IS_RUNNING,
    ("running", "pause", "cancel"): ("running", "cancel"),
    ("running", "cancel", "pause"): errors.JOB_NOT_RUNNING,
    ("running", "cancel", "cancel"): ("running", "cancel"),
    ("queued", "", "pause"): ("paused", ""),
    ("queued", "", "resume"): errors.JOB_IS_RUNNING,
    ("queued", "", "cancel"): ("failure", ""),
    ("paused", "", "pause"): errors.JOB_NOT_RUNNING,
    ("paused", "", "resume"): ("queued", ""),
    ("paused", "", "cancel"): ("failure", ""),
    ("success", "", "pause"): errors.JOB_ENDED,
    ("success", "", "resume"): errors.JOB_ENDED,
    ("failure", "", "cancel"): errors.JOB_ENDED,
}
"""By state, what was asked before, and the action: the state and what is asked then, or the refusal."""


@pytest.mark.parametrize("case", ASKED)
def test_what_may_be_asked_of_a_job(case: tuple[str, str, str]) -> None:
    """A running job keeps running until its step ends. Any other one obeys at once."""
    state, before, action = case
    job = resumable(JobState(state), before)
    expected = ASKED[case]
    if isinstance(expected, ErrorKind):
        with pytest.raises(OntapError) as refused:
            asked(job, Action(action), NOON)
        assert (refused.value.kind, refused.value.target) == (expected, "uuid")
        return
    found = asked(job, Action(action), NOON)
    assert found.resumable is not None
    assert (found.state, found.resumable.requested) == expected
    assert found.resumable.cursor == ("" if found.end_time else "1")


@pytest.mark.parametrize(
    ("action", "kind"),
    [
        (Action.PAUSE, errors.JOB_WITHOUT_PAUSE),
        (Action.RESUME, errors.JOB_IS_RUNNING),
        (Action.CANCEL, errors.JOB_WITHOUT_CANCEL),
    ],
)
def test_what_may_not_be_asked_of_other_jobs(action: Action, kind: ErrorKind) -> None:
    """They have no steps: only their end can be waited for."""
    with pytest.raises(OntapError) as refused:
        asked(RUNNING, action, NOON)
    assert refused.value.kind is kind


def test_a_job_obeys_between_two_steps() -> None:
    """It pauses and keeps its place, or ends as cancelled; without a request it stays as it is."""
    for job in (RUNNING, resumable(JobState.RUNNING)):
        assert settled(job, NOON) is job
    paused = settled(resumable(JobState.RUNNING, "pause"), NOON)
    assert paused == resumable(JobState.PAUSED)
    cancelled = settled(resumable(JobState.RUNNING, "cancel"), NOON)
    assert (cancelled.state, cancelled.code, cancelled.message) == (
        JobState.FAILURE,
        errors.JOB_CANCELLED.code,
        errors.JOB_CANCELLED.text,
    )
    assert cancelled.end_time == NOON


def test_a_step() -> None:
    """The job says how far it is, and from where it goes on; what was asked for meanwhile stays."""
    job = stepped(resumable(JobState.RUNNING, "pause"), "2", 2, 3)
    assert (job.message, job.state) == ("2 of 3 records complete.", JobState.RUNNING)
    assert job.resumable == Resumable("count", "{}", "{}", cursor="2", done=2, total=3, requested="pause")
    more = stepped(job, "4", 4, 3)
    assert more.message == "4 of 4 records complete."
    assert more.resumable is not None
    assert more.resumable.total == 4


def test_a_job_passes_to_another_node() -> None:
    """One that stops leaves it queued; the next one runs it from the same place."""
    waiting = left(resumable(JobState.RUNNING))
    assert waiting == resumable(JobState.QUEUED)
    assert taken(waiting, "other") == replace(resumable(JobState.RUNNING), node="other")

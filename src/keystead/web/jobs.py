"""What the pages of jobs show: what a job does, its state and progress in words, and what may be asked of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from keystead.core.errors import ADVICE, OntapError
from keystead.core.jobs import UNFINISHED, Action, asked
from keystead.core.model import JobState
from keystead.core.query.where import Order
from keystead.service.ports.page import Page
from keystead.web.lists import AFTER, choice_of, equals, text_of, time_in
from keystead.web.refusing import plain, refusing_servers
from keystead.web.survival import percent
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from keystead.core.model import Job
    from keystead.service.cluster.jobs import JobView
    from keystead.web.refusing import RefusingServer

JOBS: Final = "/jobs"
"""The path of the list."""

JOB_STATES: Final = {
    JobState.QUEUED: (Tone.UNKNOWN, "waits"),
    JobState.RUNNING: (Tone.UNKNOWN, "runs"),
    JobState.PAUSED: (Tone.UNKNOWN, "paused"),
    JobState.SUCCESS: (Tone.OK, "done"),
    JobState.FAILURE: (Tone.BAD, "failed"),
}
"""The tone and the word of each state."""

STATES: Final = {state.value: word for state, (_, word) in JOB_STATES.items()}
"""The states that the list can be filtered by, in words."""

_WHAT: Final = (
    (r"POST /api/security/key-managers", "Enable a key manager"),
    (r"PATCH /api/security/key-managers/[^/]+", "Change a key manager"),
    (r"DELETE /api/security/key-managers/[^/]+", "Disable a key manager"),
    (r"DELETE /api/security/key-managers/[^/]+/key-servers/[^/]+", "Remove a key server"),
    (r"POST /key-managers/[^/]+/key-servers/[^/]+/remove", "Remove a key server"),
    (r"(POST|PATCH|DELETE) /api/security/key-managers/[^/]+/(volume|auth)-keys.*", "Keys"),
    (r"\S+ /api/.*/replicate", "Write missing copies"),
    (r"\S+ /api/.*/prove", "Prove every copy"),
    (r"\S+ /api/.*/reboot-drill", "Reboot drill"),
    (r"\S+ /api/.*/restore", "Restore keys"),
)
"""What a job does, by its call. The first that matches counts."""

REQUESTED: Final = {
    Action.PAUSE: "It will pause at the end of its step.",
    Action.CANCEL: "It will be cancelled at the end of its step.",
}
"""What a job will do, by the action that was asked of it."""

_VERBS: Final = {"POST": "Create", "PATCH": "Change", "DELETE": "Delete"}


@dataclass(frozen=True, slots=True)
class Offer:
    """An action that may be asked of a job, and its meaning in words."""

    action: Action
    button: str
    meaning: str


OFFERS: Final = (
    Offer(Action.PAUSE, "Pause", "It stops after its present step, and keeps how far it is."),
    Offer(Action.RESUME, "Resume", "It goes on from where it was paused."),
    Offer(Action.CANCEL, "Cancel", "It ends after its present step. What it has done stays done."),
)


@dataclass(frozen=True, slots=True)
class JobLine:
    """What a job does, and how far it is.

    ``done`` is in percent, None if it is not known. ``arguments`` are those of its error; ``servers`` are in them.
    """

    what: str
    tone: Tone
    state: str
    message: str
    code: int
    done: float | None
    is_running: bool
    servers: list[RefusingServer]
    arguments: tuple[tuple[str, str], ...]
    begin: datetime


@dataclass(frozen=True, slots=True)
class JobRow:
    """A job in the list and on its page. ``requested`` says what it will do at the end of its step, or is empty."""

    path: str
    of: JobView
    line: JobLine
    requested: str
    advice: str


def job_path(uuid: str) -> str:
    """Return the path of a job's page."""
    return f"{JOBS}/{quote(uuid, safe='')}"


def what_of(description: str) -> str:
    """Return what a job does, by its call. A call that is not known is shown as it is."""
    method, _, path = description.partition(" ")
    called = f"{method} {path.rstrip('/')}"
    for pattern, words in _WHAT:
        if re.fullmatch(pattern, called):
            return f"{_VERBS.get(method, method)} keys" if words == "Keys" else words
    return called


def job_line(view: JobView) -> JobLine:
    """Return a job in words."""
    job = view.job
    tone, state = JOB_STATES[job.state]
    is_running = job.state in UNFINISHED
    steps = job.resumable if is_running else None
    return JobLine(
        what=what_of(job.description),
        tone=tone,
        state=state,
        message="" if job.message == "success" else job.message,
        code=job.code,
        done=percent(steps.done, steps.total) if steps else None,
        is_running=is_running,
        servers=refusing_servers(view),
        arguments=view.arguments,
        begin=job.start_time,
    )


def row(view: JobView) -> JobRow:
    """Return a job in words."""
    job = view.job
    steps = job.resumable if job.state in UNFINISHED else None
    requested = REQUESTED[Action(steps.requested)] if steps and steps.requested else ""
    line = job_line(view)
    return JobRow(job_path(job.uuid), view, line, requested, "" if line.servers else _advice(job))


def _advice(job: Job) -> str:
    """Return what to do about the failure of a job, empty if nothing is known. Several errors may share a code."""
    if job.state is not JobState.FAILURE:
        return ""
    found = {kind: text for kind, text in ADVICE.items() if kind.code == job.code}
    said = [text for kind, text in found.items() if kind.text == job.message or len(found) == 1]
    return plain(said[0]) if said else ""


def offers(job: Job, now: datetime) -> list[Offer]:
    """Return what may be asked of a job now: by the rule that decides over a PATCH."""
    return [each for each in OFFERS if _allows(job, each.action, now)]


def _allows(job: Job, action: Action, now: datetime) -> bool:
    steps = job.resumable
    if steps is not None and steps.requested == action:
        return False
    try:
        asked(job, action, now)
    except OntapError:
        return False
    return True


# --- filters and places ---


def job_page(given: Mapping[str, str], limit: int) -> Page:
    """Return the slice of the jobs that is asked for, the newest first. Raises 262185 (400) for a bad parameter."""
    where = equals("state", choice_of(given, "state", STATES))
    order = (Order("start_time", descending=True), Order("uuid", descending=True))
    return Page(where, order, _place(text_of(given, AFTER)), limit=limit)


def place_of(job: Job) -> str:
    """Return the place of a job in the list."""
    return f"{job.start_time.isoformat()} {job.uuid}"


def _place(text: str) -> tuple[datetime, str] | None:
    if not text:
        return None
    time, _, uuid = text.partition(" ")
    return time_in(time, AFTER), uuid

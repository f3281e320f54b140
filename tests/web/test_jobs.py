"""The pages of jobs: what they say in words, to whom, and what their forms do to a job that runs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.jobs import Action
from keystead.core.model import Job, JobState, Role, Svm
from keystead.core.resumable import Resumable
from keystead.service.cluster.jobs import JobView, StepRequest
from keystead.service.context import Call, Caller
from keystead.web.jobs import JOB_STATES, job_line, offers, row, what_of
from keystead.web.security import COOKIE, form_token
from keystead.web.tones import Tone
from tests.web.conftest import SVM, forms

if TYPE_CHECKING:
    from keystead.service.cluster.job_runner import Also, JobSteps
    from tests.web.conftest import Browser, Site

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MARKUP = "<b>bold</b>&"
CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/security/key-managers/1/prove")
JOB = Job("u", "n", None, "admin", "POST /api/x", JobState.RUNNING, "", 0, "", NOON)
STEPS = Resumable("count", "{}", "{}", done=1, total=4)


async def stored(site: Site, uuid: str, **more: object) -> None:
    """Store a job that has ended, or what else is given."""
    (node,) = await site.open_.store.read(lambda tx: tx.nodes())
    given = {"state": JobState.SUCCESS, "message": "success", "start_time": NOON, "end_time": NOON, **more}
    job = replace(JOB, uuid=uuid, node=node.uuid, **given)  # type: ignore[arg-type]
    await site.open_.store.write(lambda tx: (tx.add_job(job), tx.update_job(job)))


class Counting:
    """A job in three steps, which waits in its second one."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self.gate, self.reached = asyncio.Event(), asyncio.Event()
        self.uuid = ""

    @property
    def path(self) -> str:
        """The path of its page."""
        return f"/jobs/{self.uuid}"

    async def count(self, steps: JobSteps) -> Also:
        """Do the work."""
        for number in range(steps.cursor or 0, steps.total):
            if number == 1:
                self.reached.set()
                await self.gate.wait()
            await steps.store(number + 1, number + 1, steps.total, lambda _: None)
        return lambda _: None

    async def state(self) -> str:
        """Return its state, once it is in none in which it works."""
        async with asyncio.timeout(20):
            while True:
                answer = await self._site.admin.get(f"/api/cluster/jobs/{self.uuid}?fields=state")
                if answer.body["state"] not in {"running", "queued"}:
                    return str(answer.body["state"])
                await asyncio.sleep(0.01)


@pytest.fixture
async def counting(site: Site, monkeypatch: pytest.MonkeyPatch) -> Counting:
    """Return a job of the cluster that is in its second step."""
    made = Counting(site)
    monkeypatch.setitem(site.open_.services.jobs._runner._kinds, "count", made.count)
    ran = await site.open_.services.jobs.run_in_steps(CALL, StepRequest("count", {}, None, 3))
    made.uuid = ran.job.uuid
    await made.reached.wait()
    return made


async def test_without_a_job(browser: Browser) -> None:
    """The page says so."""
    assert "There are no jobs." in (await browser.log_in(url="/jobs")).content.decode()
    assert "No job is like this." in (await browser.open("/jobs?state=failure")).content.decode()


async def test_pause_and_resume(browser: Browser, counting: Counting) -> None:
    """The page says how far the job is, and what it will do. Each button is there while it can be used."""
    listed = (await browser.log_in(url="/jobs")).content.decode()
    assert "Prove every copy" in listed
    assert f'href="{counting.path}"' in listed
    page = await browser.open(counting.path)
    text = page.content.decode()
    assert "1 of 3 are done." in text
    assert set(forms(page)) >= {f"{counting.path}/pause", f"{counting.path}/cancel"}
    assert f"{counting.path}/resume" not in forms(page)
    assert f"/api/cluster/jobs/{counting.uuid}?action=pause" in text
    page = await browser.submit(f"{counting.path}/pause")
    assert "It will pause at the end of its step." in page.content.decode()
    assert f"{counting.path}/pause" not in forms(page)
    counting.gate.set()
    assert await counting.state() == "paused"
    page = await browser.open(counting.path)
    assert f"{counting.path}/resume" in forms(page)
    await browser.submit(f"{counting.path}/resume")
    assert await counting.state() == "success"
    page = await browser.open(counting.path)
    assert "done" in page.content.decode()
    assert not [path for path in forms(page) if path.startswith(counting.path)]


async def test_cancel(browser: Browser, counting: Counting) -> None:
    """The job has failed then, and the page says why, with the code."""
    await browser.log_in(url=counting.path)
    assert "It will be cancelled" in (await browser.submit(f"{counting.path}/cancel")).content.decode()
    counting.gate.set()
    assert await counting.state() == "failure"
    text = (await browser.open(counting.path)).content.decode()
    assert errors.JOB_CANCELLED.text in text
    assert f"Code {errors.JOB_CANCELLED.code}" in text


async def test_what_cannot_be_asked(browser: Browser, counting: Counting) -> None:
    """A form of a page that is out of date is refused in words, and the job stays as it is."""
    await browser.log_in(url=counting.path)
    old = browser.page
    await browser.submit(f"{counting.path}/cancel")
    browser.page = old
    refused = await browser.submit(f"{counting.path}/pause")
    assert (refused.status, errors.JOB_NOT_RUNNING.text in refused.content.decode()) == (400, True)
    counting.gate.set()
    await counting.state()
    browser.page = old
    refused = await browser.submit(f"{counting.path}/cancel")
    assert (refused.status, errors.JOB_ENDED.text in refused.content.decode()) == (400, True)


async def test_who_may_only_read(browser: Browser, counting: Counting) -> None:
    """Sees no button, and is refused a form that was made by hand. Nothing is asked of the job."""
    page = await browser.log_in("auditor", url=counting.path)
    assert page.status == 200
    assert not [path for path in forms(page) if path.startswith("/jobs")]
    action = f"{counting.path}/cancel"
    sent = await browser.send(
        "POST",
        action,
        f"form_token={form_token(browser.cookies[COOKIE], action)}".encode(),
        content_type="application/x-www-form-urlencoded",
        origin="https://keystead.test",
    )
    assert sent.status == 403
    counting.gate.set()
    assert await counting.state() == "success"


async def test_what_an_account_of_an_svm_sees(site: Site, browser: Browser, counting: Counting) -> None:
    """The jobs of its SVM. What another account's error tells besides its text is not shown."""
    facts = (("server", "ks1"), ("stage", "tls"), ("reason", "server_certificate_expired"))
    failure = {"state": JobState.FAILURE, "message": "Refused.", "code": 65536038, "arguments": facts, "svm": SVM}
    await stored(site, "of-admin", **failure)
    await stored(site, "own", account="vs1-admin", **failure)
    page = (await browser.log_in("vs1-admin", url="/jobs")).content.decode()
    assert counting.uuid not in page
    assert "/jobs/own" in page
    assert (await browser.open(counting.path)).status == 404
    other = (await browser.open("/jobs/of-admin")).content.decode()
    assert "Refused." in other
    assert "server certificate expired" not in other
    assert "server certificate expired" in (await browser.open("/jobs/own")).content.decode()
    counting.gate.set()


async def test_pages_of_the_list(site: Site, browser: Browser) -> None:
    """The newest first; the next page begins where this one ends, and keeps the filter."""
    for number in range(53):
        begin = NOON + timedelta(seconds=number // 2)
        await stored(site, f"job-{number:02}", start_time=begin, description=f"POST /api/{MARKUP}/{number:02}")
    await stored(
        site, "failed", state=JobState.FAILURE, message=errors.JOB_INTERRUPTED.text, code=errors.JOB_INTERRUPTED.code
    )
    first = (await browser.log_in(url="/jobs?state=success")).content.decode()
    assert (first.count("<tr>"), "/jobs/job-52" in first, "/jobs/job-02" in first) == (51, True, False)
    assert "<b>bold" not in first
    assert "/jobs/failed" not in first
    (link,) = [part.partition('"')[0] for part in first.split('href="') if part.startswith("/jobs?")]
    second = (await browser.open(link.replace("&amp;", "&"))).content.decode()
    assert [f"/jobs/job-{number:02}" in second for number in range(4)] == [True, True, True, False]
    assert "Check what the job has done" in (await browser.open("/jobs/failed")).content.decode()


@pytest.mark.parametrize(
    "query", ["state=odd", "after=nothing", "after=0001-01-01T00:00:00%2B14:00 u", "after=%00", f"after={'x' * 300}"]
)
async def test_bad_parameters(browser: Browser, query: str) -> None:
    """Are refused with a sentence."""
    await browser.log_in()
    page = await browser.open(f"/jobs?{query.replace(' ', '%20')}")
    assert (page.status, b"Invalid value for field" in page.content) == (400, True)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("POST /api/security/key-managers", "Enable a key manager"),
        ("POST /api/security/key-managers/u/volume-keys/", "Create keys"),
        ("DELETE /api/security/key-managers/u/auth-keys", "Delete keys"),
        ("POST /api/security/key-managers/u/reboot-drill", "Reboot drill"),
        ("DELETE /api/security/key-managers/u/key-servers/host", "Remove a key server"),
        ("POST /key-managers/u/key-servers/host/remove", "Remove a key server"),
        ("POST /api/elsewhere", "POST /api/elsewhere"),
    ],
)
def test_calls_in_words(call: str, words: str) -> None:
    """What is not known is shown as it is."""
    assert what_of(call) == words


@pytest.mark.parametrize(
    ("state", "steps", "actions"),
    [
        (JobState.RUNNING, None, []),
        (JobState.RUNNING, STEPS, [Action.PAUSE, Action.CANCEL]),
        (JobState.RUNNING, replace(STEPS, requested="pause"), [Action.CANCEL]),
        (JobState.RUNNING, replace(STEPS, requested="cancel"), []),
        (JobState.QUEUED, STEPS, [Action.PAUSE, Action.CANCEL]),
        (JobState.PAUSED, STEPS, [Action.RESUME, Action.CANCEL]),
        (JobState.SUCCESS, STEPS, []),
        (JobState.FAILURE, None, []),
    ],
)
def test_what_may_be_asked(state: JobState, steps: Resumable | None, actions: list[Action]) -> None:
    """No button would be refused."""
    assert [each.action for each in offers(replace(JOB, state=state, resumable=steps), NOON)] == actions


@pytest.mark.parametrize(
    ("job", "shown"),
    [
        ({"state": JobState.QUEUED, "resumable": STEPS}, (Tone.UNKNOWN, "waits", "", 25.0, True)),
        ({"state": JobState.RUNNING, "message": "1 of 4"}, (Tone.UNKNOWN, "runs", "1 of 4", None, True)),
        ({"state": JobState.PAUSED, "resumable": STEPS}, (Tone.UNKNOWN, "paused", "", 25.0, True)),
        ({"state": JobState.SUCCESS, "message": "success", "resumable": STEPS}, (Tone.OK, "done", "", None, False)),
        (
            {"state": JobState.SUCCESS, "message": "2 copies written"},
            (Tone.OK, "done", "2 copies written", None, False),
        ),
        ({"state": JobState.FAILURE, "message": "Too few.", "code": 7}, (Tone.BAD, "failed", "Too few.", None, False)),
    ],
)
def test_jobs(job: dict[str, Any], shown: tuple[object, ...]) -> None:
    """How far a job is. One that ended has no bar."""
    made = replace(JOB, **job)
    line = job_line(JobView(made, None, (("server", "a"), ("reason", "not_reached"))))
    assert (line.tone, line.state, line.message, line.done, line.is_running) == shown
    assert (line.what, line.code, len(line.arguments)) == ("POST /api/x", made.code, 2)
    assert [(each.server, each.reason) for each in line.servers] == [("a", "not reached")]


def test_every_state_of_a_job_has_words() -> None:
    """None is left out of the table."""
    assert set(JOB_STATES) == set(JobState)


def test_states_in_words() -> None:
    """A failed job has an advice, unless its key servers have theirs."""
    failed = replace(JOB, state=JobState.FAILURE, code=errors.JOB_INTERRUPTED.code, message=errors.JOB_INTERRUPTED.text)
    shown = row(JobView(failed, None))
    assert (shown.line.tone, shown.line.state, shown.advice != "") == (Tone.BAD, "failed", True)
    assert row(JobView(replace(failed, message="No."), None)).advice == ""
    assert row(JobView(failed, None, (("server", "ks1"), ("reason", "refused")))).advice == ""
    running = row(JobView(replace(JOB, resumable=STEPS, svm=Svm("s", "s")), None))
    assert (running.line.done, running.requested, running.advice) == (25, "", "")

"""``/cluster/jobs``: what a client can find out about work that goes on after its call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Account, Role, Svm
from keystead.service.cluster.jobs import StepRequest
from keystead.service.context import Call, Caller
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from keystead.service.cluster.job_runner import Also, JobSteps
    from keystead.service.cluster.jobs import Progress, Work
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

JOBS = "/api/cluster/jobs"
CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "PATCH", "/api/security/key-managers/1")


async def done(_: Progress) -> None:
    """Work that succeeds."""


async def refused(_: Progress) -> None:
    """Work that fails."""
    raise OntapError(errors.SVM_NOT_FOUND, target="svm.name", name="vs9")


async def forever(_: Progress) -> None:
    """Work that does not end."""
    await asyncio.Event().wait()


async def job(api: Api, work: Work, svm: Svm | None = None) -> str:
    """Run work as a job, wait for it unless it never ends, and return its uuid."""
    timeout = 0 if work is forever else 10
    return (await api.services.jobs.run(CALL, work, svm=svm, return_timeout=timeout)).job.uuid


async def test_a_job_that_succeeded(api: Api) -> None:
    """Every field that clients look at; without ``error``."""
    uuid = await job(api, done)
    shown = (await api.readonly.get(f"{JOBS}/{uuid}")).body
    (node,) = await api.store.read(lambda tx: tx.nodes())
    start, end = shown.pop("start_time"), shown.pop("end_time")
    assert start <= end
    assert start.endswith("+00:00")
    assert shown == {
        "uuid": uuid,
        "description": "PATCH /api/security/key-managers/1",
        "state": "success",
        "message": "success",
        "code": 0,
        "node": {
            "uuid": node.uuid,
            "name": node.name,
            "_links": {"self": {"href": f"/api/cluster/nodes/{node.uuid}"}},
        },
        "_links": {"self": {"href": f"{JOBS}/{uuid}"}},
    }


async def test_a_job_with_results_links_to_them(api: Api) -> None:
    """``_links.results``, as the answer to the call had it; not in plain JSON."""
    answer = await api.admin.post("/api/v1/svm/svms/?return_timeout=10", {"records": [{"name": "a1"}]})
    links = answer.body["job"]["_links"]
    assert (await api.admin.get(links["self"]["href"])).body["_links"] == links
    (listed,) = (await api.admin.get(JOBS)).body["records"]
    assert listed["_links"] == links
    plain = await api.admin.get(links["self"]["href"], headers={"accept": "application/json"})
    assert "_links" not in plain.body


async def test_a_job_outlives_its_svm(api: Api) -> None:
    """Who started it still finds it, running and ended, without an SVM; no other SVM ever does."""
    svm = await api.services.svms.create(CALL, "vs0")
    await api.services.svms.create(CALL, "vs1")
    ended, running = await job(api, done, svm), await job(api, forever, svm)
    assert (await api.admin.delete(f"/api/svm/svms/{svm.uuid}")).status == 200
    for uuid, state in ((ended, "success"), (running, "running")):
        shown = await api.admin.get(f"{JOBS}/{uuid}")
        assert (shown.status, shown.body["state"], "svm" in shown.body) == (200, state, False)
        hidden = await api.admin.get(f"{JOBS}/{uuid}", headers={"x-dot-svm-name": "vs1"})
        assert_error(hidden, errors.ENTRY_NOT_FOUND, "uuid")
    assert (await api.admin.get(JOBS, headers={"x-dot-svm-name": "vs1"})).body["num_records"] == 0
    await api.services.jobs.close()
    assert (await api.admin.get(f"{JOBS}/{running}")).body["code"] == errors.JOB_INTERRUPTED.code


async def test_a_job_that_failed(api: Api) -> None:
    """Message and numeric code of the failure, and an ``error`` object whose code is text."""
    uuid = await job(api, refused)
    shown = (await api.admin.get(f"{JOBS}/{uuid}?fields=message,state,code,error")).body
    text = 'SVM "vs9" does not exist.'
    assert (shown["state"], shown["message"], shown["code"]) == ("failure", text, 2621462)
    assert shown["error"] == {"code": "2621462", "message": text, "target": "svm.name"}


async def test_the_arguments_of_a_jobs_error(api: Api) -> None:
    """As a call tells them, and found by them; not for an SVM's account that did not begin the job."""
    svm = await api.services.svms.create(CALL, "vs0")

    async def work(_: Progress) -> None:
        raise OntapError(errors.TOO_FEW_COPIES, arguments=[("server", "ks1:5696"), ("reason", "tls_timed_out")])

    uuid = await job(api, work, svm)
    shown = (await api.readonly.get(f"{JOBS}/{uuid}?fields=error.arguments")).body["error"]
    assert shown["arguments"] == [
        {"code": "server", "message": "ks1:5696"},
        {"code": "reason", "message": "tls_timed_out"},
    ]

    def employ(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        tx.put_account(Account("vsadmin", Role.VSADMIN, admin.password_hash, svm=svm))

    await api.store.write(employ)
    vsadmin = DocumentedClient(api.admin.app, "vsadmin", PASSWORD)
    error = (await vsadmin.get(f"{JOBS}/{uuid}")).body["error"]
    assert error == {"code": "65536987", "message": errors.TOO_FEW_COPIES.text}
    for client, found in ((api.admin, 1), (vsadmin, 0)):
        assert (await client.get(f"{JOBS}?error.arguments.message=tls_timed_out")).body["num_records"] == found


async def test_a_job_that_runs(api: Api) -> None:
    """``fields=message,state``, as the official client polls; it has no end yet."""
    uuid = await job(api, forever)
    polled = (await api.admin.get(f"{JOBS}/{uuid}?fields=message,state")).body
    assert (polled["state"], polled["message"]) == ("running", "")
    assert "end_time" not in (await api.admin.get(f"{JOBS}/{uuid}")).body


async def test_jobs_are_listed_and_filtered(api: Api) -> None:
    """The list shows uuids, and is filtered by state, SVM and node."""
    svm = await api.services.svms.create(CALL, "vs0")
    ended, failed, tenant = await job(api, done), await job(api, refused), await job(api, done, svm)

    async def found(query: str) -> set[str]:
        answer: dict[str, Any] = (await api.admin.get(f"{JOBS}?{query}")).body
        return {record["uuid"] for record in answer["records"]}

    assert await found("") == {ended, failed, tenant}
    assert await found("state=failure") == {failed}
    assert await found("svm.name=vs0") == {tenant}
    (node,) = await api.store.read(lambda tx: tx.nodes())
    assert await found(f"node.name={node.name}&code=0") == {ended, tenant}


async def test_an_svms_jobs_are_its_own(api: Api) -> None:
    """A call confined to an SVM finds its jobs only; another one is code 4, as an unknown one is."""
    svm = await api.services.svms.create(CALL, "vs0")
    own, cluster = await job(api, done, svm), await job(api, done)
    confined = {"x-dot-svm-name": "vs0"}
    listed = (await api.admin.get(JOBS, headers=confined)).body
    assert [record["uuid"] for record in listed["records"]] == [own]
    assert (await api.admin.get(f"{JOBS}/{own}", headers=confined)).body["svm"]["name"] == "vs0"
    for uuid in (cluster, ABSENT):
        assert_error(await api.admin.get(f"{JOBS}/{uuid}", headers=confined), errors.ENTRY_NOT_FOUND, "uuid")


async def test_jobs_are_not_deleted(api: Api) -> None:
    """They go by themselves."""
    uuid = await job(api, done)
    assert_error(await api.admin.delete(f"{JOBS}/{uuid}"), errors.METHOD_NOT_SUPPORTED)


# --- what a PATCH asks for ---


@pytest.fixture
async def counting(api: Api, monkeypatch: pytest.MonkeyPatch) -> tuple[str, asyncio.Event]:
    """Return a job that is in its second step of three, and what lets it go on."""
    gate, reached = asyncio.Event(), asyncio.Event()

    async def count(steps: JobSteps) -> Also:
        for number in range(steps.cursor or 0, steps.total):
            if number == 1:
                reached.set()
                await gate.wait()
            await steps.store(number + 1, number + 1, steps.total, lambda _: None)
        return lambda _: None

    monkeypatch.setitem(api.services.jobs._runner._kinds, "count", count)
    ran = await api.services.jobs.run_in_steps(CALL, StepRequest("count", {}, None, 3))
    await reached.wait()
    return f"{JOBS}/{ran.job.uuid}", gate


async def in_state(api: Api, path: str, state: str) -> dict[str, Any]:
    """Return a job, once it is in a state."""
    async with asyncio.timeout(20):
        while True:
            shown: dict[str, Any] = (await api.admin.get(path)).body
            if shown["state"] == state:
                return shown
            await asyncio.sleep(0.01)


async def test_a_job_is_paused_resumed_and_cancelled(api: Api, counting: tuple[str, asyncio.Event]) -> None:
    """It shows how far it is and what it was asked for; each call is recorded."""
    path, gate = counting
    shown = (await api.readonly.get(path)).body
    assert (shown["state"], shown["message"]) == ("running", "1 of 3 records complete.")
    assert (shown["progress"], "requested_action" in shown) == ({"done": 1, "total": 3}, False)
    answer = await api.admin.patch(f"{path}?action=pause", {})
    assert (answer.status, answer.body) == (200, {})
    shown = (await api.admin.get(path)).body
    assert (shown["state"], shown["requested_action"]) == ("running", "pause")
    gate.set()
    shown = await in_state(api, path, "paused")
    assert (shown["progress"]["done"], "requested_action" in shown, "end_time" in shown) == (2, False, False)
    gate.clear()
    assert (await api.admin.patch(f"{path}?action=resume&uuid={path.rpartition('/')[2]}")).status == 200
    await in_state(api, path, "success")
    said = [record.message for record in await api.audit()]
    uuid = path.rpartition("/")[2]
    assert said == [f"asked job {uuid} to pause", f"asked job {uuid} to resume"]
    assert_error(await api.admin.patch(f"{path}?action=cancel"), errors.JOB_ENDED, "uuid")


async def test_a_cancelled_job_has_failed(api: Api, counting: tuple[str, asyncio.Event]) -> None:
    """With a code and a text of its own."""
    path, gate = counting
    assert (await api.admin.patch(f"{path}?action=cancel")).status == 200
    gate.set()
    shown = await in_state(api, path, "failure")
    assert (shown["code"], shown["message"]) == (errors.JOB_CANCELLED.code, errors.JOB_CANCELLED.text)
    assert shown["progress"]["done"] == 2


async def test_two_who_ask_at_once(api: Api, counting: tuple[str, asyncio.Event]) -> None:
    """Each is answered, and the job is cancelled."""
    path, gate = counting
    answers = await asyncio.gather(
        *(api.admin.patch(f"{path}?action={word}") for word in ("cancel", "pause", "cancel"))
    )
    assert [answer.status for answer in answers][::2] == [200, 200]
    assert answers[1].status in {200, 400}
    gate.set()
    await in_state(api, path, "failure")


@pytest.mark.parametrize(
    ("query", "body", "kind", "target"),
    [
        ("", None, errors.MISSING_VALUE, "action"),
        ("action=stop", None, errors.INVALID_FIELD_VALUE, "action"),
        ("action=resume", None, errors.JOB_IS_RUNNING, "uuid"),
        ("action=pause&force=true", None, errors.UNEXPECTED_ARGUMENT, "force"),
        ("action=pause&action=cancel", None, errors.FIELD_TWICE, "action"),
        ("action=pause", {"state": "paused"}, errors.BODY_NOT_ALLOWED, None),
        ("action=pause&uuid=" + ABSENT, None, errors.ENTRY_NOT_FOUND, "uuid"),
    ],
)
async def test_what_is_refused(
    api: Api, counting: tuple[str, asyncio.Event], query: str, body: object, kind: ErrorKind, target: str | None
) -> None:
    """And the job goes on as before."""
    path, gate = counting
    assert_error(await api.admin.patch(f"{path}?{query}", body), kind, target)
    gate.set()
    await in_state(api, path, "success")


@pytest.mark.parametrize(
    ("action", "kind"), [("pause", errors.JOB_WITHOUT_PAUSE), ("cancel", errors.JOB_WITHOUT_CANCEL)]
)
async def test_jobs_without_steps(api: Api, action: str, kind: ErrorKind) -> None:
    """They can only be waited for; a refusal is recorded."""
    uuid = await job(api, forever)
    assert "progress" not in (await api.admin.get(f"{JOBS}/{uuid}")).body
    assert_error(await api.admin.patch(f"{JOBS}/{uuid}?action={action}"), kind, "uuid")
    (record,) = await api.audit()
    assert (record.state, record.code, record.path) == ("error", str(kind.code), f"{JOBS}/{uuid}")


async def test_who_may_steer_a_job(api: Api, counting: tuple[str, asyncio.Event]) -> None:
    """Not the role readonly; and a call confined to an SVM does not see the cluster's job."""
    path, gate = counting
    await api.services.svms.create(CALL, "vs0")
    assert_error(await api.readonly.patch(f"{path}?action=cancel"), errors.NOT_AUTHORIZED)
    confined = await api.admin.patch(f"{path}?action=cancel", headers={"x-dot-svm-name": "vs0"})
    assert_error(confined, errors.ENTRY_NOT_FOUND, "uuid")
    gate.set()
    await in_state(api, path, "success")

"""PATCH and DELETE of what a query matches, and DELETEs that are repeated."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

SVMS = "/api/svm/svms"


async def made(api: Api, *names: str) -> None:
    """Make SVMs."""
    for name in names:
        assert (await api.admin.post(SVMS, {"name": name})).status == 201


async def names(api: Api) -> set[str]:
    """Return the names of all SVMs."""
    return {record["name"] for record in (await api.admin.get(SVMS)).body["records"]}


async def holds(api: Api, svm: str, pki: Pki) -> None:
    """Give an SVM something, so that it cannot be deleted."""
    await api.certificate("server_ca", pki.server_ca.pem, svm={"name": svm})


async def test_what_matches_is_deleted(api: Api) -> None:
    """DELETE by query: all that match, none else; the answer counts them and links to itself. Each is audited."""
    await made(api, "a1", "a2", "b1")
    answer = await api.admin.delete(f"{SVMS}?name=a*", {})
    assert (answer.status, answer.body) == (200, {"num_records": 2, "_links": {"self": {"href": f"{SVMS}?name=a*"}}})
    assert await names(api) == {"b1"}
    records = await api.audit()
    assert [(record.method, record.svm) for record in records[-2:]] == [("DELETE", "a1"), ("DELETE", "a2")] or [
        record.svm for record in records[-2:]
    ] == ["a2", "a1"]


async def test_what_matches_is_changed(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """PATCH by query applies the same body to each match; ``return_records`` names them."""
    uuid = await api.key_manager(pki, [server.address for server in pykmip_servers[:2]])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    answer = await api.admin.patch(f"{path}?timeout=25&return_records=true", {"timeout": 7})
    assert answer.status == 200
    assert answer.body["num_records"] == 2
    assert {record["server"] for record in answer.body["records"]} == {s.address for s in pykmip_servers[:2]}
    assert {record["timeout"] for record in (await api.admin.get(f"{path}?fields=timeout")).body["records"]} == {7}
    nothing = await api.admin.patch(f"{path}?timeout=25", {"timeout": 8}, headers={"accept": "application/json"})
    assert (nothing.status, nothing.body) == (200, {"num_records": 0})


async def test_what_was_changed_is_named_as_it_is_now(api: Api, pki: Pki, sound_ports: list[int]) -> None:
    """A server at its new port, an SVM by its new name; the links lead there. The audit log names old and new."""
    first, second, third = (f"127.0.0.1:{port}" for port in sound_ports[:3])
    uuid = await api.key_manager(pki, [first])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    many = await api.admin.patch(f"{path}?server=*&return_records=true", {"port": sound_ports[1]})
    one = await api.admin.patch(f"{path}/{second}/?return_records=true", {"port": sound_ports[2]})
    assert (await api.admin.get(many.body["records"][0]["_links"]["self"]["href"])).status == 404  # it has gone on
    for answer, server in ((many, second), (one, third)):
        assert [record["server"] for record in answer.body["records"]] == [server]
    assert (await api.admin.get(one.body["records"][0]["_links"]["self"]["href"])).body["server"] == third
    messages = [record.message for record in (await api.audit())[-2:]]
    assert messages == [f"modified {first}, now {second}", f"modified {second}, now {third}"]
    await made(api, "a1")
    answer = await api.admin.patch(f"{SVMS}?name=a1&return_records=true", {"name": "a2"})
    assert [record["name"] for record in answer.body["records"]] == ["a2"]


async def test_what_goes_after_its_change_is_named_as_it_was(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another caller may delete it before it is read again: it was changed, and counts."""
    await made(api, "a1")
    change = api.services.svms.change

    async def gone(call: Any, uuid: str, *values: Any) -> None:
        await change(call, uuid, *values)
        await api.services.svms.delete(call, uuid)

    monkeypatch.setattr(api.services.svms, "change", gone)
    answer = await api.admin.patch(f"{SVMS}?name=a1&return_records=true", {"name": "a2"})
    assert (answer.status, [record["name"] for record in answer.body["records"]]) == (200, ["a1"])


async def test_records_of_a_change_by_query_name_the_object(api: Api, pki: Pki) -> None:
    """Path of each audit record: the object's own, of what was changed and of what was refused."""
    await made(api, "a1", "a2")
    await holds(api, "a1", pki)
    links = {record["_links"]["self"]["href"] for record in (await api.admin.get(SVMS)).body["records"]}
    before = len(await api.audit())
    await api.admin.delete(f"{SVMS}?name=a*&continue_on_failure=true")
    recorded = (await api.audit())[before:]
    assert {record.path for record in recorded} == links
    assert {record.state for record in recorded} == {"success", "error"}


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("query", ["", "?return_timeout=5&continue_on_failure=true", "?max_records=1&fields=name"])
async def test_a_field_must_choose(api: Api, method: str, query: str) -> None:
    """Without a field in the query nothing is changed: that would be everything."""
    await made(api, "a1")
    body = {"name": "b"} if method == "PATCH" else {}
    error = assert_error(await api.admin(method, f"{SVMS}{query}", body), errors.QUERY_REQUIRED)
    assert error["message"].startswith(f"{method} of a collection requires at least one field")
    assert await names(api) == {"a1"}


@pytest.mark.parametrize(
    ("query", "kind", "target"),
    [
        ("nosuch=1", errors.UNEXPECTED_ARGUMENT, "nosuch"),
        ("uuid=1&offset=1", errors.UNEXPECTED_ARGUMENT, "offset"),
        ("uuid=1&return_timeout=121", errors.INVALID_FIELD_VALUE, "return_timeout"),
        ("uuid=1&continue_on_failure=5", errors.INVALID_FIELD_VALUE, "continue_on_failure"),
        ("query=a&query_fields=name", errors.QUERY_ONLY_IN_GET, "query"),
        ("query_fields=name", errors.QUERY_ONLY_IN_GET, "query_fields"),
    ],
)
async def test_parameters_are_checked(api: Api, query: str, kind: errors.ErrorKind, target: str) -> None:
    """Refuse what a write by query does not take, as everywhere."""
    assert_error(await api.admin.delete(f"{SVMS}?{query}"), kind, target)
    assert_error(await api.admin.patch(f"{SVMS}?{query}", {"name": "b"}), kind, target)


async def test_secrets_choose_nothing(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A secret in the URL is 262202 in a write by query too, and is not recorded."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    path = f"/api/security/key-managers/{uuid}/key-servers?password=c4nary"
    assert_error(await api.admin.patch(path, {"timeout": 5}), errors.SECRET_IN_URL, "password")
    assert_error(await api.admin.delete(path), errors.SECRET_IN_URL, "password")
    assert "c4nary" not in repr(await api.audit())


async def test_the_body_is_checked_first(api: Api) -> None:
    """An empty change, an unknown field or a body of a DELETE is refused before anything is changed."""
    await made(api, "a1")
    assert_error(await api.admin.patch(f"{SVMS}?name=a1", {}), errors.NO_VALUES)
    assert_error(await api.admin.patch(f"{SVMS}?name=a1", {"x": 1}), errors.UNEXPECTED_ARGUMENT, "x")
    ignored = await api.admin.patch(f"{SVMS}?name=a1&ignore_unknown_fields=true", {"x": 1, "name": "a2"})
    assert ignored.body["num_records"] == 1
    assert_error(await api.admin.delete(f"{SVMS}?name=a2", {"name": "a2"}), errors.BODY_NOT_ALLOWED)
    assert await names(api) == {"a2"}


async def test_the_first_failure_ends_it(api: Api, pki: Pki) -> None:
    """A failure stops the rest; the answer is the failure's, and says how many were changed before it."""
    await made(api, "a1", "a2", "a3")
    await holds(api, "a2", pki)
    answer = await api.admin.delete(f"{SVMS}?name=a*&order_by=name")
    assert answer.status == errors.IN_USE.status
    assert answer.body["num_records"] == 1
    assert answer.body["error"]["code"] == str(errors.IN_USE.code)
    assert "errors" not in answer.body
    assert await names(api) == {"a2", "a3"}
    records = await api.audit()
    assert [(record.svm, record.state) for record in records[-2:]] == [("a1", "success"), ("a2", "error")]


async def test_failures_can_be_passed_over(api: Api, pki: Pki) -> None:
    """With ``continue_on_failure`` all others are changed, and every failure is told."""
    await made(api, "a1", "a2", "a3", "a4")
    for name in ("a1", "a3"):
        await holds(api, name, pki)
    answer = await api.admin.delete(f"{SVMS}?name=a*&order_by=name&continue_on_failure=true")
    assert (answer.status, answer.body["num_records"]) == (errors.IN_USE.status, 2)
    assert [error["code"] for error in answer.body["errors"]] == [str(errors.IN_USE.code)] * 2
    assert answer.body["error"] == answer.body["errors"][0]
    assert await names(api) == {"a1", "a3"}


async def test_time_and_number_are_bounded(api: Api) -> None:
    """When the time is over, or ``max_records`` are changed, a link goes on where it stopped, to the end."""
    await made(api, *(f"a{number}" for number in range(5)))

    async def followed(method: str, query: str, accept: str) -> list[int]:
        url, sizes = f"{SVMS}?name=a*&{query}", []
        while url:
            body = {"name": f"a{time.monotonic_ns()}"} if method == "PATCH" else None
            answer = (await api.admin(method, url, body, headers={"accept": accept})).body
            sizes.append(answer["num_records"])
            url = answer.get("_links", {}).get("next", {}).get("href", "")
        return sizes

    assert await followed("PATCH", "return_timeout=0", "*/*") == [1, 1, 1, 1, 1]
    assert not await names(api) & {"a0", "a1", "a2", "a3", "a4"}
    assert await followed("DELETE", "max_records=2", "application/json") == [2, 2, 1]
    assert await names(api) == set()


async def test_jobs_of_the_pieces_are_listed(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A change that is a job leaves its link in ``jobs``."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    other = await api.certificate("client", pki.client.certificate_pem, pki.client.key_pem, name="again")
    body = {"external": {"client_certificate": {"uuid": other}}}
    path = "/api/security/key-managers?scope=cluster&validate_certificates=true"
    answer = (await api.admin.patch(path, body)).body
    assert answer["num_records"] == 1
    (job,) = answer["jobs"]
    assert (await api.admin.get(job["_links"]["self"]["href"])).body["state"] == "success"
    shown = (await api.admin.get(f"/api/security/key-managers/{uuid}")).body
    assert shown["external"]["client_certificate"]["uuid"] == other


async def test_an_svm_changes_its_own(api: Api, pki: Pki) -> None:
    """A call that is confined to an SVM matches nothing of others: they stay, and are not counted."""
    await made(api, "a1", "a2")
    for name in ("a1", "a2"):
        await holds(api, name, pki)
    path = "/api/security/certificates?type=server_ca"
    answer = await api.admin.delete(path, headers={"x-dot-svm-name": "a1"})
    assert answer.body["num_records"] == 1
    left = (await api.admin.get("/api/security/certificates")).body["records"]
    assert [record["svm"]["name"] for record in left] == ["a2"]


async def test_who_may_only_read_changes_nothing(api: Api) -> None:
    """The role readonly is refused."""
    await made(api, "a1")
    assert_error(await api.readonly.delete(f"{SVMS}?name=a1"), errors.NOT_AUTHORIZED)
    assert await names(api) == {"a1"}


async def test_one_change_can_name_its_record(api: Api) -> None:
    """``return_records`` of a PATCH or DELETE of one object answers what names it; every write takes return_timeout."""
    location = (await api.admin.post(SVMS, {"name": "a1"})).headers["location"]
    uuid = location.rpartition("/")[2]
    wanted = f"{location}?return_records=true&return_timeout=120&serial_records=true&continue_on_failure=true"
    bodies: dict[str, Any] = {"PATCH": {"name": "a2"}, "DELETE": None}
    for method, body in bodies.items():
        answer = (await api.admin(method, wanted, body)).body
        assert answer == {
            "num_records": 1,
            "records": [{"uuid": uuid, "_links": {"self": {"href": location}}}],
        }
    assert (await api.admin.delete(f"{location}?return_timeout=121")).status == 400


async def test_an_empty_change_of_one(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """PATCH ``{}`` is 262190; of a key server it has a code of its own."""
    location = (await api.admin.post(SVMS, {"name": "a1"})).headers["location"]
    empty: tuple[Any, ...] = ({}, None, {"_links": {}})
    for body in empty:
        assert_error(await api.admin.patch(location, body), errors.NO_VALUES)
    server = pykmip_servers[0].address
    uuid = await api.key_manager(pki, [server])
    path = f"/api/security/key-managers/{uuid}/key-servers/{server}"
    assert_error(await api.admin.patch(path, {}), errors.NOTHING_TO_MODIFY)


async def test_a_repeated_delete_shares_the_first_ones_result(api: Api) -> None:
    """While a DELETE is under way, the same again gets its answer; afterwards the object is absent."""
    location = (await api.admin.post(SVMS, {"name": "a1"})).headers["location"]
    begun, go = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: Transaction) -> None:
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(10)

    blocker = asyncio.create_task(api.store.write(hold))  # SQLite has one writer
    await begun.wait()
    deletes = [asyncio.create_task(api.admin.delete(location, {})) for _ in range(3)]
    await asyncio.sleep(0.1)
    go.set()
    await blocker
    answers = await asyncio.gather(*deletes)
    assert [answer.status for answer in answers] == [200, 200, 200]
    assert_error(await api.admin.delete(location), errors.ENTRY_NOT_FOUND, "uuid")
    deleted = [record for record in await api.audit() if record.method == "DELETE" and record.state == "success"]
    assert len(deleted) == 1


async def test_a_repeated_delete_by_query_shares_it_too(api: Api) -> None:
    """Two at once delete each object once, and count the same."""
    await made(api, "a1", "a2", "a3")
    answers: list[Any] = await asyncio.gather(*(api.admin.delete(f"{SVMS}?name=a*") for _ in range(2)))
    assert [answer.body["num_records"] for answer in answers] == [3, 3]
    assert_error(await api.admin.delete(f"{SVMS}/{ABSENT}"), errors.ENTRY_NOT_FOUND, "uuid")

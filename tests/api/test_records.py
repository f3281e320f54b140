"""POST, PATCH and DELETE of ``records``: jobs, what they roll back, and their results."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import pytest

from keystead.api.checking import Record
from keystead.api.collections import Collection
from keystead.api.query import WriteQuery
from keystead.api.record_writes import creating
from keystead.api.resources.cluster import NODES
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import ONTAP_LEVEL, KeyManager, Node, Role, Svm
from keystead.service.context import Call, Caller
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error

if TYPE_CHECKING:
    from keystead.service.cluster.jobs import Progress
    from tests.api.conftest import Api
    from tests.peers.asgi import Response
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

SVMS = "/api/svm/svms"
CERTIFICATES = "/api/security/certificates"
WAIT = "return_timeout=60"


def of(*names: str) -> dict[str, Any]:
    """Return a body that names SVMs."""
    return {"records": [{"name": name} for name in names]}


async def svms(api: Api) -> dict[str, str]:
    """Return the uuids of all SVMs, by name."""
    return {record["name"]: record["uuid"] for record in (await api.admin.get(SVMS)).body["records"]}


async def results(api: Api, answer: Response) -> tuple[dict[str, Any], dict[str, Any]]:
    """Wait for the job of an answer; return it, and its results."""
    assert answer.status == 202, answer.content
    job = answer.body["job"]
    links = job["_links"]
    assert answer.headers["location"] == links["results"]["href"]
    assert links["results"]["href"].endswith(f"?job_results_uuid={job['uuid']}")
    async with asyncio.timeout(30):
        while True:
            found = (await api.admin.get(links["self"]["href"])).body
            if found["state"] != "running":
                break
            await asyncio.sleep(0.02)
    answered = await api.admin.get(links["results"]["href"])
    assert answered.status == 200, answered.content
    body: dict[str, Any] = answered.body
    assert body["num_records"] == len(body["records"])
    return found, body


async def test_records_are_created_by_a_job(api: Api) -> None:
    """202 with the job and the link to its results, which show the objects as they are."""
    job, found = await results(api, await api.admin.post(SVMS, of("a1", "a2")))
    assert (job["state"], job["message"], job["description"]) == ("success", "success", f"POST {SVMS}")
    assert [record["name"] for record in found["records"]] == ["a1", "a2"]
    assert found["records"][0]["_links"]["self"]["href"].startswith(f"{SVMS}/")
    assert "errors" not in found
    assert set(await svms(api)) == {"a1", "a2"}
    records = [record for record in await api.audit() if record.state == "success"]
    assert [record.input for record in records] == ['{"name":"a1"}', '{"name":"a2"}']


async def test_a_job_that_ends_in_time_is_answered_at_once(api: Api) -> None:
    """Within ``return_timeout``: 201 for POST, 200 else, and the job as before."""
    answer = await api.admin.post(f"{SVMS}?{WAIT}", of("a1", "a2"), headers={"accept": "application/json"})
    assert answer.status == 201
    assert set(answer.body["job"]["_links"]) == {"self", "results"}
    changed = {"records": [{"uuid": uuid, "name": f"{name}b"} for name, uuid in (await svms(api)).items()]}
    assert (await api.admin.patch(f"{SVMS}?{WAIT}", changed)).status == 200
    assert set(await svms(api)) == {"a1b", "a2b"}
    gone = {"records": [{"uuid": uuid, "name": "ignored"} for uuid in (await svms(api)).values()]}
    assert (await api.admin.delete(f"{SVMS}?{WAIT}", gone)).status == 200
    assert await svms(api) == {}


async def test_a_post_that_fails_is_rolled_back(api: Api) -> None:
    """Delete again what was created before the failure; the job and its results say why."""
    await api.admin.post(SVMS, {"name": "taken"})
    job, found = await results(api, await api.admin.post(SVMS, of("a1", "a2", "taken", "a3")))
    text = 'POST of record "name: taken" failed. Reason: duplicate entry'
    assert (job["state"], job["message"], job["code"]) == ("failure", text, errors.RECORD_FAILED.code)
    assert found["records"] == []
    (error,) = found["errors"]
    assert (error["message"], error["code"]) == (text, str(errors.RECORD_FAILED.code))
    assert (error["arguments"][0], error["target"]) == ({"code": "code", "message": "1"}, "records[2].name")
    assert job["error"]["target"] == "records[2].name"
    assert "rollback_errors" not in found
    assert set(await svms(api)) == {"taken"}


async def test_a_key_in_the_wrong_place_is_not_repeated(api: Api) -> None:
    """Mask what names a record in a message as in the audit record."""
    name = "-----BEGIN PRIVATE KEY-----c4nary"
    await api.admin.post(SVMS, {"name": name})
    job, found = await results(api, await api.admin.post(SVMS, of(name)))
    assert job["message"] == 'POST of record "name: ***" failed. Reason: duplicate entry'
    assert "c4nary" not in repr(found["errors"])


async def test_a_failure_in_time_is_the_answer(api: Api) -> None:
    """A job that fails within ``return_timeout`` answers with its error, and is recorded once as a whole."""
    await api.admin.post(SVMS, {"name": "taken"})
    answer = await api.admin.post(f"{SVMS}?{WAIT}", of("taken"))
    assert answer.status == errors.RECORD_FAILED.status
    error, job = answer.body["error"], answer.body["job"]
    assert (error["code"], error["target"]) == (str(errors.RECORD_FAILED.code), "records[0].name")
    results = f"{SVMS}?job_results_uuid={job['uuid']}"
    assert job["_links"] == {"self": {"href": f"/api/cluster/jobs/{job['uuid']}"}, "results": {"href": results}}
    assert answer.headers["location"] == results
    assert (await api.admin.get(results)).body["errors"] == [error]
    assert (await api.admin.get(job["_links"]["self"]["href"])).body["_links"] == job["_links"]
    plain = await api.admin.post(f"{SVMS}?{WAIT}", of("taken"), headers={"x-dot-error-arguments": "false"})
    assert "arguments" not in plain.body["error"]
    refused = [record.code for record in await api.audit() if record.state == "error"]
    assert refused == ["1", str(errors.RECORD_FAILED.code)] * 2


async def test_a_post_can_go_on(api: Api) -> None:
    """With ``continue_on_failure`` the others are created, nothing is rolled back, and all failures are told."""
    await api.admin.post(SVMS, {"name": "taken"})
    answer = await api.admin.post(f"{SVMS}?continue_on_failure=true", of("a1", "taken", "a2", "taken"))
    job, found = await results(api, answer)
    assert job["code"] == errors.RECORDS_PARTIAL.code
    assert job["message"].count("duplicate entry") == 2
    assert [record["name"] for record in found["records"]] == ["a1", "a2"]
    assert len(found["errors"]) == 2
    assert set(await svms(api)) == {"taken", "a1", "a2"}
    nothing, _ = await results(api, await api.admin.post(f"{SVMS}?continue_on_failure=true", of("taken")))
    assert nothing["code"] == errors.RECORD_FAILED.code


async def test_a_patch_that_fails_is_rolled_back(api: Api) -> None:
    """Give back its earlier values to what was changed before the failure."""
    for name in ("a1", "a2"):
        await api.admin.post(SVMS, {"name": name})
    before = await svms(api)
    body = {"records": [{"uuid": before["a1"], "name": "b1"}, {"uuid": before["a2"], "name": "b1"}]}
    job, found = await results(api, await api.admin.patch(SVMS, body))
    assert job["message"] == f'PATCH of record "uuid: {before["a2"]}" failed. Reason: duplicate entry'
    assert "rollback_errors" not in found
    assert [record["name"] for record in found["records"]] == ["a1"]
    assert await svms(api) == before


async def test_a_patch_can_go_on(api: Api) -> None:
    """With ``continue_on_failure`` the changes that could be made stay."""
    await api.admin.post(SVMS, {"name": "a1"})
    uuid = (await svms(api))["a1"]
    body = {"records": [{"uuid": ABSENT, "name": "b0"}, {"uuid": uuid, "name": "b1"}]}
    job, _ = await results(api, await api.admin.patch(f"{SVMS}?continue_on_failure=true", body))
    assert job["code"] == errors.RECORDS_PARTIAL.code
    assert await svms(api) == {"b1": uuid}


async def test_a_delete_goes_on_and_is_never_rolled_back(api: Api, pki: Pki) -> None:
    """Every record is tried; what is deleted stays deleted."""
    for name in ("a1", "a2", "a3"):
        await api.admin.post(SVMS, {"name": name})
    await api.certificate("server_ca", pki.server_ca.pem, svm={"name": "a2"})
    before = await svms(api)
    body = {"records": [{"uuid": before[name]} for name in ("a1", "a2", "a3")]}
    job, found = await results(api, await api.admin.delete(SVMS, body))
    assert job["code"] == errors.RECORDS_PARTIAL.code
    assert f'DELETE of record "uuid: {before["a2"]}" failed.' in job["message"]
    assert (found["records"], len(found["errors"])) == ([], 1)
    assert await svms(api) == {"a2": before["a2"]}


async def test_what_cannot_be_rolled_back_is_told(api: Api, pki: Pki, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rollback that is refused leaves its object, and says so: 262288, ``rollback_errors``, the object in results."""
    answer = await api.admin.post(SVMS, of("a1", "a2"))
    await results(api, answer)
    first, second = (await svms(api))["a1"], (await svms(api))["a2"]
    ca = {"type": "server_ca", "public_certificate": pki.server_ca.pem, "svm": {"name": "a1"}}
    installing = api.services.certificates.install

    async def occupied(*arguments: Any) -> Any:
        """Install, and refer to the certificate at once, as another caller may."""
        installed = await installing(*arguments)
        await api.store.write(lambda tx: tx.add_key_manager(_key_manager(installed.uuid, first)))
        return installed

    monkeypatch.setattr(api.services.certificates, "install", occupied)
    bad = {**ca, "svm": {"name": "a9"}}
    job, found = await results(api, await api.admin.post(CERTIFICATES, {"records": [ca, bad]}))
    assert second != first
    assert (job["code"], job["message"]) == (errors.RECORDS_LEFT.code, errors.RECORDS_LEFT.text)
    (left,) = found["records"]
    (error,) = found["rollback_errors"]
    assert error["message"].startswith(f'DELETE of record "uuid: {left["uuid"]}" failed. Reason: ')
    assert error["arguments"][0] == {"code": "code", "message": str(errors.CERTIFICATE_IN_USE.code)}


def _key_manager(certificate: str, svm: str) -> KeyManager:
    return KeyManager(ABSENT, Svm(svm, "a1"), enabled=True, client_certificate=certificate, server_ca_certificates=())


async def test_key_servers_by_records(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Key servers are named by ``server``; secrets cannot be given back, lists can, and the results say which."""
    first, second = (server.address for server in pykmip_servers[:2])
    uuid = await api.key_manager(pki, [first, second])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    await api.admin.patch(f"{path}/{first}", {"secondary_key_servers": ["localhost"]})
    bad = {"server": second, "username": "u"}
    one = {"server": first, "timeout": 9, "secondary_key_servers": []}
    job, found = await results(api, await api.admin.patch(path, {"records": [one, bad]}))
    assert job["code"] == errors.RECORD_FAILED.code
    assert found["errors"][0]["arguments"][0]["message"] == str(errors.MISSING_PASSWORD.code)
    shown = (await api.admin.get(f"{path}/{first}")).body
    assert (shown["timeout"], shown["secondary_key_servers"]) == (25, ["localhost"])
    secret = {"server": first, "username": "u", "password": "c4nary"}
    job, found = await results(api, await api.admin.patch(path, {"records": [secret, bad]}))
    assert job["code"] == errors.RECORD_FAILED.code  # there was none before
    assert (await api.admin.get(f"{path}/{first}")).body["username"] == ""
    assert (await api.admin.patch(f"{path}/{first}", {"username": "u", "password": "first"})).status == 200
    job, found = await results(api, await api.admin.patch(path, {"records": [secret, bad]}))
    assert job["code"] == errors.RECORDS_LEFT.code
    (error,) = found["rollback_errors"]
    assert error["arguments"] == [{"code": "code", "message": str(errors.FIELD_NOT_READABLE.code)}]
    assert "c4nary" not in repr((found, job, await api.audit()))
    job, found = await results(api, await api.admin.delete(path, {"records": [{"server": second}]}))
    assert (job["state"], found["num_records"]) == ("success", 0)
    assert [record["server"] for record in (await api.admin.get(path)).body["records"]] == [first]


async def test_lists_are_given_back(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A list that was empty is emptied again; of a key manager the whole array of certificates comes back."""
    first, second = (server.address for server in pykmip_servers[:2])
    uuid = await api.key_manager(pki, [first, second])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    one = {"server": first, "secondary_key_servers": ["localhost"]}
    await results(api, await api.admin.patch(path, {"records": [one, {"server": second, "username": "u"}]}))
    assert "secondary_key_servers" not in (await api.admin.get(f"{path}/{first}")).body
    again = await api.certificate("server_ca", pki.server_ca.pem, name="again")
    external = (await api.admin.get(f"/api/security/key-managers/{uuid}")).body["external"]
    changed = {"uuid": uuid, "external": {"server_ca_certificates": [{"uuid": again}]}}
    absent = {"uuid": ABSENT, "external": {"server_ca_certificates": [{"uuid": again}]}}
    answer = await api.admin.patch("/api/security/key-managers", {"records": [changed, absent]})
    job, found = await results(api, answer)
    assert job["code"] == errors.RECORD_FAILED.code
    assert "rollback_errors" not in found
    after = (await api.admin.get(f"/api/security/key-managers/{uuid}")).body["external"]
    assert after["server_ca_certificates"] == external["server_ca_certificates"] != [{"uuid": again}]


async def test_what_get_leaves_out_is_given_back(api: Api, pki: Pki, sound_ports: list[int]) -> None:
    """A name that was unset, a port that stands in the address, and certificates that were named by their names."""
    first, second, third = (f"127.0.0.1:{port}" for port in sound_ports[:3])
    uuid = await api.key_manager(pki, [first, second])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    before = (await api.admin.get(f"{path}?fields=**,!connectivity")).body["records"]
    bad = {"server": "nope:1", "timeout": 12}
    for one in ({"tls_server_name": "localhost"}, {"port": sound_ports[2]}, {"port": sound_ports[2], "timeout": 5}):
        answer = await api.admin.patch(path, {"records": [{"server": first, **one}, bad]})
        job, found = await results(api, answer)
        assert job["code"] == errors.RECORD_FAILED.code, found
        assert "rollback_errors" not in found
        assert [record["server"] for record in found["records"]] == [first]
        assert (await api.admin.get(f"{path}?fields=**,!connectivity")).body["records"] == before
    assert third not in repr(before)
    await api.certificate("server_ca", pki.server_ca.pem, name="again")
    external = (await api.admin.get(f"/api/security/key-managers/{uuid}")).body["external"]
    renamed = {"uuid": uuid, "external": {"server_ca_certificates": [{"name": "again"}]}}
    absent = {"uuid": ABSENT, "external": {"server_ca_certificates": [{"name": "again"}]}}
    answer = await api.admin.patch("/api/security/key-managers", {"records": [renamed, absent]})
    assert "rollback_errors" not in (await results(api, answer))[1]
    assert (await api.admin.get(f"/api/security/key-managers/{uuid}")).body["external"] == external


async def test_results_name_what_has_moved(api: Api, pki: Pki, sound_ports: list[int]) -> None:
    """After a new port the results show the server at its new address."""
    first, second = (f"127.0.0.1:{port}" for port in sound_ports[:2])
    uuid = await api.key_manager(pki, [first])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    body = {"records": [{"server": first, "port": sound_ports[1]}]}
    job, found = await results(api, await api.admin.patch(path, body))
    assert job["state"] == "success"
    (record,) = found["records"]
    assert record["server"] == second
    assert (await api.admin.get(record["_links"]["self"]["href"])).status == 200
    assert (await api.audit())[-1].message == f"modified {first}, now {second}"


async def test_a_job_beneath_an_svms_object_is_the_svms(api: Api, pki: Pki, sound_ports: list[int]) -> None:
    """Jobs and refusals about an SVM's key servers name the SVM, whoever called; without a parent there is no job."""
    await api.admin.post(SVMS, {"name": "vs0"})
    uuid = await api.key_manager(pki, [f"127.0.0.1:{sound_ports[0]}"], svm={"name": "vs0"})
    path = f"/api/security/key-managers/{uuid}/key-servers"
    before = len(await api.audit())
    job, _ = await results(api, await api.admin.patch(path, {"records": [{"server": "nope:1", "timeout": 12}]}))
    assert job["svm"]["name"] == "vs0"
    assert (await api.admin.patch(path, {"records": [{"server": "nope:1"}]})).status == 400
    recorded = [(record.code, record.svm) for record in (await api.audit())[before:]]
    kinds = (errors.KEY_SERVER_NOT_CONFIGURED, errors.RECORD_FAILED, errors.NOTHING_TO_MODIFY)
    assert recorded == [(str(kind.code), "vs0") for kind in kinds]
    answer = await api.admin.patch(path.replace(uuid, ABSENT), {"records": [{"server": "nope:1", "timeout": 12}]})
    assert_error(answer, errors.ENTRY_NOT_FOUND, "uuid")


async def test_a_stop_interrupts_and_takes_nothing_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that the stop of the service refuses has not failed: the job was interrupted, what was done stays."""
    create = api.services.svms.create

    async def stopping(call: Any, name: str, *more: Any) -> Any:
        if name == "a2":
            raise OntapError(errors.SHUTTING_DOWN, retry_after=5)
        return await create(call, name, *more)

    monkeypatch.setattr(api.services.svms, "create", stopping)
    job, found = await results(api, await api.admin.post(SVMS, of("a1", "a2")))
    assert (job["code"], job["message"]) == (errors.JOB_INTERRUPTED.code, errors.JOB_INTERRUPTED.text)
    assert [error["message"] for error in found["errors"]] == [errors.JOB_INTERRUPTED.text]
    assert set(await svms(api)) == {"a1"}


async def test_a_stop_interrupts_a_rollback(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what could not be taken back because the service stops; the job was interrupted."""

    async def stopping(*_: Any) -> None:
        raise OntapError(errors.SHUTTING_DOWN, retry_after=5)

    monkeypatch.setattr(api.services.svms, "delete", stopping)
    job, _ = await results(api, await api.admin.post(SVMS, of("a1", "a1")))
    assert job["message"] == errors.JOB_INTERRUPTED.text
    assert set(await svms(api)) == {"a1"}


async def test_what_was_not_read_is_not_given_back(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record whose earlier values could not be read is changed all the same; its rollback says why it cannot be."""
    await api.admin.post(SVMS, {"name": "a1"})
    uuid = (await svms(api))["a1"]
    get = api.services.svms.get

    async def unread(*_: Any) -> Any:
        monkeypatch.setattr(api.services.svms, "get", get)
        raise OntapError(errors.KEY_SERVERS_UNREADABLE)

    monkeypatch.setattr(api.services.svms, "get", unread)
    body = {"records": [{"uuid": uuid, "name": "b1"}, {"uuid": ABSENT, "name": "b2"}]}
    job, found = await results(api, await api.admin.patch(SVMS, body))
    assert job["code"] == errors.RECORDS_LEFT.code
    assert found["rollback_errors"][0]["arguments"][0]["message"] == str(errors.KEY_SERVERS_UNREADABLE.code)
    assert set(await svms(api)) == {"b1"}


async def test_what_cannot_be_deleted_is_not_taken_back() -> None:
    """A resource without DELETE says so when its creation should be undone."""

    async def create(*_: Any) -> Node:
        return Node(ABSENT, "n1", ONTAP_LEVEL)

    async def nothing(*_: Any) -> Any:
        raise AssertionError("not asked")

    collection = Collection(resource=NODES, page=nothing, show=nothing, create=create)
    query = WriteQuery(return_records=False, own={})
    written = await creating(collection.resource, create, collection.delete)(
        cast("Any", None), Record(None, {"name": "a1"}), query
    )
    assert written.key == ABSENT
    assert written.undo is not None
    with pytest.raises(OntapError) as caught:
        await written.undo.work()
    assert caught.value.kind is errors.METHOD_NOT_SUPPORTED


async def test_key_servers_are_added_at_once(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """POST of key servers' ``records`` is documented as synchronous: no job."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    path = f"/api/security/key-managers/{uuid}/key-servers"
    body = {"records": [{"server": pykmip_servers[1].address}]}
    assert (await api.admin.post(path, body)).status == 201
    assert (await api.admin.get("/api/cluster/jobs")).body["num_records"] == 0


@pytest.mark.parametrize(
    ("method", "body", "kind", "target"),
    [
        ("POST", {"records": []}, errors.MISSING_VALUE, "records"),
        ("POST", {"records": {}}, errors.ARRAY_EXPECTED, "records"),
        ("POST", {"records": [1]}, errors.INVALID_SECRET_VALUE, "records[0]"),
        ("POST", {"records": [{"name": "a"}, {}]}, errors.MISSING_VALUE, "records[1].name"),
        ("POST", {"records": [{"name": "a"}], "name": "b"}, errors.FIELDS_EXCLUDE_EACH_OTHER, "name"),
        ("POST", {"records": [{"name": "a", "x": 1}]}, errors.UNEXPECTED_ARGUMENT, "records[0].x"),
        ("PATCH", {"records": [{"name": "a"}]}, errors.MISSING_VALUE, "records[0].uuid"),
        ("PATCH", {"records": [{"uuid": ABSENT}]}, errors.NO_VALUES, "records[0]"),
        ("PATCH", {"records": [{"uuid": "x", "name": "a"}]}, errors.INVALID_FIELD_VALUE, "records[0].uuid"),
        ("DELETE", {"records": [{"uuid": ABSENT}, {"name": "a"}]}, errors.MISSING_VALUE, "records[1].uuid"),
        ("DELETE", {"records": [ABSENT]}, errors.INVALID_SECRET_VALUE, "records[0]"),
        ("DELETE", {"records": []}, errors.MISSING_VALUE, "records"),
    ],
)
async def test_what_the_body_shows_is_refused_at_once(
    api: Api, method: str, body: Any, kind: errors.ErrorKind, target: str
) -> None:
    """No job is made for a body that cannot be right."""
    assert_error(await api.admin(method, SVMS, body), kind, target)
    assert (await api.admin.get("/api/cluster/jobs")).body["num_records"] == 0


async def test_records_and_a_query_exclude_each_other(api: Api) -> None:
    """``records`` name their objects: a field in the URL contradicts them."""
    body = {"records": [{"uuid": ABSENT, "name": "a"}]}
    for method in ("PATCH", "DELETE"):
        assert_error(await api.admin(method, f"{SVMS}?name=a", body), errors.FIELDS_EXCLUDE_EACH_OTHER, "name")
        assert_error(await api.admin(method, f"{SVMS}?max_records=1", body), errors.UNEXPECTED_ARGUMENT, "max_records")
    assert_error(await api.admin.post(f"{SVMS}?name=a", of("a")), errors.POST_FILTER, "name")


async def test_unknown_fields_can_be_ignored(api: Api) -> None:
    """``ignore_unknown_fields`` holds for records as for one body."""
    body = {"records": [{"name": "a1", "x": 1}]}
    answer = await api.admin.post(f"{SVMS}?ignore_unknown_fields=true&serial_records=true&{WAIT}", body)
    assert answer.status == 201
    assert (await api.admin.post(f"{SVMS}?ignore_unknown_fields=True", {"name": "a2", "x": 1})).status == 201


async def test_results_are_those_of_one_collection(api: Api) -> None:
    """Another collection's job, an unknown one and no uuid are 262294; fields can be chosen, filters cannot."""
    answer = await api.admin.post(f"/api/v1/svm/svms/?{WAIT}", of("a1"))
    uuid = answer.body["job"]["uuid"]
    found = (await api.admin.get(f"{SVMS}?job_results_uuid={uuid}&fields=name&pretty=true")).body
    assert set(found["records"][0]) == {"uuid", "name", "_links"}
    assert found["_links"]["self"]["href"] == f"{SVMS}?job_results_uuid={uuid}&fields=name&pretty=true"
    for path in (f"{CERTIFICATES}?job_results_uuid={uuid}", f"{SVMS}?job_results_uuid={ABSENT}"):
        assert_error(await api.admin.get(path), errors.JOB_ELSEWHERE, "job_results_uuid")
    assert_error(await api.admin.get(f"{SVMS}?job_results_uuid=x"), errors.JOB_ELSEWHERE, "job_results_uuid")
    assert (await api.admin.get(f"{SVMS}?job_results_uuid={uuid}&name=a")).status == 400
    plain = await api.admin.get(f"{SVMS}?job_results_uuid={uuid}", headers={"accept": "application/json"})
    assert "_links" not in plain.body


async def test_results_of_a_job_that_runs_are_not_there(api: Api) -> None:
    """262293 until the job has ended; a stop ends it, and its results say that it was interrupted."""
    call = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", SVMS)
    running = (await api.services.jobs.run(call, _forever, svm=None)).job
    href = f"{SVMS}?job_results_uuid={running.uuid}"
    assert_error(await api.admin.get(href), errors.JOB_RUNNING, "job_results_uuid")
    await api.services.jobs.close()
    found = (await api.admin.get(href)).body
    assert found["errors"] == [{"message": errors.JOB_INTERRUPTED.text, "code": str(errors.JOB_INTERRUPTED.code)}]
    refused = await api.admin.post(SVMS, of("a2"))
    assert_error(refused, errors.SHUTTING_DOWN)


async def _forever(_: Progress) -> None:
    await asyncio.Event().wait()


async def test_a_fault_is_rolled_back_too(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """An unexpected exception fails the job with 262145; what was created before it is deleted again."""
    create = api.services.svms.create

    async def broken(call: Any, name: str, *more: Any) -> Any:
        if name == "a2":
            raise RuntimeError("c4nary")
        return await create(call, name, *more)

    monkeypatch.setattr(api.services.svms, "create", broken)
    job, found = await results(api, await api.admin.post(SVMS, of("a1", "a2")))
    assert (job["code"], job["message"]) == (errors.INTERNAL_ERROR.code, errors.INTERNAL_ERROR.text)
    assert found["errors"][0]["code"] == str(errors.INTERNAL_ERROR.code)
    assert await svms(api) == {}


async def test_progress_is_the_jobs_message(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it runs, a job says how many records are complete, and how many remain to be rolled back."""
    create, delete = api.services.svms.create, api.services.svms.delete
    said: list[str] = []

    async def message() -> None:
        (job,) = (await api.admin.get("/api/cluster/jobs?fields=message")).body["records"]
        said.append(job["message"])

    async def creating(call: Any, name: str, *more: Any) -> Any:
        await message()
        return await create(call, name, *more)

    async def deleting(call: Any, uuid: str) -> None:
        await message()
        await delete(call, uuid)

    monkeypatch.setattr(api.services.svms, "create", creating)
    monkeypatch.setattr(api.services.svms, "delete", deleting)
    await results(api, await api.admin.post(SVMS, of("a1", "a2", "a2")))
    assert said == [
        "",
        errors.RECORDS_DONE.text.format(done=1, all=3),
        errors.RECORDS_DONE.text.format(done=2, all=3),
        errors.RECORDS_REMAINING.text.format(left=2, all=3),
        errors.RECORDS_REMAINING.text.format(left=1, all=3),
    ]


async def test_an_svm_writes_its_own(api: Api, pki: Pki) -> None:
    """A job of a call that is confined to an SVM belongs to it, and its records are the SVM's."""
    await api.admin.post(SVMS, {"name": "vs0"})
    confined = {"x-dot-svm-name": "vs0"}
    body = {"records": [{"type": "server_ca", "public_certificate": pki.server_ca.pem, "name": "ca"}]}
    answer = await api.admin.post(f"{CERTIFICATES}?{WAIT}", body, headers=confined)
    assert answer.status == 201
    href = answer.body["job"]["_links"]["results"]["href"]
    (record,) = (await api.admin.get(href, headers=confined)).body["records"]
    assert record["svm"]["name"] == "vs0"
    await api.admin.post(SVMS, {"name": "vs1"})
    other = await api.admin.get(href, headers={"x-dot-svm-name": "vs1"})
    assert_error(other, errors.JOB_ELSEWHERE, "job_results_uuid")


async def test_who_may_only_read_makes_no_job(api: Api) -> None:
    """The role readonly is refused before anything is looked at."""
    assert_error(await api.readonly.post(SVMS, of("a1")), errors.NOT_AUTHORIZED)
    assert (await api.admin.get("/api/cluster/jobs")).body["num_records"] == 0

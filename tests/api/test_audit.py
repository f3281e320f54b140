"""``/security/audit`` and ``/security/audit/messages``: what is recorded, and who may read it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
import structlog

from keystead.core import errors
from keystead.core.model import Account, Role, Svm
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from typing import Any

    from tests.api.conftest import Api

AUDIT = "/api/security/audit"
MESSAGES = f"{AUDIT}/messages"
SVMS = "/api/svm/svms"


async def messages(client: AsgiClient, query: str = "fields=**") -> list[dict[str, Any]]:
    """Return the records that a client sees."""
    answer = await client.get(f"{MESSAGES}?{query}")
    assert answer.status == 200, answer.content
    records: list[dict[str, Any]] = answer.body["records"]
    assert answer.body["num_records"] == len(records)
    return records


async def vsadmin(api: Api, svm: Svm) -> AsgiClient:
    """Return a client that logs in as the administrator of an SVM."""
    admin = await api.store.read(lambda tx: tx.account("admin"))
    assert admin is not None
    account = Account(f"{svm.name}-admin", Role.VSADMIN, admin.password_hash, svm=svm)
    await api.store.write(lambda tx: tx.put_account(account))
    return AsgiClient(api.admin.app, account.name, PASSWORD)


async def test_a_change_and_a_refusal_are_read_back(api: Api) -> None:
    """Who, from where, what with which body, and how it ended; the node under its name."""
    await api.admin.post(SVMS, {"name": "vs0"})
    await api.admin.post(SVMS, {"name": "vs0"})
    first, made, refused = await messages(api.admin)
    (node,) = (await api.admin.get("/api/cluster/nodes")).body["records"]
    assert (first["application"], first["message"], first["index"]) == ("internal", "initialised", 1)
    assert made["node"] == {"uuid": node["uuid"], "name": node["name"], "_links": node["_links"]}
    assert (made["user"], made["role"], made["location"]) == ("admin", "admin", "192.0.2.7")
    assert made["input"] == 'POST /api/svm/svms : {"name":"vs0"}'
    assert (made["application"], made["state"], made["index"]) == ("http", "success", 2)
    assert (made["scope"], made["svm"]["name"]) == ("svm", "vs0")
    assert (refused["state"], refused["code"], refused["message"]) == ("error", "1", "duplicate entry")


async def test_records_are_filtered_ordered_and_paged(api: Api) -> None:
    """By what is stored and by what is computed; the newest first when asked."""
    for name in ("a", "b", "c"):
        await api.admin.post(SVMS, {"name": name})
    newest = await messages(api.admin, "order_by=timestamp%20desc&max_records=2")
    assert [record["index"] for record in newest] == [4, 3]
    (found,) = await messages(api.admin, "input=*%22b%22*&user=admin")
    assert found["index"] == 3
    assert await messages(api.admin, "application=internal&state=error") == []
    answer = (await api.admin.get(f"{MESSAGES}?max_records=3")).body
    rest = (await api.admin.get(answer["_links"]["next"]["href"])).body
    assert [record["index"] for record in answer["records"] + rest["records"]] == [1, 2, 3, 4]


async def test_records_cannot_be_written(api: Api) -> None:
    """They have no other method, and the settings no other fields."""
    for method in ("POST", "PATCH", "DELETE"):
        assert_error(await api.admin(method, MESSAGES, {}), errors.METHOD_NOT_SUPPORTED)
    assert_error(await api.admin.patch(AUDIT, {"snmp": True}), errors.UNEXPECTED_ARGUMENT, "snmp")
    assert_error(await api.admin.patch(AUDIT, {"http": "maybe"}), errors.INVALID_FIELD_VALUE, "http")
    assert_error(await api.readonly.patch(AUDIT, {"http": True}), errors.NOT_AUTHORIZED)


async def test_reads_are_recorded_once_asked_for(api: Api) -> None:
    """From the PATCH on, until the next; refused reads with their code; never their query."""
    links = {"_links": {"self": {"href": AUDIT}}}
    assert (await api.admin.get(AUDIT)).body == {"cli": False, "http": False, "ontapi": False} | links
    await api.readonly.get(SVMS)
    assert (await api.admin.patch(AUDIT, {"http": "true"})).body == {}
    await api.readonly.get(f"{SVMS}?name=vs0")
    await api.readonly.get(f"{SVMS}/{ABSENT}")
    assert (await api.admin.get(f"{AUDIT}?fields=http")).body["http"] is True
    await api.admin.patch(AUDIT, {"http": False})
    await api.readonly.get(SVMS)
    records = await messages(api.admin)
    assert [(record["input"], record["state"], record.get("code")) for record in records[1:]] == [
        (f'PATCH {AUDIT} : {{"http":"true"}}', "success", None),
        (f"GET {SVMS}", "success", None),
        (f"GET {SVMS}/{ABSENT}", "error", "4"),
        (f"GET {AUDIT}", "success", None),
        (f'PATCH {AUDIT} : {{"http":false}}', "success", None),
    ]
    assert [record["user"] for record in records[2:4]] == ["auditor", "auditor"]


async def test_an_svm_reads_what_concerns_it(api: Api) -> None:
    """Its own things and its own accounts' calls, whoever had its name before; nothing counts what it does not see."""
    for name in ("vs0", "vs1"):
        await api.admin.post(SVMS, {"name": name})
    found = (await api.admin.get(f"{SVMS}?name=vs*&order_by=name")).body["records"]
    own, other = (Svm(record["uuid"], record["name"]) for record in found)
    client = await vsadmin(api, own)
    assert_error(await client.delete(f"{SVMS}/{other.uuid}"), errors.NOT_AUTHORIZED)
    await api.admin.patch(f"{SVMS}/{own.uuid}", {"name": "vs2"})
    await api.admin.patch(f"{SVMS}/{other.uuid}", {"name": "vs0"})
    records = await messages(client)
    assert {record["svm"]["uuid"] for record in records} == {own.uuid}
    assert [record["state"] for record in records] == ["success", "error", "success"]
    assert await messages(client, f"svm.uuid={other.uuid}") == []
    assert await messages(client, "scope=cluster") == []
    assert_error(await client.get(AUDIT), errors.NOT_AUTHORIZED)
    headers = {"x-dot-svm-name": "vs2"}
    answer = await api.admin.patch(f"{SVMS}/{other.uuid}", {"name": "x"}, headers=headers)
    assert_error(answer, errors.ENTRY_NOT_FOUND, "uuid")
    assert other.uuid not in repr([record for record in await messages(client) if record["user"] == "admin"])


async def test_an_svm_cannot_count_what_others_do(api: Api) -> None:
    """No index, which is the node's, is shown, filtered by or ordered by."""
    await api.admin.post(SVMS, {"name": "vs0"})
    confined = {"x-dot-svm-name": "vs0"}
    (record,) = (await api.admin.get(f"{MESSAGES}?fields=*", headers=confined)).body["records"]
    assert "index" not in record
    for query in ("index=>1", "order_by=index", "index=1|2"):
        answer = await api.admin.get(f"{MESSAGES}?{query}", headers=confined)
        assert_error(answer, errors.UNEXPECTED_ARGUMENT, "index")
    assert (await messages(api.admin, "index=>1"))[0]["index"] == 2


@pytest.mark.parametrize("path", [AUDIT, MESSAGES])
async def test_a_tunnelled_call_reads_as_the_svm(api: Api, path: str) -> None:
    """The settings are the cluster's; of the records, those of the SVM are left."""
    await api.admin.post(SVMS, {"name": "vs0"})
    await api.admin.post(SVMS, {"name": "vs1"})
    answer = await api.admin.get(path, headers={"x-dot-svm-name": "vs0"})
    if path == AUDIT:
        assert_error(answer, errors.ENTRY_NOT_FOUND, "uuid")
    else:
        assert answer.body["num_records"] == 1


async def test_a_denied_read_is_recorded_once_whatever_the_options_say(api: Api) -> None:
    """Also by HEAD; a read of something that is not there is no denial."""
    await api.admin.post(SVMS, {"name": "vs0"})
    (found,) = (await api.admin.get(f"{SVMS}?name=vs0")).body["records"]
    client = await vsadmin(api, Svm(found["uuid"], found["name"]))
    for http in (False, True):
        await api.admin.patch(AUDIT, {"http": http})
        before = len(await api.audit())
        assert_error(await client.get(AUDIT), errors.NOT_AUTHORIZED)
        denied = (await api.audit())[before:]
        assert [(each.account, each.method, each.path, each.code) for each in denied] == [
            ("vs0-admin", "GET", AUDIT, "6")
        ]
        assert (await client("HEAD", AUDIT)).status == 403
        assert [each.method for each in (await api.audit())[before:]] == ["GET", "HEAD"]
    await api.admin.patch(AUDIT, {"http": False})
    before = len(await api.audit())
    assert (await client.get(f"{SVMS}/{ABSENT}")).status == 404
    assert len(await api.audit()) == before


PEM = "-----BEGIN EC PRIVATE KEY-----\nCANARY+/canary==\n-----END EC PRIVATE KEY-----\n"
PASTED = quote(PEM, safe="")


@pytest.mark.parametrize(
    "url",
    [
        f"{SVMS}?return_timeout={PASTED}",
        f"{SVMS}?{PASTED}=1",
        f"{SVMS}?return_timeout={PEM[:30].strip().replace(' ', '+')}CANARY",
        f"{SVMS}?fields={PASTED}",
        f"{SVMS}?order_by={PASTED}",
        f"{SVMS}/{PASTED}",
        f"/api/no/such/{PASTED}",
    ],
    ids=["value", "name", "plus", "fields", "order", "path", "nowhere"],
)
async def test_a_private_key_in_a_url_is_masked(api: Api, url: str) -> None:
    """In records of reads and writes, in their messages, in errors, and in the log."""
    await api.admin.patch(AUDIT, {"http": True})
    with structlog.testing.capture_logs() as logs:
        answers = [await api.admin.get(url), await api.admin.post(url, {"name": "vs0"}), await api.admin.patch(url, {})]
    records = await api.audit()
    assert len(records) >= 3
    assert "CANARY" not in repr(records) + repr(logs)
    assert not [each for each in answers if each.status >= 400 and b"CANARY" in each.content]

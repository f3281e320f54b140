"""``/security/key-managers`` in PATCH and DELETE, and what a POST may hold beside certificates and servers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.model import Account, Node, Release, Role
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

KEY_MANAGERS = "/api/security/key-managers"
PASSPHRASE = "a passphrase of more than thirty-two characters"


async def renewed(api: Api, pki: Pki, **more: Any) -> str:
    """Install a client certificate of the same key pair; return its uuid."""
    leaf = pki.client_ca.issue((), common_name="keystead", purpose="client", key=pki.client.key)
    return await api.certificate("client", leaf.certificate_pem, pki.client.key_pem, **{"name": "renewed", **more})


async def external(api: Api, uuid: str) -> dict[str, Any]:
    """Return the ``external`` of a key manager as Ansible compares it."""
    shown = await api.admin.get(f"{KEY_MANAGERS}/{uuid}?fields=external", headers={"accept": "application/json"})
    return dict(shown.body["external"])


async def end_of(api: Api, job: str) -> str:
    """Look at a job until it has ended, as clients do."""
    for _ in range(200):
        state: str = (await api.admin.get(job)).body["state"]
        if state != "running":
            return state
        await asyncio.sleep(0.05)
    raise AssertionError(job)


# --- PATCH ---


async def test_certificates_as_ansible_changes_them(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Uuids with the SVM's name; the answer is an empty object, and the next read shows what the play says."""
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    uuid = await api.key_manager(pki, [pykmip_servers[0].address], svm={"name": "vs0"})
    client = await renewed(api, pki)
    ca = await api.certificate("server_ca", pki.server_ca.pem, name="ca again", **{"svm.name": "vs0"})
    body = {"external": {"client_certificate": {"uuid": client}, "server_ca_certificates": [{"uuid": ca}]}}
    answer = await api.admin.patch(f"{KEY_MANAGERS}/{uuid}?return_timeout=30", body | {"svm": {"name": "vs0"}})
    assert (answer.status, answer.body) == (200, {})
    after = await external(api, uuid)
    assert after["client_certificate"] == {"uuid": client, "name": "renewed"}
    assert after["server_ca_certificates"] == [{"uuid": ca}]
    (record,) = [record for record in await api.audit() if record.method == "PATCH"]
    assert (record.state, record.svm) == ("success", "vs0")


async def test_certificates_by_name(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Names instead of uuids, in POST and in PATCH; both must be of the same one."""
    client, ca = await api.certificates(pki)
    names = [(await api.admin.get(f"/api/security/certificates/{each}")).body["name"] for each in (client, ca)]
    body = {
        "external": {
            "client_certificate": {"name": names[0]},
            "server_ca_certificates": [{"name": names[1]}],
            "servers": [{"server": pykmip_servers[0].address}],
        }
    }
    made = await api.admin.post(f"{KEY_MANAGERS}?return_records=true", body)
    assert made.status == 201
    uuid = made.body["records"][0]["uuid"]
    assert (await external(api, uuid))["client_certificate"] == {"uuid": client, "name": names[0]}
    await renewed(api, pki)
    change: Any = {"external": {"client_certificate": {"name": "renewed"}}}
    assert (await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", change)).status == 200
    assert (await external(api, uuid))["client_certificate"]["name"] == "renewed"
    change["external"]["client_certificate"]["uuid"] = ABSENT
    answer = await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", change)
    assert_error(answer, errors.CERTIFICATE_NOT_INSTALLED, "external.client_certificate")


async def test_names_of_cas_are_shown_by_name_only(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Ansible asks for their parent and compares it with uuids alone: a name there would make every run a change."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    for fields, members in (
        ("*", {"uuid"}),
        ("status,external,uuid,onboard", {"uuid"}),
        ("external.server_ca_certificates", {"uuid"}),
        ("external.server_ca_certificates.name", {"name"}),
    ):
        shown = await api.admin.get(f"{KEY_MANAGERS}/{uuid}?fields={fields}", headers={"accept": "application/json"})
        assert [set(ca) for ca in shown.body["external"]["server_ca_certificates"]] == [members], fields
    shown = await api.admin.get(f"{KEY_MANAGERS}/{uuid}?fields=**")
    (ca,) = shown.body["external"]["server_ca_certificates"]
    certificate = await api.admin.get(f"/api/security/certificates/{ca['uuid']}?fields=name")
    assert certificate.body["name"] == ca["name"]
    found = await api.admin.get(f"{KEY_MANAGERS}?external.server_ca_certificates.name={ca['name']}")
    assert found.body["num_records"] == 1


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({}, errors.NO_VALUES, None),
        ({"scope": "cluster"}, errors.NO_VALUES, None),
        ({"external": {"client_certificate": {}}}, errors.NO_VALUES, None),
        ({"external": {"server_ca_certificates": [{}]}, "scope": "cluster"}, errors.MISSING_VALUE, "@[0].uuid"),
        ({"external": {"server_ca_certificates": []}, "policy": "p"}, errors.POLICY_ON_ADMIN_SVM, "policy"),
        ({"external": {"server_ca_certificates": []}, "scope": "cluster"}, errors.EXTERNAL_INCOMPLETE, "@"),
        ({"external": {"server_ca_certificates": []}}, errors.EXTERNAL_INCOMPLETE, "@"),
        ({"external": {"server_ca_certificates": [{}]}}, errors.MISSING_VALUE, "@[0].uuid"),
        ({"external": {"server_ca_certificates": [{"uuid": ABSENT}]}}, errors.CERTIFICATE_NOT_INSTALLED, "@[0]"),
        (
            {"external": {"client_certificate": {"uuid": ABSENT}}},
            errors.CERTIFICATE_NOT_INSTALLED,
            "external.client_certificate",
        ),
        ({"external": {"servers": []}, "scope": "cluster"}, errors.FIELD_NOT_SETTABLE, "external.servers"),
        (
            {"external": {"servers": [{"server": "a"}]}},
            errors.FIELD_NOT_SETTABLE,
            "external.servers[0].server",
        ),
        ({"enabled": True}, errors.FIELD_NOT_SETTABLE, "enabled"),
        ({"configuration": {"name": "x"}}, errors.FIELD_NOT_SETTABLE, "configuration.name"),
        ({"scope": "svm", "policy": "p"}, errors.INVALID_VALUE, "scope"),
        ({"svm": {"name": "vs0"}, "policy": "p"}, errors.INVALID_VALUE, "svm.name"),
        ({"svm": {"uuid": ABSENT}, "policy": "p"}, errors.INVALID_VALUE, "svm.uuid"),
    ],
)
async def test_a_change_that_is_refused(
    api: Api, pki: Pki, pykmip_servers: list[Program], body: Any, kind: errors.ErrorKind, target: str | None
) -> None:
    """Each fault has its code, and nothing changes. ``@`` stands for the list of CAs."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    before = await external(api, uuid)
    expected = target.replace("@", "external.server_ca_certificates") if target else None
    assert_error(await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", body), kind, expected)
    assert await external(api, uuid) == before


async def test_another_key_pair(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """65536850, before any server is asked."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    other = pki.client_ca.issue((), purpose="client")
    client = await api.certificate("client", other.certificate_pem, other.key_pem, name="other")
    body = {"external": {"client_certificate": {"uuid": client}}}
    for query in ("", "?validate_certificates=true"):
        answer = await api.admin.patch(f"{KEY_MANAGERS}/{uuid}{query}", body)
        assert_error(answer, errors.KEY_PAIR, "external.client_certificate")


async def test_validation_as_a_job(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """202 and a job that ends well; or its end at once, within return_timeout; a refusal is the job's failure."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    url = f"{KEY_MANAGERS}/{uuid}?validate_certificates=true"
    ca = await api.certificate("server_ca", pki.server_ca.pem, name="again")
    answer = await api.admin.patch(url, {"external": {"server_ca_certificates": [{"uuid": ca}]}})
    assert answer.status == 202
    job = answer.body["job"]["_links"]["self"]["href"]
    assert await end_of(api, job) == "success"
    assert (await external(api, uuid))["server_ca_certificates"] == [{"uuid": ca}]
    wrong = await api.certificate("server_ca", pki.client_ca.pem, name="wrong")
    body = {"external": {"server_ca_certificates": [{"uuid": wrong}]}}
    answer = await api.admin.patch(f"{url}&return_timeout=30", body)
    assert answer.status == 400
    error = answer.body["error"]
    assert (error["code"], error["target"]) == (
        str(errors.SERVER_CA_REFUSED.code),
        "external.server_ca_certificates",
    )
    answer = await api.admin.patch(
        f"{url}&return_timeout=30", {"external": {"client_certificate": {"uuid": await renewed(api, pki)}}}
    )
    assert answer.status == 200
    assert answer.body["job"]["uuid"]
    assert_error(await api.admin.patch(url.replace(uuid, ABSENT), body), errors.ENTRY_NOT_FOUND, "uuid")


async def test_a_policy_is_an_svms(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A name that is kept and shown; what is no name is 65538111."""
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    uuid = await api.key_manager(pki, [pykmip_servers[0].address], svm={"name": "vs0"}, policy="gold")
    shown = (await api.admin.get(f"{KEY_MANAGERS}?policy=gold")).body["records"]
    assert [(record["uuid"], record["policy"]) for record in shown] == [(uuid, "gold")]
    assert (await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", {"policy": "silver"})).status == 200
    assert (await api.admin.get(f"{KEY_MANAGERS}/{uuid}")).body["policy"] == "silver"
    answer = await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", {"policy": " "})
    assert_error(answer, errors.POLICY_INVALID, "policy")


async def test_how_many_copies_is_a_policy_too(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """0 to 4, also more than there are servers; given at once or later, shown, searched for; 0 is the default again."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address], min_copies=3)
    path = f"{KEY_MANAGERS}/{uuid}"
    shown = (await api.admin.get(f"{KEY_MANAGERS}?min_copies=>2")).body["records"]
    assert [(record["uuid"], record["min_copies"]) for record in shown] == [(uuid, 3)]
    assert (await api.admin.patch(path, {"min_copies": 0})).status == 200
    assert "min_copies" not in (await api.admin.get(path)).body
    for value in (-1, 5, True, 1.5):
        answer = await api.admin.patch(path, {"min_copies": value})
        assert_error(answer, errors.INVALID_FIELD_VALUE, "min_copies")


async def test_the_interval_of_checks_is_a_setting_of_the_key_manager(
    api: Api, pki: Pki, pykmip_servers: list[Program]
) -> None:
    """Up to a day; given at once or later, shown, searched for, audited and rolled back; 0 is the node's setting."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address], monitor_interval=60)
    path = f"{KEY_MANAGERS}/{uuid}"
    shown = (await api.admin.get(f"{KEY_MANAGERS}?monitor_interval=>59&order_by=monitor_interval")).body["records"]
    assert [(record["uuid"], record["monitor_interval"]) for record in shown] == [(uuid, 60)]
    assert (await api.admin.patch(path, {"monitor_interval": 0})).status == 200
    assert "monitor_interval" not in (await api.admin.get(path)).body
    for value in (-1, 86_401, True, 1.5, None):
        answer = await api.admin.patch(path, {"monitor_interval": value})
        assert_error(answer, errors.INVALID_FIELD_VALUE, "monitor_interval")
    assert "monitor_interval" not in (await api.admin.get(path)).body
    assert (await api.admin.patch(path, {"monitor_interval": 86_400})).status == 200
    assert (await api.admin.get(path)).body["monitor_interval"] == 86_400
    audited = (await api.admin.get("/api/security/audit/messages?fields=*&input=*86400*")).body["records"]
    assert [(each["state"], each["message"]) for each in audited] == [("success", f"changed key manager {uuid}")]


# --- the Onboard Key Manager ---


@pytest.mark.parametrize(
    "onboard",
    [
        {},
        {"passphrase": PASSPHRASE},
        {"passphrase": PASSPHRASE, "existing_passphrase": PASSPHRASE},
        {"existing_passphrase": PASSPHRASE, "synchronize": True},
        {"enabled": True},
    ],
    ids=lambda onboard: "+".join(onboard) or "empty",
)
async def test_there_is_no_onboard_key_manager(
    api: Api, pki: Pki, pykmip_servers: list[Program], onboard: dict[str, Any]
) -> None:
    """65536508 for what would make or change one; the passphrase is nowhere afterwards."""
    target = "onboard.enabled" if "enabled" in onboard else "onboard"
    assert_error(await api.admin.post(KEY_MANAGERS, {"onboard": onboard}), errors.ONBOARD, target)
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    if onboard:
        assert_error(await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", {"onboard": onboard}), errors.ONBOARD, target)
    assert not [record for record in await api.audit() if PASSPHRASE in str(record)]


async def test_a_passphrase_is_never_repeated(api: Api) -> None:
    """Neither in a URL nor as a value of a wrong type."""
    answer = await api.admin.post(f"{KEY_MANAGERS}?onboard.passphrase={PASSPHRASE[:12].replace(' ', '+')}", {})
    assert_error(answer, errors.SECRET_IN_URL, "onboard.passphrase")
    answer = await api.admin.post(KEY_MANAGERS, {"onboard": {"passphrase": [PASSPHRASE]}})
    assert PASSPHRASE not in answer.content.decode()
    assert answer.status == 400


# --- what is shown ---


async def test_everything_that_a_key_manager_shows(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """All fields of ONTAP's object; the status only when it is asked for."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    shown = (await api.admin.get(f"{KEY_MANAGERS}/{uuid}?fields=*")).body
    assert shown["enabled"] is True
    assert shown["onboard"] == {"enabled": False}
    assert shown["is_default_data_at_rest_encryption_disabled"] is True
    assert shown["volume_encryption"]["supported"] is False
    assert shown["volume_encryption"]["code"] == 65536935
    assert shown["configuration"] == {
        "name": "default",
        "uuid": uuid,
        "_links": {"self": {"href": f"/api/security/key-stores/{uuid}"}},
    }
    assert "policy" not in shown
    assert "status" not in shown
    found = (await api.admin.get(f"{KEY_MANAGERS}?configuration.uuid={uuid}&configuration.name=default")).body
    assert found["num_records"] == 1
    for field in ("onboard.passphrase", "onboard.existing_passphrase"):
        assert_error(await api.admin.get(f"{KEY_MANAGERS}?fields={field}"), errors.FIELD_NOT_READABLE, "fields")
    assert (await api.admin.get(f"{KEY_MANAGERS}?fields=onboard.key_backup")).status == 200


# --- DELETE ---


async def test_a_key_manager_is_deleted(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """200 with an empty object; its servers are gone, its certificates free; then there is none to delete."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    answer = await api.admin.delete(f"{KEY_MANAGERS}/{uuid}?return_timeout=30", {})
    assert (answer.status, answer.body) == (200, {})
    assert_error(await api.admin.get(f"{KEY_MANAGERS}/{uuid}/key-servers"), errors.ENTRY_NOT_FOUND, "uuid")
    for record in (await api.admin.get("/api/security/certificates")).body["records"]:
        assert (await api.admin.delete(record["_links"]["self"]["href"])).status == 200
    assert_error(await api.admin.delete(f"{KEY_MANAGERS}/{uuid}"), errors.ENTRY_NOT_FOUND, "uuid")


async def test_key_managers_are_deleted_by_query(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """As Ansible does when it knows no uuid: by scope, or by SVM; without a filter nothing is deleted."""
    server = pykmip_servers[0].address
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    of_svm = await api.key_manager(pki, [server], svm={"name": "vs0"})
    external_of_svm = await external(api, of_svm)
    external_of_svm["client_certificate"].pop("name")
    external_of_svm["servers"] = [{"server": server}]
    assert (await api.admin.post(KEY_MANAGERS, {"external": external_of_svm})).status == 201
    assert_error(await api.admin.delete(KEY_MANAGERS), errors.QUERY_REQUIRED)
    for query in ("scope=cluster", "scope=svm&svm.name=vs0"):
        answer = await api.admin.delete(f"{KEY_MANAGERS}?{query}&return_timeout=30", {})
        assert (answer.status, answer.body["num_records"]) == (200, 1)
    assert (await api.admin.get(KEY_MANAGERS)).body["num_records"] == 0


# --- SVM accounts ---


async def test_an_svms_administrator(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Makes, changes and deletes the SVM's key manager with its own certificates; the cluster's does not exist."""
    svm = (await api.admin.post("/api/svm/svms", {"name": "vs0"})).headers["location"].rpartition("/")[2]
    of_cluster = await api.key_manager(pki, [pykmip_servers[0].address])

    def add(tx: Any) -> None:
        tx.put_account(Account("vs0admin", Role.VSADMIN, tx.account("admin").password_hash, svm=tx.svm(svm)))

    await api.store.write(add)
    own = AsgiClient(api.admin.app, "vs0admin", PASSWORD)
    shown = (await own.get(f"/api/svm/svms/{svm}?fields=key_manager")).body
    assert shown["key_manager"] == {"scope": "cluster"}
    for answer in (
        await own.patch(f"{KEY_MANAGERS}/{of_cluster}", {"policy": "p"}),
        await own.delete(f"{KEY_MANAGERS}/{of_cluster}"),
        await own.get(f"/api/security/key-stores/{of_cluster}"),
    ):
        assert_error(answer, errors.ENTRY_NOT_FOUND, "uuid")
    cluster_external = await external(api, of_cluster)
    cluster_external["servers"] = [{"server": pykmip_servers[0].address}]
    answer = await own.post(KEY_MANAGERS, {"external": cluster_external})
    assert_error(answer, errors.CERTIFICATE_NOT_INSTALLED, "external.client_certificate")
    svm_name: dict[str, Any] = {"svm": {"name": "vs0"}}
    client = await renewed(api, pki, **svm_name)
    ca = await api.certificate("server_ca", pki.server_ca.pem, name="ca", **svm_name)
    body = {"client_certificate": {"name": "renewed"}, "server_ca_certificates": [{"uuid": ca}]}
    made = await own.post(KEY_MANAGERS, {"external": body | {"servers": cluster_external["servers"]}})
    assert made.status == 201
    uuid = made.headers["location"].rpartition("/")[2]
    shown = (await own.get("/api/svm/svms?name=vs0&fields=key_manager")).body["records"][0]
    assert shown["key_manager"] == {"uuid": uuid, "scope": "svm"}
    assert (
        await own.patch(f"{KEY_MANAGERS}/{uuid}", {"external": {"client_certificate": {"uuid": client}}})
    ).status == 200
    assert (await own.delete(f"{KEY_MANAGERS}/{uuid}")).status == 200
    assert (await api.admin.get(f"/api/svm/svms/{svm}?fields=key_manager")).body["key_manager"] == {
        "uuid": of_cluster,
        "scope": "cluster",
    }


async def test_an_svm_without_any_key_manager(api: Api) -> None:
    """The field is left out, and comes only when it is asked for."""
    svm = (await api.admin.post("/api/svm/svms", {"name": "vs0"})).headers["location"]
    for query in ("", "?fields=*", "?fields=key_manager", "?fields=**"):
        assert "key_manager" not in (await api.admin.get(f"{svm}{query}")).body


async def test_an_old_node_forbids_an_svms_changes(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """65536822 for a change, but a key manager that is not supported any more can be deleted."""
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    uuid = await api.key_manager(pki, [pykmip_servers[0].address], svm={"name": "vs0"})
    await api.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 5, 0))))
    answer = await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", {"policy": "p"})
    assert_error(answer, errors.CLUSTER_VERSION)
    assert (await api.admin.delete(f"{KEY_MANAGERS}/{uuid}")).status == 200

"""``/security/key-managers``: external key managers over real KMIP servers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error
from tests.peers.fault_servers import refused_port

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

KEY_MANAGERS = "/api/security/key-managers"


async def test_a_cluster_key_manager_is_shown_as_ansible_needs_it(
    api: Api, pki: Pki, pykmip_servers: list[Program]
) -> None:
    """Servers with their port in the order of creation, CA entries of uuid alone, no onboard key manager."""
    addresses = [server.address for server in pykmip_servers[:2]]
    uuid = await api.key_manager(pki, addresses)
    query = f"{KEY_MANAGERS}?scope=cluster&fields=status%2Cexternal%2Cuuid%2Conboard"
    (record,) = (await api.admin.get(query, headers={"accept": "application/json"})).body["records"]
    client, server_ca = [
        found["uuid"]
        for type_ in ("client", "server_ca")
        for found in (await api.admin.get(f"/api/security/certificates?type={type_}")).body["records"]
    ]
    for server in record["external"]["servers"]:
        assert server.pop("connectivity")["cluster_availability"] is True
    assert record == {
        "uuid": uuid,
        "scope": "cluster",
        "external": {
            "client_certificate": {"uuid": client, "name": record["external"]["client_certificate"]["name"]},
            "server_ca_certificates": [{"uuid": server_ca}],
            "servers": [{"server": address, "timeout": 25, "username": ""} for address in addresses],
        },
        "onboard": {"enabled": False},
        "configuration": {"name": "default", "uuid": uuid},
        "enabled": True,
        "status": {"code": 65537200, "message": "No action needed at this time."},
    }


async def test_links_stand_in_every_member(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """With HAL each referenced object links to itself, and the links can be followed."""
    uuid = await api.key_manager(pki, [pykmip_servers[0].address])
    shown = (await api.admin.get(f"{KEY_MANAGERS}/{uuid}")).body
    external = shown["external"]
    assert shown["_links"]["self"]["href"] == f"{KEY_MANAGERS}/{uuid}"
    linked = [external["client_certificate"], *external["server_ca_certificates"], *external["servers"]]
    for member in linked:
        assert (await api.admin.get(member["_links"]["self"]["href"])).status == 200
    assert "status" not in shown
    assert shown["enabled"] is True


async def test_a_first_server_may_need_another_name(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """``tls_server_name`` is proved with, stored and shown, as for a server that is added later."""
    client, server_ca = await api.certificates(pki)
    external = {"client_certificate": {"uuid": client}, "server_ca_certificates": [{"uuid": server_ca}]}
    server = {"server": pykmip_servers[0].address, "tls_server_name": "kms.example.com"}
    refused = await api.admin.post(KEY_MANAGERS, {"external": {**external, "servers": [server]}})
    assert_error(refused, errors.SERVER_CA_REFUSED, refused.body["error"]["target"])
    server["tls_server_name"] = "localhost"
    made = await api.admin.post(KEY_MANAGERS, {"external": {**external, "servers": [server]}})
    assert made.status == 201
    shown = (await api.admin.get(f"{made.headers['location']}?fields=external.servers.tls_server_name")).body
    assert shown["external"]["servers"][0]["tls_server_name"] == "localhost"


async def test_servers_are_declared_to_be_a_cluster(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """``replication_domain`` is given with the first servers, or with a later one; it is shown where there is one."""
    client, server_ca = await api.certificates(pki)
    first, second = ({"server": server.address} for server in pykmip_servers[:2])
    external = {"client_certificate": {"uuid": client}, "server_ca_certificates": [{"uuid": server_ca}]}
    servers = [first, {**second, "replication_domain": "site a"}]
    made = await api.admin.post(KEY_MANAGERS, {"external": {**external, "servers": servers}})
    assert made.status == 201
    later = {"server": pykmip_servers[2].address, "replication_domain": "site a"}
    assert (await api.admin.post(f"{made.headers['location']}/key-servers", later)).status == 201
    shown = (await api.admin.get(f"{made.headers['location']}?fields=external.servers.replication_domain")).body
    declared = [server.get("replication_domain") for server in shown["external"]["servers"]]
    assert declared == [None, "site a", "site a"]


async def test_an_svm_has_a_key_manager_of_its_own(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """It is found by scope and SVM name, and a second one is 65536823."""
    svm = (await api.admin.post("/api/svm/svms", {"name": "vs0"})).headers["location"].rpartition("/")[2]
    uuid = await api.key_manager(pki, [pykmip_servers[0].address], svm={"name": "vs0"}, scope="svm")
    (record,) = (await api.admin.get(f"{KEY_MANAGERS}?scope=svm&svm.name=vs0&fields=uuid,svm.uuid")).body["records"]
    assert (record["uuid"], record["svm"]["uuid"], record["svm"]["name"]) == (uuid, svm, "vs0")
    for query, found in (
        ("scope=cluster", 0),
        ("svm.name=vs1", 0),
        (f"svm.uuid={svm}", 1),
        (f"external.servers.server={pykmip_servers[0].address}", 1),
        ("external.servers.server=127.0.0.1:1", 0),
        ("enabled=true", 1),
        ("enabled=false", 0),
    ):
        assert (await api.admin.get(f"{KEY_MANAGERS}?{query}")).body["num_records"] == found, query
    certificates = record_external(await api.admin.get(f"{KEY_MANAGERS}/{uuid}"))
    again = await api.admin.post(f"{KEY_MANAGERS}?return_timeout=30", {"svm": {"uuid": svm}, "external": certificates})
    assert_error(again, errors.KEY_MANAGER_EXISTS)


def record_external(answer: Any) -> dict[str, Any]:
    """Return an ``external`` object as a client would send back what it read."""
    external = answer.body["external"]
    del external["client_certificate"]["name"]
    external["servers"] = [{"server": found["server"], "_links": found["_links"]} for found in external["servers"]]
    return dict(external)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"external": {}},
        {"external": {"client_certificate": {}, "server_ca_certificates": [], "servers": []}},
        {"external": {"client_certificate": {"uuid": ABSENT}, "server_ca_certificates": [{"uuid": ABSENT}]}},
        {"external": {"client_certificate": {"uuid": ABSENT}, "servers": [{"server": "a"}]}},
        {"external": {"server_ca_certificates": [{"uuid": ABSENT}], "servers": [{"server": "a"}]}},
    ],
)
async def test_an_incomplete_key_manager_is_65536876(api: Api, body: dict[str, Any]) -> None:
    """Client certificate, server CAs and servers are all needed."""
    assert_error(await api.admin.post(KEY_MANAGERS, body), errors.EXTERNAL_INCOMPLETE)


async def test_certificates_must_be_installed(api: Api) -> None:
    """A uuid that names no certificate is 65536821."""
    external = {
        "client_certificate": {"uuid": ABSENT},
        "server_ca_certificates": [{"uuid": ABSENT}],
        "servers": [{"server": "a"}],
    }
    answer = await api.admin.post(KEY_MANAGERS, {"external": external})
    assert_error(answer, errors.CERTIFICATE_NOT_INSTALLED, "external.client_certificate")


async def test_scope_must_agree_with_svm(api: Api) -> None:
    """``scope`` is accepted as clients send it, and verified."""
    external = {
        "client_certificate": {"uuid": ABSENT},
        "server_ca_certificates": [{"uuid": ABSENT}],
        "servers": [{"server": "a"}],
    }
    for body in ({"scope": "svm"}, {"scope": "cluster", "svm": {"name": "vs0"}}):
        answer = await api.admin.post(KEY_MANAGERS, {"external": external, **body})
        assert_error(answer, errors.INVALID_VALUE, "scope")


async def test_servers_are_proved_before_anything_is_stored(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """A server that does not answer refuses the whole key manager, with its place as the target."""
    client, server_ca = await api.certificates(pki)
    external = {
        "client_certificate": {"uuid": client},
        "server_ca_certificates": [{"uuid": server_ca}],
        "servers": [{"server": pykmip_servers[0].address}, {"server": f"127.0.0.1:{refused_port()}"}],
    }
    answer = await api.admin.post(KEY_MANAGERS, {"external": external})
    error = assert_error(answer, errors.NETWORK, "external.servers[1].server")
    assert {"code": "reason", "message": "connection_refused"} in error["arguments"]
    assert (await api.admin.get(KEY_MANAGERS)).body["num_records"] == 0


async def test_a_certificate_in_use_stays(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """3735683 while a key manager refers to it."""
    await api.key_manager(pki, [pykmip_servers[0].address])
    for record in (await api.admin.get("/api/security/certificates")).body["records"]:
        assert_error(await api.admin.delete(record["_links"]["self"]["href"]), errors.CERTIFICATE_IN_USE)


async def test_an_absent_key_manager_is_code_4(api: Api) -> None:
    """404 with target uuid."""
    assert_error(await api.admin.get(f"{KEY_MANAGERS}/{ABSENT}"), errors.ENTRY_NOT_FOUND, "uuid")
    assert_error(await api.admin.get(f"{KEY_MANAGERS}/{ABSENT}/key-servers"), errors.ENTRY_NOT_FOUND, "uuid")

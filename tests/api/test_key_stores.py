"""``/security/key-stores``, and inactive key managers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keystead.core import errors
from keystead.core.model import Cluster, Node, Release
from keystead.core.server_address import ServerAddress
from tests.api.conftest import ABSENT
from tests.peers.asgi import assert_error
from tests.peers.fault_servers import refused_port

if TYPE_CHECKING:
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

KEY_MANAGERS = "/api/security/key-managers"
KEY_STORES = "/api/security/key-stores"


async def new_body(api: Api, pki: Pki, servers: list[Program], **more: Any) -> dict[str, Any]:
    """Return a key manager of the first server, as a body."""
    client, server_ca = await api.certificates(pki)
    external = {
        "client_certificate": {"uuid": client},
        "server_ca_certificates": [{"uuid": server_ca}],
        "servers": [{"server": servers[0].address}],
    }
    return {"external": external, **more}


async def test_an_inactive_configuration(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Made, shown, enabled; it is one thing under two paths."""
    body = await new_body(api, pki, pykmip_servers, configuration={"name": "spare"})
    made = await api.admin.post(f"{KEY_MANAGERS}?create_inactive=true", body)
    assert made.status == 201
    uuid = made.headers["location"].rpartition("/")[2]
    manager = (await api.admin.get(f"{KEY_MANAGERS}/{uuid}")).body
    assert (manager["enabled"], manager["configuration"]["name"]) == (False, "spare")
    plain = {"accept": "application/json"}
    (listed,) = (await api.admin.get(f"{KEY_STORES}?enabled=false&fields=*", headers=plain)).body["records"]
    assert listed == {
        "uuid": uuid,
        "type": "kmip",
        "location": "external",
        "enabled": False,
        "is_svm_kek": False,
        "scope": "cluster",
        "configuration": {"name": "spare", "uuid": uuid},
    }
    for create, kind in (
        ("", errors.ENABLE_BESIDE_INACTIVE),
        ("?create_inactive=true", errors.INACTIVE_BESIDE_ANOTHER),
    ):
        error = assert_error(await api.admin.post(f"{KEY_MANAGERS}{create}", body), kind)
        assert error["arguments"] == [{"code": "key_manager", "message": uuid}]
    answer = await api.admin.patch(f"{KEY_MANAGERS}/{uuid}", {"external": {"client_certificate": {"uuid": ABSENT}}})
    assert_error(answer, errors.INACTIVE_UNCHANGEABLE)
    assert_error(await api.admin.delete(f"{KEY_MANAGERS}/{uuid}"), errors.NOT_ENABLED)
    answer = await api.admin.post(f"{KEY_MANAGERS}/{uuid}/key-servers", {"server": "a"})
    assert_error(answer, errors.NOT_ENABLED)
    answer = await api.admin.patch(f"{KEY_STORES}/{uuid}?return_timeout=30", {"enabled": True})
    assert (answer.status, answer.body) == (200, {})
    shown = (await api.admin.get(f"{KEY_STORES}/{uuid}")).body
    assert (shown["enabled"], shown["state"]) == (True, "active")
    assert shown["_links"]["self"]["href"] == f"{KEY_STORES}/{uuid}"
    assert_error(await api.admin.patch(f"{KEY_STORES}/{uuid}", {"enabled": True}), errors.ALREADY_ENABLED, "enabled")
    assert_error(await api.admin.delete(f"{KEY_STORES}/{uuid}"), errors.KEY_STORE_ENABLED)
    assert_error(await api.admin.post(KEY_MANAGERS, body), errors.ADMIN_SVM_HAS_KEY_MANAGER)


async def test_an_inactive_configuration_is_discarded(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """By its path or by a query; then its owner may have another."""
    body = await new_body(api, pki, pykmip_servers)
    for discard in ("/{uuid}", "?enabled=false"):
        made = await api.admin.post(f"{KEY_MANAGERS}?create_inactive=true", body)
        uuid = made.headers["location"].rpartition("/")[2]
        assert (await api.admin.delete(KEY_STORES + discard.format(uuid=uuid), {})).status == 200
        assert (await api.admin.get(KEY_STORES)).body["num_records"] == 0
    assert (await api.admin.post(KEY_MANAGERS, body)).status == 201


async def test_what_a_key_store_refuses(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """It can be enabled, and nothing else."""
    made = await api.admin.post(f"{KEY_MANAGERS}?create_inactive=true", await new_body(api, pki, pykmip_servers))
    url = f"{KEY_STORES}/{made.headers['location'].rpartition('/')[2]}"
    assert_error(await api.admin.patch(url, {}), errors.ENABLED_MISSING)
    assert_error(await api.admin.patch(url, {"enabled": False}), errors.NO_DISABLING, "enabled")
    answer = await api.admin.patch(url, {"enabled": True, "state": "active"})
    assert_error(answer, errors.FIELD_NOT_SETTABLE, "state")
    assert_error(await api.admin.patch(url, {"enabled": "perhaps"}), errors.INVALID_FIELD_VALUE, "enabled")


async def test_a_key_store_that_is_not_there(api: Api) -> None:
    """ONTAP's own code in PATCH and DELETE, code 4 in GET."""
    assert_error(await api.admin.get(f"{KEY_STORES}/{ABSENT}"), errors.ENTRY_NOT_FOUND, "uuid")
    answer = await api.admin.patch(f"{KEY_STORES}/{ABSENT}", {"enabled": True})
    assert_error(answer, errors.KEY_STORE_UNKNOWN, "uuid")
    assert_error(await api.admin.delete(f"{KEY_STORES}/{ABSENT}"), errors.KEY_STORE_UNKNOWN, "uuid")
    assert (await api.admin.get(f"{KEY_STORES}?type=okm")).body["num_records"] == 0


async def test_where_no_inactive_configuration_can_be(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """Not for an SVM, not with an old node, not in MetroCluster."""
    body = await new_body(api, pki, pykmip_servers)
    await api.admin.post("/api/svm/svms", {"name": "vs0"})
    url = f"{KEY_MANAGERS}?create_inactive=true"
    assert_error(await api.admin.post(url, body | {"svm": {"name": "vs0"}}), errors.INACTIVE_OF_SVM)
    made = (await api.admin.post(url, body)).headers["location"].rpartition("/")[2]
    old = Node("old", "old", Release(9, 16, 0))
    await api.store.write(lambda tx: tx.put_node(old))
    assert_error(await api.admin.patch(f"{KEY_STORES}/{made}", {"enabled": True}), errors.ENABLE_RELEASE)
    assert_error(await api.admin.delete(f"{KEY_STORES}/{made}"), errors.KEY_STORE_RELEASE)
    assert_error(await api.admin.post(url, body), errors.INACTIVE_RELEASE)
    await api.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 13, 1))))
    assert_error(await api.admin.patch(f"{KEY_STORES}/{made}", {"enabled": True}), errors.KEY_STORES_RELEASE)
    await api.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 18, 1))))
    await api.store.write(lambda tx: tx.put_cluster(Cluster("c", "keystead", metrocluster=True)))
    assert_error(await api.admin.post(url, body), errors.INACTIVE_METROCLUSTER)


async def test_an_unreachable_server_keeps_it_inactive(api: Api, pki: Pki, pykmip_servers: list[Program]) -> None:
    """65536987 with server, stage and reason."""
    made = await api.admin.post(f"{KEY_MANAGERS}?create_inactive=true", await new_body(api, pki, pykmip_servers))
    uuid = made.headers["location"].rpartition("/")[2]

    def move(tx: Any) -> None:
        (server,) = tx.key_servers(uuid)
        tx.change_key_server(replace(server, address=ServerAddress("127.0.0.1", refused_port())))

    await api.store.write(move)
    error = assert_error(await api.admin.patch(f"{KEY_STORES}/{uuid}", {"enabled": True}), errors.SERVERS_UNAVAILABLE)
    assert {"code": "reason", "message": "connection_refused"} in error["arguments"]
    assert (await api.admin.get(f"{KEY_STORES}/{uuid}")).body["enabled"] is False

"""The official ``netapp-ontap`` client, unchanged, against a real ``keystead serve`` with real key servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from netapp_ontap import HostConnection, NetAppRestError, config
from netapp_ontap.resources import (
    Cluster,
    KeyServer,
    Node,
    SecurityCertificate,
    SecurityKeyManager,
    Svm,
)

if TYPE_CHECKING:
    from tests.conformance.conftest import Installed
    from tests.peers.keystead import Service

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def manager(installed: Installed) -> SecurityKeyManager:
    """The SVM's key manager, with one server."""
    made = installed.key_manager(installed.servers[0])
    made.post(hydrate=True)
    return made


def test_certificates(installed: Installed) -> None:
    """Certificates are installed and hydrated; the private key stays with us."""
    assert (installed.client.type, installed.client.common_name) == ("client", "keystead")
    assert (installed.server_ca.type, installed.server_ca.ca) == ("server_ca", "Key Server CA")
    assert installed.client.key_size == 256
    assert installed.client.scope == "cluster"
    read = SecurityCertificate.find(name=installed.client.name, fields="**")
    assert isinstance(read, SecurityCertificate)
    assert read.uuid == installed.client.uuid
    assert "private_key" not in read.to_dict()


def test_certificate_of_an_svm(installed: Installed) -> None:
    """A certificate may belong to an SVM, and is found by it."""
    mine = SecurityCertificate(
        type="server_ca", public_certificate=installed.server_ca.public_certificate, svm={"name": installed.svm.name}
    )
    mine.post(hydrate=True)
    (found,) = SecurityCertificate.get_collection(**{"svm.name": installed.svm.name})
    assert (found.uuid, mine.svm.uuid, mine.scope) == (mine.uuid, installed.svm.uuid, "svm")


def test_certificate_in_use(installed: Installed, manager: SecurityKeyManager) -> None:
    """A certificate of a key manager is not removed; another one is."""
    for certificate in (installed.client, installed.server_ca):
        with pytest.raises(NetAppRestError) as refused:
            certificate.delete()
        assert (refused.value.status_code, _code(refused.value)) == (400, "3735683")
    spare = SecurityCertificate(type="server_ca", public_certificate=installed.server_ca.public_certificate)
    spare.svm = {"name": installed.svm.name}
    spare.post(hydrate=True)
    assert spare.delete().http_response.status_code == 200
    with pytest.raises(NetAppRestError):
        spare.get()
    assert manager.external.client_certificate.uuid == installed.client.uuid


def test_svm(installed: Installed) -> None:
    """An SVM is found by its name, and a second of that name is a duplicate."""
    found = Svm.find(name=installed.svm.name)
    assert isinstance(found, Svm)
    assert found.uuid == installed.svm.uuid
    with pytest.raises(NetAppRestError) as refused:
        Svm(name=installed.svm.name).post()
    assert (refused.value.status_code, _code(refused.value)) == (409, "1")


def test_key_manager_of_an_svm(installed: Installed, manager: SecurityKeyManager) -> None:
    """The key manager is hydrated: scope, SVM, certificates, its first server."""
    assert (manager.scope, manager.svm.uuid, manager.svm.name) == ("svm", installed.svm.uuid, installed.svm.name)
    assert manager.external.client_certificate.uuid == installed.client.uuid
    assert [ca.uuid for ca in manager.external.server_ca_certificates] == [installed.server_ca.uuid]
    assert [(server.server, server.timeout) for server in manager.external.servers] == [(installed.servers[0], 25)]
    assert manager.onboard.enabled is False
    manager.get(fields="status")
    assert manager.status.code == 65537200
    found = SecurityKeyManager.find(**{"svm.name": installed.svm.name})
    assert isinstance(found, SecurityKeyManager)
    assert found.uuid == manager.uuid


def test_key_manager_of_the_cluster(installed: Installed) -> None:
    """Without an SVM the key manager is the cluster's; there is one."""
    made = installed.key_manager(installed.servers[0], svm=False)
    made.post(hydrate=True)
    assert made.scope == "cluster"
    (listed,) = SecurityKeyManager.get_collection(scope="cluster", fields="**")
    assert listed.uuid == made.uuid
    with pytest.raises(NetAppRestError) as refused:
        installed.key_manager(installed.servers[1], svm=False).post()
    assert _code(refused.value) == "65539216"


def test_add_one_server(installed: Installed, manager: SecurityKeyManager) -> None:
    """post(hydrate=True) ends with the server as it is stored."""
    server = KeyServer(manager.uuid, server=installed.servers[1])
    server.post(hydrate=True)
    assert (server.server, server.timeout, server.username) == (installed.servers[1], 25, "")
    assert server.create_remove_timeout == 10
    again = KeyServer(manager.uuid, server=installed.servers[1])
    again.get(fields="timeout")
    assert again.timeout == 25


def test_add_servers_in_bulk(installed: Installed, manager: SecurityKeyManager) -> None:
    """post_collection returns one hydrated server for each that was added; without return_records none."""
    first = KeyServer.post_collection(
        [KeyServer(server=server) for server in installed.servers[1:3]],
        manager.uuid,
        return_records=True,
        hydrate=True,
    )
    assert [(server.server, server.timeout) for server in first] == [(each, 25) for each in installed.servers[1:3]]
    assert KeyServer.post_collection([KeyServer(server=installed.servers[3])], manager.uuid) == []
    assert KeyServer.count_collection(manager.uuid) == 4


def test_read_servers(installed: Installed, manager: SecurityKeyManager) -> None:
    """Listing, paging, counting and finding see the same servers, in the order of creation."""
    KeyServer.post_collection([KeyServer(server=server) for server in installed.servers[1:4]], manager.uuid)
    listed = list(KeyServer.get_collection(manager.uuid, fields="*"))
    assert [server.server for server in listed] == installed.servers[:4]
    paged = list(KeyServer.get_collection(manager.uuid, max_records=1))
    assert [server.server for server in paged] == installed.servers[:4]
    assert KeyServer.count_collection(manager.uuid) == 4
    found = KeyServer.find(manager.uuid, server=installed.servers[2])
    assert isinstance(found, KeyServer)
    assert found.server == installed.servers[2]
    assert KeyServer.find(manager.uuid, server="nowhere:5696") is None


@pytest.mark.parametrize("field", ["timeout", "username", "connectivity", "*", "**", "secondary_key_servers"])
def test_fields_of_a_server(installed: Installed, manager: SecurityKeyManager, field: str) -> None:
    """Every field that ONTAP knows may be asked for."""
    server = KeyServer(manager.uuid, server=installed.servers[0])
    assert server.get(fields=field).http_response.status_code == 200
    assert server.server == installed.servers[0]


def test_fields_that_the_client_drops_in_a_post(
    installed: Installed, manager: SecurityKeyManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told not to drop them, the client sends them, and they are applied; the password never comes back."""
    monkeypatch.setattr(config, "STRICT_ACCESS_MODIFIERS", False)
    server = KeyServer(manager.uuid, server=installed.servers[1])
    server.timeout, server.username, server.password = 7, "storage", "open sesame"
    server.secondary_key_servers = ["127.0.0.2", "127.0.0.3"]
    server.create_remove_timeout = 20
    server.post(hydrate=True)
    stored = KeyServer(manager.uuid, server=installed.servers[1])
    answer = stored.get(fields="**").http_response
    assert (stored.timeout, stored.username, stored.create_remove_timeout) == (7, "storage", 20)
    assert list(stored.secondary_key_servers) == ["127.0.0.2", "127.0.0.3"]
    assert "sesame" not in answer.text
    assert "password" not in answer.text


def test_refusals(installed: Installed, manager: SecurityKeyManager) -> None:
    """An ONTAP error is a NetAppRestError with status, code and text."""
    known = KeyServer(manager.uuid, server=installed.servers[0])
    with pytest.raises(NetAppRestError, match="Key management servers already configured") as refused:
        known.post()
    assert (refused.value.status_code, _code(refused.value)) == (400, "65536870")
    with pytest.raises(NetAppRestError) as refused:
        KeyServer(UNKNOWN, server=installed.servers[1]).post()
    assert (refused.value.status_code, _code(refused.value)) == (404, "4")
    with pytest.raises(NetAppRestError) as refused:
        KeyServer(manager.uuid, server="nowhere:5696").get()
    assert (refused.value.status_code, _code(refused.value)) == (404, "4")
    five = [KeyServer(server=server) for server in installed.servers[1:5]]
    with pytest.raises(NetAppRestError, match="A maximum of 4 active key servers are allowed") as refused:
        KeyServer.post_collection(five, manager.uuid)
    assert _code(refused.value) == "65536038"
    assert KeyServer.count_collection(manager.uuid) == 1


def test_wrong_password(service: Service, connection: HostConnection) -> None:
    """A wrong password is 401."""
    ca = str(service.installation.data / "tls.crt")
    with (
        HostConnection("127.0.0.1", "admin", "wrong", port=service.port, verify=ca) as stranger,
        pytest.raises(NetAppRestError, match="User is not authorized") as refused,
    ):
        Cluster().get()
    stranger.session.close()
    assert connection.session is not stranger.session
    assert refused.value.status_code == 401


def test_cluster_and_nodes(connection: HostConnection) -> None:
    """The cluster tells its version, the nodes their names."""
    del connection
    cluster = Cluster()
    cluster.get(fields="version")
    version = cluster.version
    assert (version.generation, version.major, version.minor) == (9, 18, 1)
    cluster.get()
    assert cluster.name == "keystead"
    (node,) = Node.get_collection(fields="*")
    assert node.name == "keystead-01"
    node.get()
    assert node.version.generation == 9


def _code(error: NetAppRestError) -> str:
    """The code of ONTAP's error body."""
    code: str = error.response_body["error"]["code"]
    return code

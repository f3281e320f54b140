"""The official client when things go wrong: what its errors hold, and what it sends again by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from netapp_ontap import HostConnection, NetAppRestError, config
from netapp_ontap.resources import KeyServer, SecurityKeyManager, Svm

from tests.conformance.test_netapp_ontap_methods import refusal
from tests.peers.fault_servers import refused_port
from tests.peers.keystead import PASSWORD
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conformance.conftest import Installed
    from tests.peers.keystead import Service
    from tests.peers.proxy import Network


@pytest.fixture
def network(service: Service, connection: HostConnection) -> Iterator[Network]:
    """A network between client and service, over which the client has already spoken."""
    with proxy(service.port) as (port, network):
        ca = str(connection.verify)
        with HostConnection("127.0.0.1", "admin", PASSWORD, port=port, verify=ca):
            Svm.count_collection()
            yield network


@pytest.fixture
def manager(installed: Installed) -> SecurityKeyManager:
    """The SVM's key manager, with one server."""
    made = installed.key_manager(installed.servers[0])
    made.post(hydrate=True)
    return made


def test_what_an_error_holds(installed: Installed, manager: SecurityKeyManager) -> None:
    """Status, the whole body, and the text in the exception's own; also of a server that cannot be proved."""
    closed = f"127.0.0.1:{refused_port()}"
    servers = [KeyServer(server=installed.servers[1]), KeyServer(server=closed)]
    with pytest.raises(NetAppRestError, match="due to network configuration issues") as refused:
        KeyServer.post_collection(servers, manager.uuid)
    error = refused.value.response_body["error"]
    assert (refused.value.status_code, error["code"], error["target"]) == (400, "66060341", "records[1].server")
    assert [argument["code"] for argument in error["arguments"]] == ["server", "stage", "reason"]
    assert [argument["message"] for argument in error["arguments"]] == [closed, "connect", "connection_refused"]


def test_errors_that_are_not_raised(manager: SecurityKeyManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told not to raise, the client gives the answer as it is."""
    monkeypatch.setattr(config, "RAISE_API_ERRORS", False)
    answer = KeyServer(manager.uuid, server="nowhere:5696").delete()
    assert (answer.http_response.status_code, answer.is_err) == (400, True)
    assert answer.http_response.json()["error"]["code"] == "65536843"


def test_a_delete_is_sent_again(network: Network, installed: Installed, manager: SecurityKeyManager) -> None:
    """The client repeats a DELETE whose answer was lost, by itself: it hears that there is nothing (any more)."""
    server = KeyServer(manager.uuid, server=installed.servers[0])
    network.fail("lose")
    assert refusal(server.delete) == (400, "65536843")
    assert network.mode == "forward"
    assert KeyServer.count_collection(manager.uuid) == 0
    network.fail("lose")
    assert refusal(manager.delete) == (404, "4")


def test_a_post_is_not_sent_again(network: Network, installed: Installed, manager: SecurityKeyManager) -> None:
    """A POST whose answer was lost is an error without status; sent again, it names what exists already."""
    server = KeyServer(manager.uuid, server=installed.servers[1])
    network.fail("lose")
    with pytest.raises(NetAppRestError) as lost:
        server.post()
    assert lost.value.status_code is None
    with pytest.raises(NetAppRestError, match="Key management servers already configured") as refused:
        server.post()
    error = refused.value.response_body["error"]
    assert (error["code"], error["target"]) == ("65536870", "server")
    assert installed.servers[1] in [argument["message"] for argument in error["arguments"]]
    network.fail("lose")
    name = f"{installed.svm.name}-twice"
    with pytest.raises(NetAppRestError):
        Svm(name=name).post()
    assert refusal(Svm(name=name).post) == (409, "1")
    assert Svm.count_collection(name=name) == 1


def test_a_get_is_sent_again(network: Network, installed: Installed) -> None:
    """A GET whose answer was lost is repeated, and nobody notices."""
    network.fail("lose")
    assert Svm.count_collection(name=installed.svm.name) == 1
    assert network.mode == "forward"

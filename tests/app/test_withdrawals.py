"""Three ``keystead serve`` processes on one PostgreSQL: what a node that is cut off serves, and what the others say."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from netapp_ontap import HostConnection
from netapp_ontap.resources import Account

from keystead.app.initialise import initialise
from keystead.settings import Settings
from tests.peers import canned
from tests.peers.keystead import COMMAND, PASSWORD, Installation, create_key_manager, install_certificates
from tests.peers.processes import free_port
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Client, Service
    from tests.peers.postgres import PostgresServer
    from tests.peers.proxy import Network

SOCKET = "socket/.s.PGSQL.5432"
READER_PASSWORD = "words and 1 number"
CLIENT = "127.0.0.9"
"""From 127.0.0.1, from which nodes reach each other, the third one expects the PROXY protocol."""

OFFLINE_S = 60
"""Long enough for a test's steps on a slow machine: the last commit was half of it ago at most."""

END_S = 120
RETIRED = 400
"""The status of a read of a retired key (262185)."""

PROMPT_S = 10
"""Seconds in which a DELETE is answered on a slow machine, whatever the other nodes do: it waits for two."""


@dataclass
class Nodes:
    """Three nodes. The second one reaches the database, and the others reach it, through networks that can fail."""

    services: list[Service]
    database: Network
    peers: Network
    manager: str
    reader: dict[str, Any]

    def call(self, node: int) -> Client:
        """Return a client of the administrator."""
        return self.services[node].client(source=CLIENT)

    def delete(self, path: str, *, at: int = 0) -> list[str]:
        """Delete something in time; return the warnings."""
        began = time.monotonic()
        with self.call(at) as call:
            answer = call("DELETE", path)
        assert (answer.status, time.monotonic() - began < PROMPT_S) == (200, True), answer.content
        return list(answer.body.get("warnings", ()))

    def read(self, name: str, *, at: int = 1, account: str = "reader") -> int:
        """Read a key as an account; return the status."""
        with self.services[at].client(account, READER_PASSWORD, source=CLIENT) as call:
            return call("POST", f"{self.path(name)}/retrieve").status

    def read_until(self, name: str, status: int) -> None:
        """Read a key until the status is this one."""
        ends = time.monotonic() + END_S
        while (found := self.read(name)) != status:
            assert time.monotonic() < ends, found
            time.sleep(0.1)

    def path(self, name: str) -> str:
        return f"{self.manager}/volume-keys/{self.reader[name]}"


@pytest.fixture
def nodes(postgres: PostgresServer, pki: Pki, tmp_path: Path) -> Iterator[Nodes]:
    """Yield three nodes that serve, with keys that all of them have in memory."""
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres.database())
        database_port, database = stack.enter_context(proxy(str(postgres.folder / SOCKET)))
        through = f"{url.split('@/')[0]}@127.0.0.1:{database_port}/{url.split('@/')[1].split('?')[0]}"
        port = free_port()
        peers_port, peers = stack.enter_context(proxy(port))
        own = {"listen": f"127.0.0.1:{port}", "node_address": f"127.0.0.1:{peers_port}"}
        (tmp_path / "one").mkdir()
        initialise(Settings(data=tmp_path / "one", database=url), PASSWORD.encode(), terminal=False)
        installations = [
            Installation(tmp_path / name, reached, {"offline_reads_s": str(OFFLINE_S)} | more)
            for name, reached, more in (
                ("one", url, {}),
                ("two", through, own),
                ("three", url, {"trusted_proxies": "127.0.0.1"}),
            )
        ]
        for each in installations[1:]:
            each.data.mkdir()
            shutil.copy(tmp_path / "one" / "root.key", each.data)
            initialise(Settings(data=each.data, database=url), None, terminal=False)
        server = canned.start(tmp_path / "ks", pki.server, pki.client_ca)
        stack.callback(server.stop)
        server.wait_until_ready()
        one, three = (stack.enter_context(each.serving()) for each in (installations[0], installations[2]))
        two = stack.enter_context(
            installations[1].serving(installations[1].command("serve"))
        )  # last: it knows the others
        services = [one, two, three]
        with services[0].client() as call:
            certificates = install_certificates(call, pki.client, pki.server_ca)
            manager = create_key_manager(call, certificates, server.address).removesuffix("/key-servers")
            names = [f"key{number}" for number in range(4)]
            keys = {name: call.create(f"{manager}/volume-keys", {"name": name})["key_id"] for name in names}
            for account in ("reader", "other"):
                body = {"name": account, "role": {"name": "key-reader"}, "password": READER_PASSWORD}
                answer = call(
                    "POST",
                    "/security/accounts",
                    body | {"applications": [{"application": "http", "authentication_methods": ["password"]}]},
                )
                assert answer.status == 201, answer.content
        made = Nodes(services, database, peers, manager, keys)
        for name in names:
            for account in ("reader", "other"):
                assert made.read(name, account=account) == 200
        yield made


def test_a_node_that_is_cut_off_serves_nothing_that_was_withdrawn(nodes: Nodes) -> None:
    """At once, and until it has read the database again. What was not withdrawn it serves on."""
    nodes.database.fail("reset")
    assert [nodes.read(name) for name in ("key0", "key1")] == [200, 200]
    assert nodes.delete(nodes.path("key0")) == [], "the third one took it, too"
    assert nodes.delete(nodes.path("key2"), at=2) == []
    assert [nodes.read(name) for name in ("key0", "key1", "key2")] == [503, 200, 503]
    with nodes.call(0) as call:
        locked = call("PATCH", f"/security/accounts/{owner(call)}/reader", {"locked": True})
        assert (locked.status, "warnings" in locked.body) == (200, False), locked.content
    assert [nodes.read("key1", account=name) for name in ("reader", "other")] == [503, 200]
    nodes.database.heal()
    with nodes.call(0) as call:
        assert call("PATCH", nodes.path("key0"), {"state": "committed"}).status == 200
    nodes.read_until("key1", 401)
    assert [nodes.read(name, account="other") for name in ("key0", "key2")] == [200, RETIRED]
    assert 'keystead_withdrawals_total{outcome="taken"} 3.0' in metrics(nodes.services[1])


def owner(call: Client) -> str:
    """Return the uuid of the cluster, which owns the accounts."""
    return str(call.get("/cluster")["uuid"])


def metrics(service: Service) -> str:
    """Return a node's metrics."""
    with service.client() as call:
        call.connection.request("GET", "/metrics", headers=call.headers)
        return call.connection.getresponse().read().decode()


def warned_until(warnings: list[str]) -> datetime:
    """Return until when a node may serve what it did not confirm, as the only warning says."""
    (warning,) = warnings
    assert warning.startswith("Node keystead-02 did not confirm that"), warning
    return datetime.strptime(warning.rsplit(" ", 1)[1], "%Y-%m-%dT%H:%M:%SZ.").replace(tzinfo=UTC)


def wait_until(until: datetime) -> None:
    """Wait until this time is over, which is a whole second."""
    time.sleep(max(0, (until - datetime.now(UTC)).total_seconds()) + 1)


@pytest.mark.long
def test_a_node_that_is_cut_off_from_the_others_too_serves_until_the_limit(nodes: Nodes) -> None:
    """Not longer, whatever was withdrawn or not. The others say until when."""
    nodes.database.fail("reset")
    nodes.peers.fail("drop")
    until = warned_until(nodes.delete(nodes.path("key0")))
    assert nodes.read("key0") == 200
    assert 0 < (until - datetime.now(UTC)).total_seconds() <= OFFLINE_S
    assert warned_until(nodes.delete(nodes.path("key1"))) == until, "it commits nothing any more"
    wait_until(until)
    assert [nodes.read(name) for name in ("key0", "key3")] == [503, 503]
    assert nodes.delete(nodes.path("key2")) == [], "it serves nothing any more"
    nodes.peers.heal()
    nodes.database.heal()
    nodes.read_until("key3", 200)
    assert nodes.read("key0") == RETIRED


@pytest.mark.parametrize("how", ["reset", "slow"])
def test_a_node_that_does_not_take_what_is_withdrawn(nodes: Nodes, how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The DELETE is answered in time, with a warning that every client takes; later ones are confirmed again."""
    if how == "slow":
        nodes.peers.delay = 3.0  # in each direction
    else:
        nodes.peers.fail(how)
    warned_until(nodes.delete(nodes.path("key0")))
    assert nodes.read("key0") == RETIRED, "it reaches the database"
    warned_until(delete_by_query(nodes, "key1"))
    warned_until([delete_by_command(nodes, nodes.reader["key2"])])
    delete_by_the_official_client(nodes, "other", monkeypatch)
    assert nodes.read("key3", account="other") == 401
    nodes.peers.heal()
    ends = time.monotonic() + END_S
    while 'outcome="taken"} 0.0' in metrics(nodes.services[1]):
        assert time.monotonic() < ends
        nodes.delete(nodes.path("key1"))
        time.sleep(0.1)


def delete_by_query(nodes: Nodes, name: str) -> list[str]:
    """Delete the keys of this name by one call; return its warnings."""
    with nodes.call(0) as call:
        answer = call("DELETE", f"{nodes.manager}/volume-keys?name={name}")
    assert (answer.status, answer.body["num_records"]) == (200, 1), answer.content
    return list(answer.body["warnings"])


def delete_by_the_official_client(nodes: Nodes, account: str, environment: pytest.MonkeyPatch) -> None:
    """Delete an account; the client takes the answer with a warning for a success."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to a session's own ``verify``
        environment.delenv(name, raising=False)
    service = nodes.services[0]
    certificate = service.installation.data / "tls.crt"
    with HostConnection("127.0.0.1", "admin", PASSWORD, port=service.port, verify=str(certificate)) as host:
        answer = Account.find(name=account).delete().http_response
        host.session.close()
    assert (answer.status_code, len(answer.json()["warnings"])) == (200, 1)


def delete_by_command(nodes: Nodes, key_id: str) -> str:
    """Delete a key on the command line; return its warning."""
    installation = nodes.services[0].installation
    words = ("security", "key-manager", "key", "retire", "--yes")
    manager = nodes.manager.rpartition("/")[2]
    flags = ("--url", nodes.services[0].url, "--user", "admin", "--ca", str(installation.data / "tls.crt"))
    command = [*COMMAND, *words, "--key-manager", manager, "--key-id", key_id, *flags]
    environment = installation.environment | {"KEYSTEAD_PASSWORD": PASSWORD}
    ended = subprocess.run(command, env=environment, check=True, capture_output=True, text=True, timeout=END_S)
    (warning,) = [line for line in ended.stderr.splitlines() if line.startswith("Warning: ")]
    return warning.removeprefix("Warning: ")


@pytest.mark.long
def test_a_frozen_node_serves_nothing_when_it_is_thawed(nodes: Nodes) -> None:
    """If the limit has passed meanwhile; nor if it reaches the database."""
    nodes.services[1].signal(signal.SIGSTOP)
    until = warned_until(nodes.delete(nodes.path("key0")))
    nodes.services[1].signal(signal.SIGCONT)
    assert nodes.read("key0") == RETIRED
    nodes.database.fail("reset")
    nodes.services[1].signal(signal.SIGSTOP)
    until = warned_until(nodes.delete(nodes.path("key1")))
    wait_until(until)
    nodes.services[1].signal(signal.SIGCONT)
    assert [nodes.read(name) for name in ("key1", "key2")] == [503, 503]

"""The REST face on a real ``keystead serve``: adding key servers, and reading one, over kept-alive TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from bench.row import Row
from keystead.core.probing import ProbeTarget, TlsIdentity
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.gateway import Gateway
from tests.peers import keystead, pykmip
from tests.peers.certificates import Authority, Credentials, client
from tests.peers.databases import raw_sqlite
from tests.peers.fault_servers import black_hole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.processes import Program

ADDS = 40
READS = 2000
DEADLINE_S = 40.0
HOLE_TIMEOUT_S = 2


@dataclass(frozen=True)
class Setting:
    """A service with certificates installed, and sound key servers."""

    service: keystead.Service
    call: keystead.Client
    certificates: keystead.Certificates
    servers: list[Program]
    client: Credentials
    server_ca: Authority

    @property
    def database(self) -> Path:
        """The service's SQLite file."""
        return self.service.installation.data / "keystead.db"


@contextlib.contextmanager
def setting(servers: int) -> Iterator[Setting]:
    """Run the service and PyKMIP servers, each in a process of its own."""
    server_ca, client_ca = Authority(), Authority("Client CA")
    own = client(client_ca)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        started = stack.enter_context(pykmip.running(servers, folder / "pykmip", server_ca.issue(), client_ca))
        service = stack.enter_context(keystead.Installation(folder / "data").init().serving())
        call = stack.enter_context(service.client())
        certificates = keystead.install_certificates(call, own, server_ca)
        yield Setting(service, call, certificates, started, own, server_ca)


def add_one_server() -> Row:
    """Wall time of POST key-servers with one server, as a multiple of its probe alone plus one durable commit.

    The three are measured in turns, because the disk and the other core have good and bad seconds.
    """
    with (
        setting(2) as given,
        _floor_database(given.database.parent) as floor_database,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        first, second = (server.address for server in given.servers)
        path = keystead.create_key_manager(given.call, given.certificates, first)
        gateway = Gateway(EgressRules.parse(["127.0.0.0/8"]))
        posts, probes, commits = [], [], []
        for _ in range(ADDS):
            started = time.perf_counter()
            answer = given.call("POST", path, {"server": second})
            posts.append(time.perf_counter() - started)
            assert answer.status == 201, answer.content
            _forget(given.database, second)
            probes.append(runner.run(_probe_alone(gateway, given, second)))
            commits.append(_durable_commit(floor_database))
    floor = statistics.median(probes) + statistics.median(commits)
    value = statistics.median(posts) / floor
    return Row(value, "x", 1.35, "lower", f"the probe alone plus one durable commit ({floor * 1000:.1f} ms)")


def _forget(database: Path, server: str) -> None:
    """Remove a server underneath the service, so that the same one can be added again."""
    with contextlib.closing(raw_sqlite(database)) as connection:
        connection.execute("DELETE FROM key_servers WHERE host || ':' || port = ?", (server,))


async def _probe_alone(gateway: Gateway, given: Setting, server: str) -> float:
    """Seconds of one probe, with nothing around it."""
    identity = TlsIdentity(given.client.certificate_pem, Secret(given.client.key_pem), (), (given.server_ca.pem,))
    target = ProbeTarget(ServerAddress.parse(server), DEADLINE_S)
    started = time.perf_counter()
    (result,) = await gateway.probe_all([target], identity, DEADLINE_S)
    assert result.accepted, result
    return time.perf_counter() - started


@contextlib.contextmanager
def _floor_database(folder: Path) -> Iterator[sqlite3.Connection]:
    """Open a SQLite database on the service's disk, as durable as the service's."""
    with contextlib.closing(sqlite3.connect(folder / "floor.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE floor (value TEXT)")
        yield connection


def _durable_commit(connection: sqlite3.Connection) -> float:
    """Seconds of one commit of one row."""
    started = time.perf_counter()
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO floor VALUES ('row')")
    connection.execute("COMMIT")
    return time.perf_counter() - started


def four_with_a_black_hole() -> Row:
    """Wall time of a dry run of four servers, one of which never answers, with a time-out of 2 s."""
    with setting(3) as given, black_hole() as hole:
        addresses = [server.address for server in given.servers]
        path = keystead.create_key_manager(given.call, given.certificates, addresses[0])
        _forget(given.database, addresses[0])
        asked: list[dict[str, Any]] = [{"server": address} for address in addresses]
        asked.append({"server": f"127.0.0.1:{hole}", "timeout": HOLE_TIMEOUT_S})
        started = time.perf_counter()
        answer = given.call("POST", f"{path}?dry_run=true", {"records": asked})
        value = time.perf_counter() - started
        assert [record["accepted"] for record in answer.body["records"]] == [True, True, True, False], answer.content
    return Row(value, "s", 2.3, "lower", "a time-out of 2 s")


def read_key_server() -> Row:
    """CPU of the service per GET of a key server."""
    with setting(1) as given:
        address = given.servers[0].address
        path = f"{keystead.create_key_manager(given.call, given.certificates, address)}/{address}"
        for _ in range(READS // 10):
            given.call.get(path)
        rounds = []
        for _ in range(3):
            before = _cpu_seconds(given.service.pid)
            for _ in range(READS // 2):
                given.call.get(path)
            rounds.append((_cpu_seconds(given.service.pid) - before) / (READS // 2))
    return Row(statistics.median(rounds) * 1000, "ms", 0.5, "lower", "OpenStack Barbican's metadata read: 6.5-7.9 ms")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


ROWS = {
    "add_one_server": add_one_server,
    "four_with_a_black_hole": four_with_a_black_hole,
    "read_key_server_cpu": read_key_server,
}

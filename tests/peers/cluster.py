"""Three Keystead nodes on one PostgreSQL under Patroni, behind HAProxy, as ``docs/how-to/cluster.md`` sets them up.

All of it is on loopback. The nodes are made by the commands of that page.
"""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.testing.service import SETTINGS, USER, Keystead
from tests.peers import haproxy, patroni
from tests.peers.haproxy import Balancer
from tests.peers.keystead import Installation
from tests.peers.processes import Program, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.patroni import Patroni

MISSING: Final = ", ".join(filter(None, (patroni.MISSING, haproxy.MISSING)))
"""Debian's packages that this machine lacks, or empty."""

NODES: Final = ("node1", "node2", "node3")
BALANCER: Final = "127.0.0.2"
"""The address of the load balancer's connections to nodes. From it alone nodes expect the PROXY protocol."""
TO_NODES: Final = f"source {BALANCER} send-proxy-v2 check-send-proxy check-ssl verify none"
READY, READY_FOR_READS = "/readyz", "/readyz/reads"
"""What the load balancers ask nodes: who can do everything, and who can read keys, at least from memory."""
SHARED_FILES: Final = ("root.key", "tls.key", "tls.crt")
"""What every node has the same of."""


@dataclass(frozen=True)
class Node:
    """One Keystead."""

    name: str
    service: Keystead
    program: Program


@dataclass(frozen=True)
class Cluster:
    """What runs, and the port that leads to the primary.

    ``service`` is Keystead behind the load balancer for everything, ``reads`` behind the one for reads of keys.
    """

    database: Patroni
    database_port: int
    nodes: list[Node]
    service: Keystead
    reads: Keystead


@contextlib.contextmanager
def running(folder: Path, password: str) -> Iterator[Cluster]:
    """Run all of it until the block ends, with the nodes' files in an empty folder."""
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(patroni.running())
        primary = database.balancer("postgresql", shutdown_sessions=True)
        stack.enter_context(haproxy.running(database.folder / "to-postgresql", [primary]))
        ports = {name: free_port() for name in NODES}
        url = patroni.URL.format(port=primary.port)
        made = [make_node(folder, name, ports[name], url, password) for name in NODES]
        nodes = []
        for installation, (name, port) in zip(made, ports.items(), strict=True):
            command = installation.command("serve")
            program = Program(command, port, log=folder / f"{name}.log", environment=installation.environment)
            stack.callback(program.stop)
            nodes.append(Node(name, node_service(folder, port, password), program))
        for node in nodes:
            node.program.wait_until_ready()
        servers = {name: f"127.0.0.1:{port}" for name, port in ports.items()}
        balancers = [
            Balancer("keystead", free_port(), READY, servers, TO_NODES),
            Balancer("reads", free_port(), READY_FOR_READS, servers, TO_NODES),
        ]
        stack.enter_context(haproxy.running(database.folder / "to-keystead", balancers))
        services = [node_service(folder, each.port, password) for each in balancers]
        yield Cluster(database, primary.port, nodes, *services)


def make_node(folder: Path, name: str, port: int, database: str, password: str, **settings: str) -> Installation:
    """Make a node: the first one makes the database's schema, the files that all share, and the account."""
    own = {
        "listen": f"127.0.0.1:{port}",
        "trusted_proxies": BALANCER,
        "monitor_interval": SETTINGS["KEYSTEAD_MONITOR_INTERVAL"],
    }
    installation = Installation(folder / name, database, own | settings)
    if name != NODES[0]:
        installation.data.mkdir(mode=0o700)
        for each in SHARED_FILES:
            shutil.copy2(folder / NODES[0] / each, installation.data)
    return installation.init(password)


def node_service(folder: Path, port: int, password: str) -> Keystead:
    """Return the node at a port, as its administrator calls it. ``folder`` has the files of all nodes."""
    return Keystead(f"https://127.0.0.1:{port}", USER, password, folder / NODES[0] / "tls.crt")

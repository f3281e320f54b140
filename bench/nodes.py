"""Three nodes on one PostgreSQL: how soon each failure is known and taken over, and what more nodes are worth."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.row import Row
from keystead.app.opening import node_uuid
from keystead.cli.client import Refused
from keystead.core.errors.common import STORAGE_FAILED
from keystead.testing.key_servers import KeyServers
from keystead.testing.tour import KEY_READER
from tests.survival.nodes import three_nodes
from tests.survival.standbys import URL, standbys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from tests.survival.nodes import Node
    from tests.survival.standbys import Standbys

LIMIT_S = 120.0
LOAD_S = 10.0
CALLERS = 12
KEYS = 50
NOT_DONE = STORAGE_FAILED.text.split("{", maxsplit=1)[0]


class World(NamedTuple):
    """What runs."""

    nodes: list[Node]
    database: Standbys
    key_servers: KeyServers


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Run three nodes, four key servers, and a PostgreSQL with two standbys."""
    with (
        tempfile.TemporaryDirectory() as folder,
        KeyServers(4, one_ca=True) as servers,
        standbys() as database,
        three_nodes(Path(folder), URL, database.primary.port) as nodes,
    ):
        yield World(nodes, database, servers)


def seconds_until(true: Callable[[], bool]) -> float:
    """Return the seconds until something is true."""
    began = time.monotonic()
    while not true():
        if time.monotonic() > began + LIMIT_S:
            raise TimeoutError(f"not within {LIMIT_S:g} s")
        time.sleep(0.05)
    return time.monotonic() - began


# --- how soon ---


def not_ready() -> Row:
    """Seconds from the loss of all standbys, after which no commit succeeds, until no node is ready."""
    with world() as made:
        made.database.detach()
        with ThreadPoolExecutor() as pool:  # each node takes seconds to answer
            value = max(pool.map(lambda node: seconds_until(lambda: bool(node.not_ready())), made.nodes))
    return Row(value, "s", 15, "lower", "all three nodes; `/readyz` is asked again and again")


def database_away() -> Row:
    """Seconds of the slowest answer to a creation while PostgreSQL is stopped, or no packet reaches it."""
    with world() as made:
        svm = made.nodes[0].service.create_svm(made.key_servers)
        taken = []
        for packets in ("forward", "drop"):
            made.database.primary.stop()
            for each in made.nodes:
                each.way.fail(packets)
            taken += [_refused_s(node, svm.key_manager) for node in made.nodes for _ in range(2)]
    return Row(max(taken), "s", 5, "lower", "each was 503; PostgreSQL stopped, then packets dropped")


def _refused_s(node: Node, key_manager: str) -> float:
    began = time.monotonic()
    try:
        node.service.call("POST", f"/security/key-managers/{key_manager}/volume-keys", {"name": "vol"})
    except Refused as refused:
        if refused.message.startswith(NOT_DONE):
            return time.monotonic() - began
        raise
    raise AssertionError("a key was created without a database")


def keeper(end: Callable[[Node], None], budget: float) -> Row:
    """Seconds until another node is the keeper, after the end of the one that was."""
    with world() as made:
        seconds_until(lambda: _keeper(made) is not None)
        former = _keeper(made)
        assert former is not None
        began = time.monotonic()
        end(former)
        seconds_until(lambda: _keeper(made) not in {None, former})
        value = time.monotonic() - began
    return Row(value, "s", budget, "lower", "")


def _keeper(made: World) -> Node | None:
    """Return the node that holds the lease of the keeper."""
    found = made.database.primary.execute("SELECT holder FROM leases WHERE name = 'keeper' AND expires > now()")
    return next((node for node in made.nodes if found and found[0][0].startswith(_uuid(node))), None)


def _uuid(node: Node) -> str:
    return node_uuid(node.installation.data)


def job_orphaned() -> Row:
    """Seconds from the death of a node until another one says that its job has failed."""
    with world() as made:
        first, second, _ = made.nodes
        svm = second.service.create_svm(made.key_servers)
        manager = f"/security/key-managers/{svm.key_manager}"
        second.service.call("POST", f"{manager}/volume-keys", {"name": "vol"})
        for each in made.key_servers:
            each.break_("silent")
        job = first.service.call("POST", f"{manager}/restore", return_timeout="0")["job"]["uuid"]
        first.kill()
        value = seconds_until(lambda: second.service.call("GET", f"/cluster/jobs/{job}")["state"] == "failure")
    return Row(value, "s", 60, "lower", "a job that restores keys from silent key servers")


# --- throughput ---

_LOAD = """
import json, sys, threading, time
from pathlib import Path
from keystead.cli.client import Api
from keystead.cli.login import Login
order = json.loads(sys.argv[1])
until = time.monotonic() + order["seconds"]
done = 0
with Api(Login(order["url"], order["user"], Path(order["ca"]), order["password"])) as api:
    while time.monotonic() < until:
        body = {"name": f"{order['name']}-{time.monotonic_ns()}"} if order["creates"] else None
        api.call("POST", order["paths"][done % len(order["paths"])], body)
        done += 1
print(done)
"""


def throughput(*, creates: bool, nodes: int) -> Row:
    """Measure the calls per second of twelve callers that share so many nodes, as a multiple of those that use one."""
    with world() as made:
        svm = made.nodes[0].service.create_svm(made.key_servers)
        path = f"/security/key-managers/{svm.key_manager}/volume-keys"
        keys = [
            made.nodes[0].service.call("POST", path, {"name": f"{each}"}, return_records="true") for each in range(KEYS)
        ]
        reads = [f"{path}/{each['records'][0]['key_id']}/retrieve" for each in keys]
        rates = [_rate(made.nodes[:number], [path] if creates else reads, creates=creates) for number in (1, nodes)]
    return Row(rates[1] / rates[0], "x", None, "higher", f"one node: {rates[0]:.0f} a second; {CALLERS} callers")


def _rate(nodes: list[Node], paths: list[str], *, creates: bool) -> float:
    loads = []
    for number in range(CALLERS):
        service: Any = nodes[number % len(nodes)].service
        user = service.user if creates else str(KEY_READER["name"])
        order = {
            "url": service.url, "user": user, "ca": str(service.ca), "password": service.password,
            "paths": paths, "creates": creates, "name": f"vol{number}", "seconds": LOAD_S,
        }  # fmt: skip
        loads.append(
            subprocess.Popen([sys.executable, "-c", _LOAD, json.dumps(order)], stdout=subprocess.PIPE, text=True)
        )
    return sum(int(each.communicate()[0]) for each in loads) / LOAD_S


ROWS: Mapping[str, Callable[[], Row]] = {
    "nodes_not_ready": not_ready,
    "nodes_database_away": database_away,
    "nodes_keeper_killed": partial(keeper, lambda node: node.kill(), 65),
    "nodes_keeper_stopped": partial(keeper, lambda node: node.stop(), 5),
    "nodes_job_orphaned": job_orphaned,
    "nodes_2_reads": partial(throughput, creates=False, nodes=2),
    "nodes_3_reads": partial(throughput, creates=False, nodes=3),
    "nodes_2_creates": partial(throughput, creates=True, nodes=2),
    "nodes_3_creates": partial(throughput, creates=True, nodes=3),
}

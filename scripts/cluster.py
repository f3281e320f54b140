"""Run three Keystead nodes on this machine: ``./dev cluster``. PostgreSQL fails over, and HAProxy leads to what serves.

It stays up until Ctrl-C and says how to break it. ``--once`` creates a key, reads it from each node, and ends.
``docs/how-to/cluster.md`` sets the same up on three machines.
"""

from __future__ import annotations

import argparse
import contextlib
import secrets
import shlex
import signal
import sys
import time
from typing import TYPE_CHECKING, Final

from keystead.testing.control import controlled
from keystead.testing.demo import MOST_PRIMARIES, SVM, exports, private_folder, until_stopped
from keystead.testing.key_servers import KeyServers
from keystead.testing.tour import COMMAND, KEY_READER
from tests.peers import cluster

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from keystead.testing.service import Svm
    from tests.peers.cluster import Cluster
    from tests.peers.patroni import Member

READER: Final = str(KEY_READER["name"])


def main() -> None:
    """Run it, or say which packages are missing."""
    parser = argparse.ArgumentParser(prog="./dev cluster", description=__doc__.split("\n\n")[0])
    parser.add_argument("--once", action="store_true", help="create a key, read it from each node, and end")
    once = parser.parse_args().once
    if cluster.MISSING:
        sys.exit(f"not installed here: {cluster.MISSING}. As root: apt-get install {cluster.MISSING.replace(',', '')}")
    started = time.monotonic()
    say("Starting etcd, PostgreSQL under Patroni, HAProxy, key servers and three nodes ...")
    with until_stopped(), private_folder(None) as folder, _serving(folder) as (running, servers, svm):
        key = prove(running, svm)
        seconds = time.monotonic() - started
        say(f"A key was created through the load balancer, and read from each node ({seconds:.0f} s).")
        if not once:
            invite(folder, running, servers, f"--key-manager {svm.key_manager} --key-id {key}")
            signal.pause()


@contextlib.contextmanager
def _serving(folder: Path) -> Iterator[tuple[Cluster, KeyServers, Svm]]:
    """Run the cluster and key servers, with an SVM over them and somebody who may read keys."""
    with (
        KeyServers(MOST_PRIMARIES, one_ca=True) as servers,
        controlled(servers, folder),
        cluster.running(folder, secrets.token_hex(12)) as running,
    ):
        svm = running.service.create_svm(servers, SVM)
        running.service.call("POST", "/security/accounts", KEY_READER | {"password": running.service.password})
        yield running, servers, svm


def prove(running: Cluster, svm: Svm) -> str:
    """Create a key through the load balancer and read it from each node. Return its id; exit if the nodes differ."""
    keys = f"/security/key-managers/{svm.key_manager}/volume-keys"
    with running.service.api() as api:
        (key,) = api.create(keys, {"name": "vol1"})
    read = set()
    for node in running.nodes:
        with node.service.api(READER) as api:
            read.add(api.call("POST", f"{keys}/{key['key_id']}/retrieve")["material"])
    if len(read) != 1:
        sys.exit("the nodes do not read the same key")
    return str(key["key_id"])


def invite(folder: Path, running: Cluster, servers: KeyServers, key: str) -> None:
    """Say where everything is, and what can be broken. The password is shown on a terminal only.

    ``key`` names the key that all nodes have in memory, as options of ``key retrieve``.
    """
    password = folder / "node1.password"
    rows = [
        ("load balancer", running.service.url, "console and API; the browser warns, as the certificate is new"),
        ("for reads", running.reads.url, "reads of keys, also while there is no primary"),
        *((node.name, node.service.url, f"process {node.program.pid}") for node in running.nodes),
        ("PostgreSQL", f"127.0.0.1:{running.database_port}", "leads to the primary"),
        *((each.name, f"127.0.0.1:{each.port}", f"Patroni, process {each.pid}") for each in running.database.members),
        *((server.name, server.address, "key server") for server in servers),
    ]
    say("")
    for name, where, note in rows:
        say(f"{name:14} {where:24} {note}")
    login = running.service.password if sys.stdout.isatty() else f"in {password}"
    say(f"\nThe account is {running.service.user}, the password {login}. In another terminal:\n")
    environment = {
        "KEYSTEAD_URL": running.service.url,
        "KEYSTEAD_CA": str(running.service.ca),
        "KEYSTEAD_PASSWORD_FILE": str(password),
        "KEYSTEAD_DEMO": str(folder),
    }
    say(f"{exports(environment)}alias keystead={shlex.quote(shlex.join(COMMAND))}")
    say(f"keystead security key-manager key create --vserver {SVM} --name vol2")
    say("\nRead a key, also while nobody leads PostgreSQL:\n")
    say(f"KEYSTEAD_URL={running.reads.url} keystead security key-manager key retrieve --user {READER} \\")
    say(f"    {key} --stdout | sha256sum")
    leader = running.database.wait_for_primary()
    say("\nSee who leads PostgreSQL, and make another one lead:\n")
    say(f"patronictl -c {leader.configuration} list\npatronictl -c {leader.configuration} switchover --force")
    say("\nKill a node, a key server, the leading PostgreSQL, and this with its Patroni:\n")
    say(f"kill -9 {running.nodes[0].program.pid}\nkeystead demo break {servers[0].name} refused")
    say(f"{kill(leader)}\nkill -9 {leader.pid}; {kill(leader)}")
    say("\nIt stays up until Ctrl-C.")


def kill(leader: Member) -> str:
    """Return the command that kills the PostgreSQL of a member."""
    return f"kill -9 $(head -1 {leader.folder}/data/postmaster.pid)"


def say(text: str) -> None:
    """Print, at once."""
    print(text, flush=True)


if __name__ == "__main__":
    main()

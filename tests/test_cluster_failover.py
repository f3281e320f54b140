"""Three nodes under load while PostgreSQL's primary goes: keys are read on, and creations go on with the new primary.

It prints what callers saw. Reads and creations go through the load balancers of ``docs/how-to/cluster.md``.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import psycopg
import pytest

from keystead.testing.key_servers import KeyServers
from keystead.testing.tour import KEY_READER
from tests.peers import cluster
from tests.peers.keystead import PASSWORD
from tests.peers.load import Callers, Keys
from tests.peers.patroni import START_S, SUPERUSER, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.cluster import Cluster
    from tests.peers.load import Connect
    from tests.peers.patroni import Patroni

READER: Final = str(KEY_READER["name"])
KEYS: Final = 20
READERS: Final = 3
CREATORS: Final = 2
LATE_S: Final = 5
"""After so many seconds with a primary that takes writes no creation may fail."""
CALM_S: Final = 8
"""How long the load goes on before and after."""

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(bool(cluster.MISSING), reason=f"not installed: {cluster.MISSING}"),
]


def directly(member: Member) -> Connect:
    """Return the way to connect to the PostgreSQL of a member, past all load balancers."""
    return lambda: psycopg.connect(
        host="127.0.0.1", port=member.port, user=SUPERUSER, dbname="postgres", connect_timeout=2, autocommit=True
    )


def write(connection: psycopg.Connection) -> None:
    """Write a row, where a primary takes it. Raise psycopg.Error."""
    time.sleep(0.1)
    connection.execute("CREATE TABLE IF NOT EXISTS written (number integer)")
    connection.execute("INSERT INTO written VALUES (1)")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, KeyServers]]:
    """Three nodes with somebody who may read keys, and four key servers."""
    with (
        KeyServers(4, one_ca=True) as servers,
        cluster.running(tmp_path_factory.mktemp("cluster"), PASSWORD) as running,
    ):
        running.service.call("POST", "/security/accounts", KEY_READER | {"password": PASSWORD})
        yield running, servers


def kill_postgres(database: Patroni, primary: Member) -> None:
    """PostgreSQL dies."""
    del database
    primary.kill_postgres()


def kill_machine(database: Patroni, primary: Member) -> None:
    """The primary's machine dies."""
    del database
    primary.kill()


def freeze_machine(database: Patroni, primary: Member) -> None:
    """The primary's machine hangs."""
    del database
    primary.freeze()


def switch_over(database: Patroni, primary: Member) -> None:
    """An operator makes the standby the primary."""
    del primary
    database.switch_over()


def seconds(gap: tuple[float, float]) -> str:
    """Return the length of a gap."""
    return f"{gap[1] - gap[0]:.1f} s"


def read_everywhere(running: Cluster, keys: Keys) -> None:
    """Read all keys from each node."""
    for node in running.nodes:
        with node.service.api(READER) as api:
            keys.read_all(api)


@pytest.mark.parametrize("fault", [kill_postgres, kill_machine, freeze_machine, switch_over])
def test_the_primary_goes(three: tuple[Cluster, KeyServers], fault: Callable[[Patroni, Member], None]) -> None:
    """No read fails, no creation fails late, and every key that was created can be read from every node."""
    running, key_servers = three
    keys = Keys(running.service.create_svm(key_servers).key_manager)
    with running.service.api() as api:
        for _ in range(KEYS):
            keys.create(api)
    read_everywhere(running, keys)
    primary = running.database.wait_until_whole()
    with (
        Callers(*((directly(member), write) for member in running.database.members)) as writers,
        Callers(*[(lambda: running.reads.api(READER), keys.read_one)] * READERS) as readers,
        Callers(*[(running.service.api, keys.create)] * CREATORS) as creators,
    ):
        time.sleep(CALM_S)
        gone = time.monotonic()
        fault(running.database, primary)
        until = time.monotonic() + START_S
        while not any(began > gone + 0.1 for began, _ in creators.done) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(CALM_S)
        primary.thaw()
    without_read, without_creation, without_write = (each.longest_gap(gone) for each in (readers, creators, writers))
    late = [(began, why) for began, why in creators.failed if began > without_write[1] + LATE_S]
    print(
        f"\n{fault.__name__}: PostgreSQL took no write for {seconds(without_write)};"
        f" {len(readers.done)} reads, {len(readers.failed)} failed, none for {seconds(without_read)};"
        f" {len(creators.done)} creations, {len(creators.failed)} failed, {len(late)} of them late,"
        f" none for {seconds(without_creation)}, {without_creation[1] - without_write[1]:.1f} s longer than PostgreSQL"
    )
    for began, why in (*readers.failed[:5], *creators.failed[:5]):
        print(f"  {began - gone:+.1f} s: {why}")
    if not primary.pid:
        primary.start()
    assert readers.failed == []
    assert late == []
    read_everywhere(running, keys)

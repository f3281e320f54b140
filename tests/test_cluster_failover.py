"""Three nodes under load while PostgreSQL's primary dies: keys are read on, and creations go on with the new primary.

It prints what callers saw. Reads and creations go through the load balancers of ``docs/how-to/cluster.md``.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import threading
import time
from typing import TYPE_CHECKING, Final, Self

import click
import psycopg
import pytest

from keystead.testing.key_servers import KeyServers
from keystead.testing.tour import KEY_READER
from tests.peers import cluster
from tests.peers.keystead import PASSWORD
from tests.peers.patroni import START_S, SUPERUSER, Member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keystead.cli.client import Api
    from keystead.testing.service import Keystead
    from tests.peers.cluster import Cluster
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


class Callers:
    """Threads that call without a pause, each on a connection that it keeps until a call fails."""

    def __init__(self, service: Keystead, user: str, calls: list[Callable[[Api], None]]) -> None:
        self.done: list[tuple[float, float]] = []
        """When each call that succeeded began and ended."""
        self.failed: list[tuple[float, str]] = []
        """When each call that failed began, and why."""
        self._service, self._user = service, user
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._work, args=(call,), daemon=True) for call in calls]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for each in self._threads:
            each.join()

    def gap(self) -> float:
        """Return the longest time in which no call succeeded."""
        ends = sorted(end for _, end in self.done)
        return max(after - before for before, after in itertools.pairwise(ends))

    def _work(self, call: Callable[[Api], None]) -> None:
        while not self._ending.is_set():
            with self._service.api(self._user) as api:
                started = time.monotonic()
                try:
                    while not self._ending.is_set():
                        started = time.monotonic()
                        call(api)
                        self.done.append((started, time.monotonic()))
                except click.ClickException as error:
                    self.failed.append((started, str(error)))
                    time.sleep(0.02)


class Observer:
    """Who tries, past all load balancers, which PostgreSQL takes writes."""

    def __init__(self, database: Patroni) -> None:
        self._members = database.members
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.takes: list[tuple[float, str]] = []
        """When a member took a write, and its name."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def first_after(self, moment: float) -> float:
        """Return when a write that began after a moment was taken."""
        return next(when for when, _ in self.takes if when > moment)

    def _work(self) -> None:
        while not self._ending.is_set():
            for member in self._members:
                started = time.monotonic()
                if _takes_a_write(member):
                    self.takes.append((started, member.name))
            time.sleep(0.1)


def _takes_a_write(member: Member) -> bool:
    with (
        contextlib.suppress(psycopg.Error),
        psycopg.connect(
            host="127.0.0.1", port=member.port, user=SUPERUSER, dbname="postgres", connect_timeout=2, autocommit=True
        ) as connection,
    ):
        if connection.execute("SELECT pg_is_in_recovery()").fetchone() == (True,):
            return False
        connection.execute("CREATE TABLE IF NOT EXISTS probed (number integer)")
        connection.execute("INSERT INTO probed VALUES (1)")
        return True
    return False


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, KeyServers]]:
    """Three nodes with somebody who may read keys, and four key servers."""
    with (
        KeyServers(4, one_ca=True) as servers,
        cluster.running(tmp_path_factory.mktemp("cluster"), PASSWORD) as running,
    ):
        running.service.call("POST", "/security/accounts", KEY_READER | {"password": PASSWORD})
        yield running, servers


def kill_postgres(primary: Member) -> None:
    """PostgreSQL dies."""
    primary.kill_postgres()


def kill_machine(primary: Member) -> None:
    """Its machine dies."""
    primary.kill()


@pytest.mark.parametrize("fault", [kill_postgres, kill_machine])
def test_the_primary_dies(three: tuple[Cluster, KeyServers], fault: Callable[[Member], None]) -> None:
    """No read fails, no creation fails late, and every key that was created can be read from every node."""
    running, key_servers = three
    svm = running.service.create_svm(key_servers)
    path = f"/security/key-managers/{svm.key_manager}/volume-keys"
    made: list[str] = []
    numbers = itertools.count()

    def create(api: Api) -> None:
        (key,) = api.create(path, {"name": f"vol{next(numbers)}"})
        made.append(key["key_id"])

    def material(api: Api, key: str) -> str:
        return str(api.call("POST", f"{path}/{key}/retrieve")["material"])

    def read(api: Api) -> None:
        key = random.choice(list(known))  # noqa: S311 - no secret
        assert material(api, key) == known[key]

    with running.service.api() as api:
        for _ in range(KEYS):
            create(api)
    known: dict[str, str] = {}
    for node in running.nodes:  # now each of them has the keys in memory
        with node.service.api(READER) as api:
            known |= {key: material(api, key) for key in made}
    primary = running.database.wait_until_whole()
    with (
        Observer(running.database) as observer,
        Callers(running.reads, READER, [read] * READERS) as readers,
        Callers(running.service, running.service.user, [create] * CREATORS) as creators,
    ):
        time.sleep(CALM_S)
        killed = time.monotonic()
        fault(primary)
        running.database.wait_for_primary()
        until = time.monotonic() + START_S
        while not any(began > killed + 0.1 for began, _ in creators.done) and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(CALM_S)
    back = observer.first_after(killed)
    late = [(round(began - back, 1), why) for began, why in creators.failed if began > back + LATE_S]
    print(
        f"\n{fault.__name__}: {len(readers.done)} reads, {len(readers.failed)} failed, none for {readers.gap():.1f} s;"
        f" {len(creators.done)} creations, {len(creators.failed)} failed, {len(late)} of them late,"
        f" none for {creators.gap():.1f} s; PostgreSQL took no write for {back - killed:.1f} s"
    )
    for began, why in (*readers.failed[:5], *creators.failed[:5]):
        print(f"  {began - killed:+.1f} s: {why}")
    if not primary.pid:
        primary.start()
    assert readers.failed == []
    assert late == []
    for node in running.nodes:
        with node.service.api(READER) as api:
            assert len({material(api, key) for key in made}) == len(made)

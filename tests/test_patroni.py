"""PostgreSQL under Patroni, behind HAProxy and PgBouncer: what other tests build on works, and fails over.

The long tests print how long nobody could write.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Self

import psycopg
import pytest

from tests.peers import haproxy, patroni, pgbouncer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.peers.patroni import Patroni

MISSING = ", ".join(filter(None, (patroni.MISSING, haproxy.MISSING, pgbouncer.MISSING)))
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Patroni]:
    """Three members, started once."""
    with patroni.running() as made:
        yield made


@pytest.fixture(scope="module")
def ports(cluster: Patroni) -> Iterator[list[int]]:
    """Two load balancers before the primary: one ends connections to a member that is the primary no more."""
    balancers = [cluster.balancer(f"ending_{each}", shutdown_sessions=each) for each in (True, False)]
    with haproxy.running(cluster.folder / "haproxy", balancers):
        yield [each.port for each in balancers]


class Writer:
    """Somebody who inserts numbers through a load balancer without a pause, and connects again after each failure."""

    def __init__(self, port: int) -> None:
        self.table = f"numbers_{port}"
        self.written: list[int] = []
        self.longest_gap = 0.0
        self._url = patroni.URL.format(port=port)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Self:
        with psycopg.connect(self._url) as connection:
            connection.execute(f"CREATE TABLE IF NOT EXISTS {self.table} (number integer)".encode())
            connection.execute(f"TRUNCATE {self.table}".encode())
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def stored(self) -> set[int]:
        """Return the numbers that are in the table."""
        with psycopg.connect(self._url) as connection:
            return {number for (number,) in connection.execute(f"TABLE {self.table}".encode())}

    def wait_for_another(self) -> None:
        """Return when one more number, begun from now on, is stored."""
        now = len(self.written) + 1  # one may be under way
        end = time.monotonic() + patroni.START_S
        while len(self.written) <= now:
            assert time.monotonic() < end, "nothing is written"
            time.sleep(0.05)

    def _work(self) -> None:
        # Without a limit on statements: a commit that is cancelled while it waits for the standby counts as done.
        number, last = 0, time.monotonic()
        while not self._ending.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._url, autocommit=True, connect_timeout=2) as connection,
            ):
                while not self._ending.is_set():
                    number += 1
                    connection.execute(f"INSERT INTO {self.table} VALUES ({number})".encode())  # noqa: S608 - no value of anybody's
                    now = time.monotonic()
                    self.longest_gap, last = max(self.longest_gap, now - last), now
                    self.written.append(number)
            time.sleep(0.02)


def test_a_write_reaches_the_standby(cluster: Patroni, ports: list[int]) -> None:
    """A commit through a load balancer waits for the synchronous standby; the balancer leads to the primary."""
    with psycopg.connect(patroni.URL.format(port=ports[0]), autocommit=True) as connection:
        connection.execute("SET synchronous_commit = remote_apply")
        connection.execute("CREATE TABLE IF NOT EXISTS kept AS SELECT 1 AS number")
        assert connection.execute("SELECT inet_server_port()").fetchone() == (cluster.wait_for_primary().port,)
    with psycopg.connect(patroni.URL.format(port=cluster.synchronous.port)) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)


@pytest.mark.long
@pytest.mark.parametrize("prepared", [True, False])
def test_a_pool_of_transactions(cluster: Patroni, ports: list[int], *, prepared: bool) -> None:
    """PgBouncer tells two clients' prepared statements apart only if it is set so. It refuses start-up options."""
    outcome = contextlib.nullcontext() if prepared else pytest.raises(psycopg.errors.DuplicatePreparedStatement)
    with (
        pgbouncer.pooling(cluster.folder / f"pool-{prepared}", ports[0], prepared=prepared) as url,
        psycopg.connect(url, autocommit=True, prepare_threshold=0) as one,
        psycopg.connect(url, autocommit=True, prepare_threshold=0) as other,
    ):
        with outcome:
            for each in (one, other):
                assert each.execute("SELECT %s + 1", (1,)).fetchone() == (2,)
        with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter"):
            psycopg.connect(url, options="-c statement_timeout=1000")


def kill_postgres(cluster: Patroni) -> None:
    """The primary's PostgreSQL dies."""
    cluster.wait_for_primary().kill_postgres()


def kill_patroni(cluster: Patroni) -> None:
    """The primary's machine dies."""
    cluster.wait_for_primary().kill()


def kill_standby(cluster: Patroni) -> None:
    """The synchronous standby's machine dies."""
    cluster.synchronous.kill()


def freeze_standby(cluster: Patroni) -> None:
    """The synchronous standby's machine hangs."""
    cluster.synchronous.freeze()


def freeze(cluster: Patroni) -> None:
    """The primary's machine hangs."""
    cluster.wait_for_primary().freeze()


def switch_over(cluster: Patroni) -> None:
    """An operator makes the standby the primary."""
    cluster.switch_over()


@pytest.mark.long
@pytest.mark.parametrize("fault", [kill_postgres, kill_patroni, freeze, kill_standby, freeze_standby, switch_over])
def test_failover(cluster: Patroni, ports: list[int], fault: Callable[[Patroni], None]) -> None:
    """Writes go on by themselves, and none that was acknowledged is lost. The member that died comes back."""
    cluster.wait_until_whole()
    with Writer(ports[0]) as ending, Writer(ports[1]) as keeping:
        for each in (ending, keeping):
            each.wait_for_another()
        fault(cluster)
        ending.wait_for_another()
        for member in cluster.members:
            member.thaw()
            if not member.pid:
                member.start()
        cluster.wait_until_whole()
        for each in (ending, keeping):
            each.wait_for_another()
    for each in (ending, keeping):
        assert set(each.written) <= each.stored()
    print(
        f"\n{fault.__name__}: nobody could write for {ending.longest_gap:.1f} s, {keeping.longest_gap:.1f} s where"
        " connections to the old primary are kept"
    )

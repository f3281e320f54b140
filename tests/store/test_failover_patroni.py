"""The store on PostgreSQL under Patroni, through HAProxy, while the primary changes: nothing is lost, and it goes on.

The tests print how long nobody could write.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Self

import psycopg
import pytest

from keystead.core.model import Svm
from keystead.service.ports.store import OutcomeUnknown, StoreError
from keystead.store import SqlStore, open_store
from keystead.store.upgrade import upgrade
from tests.peers import haproxy, patroni

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keystead.service.ports.store import Transaction
    from tests.peers.patroni import Patroni

MISSING = ", ".join(filter(None, (patroni.MISSING, haproxy.MISSING)))
pytestmark = [pytest.mark.long, pytest.mark.skipif(bool(MISSING), reason=f"not installed: {MISSING}")]

WRITERS = 3
FAILS_WITHIN_S = 5.0
"""How long after there is a primary that takes writes a write may still fail."""
PAUSE_S = 0.02


@pytest.fixture(scope="module")
def cluster() -> Iterator[Patroni]:
    """Three members, started once."""
    with patroni.running() as made:
        yield made


@pytest.fixture(scope="module")
def urls(cluster: Patroni) -> Iterator[list[str]]:
    """Two load balancers before the primary: one ends connections to a member that is the primary no more."""
    balancers = [cluster.balancer(f"ending_{each}", shutdown_sessions=each) for each in (True, False)]
    with haproxy.running(cluster.folder / "haproxy", balancers):
        found = [
            patroni.URL.format(port=each.port).replace("postgresql", "postgresql+psycopg", 1) for each in balancers
        ]
        upgrade(found[0])
        with psycopg.connect(found[0].replace("+psycopg", "")) as connection:
            connection.execute("CREATE TABLE probed (number integer)")
        yield found


@dataclass
class Load:
    """Callers of one store, who write names without a pause, and what they were told of each."""

    store: SqlStore
    label: str
    acknowledged: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    failed_at: list[float] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    longest_gap: float = 0.0
    _ending: bool = False

    async def run(self) -> None:
        """Write until the end."""
        self._last = time.monotonic()
        await asyncio.gather(*[self._write_names(f"{self.label}-{number}") for number in range(WRITERS)])

    def end(self) -> None:
        """Let the callers end after their present call."""
        self._ending = True

    async def wait_for_another(self) -> None:
        """Return when one more write, begun from now on, is acknowledged."""
        now = len(self.acknowledged) + WRITERS
        async with asyncio.timeout(patroni.START_S):
            while len(self.acknowledged) <= now:  # noqa: ASYNC110 - each writer knows of itself only
                await asyncio.sleep(PAUSE_S)

    async def _write_names(self, label: str) -> None:
        number = 0
        while not self._ending:
            number += 1
            await self._write(f"{label}-{number}")
            await asyncio.sleep(PAUSE_S)

    async def _write(self, name: str) -> None:
        try:
            await self.store.write(lambda tx: tx.add_svm(Svm(name, name)))
        except StoreError as error:
            (self.unknown if isinstance(error, OutcomeUnknown) else self.refused).append(name)
            self.failed_at.append(time.monotonic())
            return
        self.acknowledged.append(name)
        now = time.monotonic()
        self.longest_gap, self._last = max(self.longest_gap, now - self._last), now
        with contextlib.suppress(StoreError):
            if await self.store.read(lambda tx: tx.svm(name)) is None:
                self.unseen.append(name)


class Probe:
    """Somebody who writes to each member, past the load balancers, and notes when that worked."""

    def __init__(self, cluster: Patroni) -> None:
        self._ending = threading.Event()
        self._worked_at: list[float] = []
        self._threads = [
            threading.Thread(target=self._work, args=(each.port,), daemon=True) for each in cluster.members
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for each in self._threads:
            each.join()

    @property
    def taken_at(self) -> float:
        """The end of the longest time in which no member took a write."""
        times = sorted(self._worked_at)
        return max(pairwise(times), key=lambda pair: pair[1] - pair[0])[1]

    def _work(self, port: int) -> None:
        url = patroni.URL.format(port=port)
        while not self._ending.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(url, autocommit=True, connect_timeout=2) as connection,
            ):
                connection.execute("INSERT INTO probed VALUES (1)")
                self._worked_at.append(time.monotonic())
            time.sleep(PAUSE_S)


def kill_postgres(cluster: Patroni) -> None:
    """The primary's PostgreSQL dies."""
    cluster.wait_for_primary().kill_postgres()


def kill_patroni(cluster: Patroni) -> None:
    """The primary's machine dies."""
    cluster.wait_for_primary().kill()


def freeze(cluster: Patroni) -> None:
    """The primary's machine hangs, and keeps its connections."""
    cluster.wait_for_primary().freeze()


def switch_over(cluster: Patroni) -> None:
    """An operator makes the standby the primary."""
    cluster.switch_over()


def existing(names: list[str], tx: Transaction) -> set[str]:
    """Return the names that were made."""
    return {name for name in names if tx.svm(name) is not None}


@pytest.mark.parametrize("fault", [kill_postgres, kill_patroni, freeze, switch_over])
async def test_the_store_follows_the_primary(
    cluster: Patroni, urls: list[str], fault: Callable[[Patroni], None]
) -> None:
    """What was acknowledged is there, and at once; what was refused is not. Soon after the change no write fails."""
    await asyncio.to_thread(cluster.wait_until_whole)
    loads = [Load(open_store(url), f"{fault.__name__}-{number}") for number, url in enumerate(urls)]
    running = [asyncio.create_task(load.run()) for load in loads]
    for load in loads:
        await load.wait_for_another()
    with Probe(cluster) as probe:
        await asyncio.to_thread(fault, cluster)
        for load in loads:
            await load.wait_for_another()
        for member in cluster.members:
            member.thaw()
            if not member.pid:
                await asyncio.to_thread(member.start)
        await asyncio.to_thread(cluster.wait_until_whole)
    for load in loads:
        await load.wait_for_another()
        load.end()
    await asyncio.gather(*running)
    for load in loads:
        names = load.acknowledged + load.unknown + load.refused
        found = await load.store.read(partial(existing, names))
        await load.store.close()
        late = max(load.failed_at, default=probe.taken_at) - probe.taken_at
        print(
            f"\n{load.label}: no write for {load.longest_gap:.1f} s; {len(load.acknowledged)} acknowledged,"
            f" {len(load.refused)} refused, {len(load.unknown)} unknown; the last {late:.1f} s after a primary came"
        )
        assert set(load.acknowledged) <= found
        assert not set(load.refused) & found
        assert load.unseen == []
        assert late < FAILS_WITHIN_S

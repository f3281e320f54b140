"""Whatever fails, and in whatever order: no acknowledged key is lost, and nothing is destroyed that may not be.

Each schedule is drawn from its seed, which stands in the test's name, or in the report of a batch.
"""

from __future__ import annotations

import contextlib
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.kmip.server.storage import Store
from tests.peers.certificates import server_context
from tests.peers.database_link import database_link
from tests.service.worlds.keys import ShiftedClock
from tests.survival.schedules import Schedule, judged
from tests.survival.servers import Real, Scripted, Watched
from tests.survival.systems import System

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.peers.database_link import Link
    from tests.peers.fixtures import Pki
    from tests.peers.groups import Group
    from tests.peers.homes import Home
    from tests.peers.postgres import PostgresServer
    from tests.survival.servers import Place

SERVERS = 4
BATCH, BATCHES, REAL_BATCH, REAL_BATCHES = 20, 49, 5, 4
"""1,000 in all."""

SQLITE, POSTGRESQL = "sqlite", "postgresql"


@asynccontextmanager
async def scripted(system: System, pki: Pki, *, replicated: bool, secondaries: int) -> AsyncIterator[list[Place]]:
    """The library's own servers: two of them one cluster, if that is wanted; the last with secondaries."""
    context = server_context(pki.server, client_ca=pki.client_ca)
    shared = Store()
    async with AsyncExitStack() as stack:
        made: list[Place] = []
        for number in range(SERVERS):
            store = shared if replicated and number in {0, 1} else None
            secondary = number >= SERVERS - secondaries
            place = Scripted(context, Watched(system.witness, store=store), secondary=secondary)
            stack.push_async_callback(place.close)
            await place.start()
            made.append(place)
        if replicated:
            made[1].shares(made[0])
        yield made


@contextlib.contextmanager
def real(group: Group, *, replicated: bool) -> Iterator[list[Place]]:
    """PyKMIP servers; the first two of them on one database, if that is wanted."""
    first, second, third, fourth = group.primaries
    group.reset()
    made: list[Place] = [
        Real(each) for each in (first, group.secondaries[0][0] if replicated else fourth, second, third)
    ]
    if replicated:
        made[1].shares(made[0])
    yield made


@contextlib.contextmanager
def way_to(home: Home, postgres: PostgresServer | None) -> Iterator[tuple[str, Link | None]]:
    """The database as nodes reach it: PostgreSQL through a link that breaks."""
    if postgres is None:
        yield home.database, None
        return
    with database_link(postgres, home.database) as found:
        yield found


class Runs:
    """Runs schedules on one installation, one after the other."""

    def __init__(self, home: Home, pki: Pki, folder: Path, postgres: PostgresServer | None) -> None:
        self._home, self._pki, self._folder, self._postgres = home, pki, folder, postgres
        self._clock = ShiftedClock()

    async def run(self, schedule: Schedule, group: Group | None = None) -> str:
        """Return what is wrong with a schedule. There are two nodes on PostgreSQL; what else differs is by the seed."""
        replicated, secondaries = schedule.seed % 3 == 0, schedule.seed % 4
        nodes = 1 if self._postgres is None else 2
        with way_to(self._home, self._postgres) as (database, link):
            system = System(self._home, self._clock, self._folder, database)
            schedule = replace(schedule, link=link, min_copies=2 * (schedule.seed % 5 == 0))
            if group is not None:
                with real(group, replicated=replicated) as places:
                    return await judged(system, schedule, places, nodes=nodes)
            async with scripted(system, self._pki, replicated=replicated, secondaries=secondaries) as places:
                return await judged(system, schedule, places, nodes=nodes)


@pytest.fixture
def runs(home: Home, pki: Pki, tmp_path: Path, request: pytest.FixtureRequest) -> Runs:
    """Return what runs schedules on this test's engine."""
    on_postgresql = home.store.database.writer.dialect.name == POSTGRESQL
    return Runs(home, pki, tmp_path, request.getfixturevalue("postgres") if on_postgresql else None)


@pytest.mark.parametrize(
    ("database_url", "seed"),
    [(SQLITE, 1), *(pytest.param(*each, marks=pytest.mark.long) for each in ((SQLITE, 3), (POSTGRESQL, 2)))],
    indirect=["database_url"],
)
async def test_a_schedule(runs: Runs, seed: int) -> None:
    """Servers that are killed, silent, late, full, lying, denying and more; coordinators that die, sleep and wake."""
    wrong = await runs.run(Schedule(seed, phases=4, slow=True))
    assert not wrong, wrong


@pytest.mark.long
@pytest.mark.parametrize(("database_url", "seed"), [(SQLITE, 3), (POSTGRESQL, 4)], indirect=["database_url"])
async def test_a_schedule_of_real_servers(runs: Runs, pykmip_group: Group, seed: int) -> None:
    """PyKMIP's servers, killed, paused, slow, and behind networks that reset connections and lose answers."""
    wrong = await runs.run(Schedule(seed, phases=2, slow=True), pykmip_group)
    assert not wrong, wrong


def seeds(batch: int, size: int, first: int) -> range:
    """The seeds of a batch."""
    return range(first + batch * size, first + (batch + 1) * size)


@pytest.mark.long
@pytest.mark.parametrize(
    ("database_url", "batch"),
    [(POSTGRESQL if batch % 7 == 0 else SQLITE, batch) for batch in range(BATCHES)],
    indirect=["database_url"],
)
async def test_many_schedules(runs: Runs, batch: int) -> None:
    """The same, over and over."""
    wrong = [await runs.run(Schedule(seed, slow=seed % 25 == 0)) for seed in seeds(batch, BATCH, 1000)]
    assert not any(wrong), "\n\n".join(filter(None, wrong))


@pytest.mark.long
@pytest.mark.parametrize(
    ("database_url", "batch"),
    [(POSTGRESQL if batch % 2 else SQLITE, batch) for batch in range(REAL_BATCHES)],
    indirect=["database_url"],
)
async def test_many_schedules_of_real_servers(runs: Runs, pykmip_group: Group, batch: int) -> None:
    """The same with PyKMIP's servers."""
    wrong = [await runs.run(Schedule(seed, slow=True), pykmip_group) for seed in seeds(batch, REAL_BATCH, 5000)]
    assert not any(wrong), "\n\n".join(filter(None, wrong))

"""Three real nodes whose PostgreSQL fails over again and again: no caller is told anything that is not so.

Each schedule is drawn from its seed, which is printed with what happened. ``--long`` makes 200 failovers on bare
standbys, some for each test, so that ``--long --resume`` goes on where a run was cut. The number of those that passed
is that of the tests that passed.
"""

from __future__ import annotations

import contextlib
import time
from random import Random
from typing import TYPE_CHECKING, Final

import pytest

from keystead.testing.key_servers import KeyServers
from tests.survival.callers import Callers
from tests.survival.cluster_faults import FAULTS, Place, World
from tests.survival.history import told
from tests.survival.nodes import Trouble, three_nodes
from tests.survival.standbys import URL, standbys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.survival.cluster_faults import Fault

SERVERS: Final = 5
FIRST_SERVERS: Final = 3
CALM_S: Final = 0.7
LASTING_S: Final = (0.5, 3.0)
LONG_LASTING_S: Final = (0.5, 9.0)
"""Beyond ``offline_reads_s``."""
SEEDS: Final = (1, 2, 3)
FAILOVERS: Final = 2
LONG_FAILOVERS: Final = 5
LONG_SEEDS: Final = range(100, 100 + 200 // LONG_FAILOVERS)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Three nodes, five key servers, and a PostgreSQL with two standbys."""
    with (
        KeyServers(SERVERS, one_ca=True) as servers,
        standbys() as database,
        three_nodes(tmp_path_factory.mktemp("nodes"), URL, database.primary.port) as nodes,
    ):
        yield World(nodes, database, servers, Trouble())


def drawn(random: Random, *places: Place) -> tuple[str, Fault]:
    """Return one row of the table of faults."""
    return random.choice([(name, fault) for name, fault in FAULTS.items() if fault.place in places])


class Schedule:
    """So many failovers, each together with another fault or soon after one."""

    def __init__(self, world: World, seed: int, failovers: int, lasting_s: tuple[float, float]) -> None:
        self.told: list[str] = []
        self._world, self._seed, self._failovers, self._lasting_s = world, seed, failovers, lasting_s
        self._random = Random(seed)  # noqa: S311 - no secret

    def run(self) -> list[str]:
        """Run it, and return what is wrong."""
        world = self._world
        world.died = False
        servers = [each.address for each in world.key_servers]
        svm = world.nodes[0].service.create_svm(world.key_servers, most=FIRST_SERVERS)
        before = self._incarnation()
        callers = Callers(world.nodes, svm.key_manager, servers, FIRST_SERVERS, world.trouble)
        with callers.calling(self._seed):
            for number in range(self._failovers):
                time.sleep(CALM_S)
                self._fail(number)
            time.sleep(CALM_S)
        callers.look_over()
        wrong = [*callers.verdict(), *self._held(before), *self._chains()]
        self.told += [callers.count(), f"{self._failovers} failovers, {len(wrong)} violations"]
        if wrong:
            self.told.append(told(callers.history.operations))
        world.nodes[0].service.retire_svm(svm)
        return wrong

    def _fail(self, number: int) -> None:
        random, world = self._random, self._world
        name, fault = drawn(random, Place.DATABASE, Place.NODE, Place.KEY_SERVERS)
        failover_name, failover = drawn(random, Place.FAILOVER)
        began = time.monotonic()
        self.told.append(f"[{began:.10g}] {number}: {name}; {failover_name}")
        with world.trouble.lasting():
            with contextlib.ExitStack() as stack:
                stack.enter_context(fault.begin(world, random))
                self._last()
                if fault.place is Place.DATABASE:
                    stack.close()
                with failover.begin(world, random):
                    self._last()
            world.database.wait_until_whole()
            for node in world.nodes:
                node.wait_until_ready()
        self.told.append(f"[{time.monotonic():.10g}] {number}: whole")

    def _last(self) -> None:
        time.sleep(self._random.uniform(*self._lasting_s))

    # --- what holds at the end ---

    def _held(self, before: int) -> Iterator[str]:
        """Restart the nodes one by one. Destruction is not held then, unless a process died in a failover."""
        for node in self._world.nodes:
            node.stop()
            node.start()
            node.wait_until_ready()
        service = self._world.nodes[0].service
        found = service.call("GET", "/security/key-manager-incarnation")
        if found["destroys"] and found["number"] == before:
            return
        if not self._world.died:
            yield f"an operator's step is needed: {found}, it was incarnation {before}"
        service.call("PATCH", "/security/key-manager-incarnation", {"destroys": True})

    def _incarnation(self) -> int:
        found = self._world.nodes[0].service.call("GET", "/security/key-manager-incarnation")
        return int(found["number"])

    def _chains(self) -> Iterator[str]:
        done = self._world.nodes[0].installation.run("audit", "verify")
        if done.returncode:
            yield f"the audit chain is broken: {done.stdout}{done.stderr}"


def judge(schedule: Schedule) -> None:
    """Run a schedule, print what happened, and fail if anything is wrong."""
    try:
        wrong = schedule.run()
    finally:
        print("\n".join(("", *schedule.told)))
    assert wrong == []


@pytest.mark.parametrize("seed", SEEDS)
def test_failovers(world: World, seed: int) -> None:
    """Some failovers, with short faults beside them."""
    judge(Schedule(world, seed, FAILOVERS, LASTING_S))


@pytest.mark.long
@pytest.mark.parametrize("seed", LONG_SEEDS)
def test_many_failovers(world: World, seed: int) -> None:
    """More, with faults that last longer than nodes may answer without their database."""
    judge(Schedule(world, seed, LONG_FAILOVERS, LONG_LASTING_S))

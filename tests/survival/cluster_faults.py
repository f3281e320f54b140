"""What may happen to three nodes, their key servers and their PostgreSQL with bare standbys: one table.

Each fault lasts as long as its block. At its end everything is as it was, or comes back soon.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.testing.key_servers import KeyServers
    from tests.peers.postgres_cluster import Cluster
    from tests.survival.nodes import Node, Trouble
    from tests.survival.standbys import Standbys

LATE_S: Final = 4.0
"""The address of the primary may change so much later than the primary."""
CLOCK_S: Final = 20 * 60
CANCELLING_S: Final = 1.5


class Place(StrEnum):
    """What a fault happens to. A ``FAILOVER`` is a fault of the database with another primary at its end."""

    FAILOVER = "failover"
    DATABASE = "database"
    NODE = "node"
    KEY_SERVERS = "key servers"


@dataclass
class World:
    """What faults happen to. ``died``: a process of a node ended during a trouble, so it cannot vouch afterwards."""

    nodes: list[Node]
    database: Standbys
    key_servers: KeyServers
    trouble: Trouble
    died: bool = False


Begin = Callable[["World", Random], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """One row of the table."""

    place: Place
    begin: Begin


# --- failovers ---


def _failover(
    end: Callable[[Standbys], None], *, late: bool = False, apart: bool = False, resets: bool = True
) -> Begin:
    """Return a failover that begins with an end of the primary.

    ``late``: nodes find the new primary late. ``apart``: one node is cut off together with the former primary, until
    the end of the block. ``resets``: a load balancer ends the connections to the former primary.
    """

    @contextlib.contextmanager
    def begin(world: World, random: Random) -> Iterator[None]:
        alone = random.choice(world.nodes) if apart else None
        end(world.database)
        former = world.database.promote()
        if late:
            time.sleep(random.uniform(0, LATE_S))
        _lead(world, [each for each in world.nodes if each is not alone], resets=resets)
        yield
        if alone is not None:
            _lead(world, [alone], resets=resets)
        former.hang(hangs=False)
        if random.random() < 0.5:
            time.sleep(random.uniform(0, 1))  # the former primary, back again, meets the connections that are left
        # pg_rewind may not replace the file that made a demoted primary a standby.
        world.database.take_back(former, rewind=end is not _demoted and random.random() < 0.5)

    return begin


def _lead(world: World, nodes: list[Node], *, resets: bool) -> None:
    for node in nodes:
        node.way.lead_to(world.database.primary.port)
        if resets:
            node.way.fail("reset")
            node.way.heal()


def _killed(database: Standbys) -> None:
    database.primary.stop("immediate")


def _stopped(database: Standbys) -> None:
    database.primary.stop()


def _demoted(database: Standbys) -> None:
    database.primary.stop()
    database.primary.lose_primary()


def _hung(database: Standbys) -> None:
    database.primary.hang()


def _cut_off(database: Standbys) -> None:
    """It goes on, without standbys."""
    database.detach()


def _commits_hang(database: Standbys) -> None:
    database.detach()
    time.sleep(2 * CANCELLING_S)
    database.primary.stop("immediate")


def _commits_cancelled(database: Standbys) -> None:
    database.detach()
    _cancel(database.primary)
    database.primary.stop("immediate")


def _cancel(primary: Cluster) -> None:
    end = time.monotonic() + CANCELLING_S
    while time.monotonic() < end:
        primary.cancel_waiting_commits()
        time.sleep(0.1)


# --- the database, without another primary ---


@contextlib.contextmanager
def _standbys_hang(world: World, _: Random) -> Iterator[None]:
    hanging = list(world.database.standbys)
    for each in hanging:
        each.hang()
    yield
    for each in hanging:
        each.hang(hangs=False)


@contextlib.contextmanager
def _cancelled(world: World, random: Random) -> Iterator[None]:
    with _standbys_hang(world, random):
        _cancel(world.database.primary)
        yield


@contextlib.contextmanager
def _standby_lost(world: World, random: Random) -> Iterator[None]:
    lost = random.choice(world.database.standbys)
    lost.stop("immediate")
    yield
    lost.start()


@contextlib.contextmanager
def _restarted(world: World, random: Random) -> Iterator[None]:
    primary = world.database.primary
    primary.stop(random.choice(("fast", "immediate")))
    yield
    primary.start()


@contextlib.contextmanager
def _sessions_hang(world: World, _: Random) -> Iterator[None]:
    """Some of them within locks."""
    primary = world.database.primary
    with primary.frozen(primary.backends()):
        yield


# --- nodes and key servers ---


@contextlib.contextmanager
def _node_killed(world: World, random: Random) -> Iterator[None]:
    node = random.choice(world.nodes)
    world.died = True
    node.kill()
    yield
    node.start()


@contextlib.contextmanager
def _node_stopped(world: World, random: Random) -> Iterator[None]:
    node = random.choice(world.nodes)
    world.died = True
    node.stop()
    yield
    node.start()


@contextlib.contextmanager
def _node_hangs(world: World, random: Random) -> Iterator[None]:
    node = random.choice(world.nodes)
    node.hang()
    yield
    node.hang(hangs=False)


def _clock_wrong(ahead_s: int) -> Begin:
    @contextlib.contextmanager
    def begin(world: World, random: Random) -> Iterator[None]:
        node = random.choice(world.nodes)
        world.died = True
        node.stop()
        node.start(ahead_s)
        yield
        node.stop()
        node.start()

    return begin


def _node_cut_off(mode: str) -> Begin:
    @contextlib.contextmanager
    def begin(world: World, random: Random) -> Iterator[None]:
        node = random.choice(world.nodes)
        node.way.fail(mode)
        yield
        node.way.fail("reset")  # what was dropped never comes
        node.way.heal()

    return begin


def _key_servers(fault: str, *, every: bool = False) -> Begin:
    @contextlib.contextmanager
    def begin(world: World, random: Random) -> Iterator[None]:
        broken = world.key_servers if every else [random.choice(world.key_servers)]
        for each in broken:
            each.break_(fault)
        yield
        for each in broken:
            each.heal()

    return begin


FAULTS: Final[Mapping[str, Fault]] = {
    "primary killed": Fault(Place.FAILOVER, _failover(_killed)),
    "primary hangs": Fault(Place.FAILOVER, _failover(_hung)),
    "primary hangs, and connections to it are kept": Fault(Place.FAILOVER, _failover(_hung, resets=False)),
    "switchover": Fault(Place.FAILOVER, _failover(_stopped)),
    "switchover, and the address changes late": Fault(Place.FAILOVER, _failover(_demoted, late=True, resets=False)),
    "primary cut off": Fault(Place.FAILOVER, _failover(_cut_off)),
    "primary cut off, and the address changes late": Fault(
        Place.FAILOVER, _failover(_cut_off, late=True, resets=False)
    ),
    "primary cut off with a node": Fault(Place.FAILOVER, _failover(_cut_off, apart=True)),
    "primary killed while commits hang": Fault(Place.FAILOVER, _failover(_commits_hang)),
    "primary killed after commits were cancelled": Fault(Place.FAILOVER, _failover(_commits_cancelled)),
    "commits hang": Fault(Place.DATABASE, _standbys_hang),
    "commits are cancelled": Fault(Place.DATABASE, _cancelled),
    "standby lost": Fault(Place.DATABASE, _standby_lost),
    "primary restarts": Fault(Place.DATABASE, _restarted),
    "sessions hang": Fault(Place.DATABASE, _sessions_hang),
    "node killed": Fault(Place.NODE, _node_killed),
    "node stopped": Fault(Place.NODE, _node_stopped),
    "node hangs": Fault(Place.NODE, _node_hangs),
    "node's clock 20 minutes ahead": Fault(Place.NODE, _clock_wrong(CLOCK_S)),
    "node's clock 20 minutes behind": Fault(Place.NODE, _clock_wrong(-CLOCK_S)),
    "node's packets to the database dropped": Fault(Place.NODE, _node_cut_off("drop")),
    "node's connections to the database reset": Fault(Place.NODE, _node_cut_off("reset")),
    "key server refuses": Fault(Place.KEY_SERVERS, _key_servers("refused")),
    "key server silent": Fault(Place.KEY_SERVERS, _key_servers("silent")),
    "all key servers refuse": Fault(Place.KEY_SERVERS, _key_servers("refused", every=True)),
}
"""What can happen, by its name."""

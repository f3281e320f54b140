"""What several nodes announce together about key servers, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.availability import PRIMARY, AddressCheck, CheckResult, WatchedAddress
from keystead.core.model import Cluster, Event, KeyManager, KeyServer, Node, Release, Svm
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from keystead.service.probing.observations import Observations
from keystead.service.probing.watching import Watched, Watching
from tests.service.worlds.basics import HandClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

SVM = Svm("svm-1", "vs1")
MANAGER = KeyManager("km", SVM, enabled=True, client_certificate="c", server_ca_certificates=("ca",))
SERVERS = 40
NODES = [Node(f"node-{number}", f"n{number}", Release(9, 18, 1)) for number in (1, 2, 3)]
GOOD, REFUSED, SILENT = CheckResult(), CheckResult("connect", "connection_refused"), CheckResult("tls", "tls_timed_out")
SHOWN, HIDDEN = CheckResult(keys_visible=True), CheckResult(keys_visible=False)
LOST, BACK = "km.keyserver.notavailable", "km.keyserver.available"


def server(number: int) -> KeyServer:
    """Return one of the key servers."""
    return KeyServer(f"server-{number:02}", MANAGER.uuid, number, ServerAddress(f"ks{number}", 5696), 25, 10, "", ())


def fill(tx: Transaction) -> None:
    """Make a cluster of three nodes that are heard, and one key manager with its servers."""
    tx.put_cluster(Cluster("cluster", "the cluster"))
    for node in NODES:
        tx.put_node(node)
    tx.add_svm(SVM)
    tx.add_key_manager(MANAGER)
    tx.add_key_servers([server(number) for number in range(SERVERS)])


class World:
    """Three nodes that watch on one database."""

    def __init__(self, store: SqlStore) -> None:
        self.store = store
        self.clock = HandClock()
        unused: Any = None
        self._nodes = [
            Watching(store, unused, unused, Observations(self.clock, node.uuid), self.clock, node.uuid)
            for node in NODES
        ]

    async def sees(self, node: int, look: CheckResult, servers: Sequence[int] = (0,)) -> None:
        """Store what a node (1 to 3) saw of servers, as its recorder does: what is held is stored a little later."""
        time = self.clock.now()
        changes = [
            AddressCheck(MANAGER.uuid, WatchedAddress(server(number).uuid, PRIMARY), look, time) for number in servers
        ]
        while await self._nodes[node - 1].record(changes):  # noqa: ASYNC110 - the lock of another transaction
            await asyncio.sleep(0.01)

    async def compare(self, node: int) -> None:
        """Have a node compare what is announced with what the nodes say."""
        place = WatchedAddress(server(0).uuid, PRIMARY)
        watched = {place: Watched(place, server(0).address, server(0), MANAGER, SVM.name)}
        await self._nodes[node - 1].announce_ends(watched)

    async def events(self) -> list[Event]:
        """Return all events, as they were announced."""
        found = await self.store.read(lambda tx: tx.page(Event, Page()))
        return sorted(found, key=lambda each: (each.time, each.node, each.index))

    async def names(self) -> list[str]:
        """Return the name of each event."""
        return [event.name for event in await self.events()]


@pytest.fixture
async def world(store: SqlStore) -> World:
    """Return three nodes."""
    await store.write(fill)
    return World(store)


async def play(world: World, *steps: tuple[int, CheckResult]) -> list[str]:
    """Have nodes see the first server so, one after the other. Return the names of the events."""
    for node, look in steps:
        await world.sees(node, look)
        world.clock.advance(1)
    return await world.names()


async def test_a_loss_is_announced_by_the_first_and_its_end_by_the_last(world: World) -> None:
    """Three nodes, one event each. The first has the state of each node beside it."""
    losses = [(node, REFUSED) for node in (2, 1, 3)]
    assert await play(world, (1, GOOD), *losses) == [LOST]
    assert await play(world, (3, GOOD), (2, GOOD)) == [LOST]
    assert await play(world, (1, GOOD)) == [LOST, BACK]
    lost, back = await world.events()
    assert (lost.node, back.node) == ("node-2", "node-1")
    assert dict(lost.parameters)["node_states"] == "n1 available, n2 not_responding, n3 unknown"


@pytest.mark.parametrize(
    ("steps", "names"),
    [
        ([(1, REFUSED), (2, SILENT), (3, REFUSED)], [LOST]),
        ([(1, REFUSED), (2, REFUSED), (1, SILENT), (2, SILENT)], [LOST, LOST]),
        ([(1, REFUSED), (2, REFUSED), (1, GOOD), (1, REFUSED), (2, GOOD)], [LOST]),
        ([(1, HIDDEN), (2, HIDDEN), (1, SHOWN), (2, SHOWN)], ["km.canary.notvisible", "km.canary.visible"]),
        ([(1, REFUSED), (1, HIDDEN), (2, HIDDEN)], [LOST, BACK, "km.canary.notvisible"]),
    ],
)
async def test_what_nodes_announce_together(
    world: World, steps: list[tuple[int, CheckResult]], names: list[str]
) -> None:
    """Each loss, each new reason and each return once, also if the nodes do not agree."""
    assert await play(world, *steps) == names


async def test_a_node_that_does_not_count_holds_back_no_return(world: World) -> None:
    """It left, and had the server as lost. When it is back, it announces neither the loss nor the return again."""
    await play(world, (1, REFUSED), (2, REFUSED))
    await world.store.write(lambda tx: tx.leave_node(NODES[1].uuid))
    assert await play(world, (1, GOOD)) == [LOST, BACK]
    assert await play(world, (2, REFUSED), (2, GOOD)) == [LOST, BACK]


async def test_what_is_over_once_a_node_has_left(world: World) -> None:
    """It alone had the server as lost. No look of another node shows a change, so all is compared now and then."""
    await play(world, (2, GOOD), (1, REFUSED))
    await world.compare(2)
    assert await world.names() == [LOST]
    await world.store.write(lambda tx: tx.leave_node(NODES[0].uuid))
    await asyncio.gather(world.compare(2), world.compare(3))
    assert await world.names() == [LOST, BACK]
    await world.compare(2)
    assert await world.names() == [LOST, BACK]


async def test_forty_losses_that_three_nodes_see_at_once(world: World) -> None:
    """One event for each server, whichever node was first; and one for each return."""
    servers = range(SERVERS)
    for look, name in ((REFUSED, LOST), (GOOD, BACK)):
        await asyncio.gather(*(world.sees(node, look, servers) for node in (1, 2, 3)))
        found = [dict(event.parameters)["address"] for event in await world.events() if event.name == name]
        assert sorted(found) == sorted(f"ks{number}:5696" for number in servers)
        world.clock.advance(1)

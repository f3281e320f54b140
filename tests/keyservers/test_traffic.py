"""How many operations were sent to an address, and how many connections are open there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.core.server_address import ServerAddress
from keystead.keyservers.gateway import Gateway
from keystead.keyservers.traffic import DAY_S, SHORTEST_S, SPAN_S, SentOperations
from tests.keyservers.cases import LOOPBACK, identity, target
from tests.keyservers.reaching import TIMEOUT_S, Clock, endpoint, objects, put, read, register, server

if TYPE_CHECKING:
    from keystead.kmip.testing.server import KeyServer

ONE = ServerAddress("ks1", 5696)
LIMIT_S = 5.0


def operations(running: KeyServer) -> int:
    """Return how many operations a server was asked for."""
    return sum(len(request.batch_item) for request in running.requests)


def test_a_young_count_is_scaled_up_to_a_day() -> None:
    """The time runs from the first operation, for each address by itself; the first minute counts as one."""
    clock = Clock()
    sent = SentOperations(clock)
    assert sent.per_day().get(ONE.key, 0) == 0
    sent.to(ONE)(3)
    assert sent.per_day().get(ONE.key, 0) == 3 * DAY_S / SHORTEST_S
    clock.now += DAY_S / 4
    sent.to(ServerAddress("ks2", 5696))(1)
    assert sent.per_day().get(ServerAddress("KS1", 5696).key, 0) == 3 * 4
    assert sent.per_day().get(ServerAddress("ks2", 5696).key, 0) == DAY_S / SHORTEST_S
    assert sent.per_day().get(ServerAddress("ks1", 5697).key, 0) == 0


@pytest.mark.parametrize("every_s", [60, 600])
def test_what_is_older_than_a_day_is_forgotten(every_s: int) -> None:
    """A steady rate is shown as it is after days, another one after a day, and none after a day without any."""
    clock = Clock()
    sent = SentOperations(clock)
    for _ in range(int(3 * DAY_S / every_s)):
        sent.to(ONE)(2)
        clock.now += every_s
    assert sent.per_day().get(ONE.key, 0) == pytest.approx(2 * DAY_S / every_s, rel=0.01)
    for _ in range(int(DAY_S / every_s)):
        sent.to(ONE)(1)
        clock.now += every_s
    assert sent.per_day().get(ONE.key, 0) == pytest.approx(DAY_S / every_s, rel=0.01)
    clock.now += DAY_S + SPAN_S
    assert sent.per_day().get(ONE.key, 0) == 0


async def test_looks_are_counted_as_the_server_counts_them() -> None:
    """Probes, light checks and questions about objects count; a probe for a call does not."""
    async with server() as running:
        address, gateway = ServerAddress("127.0.0.1", running.port), Gateway(LOOPBACK)
        watch = gateway.watch(address, target(running.port), identity())
        assert (gateway.connections().get(address.key, 0), gateway.operations_per_day().get(address.key, 0)) == (0, 0)
        assert (await watch.probe(LIMIT_S)).accepted
        assert await watch.check(LIMIT_S)
        async with watch.session(LIMIT_S) as session:
            await register(session)
        known = operations(running)
        assert gateway.operations_per_day().get(address.key, 0) == pytest.approx(known * DAY_S / SHORTEST_S)
        (result,) = await gateway.probe_all([target(running.port)], identity(), 40)
        assert result.accepted
        assert operations(running) > known
        assert gateway.operations_per_day().get(address.key, 0) == pytest.approx(known * DAY_S / SHORTEST_S)
        assert gateway.connections().get(address.key, 0) == 1
        assert gateway.connections().get(ServerAddress("127.0.0.1", 1).key, 0) == 0
        watch.close()
        assert gateway.connections().get(address.key, 0) == 0


async def test_key_work_is_counted_as_the_server_counts_it() -> None:
    """Every operation of a message counts; the connections in use and those that are kept, too."""
    async with server() as running, objects() as used:
        way = endpoint(running.port)
        ids = await put(used, way)
        await read(used, way, ids)
        assert used.operations_per_day().get(way.server.key, 0) == pytest.approx(
            operations(running) * DAY_S / SHORTEST_S
        )
        assert used.connections().get(way.server.key, 0) == running.connections == 1
        async with used.session(way, timeout_s=TIMEOUT_S), used.session(way, timeout_s=TIMEOUT_S):
            assert used.connections().get(way.server.key, 0) == 2
        assert used.connections().get(ServerAddress("127.0.0.1", 1).key, 0) == 0

"""Reads after an outage: trials of addresses whose circuits are open, how often they come, and who shares them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.kmip.testing.server import held, silence
from keystead.kmip.ttlv.enums import Operation
from keystead.service.keys.reading.fetch import FetchLimits
from keystead.service.keys.reading.trials import EVERY_S, Trials
from tests.service.worlds.basics import HandClock
from tests.service.worlds.keys import KeyWorld, asked, until
from tests.service.worlds.reading import MATERIAL, ReadingNode, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import KeyServer
    from keystead.service.ports.objects import Endpoint

GET, QUERY = Operation.GET, Operation.QUERY
FAILURES = 4
"""More reads than open the circuit of an address that refuses connections."""
PAUSES = 6
"""More trials than make the pause of a circuit as long as it gets."""
LONGEST_PAUSE_S = 30.0
LONG_S = 60.0
"""How long trials may take here: longer than a busy machine needs."""


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return one engine: what depends on key servers only is tested there."""
    return sqlite_url


@pytest.fixture
def clock() -> HandClock:
    """Return the clock of circuits and trials."""
    return HandClock()


@pytest.fixture
async def node(key_world: KeyWorld, clock: HandClock) -> AsyncIterator[ReadingNode]:
    """Yield a node that reads."""
    async with reading(key_world, clock=clock, limits=FetchLimits(trial_s=LONG_S)) as node:
        yield node


async def endpoints(world: KeyWorld, node: ReadingNode, key: Key) -> list[Endpoint]:
    """Return the endpoints of the key's servers."""
    context = node.fetcher.read_context(await world.topology(key.key_manager))
    assert context is not None
    return list(context.endpoints.values())


async def fail(node: ReadingNode, *keys: Key) -> None:
    """Read keys at once, which no server returns now."""
    for read in await asyncio.gather(*(node.read(key) for key in keys), return_exceptions=True):
        assert isinstance(read, OntapError)
        assert read.kind is errors.KEY_NOT_READ


async def outage(
    world: KeyWorld, node: ReadingNode, servers: Sequence[KeyServer], key: Key, clock: HandClock
) -> list[Endpoint]:
    """Stop all servers, and read until all circuits are open for the longest pause. Return the servers' endpoints."""
    for server in servers:
        await server.__aexit__(None, None, None)
    for _ in range(FAILURES):
        await fail(node, key)
    for _ in range(PAUSES):
        clock.advance(LONGEST_PAUSE_S)
        await fail(node, key)
    found = await endpoints(world, node, key)
    assert all(node.of.objects.circuit_open(endpoint) for endpoint in found)
    return found


async def test_the_first_read_after_an_outage(key_world: KeyWorld, node: ReadingNode, clock: HandClock) -> None:
    """The first server that is back returns the key, although all circuits are open."""
    servers = await key_world.start(2)
    key = await node.create(await key_world.key_manager(*servers))
    found = await outage(key_world, node, servers, key, clock)
    await servers[1].__aenter__()
    clock.advance(EVERY_S)
    assert all(node.of.objects.circuit_open(endpoint) for endpoint in found)
    assert await node.read(key) == MATERIAL
    assert [node.of.objects.circuit_open(endpoint) for endpoint in found] == [True, False]


async def test_reads_during_an_outage_do_not_wait_for_the_next_trial(
    key_world: KeyWorld, node: ReadingNode, clock: HandClock
) -> None:
    """A read that comes before the next trial may begin fails at once, and asks no server."""
    servers = await key_world.start(1)
    key = await node.create(await key_world.key_manager(*servers))
    await outage(key_world, node, servers, key, clock)
    clock.advance(EVERY_S)
    await fail(node, key)
    await servers[0].__aenter__()
    before = len(servers[0].requests)
    await fail(node, key)
    assert len(servers[0].requests) == before
    clock.advance(EVERY_S)
    assert await node.read(key) == MATERIAL


async def test_all_reads_that_wait_share_one_trial(key_world: KeyWorld, node: ReadingNode, clock: HandClock) -> None:
    """Twenty reads of other keys wait for one trial, and are all answered."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers)
    keys = [await node.create(manager, f"key {number}") for number in range(20)]
    await outage(key_world, node, servers, keys[0], clock)
    release = asyncio.Event()
    servers[0].faults[QUERY] = held(release)
    await servers[0].__aenter__()
    clock.advance(EVERY_S)
    before = len(asked(servers[0], GET))
    reads = [asyncio.create_task(node.read(key)) for key in keys]
    await until(lambda: bool(asked(servers[0], QUERY)))
    release.set()
    assert await asyncio.gather(*reads) == len(keys) * [MATERIAL]
    assert len(asked(servers[0], QUERY)) == 1
    assert len(asked(servers[0], GET)) - before == len(keys)


async def test_a_restore_tries_no_address_anew(key_world: KeyWorld, node: ReadingNode, clock: HandClock) -> None:
    """Its many keys would wait for silent servers."""
    servers = await key_world.start(1)
    key = await node.create(await key_world.key_manager(*servers))
    await outage(key_world, node, servers, key, clock)
    await servers[0].__aenter__()
    clock.advance(EVERY_S)
    assert await node.restore(key.key_manager) == ([], [key.name])
    assert not asked(servers[0], QUERY)


async def test_a_server_that_is_silent_does_not_hold_up_one_that_is_back(
    key_world: KeyWorld, node: ReadingNode, clock: HandClock
) -> None:
    """While a read waits for a silent server, it tries the other one again."""
    servers = await key_world.start(2)
    key = await node.create(await key_world.key_manager(*servers, timeout=30))
    await servers[1].__aexit__(None, None, None)
    silent, other = await endpoints(key_world, node, key)
    for _ in range(FAILURES):
        with pytest.raises(Exception, match="connection_refused"):
            async with node.of.objects.session(other, timeout_s=1):
                pass
    assert node.of.objects.circuit_open(other)
    assert not node.of.objects.circuit_open(silent)
    servers[0].request_faults[GET] = silence
    before = len(asked(servers[0], GET))
    read = asyncio.create_task(node.read(key))
    await until(lambda: len(asked(servers[0], GET)) > before)
    await servers[1].__aenter__()
    clock.advance(EVERY_S)
    async with asyncio.timeout(15):
        assert await read == MATERIAL


async def test_a_trial_ends_and_changes_nothing_if_the_address_is_silent(
    key_world: KeyWorld, node: ReadingNode, clock: HandClock
) -> None:
    """A silent address fails its trial, and the next one begins when its time has come."""
    servers = await key_world.start(1)
    key = await node.create(await key_world.key_manager(*servers))
    (endpoint,) = await outage(key_world, node, servers, key, clock)
    servers[0].request_faults[QUERY] = silence
    await servers[0].__aenter__()
    impatient = Trials(node.of.objects, clock, 0.2)
    assert await asyncio.gather(*(impatient.passed(endpoint) for _ in range(3))) == 3 * [False]
    assert node.of.objects.circuit_open(endpoint)
    del servers[0].request_faults[QUERY]
    clock.advance(EVERY_S)
    patient = Trials(node.of.objects, clock, LONG_S)
    assert await patient.passed(endpoint)
    assert not node.of.objects.circuit_open(endpoint)
    await impatient.close()
    await patient.close()


async def test_a_trial_that_runs_is_ended_when_the_node_stops(
    key_world: KeyWorld, node: ReadingNode, clock: HandClock
) -> None:
    """Whoever waits for it is cancelled."""
    servers = await key_world.start(1)
    key = await node.create(await key_world.key_manager(*servers))
    (endpoint,) = await endpoints(key_world, node, key)
    release = asyncio.Event()
    servers[0].faults[QUERY] = held(release)
    trials = Trials(node.of.objects, clock, LONG_S)
    waiting = asyncio.create_task(trials.passed(endpoint))
    await until(lambda: bool(asked(servers[0], QUERY)))
    await trials.close()
    await asyncio.wait([waiting])
    assert waiting.cancelled()

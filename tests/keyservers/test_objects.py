"""Objects on key servers: circuits, sharing of connections, forgetting of peers, and real servers that die."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.model import KeyForm
from keystead.core.secret import Secret
from keystead.keyservers import lines
from keystead.keyservers import objects as objects_module
from keystead.keyservers.circuits import FIRST_PAUSE_S
from keystead.keyservers.objects import Objects
from keystead.kmip.testing import server as testing
from keystead.kmip.ttlv.enums import Operation
from keystead.service.ports.objects import Fault
from tests.keyservers.cases import CLIENT, CLIENT_CA, OTHER_CA, SERVER_CA, STRANGER, identity
from tests.keyservers.reaching import (
    MATERIAL,
    SHORT_S,
    TIMEOUT_S,
    Clock,
    connect,
    endpoint,
    expect_fault,
    handshakes,
    objects,
    put,
    read,
    register,
    server,
)
from tests.peers import fault_servers as fault
from tests.peers.certificates import client

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports.objects import Endpoint
    from tests.peers.fixtures import Pki, Run
    from tests.peers.groups import Group


# --- circuits ---


async def test_a_dead_server_costs_one_time_out() -> None:
    """After a time-out, sessions are refused at once; after a pause one is let in and closes the circuit."""
    clock = Clock()
    async with server() as running, objects(clock=clock) as used:
        way = endpoint(running.port)
        ids = await put(used, way)
        running.faults[Operation.GET] = testing.silence
        with expect_fault(Fault.UNANSWERED, "no_answer"):
            await read(used, way, ids, SHORT_S)
        asked = len(running.requests)
        for _ in range(3):
            with expect_fault(Fault.UNREACHABLE, "no_answer"):
                await read(used, way, ids)
        assert len(running.requests) == asked
        clock.now += FIRST_PAUSE_S
        running.faults.clear()
        async with used.session(way, timeout_s=TIMEOUT_S) as trial:
            with expect_fault(Fault.UNREACHABLE, "no_answer"):
                await read(used, way, ids)
            assert await trial.get(ids) == MATERIAL
            assert not used.circuit_open(way)
            assert await read(used, way, ids) == MATERIAL


async def test_those_who_wait_for_a_dead_server() -> None:
    """Only sessions with a connection wait for a dead server; those that queue are refused at once."""
    with fault.black_hole() as port:
        async with objects() as used:
            began = asyncio.get_running_loop().time()
            ended = await asyncio.gather(
                *(read(used, endpoint(port), ("id",), 0.3 + number / 100) for number in range(3 * lines.CONNECTIONS)),
                return_exceptions=True,
            )
            took_s = asyncio.get_running_loop().time() - began
            assert {str(error) for error in ended} == {"unreachable: connect_timed_out"}
            assert took_s < 2 * 0.3 + 1


async def test_circuits_are_each_their_own() -> None:
    """A circuit belongs to one identity at one address."""
    async with server() as running, objects() as used:
        bad, good = endpoint(running.port, identity(STRANGER)), endpoint(running.port)
        for _ in range(3):
            with expect_fault(Fault.UNREACHABLE, "client_certificate_untrusted"):
                await put(used, bad)
        assert used.circuit_open(bad)
        assert not used.circuit_open(good)
        assert await put(used, good)


async def test_a_trial_that_ends_without_a_question() -> None:
    """A trial session without a question has no result, and the next session is the trial."""
    clock = Clock()
    async with server() as running, objects(clock=clock) as used:
        way = endpoint(running.port)
        ids = await put(used, way)
        running.faults[Operation.GET] = testing.first(1, testing.silence)
        async with used.session(way, timeout_s=TIMEOUT_S), used.session(way, timeout_s=SHORT_S) as session:
            with expect_fault(Fault.UNANSWERED, "no_answer"):
                await session.get(ids)
        clock.now += FIRST_PAUSE_S
        await connect(used, way, timeout_s=TIMEOUT_S)
        assert await read(used, way, ids) == MATERIAL
        assert not used.circuit_open(way)


async def test_times() -> None:
    """Latencies are measured per peer, of answered Gets; before any they are None."""
    async with server() as running, objects() as used:
        way = endpoint(running.port)
        assert (used.latency_s(way), used.p95_s(way), used.circuit_open(way)) == (None, None, False)
        ids = await put(used, way)
        assert (used.latency_s(way), used.p95_s(way)) == (None, None)
        running.faults[Operation.GET] = testing.delay(0.05)
        await read(used, way, ids)
        assert 0.05 <= (used.latency_s(way) or 0) <= (used.p95_s(way) or 0) < TIMEOUT_S
        assert used.latency_s(endpoint(running.port, username="another")) is None


# --- who shares what, and what is remembered ---

DIFFERENT: dict[str, Callable[[Endpoint], Endpoint]] = {
    "identity": lambda way: replace(way, identity=identity(client(CLIENT_CA))),
    "authorities": lambda way: replace(way, identity=identity(CLIENT, SERVER_CA, OTHER_CA)),
    "user name": lambda way: replace(way, target=replace(way.target, username="another")),
    "password": lambda way: replace(way, target=replace(way.target, password=Secret("another"))),
    "server name": lambda way: replace(way, target=replace(way.target, server_name="localhost")),
}


@pytest.mark.parametrize("what", DIFFERENT)
async def test_nobody_shares_a_connection_with_another(what: str) -> None:
    """Sessions share connections only if identity, CAs, credential and server name are equal."""
    async with server() as running, objects() as used:
        way = endpoint(running.port, username="user", password=Secret("a password"))
        ids = await put(used, way)
        await read(used, endpoint(running.port, identity(), username="user", password=Secret("a password")), ids)
        assert handshakes(running) == 1
        await read(used, DIFFERENT[what](way), ids)
        assert handshakes(running) == 2


async def test_how_many_are_remembered() -> None:
    """The longest unused peer is forgotten first, with its connections; a peer in use is not."""
    async with server() as running, objects(peers=2) as used:
        assert isinstance(used, Objects)
        ways = [endpoint(running.port, username=f"user-{number}") for number in range(4)]
        ids = await put(used, ways[0])
        async with used.session(ways[1], timeout_s=TIMEOUT_S) as session:
            for way in ways[2:]:
                await read(used, way, ids)
            assert await session.get(ids) == MATERIAL
        assert [used.latency_s(way) is not None for way in ways] == [False, True, False, True]
        assert handshakes(running) == 4


async def test_what_is_not_used_is_forgotten() -> None:
    """Idle connections are closed after a while, unused peers are forgotten later, and then the timer ends."""
    clock = Clock()
    async with server() as running, objects(clock=clock, tidying_s=0.01) as used:
        assert isinstance(used, Objects)
        way = endpoint(running.port)
        await read(used, way, await put(used, way))
        clock.now += 21
        await until(lambda: running.connections == 0)
        async with used.session(way, timeout_s=TIMEOUT_S):
            clock.now += objects_module.REMEMBERED_S
            await asyncio.sleep(0.05)
            assert used.latency_s(way) is not None
        await until(lambda: used.latency_s(way) is None)
        assert used._tidying is None  # because a timer that goes on shows nowhere else


async def until(true: Callable[[], bool]) -> None:
    """Wait until a timer has made the condition true; raise TimeoutError otherwise."""
    async with asyncio.timeout(TIMEOUT_S):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_the_end() -> None:
    """After the end no connection is lent or open; ending twice is no error."""
    async with server() as running, objects() as used:
        way = endpoint(running.port)
        await put(used, way)
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            await used.close()
            assert await session.locate_all()
        with expect_fault(Fault.UNREACHABLE, "closed"):
            await put(used, way)
        await used.close()
        await until(lambda: running.connections == 0)


async def test_cancellation() -> None:
    """A cancelled caller leaves no late answer, no taken place and no failure of the server."""
    async with server() as running, objects() as used:
        assert isinstance(used, Objects)
        way = endpoint(running.port)
        ids = await put(used, way)
        running.faults[Operation.GET] = testing.first(1, testing.silence)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await read(used, way, ids)
        assert not used.circuit_open(way)
        assert await read(used, way, ids) == MATERIAL
        await until(lambda: running.connections == 1)


# --- real servers ---


def real(pki: Pki, address: str) -> Endpoint:
    """Return the way to a PyKMIP server."""
    host, port = address.split(":")
    return endpoint(int(port), identity(pki.client, pki.server_ca), host)


def test_real_servers_that_die(run: Run, pki: Pki, pykmip_group: Group) -> None:
    """Real servers: all operations, then a kill during a request, a restart, a pause and a cut network."""
    first, other = pykmip_group.primaries[:2]

    async def work() -> None:
        async with objects() as used:
            way = real(pki, first.address)
            async with used.session(way, timeout_s=TIMEOUT_S) as session:
                assert Operation.REGISTER in (await session.get_capabilities()).operations
                ids = await register(session, "real")
                pair = await session.register(
                    "pair", MATERIAL, KeyForm.SYMMETRIC_KEY_PAIR, application_information=None
                )
                assert await session.get_many([ids, pair]) == [MATERIAL, MATERIAL]
                both = await session.register_and_get(
                    "both", MATERIAL, KeyForm.SECRET_DATA, application_information=None
                )
                assert both == (await session.locate("both"), MATERIAL)
                assert await session.locate("real") == ids
                assert await session.locate("Real") == ()
                assert set(await session.locate_all()) == {*ids, *pair, *both[0]}
                await session.activate(ids[0])
                assert (await session.get_attributes(ids[0])).state == "Active"
            await asyncio.to_thread(first.restart)
            assert await read(used, way, ids) == MATERIAL
            first.pause()
            async with used.session(way, timeout_s=1.5) as session:
                asking = asyncio.create_task(register(session, "lost"))
                await asyncio.sleep(0.2)
                await asyncio.to_thread(first.kill)
                with expect_fault(Fault.UNANSWERED, "connection_closed"):
                    await asking
            with expect_fault(Fault.UNREACHABLE, "connection_refused"):
                await read(used, way, ids)
            away = real(pki, other.address)
            other.pause()
            with expect_fault(Fault.UNREACHABLE, "tls_timed_out"):
                await read(used, away, ids, SHORT_S)
            with expect_fault(Fault.UNREACHABLE, "tls_timed_out"):
                await read(used, away, ids)

    run(work())

"""Places in the pool: waiting callers, age of connections, cancellation, and the end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.client.pool import Pool
from keystead.kmip.testing import server as testing
from keystead.kmip.transport import tls
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.kmip.ttlv.errors import LocalProtocolError, OperationFailed, TransportError
from tests.kmip.pooled import CA, SERVER, TIMEOUT, Site, get, number_of, settle, with_pool
from tests.peers import fault_servers as fault
from tests.peers.certificates import Authority, client, client_context

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

TURNS = 100_000
"""More turns of the event loop than a Get on a new connection takes on a busy machine."""


# --- waiting ---


async def test_callers_wait_in_order() -> None:
    """With all connections lent, callers are served in the order in which they came, on as many as are allowed."""

    async def test(pool: Pool, site: Site) -> None:
        keys = await site.keys(8)
        served: list[int] = []

        async def caller(number: int) -> None:
            assert await get(pool, keys[number]) == number
            served.append(number)

        async with pool.client():
            callers = [asyncio.create_task(caller(number)) for number in range(8)]
            await settle()
            callers.pop(3).cancel()
            await settle()
        await asyncio.gather(*callers)
        assert served == [0, 1, 2, 4, 5, 6, 7]
        assert site.connections == 1

    await with_pool(test, maximum=1)


@pytest.mark.parametrize("maximum", [1, 3])
def test_never_more_connections_than_allowed(run: Any, maximum: int) -> None:
    """Forty callers get their own answers on at most ``maximum`` connections."""

    async def test(pool: Pool, site: Site) -> None:
        keys = await site.keys(40)
        found = await asyncio.gather(*(get(pool, key) for key in keys))
        assert found == list(range(40))
        assert site.connections == maximum
        assert pool.idle == maximum

    run(with_pool(test, maximum=maximum))


async def test_a_wait_that_is_too_long() -> None:
    """The pool's deadline and the caller's end the wait, and nothing was sent."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        async with pool.client():
            with pytest.raises(TransportError) as caught:
                async with pool.client(timeout=0.01):
                    raise AssertionError
            assert (caught.value.phase, caught.value.sent) == ("connect", False)
            with pytest.raises(TransportError) as caught:
                await pool.retrying(lambda key_server: key_server.get(key), timeout=0.01)
            assert (caught.value.phase, caught.value.sent) == ("connect", False)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), pool.client(timeout=TIMEOUT):
                    raise AssertionError
            assert pool.lent == 1
        assert await get(pool, key) == 0

    await with_pool(test, maximum=1)


async def check_free_places(pool: Pool, count: int) -> None:
    """Check that exactly so many connections can be lent."""
    async with contextlib.AsyncExitStack() as lent:
        for _ in range(count):
            await lent.enter_async_context(pool.client(timeout=TIMEOUT))
        with pytest.raises(TransportError):
            await lent.enter_async_context(pool.client(timeout=0.001))


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("how", ["client", "fresh", "retrying"])
def test_cancellation_at_every_step(run: Any, kept: bool, how: str) -> None:
    """A call that is cancelled after any number of turns leaves all places free and no answer behind."""

    async def test(pool: Pool, site: Site) -> None:
        keys = await site.keys(2)

        async def call() -> None:
            if how == "retrying":
                await pool.retrying(lambda key_server: key_server.get(keys[1]))
                return
            async with pool.client() if how == "client" else pool.fresh() as key_server:
                await key_server.get(keys[1])

        turns, cancelled, answered = 0, 0, False
        while turns < TURNS and not answered:
            task = asyncio.create_task(call())
            await settle(turns)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            answered = not task.cancelled()
            cancelled += task.cancelled()
            assert pool.lent == 0
            await check_free_places(pool, 2)
            assert await get(pool, keys[0]) == 0
            turns += 1 + turns // 4
        assert cancelled > 2
        assert answered

    run(with_pool(test, maximum=2, idle_s=20.0 if kept else -1.0))


# --- connecting ---


async def test_a_failure_to_connect_is_told_from_one_of_the_exchange() -> None:
    """A failure before the connection is ready has sent nothing, and its place is free again."""

    async def refused() -> Client:
        await connect_tcp([Address(socket.AF_INET, ("127.0.0.1", fault.refused_port()))])
        raise AssertionError

    async with testing.KeyServer(SERVER) as server:
        address = Address(socket.AF_INET, (server.host, server.port))
        stranger = client_context(CA, client(Authority("Another CA")))

        async def as_stranger() -> Client:
            key_server = Client(await tls.handshake(await connect_tcp([address]), stranger, server_name="localhost"))
            await key_server.negotiate(timeout=TIMEOUT)
            return key_server

        async def as_nobody() -> Client:
            server.responder.refusals[Operation.DISCOVER_VERSIONS] = ResultReason.PERMISSION_DENIED
            key_server = await Site(server).connect()
            try:
                await key_server.negotiate(timeout=TIMEOUT)
            finally:
                key_server.close()
            raise AssertionError

        async def by_mistake() -> Client:
            raise ZeroDivisionError

        for connect, error in (
            (refused, TransportError),
            (as_stranger, tls.TLSError),
            (as_nobody, OperationFailed),
        ):
            pool = Pool(connect)
            for attempt in (pool.client(timeout=TIMEOUT), pool.fresh(timeout=TIMEOUT)):
                with pytest.raises(error) as caught:
                    async with attempt:
                        raise AssertionError
                assert not caught.value.sent
            with pytest.raises(error):
                await pool.retrying(lambda key_server: key_server.query(), timeout=TIMEOUT)
            assert pool.lent == 0
        pool = Pool(by_mistake, maximum=1)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                async with pool.client(timeout=TIMEOUT):
                    raise AssertionError


async def test_a_connect_that_takes_too_long() -> None:
    """The deadline includes connecting, and the next caller gets its turn."""
    gate = asyncio.Event()

    async def connect() -> Any:
        await gate.wait()
        return await site.connect()

    async with testing.KeyServer(SERVER) as server:
        site = Site(server)
        (key,) = await site.keys(1)
        pool = Pool(connect, maximum=1)
        other = Pool(connect)
        slow = asyncio.create_task(get(other, key))
        with pytest.raises(TransportError) as caught:
            async with pool.client(timeout=0.05):
                raise AssertionError
        assert (caught.value.phase, caught.value.sent) == ("connect", False)
        waiting = asyncio.create_task(get(pool, key))
        await settle()
        gate.set()
        assert await waiting == await slow == 0
        pool.close()
        other.close()


async def test_fresh_connections() -> None:
    """A fresh connection is new, is not used again, and counts; an idle one makes room for it."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        await get(pool, key)
        async with pool.fresh() as key_server:
            assert pool.idle == 0
            await key_server.get(key, timeout=TIMEOUT)
        assert not key_server.usable
        assert (site.connections, pool.idle) == (2, 0)
        await get(pool, key)
        assert site.connections == 3

    await with_pool(test, maximum=1)


# --- time ---


async def test_age() -> None:
    """A connection idle for too long, or too old, is closed when the pool is used and when it is reaped."""
    now = 0.0

    async def test(pool: Pool, site: Site) -> None:
        nonlocal now
        (key,) = await site.keys(1)

        async def use(after: float) -> int:
            nonlocal now
            now += after
            await get(pool, key)
            return site.connections

        assert [await use(after) for after in (0, 20, 20, 21, 20, 20, 20, 20, 20, 1)] == [1, 1, 1, 2, 2, 2, 2, 2, 2, 3]
        async with pool.client(), pool.client():
            pass
        assert pool.idle == 2
        now += 20
        pool.reap()
        assert pool.idle == 2
        now += 1
        pool.reap()
        assert pool.idle == 0
        await get(pool, key)
        site.server.disconnect()
        await asyncio.sleep(0.1)
        pool.reap()
        assert pool.idle == 0

    await with_pool(test, idle_s=20, age_s=100, clock=lambda: now)


# --- the end ---


def test_closing(run: Any) -> None:
    """A close closes idle connections at once and lent ones at their return; waiting and new callers are refused."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        async with pool.client():
            await get(pool, key)
        assert pool.idle == 2
        async with pool.client() as one, pool.client() as other:
            waiting = [asyncio.create_task(get(pool, key)) for _ in range(3)]
            await settle()
            pool.close()
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, TransportError)
                assert (outcome.phase, outcome.sent) == ("connect", False)
            assert number_of((await one.get(key, timeout=TIMEOUT)).managed_object) == 0
        assert not one.usable
        assert not other.usable
        with pytest.raises(TransportError, match="closed"):
            await get(pool, key)
        pool.close()

    run(with_pool(test, maximum=2))


def test_a_pool_belongs_to_one_event_loop() -> None:
    """Another loop is refused, and its own goes on; each loop may have its own pool."""

    async def use(pool: Pool, key: str) -> None:
        assert await get(pool, key) == 0

    async def use_and_close(pool: Pool, key: str) -> None:
        await use(pool, key)
        pool.close()

    async def other(pool: Pool) -> None:
        with pytest.raises(LocalProtocolError, match="event loop") as caught:
            async with pool.client():
                raise AssertionError
        assert not caught.value.sent

    async def main() -> None:
        async with testing.KeyServer(SERVER) as server:
            site = Site(server)
            (key,) = await site.keys(1)
            mine, theirs = Pool(site.connect), Pool(site.connect)
            await use(mine, key)
            await asyncio.to_thread(lambda: asyncio.run(other(mine)))
            await asyncio.to_thread(lambda: asyncio.run(use_and_close(theirs, key)))
            await use(mine, key)
            assert (mine.lent, mine.idle, site.connections) == (0, 1, 2)
            mine.close()

    asyncio.run(main())


# --- a server that is not ours ---


async def test_pykmip(pki: Pki, pykmip_servers: list[Program]) -> None:
    """Twenty callers share two connections of PyKMIP's server; one that is killed while idle is replaced."""
    server = pykmip_servers[0]
    context = client_context(pki.server_ca, pki.client)
    made: list[socket.socket] = []

    async def connect() -> Client:
        sock = await connect_tcp([Address(socket.AF_INET, (server.host, server.port))])
        made.append(sock)
        key_server = Client(await tls.handshake(sock, context, server_name="localhost"))
        await key_server.negotiate(timeout=TIMEOUT)
        return key_server

    pool = Pool(connect, maximum=2)

    async def ask(_: int) -> str | None:
        answer = await pool.retrying(lambda key_server: key_server.query(), timeout=TIMEOUT)
        return answer.vendor_identification

    assert set(await asyncio.gather(*map(ask, range(20)))) == {"PyKMIP 0.11.0 Software Server"}
    assert len(made) == 2
    for sock in made:
        sock.shutdown(socket.SHUT_RDWR)
    assert await ask(0)
    assert len(made) == 3
    pool.close()

"""The pool and a key server that misbehaves: which connections are lent again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.testing import server as testing
from keystead.kmip.ttlv.enums import ObjectType, Operation
from keystead.kmip.ttlv.errors import KMIPError, OperationFailed, TransportError
from tests.kmip.pooled import TIMEOUT, Site, get, number_of, seed, settle, with_pool

if TYPE_CHECKING:
    from keystead.kmip.client.pool import Pool

TURNS = 100_000
"""More turns of the event loop than a Get on a new connection takes on a busy machine."""


# --- reuse ---


def test_a_connection_is_used_again(run: Any) -> None:
    """Calls share one connection one after the other, also after Operation Failed."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        for _ in range(3):
            assert await get(pool, key) == 0
            with pytest.raises(OperationFailed):
                await get(pool, "nothing")
        assert (site.connections, pool.idle, pool.lent) == (1, 1, 0)

    run(with_pool(test))


BROKEN: dict[str, tuple[Any, type[Exception]]] = {
    "silence": (testing.silence, TransportError),
    "closed": (testing.close, TransportError),
    "reset": (testing.reset, TransportError),
    "truncated": (testing.truncate, TransportError),
    "dripping": (testing.drip(0.005), TransportError),
    "garbage": (testing.garbage(b"HTTP/1.1 400 Bad Request"), KMIPError),
    "too large": (testing.huge_length, KMIPError),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_connection_that_broke_is_not_used_again(name: str) -> None:
    """After an answer that was not read to the end, the next caller gets a new connection."""
    broken, error = BROKEN[name]

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        site.server.faults[Operation.GET] = testing.first(1, broken)
        with pytest.raises(error) as caught:
            await get(pool, key, timeout=0.2)
        assert caught.value.sent  # type: ignore[attr-defined]
        assert pool.idle == 0
        assert await get(pool, key) == 0
        assert site.connections == 2

    await with_pool(test)


async def test_a_block_that_fails_closes_its_connection() -> None:
    """A connection is not lent again after an error in the block."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        for error in (ValueError, KeyboardInterrupt, asyncio.CancelledError):
            await get(pool, key)
            with pytest.raises(error):
                async with pool.client():
                    raise error
            assert (pool.idle, pool.lent) == (0, 0)
        async with pool.client() as key_server:
            call = asyncio.create_task(key_server.get(key, timeout=0.1))
            await settle()
        assert pool.idle == 0, "a client whose answer is still to come was kept"
        with pytest.raises((KMIPError, OSError)):
            await call

    await with_pool(test)


def test_a_late_answer_reaches_nobody(run: Any) -> None:
    """After a call gave up, later callers get their own answers and never the late one."""

    async def test(pool: Pool, site: Site) -> None:
        keys = await site.keys(4)
        late = asyncio.Event()
        site.server.faults[Operation.GET] = testing.first(1, testing.held(late))
        with pytest.raises(TransportError, match="in time"):
            await get(pool, keys[3], timeout=0.1)
        late.set()
        for number in (0, 1, 2):
            assert await get(pool, keys[number]) == number

    run(with_pool(test, maximum=1))


# --- dead connections ---


async def speak_unasked(exchange: testing.Exchange) -> None:
    """Send the answer once more."""
    await exchange.stream.send(exchange.answer)


async def half_close(exchange: testing.Exchange) -> None:
    """Send the end of the stream without a goodbye, and keep the socket."""
    exchange.half_close()


@pytest.mark.parametrize("ending", [speak_unasked, half_close, testing.close, testing.reset])
def test_a_dead_idle_connection_is_not_lent(run: Any, ending: Any) -> None:
    """An idle connection that the server closed, or wrote to, is closed and not lent."""

    async def test(pool: Pool, site: Site) -> None:
        first, second = await site.keys(2)
        read, ended = asyncio.Event(), asyncio.Event()

        async def answer_and_end(exchange: testing.Exchange) -> None:
            await exchange.stream.send(exchange.answer)
            await read.wait()
            await ending(exchange)
            ended.set()
            if ending in {speak_unasked, half_close}:
                await testing.silence(exchange)

        site.server.faults[Operation.GET] = testing.first(1, answer_and_end)
        assert await get(pool, first) == 0
        assert pool.idle == 1
        read.set()
        await ended.wait()
        assert await get(pool, second) == 1
        assert site.connections == 2

    run(with_pool(test))


@pytest.mark.parametrize("dead", [testing.reset, testing.close, testing.truncate])
async def test_an_idempotent_call_is_repeated_once_on_a_new_connection(dead: Any) -> None:
    """``retrying`` repeats a call that failed on a kept connection, and not one that failed on a new one."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        await get(pool, key)
        site.server.faults[Operation.GET] = testing.first(1, dead)
        answer = await pool.retrying(lambda key_server: key_server.get(key), timeout=TIMEOUT)
        assert number_of(answer.managed_object) == 0
        assert (site.connections, pool.idle) == (2, 1)
        site.server.faults[Operation.GET] = dead
        with pytest.raises(TransportError):
            await pool.retrying(lambda key_server: key_server.get(key), timeout=TIMEOUT)
        assert site.connections == 3
        with pytest.raises(TransportError):
            await pool.retrying(lambda key_server: key_server.get(key), timeout=TIMEOUT)
        assert (site.connections, pool.idle) == (4, 0), "a new connection was repeated"

    await with_pool(test)


async def test_a_slow_call_is_not_repeated() -> None:
    """A call that meets a deadline, or an answered failure, is not repeated."""

    async def test(pool: Pool, site: Site) -> None:
        (key,) = await site.keys(1)
        for own, whole in ((0.1, TIMEOUT), (None, 0.1)):
            await get(pool, key)
            before = site.connections
            site.server.faults[Operation.GET] = testing.silence
            with pytest.raises(TransportError, match="in time") as caught:
                await pool.retrying(lambda key_server, own=own: key_server.get(key, timeout=own), timeout=whole)  # type: ignore[misc]
            assert caught.value.sent
            assert site.connections == before
            site.server.faults.clear()
        with pytest.raises(OperationFailed):
            await pool.retrying(lambda key_server: key_server.get("nothing"), timeout=TIMEOUT)
        assert pool.idle == 1

    await with_pool(test)


async def test_a_register_is_never_repeated() -> None:
    """On a kept connection that dies the server sees Register once, and the error says that it may have happened."""

    async def test(pool: Pool, site: Site) -> None:
        await site.keys(1)
        site.server.faults[Operation.REGISTER] = testing.close
        with pytest.raises(TransportError) as caught:
            async with pool.client() as key_server:
                await key_server.register(seed(1), object_type=ObjectType.SECRET_DATA, timeout=TIMEOUT)
        assert caught.value.sent
        assert len(site.server.responder.objects) == 2

    await with_pool(test)

"""Several calls at a time on one connection: each gets its own answer, and a broken connection fails all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from keystead.kmip.client.pipeline import PipelinedClient
from keystead.kmip.messages.connection import ServerConnection
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing import server as testing
from keystead.kmip.ttlv.enums import Operation
from keystead.kmip.ttlv.errors import KMIPError, OperationFailed, RemoteProtocolError, TransportError, TTLVError
from keystead.kmip.ttlv.versions import V1_2, V1_4, Version
from tests.kmip.pooled import SERVER, TIMEOUT, Site, number_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.kmip.client.client import Client
    from tests.peers.fixtures import Run


@contextlib.asynccontextmanager
async def pipelined(count: int, **options: Any) -> AsyncIterator[tuple[testing.KeyServer, PipelinedClient, list[str]]]:
    """Yield a server with so many keys, and one connection to it."""
    async with testing.KeyServer(SERVER) as server:
        keys = await Site(server).keys(count)
        key_server = await Site(server, PipelinedClient, **options).connect()
        server.requests.clear()
        try:
            yield server, key_server, keys
        finally:
            key_server.close()


async def get(key_server: Client, key: str, timeout: float = TIMEOUT) -> int:  # noqa: ASYNC109 - the client's own
    """Read a key."""
    return number_of((await key_server.get(key, timeout=timeout)).managed_object)


async def settle(true: Any) -> None:
    """Let other tasks run until the condition is true."""
    async with asyncio.timeout(TIMEOUT):
        while not true():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0)


@pytest.mark.parametrize("version", [V1_2, V1_4])
@pytest.mark.parametrize("correlate", [False, True])
def test_each_gets_its_own_answer(run: Run, version: Version, correlate: bool) -> None:
    """Concurrent calls, batches and failures above the depth are each answered once, in order."""

    async def test() -> None:
        async with pipelined(40, depth=8, correlate=correlate, version=version) as (server, key_server, keys):
            calls = [asyncio.create_task(get(key_server, key)) for key in keys]
            nothing = asyncio.create_task(get(key_server, "nothing"))
            batch = asyncio.create_task(key_server.get_many(keys[:3], timeout=TIMEOUT))
            assert await asyncio.gather(*calls) == list(range(40))
            with pytest.raises(OperationFailed):
                await nothing
            assert [number_of(answer.managed_object) for answer in await batch] == [0, 1, 2]  # type: ignore[union-attr]
            asked = [request.batch_item[0].request_payload.unique_identifier for request in server.requests]
            assert asked == [*keys, "nothing", keys[0]]
            values = [request.request_header.client_correlation_value for request in server.requests]
            told = correlate and version >= V1_4
            assert len({value for value in values if value is not None}) == (len(asked) if told else 0)
            assert key_server.alive

    run(test())


async def test_how_many_are_outstanding() -> None:
    """A call that waits too long for a turn has sent nothing, and the other calls go on."""
    async with pipelined(4, depth=2) as (server, key_server, keys):
        gate = asyncio.Event()
        server.faults[Operation.GET] = testing.held(gate)
        calls = [asyncio.create_task(get(key_server, key)) for key in keys]
        await settle(lambda: server.requests)
        assert key_server.alive
        with pytest.raises(TransportError) as caught:
            await get(key_server, keys[0], 0.05)
        assert not caught.value.sent
        assert key_server.usable
        gate.set()
        assert await asyncio.gather(*calls) == [0, 1, 2, 3]


@pytest.mark.parametrize("how", ["deadline", "cancelled", "closed"])
async def test_who_gives_up_ends_it_for_all(how: str) -> None:
    """If one call gives up, all calls fail, because answers cannot be assigned; sent ones may have happened."""
    async with pipelined(3, depth=2) as (server, key_server, keys):
        server.faults[Operation.GET] = testing.silence
        first = asyncio.create_task(get(key_server, keys[0], 0.1 if how == "deadline" else TIMEOUT))
        others = [asyncio.create_task(get(key_server, key)) for key in keys[1:]]
        await settle(lambda: server.requests)
        if how == "cancelled":
            first.cancel()
        if how == "closed":
            key_server.close()
        ended = await asyncio.gather(first, *others, return_exceptions=True)
        if how == "cancelled":
            assert isinstance(ended[0], asyncio.CancelledError)
        else:
            assert isinstance(ended[0], TransportError)
            assert ended[0].sent
        assert [(type(error), error.sent) for error in ended[1:] if isinstance(error, KMIPError)] == [
            (TransportError, True),
            (TransportError, False),
        ]
        assert not key_server.usable
        assert not key_server.alive
        with pytest.raises(TransportError) as caught:
            await get(key_server, keys[0])
        assert not caught.value.sent


BROKEN: dict[str, tuple[Any, type[KMIPError]]] = {
    "closed": (testing.close, TransportError),
    "reset": (testing.reset, TransportError),
    "garbage": (testing.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"), TTLVError),
    "too large": (testing.huge_length, TTLVError),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_broken_answer_ends_it_for_all(name: str) -> None:
    """The call of a broken answer raises its error, and the other calls fail because of it."""
    broken, kind = BROKEN[name]
    async with pipelined(3) as (server, key_server, keys):
        server.faults[Operation.GET] = broken
        ended = await asyncio.gather(*(get(key_server, key) for key in keys), return_exceptions=True)
        assert isinstance(ended[0], kind)
        assert [type(error) for error in ended[1:]] == [TransportError, TransportError]
        assert [error.__cause__ for error in ended[1:] if isinstance(error, TransportError)] == [ended[0]] * 2
        assert not key_server.usable


async def test_answers_that_are_swapped() -> None:
    """Swapped answers are found by Unique Batch Item IDs, or by Client Correlation Values if used."""
    for options in ({}, {"correlate": True}):
        async with pipelined(2, **options) as (server, key_server, keys):
            respond = server.responder.respond
            kept: list[Any] = []

            def swapped(request: Any, client: str | None = None) -> Any:
                kept.append(respond(request, client))  # noqa: B023 - called within this turn
                return kept[0]  # noqa: B023

            server.responder.respond = swapped  # type: ignore[method-assign]
            assert await get(key_server, keys[0]) == 0
            with pytest.raises(RemoteProtocolError):
                await get(key_server, keys[1])


class Scripted:
    """A stream whose bytes come when the test says so."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.closed = False
        self.coming: asyncio.Queue[bytes] = asyncio.Queue()

    async def send(self, data: bytes) -> None:
        """Keep it."""
        self.sent += data

    async def receive(self) -> bytes:
        """Return what the test puts there."""
        return await self.coming.get()

    def silent(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Note it."""
        self.closed = True


async def test_an_answer_to_a_call_that_was_cancelled_in_the_same_turn() -> None:
    """An answer to a call that was cancelled in the same turn is dropped, and the connection is closed."""
    stream = Scripted()
    key_server = PipelinedClient(stream)
    call = asyncio.create_task(key_server.get("a"))
    await settle(lambda: stream.sent)
    stream.coming.put_nowait(answer_to(bytes(stream.sent)))
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await settle(lambda: stream.closed)
    assert not key_server.usable


def answer_to(data: bytes) -> bytes:
    """Return what the test server answers."""
    server = ServerConnection()
    server.receive_data(data)
    request = server.next_request()
    assert request is not None
    return server.send_response(Responder().respond(request))

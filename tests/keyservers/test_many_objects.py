"""Many keys from scripted key servers: in batches where they are answered, one by one where they are not."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest

from keystead.core.keys.model import KeyForm
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.testing import server as testing
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.ttlv.enums import Operation
from keystead.service.ports.objects import Fault, KeyServerFault
from tests.keyservers.reaching import (
    MATERIAL,
    SHORT_S,
    TIMEOUT_S,
    endpoint,
    objects,
    seed,
    seeds,
    server,
    talking,
)


async def test_many_keys_in_batches() -> None:
    """Keys are read in order, each with its bytes or fault, in messages of at most 32."""
    async with talking() as (running, session):
        names = [f"k{number}" for number in range(40)]
        keys = await seeds(session, *names)
        pair = await session.register("pair", MATERIAL, KeyForm.SYMMETRIC_KEY_PAIR, application_information=None)
        found = await session.get_many([*keys, pair, ("nothing",), (pair[0], "nothing")])
        assert found[:41] == [*map(seed, range(40)), MATERIAL]
        assert [fault.fault for fault in found[41:] if isinstance(fault, KeyServerFault)] == [Fault.NOT_FOUND] * 2
        gets = [len(r.batch_item) for r in running.requests if r.batch_item[0].operation == Operation.GET]
        assert gets == [32, 13]
        assert await session.get_many([]) == []


async def closed_when_several(exchange: testing.Exchange) -> None:
    """Answer one item, and close on more."""
    if len(exchange.answer) > ONE_ANSWER:
        exchange.stream.close()
    else:
        await exchange.stream.send(exchange.answer)


async def nonsense_when_several(exchange: testing.Exchange) -> None:
    """Answer one item, and nonsense on more."""
    answer = exchange.answer if len(exchange.answer) <= ONE_ANSWER else b"HTTP/1.1 400 Bad Request\r\n\r\n"
    await exchange.stream.send(answer)


ONE_ANSWER = 400
"""More bytes than one Get of 64 bytes is answered with, and fewer than two are."""


@pytest.mark.parametrize("how", ["no batches", closed_when_several, nonsense_when_several])
async def test_a_server_without_batches(how: Any) -> None:
    """A server that fails on batches is asked for single objects, also by later sessions."""
    profile = PROFILES[how] if isinstance(how, str) else PLAIN
    async with server(profile) as running, objects() as used:
        way = endpoint(running.port)
        if not isinstance(how, str):
            running.faults[Operation.GET] = how
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            keys = await seeds(session, "a", "b", "c")
            assert await session.get_many(keys) == [seed(0), seed(1), seed(2)]
        before = len(running.requests)
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            found = await session.get_many([*keys, ("nothing",)])
            assert found[:3] == [seed(0), seed(1), seed(2)]
            assert isinstance(found[3], KeyServerFault)
            assert found[3].fault is Fault.NOT_FOUND
        later = running.requests[before:]
        assert [len(r.batch_item) for r in later if r.batch_item[0].operation == Operation.GET] == [1, 1, 1, 1]


async def test_a_batch_that_stops() -> None:
    """Objects that a batch left out are asked for again singly."""
    async with talking() as (running, session):
        keys = await seeds(session, "a", "b", "c")
        respond = running.responder.respond

        def stopping(request: Any, client: str | None = None) -> Any:
            message = respond(request, client)
            header = replace(message.response_header, batch_count=1)
            return replace(message, response_header=header, batch_item=message.batch_item[:1])

        running.responder.respond = stopping  # type: ignore[method-assign]
        assert await session.get_many(keys) == [seed(0), seed(1), seed(2)]


async def test_silence_amid_many() -> None:
    """Objects read before a silence are kept; the awaited ones are unanswered, and the rest is not asked for."""
    async with talking(timeout_s=SHORT_S) as (running, session):
        keys = await seeds(session, *(f"k{number}" for number in range(70)))
        running.faults[Operation.GET] = after(1, testing.silence)
        found = await session.get_many(keys)
        assert found[:32] == list(map(seed, range(32)))
        faults = [fault for fault in found if isinstance(fault, KeyServerFault)]
        assert [fault.fault for fault in faults] == [Fault.UNANSWERED] * 32 + [Fault.UNREACHABLE] * 6


def after(count: int, fault: testing.Fault) -> testing.Fault:
    """Let so many exchanges pass, and make those after them fail."""
    left = count

    async def limited(exchange: testing.Exchange) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            await exchange.stream.send(exchange.answer)
        else:
            await fault(exchange)

    return limited


async def test_a_server_that_goes_amid_many() -> None:
    """If no new connection can be made, all remaining objects have that fault."""
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(server())
        used = await stack.enter_async_context(objects())
        session = await stack.enter_async_context(used.session(endpoint(running.port), timeout_s=TIMEOUT_S))
        keys = await seeds(session, "a", "b")
        await running.__aexit__(None, None, None)
        found = await session.get_many(keys)
        assert {(f.fault, f.reason) for f in found if isinstance(f, KeyServerFault)} == {
            (Fault.UNREACHABLE, "connection_refused")
        }
        assert len(found) == 2

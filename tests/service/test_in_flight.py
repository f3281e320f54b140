"""keystead.service.in_flight: repeated calls share what is under way."""

from __future__ import annotations

import asyncio

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.in_flight import InFlight


async def test_a_repetition_shares_the_result() -> None:
    """Who comes while the first is under way gets its result, and its own work never runs; later work runs anew."""
    shared, ran, go = InFlight(), [], asyncio.Event()

    async def work(name: str) -> str:
        ran.append(name)
        await go.wait()
        return name

    first = asyncio.create_task(shared.shared("key", work("first")))
    await asyncio.sleep(0)
    second = asyncio.create_task(shared.shared("key", work("second")))
    other = asyncio.create_task(shared.shared("other key", work("other")))
    await asyncio.sleep(0)
    go.set()
    assert list(await asyncio.gather(first, second, other)) == ["first", "first", "other"]
    assert await shared.shared("key", work("third")) == "third"
    assert ran == ["first", "other", "third"]


async def test_a_failure_is_shared() -> None:
    """Both callers get the error."""
    shared, go = InFlight(), asyncio.Event()

    async def refused() -> None:
        await go.wait()
        raise OntapError(errors.ENTRY_NOT_FOUND)

    callers = [asyncio.create_task(shared.shared("key", refused())) for _ in range(2)]
    await asyncio.sleep(0)
    go.set()
    for caller in callers:
        with pytest.raises(OntapError):
            await caller


async def test_a_stop_ends_the_work() -> None:
    """A cancelled caller cancels the work; what that returns all the same, because it was done, is the result."""
    shared, stopped = InFlight(), asyncio.Event()

    async def committed() -> str:
        try:
            await stopped.wait()
        except asyncio.CancelledError:
            return "committed"
        raise AssertionError("never stopped")

    caller = asyncio.create_task(shared.shared("key", committed()))
    await asyncio.sleep(0.01)
    caller.cancel()
    assert await caller == "committed"

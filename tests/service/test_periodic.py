"""keystead.service.periodic: something is done again and again, whatever becomes of it once."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from keystead.service.periodic import Periodic
from keystead.service.ports.store import StoreError


async def test_a_failure_is_not_the_next_times() -> None:
    """Each is logged; a text that may quote what it was about is not."""
    failures = iter([StoreError("away"), RuntimeError("a secret")])
    done = asyncio.Event()

    async def work() -> None:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        done.set()

    repeated = Periodic(work, 0.01, "it was not done")
    with structlog.testing.capture_logs() as logs:
        repeated.start()
        async with asyncio.timeout(60):
            await done.wait()
        await repeated.close()
    assert [(entry["event"], entry["log_level"], entry["why"]) for entry in logs] == [
        ("it was not done", "warning", "away"),
        ("it was not done", "error", "RuntimeError"),
    ]


async def test_it_ends_in_the_middle_of_its_work() -> None:
    """A close cancels work under way, and does nothing before the start."""
    begun, ended = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    repeated = Periodic(work, 0.01, "it was not done")
    await repeated.close()
    assert not begun.is_set()
    repeated.start()
    async with asyncio.timeout(60):
        await begun.wait()
        await repeated.close()
    assert ended.is_set()


async def test_it_ends_after_work_that_does_not_hear_that_it_is_cancelled() -> None:
    """Work that swallows its cancellation, as a commit does, is not begun once more."""
    begun, times = asyncio.Event(), 0

    async def work() -> None:
        nonlocal times
        times += 1
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    repeated = Periodic(work, 0.01, "it was not done")
    repeated.start()
    async with asyncio.timeout(60):
        await begun.wait()
        await repeated.close()
    await asyncio.sleep(0.05)
    assert times == 1

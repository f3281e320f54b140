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
    """And nothing was begun that was not started."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.Event().wait()

    repeated = Periodic(work, 0.01, "it was not done")
    await repeated.close()
    repeated.start()
    async with asyncio.timeout(60):
        await begun.wait()
        await repeated.close()


async def test_it_ends_after_work_that_does_not_hear_that_it_is_cancelled() -> None:
    """As a transaction that is being committed."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    repeated = Periodic(work, 0.01, "it was not done")
    repeated.start()
    async with asyncio.timeout(60):
        await begun.wait()
        await repeated.close()

"""Turns to probe: bounded per account and in all, first come first served, ended by a shutdown.

It knows nothing of what is probed. One account that floods cannot starve others: it never holds more than its own
share of the places, and it alone gets 429 when too many of its calls wait.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

DEADLINE_S = 40.0  # the official clients stop reading an answer after 45 s
RETRY_AFTER_S = 5


class ProbeQueue:
    """Runs pieces of work that probe, each under what is left of :data:`DEADLINE_S` when its turn comes."""

    def __init__(self, *, per_account: int, in_all: int, waiting: int, deadline_s: float = DEADLINE_S) -> None:
        self._per_account = per_account
        self._waiting_limit = waiting
        self._deadline_s = deadline_s
        self._places = asyncio.Semaphore(in_all)
        self._account_places: dict[str, asyncio.Semaphore] = {}
        self._calls: Counter[str] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    async def run(self, account: str, work: Callable[[float], Awaitable[T]]) -> T:
        """Wait for a turn and await ``work(seconds left)``.

        Raises 262160 when too many calls of the account wait, 262145 (503) when the turn comes too late or the service
        shuts down.
        """
        if self._closed:
            raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S)
        if self._calls[account] >= self._per_account + self._waiting_limit:
            raise OntapError(errors.TOO_MANY_REQUESTS, retry_after=RETRY_AFTER_S)
        self._calls[account] += 1
        try:
            return await self._until_shutdown(self._in_turn(account, work))
        finally:
            self._calls[account] -= 1
            if not self._calls[account]:
                del self._calls[account]
                self._account_places.pop(account, None)

    @property
    def calls(self) -> int:
        """Calls that run or wait for their turn."""
        return self._calls.total()

    def close(self) -> None:
        """End what runs and waits, and refuse what comes: each call answers 503 with Retry-After."""
        self._closed = True
        for task in self._running:
            task.cancel()

    async def _in_turn(self, account: str, work: Callable[[float], Awaitable[T]]) -> T:
        ends = asyncio.get_running_loop().time() + self._deadline_s
        places = self._account_places.setdefault(account, asyncio.Semaphore(self._per_account))
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout_at(ends):
                    await held.enter_async_context(places)
                    await held.enter_async_context(self._places)
            except TimeoutError:
                raise OntapError(errors.TOO_BUSY, retry_after=RETRY_AFTER_S) from None
            return await work(ends - asyncio.get_running_loop().time())

    async def _until_shutdown(self, work: Awaitable[T]) -> T:
        task: asyncio.Task[T] = asyncio.ensure_future(work)
        self._running.add(task)  # type: ignore[arg-type]
        try:
            return await task
        except asyncio.CancelledError:
            task.cancel()
            if self._closed:
                raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S) from None
            raise
        finally:
            self._running.discard(task)

"""Turns to probe: bounded per account, per SVM and in all, first come, first served, ended by a shutdown.

The queue knows nothing of what is probed. An account that floods cannot starve others: it never holds more than its own
share of the places. If too many of its calls wait, it alone gets 429. The accounts of one SVM together have such a
share too. The monitor takes no turn here: it does not wait for callers, and callers do not wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, TypeVar

from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from keystead.core.model import Svm

_Holder = tuple[str, str]
"""The holder of a share: ``account`` and its name, or ``svm`` and its uuid."""

T = TypeVar("T")

DEADLINE_S = 40.0  # because the official clients stop reading an answer after 45 s
RETRY_AFTER_S = 5


def check_left(ends: float) -> None:
    """Raise 262145 (503) if the time of a call is over, by the event loop's clock."""
    if asyncio.get_running_loop().time() >= ends:
        raise OntapError(errors.TOO_BUSY, retry_after=RETRY_AFTER_S)


class ProbeQueue:
    """The queue of pieces of work that probe. Each gets the time that is left of ``deadline_s`` when its turn comes."""

    def __init__(
        self, *, per_account: int, per_svm: int, in_all: int, waiting: int, deadline_s: float = DEADLINE_S
    ) -> None:
        self._shares = {"account": per_account, "svm": per_svm}
        self._waiting_limit = waiting
        self.deadline_s = deadline_s
        self._places = asyncio.Semaphore(in_all)
        self._places_of: dict[_Holder, asyncio.Semaphore] = {}
        self._calls: Counter[_Holder] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._closed = False

    def deadline(self) -> float:
        """Return the time, by the event loop's clock, by which a call that begins now must be answered."""
        return asyncio.get_running_loop().time() + self.deadline_s

    async def run(
        self,
        account: str,
        work: Callable[[float], Awaitable[T]],
        *,
        svm: Svm | None = None,
        ends: float | None = None,
    ) -> T:
        """Wait for a turn, and await ``work(seconds left)``. ``svm`` is the account's, None for a cluster account.

        ``ends`` is the deadline of a call that takes several turns. Without it, this turn is the whole call. Raises
        262160 if too many calls of the account or its SVM wait. Raises 262145 (503) if the turn comes too late, or the
        service shuts down.
        """
        holders = [("account", account), *([("svm", svm.uuid)] if svm else [])]
        if self._closed:
            raise OntapError(errors.SHUTTING_DOWN, retry_after=RETRY_AFTER_S)
        if any(self._calls[holder] >= self._shares[holder[0]] + self._waiting_limit for holder in holders):
            raise OntapError(errors.TOO_MANY_REQUESTS, retry_after=RETRY_AFTER_S)
        self._calls.update(holders)
        try:
            return await self._until_shutdown(self._in_turn(holders, work, self.deadline() if ends is None else ends))
        finally:
            self._calls.subtract(holders)
            for holder in holders:
                if not self._calls[holder]:
                    del self._calls[holder]
                    self._places_of.pop(holder, None)

    @property
    def calls(self) -> int:
        """The number of calls that run or wait for their turn."""
        return sum(count for (kind, _), count in self._calls.items() if kind == "account")

    def close(self) -> None:
        """End running and waiting calls, and refuse new ones. Each call answers 503 with Retry-After."""
        self._closed = True
        for task in self._running:
            task.cancel()

    async def _in_turn(self, holders: Iterable[_Holder], work: Callable[[float], Awaitable[T]], ends: float) -> T:
        check_left(ends)
        shares = [self._places_of.setdefault(holder, asyncio.Semaphore(self._shares[holder[0]])) for holder in holders]
        async with AsyncExitStack() as held:
            try:
                async with asyncio.timeout_at(ends):
                    for places in (*shares, self._places):
                        await held.enter_async_context(places)
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

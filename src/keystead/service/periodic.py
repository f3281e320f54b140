"""A loop that does some work periodically, also after failures. It knows nothing of the work."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)


class Periodic:
    """A loop that does ``work`` every ``period_s`` seconds, from :meth:`start` to :meth:`close`.

    The first run is one period after the start. A failure is logged as the event ``failed``, and the loop goes on.
    """

    def __init__(self, work: Callable[[], Awaitable[object]], period_s: float, failed: str) -> None:
        self._work = work
        self._period_s = period_s
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Start the loop."""
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._for_ever())

    async def close(self) -> None:
        """Stop the loop, if necessary in the middle of the work."""
        self._closed = True  # because a cancellation is lost during a commit
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _for_ever(self) -> None:
        while not self._closed:
            await asyncio.sleep(self._period_s)
            try:
                await self._work()
            except StoreError as failure:
                log.warning(self._failed, why=str(failure))
            except Exception as error:  # noqa: BLE001 - no failure may end the loop
                log.error(self._failed, why=type(error).__name__)  # noqa: TRY400 - its text might quote data

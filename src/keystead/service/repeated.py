"""Something that a process does again and again, whatever becomes of it once. It knows nothing of what that is."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger(__name__)


class Periodic:
    """Does ``work`` every ``period_s`` seconds from :meth:`start` to :meth:`close`, the first time after one period.

    A failure is logged, as ``failed``, and is not the next time's.
    """

    def __init__(self, work: Callable[[], Awaitable[object]], period_s: float, failed: str) -> None:
        self._work = work
        self._period_s = period_s
        self._failed = failed
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def start(self) -> None:
        """Begin."""
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._for_ever())

    async def close(self) -> None:
        """Stop, in the middle of the work if need be."""
        self._closed = True  # work that is being committed does not hear that it is cancelled
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
            except Exception as error:  # noqa: BLE001 - whatever it is, the next time is not this one's
                log.error(self._failed, why=type(error).__name__)  # noqa: TRY400 - its text might quote what it was about

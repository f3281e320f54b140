"""Changes on their way to the store: one transaction takes all that came while the one before was written.

What cannot be stored stays, and is tried again; a newer change of the same address follows the older one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from keystead.service.ports import StoreError

if TYPE_CHECKING:
    from keystead.core.availability import Change
    from keystead.service.watching import Watching

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""Changes of one transaction at most: it holds up those of callers."""

RETRY_S: Final = 1.0


class Recorder:
    """Stores changes in the order in which they came."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._waiting: list[Change] = []
        self._came = asyncio.Event()

    def put(self, change: Change) -> None:
        """Have a change stored."""
        self._waiting.append(change)
        self._came.set()

    async def run(self) -> None:
        """Store what comes, for ever."""
        while True:
            await self._came.wait()
            await self._store_some()

    async def flush(self) -> None:
        """Store what waits, once; what cannot be stored is found out again by the next start."""
        while self._waiting and await self._store_some():
            pass

    async def _store_some(self) -> bool:
        batch = self._waiting[:AT_ONCE]
        try:
            await self._watching.record(batch)
        except StoreError as failure:
            log.warning("observations are not stored yet", changes=len(self._waiting), why=str(failure))
            await asyncio.sleep(RETRY_S)
            return False
        del self._waiting[: len(batch)]
        if not self._waiting:
            self._came.clear()
        return True

"""Changes on their way to the store: one transaction takes all that came while the one before was written.

What cannot be stored stays, and is tried again, behind the other key managers' changes: one that is locked, or damaged,
holds up no other. A newer change of the same address follows the older one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.core.availability import AddressCheck
    from keystead.service.probing.watching import Watching

log = structlog.get_logger(__name__)

AT_ONCE: Final = 200
"""Changes of one transaction at most: it holds up those of callers."""

RETRY_S: Final = 1.0
HELD_S: Final = 0.1
"""How long to leave a key manager alone that somebody else holds locked."""


class Recorder:
    """Stores the changes of each key manager in the order in which they came."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._waiting: dict[str, list[AddressCheck]] = {}
        self._at_once = AT_ONCE
        self._came = asyncio.Event()

    def put(self, change: AddressCheck) -> None:
        """Have a change stored."""
        self._waiting.setdefault(change.key_manager, []).append(change)
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
        """Store those of the first key managers; return whether all of them were."""
        batch = self._batch()
        stored: set[str] = set()
        try:
            stored = batch.keys() - await self._watching.record([each for some in batch.values() for each in some])
            self._at_once = min(2 * self._at_once, AT_ONCE)
        except StoreError as failure:
            self._at_once = 1  # what the others have to say is not lost to one that cannot be stored
            count = sum(map(len, self._waiting.values()))
            log.warning("observations are not stored yet", changes=count, why=str(failure))
            await asyncio.sleep(RETRY_S)
        for key_manager, changes in batch.items():
            left = self._waiting.pop(key_manager)
            if key_manager in stored:
                del left[: len(changes)]
            if left:
                self._waiting[key_manager] = left
        if not self._waiting:
            self._came.clear()
        elif stored != batch.keys():
            await asyncio.sleep(HELD_S)
        return stored == batch.keys()

    def _batch(self) -> dict[str, list[AddressCheck]]:
        """All changes of so many key managers that there are enough of them."""
        batch: dict[str, list[AddressCheck]] = {}
        count = 0
        for key_manager, changes in self._waiting.items():
            batch[key_manager] = list(changes)
            count += len(changes)
            if count >= self._at_once:
                break
        return batch

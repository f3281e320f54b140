"""The recorder of observations. One transaction stores all changes that came during the transaction before.

Changes that cannot be stored stay. They are tried again after the changes of other key managers, so that a locked or
damaged key manager delays no other. A newer change of the same address follows the older one.
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
"""Most changes of one transaction, because it delays the transactions of callers."""

RETRY_S: Final = 1.0
HELD_S: Final = 0.1
"""Seconds to leave a key manager alone that another transaction holds locked."""


class Recorder:
    """The recorder. It stores the changes of each key manager in the order in which they came."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._waiting: dict[str, list[AddressCheck]] = {}
        self._at_once = AT_ONCE
        self._came = asyncio.Event()

    def put(self, change: AddressCheck) -> None:
        """Add a change to those that wait to be stored."""
        self._waiting.setdefault(change.key_manager, []).append(change)
        self._came.set()

    @property
    def is_idle(self) -> bool:
        """True if no change waits to be stored."""
        return not self._waiting

    async def run(self) -> None:
        """Store changes as they come, for ever."""
        while True:
            await self._came.wait()
            await self._store_some()

    async def flush(self) -> None:
        """Store the waiting changes once. The next start finds out again what cannot be stored."""
        while self._waiting and await self._store_some():
            pass

    async def _store_some(self) -> bool:
        """Store the changes of the first key managers. Return True if all of them were stored."""
        batch = self._batch()
        stored: set[str] = set()
        try:
            stored = batch.keys() - await self._watching.record([each for some in batch.values() for each in some])
            self._at_once = min(2 * self._at_once, AT_ONCE)
        except StoreError as failure:
            self._at_once = 1  # so that one change that cannot be stored holds up no others
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
        """Return all changes of the first key managers, of so many that the batch is full."""
        batch: dict[str, list[AddressCheck]] = {}
        count = 0
        for key_manager, changes in self._waiting.items():
            batch[key_manager] = list(changes)
            count += len(changes)
            if count >= self._at_once:
                break
        return batch

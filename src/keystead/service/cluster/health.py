"""What operators' tools ask of the process itself: is it ready, and its metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.service.ports.store import Store, Telemetry

READY_S = 1.0
"""What a database may take to answer; one that needs longer is not ready."""


class Health:
    """The process as tools see it. ``metrics_public`` says that metrics need no login."""

    def __init__(self, store: Store, telemetry: Telemetry, *, metrics_public: bool = False) -> None:
        self._store = store
        self.telemetry = telemetry
        self.metrics_public = metrics_public

    async def ready(self) -> bool:
        """Whether the database answers, its schema is this release's, and what every call needs can be read."""
        try:
            async with asyncio.timeout(READY_S):
                await self._store.check()
                await self._store.read(lambda tx: (tx.account(""), tx.key_manager("")))
        except (StoreError, TimeoutError):
            return False
        return True

"""The process as operators' tools see it: readiness and metrics."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from keystead.service.ports.cluster import AccountRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from keystead.service.ports.process import Telemetry
    from keystead.service.ports.store import Store

READY_S = 1.0
"""Seconds that a database may take to answer. A slower database is not ready."""


class Rows(KeyManagerRows, AccountRows, Protocol):
    """The rows that this module reads and writes."""


class Health:
    """Readiness and metrics of the process. ``metrics_public`` means that metrics need no login."""

    def __init__(self, store: Store[Rows], telemetry: Telemetry, *, metrics_public: bool = False) -> None:
        self._store = store
        self.telemetry = telemetry
        self.metrics_public = metrics_public

    async def ready(self) -> bool:
        """Return True if the database answers in time, with this release's schema, and all that every call reads."""
        try:
            async with asyncio.timeout(READY_S):
                await self._store.check()
                await self._store.read(lambda tx: (tx.account(""), tx.key_manager("")))
        except (StoreError, TimeoutError):
            return False
        return True

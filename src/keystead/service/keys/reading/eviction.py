"""Evict keys that were retired through another node: compare the cached keys with their rows in the database.

A read compares its key's row anyway. The eviction is for the time when the database fails, because nothing can be
compared then. No node then has a key in memory that was retired more than :data:`PERIOD_S` before the outage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.service.periodic import Periodic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.keys.model import Key, Standing
    from keystead.service.keys.reading.cache import KeyCache
    from keystead.service.ports.keys import KeyRows
    from keystead.service.ports.store import Store

PERIOD_S: Final = 60.0
"""Seconds between two checks of all cached keys."""

TOGETHER: Final = 500
"""Keys that are checked in one transaction."""


class CacheEviction:
    """The periodic check of one node's cache, from :meth:`start` to :meth:`close`.

    It checks all keys every ``period_s`` seconds, ``together`` of them in one transaction.
    """

    def __init__(
        self, store: Store[KeyRows], cache: KeyCache, *, period_s: float = PERIOD_S, together: int = TOGETHER
    ) -> None:
        self._store = store
        self._cache = cache
        self._together = together
        self._repeated = Periodic(self.look, period_s, "cached keys not checked")

    def start(self) -> None:
        """Start the periodic check."""
        self._repeated.start()

    async def close(self) -> None:
        """Stop the periodic check."""
        await self._repeated.close()

    async def look(self) -> None:
        """Drop the cached keys that have changed in the database or are gone. Raise StoreError."""
        known = self._cache.known()
        for first in range(0, len(known), self._together):
            keys = known[first : first + self._together]
            now = await self._standings(keys)
            for key in keys:
                if now.get(key.key_id) != key.standing:
                    self._cache.outdate(key)

    async def _standings(self, keys: Sequence[Key]) -> Mapping[str, Standing]:
        return await self._store.read(lambda tx: tx.key_standings([key.key_id for key in keys]))

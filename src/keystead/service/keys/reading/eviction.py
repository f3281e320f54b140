"""Forget keys that were retired through another node: what this node keeps in memory is compared with the rows.

A read compares the row of its key anyway. This is for when the database is away, and nothing can be compared: then a
key that was retired longer than :data:`PERIOD_S` before is in no node's memory any more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.service.repeated import Periodic

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.keys.model import Key, Standing
    from keystead.service.keys.reading.cache import KeyCache
    from keystead.service.ports.store import Store

PERIOD_S: Final = 60.0
"""How often all keys in memory are looked at."""

TOGETHER: Final = 500
"""Keys that are looked at together."""


class CacheEviction:
    """Looks at one node's memory from :meth:`start` to :meth:`close`."""

    def __init__(self, store: Store, cache: KeyCache) -> None:
        self._store = store
        self._cache = cache
        self._repeated = Periodic(self.look, PERIOD_S, "keys in memory were not looked at")

    def start(self) -> None:
        """Begin to look."""
        self._repeated.start()

    async def close(self) -> None:
        """Stop looking."""
        await self._repeated.close()

    async def look(self) -> None:
        """Forget what is not as it was. Raises StoreError."""
        known = self._cache.known()
        for first in range(0, len(known), TOGETHER):
            keys = known[first : first + TOGETHER]
            now = await self._standings(keys)
            for key in keys:
                if now.get(key.key_id) != key.standing:
                    self._cache.outdate(key)

    async def _standings(self, keys: Sequence[Key]) -> Mapping[str, Standing]:
        return await self._store.read(lambda tx: tx.key_standings([key.key_id for key in keys]))

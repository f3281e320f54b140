"""Evict keys that were retired through another node: compare the cached keys with their rows in the database.

A read compares its key's row anyway. The eviction is for the time when the database is away, because nothing can be
compared then: see :mod:`keystead.service.offline`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.keys.model import Key, Standing
    from keystead.service.keys.reading.cache import KeyCache
    from keystead.service.ports.keys import KeyRows
    from keystead.service.ports.store import Store

TOGETHER: Final = 500
"""Keys that are compared in one transaction."""


class CacheEviction:
    """The comparison of one node's cache with the database, ``together`` keys in one transaction."""

    def __init__(self, store: Store[KeyRows], cache: KeyCache, *, together: int = TOGETHER) -> None:
        self._store = store
        self._cache = cache
        self._together = together

    async def compare(self) -> None:
        """Drop the cached keys that have changed in the database or are gone. Raise StoreError.

        The dropped versions are never cached again. Run periodically on each node.
        """
        known = self._cache.known()
        for first in range(0, len(known), self._together):
            keys = known[first : first + self._together]
            now = await self._standings(keys)
            for key in keys:
                if now.get(key.key_id) != key.standing:
                    self._cache.outdate(key)

    async def _standings(self, keys: Sequence[Key]) -> Mapping[str, Standing]:
        """Return the standings of these keys in the database, by key id. Keys that are gone are left out."""
        return await self._store.read(lambda tx: tx.key_standings([key.key_id for key in keys]))

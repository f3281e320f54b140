"""An LRU cache of key material in this node's memory. It serves reads while key servers or the database fail.

The cache holds a limited number of keys. Material is overwritten with zeros when it is dropped, and when the cache is
closed. Material is never written to a disk, and the process leaves no core dumps (app). A key version that is known to
be outdated is never cached again, not even by a read that began before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from cachetools import LRUCache

from keystead.core.secret import Secret

if TYPE_CHECKING:
    from keystead.core.keys.model import Key


class _Entry(NamedTuple):
    """A key's row at the time when its material was proven, and the material."""

    key: Key
    material: bytearray


class KeyCache:
    """Key material by key id, which is unique in a cluster. ``most`` is the largest number of keys."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._outdated: LRUCache[str, int] = LRUCache(most)  # by key id: the last version that must not be cached

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Secret | None:
        """Return the material of a key, or None if it is not cached.

        Drop the material, and return None, if it was cached for another version, state or SVM of the key.
        """
        entry = self._entries.get(key.key_id)
        if entry is None:
            return None
        if entry.key.standing != key.standing:
            self.drop(key.key_id)
            return None
        self._entries.move_to_end(key.key_id)
        return Secret(bytes(entry.material))

    def last_known(self, key_manager: str, key_id: str) -> Key | None:
        """Return the cached row of a key, or None. The row in the database may be newer."""
        entry = self._entries.get(key_id)
        return entry.key if entry is not None and entry.key.key_manager == key_manager else None

    def known(self) -> list[Key]:
        """Return the cached rows of all cached keys. The rows in the database may be newer."""
        return [entry.key for entry in self._entries.values()]

    def holds(self, key: Key) -> bool:
        """Return True if the material of this version of a key is cached. This does not count as a use for LRU."""
        entry = self._entries.get(key.key_id)
        return entry is not None and entry.key.standing == key.standing

    def put(self, key: Key, material: Secret) -> None:
        """Cache material that agreed with the key's digest.

        Do nothing if a later version of the key is cached, or if this version is known to be outdated.
        """
        known = self._entries.get(key.key_id)
        if known is not None and known.key.version > key.version:
            return
        if key.version <= self._outdated.get(key.key_id, -1):
            return
        self.drop(key.key_id)
        self._entries[key.key_id] = _Entry(key, bytearray(material.reveal()))
        if len(self._entries) > self._most:
            self.drop(next(iter(self._entries)))

    def outdate(self, key: Key) -> None:
        """Drop a key, and never cache this version or an earlier one again.

        The cache remembers as many outdated keys as it can hold keys.
        """
        self.drop(key.key_id)
        self._outdated[key.key_id] = max(key.version, self._outdated.pop(key.key_id, -1))

    def drop(self, key_id: str) -> None:
        """Drop a key and overwrite its material, if the key is cached."""
        entry = self._entries.pop(key_id, None)
        if entry is not None:
            entry.material[:] = bytes(len(entry.material))

    def close(self) -> None:
        """Drop all keys."""
        while self._entries:
            self.drop(next(iter(self._entries)))

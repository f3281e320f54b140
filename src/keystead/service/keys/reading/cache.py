"""Key material in this node's memory, so that reading goes on while key servers, or the database, are away.

Bounded by a number of keys; the one that was read longest ago makes room. Material is overwritten with zeros when it
leaves and when the cache is closed. It is never written anywhere, and the process leaves no core dumps (app). What is
known to be outdated does not come back, not even from a read that began before.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from keystead.core.secret import Secret

if TYPE_CHECKING:
    from keystead.core.keys.model import Key


class _Entry(NamedTuple):
    """A key as its row was when its material was proven."""

    key: Key
    material: bytearray


class KeyCache:
    """Material by key id, which is unique in a cluster. ``most``: how many keys are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._outdated: OrderedDict[str, int] = OrderedDict()  # by key id, the last version that must not be kept

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> Secret | None:
        """The material of a key whose row is this; what was kept of it as it was earlier is dropped."""
        entry = self._entries.get(key.key_id)
        if entry is None:
            return None
        if entry.key.standing != key.standing:
            self.drop(key.key_id)
            return None
        self._entries.move_to_end(key.key_id)
        return Secret(bytes(entry.material))

    def last_known(self, key_manager: str, key_id: str) -> Key | None:
        """A kept key's row as it was read last; it may be another one by now."""
        entry = self._entries.get(key_id)
        return entry.key if entry is not None and entry.key.key_manager == key_manager else None

    def known(self) -> list[Key]:
        """The rows of all keys that are here, as they were."""
        return [entry.key for entry in self._entries.values()]

    def holds(self, key: Key) -> bool:
        """Whether the material of this version of a key is here; this is no reading of it."""
        entry = self._entries.get(key.key_id)
        return entry is not None and entry.key.standing == key.standing

    def put(self, key: Key, material: Secret) -> None:
        """Keep material that agreed with the key's digest, unless a later version of the key is here, or known."""
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
        """Forget a key, and keep it no more as it was up to this version. As many are remembered as keys are kept."""
        self.drop(key.key_id)
        self._outdated[key.key_id] = max(key.version, self._outdated.pop(key.key_id, -1))
        if len(self._outdated) > self._most:
            self._outdated.popitem(last=False)

    def drop(self, key_id: str) -> None:
        """Forget a key, if it is here."""
        entry = self._entries.pop(key_id, None)
        if entry is not None:
            entry.material[:] = bytes(len(entry.material))

    def close(self) -> None:
        """Forget all keys."""
        while self._entries:
            self.drop(next(iter(self._entries)))

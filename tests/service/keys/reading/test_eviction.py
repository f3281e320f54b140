"""Keys that were retired through another node leave this node's memory without being read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from keystead.core.keys.model import KeyState
from keystead.core.secret import Secret
from keystead.service.keys.reading.cache import KeyCache
from keystead.service.keys.reading.eviction import CacheEviction
from tests.store import keys, samples

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

MATERIAL = Secret(bytes(64))


def add(tx: Transaction, key: Key) -> None:
    """Store a key."""
    tx.add_key(key)


async def held(store: SqlStore, count: int) -> tuple[KeyCache, list[Key]]:
    """Committed keys, all of them in memory."""
    await store.write(samples.fill)
    made = [keys.key(f"key-{number}", key_id=f"id-{number}", state=KeyState.COMMITTED) for number in range(count)]
    cache = KeyCache(count)
    for key in made:
        await store.write(partial(add, key=key))
        cache.put(key, MATERIAL)
    return cache, made


async def retire(store: SqlStore, key: Key) -> None:
    """As another node does."""
    retired = replace(key, state=KeyState.RETIRED, version=key.version + 1)
    assert await store.write(lambda tx: tx.change_key(retired, KeyState.COMMITTED))


async def test_what_has_changed_is_forgotten(store: SqlStore) -> None:
    """Retired and deleted keys leave the cache and cannot come back; other keys stay."""
    cache, made = await held(store, 5)
    eviction = CacheEviction(store, cache, together=2)
    await eviction.compare()
    assert len(cache) == 5
    await retire(store, made[1])
    await store.write(lambda tx: tx.drop_key(made[4].uuid))
    await eviction.compare()
    assert [cache.holds(key) for key in made] == [True, False, True, True, False]
    cache.put(made[1], MATERIAL)  # by a read that began before
    assert not cache.holds(made[1])

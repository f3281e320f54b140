"""The memory of keys: its bound, its comparison with rows, and the overwriting of material."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keystead.core.keys.model import KeyState
from keystead.core.secret import Secret
from keystead.service.keys.reading.cache import KeyCache
from tests.store import keys

FIRST, SECOND, THIRD = (keys.key(f"key-{number}", state=KeyState.COMMITTED) for number in (1, 2, 3))
MATERIAL = Secret(b"\x5a" * 64)


def octets(cache: KeyCache, key_id: str) -> bytearray:
    """Return the bytes themselves, to see what becomes of them."""
    return cache._entries[key_id].material


@pytest.fixture
def cache() -> KeyCache:
    """Room for two, one taken."""
    cache = KeyCache(2)
    cache.put(FIRST, MATERIAL)
    return cache


def test_what_was_put_is_got(cache: KeyCache) -> None:
    """A key that was put is found, another one is not."""
    assert cache.get(FIRST) == MATERIAL
    assert cache.holds(FIRST)
    assert cache.get(SECOND) is None
    assert not cache.holds(SECOND)


def test_the_key_that_was_read_longest_ago_makes_room(cache: KeyCache) -> None:
    """The least recently read key leaves and is overwritten; holds() is not a read."""
    cache.put(SECOND, MATERIAL)
    assert cache.get(FIRST)
    assert cache.holds(SECOND)
    evicted = octets(cache, SECOND.key_id)
    cache.put(THIRD, MATERIAL)
    assert [cache.holds(key) for key in (FIRST, SECOND, THIRD)] == [True, False, True]
    assert evicted == bytes(64)
    assert len(cache) == 2


@pytest.mark.parametrize(
    "now", [replace(FIRST, version=2), replace(FIRST, state=KeyState.RETIRED)], ids=["version", "state"]
)
def test_a_key_that_was_changed_is_dropped(cache: KeyCache, now: object) -> None:
    """A key is dropped if its row has another version."""
    before = octets(cache, FIRST.key_id)
    assert not cache.holds(now)  # type: ignore[arg-type]
    assert cache.get(now) is None  # type: ignore[arg-type]
    assert before == bytes(64)
    assert len(cache) == 0


def test_a_later_version_is_not_replaced_by_an_earlier_one(cache: KeyCache) -> None:
    """A slow read of an earlier version does not replace the later one."""
    later = replace(FIRST, version=2)
    cache.put(later, MATERIAL)
    cache.put(FIRST, Secret(b"other"))
    assert cache.get(later) == MATERIAL


def test_what_is_outdated_does_not_come_back(cache: KeyCache) -> None:
    """An outdated version cannot be put again; the version after a recovery can."""
    before = octets(cache, FIRST.key_id)
    cache.outdate(replace(FIRST, version=2, state=KeyState.RETIRED))
    assert before == bytes(64)
    cache.outdate(FIRST)  # what is known later counts
    for version in (1, 2):
        cache.put(replace(FIRST, version=version), MATERIAL)
    assert len(cache) == 0
    recovered = replace(FIRST, version=3)
    cache.put(recovered, MATERIAL)
    assert cache.holds(recovered)


def test_not_more_is_remembered_of_outdated_keys_than_of_others(cache: KeyCache) -> None:
    """The cache remembers the latest outdated keys only, up to its bound."""
    for key in (FIRST, SECOND, THIRD):
        cache.outdate(key)
    for key in (FIRST, SECOND, THIRD):
        cache.put(key, MATERIAL)
    assert [cache.holds(key) for key in (FIRST, SECOND, THIRD)] == [True, False, False]


def test_a_key_is_known_by_its_last_row_while_the_database_is_away(cache: KeyCache) -> None:
    """Without the database a key is found by its last row, in its own key manager only."""
    assert cache.last_known(FIRST.key_manager, FIRST.key_id) == FIRST
    assert cache.last_known("other", FIRST.key_id) is None
    assert cache.last_known(FIRST.key_manager, SECOND.key_id) is None


def test_a_closed_cache_is_overwritten(cache: KeyCache) -> None:
    """A closed cache has overwritten all material."""
    before = octets(cache, FIRST.key_id)
    cache.close()
    assert before == bytes(64)
    assert len(cache) == 0


def test_material_is_not_shown(cache: KeyCache) -> None:
    """Neither the cache nor an error about it shows material."""
    assert MATERIAL.reveal().hex() not in repr(cache)
    assert b"ZZZZ" not in repr(cache).encode()

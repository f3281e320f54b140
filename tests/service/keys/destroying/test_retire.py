"""Retiring and recovering keys, as calls do it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_manager_configs import MOST_RECOVERY_DAYS
from keystead.core.keys.model import Key, KeyState, KeyType
from keystead.core.model import Role
from keystead.service.context import Call, Caller
from keystead.service.keys.destroying.retire import KeyRetirement
from tests.service.worlds.clones import stands
from tests.service.worlds.keepers import WINDOW_S, Keeping, keeping, set_incarnation
from tests.service.worlds.keys import CALL, KeyWorld
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.model import Svm

DAY_S = 86_400


async def refused(kept: Keeping, key: Key, call: Call = CALL) -> list[bool]:
    """Return True if retiring and recovering are refused as 4 (404)."""
    found = []
    for use in (kept.ending.retire, kept.ending.recover):
        try:
            await use(call, kept.manager, key.key_id)
        except OntapError as error:
            found.append(error.kind is errors.ENTRY_NOT_FOUND)
        else:
            found.append(False)
    return found


async def test_a_key_is_retired_and_recovered(key_world: KeyWorld) -> None:
    """Each is another version, and recorded; what is done already changes nothing. Its copies stay as they are."""
    kept = await keeping(key_world, *await key_world.start(2))
    key = await kept.node.create(kept.manager)
    copies = await key_world.copies(key.uuid)
    retired = await kept.ending.retire(CALL, kept.manager, key.key_id)
    assert (retired.state, retired.version) == (KeyState.RETIRED, 2)
    assert retired.retired is not None
    assert retired.purge_after == retired.retired + timedelta(days=7)
    assert await kept.ending.retire(CALL, kept.manager, key.key_id) == retired == await key_world.key(key.uuid)
    recovered = await kept.ending.recover(CALL, kept.manager, key.key_id)
    assert recovered == replace(key, version=3) == await key_world.key(key.uuid)
    assert await kept.ending.recover(CALL, kept.manager, key.key_id) == recovered
    assert await key_world.copies(key.uuid) == copies
    records = await key_world.store.read(lambda tx: tx.audit_records(kept.node.uuid, 0, 10))
    assert [(record.state, record.message) for record in records[-2:]] == [
        ("success", f"retired key {key.key_id}"),
        ("success", f"recovered key {key.key_id}"),
    ]


@on_sqlite
async def test_a_key_is_recovered_until_its_end_begins(key_world: KeyWorld) -> None:
    """A key can be recovered until its window has ended and the keeper comes; then it does not exist for callers."""
    kept = await keeping(key_world, *await key_world.start(2))
    key = await kept.node.create(kept.manager)
    await key_world.set_recovery_days(1)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    key_world.clock.advance(DAY_S - 1)
    await kept.ending.recover(CALL, kept.manager, key.key_id)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    key_world.clock.advance(DAY_S + 1)
    await kept.ending.recover(CALL, kept.manager, key.key_id)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    key_world.clock.advance(DAY_S + 1)
    await kept.end()
    with pytest.raises(OntapError) as raised:
        await kept.ending.recover(CALL, kept.manager, key.key_id)
    assert raised.value.kind is errors.ENTRY_NOT_FOUND


async def test_the_longest_window(key_world: KeyWorld) -> None:
    """With the longest window nothing is destroyed, and keys can be retired and recovered."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await key_world.set_recovery_days(MOST_RECOVERY_DAYS)
    retired = await kept.ending.retire(CALL, kept.manager, key.key_id)
    assert retired.retired is not None
    assert retired.purge_after == retired.retired + timedelta(days=MOST_RECOVERY_DAYS)
    assert await key_world.key(key.uuid) == retired
    await kept.end()
    assert (await kept.ending.recover(CALL, kept.manager, key.key_id)).state is KeyState.COMMITTED


async def test_no_window(key_world: KeyWorld) -> None:
    """Whoever destroys is told of the key, which the next round destroys."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    due: list[Key] = []
    ending = KeyRetirement(kept.node.store, kept.node.audit, key_world.clock, on_due=due.append)
    await ending.retire(CALL, kept.manager, key.key_id)
    assert due == []
    await ending.recover(CALL, kept.manager, key.key_id)
    await key_world.set_recovery_days(0)
    retired = await ending.retire(CALL, kept.manager, key.key_id)
    assert due == [retired]
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert await stands(key_world, key, *servers) == [False, False]


@on_sqlite
async def test_a_retired_key_is_forgotten(key_world: KeyWorld) -> None:
    """Listeners that keep material are called for the retired key, and for no other."""
    kept = await keeping(key_world, *await key_world.start(2))
    key = await kept.node.create(kept.manager)
    told: list[Key] = []
    ending = KeyRetirement(kept.node.store, kept.node.audit, key_world.clock, on_retired=told.append)
    retired = await ending.retire(CALL, kept.manager, key.key_id)
    await ending.recover(CALL, kept.manager, key.key_id)
    with pytest.raises(OntapError):
        await ending.retire(CALL, kept.manager, "absent")
    assert told == [retired]


@on_sqlite
async def test_what_an_earlier_incarnation_retired_can_be_recovered(key_world: KeyWorld) -> None:
    """A key that an earlier incarnation retired can be recovered at any time; retired again it has a new window."""
    kept = await keeping(key_world, *await key_world.start(2))
    key = await kept.node.create(kept.manager)
    before = await kept.ending.retire(CALL, kept.manager, key.key_id)
    key_world.clock.advance(2 * WINDOW_S)
    behind = key_world.clock.now() - timedelta(days=60)  # of the machine on which the database was restored
    await set_incarnation(key_world, uuid="another", number=2, began=behind)
    key_world.clock.advance(1)
    anew = await kept.ending.retire(CALL, kept.manager, key.key_id)
    assert before.purge_after is not None
    assert anew.purge_after is not None
    assert anew.purge_after > key_world.clock.now() > before.purge_after
    assert (await kept.ending.recover(CALL, kept.manager, key.key_id)).state is KeyState.COMMITTED


def of(svm: Svm) -> Call:
    """Return a call of an SVM's account."""
    return Call(Caller("vsadmin", Role.VSADMIN, "127.0.0.1", svm), "DELETE", "/api/test", scope=svm)


@on_sqlite
async def test_an_svm_ends_its_own_keys_only(key_world: KeyWorld) -> None:
    """An SVM retires its own keys, also in the cluster's key manager; other keys do not exist for it."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    kept = Keeping(key_world, await key_world.node(), manager)
    mine, theirs = await key_world.home.svm(), await key_world.home.svm()
    key = await kept.node.create(manager, "mine", svm=mine)
    others = [
        await kept.node.create(manager, "theirs", svm=theirs),
        await kept.node.create(manager, "the cluster's"),
        await kept.node.create(manager, "", key_type=KeyType.NSE_AK),
    ]
    for other in others:
        assert await refused(kept, other, of(mine)) == [True, True]
        assert await key_world.key(other.uuid) == other
    assert (await kept.ending.retire(of(mine), manager, key.key_id)).state is KeyState.RETIRED
    assert await refused(kept, key, of(theirs)) == [True, True]
    assert (await kept.ending.recover(of(mine), manager, key.key_id)).state is KeyState.COMMITTED
    missing = replace(key, key_id="0" * 80)
    assert await refused(kept, missing) == [True, True]
    kept.manager = "gone"
    assert await refused(kept, key) == [True, True]

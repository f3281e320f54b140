"""Clocks: by one that jumped, or that is another than everybody's, nobody's time to undo is over."""

from __future__ import annotations

from datetime import timedelta

import pytest

from keystead.core.keys.model import KeyState
from keystead.service.cluster.leases import LENGTH, Leases
from keystead.service.cluster.trusted_clock import JUMP_S, REST_S, TrustedClock
from keystead.service.keys.destroying.purge import KeyPurge
from keystead.service.keys.destroying.retire import KeyRetirement
from tests.service.worlds.keepers import WINDOW_S, keeping
from tests.service.worlds.keys import CALL, KeyWorld, ShiftedClock
from tests.service.worlds.learning import on_sqlite

pytestmark = on_sqlite


async def clock_of(world: KeyWorld) -> tuple[TrustedClock, str]:
    """Return the clock of a process that has just started, and its node."""
    node = await world.node()
    return TrustedClock(node.store, world.clock, node.uuid), node.uuid


async def heard(world: KeyWorld, node: str, seconds: float) -> None:
    """Have a node be heard of, by a clock that is so far ahead."""
    at = world.clock.now() + timedelta(seconds=seconds)
    await world.store.write(lambda tx: tx.hear_node(node, at))


# --- one clock ---


@pytest.mark.parametrize("seconds", [JUMP_S + 1, -JUMP_S - 1])
async def test_a_clock_that_jumped_rests_for_an_hour(key_world: KeyWorld, seconds: float) -> None:
    """Also when it jumps back."""
    believed, _ = await clock_of(key_world)
    assert await believed.now() is not None
    key_world.clock.set(seconds)
    assert await believed.now() is None
    key_world.clock.advance(REST_S - 1)
    assert await believed.now() is None
    key_world.clock.advance(2)
    assert await believed.now() is not None


async def taken(world: KeyWorld, node: str) -> None:
    """Have a process that has just started take the lease, at once or when it stood still for its length, and end."""
    leases = Leases(world.store, world.clock, node)
    if await leases.take("keeper") is None:
        world.clock.advance(LENGTH.total_seconds())
    async with leases.holding("keeper") as holding:
        assert holding is not None


@pytest.mark.parametrize(("idle_s", "there"), [(JUMP_S - 1, True), (JUMP_S + 1, False), (-2 * JUMP_S, False)])
async def test_a_process_that_starts_long_after_keys_were_kept_last(
    key_world: KeyWorld, idle_s: float, there: bool
) -> None:
    """By its clock, which may be wrong, or by the one that was there before; however often the lease is taken."""
    believed, node = await clock_of(key_world)
    await taken(key_world, node)
    key_world.clock.set(idle_s)
    await taken(key_world, node)
    await taken(key_world, node)
    assert (await believed.now() is not None) is there


async def test_a_process_that_has_gone_on_need_not_rest(key_world: KeyWorld) -> None:
    """However long another process, or nobody, had the lease; nor does the one after it."""
    believed, node = await clock_of(key_world)
    await taken(key_world, node)
    await believed.now()
    key_world.clock.advance(86_400)
    await taken(key_world, node)
    assert await believed.now() is not None
    assert await TrustedClock(key_world.store, key_world.clock, node).now() is not None


async def test_a_process_that_ended_before_it_read_its_clock(key_world: KeyWorld) -> None:
    """It took the lease with a wrong clock: the next one rests, and so does another node's, which may have the same."""
    node, other = (await key_world.node()).uuid, (await key_world.node()).uuid
    await taken(key_world, node)
    key_world.clock.set(86_400)
    await taken(key_world, node)
    for each in (node, other):
        assert await TrustedClock(key_world.store, key_world.clock, each).now() is None


async def test_a_clock_is_doubted_beyond_a_restart(key_world: KeyWorld) -> None:
    """The process after this one rests, too, however often; once it has been right for an hour, no more."""
    believed, node = await clock_of(key_world)
    await believed.now()
    key_world.clock.set(JUMP_S + 1)
    assert await believed.now() is None
    key_world.clock.advance(REST_S - 1)
    for _ in range(2):
        believed = TrustedClock(key_world.store, key_world.clock, node)
        assert await believed.now() is None
    key_world.clock.advance(REST_S + 1)
    assert await believed.now() is not None
    assert await TrustedClock(key_world.store, key_world.clock, node).now() is not None


# --- those of others ---


async def test_a_node_that_says_another_time(key_world: KeyWorld) -> None:
    """It counts when it was heard of since; one that is silent does not, nor does this node's own last word."""
    believed, node = await clock_of(key_world)
    other = (await key_world.node()).uuid
    await heard(key_world, other, -86_400)
    await heard(key_world, node, -86_400)
    assert await believed.now() is not None
    await heard(key_world, node, -9_000)
    assert await believed.now() is not None
    key_world.clock.advance(10)
    await heard(key_world, other, -86_400)
    assert await believed.now() is None


# --- what comes of it ---


async def test_a_process_that_starts_with_a_wrong_clock(key_world: KeyWorld) -> None:
    """A machine boots days ahead: a key that was deleted a minute ago is not destroyed, and can be recovered."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    await kept.end()
    key_world.clock.advance(60)
    key_world.clock.set(WINDOW_S + 86_400)
    kept.destroying = KeyPurge(kept.context, TrustedClock(key_world.store, key_world.clock, kept.node.uuid), kept.hold)
    await kept.end()
    kept.destroying = KeyPurge(kept.context, TrustedClock(key_world.store, key_world.clock, kept.node.uuid), kept.hold)
    await kept.end()  # it was started again
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    await kept.ending.recover(CALL, kept.manager, key.key_id)


@pytest.mark.parametrize("seconds", [JUMP_S + 1, -JUMP_S - 1])
async def test_a_clock_that_is_not_the_database_s(key_world: KeyWorld, seconds: float) -> None:
    """It is untrusted at its first reading, and until it has been right for an hour."""
    node, wrong = await key_world.node(), ShiftedClock()
    wrong.set(seconds)
    believed = TrustedClock(node.store, wrong, node.uuid)
    assert await believed.now() is None
    wrong.set(0)
    assert await believed.now() is None
    wrong.advance(REST_S - 1)
    key_world.clock.advance(REST_S - 1)
    assert await believed.now() is None
    wrong.advance(2)
    key_world.clock.advance(2)
    assert await believed.now() is not None


async def test_a_node_with_a_wrong_clock_keeps_keys(key_world: KeyWorld) -> None:
    """It takes the lease only from a keeper that gave it back. It purges nothing while others say another time."""
    kept = await keeping(key_world, *await key_world.start(1))
    other = await key_world.node()
    key = await kept.node.create(kept.manager)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    ahead = ShiftedClock()
    ahead.set(WINDOW_S + 86_400)
    leases = Leases(other.store, ahead, other.uuid)
    destroying = KeyPurge(kept.context, TrustedClock(other.store, ahead, other.uuid), kept.hold)
    async with kept.lease():
        assert await leases.take("keeper") is None
    async with leases.holding("keeper") as taken:
        assert taken is not None
        for _ in range(round(1.5 * REST_S / 50)):
            await key_world.store.write(lambda tx: tx.hear_node(kept.node.uuid, key_world.clock.now()))
            await destroying.end(taken, kept.manager, await kept.everywhere())
            ahead.advance(50)
            key_world.clock.advance(50)
            await taken.renew()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED


async def test_a_node_whose_clock_is_behind_retires(key_world: KeyWorld) -> None:
    """The window begins when it is by the clocks of all: else it would have ended before."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await key_world.store.write(lambda tx: tx.hear_node(kept.node.uuid, key_world.clock.now()))
    behind = ShiftedClock()
    behind.set(-WINDOW_S - 86_400)
    retired = await KeyRetirement(kept.node.store, kept.node.audit, behind).retire(CALL, kept.manager, key.key_id)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    assert retired.purge_after is not None
    assert retired.purge_after > key_world.clock.now() + timedelta(seconds=WINDOW_S - 60)

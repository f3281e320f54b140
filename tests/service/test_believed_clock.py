"""Clocks: by one that jumped, or that is another than everybody's, nobody's time to undo is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from keystead.core.keys.model import KeyState
from keystead.core.model import ONTAP_LEVEL, Node
from keystead.service.believed_clock import JUMP_S, REST_S, BelievedClock
from keystead.service.key_destroying import KeyDestroying
from keystead.service.key_ending import KeyEnding
from keystead.service.leases import Held, Holding, Leases
from tests.service.keepers import WINDOW_S, keeping
from tests.service.keyworlds import CALL, KeyWorld, ShiftedClock
from tests.service.learning import on_sqlite

HERE = "here"


def holding(idle_s: float = 0.0) -> Holding:
    """A lease that nobody held for so long."""
    leases: Any = None
    return Holding(leases, Held("keeper", 1, 0.0, idle_s))


def heard(clock: ShiftedClock, seconds: float = 0.0, uuid: str = "there") -> Node:
    """A node that was heard of now, by a clock that is so far ahead."""
    return Node(uuid, uuid, ONTAP_LEVEL, clock.now() + timedelta(seconds=seconds))


# --- one clock ---


@pytest.mark.parametrize("seconds", [JUMP_S + 1, -JUMP_S - 1])
def test_a_clock_that_jumped_rests_for_an_hour(seconds: float) -> None:
    """Also when it jumps back."""
    clock = ShiftedClock()
    believed = BelievedClock(clock, HERE)
    assert believed.now(holding(), []) is not None
    clock.set(seconds)
    assert believed.now(holding(), []) is None
    clock.advance(REST_S - 1)
    assert believed.now(holding(), []) is None
    clock.advance(2)
    assert believed.now(holding(), []) is not None


@pytest.mark.parametrize(("idle_s", "there"), [(JUMP_S - 1, True), (JUMP_S + 1, False), (-JUMP_S - 1, False)])
def test_a_process_that_starts_long_after_keys_were_kept_last(idle_s: float, there: bool) -> None:
    """By its clock, which may be wrong, or by the one that was there before."""
    believed = BelievedClock(ShiftedClock(), HERE)
    assert (believed.now(holding(idle_s), []) is not None) is there


def test_a_process_that_has_gone_on_need_not_rest() -> None:
    """However long another process, or nobody, had the lease."""
    clock = ShiftedClock()
    believed = BelievedClock(clock, HERE)
    believed.now(holding(), [])
    clock.advance(86_400)
    assert believed.now(holding(86_400), []) is not None


# --- those of others ---


def test_a_node_that_says_another_time() -> None:
    """It counts when it was heard of since; one that is silent does not, nor does this node's own last word."""
    clock = ShiftedClock()
    believed = BelievedClock(clock, HERE)
    old, own = heard(clock, -86_400), heard(clock, -86_400, HERE)
    assert believed.now(holding(), [old, own]) is not None
    assert believed.now(holding(), [old, heard(clock, -9_000, HERE)]) is not None
    clock.advance(10)
    assert believed.now(holding(), [heard(clock, -86_400)]) is None


# --- what comes of it ---


@on_sqlite
async def test_a_process_that_starts_with_a_wrong_clock(key_world: KeyWorld) -> None:
    """A machine boots days ahead: a key that was deleted a minute ago is not destroyed, and can be recovered."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    await kept.end()
    key_world.clock.advance(60)
    key_world.clock.set(WINDOW_S + 86_400)
    kept.destroying = KeyDestroying(kept.tools, BelievedClock(key_world.clock, kept.node.uuid), kept._hold)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    await kept.ending.recover(CALL, kept.manager, key.key_id)


@on_sqlite
async def test_a_node_with_a_wrong_clock_takes_the_lease(key_world: KeyWorld) -> None:
    """From the keeper that holds it: it purges nothing, then and while others say that it is another time."""
    kept = await keeping(key_world, *await key_world.start(1))
    other = await key_world.node()
    key = await kept.node.create(kept.manager)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    ahead = ShiftedClock()
    ahead.set(WINDOW_S + 86_400)
    leases = Leases(other.store, ahead, other.uuid)
    destroying = KeyDestroying(kept.tools, BelievedClock(ahead, other.uuid), kept._hold)
    async with kept.lease(), leases.holding("keeper") as taken:
        assert taken is not None
        for _ in range(round(1.5 * REST_S / 50)):
            await key_world.store.write(lambda tx: tx.hear_node(kept.node.uuid, key_world.clock.now()))
            await destroying.end(taken, kept.manager, await kept.everywhere())
            ahead.advance(50)
            key_world.clock.advance(50)
            await taken.renew()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED


@on_sqlite
async def test_a_node_whose_clock_is_behind_retires(key_world: KeyWorld) -> None:
    """The window begins when it is by the clocks of all: else it would have ended before."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await key_world.store.write(lambda tx: tx.hear_node(kept.node.uuid, key_world.clock.now()))
    behind = ShiftedClock()
    behind.set(-WINDOW_S - 86_400)
    retired = await KeyEnding(kept.node.store, kept.node.audit, behind).retire(CALL, kept.manager, key.key_id)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    assert retired.purge_after is not None
    assert retired.purge_after > key_world.clock.now() + timedelta(seconds=WINDOW_S - 60)

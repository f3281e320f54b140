"""The times of looks: spread evenly, at a limited rate, and aware of a process that was held up."""

from __future__ import annotations

import asyncio
import time

import pytest

from keystead.monitor.schedule import BEAT_S, CREDIT_S, HELD_UP_S, Grid, Heartbeat, Pace

CREDIT = int(CREDIT_S * 100)


@pytest.mark.parametrize("count", [1, 7, 100, 4000])
def test_grids_spread_evenly_however_many_there_are(count: int) -> None:
    """Each tenth of the interval has at most its share plus a fifth, with a margin of two."""
    times = [Grid(5.0, number).next(100.0) for number in range(count)]
    tenths = [sum(100 + tenth / 2 < at <= 100 + (tenth + 1) / 2 for at in times) for tenth in range(10)]
    assert sum(tenths) == count
    assert max(tenths) <= 1.2 * count / 10 + 2


def test_a_grid_is_kept_whatever_looks_take() -> None:
    """The next time is the first grid point after now; missed points are skipped."""
    grid = Grid(5.0, 3)
    first = grid.next(100.0)
    assert 100.0 < first <= 105.0
    assert grid.next(first) == pytest.approx(first + 5)
    assert grid.next(first + 0.1) == pytest.approx(first + 5)
    assert grid.next(first + 12) == pytest.approx(first + 15)


async def test_turns_come_at_the_pace() -> None:
    """Unused turns are saved for a burst; afterwards a hundred turns take a second."""
    pace = Pace(100)
    began = time.monotonic()
    await asyncio.gather(*(pace.turn() for _ in range(CREDIT)))
    assert time.monotonic() - began < CREDIT_S
    await asyncio.gather(*(pace.turn() for _ in range(40)))
    assert time.monotonic() - began >= 0.35


async def test_turns_that_cost_little_make_room_for_more() -> None:
    """Five cheap turns count as one."""
    pace = Pace(100)
    began = time.monotonic()

    async def cheap() -> None:
        await pace.turn()
        pace.cost_little()

    await asyncio.gather(*(cheap() for _ in range(5 * CREDIT + 100)))
    assert 0.15 < time.monotonic() - began < 1.8


async def test_a_held_up_process_is_noticed() -> None:
    """A loop that stood still counts as held up since any earlier time, and not since a later one."""
    heartbeat = Heartbeat()
    beating = asyncio.create_task(heartbeat.run())
    clock = asyncio.get_running_loop().time
    began = clock()
    await asyncio.sleep(BEAT_S * 2)
    assert not heartbeat.held_up_since(began)
    time.sleep(HELD_UP_S + BEAT_S * 2)  # noqa: ASYNC251 - this is what is noticed
    await asyncio.sleep(BEAT_S)
    assert heartbeat.held_up_since(began)
    assert not heartbeat.held_up_since(clock())
    beating.cancel()

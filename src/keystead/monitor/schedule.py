"""When to look: intervals, times on a grid that spread evenly, and a bound on probes per second.

Numbers are seconds of the event loop's clock. This module looks at nothing itself.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Final

CHECK_S: Final = 1.0
"""Seconds that a light check may take."""

PROBE_S: Final = 3.0
"""Seconds that a probe may take.

With an interval of 5 s, the last good look, a failed check and the probe that confirms it lie within 9 s. A second is
then left to store the loss and for a scrape of the metrics.
"""

PRE_TLS_COST: Final = 0.2
"""The cost of a probe that ends before TLS, as a fraction of a full probe."""

CREDIT_S: Final = 0.25
"""Seconds of unused turns that may be used later, at once."""

BEAT_S: Final = 0.25
HELD_UP_S: Final = 0.5
"""A beat that is late by more seconds than this shows that the process was held up."""

GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""Its multiples modulo 1 are spread evenly over the unit interval, however many there are."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """Seconds between two looks at an address, and between two probes of it.

    A key manager may have its own ``check_s``.
    """

    check_s: float = 5.0
    probe_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Times that repeat every ``interval_s`` seconds. ``number`` spreads the grids of many addresses."""

    interval_s: float
    number: int

    def next(self, now: float) -> float:
        """Return the first time of the grid after ``now``."""
        phase = self.number * GOLDEN % 1 * self.interval_s
        return phase + (math.floor((now - phase) / self.interval_s) + 1) * self.interval_s


class Pace:
    """Turns at a bounded rate per second, first come, first served.

    A probe costs CPU, most of it for TLS, and its time limit runs while other probes use the CPU. When a network comes
    back, many probes that begin at once would time out by their number alone.
    """

    def __init__(self, per_second: float) -> None:
        self._gap_s = 1 / per_second
        self._next = 0.0
        self._queue = asyncio.Lock()

    async def turn(self) -> None:
        """Wait for a turn."""
        clock = asyncio.get_running_loop().time
        async with self._queue:
            while (wait_s := self._next - clock()) > 0:  # noqa: ASYNC110 - the time may move while it sleeps
                await asyncio.sleep(wait_s)
            self._next = max(self._next, clock() - CREDIT_S) + self._gap_s

    def cost_little(self) -> None:
        """Let the next turn come sooner, because the probe of the last turn ended before TLS."""
        self._next -= self._gap_s * (1 - PRE_TLS_COST)


class Heartbeat:
    """A detector of times when this process was held up: paused, or out of CPU.

    Time limits that expired then prove nothing.
    """

    def __init__(self) -> None:
        self._held_up_at = -math.inf

    async def run(self) -> None:
        """Beat for ever, and note when a beat is late."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + BEAT_S
            await asyncio.sleep(BEAT_S)
            if clock() - due > HELD_UP_S:
                self._held_up_at = clock()

    def held_up_since(self, time: float) -> bool:
        """Return True if the process was held up since a time of the loop's clock."""
        return self._held_up_at >= time

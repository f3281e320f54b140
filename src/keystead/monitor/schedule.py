"""When to look: settings, places on a time grid that spread evenly, and a bound on probes per second.

Numbers are seconds of the event loop's clock. It looks at nothing itself.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from typing import Final

CHECK_S: Final = 1.0
"""What a light check may take."""

PROBE_S: Final = 3.5
"""What a probe may take. With an interval of 5 s the last good look, a silent check and the probe that confirms it lie
within 10 s, and half a second is left to store it."""

LITTLE: Final = 0.2
"""What a probe that ends before TLS costs, of one that does not."""

CREDIT_S: Final = 0.25
"""How much of what was not used up may be used later, at once."""

BEAT_S: Final = 0.25
HELD_UP_S: Final = 0.5
"""A beat that comes so much too late says that the process was held up."""

GOLDEN: Final = (math.sqrt(5) - 1) / 2
"""Its multiples modulo 1 are spread evenly over the unit interval, however many there are."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """How often an address is looked at, and how often by a probe."""

    check_s: float = 5.0
    probe_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Grid:
    """Times that come back every ``interval_s``; ``number`` spreads the grids of many addresses."""

    interval_s: float
    number: int

    def next(self, now: float) -> float:
        """The first of its times after ``now``."""
        phase = self.number * GOLDEN % 1 * self.interval_s
        return phase + (math.floor((now - phase) / self.interval_s) + 1) * self.interval_s


class Pace:
    """Turns that come at most so often per second, first come, first served.

    A probe costs CPU, most of it for TLS, and its time limit runs while others use it: what begins at once when a
    network comes back would time out by its own number.
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
        """Let the next turn come sooner: one that was taken did not come to what costs."""
        self._next -= self._gap_s * (1 - LITTLE)


class Heartbeat:
    """Notices when this process was held up: paused, or out of CPU. Time limits that ran out then say nothing."""

    def __init__(self) -> None:
        self._held_up_at = -math.inf

    async def run(self) -> None:
        """Beat for ever."""
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + BEAT_S
            await asyncio.sleep(BEAT_S)
            if clock() - due > HELD_UP_S:
                self._held_up_at = clock()

    def held_up_since(self, time: float) -> bool:
        """Whether that happened since some time of the loop's clock."""
        return self._held_up_at >= time

"""Pauses in long work on the event loop, so that other tasks can run."""

from __future__ import annotations

import asyncio
import time

_TURN_S = 0.005  # maximum time between two pauses, unless one record takes longer


class Turns:
    """The turns of one piece of work, which pauses after each record."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + _TURN_S

    async def pause(self) -> None:
        """Let other ready tasks run, if the turn is over."""
        if time.monotonic() > self._ends:
            await asyncio.sleep(0)
            self._ends = time.monotonic() + _TURN_S

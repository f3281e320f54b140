"""Work on the event loop that many records make long: everything else gets its turn in between."""

from __future__ import annotations

import asyncio
import time

_TURN_S = 0.005  # how long may be worked at a stretch; one record may take longer


class Turns:
    """The turns of one piece of work, which pauses after each record."""

    def __init__(self) -> None:
        self._ends = time.monotonic() + _TURN_S

    async def pause(self) -> None:
        """Let everything else that is ready go first, if the turn is over."""
        if time.monotonic() > self._ends:
            await asyncio.sleep(0)
            self._ends = time.monotonic() + _TURN_S

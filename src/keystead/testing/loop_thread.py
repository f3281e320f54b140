"""An event loop in a thread of its own, for servers that must go on while the caller's thread works or waits."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

ANSWER_S: Final = 30
"""Seconds after which work on the loop has failed."""


class LoopThread:
    """A running event loop, from the start of the ``with`` block to its end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(ANSWER_S)
        self._loop.close()

    def run(self, work: Coroutine[Any, Any, object]) -> None:
        """Do this on the loop, and wait for its end. Raise what it raises, and TimeoutError."""
        asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_S)

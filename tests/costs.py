"""What a piece of work costs by itself, so that a bound on it holds on a machine that is busy with other things."""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def cpu_seconds(work: Callable[[], object], attempts: int = 3) -> float:
    """The CPU seconds of this thread, without those of the garbage collector, in the cheapest of some attempts."""
    costs = []
    gc.disable()
    try:
        for _ in range(attempts):
            started = time.thread_time()
            work()
            costs.append(time.thread_time() - started)
    finally:
        gc.enable()
    return min(costs)

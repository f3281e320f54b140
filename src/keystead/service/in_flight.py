"""Single-flight: a call that is repeated while the first one is under way shares its work and its result.

Clients repeat a DELETE whose answer is late. The repeated call must not find the half-done work of the first.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable

T = TypeVar("T")


class InFlight:
    """The work under way, by a key that identifies it."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def shared(self, key: Hashable, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, or the work that is under way with the same ``key``.

        Only a stop of the service cancels a caller. The cancellation ends the work for all its callers. Work that has
        already committed still returns its result.
        """
        task = self._tasks.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(work)
            self._tasks[key] = task
            task.add_done_callback(lambda _: self._tasks.pop(key))
        else:
            work.close()
        try:
            return cast("T", await asyncio.shield(task))
        except asyncio.CancelledError:
            task.cancel()
            return cast("T", await task)  # because work that has already committed has a result

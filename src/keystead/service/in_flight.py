"""Calls that are sent again while the first is still under way: they share its work and its result.

Clients repeat a DELETE whose answer is late; the repetition must not find half of what the first one does.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Coroutine, Hashable

T = TypeVar("T")


class InFlight:
    """The work that is under way, by what tells it apart from other work."""

    def __init__(self) -> None:
        self._tasks: dict[Hashable, asyncio.Task[Any]] = {}

    async def shared(self, key: Hashable, work: Coroutine[Any, Any, T]) -> T:
        """Await ``work``, or what is under way by the same ``key``.

        A caller is cancelled by a stop of the service only: that ends the work, for all.
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
            return cast("T", await task)  # what was committed already is a result

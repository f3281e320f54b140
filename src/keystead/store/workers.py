"""Threads that run transactions. They are daemons, so that a hanging database does not keep the process alive."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_Job = tuple["Future[Any]", "Callable[[], Any]"]


class Workers:
    """A fixed number of threads on one queue. Jobs start in the order in which they were submitted."""

    def __init__(self, name: str, count: int) -> None:
        self._queue: SimpleQueue[_Job | None] = SimpleQueue()
        self._ends: list[Future[None]] = []
        for number in range(count):
            end: Future[None] = Future()
            self._ends.append(end)
            threading.Thread(target=self._work, args=(end,), name=f"{name}-{number}", daemon=True).start()

    def submit(self, job: Callable[[], T]) -> Future[T]:
        """Queue a job. If its future is cancelled before the job starts, the job is not run."""
        future: Future[T] = Future()
        self._queue.put((future, job))
        return future

    def stop(self) -> list[Future[None]]:
        """Let the threads end after the queued jobs. Return one future per thread."""
        for _ in self._ends:
            self._queue.put(None)
        return self._ends

    def _work(self, end: Future[None]) -> None:
        while entry := self._queue.get():
            future, job = entry
            if future.set_running_or_notify_cancel():
                try:
                    result = job()
                except BaseException as error:  # noqa: BLE001 - every error is given to the caller
                    future.set_exception(error)
                else:
                    future.set_result(result)
            del entry, future, job  # so that a waiting thread keeps no values or errors alive
        end.set_result(None)

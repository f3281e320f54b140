"""Counts of the KMIP operations that this process sent to each address, of the last 24 hours."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.core.server_address import ServerAddress

DAY_S: Final = 86_400.0

SPAN_S: Final = 3600.0
"""Operations are counted in spans of so many seconds, and forgotten by spans."""

SHORTEST_S: Final = 60.0
"""A count of fewer seconds is taken as one of so many, so that a start does not look like a flood."""


class _Count:
    """The operations sent to one address, from ``began`` on. Spans are numbered by their begin."""

    def __init__(self, now: float) -> None:
        self._began = now
        self._spans: deque[list[int]] = deque()  # [number of the span, operations]

    def add(self, operations: int, now: float) -> None:
        """Count operations."""
        number = int(now // SPAN_S)
        if not self._spans or self._spans[-1][0] != number:
            self._spans.append([number, 0])
        self._spans[-1][1] += operations

    def per_day(self, now: float) -> int:
        """Return the operations of the last 24 hours, scaled up to a day if the count is younger."""
        first = int((now - DAY_S) // SPAN_S) + 1
        while self._spans and self._spans[0][0] < first:
            self._spans.popleft()
        seconds = now - max(self._began, first * SPAN_S)
        return round(sum(operations for _, operations in self._spans) * DAY_S / max(seconds, SHORTEST_S))


class SentOperations:
    """The KMIP operations that were sent, by address. ``clock`` returns seconds of a monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._counts: dict[str, _Count] = {}

    def to(self, server: ServerAddress) -> Callable[[int], None]:
        """Return a function that counts operations: those of one message to this address."""
        return partial(self._add, server.key)

    def per_day(self) -> dict[str, int]:
        """Return the operations that were sent in the last 24 hours, by address.

        If the first one was sent less than 24 hours ago, the number since then is scaled up to a day.
        """
        now = self._clock()
        return {address: count.per_day(now) for address, count in self._counts.items()}

    def _add(self, address: str, operations: int) -> None:
        now = self._clock()
        if address not in self._counts:
            self._counts = {key: count for key, count in self._counts.items() if count.per_day(now)}
            self._counts[address] = _Count(now)
        self._counts[address].add(operations, now)

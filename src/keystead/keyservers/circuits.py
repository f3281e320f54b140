"""Which addresses of key servers are left alone for a while, and how long a Get takes where it works.

A circuit opens when an address does not take connections or does not answer in time, so that a dead server costs one
time-out and not one per key. It does no I/O and knows no reasons but those that it is told.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK_FAILURES: Final = 3
"""Consecutive failures that open a circuit, when each is quick; of those that take a time-out, one does."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
SAMPLES: Final = 64
"""Times of Gets that are remembered, per address."""


class Pass:
    """One session's leave to use an address. ``trial``: it is the one that finds out whether the address works again.

    Say :meth:`succeeded` for each complete answer, :meth:`failed` for what counts against the address, and
    :meth:`end` when the session is over.
    """

    __slots__ = ("_circuit", "_trial")

    def __init__(self, circuit: Circuit, *, trial: bool) -> None:
        self._circuit = circuit
        self._trial = trial

    @property
    def valid(self) -> bool:
        """Whether the address may still be used: others may have found it dead since."""
        return self._trial or not self._circuit.open

    def succeeded(self) -> None:
        """The address answered: the circuit is closed, whoever finds that out."""
        self._trial = False
        self._circuit._close()  # noqa: SLF001 - the two are one thing

    def failed(self, reason: str, *, slow: bool) -> None:
        """The address failed; ``slow`` means that a time-out was spent on it."""
        trial, self._trial = self._trial, False
        self._circuit._count(reason, slow=slow, trial=trial)  # noqa: SLF001

    def end(self) -> None:
        """The session is over; a trial that found out nothing leaves the next one to somebody else."""
        if self._trial:
            self._trial = False
            self._circuit._trying = False  # noqa: SLF001


class Circuit:
    """Of one address: closed (used), or open (left alone) until its pause is over and one trial at a time is let in.

    The pause is doubled by each trial that fails, from 1 to 30 s. ``reason`` is why it failed last. ``clock`` gives
    seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._pause_s = 0.0  # none: the circuit is closed
        self._retry_at = 0.0
        self._trying = False
        self.reason = ""

    @property
    def open(self) -> bool:
        """Whether a session would be refused now."""
        return bool(self._pause_s) and (self._trying or self._clock() < self._retry_at)

    def enter(self, *, anew: bool = False) -> Pass | None:
        """Let a session in, or refuse it with None; ``anew`` lets it in, as a trial, whatever the pause says."""
        if self.open and not anew:
            return None
        self._trying = bool(self._pause_s)
        return Pass(self, trial=self._trying)

    def _close(self) -> None:
        self._failures, self._pause_s, self._trying = 0, 0.0, False

    def _count(self, reason: str, *, slow: bool, trial: bool) -> None:
        self.reason = reason
        if trial:
            self._trying = False
            self._wait(min(2 * self._pause_s, LONGEST_PAUSE_S))
        elif not self._pause_s:  # once it is open, those who were let in before say nothing new
            self._failures += QUICK_FAILURES if slow else 1
            if self._failures >= QUICK_FAILURES:
                self._wait(FIRST_PAUSE_S)

    def _wait(self, pause_s: float) -> None:
        self._pause_s = pause_s
        self._retry_at = self._clock() + pause_s


class Latencies:
    """The times of the latest Gets from one address, in seconds."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        """Remember one."""
        self._samples.append(seconds)

    def median_s(self) -> float | None:
        """What half of them stay below, None when there are none."""
        return statistics.median(self._samples) if self._samples else None

    def p95_s(self) -> float | None:
        """What 95 of 100 stay below, None when there are none."""
        ordered = sorted(self._samples)
        return ordered[(95 * len(ordered) - 1) // 100] if ordered else None

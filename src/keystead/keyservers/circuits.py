"""Circuit breakers and latencies of addresses of key servers.

A circuit opens when an address refuses connections or does not answer in time. So a dead server costs one time-out, not
one per key. This module does no I/O. It knows only the reasons that its callers give.
"""

from __future__ import annotations

import statistics
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from keystead.core.backoff import Backoff

if TYPE_CHECKING:
    from collections.abc import Callable

QUICK_FAILURES: Final = 3
"""Consecutive quick failures that open a circuit. One failure that takes a time-out is enough."""
FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 30.0
SAMPLES: Final = 64
"""Times of Gets that are remembered per address."""


class Permission:
    """The permission of one session to use an address. A ``trial`` finds out whether the address works again.

    A session that entered ``anew`` is a further trial during the pause. If it fails, the pause stays as it is.

    Call :meth:`succeeded` for each complete answer, :meth:`failed` for each failure of the address, and :meth:`end`
    when the session is over.
    """

    __slots__ = ("_anew", "_circuit", "_trial")

    def __init__(self, circuit: Circuit, *, trial: bool = False, anew: bool = False) -> None:
        self._circuit = circuit
        self._trial = trial
        self._anew = anew

    @property
    def valid(self) -> bool:
        """True if the address may still be used. Another session may have opened the circuit since."""
        return self._anew or self._trial or not self._circuit.open

    def succeeded(self) -> None:
        """Close the circuit, because the address answered."""
        self._trial = False
        self._circuit._close()  # noqa: SLF001 - the two are one thing

    def failed(self, reason: str, *, slow: bool) -> None:
        """Count a failure of the address. ``slow`` means that the failure took a time-out."""
        trial, self._trial = self._trial, False
        self._circuit._count(reason, slow=slow, trial=trial)  # noqa: SLF001

    def end(self) -> None:
        """End the session. If a trial ends without a result, the next session may be the trial."""
        if self._trial:
            self._trial = False
            self._circuit._trying = False  # noqa: SLF001


class Circuit:
    """The circuit breaker of one address: closed (the address is used) or open (it is not used).

    After a pause, an open circuit lets in one trial at a time. Each failed trial doubles the pause, from 1 to 30 s.
    Sessions that enter anew do not count as such trials: however often they fail, the next trial comes no later.
    ``reason`` is the reason of the last failure. ``clock`` returns seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._backoff = Backoff(FIRST_PAUSE_S, LONGEST_PAUSE_S)  # without a pause: the circuit is closed
        self._trying = False
        self.reason = ""

    @property
    def open(self) -> bool:
        """True if a session would be refused now."""
        return bool(self._backoff.pause_s) and (self._trying or not self._backoff.is_over(self._clock()))

    def enter(self, *, anew: bool = False) -> Permission | None:
        """Let a session in, or return None. With ``anew``, let the session in even while the circuit is open."""
        if self.open:
            return Permission(self, anew=True) if anew else None
        self._trying = bool(self._backoff.pause_s)
        return Permission(self, trial=self._trying)

    def _close(self) -> None:
        self._failures, self._trying = 0, False
        self._backoff.succeeded()

    def _count(self, reason: str, *, slow: bool, trial: bool) -> None:
        self.reason = reason
        if trial:
            self._trying = False
            self._backoff.failed(self._clock())
        elif not self._backoff.pause_s:  # an open circuit counts trials only
            self._failures += QUICK_FAILURES if slow else 1
            if self._failures >= QUICK_FAILURES:
                self._backoff.failed(self._clock())


class Latencies:
    """The times of the latest Gets from one address, in seconds."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=SAMPLES)

    def add(self, seconds: float) -> None:
        """Remember the time of one Get."""
        self._samples.append(seconds)

    def median_s(self) -> float | None:
        """Return the median in seconds, or None if there are no times."""
        return statistics.median(self._samples) if self._samples else None

    def p95_s(self) -> float | None:
        """Return the 95th percentile in seconds, or None if there are no times."""
        ordered = sorted(self._samples)
        return ordered[(95 * len(ordered) - 1) // 100] if ordered else None

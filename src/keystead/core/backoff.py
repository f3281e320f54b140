"""Exponential back-off: how long to leave alone what fails. Pure: times are arguments, in monotonic seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """The back-off of one thing that may fail. The first pause lasts ``first_s``; each further one twice as long.

    No pause is longer than ``longest_s``. With equal limits, all pauses have the same length.
    """

    first_s: float
    longest_s: float
    pause_s: float = 0.0
    until: float = 0.0

    def failed(self, now: float) -> None:
        """Begin the next pause."""
        self.pause_s = min(2 * self.pause_s, self.longest_s) if self.pause_s else self.first_s
        self.until = now + self.pause_s

    def succeeded(self) -> None:
        """End the pause. The next failure begins with the first pause again."""
        self.pause_s = self.until = 0.0

    def is_over(self, now: float) -> bool:
        """Return True if there is no pause now."""
        return self.until <= now

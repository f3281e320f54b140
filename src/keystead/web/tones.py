"""The four tones of the console. Each has a shape and a word, because a state is never a colour alone."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Tone(StrEnum):
    """How something stands, the worst first. ``unknown`` is neither good nor bad, and is shown dashed."""

    BAD = "bad"
    WARN = "warn"
    UNKNOWN = "unknown"
    OK = "ok"

    @property
    def order(self) -> int:
        """The place in an order of the worst first."""
        return _ORDER[self]


_ORDER = {tone: place for place, tone in enumerate(Tone)}


WORDS = {Tone.OK: "available", Tone.WARN: "degraded", Tone.BAD: "lost", Tone.UNKNOWN: "not known"}
"""The word for the state of a key server."""


def in_words(tones: Iterable[Tone]) -> str:
    """Return how many things have which state, the worst first."""
    counts = Counter(tones)
    return ", ".join(f"{counts[tone]} {WORDS[tone]}" for tone in Tone if counts[tone])

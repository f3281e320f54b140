"""What was read last from the database, used again while what it was read from has not changed.

Pages of the console, open in many browsers, ask for the same again and again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

LONGEST_S: Final = 30.0
"""How long a value is used at most, because what is shown also depends on the time: a certificate ends."""


class _Read(NamedTuple, Generic[T]):
    """A value with the version of what it was read from, and the time of that."""

    version: Hashable
    at: float
    value: T


class LastRead(Generic[T]):
    """The values that were read last, by key. The key must say whose eyes a value is for.

    A value is used again while its version is the same, for at most :data:`LONGEST_S`. It is held in memory, so it must
    not hold a secret, and nobody may change it. ``clock`` returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read: dict[Hashable, _Read[T]] = {}

    def get(self, key: Hashable, version: Hashable, read: Callable[[], T]) -> T:
        """Return the value of this key, by ``read`` unless it is known. Raises what ``read`` raises.

        The version must come from the snapshot in which ``read`` reads. Called in transactions, in several threads.
        """
        now = self._clock()
        self._read = {
            each: known for each, known in self._read.items() if known.version == version and now < known.at + LONGEST_S
        }
        known = self._read.get(key)
        if known is None:
            known = self._read[key] = _Read(version, now, read())
        return known.value

"""The proofs that a removal relies on: how old they may be, and how many a key needs. Pure.

A removal proves copies elsewhere, page by page. While one reading of all keys fits into the time in which a proof is
fresh, one fresh proof of each key is enough. Otherwise two proofs of a key, in different replication domains, may be as
old as :data:`PROOF_AGE`. A key with only one such proof is read again last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

FRESH: Final = timedelta(seconds=30)
"""The greatest age of the only proof that a removal relies on."""

PROOF_AGE: Final = timedelta(hours=1)
"""The greatest age of two proofs that a removal relies on. A pause that is longer ends a proving attempt."""

ENOUGH: Final = 2
"""In how many replication domains a key must have proofs so that they need not be fresh."""


@dataclass(frozen=True, slots=True)
class Period:
    """The period in which a proof must have been made to count.

    A proof from the future does not count. The clock that made it is ahead, so the age of the proof is unknown.
    """

    since: datetime
    until: datetime

    def has(self, proven: datetime | None) -> bool:
        """Return True if the proof was made in this period. ``proven`` is its time. None, for no proof, gives False."""
        return proven is not None and self.since <= proven <= self.until


NEVER: Final = Period(datetime(3000, 1, 1, tzinfo=UTC), datetime(2000, 1, 1, tzinfo=UTC))
"""A period without any proof."""


@dataclass(frozen=True, slots=True)
class NeededProofs:
    """The proofs that make a key safe: one in the period ``fresh``, or :data:`ENOUGH` in the period ``attempt``."""

    fresh: Period
    attempt: Period


NO_PROOFS: Final = NeededProofs(NEVER, NEVER)
"""No proof makes a key safe: nothing is known yet, or the clocks do not agree."""


def needed_proofs(began: datetime, now: datetime, left: timedelta = timedelta()) -> NeededProofs:
    """Return which proofs make a key safe. They count now, and still count after the time ``left``.

    ``began`` is when the proving attempt began. ``left`` is zero in the transaction that removes a server. Before, it
    is the time that proving may still take.
    """
    end = now + left
    return NeededProofs(Period(end - FRESH, now), Period(max(began - FRESH, end - PROOF_AGE), now))


@dataclass(frozen=True, slots=True)
class ProvingAttempt:
    """The proving for one change, which goes on with the next call or process after it was cut off.

    ``what`` names the change. ``touched`` is when a proof was stored last.
    """

    what: str
    key_manager: str
    began: datetime
    touched: datetime

    def goes_on(self, now: datetime) -> bool:
        """Return True if proofs of the attempt still count. After a long pause, or if a clock jumped, none counts."""
        return self.began <= now and self.touched <= now < self.touched + PROOF_AGE


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by two clocks: the time of day, and the seconds of a clock that nobody sets."""

    now: datetime
    seconds: float

    def agrees(self, later: Moment) -> bool:
        """Return True if both clocks went on alike until a later moment. Otherwise the age of proofs is unknown."""
        return abs((later.now - self.now).total_seconds() - (later.seconds - self.seconds)) <= FRESH.total_seconds()

    def is_fresh(self, later: Moment) -> bool:
        """Return True if a later moment is at most :data:`FRESH` after this one, by both clocks."""
        passed = (later.now - self.now).total_seconds(), later.seconds - self.seconds
        return all(0 <= each <= FRESH.total_seconds() for each in passed)

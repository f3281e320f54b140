"""The real clocks, as the port that use cases are given."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

PASSED: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)  # because the latter stands still in a suspend


class SystemClock:
    """Implements :class:`keystead.service.ports.store.Clock`."""

    def now(self) -> datetime:
        """Return the time of day, aware and UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back. They pass while the machine is suspended, too: leases end, and limits."""
        return time.clock_gettime(PASSED)

"""The real clocks, as the port that use cases are given."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """Implements :class:`keystead.service.ports.store.Clock`."""

    def now(self) -> datetime:
        """Return the time of day, aware and UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

"""What the transactions of one process know of a database that is away: how long to go on, and when not to try."""

from __future__ import annotations

from keystead.service.ports.store import AWAY
from keystead.store.failures import unavailable

PATIENCE_S = 3.0
"""How long a transaction is begun again. A connection that hangs is given up after 2 s, so all ends within 5 s."""

PAUSE_S = 1.0
"""After that, how long the failure of one transaction stands for all. Callers are told to come back after as long."""


class Outage:
    """An outage, from the last transaction that reached the database to the next. Times are monotonic.

    Worker threads share it without a lock: who comes between two changes only tries once more, or once less.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._reached_at = 0.0
        self._seen_at = 0.0

    def check(self, now: float) -> None:
        """Raise StorageError if the outage lasts, and was just seen. A call of many transactions then ends in time."""
        since = self._since
        if since is not None and now >= since + PATIENCE_S and now < self._seen_at + PAUSE_S:
            raise unavailable("the database is away, as another transaction has just found out", AWAY)

    def seen(self, now: float, submitted: float) -> bool:
        """Note a failure. Return whether a transaction that was submitted then may begin again."""
        since = self._since = max(submitted, self._reached_at) if self._since is None else self._since
        self._seen_at = now
        return now < min(since, submitted) + PATIENCE_S

    def over(self, now: float) -> None:
        """Note that a transaction has reached the database."""
        self._reached_at = now
        self._since = None

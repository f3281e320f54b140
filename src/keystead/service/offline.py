"""How long a node answers reads of keys from its memory while the database is away.

Each node compares the keys and logins that it remembers with the database, again and again, and forgets what has
changed. Without the database it answers reads until a limit after the last comparison. So a key that another node
retired, or an account that it locked, is served for at most that time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.service.periodic import Periodic
from keystead.service.ports.store import AWAY, StorageError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.service.ports.cluster import NodeRows
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store

LONGEST_PERIOD_S: Final = 60.0
"""Most seconds between two comparisons."""

REMEMBERED_S: Final = 300.0
"""Seconds for which a login is remembered."""

NOT_ALLOWED: Final = f"{AWAY}, and offline_reads_s allows no read without it any longer"


class OfflineReads:
    """The limit of this node's reads without the database. One per process.

    ``limit_s`` is the longest time in seconds since the last comparison; with 0, no read is ever answered without the
    database. A node that is alone has no other limit, because nobody else can retire its keys or lock its accounts.
    Comparisons run twice within the limit, from :meth:`start` to :meth:`close`.
    """

    def __init__(self, store: Store[NodeRows], clock: Clock, node: str, limit_s: float) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._limit_s = limit_s
        self._compared_at = clock.monotonic()  # nothing is remembered yet
        self._alone = False
        self._parts: list[Callable[[], Awaitable[object]]] = []
        period_s = min(limit_s / 2 or LONGEST_PERIOD_S, LONGEST_PERIOD_S)
        self._repeated = Periodic(self.compare, period_s, "what this node remembers is not compared")

    def allowed(self) -> bool:
        """Return True if a read may be answered without the database now."""
        if self._limit_s == 0:
            return False
        return self._alone or self._age_s() < self._limit_s

    def can_read(self) -> bool:
        """Return True if callers can be answered without the database now: a read is allowed, and some are remembered.

        Called when a load balancer asks.
        """
        return self.allowed() and self._age_s() < REMEMBERED_S

    def require(self) -> None:
        """Raise StorageError unless a read may be answered without the database now."""
        if not self.allowed():
            raise StorageError("no read may be answered without the database now", NOT_ALLOWED)

    def add(self, part: Callable[[], Awaitable[object]]) -> None:
        """Add a comparison: a function that forgets what has changed in the database, and raises StoreError."""
        self._parts.append(part)

    def start(self) -> None:
        """Start the periodic comparison. Called when the node begins to answer calls."""
        self._repeated.start()

    async def close(self) -> None:
        """Stop the periodic comparison. Called when the node stops."""
        await self._repeated.close()

    async def compare(self) -> None:
        """Compare all that is remembered. Raises StoreError.

        The commit comes first: it proves that this database was the primary then. A primary that is cut off from its
        standbys commits nothing, but would answer reads with old rows.
        """
        began = self._clock.monotonic()
        nodes = await self._store.write(self._commit)
        for part in self._parts:
            await part()
        self._compared_at = began
        self._alone = nodes <= {self._node}

    def _age_s(self) -> float:
        """Return the seconds since the last comparison."""
        return self._clock.monotonic() - self._compared_at

    def _commit(self, tx: NodeRows) -> set[str]:
        """Commit without a change. Return the nodes (uuids) that are registered."""
        tx.touch_node(self._node)
        return {node.uuid for node in tx.nodes()}

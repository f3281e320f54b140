"""How long a node answers reads of keys from its memory while the database is away.

Each node compares the keys and logins that it remembers with the database, again and again, and forgets what has
changed. Without the database it answers reads until a limit after the last comparison. So a key that another node
retired, or an account that it locked, is served for at most that time.

What another node withdraws is not used from memory any more, at once. Until the next comparison, only a commit proves
that rows of it are new: a former primary that is cut off answers reads with old rows.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from keystead.service.periodic import Periodic
from keystead.service.ports.store import AWAY, StorageError
from keystead.service.proven_reads import read_proven

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from keystead.core.model import Contact, Node
    from keystead.core.withdrawals import Thing, Withdrawn
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store, Transaction

T = TypeVar("T")

LONGEST_PERIOD_S: Final = 60.0
"""Most seconds between two comparisons."""

REMEMBERED_S: Final = 300.0
"""Seconds for which a login is remembered."""

WITHDRAWN: Final = f"{AWAY}, and another node withdrew the key or the account"

NOT_ALLOWED: Final = f"{AWAY}, and offline_reads_s allows no read without it any longer"


class OfflineReads:
    """The limit of this node's reads without the database. One per process.

    ``limit_s`` is the longest time in seconds since the last comparison; with 0, no read is ever answered without the
    database. A node that is alone has no other limit, because nobody else can retire its keys or lock its accounts.
    Comparisons run twice within the limit, from :meth:`start` to :meth:`close`.
    """

    contact: Callable[[], Contact | None] = staticmethod(lambda: None)
    """Returns how other nodes reach this process; each comparison stores it."""

    def __init__(self, store: Store[Transaction], clock: Clock, node: str, limit_s: float) -> None:
        self.nodes: tuple[Node, ...] = ()
        """The registered nodes, as they were read last."""
        self._store = store
        self._clock = clock
        self._node = node
        self._limit_s = limit_s
        self._compared_at = clock.monotonic()  # nothing is remembered yet
        self._alone = False
        self._parts: list[Callable[[], Awaitable[object]]] = []
        self._forget: dict[Thing, Callable[[str], object]] = {}
        self._withdrawn: dict[Withdrawn, float] = {}  # with the time, monotonic, at which it came
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

    # --- what other nodes withdraw ---

    def on_withdrawn(self, thing: Thing, forget: Callable[[str], object]) -> None:
        """Set the function that forgets what this node remembers of such a thing, by its id."""
        self._forget[thing] = forget

    def withdraw(self, withdrawn: Iterable[Withdrawn]) -> None:
        """Forget these things, and answer no read of them by what is remembered, until the next comparison."""
        for each in withdrawn:
            self._withdrawn[each] = self._clock.monotonic()
            if each.thing in self._forget:
                self._forget[each.thing](each.id)

    def is_withdrawn(self, *things: Withdrawn) -> bool:
        """Return True if one of these was withdrawn since the last comparison began."""
        return any(each in self._withdrawn for each in things)

    async def read_few(self, work: Callable[[Transaction], T], *things: Withdrawn) -> T:
        """Read a few rows of these things. If one of them is withdrawn, a commit proves that the rows are new.

        Raises StoreError.
        """
        if self.is_withdrawn(*things):
            return await read_proven(self._store, self._node, work)
        return await self._store.read_few(work)

    # --- comparisons ---

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
        self.nodes = await self._store.write(self._commit)
        for part in self._parts:
            await part()
        self._compared_at = began
        self._alone = self._is_alone(self.nodes)
        self._withdrawn = {each: at for each, at in self._withdrawn.items() if at >= began}

    def _age_s(self) -> float:
        """Return the seconds since the last comparison."""
        return self._clock.monotonic() - self._compared_at

    def _is_alone(self, nodes: Iterable[Node]) -> bool:
        return {node.uuid for node in nodes} <= {self._node}

    def _commit(self, tx: Transaction) -> tuple[Node, ...]:
        """Store how other nodes reach this one, and until when it reads keys by itself. Return the registered nodes."""
        nodes, contact = tx.nodes(), self.contact()
        if contact is None:
            tx.touch_node(self._node)
        else:
            until = None if self._is_alone(nodes) else tx.now() + timedelta(seconds=self._limit_s)
            tx.reach_node(self._node, contact, until)
        return nodes

"""What this process was told is committed: the heads of its node's audit chain that it must find in the database.

PostgreSQL's log is one sequence. So a database that has such a head has everything that was committed before it. The
heads are in memory only, because a copy of the data directory must not vouch for what it never wrote.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from keystead.service.ports.cluster import AuditRows

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.core.model import AuditHead

Head = tuple[int, bytes]
"""The index and the MAC of an audit record."""


class Rows(AuditRows, Protocol):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a transaction found: the heads that it looked for, the end of the chain, and how many records are lost.

    ``lost`` is None if there was no head to look for.
    """

    looked_for: frozenset[Head]
    end: Head | None
    lost: int | None


class Acknowledged:
    """The acknowledged heads of one node's chain. ``note`` is called by threads."""

    def __init__(self, node: str) -> None:
        self._node = node
        self._lock = threading.Lock()
        self._heads: frozenset[Head] = frozenset()
        self._appended_after: int | None = None  # the lowest index after which records were appended to no known head

    @property
    def heads(self) -> frozenset[Head]:
        """The heads that must be in the database."""
        return self._heads

    def remember(self, heads: Iterable[Head]) -> None:
        """Take heads over from an earlier process of this node."""
        with self._lock:
            self._heads |= frozenset(heads)

    def note(self, appended: Sequence[tuple[AuditHead | None, AuditHead]]) -> None:
        """Note what a commit appended: the ends of chains before and after. A head replaces the one before it."""
        with self._lock:
            for before, after in appended:
                if after.node == self._node:
                    self._note((before.index, before.mac) if before else None, (after.index, after.mac))

    def _note(self, before: Head | None, after: Head) -> None:
        if self._heads and before not in self._heads:
            index = before[0] if before else 0
            self._appended_after = min(index, index if self._appended_after is None else self._appended_after)
        self._heads = self._heads - {before} | {after}

    def find(self, tx: Rows) -> Finding:
        """Look for the heads in the database. Locks nothing."""
        heads, appended_after = self._heads, self._appended_after
        end = next(((each.index, each.mac) for each in tx.audit_ends() if each.node == self._node), None)
        missing = [head[0] for head in heads if head != end and not self._is_there(tx, head)]
        if not missing:
            return Finding(heads, end, 0 if heads else None)
        there = min(end[0] if end else 0, min(missing) - 1)
        there = there if appended_after is None else min(there, appended_after)
        return Finding(heads, end, max(missing) - there)

    def settle(self, finding: Finding) -> None:
        """Forget the heads of a finding that was acted on: what comes after the chain's end counts from now on."""
        with self._lock:
            self._heads = self._heads - finding.looked_for | ({finding.end} if finding.end else set())
            self._appended_after = None

    def _is_there(self, tx: Rows, head: Head) -> bool:
        found = tx.audit_records(self._node, head[0] - 1, 1)
        return [(each.index, each.mac) for each in found] == [head]

"""The verification of audit chains, page by page, while they may grow and their oldest records may be removed."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core import audit
from keystead.core.audit_retention import cut_in
from keystead.service.audit.log import INITIALISED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from keystead.core.audit_retention import AuditCut
    from keystead.core.model import AuditHead, AuditRecord
    from keystead.service.ports.cluster import AuditRows
    from keystead.service.ports.store import Store

PAGE = 1000
"""Records that are read in one transaction."""


@dataclass(frozen=True, slots=True)
class ChainReport:
    """The result of verifying one node's chain. ``broken_at`` is the first index that does not hold, None if all hold.

    ``records`` is the index of the last record that holds. ``cut`` tells of older records that were removed.

    ``mac`` is the MAC of the last record of an intact chain. An operator who notes it elsewhere can later see whether
    the chain was put back to an earlier state. The database alone cannot show that.
    """

    node: str
    records: int
    broken_at: int | None = None
    reason: str = ""
    mac: bytes = field(default=b"", compare=False)
    cut: AuditCut | None = None

    @property
    def intact(self) -> bool:
        """True if every record is there, as it was written."""
        return self.broken_at is None

    def __str__(self) -> str:
        if not self.intact:
            return f"node {self.node}: BROKEN: record {self.broken_at} {self.reason}"
        if self.cut is None:
            return f"node {self.node}: intact, {self.records} records, the last with MAC {self.mac.hex()}"
        kept = f"records {self.cut.index + 1} to {self.records}, the last with MAC {self.mac.hex()}"
        return f"node {self.node}: intact, {kept}; {self.cut}"


class Walk:
    """A walk along a node's chain. ``last`` is the index and MAC of the record that it has reached.

    ``cut`` is the newest cut that the records tell of. ``found`` are the MACs of those records whose indexes are
    ``wanted``.
    """

    def __init__(
        self, node: str, mac: audit.Mac, start: tuple[int, bytes] = (0, b""), wanted: Collection[int] = ()
    ) -> None:
        self.node = node
        self.last = start
        self.cut: AuditCut | None = None
        self.found: dict[int, bytes] = {}
        self.mac = mac
        self._wanted = frozenset(wanted)
        self._note(*start)

    def go(self, records: Iterable[AuditRecord]) -> None:
        """Check the next records. Raises BrokenChainError."""
        records = tuple(records)
        self.last = audit.follow(self.node, records, self.last, self.mac)
        for record in records:
            if record.index in self._wanted:
                self.found[record.index] = record.mac
            if not record.method:  # because most records are of calls
                self.cut = cut_in(record) or self.cut

    def jump(self, cut: AuditCut) -> None:
        """Go on after records that were removed meanwhile. :meth:`check_cut` will tell whether they may be gone."""
        self.last = (cut.index, cut.mac)
        self._note(*self.last)

    def check_cut(self, stored: AuditCut | None) -> None:
        """Raise BrokenChainError unless the stored cut is the newest that the records tell of."""
        if stored != self.cut:
            index = max(each.index for each in (stored, self.cut) if each)
            raise audit.BrokenChainError(index, "was removed, or put back, without the record that tells of it")

    def _note(self, index: int, mac: bytes) -> None:
        if index in self._wanted:
            self.found[index] = mac


NO_WALKS: Final[Mapping[str, Walk]] = MappingProxyType({})


class _Page(NamedTuple):
    """Records of a chain with their stored sort keys, its last cut and its end, in one snapshot."""

    placed: tuple[tuple[AuditRecord, str], ...]
    cut: AuditCut | None
    end: AuditHead | None


async def verify(
    store: Store[AuditRows], mac: audit.Mac, *known: str, page: int = PAGE, walks: Mapping[str, Walk] = NO_WALKS
) -> tuple[ChainReport, ...]:
    """Verify the chains of all nodes page by page, while they may grow. Raises StoreError.

    ``page`` is the number of records in one transaction. ``known`` are uuids of nodes that exist, whatever the database
    says. A known node without a chain is reported as broken. ``walks`` are those to make, by node, if not new ones.
    """
    nodes = {*await store.read(lambda tx: tx.audit_nodes()), *known, *walks}
    return tuple([await verify_chain(store, walks.get(node) or Walk(node, mac), page) for node in sorted(nodes)])


async def verify_chain(store: Store[AuditRows], walk: Walk, page: int = PAGE) -> ChainReport:
    """Verify the chain of one node from its beginning. Raises StoreError."""
    after = 0
    while True:
        read = await store.read(lambda tx: _page(tx, walk.node, after, page))  # noqa: B023 - called before the loop goes on
        try:
            if read.cut is not None and read.cut.index > walk.last[0]:
                walk.jump(read.cut)
            records = [record for record, _ in read.placed]
            walk.go(records)
            audit.check_places(read.placed)
            if after == 0 and read.cut is None and (not records or records[0].message != INITIALISED):
                raise audit.BrokenChainError(1, "is missing: it is written when a node is initialised")
            after = walk.last[0]
            if len(records) < page:
                walk.check_cut(read.cut)
                audit.check_end(walk.node, walk.last, read.end, walk.mac)
                return ChainReport(walk.node, walk.last[0], mac=walk.last[1], cut=walk.cut)
        except audit.BrokenChainError as broken:
            return ChainReport(walk.node, broken.index - 1, broken.index, broken.reason)


def _page(tx: AuditRows, node: str, after: int, page: int) -> _Page:
    """Read the records after an index. At first that is 0, so that records that were put back are seen, too."""
    return _Page(tx.placed_audit_records(node, after, page), tx.audit_cut(node), tx.audit_head(node))

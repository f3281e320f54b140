"""The state of the audit chains as people see it: how many records each node has, and up to where they were verified.

What was found is kept by this process alone. A result in the database could be forged together with the records.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.audit.verifying import verify
from keystead.service.ports.cluster import AuditRows, ClusterRows, NodeRows

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.audit_retention import AuditCut
    from keystead.service.audit.log import AuditLog
    from keystead.service.audit.verifying import ChainReport
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store

VERIFIED_AT_ONCE: Final = 50_000
"""Most records in all that are verified on demand: a few seconds of work."""


class Rows(ClusterRows, NodeRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """The chain of one node. ``name`` is None if the node is gone. ``report`` is what was found last, None if nothing.

    ``records`` is the index of the last record, as the end of the chain says. ``cut`` tells of records that were
    removed.
    """

    node: str
    name: str | None
    records: int
    report: ChainReport | None
    cut: AuditCut | None = None

    @property
    def removed(self) -> int:
        """The number of records that were removed."""
        return self.cut.index if self.cut else 0


@dataclass(frozen=True, slots=True)
class Chains:
    """The chains of all nodes, by node. ``verified`` is when they were verified last, None if this process did not."""

    chains: tuple[ChainState, ...]
    verified: datetime | None

    @property
    def records(self) -> int:
        """The number of records in all, without those that were removed."""
        return sum(each.records - each.removed for each in self.chains)

    @property
    def is_short(self) -> bool:
        """True if all chains may be verified on demand."""
        return self.records <= VERIFIED_AT_ONCE


class AuditChains:
    """The audit chains of the cluster. ``node`` is the one of this process: it must have a chain."""

    def __init__(self, store: Store[Rows], sealer: Sealer, audit: AuditLog, clock: Clock, node: str) -> None:
        self._store = store
        self._sealer = sealer
        self._audit = audit
        self._clock = clock
        self._node = node
        self._reports: dict[str, ChainReport] = {}
        self._verified: datetime | None = None
        self._is_busy = False

    async def state(self, call: Call) -> Chains:
        """Return the chains, and what was found of them last. A call confined to an SVM gets 4 (404)."""
        call.check_sees(None)

        def read(tx: Rows) -> tuple[ChainState, ...]:
            names = {node.uuid: node.name for node in tx.nodes()}
            heads = {node: tx.audit_head(node) for node in sorted({*tx.audit_nodes(), self._node})}
            return tuple(
                ChainState(
                    node, names.get(node), head.index if head else 0, self._reports.get(node), tx.audit_cut(node)
                )
                for node, head in heads.items()
            )

        return Chains(await self._store.read(read), self._verified)

    async def verify(self, call: Call) -> None:
        """Verify all chains, and remember what was found. The call is recorded, after the records that it verified.

        Raises 262160 (429) while they are being verified, 262185 (400) if they have too many records; 4 (404) for a
        call confined to an SVM.
        """
        found = await self.state(call)
        if not found.is_short:
            reason = f"there are more than {VERIFIED_AT_ONCE} records. Use `keystead audit verify` on the host"
            raise OntapError(errors.INVALID_VALUE, target="records", field="records", reason=reason)
        if self._is_busy:
            raise OntapError(errors.TOO_MANY_REQUESTS)
        self._is_busy = True
        try:
            reports = await verify(self._store, self._sealer.mac, self._node)
        finally:
            self._is_busy = False
        self._reports = {report.node: report for report in reports}
        self._verified = self._clock.now()
        broken = [report.node for report in reports if not report.intact]
        said = f"broken: {', '.join(broken)}" if broken else "all are intact"
        await self._store.write(lambda tx: self._audit.succeed(tx, call, f"verified the audit chains: {said}"))

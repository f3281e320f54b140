"""Reports of verifications and drills: signed by the cluster when the work ends, stored, and returned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from uuid import uuid4

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.report import FORMAT, MAX_REPORTS, About, KeyReport, canonical, report, written
from keystead.service.loading import require_key_manager, require_made_cluster
from keystead.service.ports.cluster import ClusterRows, NodeRows
from keystead.service.ports.configuration import KeyManagerRows
from keystead.service.ports.keys import ReportRows
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.keys.report import ReportFindings
    from keystead.core.model import Cluster, Node
    from keystead.service.context import Call
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Signer
    from keystead.service.ports.store import Store


class Rows(KeyManagerRows, ClusterRows, NodeRows, ReportRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Maker:
    """Who makes a report: the cluster, one of its nodes, and when the work began."""

    cluster: Cluster
    node: Node
    began: datetime


class KeyReports:
    """The reports of one cluster, as one node makes them."""

    def __init__(self, store: Store[Rows], signer: Signer, clock: Clock, node: str) -> None:
        self._store = store
        self._signer = signer
        self._clock = clock
        self._node = node

    def maker(self, tx: Rows) -> Maker:
        """Return this node as the maker of a report that begins now. Raises StoreError if it has no row."""
        node = next((node for node in tx.nodes() if node.uuid == self._node), None)
        if node is None:
            raise StoreError(f"node {self._node} has no row: run keystead init")
        return Maker(require_made_cluster(tx.cluster()), node, self._clock.now())

    def write(self, tx: ReportRows, maker: Maker, topology: ServerTopology, findings: ReportFindings) -> KeyReport:
        """Sign a report of the findings, and store it."""
        about = About(
            uuid=str(uuid4()),
            cluster=maker.cluster,
            node=maker.node,
            key_manager=topology.key_manager,
            incarnation=topology.incarnation,
            servers=topology.servers,
            began=maker.began,
            ended=self._clock.now(),
        )
        said = report(about, findings)
        document = written(said, self._signer.public, self._signer.sign(FORMAT, canonical(said)))
        kept = KeyReport(
            uuid=about.uuid,
            key_manager=topology.key_manager.uuid,
            kind=findings.kind,
            time=about.ended,
            keys=findings.keys,
            unreadable=findings.unreadable,
            failed=findings.failed,
            document=document,
        )
        tx.add_key_report(kept, keep=MAX_REPORTS)
        return kept

    async def all(self, call: Call, key_manager: str) -> tuple[KeyReport, ...]:
        """Return a key manager's reports without their documents, the newest first. Raises 4 (404)."""

        def work(tx: Rows) -> tuple[KeyReport, ...]:
            require_key_manager(tx, call, key_manager)
            return tx.key_reports(key_manager)

        return await self._store.read(work)

    async def get(self, call: Call, key_manager: str, uuid: str) -> KeyReport:
        """Return one report, or raise 4 (404)."""

        def work(tx: Rows) -> KeyReport | None:
            require_key_manager(tx, call, key_manager)
            return tx.key_report(key_manager, uuid)

        found = await self._store.read(work)
        if found is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
        return found

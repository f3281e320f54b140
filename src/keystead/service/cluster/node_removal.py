"""The removal of a node that is gone for good. Its process may not write any more, whenever it comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core import errors
from keystead.core.availability import silent_nodes
from keystead.core.errors import OntapError
from keystead.service.audit.log import append_to, own_record
from keystead.service.cluster.jobs import end_lost_jobs
from keystead.service.ports.cluster import AuditRows, ClusterRows, JobRows, NodeRows

if TYPE_CHECKING:
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer
    from keystead.service.ports.store import Store


class Rows(ClusterRows, NodeRows, JobRows, AuditRows, Protocol):
    """The rows that this module reads and writes."""


class NodeRemoval:
    """The use case that removes a node. ``own_node`` is that of this process."""

    def __init__(self, store: Store[Rows], audit: AuditLog, sealer: Sealer, clock: Clock, own_node: str) -> None:
        self._own_node = own_node
        self._store = store
        self._audit = audit
        self._sealer = sealer
        self._clock = clock

    async def remove(self, call: Call, uuid: str) -> None:
        """Remove a silent node: end its jobs, delete what it observed, and close its audit chain.

        The chain and the events stay. Raises 4 (404), and NODE_IS_UP while the node is heard. Raises StoreError.
        """

        def work(tx: Rows) -> None:
            tx.cluster(lock=True)  # so that two removals do not wait for each other's chains
            nodes = tx.nodes()
            node = next((each for each in nodes if each.uuid == uuid), None)
            if node is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
            if uuid == self._own_node or uuid not in silent_nodes(nodes):
                raise OntapError(errors.NODE_IS_UP, target="uuid", node=node.name)
            now = self._clock.now()
            tx.delete_node(uuid)  # first: it waits for the node's transactions, and no others can follow
            end_lost_jobs(tx, uuid, now)
            append_to(tx, uuid, self._sealer.mac, own_record(uuid, now, f"closed: node {node.name} was removed"))
            self._audit.succeed(tx, call, f"removed node {node.name}")

        await self._store.write(work)

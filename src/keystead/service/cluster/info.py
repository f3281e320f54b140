"""Use cases of the cluster and its nodes: read, change."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from keystead.core import errors
from keystead.core.availability import silent_nodes
from keystead.core.errors import OntapError
from keystead.core.model import Node
from keystead.service.cluster.svms import check_free
from keystead.service.loading import require_cluster, require_made_cluster
from keystead.service.ports.cluster import AuditRows, ClusterRows, IncarnationRows, NodeRows
from keystead.service.ports.configuration import ListRows, SvmRows
from keystead.service.ports.keys import KeyRows

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from keystead.core.model import Cluster
    from keystead.service.audit.log import AuditLog
    from keystead.service.context import Call
    from keystead.service.ports.page import Page
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


class Rows(SvmRows, ListRows, ClusterRows, NodeRows, AuditRows, IncarnationRows, KeyRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class ClusterView:
    """The cluster, and what is stored about it for people. ``health`` is empty unless it was asked for."""

    cluster: Cluster
    contact: str
    location: str
    health: str = ""


@dataclass(frozen=True, slots=True)
class ClusterChange:
    """Changes of the cluster; None leaves a value as it is."""

    name: str | None = None
    contact: str | None = None
    location: str | None = None


class NodeTime(NamedTuple):
    """A node's name, and the time by its clock."""

    node: str
    time: datetime


class ClusterInfo:
    """The cluster of this database, and the nodes that serve it. ``own_node`` is the uuid of this one."""

    def __init__(self, store: Store[Rows], audit: AuditLog, clock: Clock, own_node: str) -> None:
        self._store = store
        self._audit = audit
        self._clock = clock
        self._own_node = own_node

    async def get(self, _call: Call) -> ClusterView:
        """Return the cluster."""

        def read(tx: Rows) -> ClusterView:
            options = tx.options()
            return ClusterView(require_cluster(tx), options.cluster_contact, options.cluster_location)

        return await self._store.read_few(read)

    async def change(self, call: Call, change: ClusterChange) -> None:
        """Change the cluster. A name that an SVM has is code 1 (409). The nodes keep their names."""

        def work(tx: Rows) -> None:
            cluster = require_made_cluster(tx.cluster(lock=True))  # also because options are written as a whole
            said = []
            if change.name is not None:
                check_free(tx, change.name, but=cluster.uuid)
                tx.put_cluster(replace(cluster, name=change.name))
                said.append(f"renamed the cluster from {cluster.name}")
            stated = {"cluster_contact": change.contact, "cluster_location": change.location}
            options: dict[str, Any] = {name: value for name, value in stated.items() if value is not None}
            if options:
                tx.put_options(replace(tx.options(), **options))
                said.append("changed the cluster's contact or location")
            self._audit.succeed(tx, call, " and ".join(said))

        await self._store.write(work)

    async def nodes(self, _call: Call, page: Page) -> tuple[Node, ...]:
        """Return a slice of the nodes, by uuid."""
        return await self._store.read(lambda tx: with_up(tx, tx.page(Node, page)))

    async def node(self, _call: Call, uuid: str) -> Node:
        """Return one node, or raise 4 (404)."""
        nodes = await self._store.read(lambda tx: with_up(tx, tx.nodes()))
        found = next((node for node in nodes if node.uuid == uuid), None)
        if found is None:
            raise OntapError(errors.ENTRY_NOT_FOUND, target="uuid")
        return found

    async def time(self, call: Call) -> NodeTime:
        """Return this node's name and its time."""
        node = await self.node(call, self._own_node)
        return NodeTime(node.name, self._clock.now())


def with_up(tx: NodeRows, nodes: Sequence[Node]) -> tuple[Node, ...]:
    """Return the nodes, each with ``up``: whether it was heard of lately."""
    silent = silent_nodes(tx.nodes())
    return tuple(replace(node, up=node.uuid not in silent) for node in nodes)

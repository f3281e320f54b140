"""Everything about one key server for somebody who looks after it: state, history, copies, what it can do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

from keystead.core import errors
from keystead.core.availability import observation_without_network
from keystead.core.errors import OntapError
from keystead.core.key_servers import find
from keystead.core.model import Event
from keystead.core.outages import BOUNDS, outages
from keystead.core.query.where import Condition, Op, Order
from keystead.core.server_costs import ServerCost
from keystead.service.keys.reporting.survival import survival_of
from keystead.service.keys.topology import load_topology
from keystead.service.loading import require_cluster, require_key_manager
from keystead.service.ports.cluster import ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import KeyManagerRows, ListRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, ReportRows, TopologyRows
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.keys.model import ServerProfile
    from keystead.core.keys.survival import Survival
    from keystead.core.model import Certificate, KeyManager, KeyServer, Node, Observation
    from keystead.core.outages import Outage
    from keystead.core.server_address import ServerAddress
    from keystead.service.configuration.context import ConfigurationContext
    from keystead.service.context import Call
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.process import Clock

HISTORY: Final = timedelta(days=30)
"""How far back the outages of a key server are told."""

_ALL_COSTS: Final = frozenset({"cost.connections"})


class Rows(
    TopologyRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReportRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    ObservationRows,
    EventRows,
    Protocol,
):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class KeyServerDetails:
    """One key server, in one snapshot of the database. ``servers`` are all of its key manager.

    ``observations`` are those of the server and its secondaries. ``outages`` are those within :data:`HISTORY`, the
    oldest first. ``domain_of`` maps each server (uuid) to its replication domain. ``profile`` is None before the server
    was learned. ``client_certificate`` is None if it was deleted. ``full`` is False for an account of an SVM: then both
    are None, and the observations say nothing about our network.
    """

    full: bool
    key_manager: KeyManager
    vserver: str
    server: KeyServer
    servers: tuple[KeyServer, ...]
    nodes: tuple[Node, ...]
    observations: tuple[Observation, ...]
    survival: Survival
    domain_of: dict[str, str]
    outages: tuple[Outage, ...]
    cost: ServerCost
    profile: ServerProfile | None
    client_certificate: Certificate | None
    time: datetime


class KeyServerReports:
    """The details of single key servers."""

    def __init__(self, context: ConfigurationContext, clock: Clock) -> None:
        self._context = context
        self._clock = clock

    async def details(self, call: Call, key_manager: str, address: ServerAddress) -> KeyServerDetails:
        """Return what is known of a key server. No key server is asked.

        Called for the console's page of the server. An account of an SVM gets nothing that tells about our network.
        Raises 4 (404) for an unknown key manager or address, StoreError.
        """
        traffic = self._context.traffic_for(_ALL_COSTS)

        def read(tx: Rows) -> KeyServerDetails:
            manager = require_key_manager(tx, call, key_manager)
            topology, nodes, now = load_topology(tx, manager), tx.nodes(), self._clock.now()
            server = find(topology.servers, address)
            if server is None:
                raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
            full = call.caller.svm is None
            seen = tx.observations([each.uuid for each in topology.servers])
            of_server = tuple(each for each in seen if each.key_server == server.uuid)
            vserver = manager.svm.name if manager.svm else require_cluster(tx).name
            return KeyServerDetails(
                full=full,
                key_manager=manager,
                vserver=vserver,
                server=server,
                servers=topology.servers,
                nodes=nodes,
                observations=of_server if full else tuple(map(observation_without_network, of_server)),
                survival=survival_of(tx, topology, seen, nodes),
                domain_of=topology.domain_of,
                outages=_outages(tx, manager, (vserver, str(server.address)), now),
                cost=ServerCost(tx.object_counts([server.uuid])[server.uuid], traffic(server) if full else None),
                profile=topology.profiles.get(server.uuid) if full else None,
                client_certificate=_client_certificate(topology) if full else None,
                time=now,
            )

        return await self._context.store.read(read)


def _client_certificate(topology: ServerTopology) -> Certificate | None:
    return topology.certificates.get(topology.key_manager.client_certificate)


def _outages(tx: ListRows, manager: KeyManager, server: tuple[str, str], now: datetime) -> tuple[Outage, ...]:
    """Return the outages of a server, by the events of its key manager. If there are too many, the latest count."""
    since = now - HISTORY
    page = Page((BOUNDS, (Condition("time", Op.AT_LEAST, since),)), (Order("key", descending=True),))
    found = tx.page(Event, page.within(svm_uuid=manager.svm.uuid if manager.svm else None))
    return outages(found, since, now).get(server, ())

"""Key servers as GET returns them: their rows, with connectivity and cost where these are wanted."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

from keystead.core.availability import connectivity
from keystead.core.key_servers import secondary_addresses
from keystead.core.model import KeyServer
from keystead.core.server_costs import ServerCost, Traffic
from keystead.service.ports.cluster import NodeRows, ObservationRows
from keystead.service.ports.keys import CopyRows

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from collections.abc import Set as AbstractSet

    from keystead.core.availability import Connectivity
    from keystead.service.context import Call
    from keystead.service.ports.probing import ServerTraffic

    TrafficOf = Callable[[KeyServer], Traffic | None]

_NAMES = [field.name for field in fields(KeyServer)]


class Rows(NodeRows, ObservationRows, CopyRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class KeyServerView(KeyServer):
    """A key server with its connectivity from all nodes, and its cost. None: not wanted.

    Connectivity is also None if the key manager is not enabled.
    """

    connectivity: Connectivity | None = None
    cost: ServerCost | None = None


@dataclass(frozen=True, slots=True)
class NodeTraffic:
    """The traffic of this node with key servers: of its ``watching``, and of its work with ``keys``."""

    watching: ServerTraffic
    keys: ServerTraffic

    def now(self) -> TrafficOf:
        """Return a function that returns the traffic with a key server and its secondaries, as it is now.

        Called on the event loop, before a transaction: that may run in another thread.
        """
        watches, sessions = self.watching.connections(), self.keys.connections()
        watching, keys = self.watching.operations_per_day(), self.keys.operations_per_day()

        def of(server: KeyServer) -> Traffic:
            addresses = [each.key for each in (server.address, *secondary_addresses(server))]
            return Traffic(
                connections=sum(watches.get(each, 0) + sessions.get(each, 0) for each in addresses),
                watching=sum(watching.get(each, 0) for each in addresses),
                keys=sum(keys.get(each, 0) for each in addresses),
            )

        return of


def key_server_views(
    tx: Rows,
    call: Call,
    servers: Sequence[KeyServer],
    enabled: AbstractSet[str],
    wanted: Collection[str],
    traffic: TrafficOf,
) -> Sequence[KeyServer]:
    """Return key servers with what is wanted of connectivity and cost. ``wanted`` are names of a key server's fields.

    Connectivity is for servers whose key managers are among ``enabled``. An account of an SVM sees less of both.
    """
    groups = {name.partition(".")[0] for name in wanted}
    if not groups & {"connectivity", "cost"}:
        return servers
    full = call.caller.svm is None
    said: dict[str, Connectivity] = {}
    costs: dict[str, ServerCost] = {}
    if "connectivity" in groups:
        watched = [server.uuid for server in servers if server.key_manager in enabled]
        said = connectivity(watched, tx.nodes(), tx.observations(watched), full=full)
    if "cost" in groups:
        counts = tx.object_counts([server.uuid for server in servers])
        costs = {server.uuid: ServerCost(counts[server.uuid], traffic(server) if full else None) for server in servers}
    return [
        KeyServerView(
            connectivity=said.get(server.uuid),
            cost=costs.get(server.uuid),
            **{name: getattr(server, name) for name in _NAMES},
        )
        for server in servers
    ]

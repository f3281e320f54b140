"""Makes observations and events of looks at key servers, in the transaction of the caller.

The caller is the monitor, or a call that stores servers. Both are stored together, only if something changed, and only
while the key server exists.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from keystead.core.availability import (
    PRIMARY,
    AddressCheck,
    WatchedAddress,
    observed,
    results_by_address,
)
from keystead.core.key_servers import secondary_addresses
from keystead.service.announcing import add_events
from keystead.service.ports.cluster import EventRows
from keystead.service.probing import announcements
from keystead.service.probing.announcements import Announcements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from keystead.core.model import Event, KeyServer, Observation, Svm
    from keystead.core.probing import ProbeResult
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.process import Clock


class Rows(announcements.Rows, EventRows, Protocol):
    """The rows that this module reads and writes."""


class Observations:
    """The observations of key servers by one node."""

    def __init__(self, clock: Clock, node: str) -> None:
        self._clock = clock
        self._node = node

    def accepted(
        self,
        tx: Rows,
        svm: Svm | None,
        servers: Sequence[KeyServer],
        results: Sequence[ProbeResult],
        *,
        new: bool = False,
    ) -> None:
        """Store the probes of accepted servers as their observations, in the transaction that stores the servers.

        ``new`` servers have no observations yet.
        """
        found = zip(servers, results, strict=True)
        changes = [
            AddressCheck(server.key_manager, place, look, self._clock.now())
            for server, result in found
            for place, look in results_by_address(server, result).items()
        ]
        stored = () if new else tx.observations([server.uuid for server in servers])
        for server in servers:
            if any(each.key_server == server.uuid for each in stored):
                tx.forget_observations(server.uuid, [PRIMARY, *server.secondary_key_servers])
        owners = {server.key_manager: svm for server in servers}
        add_events(tx, self._apply(tx, owners, servers, changes, stored))

    def apply(
        self,
        tx: Rows,
        owners: Mapping[str, Svm | None],
        servers: Sequence[KeyServer],
        changes: Iterable[AddressCheck],
    ) -> list[Event]:
        """Store what changed of these servers, if they still exist. Return the events, which the caller stores.

        ``owners`` maps the uuids of key managers to their SVMs. All observations are stored in one batch.
        """
        return self._apply(tx, owners, servers, changes, tx.observations([server.uuid for server in servers]))

    def _apply(
        self,
        tx: Rows,
        owners: Mapping[str, Svm | None],
        servers: Sequence[KeyServer],
        changes: Iterable[AddressCheck],
        known: Iterable[Observation],
    ) -> list[Event]:
        addresses = {place: address for server in servers for place, address in places(server).items()}
        seen = by_address(known)
        stored = {place for place, found in seen.items() if self._node in found}
        announcing = Announcements(tx, self._node, owners, addresses)
        changed: dict[WatchedAddress, Observation] = {}
        for change in changes:
            place = change.place
            if place not in addresses:
                continue
            of_nodes = seen.setdefault(place, {})
            before = of_nodes.get(self._node)
            now = observed(self._node, before, change)
            if now == before:
                continue
            changed[place] = of_nodes[self._node] = now
            announcing.add(change, before, of_nodes)
        tx.put_observations([each for place, each in changed.items() if place not in stored], new=True)
        tx.put_observations([each for place, each in changed.items() if place in stored], new=False)
        return announcing.store()


def by_address(observations: Iterable[Observation]) -> dict[WatchedAddress, dict[str, Observation]]:
    """Return observations by address, and then by node."""
    found: dict[WatchedAddress, dict[str, Observation]] = {}
    for each in observations:
        found.setdefault(WatchedAddress(each.key_server, each.host), {})[each.node] = each
    return found


def places(server: KeyServer) -> dict[WatchedAddress, ServerAddress]:
    """Return the addresses of a key server, its primary first."""
    hosts = zip(server.secondary_key_servers, secondary_addresses(server), strict=True)
    secondaries = {WatchedAddress(server.uuid, host): address for host, address in hosts}
    return {WatchedAddress(server.uuid, PRIMARY): server.address} | secondaries

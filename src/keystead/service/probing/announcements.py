"""The events of one transaction about key servers: what the cluster has not announced yet, or announces as over."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol

from keystead.core.announcing import AnnouncedState, begun, ended, event_values
from keystead.core.availability import WatchedAddress, void_nodes
from keystead.core.model import State
from keystead.service.announcing import cluster_name
from keystead.service.ports.cluster import ClusterRows, NodeRows, ObservationRows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from keystead.core.availability import AddressCheck
    from keystead.core.events import EventKind
    from keystead.core.model import Event, Node, Observation, Svm
    from keystead.core.server_address import ServerAddress


class Rows(ClusterRows, NodeRows, ObservationRows, Protocol):
    """The rows that this module reads and writes."""


class Announcements:
    """The announcements of a node about these addresses, whose key managers the transaction has locked.

    ``owners`` maps the uuids of key managers to their SVMs.
    """

    def __init__(
        self,
        tx: Rows,
        node: str,
        owners: Mapping[str, Svm | None],
        addresses: Mapping[WatchedAddress, ServerAddress],
    ) -> None:
        self._tx = tx
        self._node = node
        self._owners = owners
        self._addresses = addresses
        self._changed: dict[WatchedAddress, AnnouncedState] = {}
        self._events: list[Event] = []

    def add(self, change: AddressCheck, before: Observation | None, of_nodes: Mapping[str, Observation]) -> None:
        """Add the events of a change of this node's observation of an address.

        ``before`` is what it was, ``of_nodes`` are the present observations of all nodes, by node.
        """
        place, now = change.place, of_nodes[self._node]
        known = self._changed.get(place) or self._stored.get(place) or AnnouncedState(*place)
        if not (known.is_bad or now.state is State.NOT_RESPONDING or now.keys_visible is False):
            return
        seen = {node: found for node, found in of_nodes.items() if node == self._node or node not in self._void}
        kinds = (*ended(known, seen.values()), *begun(known, before, now))
        self._announce(kinds, known, change.key_manager, now, seen, change.time)

    def end(self, key_manager: str, place: WatchedAddress, of_nodes: Mapping[str, Observation], time: datetime) -> None:
        """Add the events of what is over because a node that reported it does not count any more."""
        known = self._stored.get(place)
        seen = {node: found for node, found in of_nodes.items() if node not in self._void}
        if known is not None and seen:
            kinds = ended(known, seen.values())
            self._announce(kinds, known, key_manager, next(iter(seen.values())), seen, time)

    def _announce(
        self,
        kinds: Sequence[EventKind],
        known: AnnouncedState,
        key_manager: str,
        now: Observation,
        seen: Mapping[str, Observation],
        time: datetime,
    ) -> None:
        place, svm = WatchedAddress(known.key_server, known.host), self._owners[key_manager]
        for kind in kinds:
            vserver = svm.name if svm else self._cluster
            values = event_values(now, vserver, str(self._addresses[place]), self._nodes, seen)
            self._events.append(kind.happened(self._node, time, svm, values))
        if kinds:
            self._changed[place] = known.after(kinds, now.reason)

    def store(self) -> list[Event]:
        """Store what is announced now. Return the events, which the caller stores."""
        self._tx.put_announced_states(list(self._changed.values()))
        return self._events

    @cached_property
    def _stored(self) -> dict[WatchedAddress, AnnouncedState]:
        found = self._tx.announced_states(sorted({place.key_server for place in self._addresses}))
        return {WatchedAddress(each.key_server, each.host): each for each in found}

    @cached_property
    def _nodes(self) -> tuple[Node, ...]:
        return self._tx.nodes()

    @cached_property
    def _void(self) -> frozenset[str]:
        return void_nodes(self._nodes)

    @cached_property
    def _cluster(self) -> str:
        return cluster_name(self._tx)

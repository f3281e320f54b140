"""List what needs somebody, the worst first: from stored observations and proofs, and from this node itself."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, TypeVar

from keystead.core.attention import cluster as of_cluster
from keystead.core.attention.items import Item, worst_first
from keystead.core.attention.key_managers import Watched, key_items, orphan_items, server_items, without_network
from keystead.core.audit_retention import FOR_EVER, Retention
from keystead.core.availability import has_proved_certificates, own_certificate, peer_certificates, void_nodes
from keystead.core.model import Event
from keystead.core.outages import BOUNDS, outages
from keystead.core.query.where import Condition, Op
from keystead.service.cluster.audit_retention import waiting
from keystead.service.keys.reporting.survival import placed_keys
from keystead.service.last_read import LastRead
from keystead.service.loading import incarnation_of, installed_certificates, require_cluster, require_key_manager
from keystead.service.ports.cluster import AuditRows, ClusterRows, IncarnationRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, ListRows
from keystead.service.ports.forwarding import DestinationRows
from keystead.service.ports.keys import AttemptRows, CopyRows, KeyRows, OrphanRows, ReportRows, TopologyRows
from keystead.service.ports.marks import ChangeMarkRows, Part
from keystead.service.ports.page import Page
from keystead.service.probing.watching import used_certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from keystead.core.availability import UsedCertificate
    from keystead.core.keys.model import Orphan
    from keystead.core.model import Certificate, KeyManager, KeyServer, Node, Observation
    from keystead.core.outages import OfServer, Outage
    from keystead.service.context import Call
    from keystead.service.keys.reporting.survival import Placed
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store


T = TypeVar("T")

HISTORY: Final = timedelta(hours=24)
"""How far back outages are shown."""


EXPIRED: Final = "server_certificate_expired"
"""The reason for which a key server is lost whose certificate has expired."""


class Rows(
    TopologyRows,
    KeyRows,
    AttemptRows,
    CopyRows,
    ReportRows,
    OrphanRows,
    CertificateRows,
    KeyManagerRows,
    ListRows,
    ClusterRows,
    NodeRows,
    IncarnationRows,
    ObservationRows,
    DestinationRows,
    AuditRows,
    ChangeMarkRows,
    Protocol,
):
    """The rows that this module reads."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The things that need somebody, and what they were found from.

    ``managers`` are the enabled key managers with their servers, keys and observations. ``certificates`` are those in
    use and those that key servers showed. ``cluster`` is the cluster's name, ``time`` that of the snapshot.
    """

    items: list[Item]
    managers: list[Watched]
    certificates: list[UsedCertificate]
    nodes: Sequence[Node]
    cluster: str
    time: datetime


class _OfManagers(NamedTuple):
    """What the key managers tell: see :class:`Overview`."""

    items: list[Item]
    managers: list[Watched]
    certificates: list[UsedCertificate]


class _Kept(NamedTuple):
    """What is stored about enabled key managers, without observations. ``orphans`` are by key manager (uuid).

    ``refused`` are the hosts of key servers that the egress rules would refuse.
    """

    managers: Sequence[KeyManager]
    placed: Mapping[str, Placed]
    installed: Mapping[str, Certificate]
    orphans: Mapping[str, Sequence[Orphan]]
    refused: frozenset[str]


class Attention:
    """The list of what needs somebody.

    ``is_refused`` says whether the egress rules would refuse a host in a new key server. ``retention`` is that of
    audit records.
    """

    def __init__(
        self,
        store: Store[Rows],
        clock: Clock,
        is_refused: Callable[[str], bool],
        retention: Retention = FOR_EVER,
    ) -> None:
        self._store = store
        self._retention = retention
        self._clock = clock
        self._is_refused = is_refused
        self._managers = LastRead[_OfManagers]()
        self._kept = LastRead[_Kept]()
        self._events = LastRead[tuple[Event, ...]]()
        self._sources: list[Callable[[], Iterable[Item]]] = []

    def add_source(self, source: Callable[[], Iterable[Item]]) -> None:
        """Add a function that returns what is wrong with this node. It is called for calls of the whole cluster."""
        self._sources.append(source)

    async def items(self, call: Call) -> list[Item]:
        """Return what needs somebody, the worst first. A call that is confined to an SVM gets what concerns that SVM.

        Called when an API caller reads the list. No key server is asked. Raises StoreError.
        """
        return (await self.overview(call)).items

    async def overview(self, call: Call) -> Overview:
        """Return what needs somebody, together with what it was found from, in one snapshot of the database.

        Called for the console's first page. It shows no more than the call may see, and holds no sealed value. What has
        not changed since a former call that saw the same is not read again. Raises StoreError.
        """
        found = await self._store.read(lambda tx: self._overview(tx, call))
        of_node = [item for source in self._sources for item in source()] if call.scope is None else []
        return replace(found, items=worst_first([*found.items, *of_node]))

    async def outages(self, call: Call) -> Mapping[OfServer, tuple[Outage, ...]]:
        """Return the outages of key servers within :data:`HISTORY`. Raises StoreError.

        Their events are read again only after they changed, as for :meth:`overview`.
        """
        now = self._clock.now()
        since = now - HISTORY
        recent = Page((BOUNDS, (Condition("time", Op.AT_LEAST, since),)))

        def read(tx: Rows) -> tuple[Event, ...]:
            marks = tx.change_marks()
            version = (marks[Part.EVENTS], marks[Part.KEPT])  # the latter for the name of the SVM
            return self._events.get(_eyes(call), version, lambda: tx.page(Event, call.within(recent)))

        found = await self._store.read(read)
        return outages((each for each in found if each.time >= since), since, now)

    def warnings_of(self, certificate: Certificate) -> list[str]:
        """Return a sentence if a certificate of ours ended or ends soon. Called when it was installed."""
        return self._sentences([own_certificate(certificate, certificate.svm, "")])

    async def certificate_warnings(self, call: Call, key_manager: str) -> list[str]:
        """Return a sentence for each certificate of a key manager, and of its servers, that ended or ends soon.

        Called when a key manager, or one of its servers, was changed. Raises 4 (404) if the call may not see it.
        """

        def read(tx: Rows) -> list[str]:
            manager = require_key_manager(tx, call, key_manager)
            servers = tx.key_servers(manager.uuid)
            seen = tx.observations([server.uuid for server in servers])
            installed = installed_certificates(tx, manager)
            return self._sentences(_certificates(manager, "", servers, installed, _told(call, seen)))

        return await self._store.read(read)

    def _sentences(self, used: Iterable[UsedCertificate]) -> list[str]:
        """Return a sentence for each of these certificates that ended or ends soon."""
        return [f"{item.name}: {item.reason}" for item in of_cluster.certificate_items(used, self._clock.now())]

    def _overview(self, tx: Rows, call: Call) -> Overview:
        """Return what the database tells; the items in any order."""
        nodes, cluster, marks = tx.nodes(), require_cluster(tx).name, tx.change_marks()
        version = (marks[Part.KEPT], marks[Part.OBSERVED], void_nodes(nodes), cluster)
        found = self._managers.get(_eyes(call), version, lambda: self._of_managers(tx, call, nodes, cluster))
        items, now = list(found.items), self._clock.now()
        if call.scope is None:
            items.extend([*of_cluster.node_items(nodes), *of_cluster.destruction_items(incarnation_of(tx))])
            items.extend(of_cluster.destination_items(tx.destinations(), now))
            waits = waiting(tx, self._retention, now)
            items.extend(of_cluster.retention_items(unsaved=waits.unsaved, overdue=waits.overdue))
        return Overview(items, found.managers, found.certificates, nodes, cluster, now)

    def _of_managers(self, tx: Rows, call: Call, nodes: Sequence[Node], cluster: str) -> _OfManagers:
        """Return what the key managers tell."""
        found = _OfManagers([], [], [])
        listed: list[UsedCertificate] = []
        full = call.caller.svm is None
        kept = self._kept.get(_eyes(call), tx.change_marks()[Part.KEPT], lambda: _read_kept(tx, call, self._is_refused))
        for watched in self._watched(tx, kept, nodes, cluster):
            found.items.extend([*key_items(watched), *server_items(watched, nodes, full=full), *orphan_items(watched)])
            certificates = partial(_certificates, watched.of, watched.vserver, watched.servers, kept.installed)
            told = _told(call, watched.observations)
            used = certificates(told)
            found.certificates.extend(used)
            if full and any(each.reason == EXPIRED for each in told):  # the item of such a server names the certificate
                used = certificates([each for each in told if each.reason != EXPIRED])
            listed += used
            found.managers.append(watched if full else without_network(watched))
        found.items.extend(of_cluster.certificate_items(listed, self._clock.now()))
        return found

    def _watched(self, tx: Rows, kept: _Kept, nodes: Sequence[Node], cluster: str) -> Iterator[Watched]:
        """Yield each key manager with all that is stored about it."""
        manager_of = {server.uuid: server.key_manager for of in kept.placed.values() for server in of.servers}
        seen = _grouped(tx.observations(list(manager_of)), lambda each: manager_of[each.key_server])
        for manager in kept.managers:
            placed = kept.placed[manager.uuid]
            yield Watched(
                of=manager,
                vserver=manager.svm.name if manager.svm else cluster,
                servers=placed.servers,
                observations=seen[manager.uuid],
                survival=placed.survival(seen[manager.uuid], nodes),
                client_certificate=kept.installed.get(manager.client_certificate),
                orphans=kept.orphans[manager.uuid],
                refused=kept.refused.intersection(server.address.host for server in placed.servers),
            )


def _read_kept(tx: Rows, call: Call, is_refused: Callable[[str], bool]) -> _Kept:
    """Read what the call may see, by one statement for each kind of row. The result holds no sealed value."""
    enabled = [(manager, servers) for manager, servers in tx.watched() if call.sees(manager.svm)]
    servers_of = {
        manager.uuid: [replace(server, sealed_password=None) for server in servers] for manager, servers in enabled
    }
    installed = installed_certificates(tx, *(manager for manager, _ in enabled))
    orphans = tx.orphans(*servers_of) if call.scope is None else ()
    return _Kept(
        managers=[manager for manager, _ in enabled],
        placed=placed_keys(tx, servers_of),
        installed={uuid: replace(each, sealed_private_key=None) for uuid, each in installed.items()},
        orphans=_grouped(orphans, attrgetter("key_manager")),
        refused=frozenset(filter(is_refused, (each.address.host for of in servers_of.values() for each in of))),
    )


def _eyes(call: Call) -> tuple[Hashable, ...]:
    """Return what decides over what a call may see."""
    return call.scope, call.caller.svm


def _grouped(rows: Iterable[T], manager_of: Callable[[T], str]) -> defaultdict[str, list[T]]:
    """Return rows by key manager."""
    found: defaultdict[str, list[T]] = defaultdict(list)
    for row in rows:
        found[manager_of(row)].append(row)
    return found


def _told(call: Call, observations: Sequence[Observation]) -> list[Observation]:
    """Return the observations whose certificates the caller may see."""
    return [each for each in observations if call.caller.svm is None or has_proved_certificates(each)]


def _certificates(
    manager: KeyManager,
    vserver: str,
    servers: Sequence[KeyServer],
    installed: Mapping[str, Certificate],
    observations: Sequence[Observation],
) -> list[UsedCertificate]:
    """Return the certificates of a key manager, and those that its servers showed last."""
    addresses = {server.uuid: str(server.address) for server in servers}
    used = used_certificates([(manager, vserver)], installed)
    for seen in observations:
        used += peer_certificates(seen, manager.svm, vserver, seen.host or addresses[seen.key_server])
    return used

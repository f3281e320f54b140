"""The addresses that this node watches, and its observations of them with their events.

An observation and its event are stored together, only if something changed, and only while the key server exists. The
monitor decides when to look, and how often.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import structlog

from keystead.core import events
from keystead.core.availability import (
    WatchedAddress,
    announced_certificate,
    certificate_events,
    own_certificate,
)
from keystead.service.announcing import add_events, cluster_name
from keystead.service.loading import installed_certificates
from keystead.service.ports.cluster import ClusterRows, EventRows, NodeRows, ObservationRows
from keystead.service.ports.configuration import CertificateRows, KeyManagerRows, KeyServerRows
from keystead.service.probing.announcements import Announcements
from keystead.service.probing.observations import by_address, places
from keystead.service.probing.prober import NO_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
    from datetime import datetime

    from keystead.core.availability import AddressCheck, Announced, UsedCertificate
    from keystead.core.model import Certificate, KeyManager, KeyServer, Observation
    from keystead.core.probing import TlsIdentity
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.probing import KeyServerGateway, Watch
    from keystead.service.ports.process import Clock
    from keystead.service.ports.store import Store
    from keystead.service.probing.observations import Observations
    from keystead.service.probing.prober import ServerProber

log = structlog.get_logger(__name__)


class Rows(CertificateRows, KeyManagerRows, KeyServerRows, ClusterRows, NodeRows, ObservationRows, EventRows, Protocol):
    """The rows that this module reads and writes."""


@dataclass(frozen=True, slots=True)
class Watched:
    """One address to watch, with all that its watch depends on. An equal one needs no new watch."""

    place: WatchedAddress
    address: ServerAddress
    server: KeyServer
    key_manager: KeyManager
    vserver: str

    @property
    def certificates(self) -> tuple[str, ...]:
        """The certificates (uuids) of the watch: the client certificate, then the server CAs."""
        return (self.key_manager.client_certificate, *self.key_manager.server_ca_certificates)


@dataclass(frozen=True, slots=True)
class Configuration:
    """The addresses to watch at the time of ``marker``, and the certificates that key managers use."""

    marker: Hashable
    watched: Mapping[WatchedAddress, Watched]
    certificates: tuple[UsedCertificate, ...]


@dataclass(frozen=True, slots=True)
class Opened:
    """The watch of an address, and this node's stored observation of it, if there is one."""

    watch: Watch
    known: Observation | None


class Watching:
    """The watching of key servers by one node.

    ``on_hidden`` gets the uuid of a key manager after a server of it was seen to hide its keys, and that is stored.
    """

    def __init__(
        self,
        store: Store[Rows],
        gateway: KeyServerGateway,
        prover: ServerProber,
        observing: Observations,
        clock: Clock,
        node: str,
        on_hidden: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._on_hidden = on_hidden
        self._store = store
        self._gateway = gateway
        self._prover = prover
        self._observing = observing
        self._clock = clock
        self.node = node

    def now(self) -> datetime:
        """Return the time that observations carry."""
        return self._clock.now()

    async def marker(self) -> Hashable:
        """Return a value that changes with the configuration."""
        return await self._store.read_few(lambda tx: tx.change_marker())

    async def changed(self, within_s: float) -> None:
        """Return when this process has changed the configuration, or so many seconds later."""
        await self._store.changed(within_s)

    async def configuration(self) -> Configuration:
        """Return everything to watch: the primaries and secondaries of the enabled key managers."""
        return await self._store.read(_configuration)

    async def open(self, wanted: Sequence[Watched], limit_s: float) -> dict[WatchedAddress, Opened]:
        """Return watches of these addresses, not connected yet. Their probes take up to ``limit_s`` seconds.

        An address that cannot be watched (a certificate is gone, a secret cannot be opened) is logged and left out.
        """

        def read(tx: Rows) -> tuple[dict[str, Certificate], dict[WatchedAddress, Observation]]:
            certificates = tx.certificates(sorted({uuid for each in wanted for uuid in each.certificates}))
            return {found.uuid: found for found in certificates}, self._known(tx, wanted)

        certificates, known = await self._store.read(read)
        identities: dict[str, TlsIdentity] = {}
        opened = {}
        for each in wanted:
            manager = each.key_manager
            try:
                if manager.uuid not in identities:
                    identities[manager.uuid] = self._prover.identity(manager, certificates)
                target = self._prover.target(each.server, limit_s)
            except NO_IDENTITY as error:
                log.error("a key server cannot be watched", address=str(each.address), why=type(error).__name__)  # noqa: TRY400
                continue
            watch = self._gateway.watch(each.address, target, identities[manager.uuid])
            opened[each.place] = Opened(watch, known.get(each.place))
        return opened

    async def record(self, changes: Sequence[AddressCheck]) -> frozenset[str]:
        """Store what changed, and announce it. Raises StoreError.

        Return the key managers (uuids) that another transaction holds locked. Their changes are not stored.
        """

        def work(tx: Rows) -> frozenset[str]:
            wanted = sorted({change.key_manager for change in changes})
            locked = {manager.uuid: manager for manager in tx.lock_free_key_managers(wanted)}
            held = frozenset(each.uuid for each in tx.key_managers(wanted) if each.uuid not in locked)
            servers = tx.key_servers_of(locked)
            owners = {uuid: manager.svm for uuid, manager in locked.items()}
            add_events(tx, self._observing.apply(tx, owners, servers, _still_true(changes, locked, servers)))
            return held

        held = await self._store.write(work)
        for hiding in dict.fromkeys(each.key_manager for each in changes if each.look.keys_visible is False):
            if hiding not in held:
                self._on_hidden(hiding)
        return held

    async def observations(self) -> dict[WatchedAddress, Observation]:
        """Return this node's stored observations, by address."""
        found = await self._store.read(lambda tx: tx.observations_of_node(self.node))
        return {WatchedAddress(each.key_server, each.host): each for each in found}

    async def announce_ends(self, watched: Mapping[WatchedAddress, Watched]) -> None:
        """Announce what is over because a node that reported it left, or is silent. Raises StoreError."""

        def work(tx: Rows) -> None:
            locked = {each.uuid: each.svm for each in tx.lock_free_key_managers(sorted(managers))}
            due = {place: each for place, each in bad.items() if each.key_manager.uuid in locked}
            addresses = {place: each.address for place, each in due.items()}
            seen = by_address(tx.observations(sorted({place.key_server for place in due})))
            announcing = Announcements(tx, self.node, locked, addresses)
            for place, each in due.items():
                announcing.end(each.key_manager.uuid, place, seen.get(place, {}), self.now())
            add_events(tx, announcing.store())

        announced = await self._store.read_few(lambda tx: tx.announced_states())
        places_ = [WatchedAddress(each.key_server, each.host) for each in announced]
        bad = {place: watched[place] for place in places_ if place in watched}
        managers = {each.key_manager.uuid for each in bad.values()}
        if bad:
            await self._store.write(work)

    async def announced_certificates(self) -> frozenset[Announced]:
        """Return the certificates that this node has announced, and as what."""
        names = (events.EXPIRING.name, events.EXPIRED.name)
        found = await self._store.read(lambda tx: tx.events_named(self.node, names))
        return frozenset(map(announced_certificate, found))

    async def announce_certificates(
        self, used: Iterable[UsedCertificate], known: frozenset[Announced]
    ) -> frozenset[Announced]:
        """Announce the certificates that are due. Return all that have been announced by then. Raises StoreError."""
        due = certificate_events(self.node, used, known, self._clock.now())
        if due:
            await self._store.write(lambda tx: add_events(tx, due))
        return known | set(map(announced_certificate, due))

    def _known(self, tx: ObservationRows, wanted: Iterable[Watched]) -> dict[WatchedAddress, Observation]:
        found = tx.observations(sorted({each.server.uuid for each in wanted}))
        return {WatchedAddress(each.key_server, each.host): each for each in found if each.node == self.node}


def _still_true(
    changes: Iterable[AddressCheck], key_managers: Mapping[str, KeyManager], servers: Iterable[KeyServer]
) -> list[AddressCheck]:
    """Return the changes that are about the present configuration."""
    now = {server.uuid: (key_managers[server.key_manager], server) for server in servers}
    return [change for change in changes if change.about in (None, now.get(change.place.key_server))]


def _configuration(tx: Rows) -> Configuration:
    marker = tx.change_marker()
    cluster = cluster_name(tx)
    watched: dict[WatchedAddress, Watched] = {}
    in_use: list[tuple[KeyManager, str]] = []
    for manager, servers in tx.watched():
        vserver = manager.svm.name if manager.svm else cluster
        in_use.append((manager, vserver))
        for server in servers:
            for place, address in places(server).items():
                watched[place] = Watched(place, address, server, manager, vserver)
    installed = installed_certificates(tx, *(manager for manager, _ in in_use))
    return Configuration(marker, watched, tuple(used_certificates(in_use, installed)))


def used_certificates(
    in_use: Sequence[tuple[KeyManager, str]], installed: Mapping[str, Certificate]
) -> list[UsedCertificate]:
    """Return the client certificates and server CAs in use, once for each use by a key manager.

    ``in_use`` are key managers, each with the name of its SVM or of the cluster. ``installed`` are certificates by
    uuid.
    """
    return [
        own_certificate(installed[uuid], manager.svm, vserver)
        for manager, vserver in in_use
        for uuid in (manager.client_certificate, *manager.server_ca_certificates)
        if uuid in installed
    ]

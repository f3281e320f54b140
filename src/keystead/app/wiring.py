"""Makes an open store, adapters, services and the ASGI app from settings. ``serve`` runs them until it is stopped.

Adapters are chosen here, and in keys.py. This module makes nothing on disk but a lock file: ``initialise`` does that.
"""

from __future__ import annotations

import resource
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from keystead.api.resources import PATHS
from keystead.app import core_dumps, listener, logs
from keystead.app.acceptor import Door
from keystead.app.clock import SystemClock
from keystead.app.conditions import NodeConditions
from keystead.app.connections import Connections, Limits, TrustedProxies
from keystead.app.incarnation import DataDirectory
from keystead.app.keys import Dependencies, key_work
from keystead.app.kmip_listener import KmipListener
from keystead.app.opening import CannotStart, node_uuid, opened, served_alone, this_process
from keystead.app.peers import check_address, contact
from keystead.app.signing import signer
from keystead.app.simulation import simulate
from keystead.app.tls import TlsContexts, UnusableFilesError
from keystead.app.tls_offered import offered
from keystead.core.attention.cluster import certificate_items
from keystead.core.audit_retention import Retention
from keystead.core.quorum import Quorum
from keystead.forwarding.sender import NetworkSender
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.gateway import Gateway
from keystead.keyservers.outlets import Outlets
from keystead.kmip_api.responder import Responder
from keystead.monitor.loop import Monitor
from keystead.monitor.metrics import Metrics, forwarding, in_work
from keystead.monitor.schedule import Intervals
from keystead.sealing import Argon2Hasher, Keyring, ThreadedKeyMaker, read_root_key
from keystead.service.accounts.accounts import Accounts
from keystead.service.accounts.certificate_logins import CertificateLogins
from keystead.service.accounts.login_messages import LoginMessagesOfOwners
from keystead.service.accounts.logins import Logins
from keystead.service.accounts.roles import Roles
from keystead.service.accounts.sessions import Sessions
from keystead.service.applications.callers import ApplicationCallers
from keystead.service.applications.objects import ApplicationObjects
from keystead.service.attention import Attention
from keystead.service.audit.chains import AuditChains
from keystead.service.audit.log import AuditLog
from keystead.service.audit.messages import AuditMessages
from keystead.service.cluster.audit_retention import Retainer
from keystead.service.cluster.events import Events
from keystead.service.cluster.health import Health
from keystead.service.cluster.incarnations import Incarnations
from keystead.service.cluster.info import ClusterInfo
from keystead.service.cluster.job_runner import JobRunner
from keystead.service.cluster.jobs import Jobs
from keystead.service.cluster.leases import Leases
from keystead.service.cluster.listener_certificate import ListenerCertificate
from keystead.service.cluster.membership import Membership
from keystead.service.cluster.node_removal import NodeRemoval
from keystead.service.cluster.svms import Svms
from keystead.service.configuration.certificate_uses import CertificateUses
from keystead.service.configuration.certificates import Certificates
from keystead.service.configuration.context import ConfigurationContext
from keystead.service.configuration.key_manager_configs import KeyManagerConfigs
from keystead.service.configuration.key_managers import KeyManagers
from keystead.service.configuration.key_server_details import KeyServerReports
from keystead.service.configuration.key_server_views import NodeTraffic
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.configuration.key_stores import KeyStores
from keystead.service.forwarding.delivery import LEASE_LENGTH, Delivery
from keystead.service.forwarding.destinations import Destinations
from keystead.service.forwarding.filters import EventFilters
from keystead.service.keys.listing import KeyLists
from keystead.service.keys.looking.visible import KeyVisibility
from keystead.service.keys.reporting.waiting import WaitingWork
from keystead.service.ports.process import ListenerFacts
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError
from keystead.service.probing.observations import Observations
from keystead.service.probing.prober import ServerProber
from keystead.service.probing.queue import ProbeQueue
from keystead.service.probing.watching import Watching
from keystead.service.services import Services
from keystead.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from socket import socket

    from keystead.app.keys import KeyServices
    from keystead.service.cluster.job_runner import StepWork
    from keystead.service.ports.sealing import Sealer
    from keystead.settings import Settings
    from keystead.store import SqlStore


OPEN_FILES = 65536


@dataclass(frozen=True)
class Running:
    """Everything that is open while the service runs."""

    services: Services
    store: SqlStore
    sealer: Sealer
    queue: ProbeQueue
    keys: KeyServices
    monitor: Monitor
    """Not started, like the keeper of keys, and what follows: ``serve`` starts them."""
    delivery: Delivery
    retainer: Retainer
    membership: Membership

    def stop(self) -> None:
        """End the parts that could hold a request for long. Each of them answers that the service stops."""
        self.monitor.stop()
        self.queue.close()
        self.keys.stop()
        self.services.jobs.stop()


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Running]:
    """Open everything, and close it in order. Raises CannotStart, SettingsError."""
    rules, node = egress_rules(settings), node_uuid(settings.data)
    store = opened(settings)
    store.on_events = logs.log_events
    hasher, key_maker, clock, metrics = Argon2Hasher(), ThreadedKeyMaker(), SystemClock(), Metrics()
    try:
        try:
            keyring = Keyring.open(read_root_key(settings.root_key_file), await store.read(lambda tx: tx.data_keys()))
            signing = await signer(store, keyring)
        except (SealError, StoreError) as error:
            raise CannotStart(str(error)) from None
        audit = AuditLog(store, keyring, clock, node)
        membership = Membership(store, clock, node, this_process(settings))
        queue = ProbeQueue(
            per_account=settings.probes_per_account,
            per_svm=settings.probes_per_svm,
            in_all=settings.probes_in_all,
            waiting=settings.probes_waiting,
        )
        gateway = Gateway(rules)
        observing = Observations(clock, node)
        prover = ServerProber(gateway, keyring, queue, observing)
        incarnations = Incarnations(store, DataDirectory(settings.data, store), audit, clock, node)
        store.admit, store.on_appended = membership.check, incarnations.acknowledged.note
        keys = key_work(
            Dependencies(store, prover, keyring, signing, audit, metrics, clock, node, incarnations), rules, settings
        )
        watching = Watching(store, gateway, prover, observing, clock, node, keys.keeper.kick)
        configuration = ConfigurationContext(
            store,
            prover,
            keyring,
            audit,
            keys.guard,
            keys.identity,
            keys.changed,
            NodeTraffic(gateway, keys.objects).now,
            Quorum(settings.quorum_required, timedelta(minutes=settings.quorum_eviction_minutes)),
        )
        conditions = NodeConditions(settings, node, rules, keys.reads, clock, store.database.reader.dialect.name)
        retention = Retention(settings.audit_keep_days, settings.audit_keep_records)
        logins = Logins(store, hasher, clock, audit, keys.offline)
        certificate_logins = CertificateLogins(store, clock, audit, keys.offline)
        key_servers = KeyServers(configuration)
        services = Services(
            accounts=Accounts(store, hasher, audit, clock, node, keys.peers.withdraw),
            application_callers=ApplicationCallers(store, certificate_logins, logins),
            application_objects=ApplicationObjects(store, keys.writer, keys.reader, keys.ending, audit, clock, node),
            attention=Attention(store, clock, gateway.refuses, retention),
            audit=audit,
            audit_chains=AuditChains(store, keyring, audit, clock, node),
            audit_messages=AuditMessages(store, audit),
            certificate_logins=certificate_logins,
            certificate_uses=CertificateUses(store),
            certificates=Certificates(
                *(store, keyring, audit, clock, key_maker, queue, gateway), withdraw=keys.peers.withdraw
            ),
            cluster=ClusterInfo(store, audit, clock, node),
            destinations=Destinations(store, audit, gateway.refuses),
            event_filters=EventFilters(store, audit),
            events=Events(store),
            health=Health(
                *(store, metrics, conditions.facts, clock, keys.offline), metrics_public=settings.metrics_public
            ),
            incarnations=incarnations,
            jobs=_jobs(store, audit, clock, node, keys.prover.works | key_servers.removals.works),
            key_lists=KeyLists(store),
            key_manager_configs=KeyManagerConfigs(store, audit, clock, node),
            key_managers=KeyManagers(configuration),
            detached_key_servers=keys.detached,
            key_server_reports=KeyServerReports(configuration, clock),
            key_servers=key_servers,
            key_stores=KeyStores(store, prover, audit),
            key_retirement=keys.ending,
            verification_jobs=keys.prover,
            key_reader=keys.reader,
            key_reports=keys.reports,
            key_replicator=keys.replicator,
            key_restorer=keys.restorer,
            key_survival=keys.survival,
            key_writer=keys.writer,
            keys=keys.keys,
            listener_tls=offered(),
            logins=logins,
            login_messages=LoginMessagesOfOwners(store, audit),
            node_removal=NodeRemoval(store, audit, keyring, clock, node),
            roles=Roles(store, audit, tuple(PATHS)),
            server_confirmation=keys.confirmation,
            sessions=Sessions(store, logins, certificate_logins, audit, clock, keys.offline),
            svms=Svms(store, audit),
            unclaimed_objects=keys.unclaimed,
            orphan_dismissals=keys.dismissals,
            peers=keys.peers,
            waiting_work=WaitingWork(store, clock),
        )
        try:
            await membership.require()
            await _begin(incarnations, store, settings, node)
        except StoreError as error:
            raise CannotStart(str(error)) from None
        await services.jobs.start()
        keys.start()
        delivery = _delivery(store, rules, keyring, clock, metrics, node, settings)
        retainer = Retainer(store, Leases(store, clock, node, rests=True), keyring.mac, clock, retention)
        monitor = _monitor(watching, KeyVisibility(store, keyring, clock), keys, membership, metrics, settings)
        metrics.add_source(lambda: in_work(queue, services.jobs))
        conditions.show(services.attention, metrics)
        try:
            yield Running(services, store, keyring, queue, keys, monitor, delivery, retainer, membership)
        finally:
            for each in (monitor, delivery, retainer, services.jobs, keys, audit, incarnations, membership):
                await each.close()
    finally:
        hasher.close()
        key_maker.close()
        await store.close()


def _jobs(store: SqlStore, audit: AuditLog, clock: SystemClock, node: str, works: Mapping[str, StepWork]) -> Jobs:
    """Return the jobs of this node, with the works of resumable ones."""
    runner = JobRunner(store, audit, clock, node, Leases(store, clock, node), works)
    return Jobs(store, audit, clock, node, runner)


def _monitor(
    watching: Watching,
    visibility: KeyVisibility,
    keys: KeyServices,
    membership: Membership,
    metrics: Metrics,
    settings: Settings,
) -> Monitor:
    """Return the monitor, which probes a server as soon as it was learned."""
    monitor = Monitor(watching, visibility.sees_keys, membership, metrics, _intervals(settings))
    keys.learner.on_learned = monitor.probe_soon
    return monitor


def _delivery(
    store: SqlStore,
    rules: EgressRules,
    sealer: Sealer,
    clock: SystemClock,
    metrics: Metrics,
    node: str,
    settings: Settings,
) -> Delivery:
    """Return the delivery to destinations, and have the metrics show what waits for it."""
    leases = Leases(store, clock, node, LEASE_LENGTH, rests=True)
    console = settings.console_origin if settings.console else ""
    delivery = Delivery(store, leases, NetworkSender(Outlets(rules).open), sealer, clock, metrics, node, console)
    metrics.add_source(lambda: forwarding(delivery.waiting()))
    return delivery


def _intervals(settings: Settings) -> Intervals:
    return Intervals(settings.monitor_interval, settings.monitor_probe_interval)


async def _begin(incarnations: Incarnations, store: SqlStore, settings: Settings, node: str) -> None:
    """Store what begins with this process: perhaps an incarnation, and what the node counts as."""
    await incarnations.start()
    await simulate(store, settings, node)


def egress_rules(settings: Settings) -> EgressRules:
    """Read the egress settings. Raises SettingsError."""
    try:
        return EgressRules.parse(settings.egress_allow, settings.egress_only)
    except ValueError as error:
        raise SettingsError(f"settings 'egress_allow', 'egress_only': {error}") from None


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises CannotStart, SettingsError."""
    import uvloop

    address = listener.parse_listen(settings.listen)  # first, so that a bad setting is refused at once
    kmip_address = listener.parse_listen(settings.kmip_listen, "kmip_listen") if settings.kmip_listen else None
    check_address(settings)
    proxies = TrustedProxies.parse(settings.trusted_proxies)
    logs.configure(settings)
    core_dumps.forbid()
    allow_open_files()
    with served_alone(settings.data):
        uvloop.run(_serve(settings, address, kmip_address, proxies))


def allow_open_files() -> None:
    """Raise the limit of open files as far as allowed and needed: each watched key server keeps one open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = OPEN_FILES if most == resource.RLIM_INFINITY else min(most, OPEN_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, most))


def bound(text: str, address: tuple[str, int]) -> socket:
    """Return a listening socket. ``text`` is the setting. Raises CannotStart."""
    try:
        return listener.bind(address)
    except OSError as error:
        raise CannotStart(f"cannot listen on {text}: {error.strerror}") from None


async def _serve(
    settings: Settings, address: tuple[str, int], kmip_address: tuple[str, int] | None, proxies: TrustedProxies
) -> None:
    from keystead.api.app import create_app
    from keystead.web.app import with_console

    node = node_uuid(settings.data)
    async with running(settings) as open_:
        try:
            contexts = TlsContexts(settings.data, open_.services.certificate_logins.authorities)
            own = ListenerCertificate(open_.store, SystemClock(), node)
            await own.start()
            await open_.membership.start()
        except (UnusableFilesError, StoreError) as error:
            raise CannotStart(str(error)) from None
        limits = Limits.of(settings, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        connections = Connections(limits, open_.services.health.telemetry.refused)
        console = partial(
            with_console,
            services=open_.services,
            origin=settings.console_origin,
            is_self_made=lambda: listener.is_self_made(contexts.certificate),
        )
        app = create_app(open_.services, connections.logged_in, *((console,) if settings.console else ()))
        door = Door(contexts, connections, proxies)
        server = listener.server(app, door, open_.stop, own.announce_unusable)
        listening = bound(settings.listen, address)
        kmip = KmipListener(
            door, Responder(open_.services.application_callers, open_.services.application_objects, SystemClock())
        )
        kmip_socket = bound(settings.kmip_listen, kmip_address) if kmip_address else None
        port, public_key = listening.getsockname()[1], open_.services.peers.public_key
        open_.keys.offline.contact = lambda: contact(settings, port, contexts.certificate, public_key)
        try:
            await open_.keys.offline.compare()
        except StoreError as error:
            raise CannotStart(str(error)) from None
        open_.monitor.start(lambda: (own.used(contexts.certificate),))
        open_.services.attention.add_source(
            lambda: certificate_items([own.used(contexts.certificate)], SystemClock().now())
        )
        open_.services.health.listener = lambda: ListenerFacts(
            settings.listen, own.used(contexts.certificate), connections.in_all, connections.most
        )
        open_.membership.on_lost = server.stop_soon
        open_.keys.keeper.start()
        open_.delivery.start()
        open_.retainer.start()
        if kmip_socket is not None:
            kmip.start(kmip_socket)
        await server.serve([listening])
        await kmip.close()
        if open_.membership.lost:
            raise CannotStart(open_.membership.lost)

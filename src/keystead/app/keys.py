"""The parts that work with keys on key servers, put together: opened with the service, and closed in order.

Part of the composition root: like wiring.py it chooses adapters. It makes nothing on disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from keystead.app.peers import other_nodes
from keystead.core.withdrawals import Thing
from keystead.keyservers.objects import Objects
from keystead.monitor.keeper import KEYS_PER_S, Keeper
from keystead.monitor.key_counts import KeyCounts
from keystead.monitor.schedule import Pace
from keystead.service.audit.reads import ReadAudit
from keystead.service.audit.spool import ReadSpool
from keystead.service.cluster.leases import Leases
from keystead.service.cluster.trusted_clock import TrustedClock
from keystead.service.configuration.detached_servers import DetachedKeyServers
from keystead.service.keys.catalogue import Keys
from keystead.service.keys.context import KeeperContext
from keystead.service.keys.destroying.epoch_markers import EpochMarkers
from keystead.service.keys.destroying.purge import KeyPurge
from keystead.service.keys.destroying.retire import KeyRetirement
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.keeping.replicate_now import KeyReplicator
from keystead.service.keys.keeping.rounds import KeyRounds, RoundParts
from keystead.service.keys.keeping.settle import AttemptSettlement
from keystead.service.keys.keeping.sweep import CopySweep
from keystead.service.keys.learning.confirm import ServerConfirmation
from keystead.service.keys.learning.learn import ServerLearner
from keystead.service.keys.orphans.adopt import Orphans
from keystead.service.keys.orphans.dismiss import OrphanDismissals
from keystead.service.keys.orphans.scan import OrphanScan
from keystead.service.keys.reading.cache import KeyCache
from keystead.service.keys.reading.eviction import CacheEviction
from keystead.service.keys.reading.fetch import Fetcher
from keystead.service.keys.reading.restore import KeyRestorer
from keystead.service.keys.reading.retrieve import KeyReader
from keystead.service.keys.reporting.jobs import VerificationJobs
from keystead.service.keys.reporting.reports import KeyReports
from keystead.service.keys.reporting.survival import KeySurvival
from keystead.service.keys.topology import Endpoints
from keystead.service.keys.writing.create import KeyWriter
from keystead.service.keys.writing.descriptors import Describer
from keystead.service.offline import OfflineReads

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.keyservers.egress import EgressRules
    from keystead.monitor.metrics import Metrics
    from keystead.service.audit.log import AuditLog
    from keystead.service.cluster.incarnations import Incarnations
    from keystead.service.cluster.peers import Peers
    from keystead.service.ports.process import Clock
    from keystead.service.ports.sealing import Sealer, Signer
    from keystead.service.ports.store import Store, Transaction
    from keystead.service.probing.prober import ServerProber
    from keystead.settings import Settings

SPOOL_FILE = "reads.spool"


@dataclass(frozen=True)
class Dependencies:
    """What the work with keys needs from the rest of the service."""

    store: Store[Transaction]
    prover: ServerProber
    sealer: Sealer
    signer: Signer
    audit: AuditLog
    metrics: Metrics
    clock: Clock
    node: str
    incarnations: Incarnations


@dataclass(frozen=True)
class KeyServices:
    """Everything that reads, writes or keeps keys. ``keeper`` is not started: ``serve`` does that."""

    objects: Objects
    guard: RemovalGuard
    detached: DetachedKeyServers
    identity: RelocationGuard
    learner: ServerLearner
    confirmation: ServerConfirmation
    keys: Keys
    writer: KeyWriter
    ending: KeyRetirement
    replicator: KeyReplicator
    reads: ReadAudit
    reader: KeyReader
    offline: OfflineReads
    peers: Peers
    restorer: KeyRestorer
    unclaimed: Orphans
    dismissals: OrphanDismissals
    survival: KeySurvival
    counts: KeyCounts
    reports: KeyReports
    prover: VerificationJobs
    keeper: Keeper

    def start(self) -> None:
        """Start the parts that answer calls."""
        self.reads.start()
        self.counts.start()
        self.offline.start()

    def changed(self, key_manager: str) -> None:
        """Learn a key manager's servers and fill missing copies soon, because its configuration has changed."""
        self.learner.retry(key_manager)
        self.keeper.kick(key_manager)

    def stop(self) -> None:
        """End the parts that wait for key servers. They end in their own way, within seconds."""
        self.keeper.stop()
        self.writer.stop()
        self.reader.stop()

    async def close(self) -> None:
        """Wait for work under way, then close the connections to key servers."""
        await self.counts.close()
        await self.keeper.close()
        await self.writer.close()
        await self.peers.close()
        await self.offline.close()
        await self.reader.close()
        await self.reads.close()
        await self.learner.close()
        await self.objects.close()


def key_work(world: Dependencies, rules: EgressRules, settings: Settings) -> KeyServices:
    """Put all parts together. Nothing runs yet."""
    store, audit, clock, node = world.store, world.audit, world.clock, world.node
    objects = Objects(rules)
    endpoints = Endpoints(world.prover, world.sealer)
    learner = ServerLearner(store, objects, endpoints, world.sealer, clock)
    context = KeeperContext(store, objects, endpoints, clock, node, Pace(KEYS_PER_S).turn, audit)

    def look_soon(key: Key) -> None:
        keeper.kick(key.key_manager)

    describe = Describer(endpoints)
    writer = KeyWriter(context, learner, audit, describe=describe, on_aborted=look_soon)
    keeping = CopySweep(context, writer)
    incarnations = world.incarnations
    markers = EpochMarkers(context, incarnations.cloned)
    destroying = KeyPurge(context, TrustedClock(store, clock, node), incarnations.cloned, incarnations.check)
    parts = RoundParts(AttemptSettlement(context, describe), keeping, markers, destroying, OrphanScan(context), learner)
    cache = KeyCache(settings.cached_keys)
    fetcher = Fetcher(store, objects, endpoints, clock, node)
    spool = ReadSpool(settings.data / SPOOL_FILE, world.sealer.mac)
    offline = OfflineReads(store, clock, node, settings.offline_reads_s)
    peers = other_nodes(store, offline, clock, world.metrics, node)
    offline.add(CacheEviction(store, cache).compare)
    offline.on_withdrawn(Thing.KEY, cache.drop)
    reads = ReadAudit(store, audit, spool, clock, node, offline)
    reader = KeyReader(store, fetcher, cache, reads)
    reports = KeyReports(store, world.signer, clock, node)
    rounds = KeyRounds(context, Leases(store, clock, node), parts, look=incarnations.look)
    keeper = Keeper(rounds, world.metrics)
    survival = KeySurvival(store, clock)
    guard = RemovalGuard(store, objects, endpoints, clock)
    prover = VerificationJobs(store, lambda: Objects(rules), endpoints, reports, audit, clock, node)
    return KeyServices(
        objects=objects,
        guard=guard,
        detached=DetachedKeyServers(context, guard, audit),
        identity=RelocationGuard(store, objects, endpoints, clock),
        learner=learner,
        confirmation=ServerConfirmation(context, learner, audit),
        keys=Keys(store, reader.held, node),
        writer=writer,
        ending=KeyRetirement(
            store,
            audit,
            clock,
            withdraw=peers.withdraw,
            on_retired=reader.forget,
            on_due=look_soon,
            on_recovered=look_soon,
        ),
        replicator=KeyReplicator(context, learner, keeping),
        reads=reads,
        reader=reader,
        offline=offline,
        peers=peers,
        restorer=KeyRestorer(store, objects, fetcher, cache, audit, node),
        unclaimed=Orphans(context, audit),
        dismissals=OrphanDismissals(context, audit),
        survival=survival,
        counts=KeyCounts(survival, keeper.holds, world.metrics),
        reports=reports,
        prover=prover,
        keeper=keeper,
    )

"""The monitor of a node. It has a watcher for each configured address, and follows changes of the configuration.

The configuration is read again when the store's change marker has moved. The marker is checked after each change by
this node, and once a second for changes by other nodes. The monitor decides nothing about states.
"""

from __future__ import annotations

import asyncio
import resource
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import structlog

from keystead.core.availability import PRIMARY, has_proved_certificates, peer_certificates
from keystead.core.model import State
from keystead.monitor import families
from keystead.monitor.recorder import Recorder
from keystead.monitor.schedule import PROBE_S, Heartbeat, Intervals, Pace
from keystead.monitor.watcher import WatchContext, Watcher, kinds_of
from keystead.service.cluster.membership import AGAIN_S, BEAT_S
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Iterable

    from keystead.core.availability import AddressCheck, Announced, UsedCertificate, WatchedAddress
    from keystead.core.model import Observation
    from keystead.monitor.metrics import Metrics, Samples
    from keystead.monitor.watcher import SeesKeys
    from keystead.service.cluster.membership import Membership
    from keystead.service.probing.watching import Watched, Watching

log = structlog.get_logger(__name__)

REREAD_S: Final = 1.0
REST_FACTOR: Final = 3.0
"""The pause after a read of the configuration, as a multiple of its time. Calls may change it all the time."""

SOON_S: Final = 0.05
"""Seconds from a change to the read of the configuration, so that the call that changed it is answered first."""

ROUND_S: Final = 0.1
"""Seconds between two checks whether the first round of looks has ended."""

CERTIFICATES_S: Final = 60.0
"""Seconds between two checks of the expiry of certificates."""

PROBES_PER_S: Final = 200.0
CLOSING_S: Final = 1.0
"""Seconds that a stop waits for work under way, and then again for the last changes to be stored."""


class Monitor:
    """The watching of this node's key servers from :meth:`start` to :meth:`close`. Belongs to one event loop."""

    def __init__(
        self,
        watching: Watching,
        sees_keys: SeesKeys,
        membership: Membership,
        metrics: Metrics,
        intervals: Intervals = Intervals(),  # noqa: B008 - frozen
    ) -> None:
        self._watching = watching
        self._membership = membership
        self._recorder = Recorder(watching)
        self._heartbeat = Heartbeat()
        self._watchers: dict[WatchedAddress, tuple[Watcher, asyncio.Task[None]]] = {}
        self._certificates: tuple[UsedCertificate, ...] = ()
        self._of_listener: Callable[[], Iterable[UsedCertificate]] = tuple
        self._announced: frozenset[Announced] | None = None
        self._marker: Hashable = None
        self._count = 0
        self._loops: list[asyncio.Task[None]] = []
        self._context = WatchContext(
            node=watching.node,
            intervals=intervals,
            pace=Pace(PROBES_PER_S),
            lost=Pace(PROBES_PER_S),
            heartbeat=self._heartbeat,
            metrics=metrics,
            now=watching.now,
            changed=self._changed,
            sees_keys=sees_keys,
        )
        metrics.add_source(self._samples)

    def start(self, of_listener: Callable[[], Iterable[UsedCertificate]] = tuple) -> None:
        """Begin to watch. ``of_listener`` returns the certificates of this node's own listener."""
        self._of_listener = of_listener
        loops = (
            self._heartbeat.run,
            self._follow,
            self._recorder.run,
            self._compare,
            self._hear,
            self._announce_certificates,
        )
        self._loops = [asyncio.create_task(_for_ever(loop)) for loop in loops]

    def stop(self) -> None:
        """Cancel all looks. :meth:`close` waits for their end."""
        for task in self._tasks():
            task.cancel()

    async def close(self) -> None:
        """End all looks, close their connections, and store their last results."""
        self.stop()
        tasks = self._tasks()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSING_S)
        self._watchers.clear()
        try:
            async with asyncio.timeout(CLOSING_S):
                await self._recorder.flush()
        except TimeoutError:
            log.warning("the last observations are not stored")

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [*self._loops, *(task for _, task in self._watchers.values())]

    @property
    def connected(self) -> int:
        """The number of addresses that have a kept connection."""
        return sum(watcher.connected for watcher, _ in self._watchers.values())

    @property
    def _has_looked(self) -> bool:
        """True if this process has looked at each address, and stored what it saw."""
        looked = self._marker is not None and all(watcher.has_looked for watcher, _ in self._watchers.values())
        return looked and self._recorder.is_idle

    def probe_soon(self, key_server: str) -> None:
        """Probe a server (uuid) in its next look, because its canary was just written."""
        for place, (watcher, _) in self._watchers.items():
            if place.key_server == key_server:
                watcher.probe_soon()

    # --- following the configuration ---

    async def _follow(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                marker = await self._watching.marker()
                if marker != self._marker:
                    await self._reread()
            except StoreError as failure:
                log.warning("the monitor cannot read its configuration", why=str(failure))
                await asyncio.sleep(REREAD_S)
            await asyncio.sleep(min(REREAD_S, REST_FACTOR * (clock() - began)))
            await self._watching.changed(REREAD_S)
            await asyncio.sleep(SOON_S)

    async def _reread(self) -> None:
        """Start watchers for new and changed addresses, and end the watchers of addresses that are gone."""
        configuration = await self._watching.configuration()
        wanted = configuration.watched
        fresh = [each for place, each in wanted.items() if not self._watches(place, each)]
        opened = await self._watching.open(fresh, PROBE_S)
        changed = {each.place for each in fresh}
        await self._end([place for place in self._watchers if place not in wanted or place in changed])
        for each in fresh:
            if each.place in opened:
                watcher = Watcher(each, opened[each.place], self._count, self._context)
                self._count += 1
                self._watchers[each.place] = watcher, asyncio.create_task(watcher.run())
        self._certificates = configuration.certificates
        self._check_descriptors()
        self._marker = configuration.marker

    def _watches(self, place: WatchedAddress, wanted: Watched) -> bool:
        return place in self._watchers and self._watchers[place][0].watched == wanted

    def _check_descriptors(self) -> None:
        """Warn if file descriptors are scarce.

        Each address keeps one open, and without any left, servers look unreachable.
        """
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if len(self._watchers) > limit // 2:
            log.warning("too few open files are allowed (ulimit -n)", limit=limit, watched=len(self._watchers))

    async def _end(self, places: Iterable[WatchedAddress]) -> None:
        tasks = [self._watchers.pop(place)[1] for place in places]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _hear(self) -> None:
        """Store periodically that this node watches, because its observations count only while it is heard.

        It begins after a first look at each address: what was stored before this process started may be over.
        """
        while not self._has_looked:  # noqa: ASYNC110 - each watcher says it for itself
            await asyncio.sleep(ROUND_S)
        while True:
            rest_s = BEAT_S
            try:
                await self._membership.beat()
            except StoreError as failure:
                log.warning("the heartbeat of this node is not stored", why=str(failure))
                rest_s = AGAIN_S
            await asyncio.sleep(rest_s)

    async def _compare(self) -> None:
        """Compare the stored observations with those of the watchers, periodically.

        They may differ, because a call that probes a server only stores the result. Such a watcher reports its next
        look again.
        """
        while True:
            await asyncio.sleep(self._context.intervals.probe_s)
            try:
                stored = await self._watching.observations()
            except StoreError as failure:
                log.warning("observations are not compared yet", why=str(failure))
                continue
            for place, (watcher, _) in self._watchers.items():
                if watcher.known is not None and not _agree(stored.get(place), watcher.known):
                    watcher.tell_again()
            await self._announce_ends()

    async def _announce_ends(self) -> None:
        try:
            await self._watching.announce_ends(
                {place: watcher.watched for place, (watcher, _) in self._watchers.items()}
            )
        except StoreError as failure:
            log.warning("what is over is not announced yet", why=str(failure))

    def _changed(self, change: AddressCheck, before: Observation | None, after: Observation) -> None:
        self._recorder.put(change)
        if after == before:
            return
        log.info(
            "key server changed",
            key_server=after.key_server,
            secondary=after.host,
            state=after.state.value,
            stage=after.stage,
            reason=after.reason,
            keys_visible=after.keys_visible,
        )

    # --- certificates ---

    async def _announce_certificates(self) -> None:
        while True:
            await asyncio.sleep(min(CERTIFICATES_S, self._context.intervals.probe_s))
            try:
                if self._announced is None:
                    self._announced = await self._watching.announced_certificates()
                used = [*self._certificates, *self._of_listener(), *self._peer_certificates()]
                self._announced = await self._watching.announce_certificates(used, self._announced)
            except StoreError as failure:
                log.warning("certificates are not announced yet", why=str(failure))

    def _peer_certificates(self) -> list[UsedCertificate]:
        """Return what key servers showed last. What no CA of the key manager proved is the cluster's, not the SVM's."""
        return [
            certificate
            for watcher, _ in self._watchers.values()
            if watcher.known is not None
            for certificate in peer_certificates(
                watcher.known,
                watcher.watched.key_manager.svm if has_proved_certificates(watcher.known) else None,
                watcher.watched.vserver,
                str(watcher.watched.address),
            )
        ]

    # --- what is true now, for the metrics ---

    def _samples(self) -> Iterable[Samples]:
        states, ends, visible = [], [], []
        for watcher, _ in self._watchers.values():
            watched, known = watcher.watched, watcher.known
            if known is None:
                continue
            role = "primary" if watched.place.host == PRIMARY else "secondary"
            labels = (
                watched.vserver,
                watched.key_manager.uuid,
                str(watched.server.address),
                str(watched.address),
                role,
            )
            if known.state is not State.UNKNOWN:
                states.append((labels, float(known.state is State.AVAILABLE)))
            if known.keys_visible is not None:
                visible.append((labels, float(known.keys_visible)))
            if known.certificates:
                ends.append((labels, min(each.not_after for each in known.certificates).timestamp()))
        ours = {
            (each.vserver, each.type, each.common_name, each.serial_number): each.not_after.timestamp()
            for each in (*self._certificates, *self._of_listener())
        }
        yield (families.AVAILABLE, states)
        yield (families.KEYS_VISIBLE, visible)
        yield (families.SERVER_CERTIFICATE_EXPIRY, ends)
        yield (families.CERTIFICATE_EXPIRY, tuple(ours.items()))
        yield (families.WATCHED, [((), len(self._watchers))])


def _agree(stored: Observation | None, known: Observation) -> bool:
    """Return True if two observations say the same.

    ``since`` may differ, because a change may have been stored before.
    """
    return stored is not None and replace(stored, since=known.since) == known


async def _for_ever(loop: Callable[[], Awaitable[None]]) -> None:
    """Run a loop, and start it again after an unexpected failure, because watching needs all of the loops."""
    while True:
        try:
            await loop()
        except Exception as error:  # noqa: BLE001 - its text may quote what a peer sent
            log.error("monitor loop failed", loop=loop.__qualname__, why=kinds_of(error))  # noqa: TRY400
        await asyncio.sleep(REREAD_S)

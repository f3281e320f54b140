"""The keeper of a node. It makes rounds over all key managers while this process holds the lease.

A round is made once in a period, and soon after a kick for the key managers that the kick names. Key managers are kept
one after the other. A key manager that takes long (slow servers, many keys) is kept concurrently with the others.
Sweeps over all copies, and scans of all objects on servers, are rare.

Attempts that timed out are aborted concurrently with the rounds, because they occupy names, and a round may be long.
The keeper decides nothing about keys.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from keystead.monitor import families
from keystead.service.cluster.leases import LeaseLost
from keystead.service.failures import retrieve_failure
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.core.keys.keeping import Tally
    from keystead.monitor.metrics import Metrics, Samples
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.keeping.rounds import EnabledKeyManager, KeyRounds

log = structlog.get_logger(__name__)

REST_FACTOR: Final = 9.0
"""The rest after a round, as a multiple of its time, so that calls get most of the CPU and the database."""

MOST_REST_S: Final = 600.0
"""The longest rest, in seconds. A long round mostly waits for key servers, and copies may be missing."""

KEYS_PER_S: Final = 200.0
"""Most keys, or batches of keys, per second that keeping asks key servers about."""

SOON_S: Final = 0.25
"""Seconds from a kick to its round. So the call that kicked is answered first, and many kicks make one round."""

SLOW_AT_ONCE: Final = 8
"""Most slow key managers that are kept at a time. The round does not wait for them."""

CLOSING_S: Final = 1.0
"""Seconds that a stop waits for work under way."""

CANCEL_AGAIN_S: Final = 5.0
"""Seconds until cancelled work is cancelled again, because a cancellation may be lost."""


@dataclass(frozen=True, slots=True)
class Periods:
    """Seconds between two rounds, two sweeps of a server, two scans of its objects, and two tries to get the lease.

    ``abort_s`` is the time between two searches for attempts that timed out. ``share_s`` is how long the others wait
    for the round of one key manager. ``rest_factor`` is the rest after a round, as a multiple of its time.
    """

    round_s: float = 30.0
    abort_s: float = 30.0
    sweep_s: float = 3600.0
    scan_s: float = 86_400.0
    take_s: float = 4.0
    share_s: float = 10.0
    rest_factor: float = REST_FACTOR


class Keeper:
    """The keeping of keys from :meth:`start` to :meth:`close`. Belongs to one event loop.

    ``slow_at_once`` is the most slow key managers that are kept at a time.
    """

    def __init__(
        self, rounds: KeyRounds, metrics: Metrics, periods: Periods = Periods(), *, slow_at_once: int = SLOW_AT_ONCE
    ) -> None:
        self._rounds = rounds
        self._periods = periods
        self._slow_at_once = slow_at_once
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._kicked: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}  # rounds, by key manager
        self._due: dict[tuple[str, str], float] = {}  # loop time from which (what, uuid) is due
        self._announced: dict[str, tuple[bool, bool]] = {}
        self._holds = False
        self._stopped = False
        metrics.add_source(self._samples)

    def start(self) -> None:
        """Begin to keep keys, as soon as this process gets the lease."""
        self._task = asyncio.create_task(self._for_ever())

    def stop(self) -> None:
        """Cancel work under way. :meth:`close` waits for its end."""
        self._stopped = True  # because a cancellation is lost during a commit
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """Cancel work under way, and give the lease back."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSING_S)

    def holds(self) -> bool:
        """Return True while this process keeps keys."""
        return self._holds

    def kick(self, key_manager: str) -> None:
        """Make a round of a key manager soon, because its keys or servers have changed."""
        self._kicked.add(key_manager)
        self._woken.set()

    # --- when ---

    async def _for_ever(self) -> None:
        while not self._stopped:
            try:
                await self._keep()
            except StoreError as failure:
                log.warning("the keeper waits for the database", why=str(failure))
            except Exception as error:  # noqa: BLE001 - its text may quote what a peer sent
                log.error("keeper loop failed", why=type(error).__name__)  # noqa: TRY400
            if not self._stopped:
                await self._wait(self._periods.take_s)

    async def _keep(self) -> None:
        """Make rounds while this process holds the lease."""
        async with self._rounds.holding() as holding:
            if holding is None:
                return
            self._holds = True
            aborting = asyncio.create_task(self._abort_expired(holding))
            try:
                while not self._stopped:
                    await self._round(holding)
            except LeaseLost:
                log.warning("another process keeps keys now")
            finally:
                self._holds = False
                await _end([aborting, *self._under_way.values()])
                self._under_way.clear()
                self._announced.clear()

    def _rest_s(self, took_s: float) -> float:
        return min(self._periods.rest_factor * took_s, MOST_REST_S)

    async def _abort_expired(self, holding: Holding) -> None:
        """Abort attempts that timed out, periodically.

        End silently if the lease is lost, because the rounds notice that too.
        """
        with suppress(LeaseLost):
            while self._holds:
                await self._rounds.abort_expired(holding)
                await asyncio.sleep(self._periods.abort_s)

    async def _round(self, holding: Holding) -> None:
        """Make a round of all key managers, then rounds of kicked ones until the next full round is due."""
        clock = asyncio.get_running_loop().time
        began = clock()
        holding.check_time()
        await self._round_of(holding, await self._rounds.enabled_key_managers(), began)
        until = clock() + max(self._periods.round_s, self._rest_s(clock() - began))
        while (left_s := until - clock()) > 0 and not self._stopped:
            await self._wait(left_s)
            kicked = self._take_kicked()
            if kicked:
                began = clock()
                wanted = [each for each in await self._rounds.enabled_key_managers() if each.key_manager.uuid in kicked]
                await self._round_of(holding, wanted, None)
                await asyncio.sleep(self._rest_s(clock() - began))

    async def _round_of(self, holding: Holding, key_managers: Sequence[EnabledKeyManager], now: float | None) -> None:
        """Keep key managers, one after the other. Those with long rounds come last, and nobody waits for them.

        Raises LeaseLost, StoreError, also if they ended a concurrent round.
        """
        for each in sorted(key_managers, key=lambda each: self._due.get(("round", each.key_manager.uuid), 0.0)):
            uuid = each.key_manager.uuid
            self._forget_ended()
            if self._may_begin(uuid, now):
                self._kicked.discard(uuid)
                patience_s = 0.0 if ("round", uuid) in self._due else self._periods.share_s
                task = self._under_way[uuid] = asyncio.create_task(self._keep_one(holding, each, now))
                task.add_done_callback(self._wake)
                await asyncio.wait([task], timeout=patience_s)
            elif now is None:
                self._kicked.add(uuid)
        self._forget_ended()
        if now is not None:
            self._forget_gone(key_managers)

    def _may_begin(self, uuid: str, now: float | None) -> bool:
        """Return True if a key manager may be kept now: not if it is under way, and not while a slow one rests.

        A slow one also needs a free place among the ``slow_at_once`` concurrent ones.
        """
        if uuid in self._under_way:
            return False
        what = "kick" if now is None else "round"
        rests = asyncio.get_running_loop().time() < self._due.get((what, uuid), 0.0)
        return ("round", uuid) not in self._due or (len(self._under_way) < self._slow_at_once and not rests)

    async def _keep_one(self, holding: Holding, manager: EnabledKeyManager, now: float | None) -> None:
        uuid, clock = manager.key_manager.uuid, asyncio.get_running_loop().time
        began = clock()
        sweep = [server.uuid for server in manager.servers if self._is_due("sweep", server.uuid, now)]
        scan = self._is_due("scan", uuid, now)
        tally = await self._rounds.keep(holding, uuid, sweep, scan=scan, changed=now is None)
        try:
            if tally is not None:
                await self._count(holding, manager, tally)
        except StoreError as failure:  # not raised, because the next round announces it
            log.warning("the state of keys is not announced yet", key_manager=uuid, why=str(failure))
        took_s = clock() - began
        for what in ("round", "kick") if now is None else ("round",):  # so that a kick after a long round works at once
            self._due.pop((what, uuid), None)
            if took_s > self._periods.share_s:
                self._due[what, uuid] = clock() + self._rest_s(took_s)

    def _wake(self, task: asyncio.Task[None]) -> None:
        """Wake the loop if kicks wait, or if a concurrent round failed.

        A kick may have come for a key manager that was under way, or that found no place. A failed round ends all
        rounds, because another process may hold the lease.
        """
        if self._kicked or (not task.cancelled() and task.exception() is not None):
            self._woken.set()

    def _forget_ended(self) -> None:
        """Forget concurrent rounds that have ended. Raises the exception of one that failed."""
        for uuid, task in [*self._under_way.items()]:
            if task.done():
                del self._under_way[uuid]
                task.result()

    def _is_due(self, what: str, uuid: str, now: float | None) -> bool:
        """Return True if a sweep or scan is due, and set its next time. In a kicked round (None) nothing is due."""
        if now is None or now < self._due.get((what, uuid), now):
            return False
        self._due[what, uuid] = now + (self._periods.sweep_s if what == "sweep" else self._periods.scan_s)
        return True

    def _take_kicked(self) -> set[str]:
        """Take and return the kicked key managers that may be kept now. The others wait."""
        self._forget_ended()
        kicked = {uuid for uuid in self._kicked if self._may_begin(uuid, None)}
        self._kicked -= kicked
        return kicked

    async def _wait(self, seconds: float) -> None:
        """Wait so many seconds, or until a kick."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SOON_S)
        self._woken.clear()

    # --- what is announced and shown ---

    async def _count(self, holding: Holding, manager: EnabledKeyManager, tally: Tally) -> None:
        """Announce the state of keys when it becomes bad, worse, better or good."""
        uuid = manager.key_manager.uuid
        at_risk = (tally.sole + tally.unproven > 0, tally.unproven > 0)
        if at_risk != self._announced.get(uuid, (False, False)):
            await self._rounds.announce(holding, manager.key_manager, tally)
        self._announced[uuid] = at_risk

    def _forget_gone(self, key_managers: Sequence[EnabledKeyManager]) -> None:
        uuids = {each.key_manager.uuid for each in key_managers}
        there = uuids | {server.uuid for each in key_managers for server in each.servers}
        self._due = {(what, uuid): due for (what, uuid), due in self._due.items() if uuid in there}
        for uuid in self._announced.keys() - uuids:
            del self._announced[uuid]

    def _samples(self) -> Iterable[Samples]:
        yield (families.KEEPER, [((), float(self._holds))])


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended, because a cancellation is lost during a commit.

    If the caller is cancelled meanwhile, it still waits for all tasks. They work under a lease that is given back next.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left, timeout=CANCEL_AGAIN_S)
    for task in tasks:
        retrieve_failure(task)

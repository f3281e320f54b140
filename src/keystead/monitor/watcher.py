"""The watcher of one address: a light check at each time of its grid, a probe if it is due or the check failed.

The looks of one address follow each other, so that a slow address delays only itself. A loss is reported after two
failed looks: the check and a probe, or two probes. So is another reason of a loss. A failure while this process was
held up does not count, three times in a row at most. After each probe that was accepted, the server is asked for its
canary and its newest copy on the same connection. The watcher stores nothing.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from keystead.core.availability import FAILED_LOOK, AddressCheck, CheckResult, observed
from keystead.core.model import State
from keystead.monitor.schedule import CHECK_S, PROBE_S, Grid
from keystead.service.ports.objects import KeyServerFault
from keystead.service.ports.sealing import SealError
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from keystead.core.model import KeyServer, Observation
    from keystead.monitor.metrics import Metrics
    from keystead.monitor.schedule import Heartbeat, Intervals, Pace
    from keystead.service.ports.objects import ObjectSession
    from keystead.service.ports.probing import Watch
    from keystead.service.probing.watching import Opened, Watched

    SeesKeys = Callable[[ObjectSession, KeyServer, str], Awaitable[bool | None]]

log = structlog.get_logger(__name__)

BEFORE_TLS = frozenset({"egress", "resolve", "connect"})

EXCUSES = 3
"""The maximum number of losses of an address in a row that are blamed on this process having been held up."""

KEYS_S = 3.0
"""Seconds that an address may take to show its canary and its newest copy."""

AFTER_EXPIRY_S = 0.1
"""Seconds from the expiry of a leaf certificate to the probe that sees it."""


@dataclass(frozen=True, slots=True)
class WatchContext:
    """What all watchers of a node share. ``lost`` paces the probes of addresses that are known not to respond.

    ``sees_keys`` asks an address for the canary and the newest copy there; see
    :class:`keystead.service.keys.looking.visible.KeyVisibility`.
    """

    node: str
    intervals: Intervals
    pace: Pace
    lost: Pace
    heartbeat: Heartbeat
    metrics: Metrics
    now: Callable[[], datetime]
    changed: Callable[[AddressCheck, Observation | None, Observation], None]
    sees_keys: SeesKeys


class Watcher:
    """The watcher of one address, until it is cancelled. ``known`` is the last observation, if there is one."""

    def __init__(self, watched: Watched, opened: Opened, number: int, context: WatchContext) -> None:
        self.watched = watched
        self.known: Observation | None = opened.known
        self._watch: Watch = opened.watch
        self._context = context
        self._checks = Grid(watched.key_manager.monitor_interval or context.intervals.check_s, number)
        self._probes = Grid(context.intervals.probe_s, number)
        self._probe_due = 0.0
        self._last_good: float | None = None
        self._excused = 0
        self._told = False
        self.has_looked = False
        """True after the first look that counts."""
        self._clock = asyncio.get_running_loop().time

    def tell_again(self) -> None:
        """Report what the next look shows, even if it is not new, because the store holds something else."""
        self._told = False

    def probe_soon(self) -> None:
        """Probe in the next look, even if it need be only a light check."""
        self._probe_due = 0.0

    @property
    def connected(self) -> bool:
        """True if the address answers on a kept connection."""
        return self._watch.connected

    async def run(self) -> None:
        """Look at the address at once, and then for ever at the times of its grid."""
        try:
            while True:
                await self._look_safely()
                self.has_looked = self.has_looked or not self._excused
                now = self._clock()
                await asyncio.sleep(self._checks.next(now) - now)
        finally:
            self._watch.close()

    async def _look_safely(self) -> None:
        """Look once. After an unexpected failure the state is unknown, and the next look takes place all the same."""
        try:
            await self._look()
        except Exception as error:  # noqa: BLE001 - its text may quote what a peer sent
            log.error("a look at a key server failed", address=str(self.watched.address), why=kinds_of(error))  # noqa: TRY400
            self._watch.close()
            self._tell(CheckResult(reason=FAILED_LOOK))

    async def _look(self) -> None:
        began = self._clock()
        connected = self._watch.connected
        alive = connected and await self._check()
        if alive and self._clock() < self._probe_due:
            self._last_good = self._clock()
            return
        look = await self._probe()
        if look.reason and self._needs_confirmation(look, is_second=connected and not alive):
            first, look = look, await self._probe()
            if self._is_lost and look.reason and look.reason != first.reason:
                return  # the reasons alternate: the known one stays
        if not look.reason:
            look = replace(look, keys_visible=await self._sees_keys())
        if look.reason and self._context.heartbeat.held_up_since(began) and self._excused < EXCUSES:
            self._excused += 1
            self._context.metrics.discarded()
        else:
            self._excused = 0
            self._tell(look)

    def _needs_confirmation(self, look: CheckResult, *, is_second: bool) -> bool:
        """Return True if a failed look is the first of two that it takes: for a loss, and for another reason of it."""
        if self._is_lost:
            return self.known is not None and look.reason != self.known.reason
        return not is_second

    async def _sees_keys(self) -> bool | None:
        """Return whether the address shows the canary and the newest copy there; None if that is not known.

        One strange answer is no loss: if the keys are newly not visible, ask again at once.
        """
        watched = self.watched
        seen = None
        try:
            async with asyncio.timeout(KEYS_S), self._watch.session(KEYS_S) as session:
                seen = await self._context.sees_keys(session, watched.server, watched.place.host)
                if seen is False and (self.known is None or self.known.keys_visible is not False):
                    seen = await self._context.sees_keys(session, watched.server, watched.place.host)
        except (KeyServerFault, StoreError, SealError, TimeoutError) as failure:
            log.info("the look for the canary got no answer", address=str(watched.address), why=str(failure))
        return seen

    @property
    def _is_lost(self) -> bool:
        return self.known is not None and self.known.state is State.NOT_RESPONDING

    async def _check(self) -> bool:
        began = self._clock()
        alive = await self._watch.check(CHECK_S)
        self._context.metrics.checked(self._clock() - began, alive=alive)
        return alive

    async def _probe(self) -> CheckResult:
        pace = self._context.lost if self._is_lost else self._context.pace
        await pace.turn()
        began = self._clock()
        result = await self._watch.probe(PROBE_S)
        now = self._clock()
        self._context.metrics.probed(now - began, result.reason or "")
        look = CheckResult.of(result)
        if look.stage in BEFORE_TLS:
            pace.cost_little()
        self._probe_due = self._next_probe(now, look)
        return look

    def _next_probe(self, now: float, look: CheckResult) -> float:
        """Return the next time of the probe grid, or the end of the leaf that was just seen, if that is sooner."""
        due = self._probes.next(now)
        if look.reason or not look.certificates:
            return due
        left_s = (look.certificates[0].not_after - self._context.now()).total_seconds()
        return min(due, now + left_s + AFTER_EXPIRY_S) if left_s > 0 else due

    def _tell(self, look: CheckResult) -> None:
        """Report a confirmed look if it shows something new.

        The first look is always reported, because older changes may still be on their way to the store.
        """
        watched, was_lost, now = self.watched, self._is_lost, self._clock()
        time = self._context.now()
        last_good = None if self._last_good is None else time - timedelta(seconds=now - self._last_good)
        about = (watched.key_manager, watched.server)
        change = AddressCheck(watched.key_manager.uuid, watched.place, look, time, about, last_good)
        after = observed(self._context.node, self.known, change)
        if not look.reason:
            self._last_good = now
        elif not was_lost and self._last_good is not None:
            self._context.metrics.detected(now - self._last_good)
        if after != self.known or not self._told:
            before, self.known, self._told = self.known, after, True
            self._context.changed(change, before, after)


def kinds_of(error: BaseException) -> str:
    """Return the names of an exception's type and of its members' types, without texts: a peer may have written them.

    Called for the log, when a look or a loop failed unexpectedly.
    """
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__} ({', '.join(map(kinds_of, error.exceptions))})"
    return type(error).__name__

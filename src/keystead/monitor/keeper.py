"""The keeper of a node: makes rounds over all key managers while this process holds the lease, and waits while not.

A round is made once in a period, and soon after a kick for the key managers that it names. They are kept one after the
other; one that takes long (its servers are slow, or its keys many) is kept beside the others. Sweeps over all copies,
and looks at everything that servers hold, are made seldom. Attempts whose time is over are aborted beside the rounds:
they take names, and a round may be long. It decides nothing about keys.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import structlog

from keystead.service.cluster.leases import LeaseLost
from keystead.service.ports.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.core.keys.keeping import Tally
    from keystead.monitor.metrics import Metrics, Samples
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.keeping.rounds import Kept, KeyRounds

log = structlog.get_logger(__name__)

BETWEEN: Final = 9.0
"""How long to rest after a round, of the time that it took: keeping keys leaves most of a CPU and database to calls."""

MOST_REST_S: Final = 600.0
"""How long to rest at most: long rounds wait for key servers most of their time, and copies may be lacking."""

KEYS_PER_S: Final = 200.0
"""Keys, or batches of them, that key servers are asked about by keeping, at most."""

SOON_S: Final = 0.25
"""How long after a kick a round begins: who kicked answers its caller first, and many kicks are one round."""

BESIDE: Final = 8
"""Key managers that are kept at a time of those that took long before: nobody waits for them."""

CLOSING_S: Final = 1.0
"""How long a stop waits for what is under way."""

AGAIN_S: Final = 5.0
"""How long after what is under way was cancelled it is cancelled again: it may not have heard."""


@dataclass(frozen=True, slots=True)
class Periods:
    """Seconds between two rounds, two sweeps of a server, two looks at all of its objects, and two tries to begin.

    ``abort_s`` is between two looks for attempts whose time is over, ``share_s`` how long the others wait for the round
    of one key manager.
    """

    round_s: float = 30.0
    abort_s: float = 30.0
    sweep_s: float = 3600.0
    scan_s: float = 86_400.0
    take_s: float = 15.0
    share_s: float = 10.0


class Keeper:
    """Keeps keys from :meth:`start` to :meth:`close`. Belongs to one event loop."""

    def __init__(self, rounds: KeyRounds, metrics: Metrics, periods: Periods = Periods()) -> None:
        self._rounds = rounds
        self._periods = periods
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()
        self._kicked: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}  # rounds, by key manager
        self._due: dict[tuple[str, str], float] = {}  # when to sweep a server; to scan, or keep again, a key manager's
        self._tallies: dict[str, tuple[Kept, Tally]] = {}
        self._announced: dict[str, tuple[bool, bool]] = {}
        self._holds = False
        self._stopped = False
        metrics.add_source(self._samples)

    def start(self) -> None:
        """Begin to keep, as soon as this process gets the lease."""
        self._task = asyncio.create_task(self._for_ever())

    def stop(self) -> None:
        """End what is under way; :meth:`close` waits for that."""
        self._stopped = True  # a transaction that is being committed does not hear that it is cancelled
        if self._task is not None:
            self._task.cancel()

    async def close(self) -> None:
        """End what is under way, and give the lease back."""
        self.stop()
        if self._task is not None:
            await asyncio.wait([self._task], timeout=CLOSING_S)

    def kick(self, key_manager: str) -> None:
        """Make a round of a key manager soon: something of its keys or servers has changed."""
        self._kicked.add(key_manager)
        self._woken.set()

    # --- when ---

    async def _for_ever(self) -> None:
        while not self._stopped:
            try:
                await self._keep()
            except StoreError as failure:
                log.warning("keys are not kept", why=str(failure))
            except Exception as error:  # noqa: BLE001 - its text may quote what a peer sent
                log.error("the keeper broke", why=type(error).__name__)  # noqa: TRY400
            if not self._stopped:
                await self._wait(self._periods.take_s)

    async def _keep(self) -> None:
        """Make rounds for as long as this process holds the lease."""
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
                self._tallies.clear()
                self._announced.clear()

    async def _abort_expired(self, holding: Holding) -> None:
        """Abort attempts, again and again; the rounds find out themselves that the lease is lost."""
        with suppress(LeaseLost):
            while self._holds:
                await self._rounds.abort_expired(holding)
                await asyncio.sleep(self._periods.abort_s)

    async def _round(self, holding: Holding) -> None:
        """Make a round of everything, then of what is kicked, until the next one is due."""
        clock = asyncio.get_running_loop().time
        began = clock()
        holding.check_time()
        await self._round_of(holding, await self._rounds.kept(), began)
        until = clock() + max(self._periods.round_s, _rest_s(clock() - began))
        while (left_s := until - clock()) > 0 and not self._stopped:
            await self._wait(left_s)
            kicked = self._take_kicked()
            if kicked:
                began = clock()
                wanted = [each for each in await self._rounds.kept() if each.key_manager.uuid in kicked]
                await self._round_of(holding, wanted, None)
                await asyncio.sleep(_rest_s(clock() - began))

    async def _round_of(self, holding: Holding, kept: Sequence[Kept], now: float | None) -> None:
        """Keep key managers, one after the other; those whose rounds take long come last, and nobody waits for them.

        Raises LeaseLost, StoreError: also when that ended a round which went on beside others.
        """
        for each in sorted(kept, key=lambda each: self._due.get(("round", each.key_manager.uuid), 0.0)):
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
            self._forget_gone(kept)

    def _may_begin(self, uuid: str, now: float | None) -> bool:
        """Whether a key manager may be kept now: not twice at a time; one that takes long rests as long rounds do."""
        if uuid in self._under_way:
            return False
        what = "kick" if now is None else "round"
        rests = asyncio.get_running_loop().time() < self._due.get((what, uuid), 0.0)
        return ("round", uuid) not in self._due or (len(self._under_way) < BESIDE and not rests)

    async def _keep_one(self, holding: Holding, kept: Kept, now: float | None) -> None:
        uuid, clock = kept.key_manager.uuid, asyncio.get_running_loop().time
        began = clock()
        sweep = [server.uuid for server in kept.servers if self._is_due("sweep", server.uuid, now)]
        scan = self._is_due("scan", uuid, now)
        tally = await self._rounds.keep(holding, uuid, sweep, scan=scan, changed=now is None)
        try:
            if tally is not None:
                await self._count(holding, kept, tally)
        except StoreError as failure:  # it holds up no other, and is announced by the next round
            log.warning("how keys stand is not announced yet", key_manager=uuid, why=str(failure))
        took_s = clock() - began
        for what in ("round", "kick") if now is None else ("round",):  # a kick after a long round is heeded at once
            self._due.pop((what, uuid), None)
            if took_s > self._periods.share_s:
                self._due[what, uuid] = clock() + _rest_s(took_s)

    def _wake(self, task: asyncio.Task[None]) -> None:
        """Look at the kicks again: one may have come for a key manager that was under way, or found no place.

        Or what ended the round ends them all: the lease is another's.
        """
        if self._kicked or (not task.cancelled() and task.exception() is not None):
            self._woken.set()

    def _forget_ended(self) -> None:
        """Forget rounds that have ended. Raises what ended one."""
        for uuid, task in [*self._under_way.items()]:
            if task.done():
                del self._under_way[uuid]
                task.result()

    def _is_due(self, what: str, uuid: str, now: float | None) -> bool:
        """Whether it is time for something, which is done then; never in a round that was kicked (None)."""
        if now is None or now < self._due.get((what, uuid), now):
            return False
        self._due[what, uuid] = now + (self._periods.sweep_s if what == "sweep" else self._periods.scan_s)
        return True

    def _take_kicked(self) -> set[str]:
        """The key managers that were kicked and may be kept now; the others wait."""
        self._forget_ended()
        kicked = {uuid for uuid in self._kicked if self._may_begin(uuid, None)}
        self._kicked -= kicked
        return kicked

    async def _wait(self, seconds: float) -> None:
        """Wait so long, or until a kick."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return
        await asyncio.sleep(SOON_S)
        self._woken.clear()

    # --- what is announced and shown ---

    async def _count(self, holding: Holding, kept: Kept, tally: Tally) -> None:
        """Show how keys stand, and announce it when that begins to be bad, gets worse, or is over."""
        uuid = kept.key_manager.uuid
        self._tallies[uuid] = kept, tally
        stands = (tally.sole + tally.unproven > 0, tally.unproven > 0)
        if stands != self._announced.get(uuid, (False, False)):
            await self._rounds.announce(holding, kept.key_manager, tally)
        self._announced[uuid] = stands

    def _forget_gone(self, kept: Sequence[Kept]) -> None:
        key_managers = {each.key_manager.uuid for each in kept}
        there = key_managers | {server.uuid for each in kept for server in each.servers}
        self._due = {(what, uuid): due for (what, uuid), due in self._due.items() if uuid in there}
        for uuid in self._tallies.keys() - key_managers:
            del self._tallies[uuid]
            self._announced.pop(uuid, None)

    def _samples(self) -> Iterable[Samples]:
        labels = ("svm", "key_manager")
        counted = [((kept.vserver, uuid), kept, tally) for uuid, (kept, tally) in self._tallies.items()]
        for name, help_, values in (
            (
                "keystead_keys",
                "Keys in use, and retired ones that can be recovered.",
                [tally.keys for _, _, tally in counted],
            ),
            ("keystead_keys_sole_copy", "Keys proven in one replication domain only.", [t.sole for _, _, t in counted]),
            ("keystead_keys_unproven", "Keys without a proven copy.", [tally.unproven for _, _, tally in counted]),
        ):
            series = [(of, float(value)) for (of, _, _), value in zip(counted, values, strict=True)]
            yield (name, f"{help_} Shown by the node that keeps them.", labels, series)
        yield (
            "keystead_key_copies",
            "Keys by what is known of their copies on a configured key server. Shown by the node that keeps them.",
            (*labels, "key_server", "presence"),
            [
                ((*of, address, presence.value), float(count))
                for of, kept, tally in counted
                for (server, presence), count in tally.copies.items()
                if (address := _address(kept, server))
            ],
        )
        yield ("keystead_keeper", "Whether this node keeps keys: 1 or 0.", (), [((), float(self._holds))])


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: a transaction that is being committed does not hear it.

    Who is cancelled meanwhile ends them all the same: what they do is done under a lease that is given back next.
    """
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.wait(left, timeout=AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # what ended one that is ended anyway is nobody's concern


def _rest_s(took_s: float) -> float:
    return min(BETWEEN * took_s, MOST_REST_S)


def _address(kept: Kept, key_server: str) -> str:
    """The address of a server; empty for one that was removed: copies there count for nothing."""
    return next((str(server.address) for server in kept.servers if server.uuid == key_server), "")

"""Random schedules of faults over a running system: what is done is drawn from a seed, in phases.

In each phase some servers begin to fail, one mishap comes over the system, and callers do what callers do, all at once.
Then some servers are well again. A seed draws the same schedule each time; how its calls interleave is the loop's.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from keystead.core.keys.names import ObjectKind, parse
from keystead.service.keys.attempts import EXPIRES
from tests.survival.servers import some_kind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.core.keys.model import Key
    from tests.peers.database_link import Link
    from tests.survival.servers import Place
    from tests.survival.systems import Process, System

NAMES: Final = 6
STEPS: Final = 24
"""A process is killed or held up at one of so many next steps."""
COMMITS: Final = 6
HELD_UP_S: Final = 0.25


@dataclass(frozen=True)
class Schedule:
    """What a seed draws from. ``slow``: also faults that cost time-outs. ``link`` is the way to the database."""

    seed: int
    phases: int = 2
    callers: int = 3
    calls: int = 2
    slow: bool = False
    min_copies: int = 0
    link: Link | None = None


class Running:
    """One schedule on a system that has begun."""

    def __init__(self, system: System, schedule: Schedule) -> None:
        self.system = system
        self.schedule = schedule
        self.random = Random(schedule.seed)  # noqa: S311 - repeated by its seed
        self.told: list[str] = []
        self._spoiled = False
        self._removed: set[str] = set()

    async def run(self) -> None:
        """All phases; the verdict is the caller's."""
        for _ in range(self.schedule.phases):
            await self._phase()

    async def _phase(self) -> None:
        await self._fail()
        mishap = self.random.choice(MISHAPS if self.schedule.link is None else (*MISHAPS, _cut_commit))
        self.told.append(mishap.__name__.strip("_"))
        after = await mishap(self)
        calls = [asyncio.create_task(self._caller()) for _ in range(self.schedule.callers)]
        await asyncio.wait(calls, timeout=HELD_UP_S if any(each.life.held_up for each in self.processes) else None)
        await after()
        await asyncio.gather(*calls)
        await self._replace_the_dead()
        for place in self.system.places:
            if self.random.random() < 0.6:
                await place.heal()
        if self.random.random() < 0.5:
            await self.system.keep(self._process())

    @property
    def processes(self) -> list[Process]:
        """Those that were not killed."""
        return [each for each in self.system.processes if not each.life.dead]

    def _process(self) -> Process:
        return self.random.choice(self.processes or self.system.processes)

    async def _fail(self) -> None:
        for place in self.random.sample(self.system.places, self.random.choice((0, 1, 1, 2, 3))):
            kind = some_kind(place, self.random, slow=self.schedule.slow)
            self.told.append(f"{place.address} {kind}")
            await place.fail(kind)

    async def _replace_the_dead(self) -> None:
        """Start a process in place of each that was killed."""
        for process in tuple(self.system.processes):
            if process.life.dead:
                await self.system.end(process)
                await self.system.start(process.seat)

    # --- callers ---

    async def _caller(self) -> None:
        for _ in range(self.schedule.calls):
            (call,) = self.random.choices(tuple(CALLS), tuple(CALLS.values()))
            await call(self)

    def _key(self) -> Key | None:
        known = list(self.system.known.values())
        return self.random.choice(known) if known else None

    async def _create(self) -> None:
        material = self.random.randbytes(64) if self.random.random() < 0.7 else None
        await self.system.create(self._process(), f"key {self.random.randrange(NAMES)}", material)

    async def _read(self) -> None:
        if key := self._key():
            await self.system.read(self._process(), key)

    async def _retire(self) -> None:
        if key := self._key():
            await self.system.retire(self._process(), key)

    async def _recover(self) -> None:
        if key := self._key():
            await self.system.recover(self._process(), key)


CALLS: Final[dict[Callable[[Running], Awaitable[None]], int]] = {
    Running._create: 5,
    Running._read: 4,
    Running._retire: 2,
    Running._recover: 1,
}
"""What a caller does, and how often."""


# --- mishaps: each begins, and returns what ends it when callers have been at work for a while ---


async def _nothing() -> None:
    """Nothing is left to be done."""


async def _quiet(_: Running) -> Callable[[], Awaitable[None]]:
    return _nothing


async def _killed(running: Running) -> Callable[[], Awaitable[None]]:
    """A process is killed at one of its next steps."""
    life = running._process().life
    life.at_step(running.random.randint(1, STEPS), life.kill)
    return _nothing


async def _held_up(running: Running) -> Callable[[], Awaitable[None]]:
    """A process is held up; others abort what it had begun, and clean up; then it goes on as if nothing had been."""
    process = running._process()
    process.life.at_step(running.random.randint(1, STEPS), process.life.pause)

    async def after() -> None:
        running.system.clock.advance(EXPIRES.total_seconds() + 1)
        other = await running.system.start(process.seat)
        await running.system.keep(other)
        process.life.resume()

    return after


async def _keeping(running: Running) -> Callable[[], Awaitable[None]]:
    """The keeper makes its round while callers are at work."""
    round_ = asyncio.create_task(running.system.keep(running._process()))

    async def after() -> None:
        await round_

    return after


async def _window(running: Running) -> Callable[[], Awaitable[None]]:
    """The windows of all retired keys pass: none of them can be recovered, and their ends begin."""
    await running.system.pass_window()
    await running._recover()
    await running.system.keep(running._process())
    return _nothing


async def _spoil(running: Running) -> Callable[[], Awaitable[None]]:
    """One server loses an object, or its bytes go bad; once in a schedule."""
    place = running.random.choice(running.system.places)
    held = [each for each in place.held() if (name := parse(each.names[0])) and name.kind is ObjectKind.KEY]
    if held and not running._spoiled:
        running._spoiled = True
        place.spoil(running.random.choice(held).identifier, rot=running.random.random() < 0.5)
    return _nothing


async def _server_goes(running: Running) -> Callable[[], Awaitable[None]]:
    """A server is removed while callers are at work, and comes back, or the other way round."""
    system, place = running.system, running.random.choice(running.system.places)
    process = running._process()
    change = asyncio.create_task(system.remove(process, place))

    async def after() -> None:
        await change
        if running.random.random() < 0.7:
            await system.add(process, place)

    return after


async def _cloned(running: Running) -> Callable[[], Awaitable[None]]:
    """Somebody starts a second system on a copy of the database, and it keeps keys on the same servers for a while.

    A key that it knows as retired is recovered here; what was being created is not finished there.
    """
    system, process, key = running.system, running._process(), running._key()
    if system.is_postgresql:
        return _nothing
    if key is not None:
        await system.retire(process, key)
    cloning = asyncio.create_task(system.clone())

    async def after() -> None:
        clone = await cloning
        if key is not None:
            await system.recover(process, key)
        await system.pass_window()
        await system.keep(clone)
        await clone.close()

    return after


async def _cut_commit(running: Running) -> Callable[[], Awaitable[None]]:
    """The way to the database breaks in a commit, before it or after it."""
    assert running.schedule.link is not None
    running.schedule.link.cut(running.random.randint(1, COMMITS), running.random.choice(("request", "answer")))
    return _nothing


MISHAPS: Final = (_quiet, _killed, _killed, _held_up, _keeping, _window, _spoil, _server_goes, _cloned)


async def judged(system: System, schedule: Schedule, places: list[Place], *, nodes: int = 1) -> str:
    """Run a schedule and return what is wrong, with all that happened; nothing when nothing is."""
    running = Running(system, schedule)
    try:
        await system.begin(places, nodes=nodes, min_copies=schedule.min_copies)
        await running.run()
        wrong = await system.verdict(running.random)
    finally:
        await system.close()
    return "\n".join([f"seed {schedule.seed}", *running.told, system.report(wrong)]) if wrong else ""

"""Processes of one event loop that can be killed or held up at any of their steps, as real ones are.

Every task that a process begins, and every task that those begin, is noted as its own. A step is a transaction, before
it and after it, or the beginning of a session with a key server.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Hashable

    from keystead.keyservers.objects import Objects
    from keystead.service.ports.objects import Endpoint, ObjectSession
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

T = TypeVar("T")
ENDS_S = 5.0

_LIFE: ContextVar[Life | None] = ContextVar("life", default=None)


class Life:
    """What is alive of one process. ``disturbed``: it was killed or held up, so nothing is guaranteed of its calls."""

    def __init__(self) -> None:
        self.dead = False
        self.disturbed = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self._running = asyncio.Event()
        self._running.set()
        self._left = 0
        self._then: Callable[[], None] = lambda: None

    def call(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin something in this process."""
        token = _LIFE.set(self)
        try:
            return asyncio.get_running_loop().create_task(work)
        finally:
            _LIFE.reset(token)

    def note(self, task: asyncio.Task[Any]) -> None:
        """Take a task for this process'; one that begins after its death does nothing."""
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.dead:
            task.cancel()

    async def step(self) -> None:
        """Pass one step; this may be the one at which the process is killed or held up."""
        if self._left:
            self._left -= 1
            if not self._left:
                self._then()
        await self._running.wait()
        if self.dead:
            raise asyncio.CancelledError

    def at_step(self, number: int, then: Callable[[], None]) -> None:
        """Have something happen at a step: 1 is the next one."""
        self._left, self._then = number, then

    @property
    def held_up(self) -> bool:
        """Return True if the process is held up, or is to be."""
        return not self._running.is_set() or (self._left > 0 and self._then == self.pause)

    def pause(self) -> None:
        """Hold it up: none of its tasks passes a step."""
        self.disturbed = True
        self._running.clear()

    def resume(self) -> None:
        """Let it go on from where it was; or not be held up any more."""
        self._left = 0
        self._running.set()

    def kill(self) -> None:
        """End all of its tasks where they are. What they would still do when they are ended, they cannot."""
        self.dead = self.disturbed = True
        self._running.set()
        for task in tuple(self._tasks):
            task.cancel()

    async def ended(self) -> None:
        """Wait until a killed process does nothing any more."""
        while self._tasks:
            for task in self._tasks:
                task.cancel()  # again: some end what they are about first
            await asyncio.wait(self._tasks, timeout=ENDS_S)


def note_tasks() -> None:
    """From now on the running loop's tasks belong to the process that begins them."""

    def factory(
        loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T] | Generator[Any, None, T], **options: Any
    ) -> asyncio.Task[T]:
        task = asyncio.Task(work, loop=loop, **options)
        life = _LIFE.get()
        if life is not None:
            life.note(task)
        return task

    asyncio.get_running_loop().set_task_factory(factory)


class MortalStore:
    """The way of one process to its database."""

    def __init__(self, store: SqlStore, life: Life) -> None:
        self.database = store.database
        self._store = store
        self._life = life

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """See the port; so for the others."""
        return await self._stepping(self._store.read, work)

    async def read_few(self, work: Callable[[Transaction], T]) -> T:
        """A read of a few rows."""
        return await self._stepping(self._store.read_few, work)

    def version(self) -> Hashable | None:
        """The version, without a read."""
        return self._store.version()

    async def write(self, work: Callable[[Transaction], T]) -> T:
        """A transaction."""
        return await self._stepping(self._store.write, work)

    async def _stepping(
        self, transact: Callable[[Callable[[Transaction], T]], Coroutine[Any, Any, T]], work: Callable[[Transaction], T]
    ) -> T:
        await self._life.step()
        result = await transact(work)
        await self._life.step()
        return result

    async def changed(self, within_s: float) -> None:
        """Wait for a change of the configuration."""
        await self._store.changed(within_s)

    async def check(self) -> None:
        """Return True if the database answers."""
        await self._store.check()

    async def close(self) -> None:
        """Close it."""
        await self._store.close()


class MortalObjects:
    """The way of one process to key servers."""

    def __init__(self, objects: Objects, life: Life) -> None:
        self._objects = objects
        self._life = life

    @asynccontextmanager
    async def session(
        self, endpoint: Endpoint, *, timeout_s: float, fresh: bool = False, exclusive: bool = False, anew: bool = False
    ) -> AsyncIterator[ObjectSession]:
        """See the port; so for the others."""
        await self._life.step()
        options = {"fresh": fresh, "exclusive": exclusive, "anew": anew}
        async with self._objects.session(endpoint, timeout_s=timeout_s, **options) as session:
            yield session

    def circuit_open(self, endpoint: Endpoint) -> bool:
        """Return True if an address is left alone."""
        return self._objects.circuit_open(endpoint)

    def latency_s(self, endpoint: Endpoint) -> float | None:
        """The usual time of a Get."""
        return self._objects.latency_s(endpoint)

    def p95_s(self, endpoint: Endpoint) -> float | None:
        """The time that 95 of 100 Gets stay below."""
        return self._objects.p95_s(endpoint)

    async def close(self) -> None:
        """Close all connections."""
        await self._objects.close()

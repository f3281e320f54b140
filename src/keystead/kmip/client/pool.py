"""Connections to one key server, lent to one caller at a time.

A connection is lent again only if every answer on it was read to the end and it has been silent since: a later caller
never gets an earlier caller's answer. Callers wait in the order in which they came. Nothing is repeated here but by
:meth:`Pool.retrying`, which is for idempotent calls only; what failed before anything was sent is told from what may
have been carried out by the errors' ``sent``. It neither resolves, connects nor negotiates: it is given a function that
does. No task runs in the background, and a pool belongs to one event loop.
"""
# ruff: noqa: ASYNC109 - a time-out for the whole call is the contract; a caller's own asyncio.timeout() works as well

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from keystead.kmip.ttlv.errors import KMIPError, LocalProtocolError, OperationFailed, TransportError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from keystead.kmip.client.client import Client

T = TypeVar("T")


@dataclass(slots=True)
class _Connection:
    client: Client
    made: float
    returned: float
    """When it was given back last."""


class Pool:
    """At most ``maximum`` connections, idle ones included.

    ``connect`` returns a client that is ready: connected, its version negotiated. What it raises reaches the caller,
    a KMIPError with ``sent`` false. An idle connection is closed ``idle_s`` seconds after its last use, and any one
    ``age_s`` seconds after it was made, the next time that somebody looks (see :meth:`reap`). ``clock`` gives seconds
    that never go back.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[Client]],
        *,
        maximum: int = 4,
        idle_s: float = 20.0,
        age_s: float = 600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._maximum = maximum
        self._idle_s = idle_s
        self._age_s = age_s
        self._clock = clock
        self._idle: list[_Connection] = []  # the longest idle first
        self._lent = 0
        self._free = asyncio.Semaphore(maximum)  # wakes in the order of waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """The number of connections that wait for a caller."""
        return len(self._idle)

    @property
    def lent(self) -> int:
        """The number of connections that callers have, those that are being made included."""
        return self._lent

    @contextlib.asynccontextmanager
    async def client(
        self, *, timeout: float | None = None, connect: Callable[[], Awaitable[Client]] | None = None
    ) -> AsyncIterator[Client]:
        """Lend a connected client for the time of an ``async with`` block.

        ``timeout`` is in seconds and counts until the block begins. The connection is kept afterwards if the block
        ended without an error other than OperationFailed. ``connect`` stands in for the pool's own, this once.

        Raises:
            TransportError: phase "connect": none was free or connected in time, or the pool is closed.
            KMIPError, Exception: what ``connect`` raised.
        """
        connection = await self._obtain(timeout, connect, fresh=False)
        try:
            with self._lending(connection):
                yield connection.client
        finally:
            self._release()

    @contextlib.asynccontextmanager
    async def fresh(
        self, *, timeout: float | None = None, connect: Callable[[], Awaitable[Client]] | None = None
    ) -> AsyncIterator[Client]:
        """Lend a client on a connection that nobody used before and nobody will after: for proofs, and for Register."""
        connection = await self._obtain(timeout, connect, fresh=True)
        try:
            yield connection.client
        finally:
            connection.client.close()
            self._release()

    async def retrying(self, call: Callable[[Client], Awaitable[T]], *, timeout: float | None = None) -> T:
        """Make an idempotent call, and once more on a new connection if the kept one turns out to be dead.

        ``timeout``, in seconds, is for everything. Never for Create, Register or what else changes something: the first
        try may have been carried out.
        """
        phase = "connect"
        try:
            async with asyncio.timeout(timeout):
                await self._acquire()
                try:
                    kept = self._take_idle()
                    if kept is not None:
                        phase = "exchange"
                        with contextlib.suppress(_DeadError):
                            return await self._try_kept(kept, call)
                    phase = "connect"
                    connection = await self._new(self._connect)
                    phase = "exchange"
                    with self._lending(connection):
                        return await call(connection.client)
                finally:
                    self._release()
        except TimeoutError as error:
            raise TransportError(phase, "no complete answer came in time") from error

    def reap(self) -> None:
        """Close the idle connections that are too old, idle for too long, or dead. Without it that happens at use."""
        connections, self._idle = self._idle, []
        self._idle = [connection for connection in connections if self._kept_or_closed(connection)]

    def close(self) -> None:
        """Close the idle connections now and the lent ones when they come back; who waits or comes later is refused."""
        self._closed = True
        while self._idle:
            self._idle.pop().client.close()
        self._free.release()  # whoever wakes passes it on

    # --- places ---

    async def _obtain(
        self, timeout: float | None, connect: Callable[[], Awaitable[Client]] | None, *, fresh: bool
    ) -> _Connection:
        try:
            async with asyncio.timeout(timeout):
                await self._acquire()
                try:
                    return (None if fresh else self._take_idle()) or await self._new(connect or self._connect)
                except BaseException:
                    self._release()
                    raise
        except TimeoutError as error:
            raise TransportError("connect", "no connection was ready in time") from error

    async def _acquire(self) -> None:
        loop = asyncio.get_running_loop()
        self._loop = self._loop or loop
        if self._loop is not loop:
            raise LocalProtocolError("the pool belongs to another event loop")
        await self._free.acquire()
        self._lent += 1
        if self._closed:
            self._release()
            raise _closed()

    def _release(self) -> None:
        self._lent -= 1
        self._free.release()

    # --- connections ---

    async def _new(self, connect: Callable[[], Awaitable[Client]]) -> _Connection:
        while len(self._idle) + self._lent > self._maximum:
            self._idle.pop(0).client.close()
        try:
            client = await connect()
        except KMIPError as error:
            error.sent = False
            raise
        now = self._clock()
        return _Connection(client, now, now)

    def _take_idle(self) -> _Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if self._kept_or_closed(connection):
                return connection
        return None

    def _kept_or_closed(self, connection: _Connection) -> bool:
        now = self._clock()
        young = now - connection.made <= self._age_s and now - connection.returned <= self._idle_s
        if young and connection.client.alive:
            return True
        connection.client.close()
        return False

    @contextlib.contextmanager
    def _lending(self, connection: _Connection) -> Iterator[None]:
        try:
            yield
        except OperationFailed:  # an answer like others
            self._give_back(connection)
            raise
        except BaseException:
            connection.client.close()
            raise
        self._give_back(connection)

    def _give_back(self, connection: _Connection) -> None:
        connection.returned = self._clock()
        if self._closed or not connection.client.usable:
            connection.client.close()
        else:
            self._idle.append(connection)

    async def _try_kept(self, connection: _Connection, call: Callable[[Client], Awaitable[T]]) -> T:
        try:
            with self._lending(connection):
                return await call(connection.client)
        except TransportError as error:
            if isinstance(error.__cause__, TimeoutError):  # slow is not dead
                raise
            raise _DeadError from error


class _DeadError(Exception):
    """A kept connection was dead."""


def _closed() -> TransportError:
    return TransportError("connect", "the pool is closed")

"""A pool of connections to one key server. Each connection is lent to one caller at a time.

A connection is lent again only if every answer on it was read to the end and the server has sent nothing since. So a
later caller never gets the answer of an earlier caller. Callers wait in the order in which they came.

Only :meth:`Pool.retrying` repeats a call, and it is for idempotent calls only. The errors' ``sent`` tells whether a
failed call may have been carried out. The pool does not resolve, connect or negotiate: a given function does this. No
task runs in the background. A pool belongs to one event loop.
"""
# ruff: noqa: ASYNC109 - each call promises a time-out for the whole call; a caller's asyncio.timeout() works as well

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
    """The time when the connection was last given back."""


class Pool:
    """A pool of at most ``maximum`` connections, including idle ones.

    ``connect`` returns a client that is connected and has negotiated its version. An error of ``connect`` reaches the
    caller; a KMIPError gets ``sent`` false. An idle connection is closed ``idle_s`` seconds after its last use, and
    every connection ``age_s`` seconds after it was made. Both happen at the next use or :meth:`reap`. ``clock`` returns
    seconds of a monotonic clock.
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
        self._idle: list[_Connection] = []  # the longest idle one first
        self._lent = 0
        self._free = asyncio.Semaphore(maximum)  # wakes callers in the order in which they wait
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    @property
    def idle(self) -> int:
        """The number of connections that wait for a caller."""
        return len(self._idle)

    @property
    def lent(self) -> int:
        """The number of connections that callers have, including those that are being made."""
        return self._lent

    @contextlib.asynccontextmanager
    async def client(
        self, *, timeout: float | None = None, connect: Callable[[], Awaitable[Client]] | None = None
    ) -> AsyncIterator[Client]:
        """Lend a connected client for the time of an ``async with`` block.

        ``timeout`` is in seconds and counts until the block begins. Afterwards the connection is kept if the block
        raised no error other than OperationFailed. ``connect`` replaces the pool's own function for this call.

        Raises:
            TransportError: phase "connect": no connection was ready in time, or the pool is closed.
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
        """Lend a client on a new connection that is closed afterwards. Use it for proofs and for Register."""
        connection = await self._obtain(timeout, connect, fresh=True)
        try:
            yield connection.client
        finally:
            connection.client.close()
            self._release()

    async def retrying(self, call: Callable[[Client], Awaitable[T]], *, timeout: float | None = None) -> T:
        """Make an idempotent call. Make it once more on a new connection if the kept connection is dead.

        ``timeout``, in seconds, is for both tries together. Never use this for Create, Register or another call that
        changes something, because the first try may have been carried out.
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
        """Close the idle connections that are too old, idle for too long, or dead.

        Otherwise this happens at the next use.
        """
        connections, self._idle = self._idle, []
        self._idle = [connection for connection in connections if self._kept_or_closed(connection)]

    def close(self) -> None:
        """Close the idle connections now, and the lent ones when they are returned. Refuse waiting and new callers."""
        self._closed = True
        while self._idle:
            self._idle.pop().client.close()
        self._free.release()  # the caller that wakes releases it again for the next one

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
        except OperationFailed:  # the connection is healthy: a failure is an answer
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
            if isinstance(error.__cause__, TimeoutError):  # a slow server is not a dead connection
                raise
            raise _DeadError from error


class _DeadError(Exception):
    """A kept connection was dead."""


def _closed() -> TransportError:
    return TransportError("connect", "the pool is closed")

"""A client that may have several calls outstanding on one connection.

Use it only where the server is known to support it, because no specification demands it. Answers come in the order of
the requests, and the order is checked. Each request has its own Unique Batch Item IDs, which servers echo (KMIP 1.4
section 6.4), and optionally a Client Correlation Value (section 6.18).

The connection is closed by a deadline or a cancellation after sending, and by any broken answer, because answers could
no longer be assigned. Then all other outstanding calls fail too, and their outcome is unknown.
"""
# ruff: noqa: ASYNC109 - as in client.py

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from keystead.kmip.client.client import Client
from keystead.kmip.client.payload_client import ByteStream, deadline_error
from keystead.kmip.messages.connection import Answer, ClientConnection, State
from keystead.kmip.ttlv.errors import KMIPError, TransportError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, Limits
from keystead.kmip.ttlv.versions import V1_4, Version

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable

    from keystead.kmip.messages.headers import RequestHeader
    from keystead.kmip.messages.messages import RequestMessage

DEPTH = 32
"""The most calls outstanding at a time."""


class PipelinedClient(Client):
    """A client whose operations may be called by many tasks at once. More than ``depth`` calls wait for their turn.

    Requests that are made in one turn of the event loop are sent together. The errors are those of the client. A
    TransportError with ``sent`` true can also mean that another call broke the connection. ``correlate`` adds the
    Client Correlation Value from version 1.4 on, and checks it if it is echoed. Some servers with 1.4 refuse it.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        depth: int = DEPTH,
        correlate: bool = False,
        limits: Limits = DEFAULT_LIMITS,
        **options: Any,
    ) -> None:
        super().__init__(stream, limits=limits, **options)
        self._connection = ClientConnection(limits, depth=depth)
        self._correlate = correlate
        self._room = asyncio.Semaphore(depth)
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        self._outbox = bytearray()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count(1)

    @property
    def usable(self) -> bool:
        """True if another call may be made, at once or after other calls."""
        return self._connection.state is not State.CLOSED

    @property
    def alive(self) -> bool:
        """True if the connection is usable, and the server has neither closed it nor sent data that is not awaited.

        While an answer is awaited, this is true for every usable connection.
        """
        return self.usable and (bool(self._waiting) or self._stream.silent())

    def close(self) -> None:
        """Close the connection at once. Outstanding calls fail, and their outcome is unknown."""
        self._fail(None)

    def _identifiers(self, count: int) -> Iterable[bytes | None]:
        return [next(self._numbers).to_bytes(8, "big") for _ in range(count)]

    def _header(self, version: Version, count: int, on_error: int | None) -> RequestHeader:
        header = super()._header(version, count, on_error)
        if not self._correlate or version < V1_4:
            return header
        return dataclasses.replace(header, client_correlation_value=f"{next(self._numbers)}")

    async def _exchange(self, request: RequestMessage, timeout: float | None) -> Answer:
        try:
            async with asyncio.timeout(timeout), self._room:
                return await self._send(request)
        except TimeoutError as error:
            failure = deadline_error()
            failure.sent = not self.usable
            raise failure from error

    async def _send(self, request: RequestMessage) -> Answer:
        if not self.usable:
            failure = TransportError("exchange", "the connection was closed before the request was sent")
            failure.sent = False
            raise failure
        self._outbox += self._connection.send_request(request)
        self._on_request(len(request.batch_item))
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(answer)
        self._start(self._write)
        self._start(self._read)
        try:
            return await answer
        except asyncio.CancelledError:
            self._fail(None)
            raise

    # --- the connection: a task runs only while there is something to write or an answer is awaited ---

    def _start(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        running = self._tasks.get(work.__name__)
        if running is None or running.done():
            self._tasks[work.__name__] = asyncio.create_task(self._run(work()))

    async def _run(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except KMIPError as error:
            self._fail(error)
        except BaseException:
            self._fail(None)
            raise

    async def _write(self) -> None:
        while self._outbox:
            data = bytes(self._outbox)
            self._outbox.clear()
            await self._stream.send(data)

    async def _read(self) -> None:
        while self._waiting:
            received = await self._stream.receive()
            if not received:
                raise TransportError("exchange", "the server closed the connection before it had answered")
            self._connection.receive_data(received)
            while self._waiting and (answer := self._connection.next_answer()) is not None:
                waiting = self._waiting.popleft()
                if not waiting.done():  # otherwise cancelled in this turn, and its task will close the connection
                    waiting.set_result(answer)

    def _fail(self, error: KMIPError | None) -> None:
        """Close, and fail all outstanding calls. Only the first call, whose answer is next, gets ``error`` itself."""
        self._connection.close()
        current = asyncio.current_task()
        others = [task for task in self._tasks.values() if task is not current and not task.done()]
        for task in others:
            task.cancel()
        if not others:  # otherwise the cancelled tasks close the socket, after the event loop has released it
            self._stream.close()
        own = error
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(own or _broken(error))
            own = None


def _broken(cause: KMIPError | None) -> TransportError:
    failure = TransportError("exchange", "the connection was closed while the answer was awaited")
    failure.__cause__ = cause
    return failure

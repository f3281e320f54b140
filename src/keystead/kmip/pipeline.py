"""A client that has several calls outstanding on one connection. Opt in: no specification obliges a server to it.

Answers are taken in the order of the requests, and checked: each request carries a Unique Batch Item ID of its own and,
from 1.4 on, a Client Correlation Value (KMIP 1.4 sections 6.4 and 6.18). What a server does not echo cannot be checked.
A deadline or a cancellation after sending, and any broken answer, closes the connection: answers could no longer be
told apart. Then every other outstanding call fails too, its outcome unknown.
"""
# ruff: noqa: ASYNC109 - as in client.py

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from keystead.kmip.client import ByteStream, Client, too_late
from keystead.kmip.connection import Answer, ClientConnection, State
from keystead.kmip.errors import LocalProtocolError, TransportError
from keystead.kmip.ttlv import DEFAULT_LIMITS, Limits
from keystead.kmip.versions import V1_4, Version

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

    from keystead.kmip.headers import RequestHeader
    from keystead.kmip.messages import RequestMessage

DEPTH = 32
"""Calls outstanding at a time."""


class PipelinedClient(Client):
    """A client whose operations may be called by many tasks at once; above ``depth`` they wait for their turn.

    Requests that are made in one turn of the event loop leave together. The errors are those of the client;
    TransportError with ``sent`` true also means that another call broke the connection.
    """

    def __init__(
        self, stream: ByteStream, *, depth: int = DEPTH, limits: Limits = DEFAULT_LIMITS, **options: Any
    ) -> None:
        super().__init__(stream, limits=limits, **options)
        self._connection = ClientConnection(limits, depth=depth)
        self._room = asyncio.Semaphore(depth)
        self._waiting: deque[asyncio.Future[Answer]] = deque()
        self._outbox = bytearray()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._numbers = itertools.count(1)

    @property
    def usable(self) -> bool:
        """Whether another call may be made, at once or after others."""
        return self._connection.state is not State.CLOSED

    def close(self) -> None:
        """Close the connection at once; calls that are outstanding fail, their outcome unknown."""
        self._fail(None)

    def _identifiers(self, count: int) -> Iterable[bytes | None]:
        return [next(self._numbers).to_bytes(8, "big") for _ in range(count)]

    def _header(self, version: Version, count: int, on_error: int | None) -> RequestHeader:
        header = super()._header(version, count, on_error)
        if version < V1_4:
            return header
        return dataclasses.replace(header, client_correlation_value=f"{next(self._numbers)}")

    async def _exchange(self, request: RequestMessage, timeout: float | None) -> Answer:
        try:
            async with asyncio.timeout(timeout), self._room:
                return await self._send(request)
        except TimeoutError as error:
            failure = too_late()
            failure.sent = not self.usable
            raise failure from error

    async def _send(self, request: RequestMessage) -> Answer:
        self._outbox += self._connection.send_request(request)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._start("write", self._write)
        self._start("read", self._read)
        try:
            return await future
        except asyncio.CancelledError:
            self._fail(None)
            raise

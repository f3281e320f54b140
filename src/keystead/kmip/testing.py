"""A key server in this process, over real TLS on a loopback port, for tests of KMIP clients.

It really stores objects (see :mod:`keystead.kmip.responder`) and can be told to misbehave, by operation or at the door.
It is no key server for anything else: keys lie in clear in memory.

::

    async with KeyServer(context) as server:
        server.faults[Operation.GET] = silence
        ...  # connect to ("127.0.0.1", server.port)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Self

from keystead.kmip import tags, tls, ttlv
from keystead.kmip.connection import ServerConnection, State
from keystead.kmip.errors import KMIPError
from keystead.kmip.responder import Responder
from keystead.kmip.ttlv import DEFAULT_LIMITS, ItemType, Limits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    from keystead.kmip.messages import RequestMessage


class Exchange:
    """One request as a fault sees it: the connection, and the bytes that a sound server would answer."""

    def __init__(self, stream: tls.Stream, sock: socket.socket, answer: bytes) -> None:
        self.stream = stream
        self.answer = answer
        self._sock = sock

    def reset(self) -> None:
        """Close with a TCP reset."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._sock.close()


if TYPE_CHECKING:
    Fault = Callable[[Exchange], Awaitable[None]]
    """Stands in for sending the answer. It may close the connection; if not, the next request is read."""


async def silence(exchange: Exchange) -> None:
    """Never answer; end when the client leaves."""
    while await exchange.stream.receive():
        pass


async def close(exchange: Exchange) -> None:
    """Close the connection instead of answering."""
    exchange.stream.close()


async def reset(exchange: Exchange) -> None:
    """Reset the connection instead of answering."""
    exchange.reset()


async def huge_length(exchange: Exchange) -> None:
    """Announce the longest message that a header can, and send no more of it."""
    key = ttlv.key(tags.RESPONSE_MESSAGE, ItemType.STRUCTURE)
    await exchange.stream.send(struct.pack(">II", key, 0xFFFFFFF8))
    await silence(exchange)


async def truncate(exchange: Exchange) -> None:
    """Send all of the answer but its last byte, then close."""
    await exchange.stream.send(exchange.answer[:-1])
    exchange.stream.close()


def garbage(data: bytes) -> Fault:
    """Answer with these bytes."""

    async def fault(exchange: Exchange) -> None:
        await exchange.stream.send(data)

    return fault


def drip(pause: float) -> Fault:
    """Send the answer one byte at a time, ``pause`` seconds apart."""

    async def fault(exchange: Exchange) -> None:
        for byte in exchange.answer:
            await exchange.stream.send(bytes([byte]))
            await asyncio.sleep(pause)

    return fault


def delay(seconds: float) -> Fault:
    """Answer soundly, but later."""

    async def fault(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await exchange.stream.send(exchange.answer)

    return fault


class KeyServer:
    """The server. ``context`` is a server-side SSLContext, whose ``verify_mode`` decides about client certificates.

    ``responder`` answers; its ``refusals`` make operations fail. ``faults`` (by the operation of a batch's first item)
    break the exchange itself. With ``send_alert=False`` a client certificate is refused without a TLS alert.
    ``requests`` and ``failures`` are what came, for assertions.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        responder: Responder | None = None,
        *,
        host: str = "127.0.0.1",
        send_alert: bool = True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.responder = responder or Responder()
        self.faults: dict[int, Fault] = {}
        self.requests: list[RequestMessage] = []
        self.failures: list[KMIPError] = []
        self.host = host
        self.port = 0
        self._context = context
        self._send_alert = send_alert
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, 0), family=family, backlog=128)
        self._listener.settimeout(0)
        self.port = self._listener.getsockname()[1]
        self._start(self._accept())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            sock.settimeout(0)
            self._start(self._serve(sock))

    async def _serve(self, sock: socket.socket) -> None:
        try:
            stream = await tls.handshake(
                sock, self._context, server_name=None, server_side=True, send_alert=self._send_alert
            )
            await self._converse(stream, sock)
        except KMIPError as failure:
            self.failures.append(failure)
        finally:
            sock.close()

    async def _converse(self, stream: tls.Stream, sock: socket.socket) -> None:
        connection = ServerConnection(self._limits)
        with contextlib.closing(stream):
            while connection.state is not State.CLOSED and sock.fileno() >= 0:
                request = connection.next_request()
                if request is None:
                    connection.receive_data(await stream.receive())
                    continue
                self.requests.append(request)
                answer = connection.send_response(self.responder.respond(request))
                fault = self.faults.get(request.batch_item[0].operation) if request.batch_item else None
                await (fault(Exchange(stream, sock, answer)) if fault else stream.send(answer))

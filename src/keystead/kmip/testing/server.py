"""A key server in this process, over real TLS on a loopback port, for tests of KMIP clients.

It really stores objects (see :mod:`keystead.kmip.server.responder`). It plays any kind of key server
(:mod:`keystead.kmip.testing.profiles`), alone or in a cluster (:func:`~keystead.kmip.server.responder.cluster`). It can
be told to misbehave, per operation or in the handshake. Do not use it for anything else, because keys are in clear in
memory.

::

    async with KeyServer(context) as server:
        server.responder.profile = PROFILES["names stay taken"]
        server.faults[Operation.REGISTER] = first(1, reset)  # done, but the answer is lost
        ...  # connect to ("127.0.0.1", server.port)
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import struct
from typing import TYPE_CHECKING, Final, Self

from keystead.kmip.messages.connection import ServerConnection, State
from keystead.kmip.server.responder import Responder
from keystead.kmip.transport import tls
from keystead.kmip.ttlv import tags, ttlv
from keystead.kmip.ttlv.errors import KMIPError
from keystead.kmip.ttlv.ttlv import DEFAULT_LIMITS, ItemType, Limits

if TYPE_CHECKING:
    import ssl
    from collections.abc import Awaitable, Callable, Coroutine
    from types import TracebackType

    from keystead.kmip.messages.messages import RequestMessage


_COMMON_NAME: Final = bytes.fromhex("0603550403")
"""The object identifier of the Common Name attribute, encoded in DER (X.520)."""


class Exchange:
    """One request as a fault sees it: the connection, and the correct answer."""

    def __init__(self, stream: tls.Stream, sock: socket.socket, perform: Callable[[], bytes]) -> None:
        self.stream = stream
        self._sock = sock
        self._perform = perform

    @functools.cached_property
    def answer(self) -> bytes:
        """The bytes of the correct answer. The first access carries out the request."""
        return self._perform()

    def half_close(self) -> None:
        """Send the end of the stream without a TLS close_notify, and keep the socket."""
        self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close with a TCP reset."""
        _linger_not(self._sock)
        self._sock.close()


def _linger_not(sock: socket.socket) -> None:
    """Let the close of a socket reset its connection. A socket that is closed already is left alone."""
    if sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


if TYPE_CHECKING:
    Fault = Callable[[Exchange], Awaitable[None]]
    """A fault replaces the sending of the answer. If it does not close the connection, the next request is read."""


async def _sound(exchange: Exchange) -> None:
    await exchange.stream.send(exchange.answer)


async def silence(exchange: Exchange) -> None:
    """Never answer. End when the client closes."""
    while await exchange.stream.receive():
        pass


async def close(exchange: Exchange) -> None:
    """Close the connection instead of answering."""
    exchange.stream.close()


async def reset(exchange: Exchange) -> None:
    """Reset the connection instead of answering."""
    exchange.reset()


async def huge_length(exchange: Exchange) -> None:
    """Announce the longest message that a header can, and send nothing more of it."""
    key = ttlv.key(tags.RESPONSE_MESSAGE, ItemType.STRUCTURE)
    await exchange.stream.send(struct.pack(">II", key, 0xFFFFFFF8))
    await silence(exchange)


async def truncate(exchange: Exchange) -> None:
    """Send the answer without its last byte, then close."""
    await exchange.stream.send(exchange.answer[:-1])
    exchange.stream.close()


def garbage(data: bytes) -> Fault:
    """Return a fault that answers with these bytes."""

    async def fault(exchange: Exchange) -> None:
        await exchange.stream.send(data)

    return fault


def drip(pause: float) -> Fault:
    """Return a fault that sends the answer one byte at a time, ``pause`` seconds apart."""

    async def fault(exchange: Exchange) -> None:
        for byte in exchange.answer:
            await exchange.stream.send(bytes([byte]))
            await asyncio.sleep(pause)

    return fault


def delay(seconds: float) -> Fault:
    """Return a fault that answers correctly, ``seconds`` later."""

    async def fault(exchange: Exchange) -> None:
        await asyncio.sleep(seconds)
        await _sound(exchange)

    return fault


def held(event: asyncio.Event) -> Fault:
    """Return a fault that answers correctly, but not before ``event`` is set."""

    async def fault(exchange: Exchange) -> None:
        await event.wait()
        await _sound(exchange)

    return fault


def first(count: int, fault: Fault) -> Fault:
    """Return a fault for the first ``count`` exchanges. Later exchanges are correct."""
    left = count

    async def limited(exchange: Exchange) -> None:
        nonlocal left
        left -= 1
        await (fault if left >= 0 else _sound)(exchange)

    return limited


class KeyServer:
    """A key server. ``context`` is a server-side SSLContext, whose ``verify_mode`` decides about client certificates.

    ``responder`` answers; its ``refusals`` make operations fail. ``faults`` and ``request_faults`` are by the operation
    of a batch's first item. With one of ``faults``, the request is carried out, then the fault replaces the sending of
    the answer. With one of ``request_faults``, the request is carried out only if the fault asks for the answer;
    otherwise it is as if the request was lost. With ``send_alert=False`` a client certificate is refused without a TLS
    alert. ``requests`` and ``failures`` are the received requests and errors, for assertions.

    A server that was left can be entered again. It has the same port and objects. ``context`` and ``send_alert`` may be
    replaced; they count for new connections.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        responder: Responder | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        send_alert: bool = True,
        limits: Limits = DEFAULT_LIMITS,
    ) -> None:
        self.responder = responder or Responder()
        self.faults: dict[int, Fault] = {}
        self.request_faults: dict[int, Fault] = {}
        self.requests: list[RequestMessage] = []
        self.failures: list[KMIPError] = []
        self.host = host
        self.port = port
        self.context = context
        self.send_alert = send_alert
        self._limits = limits
        self._tasks: set[asyncio.Task[None]] = set()
        self._serving: dict[asyncio.Task[None], socket.socket] = {}

    async def __aenter__(self) -> Self:
        family = socket.AF_INET6 if ":" in self.host else socket.AF_INET
        self._listener = socket.create_server((self.host, self.port), family=family, backlog=128)
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

    @property
    def connections(self) -> int:
        """The number of open connections, including those in the handshake."""
        return len(self._serving)

    def disconnect(self) -> None:
        """Reset all open connections. New connections are accepted."""
        for task, sock in self._serving.items():
            _linger_not(sock)
            task.cancel()

    def _start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _accept(self) -> None:
        while True:
            sock, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            sock.settimeout(0)
            task = self._start(self._serve(sock))
            self._serving[task] = sock
            task.add_done_callback(self._served)

    def _served(self, task: asyncio.Task[None]) -> None:
        self._serving.pop(task).close()  # also for a task that was cancelled before it began

    async def _serve(self, sock: socket.socket) -> None:
        try:
            stream = await tls.handshake(
                sock, self.context, server_name=None, server_side=True, send_alert=self.send_alert
            )
            await self._converse(stream, sock)
        except KMIPError as failure:
            self.failures.append(failure)
        finally:
            sock.close()

    async def _converse(self, stream: tls.Stream, sock: socket.socket) -> None:
        connection = ServerConnection(self._limits)
        client = _common_name(stream.peer_certificate or b"")
        with contextlib.closing(stream):
            while connection.state is not State.CLOSED and sock.fileno() >= 0:
                request = connection.next_request()
                if request is None:
                    connection.receive_data(await stream.receive())
                    continue
                perform = functools.partial(self._perform, connection, request, client)
                await self._receive(request, Exchange(stream, sock, perform))

    async def _receive(self, request: RequestMessage, exchange: Exchange) -> None:
        self.requests.append(request)
        await self._answer(request, exchange)

    def _perform(self, connection: ServerConnection, request: RequestMessage, client: str | None) -> bytes:
        return connection.send_response(self.responder.respond(request, client))

    async def _answer(self, request: RequestMessage, exchange: Exchange) -> None:
        operation = request.batch_item[0].operation if request.batch_item else 0
        fault = self.request_faults.get(operation)
        if fault is None:
            exchange.answer  # noqa: B018 - the request is carried out even if its answer is not sent
            fault = self.faults.get(operation, _sound)
        await fault(exchange)


def _common_name(certificate: bytes) -> str | None:
    """Return the common name in a certificate (DER). It is the last one, because the subject follows the issuer."""
    start = certificate.rfind(_COMMON_NAME) + len(_COMMON_NAME)
    if start < len(_COMMON_NAME):
        return None
    length = certificate[start + 1]  # one byte, because the string has at most 64 characters
    return certificate[start + 2 : start + 2 + length].decode(errors="replace")

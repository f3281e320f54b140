"""One connection of a KMIP client: bytes in, one request at a time, bytes out.

While a request is answered, nothing more is read. So a client costs one request and one buffer, however much it sends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

import structlog

from keystead.kmip.messages.connection import ServerConnection, State
from keystead.kmip.ttlv.errors import KMIPError
from keystead.kmip.ttlv.ttlv import Limits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystead.kmip.messages.messages import RequestMessage
    from keystead.kmip_api.responder import Responder

log = structlog.get_logger(__name__)

LIMITS: Final = Limits(message_bytes=256 * 1024)
"""The limits of a request. An object has at most 16 KiB."""


class KmipProtocol(asyncio.Protocol):
    """A connection after its handshake. ``chain_of`` returns the certificates (PEM) that the client showed.

    ``on_end`` is called once, when the connection has ended.
    """

    idle_s = 300.0
    """Seconds without a request, after which the connection is closed."""
    message_s = 15.0
    """Seconds that a request may take to arrive, and its answer to be taken."""

    def __init__(
        self,
        responder: Responder,
        client: str,
        chain_of: Callable[[asyncio.BaseTransport], Sequence[str]],
        on_begin: Callable[[KmipProtocol], None],
        on_end: Callable[[KmipProtocol], None],
    ) -> None:
        self._responder = responder
        self._client = client
        self._chain_of = chain_of
        self._on_begin = on_begin
        self._on_end = on_end
        self._connection = ServerConnection(LIMITS)
        self._timer: asyncio.TimerHandle | None = None
        self._awaits_rest = False  # of a request that has begun to arrive
        self._answering: asyncio.Task[None] | None = None
        self._closing = False

    # --- called by the transport ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for the first request."""
        self._transport = cast("asyncio.Transport", transport)
        self._chain = tuple(self._chain_of(transport))
        self._on_begin(self)
        self._await_bytes()

    def connection_lost(self, _: Exception | None) -> None:
        """Stop the timer, and cancel the operation that runs. A creation that has begun still ends in its own way."""
        self._stop_timer()
        if self._answering is not None:
            self._answering.cancel()
        self._on_end(self)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and answer the request that they complete."""
        if self._connection.state is not State.CLOSED:
            self._connection.receive_data(data)
            self._next()

    def eof_received(self) -> bool:
        """Close the connection. A client that has half-closed gets no answer: TLS ends both ways."""
        return False

    def pause_writing(self) -> None:
        """Give the client a limited time to take its answer."""
        self._wait(self.message_s)

    def resume_writing(self) -> None:
        """Go on, because the client takes its answer."""
        if self._answering is None:
            self._await_bytes()

    # --- requests ---

    def close_soon(self) -> None:
        """Close the connection now, or after the answer that is due. Called when the service stops."""
        self._closing = True
        if self._answering is None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        self._transport.abort()

    def _next(self) -> None:
        """Answer the next request if it is here, else wait for it."""
        if self._answering is not None:
            return
        try:
            request = self._connection.next_request()
        except KMIPError as error:
            log.info("KMIP connection closed", client=self._client, why=str(error))
            self._transport.close()
            return
        if request is None:
            self._await_bytes()
            return
        self._stop_timer()
        self._transport.pause_reading()
        self._answering = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: RequestMessage) -> None:
        try:
            answer = await self._responder.respond(request, self._chain, self._client)
        except Exception as failure:  # noqa: BLE001 - a defect costs this connection only
            log.error("KMIP request not answered", why=type(failure).__name__)  # noqa: TRY400 - no key in a traceback
            self._transport.abort()
            return
        self._answering = None
        if self._transport.is_closing():
            return
        self._transport.write(self._connection.send_response(answer))
        if self._closing:
            self._transport.close()
            return
        self._transport.resume_reading()
        self._next()

    # --- time ---

    def _await_bytes(self) -> None:
        """Wait for a request. Once it has begun to arrive, more bytes of it give no more time."""
        if not self._connection.is_receiving:
            self._wait(self.idle_s)
        elif not self._awaits_rest:
            self._wait(self.message_s)
            self._awaits_rest = True

    def _wait(self, seconds: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._transport.abort)

    def _stop_timer(self) -> None:
        self._awaits_rest = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

"""HTTP/1.1 on one connection (RFC 9112): uvicorn's protocol, with bounds and rules that it lacks.

Requests are bounded in size and time, because a client may send them before it has logged in. An Upgrade is ignored
(RFC 9110, 7.8). An answer that comes before the whole request closes the connection. A request without a Host, or with
two, is refused (RFC 9112, 3.2), and so is one with two credentials. The protocol knows nothing of the app's answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from ssl import SSLObject

    from uvicorn.config import Config
    from uvicorn.server import ServerState

    from keystead.app.proxy_protocol import Client


class HttpProtocol(HttpToolsProtocol):
    """One connection of ``peer``, from its TLS handshake to its end, when ``on_end`` is called."""

    header_s = 15.0
    """Seconds from the connection, or from a request's first byte, until its headers are complete."""

    header_bytes = 64 * 1024
    """Most bytes of a request's line and headers."""

    header_count = 128

    request_bytes = 1024 * 1024
    """Most bytes of a whole request as it is sent.

    The app's own limit for a body is lower, but does not count chunks and trailers.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        peer: Client,
        on_end: Callable[[], None],
    ) -> None:
        super().__init__(config, server_state, app_state)
        self._peer = peer  # not always the transport's, which may be a proxy
        self._on_end = on_end
        self._headers_due = False  # True while a request has begun and its headers are not complete
        self._received = 0  # bytes since the piece of data in which the request began
        self._keep_alive = False  # as the request asked
        self._timer: asyncio.TimerHandle | None = None
        self._client_chain: tuple[str, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer for the first request."""
        super().connection_made(transport)
        self.client = self._peer
        self._client_chain = client_chain(transport.get_extra_info("ssl_object"))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        self._on_end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data, and refuse a request that is too large."""
        if self.transport.is_closing():
            return
        self._unset_keepalive_if_required()
        self._received += len(data)
        try:
            self._parse(data)
            if self._received > (self.header_bytes if self._headers_due else self.request_bytes):
                raise httptools.HttpParserError("too large")
        except httptools.HttpParserError:
            self.headers = []
            self.send_400_response("Invalid HTTP request received.")
        else:
            if self._timer is None and (self._headers_due or not self._busy):
                self._start_timer()

    def _parse(self, data: bytes) -> None:
        rest = memoryview(data)
        while True:
            try:
                self.parser.feed_data(rest)
            except httptools.HttpParserUpgrade as upgrade:
                rest = rest[upgrade.args[0] :]
                self._parse_without_upgrade()
            else:
                return

    def _parse_without_upgrade(self) -> None:
        """Parse the head again without its Upgrade: the parser has ended with it, and takes no body after it."""
        kept = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"\r\n".join([line, *kept, b"", b""]))

    # --- called by the parser; their exceptions become the answer 400 ---

    def on_message_begin(self) -> None:
        """Begin a request. Its headers come next."""
        super().on_message_begin()
        if self._client_chain:
            self.scope["extensions"] = {"tls": {"client_cert_chain": self._client_chain}}
        self._headers_due, self._received = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. A trailer, which comes after a body, is dropped."""
        if self._headers_due:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Give the request to the app.

        A head with an Upgrade is not given, because it is parsed again without the Upgrade.

        Raises ValueError (answer 400) if the head is too large or ambiguous, or for CONNECT.
        """
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.header_bytes or len(self.headers) > self.header_count:
            raise ValueError("too large")
        names = [name for name, _ in self.headers]
        hosts = names.count(b"host")
        if hosts > 1 or names.count(b"authorization") > 1 or (not hosts and self.parser.get_http_version() != "1.0"):
            raise ValueError("no host, or what counts is not clear")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("no proxy")
            return
        self._headers_due = False
        self._stop_timer()
        super().on_headers_complete()
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_message_complete(self) -> None:
        """Allow the connection to stay open after the answer, because the whole request is here."""
        if self._headers_due:  # because the head is parsed again without its Upgrade
            return
        super().on_message_complete()
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive

    # --- time ---

    @property
    def _busy(self) -> bool:
        """True if a request has not been answered yet."""
        return bool(self.cycle) and not self.cycle.response_complete  # None before the first request

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.header_s, self._on_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        """Close the connection, but not before the answer to an earlier request: nothing may be read until then."""
        if self._busy:
            self._start_timer()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Close the connection after the answer, if an answer is to come."""
        self._keep_alive = False
        super().shutdown()


def client_chain(tls: SSLObject | None) -> tuple[str, ...]:
    """Return the chain that the peer showed, as ``client_cert_chain`` of ASGI's ``tls`` extension: PEM, the leaf first.

    Without a client certificate it is empty.
    """
    if tls is None or not tls.getpeercert(binary_form=True):
        return ()
    shown = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - public from Python 3.13 on
    return tuple(certificate.public_bytes() for certificate in shown)

"""HTTP/1.1 on one connection (RFC 9112): uvicorn's protocol with what it leaves out, bounds and two rules.

What a client may send before it is known is bounded in size and time, an Upgrade is ignored (RFC 9110, 7.8), and an
answer that comes before the whole request closes the connection. It knows nothing of what the app answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio
    from ssl import SSLObject


class HttpProtocol(HttpToolsProtocol):
    """One connection, from its TLS handshake to its end."""

    header_s = 15.0
    """Seconds from the connection, or from a request's first byte, until its headers are complete."""

    header_bytes = 64 * 1024
    """Of a request's line and headers."""

    header_count = 128

    request_bytes = 1024 * 1024
    """Of a whole request as it is sent; the app's own limit for a body is lower, but counts no chunks and trailers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._headers_due = False  # a request has begun
        self._received = 0  # bytes since the piece that it began in
        self._keep_alive = False  # what the request asked for
        self._timer: asyncio.TimerHandle | None = None
        self._client_chain: tuple[str, ...] = ()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for a request."""
        super().connection_made(transport)
        self._client_chain = client_chain(transport.get_extra_info("ssl_object"))
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and refuse what is too much."""
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
        """Parse the head again without its Upgrade: the parser has ended with it, and takes no body after one."""
        kept = [name + b": " + value for name, value in self.headers if name != b"upgrade"]
        line = b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
        self.parser.feed_data(b"\r\n".join([line, *kept, b"", b""]))

    # --- called by the parser; what they raise becomes the answer 400 ---

    def on_message_begin(self) -> None:
        """Expect headers."""
        super().on_message_begin()
        if self._client_chain:
            self.scope["extensions"] = {"tls": {"client_cert_chain": self._client_chain}}
        self._headers_due, self._received = True, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; what comes after a body (a trailer) is dropped."""
        if self._headers_due:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Hand the request to the app, unless its head is too large or comes again without an Upgrade."""
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > self.header_bytes or len(self.headers) > self.header_count:
            raise ValueError("too large")
        if self.parser.should_upgrade():
            if self.parser.get_method() == b"CONNECT":
                raise ValueError("no proxy")
            return
        self._headers_due = False
        self._stop_timer()
        super().on_headers_complete()
        self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False

    def on_message_complete(self) -> None:
        """Keep the connection after the answer, because all of the request is here."""
        if self._headers_due:  # comes again without its Upgrade
            return
        super().on_message_complete()
        if not self.cycle.response_started:
            self.cycle.keep_alive = self._keep_alive

    # --- time ---

    @property
    def _busy(self) -> bool:
        """Whether a request has not been answered yet."""
        return bool(self.cycle) and not self.cycle.response_complete  # None before the first request

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.header_s, self._on_time)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_time(self) -> None:
        """Close, but not before the answer to an earlier request: until then nothing may be read."""
        if self._busy:
            self._start_timer()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """Close after the answer, if there is one to come."""
        self._keep_alive = False
        super().shutdown()


def client_chain(tls: SSLObject | None) -> tuple[str, ...]:
    """What the peer showed, as ``client_cert_chain`` of ASGI's ``tls`` extension: PEM, the leaf first."""
    if tls is None or not tls.getpeercert(binary_form=True):
        return ()
    shown = tls._sslobj.get_unverified_chain()  # type: ignore[attr-defined]  # noqa: SLF001 - public from Python 3.13 on
    return tuple(certificate.public_bytes() for certificate in shown)

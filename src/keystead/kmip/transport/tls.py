"""TLS over a plain non-blocking socket: an ``ssl.MemoryBIO``, driven by the socket calls of the event loop.

asyncio's own TLS transport closes the socket when a write fails. Then an alert that the peer already sent is lost. This
implementation goes on reading, so it always sees the alert. It also notes whether a ServerHello came, whether our
certificate was sent, and whether a session ticket came. It works on asyncio and uvloop, as client and as server.

It does not connect, choose time-outs or interpret failures. The caller gives it a socket (see ``connect.py``), sets
deadlines (``asyncio.timeout``) and classifies failures by their numbers. A cancelled call always closes the socket. TLS
1.2 (RFC 5246) and 1.3 (RFC 8446); KMIP Profiles 1.4, section 3.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.kmip.transport.alerts import ALERTS
from keystead.kmip.transport.sessions import Attempt, Key, session_of
from keystead.kmip.ttlv.errors import TransportError

if TYPE_CHECKING:
    import socket

    from keystead.kmip.transport.sessions import Sessions

READ_SIZE: Final = 64 * 1024
"""The bytes asked for in one read: four full TLS records."""

_READS_PER_TURN: Final = 16
"""Reads before a pause. A read that finds data never waits, so a flooding peer would block all timers."""

# The first byte of a TLS record and of a handshake message inside it (RFC 8446 sections 5.1 and 4).
_RECORD_TYPES: Final = frozenset({20, 21, 22, 23})
_HANDSHAKE_RECORD: Final = 22
_SERVER_HELLO: Final = 2
_CERTIFICATE: Final = 11
_DER: Final = 2  # _ssl.ENCODING_DER
_RECORD_HEADER: Final = 5
_MESSAGE_HEADER: Final = 4
_EMPTY_CERTIFICATE_LIST: Final = 3


@dataclass(frozen=True, slots=True)
class Evidence:
    """Facts that were seen on one connection so far, to explain its failure."""

    spoke_tls: bool | None
    """True if the peer's first bytes were a TLS record. ``None`` if it sent nothing."""
    server_hello: bool
    """True if a ServerHello came: the peer accepted one of our versions and ciphers."""
    client_certificate_sent: bool
    """True if our Certificate message was sent with a certificate in it. Visible in TLS 1.2 only."""
    handshake_done: bool
    """True if the handshake ended on our side: the server's Finished was verified."""
    ticket_received: bool
    """TLS 1.3: a session ticket came. OpenSSL servers send it only after they accept our certificate."""
    received: bool
    """True if at least one byte of application data came."""


class TLSError(TransportError):
    """A TLS connection failed: in the handshake (``phase`` "tls") or after it (``phase`` "exchange").

    ``alert`` is the number of the peer's alert, ``verify_code`` OpenSSL's X509_V_ERR_* if we refused its certificate.
    ``reason`` is OpenSSL's symbol for the error. Each is ``None`` if it does not apply. ``peer_chain`` holds the
    certificates (DER) that the peer showed, trusted or not. ``resuming``: a session was offered and no data came, so a
    full handshake may succeed.
    """

    resuming = False

    def __init__(
        self, phase: str, message: str, evidence: Evidence, peer_chain: tuple[bytes, ...], cause: OSError
    ) -> None:
        super().__init__(phase, message)
        self.evidence = evidence
        self.peer_chain = peer_chain
        self.reason: str | None = getattr(cause, "reason", None)  # some SSLErrors have no such attribute at all
        self.alert = ALERTS.get(self.reason or "")
        self.verify_code: int | None = getattr(cause, "verify_code", None)


async def handshake(
    sock: socket.socket,
    context: ssl.SSLContext,
    *,
    server_name: str | None,
    server_side: bool = False,
    send_alert: bool = True,
    sessions: Sessions | None = None,
) -> Stream:
    """Run the TLS handshake on a connected non-blocking socket and return the stream, which then owns the socket.

    ``server_name`` (a host name or an IP address without brackets) is checked against the peer's certificate. A host
    name is also sent as SNI. ``send_alert=False`` makes a refusal silent, as on some servers. With ``sessions``, a
    client resumes one of them if it can, and keeps its own session there after data came.

    In TLS 1.3, the client's handshake ends before the server has checked the client's certificate. So a refusal comes
    out of the first :meth:`Stream.receive`.

    Raises:
        TLSError: phase "tls"; the socket is closed.
        ValueError: ``server_name`` is no host name (an empty or an over-long label).
    """
    try:
        attempt = _attempt(sock, context, server_name, sessions) if sessions is not None else None
        stream = Stream(sock, context, server_name=server_name, server_side=server_side, attempt=attempt)
    except ValueError:  # the server name cannot be in a certificate
        sock.close()
        raise
    await stream._handshake(send_alert=send_alert)  # noqa: SLF001 - the only way to make a stream
    return stream


def _attempt(
    sock: socket.socket, context: ssl.SSLContext, server_name: str | None, sessions: Sessions
) -> Attempt | None:
    """Return an attempt to resume a session. Return None if the peer has closed already; then the handshake fails."""
    try:
        return Attempt(sessions, Key(sock.getpeername(), server_name, context))
    except OSError:
        return None


class Stream:
    """One TLS connection: it sends and receives bytes, and notes facts about the peer.

    One task at a time may receive and one may send. Any failure or cancellation closes the socket.

    These attributes are set after the handshake. ``version`` is "TLSv1.2" or "TLSv1.3". ``cipher`` is the suite's
    OpenSSL name. ``peer_certificate`` is the peer's certificate (DER), or ``None`` if it sent none.
    ``handshake_seconds`` is the duration of the handshake. ``resumed`` is true if it resumed a session.
    """

    __slots__ = (
        "_attempt",
        "_client_certificate_sent",
        "_early",
        "_exchanging",
        "_flushing",
        "_handshake_done",
        "_incoming",
        "_loop",
        "_outgoing",
        "_reads",
        "_received",
        "_sock",
        "_tls",
        "_unwritable",
        "cipher",
        "handshake_seconds",
        "peer_certificate",
        "resumed",
        "version",
    )

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        *,
        server_name: str | None,
        server_side: bool,
        attempt: Attempt | None = None,
    ) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming,
            self._outgoing,
            server_side=server_side,
            server_hostname=server_name,
            session=attempt.session if attempt else None,
        )
        self._attempt = attempt
        self._early = b""  # the first bytes of the peer, enough to recognise TLS
        self._client_certificate_sent = self._handshake_done = self._received = False
        self._flushing = self._unwritable = False
        self._reads = 0
        self._exchanging = _Guard(self, "exchange")
        self.version: str | None = None
        self.cipher: str | None = None
        self.peer_certificate: bytes | None = None
        self.handshake_seconds = 0.0
        self.resumed = False

    # --- facts ---

    @property
    def peer_chain(self) -> tuple[bytes, ...]:
        """All certificates that the peer sent (DER), its own first; after a failed handshake, those that had come."""
        return _unverified_chain(self._tls) or tuple(filter(None, [self.peer_certificate]))

    @property
    def evidence(self) -> Evidence:
        """The facts that were seen so far."""
        session = session_of(self._tls) if self.version == "TLSv1.3" else None
        offered = self._attempt.session if self._attempt else None
        return Evidence(
            spoke_tls=self._early[0] in _RECORD_TYPES and self._early[1:2] in {b"", b"\3"} if self._early else None,
            server_hello=self._early[:1] == bytes([_HANDSHAKE_RECORD])
            and self._early[_RECORD_HEADER:] == bytes([_SERVER_HELLO]),
            client_certificate_sent=self._client_certificate_sent,
            handshake_done=self._handshake_done,
            ticket_received=session is not None and session.has_ticket and session != offered,
            received=self._received,
        )

    # --- bytes ---

    async def send(self, data: bytes) -> None:
        """Encrypt and send all of ``data``.

        Do not raise if the peer has closed the connection, because its last bytes are still to be read. The next
        :meth:`receive` returns them, raises for an alert, or returns the end of the stream.
        """
        with self._exchanging:
            self._tls.write(data)
            await self._flush()

    async def receive(self) -> bytes:
        """Wait for application data and return some. Return ``b""`` if the peer has closed, even without close_notify.

        Raises:
            TLSError: phase "exchange": an alert, a broken record or a reset.
        """
        with self._exchanging:
            if not (self._tls.pending() or self._incoming.pending or self._incoming.eof):
                await self._flush()  # no data is here, and asking OpenSSL would cost an exception
                await self._fill()
            while True:
                try:
                    data = self._tls.read(READ_SIZE)
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                    continue
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    data = b""
                if not self._received:
                    self._note_first(data)
                return data

    def silent(self) -> bool:
        """Return True if the peer has neither closed nor sent data. Do not wait. Do not call it during a receive."""
        try:
            data = self._sock.recv(READ_SIZE)
        except BlockingIOError:
            if not (self._tls.pending() or self._incoming.pending or self._incoming.eof):
                return True
        except OSError:
            return False
        else:
            self._take(data)
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:  # only a session ticket or a key update came, or nothing
            return True
        except ssl.SSLError:
            return False
        return False

    def close(self) -> None:
        """Send a TLS close if this needs no waiting, and close the socket. It may be called twice."""
        if self._handshake_done and self._sock.fileno() >= 0:
            with contextlib.suppress(ssl.SSLError):
                self._tls.unwrap()
            self._flush_without_waiting()
        self._sock.close()

    async def _handshake(self, *, send_alert: bool) -> None:
        start = time.perf_counter()
        with _Guard(self, "tls"):
            while True:
                try:
                    self._tls.do_handshake()
                except ssl.SSLWantReadError:
                    await self._flush()
                    await self._fill()
                except ssl.SSLError:
                    if send_alert:
                        self._flush_without_waiting()
                    raise
                else:
                    break
            self._note_parameters()
            await self._flush()
        self.handshake_seconds = time.perf_counter() - start

    def _note_parameters(self) -> None:
        """Keep the facts that OpenSSL forgets when the connection fails."""
        self._handshake_done = True
        self.version = self._tls.version()
        self.resumed = bool(self._tls.session_reused)
        suite = self._tls.cipher()
        self.cipher = suite[0] if suite else None
        self.peer_certificate = self._tls.getpeercert(binary_form=True)

    def _note_first(self, data: bytes) -> None:
        self._received = bool(data)
        if self._attempt is None:
            return
        if data:
            self._attempt.answered(self._tls)
        else:
            self._attempt.failed(resuming=self._resuming())

    def _resuming(self) -> bool:
        return self._attempt is not None and self._attempt.offered is not None and not self._received

    async def _flush(self) -> None:
        """Write all pending output of OpenSSL, including what is added meanwhile. Stop writing after a failed write."""
        if self._flushing:  # because the other task also writes our output
            return
        self._flushing = True
        while self._outgoing.pending and not self._unwritable:
            data = self._outgoing.read()
            try:
                await self._loop.sock_sendall(self._sock, data)
            except OSError:
                self._unwritable = True
            else:
                self._client_certificate_sent = self._client_certificate_sent or _holds_certificate(data)
        self._flushing = False

    def _flush_without_waiting(self) -> None:
        if self._outgoing.pending and not self._unwritable:
            with contextlib.suppress(OSError):
                self._sock.send(self._outgoing.read())

    async def _fill(self) -> None:
        self._reads += 1
        if self._reads % _READS_PER_TURN == 0:
            await asyncio.sleep(0)
        self._take(await self._loop.sock_recv(self._sock, READ_SIZE))

    def _take(self, data: bytes) -> None:
        if not data:
            self._incoming.write_eof()
            return
        self._incoming.write(data)
        if len(self._early) <= _RECORD_HEADER:
            self._early = (self._early + data)[: _RECORD_HEADER + 1]

    def closed_by(self, phase: str, error: BaseException) -> TLSError | None:
        """Close the socket after a failure. Return a TLSError if the failure is an OSError (including ssl.SSLError)."""
        failure = None
        if isinstance(error, OSError):
            failure = TLSError(phase, f"the connection failed ({phase})", self.evidence, self.peer_chain, error)
            failure.resuming = self._resuming()
            if self._attempt is not None:
                self._attempt.failed(resuming=failure.resuming)
        self._sock.close()
        return failure


class _Guard:
    """A context manager for one read or write. On a failure, it closes the stream; an OSError becomes a TLSError."""

    __slots__ = ("_phase", "_stream")

    def __init__(self, stream: Stream, phase: str) -> None:
        self._stream = stream
        self._phase = phase

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is not None and (failure := self._stream.closed_by(self._phase, error)) is not None:
            raise failure from error


def _holds_certificate(flight: bytes) -> bool:
    """Return True if plain TLS 1.2 records begin with a Certificate message that is not empty.

    A client that was asked for a certificate begins its second flight with it (RFC 5246 section 7.4.6).
    """
    start = _RECORD_HEADER + _MESSAGE_HEADER
    return (
        len(flight) >= start
        and flight[0] == _HANDSHAKE_RECORD
        and flight[_RECORD_HEADER] == _CERTIFICATE
        and int.from_bytes(flight[_RECORD_HEADER + 1 : start]) > _EMPTY_CERTIFICATE_LIST
    )


def _unverified_chain(tls: ssl.SSLObject) -> tuple[bytes, ...]:
    read = getattr(tls, "get_unverified_chain", None)  # public since Python 3.13
    if read is not None:
        return tuple(read())
    # Older versions have the list in an inner object. It is needed to show the certificate of a refused server.
    inner = getattr(getattr(tls, "_sslobj", None), "get_unverified_chain", None)
    return tuple(certificate.public_bytes(_DER) for certificate in inner() or ()) if inner is not None else ()

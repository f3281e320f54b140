"""The errors of :mod:`keystead.kmip`, one root and one class per party at fault.

::

    KMIPError
    ├── LocalProtocolError     we did it: a call that the protocol does not allow now, or a value that cannot be encoded
    ├── RemoteProtocolError    the peer did it: a well-formed item that makes no sense as the message expected
    │   └── NoCommonVersion    the peer speaks no version that we speak
    ├── TTLVError              the peer's bytes are not TTLV (KMIP 1.4 section 9.1), or exceed a limit
    ├── OperationFailed        the peer answered with Result Status other than Success
    └── TransportError         no complete answer came: TCP, TLS, time-out or end of stream

No message of these classes holds key material, credentials or bytes that the peer sent.
"""

from __future__ import annotations


class KMIPError(Exception):
    """Root of every error that this library raises on purpose.

    ``sent`` is false only when it is certain that the peer was sent nothing of the caller's request, which may then be
    repeated, whatever it is. Otherwise the peer may have carried it out.
    """

    sent: bool = True


class LocalProtocolError(KMIPError):
    """The caller asked for something that the protocol forbids; the connection's state is unchanged."""

    sent = False


class RemoteProtocolError(KMIPError):
    """The peer sent well-formed TTLV that breaks the protocol; the connection must be closed."""


class TTLVError(KMIPError):
    """The bytes are not TTLV, or a limit (size, depth) was exceeded.

    ``limit`` is true when a configured limit was the cause and false when the bytes are malformed.
    """

    def __init__(self, message: str, *, limit: bool = False) -> None:
        super().__init__(message)
        self.limit = limit


class NoCommonVersion(RemoteProtocolError):  # noqa: N818 - says what is, as the probe's reason does
    """Client and server share no protocol version; ``offered`` is the server's list of (major, minor)."""

    def __init__(self, offered: tuple[tuple[int, int], ...]) -> None:
        super().__init__("the server and this client have no protocol version in common")
        self.offered = offered


class OperationFailed(KMIPError):  # noqa: N818 - the specification's words: Result Status "Operation Failed"
    """A batch item came back with Result Status Operation Failed, Pending or Undone (KMIP 1.4 section 6.9).

    ``operation``, ``status`` and ``reason`` are the numbers from the wire (``None`` when absent); ``version`` is the
    (major, minor) of the answer's header. ``result_message`` is the peer's free text: show it to operators only, never
    to an API caller.
    """

    def __init__(
        self,
        operation: int | None,
        status: int,
        reason: int | None,
        result_message: str | None = None,
        version: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(f"operation {operation} failed: status {status}, reason {reason}")
        self.operation = operation
        self.status = status
        self.reason = reason
        self.result_message = result_message
        self.version = version


class TransportError(KMIPError):
    """The connection did not carry a complete answer.

    ``phase`` is ``"connect"``, ``"tls"`` or ``"exchange"``. The original exception, if any, is ``__cause__``; callers
    classify by (phase, type, reason name or verify code), never by text.
    """

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase
        self.sent = phase == "exchange"

"""The errors of :mod:`keystead.kmip`: one root, and one class per party at fault.

- LocalProtocolError: our fault. The call is not allowed now, or a value cannot be encoded.
- RemoteProtocolError: the peer's fault. A well-formed item is not the expected message.
- NoCommonVersion, a RemoteProtocolError: the peer has no version that we have.
- TTLVError: the peer's bytes are not TTLV (KMIP 1.4 section 9.1), or exceed a limit.
- OperationFailed: the peer answered with a Result Status other than Success.
- TransportError: no complete answer came: TCP, TLS, time-out or end of stream.

No message of these classes holds key material, credentials or bytes that the peer sent.
"""

from __future__ import annotations


class KMIPError(Exception):
    """The root of every error that this library raises on purpose.

    ``sent`` is false only if certainly nothing of the request was sent to the peer. Then every request may be repeated.
    Otherwise the peer may have carried out the request.
    """

    sent: bool = True


class LocalProtocolError(KMIPError):
    """The caller asked for something that the protocol forbids. The connection's state is unchanged."""

    sent = False


class RemoteProtocolError(KMIPError):
    """The peer sent well-formed TTLV that breaks the protocol. The connection must be closed."""


class TTLVError(KMIPError):
    """The bytes are not TTLV, or a limit (size, depth) was exceeded.

    ``limit`` is true if a configured limit was the cause, and false if the bytes are malformed.
    """

    def __init__(self, message: str, *, limit: bool = False) -> None:
        super().__init__(message)
        self.limit = limit


class NoCommonVersion(RemoteProtocolError):  # noqa: N818 - has the name of the probe's reason
    """Client and server share no protocol version. ``offered`` is the server's list of (major, minor)."""

    def __init__(self, offered: tuple[tuple[int, int], ...]) -> None:
        super().__init__("the server and this client have no protocol version in common")
        self.offered = offered


class OperationFailed(KMIPError):  # noqa: N818 - the specification's words: Result Status "Operation Failed"
    """A batch item came back with Result Status Operation Failed, Pending or Undone (KMIP 1.4 section 6.9).

    ``operation``, ``status`` and ``reason`` are the numbers of the answer (``None`` if absent). ``version`` is the
    (major, minor) of the answer's header. ``result_message`` is the peer's free text. Show it only to operators, never
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

    ``phase`` is ``"connect"``, ``"tls"`` or ``"exchange"``. The original exception, if any, is ``__cause__``. Callers
    classify by phase, type, reason name or verify code, never by text.
    """

    def __init__(self, phase: str, message: str) -> None:
        super().__init__(message)
        self.phase = phase
        self.sent = phase == "exchange"

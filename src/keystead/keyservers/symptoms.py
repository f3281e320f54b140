"""The facts of a failure to reach a key server: fixed words and numbers, taken from exceptions and evidence.

Symptoms contain no text of an exception and no byte of a peer. ``failures.py`` says what a symptom means.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from keystead.kmip.ttlv.errors import (
    KMIPError,
    NoCommonVersion,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
    TTLVError,
)

if TYPE_CHECKING:
    from keystead.kmip.transport.tls import TLSError


class Event(StrEnum):
    """What happened, in one word."""

    FORBIDDEN = "forbidden"
    UNRESOLVED = "unresolved"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed out"
    CLOSED = "closed"
    ALERT = "alert"
    VERIFY = "verify"
    TLS = "tls error"
    OWN_EXPIRED = "our certificate has expired"
    OWN_NOT_YET_VALID = "our certificate is not yet valid"
    OWN_KEY_MISMATCH = "our key is another certificate's"
    RESULT = "operation failed"
    NO_COMMON_VERSION = "no common version"
    MALFORMED = "malformed"
    TOO_LARGE = "too large"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Symptom:
    """The facts of one failure. A number is ``None`` if it does not apply."""

    stage: str
    event: Event
    alert: int | None = None
    verify_code: int | None = None
    tls_reason: str | None = None
    spoke_tls: bool | None = None
    server_hello: bool = False
    certificate_sent: bool = False
    """TLS 1.2: our certificate was sent, and the server's Finished did not come."""
    closes_without_request: bool = False
    """TLS 1.3: no ticket came, and the server also closed a second connection on which we sent nothing."""
    operation: str | None = None
    result_reason: int | None = None
    username: bool = False


def connect_symptom(error: TransportError) -> Symptom:
    """Return the symptom of a failed TCP connection."""
    match error.__cause__:
        case ConnectionRefusedError():
            return Symptom("connect", Event.REFUSED)
        case ConnectionResetError():  # the connection was accepted, then reset before we used it
            return Symptom("tls", Event.CLOSED)
        case TimeoutError():  # ETIMEDOUT: the kernel gave up before we did
            return Symptom("connect", Event.TIMED_OUT)
        case _:
            return Symptom("connect", Event.UNREACHABLE)


def tls_symptom(error: TLSError) -> Symptom:
    """Return the symptom of a TLS connection that failed in the handshake or at the first read."""
    return Symptom(
        "tls",
        _tls_event(error),
        alert=error.alert,
        verify_code=error.verify_code,
        tls_reason=error.reason,
        spoke_tls=error.evidence.spoke_tls,
        server_hello=error.evidence.server_hello,
        certificate_sent=error.evidence.client_certificate_sent and not error.evidence.handshake_done,
    )


def _tls_event(error: TLSError) -> Event:
    if error.alert is not None:
        return Event.ALERT
    if error.verify_code is not None:
        return Event.VERIFY
    cause = error.__cause__
    if isinstance(cause, ssl.SSLEOFError) or not isinstance(cause, ssl.SSLError):
        return Event.CLOSED
    return Event.TLS


def kmip_symptom(stage: str, operation: str, error: KMIPError, *, username: bool) -> Symptom:
    """Return the symptom of a failed KMIP operation."""
    reason = error.reason if isinstance(error, OperationFailed) else None
    return Symptom(stage, _kmip_event(error), operation=operation, result_reason=reason, username=username)


def _kmip_event(error: KMIPError) -> Event:
    match error:
        case NoCommonVersion():
            return Event.NO_COMMON_VERSION
        case OperationFailed():
            return Event.RESULT
        case TTLVError(limit=True):
            return Event.TOO_LARGE
        case TTLVError() | RemoteProtocolError():
            return Event.MALFORMED
        case TransportError():
            return Event.CLOSED
        case _:
            return Event.OTHER

"""The fault of a failed operation on a key server: a table by event and by Result Reason.

A fault tells the caller what to do next. Its reason is a fixed word: the probe's reason, or the Result Reason's name in
lower case. It contains no byte of a peer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.keyservers.failures import classify
from keystead.keyservers.symptoms import Event, kmip_symptom
from keystead.kmip.ttlv.enums import ResultReason, ResultStatus
from keystead.kmip.ttlv.errors import OperationFailed
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.keyservers.symptoms import Symptom
    from keystead.kmip.ttlv.errors import KMIPError

RESULT_REASONS: Final[Mapping[Fault, frozenset[ResultReason]]] = {
    Fault.NOT_FOUND: frozenset(
        {ResultReason.ITEM_NOT_FOUND, ResultReason.OBJECT_NOT_FOUND, ResultReason.OBJECT_DESTROYED}
    ),
    Fault.EXISTS: frozenset({ResultReason.OBJECT_ALREADY_EXISTS, ResultReason.NON_UNIQUE_NAME_ATTRIBUTE}),
    Fault.DENIED: frozenset(
        {ResultReason.PERMISSION_DENIED, ResultReason.AUTHENTICATION_NOT_SUCCESSFUL, ResultReason.NOT_AUTHORISED}
    ),
    Fault.NOT_SUPPORTED: frozenset(
        {
            ResultReason.OPERATION_NOT_SUPPORTED,
            ResultReason.FEATURE_NOT_SUPPORTED,
            ResultReason.KEY_FORMAT_TYPE_NOT_SUPPORTED,
            ResultReason.APPLICATION_NAMESPACE_NOT_SUPPORTED,
            ResultReason.INVALID_OBJECT_TYPE,
            ResultReason.UNSUPPORTED_ATTRIBUTE,
            ResultReason.UNSUPPORTED_CRYPTOGRAPHIC_PARAMETERS,
        }
    ),
    Fault.WRONG_STATE: frozenset(
        {ResultReason.WRONG_KEY_LIFECYCLE_STATE, ResultReason.ILLEGAL_OPERATION, ResultReason.OBJECT_ARCHIVED}
    ),
    Fault.UNANSWERED: frozenset({ResultReason.RESPONSE_TOO_LARGE}),  # it was done, but its result is unknown
}
"""Result Reasons by fault. Any other reason is ``refused``. KMIP 1.4 section 9.1.3.2.29, KMIP 2.1 section 11.48."""

NO_ANSWER: Final = "no_answer"

_BROKEN: Final[Mapping[Event, str]] = {
    Event.CLOSED: "connection_closed",
    Event.MALFORMED: "malformed_answer",
    Event.TOO_LARGE: "answer_too_large",
}

_FAULTS: Final = {reason: fault for fault, reasons in RESULT_REASONS.items() for reason in reasons}
_NAMES: Final = {reason.value: reason.name.lower() for reason in ResultReason}


def unreachable(reason: str) -> KeyServerFault:
    """Return the fault of an operation that was not sent."""
    return KeyServerFault(Fault.UNREACHABLE, reason)


def refused_opening(symptom: Symptom) -> KeyServerFault:
    """Return the fault of a connection that failed to open, with the reason that a probe would give."""
    return unreachable(classify(symptom).reason)


def timed_out() -> KeyServerFault:
    """Return the fault of an operation that was sent, but not answered completely in time."""
    return KeyServerFault(Fault.UNANSWERED, NO_ANSWER)


def malformed() -> KeyServerFault:
    """Return the fault of an operation whose answer is not an answer to the request."""
    return KeyServerFault(Fault.UNANSWERED, _BROKEN[Event.MALFORMED])


def unusable(what: str) -> KeyServerFault:
    """Return the fault of an answer in an unusable form: wrapped material, or an identifier that is not text."""
    return KeyServerFault(Fault.REFUSED, f"unusable_{what}")


def fault_of(error: KMIPError) -> KeyServerFault:
    """Return the fault of an operation that failed on an open connection."""
    if isinstance(error, OperationFailed):
        return _answered(error)
    reason = _BROKEN.get(kmip_symptom("kmip", "", error, username=False).event, "engine_error")
    return KeyServerFault(Fault.UNANSWERED if error.sent else Fault.UNREACHABLE, reason)


def _answered(error: OperationFailed) -> KeyServerFault:
    if error.status != ResultStatus.OPERATION_FAILED:  # Pending or Undone: we never ask for these
        return KeyServerFault(Fault.UNANSWERED, "operation_pending")
    if error.reason is None:
        return KeyServerFault(Fault.REFUSED, "no_result_reason")
    fault = _FAULTS.get(error.reason, Fault.REFUSED)  # type: ignore[call-overload]
    return KeyServerFault(fault, _NAMES.get(error.reason, "unknown_result_reason"))

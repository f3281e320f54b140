"""The faults of failed operations: every Result Reason, and everything that breaks an exchange."""

from __future__ import annotations

import pytest

from keystead.keyservers import objects_faults
from keystead.keyservers.symptoms import Event, Symptom
from keystead.kmip.ttlv.enums import Operation, ResultReason, ResultStatus
from keystead.kmip.ttlv.errors import (
    KMIPError,
    LocalProtocolError,
    OperationFailed,
    RemoteProtocolError,
    TransportError,
    TTLVError,
)
from keystead.service.ports.objects import Fault, KeyServerFault

PEER_SAYS = "what the peer says"


def answered(reason: int | None, status: ResultStatus = ResultStatus.OPERATION_FAILED) -> KeyServerFault:
    """Return the fault of an answer."""
    return objects_faults.fault_of(OperationFailed(Operation.GET, status, reason, PEER_SAYS))


@pytest.mark.parametrize("reason", ResultReason)
def test_result_reasons(reason: ResultReason) -> None:
    """Each Result Reason has one fault and its own name as reason, without text of the peer."""
    faults = [fault for fault, reasons in objects_faults.RESULT_REASONS.items() if reason in reasons]
    assert len(faults) <= 1
    fault = answered(reason)
    assert fault.fault is (faults[0] if faults else Fault.REFUSED)
    assert fault.reason == reason.name.lower()
    assert PEER_SAYS not in str(fault)


@pytest.mark.parametrize(
    ("reason", "fault"),
    [
        (ResultReason.ITEM_NOT_FOUND, Fault.NOT_FOUND),
        (ResultReason.NON_UNIQUE_NAME_ATTRIBUTE, Fault.EXISTS),
        (ResultReason.PERMISSION_DENIED, Fault.DENIED),
        (ResultReason.OPERATION_NOT_SUPPORTED, Fault.NOT_SUPPORTED),
        (ResultReason.WRONG_KEY_LIFECYCLE_STATE, Fault.WRONG_STATE),
        (ResultReason.RESPONSE_TOO_LARGE, Fault.UNANSWERED),
        (ResultReason.GENERAL_FAILURE, Fault.REFUSED),
    ],
)
def test_what_matters_most(reason: ResultReason, fault: Fault) -> None:
    """The faults on which the next step depends."""
    assert answered(reason).fault is fault
    assert fault.sent == (fault is Fault.UNANSWERED)


@pytest.mark.parametrize(
    ("reason", "word"),
    [(None, "no_result_reason"), (0x8000_0001, "unknown_result_reason"), (0, "unknown_result_reason")],
)
def test_reasons_that_nobody_knows(reason: int | None, word: str) -> None:
    """A failure without a reason, or with a vendor's, is refused with a fixed word."""
    fault = answered(reason)
    assert (fault.fault, fault.reason) == (Fault.REFUSED, word)


@pytest.mark.parametrize("status", [ResultStatus.OPERATION_PENDING, ResultStatus.OPERATION_UNDONE])
def test_what_may_still_happen(status: ResultStatus) -> None:
    """Pending and Undone are unanswered, because the operation may have happened or happen later."""
    fault = answered(None, status)
    assert (fault.fault, fault.reason) == (Fault.UNANSWERED, "operation_pending")


def unsent(error: KMIPError) -> KMIPError:
    """Return the same error, when nothing of the request left."""
    error.sent = False
    return error


@pytest.mark.parametrize(
    ("error", "fault", "reason"),
    [
        (TransportError("exchange", PEER_SAYS), Fault.UNANSWERED, "connection_closed"),
        (unsent(TransportError("exchange", PEER_SAYS)), Fault.UNREACHABLE, "connection_closed"),
        (TTLVError(PEER_SAYS), Fault.UNANSWERED, "malformed_answer"),
        (TTLVError(PEER_SAYS, limit=True), Fault.UNANSWERED, "answer_too_large"),
        (RemoteProtocolError(PEER_SAYS), Fault.UNANSWERED, "malformed_answer"),
        (LocalProtocolError(PEER_SAYS), Fault.UNREACHABLE, "engine_error"),
        (KMIPError(PEER_SAYS), Fault.UNANSWERED, "engine_error"),
    ],
)
def test_exchanges_that_break(error: KMIPError, fault: Fault, reason: str) -> None:
    """A request that was sent may have been carried out, an unsent one was not."""
    found = objects_faults.fault_of(error)
    assert (found.fault, found.reason) == (fault, reason)
    assert PEER_SAYS not in str(found)


def test_faults_without_an_error() -> None:
    """Each fault that has no exception has a fixed fault and reason."""
    made = [
        objects_faults.timed_out(),
        objects_faults.malformed(),
        objects_faults.unusable("material"),
        objects_faults.unreachable("closed"),
        objects_faults.refused_opening(Symptom("connect", Event.REFUSED)),
    ]
    assert [(fault.fault, fault.reason) for fault in made] == [
        (Fault.UNANSWERED, "no_answer"),
        (Fault.UNANSWERED, "malformed_answer"),
        (Fault.REFUSED, "unusable_material"),
        (Fault.UNREACHABLE, "closed"),
        (Fault.UNREACHABLE, "connection_refused"),
    ]

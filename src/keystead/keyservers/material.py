"""The meaning of answers to Get: material, or the fault of a single object or of a whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from keystead.core.secret import Secret
from keystead.keyservers.forms import material_of
from keystead.keyservers.objects_faults import fault_of, unusable
from keystead.kmip.ttlv.errors import OperationFailed
from keystead.service.ports.objects import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.kmip.messages.payloads.get import GetResponsePayload

_OF_AN_OBJECT: Final = frozenset({Fault.NOT_FOUND, Fault.DENIED, Fault.WRONG_STATE})
"""Faults that concern the object asked for. If all items of a batch share another fault, it may concern the batch."""


def material_in(answer: GetResponsePayload) -> bytes:
    """Return the material in an answer. Raises KeyServerFault if it is wrapped, or in a form that we do not read."""
    material = material_of(answer.managed_object)
    if material is None:
        raise unusable("material")
    return material


def outcome(answer: GetResponsePayload | OperationFailed) -> bytes | KeyServerFault:
    """Return the material in one item of a batch, or its fault."""
    if isinstance(answer, OperationFailed):
        return fault_of(answer)
    try:
        return material_in(answer)
    except KeyServerFault as fault:
        return fault


def joined(parts: Sequence[bytes | KeyServerFault]) -> Secret | KeyServerFault:
    """Return the material of a key from that of its objects, or the first fault."""
    failed = next((part for part in parts if isinstance(part, KeyServerFault)), None)
    return failed or Secret(b"".join(cast("Sequence[bytes]", parts)))


def refused_as_a_whole(answers: Sequence[GetResponsePayload | OperationFailed | None]) -> bool:
    """Return True if all items failed alike, for a reason that does not concern a single object."""
    failures = [answer for answer in answers if isinstance(answer, OperationFailed)]
    alike = len({(failure.status, failure.reason) for failure in failures}) == 1
    return len(failures) == len(answers) and alike and fault_of(failures[0]).fault not in _OF_AN_OBJECT

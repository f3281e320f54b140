"""What is taken from a key server's answers about objects: identifiers, material, or the fault in their place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from keystead.core.secret import Secret
from keystead.keyservers.forms import material_of
from keystead.keyservers.objects_faults import fault_of, malformed, unusable
from keystead.kmip.errors import OperationFailed
from keystead.service.key_ports import Fault, KeyServerFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from keystead.kmip.client import BatchResult
    from keystead.kmip.payloads.get import GetResponsePayload

_OF_AN_OBJECT: Final = frozenset({Fault.NOT_FOUND, Fault.DENIED, Fault.WRONG_STATE})
"""Faults that are about the object asked for. Any other that all of a batch share may be about the batch."""


def text_of(identifier: object) -> str | None:
    """A Unique Identifier; None for one of another type (KMIP 2.x), which we never ask for."""
    return identifier if isinstance(identifier, str) else None


def texts_of(identifiers: Iterable[str | None]) -> list[str]:
    """Unique Identifiers; one of another type is a fault."""
    texts = [identifier for identifier in identifiers if identifier is not None]
    if not all(identifier is not None for identifier in identifiers):
        raise unusable("identifier")
    return texts


def material_in(answer: GetResponsePayload) -> bytes:
    """The bytes of the object that was got; a fault when it is none that keeps a key."""
    material = material_of(answer.managed_object)
    if material is None:
        raise unusable("material")
    return material


def material_or_fault(answer: GetResponsePayload | OperationFailed) -> bytes | KeyServerFault:
    """The bytes of an object of a batch, or why they are not there."""
    if isinstance(answer, OperationFailed):
        return fault_of(answer)
    try:
        return material_in(answer)
    except KeyServerFault as fault:
        return fault


def failure_of(result: BatchResult) -> KeyServerFault | None:
    """Why an operation of a batch was not carried out, or is not known to have been."""
    if isinstance(result, OperationFailed):
        return fault_of(result)
    return malformed() if result is None else None


def joined(parts: Sequence[bytes | KeyServerFault]) -> Secret | KeyServerFault:
    """One key of its parts, or the first fault among them."""
    failed = next((part for part in parts if isinstance(part, KeyServerFault)), None)
    return failed or Secret(b"".join(cast("Sequence[bytes]", parts)))


def refused_as_a_whole(answers: Sequence[BatchResult]) -> bool:
    """Whether all failed alike, for a reason that is not the objects'."""
    failures = [answer for answer in answers if isinstance(answer, OperationFailed)]
    alike = len({(failure.status, failure.reason) for failure in failures}) == 1
    return len(failures) == len(answers) and alike and fault_of(failures[0]).fault not in _OF_AN_OBJECT

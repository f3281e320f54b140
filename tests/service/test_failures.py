"""keystead.service.failures: the log tells where something failed."""

from __future__ import annotations

import pytest

from keystead.core import errors
from keystead.service.failures import answer_to, log_fields_of
from keystead.service.ports.store import OutcomeUnknown, StorageError, StoreError

CANARY = "c4nary-s3cret"


def test_the_log_tells_where_and_not_what() -> None:
    """Types of an exception and its causes, and the places; none of their texts."""

    def fail() -> None:
        try:
            raise ValueError(CANARY)
        except ValueError as error:
            raise RuntimeError(CANARY) from error

    with pytest.raises(RuntimeError) as caught:
        fail()
    fields = log_fields_of(caught.value)
    assert fields["error"] == ["RuntimeError", "ValueError"]
    assert any("fail" in place for place in fields["at"])  # type: ignore[attr-defined]
    assert CANARY not in str(fields)


@pytest.mark.parametrize(
    ("failure", "kind", "retry_after", "message"),
    [
        (StorageError(CANARY, "it does not answer", retry_after_s=1), errors.STORAGE_FAILED, 1, "it does not answer"),
        (StorageError(CANARY, "its disk is full"), errors.STORAGE_FAILED, 5, "its disk is full"),
        (OutcomeUnknown(CANARY), errors.OUTCOME_UNKNOWN, None, "may have been made"),
        (StoreError(CANARY), errors.INTERNAL_ERROR, None, "unexpected"),
        (LookupError(CANARY), errors.INTERNAL_ERROR, None, "unexpected"),
    ],
    ids=["away", "full", "unknown", "damaged", "fault"],
)
def test_only_what_changed_nothing_is_to_be_sent_again(
    failure: Exception, kind: errors.ErrorKind, retry_after: int | None, message: str
) -> None:
    """A client that repeats by Retry-After alone makes no change twice."""
    answer = answer_to(failure)
    assert (answer.kind, answer.retry_after) == (kind, retry_after)
    assert (answer.kind.status == 503) == (retry_after is not None)
    assert message in answer.message
    assert CANARY not in answer.message

"""keystead.service.failures: the log tells where something failed."""

from __future__ import annotations

import pytest

from keystead.service.failures import log_fields_of

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

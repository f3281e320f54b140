"""Failures that nobody expected or nobody waits for: what the log says of them.

The log never has the text of an unexpected exception, because it may quote secrets.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.ports.store import OutcomeUnknown, StorageError, StoreError

if TYPE_CHECKING:
    import asyncio


def log_fields_of(error: BaseException) -> dict[str, object]:
    """Return an exception as log fields: its types with those of its causes, and where it was raised.

    The text is included only for a StoreError, because that text names a kind of failure and never quotes a value.
    """
    types = []
    chained: BaseException | None = error
    while chained is not None:
        types.append(type(chained).__qualname__)
        chained = chained.__cause__ or chained.__context__
    places = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    return {"error": types, "at": places, **({"why": str(error)} if isinstance(error, StoreError) else {})}


def answer_to(error: BaseException) -> OntapError:
    """Return what a caller is told of a failure of the service. It holds nothing of an unexpected exception."""
    if isinstance(error, StorageError):
        return OntapError(errors.STORAGE_FAILED, reason=error.reason, retry_after=error.retry_after_s)
    return OntapError(errors.OUTCOME_UNKNOWN if isinstance(error, OutcomeUnknown) else errors.INTERNAL_ERROR)


def retrieve_failure(outcome: asyncio.Future[Any]) -> None:
    """Retrieve a failure that no caller waits for any more, because asyncio would log it with its text otherwise."""
    if not outcome.cancelled():
        outcome.exception()

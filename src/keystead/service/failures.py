"""What the log says of an unexpected exception: where it came from, and not its text, which may quote secrets."""

from __future__ import annotations

import traceback

from keystead.service.ports.store import StoreError


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

"""What a function of a text returns, or the OntapError that it raises; nothing else may come out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def outcome(read: Callable[[str], T], text: str) -> T | OntapError:
    """Call it; any other exception is the test's failure."""
    try:
        return read(text)
    except OntapError as error:
        return error

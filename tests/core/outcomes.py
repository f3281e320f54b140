"""What a function of one value returns, or the OntapError that it raises; nothing else may come out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Given = TypeVar("Given")


def outcome(read: Callable[[Given], T], given: Given) -> T | OntapError:
    """Call it; any other exception is the test's failure."""
    try:
        return read(given)
    except OntapError as error:
        return error

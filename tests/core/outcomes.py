"""The outcome of a function of one value: its result or its OntapError, and no other exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
Given = TypeVar("Given")


def outcome(read: Callable[[Given], T], given: Given) -> T | OntapError:
    """Return the result of the call; any other exception fails the test."""
    try:
        return read(given)
    except OntapError as error:
        return error

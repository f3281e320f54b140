"""One record that was written: its key, its value and its rollback."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.checking import Record
from keystead.api.query import WriteQuery
from keystead.api.request import Request

if TYPE_CHECKING:
    from keystead.api.resource import Resource


class Undo(NamedTuple):
    """How to roll back one write: the method, the object's key and the function that does it.

    ``earlier`` is the object's key after the rollback, or None if the object is gone then.
    """

    method: str
    key: Any
    work: Callable[[], Awaitable[Any]]
    earlier: Any = None


class Written(NamedTuple):
    """The result of one record's write: the key of the object that exists now, and the rollback."""

    key: Any = None
    undo: Undo | None = None


WriteRecord = Callable[[Request, Record, WriteQuery], Awaitable[Written]]


def key_of(resource: Resource, view: Any) -> Any:
    """Return the parsed value of an object's key field."""
    return resource.fields[resource.key].type.parse(next(iter(resource.values(view, resource.key))))


def value_of(values: Any, name: str) -> Any:
    """Return the value that nested objects hold for a field, or None. For a field in an array, return the array."""
    for part in name.split("."):
        if not isinstance(values, dict):
            return values
        values = values.get(part)
    return values

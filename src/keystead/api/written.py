"""One record that was written: its key, its value and how it is undone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.checking import Record
from keystead.api.query import WriteQuery
from keystead.api.request import Request

if TYPE_CHECKING:
    from keystead.api.resource import Resource


class Undo(NamedTuple):
    """How to take back what was done to the object with this key, and the method by which it is done.

    ``earlier`` is the key that the object has afterwards, None when it is gone then.
    """

    method: str
    key: Any
    work: Callable[[], Awaitable[Any]]
    earlier: Any = None


class Written(NamedTuple):
    """What became of one record: the key of the object that is there now, and how to take it back."""

    key: Any = None
    undo: Undo | None = None


WriteRecord = Callable[[Request, Record, WriteQuery], Awaitable[Written]]


def key_of(resource: Resource, view: Any) -> Any:
    """The parsed value of an object's key field."""
    return resource.fields[resource.key].type.parse(next(iter(resource.values(view, resource.key))))


def value_of(values: Any, name: str) -> Any:
    """What nested objects hold for a field, None for nothing; of a field in an array, the array."""
    for part in name.split("."):
        if not isinstance(values, dict):
            return values
        values = values.get(part)
    return values

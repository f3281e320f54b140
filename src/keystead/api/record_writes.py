"""What is done to one object of a ``records`` body, and how it is taken back when a later one fails.

A created object is deleted again. A changed one is given the values back that it had; what cannot be read (a password)
cannot be given back, and the undoing says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.checking import Record, check_body, nested
from keystead.api.hal import render
from keystead.api.query import WriteQuery
from keystead.api.request import Request
from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.api.collections import Collection, Create
    from keystead.api.operations import Delete, Patch
    from keystead.api.resource import Resource


class Undo(NamedTuple):
    """How to take back what was done to the object with this key, and the method by which it is done."""

    method: str
    key: Any
    work: Callable[[], Awaitable[Any]]


class Written(NamedTuple):
    """What became of one record: the key of the object that is there now, and how to take it back."""

    key: Any = None
    undo: Undo | None = None


WriteRecord = Callable[[Request, Record, WriteQuery], Awaitable[Written]]


def key_of(resource: Resource, view: Any) -> Any:
    """The parsed value of an object's key field."""
    return resource.fields[resource.key].type.parse(next(iter(resource.values(view, resource.key))))


def creating(collection: Collection, create: Create) -> WriteRecord:
    """POST of one record."""
    resource, delete = collection.resource, collection.delete

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        key = key_of(resource, await create(request, record.values, query))

        async def undo() -> None:
            if delete is None:
                raise OntapError(errors.METHOD_NOT_SUPPORTED)
            await delete(request.of_key(resource, key), key, replace(query, own={}))

        return Written(key, Undo("DELETE", key, undo))

    return write


def changing(collection: Collection, patch: Patch) -> WriteRecord:
    """PATCH of one record."""
    resource = collection.resource

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        named = frozenset(
            name for name, item in resource.fields.items() if item.patch and value_of(record.values, name) is not None
        )
        earlier: Mapping[str, Any] = {}
        with suppress(OntapError):  # the change itself will say so
            earlier = render(resource, named, await collection.show(request, named), hal=False)
        await patch(request, record.key, dict(record.values), query)

        async def undo() -> None:
            values = check_body(resource, nested(resource, _complete(resource, named, earlier)), "PATCH")
            await patch(request, record.key, values, replace(query, own={}))

        return Written(record.key, Undo("PATCH", record.key, undo))

    return write


def removing(delete: Delete) -> WriteRecord:
    """DELETE of one record, which is not taken back."""

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        await delete(request, record.key, query)
        return Written()

    return write


def value_of(values: Any, name: str) -> Any:
    """What nested objects hold for a field, None for nothing; of a field in an array, the array."""
    for part in name.split("."):
        if not isinstance(values, dict):
            return values
        values = values.get(part)
    return values


def _complete(resource: Resource, named: frozenset[str], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """A body that gives all of these fields their earlier values: an array that was not shown was empty.

    Raises 262249 for a field whose value cannot be known.
    """
    body = dict(earlier)
    for name in sorted(named):
        if value_of(earlier, name) is None:
            if not resource.fields[name].many:
                raise OntapError(errors.FIELD_NOT_READABLE, target=name, field=name)
            body[name] = []
    return body

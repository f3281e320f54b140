"""What is done to one object of a ``records`` body, and how it is taken back when a later one fails.

A created object is deleted again. A changed one is given the values back that it had; what cannot be known (a password)
cannot be given back, and the undoing says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keystead.api.checking import Record, check_body, nested
from keystead.api.hal import render
from keystead.api.written import Undo, WriteRecord, Written, key_of, value_of
from keystead.core import errors
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from keystead.api.operations import Create, Delete, Patch, ReadOne
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.resource import Resource


def creating(resource: Resource, create: Create, delete: Delete | None) -> WriteRecord:
    """POST of one record."""

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        key = key_of(resource, await create(request, record.values, query))

        async def undo() -> None:
            if delete is None:
                raise OntapError(errors.METHOD_NOT_SUPPORTED)
            await delete(request.of_key(resource, key), key, replace(query, own={}))

        return Written(key, Undo("DELETE", key, undo))

    return write


def changing(resource: Resource, show: ReadOne, patch: Patch) -> WriteRecord:
    """PATCH of one record."""

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        named = {
            name for name, item in resource.fields.items() if item.patch and value_of(record.values, name) is not None
        }
        shown = frozenset(named | _beside(resource, named))
        earlier: Any = None
        unread: OntapError | None = None
        try:
            earlier = await show(request, shown)
        except OntapError as error:
            unread = error  # the change itself will say so
        await patch(request, record.key, dict(record.values), query)
        key = resource.moved(record.key, record.values)

        async def undo() -> None:
            if unread is not None:
                raise unread
            body = _earlier(resource, named, render(resource, shown, earlier, hal=False), earlier)
            values = check_body(resource, nested(resource, body), "PATCH")
            await patch(request.of_key(resource, key), key, values, replace(query, own={}))

        return Written(key, Undo("PATCH", key, undo, record.key))

    return write


def removing(delete: Delete) -> WriteRecord:
    """DELETE of one record, which is not taken back."""

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        await delete(request, record.key, query)
        return Written()

    return write


def _beside(resource: Resource, named: set[str]) -> set[str]:
    """What stands beside these fields in the objects of arrays: a certificate that was named is put back by uuid."""
    groups = {name.rpartition(".")[0] for name in named if resource.in_array(name)}
    return {name for name, item in resource.fields.items() if item.patch and name.rpartition(".")[0] in groups}


def _earlier(resource: Resource, named: set[str], shown: dict[str, Any], view: Any) -> dict[str, Any]:
    """A body that gives all of these fields their earlier values: an array that was not shown was empty.

    Raises 262249 for a field whose value cannot be known.
    """
    body = dict(shown)
    for name in sorted(named):
        field = resource.fields[name]
        if value_of(shown, name) is not None:
            continue
        value = [] if field.many else field.restore(view) if field.restore else None
        if value is None:
            raise OntapError(errors.FIELD_NOT_READABLE, target=name, field=name)
        body[name] = value
    return body

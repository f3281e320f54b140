"""The write of one object of a ``records`` body, and its rollback when a later write fails.

The rollback deletes a created object and restores the earlier values of a changed one. It raises an error for a value
that cannot be read, such as a password.
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
    """Return the function that writes one record of a POST."""

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        view = await create(request, record.values, query)
        key = key_of(resource, view)

        async def undo() -> None:
            if delete is None:
                raise OntapError(errors.METHOD_NOT_SUPPORTED)
            await delete(request.of_key(resource, key, beside=resource.beside(view)), key, replace(query, own={}))

        return Written(key, Undo("DELETE", key, undo))

    return write


def changing(resource: Resource, show: ReadOne, patch: Patch) -> WriteRecord:
    """Return the function that writes one record of a PATCH."""

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        named = {
            name for name, item in resource.fields.items() if item.patch and value_of(record.values, name) is not None
        }
        shown = frozenset(named | _same_element_fields(resource, named))
        earlier: Any = None
        unread: OntapError | None = None
        try:
            earlier = await show(request, shown)
        except OntapError as error:
            unread = error  # the PATCH will raise the same error
        await patch(request, record.key, dict(record.values), query)
        key = resource.moved(record.key, record.values)

        async def undo() -> None:
            if unread is not None:
                raise unread
            body = _restoring_body(resource, named, render(resource, shown, earlier, hal=False), earlier)
            values = check_body(resource, nested(resource, body), "PATCH")
            await patch(request.of_key(resource, key), key, values, replace(query, own={}))

        return Written(key, Undo("PATCH", key, undo, record.key))

    return write


def removing(delete: Delete) -> WriteRecord:
    """Return the function that writes one record of a DELETE. There is no rollback.

    A record does not become a job of its own: the job of all records waits for it.
    """

    async def write(request: Request, record: Record, query: WriteQuery) -> Written:
        await delete(request, record.key, replace(query, return_timeout=None))
        return Written()

    return write


def _same_element_fields(resource: Resource, named: set[str]) -> set[str]:
    """Return the settable fields of the same array objects as these fields.

    The rollback needs them: a certificate that was set by name is restored by uuid.
    """
    groups = {name.rpartition(".")[0] for name in named if resource.in_array(name)}
    return {name for name, item in resource.fields.items() if item.patch and name.rpartition(".")[0] in groups}


def _restoring_body(resource: Resource, named: set[str], shown: dict[str, Any], view: Any) -> dict[str, Any]:
    """Return a body that restores the earlier values of all these fields. An array that was not shown was empty.

    Raise 262249 for a field with a value that cannot be read.
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

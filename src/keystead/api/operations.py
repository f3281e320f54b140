"""The ASGI endpoint of a path, and the operations that all resources share: list, show, change and delete."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keystead.api.collecting import collect
from keystead.api.declared import Codes, Form, Operation, Own
from keystead.api.filtering import parsed
from keystead.api.hal import Reply, render, segment, self_link
from keystead.api.query import WriteQuery, next_page, read_get, read_write
from keystead.api.request import ALLOW, Request
from keystead.api.turns import Turns
from keystead.api.values import TEXT, Parameter
from keystead.core import errors
from keystead.core.access import READS
from keystead.core.errors import OntapError

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from keystead.api.hal import Answer
    from keystead.api.query import GetQuery
    from keystead.api.resource import Resource
    from keystead.core.query.query import Wanted
    from keystead.service.ports.page import Page
    from keystead.service.services import Services


ReadPage = Callable[[Request, "Page"], Awaitable[Sequence[Any]]]
ReadOne = Callable[[Request, "Wanted"], Awaitable[Any]]

Patch = Callable[[Request, Any, dict[str, Any], WriteQuery], Awaitable[Reply | None]]
"""A function that changes one object of a collection.

It takes the object's key, the checked values of the body and the URL's parameters. None means 200.
"""

Delete = Callable[[Request, Any, WriteQuery], Coroutine[Any, Any, Reply | None]]
"""A function that deletes one object of a collection by its key. None means 200."""

Steer = Callable[[Request, Any, WriteQuery], Awaitable[None]]
"""A function that does with one object of a collection, by its key, what the URL's parameters ask for."""

Change = Callable[[Request, dict[str, Any]], Awaitable[None]]
"""A function that changes the only object of its kind to the checked values of the body."""

Act = Callable[[Request, dict[str, Any], WriteQuery], Awaitable["Answer"]]
"""A function that does what the checked values of a body and the URL's parameters ask for."""


_IGNORED_FIELDS = Parameter(TEXT, "Checked and ignored: the answer has no fields.")


class Endpoint:
    """The ASGI application of one path.

    GET also serves HEAD. OPTIONS answers the allowed methods. Any other method is 405.
    """

    def __init__(self, services: Services, operations: Mapping[str, Operation]) -> None:
        self._services = services
        self._operations = dict(operations)
        if "GET" in operations:
            self._operations["HEAD"] = operations["GET"]
        self._allow = ", ".join(sorted({*self._operations, "OPTIONS"})).encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[ALLOW] = self._allow
        request = Request(self._services, scope, receive)
        if request.method in READS:
            request.refuse_body()
        reply: Answer
        if request.method == "OPTIONS":
            reply = Reply(200, {}, ((b"allow", self._allow),))
        elif request.method in self._operations:
            request.check_path()
            reply = await self._operations[request.method].run(request)
        else:
            raise OntapError(errors.METHOD_NOT_SUPPORTED)
        if request.warnings and isinstance(reply, Reply):
            reply = replace(reply, body={**reply.body, "warnings": request.warnings})
        await reply.send(send, hal=request.hal, bodiless=request.method == "HEAD", pretty=request.pretty)


def listing(
    resource: Resource,
    read_page: ReadPage,
    codes: Codes = (),
    parameters: Callable[[Request], dict[str, str]] = Request.parameters,
) -> Operation:
    """Return the operation for GET of a collection: the records that match the filters, one page at a time.

    ``parameters`` reads the URL's parameters.
    """

    async def run(request: Request) -> Reply:
        given = parameters(request)
        query = read_get(resource, given, single=False)
        found = await collect(resource, query, lambda page: read_page(request, page))
        body: dict[str, Any] = {}
        if query.return_records:
            body["records"] = await _rendered(resource, query, found.views, hal=request.hal)
        body["num_records"] = len(found.views)
        links = self_link(request.self_path) if request.hal else {}
        if found.last is None:
            return Reply(200, body | ({"_links": links} if links else {}))
        href = next_page(request.path, given, query, found.last, found.offset)
        # Independent of Accept, because a client needs this link to read the other pages.
        body["_links"] = links | {"next": {"href": href}}
        return Reply(200, body, ((b"link", f'<{href}>; rel="next"'.encode()),))

    return Operation(run=run, form=Form.LIST, resource=resource, codes=codes)


async def _rendered(resource: Resource, query: GetQuery, views: Sequence[Any], *, hal: bool) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    turns = Turns()
    for view in views:
        records.append(render(resource, query.selected, view, hal=hal, pruned=query.pruned))
        await turns.pause()
    return records


def showing(resource: Resource, read_one: ReadOne, codes: Codes = (), *, key_again: bool = False) -> Operation:
    """Return the operation for GET of one object. With ``key_again`` parameters may repeat the key of the path."""
    own = _key_again(resource) if key_again else {}

    async def run(request: Request) -> Reply:
        parameters = request.parameters()
        again = {name: parsed(own[name].type, name, text) for name, text in parameters.items() if name in own}
        _check_key_again(resource, request, again)
        left = {name: text for name, text in parameters.items() if name not in own}
        query = read_get(resource, left, single=True)
        view = await read_one(request, query.selected)
        return Reply(200, render(resource, query.selected, view, hal=request.hal, pruned=query.pruned))

    return Operation(run=run, form=Form.SHOW, resource=resource, own=own, codes=codes)


def created(resource: Resource, request: Request, query: WriteQuery, views: Sequence[Any]) -> Reply:
    """Return a 201 with the path of the first new object, and with ``return_records`` the new records."""
    headers = ((b"location", resource.link(views[0]).encode()),)
    if not query.return_records:
        return Reply(201, {}, headers)
    shown = resource.catalogue.select(resource.returned, single=False)
    records = [render(resource, shown, view, hal=request.hal) for view in views]
    return Reply(201, {"num_records": len(records), "records": records}, headers)


def patching(resource: Resource, patch: Patch, own: Own | None = None, codes: Codes = ()) -> Operation:
    """Return the operation for PATCH of one object. It checks the body and answers an empty object or a job.

    With ``return_records`` it answers the object's key field.
    """
    accepted = {**(own or {}), **_key_again(resource)}

    async def run(request: Request) -> Reply:
        key = request.key(resource)
        query = _read_one(resource, request, accepted)
        values = await request.values(resource)
        reply = await patch(request, key, dict(values), query)
        return reply or _changed(resource, request, resource.moved(key, values), query)

    return Operation(run=run, form=Form.CHANGE, resource=resource, own=accepted, codes=codes)


def deleting(resource: Resource, delete: Delete, own: Own | None = None, codes: Codes = ()) -> Operation:
    """Return the operation for DELETE of one object.

    A DELETE that is repeated while the first one runs shares the first one's result.
    """
    accepted = {**(own or {}), **_key_again(resource), "fields": _IGNORED_FIELDS}

    async def run(request: Request) -> Reply:
        key = request.key(resource)
        query = _read_one(resource, request, accepted)
        await request.empty_body()
        what = (resource.name, key, frozenset(query.own.items()))
        reply = await request.shared(what, delete(request, key, query))
        return reply or _changed(resource, request, key, query)

    return Operation(run=run, form=Form.REMOVE, resource=resource, own=accepted, codes=codes)


def _key_again(resource: Resource) -> Own:
    """Return the parameters that may repeat the key of the path, because some clients send it twice."""
    return {
        name: Parameter(resource.fields[name].type, "Repeats the path: another value finds no object.")
        for name in resource.in_path
    }


def _check_key_again(resource: Resource, request: Request, given: Mapping[str, Any]) -> None:
    """Raise 4 (404) if a repeated key is not that of the path."""
    for name, part in resource.in_path.items():
        if name in given and given[name] != request.path_value(resource, name, part):
            raise OntapError(errors.ENTRY_NOT_FOUND, target=name)


def _read_one(resource: Resource, request: Request, accepted: Own) -> WriteQuery:
    """Read the parameters of a write of one object. Raise 4 (404) if a repeated key is not that of the path."""
    query = read_write(resource, request.parameters(), request.method, accepted)
    _check_key_again(resource, request, query.own)
    resource.catalogue.select(query.own.get("fields", ""), single=True)
    own = {name: value for name, value in query.own.items() if name not in {*resource.in_path, "fields"}}
    return replace(query, own=own)


def setting(resource: Resource, change: Change, codes: Codes = ()) -> Operation:
    """Return the operation for PATCH of the only object of its kind."""

    async def run(request: Request) -> Reply:
        read_write(resource, request.parameters(), "PATCH")
        await change(request, await request.values(resource))
        return Reply(200, {})

    return Operation(run=run, form=Form.SET, resource=resource, codes=codes)


def steering(resource: Resource, act: Steer, own: Own, summary: str, codes: Codes = ()) -> Operation:
    """Return the operation for PATCH of one object without a body: the URL's parameters ``own`` say what to do."""
    accepted = {**own, **_key_again(resource)}

    async def run(request: Request) -> Reply:
        key = request.key(resource)
        query = _read_one(resource, request, accepted)
        await request.empty_body()
        for name in own:
            if name not in query.own:
                raise OntapError(errors.MISSING_VALUE, target=name, field=name)
        await act(request, key, query)
        return Reply(200, {})

    return Operation(run=run, form=Form.STEER, resource=resource, summary=summary, own=accepted, codes=codes)


def acting(
    resource: Resource, act: Act, form: Form, summary: str, codes: Codes = (), own: Own | None = None
) -> Operation:
    """Return the operation for a POST that creates no object with a path, or begins a job."""

    async def run(request: Request) -> Answer:
        query = read_write(resource, request.parameters(), "POST", own)
        return await act(request, await request.values(resource), query)

    return Operation(run=run, form=form, resource=resource, summary=summary, own=own or {}, codes=codes)


def _changed(resource: Resource, request: Request, key: Any, query: WriteQuery) -> Reply:
    """Return the reply to a PATCH or DELETE of one object: empty, or with ``return_records`` its key field."""
    if not query.return_records:
        return Reply(200, {})
    path = request.path
    if key != request.key(resource):
        path = f"{path.rstrip('/').rpartition('/')[0]}/{segment(str(key))}"
    record = {resource.key: str(key)} | ({"_links": self_link(path)} if request.hal else {})
    return Reply(200, {"num_records": 1, "records": [record]})


Create = Callable[["Request", dict[str, Any], "WriteQuery"], Coroutine[Any, Any, Any]]
"""A function that creates one object from the checked values of a body and returns its view."""

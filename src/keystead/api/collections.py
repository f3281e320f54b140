"""A whole collection as one declaration: list, create, and PATCH or DELETE of all objects that a query matches.

Source: "Getting started with the ONTAP REST API", "Operations on multiple records". The resource defines the change of
one object. A body with ``records`` becomes a job (records.py).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from keystead.api.accepted import JOB_RESULTS
from keystead.api.checking import RECORDS, check_body
from keystead.api.collecting import collect
from keystead.api.declared import Codes, Form, Operation, Own, Paths, Run
from keystead.api.errors import error_body, error_reply
from keystead.api.hal import Reply, render, self_link
from keystead.api.operations import Create, Patch, ReadOne, ReadPage, created, deleting, listing, patching, showing
from keystead.api.parameters import RETURN_TIMEOUT_S, WRITE_PARAMETERS
from keystead.api.query import next_page, read_get, read_write, refused_in_write
from keystead.api.record_writes import changing, creating, removing
from keystead.api.records import JOB_RESULTS_PARAMETER, as_job, job_results
from keystead.api.written import key_of
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.service.cluster.svms import about_svm

if TYPE_CHECKING:
    from keystead.api.hal import Answer
    from keystead.api.operations import Delete
    from keystead.api.query import GetQuery, WriteQuery
    from keystead.api.request import Request
    from keystead.api.resource import Resource
    from keystead.api.written import WriteRecord
    from keystead.core.model import Svm


_Act = Callable[["Request", Any, "WriteQuery"], Awaitable[Reply | None]]
_Now = Callable[["Request", Any], Awaitable[Any]]
_GET_ONLY = ("query", "query_fields", "offset")  # a write changes which records an offset counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """The functions that read and change the objects of a resource, one at a time. A method without a function is None.

    ``owner`` finds the SVM of the object above the collection. It raises an error before the body is read if there is
    no such object. Without ``owner``, a job belongs to the call's scope.

    ``before_delete`` gets the number of objects that a DELETE of the collection is about to delete, and may refuse it.

    ``own`` holds the parameters of a method besides the common ones. ``codes`` holds the errors that its use case may
    answer. Both are by method.
    """

    resource: Resource
    page: ReadPage
    show: ReadOne
    create: Create | None = None
    patch: Patch | None = None
    delete: Delete | None = None
    owner: Callable[[Request], Awaitable[Svm | None]] | None = None
    before_delete: Callable[[Request, WriteQuery, int], Awaitable[None]] | None = None
    own: Mapping[str, Own] = field(default_factory=dict)
    codes: Mapping[str, Codes] = field(default_factory=dict)

    def paths(self, path: str) -> Paths:
        """Return the operations of the collection's path and of the path of one object."""
        codes = self.codes.get
        one = {"GET": showing(self.resource, self.show, codes("GET", ()))}
        if self.patch is not None:
            one["PATCH"] = patching(self.resource, self.patch, self.own.get("PATCH"), codes("PATCH", ()))
        if self.delete is not None:
            one["DELETE"] = deleting(self.resource, self.delete, self.own.get("DELETE"), codes("DELETE", ()))
        return {path: self.operations(), f"{path}/{{{self.resource.key}}}": one}

    def operations(self) -> dict[str, Operation]:
        """Return the operations of the collection's path, by method."""
        made = {"GET": self._get()}
        if self.create is not None:
            made["POST"] = self._declared("POST", Form.CREATE, self._post(self.create))
        if self.patch is not None:
            made["PATCH"] = self._declared("PATCH", Form.CHANGE_MANY, self._patch(self.patch))
        if self.delete is not None:
            made["DELETE"] = self._declared("DELETE", Form.REMOVE_MANY, self._delete(self.delete))
        return made

    def _declared(self, method: str, form: Form, run: Run) -> Operation:
        own, codes = self.own.get(method, {}), self.codes.get(method, ())
        return Operation(run=run, form=form, resource=self.resource, own=own, codes=codes)

    def _get(self) -> Operation:
        listed = listing(self.resource, self.page, self.codes.get("GET", ()))
        if self.create is None and self.patch is None and self.delete is None:
            return listed

        async def run(request: Request) -> Answer:
            if JOB_RESULTS in request.parameters():
                return await job_results(self.resource, request, self.show)
            return await listed.run(request)

        return replace(listed, run=run, form=Form.LIST_OR_RESULTS, own={JOB_RESULTS: JOB_RESULTS_PARAMETER})

    def _post(self, create: Create) -> Run:
        async def run(request: Request) -> Reply:
            query = read_write(self.resource, request.parameters(), "POST", self.own.get("POST"))
            if self.owner is not None:
                await self.owner(request)
            body = await request.body(self.resource)
            if RECORDS in body:
                return await self._as_job(request, body, query, creating(self.resource, create, self.delete))
            ignore = query.ignore_unknown_fields
            values = check_body(self.resource, body, "POST", ignore_unknown=ignore)
            view = await request.while_connected(create(request, values, query))
            return created(self.resource, request, query, [view])

        return run

    def _patch(self, patch: Patch) -> Run:
        async def run(request: Request) -> Reply:
            query, wanted = self._read(request)
            body = await request.body(self.resource)
            if RECORDS in body:
                _check_no_filter(self.resource, wanted)
                return await self._as_job(request, body, query, changing(self.resource, self.show, patch))
            matching = _matching(self.resource, wanted, "PATCH")
            values = check_body(self.resource, body, "PATCH", ignore_unknown=query.ignore_unknown_fields)

            async def act(of_one: Request, key: Any, each: WriteQuery) -> Reply | None:
                return await patch(of_one, key, dict(values), each)

            async def now(of_one: Request, key: Any) -> Any:
                moved = self.resource.moved(key, values)
                return await self.show(
                    of_one.of_key(self.resource, moved), self.resource.catalogue.select("", single=False)
                )

            return await self._by_query(request, query, matching, act, now)

        return run

    def _delete(self, delete: Delete) -> Run:
        async def run(request: Request) -> Reply:
            query, wanted = self._read(request)
            body = await request.body(self.resource)
            if RECORDS in body:
                _check_no_filter(self.resource, wanted)
                records = body[RECORDS]
                await self._check_count(request, query, len(records) if isinstance(records, list) else 0)
                return await self._as_job(request, body, query, removing(delete))
            if body:
                raise OntapError(errors.BODY_NOT_ALLOWED)
            matching = _matching(self.resource, wanted, "DELETE")
            what = (self.resource.name, request.self_path)
            return await request.shared(what, self._by_query(request, query, matching, delete))

        return run

    async def _check_count(self, request: Request, query: WriteQuery, count: int) -> None:
        if request.method == "DELETE" and self.before_delete is not None:
            await self.before_delete(request, query, count)

    def _read(self, request: Request) -> tuple[WriteQuery, dict[str, str]]:
        """Split the URL's parameters into those of the write and those that select objects."""
        own = self.own.get(request.method, {})
        parameters = request.parameters()
        written = {*WRITE_PARAMETERS, *own, *_GET_ONLY}
        query = {name: value for name, value in parameters.items() if name in written}
        wanted = {name: value for name, value in parameters.items() if name not in written}
        for name in wanted:
            if name in self.resource.fields and self.resource.fields[name].secret:
                raise refused_in_write(self.resource, name, request.method)
        return read_write(self.resource, query, request.method, own), wanted

    async def _as_job(self, request: Request, body: Mapping[str, Any], query: WriteQuery, write: WriteRecord) -> Reply:
        svm = request.call.scope if self.owner is None else await self.owner(request)
        with about_svm(svm):
            return await as_job(self.resource, request, body, query, write, svm)

    async def _by_query(
        self, request: Request, query: WriteQuery, matching: GetQuery, act: _Act, now: _Now | None = None
    ) -> Reply:
        """Change the matching objects one after the other, until all are changed, one fails or the time is over.

        ``now`` reads an object after its change. With ``continue_on_failure`` a failure does not end the loop.
        """
        ends = time.monotonic() + (RETURN_TIMEOUT_S if query.return_timeout is None else query.return_timeout)
        found = await collect(self.resource, matching, lambda page: self.page(request, page))
        await self._check_count(request, query, len(found.views))
        run = _Run(self.resource, request, act, now if query.return_records else None)
        for view in found.views:
            left = max(0, round(ends - time.monotonic()))
            await run.change(view, replace(query, return_timeout=left))
            if run.failures and not query.continue_on_failure:
                return run.reply(query)
            if time.monotonic() >= ends and view is not found.views[-1]:
                return run.reply(query, next_page(request.path, request.parameters(), matching, view))
        if found.last is None:
            return run.reply(query)
        return run.reply(query, next_page(request.path, request.parameters(), matching, found.last, found.offset))


class _Run:
    """The progress of one change by query."""

    def __init__(self, resource: Resource, request: Request, act: _Act, now: _Now | None) -> None:
        self._resource = resource
        self._request = request
        self._act = act
        self._now = now
        self._changed: list[Any] = []
        self._jobs: list[Any] = []
        self.failures: list[OntapError] = []

    async def change(self, view: Any, query: WriteQuery) -> None:
        """Change one object, or store the reason for the failure. The audit record names the object by its path."""
        key = key_of(self._resource, view)
        request = self._request.of_key(
            self._resource, key, path=self._resource.link(view), beside=self._resource.beside(view)
        )
        try:
            reply = await self._act(request, key, query)
        except OntapError as error:
            if not error.recorded:
                await request.services.audit.refuse(request.call, error)
            self.failures.append(error)
            return
        if self._now is not None:
            with suppress(OntapError):  # the object is gone: the answer shows the earlier one
                view = await self._now(request, key)
        self._changed.append(view)
        if reply is not None and "job" in reply.body:
            self._jobs.append(reply.body["job"])

    def reply(self, query: WriteQuery, following: str = "") -> Reply:
        """Return the number of changed objects, and the failures with the first failure's code and status.

        ``following`` is the path that changes the remaining objects, or empty.
        """
        hal = self._request.hal
        body: dict[str, Any] = {"num_records": len(self._changed)}
        if query.return_records:
            keys = self._resource.catalogue.select("", single=False)
            body["records"] = [render(self._resource, keys, view, hal=hal) for view in self._changed]
        if self._jobs:
            body["jobs"] = self._jobs
        links = self_link(self._request.self_path) if hal else {}
        if following:
            links["next"] = {"href": following}  # independent of Accept, as in a list
        if links:
            body["_links"] = links
        if not self.failures:
            return Reply(200, body)
        if query.continue_on_failure:
            body["errors"] = [error_body(error) for error in self.failures]
        return error_reply(self.failures[0], **body)


def _matching(resource: Resource, wanted: Mapping[str, str], method: str) -> GetQuery:
    """Return the query that the URL's parameters make.

    Raise 262212 unless the parameters name at least one field, so that nobody changes all objects by mistake.
    """
    matching = read_get(resource, wanted, single=False, absent=False)
    if not any(name in resource.fields for name in wanted):
        raise OntapError(errors.QUERY_REQUIRED, method=method)
    return matching


def _check_no_filter(resource: Resource, wanted: Mapping[str, str]) -> None:
    """Refuse a query together with ``records``, because ``records`` already names the objects."""
    for name in wanted:
        if name in resource.fields:
            raise OntapError(errors.FIELDS_EXCLUDE_EACH_OTHER, target=name, field=name, other=RECORDS)
        raise refused_in_write(resource, name, "PATCH")

"""POST, PATCH and DELETE of several objects that the body lists in ``records``: one job, its rollback and its results.

Source: "Getting started with the ONTAP REST API", "Record-based POST, PATCH, and DELETE". Faults in the body are
refused at once; all other faults appear in the job. Records are written in their order. When one fails, POST and PATCH
roll back the earlier ones as far as possible. DELETE never rolls back.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from keystead.api.accepted import JOB_RESULTS, records_reply
from keystead.api.checking import RECORDS, check_records, joined, masked
from keystead.api.errors import error_body
from keystead.api.hal import Reply, render, self_link
from keystead.api.query import read_get
from keystead.api.request import plain_path
from keystead.api.values import UUID, Parameter
from keystead.api.written import value_of
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.jobs import JobOutcome
from keystead.core.query.query import Read, quoted
from keystead.service.cluster.jobs import tells

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.api.checking import Record
    from keystead.api.operations import ReadOne
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.api.resource import Resource
    from keystead.api.written import Undo, WriteRecord
    from keystead.core.model import Job, Svm
    from keystead.service.cluster.jobs import Progress

JOB_RESULTS_PARAMETER = Parameter(
    UUID, "The UUID of a ``records`` job of this collection: shows the job's results instead of the list."
)
_DONE = {"POST": 201, "PATCH": 200, "DELETE": 200}
_INNER_JOB_WAIT_S = 120  # for a record with a write that is a job itself
_SHOWN_FAILURES = 5  # limit in the job's message; its results hold all failures


_INTERRUPTIONS = (errors.SHUTTING_DOWN, errors.JOB_INTERRUPTED)


async def as_job(
    resource: Resource,
    request: Request,
    body: Mapping[str, Any],
    query: WriteQuery,
    write: WriteRecord,
    svm: Svm | None,
) -> Reply:
    """Check the records and begin the job that writes them. ``svm`` is the owner of the job."""
    ignore = query.ignore_unknown_fields
    records = check_records(resource, body, request.method, ignore_unknown=ignore)
    work = _Work(resource, request.detached(), query, records, body[RECORDS], write)
    call = request.call
    ran = await request.services.jobs.run(call, work.run, svm=svm, return_timeout=query.patience)
    return records_reply(ran, request.path, done=_DONE[request.method], arguments=request.arguments)


async def job_results(resource: Resource, request: Request, show: ReadOne) -> Reply:
    """Answer a GET of a collection for one job's results: its objects as they are now, and its errors."""
    parameters = request.parameters()
    job = await _job(request, parameters.pop(JOB_RESULTS))
    query = read_get(resource, parameters, single=True)
    results = json.loads(job.results or "{}")
    records = []
    for text in results.get("keys", ()):
        key = resource.fields[resource.key].type.parse(text)
        with suppress(OntapError):  # the object is gone or not visible any more
            view = await show(request.of_key(resource, key), query.selected)
            records.append(render(resource, query.selected, view, hal=request.hal))
    body: dict[str, Any] = {"records": records, "num_records": len(records)}
    if job.code and not results:
        results = {"errors": [{"message": job.message, "code": str(job.code)}]}
    body |= {name: results[name] for name in ("errors", "rollback_errors") if results.get(name)}
    return Reply(200, body | ({"_links": self_link(request.self_path)} if request.hal else {}))


async def _job(request: Request, text: str) -> Job:
    """Return the finished job of this collection. Raise 262294 for any other job and 262293 for a running one."""
    try:
        job = await request.services.jobs.get(request.call, str(UUID.parse(text)))
    except (ValueError, OntapError):
        raise OntapError(errors.JOB_ELSEWHERE, target=JOB_RESULTS) from None
    if not tells(job, request.call):
        raise OntapError(errors.JOB_ELSEWHERE, target=JOB_RESULTS)
    if plain_path(job.description.partition(" ")[2]) != plain_path(request.path):
        raise OntapError(errors.JOB_ELSEWHERE, target=JOB_RESULTS)
    if job.end_time is None:
        raise OntapError(errors.JOB_RUNNING, target=JOB_RESULTS)
    return job


class _Work:
    """The work of one ``records`` job."""

    def __init__(
        self,
        resource: Resource,
        request: Request,
        query: WriteQuery,
        records: Sequence[Record],
        bodies: Sequence[Mapping[str, Any]],
        write: WriteRecord,
    ) -> None:
        self._resource = resource
        self._request = request
        self._query = replace(query, return_timeout=_INNER_JOB_WAIT_S)
        self._goes_on = query.continue_on_failure or request.method == "DELETE"
        self._records = list(zip(records, bodies, strict=True))
        self._write = write
        self._done = 0
        self._keys: list[Any] = []  # of the written objects that exist now
        self._undo: list[Undo] = []
        self._errors: list[OntapError] = []
        self._rollback_errors: list[OntapError] = []

    async def run(self, progress: Progress) -> JobOutcome:
        """Write all records. If one fails, roll back the earlier ones. A stop of the service rolls nothing back."""
        for place, (record, body) in enumerate(self._records):
            try:
                await self._write_one(record, body, place)
            except Exception as error:
                if not self._goes_on and not _is_interruption(error):
                    await self._roll_back(progress)
                raise
            if self._errors and not self._goes_on:
                await self._roll_back(progress)
                break
            await progress(OntapError(errors.RECORDS_DONE, done=place + 1, all=len(self._records)))
        return JobOutcome(self._error(), self._results())

    async def _write_one(self, record: Record, body: Mapping[str, Any], place: int) -> None:
        request = self._request.of_key(self._resource, record.key, body)
        try:
            written = await self._write(request, record, self._query)
        except OntapError as error:
            if _is_interruption(error):
                raise
            if not error.recorded:
                await request.services.audit.refuse(request.call, error)
            failure = _failure(request.method, self._name(record, body, place), error)
            failure.target = joined(f"{RECORDS}[{place}]", error.target) if error.target else f"{RECORDS}[{place}]"
            self._errors.append(failure)
            return
        self._done += 1
        if written.key is not None:
            self._keys.append(written.key)
        if written.undo is not None:
            self._undo.append(written.undo)

    async def _roll_back(self, progress: Progress) -> None:
        while self._undo:
            await progress(OntapError(errors.RECORDS_REMAINING, left=len(self._undo), all=len(self._records)))
            undo = self._undo.pop()
            try:
                await undo.work()
            except OntapError as error:
                if _is_interruption(error):
                    raise
                self._rollback_errors.append(_failure(undo.method, f"{self._resource.key}: {undo.key}", error))
                continue
            place = self._keys.index(undo.key)
            self._keys[place : place + 1] = [] if undo.earlier is None else [undo.earlier]

    def _name(self, record: Record, body: Mapping[str, Any], place: int) -> str:
        """Return the name of a record for messages: its key, or in POST the identifying fields of its body."""
        if record.key is not None:
            return f"{self._resource.key}: {record.key}"
        names = [name for name, item in self._resource.fields.items() if item.read is Read.KEY or name == "name"]
        shown_body = masked(self._resource, body)
        told = [(name, value_of(shown_body, name)) for name in names]
        shown = ", ".join(f"{name}: {quoted(value)}" for name, value in told if isinstance(value, str))
        return shown or f"{RECORDS}[{place}]"

    def _error(self) -> OntapError | None:
        if not self._errors:
            return None
        if self._rollback_errors:
            return OntapError(errors.RECORDS_LEFT)
        if self._done and self._goes_on:
            shown = [error.message for error in self._errors[:_SHOWN_FAILURES]]
            return OntapError(errors.RECORDS_PARTIAL, failures=" ".join(shown))
        return self._errors[0]

    def _results(self) -> str:
        return json.dumps(
            {
                "keys": [str(key) for key in self._keys],
                "errors": [error_body(error) for error in self._errors],
                "rollback_errors": [error_body(error) for error in self._rollback_errors],
            }
        )


def _is_interruption(error: Exception) -> bool:
    """Return True if the error means that the service stops. That is not a fault of the record."""
    return isinstance(error, OntapError) and error.kind in _INTERRUPTIONS


def _failure(method: str, record: str, error: OntapError) -> OntapError:
    """Return one record's failure in ONTAP's words. The first of its arguments is the code of the cause."""
    arguments = (("code", str(error.kind.code)), *error.arguments)
    return OntapError(errors.RECORD_FAILED, arguments=arguments, method=method, record=record, reason=error.message)

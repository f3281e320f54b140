"""The bodies and answers of an operation in the API's description, made from its form, resource and codes."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.declared import Form
from keystead.api.description import schemas
from keystead.api.description.schemas import listed, object_of
from keystead.api.hal import HAL_TYPE, JSON_TYPE, OCTETS_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keystead.api.declared import Operation
    from keystead.api.description.examples import Example
    from keystead.api.description.schemas import Schema
    from keystead.core.errors import ErrorKind

_TYPES = (HAL_TYPE.decode(), JSON_TYPE.decode())
_OCTETS = {OCTETS_TYPE.decode(): {"schema": {"type": "string", "contentMediaType": OCTETS_TYPE.decode()}}}
_JOB = "job_started"
_REFUSAL_HEADERS = {401: ("WWW-Authenticate",), 405: ("Allow",), 503: ("Retry-After",)}
_OF_MANY = {Form.CHANGE_MANY, Form.REMOVE_MANY}


class _Success(NamedTuple):
    """A successful answer: status, text, headers and names of its schemas. ``*`` stands for the resource's name."""

    status: int
    text: str
    schemas: tuple[str, ...]
    headers: tuple[str, ...] = ()


_JOB_RUNS = _Success(202, "The job runs.", (_JOB,), ("Location",))
_SUCCESSES = {
    Form.LIST: (_Success(200, "The records.", ("*.list",), ("Link",)),),
    Form.LIST_OR_RESULTS: (_Success(200, "The records, or a job's results.", ("*.list",), ("Link",)),),
    Form.SHOW: (_Success(200, "The object.", ("*",)),),
    Form.CREATE: (
        _Success(201, "Created. `Location` is the path of the (first) new object, or of a job's results.",
                 ("*.changed", _JOB), ("Location",)),
        _JOB_RUNS,
    ),
    Form.CHANGE: (_Success(200, "Changed.", ("*.changed", _JOB)), _Success(202, "The job runs.", (_JOB,))),
    Form.REMOVE: (_Success(200, "Deleted.", ("*.changed",)),),
    Form.CHANGE_MANY: (
        _Success(200, "Changed. `num_records` is the number of changed objects.", ("*.changed", _JOB)),
        _JOB_RUNS,
    ),
    Form.REMOVE_MANY: (
        _Success(200, "Deleted. `num_records` is the number of deleted objects.", ("*.changed", _JOB)),
        _JOB_RUNS,
    ),
    Form.SET: (_Success(200, "Changed.", ("empty",)),),
    Form.STEER: (_Success(200, "It is asked for.", ("empty",)),),
    Form.ACT: (_Success(200, "The object.", ("*",)),),
    Form.TRY: (_Success(200, "The findings.", ()),),
    Form.COMMAND: (_Success(201, "Done.", ("empty",)),),
    Form.JOB: (_Success(201, "Done.", (_JOB,)), _Success(202, "The job runs.", (_JOB,))),
}  # fmt: skip


def body(operation: Operation, examples: Iterable[Example]) -> dict[str, Any] | None:
    """Return the request body, or None if the operation has none."""
    schema = _body(operation)
    if schema is None:
        return None
    content = {JSON_TYPE.decode(): {"schema": schema, **_examples(examples, "body")}}
    return {"content": content, "required": operation.form is not Form.REMOVE_MANY}


def _body(operation: Operation) -> Schema | None:
    resource = operation.resource
    post, patch = reference(f"{resource.name}.post"), reference(f"{resource.name}.patch")
    match operation.form:
        case Form.CREATE:
            return {"anyOf": [post, object_of({"records": listed(post)}, ["records"])]}
        case Form.ACT | Form.TRY | Form.COMMAND | Form.JOB:
            return post if any(field.post for field in resource.fields.values()) else None
        case Form.CHANGE | Form.SET:
            return patch
        case Form.CHANGE_MANY:
            records = listed(schemas.named(resource, schemas.settable(resource, "PATCH")))
            return {"anyOf": [patch, object_of({"records": records}, ["records"])]}
        case Form.REMOVE_MANY:
            return object_of({"records": listed(schemas.named(resource))})
        case _:
            return None


def reference(name: str) -> Schema:
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def successes(operation: Operation, examples: Iterable[Example]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the successful answers by status."""
    for success in _SUCCESSES[operation.form]:
        is_job = operation.form is Form.JOB or may_be_job(operation)
        names = [name for name in success.schemas if name != _JOB or is_job]
        if operation.tried is not None and success.status == 200:
            names.append(f"{operation.tried.name}.list")
        if names:
            of_status = [example for example in examples if example.status == success.status]
            said = answer(success.text, _any_of(operation, names), success.headers, of_status)
            if operation.octets:
                said["content"] |= _OCTETS
            yield str(success.status), said
    if operation.tried is not None and operation.form is Form.CREATE:
        yield "200", answer("The findings of a dry run.", reference(f"{operation.tried.name}.list"))


def may_be_job(operation: Operation) -> bool:
    """Return True if an answer may be a job."""
    return operation.job or operation.form in _OF_MANY or (
        operation.form is Form.CREATE and not operation.resource.bulk
    )  # fmt: skip


def _any_of(operation: Operation, names: list[str]) -> Schema:
    found = [reference(name.replace("*", operation.resource.name)) for name in names]
    return found[0] if len(found) == 1 else {"anyOf": found}


def answer(
    text: str, schema: Schema, headers: tuple[str, ...] = (), examples: Iterable[Example] = ()
) -> dict[str, Any]:
    """Return an answer, which is plain JSON or JSON with links."""
    shown = _examples(examples, "answer")
    said: dict[str, Any] = {
        "description": text,
        "content": {type_: {"schema": schema, **shown} for type_ in _TYPES},
    }
    if headers:
        said["headers"] = {name: {"$ref": f"#/components/headers/{name}"} for name in headers}
    return said


def _examples(examples: Iterable[Example], part: str) -> dict[str, Any]:
    shown = {
        example.name: {
            "summary": example.title,
            "description": f"`{example.method} {example.url}`",
            "value": getattr(example, part),
        }
        for example in examples
        if getattr(example, part) is not None
    }
    return {"examples": shown} if shown else {}


def by_status(kinds: Iterable[ErrorKind]) -> list[tuple[int, list[ErrorKind]]]:
    """Return the kinds of each status, each once, in the order of their codes."""
    found: dict[int, list[ErrorKind]] = {}
    for kind in sorted(dict.fromkeys(kinds), key=lambda kind: kind.code):
        found.setdefault(kind.status, []).append(kind)
    return sorted(found.items())


def refusals(
    kinds: Iterable[ErrorKind], operation: Operation | None = None, examples: Iterable[Example] = ()
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the refusals by status."""
    many = operation is not None and may_be_job(operation)
    for status, of_status in by_status(kinds):
        yield str(status), refusal(of_status, [e for e in examples if e.status == status], many=many)


def refusal(kinds: list[ErrorKind], examples: Iterable[Example] = (), *, many: bool = False) -> dict[str, Any]:
    """Return a refusal of one status. Its schema names the codes.

    With ``many``, its schema also holds the results from before the failure.
    """
    status = kinds[0].status
    numbers = sorted({str(kind.code) for kind in kinds}, key=int)
    error = {"properties": {"error": {"properties": {"code": {"enum": numbers}}}}}
    schema = {"allOf": [reference("error_of_many" if many else "error_response"), error]}
    return answer(HTTPStatus(status).phrase, schema, _REFUSAL_HEADERS.get(status, ()), examples)

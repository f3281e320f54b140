"""The API's description in OpenAPI 3.1.1, made once from the declared operations and resources, without side effects.

It holds no data of an installation. Besides the specification's words it has ``x-since`` (the ONTAP release of a field,
or ``ours``), ``x-errors`` (the table of errors) and ``x-schemas``. Source: OpenAPI Specification 3.1.1.
"""

from __future__ import annotations

from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead import __version__
from keystead.api import codes
from keystead.api.declared import Form
from keystead.api.description import schemas
from keystead.api.description.answers import answer, body, may_be_job, reference, refusals, successes
from keystead.api.description.examples import EXAMPLES
from keystead.api.description.parts import HEADERS, INFO, PARAMETER_GROUPS, SCHEMAS, SECURITY, path_parameter
from keystead.api.description.schemas import listed, markdown, object_of
from keystead.api.resources import PATHS, RESOURCES
from keystead.core import errors
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.api.declared import Codes, Operation
    from keystead.api.description.schemas import Schema
    from keystead.api.resource import Resource
    from keystead.core.errors import ErrorKind

_WORDS = {"svm": "SVM", "ems": "EMS"}
_TITLES = {"audit": "audit settings", "key_manager_config": "settings of key managers"}
_METHODS = ("GET", "POST", "PATCH", "DELETE")


class _Kind(NamedTuple):
    """The parts of an operation that its form decides: its summary and name, its parameter groups and its codes."""

    summary: str
    name: str
    parameters: tuple[str, ...]
    codes: Codes


_FILTERS = "filters"  # the group of a resource's own parameters
_MANY = ("write", "many", _FILTERS)
_KINDS = {
    Form.LIST: _Kind("List {plural}", "collection_get", ("read", "list", _FILTERS), codes.LIST),
    Form.LIST_OR_RESULTS: _Kind(
        "List {plural}", "collection_get", ("read", "list", _FILTERS), (*codes.LIST, *codes.RESULTS)
    ),
    Form.SHOW: _Kind("Show {one}", "get", ("read", _FILTERS), codes.READ),
    Form.CREATE: _Kind("Create {plural}", "create", ("write",), codes.POST),
    Form.CHANGE: _Kind("Change {one}", "modify", ("write",), codes.BODY),
    Form.REMOVE: _Kind("Delete {one}", "delete", ("write",), codes.DELETE),
    Form.CHANGE_MANY: _Kind("Change {plural}, by query or records", "collection_modify", _MANY, codes.MANY),
    Form.REMOVE_MANY: _Kind("Delete {plural}, by query or records", "collection_delete", _MANY, codes.MANY_GONE),
    Form.SET: _Kind("Change {one}", "modify", ("write",), codes.BODY),
    Form.STEER: _Kind("", "modify", ("write",), codes.DELETE),
    Form.ACT: _Kind("", "create", ("write",), codes.POST),
    Form.TRY: _Kind("", "create", ("write",), codes.POST),
    Form.COMMAND: _Kind("", "create", ("write",), codes.POST),
    Form.JOB: _Kind("", "create", ("write",), (*codes.POST, *codes.JOB)),
}
_ALWAYS = (*codes.EVERY_CALL, *codes.PATH, *codes.WRITE)


@cache
def document() -> dict[str, Any]:
    """Return the document. Treat it as read-only."""
    paths = {template(path): _path_item(path, operations) for path, operations in sorted(PATHS.items())}
    return {
        "openapi": "3.1.1",
        "info": {"title": "Keystead REST API", "version": __version__, **INFO},
        "servers": [{"url": "/"}],
        "security": [{name: []} for name in SECURITY],
        "tags": [
            {"name": title(resource), "description": markdown(resource.help), "x-schemas": _names(resource)}
            for resource in _served()
        ],
        "paths": paths,
        "x-errors": [
            {
                "code": str(kind.code),
                "status": kind.status,
                "message": kind.text,
                "cause": kind.cause,
                "advice": errors.ADVICE.get(kind, ""),
            }
            for kind in errors.TABLE
        ],
        "components": {
            "securitySchemes": SECURITY,
            "schemas": SCHEMAS | dict(_schemas()),
            "parameters": dict(_parameters()),
            "headers": HEADERS,
            "responses": {f"error{status}": said for status, said in _common().items()},
        },
    }


def _names(resource: Resource) -> list[str]:
    """Return the names of a resource's schemas: of its objects, and of the answers of dry runs."""
    return [
        resource.name,
        *(tried.name for tried in _dry_run_resources() if tried.name.startswith(f"{resource.name}_")),
    ]


def _dry_run_resources() -> list[Resource]:
    """Return the resources that dry runs answer, each once."""
    found = (operation.tried for operations in PATHS.values() for operation in operations.values())
    return list({resource.name: resource for resource in found if resource is not None}.values())


def title(resource: Resource) -> str:
    """Return a resource's name in the form for people."""
    name = " ".join(_WORDS.get(word, word) for word in resource.name.split("_"))
    return _TITLES.get(resource.name, name)


def template(path: str) -> str:
    """Return a route's path in OpenAPI's form."""
    return path.replace(":path}", "}")


def _served() -> list[Resource]:
    """Return the resources that paths serve, each once, in their order."""
    served = {operation.resource.name for operations in PATHS.values() for operation in operations.values()}
    return [resource for resource in RESOURCES if resource.name in served]


# --- paths ---


def _path_item(path: str, operations: dict[str, Operation]) -> dict[str, Any]:
    names = [part.strip("{}").removesuffix(":path") for part in path.split("/") if part.startswith("{")]
    item: dict[str, Any] = {"parameters": [path_parameter(name) for name in names]} if names else {}
    for method in _METHODS:
        if method in operations:
            item[method.lower()] = _operation(path, method, operations[method])
    if "GET" in operations:
        item["head"] = _head(item["get"])
    return item | {"options": _options(path, next(iter(operations.values())))}


def _operation(path: str, method: str, operation: Operation) -> dict[str, Any]:
    resource, kind = operation.resource, _KINDS[operation.form]
    said: dict[str, Any] = {
        "operationId": f"{resource.name}_{kind.name}",
        "tags": [title(resource)],
        "summary": operation_summary(path, operation),
        "parameters": [
            *_references(kind.parameters, operation),
            *(_parameter(name, parameter.type.schema, parameter.help) for name, parameter in operation.own.items()),
        ],
    }
    examples = [example for example in EXAMPLES if (example.path, example.method) == (path, method)]
    content = body(operation, examples)
    if content is not None:
        said["requestBody"] = content
    refused = dict(refusals(_codes(path, operation), operation, examples))
    said["responses"] = dict(sorted([*successes(operation, examples), *_with_references(refused).items()]))
    return said


def _codes(path: str, operation: Operation) -> Iterator[ErrorKind]:
    """Yield the errors that an operation may answer."""
    yield from (*codes.EVERY_CALL, *_KINDS[operation.form].codes, *operation.codes)
    if "{" in path:
        yield from codes.PATH
    if operation.form in {Form.CHANGE, Form.SET, Form.CHANGE_MANY}:
        yield operation.resource.empty_patch
    if operation.form in {Form.CREATE, Form.CHANGE, Form.SET, Form.CHANGE_MANY}:
        yield from (field.refusal for field in operation.resource.fields.values() if field.refusal)
    if may_be_job(operation):
        yield from codes.RECORDS


@cache
def _common() -> dict[str, Any]:
    """Return the refusals that many operations share, by status."""
    return dict(refusals(_ALWAYS))


def _with_references(refused: dict[str, Any]) -> dict[str, Any]:
    """Replace the refusals that many operations share by references."""
    return {
        status: {"$ref": f"#/components/responses/error{status}"} if said == _common().get(status) else said
        for status, said in refused.items()
    }


def operation_summary(path: str, operation: Operation) -> str:
    """Return a short text that says what an operation does."""
    if operation.summary:
        return operation.summary
    name = title(operation.resource)
    only = not path.endswith("}")
    one = f"the {name}" if only else f"{'an' if name[0] in 'aeiE' else 'a'} {name}"
    return _KINDS[operation.form].summary.format(one=one, plural=f"{name}s")


def _references(groups: tuple[str, ...], operation: Operation) -> Iterator[Schema]:
    """Yield references to the common parameters, the filters and the headers.

    For one object, only fields in arrays are filters.
    """
    resource = operation.resource
    for group in (*groups, "header"):
        for name in PARAMETER_GROUPS.get(group, ()):
            yield {"$ref": f"#/components/parameters/{group}.{name}"}
    for name in _filters(resource) if _FILTERS in groups else ():
        if operation.form is not Form.SHOW or resource.in_array(name):
            yield {"$ref": f"#/components/parameters/{resource.name}.{name}"}


def _filters(resource: Resource) -> Iterator[str]:
    return (name for name, field in resource.fields.items() if field.read is not Read.NEVER)


def _head(get: dict[str, Any]) -> dict[str, Any]:
    """Return the HEAD operation: the GET operation without bodies."""
    responses = {
        status: {name: said for name, said in answer_.items() if name != "content"}
        | ({} if "description" in answer_ else {"description": HTTPStatus(int(status)).phrase})
        for status, answer_ in get["responses"].items()
    }
    for said in responses.values():
        said.pop("$ref", None)
    return {
        **get,
        "operationId": get["operationId"].removesuffix("get") + "head",
        "summary": f"{get['summary']}: headers only",
        "responses": responses,
    }


def _options(path: str, operation: Operation) -> dict[str, Any]:
    kinds = (*codes.EVERY_CALL, errors.BODY_NOT_ALLOWED, *(codes.PATH if "{" in path else ()))
    name = "_".join(part.strip("{}") for part in template(path).split("/")[2:])
    allowed = answer("The methods of this path.", reference("empty"), ("Allow",))
    return {
        "operationId": f"{name}_options",
        "tags": [title(operation.resource)],
        "summary": "List the allowed methods",
        "parameters": [*_references((), operation)],
        "responses": {"200": allowed, **_with_references(dict(refusals(kinds)))},
    }


# --- components ---


def _schemas() -> Iterator[tuple[str, Schema]]:
    for resource in [*_served(), *_dry_run_resources()]:
        name = resource.name
        yield name, schemas.shown(resource)
        yield f"{name}.list", _records(resource)
        yield f"{name}.changed", _records(resource, changed=True)
        for method in ("POST", "PATCH"):
            if any(field.settable(method) for field in resource.fields.values()):
                yield f"{name}.{method.lower()}", schemas.settable(resource, method)


def _records(resource: Resource, *, changed: bool = False) -> Schema:
    """Return the schema of a list, or with ``changed`` of a write's answer, in which every property is optional."""
    properties = {
        "records": listed(reference(resource.name)),
        "num_records": {"type": "integer", "minimum": 0, "description": "The number of records in this answer."},
        "_links": reference("list_links"),
        "errors": listed(reference("error"))
        | {"description": "The failures of a job, or of a call with continue_on_failure."},
    }
    properties |= (
        {"jobs": listed(reference("job_of")) | {"description": "The jobs that change objects."}}
        if changed
        else {
            "rollback_errors": listed(reference("error"))
            | {"description": "The changes that a job could not roll back."}
        }
    )
    return object_of(properties, [] if changed else ["num_records"])


def _parameters() -> Iterator[tuple[str, dict[str, Any]]]:
    for group, parameters in PARAMETER_GROUPS.items():
        where = "header" if group == "header" else "query"
        for name, parameter in parameters.items():
            yield f"{group}.{name}", _parameter(name, parameter.type.schema, parameter.help, where)
    for resource in _served():
        for name in _filters(resource):
            field = resource.fields[name]
            schema = dict(field.type.schema)
            typed = schema if schema == {"type": "string"} else {"anyOf": [schema, {"type": "string"}]}
            yield f"{resource.name}.{name}", _parameter(name, typed, f"Filter. {field.help}")


def _parameter(name: str, schema: Any, help_: str, where: str = "query") -> dict[str, Any]:
    return {"name": name, "in": where, "description": markdown(help_), "schema": dict(schema)}

"""The parts of the API's description that all operations share: conventions, parameters, headers, errors and links."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.description.schemas import HREF, listed, markdown, object_of
from keystead.api.parameters import FIELDS, LIST_PARAMETERS, READ_PARAMETERS, WRITE_PARAMETERS
from keystead.api.tunnelling import NAME_HEADER, UUID_HEADER
from keystead.api.values import BOOLEAN, SERVER, TEXT, UUID, Parameter, integer

if TYPE_CHECKING:
    from keystead.api.description.schemas import Schema

INFO = {
    "summary": "An external key manager for storage, managed through the ONTAP REST API.",
    "description": (
        "Every call needs HTTP Basic credentials or, over TLS, the client certificate of an account. Every answer is a"
        " JSON object. Paths may also start with `/api/v1`. `HEAD` is `GET` without the body.\n\n"
        "**Links**: answers hold `_links` unless `Accept: application/json` asks for plain JSON. In a request body"
        " they are accepted and ignored. The `next` link of a list has parameters `start.*`, which give the place"
        " where the list continues.\n\n"
        "**Filters**: the name of a field is a parameter. Its value is a pattern: `*` matches any text, a leading"
        " `!` negates, `a|b` means a or b, `a..b` is a range, and `<`, `<=`, `>`, `>=` compare. `null` means unset."
        " Text between quotes is taken literally.\n\n"
        "**Jobs**: a job writes a body with `records`. Only key servers are added without a job, all or none."
        " `return_timeout` waits for the job.\n\n"
        "**Errors**: each operation lists its codes with its answers. `x-errors` is the table of all errors."
    ),
    "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
}

SECURITY = {
    "basic": {"type": "http", "scheme": "basic", "description": "An account with the method `password`."},
    "certificate": {
        "type": "mutualTLS",
        "description": "An account with the method `certificate`. Its name is the common name of the client's"
        " certificate.",
    },
}

TUNNEL_HEADERS = {
    NAME_HEADER: Parameter(TEXT, "Confines the call to the SVM of this name."),
    UUID_HEADER: Parameter(UUID, "Confines the call to the SVM with this identifier."),
    "X-Dot-Error-Arguments": Parameter(BOOLEAN, "``false`` leaves ``arguments`` out of errors."),
}

PARAMETER_GROUPS: dict[str, dict[str, Parameter]] = {
    "read": {"fields": FIELDS, **READ_PARAMETERS},
    "list": LIST_PARAMETERS,
    "write": WRITE_PARAMETERS,
    "many": {
        "order_by": LIST_PARAMETERS["order_by"],
        "max_records": READ_PARAMETERS["max_records"],
    },
    "header": TUNNEL_HEADERS,
}

_PATH_PARAMETERS = {
    "uuid": Parameter(UUID, "The object's identifier. For key servers and keys: the identifier of their key manager."),
    "owner": Parameter(UUID, "The identifier of the owner: the SVM or the cluster."),
    "name": Parameter(TEXT, "The object's name."),
    "server": Parameter(SERVER, "The key server's host and port, percent-encoded (``ks1.example.com%3A5696``)."),
    "path": Parameter(TEXT, "The privilege's path, percent-encoded as one segment."),
    "node": Parameter(TEXT, "The node's name."),
    "key_id": Parameter(TEXT, "The key's id: 80 hexadecimal digits."),
    "node_uuid": Parameter(UUID, "The node's identifier."),
    "report_uuid": Parameter(UUID, "The report's identifier."),
    "index": Parameter(integer(1, 2**63 - 1), "The event's number; of a rule, its place in the filter."),
    "address": Parameter(TEXT, "The destination's host name or IP address."),
    "port": Parameter(integer(1, 65535), "The destination's port."),
}

HEADERS: dict[str, Any] = {
    name: {"description": help_, "schema": schema}
    for name, help_, schema in (
        ("Location", "The path of the new object, or of a job's results.", {"type": "string"}),
        ("Link", 'The next page of a list, `rel="next"`.', {"type": "string"}),
        ("Allow", "The methods of the path.", {"type": "string"}),
        ("WWW-Authenticate", "The way to log in.", {"type": "string"}),
        ("Retry-After", "Seconds to wait before the next try.", {"type": "string", "pattern": "^[0-9]+$"}),
    )
}

_TEXT = {"type": "string"}

_ERROR = {
    "type": "object",
    "description": "ONTAP's error.",
    "required": ["message", "code"],
    "properties": {
        "message": _TEXT | {"description": "What is wrong, for people."},
        "code": _TEXT | {"pattern": "^[0-9]+$", "description": "ONTAP's code: a number as text."},
        "target": _TEXT | {"description": "The field or parameter at fault."},
        "arguments": listed(object_of({"code": _TEXT, "message": _TEXT}, ["code", "message"]))
        | {"description": "The values in the message, for programs."},
    },
    "additionalProperties": False,
}
_JOB = object_of({"uuid": dict(UUID.schema), "_links": object_of({"self": HREF, "results": HREF}, ["self"])}, ["uuid"])

SCHEMAS: dict[str, Schema] = {
    "empty": object_of({}),
    "links": object_of({"self": HREF}, ["self"]),
    "list_links": object_of({"self": HREF, "next": HREF}),
    "error": _ERROR,
    "error_response": object_of({"error": {"$ref": "#/components/schemas/error"}}, ["error"]),
    "error_of_many": object_of(
        {
            "error": {"$ref": "#/components/schemas/error"},
            "num_records": {
                "type": "integer",
                "minimum": 0,
                "description": "The number of objects changed before the failure.",
            },
            "records": listed({"type": "object"}),
            "job": {"$ref": "#/components/schemas/job_of"},
            "jobs": listed({"$ref": "#/components/schemas/job_of"}),
            "errors": listed({"$ref": "#/components/schemas/error"}),
            "_links": {"$ref": "#/components/schemas/list_links"},
        },
        ["error"],
    ),
    "job_of": _JOB,
    "job_started": object_of(
        {
            "job": {"$ref": "#/components/schemas/job_of"},
            "num_records": {
                "type": "integer",
                "minimum": 0,
                "description": "The number of records that a finished job shows.",
            },
            "records": listed({"type": "object"})
            | {"description": "With return_records: the records of a finished job."},
        },
        ["job"],
    ),
}


def path_parameter(name: str) -> dict[str, Any]:
    """Return the declaration of a value in a path."""
    parameter = _PATH_PARAMETERS[name]
    schema = dict(parameter.type.schema)
    if schema == {"type": "string"}:
        schema["minLength"] = 1
    return {"name": name, "in": "path", "required": True, "description": markdown(parameter.help), "schema": schema}

"""The reference page of the API, written from the declared operations and resources.

``./dev docs`` puts it into docs/reference. Markdown only: what a line says is a declaration's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.api.declared import Form
from keystead.api.description import query_examples
from keystead.api.description.openapi import operation_summary, template
from keystead.api.description.parts import TUNNEL_HEADERS
from keystead.api.parameters import FIELDS, LIST_PARAMETERS, READ_PARAMETERS, WRITE_PARAMETERS
from keystead.api.resource import Field
from keystead.api.resources import PATHS, RESOURCES
from keystead.core.query.filter import COMPARISON_LIMIT, WORD_LIMIT
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keystead.api.declared import Operation
    from keystead.api.resource import Group, Resource
    from keystead.api.values import Parameter

_INTRODUCTION = """# REST API

A running service shows this page, with each operation's answers, error codes and examples, at `/docs/api`; the OpenAPI
document is `/docs/api/openapi.json`. Both need no login.

Paths start with `/api` (or `/api/v1`). Every request carries HTTP Basic credentials, or comes with a client certificate
whose common name is an account's; every answer is a JSON object. `HEAD` is served wherever `GET` is, `OPTIONS`
everywhere. `_links` come unless `Accept: application/json` asks for plain JSON; in a request body they are accepted and
ignored. In bodies a dotted name of a field (`"svm.name"`) is as good as objects within each other, digits in quotes as
a number, `"true"` as true. Errors are listed in [errors.md](errors.md).
"""

_QUERIES = f"""## Filters, orders, pages

The name of a field is a parameter of every list, and of a `PATCH` or `DELETE` of a collection, where it says which
objects are meant. A field in an array is met when one element meets it. Values are URL-encoded as usual. A request may
ask for {COMPARISON_LIMIT} comparisons: each alternative of each filter is one, and each choice of each word of `query`
in each of `query_fields`; `query` may have {WORD_LIMIT} words. More is 262185. In the following, a key manager has
these servers:
"""

_WRITES = """A body with `records`, an array of objects, is written by a job, but for key servers, which are added at
once, all or none: the answer is 202 with the job, or with `return_timeout` its result when that comes in time.
`PATCH` and `DELETE` of a collection need `records` (each with the key field), or at least one filter. What a job did is
listed by `?job_results_uuid=` on the collection.
"""


def reference() -> str:
    """Return the page, in Markdown."""
    return "\n".join([_INTRODUCTION, *_parameters(), *_queries(), *_paths(), *_resources()]) + "\n"


def _parameters() -> Iterator[str]:
    yield "## Parameters\n"
    yield from _table("Every `GET`", {"fields": FIELDS, **READ_PARAMETERS})
    yield from _table("A list as well", LIST_PARAMETERS)
    yield from _table("Every write", WRITE_PARAMETERS)
    yield _WRITES
    yield from _table("Headers", TUNNEL_HEADERS)


def _table(title: str, parameters: Mapping[str, Parameter]) -> Iterator[str]:
    yield f"| {title} | type | |\n|---|---|---|"
    for name, parameter in parameters.items():
        yield f"| `{name}` | {_type(parameter.type.text)} | {_marked(parameter.help)} |"
    yield ""


def _queries() -> Iterator[str]:
    yield _QUERIES
    yield "| `server` | `timeout` | `username` | `secondary_key_servers` |\n|---|---|---|---|"
    for server in query_examples.SERVERS:
        username = f"`{server.username}`".replace("|", "\\|") if server.username else ""
        yield f"| `{server.address}` | {server.timeout} | {username} | {server.secondary} |"
    yield "\n| query | meaning | finds |\n|---|---|---|"
    for example in query_examples.EXAMPLES:
        yield f"| {_code(example.query)} | {_marked(example.meaning)} | {example.found.replace(' ', ', ')} |"
    yield ""


def _paths() -> Iterator[str]:
    yield "## Paths\n"
    yield "| path | method | | own parameters |\n|---|---|---|---|"
    for path, operations in sorted(PATHS.items()):
        for method, operation in operations.items():
            summary = operation_summary(path, operation)
            yield f"| `{template(path)}` | {method} | {summary} | {_own(operation)} |"
    yield ""


def _own(operation: Operation) -> str:
    """The parameters that one operation has. Those of a job's results stand in the text above."""
    own = operation.own if operation.form is not Form.LIST_OR_RESULTS else {}
    return " ".join(f"`{name}`: {_marked(parameter.help)}" for name, parameter in own.items())


def _resources() -> Iterator[str]:
    yield "## Fields\n"
    yield (
        "`shown`: always (a key field), yes (of one object by default, in a list when named), or only by name or with"
        " `**`. What is shown can be filtered by; `order`: lists can be ordered by it. A type after `given:` is what a"
        " body takes, where that is another. `since`: the ONTAP release that brought the field; `ours`: it is"
        " not ONTAP's.\n"
    )
    for resource in RESOURCES:
        yield from _resource(resource)
    tried = (operation.tried for operations in PATHS.values() for operation in operations.values())
    for resource in {resource.name: resource for resource in tried if resource is not None}.values():
        yield from _resource(resource)


def _resource(resource: Resource) -> Iterator[str]:
    yield f"### {resource.name}\n\n{_marked(resource.help)}\n"
    yield "| field | type | shown | POST | PATCH | order | since | |\n|---|---|---|---|---|---|---|---|"
    for declared in resource.declared:
        yield _row(declared)
    if resource.bulk:
        yield "\nA POST takes one such object, or `records`, an array of them: all are stored or none."
    if resource.absent:
        names = ", ".join(f"`{name}`" for name in sorted(resource.absent))
        yield f"\nKnown names that are left out of every answer: {names}."
    yield ""


def _row(declared: Field | Group) -> str:
    name = f"`{declared.name}{'[]' if declared.many else ''}`"
    if not isinstance(declared, Field):
        return f"| {name} | object | | | | | | {_marked(declared.help)} |"
    shown = {Read.KEY: "always", Read.NORMAL: "yes", Read.EXPENSIVE: "by name or `**`", Read.NEVER: "never"}
    cells: Iterable[str] = (
        _type(declared.type.text) + (f"; given: {_type(declared.given.text)}" if declared.given else ""),
        shown[declared.read],
        "required" if declared.required and declared.post else "yes" if declared.post else "",
        "yes" if declared.patch else f"no: {declared.refusal.code}" if declared.refusal else "",
        "yes" if declared.column and not declared.many else "",
        declared.since,
        _marked(declared.help),
    )
    return f"| {name} | {' | '.join(cells)} |"


def _type(text: str) -> str:
    return text.strip("<>").replace("|", "\\|")


def _code(text: str) -> str:
    """A query as code in a table's cell."""
    return f"`{text}`".replace("|", "\\|")


def _marked(text: str) -> str:
    """Docstring marks become Markdown's."""
    return text.replace("``", "`").replace("|", "\\|")

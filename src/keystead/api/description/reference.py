"""The reference page of the API in Markdown, made from the declared operations and resources.

``./dev docs`` writes it to docs/reference. The declarations hold the texts; this module only arranges them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.api.checking import LINKS
from keystead.api.declared import Form
from keystead.api.description import query_examples
from keystead.api.description.openapi import operation_summary, template
from keystead.api.description.parts import TUNNEL_HEADERS
from keystead.api.parameters import FIELDS, LIST_PARAMETERS, READ_PARAMETERS, WRITE_PARAMETERS
from keystead.api.resource import Field, ontap_members
from keystead.api.resources import PATHS, RESOURCES
from keystead.core.query.filter import COMPARISON_LIMIT, WORD_LIMIT
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from keystead.api.declared import Operation
    from keystead.api.resource import Group, Resource
    from keystead.api.values import Parameter

_INTRODUCTION = """# REST API

A running service shows this page at `/docs/api`, with each operation's answers, error codes and examples. The
OpenAPI document is at `/docs/api/openapi.json`. Both need no login.

Paths start with `/api` (or `/api/v1`). Every request needs HTTP Basic credentials or a client certificate. The common
name of that certificate is the name of an account. Every answer is a JSON object. `HEAD` works on every path with
`GET`, and `OPTIONS` works on every path. Answers hold `_links` unless `Accept: application/json` asks for plain JSON.
In a request body, `_links` are accepted and ignored. A body may use dotted field names (`"svm.name"`) instead of nested
objects, digits in quotes instead of a number, and `"true"` instead of true. [errors.md](errors.md) lists the errors.
"""

_QUERIES = f"""## Filters, orders, pages

The name of a field is a parameter of every list. In a `PATCH` or `DELETE` of a collection it selects the objects. A
filter on a field in an array matches if one element matches. Values are URL-encoded as usual.

A request may ask for at most {COMPARISON_LIMIT} comparisons. Each alternative of each filter counts as one. For
`query`, each alternative of each word counts once for each of the `query_fields`. `query` may have at most {WORD_LIMIT}
words. A request above these limits is refused with 262185.

In these examples, a key manager has these servers:
"""

_WRITES = """A job writes a body with `records`, an array of objects. The answer is 202 with the job. With
`return_timeout`, it is the job's result if the job ends in time. Only key servers are added without a job, all or none.
`PATCH` and `DELETE` of a collection need `records` (each with the key field) or at least one filter.
`?job_results_uuid=` on the collection lists the results of a job.
"""


def reference() -> str:
    """Return the page in Markdown."""
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
    """Return the parameters of one operation, without ``job_results_uuid``, which the text above explains."""
    own = operation.own if operation.form is not Form.LIST_OR_RESULTS else {}
    return " ".join(f"`{name}`: {_marked(parameter.help)}" for name, parameter in own.items())


def _resources() -> Iterator[str]:
    yield "## Fields\n"
    yield (
        "`shown`: always (a key field), yes (by default for one object, by name in a list), or only by name or with"
        " `**`. Every shown field can be a filter. `order`: lists can be ordered by the field. `given:` names the type"
        " in a body if it differs. `since`: the ONTAP release that introduced the field; `ours`: the field is not"
        " ONTAP's.\n"
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
        yield "\nA POST takes one such object, or an array `records` of them. Either all are stored or none."
    absent = sorted({*ontap_members(resource.ontap), *resource.absent} - resource.tree.members.keys() - {LINKS})
    if absent:
        yield f"\nONTAP's fields that requests may name and no answer holds: {', '.join(map('`{}`'.format, absent))}."
    yield ""


def _row(declared: Field | Group) -> str:
    name = f"`{declared.name}{'[]' if declared.many else ''}`"
    if not isinstance(declared, Field):
        return f"| {name} | object | | | | | | {_marked(declared.help)} |"
    shown = {
        Read.KEY: "always",
        Read.NORMAL: "yes",
        Read.EXPENSIVE: "by name or `**`",
        Read.BY_NAME: "by its own name or `**`",
        Read.NEVER: "never",
    }
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
    """Return a query as code in a cell of a table."""
    return f"`{text}`".replace("|", "\\|")


def _marked(text: str) -> str:
    """Convert a docstring's marks to Markdown."""
    return text.replace("``", "`").replace("|", "\\|")

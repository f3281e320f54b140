"""The reference page of the API, written from the declared resources. ``./dev docs`` puts it into docs/reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.api.resource import Field, Resource
from keystead.api.resources import PATHS, RESOURCES
from keystead.core.query import Read

if TYPE_CHECKING:
    from keystead.api.resource import Group

_INTRODUCTION = """# REST API

Paths start with `/api` (or `/api/v1`). Every request carries HTTP Basic credentials; every answer is a JSON object.
`HEAD` is served wherever `GET` is, `OPTIONS` everywhere. `_links` come unless `Accept: application/json` asks for plain
JSON; in a request body they are accepted and ignored. Errors are listed in [errors.md](errors.md).

Parameters of a `GET`:

| parameter | |
|---|---|
| `fields` | names (a parent means its members), `*` all but expensive fields, `**` all; key fields always come |
| *a field's name* | only records of which that field equals the value; collections only |
| `max_records` | records of one page, up to 10,000; `_links.next` and the `Link` header lead to the next |
| `return_records` | `false`: only `num_records` |
| `return_timeout` | 0 to 120 seconds to collect records (15) |

Parameters of a write: `return_records=true` returns the key fields of what was created; `return_timeout` is accepted
and means nothing, because every call is answered when it is done. Any other parameter is refused.
"""


def reference() -> str:
    """Return the page, in Markdown."""
    return (
        "\n".join([_INTRODUCTION, *_paths(), *(line for resource in RESOURCES for line in _resource(resource))]) + "\n"
    )


def _paths() -> list[str]:
    lines = ["## Paths", "", "| path | methods |", "|---|---|"]
    return [*lines, *(f"| `{path}` | {', '.join(operations)} |" for path, operations in sorted(PATHS.items()))]


def _resource(resource: Resource) -> list[str]:
    lines = ["", f"## {resource.name}", "", _marked(resource.help), ""]
    lines += ["| field | type | shown | in POST | since | |", "|---|---|---|---|---|---|"]
    lines += [_row(declared) for declared in resource.declared]
    if resource.bulk:
        lines += ["", "A POST takes one such object, or `records`, an array of them: all are stored or none."]
    if resource.absent:
        names = ", ".join(f"`{name}`" for name in sorted(resource.absent))
        lines += ["", f"Known names that are left out of every answer: {names}."]
    return lines


def _row(declared: Field | Group) -> str:
    name = f"`{declared.name}{'[]' if declared.many else ''}`"
    if not isinstance(declared, Field):
        return f"| {name} | object | | | | {_marked(declared.help)} |"
    shown = {Read.KEY: "always", Read.NORMAL: "yes", Read.EXPENSIVE: "by name or `**`", Read.NEVER: "never"}
    post = "required" if declared.required else "yes" if declared.post else ""
    type_ = declared.type.text.strip("<>").replace("|", "\\|")
    return f"| {name} | {type_} | {shown[declared.read]} | {post} | {declared.since} | {_marked(declared.help)} |"


def _marked(text: str) -> str:
    """Docstring marks become Markdown's."""
    return text.replace("``", "`").replace("|", "\\|")

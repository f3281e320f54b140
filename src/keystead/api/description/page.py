"""The API's description as one HTML page with a style sheet and a small script, without external resources.

It is made once, only from the OpenAPI document. It never holds data of a request. Without scripts it is complete, but
has neither the search field nor the buttons that copy a call.
"""

from __future__ import annotations

import json
import re
import shlex
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keystead.api.description.openapi import document
from keystead.api.description.schema_rows import resolved, rows, type_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

STYLE = Path(__file__).with_name("page.css").read_text()
SCRIPT = Path(__file__).with_name("page.js").read_text()
"""The page's only script. The policy of the page's answer allows it by its digest."""

_METHODS = ("get", "post", "patch", "delete")
_SHARED_FAMILY = 4  # the family of the codes that all resources share; ONTAP puts the family into the upper 16 bits
_CODE, _BOLD, _LINK = re.compile(r"`([^`]+)`"), re.compile(r"\*\*([^*]+)\*\*"), re.compile(r"\[([^\]]+)\]\([^)]+\)")
_WORD_END = re.compile(r"(?<=[._])(?=\w)")
_SEARCH = (
    '<div id="search" role="search" hidden><label for="wanted">Search by path, method, summary or error code</label>'
    '<input id="wanted" type="search" autocomplete="off" spellcheck="false">'
    '<span id="shown" role="status"></span></div>'
)
_COPY = (
    '<p class="copy" hidden><button type="button" data-curl="{}">Copy as curl</button> <span role="status"></span></p>'
)
_GROUPS = (
    ("read", "Parameters of every GET"),
    ("list", "Parameters of lists"),
    ("write", "Parameters of every write"),
    ("header", "Headers"),
)


@cache
def page() -> str:
    """Return the page."""
    described = document()
    title = described["info"]["title"]
    tags = described["tags"]
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<style>{STYLE}</style></head><body>",
        f"<nav><strong>{title}</strong><ul>",
        '<li><a href="#conventions">Conventions</a></li>',
        *(f'<li><a href="#{_anchor(tag["name"])}">{escape(tag["name"])}</a></li>' for tag in tags),
        '<li><a href="#errors">Errors</a></li>',
        '<li><a href="/docs/api/openapi.json">OpenAPI document</a></li></ul></nav>',
        f"<main><h1>{title}</h1>",
        f'<p class="soft">{escape(described["info"]["summary"])} Version {escape(described["info"]["version"])}.</p>',
        _SEARCH,
        *_in_section(_conventions(described)),
        *(part for tag in tags for part in _in_section(_section(described, tag))),
        *_in_section(_errors(described)),
        f"</main><script>{SCRIPT}</script></body></html>\n",
    ]
    return "".join(parts)


def _in_section(parts: Iterable[str]) -> Iterator[str]:
    yield "<section>"
    yield from parts
    yield "</section>"


def _conventions(described: dict[str, Any]) -> Iterator[str]:
    yield '<h2 id="conventions">Conventions</h2>'
    yield _prose(described["info"]["description"])
    parameters = described["components"]["parameters"]
    for group, title in _GROUPS:
        found = [said for name, said in parameters.items() if name.startswith(f"{group}.")]
        yield f'<details id="{group}"><summary><b>{title}</b></summary>'
        yield from _parameters(found)
        yield "</details>"


def _section(described: dict[str, Any], tag: dict[str, str]) -> Iterator[str]:
    yield f'<h2 id="{_anchor(tag["name"])}">{escape(tag["name"])}</h2>{_prose(tag["description"])}'
    for path, item in described["paths"].items():
        for method in _METHODS:
            if method in item and item[method]["tags"] == [tag["name"]]:
                yield from _operation(described, path, method, item)
    for name in tag["x-schemas"]:
        yield from _fields(described, name, "Fields" if name == tag["x-schemas"][0] else "Fields of a dry run")


def _operation(described: dict[str, Any], path: str, method: str, item: dict[str, Any]) -> Iterator[str]:
    said = item[method]
    yield f'<details class="operation" id="{said["operationId"]}"><summary>'
    yield f'<span class="method {method}">{method.upper()}</span>'
    yield f'<span class="path">{escape(path)}</span><span class="soft">{escape(said["summary"])}</span></summary>'
    yield _COPY.format(escape(curl_line(path, method, said)))
    common = {group for group, _ in _GROUPS for reference in said["parameters"] if f"/{group}." in str(reference)}
    own = [*item.get("parameters", ()), *(each for each in said["parameters"] if "$ref" not in each)]
    if own:
        yield "<h3>Parameters</h3>"
        yield from _parameters(own)
    links = ", ".join(f'<a href="#{group}">{title.lower()}</a>' for group, title in _GROUPS if group in common)
    filters = ", fields as filters" if _has_filters(described, said) else ""
    yield f'<p class="soft">Also: {links}{filters}.</p>'
    yield from _body(said)
    yield "<h3>Answers</h3>"
    yield from _answers(described, said)


def _has_filters(described: dict[str, Any], said: dict[str, Any]) -> bool:
    names = [reference["$ref"].rpartition("/")[2] for reference in said["parameters"] if "$ref" in reference]
    return any(described["components"]["parameters"][name]["description"].startswith("Filter.") for name in names)


def _parameters(found: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield from _table(
        ("name", "type", ""),
        ((_dotted(each["name"]), escape(type_text(each["schema"])), _inline(each["description"])) for each in found),
    )


def curl_line(path: str, method: str, said: dict[str, Any]) -> str:
    """Return an operation as a command of curl, which asks for the password. ``said`` is its part of the document.

    ``{origin}`` stands for the origin of the service; the script fills it in. The body is the first example, if any.
    """
    words = ["curl", "--user", "admin", "--request", method.upper()]
    for example in _body_examples(said)[:1]:
        words += ["--header", "Content-Type: application/json", "--data", json.dumps(example["value"])]
    return shlex.join([*words, f"{{origin}}{path}"])


def _body_examples(said: dict[str, Any]) -> list[dict[str, Any]]:
    contents = said.get("requestBody", {}).get("content", {}).values()
    return [example for content in contents for example in content.get("examples", {}).values()]


def _body(said: dict[str, Any]) -> Iterator[str]:
    for example in _body_examples(said):
        yield f"<h3>{escape(example['summary'])}</h3><p>{_inline(example['description'])}</p>"
        yield _json(example["value"])


def _answers(described: dict[str, Any], said: dict[str, Any]) -> Iterator[str]:
    texts = {(error["code"], error["status"]): error["message"] for error in described["x-errors"]}
    for status, reference in said["responses"].items():
        answer = resolved(described, reference)
        headers = "".join(f" <code>{name}</code>" for name in answer.get("headers", ()))
        yield f"<p><b>{status}</b> {_inline(answer['description'])}{headers}</p>"
        content = next(iter(answer["content"].values()))
        for example in content.get("examples", {}).values():
            yield f'<p class="soft">{escape(example["summary"])}: {_inline(example["description"])}</p>'
            yield _json(example["value"])
        codes = _codes(content["schema"])
        if codes:
            own = [code for code in codes if int(code) >> 16 > _SHARED_FAMILY]
            shared = [code for code in codes if code not in own]
            yield f'<p class="codes">{" ".join(_code(code, status) for code in shared)}</p>' if shared else ""
            if own:
                yield from _table(
                    ("code", "message"), ((_code(code, status), escape(texts[code, int(status)])) for code in own)
                )
    yield "</details>"


def _codes(schema: dict[str, Any]) -> list[str]:
    """Return the codes of a refusal's schema. Return no codes for any other schema."""
    for part in schema.get("allOf", ()):
        if "properties" in part:
            codes: list[str] = part["properties"]["error"]["properties"]["code"]["enum"]
            return codes
    return []


def _code(code: str, status: str) -> str:
    return f'<a href="#e{status}-{code}">{code}</a>'


def _fields(described: dict[str, Any], name: str, heading: str) -> Iterator[str]:
    schemas = described["components"]["schemas"]
    found = {part: dict(rows(schemas.get(f"{name}{part}", {}))) for part in ("", ".post", ".patch")}
    names = list(dict.fromkeys(name for part in found.values() for name in part))
    yield f'<details><summary><b>{heading}</b><span class="soft">{len(names)}</span></summary>'
    yield from _table(
        ("field", "type", "shown", "POST", "PATCH", "since", ""),
        (
            (
                _dotted(name),
                escape(row.type),
                "yes" if name in found[""] else "",
                ("required" if found[".post"][name].required else "yes") if name in found[".post"] else "",
                "yes" if name in found[".patch"] else "",
                row.since,
                _inline(row.description),
            )
            for name in names
            for row in [next(part[name] for part in found.values() if name in part)]
        ),
    )
    yield "</details>"


def _errors(described: dict[str, Any]) -> Iterator[str]:
    yield '<h2 id="errors">Errors</h2>'
    heads = ("code", "status", "message", "cause", "what to do")
    yield f'<div class="wide"><table><thead><tr>{"".join(f"<th>{head}" for head in heads)}</tr></thead><tbody>'
    seen = set()
    for error in described["x-errors"]:
        anchor = f"e{error['status']}-{error['code']}"
        identified = "" if anchor in seen else f' id="{anchor}"'
        seen.add(anchor)
        texts = (escape(error["message"]), _inline(error["cause"]), _inline(error["advice"]))
        cells = _cells(heads, (f"<code>{error['code']}</code>", str(error["status"]), *texts))
        yield f"<tr{identified}>{cells}</tr>"
    yield "</tbody></table></div>"


def _table(heads: tuple[str, ...], lines: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f'<div class="wide"><table><thead><tr>{"".join(f"<th>{head}" for head in heads)}</tr></thead><tbody>'
    for line in lines:
        yield f"<tr>{_cells(heads, line)}</tr>"
    yield "</tbody></table></div>"


def _cells(heads: tuple[str, ...], line: tuple[str, ...]) -> str:
    """Return the cells of a row. All but the first carry their column's head, as narrow screens stack the cells."""
    return "".join(
        f'<td data-head="{head}">{cell}</td>' if head and place else f"<td>{cell}</td>"
        for place, (head, cell) in enumerate(zip(heads, line, strict=True))
    )


def _dotted(name: str) -> str:
    """Return a name as code that may break between its words."""
    return f"<code>{_WORD_END.sub(r'<wbr>', escape(name))}</code>"


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2), quote=False)}</pre>"


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n"))


def _inline(text: str) -> str:
    """Convert Markdown's code, bold and links in our own texts to HTML."""
    marked = _LINK.sub(r"\1", escape(text, quote=False))
    return _BOLD.sub(r"<b>\1</b>", _CODE.sub(r"<code>\1</code>", marked))


def _anchor(name: str) -> str:
    return name.replace(" ", "-")

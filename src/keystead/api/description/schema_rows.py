"""A JSON Schema of the API as rows for people: each field's dotted name, type, marks and meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator


class Row(NamedTuple):
    """One field."""

    type: str
    description: str
    since: str
    required: bool


def rows(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, Row]]:
    """Yield the fields of an object's schema, with members after their parent and without links."""
    for name, member in schema.get("properties", {}).items():
        if name == "_links":
            continue
        inner = member["items"] if member.get("type") == "array" else member
        dotted = f"{path}{name}{'[]' if inner is not member else ''}"
        if "properties" in inner:
            yield from rows(inner, f"{dotted}.")
            continue
        required = name in schema.get("required", ())
        yield dotted, Row(type_text(inner), member.get("description", ""), member.get("x-since", ""), required)


def type_text(schema: dict[str, Any]) -> str:
    """Return a short text for a type."""
    if "anyOf" in schema:
        return type_text(schema["anyOf"][0])
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']}..{schema['maximum']}"
    return str(schema.get("format", schema.get("type", "")))


def resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """Return the target of a reference in the document. Return any other value unchanged."""
    if "$ref" not in value:
        return value
    found: Any = document
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)

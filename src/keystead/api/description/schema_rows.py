"""A JSON Schema of ours as rows for people: each field's dotted name, type, marks and meaning."""

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
    """Yield the fields of an object's schema, members after their parent; links are left out."""
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
    """A type in few words."""
    if "anyOf" in schema:
        return type_text(schema["anyOf"][0])
    if "enum" in schema:
        return " | ".join(schema["enum"])
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']}..{schema['maximum']}"
    return str(schema.get("format", schema.get("type", "")))


def resolved(document: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """What a reference of the document stands for; anything else is itself."""
    if "$ref" not in value:
        return value
    found: Any = document
    for part in value["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return dict(found)

"""A resource's declaration as JSON Schema (2020-12): the fields in answers and the fields that a body may set.

The schemas describe only the form that every client may send. The service also accepts digit strings for numbers, and
dotted names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.resource import Field
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.resource import Node, Resource

Schema = dict[str, Any]

LINKS = {"$ref": "#/components/schemas/links"}
_SHOWN = {
    Read.EXPENSIVE: " Costly: shown only by name or with `**`.",
    Read.BY_NAME: " Costly: shown only by its own name or with `**`.",
    Read.KEY: " Always shown.",
}


def markdown(text: str) -> str:
    """Convert a help text's marks to Markdown."""
    return text.replace("``", "`")


def listed(items: Schema) -> Schema:
    """Return the schema of an array."""
    return {"type": "array", "items": items}


def object_of(properties: Schema, required: list[str] | None = None) -> Schema:
    """Return the schema of an object without other properties."""
    schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    return schema | ({"required": required} if required else {})


HREF = object_of({"href": {"type": "string", "format": "uri-reference"}}, ["href"])


def shown(resource: Resource) -> Schema:
    """Return the schema of an object in answers. Only a key field that is always shown is required."""
    schema = _shown(resource.tree, linked=True)
    if resource.links:
        schema["properties"]["_links"] = object_of(dict.fromkeys(("self", *resource.links), HREF), ["self"])
    key = resource.fields.get(resource.key)
    if key is not None and key.read is Read.KEY:
        schema["required"] = [resource.key]
    return schema | {"description": markdown(resource.help)}


def settable(resource: Resource, method: str) -> Schema:
    """Return the schema of one object in the body of a POST or PATCH."""
    return _settable(resource.tree, method) | {"description": markdown(resource.help)}


def named(resource: Resource, schema: Schema | None = None) -> Schema:
    """Return the schema of a record, which the key field names.

    For PATCH, ``schema`` is the schema of its body. For DELETE, it is None.
    """
    key = {resource.key: _field_schema(resource.fields[resource.key])}
    if schema is None:
        return {"type": "object", "properties": key, "required": [resource.key]}
    return schema | {"properties": key | schema["properties"], "required": [resource.key]}


def _shown(node: Node, *, linked: bool) -> Schema:
    properties: Schema = {}
    for name, member in node.members.items():
        declared = member.declared
        if isinstance(declared, Field):
            if declared.read is not Read.NEVER:
                properties[name] = _field_schema(declared, _SHOWN.get(declared.read, ""))
            continue
        beneath = _shown(member, linked=declared is not None and declared.link is not None)
        if beneath["properties"]:
            properties[name] = _group(member, beneath)
    return object_of(properties | ({"_links": LINKS} if linked else {}))


def _settable(node: Node, method: str) -> Schema:
    properties: Schema = {}
    required = []
    for name, member in node.members.items():
        declared = member.declared
        if isinstance(declared, Field):
            if not declared.settable(method):
                continue
            properties[name] = _field_schema(declared, given=True)
            if declared.required and method == "POST":
                required.append(name)
        elif any(_is_settable(below, method) for below in member.members.values()):
            properties[name] = _group(member, _settable(member, method))
    return object_of(properties, required)


def _is_settable(node: Node, method: str) -> bool:
    if isinstance(node.declared, Field):
        return node.declared.settable(method)
    return any(_is_settable(member, method) for member in node.members.values())


def _group(node: Node, beneath: Schema) -> Schema:
    schema = listed(beneath) if node.many else beneath
    return schema | ({"description": markdown(node.declared.help)} if node.declared else {})


def _field_schema(field: Field, note: str = "", *, given: bool = False) -> Schema:
    type_ = field.given if given and field.given else field.type
    schema = listed(dict(type_.schema)) if field.many else dict(type_.schema)
    if field.secret:
        schema["writeOnly"] = True
    return schema | {"description": f"{markdown(field.help)}{note}", "x-since": field.since}

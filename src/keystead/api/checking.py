"""The check of a body against a resource's declaration: which fields may be set, and their types.

An error has ONTAP's code and the ``target``. The checks rank in this order:

- unknown fields (262179);
- fields that cannot be set (262196);
- wrong types (262197, 262254, 262255);
- missing required fields (262212), or a PATCH that sets nothing (262190).

``_links`` is accepted anywhere and ignored. Errors never repeat values of secrets, values of unknown fields, or objects
and arrays.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.resource import Field, Node, Resource
from keystead.api.values import OBJECT
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.errors import ErrorKind

MASK = "***"
RECORDS = "records"
LINKS = "_links"
_UNKNOWN, _NOT_SETTABLE, _TYPE, _MISSING = range(4)


class Record(NamedTuple):
    """One object of a ``records`` body: the value of its key field (None in POST) and the values to set."""

    key: Any
    values: dict[str, Any]


def check_body(
    resource: Resource, body: Mapping[str, Any], method: str = "POST", *, ignore_unknown: bool = False
) -> dict[str, Any]:
    """Return the values of a body, with objects as dicts and arrays as tuples. Absent fields stay absent.

    A bulk POST returns ``{"records": (...)}``. Raise the first fault of the kind that ranks first.
    """
    check = _Check(resource, method, ignore_unknown=ignore_unknown)
    if resource.bulk and method == "POST" and RECORDS in body:
        return {RECORDS: tuple(values for _, values in check_records(resource, body, method))}
    values = check.members(resource.tree, body, "")
    check.given_something("")
    check.end()
    return values


def check_records(
    resource: Resource, body: Mapping[str, Any], method: str, *, ignore_unknown: bool = False
) -> tuple[Record, ...]:
    """Return the objects of a ``records`` body. Objects of PATCH and DELETE must hold the resource's key field.

    Other fields of a DELETE's objects are ignored, because clients send whole objects.
    """
    check = _Check(resource, method, ignore_unknown=ignore_unknown)
    records = check.records(body)
    check.end()
    return records


def nested(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with dotted field names (``{"svm.name": "x"}``), and names of objects, turned into objects.

    Raise 262188 if a field is given both ways.
    """
    found = _nested(resource.tree, body, "")
    if isinstance(found.get(RECORDS), list):
        found[RECORDS] = [
            _nested(resource.tree, item, f"{RECORDS}[{index}]") if isinstance(item, dict) else item
            for index, item in enumerate(found[RECORDS])
        ]
    return found


def masked(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a body for the audit record, with ``***`` for secret and undeclared values."""
    copy: dict[str, Any] = _masked(resource.tree, body)
    if isinstance(body.get(RECORDS), list):
        copy[RECORDS] = [_masked(resource.tree, item) for item in body[RECORDS]]
    return copy


def _masked(node: Node | None, value: Any) -> Any:
    if node is None:
        return MASK
    if isinstance(value, list):
        return [_masked(node, item) for item in value]
    if isinstance(value, dict):
        return {quoted(name): _masked(node.members.get(name), item) for name, item in value.items()}
    known = isinstance(node.declared, Field) and not node.declared.secret
    return value if known and "PRIVATE KEY" not in str(value) else MASK


def _nested(node: Node, body: Mapping[str, Any], path: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in body.items():
        _put(found, name.split(".") if _is_dotted_field(node, name) else [name], value, path)
    return {name: _nested_value(node.members.get(name), value, joined(path, name)) for name, value in found.items()}


def _nested_value(node: Node | None, value: Any, path: str) -> Any:
    if node is None or isinstance(node.declared, Field):
        return value
    if isinstance(value, list):
        return [_nested_value(node, item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, str) and node.declared is not None and node.declared.by_name:
        return {"name": value}
    return _nested(node, value, path) if isinstance(value, dict) else value


def _is_dotted_field(node: Node, name: str) -> bool:
    """Return True if a dotted name leads to a declared place without passing through an array."""
    *groups, last = name.split(".")
    for group in groups:
        if group not in node.members or node.members[group].many:
            return False
        node = node.members[group]
    return bool(groups) and last in node.members


def _put(found: dict[str, Any], names: list[str], value: Any, path: str) -> None:
    """Set a value inside nested objects. Merge objects that are given in parts."""
    name, *beneath = names
    target = joined(path, name)
    if beneath:
        inside = found.setdefault(name, {})
        if not isinstance(inside, dict):
            raise OntapError(errors.FIELD_TWICE, target=quoted(target), field=quoted(target))
        _put(inside, beneath, value, target)
    elif name not in found:
        found[name] = dict(value) if isinstance(value, dict) else value
    elif isinstance(found[name], dict) and isinstance(value, dict):
        for member, item in value.items():
            _put(found[name], [member], item, target)
    else:
        raise OntapError(errors.FIELD_TWICE, target=quoted(target), field=quoted(target))


class _Check:
    """One walk over a body that collects faults by kind."""

    def __init__(self, resource: Resource, method: str, *, ignore_unknown: bool) -> None:
        self._resource = resource
        self._method = method
        self._ignore_unknown = ignore_unknown
        self._given = 0  # number of fields in the object
        self._faults: list[tuple[int, OntapError]] = []

    def end(self) -> None:
        """Raise the first fault of the kind that ranks first, if there is a fault."""
        if self._faults:
            raise min(self._faults, key=lambda fault: fault[0])[1]

    def given_something(self, target: str) -> None:
        """Add a fault if a PATCH sets no field."""
        if self._method == "PATCH" and not self._given:
            self._faults.append((_MISSING, OntapError(self._resource.empty_patch, target=target or None)))
        self._given = 0

    def records(self, body: Mapping[str, Any]) -> tuple[Record, ...]:
        """Check a bulk body: only ``records``, an array of at least one object. Of the rest, the key is named first."""
        for name in sorted(body, key=lambda name: name != self._resource.key):
            if name in {RECORDS, LINKS}:
                continue
            if name not in self._resource.tree.members:
                self._unknown(name, name)
            else:
                self._fault(_TYPE, errors.FIELDS_EXCLUDE_EACH_OTHER, name, other=RECORDS)
        records = body[RECORDS]
        if not isinstance(records, list):
            self._fault(_TYPE, errors.ARRAY_EXPECTED, RECORDS)
            return ()
        if not records:
            self._fault(_MISSING, errors.MISSING_VALUE, RECORDS)
        return tuple(self._record(item, f"{RECORDS}[{i}]") for i, item in enumerate(records))

    def _record(self, item: Any, target: str) -> Record:
        if self._method == "POST" or not isinstance(item, dict):
            return Record(None, self._item(self._resource.tree, item, target))
        name = self._resource.key
        key = None
        if name in item:
            key = self._value(self._resource.fields[name], item[name], joined(target, name))
        else:
            self._fault(_MISSING, errors.MISSING_VALUE, joined(target, name))
        if self._method == "DELETE":
            return Record(key, {})
        others = {member: value for member, value in item.items() if member != name}
        values = self.members(self._resource.tree, others, target)
        self.given_something(target)
        return Record(key, values)

    def members(self, node: Node, body: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Check the members of one object, and the required fields that are absent."""
        values: dict[str, Any] = {}
        for name, value in body.items():
            if name == LINKS:
                continue
            target = joined(path, name)
            member = node.members.get(name)
            if member is None:
                self._unknown(name if not node.path else f"{node.path}.{name}", target)
            elif isinstance(member.declared, Field):
                values[name] = self._field(member.declared, value, target)
            else:
                values[name] = self._group(member, value, target)
        for name, member in node.members.items():
            declared = member.declared
            if self._method == "POST" and isinstance(declared, Field) and declared.required and name not in body:
                self._fault(_MISSING, errors.MISSING_VALUE, joined(path, name))
        return values

    def _group(self, node: Node, value: Any, target: str) -> Any:
        if not node.many:
            return self._item(node, value, target)
        if not isinstance(value, list):
            self._fault(_TYPE, errors.ARRAY_EXPECTED, target)
            return ()
        settable = self._is_settable(node)
        self._given += settable  # an empty array is a value
        if not value and not settable:
            self._fault(_NOT_SETTABLE, errors.FIELD_NOT_SETTABLE, target)
        return tuple(self._item(node, item, f"{target}[{index}]") for index, item in enumerate(value))

    def _item(self, node: Node, value: Any, target: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._wrong(value, target, OBJECT.text, secret=True)
            return {}
        known = len(self._faults)
        values = self.members(node, value, target)
        if len(self._faults) == known and not self._is_settable(node):
            self._fault(_NOT_SETTABLE, errors.FIELD_NOT_SETTABLE, target)
        return values

    def _is_settable(self, node: Node) -> bool:
        """Return True if a body may set any field at or below this node."""
        if isinstance(node.declared, Field):
            return node.declared.settable(self._method)
        return any(map(self._is_settable, node.members.values()))

    def _field(self, field: Field, value: Any, target: str) -> Any:
        self._given += 1
        if not field.settable(self._method):
            self._fault(_NOT_SETTABLE, field.refusal or errors.FIELD_NOT_SETTABLE, target)
            return None
        if not field.many:
            return self._value(field, value, target)
        if not isinstance(value, list):
            self._fault(_TYPE, errors.ARRAY_EXPECTED, target)
            return ()
        return tuple(self._value(field, item, f"{target}[{index}]") for index, item in enumerate(value))

    def _value(self, field: Field, value: Any, target: str) -> Any:
        type_ = field.given or field.type
        try:
            return type_.parse(value)
        except ValueError:
            self._wrong(value, target, type_.text, secret=field.secret)
            return None

    def _wrong(self, value: Any, target: str, type_: str, *, secret: bool) -> None:
        if isinstance(value, list):
            self._fault(_TYPE, errors.ARRAY_NOT_EXPECTED, target)
        elif secret or isinstance(value, dict) or "PRIVATE KEY" in str(value):
            self._fault(_TYPE, errors.INVALID_SECRET_VALUE, target, type=type_)
        else:
            self._fault(_TYPE, errors.INVALID_FIELD_VALUE, target, value=_shown(value), type=type_)

    def _unknown(self, name: str, target: str) -> None:
        if self._ignore_unknown:
            return
        if name != RECORDS and self._resource.catalogue.is_absent(name):
            self._fault(_NOT_SETTABLE, errors.FIELD_NOT_SETTABLE, target)
        else:
            self._fault(_UNKNOWN, errors.UNEXPECTED_ARGUMENT, target)

    def _fault(self, rank: int, kind: ErrorKind, target: str, **values: Any) -> None:
        name = quoted(target)
        self._faults.append((rank, OntapError(kind, target=name, field=name, **values)))


def joined(path: str, name: str) -> str:
    """Return the dotted name of a member."""
    return f"{path}.{name}" if path else name


def _shown(value: Any) -> str:
    """Return a plain JSON value in the form that an error repeats."""
    return quoted(value if isinstance(value, str) else json.dumps(value))

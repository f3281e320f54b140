"""A REST resource as a declaration: a list of its fields, and everything that is derived from this list.

Derived are the check of bodies (checking.py), ``fields`` and filters (query.py), answers and links (hal.py), and the
OpenAPI document and the reference page (description/). Source: the object tables of the ONTAP REST API reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.ontap_fields import TYPES
from keystead.api.values import UUID
from keystead.core import errors
from keystead.core.query.query import Catalogue, Read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keystead.api.values import Type
    from keystead.core.errors import ErrorKind

OURS: Final = "ours"
"""The value of ``since`` for a field that ONTAP does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. ``name`` is dotted; the members before the last are groups.

    ``get`` reads the field from the group's object: a JSON value, or None when there is nothing to show. ``column`` is
    the column of the store's page that holds the field, or None. With a column, the store filters by the field and
    orders by it, but does not order by a field in an array. Without a column, filters are compared in memory, and there
    is no order.

    ``many`` means an array. ``given`` is the type of a body's value if that differs from ``type``. ``restore`` gives
    the value that a rollback of a PATCH sets when ``get`` shows nothing. It reads from the whole object and returns
    None if the value cannot be known. ``listed``: values hold no comma, so that one separates alternatives of a filter.
    """

    name: str
    type: Type
    help: str
    get: Callable[[Any], Any] | None = None
    read: Read = Read.NORMAL
    post: bool = False
    patch: bool = False
    required: bool = False
    secret: bool = False
    many: bool = False
    since: str = "9.6"
    column: str | None = None
    given: Type | None = None
    restore: Callable[[Any], Any] | None = None
    listed: bool = False
    refusal: ErrorKind | None = None  # the error for setting the field, if ONTAP has a special code

    def settable(self, method: str) -> bool:
        """Return True if a body of this method may hold the field."""
        return self.patch if method == "PATCH" else self.post


def _same_key(key: Any, _: Mapping[str, Any]) -> Any:
    """Return the key unchanged, for objects with a key that PATCH never changes."""
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """An object, or an array of objects, that contains fields. ``get`` reads it from the object around it.

    ``link`` makes the path of its ``_links.self``. ``by_name``: bodies may give its name instead of an object.
    """

    name: str
    help: str
    get: Callable[[Any], Any]
    many: bool = False
    link: Callable[[Any], str] | None = None
    by_name: bool = False


@dataclass(slots=True)
class Node:
    """A place in the tree of dotted names: its declaration, if any, and the members below it.

    A node without a declaration is a group of names only: its fields belong to the object around it.
    """

    path: str
    declared: Field | Group | None = None
    members: dict[str, Node] = field(default_factory=dict)

    @property
    def many(self) -> bool:
        """True if the node is an array."""
        return self.declared is not None and self.declared.many


def is_ontap_field(type_: str, name: str) -> bool:
    """Return True if a type of ontap_fields.py has a field, or a parent of fields, with this dotted name."""
    for part in name.split("."):
        members = ontap_members(type_)
        if part not in members:
            return False
        type_ = members[part]
    return True


def ontap_members(type_: str) -> dict[str, str]:
    """Return the names of a type of ontap_fields.py, with their types; a name without members has an empty one."""
    return dict(member.partition(":")[::2] for member in TYPES.get(type_, "").split())


def itself(value: Any) -> Any:
    """Return the value, as the getter of a field that is the whole object of its group."""
    return value


def always(value: Any) -> Callable[[Any], Any]:
    """Return a getter that gives the same value for every object."""
    return lambda _: value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Resource:
    """A resource: its name, its fields and how its objects are found.

    ``link`` makes the path of one object. ``order`` is the column, type and getter of its place in a list. ``key`` is
    the field that names an object in its collection, and the name of the path's parameter. ``ontap`` is its type in
    ontap_fields.py: requests may name the fields of this type that are not declared here, and no answer shows them.
    ``absent`` are further names of this kind, from ONTAP's reference. With ``bulk``, POST takes an array ``records`` at
    once and not as a job. ``empty_patch`` is the answer to a PATCH that sets nothing.

    ``in_path`` are the fields that the path of one object holds, with the names of the path's parameters; without it,
    the key field alone.

    ``moved`` returns an object's key after a PATCH with the given values. ``links`` makes further paths next to
    ``self``, by name; None means no link. ``returned`` are the fields that a POST with ``return_records`` shows besides
    the key fields, in the form of ``fields``.
    """

    name: str
    help: str
    declared: tuple[Field | Group, ...]
    link: Callable[[Any], str]
    order: tuple[str, Type, Callable[[Any], Any]] = ("uuid", UUID, attrgetter("uuid"))
    key: str = "uuid"
    in_path: Mapping[str, str] = field(default_factory=dict)
    ontap: str = ""
    absent: frozenset[str] = frozenset()
    bulk: bool = False
    empty_patch: ErrorKind = errors.NO_VALUES
    returned: str = ""
    moved: Callable[[Any, Mapping[str, Any]], Any] = _same_key
    links: Mapping[str, Callable[[Any], str | None]] = field(default_factory=dict)
    tree: Node = field(init=False)
    fields: Mapping[str, Field] = field(init=False)
    catalogue: Catalogue = field(init=False)

    def __post_init__(self) -> None:
        root = Node("")
        for declared in self.declared:
            node = root
            for name in declared.name.split("."):
                node = node.members.setdefault(name, Node(f"{node.path}.{name}".lstrip(".")))
            node.declared = declared
        fields = {item.name: item for item in self.declared if isinstance(item, Field)}
        object.__setattr__(self, "tree", root)
        object.__setattr__(self, "fields", fields)
        object.__setattr__(self, "in_path", self.in_path or {self.key: self.key})
        reads = {name: item.read for name, item in fields.items()}
        object.__setattr__(self, "catalogue", Catalogue(reads, self._is_absent))

    def _is_absent(self, name: str) -> bool:
        """Return True if ONTAP has the field, or the parent, and this declaration does not."""
        return not self._declares(name) and (name in self.absent or is_ontap_field(self.ontap, name))

    def _declares(self, name: str) -> bool:
        node: Node | None = self.tree
        for part in name.split("."):
            node = node and node.members.get(part)
        return node is not None

    def beside(self, view: Any) -> dict[str, str]:
        """Return the values of an object's path besides its key, by the names of the path's parameters."""
        parts = ((part, next(self.values(view, name))) for name, part in self.in_path.items() if name != self.key)
        return {part: str(value) for part, value in parts}

    def in_array(self, name: str) -> bool:
        """Return True if a field is in the objects of an array."""
        node = self.tree
        for part in name.split(".")[:-1]:
            node = node.members[part]
            if node.many:
                return True
        return False

    def values(self, view: Any, name: str, beneath: str = "") -> Iterator[Any]:
        """Yield the values that an object has for a readable field: none, one, or several through arrays.

        ``beneath`` is the path of the group that contains the object as an element. It is empty for an object of the
        resource.
        """
        found = [view]
        node = self.tree
        skipped = beneath.count(".") + 1 if beneath else 0
        for place, part in enumerate(name.split(".")):
            node = node.members[part]
            declared = node.declared
            if place < skipped or declared is None or declared.get is None:
                continue
            got = [value for value in map(declared.get, found) if value is not None]
            found = [item for value in got for item in value] if declared.many else got
        return iter(found)

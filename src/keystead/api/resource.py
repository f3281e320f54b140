"""A REST resource as a declaration: its fields once, and everything that is derived from the list.

From it come the check of bodies (checking.py), ``fields`` and filters (query.py), answers and links (hal.py), the
OpenAPI document and the reference page (description/). Source: the object tables of the ONTAP REST API
reference.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.values import UUID
from keystead.core import errors
from keystead.core.query.query import Catalogue, Read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from keystead.api.values import Type
    from keystead.core.errors import ErrorKind

OURS: Final = "ours"
"""``since`` of a field that ONTAP does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. ``name`` is dotted; the members before the last are groups.

    ``get`` reads it from the group's object: a JSON value, or None when there is nothing to show. ``column`` is the
    column of the store's page that holds it, where there is one: then the store filters by it, and orders by it unless
    it stands in an array; else filters are compared in memory, and there is no order. ``many`` is an array. ``given``
    is the type of a body's value, where that is another. ``restore`` reads from the whole object what a PATCH that is
    taken back sets the field to, where ``get`` shows nothing; None when that cannot be known.
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
    refusal: ErrorKind | None = None  # what setting it answers, where ONTAP has a code of its own

    def settable(self, method: str) -> bool:
        """Whether a body of this method may hold it."""
        return self.patch if method == "PATCH" else self.post


def _stays(key: Any, _: Mapping[str, Any]) -> Any:
    """The key of an object whose PATCH never changes it."""
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """An object, or an array of objects, that fields stand in. ``get`` reads it from the object around it.

    ``link`` makes the path of its ``_links.self``. An array that is always ``empty`` may stand in a body as such:
    clients send what they would have.
    """

    name: str
    help: str
    get: Callable[[Any], Any]
    many: bool = False
    link: Callable[[Any], str] | None = None
    empty: bool = False


@dataclass(slots=True)
class Node:
    """A place in the tree that the dotted names make: the declaration there, if any, and the members beneath.

    Without a declaration it is a group that only gives a name to some of the fields around it.
    """

    path: str
    declared: Field | Group | None = None
    members: dict[str, Node] = field(default_factory=dict)

    @property
    def many(self) -> bool:
        """Whether an array stands here."""
        return self.declared is not None and self.declared.many


def itself(value: Any) -> Any:
    """The getter of a field that is the whole of its group's object."""
    return value


def always(value: Any) -> Callable[[Any], Any]:
    """The getter of a field that is the same for every object."""
    return lambda _: value


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Resource:
    """A resource. ``link`` is the path of one object; ``order`` the column, type and value of its place in a list.

    ``key`` is the field that names an object in its collection, and the path's parameter for it.
    ``absent`` are fields that ONTAP has and this service has nothing to show for; ``bulk`` says that POST takes
    ``records``, an array of objects, at once, not as a job. ``empty_patch`` is the answer to a PATCH that sets nothing.
    ``moved`` tells an object's key after a PATCH with these values; ``links`` are
    further paths beside that of ``self``, by name, None when there is none.
    ``returned`` are the fields, as in ``fields``, that a POST with ``return_records`` shows beside the key fields.
    """

    name: str
    help: str
    declared: tuple[Field | Group, ...]
    link: Callable[[Any], str]
    order: tuple[str, Type, Callable[[Any], Any]] = ("uuid", UUID, attrgetter("uuid"))
    key: str = "uuid"
    absent: frozenset[str] = frozenset()
    bulk: bool = False
    empty_patch: ErrorKind = errors.NO_VALUES
    returned: str = ""
    moved: Callable[[Any, Mapping[str, Any]], Any] = _stays
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
        reads = {name: item.read for name, item in fields.items()}
        object.__setattr__(self, "catalogue", Catalogue(reads, self.absent))

    def in_array(self, name: str) -> bool:
        """Whether a field stands in the objects of an array."""
        node = self.tree
        for part in name.split(".")[:-1]:
            node = node.members[part]
            if node.many:
                return True
        return False

    def values(self, view: Any, name: str, beneath: str = "") -> Iterator[Any]:
        """Yield the values that an object has for a readable field: none, one, or several through arrays.

        ``beneath`` is the path of the group that the object is an element of, when it is not the resource's.
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

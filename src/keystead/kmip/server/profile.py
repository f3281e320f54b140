"""The profile of a key server: switches for the choices that the specification leaves open, by which products differ.

A profile is a value that :mod:`keystead.kmip.server.responder` reads. To change a running server, give it another
profile.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from keystead.kmip.ttlv.enums import ObjectType, Operation, ResultReason, State

if TYPE_CHECKING:
    from collections.abc import Mapping


OPERATIONS: Final = (
    Operation.DISCOVER_VERSIONS,
    Operation.QUERY,
    Operation.CREATE,
    Operation.REGISTER,
    Operation.LOCATE,
    Operation.GET,
    Operation.GET_ATTRIBUTES,
    Operation.GET_ATTRIBUTE_LIST,
    Operation.ADD_ATTRIBUTE,
    Operation.ACTIVATE,
    Operation.REVOKE,
    Operation.DESTROY,
)
"""All operations of a responder, in the order in which Query names them."""

OBJECT_TYPES: Final = frozenset(ObjectType) - {ObjectType.TEMPLATE, ObjectType.CERTIFICATE_REQUEST}
"""All object types that a responder can store."""

ALL_BITS: Final = 0x7FFF_FFFF


class Offset(Enum):
    """How a server treats Offset Items in a Locate (KMIP 1.4 section 4.9)."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True)
class Profile:
    """One kind of key server. The defaults are a plain server with all abilities of a responder.

    Operations that are not in ``operations`` are answered with Operation Not Supported. Those in ``refusals`` are
    answered with the reason given there. An object of a type outside ``object_types`` is refused as an Invalid Field.
    """

    operations: frozenset[Operation] = frozenset(OPERATIONS)
    object_types: frozenset[ObjectType] = OBJECT_TYPES
    refusals: Mapping[Operation, ResultReason] = field(default_factory=lambda: MappingProxyType({}))
    maximum_batch: int | None = None
    """The longest batch. A longer one is refused as a whole: Invalid Message."""

    refused_attributes: Mapping[str, ResultReason] = field(default_factory=lambda: MappingProxyType({}))
    """Attribute name to the reason of its refusal, when it is given or searched for."""
    ignored_attributes: frozenset[str] = frozenset()
    """Attributes that are accepted but not stored. A search for them finds nothing."""
    usage_mask: int = ALL_BITS
    """The allowed bits of Cryptographic Usage Mask. Other bits are an Invalid Field."""
    usage_mask_required: bool = False
    """If true, a Create or Register without Cryptographic Usage Mask is an Invalid Message."""

    unique_names: bool = False
    """If true, a Name of another object is refused: Invalid Field in 1.x, Non Unique Name Attribute in 2.x."""
    names_outlive_objects: bool = False
    """If true, a Name stays taken after Destroy. It needs ``unique_names``."""

    initial_state: State | None = State.PRE_ACTIVE
    """The State of a new object. ``None``: objects have no State."""
    destroy_of_active: ResultReason | None = ResultReason.ILLEGAL_OPERATION
    """The reason why Destroy of an Active object is refused. ``None``: it is allowed."""
    keeps_destroyed: bool = False
    """If true, a destroyed object keeps its attributes, including State. If false, it disappears completely."""
    destroyed: ResultReason = ResultReason.PERMISSION_DENIED
    """The reason why a Get, Destroy and similar requests for a kept, destroyed object are refused."""

    locates_by_attributes: bool = True
    """``False``: Locate ignores the attributes and finds everything."""
    locates_destroyed: bool = False
    page_limit: int | None = None
    """The most objects in one Locate answer, whatever Maximum Items says."""
    offset_items: Offset = Offset.HONOURED

    others_objects: ResultReason | None = None
    """The reason why a request for an object of another client is refused. Locate does not name such an object.

    The client is known by its certificate's common name. ``None``: every client sees all objects.
    """


PLAIN: Final = Profile()

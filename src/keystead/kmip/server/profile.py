"""What a key server does where the specification leaves a choice: the switches by which products differ.

A profile is a value that :mod:`keystead.kmip.server.responder` reads: to make a server change its ways while it runs,
give it another profile.
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
"""All that a responder can do, in the order in which Query names them."""

OBJECT_TYPES: Final = frozenset(ObjectType) - {ObjectType.TEMPLATE, ObjectType.CERTIFICATE_REQUEST}
"""All that a responder can keep."""

ALL_BITS: Final = 0x7FFF_FFFF


class Offset(Enum):
    """What becomes of Offset Items in a Locate (KMIP 1.4 section 4.9)."""

    HONOURED = "honoured"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True)
class Profile:
    """One kind of key server. The defaults are a plain one that does all that a responder can.

    Operations that are not in ``operations`` are answered with Operation Not Supported, those in ``refusals`` with the
    reason given there. An object of another type than ``object_types`` is refused as an Invalid Field.
    """

    operations: frozenset[Operation] = frozenset(OPERATIONS)
    object_types: frozenset[ObjectType] = OBJECT_TYPES
    refusals: Mapping[Operation, ResultReason] = field(default_factory=lambda: MappingProxyType({}))
    maximum_batch: int | None = None
    """A longer batch is refused as a whole: Invalid Message."""

    refused_attributes: Mapping[str, ResultReason] = field(default_factory=lambda: MappingProxyType({}))
    """Attribute name to the reason for which it is refused, given or searched for."""
    ignored_attributes: frozenset[str] = frozenset()
    """Attributes that are taken and thrown away; a search for them finds nothing."""
    usage_mask: int = ALL_BITS
    """The bits of Cryptographic Usage Mask that are known; others are an Invalid Field."""
    usage_mask_required: bool = False
    """A Create or Register without one is an Invalid Message."""

    unique_names: bool = False
    """A Name that another object has is refused: Invalid Field in 1.x, Non Unique Name Attribute in 2.x."""
    names_outlive_objects: bool = False
    """A Name stays taken after Destroy; means something with ``unique_names``."""

    initial_state: State | None = State.PRE_ACTIVE
    """``None``: objects have no State."""
    destroy_of_active: ResultReason | None = ResultReason.ILLEGAL_OPERATION
    """``None``: an Active object may be destroyed."""
    keeps_destroyed: bool = False
    """A destroyed object keeps its attributes, State too; else it is as if it had never been."""
    destroyed: ResultReason = ResultReason.PERMISSION_DENIED
    """Why a Get, Destroy or the like of a destroyed object that is kept is refused."""

    locates_by_attributes: bool = True
    """``False``: Locate finds everything, whatever was asked for."""
    locates_destroyed: bool = False
    page_limit: int | None = None
    """A Locate never names more objects than this, whatever Maximum Items says."""
    offset_items: Offset = Offset.HONOURED

    others_objects: ResultReason | None = None
    """Why an object that a client with another certificate name brought is refused, and not located.

    ``None``: every client sees all objects.
    """


PLAIN: Final = Profile()

"""What key servers are like: the switches by which products differ where the specification lets them, or does not.

A profile is read by :mod:`keystead.kmip.server.responder`, for tests of clients. It is a value: to make a server change
its ways while it runs, give it another profile. Faults that come and go are the responder's and the test server's own.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from keystead.kmip.ttlv.enums import CryptographicUsageMask, ObjectType, Operation, ResultReason, State

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

STATES: Final = frozenset({Operation.ACTIVATE, Operation.REVOKE})
"""The operations that change the State."""

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

_AES_ONLY: Final = frozenset({ObjectType.SYMMETRIC_KEY})
_NO_STATES: Final = replace(PLAIN, operations=PLAIN.operations - STATES)
_UNIQUE: Final = replace(PLAIN, unique_names=True)


def _without_application_data(reason: ResultReason) -> Profile:
    return replace(PLAIN, refused_attributes={"Application Specific Information": reason})


PROFILES: Final[Mapping[str, Profile]] = MappingProxyType(
    {
        "plain": PLAIN,
        "unique names": _UNIQUE,
        "names stay taken": replace(_UNIQUE, names_outlive_objects=True),
        "destroyed objects are kept": replace(_UNIQUE, keeps_destroyed=True, locates_destroyed=True),
        "destroyed objects are kept and not located": replace(_UNIQUE, keeps_destroyed=True),
        "locate returns everything": replace(PLAIN, locates_by_attributes=False),
        "pages of two": replace(PLAIN, page_limit=2),
        "no offset items": replace(PLAIN, offset_items=Offset.REFUSED),
        "offset items ignored": replace(PLAIN, offset_items=Offset.IGNORED),
        "application specific information is an invalid field": _without_application_data(ResultReason.INVALID_FIELD),
        "application specific information is not supported": _without_application_data(
            ResultReason.FEATURE_NOT_SUPPORTED
        ),
        "application specific information is dropped": replace(
            PLAIN, ignored_attributes=frozenset({"Application Specific Information"})
        ),
        "destroy of active is permission denied": replace(PLAIN, destroy_of_active=ResultReason.PERMISSION_DENIED),
        "destroy of active is allowed": replace(PLAIN, destroy_of_active=None),
        "usage mask encrypt and decrypt only": replace(
            PLAIN, usage_mask=CryptographicUsageMask.ENCRYPT | CryptographicUsageMask.DECRYPT
        ),
        "usage mask required": replace(PLAIN, usage_mask_required=True),
        "no batches": replace(PLAIN, maximum_batch=1),
        "symmetric keys only": replace(PLAIN, object_types=_AES_ONLY),
        "no states": replace(_NO_STATES, initial_state=None),
        "active at once": replace(_NO_STATES, initial_state=State.ACTIVE, destroy_of_active=None),
        "query denied": replace(PLAIN, refusals={Operation.QUERY: ResultReason.PERMISSION_DENIED}),
        "no query": replace(PLAIN, operations=PLAIN.operations - {Operation.QUERY}),
        "objects belong to their certificate": replace(PLAIN, others_objects=ResultReason.ITEM_NOT_FOUND),
        "others' objects are permission denied": replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED),
    }
)
"""Scripted key servers by what is peculiar about them."""

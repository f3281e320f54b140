"""Profiles of key servers for tests of clients: how products differ, within the specification or against it.

:mod:`keystead.kmip.server.responder` reads a profile. A profile is a value: to change a running server, give it another
profile. Temporary faults are in the responder and in the test server.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from keystead.kmip.server.profile import PLAIN, Offset, Profile
from keystead.kmip.ttlv.enums import CryptographicUsageMask, ObjectType, Operation, ResultReason, State

if TYPE_CHECKING:
    from collections.abc import Mapping


STATES: Final = frozenset({Operation.ACTIVATE, Operation.REVOKE})
"""The operations that change the State."""

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
"""Scripted key servers, named after their peculiarity."""

"""The life of an object: which operation changes which state, as a table. Pure.

Source: KMIP 1.4 sections 3.22 (State), 4.19 (Activate), 4.20 (Revoke) and 4.21 (Destroy).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from keystead.core.applications.model import DESTROYED, ObjectState
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason

if TYPE_CHECKING:
    from collections.abc import Mapping


class Change(StrEnum):
    """What a client asks of an object's state. ``compromise`` is Revoke with a reason that says compromise."""

    ACTIVATE = "activate"
    REVOKE = "revoke"
    COMPROMISE = "compromise"
    DESTROY = "destroy"


NEXT: Final[Mapping[tuple[ObjectState, Change], ObjectState]] = {
    (ObjectState.PRE_ACTIVE, Change.ACTIVATE): ObjectState.ACTIVE,
    (ObjectState.PRE_ACTIVE, Change.COMPROMISE): ObjectState.COMPROMISED,
    (ObjectState.PRE_ACTIVE, Change.DESTROY): ObjectState.DESTROYED,
    (ObjectState.ACTIVE, Change.REVOKE): ObjectState.DEACTIVATED,
    (ObjectState.ACTIVE, Change.COMPROMISE): ObjectState.COMPROMISED,
    (ObjectState.DEACTIVATED, Change.COMPROMISE): ObjectState.COMPROMISED,
    (ObjectState.DEACTIVATED, Change.DESTROY): ObjectState.DESTROYED,
    (ObjectState.COMPROMISED, Change.COMPROMISE): ObjectState.COMPROMISED,
    (ObjectState.COMPROMISED, Change.DESTROY): ObjectState.DESTROYED_COMPROMISED,
}
"""The state after a change. A pair that is not here is refused."""

DATE_OF: Final[Mapping[ObjectState, str]] = {
    ObjectState.ACTIVE: "Activation Date",
    ObjectState.DEACTIVATED: "Deactivation Date",
    ObjectState.COMPROMISED: "Compromise Date",
}
"""The attribute with the time at which a state began. That of a destroyed state is in the object's key."""


def following(state: ObjectState, change: Change) -> ObjectState:
    """Return the state after a change. Raise ObjectRefusal if the state does not allow it."""
    found = NEXT.get((state, change))
    if found is not None:
        return found
    if state in DESTROYED:
        raise ObjectRefusal(RefusalReason.OBJECT_DESTROYED, "The object is destroyed.")
    if change is Change.DESTROY:
        raise ObjectRefusal(RefusalReason.PERMISSION_DENIED, "An active object cannot be destroyed: revoke it first.")
    shown = state.value.replace("_", "-")
    raise ObjectRefusal(RefusalReason.ILLEGAL_OPERATION, f"The object is {shown}, which does not allow to {change}.")

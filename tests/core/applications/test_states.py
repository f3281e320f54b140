"""The life of an object, in every state and for every change."""

from __future__ import annotations

from itertools import product

import pytest

from keystead.core.applications.model import DESTROYED, ObjectState
from keystead.core.applications.refusals import ObjectRefusal, RefusalReason
from keystead.core.applications.states import NEXT, Change, following


@pytest.mark.parametrize(("state", "change"), list(product(ObjectState, Change)))
def test_every_change_in_every_state(state: ObjectState, change: Change) -> None:
    """A change leads to another state, or is refused; a destroyed object never changes."""
    if (state, change) in NEXT:
        after = following(state, change)
        assert (after in DESTROYED) == (change is Change.DESTROY)
        return
    with pytest.raises(ObjectRefusal) as refused:
        following(state, change)
    if state in DESTROYED:
        assert refused.value.reason is RefusalReason.OBJECT_DESTROYED
    elif change is Change.DESTROY:
        assert (state, refused.value.reason) == (ObjectState.ACTIVE, RefusalReason.PERMISSION_DENIED)
    else:
        assert refused.value.reason is RefusalReason.ILLEGAL_OPERATION


def test_what_is_compromised_stays_compromised() -> None:
    """No change leads back from it."""
    after = {following(ObjectState.COMPROMISED, change) for change in (Change.COMPROMISE, Change.DESTROY)}
    assert after == {ObjectState.COMPROMISED, ObjectState.DESTROYED_COMPROMISED}

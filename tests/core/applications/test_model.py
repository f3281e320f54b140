"""The state of an object, which follows that of its key."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keystead.core.applications.model import ApplicationObject, ObjectAttribute, ObjectState
from keystead.core.applications.refusals import RefusalReason, not_found
from keystead.core.keys.model import Key, KeyState, KeyType

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
KEY = Key("u", "i", "k", None, "n", "", KeyType.KMIP, KeyState.COMMITTED, 16, NOON)
NAMES = (ObjectAttribute("Name", 0, b"", "a"), ObjectAttribute("Object Group", 0, b""))
OBJECT = ApplicationObject(KEY, "application", 2, {}, ObjectState.ACTIVE, {}, NAMES)


@pytest.mark.parametrize("key_state", [state for state in KeyState if state is not KeyState.COMMITTED])
@pytest.mark.parametrize("stored", [ObjectState.ACTIVE, ObjectState.COMPROMISED])
def test_an_object_is_destroyed_with_its_key(key_state: KeyState, stored: ObjectState) -> None:
    """A key that is recovered gives the state back."""
    destroyed = replace(OBJECT, key=replace(KEY, state=key_state), stored_state=stored)
    compromised = stored is ObjectState.COMPROMISED
    assert destroyed.state is (ObjectState.DESTROYED_COMPROMISED if compromised else ObjectState.DESTROYED)
    assert replace(destroyed, key=KEY).state is stored


def test_names_and_identifier() -> None:
    """The key's uuid is the Unique Identifier."""
    assert (OBJECT.identifier, OBJECT.names) == ("u", ("a",))


def test_what_is_not_found() -> None:
    """It says no more than that."""
    assert not_found().reason is RefusalReason.ITEM_NOT_FOUND

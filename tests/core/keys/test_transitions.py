"""The rules of keys and copies make only the changes that the tables of transitions have."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from keystead.core.keys.destroying import as_purging, plan_recover, plan_retire
from keystead.core.keys.keeping import CopyAnswer, after_look
from keystead.core.keys.model import (
    Attempt,
    AttemptState,
    Copy,
    Incarnation,
    Key,
    KeyState,
    KeyType,
    Presence,
    Purpose,
)
from keystead.core.keys.transitions import COPY_TRANSITIONS, KEY_TRANSITIONS

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = timedelta(days=7)
HERE = Incarnation("here", 2, NOW, "restored", "", destroys=True)


def _key(state: KeyState) -> Key:
    return Key("k", "0" * 80, "km", None, "vol1", "", KeyType.VEK, state, 64, NOW, retired_in="earlier")


def test_every_state_is_reached_and_left() -> None:
    """Each state is in the tables; only states in which keys end are left by no or few transitions."""
    assert {after for _, after, _ in KEY_TRANSITIONS} == set(KeyState)
    assert {before for before, _, _ in KEY_TRANSITIONS} == {None, *KeyState}
    assert {after for _, after, _ in COPY_TRANSITIONS} == set(Presence)
    assert {before for before, _, _ in COPY_TRANSITIONS} == {None, *Presence}
    assert len(set(COPY_TRANSITIONS)) == len(COPY_TRANSITIONS)


@pytest.mark.parametrize("state", [KeyState.COMMITTED, KeyState.RETIRED])
def test_changes_of_keys_are_in_the_table(state: KeyState) -> None:
    """Retiring, recovering and the begin of a purge are transitions of the table."""
    known = {(before, after) for before, after, _ in KEY_TRANSITIONS}
    key = _key(state)
    assert (state, plan_retire(key, HERE, NOW, WINDOW).state) in known
    recovered = plan_recover(key, HERE).state
    assert recovered is state or (state, recovered) in known
    assert (KeyState.RETIRED, as_purging(key).state) in known


@pytest.mark.parametrize("presence", [each for each in Presence if each is not Presence.DESTROYED])
def test_changes_of_copies_are_in_the_table(presence: Presence) -> None:
    """Every result of a look at a copy is in the table, for proven and unproven copies, with and without the canary."""
    known = {(before, after) for before, after, _ in COPY_TRANSITIONS}
    attempt = Attempt("k", 1, Purpose.CREATE, "here", "t", "n", AttemptState.COMMITTED, NOW, NOW)
    for look, canary, proven in product(CopyAnswer, (True, False), (None, NOW)):
        copy = Copy("k", 1, "ks", presence, proven=NOW if presence is Presence.PRESENT else proven)
        after = after_look(copy, look, replace(attempt, expires=NOW - timedelta(hours=1)), NOW, canary=canary).presence
        assert after is presence or (presence, after) in known

"""Work on copies that waits, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.keys.model import Attempt, AttemptState, Copy, Key, KeyState, KeyType, Presence, Purpose
from keystead.core.keys.waiting import Hindrances, WaitsFor, Work, destroying, purging, settling

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(days=7)
KEY = Key("k", "id", "km", None, "vol1", "", KeyType.VEK, KeyState.PURGING, 64, NOON, purge_after=LATER)
ATTEMPT = Attempt("k", 1, Purpose.CREATE, "i", "token", "node", AttemptState.ABORTED, NOON, NOON)
COPY = Copy("k", 1, "a", Presence.UNKNOWN)


@pytest.mark.parametrize(
    ("away", "waits_for"), [("", WaitsFor.NEXT_ROUND), ("b", WaitsFor.NEXT_ROUND), ("a", WaitsFor.SERVER)]
)
def test_a_copy_to_settle(away: str, waits_for: WaitsFor) -> None:
    """It waits for its server, since the attempt began."""
    found = settling(COPY, KEY, ATTEMPT, set(away))
    assert (found.work, found.waits_for, found.since) == (Work.SETTLE, waits_for, NOON)


@pytest.mark.parametrize(
    ("expired", "away", "destroys", "waits_for"),
    [
        (False, "", True, WaitsFor.NEXT_ROUND),
        (False, "b", True, WaitsFor.NEXT_ROUND),
        (True, "b", True, WaitsFor.OTHER_SERVER),
        (True, "c", True, WaitsFor.NEXT_ROUND),
        (True, "ab", True, WaitsFor.SERVER),
        (True, "ab", False, WaitsFor.RELEASE),
    ],
)
def test_what_a_failed_creation_left(expired: bool, away: str, destroys: bool, waits_for: WaitsFor) -> None:
    """A timed-out attempt also waits for its other servers, because they may show that it was committed."""
    attempt = replace(ATTEMPT, expired=expired)
    found = destroying(COPY, KEY, attempt, {"b"}, Hindrances(set(away), set(), destroys=destroys), arriving=False)
    assert (found.work, found.waits_for, found.since) == (Work.DESTROY, waits_for, NOON)


@pytest.mark.parametrize(
    ("away", "unmarked", "destroys", "arriving", "waits_for"),
    [
        ("", "", True, False, WaitsFor.NEXT_ROUND),
        ("", "b", True, False, WaitsFor.NEXT_ROUND),
        ("", "a", True, False, WaitsFor.EPOCH_MARKER),
        ("", "a", True, True, WaitsFor.LATE_REGISTER),
        ("a", "a", True, True, WaitsFor.SERVER),
        ("a", "a", False, True, WaitsFor.RELEASE),
    ],
)
def test_a_copy_of_a_deleted_key(away: str, unmarked: str, destroys: bool, arriving: bool, waits_for: WaitsFor) -> None:
    """It waits since the recovery window ended."""
    found = purging(COPY, KEY, Hindrances(set(away), set(unmarked), destroys=destroys), arriving=arriving)
    assert (found.work, found.waits_for, found.since) == (Work.PURGE, waits_for, LATER)
    without = replace(KEY, purge_after=None)
    assert purging(COPY, without, Hindrances(set(), set(), destroys=True), arriving=False).since == NOON

"""The rules of retiring, recovering and destroying keys."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.destroying import (
    ABSENT,
    LATE_REGISTER,
    NOT_WRITTEN,
    Ownership,
    PurgeWait,
    Step,
    as_purging,
    check_retired_count,
    is_due,
    is_past_recovery,
    is_purged,
    is_recoverable,
    may_arrive,
    may_destroy,
    not_written,
    ownership,
    plan_recover,
    plan_retire,
    purge_waits_for,
    recovery_ends,
    steps,
)
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
    Receipt,
)
from keystead.core.keys.names import ObjectKind, canary_name, epoch_marker_name, object_name, parse

if TYPE_CHECKING:
    from collections.abc import Callable

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = timedelta(days=7)
DAY = timedelta(days=1)
HERE = Incarnation("abcdef01-0000-0000-0000-000000000000", 2, NOW - 30 * DAY, "restored", "", destroys=True)
BEFORE = "99999999-0000-0000-0000-000000000000"
EARLIER = replace(HERE, uuid=BEFORE, number=1, began=NOW - 90 * DAY)


def key(state: KeyState = KeyState.COMMITTED, retired: datetime | None = None, by: Incarnation = HERE) -> Key:
    """Return a key; a retired one can be recovered for seven days."""
    return Key(
        uuid="11111111-2222-3333-4444-555555555555",
        key_id="id",
        key_manager="km",
        svm=None,
        name="volume",
        key_tag="",
        key_type=KeyType.VEK,
        state=state,
        length=64,
        created=NOW - 60 * DAY,
        retired=retired,
        purge_after=retired and retired + WINDOW,
        retired_in=by.uuid if retired else "",
    )


def attempt(state: AttemptState = AttemptState.COMMITTED, incarnation: str = HERE.uuid) -> Attempt:
    """Return the first attempt of the key, which is timed out now."""
    return Attempt(key().uuid, 1, Purpose.CREATE, incarnation, "token", "node", state, NOW - DAY, NOW)


def refused(plan: Callable[[], Key]) -> bool:
    """Return True if a plan is refused as 4 (404) for its ``key_id``."""
    with pytest.raises(OntapError) as raised:
        plan()
    return (raised.value.kind, raised.value.target) == (errors.ENTRY_NOT_FOUND, "key_id")


@pytest.mark.parametrize(
    ("found", "incarnation", "waits_for"),
    [
        (key(), replace(HERE, destroys=False), None),
        (key(KeyState.RETIRED, NOW), HERE, None),
        (key(KeyState.RETIRED, NOW), replace(HERE, destroys=False), PurgeWait.RELEASE),
        (key(KeyState.RETIRED, NOW, by=EARLIER), HERE, PurgeWait.RETIREMENT),
        (key(KeyState.RETIRED, NOW, by=EARLIER), replace(HERE, destroys=False), PurgeWait.RETIREMENT),
        (key(KeyState.PURGING, NOW), replace(HERE, destroys=False), None),
    ],
)
def test_what_a_purge_waits_for(found: Key, incarnation: Incarnation, waits_for: PurgeWait | None) -> None:
    """It says what an operator has to do; it is None exactly if the key becomes due by itself, or is not retired."""
    assert purge_waits_for(found, incarnation) is waits_for
    if found.state is KeyState.RETIRED:
        due = is_due(found, incarnation, NOW + 2 * WINDOW) and incarnation.destroys
        assert due is (waits_for is None)


@pytest.mark.parametrize(
    ("found", "recoverable", "ends"),
    [
        (key(), False, None),
        (key(KeyState.RETIRED, NOW), True, NOW + WINDOW),
        (replace(key(KeyState.RETIRED, NOW), overdue=True), False, NOW + WINDOW),
        (key(KeyState.RETIRED, NOW, by=EARLIER), True, None),
        (replace(key(KeyState.RETIRED, NOW, by=EARLIER), overdue=True), True, None),
        (key(KeyState.PURGING, NOW), False, NOW + WINDOW),
    ],
)
def test_until_when_a_key_can_be_recovered(found: Key, recoverable: bool, ends: datetime | None) -> None:
    """As :func:`plan_recover` decides. What an earlier incarnation retired has no end."""
    assert (is_recoverable(found, HERE), recovery_ends(found, HERE)) == (recoverable, ends)
    if recoverable:
        assert plan_recover(found, HERE).state is KeyState.COMMITTED


COMMITTED, RETIRED = KeyState.COMMITTED, KeyState.RETIRED
NO_KEY = [None, *(key(state) for state in set(KeyState) - {COMMITTED, RETIRED})]


@pytest.mark.parametrize("found", NO_KEY)
def test_what_is_no_key_is_neither_retired_nor_recovered(found: Key | None) -> None:
    """Pending, aborted, purged and overdue keys do not exist for callers who retire or recover."""
    assert refused(lambda: plan_retire(found, HERE, NOW, WINDOW))
    assert refused(lambda: plan_recover(found, HERE))


def test_a_key_is_retired_once() -> None:
    """A key is retired for its window and gets a new version; a second call changes nothing."""
    retired = plan_retire(key(), HERE, NOW, DAY)
    assert retired == replace(key(RETIRED, NOW), version=2, purge_after=NOW + DAY)
    assert plan_retire(retired, HERE, NOW + DAY / 2, DAY) is retired


def test_what_an_earlier_incarnation_retired_is_retired_anew() -> None:
    """A key that an earlier incarnation retired starts a new window. It may have been recovered since the backup."""
    before = key(RETIRED, NOW - DAY, EARLIER)
    assert plan_retire(before, HERE, NOW, WINDOW) == replace(key(RETIRED, NOW), version=2)


@pytest.mark.parametrize(
    ("found", "due"),
    [
        (key(), False),
        (key(RETIRED, NOW), False),
        (key(RETIRED, NOW - WINDOW), True),
        (key(RETIRED, NOW - 8 * DAY), True),
        (key(RETIRED, HERE.began - DAY), True),  # by a clock that was behind
        (key(RETIRED, NOW - 8 * DAY, EARLIER), False),
        (replace(key(RETIRED), retired=NOW - 8 * DAY), False),
        (key(KeyState.PURGING, NOW - 8 * DAY), False),
    ],
)
def test_when_a_key_is_due(found: Key, due: bool) -> None:
    """A key is due when its window has ended and this incarnation retired it."""
    assert is_due(found, HERE, NOW) is due


@pytest.mark.parametrize(
    ("found", "incarnation", "holds_none"),
    [
        (replace(key(RETIRED, NOW), overdue=True), HERE, True),
        (key(RETIRED, NOW - 9 * DAY), HERE, False),
        (replace(key(RETIRED, NOW), overdue=True), replace(HERE, destroys=False), False),
        (replace(key(RETIRED, NOW, EARLIER), overdue=True), HERE, False),
        (key(), HERE, False),
    ],
)
def test_when_a_key_holds_no_server(found: Key, incarnation: Incarnation, holds_none: bool) -> None:
    """A key holds no server once the keeper marked it overdue and it may be destroyed."""
    assert is_past_recovery(found, incarnation) is holds_none


def test_a_key_is_recovered_until_its_end_begins() -> None:
    """A key can be recovered until the keeper marks it overdue, also after its window; a key in use stays unchanged."""
    assert plan_recover(key(), HERE) == key()
    assert plan_recover(key(RETIRED, NOW - DAY), HERE) == replace(key(), version=2)
    assert plan_recover(key(RETIRED, NOW - WINDOW), HERE) == replace(key(), version=2)
    assert refused(lambda: plan_recover(replace(key(RETIRED, NOW - WINDOW), overdue=True), HERE))
    assert plan_recover(replace(key(RETIRED, NOW, EARLIER), overdue=True), HERE) == replace(key(), version=2)


def test_the_end_of_a_key_is_another_version() -> None:
    """An overdue key gets a new version, so that no node returns it from memory."""
    assert as_purging(key(RETIRED, NOW)) == replace(key(KeyState.PURGING, NOW), version=2)


@pytest.mark.parametrize(
    ("attempt_", "presences", "over"),
    [
        (attempt(), [Presence.DESTROYED, Presence.DESTROYED], True),
        (attempt(), [], True),
        (attempt(), [Presence.DESTROYED, Presence.MISSING], False),
        (attempt(AttemptState.PENDING), [Presence.DESTROYED], False),
        (attempt(AttemptState.ABORTED), [Presence.UNKNOWN], False),
        (attempt(AttemptState.ABORTED, BEFORE), [Presence.UNKNOWN], True),
    ],
)
def test_when_the_end_is_over(attempt_: Attempt, presences: list[Presence], over: bool) -> None:
    """A key is purged when this incarnation has ended every copy that it can end, and no copy can still arrive."""
    copies = [Copy(key().uuid, 1, "server", presence) for presence in presences]
    assert is_purged([attempt_], copies, HERE) is over


# --- what may be destroyed ---

MAY = {
    (KeyState.ABORTED, AttemptState.ABORTED, HERE.uuid),
    (KeyState.COMMITTED, AttemptState.ABORTED, HERE.uuid),
    (KeyState.RETIRED, AttemptState.ABORTED, HERE.uuid),
    (KeyState.PENDING, AttemptState.ABORTED, HERE.uuid),
    *(
        (state, attempt_state, incarnation)
        for state in (KeyState.PURGING, KeyState.PURGED)
        for attempt_state in AttemptState
        for incarnation in (HERE.uuid, BEFORE)
        if (attempt_state, incarnation) != (AttemptState.ABORTED, BEFORE)
    ),
}


@pytest.mark.parametrize("incarnation", [HERE.uuid, BEFORE])
@pytest.mark.parametrize("attempt_state", AttemptState)
@pytest.mark.parametrize("state", KeyState)
def test_what_may_be_destroyed(state: KeyState, attempt_state: AttemptState, incarnation: str) -> None:
    """Copies of aborted attempts and of ending keys may be destroyed; nothing may be before an operator's release."""
    where = key(state), attempt(attempt_state, incarnation)
    assert may_destroy(*where, HERE) is ((state, attempt_state, incarnation) in MAY)
    assert not may_destroy(*where, replace(HERE, destroys=False))


@pytest.mark.parametrize(
    ("ids", "host", "since", "arrives"),
    [
        (("7",), "", timedelta(0), False),
        ((), "", timedelta(0), True),
        ((), "", LATE_REGISTER - timedelta(seconds=1), True),
        ((), "", LATE_REGISTER, False),
        ((), "refused", timedelta(0), False),
        ((), "gone", timedelta(0), True),
    ],
)
def test_how_long_an_object_may_still_arrive(ids: tuple[str, ...], host: str, since: timedelta, arrives: bool) -> None:
    """An hour at most: not at all once there is an identifier, or a receipt that nothing was written there."""
    receipts = [
        Receipt(key().uuid, 1, "server", host, "", action, NOW, "i", "n")
        for host, action in (("refused", NOT_WRITTEN), ("gone", ABSENT))
    ]
    copy = Copy(key().uuid, 1, "server", Presence.SENT, host, unique_identifiers=ids)
    assert may_arrive(copy, attempt(), not_written(receipts), NOW + since) is arrives


@pytest.mark.parametrize(
    ("state", "result"),
    [
        ("", (Step.DESTROY,)),
        ("Pre-Active", (Step.DESTROY,)),
        ("Active", (Step.REVOKE, Step.DESTROY)),
        ("Deactivated", (Step.DESTROY,)),
        ("Compromised", (Step.DESTROY,)),
        ("Destroyed", ()),
        ("Destroyed Compromised", ()),
    ],
)
def test_the_steps_to_an_objects_end(state: str, result: tuple[Step, ...]) -> None:
    """An Active object is revoked before it is destroyed; a destroyed object is left alone."""
    assert steps(state) == result


# --- whose an object is ---

OURS = str(object_name(attempt()))
CANARY = str(canary_name(HERE.uuid, HERE.uuid, 1))


@pytest.mark.parametrize(
    ("name", "found", "attempt_", "result"),
    [
        ("another product's", None, None, Ownership.FOREIGN),
        (CANARY, None, None, Ownership.KNOWN),
        (f"{CANARY}-2", None, None, Ownership.KNOWN),
        (str(canary_name(BEFORE, HERE.uuid, 1)), None, None, Ownership.UNCLAIMED),
        (str(epoch_marker_name(HERE.uuid, HERE.uuid, 2)), None, None, Ownership.KNOWN),
        (str(epoch_marker_name(BEFORE, HERE.uuid, 2)), None, None, Ownership.KNOWN),
        (OURS, None, None, Ownership.UNCLAIMED),
        (OURS, key(), None, Ownership.UNCLAIMED),
        (OURS, key(), attempt(incarnation=BEFORE), Ownership.UNCLAIMED),
        (OURS, key(), attempt(), Ownership.KNOWN),
        (f"{OURS}-1", key(), attempt(), Ownership.KNOWN),
        (str(object_name(attempt(), ObjectKind.DESCRIPTOR)), key(), attempt(), Ownership.KNOWN),
        (OURS, key(RETIRED), attempt(), Ownership.KNOWN),
        (OURS, key(KeyState.PURGING), attempt(), Ownership.ENDED),
        (OURS, key(KeyState.PURGED), attempt(), Ownership.ENDED),
        (OURS, key(KeyState.ABORTED), attempt(AttemptState.ABORTED), Ownership.ENDED),
        (
            str(object_name(attempt(incarnation=BEFORE))),
            key(KeyState.ABORTED),
            attempt(AttemptState.ABORTED, BEFORE),
            Ownership.UNCLAIMED,
        ),
    ],
)
def test_whose_an_object_is(name: str, found: Key | None, attempt_: Attempt | None, result: Ownership) -> None:
    """The attempt in its name accounts for an object, also when it is over; any other object is unclaimed."""
    assert ownership(parse(name), found, attempt_, HERE) is result


@pytest.mark.parametrize(("count", "days", "confirmed"), [(10, 0, None), (11, 0, 11), (11, 1, None)])
def test_keys_that_may_be_deleted_at_once(count: int, days: int, confirmed: int | None) -> None:
    """Up to ten, any number that is confirmed, and any number with a recovery window."""
    check_retired_count(count, days, confirmed)


@pytest.mark.parametrize("confirmed", [None, 10, 12])
def test_many_keys_without_a_recovery_window(confirmed: int | None) -> None:
    """Whoever deletes more than ten says how many."""
    with pytest.raises(OntapError, match="confirm_count=11") as raised:
        check_retired_count(11, 0, confirmed)
    assert (raised.value.kind, raised.value.target) == (errors.INVALID_VALUE, "confirm_count")

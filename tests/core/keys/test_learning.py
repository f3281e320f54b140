"""The rules of learning key servers: trials, the meaning of answers, and lost canaries."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keystead.core.keys.learning import (
    LOST_LOOKS,
    LOST_S,
    RANDOM_BYTES,
    ROUNDS,
    TRIALS,
    Trial,
    activates,
    canary,
    first_number,
    is_canary,
    lost,
    next_round,
    next_way,
    same_canary,
    trial,
    with_sees,
    without_server,
)
from keystead.core.keys.model import KeyForm, ServerProfile
from keystead.core.keys.names import canary_name
from keystead.core.secret import Secret

THEN = datetime(2026, 3, 1, tzinfo=UTC)
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
PROFILE = ServerProfile(UUID, KeyForm.SECRET_DATA, "", ("1",), b"digest", THEN)
WAYS = len(TRIALS)


def learned(number: int) -> ServerProfile:
    """Return the profile that a canary of this number gives."""
    return replace(PROFILE, canary_name=str(canary_name(UUID, UUID, number)))


def test_ways_to_keep_a_key() -> None:
    """One object is tried before two, and each first with Application Specific Information."""
    assert [trial(number) for number in range(1, WAYS + 1)] == [
        Trial(KeyForm.SECRET_DATA, True),
        Trial(KeyForm.SECRET_DATA, False),
        Trial(KeyForm.SYMMETRIC_KEY, True),
        Trial(KeyForm.SYMMETRIC_KEY, False),
        Trial(KeyForm.SYMMETRIC_KEY_PAIR, True),
        Trial(KeyForm.SYMMETRIC_KEY_PAIR, False),
    ]
    assert trial(WAYS + 1) == trial(1)


@pytest.mark.parametrize(
    ("profile", "number"),
    [(None, 1), (learned(1), 7), (learned(6), 7), (learned(7), 13), (learned(12), 13), (PROFILE, 1)],
)
def test_where_learning_begins(profile: ServerProfile | None, number: int) -> None:
    """Learning begins with the first way; after a lost canary, with the same way in a round of unused names."""
    assert first_number(profile) == number


def test_what_is_refused_ends_with_the_last_way() -> None:
    """In every round each way is tried once, and learning ends after the last."""
    for first in (1, WAYS + 1):
        tried = [first]
        while (following := next_way(tried[-1])) is not None:
            tried.append(following)
        assert [trial(number) for number in tried] == list(TRIALS)


@pytest.mark.parametrize("first", [1, WAYS + 1])
def test_names_that_are_taken_are_passed_over(first: int) -> None:
    """If a name is taken, the same way is tried under a name of the next round, for a limited number of rounds."""
    for start in range(first, first + WAYS):
        numbers = [start]
        while (following := next_round(numbers[-1], first)) is not None:
            numbers.append(following)
        assert len(numbers) == ROUNDS
        assert {trial(number) for number in numbers} == {trial(start)}


def test_a_canary_proves_itself() -> None:
    """A canary verifies only under the digest key, for its server, and with every bit unchanged."""
    key, random = Secret(bytes(range(32))), bytes(RANDOM_BYTES)
    octets = canary(key, UUID, random).reveal()
    assert len(octets) == 64
    assert octets[:RANDOM_BYTES] == random
    assert is_canary(key, UUID, Secret(octets))
    assert not is_canary(key, "another server", Secret(octets))
    assert not is_canary(Secret(bytes(32)), UUID, Secret(octets))
    for spoiled in (b"", octets[:-1], octets + b"\0", *(octets[:at] + b"\xff" + octets[at + 1 :] for at in (0, 31))):
        assert not is_canary(key, UUID, Secret(spoiled))


@pytest.mark.parametrize(
    ("accepted", "state", "operations", "expected"),
    [
        (True, "Pre-Active", (), True),
        (False, "Pre-Active", (18,), False),
        (False, "Active", (1, 18), True),
        (False, "Active", (1,), False),
        (False, "", (18,), False),
    ],
)
def test_who_activates(accepted: bool, state: str, operations: tuple[int, ...], expected: bool) -> None:
    """A server activates if it accepted Activate.

    It also does if it supports Activate and the canary was Active before.
    """
    assert activates(accepted=accepted, state=state, operations=operations) is expected


@pytest.mark.parametrize(
    ("looks", "absent_s", "expected"),
    [(LOST_LOOKS, LOST_S, True), (LOST_LOOKS - 1, LOST_S, False), (LOST_LOOKS, LOST_S - 1, False), (0, 0.0, False)],
)
def test_when_a_canary_is_given_up(looks: int, absent_s: float, expected: bool) -> None:
    """A canary is given up only after many looks and a long time."""
    assert lost(looks, absent_s) is expected


def test_what_was_seen_stays_seen_until_the_server_is_another() -> None:
    """What a server was seen to share is accumulated, and is dropped for a server that has moved or was emptied."""
    profile = with_sees(with_sees(PROFILE, ["b"]), ["a", "b"])
    assert profile.sees == ("a", "b")
    assert without_server([profile, PROFILE], "a") == (replace(profile, sees=("b",)),)


def test_the_same_canary() -> None:
    """Profiles have the same canary if number, identifiers and digest are equal, whatever else differs."""
    assert same_canary(learned(1), replace(learned(1), sees=("a",), vendor="v"))
    for other in (learned(2), replace(learned(1), canary=("2",)), replace(learned(1), canary_digest=b"")):
        assert not same_canary(learned(1), other)

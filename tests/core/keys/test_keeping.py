"""The rules of keeping: results of looks, limits of losses, missing copies, leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.keys.attempts import AHEAD, is_expired, object_names
from keystead.core.keys.keeping import (
    MAX_MISSING,
    CopyAnswer,
    Sweep,
    Tally,
    after_look,
    servers_to_fill,
    to_be_proven,
    tolerated,
    without_copy,
)
from keystead.core.keys.model import Attempt, AttemptState, Copy, Lease, Presence, Purpose
from keystead.core.keys.names import parse
from keystead.core.leases import holds, take
from tests.core.factories import server

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SENT, PRESENT, MISSING, DIFFERENT, UNKNOWN, DESTROYED = (
    Presence.SENT,
    Presence.PRESENT,
    Presence.MISSING,
    Presence.DIFFERENT,
    Presence.UNKNOWN,
    Presence.DESTROYED,
)


def attempt(number: int = 1, state: AttemptState = AttemptState.COMMITTED) -> Attempt:
    """Return an attempt that is timed out now."""
    uuid = "11111111-2222-3333-4444-555555555555"
    return Attempt(uuid, number, Purpose.CREATE, "abcdef01-0000", "token", "node", state, NOW - MINUTE, NOW)


def copy(presence: Presence, server: str = "a", number: int = 1, proven: datetime | None = None) -> Copy:
    """Return a copy on a server."""
    return Copy(attempt().key, number, server, presence, proven=proven)


# --- leases ---


@pytest.mark.parametrize(
    ("lease", "result"),
    [
        (None, Lease("keeper", "me", 1, NOW + MINUTE)),
        (Lease("keeper", "me", 4, NOW + timedelta(seconds=1)), Lease("keeper", "me", 4, NOW + MINUTE)),
        (Lease("keeper", "me", 4, NOW), Lease("keeper", "me", 5, NOW + MINUTE)),
        (Lease("keeper", "you", 4, NOW), Lease("keeper", "me", 5, NOW + MINUTE)),
        (Lease("keeper", "you", 4, NOW + timedelta(seconds=1)), None),
    ],
    ids=["free", "renewed", "renewed too late", "run out", "held"],
)
def test_who_gets_a_lease(lease: Lease | None, result: Lease | None) -> None:
    """A lease can be taken if it is free, over or one's own; a change of hands or a late renewal gives a new token."""
    assert take(lease, "keeper", "me", NOW, MINUTE) == result


def test_a_lease_that_was_left_is_free() -> None:
    """A released lease is free at once, and its next holder gets another token."""
    year = NOW + timedelta(days=365)
    for holder in ("you", "me"):
        lease = take(Lease("keeper", holder, 4, year), "keeper", "me", NOW, MINUTE, left=True)
        assert lease == Lease("keeper", "me", 5, NOW + MINUTE)


@pytest.mark.parametrize(
    ("left", "expired"),
    [(-MINUTE, True), (timedelta(), True), (timedelta(seconds=1), False), (AHEAD, False), (AHEAD + MINUTE, True)],
)
def test_an_attempt_of_a_clock_far_ahead_is_expired(left: timedelta, expired: bool) -> None:
    """An attempt is over when its time is over, or when its end is later than any attempt's can be."""
    assert is_expired(replace(attempt(), expires=NOW + left), NOW) is expired


@pytest.mark.parametrize(
    ("lease", "held"),
    [
        (None, False),
        (Lease("keeper", "me", 4, NOW), True),
        (Lease("keeper", "you", 4, NOW), False),
        (Lease("keeper", "me", 5, NOW), False),
    ],
)
def test_a_lease_is_held_by_its_token(lease: Lease | None, held: bool) -> None:
    """A token holds a lease until another token takes it; the end of its time alone does not fence."""
    assert holds(lease, "me", 4) is held


def test_the_node_of_a_lease() -> None:
    """Its holder is one of the processes that a node has had."""
    assert Lease("keeper", "node-1/0a1b2c3d", 1, NOW).node == "node-1"


# --- looks ---


@pytest.mark.parametrize(
    ("was", "proven", "look", "canary", "now", "becomes"),
    [
        (SENT, None, CopyAnswer.AGREES, True, NOW, PRESENT),
        (MISSING, NOW, CopyAnswer.AGREES, False, NOW, PRESENT),
        (PRESENT, NOW, CopyAnswer.DIFFERS, False, NOW, DIFFERENT),
        (PRESENT, NOW, CopyAnswer.REFUSED, True, NOW, UNKNOWN),
        (SENT, None, CopyAnswer.ABSENT, True, NOW, MISSING),
        (UNKNOWN, None, CopyAnswer.ABSENT, True, NOW - MINUTE, UNKNOWN),
        (SENT, None, CopyAnswer.ABSENT, False, NOW, UNKNOWN),
        (PRESENT, NOW, CopyAnswer.ABSENT, True, NOW, UNKNOWN),
        (UNKNOWN, NOW, CopyAnswer.ABSENT, True, NOW, UNKNOWN),
        (MISSING, NOW, CopyAnswer.ABSENT, True, NOW, MISSING),
        (MISSING, NOW, CopyAnswer.ABSENT, False, NOW, MISSING),
    ],
)
def test_what_a_look_says(
    was: Presence, proven: datetime | None, look: CopyAnswer, canary: bool, now: datetime, becomes: Presence
) -> None:
    """The result of a look at a copy, from its bytes, the canary and the time of the attempt."""
    after = after_look(copy(was, proven=proven), look, attempt(), now, canary=canary)
    assert after.presence is becomes
    assert after.proven == (now if becomes is PRESENT else proven)


def test_the_names_of_an_attempts_objects() -> None:
    """An attempt has one object or the two parts of a pair; each name is parsed back."""
    (whole,), pair = object_names(attempt(3))
    assert whole == "keystead-abcdef01-k1111111122223333-3"
    assert pair == (f"{whole}-1", f"{whole}-2")
    assert all(parse(name) for name in (whole, *pair))


# --- too many at once ---


@pytest.mark.parametrize(
    ("total", "allowed"), [(0, 1), (1, 1), (39, 1), (40, 2), (200, 10), (1000, 50), (1020, 50), (100_000, 50)]
)
def test_how_many_may_go_missing(total: int, allowed: int) -> None:
    """5 % of the present copies may go missing, at most 50, and always one."""
    assert tolerated(total) == allowed


@pytest.mark.parametrize(
    ("total", "lost", "stopped"),
    [
        (1, 1, False),
        (39, 2, True),
        (40, 2, False),
        (1000, 50, False),
        (1000, 51, True),
        (100_000, 51, True),
        (1000, 1000, True),
    ],
)
def test_a_sweep_stops(total: int, lost: int, stopped: bool) -> None:
    """A sweep stops when more than 5 % or 50 of the proven copies are lost, and remembers no more than one above it."""
    sweep = Sweep()
    for number in range(total):
        sweep.note(copy(PRESENT, proven=NOW), CopyAnswer.ABSENT if number < lost else CopyAnswer.AGREES, canary=True)
    assert (sweep.gone, len(sweep.lost), sweep.proven, sweep.stopped) == (lost, min(lost, 51), total, stopped)


@pytest.mark.parametrize(
    ("was", "look", "canary", "counted", "lost"),
    [
        (copy(PRESENT, proven=NOW), CopyAnswer.ABSENT, False, 1, 0),
        (copy(PRESENT, proven=NOW), CopyAnswer.REFUSED, True, 1, 0),
        (copy(PRESENT, proven=NOW), CopyAnswer.DIFFERS, True, 1, 0),
        (copy(UNKNOWN, proven=NOW), CopyAnswer.ABSENT, True, 1, 1),
        (copy(MISSING, proven=NOW), CopyAnswer.ABSENT, True, 0, 0),
        (copy(SENT), CopyAnswer.ABSENT, True, 0, 0),
    ],
)
def test_what_counts_as_lost(was: Copy, look: CopyAnswer, canary: bool, counted: int, lost: int) -> None:
    """A proven copy counts as lost if it is absent while the canary is there, and not if it was missing or unproven."""
    sweep = Sweep()
    sweep.note(was, look, canary=canary)
    assert (sweep.proven, len(sweep.lost)) == (counted, lost)


def test_fifty_is_the_limit() -> None:
    """At most 50 copies of a server may go missing in one sweep."""
    assert MAX_MISSING == 50


# --- where a copy is lacking ---

ALONE = {"a": "a", "b": "b", "c": "c"}
PAIRED = {"a": "a", "b": "a", "c": "c"}
SERVERS = [replace(server(f"{name}.example"), uuid=name, secondary_key_servers=("x",)) for name in ALONE]


@pytest.mark.parametrize(
    ("copies", "domain_of", "result"),
    [
        ([copy(PRESENT)], ALONE, (("b",), ("c",))),
        ([copy(PRESENT)], PAIRED, (("c",),)),
        ([copy(PRESENT, "c")], PAIRED, (("a", "b"),)),
        ([copy(PRESENT, "c"), copy(SENT, "a")], PAIRED, (("b",),)),
        ([copy(PRESENT), replace(copy(PRESENT, "b"), host="x")], ALONE, (("c",),)),
        ([copy(PRESENT), copy(MISSING, "b"), copy(DESTROYED, "c")], ALONE, (("b",), ("c",))),
        ([copy(PRESENT), copy(SENT, "b"), copy(UNKNOWN, "c")], ALONE, ()),
        ([copy(PRESENT), copy(DIFFERENT, "b"), copy(PRESENT, "c")], ALONE, ()),
        ([copy(PRESENT, "removed")], ALONE, (("a",), ("b",), ("c",))),
        ([copy(MISSING, "b"), copy(PRESENT, "b", 2), copy(PRESENT)], ALONE, (("c",),)),
    ],
)
def test_where_a_copy_is_lacking(
    copies: list[Copy], domain_of: dict[str, str], result: tuple[tuple[str, ...], ...]
) -> None:
    """A copy is lacking in domains without a proof, on any of their servers, unless a copy of the key is open."""
    assert servers_to_fill(copies, ("a", "b", "c"), domain_of, SERVERS) == result


# --- what a proof is about ---


def known(presence: Presence, server: str = "a", number: int = 1) -> Copy:
    """Return a copy that has an identifier."""
    return replace(copy(presence, server, number), unique_identifiers=(f"{server}{number}",))


@pytest.mark.parametrize(
    ("copies", "domain_of", "asked", "without"),
    [
        ([known(PRESENT), copy(MISSING, "b"), known(PRESENT, "c")], ALONE, [0, 2], ["b"]),
        ([known(PRESENT), copy(MISSING, "b"), known(PRESENT, "c"), known(PRESENT, "b", 2)], ALONE, [0, 2, 3], []),
        ([known(PRESENT), copy(MISSING, "b"), known(PRESENT, "c")], {"a": "a", "b": "a", "c": "c"}, [0, 2], []),
        ([known(PRESENT), known(MISSING, "b"), known(PRESENT, "c")], ALONE, [0, 2, 1], []),
        ([known(PRESENT), known(MISSING, "b"), known(PRESENT, "b", 2)], ALONE, [0, 2], ["c"]),
        ([known(PRESENT), known(MISSING, "b"), known(MISSING, "b", 2)], ALONE, [0, 2], ["c"]),
        ([known(PRESENT), known(MISSING, "b")], {"a": "a", "b": "a", "c": "c"}, [0], ["c"]),
        ([known(PRESENT), copy(SENT, "b"), copy(UNKNOWN, "c")], ALONE, [0, 1, 2], []),
        ([known(PRESENT), known(DIFFERENT, "b"), known(DESTROYED, "c")], ALONE, [0, 1], ["c"]),
        ([known(PRESENT, "removed"), copy(MISSING)], ALONE, [], ["a", "b", "c"]),
    ],
)
def test_what_a_proof_is_about(
    copies: list[Copy], domain_of: dict[str, str], asked: list[int], without: list[str]
) -> None:
    """Present and possible copies are verified; a missing copy is only if its domain has no other."""
    about = to_be_proven(copies, domain_of)
    assert about == [copies[number] for number in asked]
    assert without_copy(about, ("a", "b", "c"), domain_of) == without


def test_a_tally_counts_keys_by_their_domains() -> None:
    """A key is sole if proven in one domain, and unproven if in none; a server counts once for a key."""
    tally = Tally()
    tally.count([copy(PRESENT), copy(PRESENT, "c")], PAIRED, SERVERS)
    tally.count([copy(PRESENT), copy(PRESENT, "b"), copy(MISSING, "c"), copy(MISSING, "c", 2)], PAIRED, SERVERS)
    tally.count([copy(UNKNOWN)], PAIRED, SERVERS)
    assert (tally.keys, tally.sole, tally.unproven) == (3, 1, 1)
    assert tally.copies == {
        ("a", PRESENT): 2,
        ("c", PRESENT): 1,
        ("b", PRESENT): 1,
        ("c", MISSING): 1,
        ("a", UNKNOWN): 1,
    }

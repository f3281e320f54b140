"""The rules of writing: how copies count, and what an overtaken writer may still store."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.domains import domains
from keystead.core.keys.model import Attempt, AttemptState, Copy, KeyForm, Presence, Purpose
from keystead.core.keys.writing import (
    GONE,
    SETTLED,
    UNSETTLED,
    after_moves,
    domains_as_seen,
    domains_still_proven,
    fits,
    is_open,
    missing_domain_count,
    still_counts,
    unknown_objects,
    with_new_state,
)
from tests.core.factories import server

if TYPE_CHECKING:
    from keystead.core.model import KeyServer

A, B, C, D = (server(f"{name}:5696", position) for position, name in enumerate("abcd", 1))
PRESENT, SENT, MISSING = Presence.PRESENT, Presence.SENT, Presence.MISSING


def copy(at: KeyServer, presence: Presence = PRESENT, *ids: str, host: str = "") -> Copy:
    """Return a copy of the first attempt."""
    return Copy("key", 1, at.uuid, presence, host=host, unique_identifiers=ids)


def test_every_presence_is_of_one_kind() -> None:
    """A presence ends the writing, or forbids a second Register, or allows one."""
    assert sorted([*SETTLED, *UNSETTLED, *GONE]) == sorted(Presence)


# --- where a copy may be written ---


@pytest.mark.parametrize(
    ("form", "lengths"),
    [
        (KeyForm.SECRET_DATA, set(range(1, 100))),
        (KeyForm.SYMMETRIC_KEY, {16, 24, 32, 64}),
        (KeyForm.SYMMETRIC_KEY_PAIR, {32, 48, 64}),
    ],
)
def test_what_fits(form: KeyForm, lengths: set[int]) -> None:
    """Secret Data has any length; AES keys have fixed lengths, and a pair is two of one length."""
    assert {length for length in range(1, 100) if fits(form, length)} == lengths


@pytest.mark.parametrize(
    ("state", "open_"),
    [
        (AttemptState.PENDING, set(Presence)),
        (AttemptState.COMMITTED, set(Presence) - {MISSING, Presence.DESTROYED}),
        (AttemptState.ABORTED, set()),
    ],
)
def test_where_a_copy_is_or_may_come_to_be(state: AttemptState, open_: set[Presence]) -> None:
    """A pending attempt may write to all its servers, a committed one left copies.

    An aborted one's objects do not count.
    """
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    attempts = [
        Attempt("key", number, Purpose.COPY, "incarnation", "token", "node", each, noon, noon)
        for number, each in ((1, state), (2, AttemptState.COMMITTED))
    ]
    for presence in Presence:
        copies = [copy(A, presence), replace(copy(B, PRESENT), attempt=2), replace(copy(A, MISSING), attempt=2)]
        assert is_open(copies, attempts, A.uuid) is (presence in open_)
        assert is_open(copies, attempts, B.uuid)
        assert not is_open(copies, attempts, C.uuid)


# --- what counts ---

WITH_SECONDARIES = replace(A, secondary_key_servers=("s1", "s2"))


@pytest.mark.parametrize(
    ("host", "then", "now", "counts"),
    [
        ("", [A], [A], True),
        ("", [A], [], False),
        ("", [], [A], False),
        ("", [A], [replace(A, address=B.address)], False),
        ("", [A], [replace(A, timeout=1, secondary_key_servers=("s1",))], True),
        ("s1", [WITH_SECONDARIES], [WITH_SECONDARIES], True),
        ("s1", [WITH_SECONDARIES], [replace(A, secondary_key_servers=("s2",))], False),
        ("s1", [WITH_SECONDARIES], [B], False),
    ],
)
def test_where_a_copy_counts(host: str, then: list[KeyServer], now: list[KeyServer], counts: bool) -> None:
    """A copy counts on a configured server at its address, and at a secondary that the server still has."""
    before, after = ({each.uuid: each for each in servers} for servers in (then, now))
    assert still_counts(copy(A, host=host), before, after) is counts


def test_only_proven_copies_on_configured_servers_count() -> None:
    """Sent and different copies, and copies on removed servers, cover no domain."""
    then, now = [A, B, C, D], [A, B, C]
    copies = [copy(A), copy(B, SENT), copy(C, Presence.DIFFERENT), copy(D)]
    assert domains_still_proven(copies, then, now, domains(now, {})) == {A.uuid}


def test_copies_in_one_domain_are_one() -> None:
    """Two servers that are declared to be one cluster cover one domain."""
    one, two = (replace(each, replication_domain="site") for each in (A, B))
    servers = [one, two, C]
    of = domains(servers, {})
    assert domains_still_proven([copy(one), copy(two)], servers, servers, of) == {A.uuid}
    assert missing_domain_count({A.uuid}, 0, of) == 1
    assert missing_domain_count({A.uuid, C.uuid}, 0, of) == 0


@pytest.mark.parametrize(
    ("ids", "had", "joined"),
    [
        ({"A": "1", "B": "1", "C": "1"}, "", []),
        ({"A": "1", "B": "1", "C": "2"}, "B", ["AB"]),
        ({"A": "1", "B": "2", "C": "3"}, "B", ["ABC"]),
        ({"A": "", "B": "2", "C": "3"}, "B", ["ABC"]),
        ({"A": "1", "B": "1", "C": "1"}, "BC", ["ABC"]),
        ({"B": "1"}, "B", []),
        ({"A": "1", "B": "1"}, "X", []),
    ],
)
def test_servers_that_had_an_object_already_share_a_domain(ids: dict[str, str], had: str, joined: list[str]) -> None:
    """A server that already had the object shares a domain with servers of equal names.

    Equal identifiers prove nothing.
    """
    servers = {"A": A, "B": B, "C": C, "X": D}
    copies = [replace(copy(servers[name]), unique_identifiers=(uid,) if uid else ()) for name, uid in ids.items()]
    seen = domains_as_seen(domains([A, B, C], {}), copies, [servers[name].uuid for name in had])
    together = [{servers[name].uuid for name in names} for names in joined]
    for one, other in combinations((A.uuid, B.uuid, C.uuid), 2):
        assert (seen[one] == seen[other]) is any({one, other} <= each for each in together)


@pytest.mark.parametrize(
    ("servers", "min_copies", "wanted"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 2), (4, 0, 3), (4, 1, 1), (4, 4, 4), (2, 3, 3)],
)
def test_how_many_are_wanted(servers: int, min_copies: int, wanted: int) -> None:
    """A majority of the domains is wanted, and two of two, unless the policy gives a number; never fewer than that."""
    of = domains([A, B, C, D][:servers], {})
    for have in range(servers + 1):
        assert missing_domain_count(set(list(of)[:have]), min_copies, of) == max(wanted - have, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_guarantee(count: int) -> None:
    """A key with proven copies in k domains survives the loss of any k-1 of them."""
    servers = [A, B, C, D][:count]
    of = domains(servers, {})
    for number in range(1, count + 1):
        for holders in combinations(servers, number):
            proven = domains_still_proven([copy(each) for each in holders], servers, servers, of)
            if missing_domain_count(proven, 0, of):
                continue
            for lost in combinations(set(of.values()), len(proven) - 1):
                assert proven - set(lost)


# --- what a writer may still store ---


def active(of: Copy) -> Copy:
    """Return the copy after its activation and description."""
    return replace(of, object_state="Active", descriptor="beside")


def test_an_overtaken_writer_stores_objects_that_nobody_knew_of() -> None:
    """An overtaken writer adds identifiers to a row without any; it does not change what others stored."""
    stored = [
        copy(A, SENT),
        copy(B, MISSING, "b"),
        copy(C, Presence.DESTROYED, "c"),
        copy(D, SENT),
    ]
    found = [
        copy(A, PRESENT, "a"),
        copy(B, PRESENT, "b"),
        copy(C, PRESENT, "c"),
        copy(D, MISSING),
        copy(A, PRESENT, "s", host="s1"),
    ]
    assert unknown_objects(stored, found) == [copy(A, PRESENT, "a")]


def test_a_late_state_is_stored_for_what_is_still_the_same_copy() -> None:
    """A late state and descriptor are stored if the copy is still the same and differs from what is stored."""
    stored = [copy(A, PRESENT, "a"), copy(B, MISSING, "b"), copy(C, PRESENT, "c2"), copy(D, PRESENT, "d")]
    found = [
        active(copy(A, PRESENT, "a")),
        active(copy(B, PRESENT, "b")),
        active(copy(C, PRESENT, "c")),
        copy(D, PRESENT, "d"),
        active(copy(A, PRESENT, "s", host="s1")),
    ]
    assert with_new_state(stored, found) == [active(copy(A, PRESENT, "a"))]


def test_present_copies_of_a_server_that_moved_are_unknown() -> None:
    """Other copies, and those of servers that stayed, came or went, remain as they were."""
    moved = replace(A, address=D.address)
    copies = [copy(A), copy(A, MISSING), copy(B), copy(C), copy(D)]
    after = after_moves(copies, then=[A, B, C], now=[moved, B, D])
    assert [each.presence for each in after] == [Presence.UNKNOWN, MISSING, PRESENT, PRESENT, PRESENT]

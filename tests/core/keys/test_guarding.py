"""The rules by which keys forbid removals, deletions and changes of client certificates."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.guarding import (
    NAMED_KEYS,
    RELOCATION_PROOF_AGE,
    TERMINAL_STATES,
    Departure,
    ReadCopies,
    Removal,
    check_no_keys,
    check_not_at_cluster,
    is_elsewhere,
    is_on_its_way,
    key_at_risk,
    sole_copy,
    to_be_read,
    to_be_read_after_move,
    without_aborted,
)
from keystead.core.keys.model import Attempt, AttemptState, Copy, Key, KeyState, KeyType, Presence, Purpose, copy_id
from keystead.core.keys.proving import (
    NO_PROOFS,
    Moment,
    NeededProofs,
    Period,
    ProvingAttempt,
    needed_proofs,
)
from tests.core.factories import server

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
KEY = Key("key", "id", "km", None, "name", "", KeyType.VEK, KeyState.COMMITTED, 64, NOON)
A, B, C = "a:5696", "b:5696", "c:5696"
OTHERS = {B: server(B), C: server(C, secondaries=("c2",))}
A_GOES = Departure({A}, OTHERS)
ALL = {(A, ""), (B, ""), (C, ""), (C, "c1"), (C, "c2")}
"""Every address answers."""
DOMAINS = {A: "1", B: "2", C: "3", "d:5696": "4"}
"""Each server is a domain of its own."""


def copy(at: str, presence: Presence = Presence.PRESENT, age: int = 0, host: str = "", attempt: int = 1) -> Copy:
    """Return a copy that was proven so many seconds ago."""
    proven = NOON - timedelta(seconds=age)
    return Copy("key", attempt, at, presence, host, (f"uid of {at}",), proven=proven)


def attempt(number: int, state: AttemptState) -> Attempt:
    """Return an attempt of the key."""
    return Attempt("key", number, Purpose.COPY, "i", "t", "n", state, NOON, NOON)


def lasting(left_s: int, *, began_s: int = 0) -> NeededProofs:
    """Return which proofs still count so many seconds after noon, of an attempt that began before noon."""
    return needed_proofs(NOON - timedelta(seconds=began_s), NOON, timedelta(seconds=left_s))


# --- a removal ---


@pytest.mark.parametrize(
    ("presence", "at_stake"),
    [
        (Presence.PRESENT, True),
        (Presence.UNKNOWN, True),
        (Presence.SENT, True),
        (Presence.MISSING, True),
        (Presence.DIFFERENT, True),
        (Presence.DESTROYED, False),
    ],
)
def test_what_a_removal_can_take_away(presence: Presence, *, at_stake: bool) -> None:
    """A removal takes away copies that are present or may be, because the last look may have been wrong."""
    goes = copy(A, presence)
    found = key_at_risk(KEY, [goes, copy(B, age=5)], A_GOES)
    assert (found is not None) is at_stake
    assert found is None or (found.key, found.departing) == (KEY, (goes,))


@pytest.mark.parametrize("presence", [Presence.MISSING, Presence.DIFFERENT])
def test_what_a_removal_cannot_take_away(presence: Presence) -> None:
    """A copy that was never sent, or that another look did not find, is not at risk; one that has appeared is."""
    goes = copy(A, presence)
    looked_again = replace(A_GOES, denied={copy_id(goes)})
    assert key_at_risk(KEY, [replace(goes, unique_identifiers=())], A_GOES) is None
    assert key_at_risk(KEY, [goes], looked_again) is None
    assert key_at_risk(KEY, [copy(A)], looked_again) is not None


@pytest.mark.parametrize(
    ("elsewhere", "safe"),
    [
        ([], False),
        ([copy(B)], True),
        ([copy(B, age=30)], True),
        ([copy(B, age=31)], False),
        ([copy(B, age=-1)], False),  # by a clock that is ahead
        ([copy(B, age=31), copy(C, age=1)], True),
        ([replace(copy(B), proven=None)], False),
        *(([copy(B, presence)], False) for presence in Presence if presence is not Presence.PRESENT),
        ([copy(C, host="c2")], True),
        ([copy(C, host="c1")], False),  # a secondary that is configured no more
        ([copy("d:5696")], False),  # a server that is configured no more
    ],
)
def test_what_saves_a_key(elsewhere: list[Copy], *, safe: bool) -> None:
    """A key is saved by a copy on another configured server that was proven within 30 s."""
    found = key_at_risk(KEY, [copy(A), *elsewhere], A_GOES)
    assert found is not None
    assert found.is_safe(lasting(0), ALL, DOMAINS) is safe


def test_what_has_died_since_saves_nothing() -> None:
    """A proof does not count if its endpoint no longer answers, even when another address of the server does."""
    found = key_at_risk(KEY, [copy(A), copy(B, age=1), copy(C, host="c2")], A_GOES)
    assert found is not None
    assert not found.is_safe(lasting(0), set(), DOMAINS)
    assert not found.is_safe(lasting(0), {(A, ""), (C, "")}, DOMAINS)
    assert found.is_safe(lasting(0), {(C, "c2")}, DOMAINS)


@pytest.mark.parametrize(
    ("elsewhere", "began_s", "left_s", "safe", "lacks"),
    [
        ([copy(B, age=1000), copy(C, age=1000)], 1000, 0, True, False),
        ([copy(B, age=1000), copy(C, age=1000, host="c2")], 1000, 0, True, False),
        ([copy(B, age=1000)], 1000, 0, False, False),  # the only one must be fresh, and was read once
        ([copy(B, age=31), copy(C, age=31)], 0, 0, False, True),  # proven before the attempt
        ([copy(B, age=30), copy(C, age=30)], 0, 0, True, False),
        ([copy(B, age=3600), copy(C, age=3600)], 9000, 0, True, False),
        ([copy(B, age=3600), copy(C, age=3600)], 9000, 1, False, True),  # they do not last
        ([copy(B, age=-1), copy(C, age=1000)], 1000, 0, False, True),  # a clock is ahead
        ([copy(C, age=1000), copy(C, age=1000, host="c2")], 1000, 0, False, False),  # one domain
        ([], 1000, 0, False, True),
    ],
)
def test_two_older_proofs_save_a_key(
    elsewhere: list[Copy], began_s: int, left_s: int, *, safe: bool, lacks: bool
) -> None:
    """Two proofs of one attempt, in two domains, may be an hour old; each key is proven in as many as it can be."""
    found = key_at_risk(KEY, [copy(A), *elsewhere], A_GOES)
    assert found is not None
    needed = lasting(left_s, began_s=began_s)
    assert found.is_safe(needed, ALL, DOMAINS) is safe
    assert found.lacks_proofs(needed.attempt, DOMAINS) is lacks
    assert not found.is_safe(needed, {(B, "")}, DOMAINS) or left_s == began_s == 0
    assert not found.is_safe(NO_PROOFS, ALL, DOMAINS)


@pytest.mark.parametrize(
    ("began_s", "touched_s", "goes_on"),
    [(0, 0, True), (7200, 3599, True), (7200, 3600, False), (-1, -1, False), (7200, -1, False)],
)
def test_a_proving_attempt_that_goes_on(began_s: int, touched_s: int, *, goes_on: bool) -> None:
    """An attempt goes on unless it was left alone for an hour, or a clock jumped back."""
    began, touched = (NOON - timedelta(seconds=each) for each in (began_s, touched_s))
    assert ProvingAttempt("remove a", "km", began, touched).goes_on(NOON) is goes_on


@pytest.mark.parametrize(
    ("passed_s", "seconds", "agrees", "fresh"),
    [(0, 0, True, True), (30, 30, True, True), (31, 31, True, False), (31, 0, False, False), (-1, 0, True, False)],
)
def test_two_clocks(passed_s: int, seconds: float, *, agrees: bool, fresh: bool) -> None:
    """A jump of the clock is seen by the other one; neither may say that a moment is long ago."""
    later = Moment(NOON + timedelta(seconds=passed_s), 100 + seconds)
    assert Moment(NOON, 100).agrees(later) is agrees
    assert Moment(NOON, 100).is_fresh(later) is fresh


def test_the_name_of_a_proving_attempt() -> None:
    """A removal has its own attempt, and so has each way to take secondaries away."""
    names = [
        Removal(cast("Any", None), OTHERS[C], after).what
        for after in (None, replace(OTHERS[C], secondary_key_servers=()), OTHERS[C])
    ]
    assert names == ["remove c:5696", "remove c:5696 but primary", "remove c:5696 but c2"]


def test_the_addresses_that_stay() -> None:
    """The remaining addresses are those of configured servers, without the departing secondaries."""
    assert [at for at in sorted(ALL) if A_GOES.keeps_address(*at)] == [(B, ""), (C, ""), (C, "c2")]


def test_a_proof_that_must_last() -> None:
    """A proof that must last longer has to be newer by the same time."""
    found = key_at_risk(KEY, [copy(A), copy(B, age=6)], A_GOES)
    assert found is not None
    assert found.is_safe(lasting(24), ALL, DOMAINS)
    assert not found.is_safe(lasting(25), ALL, DOMAINS)


def test_a_replica_saves_nothing() -> None:
    """A copy in the same domain does not save a key, because a loss may be replicated."""
    found = key_at_risk(KEY, [copy(A), copy(B)], Departure({A, B}, {C: OTHERS[C]}))
    assert found is not None
    assert not found.is_safe(lasting(0), ALL, DOMAINS)


def test_a_secondary_goes() -> None:
    """Only what was written to the departing secondary alone is at risk.

    Its primary or another secondary saves the rest.
    """
    departure = Departure({C}, {C: server(C, secondaries=("c2",))}, hosts={"c1"})
    assert key_at_risk(KEY, [copy(C), copy(C, host="c2")], departure) is None
    lost = key_at_risk(KEY, [copy(C, host="c1")], departure)
    assert lost is not None
    assert not lost.is_safe(lasting(0), ALL, DOMAINS)
    kept = key_at_risk(KEY, [copy(C, host="c1"), copy(C)], departure)
    assert kept is not None
    assert kept.is_safe(lasting(0), ALL, DOMAINS)


@pytest.mark.parametrize("presence", [Presence.UNKNOWN, Presence.MISSING, Presence.DIFFERENT])
def test_a_secondary_goes_that_may_have_what_its_primary_lacks(presence: Presence) -> None:
    """Copies that are not known to be on the primary are at risk until the departing secondary was asked."""
    departure = Departure({C}, {C: server(C, secondaries=("c2",))}, hosts={"c1"})
    doubtful, there = copy(C, presence), copy(C, presence, host="c1")
    for each in (doubtful, copy(C, presence, host="c2")):
        assert key_at_risk(KEY, [each], departure) is not None
        assert key_at_risk(KEY, [each], replace(departure, denied={copy_id(each)})) is None
    denied = key_at_risk(KEY, [there], replace(departure, denied={copy_id(there)})) is None
    assert denied is (presence is not Presence.UNKNOWN)  # what it may have itself has to be settled


def test_what_may_still_arrive() -> None:
    """A copy may still arrive while its attempt is pending, unless it was proven."""
    sent, began = replace(copy(A, Presence.SENT), proven=None), attempt(1, AttemptState.COMMITTED)
    late = replace(began, expires=NOON + timedelta(minutes=1))
    assert [is_on_its_way(sent, each, NOON) for each in (began, late)] == [False, True]
    assert not is_on_its_way(copy(A, Presence.UNKNOWN), late, NOON)


def test_the_copy_proven_last_is_asked_first() -> None:
    """Copies are asked for in the order of their proofs, newest first; copies without a time come last."""
    copies = [copy(B, age=9), replace(copy(C), proven=None), copy(C, age=1, host="c2"), copy(A)]
    found = key_at_risk(KEY, copies, A_GOES)
    assert found is not None
    assert [(each.key_server, each.host) for each in found.elsewhere] == [(C, "c2"), (B, ""), (C, "")]


def test_what_a_proof_is_of() -> None:
    """A proof holds for the identifiers that the copy names, at any address."""
    one = copy(B)
    assert copy_id(one) == copy_id(replace(one, presence=Presence.UNKNOWN, proven=None))
    for other in (copy(C), copy(B, attempt=2), copy(B, host="b2"), replace(one, unique_identifiers=("other",))):
        assert copy_id(other) != copy_id(one)


def test_what_an_aborted_attempt_wrote_is_no_copy() -> None:
    """Objects of an aborted attempt are not copies; those of a pending attempt may become copies."""
    attempts = [attempt(1, AttemptState.COMMITTED), attempt(2, AttemptState.ABORTED), attempt(3, AttemptState.PENDING)]
    copies = [copy(A), copy(B, attempt=2), copy(C, attempt=3)]
    assert without_aborted(copies, attempts) == [copies[0], copies[2]]


def test_a_refusal_names_some_keys() -> None:
    """A refusal gives the number of keys, the first of them, and the reason if it is known."""
    error = sole_copy([replace(KEY, key_id=f"id {number}") for number in range(NAMED_KEYS + 5)], "not_found")
    assert (error.kind, error.target) == (errors.SOLE_COPY, "server")
    assert error.arguments[0] == ("keys", "15")
    assert [value for name, value in error.arguments if name == "key_id"] == [f"id {n}" for n in range(NAMED_KEYS)]
    assert error.arguments[-1] == ("reason", "not_found")
    assert sole_copy([KEY]).arguments == (("keys", "1"), ("key_id", "id"))


# --- key managers ---


@pytest.mark.parametrize("state", KeyState)
def test_a_key_manager_with_keys_stays(state: KeyState) -> None:
    """A key manager is refused deletion with 65536867 until every key of it has ended."""
    if state in TERMINAL_STATES:
        check_no_keys({state: 3}, 0)
        return
    with pytest.raises(OntapError) as raised:
        check_no_keys({state: 2, KeyState.PURGED: 9}, 1, ["ks1:5696"], "vs0")
    assert raised.value.kind is errors.KEYS_IN_USE
    expected = {
        KeyState.COMMITTED: [("next", "keystead security key-manager key retire --name NAME --vserver vs0")],
        KeyState.RETIRED: [
            ("waits_for", "ks1:5696"),
            ("next", "keystead security key-manager key show --vserver vs0"),
        ],
    }.get(
        state,
        [("waits_for", "ks1:5696"), ("next", "keystead security key-manager external waiting --vserver vs0")],
    )
    assert raised.value.arguments == (("keys", "3"), (state.value, "2"), *expected)


def test_an_svm_whose_keys_are_at_the_cluster() -> None:
    """An SVM with keys in the cluster's key manager is refused deletion with 65536878."""
    check_not_at_cluster(0)
    with pytest.raises(OntapError) as raised:
        check_not_at_cluster(2)
    assert (raised.value.kind, raised.value.arguments) == (errors.KEYS_AT_CLUSTER, (("keys", "2"),))


# --- another identity ---


def test_what_a_new_certificate_must_read() -> None:
    """A new certificate must read every present copy on configured servers and secondaries."""
    wanted = [copy(B), copy(C, host="c2")]
    others = [copy(A), copy(C, host="c1"), copy(C, Presence.MISSING), copy(B, Presence.UNKNOWN)]
    assert to_be_read([*wanted, *others], OTHERS) == wanted


def test_what_a_new_certificate_must_read_where_nothing_is_known_to_be_there() -> None:
    """Without a present copy, a new certificate must read the copies that may be there."""
    doubtful = [copy(B, each) for each in (Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN)]
    doubtful += [replace(copy(B, each), unique_identifiers=()) for each in (Presence.SENT, Presence.UNKNOWN)]
    never_there = replace(copy(B, Presence.MISSING), unique_identifiers=())
    others = [copy(A), never_there, copy(B, Presence.DESTROYED)]
    assert to_be_read([*doubtful, *others], OTHERS) == doubtful


def test_what_was_shown() -> None:
    """A relocation shows the copies that were read and those in doubt that are lost; a present copy is not lost."""
    read_copies = ReadCopies(not_required={copy_id(copy(B))})
    assert [read_copies.covers(each) for each in (copy(A), copy(B, Presence.MISSING), copy(B))] == [False, True, False]
    read_copies.proven["key"].add(copy_id(copy(A)))
    doubtful, others = copy(C, Presence.DIFFERENT), replace(copy(C, Presence.DIFFERENT), key="another key")
    assert [read_copies.covers(each) for each in (copy(A), copy(C), doubtful, others)] == [True, False, True, False]
    read_copies = replace(read_copies, unreached={(C, "")})
    elsewhere = replace(copy(C), key="another key")
    assert [read_copies.covers(each) for each in (copy(C), copy(C, host="c2"), elsewhere)] == [True, False, False]


@pytest.mark.parametrize(
    ("change", "elsewhere"),
    [
        ({"timeout": 7}, False),
        ({"address": server(B).address}, True),
        ({"username": "somebody"}, True),
        ({"tls_server_name": "kms"}, True),
        ({"tls_server_name": f"{server(A).address.host.upper()}."}, False),
        ({"secondary_key_servers": ("other",)}, False),
        ({"secondary_key_servers": ("other",), "tls_server_name": server(A).address.host}, True),
    ],
)
def test_when_a_server_is_elsewhere(change: dict[str, Any], *, elsewhere: bool) -> None:
    """A server is elsewhere if its address, user or TLS server name changes, unless the name is one of its hosts."""
    assert is_elsewhere(server(A), replace(server(A), **change)) is elsewhere


@pytest.mark.parametrize(
    ("copies", "read"),
    [
        ([copy(A), copy(A, Presence.UNKNOWN, attempt=2)], 1),
        ([copy(A), copy(B)], 0),
        ([copy(A), copy(B, Presence.UNKNOWN)], 1),
        ([copy(A), copy(B, age=7201)], 1),
        ([copy(A), copy(C)], 1),  # C replicates with A, or its primary does not answer
        ([copy(A), copy(C, host="c2")], 0),
        ([copy(A), copy(B, host="b2")], 1),  # that address does not answer
        ([copy(A, host="gone")], 1),  # a secondary that is none any more: its primary must have it
    ],
)
def test_what_a_server_must_have_where_it_moves(copies: list[Copy], read: int) -> None:
    """A server must have the copies that were not recently proven on a reachable server of another domain."""
    found = to_be_read_after_move(copies, server(A), {(B, ""), (C, "c2")}, Period(NOON - RELOCATION_PROOF_AGE, NOON))
    assert found == [copy(A)] * read

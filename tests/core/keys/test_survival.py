"""Survival reports: which keys are lost with which domains, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from keystead.core.keys.away import Away
from keystead.core.keys.model import Copy, Key, KeyState, KeyType, Presence
from keystead.core.keys.survival import (
    MAX_NAMED,
    CopyMark,
    Domain,
    KeyGroup,
    KeyGroupCounter,
    KeyName,
    Loss,
    Survival,
    copy_mark,
    has_shared_addresses,
    survival,
)
from keystead.core.model import KeyServer
from keystead.core.server_address import ServerAddress

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
OLD, NEW = NOON - timedelta(days=30), NOON


def servers(names: str) -> list[KeyServer]:
    """Return servers whose uuids are letters."""
    return [
        KeyServer(name, "km", position, ServerAddress(f"{name}.example", 5696), 25, 10, "", ())
        for position, name in enumerate(names)
    ]


def group(holders: str, keys: int, **oldest: datetime) -> KeyGroup:
    """Return keys whose copies are on these servers."""
    times = {frozenset(server): oldest.get(server, NEW) for server in holders}
    named = tuple(KeyName(f"{holders}{number}", f"name of {holders}{number}") for number in range(min(keys, 150)))
    return KeyGroup(frozenset(times), keys, times, named)


def ids(found: Loss) -> tuple[str, ...]:
    """Return the ids of the keys that a loss names."""
    return tuple(key.key_id for key in found.named)


def surviving(names: str, domain_of: dict[str, str], groups: list[KeyGroup], away: str = "") -> Survival:
    """Return what survives on servers whose uuids are letters; those in ``away`` do not respond."""
    return survival(servers(names), domain_of, groups, dict.fromkeys(away, Away.NOT_RESPONDING))


EACH_ALONE = {name: name for name in "abcd"}
SUBSETS = ["".join(each) for number in range(4) for each in combinations("abcd", number)]
PAIRED = {"a": "a", "b": "a", "c": "c", "d": "c"}


@pytest.mark.parametrize(
    ("domain_of", "groups", "lost", "sole", "survives"),
    [
        pytest.param(EACH_ALONE, [group("abcd", 5)], {"abcd": 5}, 0, 3, id="everywhere"),
        pytest.param(
            EACH_ALONE,
            [group("abc", 5), group("a", 2), group("bd", 1)],
            {"a": 2, "ab": 2, "ac": 2, "ad": 2, "bd": 1, "abc": 7, "abd": 3, "acd": 2, "bcd": 1, "abcd": 8},
            2,
            0,
            id="mixed",
        ),
        pytest.param(
            EACH_ALONE,
            [group("ab", 1), group("cd", 1)],
            {"ab": 1, "cd": 1, "abc": 1, "abd": 1, "acd": 1, "bcd": 1, "abcd": 2},
            0,
            1,
            id="two of four",
        ),
        pytest.param(PAIRED, [group("ab", 3), group("bd", 4)], {"a": 3, "ac": 7}, 3, 0, id="replicated"),
        pytest.param(
            EACH_ALONE,
            [group("", 2), group("abcd", 1)],
            dict.fromkeys(SUBSETS, 2) | {"abcd": 3},
            0,
            0,
            id="unproven",
        ),
        pytest.param(EACH_ALONE, [], {}, 0, 4, id="no keys"),
    ],
)
def test_every_set_of_domains_and_what_it_takes_along(
    domain_of: dict[str, str], groups: list[KeyGroup], lost: dict[str, int], sole: int, survives: int
) -> None:
    """A key is lost with all its domains and with no fewer; a domain is lost with all its servers."""
    found = surviving("abcd", domain_of, groups)
    number = len(set(domain_of.values()))
    assert len(found.losses) == 2**number - 1
    assert [len(loss.domains) for loss in found.losses] == sorted(len(loss.domains) for loss in found.losses)
    all_of_them = {"".join(loss.domains): loss.keys for loss in (found.unproven, *found.losses)}
    assert {failed: keys for failed, keys in all_of_them.items() if keys} == lost
    assert (found.sole, found.survives) == (sole, survives)
    assert found.keys == sum(each.keys for each in groups)


def test_lost_keys_are_named_up_to_a_limit() -> None:
    """The lost keys of all groups are named in the order of their names, up to a limit. All are counted."""
    found = surviving("ab", EACH_ALONE, [group("a", 2), group("b", 150), group("ab", 1)])
    by_domains = {loss.domains: loss for loss in found.losses}
    assert by_domains["a",].named == (KeyName("a0", "name of a0"), KeyName("a1", "name of a1"))
    assert by_domains["a", "b"].keys == 153
    named = ids(by_domains["a", "b"])
    assert named[:3] == ("a0", "a1", "ab0")
    assert len(named) == MAX_NAMED
    assert list(named) == sorted(named)


def test_the_oldest_proof_is_of_a_copy_that_would_be_left() -> None:
    """The oldest proof is taken from the remaining copies only; without any there is no proof."""
    found = surviving("ab", EACH_ALONE, [group("ab", 1, a=OLD), group("b", 1)])
    assert found.unproven == Loss((), 0, (), OLD)
    assert {"".join(loss.domains): loss.oldest_proof for loss in found.losses} == {"a": NEW, "b": OLD, "ab": None}


def test_domains_are_shown_with_their_servers() -> None:
    """Domains are shown in the order of creation, with the addresses of their servers."""
    found = surviving("abc", {"a": "a", "b": "b", "c": "a"}, [])
    assert found.domains == (Domain("a", ("a.example:5696", "c.example:5696")), Domain("b", ("b.example:5696",)))


def test_without_servers_nothing_survives_and_nothing_can_fail() -> None:
    """Without servers there is no domain to fail, and keys whose servers are gone are lost now."""
    found = surviving("", {}, [group("", 3)])
    assert (found.domains, found.losses, found.unproven.keys, found.survives) == ((), (), 3, 0)
    assert (found.now.domains, found.now.unreadable.keys, found.now.survives, found.now.at_risk) == ((), 3, 0, 3)


@pytest.mark.parametrize(
    ("domain_of", "groups", "away", "domains", "unreadable", "survives", "at_risk"),
    [
        pytest.param(EACH_ALONE, [group("abcd", 5)], "", "abcd", 0, 3, 5, id="all answer"),
        pytest.param(EACH_ALONE, [group("abcd", 5)], "bc", "ad", 0, 1, 5, id="two of four are away"),
        pytest.param(EACH_ALONE, [group("abcd", 5), group("ab", 3)], "a", "bcd", 0, 0, 3, id="some on one only"),
        pytest.param(EACH_ALONE, [group("abcd", 5), group("a", 2), group("ab", 3)], "a", "bcd", 2, 0, 5, id="lost now"),
        pytest.param(EACH_ALONE, [group("abcd", 5)], "abcd", "", 5, 0, 5, id="none answers"),
        pytest.param(PAIRED, [group("ac", 5)], "b", "ac", 0, 1, 5, id="the other of two that replicate is away"),
        pytest.param(PAIRED, [group("ac", 5), group("b", 1)], "b", "ac", 1, 0, 1, id="only that one has the copy"),
        pytest.param(EACH_ALONE, [], "a", "bcd", 0, 3, 0, id="no keys"),
    ],
)
def test_what_survives_from_now_on(
    domain_of: dict[str, str],
    groups: list[KeyGroup],
    away: str,
    domains: str,
    unreadable: int,
    survives: int,
    at_risk: int,
) -> None:
    """Servers that are away have failed already; a domain answers while one of its servers does."""
    now = surviving("abcd", domain_of, groups, away).now
    assert ("".join(now.domains), now.unreadable.keys, now.survives, now.at_risk) == (
        domains,
        unreadable,
        survives,
        at_risk,
    )
    assert set(now.away) == set(away)


@pytest.mark.parametrize("away", ["", "b", "abcd"])
def test_further_losses_count_what_is_away(away: str) -> None:
    """Every set of the domains that answer, smaller ones first; the loss is that of these servers and those away."""
    groups = [group("abcd", 5), group("ab", 3), group("bd", 2)]
    found = surviving("abcd", EACH_ALONE, groups, away)
    answering = [name for name in "abcd" if name not in away]
    sets = [each for number in range(1, 5) for each in combinations(answering, number)]
    assert [loss.domains for loss in found.now.losses] == sets
    for loss in found.now.losses:
        assert loss.keys == found.without(frozenset({*loss.domains, *away})).keys
    assert found.without(frozenset(away)) == found.now.unreadable


def test_without_servers_is_the_loss_of_their_domains() -> None:
    """Of domains with two servers, as well as of one server of two."""
    found = surviving("abcd", PAIRED, [group("ac", 5), group("b", 1), group("abcd", 2)])
    by_domains = {loss.domains: loss for loss in found.losses}
    assert found.without(frozenset("ab")).keys == by_domains["a",].keys == 1
    assert found.without(frozenset("b")).keys == 1
    assert found.without(frozenset("a")).keys == 0
    assert found.without(frozenset("abcd")).named == by_domains["a", "c"].named


def test_the_present_rests_on_proofs_of_servers_that_answer() -> None:
    """The oldest proof on a server that is away does not count."""
    groups = [group("ab", 1, a=OLD)]
    assert surviving("ab", EACH_ALONE, groups).now.unreadable.oldest_proof == OLD
    assert surviving("ab", EACH_ALONE, groups, "a").now.unreadable.oldest_proof == NEW


def test_patterns() -> None:
    """Each group is a pattern, those in the fewest domains first; a proven copy may be away."""
    lacking = replace(group("ab", 12, b=OLD), unproven={"c": CopyMark.MISSING})
    sole = replace(group("a", 1), unproven={"b": CopyMark.DIFFERENT, "c": CopyMark.UNKNOWN})
    found = surviving("abc", EACH_ALONE, [lacking, group("abc", 3), sole], "b")
    assert [(each.keys, len(each.named), each.oldest_proof) for each in found.patterns] == [
        (1, 1, NEW),
        (12, 10, OLD),
        (3, 3, NEW),
    ]
    assert ["".join(mark[0] for _, mark in each.marks) for each in found.patterns] == ["pdu", "ppm", "ppp"]
    assert [dict(each.marks)["b"] for each in found.patterns] == [
        CopyMark.DIFFERENT,
        CopyMark.PROVEN_AWAY,
        CopyMark.PROVEN_AWAY,
    ]
    assert found.patterns[0].named == (KeyName("a0", "name of a0"),)
    assert [each.readable for each in found.patterns] == [1, 1, 2]  # b is away


def with_secondaries(**secondaries: tuple[str, ...]) -> list[KeyServer]:
    """Return servers a, b and c with these secondaries."""
    return [replace(each, secondary_key_servers=secondaries.get(each.uuid, ())) for each in servers("abc")]


@pytest.mark.parametrize(
    ("secondaries", "share"),
    [
        ({}, False),
        ({"a": ("x", "y"), "b": ("z",)}, False),
        ({"a": ("x",), "b": ("y", "X")}, True),
        ({"a": ("c.example",)}, True),
    ],
)
def test_servers_that_share_an_address(secondaries: dict[str, tuple[str, ...]], share: bool) -> None:
    """Servers share an address by a common secondary, or if one is the other's secondary."""
    assert has_shared_addresses(with_secondaries(**secondaries)) is share


def key(key_id: str) -> Key:
    """Return a key that has a name."""
    return Key("k", key_id, "km", None, f"name of {key_id}", "", KeyType.VEK, KeyState.COMMITTED, 64, NOON)


def named(key_ids: str) -> tuple[KeyName, ...]:
    """Return what names these keys; each id is a character."""
    return tuple(KeyName(key_id, f"name of {key_id}") for key_id in key_ids)


def marks(text: str) -> dict[str, CopyMark]:
    """Return what is known of the servers a, b and c, by first letters; a dot for a proven copy."""
    letters = {mark[0]: mark for mark in (CopyMark.MISSING, CopyMark.UNKNOWN, CopyMark.DIFFERENT)}
    return {server: letters[letter] for server, letter in zip("abc", text, strict=True) if letter != "."}


def proven(server: str, host: str = "", when: datetime = NEW) -> Copy:
    """Return a copy that is present."""
    return Copy("k", 1, server, Presence.PRESENT, host=host, proven=when)


def test_the_oldest_proof_of_a_group_is_kept() -> None:
    """Of the keys at the same places the oldest proof counts, in whichever order they come."""
    counted = KeyGroupCounter()
    for number, when in enumerate((NEW, OLD, NEW)):
        counted.count(key(str(number)), [proven("a", when=when)], with_secondaries())
    a = frozenset("a")
    elsewhere = dict.fromkeys("bc", CopyMark.MISSING)
    assert counted.groups == [KeyGroup(frozenset({a}), 3, {a: OLD}, named("012"), elsewhere)]


def test_keys_that_are_counted_one_by_one() -> None:
    """Keys are counted by their places in the order of ids; a copy at a shared address is lost with either server."""
    known = with_secondaries(a=("x",), b=("x",))
    counted = KeyGroupCounter()
    for key_id, copies in {
        "2": [proven("a", "x"), proven("b", "x", OLD)],
        "1": [proven("a", when=OLD), proven("a")],
        "3": [proven("b"), proven("a", "x", OLD)],
        "4": [replace(proven("a"), presence=Presence.UNKNOWN), replace(proven("c"), key_server="removed")],
        "5": [replace(proven("c"), proven=None)],
        "6": [proven("c"), proven("a", "x")],
    }.items():
        counted.count(key(key_id), copies, known)
    a, b, c, x = map(frozenset, ("a", "b", "c", "ab"))
    assert counted.groups == [
        KeyGroup(frozenset(), 1, {}, named("4"), marks("umm")),
        KeyGroup(frozenset({a}), 1, {a: NEW}, named("1"), marks(".mm")),
        KeyGroup(frozenset({x}), 1, {x: NEW}, named("2"), marks("..m")),
        KeyGroup(frozenset({x, b}), 1, {x: OLD, b: NEW}, named("3"), marks("..m")),
        KeyGroup(frozenset({x, c}), 1, {x: NEW, c: NEW}, named("6"), marks(".m.")),
        KeyGroup(frozenset({c}), 1, {}, named("5"), marks("mm.")),
    ]
    found = survival(known, EACH_ALONE, counted.groups, {})
    assert (found.keys, found.sole, found.unproven.keys, found.survives) == (6, 4, 1, 0)
    assert {"".join(loss.domains): "".join(sorted(ids(loss))) for loss in found.losses} == {
        "a": "124", "b": "234", "c": "45", "ab": "1234", "ac": "12456", "bc": "23456", "abc": "123456",
    }  # fmt: skip
    assert {"".join(loss.domains): loss.oldest_proof for loss in found.losses if len(loss.domains) == 1} == {
        "a": NEW, "b": NEW, "c": OLD,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("presences", "away", "mark"),
    [
        ([], "", CopyMark.MISSING),
        ([Presence.MISSING, Presence.PRESENT], "", CopyMark.PROVEN),
        ([Presence.PRESENT], "a", CopyMark.PROVEN_AWAY),
        ([Presence.PRESENT], "b", CopyMark.PROVEN),
        ([Presence.DIFFERENT], "a", CopyMark.DIFFERENT),
        ([Presence.SENT], "", CopyMark.UNKNOWN),
    ],
)
def test_the_mark_of_one_key(presences: list[Presence], away: str, mark: CopyMark) -> None:
    """The best copy on the server counts, and whether it can be read now."""
    copies = [Copy("k", number, "a", presence) for number, presence in enumerate(presences)]
    copies.append(Copy("k", 9, "b", Presence.PRESENT))
    assert copy_mark(servers("a")[0], copies, away) is mark


@pytest.mark.parametrize(
    ("away", "known"),
    [
        ({}, True),
        ({"a": Away.UNKNOWN}, True),
        ({"a": Away.UNKNOWN, "b": Away.NOT_RESPONDING}, True),
        ({"a": Away.UNKNOWN, "b": Away.UNKNOWN}, False),
    ],
)
def test_nothing_is_known_before_a_look(away: dict[str, Away], known: bool) -> None:
    """While no node has looked at any server, nobody knows which keys can be read."""
    assert survival(servers("ab"), {"a": "a", "b": "b"}, [], away).now.is_known is known

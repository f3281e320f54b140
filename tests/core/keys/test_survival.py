"""Survival reports: which keys are lost with which domains, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import combinations

import pytest

from keystead.core.keys.model import Copy, Presence
from keystead.core.keys.survival import (
    MAX_KEY_IDS,
    Domain,
    KeyGroup,
    KeyGroupCounter,
    Loss,
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
    ids = tuple(f"{holders}{number}" for number in range(min(keys, 150)))
    return KeyGroup(frozenset(times), keys, times, ids)


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
    found = survival(servers("abcd"), domain_of, groups)
    number = len(set(domain_of.values()))
    assert len(found.losses) == 2**number - 1
    assert [len(loss.domains) for loss in found.losses] == sorted(len(loss.domains) for loss in found.losses)
    all_of_them = {"".join(loss.domains): loss.keys for loss in (found.now, *found.losses)}
    assert {failed: keys for failed, keys in all_of_them.items() if keys} == lost
    assert (found.sole, found.survives) == (sole, survives)
    assert found.keys == sum(each.keys for each in groups)


def test_lost_keys_are_named_up_to_a_limit() -> None:
    """The lost keys of each group are named in order up to a limit; all are counted."""
    found = survival(servers("ab"), EACH_ALONE, [group("a", 2), group("b", 150), group("ab", 1)])
    by_domains = {loss.domains: loss for loss in found.losses}
    assert by_domains["a",].key_ids == ("a0", "a1")
    assert by_domains["a", "b"].keys == 153
    assert by_domains["a", "b"].key_ids == ("a0", "a1", *(f"b{number}" for number in range(MAX_KEY_IDS - 2)))


def test_the_oldest_proof_is_of_a_copy_that_would_be_left() -> None:
    """The oldest proof is taken from the remaining copies only; without any there is no proof."""
    found = survival(servers("ab"), EACH_ALONE, [group("ab", 1, a=OLD), group("b", 1)])
    assert found.now == Loss((), 0, (), OLD)
    assert {"".join(loss.domains): loss.oldest_proof for loss in found.losses} == {"a": NEW, "b": OLD, "ab": None}


def test_domains_are_shown_with_their_servers() -> None:
    """Domains are shown in the order of creation, with the addresses of their servers."""
    found = survival(servers("abc"), {"a": "a", "b": "b", "c": "a"}, [])
    assert found.domains == (Domain("a", ("a.example:5696", "c.example:5696")), Domain("b", ("b.example:5696",)))


def test_without_servers_nothing_survives_and_nothing_can_fail() -> None:
    """Without servers there is no domain to fail, and keys whose servers are gone are lost now."""
    found = survival([], {}, [group("", 3)])
    assert (found.domains, found.losses, found.now.keys, found.survives) == ((), (), 3, 0)


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


def proven(server: str, host: str = "", when: datetime = NEW) -> Copy:
    """Return a copy that is present."""
    return Copy("k", 1, server, Presence.PRESENT, host=host, proven=when)


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
        counted.count(key_id, copies, EACH_ALONE, known)
    a, b, c, x = map(frozenset, ("a", "b", "c", "ab"))
    assert counted.groups == [
        KeyGroup(frozenset(), 1, {}, ("4",)),
        KeyGroup(frozenset({a}), 1, {a: NEW}, ("1",)),
        KeyGroup(frozenset({x}), 1, {x: NEW}, ("2",)),
        KeyGroup(frozenset({x, b}), 1, {x: OLD, b: NEW}, ("3",)),
        KeyGroup(frozenset({x, c}), 1, {x: NEW, c: NEW}, ("6",)),
        KeyGroup(frozenset({c}), 1, {}, ("5",)),
    ]
    found = survival(known, EACH_ALONE, counted.groups)
    assert (found.keys, found.sole, found.now.keys, found.survives) == (6, 4, 1, 0)
    assert {"".join(loss.domains): "".join(sorted(loss.key_ids)) for loss in found.losses} == {
        "a": "124", "b": "234", "c": "45", "ab": "1234", "ac": "12456", "bc": "23456", "abc": "123456",
    }  # fmt: skip
    assert {"".join(loss.domains): loss.oldest_proof for loss in found.losses if len(loss.domains) == 1} == {
        "a": NEW, "b": NEW, "c": OLD,
    }  # fmt: skip

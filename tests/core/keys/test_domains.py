"""Replication domains: which servers form one, how many copies are wanted, and the guarantee."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core.keys.domains import domains, proven_domains, wanted_copies
from keystead.core.keys.model import Copy, KeyForm, Presence, ServerProfile
from tests.core.factories import server

A, B, C, D = (server(f"{name}:5696", position) for position, name in enumerate("abcd", 1))
SERVERS = (A, B, C, D)
THEN = datetime(2026, 3, 1, tzinfo=UTC)


def seen(**by: str) -> dict[str, ServerProfile]:
    """Return profiles: the server on the left sees the canaries of those on the right, by their letters."""
    return {
        f"{name}:5696": ServerProfile(
            f"{name}:5696", KeyForm.SECRET_DATA, "", (), b"", THEN, tuple(f"{other}:5696" for other in others)
        )
        for name, others in by.items()
    }


JOINED: dict[str, tuple[dict[str, ServerProfile], dict[str, str], str]] = {
    "nobody": ({}, {}, "abcd"),
    "nothing was seen": (seen(a="", b=""), {}, "abcd"),
    "seen on the later one": (seen(d="a"), {}, "abca"),
    "seen on the earlier one": (seen(a="d"), {}, "abca"),
    "seen by both": (seen(a="b", b="a"), {}, "aacd"),
    "a chain": (seen(a="b", b="c", c="d"), {}, "aaaa"),
    "two pairs": (seen(a="c", d="b"), {}, "abab"),
    "itself": (seen(a="a"), {}, "abcd"),
    "one that is removed": (seen(a="x"), {}, "abcd"),
    "declared": ({}, {"b": "site", "d": "site"}, "abcb"),
    "declared apart, and seen": (seen(a="b"), {"a": "one", "b": "two"}, "aacd"),
    "declared and seen": (seen(c="d"), {"a": "one", "c": "one"}, "abaa"),
    "declared alone": ({}, {"a": "one", "b": "two"}, "abcd"),
}


@pytest.mark.parametrize(("profiles", "declared", "expected"), JOINED.values(), ids=JOINED)
def test_who_is_one_domain(profiles: dict[str, ServerProfile], declared: dict[str, str], expected: str) -> None:
    """Servers that see each other's canaries, or are declared together, form one domain, and this is transitive."""
    servers = [replace(each, replication_domain=declared.get(each.address.host, "")) for each in SERVERS]
    assert domains(servers, profiles) == {each.uuid: f"{of}:5696" for each, of in zip(SERVERS, expected, strict=True)}


def test_a_secondary_of_two_joins_nobody() -> None:
    """A shared secondary does not join its primaries; a primary that is also a secondary is a server of its own."""
    servers = [replace(A, secondary_key_servers=("x",)), replace(B, secondary_key_servers=("x", "a")), C]
    assert domains(servers, {}) == {each.uuid: each.uuid for each in servers}


@pytest.mark.parametrize(("count", "wanted"), [(0, 1), (1, 1), (2, 2), (3, 2), (4, 3)])
def test_a_majority_is_wanted(count: int, wanted: int) -> None:
    """A majority of the domains is wanted, and two of two; without servers no key can be created."""
    assert wanted_copies(0, count) == wanted
    for policy in (1, 2, 3, 4):
        assert wanted_copies(policy, count) == policy


def test_only_proven_copies_on_known_servers_count() -> None:
    """Two copies in one domain count once; a copy on a removed server does not count."""
    domain_of = {A.uuid: A.uuid, B.uuid: A.uuid, C.uuid: C.uuid}
    for presence in Presence:
        found = proven_domains([Copy("k", 1, C.uuid, presence)], domain_of, (A, B, C))
        assert found == ({C.uuid} if presence is Presence.PRESENT else set())
    copies = [Copy("k", 1, uuid, Presence.PRESENT) for uuid in (A.uuid, B.uuid, "removed")]
    assert proven_domains(copies, domain_of, (A, B, C)) == {A.uuid}


SHARED: dict[str, tuple[dict[str, tuple[str, ...]], dict[str, int], str, str]] = {
    "one secondary of two": ({"a": ("x",), "b": ("x",)}, {}, "a:x b:x", "a"),
    "and a primary": ({"a": ("x",), "b": ("x",)}, {}, "a: b:x", "a"),
    "of that, too": ({"a": ("x",), "b": ("x",)}, {}, "a:x b:x a:", "a"),
    "both primaries": ({"a": ("x",), "b": ("x",)}, {}, "a: b: a:x b:x", "ab"),
    "however it is spelled": ({"b": ("x.example",), "c": ("X.EXAMPLE",)}, {}, "c:X.EXAMPLE b:x.example", "b"),
    "and a primary that shares none": ({"a": ("x",), "b": ("x",)}, {}, "c: b:x", "ac"),
    "each with another": ({"a": ("x", "y"), "b": ("x",), "c": ("y",)}, {}, "b:x c:y", "a"),
    "one that was given to one": ({"a": ("x",), "b": ("x",)}, {}, "b: a:x", "b"),
    "another's primary": ({"d": ("a",)}, {}, "d:a a:", "a"),
    "another's primary alone": ({"d": ("a",)}, {}, "d:a", "a"),
    "each other": ({"a": ("b",), "b": ("a",)}, {}, "a:b b:a", "ab"),
    "on the one of them": ({"a": ("b",), "b": ("a",)}, {}, "a:b b:", "b"),
    "two secondaries": ({"a": ("x", "y"), "b": ("x", "y")}, {}, "a:x b:x a:y b:y", "a"),
    "one of them of one": ({"a": ("x", "y"), "b": ("x",)}, {}, "a:x b:x a:y", "a"),
    "secondaries of their own": ({"a": ("w",), "b": ("x",)}, {}, "a:w b:x", "ab"),
    "another server of one machine": ({"a": ("x",), "b": ("x",)}, {"b": 5697}, "a:x b:x", "ab"),
    "in the order of the servers": ({"a": ("x",), "b": ("x",)}, {}, "b:x a:x", "a"),
    "one that is no secondary now": ({"a": ("x",)}, {}, "a:x b:x", "a"),
}


@pytest.mark.parametrize(("secondaries", "ports", "held", "expected"), SHARED.values(), ids=SHARED)
def test_what_an_address_holds_is_lost_with_any_of_its_domains(
    secondaries: dict[str, tuple[str, ...]], ports: dict[str, int], held: str, expected: str
) -> None:
    """Copies at an address count as lost if any domain that has this address fails.

    A secondary uses its primary's port.
    """
    servers = [
        replace(
            each,
            secondary_key_servers=secondaries.get(each.address.host, ()),
            address=replace(each.address, port=ports.get(each.address.host, 5696)),
        )
        for each in SERVERS
    ]
    rows = [each.split(":") for each in held.split()]
    copies = [Copy("k", 1, f"{of}:5696", Presence.PRESENT, host=host) for of, host in rows]
    assert proven_domains(copies, domains(servers, {}), servers) == {f"{of}:5696" for of in expected}


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(0, 4), st.integers(0, 15))
def test_as_many_domains_may_fail_as_there_are_copies_but_one(of: list[int], policy: int, written: int) -> None:
    """The guarantee: k proven copies in k domains survive the loss of any k-1 domains."""
    servers = [replace(each, replication_domain=str(one)) for each, one in zip(SERVERS, of, strict=False)]
    domain_of = domains(servers, {})
    copies = [Copy("k", 1, each.uuid, Presence.PRESENT) for bit, each in enumerate(servers) if written >> bit & 1]
    wanted = wanted_copies(policy, len(set(domain_of.values())))
    if len(proven_domains(copies, domain_of, servers)) < wanted:
        return  # the key is not acknowledged
    every = sorted(set(domain_of.values()))
    for lost in combinations(every, min(wanted - 1, len(every))):
        assert any(domain_of[copy.key_server] not in lost for copy in copies)

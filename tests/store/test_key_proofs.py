"""Counts of proven copies in the database, and stored reports, on both engines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import AttemptState, KeyState, Presence, Purpose
from keystead.core.keys.report import KeyReport, ReportKind
from keystead.core.keys.survival import CopyMark, KeyGroup, KeyName
from keystead.service.ports.store import StoreError
from tests.store import samples
from tests.store.keys import attempt, copy, key
from tests.store.samples import NOON, OTHER_SVM

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

EARLIER = NOON - timedelta(days=1)


def kept(tx: Transaction, uuid: str, *copies: tuple[str, datetime], state: KeyState = KeyState.COMMITTED) -> None:
    """Store a key with proven copies."""
    tx.add_key(key(uuid, state=state))
    tx.add_attempt(attempt(uuid, state=AttemptState.COMMITTED))
    made = [copy(uuid, server, presence=Presence.PRESENT, proven=proven) for server, proven in copies]
    tx.put_copies(made, new=True)


def groups(tx: Transaction, servers: list[str], limit: int = 10, of: str = "km-1") -> tuple[KeyGroup, ...]:
    """Return the groups of one key manager with these servers."""
    return tx.key_groups({of: servers}, limit)[of]


def by_servers(groups: tuple[KeyGroup, ...]) -> dict[str, KeyGroup]:
    """Return the groups, by the servers that hold them."""
    return {"".join(sorted(frozenset().union(*group.places))): group for group in groups}


def named(*uuids: str) -> tuple[KeyName, ...]:
    """Return what names these keys."""
    return tuple(KeyName(f"id of {uuid}", f"name of {uuid}") for uuid in uuids)


def missing(servers: str) -> dict[str, CopyMark]:
    """Return the mark of servers without a copy; each is a letter."""
    return dict.fromkeys(servers, CopyMark.MISSING)


def each(**oldest: datetime) -> dict[frozenset[str], datetime]:
    """Return servers (uuids), each an address of its own, with the time of the proof there."""
    return {frozenset({server}): when for server, when in oldest.items()}


async def test_keys_are_counted_by_the_servers_that_hold_them(filled: SqlStore) -> None:
    """Groups have the oldest proof on each server and the first ids up to a limit; retired keys count."""

    def fill(tx: Transaction) -> None:
        kept(tx, "k3", ("a", NOON), ("b", EARLIER))
        kept(tx, "k1", ("b", NOON), ("a", NOON), state=KeyState.RETIRED)
        kept(tx, "k2", ("a", NOON), ("b", NOON))
        kept(tx, "k4", ("c", EARLIER))
        kept(tx, "k5")

    await filled.write(fill)
    found = by_servers(await filled.read(lambda tx: groups(tx, ["a", "b", "c", "d"], 2)))
    assert found == {
        "ab": KeyGroup(frozenset(each(a=NOON, b=NOON)), 3, each(a=NOON, b=EARLIER), named("k1", "k2"), missing("cd")),
        "c": KeyGroup(frozenset(each(c=NOON)), 1, each(c=EARLIER), named("k4"), missing("abd")),
        "": KeyGroup(frozenset(), 1, {}, named("k5"), missing("abcd")),
    }
    fewer = by_servers(await filled.read(lambda tx: groups(tx, ["a"], 10)))
    assert {holders: group.keys for holders, group in fewer.items()} == {"a": 3, "": 2}
    (none,) = await filled.read(lambda tx: groups(tx, [], 10))
    assert (none.places, none.keys, len(none.named), none.unproven) == (frozenset(), 5, 5, {})
    assert await filled.read(lambda tx: groups(tx, ["a"], 10, of="km-2")) == ()


@pytest.mark.parametrize("presence", [each for each in Presence if each is not Presence.PRESENT])
async def test_only_proven_copies_count(filled: SqlStore, presence: Presence) -> None:
    """A copy counts only if it is proven."""

    def fill(tx: Transaction) -> None:
        kept(tx, "k1", ("a", NOON))
        tx.put_copies([copy("k1", "b", presence=presence, proven=NOON)], new=True)

    await filled.write(fill)
    assert set(by_servers(await filled.read(lambda tx: groups(tx, ["a", "b"], 10)))) == {"a"}


async def test_keys_whose_copies_lie_alike_are_one_group(filled: SqlStore) -> None:
    """Of several copies on a server the best counts; a copy that is gone is as good as none."""

    def fill(tx: Transaction) -> None:
        copies: dict[str, dict[str, tuple[Presence, ...]]] = {
            "k1": {"b": (Presence.MISSING,), "c": (Presence.SENT, Presence.DIFFERENT)},
            "k2": {"b": (Presence.DESTROYED,), "c": (Presence.DIFFERENT, Presence.UNKNOWN)},
            "k3": {"c": (Presence.DIFFERENT,)},
            "k4": {"b": (Presence.SENT,), "c": (Presence.DIFFERENT,)},
        }
        for uuid, found in copies.items():
            kept(tx, uuid, ("a", NOON))
            made = [
                copy(uuid, server, host=f"h{number}", presence=presence)
                for server, presences in found.items()
                for number, presence in enumerate(presences)
            ]
            tx.put_copies(made, new=True)

    await filled.write(fill)
    found = await filled.read(lambda tx: groups(tx, ["a", "b", "c"], 10))
    alike = {"b": CopyMark.MISSING, "c": CopyMark.DIFFERENT}
    assert [(group.named, group.unproven) for group in found] == [
        (named("k1", "k2", "k3"), alike),
        (named("k4"), alike | {"b": CopyMark.UNKNOWN}),
    ]


@pytest.mark.parametrize("state", [AttemptState.PENDING, AttemptState.ABORTED])
async def test_only_copies_of_committed_attempts_count(filled: SqlStore, state: AttemptState) -> None:
    """Copies of pending and aborted attempts do not count, because they may be destroyed."""

    def fill(tx: Transaction) -> None:
        kept(tx, "k1", ("a", NOON))
        tx.add_attempt(attempt("k1", 2, state=state, purpose=Purpose.COPY))
        tx.put_copies([copy("k1", "b", attempt=2, presence=Presence.PRESENT, proven=NOON)], new=True)

    await filled.write(fill)
    assert set(by_servers(await filled.read(lambda tx: groups(tx, ["a", "b"], 10)))) == {"a"}


@pytest.mark.parametrize("state", [each for each in KeyState if each not in (KeyState.COMMITTED, KeyState.RETIRED)])
async def test_only_keys_that_are_kept_count(filled: SqlStore, state: KeyState) -> None:
    """Keys that are not committed yet, or that end, do not count."""
    await filled.write(lambda tx: kept(tx, "k1", ("a", NOON), state=state))
    assert await filled.read(lambda tx: groups(tx, ["a"], 10)) == ()


async def test_several_key_managers_are_counted_at_once(filled: SqlStore) -> None:
    """Each with its own servers, however many it has."""

    def fill(tx: Transaction) -> None:
        kept(tx, "k1", ("a", NOON), ("b", NOON))
        kept(tx, "k2", ("b", NOON))
        tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM))
        tx.add_key(key("k3", key_manager="km-2", svm=OTHER_SVM, state=KeyState.COMMITTED))
        tx.add_attempt(attempt("k3", state=AttemptState.COMMITTED))
        tx.put_copies([copy("k3", each, presence=Presence.PRESENT, proven=NOON) for each in "de"], new=True)

    await filled.write(fill)
    servers = {"km-2": ["c", "d", "e"], "km-1": ["a", "b"], "km-3": ["f"]}
    found = await filled.read(lambda tx: tx.key_groups(servers, 10))
    assert {of: set(by_servers(groups)) for of, groups in found.items()} == {
        "km-1": {"ab", "b"},
        "km-2": {"de"},
        "km-3": set(),
    }
    assert found["km-1"] == await filled.read(lambda tx: groups(tx, ["a", "b"]))
    assert await filled.read(lambda tx: tx.key_groups({}, 10)) == {}


async def test_several_copies_on_a_server_are_one_with_the_latest_proof(filled: SqlStore) -> None:
    """Copies of two attempts, or on primary and secondary, count once with the latest proof."""

    def fill(tx: Transaction) -> None:
        kept(tx, "k1", ("a", EARLIER))
        more: dict[str, Any] = {"presence": Presence.PRESENT}
        tx.put_copies([copy("k1", "a", host="h", proven=NOON, **more), copy("k1", "b", **more)], new=True)

    await filled.write(fill)
    (found,) = await filled.read(lambda tx: groups(tx, ["a", "b"], 10))
    assert found == KeyGroup(frozenset(each(a=NOON, b=NOON)), 1, each(a=NOON), named("k1"))


def made(number: int, manager: str = "km-1") -> KeyReport:
    """Return a report; later ones have greater numbers."""
    time = NOON + timedelta(seconds=number)
    return KeyReport(f"report-{manager}-{number}", manager, ReportKind.PROOF, time, 5, 2, 3, f"document {number}")


async def test_reports_come_back_and_the_newest_are_kept(filled: SqlStore) -> None:
    """Each key manager keeps its newest reports; lists omit documents; reports are deleted with it."""
    await filled.write(lambda tx: tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM)))
    drill = replace(made(0, "km-2"), kind=ReportKind.REBOOT_DRILL)
    await filled.write(lambda tx: tx.add_key_report(drill, keep=1))
    for number in (2, 4, 3, 1):
        await filled.write(lambda tx: tx.add_key_report(made(number), keep=2))  # noqa: B023 - run at once
    assert await filled.read(lambda tx: (tx.key_reports("km-1"), tx.key_reports("km-2"))) == (
        (replace(made(4), document=""), replace(made(3), document="")),
        (replace(drill, document=""),),
    )
    assert await filled.read(lambda tx: (tx.key_report("km-1", made(3).uuid), tx.key_report("km-1", drill.uuid))) == (
        made(3),
        None,
    )
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_key_report(made(1, "absent"), keep=2))
    await filled.write(lambda tx: tx.delete_key_manager("km-2"))
    assert await filled.read(lambda tx: tx.key_reports("km-2")) == ()

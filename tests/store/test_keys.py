"""Rows of keys, attempts, copies and receipts, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import AttemptState, Key, KeyState, KeyType, Presence, Purpose, Receipt
from keystead.core.query.where import Condition, Op, Order
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from tests.store import samples
from tests.store.keys import attempt, copy, key, receipt
from tests.store.samples import NOON, OTHER_SVM, SVM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keystead.core.keys.model import Attempt, Copy
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore


def put(
    tx: Transaction, keys: Iterable[Key] = (), attempts: Iterable[Attempt] = (), copies: Iterable[Copy] = ()
) -> None:
    """Store all of these."""
    for each in keys:
        tx.add_key(each)
    for one in attempts:
        tx.add_attempt(one)
    tx.put_copies(list(copies), new=True)


WHOLE: dict[str, Any] = {
    "committed": NOON,
    "retired": NOON + timedelta(hours=1),
    "purge_after": NOON + timedelta(days=7),
    "retired_in": "an incarnation",
    "version": 3,
}


STORED = [
    key(),
    key("key-2", svm=None, key_type=KeyType.NSE_AK, key_tag="", name="", digest=b""),
    key("key-3", state=KeyState.RETIRED, **WHOLE),
]


@pytest.mark.parametrize("stored", STORED, ids=["pending", "of the cluster", "retired"])
async def test_a_key_comes_back_as_it_was(filled: SqlStore, stored: Key) -> None:
    """Every field is read back by each query, locked or not."""
    await filled.write(lambda tx: tx.add_key(stored))

    def ask(tx: Transaction) -> list[object]:
        return [
            *(tx.key(stored.uuid), tx.key_by_id("km-1", stored.key_id), tx.key_named("km-1", stored.name)),
            *(*tx.keys([stored.uuid, "absent"]), *tx.keys_in("km-1", [stored.state], "", 9), *tx.page(Key, Page())),
        ]

    assert await filled.read(ask) == [stored] * 6
    locked = await filled.write(
        lambda tx: (tx.key(stored.uuid, lock=True), tx.key_by_id("km-1", stored.key_id, lock=True))
    )
    assert locked == (stored, stored)


async def test_a_locked_key_is_changed_by_one_after_the_other(filled: SqlStore) -> None:
    """A key that was read with a lock is not changed by others until the end of the transaction."""
    await filled.write(lambda tx: tx.add_key(key()))

    def count(tx: Transaction) -> None:
        tx.lock_key("key-1")
        now = tx.key("key-1")
        assert now is not None
        time.sleep(0.002)
        assert tx.change_key(replace(now, version=now.version + 1), now.state)

    before = await filled.read(lambda tx: tx.key("key-1"))
    await asyncio.gather(*[filled.write(count) for _ in range(20)])
    after = await filled.read(lambda tx: tx.key("key-1"))
    assert before is not None
    assert after == replace(before, version=before.version + 20)
    await filled.write(lambda tx: tx.lock_key("absent"))


async def test_what_is_not_there_is_none(filled: SqlStore) -> None:
    """A key of another key manager is None, and an empty list of ids returns nothing."""
    await filled.write(lambda tx: tx.add_key(key()))

    def ask(tx: Transaction) -> list[object]:
        return [
            *(tx.key("x"), tx.key_by_id("km-1", "x"), tx.key_by_id("km-2", "id of key-1")),
            *(tx.key_named("km-1", "x"), tx.key_named("km-2", "name of key-1")),
            *(tx.keys([]), tx.attempts([]), tx.copies([]), tx.receipts([]), tx.copies_on("x", "", 9)),
        ]

    assert await filled.read(ask) == [None] * 5 + [()] * 5
    assert await filled.write(lambda tx: (tx.key("x", lock=True), tx.key_by_id("km-1", "x", lock=True))) == (None, None)


async def test_a_foreign_key_is_not_found_by_its_id(filled: SqlStore) -> None:
    """Within an SVM only its own keys are found by id, locked or not."""
    await filled.write(lambda tx: put(tx, [key("a"), key("b", svm=None), key("c", svm=OTHER_SVM)]))
    for lock in (False, True):
        found = await filled.write(
            lambda tx: [tx.key_by_id("km-1", f"id of {uuid}", within="svm-1", lock=lock) for uuid in "abc"]  # noqa: B023
        )
        assert found == [key("a"), None, None]


async def test_a_key_changes_from_the_state_that_is_named(filled: SqlStore) -> None:
    """A change is a compare-and-set on the state; owner and id never change."""
    await filled.write(lambda tx: tx.add_key(key()))
    committed = key(state=KeyState.COMMITTED, name="new", key_tag="t", length=32, digest=b"d", **WHOLE)
    assert not await filled.write(lambda tx: tx.change_key(committed, KeyState.RETIRED))
    assert await filled.read(lambda tx: tx.key("key-1")) == key()
    assert await filled.write(lambda tx: tx.change_key(committed, KeyState.PENDING))
    assert not await filled.write(lambda tx: tx.change_key(committed, KeyState.PENDING))
    assert not await filled.write(lambda tx: tx.change_key(key("absent"), KeyState.PENDING))
    assert await filled.read(lambda tx: tx.key("key-1")) == committed


async def test_one_of_two_ends_wins(filled: SqlStore) -> None:
    """If a key is committed and aborted concurrently, key and attempt have the same outcome."""
    await filled.write(lambda tx: put(tx, [key()], [attempt()]))

    def end(state: KeyState) -> Callable[[Transaction], bool]:
        def work(tx: Transaction) -> bool:
            changed = tx.change_key(key(state=state), KeyState.PENDING)
            return tx.end_attempt(attempt(), AttemptState(state.value)) and changed

        return work

    ends = [KeyState.COMMITTED, KeyState.ABORTED] * 4
    won = await asyncio.gather(*(filled.write(end(state)) for state in ends))
    assert sum(won) == 1
    (winner,) = [state for state, made in zip(ends, won, strict=True) if made]
    found = await filled.read(lambda tx: (tx.key("key-1"), tx.attempts(["key-1"])[0].state))
    assert found == (key(state=winner), AttemptState(winner.value))


async def test_a_name_is_held_once(filled: SqlStore) -> None:
    """Pending, committed and retired keys occupy their name; purged and aborted keys do not."""
    for state in KeyState:
        await filled.write(lambda tx: tx.add_key(key("old", state=state)))  # noqa: B023 - run at once
        holds = state in {KeyState.PENDING, KeyState.COMMITTED, KeyState.RETIRED}
        named = await filled.read(lambda tx: tx.key_named("km-1", "name of old"))
        assert (named is not None) == holds
        again = key("new", name="name of old")
        if holds:
            with pytest.raises(StoreError):
                await filled.write(lambda tx: tx.add_key(again))  # noqa: B023
        else:
            await filled.write(lambda tx: tx.add_key(again))  # noqa: B023
            assert await filled.read(lambda tx: tx.key_named("km-1", "name of old")) == again
        await filled.write(lambda tx: tx.drop_keys("km-1", list(KeyState)))


async def test_two_key_managers_use_one_name(filled: SqlStore) -> None:
    """A name is unique within its key manager only."""
    other = key("key-2", key_manager="km-2", svm=OTHER_SVM, name="name of key-1")

    def add(tx: Transaction) -> None:
        tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM))
        put(tx, [key(), other])

    await filled.write(add)
    assert await filled.read(lambda tx: tx.key_named("km-2", "name of key-1")) == other


async def test_keys_are_walked_by_uuid(filled: SqlStore) -> None:
    """Keys are read in slices by uuid, restricted by state, key manager or SVM."""
    states = [KeyState.COMMITTED, KeyState.RETIRED, KeyState.PURGED]
    stored = [key(f"k{place}", key_id=f"{9 - place}", state=states[place % 3]) for place in range(7)]
    stored[2] = replace(stored[2], svm=OTHER_SVM)
    await filled.write(lambda tx: put(tx, stored[::-1]))
    seen: list[str] = []
    after = ""
    while True:
        found = await filled.read(lambda tx: tx.keys_in("km-1", states[:2], after, 2))  # noqa: B023
        if not found:
            break
        assert len(found) <= 2
        seen += [each.uuid for each in found]
        after = seen[-1]
    assert seen == ["k0", "k1", "k3", "k4", "k6"]
    assert await filled.read(lambda tx: tx.keys_in("km-2", states, "", 9)) == ()
    of_svm = await filled.read(lambda tx: tx.keys_in("km-1", states, "", 9, within=OTHER_SVM.uuid))
    assert of_svm == (stored[2],)
    assert await filled.read(lambda tx: tx.keys(["k5", "k1", "k3"])) == (stored[1], stored[3], stored[5])


async def test_keys_are_counted(filled: SqlStore) -> None:
    """Keys are counted by state, for all or for an SVM in any key manager."""
    stored = [key("a"), key("b"), key("c", state=KeyState.PURGED), key("d", svm=None), key("e", svm=OTHER_SVM)]
    await filled.write(lambda tx: put(tx, stored))

    def ask(tx: Transaction) -> list[object]:
        svms = [tx.keys_of_svm(uuid, [KeyState.PENDING]) for uuid in ("svm-1", "svm-2", "svm-3")]
        return [tx.key_counts("km-1"), tx.key_counts("km-2"), *svms, tx.keys_of_svm("svm-1", list(KeyState))]

    assert await filled.read(ask) == [{KeyState.PENDING: 4, KeyState.PURGED: 1}, {}, 2, 1, 0, 3]
    of_svm = await filled.read(lambda tx: tx.key_counts("km-1", within="svm-1"))
    assert of_svm == {KeyState.PENDING: 2, KeyState.PURGED: 1}


PAGES: list[tuple[Page, list[str]]] = [
    (Page(), ["a", "b", "c", "d"]),
    (Page(limit=2, after=("id of b",)), ["c", "d"]),
    (Page().within(svm_uuid="svm-1"), ["a", "d"]),
    (Page().within(svm_name="svm2"), ["c"]),
    (Page().within(scope="cluster"), ["b"]),
    (Page().within(key_manager="km-1", state="committed"), ["b"]),
    (
        Page(where=((Condition("name", Op.LIKE, ("name of ", "")), Condition("key_tag", Op.EQUAL, "x")),)),
        list("abcd"),
    ),
    (Page(where=((Condition("length", Op.LESS, 64),),)), ["d"]),
    (Page(where=((Condition("created", Op.MORE, NOON),),)), ["c"]),
    (Page(where=((Condition("committed", Op.UNSET),),)), ["a", "c", "d"]),
    (Page(order=(Order("created", descending=True), Order("name"))), ["c", "a", "b", "d"]),
    (Page(order=(Order("svm_name"), Order("key_id", descending=True))), ["d", "a", "c", "b"]),
]


async def test_keys_are_listed(filled: SqlStore) -> None:
    """Keys are listed by id, or with filters, other orders and within an SVM."""
    stored = [
        key("a"),
        key("b", svm=None, state=KeyState.COMMITTED, committed=NOON),
        key("c", svm=OTHER_SVM, created=NOON + timedelta(seconds=1)),
        key("d", length=32),
    ]
    await filled.write(lambda tx: put(tx, stored))
    for page, expected in PAGES:
        found = await filled.read(lambda tx: tx.page(Key, page))  # noqa: B023 - run at once
        assert [each.uuid for each in found] == expected, page


async def test_no_list_is_restricted_by_a_digest(filled: SqlStore) -> None:
    """A page cannot be restricted by the digest."""
    with pytest.raises(KeyError):
        await filled.read(lambda tx: tx.page(Key, Page().within(digest="x")))


async def test_attempts_come_back_in_order(filled: SqlStore) -> None:
    """Attempts are read by key and number; a number of a key is used once."""
    stored = [
        attempt("key-2", 1, purpose=Purpose.COPY),
        attempt("key-1", 10, state=AttemptState.ABORTED),
        attempt("key-1", 2),
    ]
    await filled.write(lambda tx: put(tx, [key(), key("key-2")], stored))
    assert await filled.read(lambda tx: tx.attempts(["key-2", "key-1", "absent"])) == (stored[2], stored[1], stored[0])
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_attempt(attempt("key-1", 2, token="another")))


async def test_an_adopted_object_is_found_by_its_name(filled: SqlStore) -> None:
    """An adopted object is found by name in any key manager until its key is purged."""
    keys = [key("a"), key("b", state=KeyState.PURGED), key("c")]
    adopting = [replace(attempt(each.uuid), adopted="" if each.uuid == "c" else "theirs") for each in keys]
    await filled.write(lambda tx: put(tx, keys, adopting))
    assert await filled.read(lambda tx: tx.keys_adopting("theirs")) == (keys[0],)
    assert await filled.read(lambda tx: (tx.keys_adopting("nobody's"), tx.keys_adopting(""))) == ((), ())
    assert await filled.read(lambda tx: tx.attempts(["a"])) == (adopting[0],)


async def test_an_attempt_ends_once_and_by_its_token(filled: SqlStore) -> None:
    """An attempt is ended once, and only by the holder of its token."""
    await filled.write(lambda tx: put(tx, [key()], [attempt(), attempt(number=2)]))
    for token, state, ended in (
        ("stolen", AttemptState.ABORTED, False),
        (attempt().token, AttemptState.COMMITTED, True),
        (attempt().token, AttemptState.ABORTED, False),
    ):
        wanted = replace(attempt(), token=token)
        assert await filled.write(lambda tx: tx.end_attempt(wanted, state)) is ended  # noqa: B023
    found = await filled.read(lambda tx: tx.attempts(["key-1"]))
    assert found == (attempt(state=AttemptState.COMMITTED), attempt(number=2))


async def test_attempts_whose_time_is_over_are_found(filled: SqlStore) -> None:
    """Timed-out pending attempts are found, oldest first, up to a limit, also those of a clock far ahead."""
    ages = {1: 5, 2: 9, 3: 7, 4: -1, 5: 8, 6: -60, 7: -61}
    stored = [attempt(number=number, expires=NOON - timedelta(seconds=age)) for number, age in ages.items()]
    stored[4] = replace(stored[4], state=AttemptState.COMMITTED)
    await filled.write(lambda tx: put(tx, [key()], stored))
    ahead = NOON + timedelta(seconds=60)
    found = await filled.read(lambda tx: (tx.expired_attempts(NOON, ahead, 9), tx.expired_attempts(NOON, ahead, 1)))
    assert [[each.number for each in some] for some in found] == [[2, 3, 1, 7], [2]]


KNOWN: dict[str, Any] = {
    "presence": Presence.PRESENT,
    "unique_identifiers": ("b", "a"),
    "object_state": "Active",
    "descriptor": "d",
    "written": NOON,
    "proven": NOON + timedelta(seconds=1),
}


async def test_copies_come_back_and_change_in_place(filled: SqlStore) -> None:
    """Copies are read by key, attempt, server and host; a change concerns the named copies only."""
    sent = [copy(server="s2"), copy(server="s1", host="second"), copy(server="s1"), copy(attempt=2), copy("key-2")]
    attempts = [attempt(), attempt(number=2), attempt("key-2")]
    await filled.write(lambda tx: put(tx, [key(), key("key-2")], attempts, sent))
    in_order = (sent[2], sent[1], sent[0], sent[3], sent[4])
    assert await filled.read(lambda tx: tx.copies(["key-2", "key-1"])) == in_order
    known = [replace(sent[1], **KNOWN), replace(sent[4], **KNOWN)]
    await filled.write(lambda tx: tx.put_copies(known, new=False))
    changed = (sent[2], known[0], sent[0], sent[3], known[1])
    assert await filled.read(lambda tx: tx.copies(["key-1", "key-2"])) == changed
    await filled.write(lambda tx: (tx.put_copies([], new=True), tx.put_copies([], new=False)))
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.put_copies([sent[0]], new=True))
    assert await filled.read(lambda tx: tx.copies(["key-1", "key-2"])) == changed


async def test_copies_of_attempts_that_came_to_nothing_stand_no_more(filled: SqlStore) -> None:
    """Copies of pending and committed attempts are read, in the order of all copies; those of aborted ones are not."""
    states = (AttemptState.ABORTED, AttemptState.COMMITTED, AttemptState.PENDING)
    attempts = [attempt(number=number, state=state) for number, state in enumerate(states, 1)] + [attempt("key-2")]
    copies = [copy(attempt=number, server=server) for number in (1, 2, 3) for server in ("s1", "s2")] + [copy("key-2")]
    await filled.write(lambda tx: put(tx, [key(), key("key-2")], attempts, copies))
    assert await filled.read(lambda tx: tx.copies_not_aborted(["key-2", "key-1"])) == tuple(copies[2:])
    assert await filled.read(lambda tx: [tx.copies_not_aborted(keys) for keys in ([], ["key-1"])]) == [
        (),
        tuple(copies[2:6]),
    ]


async def test_a_server_is_walked_by_whole_keys(filled: SqlStore) -> None:
    """A slice holds all copies of each of its keys on the server; the limit counts keys."""
    keys = [f"k{place}" for place in range(5)]
    attempts = [attempt(uuid, number) for uuid in keys for number in (1, 2, 3)]
    here = [copy(uuid, "here", attempt=number) for uuid in keys[:4] for number in (1, 2, 3)]
    there = [copy(uuid, "there") for uuid in keys]
    await filled.write(lambda tx: put(tx, [key(uuid) for uuid in keys], attempts, here + there))
    slices = await filled.read(lambda tx: [tx.copies_on("here", after, 2) for after in ("", "k1", "k3")])
    assert slices == [tuple(here[:6]), tuple(here[6:]), ()]


async def test_copies_of_aborted_attempts_are_found(filled: SqlStore) -> None:
    """Copies of aborted attempts that are not destroyed are found, in slices, by key manager and incarnation."""
    attempts = [
        attempt(number=1, state=AttemptState.ABORTED),
        attempt(number=2, state=AttemptState.COMMITTED),
        attempt(number=3),
        attempt(number=4, state=AttemptState.ABORTED, incarnation="inc-0"),
    ]
    copies = [copy(attempt=number) for number in (1, 2, 3, 4)]
    copies += [copy(server="server-2", presence=Presence.DESTROYED), copy(server="server-3", presence=Presence.PRESENT)]
    await filled.write(lambda tx: put(tx, [key()], attempts, copies))
    asked = (("km-1", "", 9), ("km-1", "", 1), ("km-1", "key-1", 9), ("km-2", "", 9))
    found = await filled.read(lambda tx: [tx.aborted_copies(km, "inc-1", after, limit) for km, after, limit in asked])
    assert found == [(copies[0], copies[5]), (copies[0],), (), ()]


async def test_copies_about_which_something_is_open_are_found(filled: SqlStore) -> None:
    """Sent, unknown and inactive copies on a server are found, in slices."""
    ended = (AttemptState.PENDING, AttemptState.ABORTED)
    attempts = [
        attempt(state=AttemptState.COMMITTED),
        *(attempt(number=2 + place, state=s) for place, s in enumerate(ended)),
    ]
    here = {presence: copy(server="here", host=presence, presence=presence) for presence in Presence}
    active = copy(server="here", host="active", presence=Presence.PRESENT, object_state="Active")
    others = [copy(server="there"), copy(server="here", attempt=2), copy(server="here", attempt=3)]
    later = copy("key-2", "here")
    rows = [*here.values(), active, *others, later, copy("key-3", "here")]
    keys = [key(state=KeyState.COMMITTED), key("key-2", state=KeyState.RETIRED), key("key-3", state=KeyState.PURGING)]
    attempts += [attempt(uuid, state=AttemptState.COMMITTED) for uuid in ("key-2", "key-3")]
    await filled.write(lambda tx: put(tx, keys, attempts, rows))
    unsettled = [here[Presence.SENT], here[Presence.UNKNOWN], later]

    async def found(
        after: str = "", limit: int = 9, *, inactive: bool = False, undescribed: bool = False
    ) -> list[Copy]:
        return list(
            await filled.read(
                lambda tx: tx.open_copies("here", after, limit, inactive=inactive, undescribed=undescribed)
            )
        )

    assert await found() == unsettled
    assert await found(inactive=True) == [here[Presence.PRESENT], *unsettled]
    assert await found(limit=1) == unsettled[:1]
    assert await found("key-1", inactive=True) == [later]
    present = await found(undescribed=True)
    assert present == await found(inactive=True, undescribed=True)
    assert [each for each in present if each not in unsettled] == [active, here[Presence.PRESENT]]


async def test_a_receipt_is_written_once(filled: SqlStore) -> None:
    """A stored receipt is not replaced: the first time counts."""
    first = receipt()
    revoked = receipt(action="revoked", time=NOON - timedelta(seconds=1))
    await filled.write(lambda tx: tx.add_receipts([first]))
    again = replace(first, time=NOON + timedelta(days=1), node="node-2")
    await filled.write(lambda tx: (tx.add_receipts([again, revoked]), tx.add_receipts([])))
    assert await filled.read(lambda tx: tx.receipts(["key-1", "key-2"])) == (revoked, first)


async def test_copies_on_a_server_are_abandoned(filled: SqlStore) -> None:
    """All copies on the server that are not destroyed are abandoned with a receipt; other copies stay."""
    stored = [copy(), copy(host="a secondary"), copy(server="server-2"), copy(attempt=2, presence=Presence.DESTROYED)]
    await filled.write(lambda tx: put(tx, [key()], [attempt(), attempt(number=2)], stored))
    receipt_ = Receipt("", 0, "server-1", "", "", "abandoned", NOON, "inc-1", "node-1")
    await filled.write(lambda tx: tx.abandon_copies(receipt_))
    found = await filled.read(lambda tx: (tx.copies(["key-1"]), tx.receipts(["key-1"])))
    ended = [replace(each, presence=Presence.DESTROYED) for each in (stored[0], stored[1], stored[3])]
    assert set(found[0]) == {*ended, stored[2]}
    assert set(found[1]) == {replace(receipt_, key="key-1", attempt=1, host=host) for host in ("", "a secondary")}


async def test_keys_that_are_written_to_a_server(filled: SqlStore) -> None:
    """Keys with a pending attempt on the server are returned."""
    keys = [key("a"), key("b"), key("c")]
    attempts = [attempt("a"), replace(attempt("b"), state=AttemptState.COMMITTED), attempt("c")]
    await filled.write(lambda tx: put(tx, keys, attempts, [copy("a"), copy("b"), copy("c", "server-2")]))
    assert await filled.read(lambda tx: tx.keys_written_to("server-1")) == (keys[0],)


async def test_dropped_keys_take_their_rows_along(filled: SqlStore) -> None:
    """Attempts and copies of dropped keys are deleted; receipts stay."""
    gone = key("key-2", state=KeyState.PURGED)
    rows = ([key(), gone], [attempt(), attempt("key-2")], [copy(), copy("key-2")])
    await filled.write(lambda tx: (put(tx, *rows), tx.add_receipts([receipt("key-2")])))
    await filled.write(lambda tx: tx.drop_keys("km-1", [KeyState.PURGED, KeyState.ABORTED]))

    def ask(tx: Transaction) -> list[object]:
        both = ["key-1", "key-2"]
        return [tx.keys(both), tx.attempts(both), tx.copies(both), tx.receipts(both)]

    assert await filled.read(ask) == [(key(),), (attempt(),), (copy(),), (receipt("key-2"),)]


async def test_a_dropped_key_takes_its_rows_along(filled: SqlStore) -> None:
    """Rows of other keys stay."""
    await filled.write(lambda tx: put(tx, [key(), key("key-2")], [attempt(), attempt("key-2")], [copy("key-2")]))
    await filled.write(lambda tx: tx.drop_key("key-2"))
    both = ["key-1", "key-2"]
    assert await filled.read(lambda tx: (tx.keys(both), tx.attempts(both), tx.copies(both))) == (
        (key(),), (attempt(),), (),
    )  # fmt: skip


async def test_a_dropped_attempt_takes_its_copies_along(filled: SqlStore) -> None:
    """Copies of other attempts stay; dropping an absent attempt is no error."""
    rows = [attempt(), attempt(number=2)], [copy(), copy(attempt=2)]
    await filled.write(lambda tx: put(tx, [key()], *rows))
    for number in (2, 3):
        await filled.write(lambda tx: tx.drop_attempt("key-1", number))  # noqa: B023 - awaited
    found = await filled.read(lambda tx: (tx.attempts(["key-1"]), tx.copies(["key-1"])))
    assert found == ((attempt(),), (copy(),))


async def test_keys_of_which_something_is_left_are_counted(filled: SqlStore) -> None:
    """Aborted and purged keys with a copy that is not destroyed count, but not copies of another incarnation."""
    states = dict.fromkeys("abcd", KeyState.ABORTED) | {"e": KeyState.PURGED, "f": KeyState.PURGING}
    keys = [key(uuid, state=state) for uuid, state in states.items()]
    aborted: dict[str, Any] = {"state": AttemptState.ABORTED, "incarnation": "now"}
    attempts = [attempt(uuid, **aborted) for uuid in states]
    attempts[2] = replace(attempts[2], incarnation="before")
    copies = [replace(copy(uuid), presence=Presence.UNKNOWN) for uuid in states]
    copies[3] = replace(copies[3], presence=Presence.DESTROYED)
    await filled.write(lambda tx: put(tx, keys, attempts, [*copies, replace(copies[0], host="another")]))
    assert await filled.read(lambda tx: (tx.keys_left("km-1", "now"), tx.keys_left("km-2", "now"))) == (3, 0)
    counts = await filled.read(lambda tx: [tx.keys_left_of_svm(uuid, "now") for uuid in (SVM.uuid, OTHER_SVM.uuid)])
    assert counts == [3, 0]


async def test_keys_of_an_svm_are_dropped(filled: SqlStore) -> None:
    """Ended keys of the SVM are dropped in every key manager; live keys and those of other SVMs stay."""
    gone = [key("key-2", state=KeyState.PURGED), key("key-3", state=KeyState.ABORTED, key_manager="km-2")]
    other = key("key-4", state=KeyState.PURGED, svm=None, key_manager="km-2")

    def work(tx: Transaction) -> None:
        tx.add_key_manager(samples.key_manager("km-2", None))
        put(tx, [key(), *gone, other])
        tx.drop_keys_of_svm(SVM.uuid, [KeyState.PURGED, KeyState.ABORTED])

    await filled.write(work)
    assert await filled.read(lambda tx: tx.keys([f"key-{number}" for number in range(1, 5)])) == (key(), other)


BROKEN: list[Callable[[Transaction], None]] = [
    lambda tx: tx.add_key(key(key_manager="km-2")),
    lambda tx: tx.add_key(key(svm=replace(SVM, uuid="svm-3"))),
    lambda tx: tx.add_key(key("key-2", key_id="id of key-1")),
    lambda tx: tx.add_attempt(attempt("key-2")),
    lambda tx: tx.put_copies([copy(attempt=2)], new=True),
    lambda tx: tx.delete_key_manager("km-1"),
    lambda tx: tx.delete_svm("svm-2"),
]


async def test_nothing_hangs_in_the_air(filled: SqlStore) -> None:
    """Foreign keys are enforced: key manager and SVM of a key, key of an attempt, attempt of a copy."""
    await filled.write(lambda tx: put(tx, [key(), key("key-3", svm=OTHER_SVM)], [attempt()]))
    for broken in BROKEN:
        with pytest.raises(StoreError):
            await filled.write(broken)
    assert await filled.read(lambda tx: (tx.key("key-1"), tx.attempts(["key-1"]))) == (key(), (attempt(),))


async def test_a_server_with_copies_may_go(filled: SqlStore) -> None:
    """Copies of a deleted server stay in the database, because they must be destroyed later."""
    uuid = samples.key_server(1).uuid
    await filled.write(lambda tx: put(tx, [key()], [attempt()], [copy(server=uuid)]))
    await filled.write(lambda tx: tx.delete_key_server(uuid))
    assert await filled.read(lambda tx: tx.copies(["key-1"])) == (copy(server=uuid),)


async def test_where_keys_stand(filled: SqlStore) -> None:
    """The states of existing keys are returned by key id as their rows have them."""
    stored = [key(), key("key-2", svm=None, state=KeyState.COMMITTED, version=4)]
    await filled.write(lambda tx: put(tx, stored))
    found = await filled.read(lambda tx: tx.key_standings(["id of key-1", "id of key-2", "nobody"]))
    assert found == {each.key_id: each.standing for each in stored}
    assert found["id of key-2"] == (4, KeyState.COMMITTED, None)

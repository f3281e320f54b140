"""Counts of keys by state, and the keys that lack a copy, on both engines."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from keystead.core.keys.keeping import KEPT_STATES
from keystead.core.keys.model import AttemptState, KeyState, Presence
from tests.store import samples
from tests.store.keys import attempt, copy, key

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

DOMAINS = (("server-1", "server-2"), ("server-3",))
STATES = tuple(KeyState)


async def test_keys_that_lack_a_copy_are_those_of_the_rule(filled: SqlStore) -> None:
    """In each state, and with each presence of two copies, whatever became of the attempt."""
    cases = list(product(STATES, Presence, Presence, (AttemptState.COMMITTED, AttemptState.ABORTED)))

    def work(tx: Transaction) -> set[str]:
        expected = set()
        for number, (state, first, second, ended) in enumerate(cases):
            uuid = f"key {number:05}"
            tx.add_key(key(uuid, state=state))
            tx.add_attempt(attempt(uuid, state=ended))
            copies = [copy(uuid, "server-2", presence=first), copy(uuid, "server-3", presence=second)]
            tx.put_copies(copies, new=True)
            complete = first is second is Presence.PRESENT and ended is AttemptState.COMMITTED
            expected |= {uuid} if state in KEPT_STATES and not complete else set()
        return expected

    expected = await filled.write(work)
    found = await filled.read(lambda tx: tx.keys_lacking("km-1", DOMAINS))
    assert list(found) == sorted(found)
    kept = await filled.read(lambda tx: {each.uuid for each in tx.keys(found) if each.state in KEPT_STATES})
    assert kept == expected


async def test_keys_are_counted_by_state(filled: SqlStore) -> None:
    """Of one key manager, of all or of one SVM; states without keys are left out."""

    def work(tx: Transaction) -> None:
        for number, state in enumerate([KeyState.COMMITTED, KeyState.COMMITTED, KeyState.RETIRED]):
            tx.add_key(key(f"key {number}", state=state, svm=samples.SVM if number else None))

    await filled.write(work)
    assert await filled.read(lambda tx: tx.key_counts("km-1")) == {KeyState.COMMITTED: 2, KeyState.RETIRED: 1}
    of_svm = await filled.read(lambda tx: tx.key_counts("km-1", within=samples.SVM.uuid))
    assert of_svm == {KeyState.COMMITTED: 1, KeyState.RETIRED: 1}
    assert await filled.read(lambda tx: tx.key_counts("km-2")) == {}


async def test_pages_of_keys_in_several_states_are_ordered(filled: SqlStore) -> None:
    """A page has the first keys of all wanted states, and the next begins after its last."""

    def work(tx: Transaction) -> None:
        for number in range(6):
            tx.add_key(key(f"key {number}", state=KEPT_STATES[number % 2]))

    await filled.write(work)
    first = await filled.read(lambda tx: tx.keys_in("km-1", KEPT_STATES, "", 4))
    assert [each.uuid for each in first] == ["key 0", "key 1", "key 2", "key 3"]
    rest = await filled.read(lambda tx: tx.keys_in("km-1", KEPT_STATES, "key 3", 4))
    assert [each.uuid for each in rest] == ["key 4", "key 5"]

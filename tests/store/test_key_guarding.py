"""Queries for keys at risk: they may return too many keys, never too few."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.proving import NEVER, NeededProofs, Period, ProvingAttempt, needed_proofs
from tests.store import samples
from tests.store.keys import attempt, copy, key
from tests.store.samples import NOON, OTHER_SVM

if TYPE_CHECKING:
    from keystead.core.keys.model import Copy
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

COMMITTED = AttemptState.COMMITTED


def present(server: str, age_s: int = 0, **changes: Any) -> Copy:
    """Return a copy that was proven so many seconds before noon."""
    return copy(server=server, presence=Presence.PRESENT, proven=NOON - timedelta(seconds=age_s), **changes)


async def store_key(
    store: SqlStore,
    *copies: Copy,
    state: KeyState = KeyState.COMMITTED,
    second: AttemptState = COMMITTED,
) -> None:
    """Store the key with two attempts, the first of them committed."""

    def work(tx: Transaction) -> None:
        tx.add_key(key(state=state))
        tx.add_attempt(attempt(state=COMMITTED))
        tx.add_attempt(attempt(number=2, state=second))
        tx.put_copies(copies, new=True)

    await store.write(work)


async def at_stake(store: SqlStore, key_manager: str = "km-1", after: str = "", limit: int = 9) -> tuple[str, ...]:
    """Return the keys at stake when A goes, and B and C stay, with proofs of the last 30 seconds."""
    needed = NeededProofs(needed_proofs(NOON, NOON).fresh, NEVER)
    return await store.read(lambda tx: tx.keys_at_risk(key_manager, ["a"], [["b", "c"]], needed, after, limit))


@pytest.mark.parametrize(
    ("copies", "found"),
    [
        ([present("a")], True),
        ([copy(server="a", presence=Presence.UNKNOWN)], True),
        ([copy(server="a", presence=Presence.SENT)], True),
        ([copy(server="a", presence=Presence.MISSING)], True),
        ([copy(server="a", presence=Presence.DIFFERENT)], True),
        ([copy(server="a", presence=Presence.DESTROYED)], False),
        ([present("b")], False),
        ([present("a"), present("b", 30)], False),
        ([present("a"), present("b", 31)], True),
        ([present("a"), present("b", -1)], True),  # by a clock that is ahead
        ([present("a"), present("b", 31), present("c", 1)], False),
        ([present("a"), replace(present("b"), proven=None)], True),
        ([present("a"), replace(present("b"), presence=Presence.UNKNOWN)], True),
        ([present("a"), present("d")], True),
        ([present("a"), present("b", host="secondary")], True),  # whether it is configured is another's question
        ([present("a"), present("b", attempt=2)], False),
    ],
)
async def test_what_is_at_stake(filled: SqlStore, copies: list[Copy], *, found: bool) -> None:
    """A key is at risk if a copy is on the departing server and none is proven on a remaining one."""
    await store_key(filled, *copies)
    assert await at_stake(filled) == (("key-1",) if found else ())


@pytest.mark.parametrize("state", KeyState)
async def test_keys_that_are_kept(filled: SqlStore, state: KeyState) -> None:
    """Committed and retired keys are returned, page by page."""
    await store_key(filled, present("a"), state=state)
    expected = ("key-1",) if state in {KeyState.COMMITTED, KeyState.RETIRED} else ()
    assert await at_stake(filled) == expected
    assert await at_stake(filled, limit=0) == ()
    assert await at_stake(filled, after="key-1") == ()
    assert await at_stake(filled, "km-2") == ()


async def test_what_an_aborted_attempt_wrote_saves_nothing(filled: SqlStore) -> None:
    """Copies of an aborted attempt do not save a key, because they will be destroyed."""
    await store_key(filled, present("a"), present("b", attempt=2), second=AttemptState.ABORTED)
    assert await at_stake(filled) == ("key-1",)
    assert await filled.read(lambda tx: tx.copies_proven("km-1", NOON)) == (present("a"),)


async def test_a_proof_is_noted_if_the_copy_is_as_it_was(filled: SqlStore) -> None:
    """The time of a proof is stored only if the copy is still present with the same identifiers."""
    stored = [
        present("a", 60, unique_identifiers=("1", "2"), object_state="Active"),
        present("b", 60, unique_identifiers=("3",)),
        copy(server="c", presence=Presence.MISSING, unique_identifiers=("4",)),
    ]
    await store_key(filled, *stored)
    proved = [stored[0], replace(stored[1], unique_identifiers=("other",)), stored[2], present("d")]

    def note(tx: Transaction) -> None:
        tx.note_proven(proved, NOON)
        tx.note_proven([], NOON)

    await filled.write(note)
    after = (replace(stored[0], proven=NOON), *stored[1:])
    assert await filled.read(lambda tx: tx.copies(["key-1"])) == after


async def test_proofs_of_another_place(filled: SqlStore) -> None:
    """After a move, present copies become unknown; the times of their proofs stay."""
    stored = [present("a", 60), copy(server="a", attempt=2, presence=Presence.MISSING), present("b", 60)]
    await store_key(filled, *stored)
    await filled.write(lambda tx: tx.doubt_copies("a"))
    doubted = (replace(stored[0], presence=Presence.UNKNOWN), stored[2], stored[1])
    assert await filled.read(lambda tx: tx.copies(["key-1"])) == doubted


async def test_what_was_proven_elsewhere_in_a_longer_time(filled: SqlStore) -> None:
    """A move accepts proofs elsewhere from a longer time."""
    await store_key(filled, present("a"), present("b", 3600))
    needed = NeededProofs(Period(NOON - timedelta(hours=2), NOON), NEVER)
    for stay, found in (("b", ()), ("c", ("key-1",))):
        assert await filled.read(lambda tx: tx.keys_at_risk("km-1", ["a"], [[stay]], needed, "", 9)) == found  # noqa: B023


async def test_copies_that_are_proven(filled: SqlStore) -> None:
    """Copies of kept keys that were proven since a time are returned for one key manager."""
    await store_key(filled, present("a"), present("b", 60), copy(server="c", presence=Presence.UNKNOWN, proven=NOON))

    def others(tx: Transaction) -> None:
        tx.add_key_manager(samples.key_manager("km-2", OTHER_SVM))
        for number, changes in ((2, {"key_manager": "km-2", "svm": OTHER_SVM}), (3, {})):
            state = KeyState.COMMITTED if number == 2 else KeyState.PURGING
            tx.add_key(key(f"key-{number}", state=state, **changes))
            tx.add_attempt(attempt(f"key-{number}", state=COMMITTED))
            tx.put_copies([replace(present("a"), key=f"key-{number}")], new=True)

    await filled.write(others)
    assert await filled.read(lambda tx: tx.copies_proven("km-1", NOON)) == (present("a"),)
    since = NOON - timedelta(seconds=60)
    assert await filled.read(lambda tx: tx.copies_proven("km-1", since)) == (present("a"), present("b", 60))


@pytest.mark.parametrize(
    ("copies", "stay", "safe"),
    [
        ([present("b", 3000), present("c", 3000)], [["b"], ["c"]], True),
        ([present("b", 3000), present("c", 3000)], [["b", "c"]], False),
        ([present("b", 3000), present("c", 3000)], [["b"]], False),
        ([present("b", 3000), present("c", 3631)], [["b"], ["c"]], False),
        ([present("b", 3000), present("c", -1)], [["b"], ["c"]], False),
        ([present("b", 3000), present("c", 3000, host="h")], [["b"], ["c"]], False),
        ([present("b", 3000), present("c", 3000, attempt=2)], [["b"], ["c"]], False),
        ([present("b", 3000), present("b", 3000, attempt=2), present("c", 20)], [["b"], ["c"]], True),
    ],
)
async def test_two_older_proofs_in_different_domains(
    filled: SqlStore, copies: list[Copy], stay: list[list[str]], *, safe: bool
) -> None:
    """Two proofs of one attempt are enough if they are in different domains; and what is found is what is counted."""
    await store_key(filled, present("a"), *copies, second=AttemptState.ABORTED)
    needed = needed_proofs(NOON - timedelta(hours=1), NOON)
    assert await filled.read(lambda tx: tx.keys_at_risk("km-1", ["a"], stay, needed, "", 9)) == ("key-1",) * (not safe)
    assert await filled.read(lambda tx: tx.count_at_risk("km-1", ["a"], stay, needed)) == (not safe)


async def test_a_proving_attempt_goes_on_for_an_hour(filled: SqlStore) -> None:
    """An attempt is stored over its former state, and is forgotten after an hour without a proof."""
    first = ProvingAttempt("remove a", "km-1", NOON, NOON)
    later = replace(first, touched=NOON + timedelta(minutes=59))
    other = ProvingAttempt("remove b", "km-1", NOON, NOON + timedelta(minutes=119))
    await filled.write(lambda tx: tx.put_proving_attempt(first))
    await filled.write(lambda tx: tx.put_proving_attempt(later))
    assert await filled.read(lambda tx: tx.proving_attempt("remove a")) == later
    await filled.write(lambda tx: tx.put_proving_attempt(other))
    found = await filled.read(lambda tx: (tx.proving_attempt("remove a"), tx.proving_attempt("remove b")))
    assert found == (None, other)

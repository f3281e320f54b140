"""The change marks: each commit moves those of what it changed, and no other. On both engines."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.model import Event, Svm
from keystead.service.ports.marks import Part
from keystead.service.ports.store import StoreError
from keystead.store import open_store
from tests.store import samples
from tests.store.keys import attempt, copy, key
from tests.store.samples import NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

SERVER = "km-1-server"


async def marks(store: SqlStore) -> Mapping[Part, Hashable]:
    """Return the marks."""
    return await store.read(lambda tx: tx.change_marks())


async def moved(store: SqlStore, work: Callable[[Transaction], object]) -> set[Part]:
    """Return the parts whose marks a write moved."""
    before = await marks(store)
    await store.write(work)
    after = await marks(store)
    return {part for part in Part if before[part] != after[part]}


def add_key(tx: Transaction) -> None:
    """Store a key with a copy."""
    tx.add_key(key("k1", state=KeyState.COMMITTED))
    tx.add_attempt(attempt("k1", state=AttemptState.COMMITTED))
    tx.put_copies([copy("k1", "a", presence=Presence.PRESENT, proven=NOON)], new=True)


KEPT = {
    "svm": lambda tx: tx.rename_svm("svm-1", "other"),
    "certificate": lambda tx: tx.add_certificate(samples.certificate("new")),
    "key manager": lambda tx: tx.change_key_manager(replace(tx.key_manager("km-1"), policy="other")),
    "key": add_key,
    "proof": lambda tx: (
        add_key(tx),
        tx.put_copies([copy("k1", "a", presence=Presence.PRESENT, proven=NOON + timedelta(1))], new=False),
    ),
}


@pytest.mark.parametrize("work", KEPT.values(), ids=KEPT)
async def test_a_change_of_what_is_kept_moves_its_mark(filled: SqlStore, work: Callable[[Transaction], object]) -> None:
    """Whichever row it is."""
    assert await moved(filled, work) == {Part.KEPT}


async def test_events_and_node_rows_have_their_own(filled: SqlStore) -> None:
    """A heartbeat moves nothing."""
    await filled.write(lambda tx: tx.put_node(samples.NODE))
    assert await moved(filled, lambda tx: tx.hear_node(samples.NODE.uuid, NOON)) == set()
    event = Event(samples.NODE.uuid, 0, NOON, "name", "notice", None, (), "log message")
    assert await moved(filled, lambda tx: tx.add_events([event], 10)) == {Part.EVENTS}


async def test_what_fails_moves_nothing(store: SqlStore) -> None:
    """Nothing of the transaction is stored."""

    def fail(tx: Transaction) -> None:
        tx.add_svm(Svm("new", "new"))
        raise StoreError("stop")

    before = await marks(store)
    with pytest.raises(StoreError, match="stop"):
        await store.write(fail)
    assert await marks(store) == before


async def test_a_write_of_another_process_moves_the_mark(store: SqlStore, database_url: str) -> None:
    """So it is when a connection that is not this store's wrote."""
    other = open_store(database_url)
    before = await marks(store)
    await other.write(lambda tx: tx.add_svm(Svm("new", "new")))
    await other.close()
    assert before[Part.KEPT] != (await marks(store))[Part.KEPT]


async def test_each_of_two_commits_that_overlap_moves_the_mark(store: SqlStore) -> None:
    """Also that of the transaction that began first and ends last. SQLite runs them one after the other."""
    begun, go = threading.Event(), threading.Event()

    def slowly(tx: Transaction) -> None:
        tx.add_svm(Svm("slow", "slow"))
        begun.set()
        assert go.wait(10)

    slow = asyncio.create_task(store.write(slowly))
    assert await asyncio.to_thread(begun.wait, 10)
    fast = asyncio.create_task(store.write(lambda tx: tx.add_svm(Svm("fast", "fast"))))
    if store.database.row_locks:
        await fast
    between = await marks(store)
    go.set()
    await asyncio.gather(slow, fast)
    assert between != await marks(store)

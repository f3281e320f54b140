"""What was read last is used again only while nothing was written, and for a short time. On both engines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from keystead.core.model import Svm
from keystead.service.last_read import LONGEST_S, LastRead
from keystead.service.ports.store import StoreError
from keystead.store import open_store

if TYPE_CHECKING:
    from keystead.store import SqlStore


class Names:
    """The names of an SVM as they are read, at a time that the test sets; ``reads`` counts."""

    def __init__(self, store: SqlStore) -> None:
        self.reads = 0
        self.now = 1000.0
        self._store = store
        self._last = LastRead[str](store, lambda: self.now)

    async def get(self, key: str = "all") -> str:
        """Return the name of the SVM."""
        return await self._last.get(key, self._read)

    async def _read(self) -> str:
        self.reads += 1
        found = await self._store.read(lambda tx: tx.svm("svm"))
        return found.name if found else ""


@pytest.fixture
async def names(store: SqlStore) -> Names:
    """The names over a database with an SVM."""
    await store.write(lambda tx: tx.add_svm(Svm("svm", "first")))
    return Names(store)


async def test_nothing_is_read_twice_while_nothing_is_written(names: Names) -> None:
    """For each key there is one read, until it is too old."""
    assert [await names.get() for _ in range(3)] == ["first"] * 3
    assert names.reads == 1
    await names.get("another's")
    assert names.reads == 2
    names.now += LONGEST_S - 1
    await names.get()
    assert names.reads == 2
    names.now += 1
    await names.get()
    assert names.reads == 3


async def test_a_write_of_this_process_is_seen(names: Names, store: SqlStore) -> None:
    """The next call returns what was written."""
    assert await names.get() == "first"
    await store.write(lambda tx: tx.rename_svm("svm", "second"))
    assert await names.get() == "second"


async def test_a_write_of_another_process_is_seen(names: Names, database_url: str) -> None:
    """So it is when a connection that is not this store's wrote."""
    other = open_store(database_url)
    for name in ("second", "third"):
        await names.get()
        await other.write(lambda tx, name=name: tx.rename_svm("svm", name))  # type: ignore[misc]
        assert await names.get() == name
    await other.close()


async def test_a_failed_read_is_not_remembered(store: SqlStore) -> None:
    """The error is raised, and the next call reads again."""
    last = LastRead[int](store)

    async def fail() -> int:
        raise StoreError("away")

    async def read() -> int:
        return 1

    with pytest.raises(StoreError, match="away"):
        await last.get("key", fail)
    assert await last.get("key", read) == 1

"""A database as the store uses it: its reader and writer engines, and the classification of their failures."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from keystead.store.failures import RunAgain, final

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, Engine

    from keystead.store.failures import Classify


@dataclass(frozen=True)
class Database:
    """The parts in which SQLite and PostgreSQL differ.

    ``reader`` and ``writer`` begin the right kind of transaction at their first statement. ``readers`` and ``writers``
    are numbers of threads, and of connections. ``inline_reader`` never waits. ``version`` returns a value that changes
    with every commit of any process, on one connection of ``inline_reader``. Both are None if every read crosses a
    network. ``now`` returns the time by the database's own clock; SQLite has that of the process. ``deadline_s`` is the
    longest time in seconds of a transaction from its submission: for the queue, for locks, and for repetitions. If many
    transactions wait, all fail within this time, not one after the other.
    """

    reader: Engine
    writer: Engine
    inline_reader: Engine | None
    readers: int
    writers: int
    row_locks: bool
    classify: Classify
    now: Callable[[Connection], datetime]
    deadline_s: float
    version: Callable[[Connection], Hashable] | None = None

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        for engine in (self.reader, self.writer, self.inline_reader):
            if engine is not None:
                engine.dispose()


@contextlib.contextmanager
def once(database: Database) -> Iterator[None]:
    """Raise StoreError for a failure of the block, which is not run again."""
    try:
        yield
    except SQLAlchemyError as error:
        raise final(database.classify(error)) from None
    except RunAgain as error:
        raise error.otherwise from None

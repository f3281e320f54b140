"""A database as the store uses it: its writer and reader engines, and how its failures are classified."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection, Engine

    from keystead.store.failures import Classify


@dataclass(frozen=True)
class Database:
    """What the two engines differ in.

    ``reader`` and ``writer`` begin the right kind of transaction at their first statement; the numbers are threads, and
    connections. ``glancer`` is a reader that never waits, None where every read crosses a network; ``version`` then
    tells, on a connection of it, whether anything was committed.
    """

    reader: Engine
    writer: Engine
    glancer: Engine | None
    readers: int
    writers: int
    row_locks: bool
    classify: Classify
    version: Callable[[Connection], int] | None = None

    def dispose(self) -> None:
        """Close all connections that are not in use."""
        for engine in (self.reader, self.writer, self.glancer):
            if engine is not None:
                engine.dispose()

"""The mark that a copy of a whole database leaves in both databases. A database with a mark is not served.

An unfinished copy has one until it is complete. A database whose data was moved elsewhere keeps one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Self

from sqlalchemy import delete, insert, select

from keystead.service.ports.store import StoreError
from keystead.store import tables
from keystead.store.compatibility import refuse_all_writes

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


MARKED_SINCE: Final = "0024"
"""The first schema with marks."""


class CopyState(StrEnum):
    """Why a database with a mark is not served."""

    UNFINISHED = "unfinished"
    MOVED = "moved"


_TEXTS = {
    CopyState.UNFINISHED: "the database is an unfinished copy of {other}: run `keystead db copy` there again",
    CopyState.MOVED: "the database was moved to {other} on {time:%Y-%m-%d at %H:%M} UTC: set `database` to that",
}


@dataclass(frozen=True, slots=True)
class CopyMark:
    """The mark of a copy (``uuid``). ``other`` is the URL of the other database, without a password.

    ``storage`` is where the other database is stored, as incarnations note it.
    """

    uuid: str
    state: CopyState
    other: str
    storage: str
    time: datetime

    @classmethod
    def of(cls, connection: Connection) -> Self | None:
        """Read the mark of a database with this release's schema; None if it has none."""
        row = connection.execute(select(tables.database_copy)).first()
        return None if row is None else cls(row.uuid, CopyState(row.state), row.other, row.storage, row.time)

    def __str__(self) -> str:
        return _TEXTS[self.state].format(other=self.other, time=self.time)


def put_mark(connection: Connection, mark: CopyMark) -> None:
    """Store the mark instead of any other. A database that is marked as moved refuses all writes from then on.

    So a process that was suspended while the database was moved can store nothing there.
    """
    remove_mark(connection)
    connection.execute(insert(tables.database_copy).values(id=1, **asdict(mark)))
    if mark.state is CopyState.MOVED:
        refuse_all_writes(connection)


def remove_mark(connection: Connection) -> None:
    """Remove the mark, so that the database can be served."""
    connection.execute(delete(tables.database_copy))


def check_not_marked(connection: Connection) -> None:
    """Raise StoreError if the database has a mark. The text says where the data is."""
    mark = CopyMark.of(connection)
    if mark is not None:
        raise StoreError(str(mark))

"""Execution of statements: rows become model values, failures are classified. It knows no table.

Statements are built once, when the modules that own them are imported. So SQLAlchemy compiles each statement once per
engine.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from keystead.service.ports.store import StoreError
from keystead.store import tables
from keystead.store.failures import VALUE_ERRORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Delete, Executable, Insert, Row, Select, Table, Update

    from keystead.core.model import AuditHead, Event, Svm
    from keystead.store.failures import Classify
    from keystead.store.kinds import Kind

    Write = Insert | Update | Delete

T = TypeVar("T")
Parameters = dict[str, Any]


def locking(table: Table) -> Select[Any]:
    """Return a statement that locks the row with uuid ``u``.

    :func:`keystead.store.conditions.within` may restrict it.
    """
    return select(table.c.uuid).where(table.c.uuid == bindparam("u")).with_for_update()


def storing(table: Table, key: str) -> tuple[str, Write, Write]:
    """Return an update by key, and an insert for when the update finds no row.

    This is portable, unlike the upserts of the engines.
    """
    return key, update(table).where(table.c[key] == bindparam("the_key")), insert(table)


def columns_of(table: Table, value: object) -> Parameters:
    """Return the values of a model object for the columns of a table that have an attribute of the same name."""
    names = _common(table, type(value))  # type: ignore[arg-type]
    return {name: getattr(value, name) for name in names}


@cache
def _common(table: Table, model: type) -> tuple[str, ...]:
    """Return the names of columns that are also attributes of the model class."""
    return tuple(column.name for column in table.c if hasattr(model, column.name))


def owner_of(svm: Svm | None) -> Parameters:
    """Return the columns that say who owns a row: the cluster or an SVM."""
    return {"owner": tables.CLUSTER, "svm_uuid": None} if svm is None else {"owner": svm.uuid, "svm_uuid": svm.uuid}


class Statements:
    """An executor of statements on one open connection. It does not begin, commit or repeat (engine.py does)."""

    def __init__(
        self, connection: Connection, classify: Classify, now: Callable[[Connection], datetime], *, row_locks: bool
    ) -> None:
        self._connection = connection
        self._classify = classify
        self._now = now
        self.row_locks = row_locks
        self.reconfigured = False
        """True if something was changed that must move the change marker."""
        self.changed: set[str] = set()
        """The names of the tables that were written to."""
        self.heads: dict[str, AuditHead | None] = {}
        """The ends of audit chains as they were read last, by node."""
        self.appended: list[tuple[AuditHead | None, AuditHead]] = []
        """The ends of audit chains before and after each append."""
        self.announced: list[Event] = []
        """The events that were added. They are logged after the commit."""

    def now(self) -> datetime:
        """Return the time by the database's clock."""
        try:
            return self._now(self._connection)
        except SQLAlchemyError as error:
            raise self._classify(error) from None

    def values_of(self, kind: Kind[T], statement: Executable, parameters: Parameters) -> tuple[T, ...]:
        """Read the values of a kind."""
        return self._read(statement, parameters, kind.values)

    def value_of(self, kind: Kind[T], statement: Executable, parameters: Parameters) -> T | None:
        """Read the first value of a kind, or None if there is none."""
        return next(iter(self.values_of(kind, statement, parameters)), None)

    def all(self, statement: Executable, parameters: Parameters, make: Callable[[Row[Any]], T]) -> tuple[T, ...]:
        """Read all rows and return what ``make`` makes of each."""
        return self._read(statement, parameters, lambda rows: map(make, rows))

    def one(self, statement: Executable, parameters: Parameters, make: Callable[[Row[Any]], T]) -> T | None:
        """Read the rows and return what ``make`` makes of the first, or None if there is none."""
        return next(iter(self.all(statement, parameters, make)), None)

    def _read(
        self, statement: Executable, parameters: Parameters, make: Callable[[Sequence[Row[Any]]], Iterable[T]]
    ) -> tuple[T, ...]:
        try:
            return tuple(make(self._connection.execute(statement, parameters).all()))
        except SQLAlchemyError as error:
            raise self._classify(error) from None
        except VALUE_ERRORS:
            raise StoreError("a stored row is damaged, or a value cannot be compared") from None

    def change(self, statement: Write, parameters: Parameters | list[Parameters]) -> int:
        """Execute a statement that writes, and return the number of changed rows."""
        self.changed.add(statement.entity_description["table"].name)
        try:
            return self._connection.execute(statement, parameters).rowcount
        except SQLAlchemyError as error:
            raise self._classify(error) from None
        except VALUE_ERRORS:
            raise StoreError("a value cannot be stored") from None

    def reconfigure(self, statement: Write, parameters: Parameters | list[Parameters]) -> int:
        """Execute a statement that changes what is watched or who may log in.

        The transaction's audit record then moves the change marker.
        """
        self.reconfigured = True
        return self.change(statement, parameters)

    def lock(self, statement: Executable, uuid: str, **more: str | None) -> None:
        """Lock a row until the end of the transaction, if the engine has row locks."""
        # A separate statement, before the row and its children are read: a join that waits would read old children.
        if self.row_locks:
            self.all(statement, {"u": uuid, **more}, lambda row: row)

    def store(self, statements: tuple[str, Write, Write], row: Parameters) -> None:
        """Update the row with this key, or insert it. ``statements`` come from :func:`storing`."""
        key, change, add = statements
        changed = {"the_key" if name == key else name: value for name, value in row.items()}
        if not self.change(change, changed):
            self.change(add, row)

    def add_children(self, table: Table, children: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Insert the values of a child table (parent, position, value), in order for each parent."""
        parent, position, value = table.c.keys()
        rows = [
            {parent: uuid, position: place, value: text} for uuid, texts in children for place, text in enumerate(texts)
        ]
        if rows:
            self.change(insert(table), rows)

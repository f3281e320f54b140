"""How a transaction executes: model values out of rows, failures classified. It knows no table.

Statements are built once, at import of the files that own them, so that SQLAlchemy compiles each of them once per
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

    from sqlalchemy import Connection, Executable, Row, Select, Table

    from keystead.core.model import Svm
    from keystead.store.failures import Classify
    from keystead.store.kinds import Kind

T = TypeVar("T")
Parameters = dict[str, Any]


def locking(table: Table) -> Select[Any]:
    """A statement that locks the row with uuid ``u``; :func:`keystead.store.conditions.within` may narrow it."""
    return select(table.c.uuid).where(table.c.uuid == bindparam("u")).with_for_update()


def storing(table: Table, key: str) -> tuple[str, Executable, Executable]:
    """An update by key and the insert for when it finds nothing: portable, unlike the engines' upserts."""
    return key, update(table).where(table.c[key] == bindparam("the_key")), insert(table)


def columns_of(table: Table, value: object) -> Parameters:
    """The columns of a table that a value has attributes for."""
    names = _common(table, type(value))  # type: ignore[arg-type]
    return {name: getattr(value, name) for name in names}


@cache
def _common(table: Table, model: type) -> tuple[str, ...]:
    """The columns of a table that a model class has attributes for."""
    return tuple(column.name for column in table.c if hasattr(model, column.name))


def owner_of(svm: Svm | None) -> Parameters:
    """The columns that say whose a row is."""
    return {"owner": tables.CLUSTER, "svm_uuid": None} if svm is None else {"owner": svm.uuid, "svm_uuid": svm.uuid}


class Statements:
    """Executes on one open connection; begins, commits and repeats nothing (engine.py does)."""

    def __init__(self, connection: Connection, classify: Classify, *, row_locks: bool) -> None:
        self._connection = connection
        self._classify = classify
        self.row_locks = row_locks
        self.reconfigured = False
        """Whether something was changed that the change marker moves with."""

    def values_of(self, kind: Kind[T], statement: Executable, parameters: Parameters) -> tuple[T, ...]:
        """Read values of a kind."""
        return self._read(statement, parameters, kind.values)

    def value_of(self, kind: Kind[T], statement: Executable, parameters: Parameters) -> T | None:
        """Read the first value of a kind, None when there is none."""
        return next(iter(self.values_of(kind, statement, parameters)), None)

    def all(self, statement: Executable, parameters: Parameters, make: Callable[[Row[Any]], T]) -> tuple[T, ...]:
        """Read what ``make`` makes of each row."""
        return self._read(statement, parameters, lambda rows: map(make, rows))

    def one(self, statement: Executable, parameters: Parameters, make: Callable[[Row[Any]], T]) -> T | None:
        """Read what ``make`` makes of the first row, None when there is none."""
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

    def change(self, statement: Executable, parameters: Parameters | list[Parameters]) -> int:
        """Execute a statement that writes and return how many rows it touched."""
        try:
            return self._connection.execute(statement, parameters).rowcount
        except SQLAlchemyError as error:
            raise self._classify(error) from None
        except VALUE_ERRORS:
            raise StoreError("a value cannot be stored") from None

    def reconfigure(self, statement: Executable, parameters: Parameters | list[Parameters]) -> int:
        """Execute a statement that changes what is watched, or who logs in; its audit record moves the marker."""
        self.reconfigured = True
        return self.change(statement, parameters)

    def lock(self, statement: Executable, uuid: str, **more: str | None) -> None:
        """Hold a row until the end of the transaction, where the engine locks rows."""
        # Alone, before the row is read with its children: a joined read that waited would show the children of before.
        if self.row_locks:
            self.all(statement, {"u": uuid, **more}, lambda row: row)

    def store(self, statements: tuple[str, Executable, Executable], row: Parameters) -> None:
        """Update the row with this key, or insert it; ``statements`` are those of :func:`storing`."""
        key, change, add = statements
        changed = {"the_key" if name == key else name: value for name, value in row.items()}
        if not self.change(change, changed):
            self.change(add, row)

    def add_children(self, table: Table, children: Sequence[tuple[str, Sequence[str]]]) -> None:
        """Insert the values of a child table (parent, position, value), for each parent in order."""
        parent, position, value = table.c.keys()
        rows = [
            {parent: uuid, position: place, value: text} for uuid, texts in children for place, text in enumerate(texts)
        ]
        if rows:
            self.change(insert(table), rows)

"""Conditions as SQL, alike on SQLite and PostgreSQL: text by bytes, patterns telling case apart. Executes nothing."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, Column, Text, TypeDecorator, bindparam, literal, not_, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from keystead.core.query_where import Condition, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import Column, ColumnElement, Table
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

    from keystead.core.query_where import Clause, Pieces

_LARGEST = 2**63 - 1  # what both engines can bind as a whole number


class Related(NamedTuple):
    """A column of the rows that belong to a row, of which any may meet a condition; ``parent`` is the row's key."""

    column: Column[Any]
    child: Column[Any]
    parent: Column[Any]

    def meets(self, condition: Condition) -> ColumnElement[bool]:
        """Ask whether there is such a row."""
        found = select(self.column).where(self.child == self.parent).correlate(self.parent.table)
        if condition.op is Op.UNSET:
            return found.exists() if condition.negated else not_(found.exists())
        return found.where(_one(self.column, condition)).exists()


def within(table: Table) -> ColumnElement[bool]:
    """Whether a row is the SVM ``w``'s, or that SVM itself; true of every row when ``w`` is None."""
    svm = bindparam("w", type_=Text)
    owner = table.c.svm_uuid if "svm_uuid" in table.c else table.c.uuid
    return or_(svm.is_(None), owner == svm)


def compiled(columns: Mapping[str, ColumnElement[Any] | Related], clause: Clause) -> ColumnElement[bool]:
    """A clause on columns by name; equal values of a column as one list. Raises KeyError for an unknown name."""
    equal: dict[str, list[Any]] = {}
    others: list[ColumnElement[bool]] = []
    for condition in clause:
        column = columns[condition.name]
        if condition.op is Op.EQUAL and not condition.negated and isinstance(column, Column):
            equal.setdefault(condition.name, []).append(_bound(condition.operand))
        else:
            others.append(_condition(columns, condition))
    # A list of one is as good as a comparison, but not for SQLite's planner.
    lists = [
        columns[name].in_(values) if len(values) > 1 else columns[name] == values[0] for name, values in equal.items()
    ]
    return or_(*lists, *others)


def compared(column: ColumnElement[Any], op: Op, operand: Any) -> ColumnElement[bool]:
    """One comparison."""
    if op is Op.UNSET:
        return column.is_(None)
    if op is Op.LIKE:
        return _like(column, literal(operand, _Pattern))
    if op is Op.RANGE:
        return column.between(*map(_bound, operand))
    made: ColumnElement[bool] = _COMPARISONS[op](column, _bound(operand))
    return made


class unindexed(FunctionElement[Any]):  # noqa: N801 - named like the functions of SQLAlchemy
    """A column whose indexes SQLite must not use: it takes any of them for a good one."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.type = column.type
        super().__init__(column)


@compiles(unindexed)
def _compile_unindexed(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    (column,) = (compiler.process(clause, **options) for clause in element.clauses)
    return f"+{column}" if compiler.dialect.name == "sqlite" else column


def _condition(columns: Mapping[str, ColumnElement[Any] | Related], condition: Condition) -> ColumnElement[bool]:
    if condition.name == "scope" and condition.op is Op.EQUAL and condition.operand in {"cluster", "svm"}:
        # Asked of the column itself, which has an index.
        condition = Condition("svm_uuid", Op.UNSET, negated=condition.negated is (condition.operand == "cluster"))
    column = columns[condition.name]
    return column.meets(condition) if isinstance(column, Related) else _one(column, condition)


def _one(column: ColumnElement[Any], condition: Condition) -> ColumnElement[bool]:
    made = compared(column, condition.op, condition.operand)
    return not_(made) if condition.negated else made


_COMPARISONS: dict[Op, Callable[[Any, Any], Any]] = {
    Op.EQUAL: operator.eq,
    Op.LESS: operator.lt,
    Op.AT_MOST: operator.le,
    Op.MORE: operator.gt,
    Op.AT_LEAST: operator.ge,
}


def _bound(value: Any) -> Any:
    """A value as a parameter: a boolean as it is stored, a whole number as one that any column can be compared with."""
    if isinstance(value, int):
        return literal(max(-_LARGEST, min(int(value), _LARGEST)), BigInteger)
    return value


class _Pattern(TypeDecorator[Any]):
    """A pattern as the engine writes it, every other character literal."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Pieces | None, dialect: Dialect) -> str:
        """Escape the pieces and put the wildcards between them."""
        wildcard, escaped = ("*", _GLOB) if dialect.name == "sqlite" else ("%", _LIKE)
        return wildcard.join(piece.translate(escaped) for piece in value or ())


_GLOB = {ord(character): f"[{character}]" for character in "*?["}
_LIKE = {ord(character): f"\\{character}" for character in "\\%_"}


class _like(FunctionElement[bool]):  # noqa: N801 - named like the functions of SQLAlchemy
    """``column LIKE pattern``, case-sensitive: that is GLOB in SQLite."""

    type = Boolean()
    inherit_cache = True


@compiles(_like)
def _compile_like(element: _like, compiler: SQLCompiler, **options: Any) -> str:
    column, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} {'GLOB' if compiler.dialect.name == 'sqlite' else 'LIKE'} {pattern}"

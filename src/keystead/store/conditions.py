"""Conditions as SQL, alike on SQLite and PostgreSQL: text by bytes, patterns telling case apart. Executes nothing."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Boolean, Text, TypeDecorator, bindparam, literal, not_, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from keystead.core.query.where import Condition, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Table
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

    from keystead.core.query.where import Clause, Pieces

_LARGEST = 2**63 - 1  # what both engines can bind as a whole number


class Related(NamedTuple):
    """A column of the rows that belong to a row, of which any may meet a condition; ``parent`` is the row's key."""

    column: Column[Any]
    child: Column[Any]
    parent: Column[Any]

    def meets(self, conditions: Sequence[Condition]) -> Iterator[ColumnElement[bool]]:
        """Ask whether there is a row that meets any of the conditions: once for all that compare values."""
        found = select(self.column).where(self.child == self.parent).correlate(self.parent.table)
        for condition in conditions:
            if condition.op is Op.UNSET:
                yield found.exists() if condition.negated else not_(found.exists())
        compared = [condition for condition in conditions if condition.op is not Op.UNSET]
        if compared:
            yield found.where(or_(*_alternatives(self.column, compared))).exists()


def within(table: Table) -> ColumnElement[bool]:
    """Whether a row is the SVM ``w``'s, or that SVM itself; true of every row when ``w`` is None."""
    svm = bindparam("w", type_=Text)
    owner = table.c.svm_uuid if "svm_uuid" in table.c else table.c.uuid
    return or_(svm.is_(None), owner == svm)


def compiled(columns: Mapping[str, ColumnElement[Any] | Related], clause: Clause) -> ColumnElement[bool]:
    """A clause on columns by name. Raises KeyError for a name that is not among them."""
    by_name: dict[str, list[Condition]] = {}
    for condition in dict.fromkeys(map(_plainest, clause)):
        by_name.setdefault(condition.name, []).append(condition)
    return or_(*(term for name, conditions in by_name.items() for term in _terms(columns[name], conditions)))


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


def _plainest(condition: Condition) -> Condition:
    """What a scope says, asked of the SVM's column itself, which has an index."""
    if condition.name == "scope" and condition.op is Op.EQUAL and condition.operand in {"cluster", "svm"}:
        return Condition("svm_uuid", Op.UNSET, negated=condition.negated is (condition.operand == "cluster"))
    return condition


def _terms(column: ColumnElement[Any] | Related, conditions: Sequence[Condition]) -> Iterator[ColumnElement[bool]]:
    return column.meets(conditions) if isinstance(column, Related) else _alternatives(column, conditions)


def _alternatives(column: ColumnElement[Any], conditions: Sequence[Condition]) -> Iterator[ColumnElement[bool]]:
    """Conditions on one column, several equal values as one list."""
    equal = [condition for condition in conditions if condition.op is Op.EQUAL and not condition.negated]
    if len(equal) > 1:
        yield column.in_([_bound(condition.operand) for condition in equal])
        conditions = [condition for condition in conditions if condition not in equal]
    yield from (_one(column, condition) for condition in conditions)


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

"""Conditions as SQL, alike on SQLite and PostgreSQL: text is compared by bytes, patterns are case-sensitive.

Nothing is executed here.
"""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Text,
    TypeDecorator,
    bindparam,
    false,
    literal,
    literal_column,
    not_,
    or_,
    select,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from keystead.core.query.where import Condition, Op
from keystead.store.tables import LITERAL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

    from keystead.core.query.where import Clause, Pieces

_LARGEST = 2**63 - 1  # the largest whole number that both engines can bind


class Related(NamedTuple):
    """A column of rows that belong to a parent row. A condition is met if any of these rows meets it.

    ``parent`` is the key column of the parent row.
    """

    column: Column[Any]
    child: Column[Any]
    parent: Column[Any]

    def meets(self, conditions: Sequence[Condition]) -> Iterator[ColumnElement[bool]]:
        """Yield SQL for "some row meets one of the conditions". All comparisons of values share one subquery."""
        found = select(self.column).where(self.child == self.parent).correlate(self.parent.table)
        for condition in conditions:
            if condition.op is Op.UNSET:
                yield found.exists() if condition.negated else not_(found.exists())
        compared = [condition for condition in conditions if condition.op is not Op.UNSET]
        if compared:
            yield found.where(or_(*_alternatives(self.column, compared))).exists()


def within(table: Table) -> ColumnElement[bool]:
    """Return the condition that a row belongs to the SVM ``w`` or is that SVM; it is true if ``w`` is None."""
    svm = bindparam("w", type_=Text)
    owner = table.c.svm_uuid if "svm_uuid" in table.c else table.c.uuid
    return or_(svm.is_(None), owner == svm)


def compiled(columns: Mapping[str, ColumnElement[Any] | Related], clause: Clause) -> ColumnElement[bool]:
    """Return a clause as SQL, with columns by name. An empty one is false. Raises KeyError for an unknown name."""
    by_name: dict[str, list[Condition]] = {}
    for condition in dict.fromkeys(map(_scope_as_owner, clause)):
        by_name.setdefault(condition.name, []).append(condition)
    return or_(false(), *(term for name, conditions in by_name.items() for term in _terms(columns[name], conditions)))


def compared(column: ColumnElement[Any], op: Op, operand: Any) -> ColumnElement[bool]:
    """Return one comparison as SQL."""
    if op is Op.UNSET:
        return column.is_(None)
    if op is Op.LIKE:
        return _like(column, literal(operand, _Pattern))
    if op is Op.RANGE:
        return column.between(*map(_bound, operand))
    bound = _literal(column, operand) if isinstance(column, Column) and LITERAL in column.info else _bound(operand)
    made: ColumnElement[bool] = _COMPARISONS[op](column, bound)
    return made


class unindexed(FunctionElement[Any]):  # noqa: N801 - named like the functions of SQLAlchemy
    """A column whose indexes SQLite must not use, because SQLite would choose them although they are bad."""

    inherit_cache = True

    def __init__(self, column: ColumnElement[Any]) -> None:
        self.type = column.type
        super().__init__(column)


@compiles(unindexed)
def _compile_unindexed(element: unindexed, compiler: SQLCompiler, **options: Any) -> str:
    (column,) = (compiler.process(clause, **options) for clause in element.clauses)
    return f"+{column}" if compiler.dialect.name == "sqlite" else column


def _scope_as_owner(condition: Condition) -> Condition:
    """Replace a condition on the scope by one on the SVM's column, because that column has an index."""
    if condition.name == "scope" and condition.op is Op.EQUAL and condition.operand in {"cluster", "svm"}:
        return Condition("svm_uuid", Op.UNSET, negated=condition.negated is (condition.operand == "cluster"))
    return condition


def _terms(column: ColumnElement[Any] | Related, conditions: Sequence[Condition]) -> Iterator[ColumnElement[bool]]:
    return column.meets(conditions) if isinstance(column, Related) else _alternatives(column, conditions)


def _alternatives(column: ColumnElement[Any], conditions: Sequence[Condition]) -> Iterator[ColumnElement[bool]]:
    """Yield conditions on one column. Several equal values become one list."""
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


def fixed(value: str | int) -> ColumnElement[Any]:
    """Return a constant as a part of the statement's text.

    PostgreSQL plans a prepared statement without its values, and then uses no index of a part of a table.
    """
    return literal_column(str(value) if isinstance(value, int) else f"'{value}'")


def among(column: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """Return the condition that a column has one of these constants, as a part of the statement's text."""
    return column.in_([fixed(value) for value in values])


def _literal(column: Column[Any], value: Any) -> ColumnElement[Any]:
    """Return a value that stands in the statement itself, quoted by the dialect."""
    return bindparam(None, value, column.type, literal_execute=True)


def _bound(value: Any) -> Any:
    """Return a value as a parameter. An integer or boolean is limited to what a column can be compared with."""
    if isinstance(value, int):
        return literal(max(-_LARGEST, min(int(value), _LARGEST)), BigInteger)
    return value


class _Pattern(TypeDecorator[Any]):
    """A pattern in the engine's syntax, with all other characters literal."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Pieces | None, dialect: Dialect) -> str:
        """Escape the pieces and put the wildcards between them."""
        wildcard, escaped = ("*", _GLOB) if dialect.name == "sqlite" else ("%", _LIKE)
        return wildcard.join(piece.translate(escaped) for piece in value or ())


_GLOB = {ord(character): f"[{character}]" for character in "*?["}
_LIKE = {ord(character): f"\\{character}" for character in "\\%_"}


class _like(FunctionElement[bool]):  # noqa: N801 - named like the functions of SQLAlchemy
    """A case-sensitive ``column LIKE pattern``, which is GLOB in SQLite."""

    type = Boolean()
    inherit_cache = True


@compiles(_like)
def _compile_like(element: _like, compiler: SQLCompiler, **options: Any) -> str:
    column, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{column} {'GLOB' if compiler.dialect.name == 'sqlite' else 'LIKE'} {pattern}"

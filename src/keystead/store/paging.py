"""A page of a list as a statement: conditions, order and the place to go on from, alike on SQLite and PostgreSQL.

Text is compared by bytes on both (tables.py says so to PostgreSQL), patterns tell case apart, what is unset comes last.
A page begins after the key of a row, not after a count of rows, so that it costs the same wherever it stands. Nothing
is executed here.
"""

from __future__ import annotations

import operator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Text,
    TypeDecorator,
    and_,
    case,
    false,
    literal,
    not_,
    or_,
    select,
    union_all,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from keystead.core.query_where import Condition, Op, Order
from keystead.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Select
    from sqlalchemy.engine import Dialect
    from sqlalchemy.sql.compiler import SQLCompiler

    from keystead.core.query_where import Pieces, Where
    from keystead.service.ports import Page
    from keystead.store.kinds import Kind

_LARGEST = 2**63 - 1  # what both engines can bind as a whole number
_OWNER = "svm_name"


def statement(kind: Kind[Any], page: Page) -> Select[Any]:
    """Select the rows of a page as :meth:`Kind.values` wants them. Raises KeyError for a column the kind has not."""
    keys = _keys(kind, _complete(kind, page.order))
    ordered = kind.everything.order_by(None).order_by(*(key.term for key in keys))
    if kind.child is None:
        return _restricted(kind, ordered, page).limit(page.limit).offset(page.offset)
    identity = kind.main.c[kind.identity]
    return ordered.order_by(kind.child.c[1]).where(identity.in_(_chosen(kind, page)))


def _chosen(kind: Kind[Any], page: Page) -> Select[Any]:
    """The identities of a page's rows."""
    identity = kind.main.c[kind.identity]
    if page.order and page.order[0].name == _OWNER:
        return _by_owner(kind, page)
    chosen = _restricted(kind, _joined(kind, select(identity), page), page)
    keys = _keys(kind, _complete(kind, page.order))
    return chosen.order_by(*(key.term for key in keys)).limit(page.limit).offset(page.offset)


def _joined(kind: Kind[Any], chosen: Select[Any], page: Page) -> Select[Any]:
    names = {condition.name for clause in page.where for condition in clause} | {order.name for order in page.order}
    if _OWNER not in names:
        return chosen
    return chosen.join(tables.svms, tables.svms.c.uuid == kind.main.c.svm_uuid, isouter=True)


def _restricted(kind: Kind[Any], chosen: Select[Any], page: Page) -> Select[Any]:
    chosen = chosen.where(*_conditions(kind, page.where))
    if page.after is None:
        return chosen
    return chosen.where(_beyond(_keys(kind, _complete(kind, page.order), page.after)))


def _by_owner(kind: Kind[Any], page: Page) -> Select[Any]:
    """The identities in the order of the SVMs' names: what SVMs own and what the cluster owns, put together.

    Each part can follow an index, which the order of an outer join cannot.
    """
    first, *others = page.order
    identity, owner = kind.main.c[kind.identity], kind.main.c.svm_uuid
    rest = _complete(kind, others)
    at_cluster = page.after is not None and page.after[0] is None
    owned = select(identity.label("identity"), literal(0).label("part"), tables.svms.c.name.label("key"))
    owned = owned.join(tables.svms, tables.svms.c.uuid == owner).where(*_conditions(kind, page.where))
    name = _Key(tables.svms.c.name, first.descending, page.after[0] if page.after else None)
    keys = (name, *_keys(kind, rest, page.after and page.after[1:]))
    if at_cluster and not first.descending:
        owned = owned.where(false())
    elif page.after is not None and not at_cluster:
        owned = owned.where(_beyond(keys))
    others_ = select(identity.label("identity"), literal(1).label("part"), literal("").label("key"))
    cluster = _joined(kind, others_, replace(page, order=())).where(owner.is_(None), *_conditions(kind, page.where))
    if page.after is not None and not at_cluster and first.descending:
        cluster = cluster.where(false())
    elif at_cluster:
        cluster = cluster.where(_beyond(keys[1:]))
    end = page.limit + page.offset
    parts = [
        part.add_columns(*(key.column.label(f"key{place}") for place, key in enumerate(keys[1:])))
        .order_by(*(key.term for key in part_keys))
        .limit(end)
        .subquery()
        for part, part_keys in ((owned, keys), (cluster, keys[1:]))
    ]
    both = union_all(*(select(part) for part in parts)).subquery()
    terms = [both.c.part, both.c.key, *(both.c[f"key{place}"] for place in range(len(keys) - 1))]
    down = [first.descending, first.descending, *(key.descending for key in keys[1:])]
    order = [term.desc() if descending else term for term, descending in zip(terms, down, strict=True)]
    return select(both.c.identity).order_by(*order).limit(page.limit).offset(page.offset)


class _Key(NamedTuple):
    """One term of an order, and its value in the row to go on from."""

    column: ColumnElement[Any]
    descending: bool
    after: Any = None

    @property
    def term(self) -> ColumnElement[Any]:
        return self.column.desc() if self.descending else self.column


def _complete(kind: Kind[Any], order: Sequence[Order]) -> tuple[Order, ...]:
    """The order with the kind's own, unique key at its end."""
    return tuple(order) if any(key.name == kind.order for key in order) else (*order, Order(kind.order))


def _keys(kind: Kind[Any], order: Sequence[Order], after: Sequence[Any] | None = None) -> tuple[_Key, ...]:
    """The terms of an order: a column, before it whether it is unset where it can be."""
    keys: list[_Key] = []
    for key, value in zip(order, after or [None] * len(order), strict=True):
        column = kind.columns[key.name]
        if not _nullable(kind, key.name):
            # A parameter that is empty gets lost in clients: absent, it is the empty text.
            keys.append(_Key(column, key.descending, "" if after and value is None else value))
            continue
        keys.append(_Key(case((column.is_(None), 1), else_=0), key.descending, int(value is None)))
        if not after or value is not None:
            keys.append(_Key(column, key.descending, value))
    return tuple(keys)


def _nullable(kind: Kind[Any], name: str) -> bool:
    column = kind.columns[name]
    return name == _OWNER or (isinstance(column, Column) and bool(column.nullable))


def _beyond(keys: Sequence[_Key]) -> ColumnElement[bool]:
    """Rows after the place that the keys' values name. Its first condition bounds an index."""
    *leading, last = keys
    beyond = _further(last)
    for key in reversed(leading):
        reached = _compared(key.column, Op.AT_MOST if key.descending else Op.AT_LEAST, key.after)
        beyond = and_(reached, or_(_further(key), beyond))
    return beyond


def _further(key: _Key) -> ColumnElement[bool]:
    return _compared(key.column, Op.LESS if key.descending else Op.MORE, key.after)


def _conditions(kind: Kind[Any], where: Where) -> list[ColumnElement[bool]]:
    return [or_(*(_condition(kind, condition) for condition in clause)) for clause in where]


def _condition(kind: Kind[Any], condition: Condition) -> ColumnElement[bool]:
    if condition.name == "scope" and condition.op is Op.EQUAL and condition.operand in {"cluster", "svm"}:
        # Asked of the column itself, which has an index.
        condition = Condition("svm_uuid", Op.UNSET, negated=condition.negated is (condition.operand == "cluster"))
    made = _compared(kind.columns[condition.name], condition.op, condition.operand)
    return not_(made) if condition.negated else made


def _compared(column: ColumnElement[Any], op: Op, operand: Any) -> ColumnElement[bool]:
    if op is Op.UNSET:
        return column.is_(None)
    if op is Op.LIKE:
        return _like(column, literal(operand, _Pattern))
    if op is Op.RANGE:
        return column.between(*map(_bound, operand))
    made: ColumnElement[bool] = _COMPARISONS[op](column, _bound(operand))
    return made


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

    def process_bind_param(self, value: Pieces | None, dialect: Dialect) -> str | None:
        """Escape the pieces and put the wildcards between them."""
        if value is None:
            return None
        if dialect.name == "sqlite":
            return "*".join(piece.translate(_GLOB) for piece in value)
        return "%".join(piece.translate(_LIKE) for piece in value)


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

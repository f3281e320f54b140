"""A page of a list as one statement: conditions, order and start, alike on SQLite and PostgreSQL.

Unset values come last. A page begins after the keys of a row (a cursor), not after a count of rows. So every page costs
the same. Nothing is executed here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Column, String, and_, case, func, literal, or_, select, union_all

from keystead.core.query.where import Op, Order
from keystead.store import tables
from keystead.store.conditions import compared, compiled, unindexed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Select

    from keystead.core.query.where import Clause, Where
    from keystead.service.ports.page import Page
    from keystead.store.kinds import Kind

_OWNER = "svm_name"


class _Key(NamedTuple):
    """One term of an order, and its value in the row after which the page begins.

    ``unset`` if that row has no value.
    """

    column: ColumnElement[Any]
    descending: bool
    after: Any = None
    unset: bool = False

    @property
    def term(self) -> ColumnElement[Any]:
        return self.column.desc() if self.descending else self.column


class _Part(NamedTuple):
    """Rows of a list, with their order."""

    rows: Select[Any]
    keys: tuple[_Key, ...]


def statement(kind: Kind[Any], page: Page) -> Select[Any]:
    """Return the statement for a page, for :meth:`Kind.values`. Raises KeyError for a column that the kind lacks."""
    keys = _keys(kind, _complete(kind, page.order), page.after)
    ordered = kind.everything.order_by(None).order_by(*(key.term for key in keys))
    if kind.child is None:
        return _restricted(kind, ordered, page, keys).limit(page.limit).offset(page.offset)
    identity = kind.main.c[kind.identity]
    if page.order and page.order[0].name == _OWNER:
        chosen = _by_owner(kind, page)
    else:
        joined = _joined(kind, select(identity), page.where, page.order)
        chosen = _restricted(kind, joined, page, keys).order_by(*(key.term for key in keys))
    return ordered.order_by(kind.child.c[1]).where(identity.in_(chosen.limit(page.limit).offset(page.offset)))


def _joined(kind: Kind[Any], rows: Select[Any], where: Where, order: Sequence[Order] = ()) -> Select[Any]:
    """Join the SVM's name, if the conditions or the order need it."""
    if _OWNER not in {key.name for key in order} and not any(_names(clause) & {_OWNER} for clause in where):
        return rows
    return rows.join(tables.svms, tables.svms.c.uuid == kind.main.c.svm_uuid, isouter=True)


def _names(clause: Clause) -> set[str]:
    return {condition.name for condition in clause}


def _restricted(kind: Kind[Any], rows: Select[Any], page: Page, keys: Sequence[_Key]) -> Select[Any]:
    rows = rows.where(*(compiled(kind.filters, clause) for clause in page.where))
    return rows if page.after is None else rows.where(_beyond(keys))


def _by_owner(kind: Kind[Any], page: Page) -> Select[Any]:
    """Select the identities in the order of the SVMs' names: rows of SVMs, then rows of the cluster, or the reverse.

    The two parts are separate because each can follow an index. The order of an outer join cannot.
    """
    first, *others = page.order
    after = page.after or (None,)
    rest = _keys(kind, _complete(kind, others), page.after and after[1:])
    owned = _Part(_of_svms(kind, page.where), (_Key(tables.svms.c.name, first.descending, after[0]), *rest))
    cluster = _Part(_of_cluster(kind, page.where), rest)
    parts = [cluster, owned] if first.descending else [owned, cluster]
    if page.after is not None:
        place = cluster if after[0] is None else owned
        parts = parts[parts.index(place) :]
        parts[0] = _Part(place.rows.where(_beyond(place.keys)), place.keys)
    end = page.limit + page.offset
    ranked = [
        part.rows.add_columns(
            literal(rank).label("rank"),
            tables.svms.c.name.label("owner") if part.keys is owned.keys else literal("").label("owner"),
            *(key.column.label(f"key{number}") for number, key in enumerate(rest)),
        )
        .order_by(*(key.term for key in part.keys))
        .limit(end)
        .subquery()
        for rank, part in enumerate(parts)
    ]
    both = union_all(*(select(part) for part in ranked)).subquery()
    order = [_Key(both.c.rank, descending=False), _Key(both.c.owner, first.descending)]
    order += [_Key(both.c[f"key{number}"], key.descending) for number, key in enumerate(rest)]
    return select(both.c.identity).order_by(*(key.term for key in order))


def _of_svms(kind: Kind[Any], where: Where) -> Select[Any]:
    """Select the identities of rows that SVMs own, SVM by SVM.

    The outer join is only there for SQLite. With an inner join, SQLite would start from a filter and sort all rows for
    each page. SVMs without such a row are left out.
    """
    of_owner = {_OWNER: tables.svms.c.name, "svm_uuid": tables.svms.c.uuid}
    columns = {**kind.filters, **{name: unindexed(column) for name, column in kind.columns.items()}, **of_owner}
    about_owner = [clause for clause in where if _names(clause) <= of_owner.keys()]
    others = [compiled(columns, clause) for clause in where if clause not in about_owner]
    identity = kind.main.c[kind.identity]
    return (
        select(identity.label("identity"))
        .select_from(tables.svms)
        .join(kind.main, and_(kind.main.c.svm_uuid == tables.svms.c.uuid, *others), isouter=True)
        .where(func.coalesce(identity, "") != "", *(compiled(columns, clause) for clause in about_owner))
    )


def _of_cluster(kind: Kind[Any], where: Where) -> Select[Any]:
    """Select the identities of rows that no SVM owns."""
    rows = _joined(kind, select(kind.main.c[kind.identity].label("identity")), where)
    return rows.where(kind.main.c.svm_uuid.is_(None), *(compiled(kind.filters, clause) for clause in where))


def _complete(kind: Kind[Any], order: Sequence[Order]) -> tuple[Order, ...]:
    """Return the order, ended by the kind's own unique key."""
    return tuple(order) if any(key.name == kind.order for key in order) else (*order, Order(kind.order))


def _keys(kind: Kind[Any], order: Sequence[Order], after: Sequence[Any] | None = None) -> tuple[_Key, ...]:
    """Return the terms of an order. A nullable column gets a term before it that says whether it is unset."""
    keys: list[_Key] = []
    for key, value in zip(order, after or [None] * len(order), strict=True):
        column = kind.columns[key.name]
        if not _nullable(key.name, column):
            # Clients drop an empty parameter, so an absent value stands for the empty text.
            lost = bool(after) and value is None
            text = isinstance(column.type, String)
            keys.append(_Key(column, key.descending, "" if lost and text else value, unset=lost and not text))
            continue
        keys.append(_Key(case((column.is_(None), 1), else_=0), key.descending, int(value is None)))
        keys.append(_Key(column, key.descending, value, unset=value is None))
    return tuple(keys)


def _nullable(name: str, column: ColumnElement[Any]) -> bool:
    return name == _OWNER or (isinstance(column, Column) and bool(column.nullable))


def _beyond(keys: Sequence[_Key]) -> ColumnElement[bool]:
    """Return the condition for rows after the given place. The first term can use an index."""
    *leading, last = (key for key in keys if not key.unset)
    beyond = _further(last)
    for key in reversed(leading):
        reached = compared(key.column, Op.AT_MOST if key.descending else Op.AT_LEAST, key.after)
        beyond = and_(reached, or_(_further(key), beyond))
    return beyond


def _further(key: _Key) -> ColumnElement[bool]:
    return compared(key.column, Op.LESS if key.descending else Op.MORE, key.after)

"""Filters and orders on a resource's fields, split into conditions for the store and conditions compared in memory.

Both kinds give the same result. A condition on a field with a column becomes a condition on the column, with the
operand in its stored form.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.fields import parse_fields
from keystead.core.query.filter import check_comparisons, parse_filter, parse_words
from keystead.core.query.order import parse_order
from keystead.core.query.query import Read, quoted
from keystead.core.query.where import Condition, Op, Order, holds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from keystead.api.resource import Field, Resource
    from keystead.api.values import Type
    from keystead.core.query.filter import Alternative
    from keystead.core.query.where import Clause, Where


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters that were read. ``stored`` is on columns, ``rest`` is on fields and compared in memory.

    ``single`` holds the clauses that concern one field each, before the split.
    """

    stored: Where = ()
    rest: Where = ()
    single: Where = ()

    @property
    def names(self) -> frozenset[str]:
        """The names of the fields in ``single``."""
        return frozenset(clause[0].name for clause in self.single)

    @property
    def comparisons(self) -> int:
        """The maximum number of comparisons for each record."""
        return sum(map(len, self.stored + self.rest))


def read_filters(
    resource: Resource,
    parameters: Mapping[str, str],
    *,
    ignore_unknown: bool = False,
    absent: bool = True,
    beside: int = 0,
) -> Filters:
    """Read the filters: each parameter names a field. ``beside`` is the number of comparisons that a query adds.

    A filter on an absent field matches all records or none; without ``absent`` it is refused, because a write that
    misses a condition would change too much. Raise 262179 for an unknown name, 262250 for a field that cannot be read,
    and 262185, 262194 or 262197 for a value.
    """
    clauses: list[Clause] = []
    comparisons = beside
    for name, text in parameters.items():
        shown = quoted(name)
        declared = resource.fields.get(name)
        known = resource.catalogue.is_absent(name)
        if declared is None and not known:
            if ignore_unknown:
                continue
            raise OntapError(errors.UNEXPECTED_ARGUMENT, target=shown, field=shown)
        if (declared is None and not absent) or (declared is not None and declared.read is Read.NEVER):
            raise OntapError(errors.FIELD_NOT_QUERYABLE, target=shown, field=shown)
        listed = declared is not None and declared.listed
        alternatives = parse_filter(name, text.replace(",", "|") if listed else text)
        comparisons += len(alternatives)
        check_comparisons(name, comparisons)
        if declared is not None:
            clauses.append(tuple(_typed(declared, alternative) for alternative in alternatives))
        elif not any(map(_matches_absent, alternatives)):
            clauses.append(())
    return _split(resource, clauses, single=tuple(filter(None, clauses)))


def read_words(resource: Resource, query: str | None, query_fields: str | None) -> Filters:
    """Read a cross-field query. Raise 262272 to 262276, or 262185 if it needs too many comparisons."""
    if query is None and query_fields is None:
        return Filters()
    if query is None or query_fields is None:
        raise OntapError(errors.QUERY_INCOMPLETE, target="query_fields" if query_fields is None else "query")
    names = _query_fields(resource, query_fields)
    words = parse_words(query)
    check_comparisons("query", sum(map(len, words)) * len(names))
    clauses = [
        tuple(
            Condition(name, Op.LIKE, tuple(map(resource.fields[name].type.folded, pieces)))
            for pieces in word
            for name in names
        )
        for word in words
    ]
    return _split(resource, clauses)


def _query_fields(resource: Resource, text: str) -> list[str]:
    listed = set()
    for item in text.split(","):
        name = item.strip().removeprefix("!")
        if name and name in listed:
            raise OntapError(errors.QUERY_FIELD_TWICE, target="query_fields", field=quoted(name))
        listed.add(name)
    included, excluded = parse_fields(text, "query_fields")
    names = resource.catalogue.named(included, "query_fields") - resource.catalogue.named(excluded, "query_fields")
    if not names:
        raise OntapError(errors.QUERY_WITHOUT_FIELDS, target="query_fields")
    return sorted(names)


def read_order(resource: Resource, text: str) -> tuple[Order, ...]:
    """Read ``order_by``, on fields. Raise 262268 for a field that the store cannot order by."""
    order = parse_order(text)
    for key in order:
        declared = resource.fields.get(key.name)
        if declared is None or declared.column is None or declared.many or resource.in_array(key.name):
            raise OntapError(errors.FIELD_NOT_ORDERED, target="order_by", field=quoted(key.name))
    return order


def matches(resource: Resource, where: Where, view: Any, beneath: str = "") -> bool:
    """Return True if a view meets the conditions on its fields. ``beneath`` is the group that contains the view.

    Each field's values are read only once, even if several conditions use them.
    """

    @cache
    def values(name: str, *, as_text: bool) -> Sequence[Any]:
        type_ = resource.fields[name].type
        of: Callable[[Any], Any] = type_.folded if as_text else type_.comparable
        return [of(value) for value in resource.values(view, name, beneath)]

    return holds(where, lambda condition: values(condition.name, as_text=condition.op is Op.LIKE))


def beneath(where: Where, path: str) -> Where:
    """Return the clauses about fields below a group."""
    return tuple(clause for clause in where if clause[0].name.startswith(f"{path}."))


def parsed(type_: Type, name: str, text: Any) -> Any:
    """Return a parameter's text as a value of a type, or raise 262197."""
    try:
        return type_.parse(text)
    except ValueError:
        raise OntapError(
            errors.INVALID_FIELD_VALUE, target=name, field=name, value=quoted(text), type=type_.text
        ) from None


def _matches_absent(alternative: Alternative) -> bool:
    """Return True if an alternative matches a field that no record has: ``null``, or any other one negated."""
    return (alternative.op is Op.UNSET) is not alternative.negated


def _typed(declared: Field, alternative: Alternative) -> Condition:
    name, type_, operand = declared.name, declared.type, alternative.operand
    made: Any = operand
    if alternative.op is Op.LIKE:
        made = tuple(type_.folded(piece) for piece in operand or ())
    elif isinstance(operand, tuple):
        made = tuple(parsed(type_, name, end) for end in operand)
    elif operand is not None:
        made = parsed(type_, name, operand)
    return Condition(name, alternative.op, made, alternative.negated)


def _split(resource: Resource, clauses: Iterable[Clause], single: Where = ()) -> Filters:
    stored: list[Clause] = []
    rest: list[Clause] = []
    for clause in clauses:
        columns = [_stored(resource.fields[condition.name], condition) for condition in clause]
        compiled = tuple(column for column in columns if column is not None)
        if len(compiled) == len(clause):
            stored.append(compiled)
        else:
            rest.append(clause)
    return Filters(tuple(stored), tuple(rest), single)


def _stored(declared: Field, condition: Condition) -> Condition | None:
    """Return the same condition on the column, or None if no column can evaluate it."""
    if declared.column is None or (condition.op is Op.LIKE and not declared.type.textual):
        return None
    operand = condition.operand
    if condition.op is Op.RANGE:
        operand = tuple(map(declared.type.stored, operand))
    elif condition.op not in {Op.LIKE, Op.UNSET}:
        operand = declared.type.stored(operand)
    return replace(condition, name=declared.column, operand=operand)

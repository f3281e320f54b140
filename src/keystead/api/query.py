"""The check of URL parameters against a resource's declaration. Every method refuses unknown parameters (262179).

This module reads the URL. filtering.py and keystead.core.query define filters and orders. A page begins after a place
in the list, not after a count of records. ``start.<name>`` gives that place for each key of the order. So every page
costs the same, and writes by others do not shift it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from keystead.api.filtering import Filters, parsed, read_filters, read_order, read_words
from keystead.api.parameters import LIST_PARAMETERS, PAGE_LIMIT, READ_PARAMETERS, RETURN_TIMEOUT_S, WRITE_PARAMETERS
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import quoted
from keystead.core.query.where import Order
from keystead.service.ports.page import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.api.resource import Resource
    from keystead.api.values import Parameter, Type
    from keystead.core.query.where import Where

QUERY_LIMIT = 16 * 1024  # bytes of a query string: the HTTP parser has no limit of its own

_START = "start."


@dataclass(frozen=True, slots=True)
class Start:
    """One key of a list's order: the URL parameter of its place, its type, and its getter from a record."""

    parameter: str
    type: Type
    of: Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class GetQuery:
    """What a GET asks for. ``page`` goes to the store; its ``limit`` is the number of records in the answer.

    ``rest`` are the filters that are compared in memory. Elements of nested arrays must meet ``pruned``.
    """

    selected: frozenset[str]
    page: Page
    rest: Where
    pruned: Where
    starts: tuple[Start, ...]
    return_records: bool
    return_timeout: int

    def place(self, view: Any) -> tuple[Any, ...]:
        """Return the place of a record in the list."""
        shown = ((start.type, start.of(view)) for start in self.starts)
        return tuple(None if value is None else type_.stored(type_.comparable(value)) for type_, value in shown)


@dataclass(frozen=True, slots=True)
class WriteQuery:
    """What a write's URL asks for: the common parameters, and the operation's own parameters that were given.

    ``return_timeout`` is None if it was not given. Then it counts as 0 for one object and as 15 for a write by query.
    """

    return_records: bool
    own: Mapping[str, Any]
    return_timeout: int | None = None
    continue_on_failure: bool = False
    ignore_unknown_fields: bool = False

    @property
    def patience(self) -> int:
        """The number of seconds that the answer waits for a job."""
        return self.return_timeout or 0


def read_parameters(query_string: bytes) -> dict[str, str]:
    """Split a query string into decoded names and values. ``+`` is a space.

    Raise 262188 for a name given twice, and 262185 for a text that is too long, is not UTF-8 or holds a NUL.
    """
    if len(query_string) > QUERY_LIMIT:
        reason = f"longer than {QUERY_LIMIT} bytes"
        raise OntapError(errors.INVALID_VALUE, target="query", field="query", reason=reason)
    parameters: dict[str, str] = {}
    for piece in query_string.split(b"&"):
        if not piece:
            continue
        raw_name, _, raw_value = piece.partition(b"=")
        name = _decoded(raw_name, "query")
        shown = quoted(name)
        if name in parameters:
            raise OntapError(errors.FIELD_TWICE, target=shown, field=shown)
        parameters[name] = _decoded(raw_value, shown)
    return parameters


def _decoded(raw: bytes, name: str) -> str:
    try:
        text = unquote_to_bytes(raw.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise OntapError(errors.INVALID_VALUE, target=name, field=name, reason="not UTF-8") from None
    if "\0" in text:
        raise OntapError(errors.INVALID_VALUE, target=name, field=name, reason="holds a NUL")
    return text


def read_get(resource: Resource, parameters: Mapping[str, str], *, single: bool, absent: bool = True) -> GetQuery:
    """Read the parameters of a GET of one object (``single``) or of a collection.

    A collection can be filtered, ordered and split into pages. Filters on one object apply only to elements of its
    nested arrays. Filters on ONTAP's fields without values are refused unless ``absent``.
    """
    return _read_get(resource, tuple(parameters.items()), single=single, absent=absent)


@lru_cache(maxsize=256)
def _read_get(resource: Resource, parameters: tuple[tuple[str, str], ...], *, single: bool, absent: bool) -> GetQuery:
    left = dict(parameters)
    common = {name: _taken(left, name, parameter.type) for name, parameter in READ_PARAMETERS.items()}
    ignore_unknown = bool(common["ignore_unknown_fields"])
    selected = resource.catalogue.select(left.pop("fields", ""), single=single, ignore_unknown=ignore_unknown)
    order: tuple[Order, ...] = ()
    words = Filters()
    after, offset = None, 0
    if not single:
        order = _order(resource, left)
        words = read_words(resource, left.pop("query", None), left.pop("query_fields", None))
        offset = _taken(left, "offset", LIST_PARAMETERS["offset"].type, default=0)
    starts = _starts(resource, order)
    if not single:
        after = _after(order, starts, left)
    filters = read_filters(
        resource, left, ignore_unknown=ignore_unknown, absent=absent and not single, beside=words.comparisons
    )
    for name in filters.names if single else ():
        if not resource.in_array(name):
            raise OntapError(errors.FIELD_NOT_QUERYABLE, target=name, field=name)
    selected |= filters.names
    page = Page(
        where=filters.stored + words.stored,
        order=tuple(Order(_column(resource, key.name), key.descending) for key in order),
        after=after,
        offset=offset,
        limit=min(common["max_records"] or PAGE_LIMIT, PAGE_LIMIT),
        wanted=selected | {condition.name for clause in words.rest for condition in clause},
    )
    return GetQuery(
        selected=selected,
        page=page,
        rest=filters.rest + words.rest,
        pruned=filters.single if common["return_unmatched_nested_array_objects"] is False else (),
        starts=starts,
        return_records=common["return_records"] is not False,
        return_timeout=RETURN_TIMEOUT_S if common["return_timeout"] is None else common["return_timeout"],
    )


def _order(resource: Resource, left: dict[str, str]) -> tuple[Order, ...]:
    if {"order_by", "$orderBy"} <= left.keys():
        raise OntapError(errors.FIELD_TWICE, target="order_by", field="order_by")
    return read_order(resource, left.pop("order_by", left.pop("$orderBy", "")))


def _column(resource: Resource, name: str) -> str:
    """Return the column of a field in the order. Such a field always has a column."""
    return resource.fields[name].column or ""


def _starts(resource: Resource, order: tuple[Order, ...]) -> tuple[Start, ...]:
    """Return the keys of an order, with the list's own key at the end unless the order names it."""
    own, type_, of = resource.order
    starts = tuple(
        Start(_START + key.name, resource.fields[key.name].type, _first_value(resource, key.name)) for key in order
    )
    if any(_column(resource, key.name) == own for key in order):
        return starts
    return (*starts, Start(_START + own, type_, of))


def _first_value(resource: Resource, name: str) -> Callable[[Any], Any]:
    return lambda view: next(resource.values(view, name), None)


def _after(order: tuple[Order, ...], starts: tuple[Start, ...], left: dict[str, str]) -> tuple[Any, ...] | None:
    """Return the place where the list continues, or None for its beginning.

    The URL leaves out unset values, and empty texts because some clients lose them. They count as None. Raise 262212 if
    only the list's own key is missing.
    """
    given = {start: left.pop(start.parameter) for start in starts if start.parameter in left}
    if not given:
        return None
    after = []
    for place, start in enumerate(starts):
        if start in given:
            after.append(start.type.stored(parsed(start.type, start.parameter, given[start])))
        elif place < len(order):
            after.append(None)
        else:
            raise OntapError(errors.MISSING_VALUE, target=start.parameter, field=start.parameter)
    return tuple(after)


def read_write(
    resource: Resource, parameters: Mapping[str, str], method: str, own: Mapping[str, Parameter] | None = None
) -> WriteQuery:
    """Read the parameters of a write: the common ones and the operation's ``own``. Refuse all others."""
    left = dict(parameters)
    given = {name: _taken(left, name, parameter.type) for name, parameter in (own or {}).items() if name in left}
    common = {name: _taken(left, name, parameter.type) for name, parameter in WRITE_PARAMETERS.items()}
    if left:
        raise refused_in_write(resource, next(iter(left)), method)
    return WriteQuery(
        return_records=bool(common["return_records"]),
        own=given,
        return_timeout=common["return_timeout"],
        continue_on_failure=bool(common["continue_on_failure"]),
        ignore_unknown_fields=bool(common["ignore_unknown_fields"]),
    )


def refused_in_write(resource: Resource, name: str, method: str) -> OntapError:
    """Return the error for a parameter that a write does not accept."""
    declared = resource.fields.get(name)
    if name in {"query", "query_fields"}:
        kind = errors.QUERY_ONLY_IN_GET
    elif declared is not None and declared.secret:
        kind = errors.SECRET_IN_URL
    elif method == "POST" and (declared is not None or resource.catalogue.is_absent(name)):
        kind = errors.POST_FILTER
    else:
        kind = errors.UNEXPECTED_ARGUMENT
    return OntapError(kind, target=quoted(name), field=quoted(name))


def next_page(path: str, parameters: Mapping[str, str], query: GetQuery, last: Any, offset: int = 0) -> str:
    """Return the path and query of the page after the record ``last``, which keeps all other parameters.

    ``offset`` is the number of records that must still be left out.
    """
    kept = {name: value for name, value in parameters.items() if not name.startswith(_START) and name != "offset"}
    for start in query.starts:
        value = start.of(last)
        if value is not None:
            kept[start.parameter] = str(value)
    if offset:
        kept["offset"] = str(offset)
    return f"{path}?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in kept.items())


def _taken(left: dict[str, str], name: str, type_: Type, *, default: Any = None) -> Any:
    return parsed(type_, name, left.pop(name)) if name in left else default

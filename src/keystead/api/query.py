"""URL parameters against a resource's declaration. Whatever is not known is refused (262179), in every method.

Reading the URL is here; what ``fields``, filters and pages mean is keystead.core.query. A page is found again by its
position (``start.<name>``), not by an offset, so that it costs the same wherever it stands in the list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote_to_bytes

from keystead.api.values import BOOLEAN, Type, integer
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query import Equals, Read, check_literal, quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.api.resource import Resource

PAGE_LIMIT = 10_000  # records of one answer, ONTAP's own cap
QUERY_LIMIT = 16 * 1024  # bytes of a query string: the HTTP parser has no limit of its own
RETURN_TIMEOUT_S = 15  # how long a GET collects records, by default

_MAX_RECORDS = integer(1, 2**31 - 1)
_RETURN_TIMEOUT = integer(0, 120)
_START = "start."

WRITE_PARAMETERS = {
    "return_records": BOOLEAN,
    "return_timeout": _RETURN_TIMEOUT,
    "continue_on_failure": BOOLEAN,
    "serial_records": BOOLEAN,
    "ignore_unknown_fields": BOOLEAN,
    "pretty": BOOLEAN,
}
"""What every write accepts. Records are always written one after the other, whatever ``serial_records`` says."""


@dataclass(frozen=True, slots=True)
class GetQuery:
    """What a GET asks for. ``columns`` are the filters that the store can answer, ``rest`` says if others remain."""

    selected: frozenset[str]
    filters: tuple[Equals, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    rest: bool = False
    limit: int = PAGE_LIMIT
    after: str | int | None = None
    return_records: bool = True
    return_timeout: int = RETURN_TIMEOUT_S


@dataclass(frozen=True, slots=True)
class WriteQuery:
    """What a write's URL asks for: the common parameters, and the operation's own that were given.

    ``return_timeout`` is None when it was not given: a write of one object takes it as 0, one by query as 15.
    """

    return_records: bool
    own: Mapping[str, Any]
    return_timeout: int | None = None
    continue_on_failure: bool = False
    ignore_unknown_fields: bool = False

    @property
    def patience(self) -> int:
        """Seconds that the answer waits for a job."""
        return self.return_timeout or 0


def read_parameters(query_string: bytes) -> dict[str, str]:
    """Split a query string into decoded names and values; ``+`` is a space.

    Raises 262188 for a name given twice, 262185 for what is no UTF-8 text or too long.
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


def read_get(resource: Resource, parameters: Mapping[str, str], *, single: bool) -> GetQuery:
    """Read the parameters of a GET: of one object with ``single``, else of a collection, which can be filtered."""
    left = dict(parameters)
    _taken(left, "pretty", BOOLEAN)
    limit = _taken(left, "max_records", _MAX_RECORDS, default=PAGE_LIMIT)
    return_records = _taken(left, "return_records", BOOLEAN, default=True)
    return_timeout = _taken(left, "return_timeout", _RETURN_TIMEOUT, default=RETURN_TIMEOUT_S)
    selected = resource.catalogue.select(left.pop("fields", ""), single=single)
    start, type_, _ = resource.order
    after = None if single else _taken(left, _START + start, type_)
    filters: list[Equals] = []
    columns: dict[str, Any] = {}
    rest = False
    for name, text in left.items():
        found = _filter(resource, name, text, single=single)
        compiled = resource.fields[name].equals
        answered = compiled(found.value) if compiled else {}
        rest = rest or not answered or bool(columns.keys() & answered.keys())
        columns.update(answered)
        filters.append(found)
    return GetQuery(
        selected=selected | {found.field for found in filters},
        filters=tuple(filters),
        columns=columns,
        rest=rest,
        limit=min(limit, PAGE_LIMIT),
        after=after,
        return_records=return_records,
        return_timeout=return_timeout,
    )


def read_write(
    resource: Resource, parameters: Mapping[str, str], method: str, own: Mapping[str, Type] | None = None
) -> WriteQuery:
    """Read the parameters of a write: the common ones and the operation's ``own``; in POST, fields are refused."""
    left = dict(parameters)
    given = {name: _taken(left, name, type_) for name, type_ in (own or {}).items() if name in left}
    common = {name: _taken(left, name, type_) for name, type_ in WRITE_PARAMETERS.items()}
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
    """The error for a parameter that a write does not take."""
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


def next_page(path: str, parameters: Mapping[str, str], resource: Resource, after: str | int) -> str:
    """The path and query of the page after ``after``: every parameter is carried."""
    kept = {name: value for name, value in parameters.items() if not name.startswith(_START)}
    kept[_START + resource.order[0]] = str(after)
    return f"{path}?" + "&".join(f"{quote(name)}={quote(value, safe='')}" for name, value in kept.items())


def _filter(resource: Resource, name: str, text: str, *, single: bool) -> Equals:
    shown = quoted(name)
    declared = resource.fields.get(name)
    if declared is None and not resource.catalogue.is_absent(name):
        raise OntapError(errors.UNEXPECTED_ARGUMENT, target=shown, field=shown)
    if declared is None or declared.read is Read.NEVER or single:
        raise OntapError(errors.FIELD_NOT_QUERYABLE, target=shown, field=shown)
    check_literal(name, text)
    return Equals(name, _parsed(declared.type, name, text))


def _taken(left: dict[str, str], name: str, type_: Type, *, default: Any = None) -> Any:
    return _parsed(type_, name, left.pop(name)) if name in left else default


def _parsed(type_: Type, name: str, text: str) -> Any:
    try:
        return type_.parse(text)
    except ValueError:
        raise OntapError(
            errors.INVALID_FIELD_VALUE, target=name, field=name, value=quoted(text), type=type_.text
        ) from None

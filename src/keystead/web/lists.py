"""What lists have in common that are read from the newest to the oldest: values of a filter, and places. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.where import Condition, Op

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from keystead.core.query.where import Clause, Where

TEXT_LIMIT: Final = 255

FROM: Final = "from"
UNTIL: Final = "until"
"""The names of the fields that bound the time."""

AFTER: Final = "after"
"""The name of the parameter that says after which row a page begins."""


def text_of(asked: Mapping[str, str], name: str) -> str:
    """Return a text of a filter, empty if none was given. Raises 262185 (400) if it is long or cannot be printed."""
    text = asked.get(name, "").strip()
    if len(text) > TEXT_LIMIT:
        raise invalid(name, f"it has more than {TEXT_LIMIT} characters")
    if not text.isprintable():
        raise invalid(name, "it has characters that cannot be printed")
    return text


def choice_of(asked: Mapping[str, str], name: str, choices: Collection[str]) -> str:
    """Return a choice of a filter, empty for all. Raises 262185 (400) if there is no such choice."""
    chosen = asked.get(name, "")
    if chosen and chosen not in choices:
        raise invalid(name, "there is no such choice")
    return chosen


def time_of(asked: Mapping[str, str], name: str) -> datetime | None:
    """Return a time of a filter, None if none was given. Raises 262185 (400)."""
    text = text_of(asked, name)
    return time_in(text, name) if text else None


def time_in(text: str, name: str) -> datetime:
    """Return the time in a text, in UTC. A time without a zone is one in UTC. Raises 262185 (400) about ``name``."""
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise invalid(name, "it is no time such as 2026-03-01T12:00") from None


def within_times(asked: Mapping[str, str], column: str) -> Where:
    """Return the conditions on the time of a row: not before ``from``, and before ``until``."""
    begin, end = time_of(asked, FROM), time_of(asked, UNTIL)
    bounds = ((begin, Op.AT_LEAST), (end, Op.LESS))
    return tuple((Condition(column, op, time),) for time, op in bounds if time is not None)


def equals(column: str, value: str) -> Where:
    """Return the condition that a column has this value; none for an empty value."""
    return ((Condition(column, Op.EQUAL, value),),) if value else ()


def contains(text: str, *columns: str) -> Where:
    """Return the condition that one of the columns has this text in it; none for an empty text."""
    clause: Clause = tuple(Condition(column, Op.LIKE, ("", text, "")) for column in columns)
    return (clause,) if text else ()


def path_with(path: str, given: Mapping[str, str]) -> str:
    """Return a path with those parameters that have a value."""
    query = urlencode({name: value for name, value in given.items() if value})
    return f"{path}?{query}" if query else path


def first_row(text: str) -> int:
    """Return the number of the entry with which a page of the list begins. Raises 262185 (400) if it is none."""
    if text and not re.fullmatch(r"[0-9]{1,7}", text):
        raise invalid("from", "it is no place in the list")
    return int(text or "0")


def invalid(field: str, reason: str) -> OntapError:
    """Return the error for a bad value of a field."""
    return OntapError(errors.INVALID_VALUE, target=field, field=field, reason=reason)

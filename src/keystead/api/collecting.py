"""The records of one answer: read in steps until the page is full, the list ends or the time is over."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.filtering import matches
from keystead.api.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from keystead.api.query import GetQuery
    from keystead.api.resource import Resource
    from keystead.core.query.where import Where
    from keystead.service.ports.page import Page

_STEP = 1000  # records read at a time, at most
_LEAST_S = 0.05  # minimum time to compare the records of a step, so that every answer makes progress


class Found(NamedTuple):
    """The records of one page, and the place where the list continues.

    ``last`` is the record after which the list continues, or None at the end of the list. ``offset`` is the number of
    records after ``last`` that must still be left out.
    """

    views: Sequence[Any]
    last: Any = None
    offset: int = 0


async def collect(resource: Resource, query: GetQuery, read: Callable[[Page], Awaitable[Sequence[Any]]]) -> Found:
    """Read the records that a GET asks for. Compare in memory the filters that the store cannot evaluate."""
    ends = time.monotonic() + query.return_timeout
    limit, page = query.page.limit, query.page
    offset = page.offset if query.rest else 0  # the store cannot count records that are filtered in memory
    page = replace(page, offset=page.offset - offset)
    found: list[Any] = []
    step = 0
    while True:
        step = min(_STEP, max(limit + 1 - len(found), 2 * step if query.rest else 0))
        rows = await read(replace(page, limit=step))
        matching, compared = await _matching(resource, query.rest, rows, ends)
        found += matching[offset:]
        offset = max(0, offset - len(matching))
        if len(found) > limit:
            return Found(found[:limit], found[limit - 1])
        if compared == len(rows) < step:
            return Found(found)
        last = rows[compared - 1]
        page = replace(page, after=query.place(last), offset=0)
        if time.monotonic() > ends:
            return Found(found, last, offset)


async def _matching(resource: Resource, where: Where, rows: Sequence[Any], ends: float) -> tuple[list[Any], int]:
    """Return the records that match, and the number of records compared.

    All records are compared unless the time ends first.
    """
    ends = max(ends, time.monotonic() + _LEAST_S)
    matching: list[Any] = []
    turns = Turns()
    for compared, view in enumerate(rows, 1):
        if matches(resource, where, view):
            matching.append(view)
        if time.monotonic() > ends:
            return matching, compared
        await turns.pause()
    return matching, len(rows)

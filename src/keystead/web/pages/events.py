"""``/events``: what the nodes reported about key servers, keys and certificates, the newest first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.console_paths import EVENTS
from keystead.web.declaration import Page
from keystead.web.events import SEVERITIES, event_page, event_row, event_values, older_events
from keystead.web.lists import AFTER
from keystead.web.rendering import page
from keystead.web.shell import shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest

ROWS: Final = 50


async def events(request: PageRequest) -> Response:
    """Show a page of the events."""
    asked = request.http.query_params
    found = await request.services.events.page(request.call, event_page(asked, ROWS + 1))
    context = {
        "rows": [event_row(view) for view in found[:ROWS]],
        "wanted": event_values(asked),
        "severities": SEVERITIES,
        "is_first": AFTER not in asked,
        "next": older_events(asked, found[ROWS - 1]) if len(found) > ROWS else "",
    }
    return page("events.html", await shell(request, EVENTS) | context)


PAGES: Final = (Page(EVENTS, events, needs=(("GET", "/api/support/ems/events"),)),)

"""``/``: what needs attention, the key managers with their servers, and when certificates end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.web.declaration import Page
from keystead.web.overview import HORIZON, TIMELINE_ROWS, folded, rows, timeline, verdict
from keystead.web.rendering import page
from keystead.web.shell import ATTENTION, shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest

EVENTS: Final = "/api/support/ems/events"
KEY_SERVERS: Final = "/api/security/key-managers/-/key-servers/-"


async def overview(request: PageRequest) -> Response:
    """Show the overview."""
    found = await request.services.attention.overview(request.call)
    sees_history = request.may("GET", EVENTS)
    outages = await request.services.attention.outages(request.call) if sees_history else {}
    shown, hidden = rows(found, outages)
    ends = timeline(found)
    context = {
        "found": found,
        "verdict": verdict(found),
        "rows": shown,
        "folded": folded(hidden),
        "managers": len(found.managers),
        "ends": ends[:TIMELINE_ROWS],
        "later_ends": len(ends[TIMELINE_ROWS:]),
        "horizon": HORIZON.days,
        "sees_history": sees_history,
        "sees_servers": request.may("GET", KEY_SERVERS),
    }
    return page("overview.html", await shell(request, "/", found.items) | context)


PAGES: Final = (Page("/", overview, needs=(("GET", ATTENTION),)),)

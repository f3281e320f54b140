"""``/developer``: the version, the descriptions of the API, and a first call that really runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead import __version__
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.web.declaration import Page
from keystead.web.developer import CA_FILE, first_calls
from keystead.web.rendering import page
from keystead.web.shell import shell

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.web.request import PageRequest

DEVELOPER: Final = "/developer"
CLUSTER: Final = "/api/cluster"


async def developer(request: PageRequest) -> Response:
    """Show the page. Raises 262185 for a ``Host`` that is no address."""
    origin = request.origin or f"https://{request.http.headers.get('host', '')}"
    try:
        calls = first_calls(origin, request.caller.account)
    except ValueError:
        reason = "it is no host with a port"
        raise OntapError(errors.INVALID_VALUE, target="host", field="host", reason=reason) from None
    context = {"version": __version__, "origin": origin, "calls": calls, "ca_file": CA_FILE}
    return page("developer.html", await shell(request, DEVELOPER) | context)


PAGES: Final = (Page(DEVELOPER, developer, needs=(("GET", CLUSTER),)),)

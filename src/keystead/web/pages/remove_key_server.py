"""The pages that remove a key server, and that guide through its replacement by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.errors import OntapError
from keystead.service.cluster.svms import about_svm
from keystead.web.declaration import Page
from keystead.web.links import KEY_SERVERS
from keystead.web.pages.key_servers import API_SERVER, EXTERNAL, ONE, about, details, vserver
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.replacing import against, candidates, steps
from keystead.web.server_forms import invalid
from keystead.web.shell import shell
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.service.configuration.key_server_details import KeyServerDetails
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

REMOVE: Final = f"{ONE}/remove"
REPLACE: Final = f"{ONE}/replace"
CONFIRMED: Final = "yes"


async def remove_form(request: PageRequest) -> Response:
    """Show what stands against the removal, and ask for a confirmation."""
    return await _form(request, await details(request))


async def remove(request: PageRequest) -> Response:
    """Remove the key server and show the others; or say what holds it up."""
    found = await details(request)
    try:
        if request.form.get("confirmed") != CONFIRMED:
            raise invalid("confirmed", "say that you mean it")
        await _remove(request, found)
    except OntapError as error:
        return await _form(request, found, error)
    return redirect(KEY_SERVERS)


async def _remove(request: PageRequest, found: KeyServerDetails) -> None:
    services, call = request.services.key_servers, request.call
    state = await services.state(call, found.key_manager.uuid)
    with about_svm(state.key_manager.svm):
        await services.remove(call, state, found.server.address)


async def _form(request: PageRequest, found: KeyServerDetails, error: OntapError | None = None) -> Response:
    context = about(found) | {
        "against": against(found),
        "ways": _ways(request, found),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("remove_key_server.html", await shell(request, KEY_SERVERS) | context, status)


def _ways(request: PageRequest, found: KeyServerDetails) -> Ways:
    address = str(found.server.address)
    cli = command(*EXTERNAL, "remove-servers", vserver=vserver(found.key_manager.svm), key_servers=address)
    return ways(request, cli, "DELETE", API_SERVER.format(uuid=found.key_manager.uuid, server=address))


async def replace(request: PageRequest) -> Response:
    """Show the four steps of a replacement, and where it is. ``?new=`` is the uuid of the new server."""
    found = await details(request)
    others = candidates(found)
    new = request.http.query_params.get("new", "")
    new = new if new in others else ""
    context = about(found) | {"steps": steps(found, new), "others": others, "new": new}
    return page("replace_key_server.html", await shell(request, KEY_SERVERS) | context)


_NEEDS: Final = (("DELETE", API_SERVER),)

PAGES: Final = (
    Page(REMOVE, remove_form, needs=_NEEDS),
    Page(REMOVE, remove, needs=_NEEDS, method="POST"),
    Page(REPLACE, replace, needs=_NEEDS),
)

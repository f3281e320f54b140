"""The pages that remove a key server, and that guide through its replacement by another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from keystead.core.console_paths import KEY_SERVERS
from keystead.core.errors import OntapError
from keystead.core.key_servers import MAX_PRIMARIES
from keystead.service.cluster.svms import about_svm
from keystead.service.configuration.key_server_removal import AT_ONCE_S
from keystead.web.declaration import Page
from keystead.web.jobs import job_path
from keystead.web.links import add_path
from keystead.web.lists import invalid
from keystead.web.pages.key_servers import API, API_SERVER, EXTERNAL, ONE, about, of_path, stored
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.replacing import against, candidates, steps
from keystead.web.shell import shell
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from starlette.responses import Response

    from keystead.core.model import KeyManager, KeyServer
    from keystead.service.keys.reporting.survival import Outlook
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

REMOVE: Final = f"{ONE}/remove"
REPLACE: Final = f"{ONE}/replace"
CONFIRMED: Final = "yes"


async def remove_form(request: PageRequest) -> Response:
    """Show what stands against the removal, and ask for a confirmation."""
    return await _form(request)


async def remove(request: PageRequest) -> Response:
    """Remove the key server and show the others; or show the job that removes it, or what holds it up."""
    state, server = await stored(request)
    key_servers = request.services.key_servers
    try:
        if request.form.get("confirmed") != CONFIRMED:
            raise invalid("confirmed", "say that you mean it")
        with about_svm(state.key_manager.svm):
            job = await key_servers.removals.job(state, server.address)
            at_once = partial(key_servers.remove, request.call, state, server.address, within_s=AT_ONCE_S)
            ran = await request.services.jobs.run_at_once_or_in_steps(request.call, job, at_once)
    except OntapError as error:
        return await _form(request, error)
    return redirect(job_path(ran.job.uuid) if ran else KEY_SERVERS)


async def _outlook(request: PageRequest) -> tuple[Outlook, KeyServer]:
    """Return what the keys would survive, and the key server of the page's path. Raises 4 (404)."""
    found = await request.services.key_survival.outlook(request.call, request.value("uuid"))
    return found, of_path(request, found.servers)


async def _form(request: PageRequest, error: OntapError | None = None) -> Response:
    found, server = await _outlook(request)
    context = about(server, found.vserver) | {
        "against": against(found, server),
        "ways": _ways(request, found.manager, server),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("remove_key_server.html", await shell(request, KEY_SERVERS) | context, status)


def _ways(request: PageRequest, manager: KeyManager, server: KeyServer) -> Ways:
    address = str(server.address)
    cli = command(*EXTERNAL, "remove-servers", vserver=vserver(manager.svm), key_servers=address)
    return ways(request, cli, "DELETE", API_SERVER.format(uuid=manager.uuid, server=address))


async def replace(request: PageRequest) -> Response:
    """Show the four steps of a replacement, and where it is. ``?new=`` is the uuid of the new server."""
    found, server = await _outlook(request)
    others = candidates(found, server)
    new = request.http.query_params.get("new", "")
    new = new if new in others else ""
    context = about(server, found.vserver) | {
        "steps": steps(found, server, new),
        "others": others,
        "new": new,
        "add_path": add_path(found.manager.uuid),
        "is_full": len(found.servers) == MAX_PRIMARIES,
    }
    return page("replace_key_server.html", await shell(request, KEY_SERVERS) | context)


_NEEDS: Final = (("DELETE", API_SERVER), ("GET", f"{API}/key-survival"))

PAGES: Final = (
    Page(REMOVE, remove_form, needs=_NEEDS),
    Page(REMOVE, remove, needs=_NEEDS, method="POST"),
    Page(REPLACE, replace, needs=_NEEDS),
)

"""``/key-servers`` and the page of one key server: how it stands and why, and a probe of it now."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.core.console_paths import KEY_SERVERS, key_server_path
from keystead.core.errors import OntapError
from keystead.core.key_servers import find
from keystead.core.server_address import ServerAddress
from keystead.service.cluster.svms import about_svm
from keystead.web.declaration import Page
from keystead.web.key_servers import PAGE, SHOWN_OUTAGES, manager_rows, server_rows, server_view
from keystead.web.lists import first_row
from keystead.web.rendering import page
from keystead.web.shell import shell
from keystead.web.tones import in_words
from keystead.web.tracks import tracks_of
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from starlette.responses import Response

    from keystead.core.key_servers import ServersState
    from keystead.core.model import KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.service.configuration.key_server_details import KeyServerDetails
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

ONE: Final = "/key-managers/{uuid}/key-servers/{server}"
API: Final = "/api/security/key-managers/{uuid}"
API_SERVERS: Final = f"{API}/key-servers"
API_SERVER: Final = f"{API_SERVERS}/{{server}}"
EXTERNAL: Final = ("security", "key-manager", "external")
"""The words of the CLI's commands about key servers."""


async def key_servers(request: PageRequest) -> Response:
    """Show all primaries that the account may see, the worst first."""
    found = await request.services.attention.overview(request.call)
    text = request.http.query_params.get("text", "")
    rows = server_rows(found, text)
    first = first_row(request.http.query_params.get("from", ""))
    context = {
        "rows": rows[first : first + PAGE],
        "total": len(rows),
        "words": in_words(row.tone for row in rows),
        "first": first,
        "following": first + PAGE if first + PAGE < len(rows) else None,
        "text": text,
        "managers": manager_rows(found),
    }
    return page("key_servers.html", await shell(request, KEY_SERVERS, found.items) | context)


async def key_server(request: PageRequest) -> Response:
    """Show one key server."""
    return await _shown(request)


async def probe(request: PageRequest) -> Response:
    """Probe the key server as it is stored, and show what was found above everything else."""
    state, server = await stored(request)
    with about_svm(state.key_manager.svm):
        results = await request.services.key_servers.probe(request.call, state, (server.address,))
    return await _shown(request, results)


async def stored(request: PageRequest) -> tuple[ServersState, KeyServer]:
    """Return the key server of the page's path, with the state that a change of it begins with.

    Raises 4 (404) if there is none that the account may see.
    """
    state = await request.services.key_servers.state(request.call, request.value("uuid"))
    return state, of_path(request, state.servers)


def of_path(request: PageRequest, servers: Iterable[KeyServer]) -> KeyServer:
    """Return the one among key servers that the page's path names. Raises 4 (404) if it is not among them."""
    server = find(servers, _address(request))
    if server is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
    return server


def _address(request: PageRequest) -> ServerAddress:
    try:
        return ServerAddress.parse(request.value("server"))
    except ValueError:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server") from None


def about(server: KeyServer, vserver: str) -> dict[str, Any]:
    """Return what every page about one key server shows of it. ``vserver`` is its SVM, or the cluster."""
    address = str(server.address)
    return {
        "server": server,
        "address": address,
        "server_path": key_server_path(server.key_manager, address),
        "vserver": vserver,
        "api": API.format(uuid=server.key_manager),
        "key_servers_path": KEY_SERVERS,
    }


async def _shown(request: PageRequest, results: Sequence[ProbeResult] = ()) -> Response:
    found = await request.services.key_server_reports.details(request.call, request.value("uuid"), _address(request))
    now = datetime.now(UTC)
    context = about(found.server, found.vserver) | {
        "details": found,
        "view": server_view(found),
        "probed": [track for result in results for track in tracks_of(result, now)],
        "shown_outages": SHOWN_OUTAGES,
        "ways": _ways(request, found),
    }
    return page("key_server.html", await shell(request, KEY_SERVERS) | context)


def _ways(request: PageRequest, found: KeyServerDetails) -> Ways:
    address = str(found.server.address)
    cli = command(*EXTERNAL, "probe", vserver=vserver(found.key_manager.svm), key_servers=address)
    path = f"{API.format(uuid=found.key_manager.uuid)}/probe"
    return ways(request, cli, "POST", path, {"servers": [address]})


PAGES: Final = (
    Page(KEY_SERVERS, key_servers, needs=(("GET", "/api/support/attention"), ("GET", "/api/security/key-managers"))),
    Page(ONE, key_server, needs=(("GET", API_SERVER),)),
    Page(ONE, probe, needs=(("POST", f"{API}/probe"),), method="POST"),
)

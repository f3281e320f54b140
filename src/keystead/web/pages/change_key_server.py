"""The page that changes a key server: try the change (nothing is stored), or store it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from keystead.core.console_paths import KEY_SERVERS, key_server_path
from keystead.core.errors import OntapError
from keystead.service.cluster.svms import about_svm
from keystead.web.certificates import shown_again
from keystead.web.declaration import Page
from keystead.web.pages.key_servers import API_SERVER, EXTERNAL, ONE, about, stored
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.server_forms import CHANGES, PASSWORD, change_of, typed_changes, values_of
from keystead.web.shell import shell
from keystead.web.tracks import tracks_of
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from keystead.core.key_servers import ServersState
    from keystead.core.model import KeyServer, Svm
    from keystead.core.probing import ProbeResult
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

CHANGE: Final = f"{ONE}/change"
TRY: Final = "try"
NONE: Final = "-"
"""The command's word for no secondaries. The API's is the empty list."""

_IN_CLI: Final = set(CHANGES) - {"replication_domain"}
"""The fields that the command has options for."""


async def change_form(request: PageRequest) -> Response:
    """Show the form with the key server as it is."""
    state, server = await stored(request)
    return await _form(request, state, server, values_of(server))


async def change(request: PageRequest) -> Response:
    """Store the change and show the server, or only try it; or show the form again, with the reason."""
    services = request.services.key_servers
    state, server = await stored(request)
    values = shown_again(request.form, CHANGES)
    try:
        wanted = change_of(server, request.form)
        with about_svm(state.key_manager.svm):
            if request.form.get("do") == TRY:
                results = await services.dry_run(request.call, state, wanted)
                return await _form(request, state, server, values, results=results)
            changed = await services.modify(request.call, state, wanted)
    except OntapError as error:
        return await _form(request, state, server, values, error=error)
    return redirect(key_server_path(changed.key_manager, str(changed.address)))


async def _form(
    request: PageRequest,
    state: ServersState,
    server: KeyServer,
    values: Mapping[str, str],
    results: Sequence[ProbeResult] | None = None,
    error: OntapError | None = None,
) -> Response:
    now = datetime.now(UTC)
    svm = state.key_manager.svm
    context = about(server, svm.name if svm else state.cluster.name) | {
        "typed": values,
        "tried": [track for result in results or () for track in tracks_of(result, now)],
        "ways": _ways(request, svm, server, values),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("change_key_server.html", await shell(request, KEY_SERVERS) | context, status)


def _ways(request: PageRequest, svm: Svm | None, server: KeyServer, values: Mapping[str, str]) -> Ways:
    """Return the ways to make the change that is typed. It is that of the time-out if nothing can be changed so."""
    try:
        changes = typed_changes(server, values)
    except OntapError:
        changes = {}
    if request.form.get("password") or changes.get("username"):
        body = changes | {"password": PASSWORD}
        cli = {"username": server.username} | changes  # the command asks for the password of this user
    else:
        body = cli = changes or {"timeout": server.timeout}
    text = "" if set(cli) - _IN_CLI else _command(svm, server, cli)
    path = API_SERVER.format(uuid=server.key_manager, server=str(server.address))
    return ways(request, text, "PATCH", path, body)


def _command(svm: Svm | None, server: KeyServer, changes: Mapping[str, Any]) -> str:
    texts = {name: str(value) for name, value in changes.items()}
    if "secondary_key_servers" in changes:
        texts["secondary_key_servers"] = ",".join(changes["secondary_key_servers"]) or NONE
    words = [word for name, text in texts.items() for word in (f"--{name.replace('_', '-')}", text)]
    where = {"vserver": vserver(svm), "key_server": str(server.address)}
    return command(*EXTERNAL, "modify-server", *words, **where)


_NEEDS: Final = (("PATCH", API_SERVER),)

PAGES: Final = (
    Page(CHANGE, change_form, needs=_NEEDS),
    Page(CHANGE, change, needs=_NEEDS, method="POST"),
)

"""The page that changes a key server: try the change (nothing is stored), or store it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from keystead.core.errors import OntapError
from keystead.service.cluster.svms import about_svm
from keystead.web.certificates import shown_again
from keystead.web.declaration import Page
from keystead.web.links import KEY_SERVERS, key_server_path
from keystead.web.pages.key_servers import API_SERVER, EXTERNAL, ONE, about, details, vserver
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.server_forms import CHANGES, NUMBERS, change_of, values_of
from keystead.web.shell import shell
from keystead.web.tracks import tracks_of
from keystead.web.ways import command, ways

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from keystead.core.key_servers import ModifyRequest
    from keystead.core.probing import ProbeResult
    from keystead.core.server_address import ServerAddress
    from keystead.service.configuration.key_server_details import KeyServerDetails
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

CHANGE: Final = f"{ONE}/change"
TRY: Final = "try"
_IN_CLI: Final = {"timeout", "create_remove_timeout", "port", "tls_server_name", "username"}


async def change_form(request: PageRequest) -> Response:
    """Show the form with the key server as it is."""
    found = await details(request)
    return await _form(request, found, values_of(found.server))


async def change(request: PageRequest) -> Response:
    """Store the change and show the server, or only try it; or show the form again, with the reason."""
    found = await details(request)
    values = shown_again(request.form, CHANGES)
    try:
        wanted = change_of(found.server, request.form)
        if request.form.get("do") == TRY:
            return await _form(request, found, values, results=await _try(request, found, wanted))
        changed = await _store(request, found, wanted)
    except OntapError as error:
        return await _form(request, found, values, error=error)
    return redirect(key_server_path(found.key_manager.uuid, str(changed)))


async def _try(request: PageRequest, found: KeyServerDetails, wanted: ModifyRequest) -> Sequence[ProbeResult]:
    services, call = request.services.key_servers, request.call
    state = await services.state(call, found.key_manager.uuid)
    with about_svm(state.key_manager.svm):
        return await services.dry_run(call, state, wanted)


async def _store(request: PageRequest, found: KeyServerDetails, wanted: ModifyRequest) -> ServerAddress:
    """Store the change, and return the address afterwards."""
    services, call = request.services.key_servers, request.call
    state = await services.state(call, found.key_manager.uuid)
    with about_svm(state.key_manager.svm):
        return (await services.modify(call, state, wanted)).address


async def _form(
    request: PageRequest,
    found: KeyServerDetails,
    values: Mapping[str, str],
    results: Sequence[ProbeResult] | None = None,
    error: OntapError | None = None,
) -> Response:
    now = datetime.now(UTC)
    context = about(found) | {
        "typed": values,
        "tried": [track for result in results or () for track in tracks_of(result, now)],
        "ways": _ways(request, found, values),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("change_key_server.html", await shell(request, KEY_SERVERS) | context, status)


def _ways(request: PageRequest, found: KeyServerDetails, values: Mapping[str, str]) -> Ways:
    """Return the ways to make the change that is typed; that of the time-out if nothing differs."""
    before, address = values_of(found.server), str(found.server.address)
    changed = {name: value for name, value in values.items() if value != before[name]} or {"timeout": values["timeout"]}
    secondaries = changed.pop("secondary_key_servers", "").replace("\n", ",")
    cli = command(
        *(*EXTERNAL, "modify-server"),
        vserver=vserver(found.key_manager.svm),
        key_server=address,
        secondary_key_servers=secondaries,
        **{name: value for name, value in changed.items() if name in _IN_CLI},
    )
    body: dict[str, Any] = {
        name: int(value) if value.isdecimal() and name in NUMBERS else value for name, value in changed.items()
    }
    if secondaries:
        body["secondary_key_servers"] = secondaries.split(",")
    path = API_SERVER.format(uuid=found.key_manager.uuid, server=address)
    return ways(request, cli, "PATCH", path, body)


_NEEDS: Final = (("PATCH", API_SERVER),)

PAGES: Final = (
    Page(CHANGE, change_form, needs=_NEEDS),
    Page(CHANGE, change, needs=_NEEDS, method="POST"),
)

"""The page that adds key servers to a key manager: addresses, diagnosis, which fail together, confirm.

Each step is a form of its own. What was typed travels in fields; a password is typed again.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from keystead.core.console_paths import KEY_SERVERS, key_server_path
from keystead.core.errors import OntapError
from keystead.core.key_servers import MAX_PRIMARIES
from keystead.service.cluster.svms import about_svm
from keystead.web.certificates import shown_again
from keystead.web.declaration import Page
from keystead.web.diagnosis import diagnosis
from keystead.web.independence import together
from keystead.web.links import add_path
from keystead.web.pages.key_servers import API, API_SERVERS, EXTERNAL
from keystead.web.refusing import refusal
from keystead.web.rendering import page, redirect
from keystead.web.server_forms import NEW, new_servers, typed_records
from keystead.web.shell import shell
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

    from keystead.core.key_servers import AddRequest, ServersState
    from keystead.core.probing import ProbeResult
    from keystead.web.diagnosis import Diagnosis
    from keystead.web.independence import Together
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

ADD: Final = "/key-managers/{uuid}/key-servers/add"
STORE: Final = "add"


async def add_form(request: PageRequest) -> Response:
    """Show the form for the addresses."""
    return await _form(request, await _state(request))


async def add(request: PageRequest) -> Response:
    """Diagnose the key servers, or add them; or show the form again, with the reason.

    After an addition comes the list, or the replacement that the new server is for.
    """
    state = await _state(request)
    try:
        wanted = new_servers(request.form)
        with about_svm(state.key_manager.svm):
            if request.form.get("do") != STORE:
                results = await request.services.key_servers.dry_run(request.call, state, wanted)
                return await _form(request, state, wanted=wanted, results=results)
            added = await request.services.key_servers.add(request.call, state, wanted)
    except OntapError as error:
        return await _form(request, state, error=error)
    old = _replaced(request, state)
    if old:
        return redirect(f"{key_server_path(state.key_manager.uuid, old)}/replace?new={added[0].uuid}")
    return redirect(KEY_SERVERS)


def _replaced(request: PageRequest, state: ServersState) -> str:
    """Return the address of the server that is replaced by a new one, empty if none is."""
    wanted = request.form.get("replaces") or request.http.query_params.get("replaces", "")
    return wanted if wanted in {str(each.address) for each in state.servers} else ""


async def _state(request: PageRequest) -> ServersState:
    return await request.services.key_servers.state(request.call, request.value("uuid"))


async def _form(
    request: PageRequest,
    state: ServersState,
    *,
    wanted: AddRequest | None = None,
    results: Sequence[ProbeResult] = (),
    error: OntapError | None = None,
) -> Response:
    manager = state.key_manager
    values = shown_again(request.form, NEW)
    found = None
    if wanted is not None:
        found = diagnosis(results, await _together(request, state, wanted, results), datetime.now(UTC))
    context = {
        "path": add_path(manager.uuid),
        "key_servers_path": KEY_SERVERS,
        "vserver": manager.svm.name if manager.svm else state.cluster.name,
        "present": [str(each.address) for each in state.servers],
        "replaces": _replaced(request, state),
        "free": MAX_PRIMARIES - len(state.servers),
        "typed": values,
        "form": request.form,
        "has_password": bool(request.form.get("password")),
        "diagnosis": found,
        "ways": _ways(request, state, found),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("add_key_servers.html", await shell(request, KEY_SERVERS) | context, status)


async def _together(
    request: PageRequest, state: ServersState, wanted: AddRequest, results: Sequence[ProbeResult]
) -> list[Together]:
    uuid = state.key_manager.uuid
    domains: tuple[tuple[str, ...], ...] = ()
    if request.may("GET", f"{API.format(uuid=uuid)}/key-survival"):
        survival = await request.services.key_survival.survival(request.call, uuid)
        domains = tuple(each.servers for each in survival.domains)
    declared = {str(each.server): each.replication_domain for each in wanted.servers}
    return together(state.servers, domains, results, declared)


def _ways(request: PageRequest, state: ServersState, found: Diagnosis | None) -> Ways:
    """Return the ways to add what is typed, or of it what the diagnosis accepted."""
    records = typed_records(request.form, found.accepted if found else None) or [{"server": "ks5.example.com"}]
    cli = command(
        *(*EXTERNAL, "add-servers"),
        vserver=vserver(state.key_manager.svm),
        key_servers=",".join(each["server"] for each in records),
        tls_server_name=records[0].get("tls_server_name"),
    )
    in_cli = all(each.keys() <= {"server", "tls_server_name"} for each in records)
    path = API_SERVERS.format(uuid=state.key_manager.uuid)
    return ways(request, cli if in_cli else "", "POST", path, {"records": records})


_NEEDS: Final = (("POST", API_SERVERS),)

PAGES: Final = (
    Page(ADD, add_form, needs=_NEEDS),
    Page(ADD, add, needs=_NEEDS, method="POST"),
)

"""``/recovery``: what is held after a restore or a rebuild, why, since when, and what ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from keystead.core import errors
from keystead.core.console_paths import RECOVERY
from keystead.core.errors import OntapError
from keystead.core.errors.remedies import advice_of
from keystead.core.keys.creating import NAME_LIMIT
from keystead.core.server_address import ServerAddress
from keystead.web.declaration import Page
from keystead.web.recovery import hidden_servers, reason_words, waiting_first
from keystead.web.refusing import plain, refusal
from keystead.web.rendering import page, redirect
from keystead.web.shell import ATTENTION, shell
from keystead.web.ways import command, vserver, ways

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.responses import Response

    from keystead.service.keys.orphans.adopt import PlacedOrphan
    from keystead.web.recovery import HiddenServer
    from keystead.web.request import PageRequest
    from keystead.web.ways import Ways

INCARNATION: Final = "/api/security/key-manager-incarnation"
OBJECTS: Final = "/api/security/key-managers/{}/unclaimed-objects"
CONFIRM: Final = "/api/security/key-managers/{}/key-servers/{}/confirm"
ROWS: Final = 50
"""How many unclaimed objects the page shows."""


async def recovery(request: PageRequest) -> Response:
    """Show what is held."""
    return await _page(request)


async def release(request: PageRequest) -> Response:
    """Release destruction."""
    return await _done(request, request.services.incarnations.release(request.call))


async def confirm(request: PageRequest) -> Response:
    """Say that a key server with another public key is the right one."""

    async def act() -> None:
        form = request.form
        address = _address(form.get("server", ""))
        await request.services.server_confirmation.confirm(request.call, form.get("key_manager", ""), address)

    return await _done(request, act())


async def adopt(request: PageRequest) -> Response:
    """Make an unclaimed object a key."""

    async def act() -> None:
        form, call, services = request.form, request.call, request.services
        name = form.get("svm", "").strip()
        svm = await services.svms.named(call, None, name) if name else None
        await services.unclaimed_objects.adopt(call, *_object(request), form.get("name", "").strip(), svm)

    return await _done(request, act())


async def dismiss(request: PageRequest) -> Response:
    """Say that an unclaimed object needs nobody."""
    return await _done(request, request.services.orphan_dismissals.dismiss(request.call, *_object(request)))


async def undo(request: PageRequest) -> Response:
    """Undo the dismissal of an unclaimed object."""
    return await _done(request, request.services.orphan_dismissals.undo(request.call, *_object(request)))


async def _done(request: PageRequest, act: Awaitable[object]) -> Response:
    """Do what a form asks, and show what is held then; or show why not."""
    try:
        await act
    except OntapError as error:
        return await _page(request, error)
    return redirect(RECOVERY)


def _object(request: PageRequest) -> tuple[str, str, str]:
    """Return which object a form names: key manager, key server (uuid), unique identifier."""
    form = request.form
    return form.get("key_manager", ""), form.get("key_server", ""), form.get("unique_identifier", "")


def _address(text: str) -> ServerAddress:
    """Return the address of a key server. Raises 4 (404): what is no address is none of our key servers."""
    try:
        return ServerAddress.parse(text)
    except ValueError:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server") from None


async def _page(request: PageRequest, error: OntapError | None = None) -> Response:
    call, services = request.call, request.services
    incarnation = await services.incarnations.get(call)
    found = await services.attention.overview(call)
    hidden = hidden_servers(found.managers)
    objects = waiting_first(await services.unclaimed_objects.of_all(call))
    form = request.form if error else {}
    context = {
        "incarnation": incarnation,
        "why": reason_words(incarnation.reason),
        "hidden": [(each, _confirm_ways(request, each)) for each in hidden],
        "hidden_advice": plain(advice_of("canary_not_seen")),
        "objects": [(each, _object_ways(request, each)) for each in objects[:ROWS]],
        "waiting": sum(each.of.dismissal is None for each in objects),
        "more": len(objects[ROWS:]),
        "typed": {name: form.get(name, "") for name in ("unique_identifier", "name", "svm")},
        "name_limit": NAME_LIMIT,
        "paths": {"incarnation": INCARNATION, "confirm": CONFIRM.format("-", "-"), "objects": OBJECTS.format("-")},
        "release_ways": _release_ways(request),
        **await refusal(request, error),
    }
    status = error.kind.status if error else 200
    return page("recovery.html", await shell(request, RECOVERY, found.items) | context, status)


def _release_ways(request: PageRequest) -> Ways:
    cli = command("security", "key-manager", "incarnation", "release")
    return ways(request, cli, "PATCH", INCARNATION, {"destroys": True})


def _confirm_ways(request: PageRequest, server: HiddenServer) -> Ways:
    words = ("security", "key-manager", "external", "confirm-server")
    cli = command(*words, vserver=vserver(server.svm), key_server=server.address)
    return ways(request, cli, "POST", CONFIRM.format(server.key_manager, server.address))


def _object_ways(request: PageRequest, each: PlacedOrphan) -> dict[str, Ways]:
    """Return the ways to adopt and to dismiss an object, or to undo that."""
    path = OBJECTS.format(each.of.key_manager)
    body: dict[str, Any] = {"key_server": each.server, "unique_identifier": each.of.unique_identifier}
    place = {"vserver": vserver(each.svm), "key_manager": None if each.svm else each.of.key_manager, **body}
    words = ("security", "key-manager", "unclaimed")
    adopt_cli = command(*words, "adopt", **place, name="vol1")
    dismiss_cli = command(*words, "dismiss", **place)
    undone: dict[str, Any] = {}
    if each.of.dismissal:
        dismiss_cli, undone = f"{dismiss_cli} --undo", {"undo": True}
    return {
        "adopt": ways(request, adopt_cli, "POST", path, {**body, "name": "vol1"}),
        "dismiss": ways(request, dismiss_cli, "POST", f"{path}/dismiss", {**body, **undone}),
    }


_SEES: Final = (("GET", INCARNATION), ("GET", ATTENTION), ("GET", OBJECTS.format("-")))
_ADOPTS: Final = (*_SEES, ("POST", OBJECTS.format("-")))
_DISMISSES: Final = (*_SEES, ("POST", f"{OBJECTS.format('-')}/dismiss"))

PAGES: Final = (
    Page(RECOVERY, recovery, needs=_SEES),
    Page(f"{RECOVERY}/release", release, needs=(*_SEES, ("PATCH", INCARNATION)), method="POST", asks_password=True),
    Page(f"{RECOVERY}/confirm", confirm, needs=(*_SEES, ("POST", CONFIRM.format("-", "-"))), method="POST"),
    Page(f"{RECOVERY}/adopt", adopt, needs=_ADOPTS, method="POST"),
    Page(f"{RECOVERY}/dismiss", dismiss, needs=_DISMISSES, method="POST"),
    Page(f"{RECOVERY}/undo", undo, needs=_DISMISSES, method="POST"),
)

"""``.../detached-key-servers``: key servers that were removed while copies of keys are on them. Ours, not ONTAP's.

What is on them is cleaned up, and then they are forgotten. DELETE gives one up that never comes back.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from keystead.api.operations import deleting, listing, showing
from keystead.api.resource import OURS, Field, Resource
from keystead.api.resources.key_fields import ONE_KEY_MANAGER, key_manager_path, shown
from keystead.api.values import SERVER, TEXT, TIME, UUID, place_in_list
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.keys.model import Detached
    from keystead.core.query.query import Wanted
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.store import Page

COLLECTION = f"{ONE_KEY_MANAGER}/detached-key-servers"


def _place(detached: Detached) -> str:
    """Where it stands in the list: by time, then by uuid."""
    return f"{detached.detached:%Y%m%dT%H%M%S.%fZ} {detached.server.uuid}"


DETACHED = Resource(
    name="detached_key_server",
    help="A key server that was removed from the key manager while copies of keys are on it. Copies of failed creations"
    " and of keys whose end has come are destroyed there when it can be reached; those of keys in use stay, and count"
    " for nothing. Once no copy is left it is forgotten. ``DELETE`` gives up a server that never comes back: what"
    " is on it is not destroyed, the receipt of each copy there says ``abandoned``, and keys end without it.",
    declared=(
        Field(
            name="server",
            type=SERVER,
            help="Its address.",
            get=lambda detached: str(detached.server.address),
            read=Read.KEY,
            since=OURS,
        ),
        Field(
            name="secondary_key_servers",
            type=TEXT,
            help="Its secondaries; left out when there are none.",
            get=lambda detached: list(detached.server.secondary_key_servers) or None,
            many=True,
            since=OURS,
        ),
        Field(
            name="removed_time",
            type=TIME,
            help="When it was removed.",
            get=lambda detached: shown(detached.detached),
            since=OURS,
        ),
        Field(name="uuid", type=UUID, help="The key manager's identifier.", get=attrgetter("server.key_manager")),
    ),
    link=lambda detached: f"{key_manager_path(detached.server.key_manager)}/detached-key-servers",
    key="server",
    order=("place", place_in_list(r"\d{8}T\d{6}\.\d{6}Z [0-9a-f-]{36}"), _place),
)


async def _page(request: Request, page: Page) -> tuple[Detached, ...]:
    (after,) = page.after or ("",)
    found = await request.services.key_servers.detached(request.call, request.path_uuid())
    following = [each for each in sorted(found, key=_place) if _place(each) > after]
    return tuple(following[page.offset : page.offset + page.limit])


async def _show(request: Request, _: Wanted) -> Detached:
    address = request.key(DETACHED)
    found = await request.services.key_servers.detached(request.call, request.path_uuid())
    shown = next((each for each in sorted(found, key=_place) if each.server.address == address), None)
    if shown is None:
        raise OntapError(errors.ENTRY_NOT_FOUND, target="server")
    return shown


async def _give_up(request: Request, address: ServerAddress, _: WriteQuery) -> None:
    service = request.services.detached_key_servers
    await request.while_connected(service.give_up(request.call, request.path_uuid(), address))


PATHS: Paths = {
    COLLECTION: {"GET": listing(DETACHED, _page)},
    f"{COLLECTION}/{{server}}": {
        "GET": showing(DETACHED, _show),
        "DELETE": deleting(DETACHED, _give_up, codes=(errors.SOLE_COPY,)),
    },
}

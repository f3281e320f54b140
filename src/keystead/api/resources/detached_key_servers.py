"""``.../detached-key-servers``: key servers that were removed while copies of keys are on them. Not ONTAP's.

The keeper destroys copies there and then forgets the server. DELETE gives up a server that never comes back.
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
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/detached-key-servers"


def _place(detached: Detached) -> str:
    """Return the place in the list: by time, then by uuid."""
    return f"{detached.detached:%Y%m%dT%H%M%S.%fZ} {detached.server.uuid}"


DETACHED = Resource(
    name="detached_key_server",
    help="A key server that was removed from the key manager while copies of keys are on it. When the server can be"
    " reached, copies of failed creations and of purged keys are destroyed there. Copies of keys in use stay, but do"
    " not count. The server is forgotten once no copy is left. ``DELETE`` gives up a server that never comes back: its"
    " copies are not destroyed, their receipts say ``abandoned``, and keys can be purged without it.",
    declared=(
        Field(
            name="server",
            type=SERVER,
            help="The server's address.",
            get=lambda detached: str(detached.server.address),
            read=Read.KEY,
            since=OURS,
        ),
        Field(
            name="secondary_key_servers",
            type=TEXT,
            help="The server's secondaries; left out if there are none.",
            get=lambda detached: list(detached.server.secondary_key_servers) or None,
            many=True,
            since=OURS,
        ),
        Field(
            name="removed_time",
            type=TIME,
            help="The time of its removal.",
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
    return page.cut(await request.services.key_servers.detached(request.call, request.path_uuid()), _place)


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
        "DELETE": deleting(DETACHED, _give_up, codes=(errors.SOLE_COPY, errors.KEYS_UNPROVEN)),
    },
}

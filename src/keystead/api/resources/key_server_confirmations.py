"""``/security/key-managers/{uuid}/key-servers/{server}/confirm``: a server with another public key is the right one.

It is not ONTAP's. Only accounts of the cluster may use it.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.declared import Form, Paths
from keystead.api.hal import Reply, render
from keystead.api.operations import acting
from keystead.api.resource import OURS, Field, Resource
from keystead.api.resources.key_servers import COLLECTION, path_address
from keystead.api.values import SERVER, TEXT
from keystead.core import errors
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.hal import Answer
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.server_address import ServerAddress


class Confirmed(NamedTuple):
    """A key server that was confirmed, and its public key."""

    key_manager: str
    address: ServerAddress
    public_key: str


def _link(confirmed: Confirmed) -> str:
    """Return the path of the key server."""
    return f"{COLLECTION.format(uuid=confirmed.key_manager)}/{confirmed.address}"


CONFIRMATIONS = Resource(
    name="key_server_confirmation",
    help="Says that a key server is the right one although it lost its canary and has another public key, as after its"
    " disk and its certificate were replaced. Until then Keystead sends no key to it.",
    declared=(
        Field(
            name="server",
            type=SERVER,
            help="The key server.",
            get=lambda confirmed: str(confirmed.address),
            read=Read.KEY,
            since=OURS,
        ),
        Field(
            name="public_key",
            type=TEXT,
            help="The SHA-256 of the public key that the server shows now, in hexadecimal.",
            get=attrgetter("public_key"),
            read=Read.KEY,
            since=OURS,
        ),
    ),
    link=_link,
    key="server",
)
_SHOWN = CONFIRMATIONS.catalogue.select("**", single=True)


async def _confirm(request: Request, _: dict[str, Any], __: WriteQuery) -> Answer:
    uuid, address = request.path_uuid(), await path_address(request)
    public_key = await request.while_connected(
        request.services.server_confirmation.confirm(request.call, uuid, address)
    )
    return Reply(200, render(CONFIRMATIONS, _SHOWN, Confirmed(uuid, address, public_key), hal=request.hal))


_CODES = (*OF_THE_CLUSTER, errors.TOO_FEW_COPIES, errors.TOO_BUSY)
_OPERATION = acting(CONFIRMATIONS, _confirm, Form.ACT, "Confirm a key server that has another public key", _CODES)

PATHS: Paths = {f"{COLLECTION}/{{server}}/confirm": {"POST": _OPERATION}}

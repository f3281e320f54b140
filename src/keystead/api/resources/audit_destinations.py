"""``/security/audit/destinations``: where audit records are forwarded to, as syslog over TCP or TLS.

Source: ONTAP REST API reference, security_audit_destinations.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.operations import deleting, patching, showing
from keystead.api.resource import Field, Resource, always
from keystead.api.resources.delivery_fields import delivery_fields
from keystead.api.values import BOOLEAN, TEXT, Parameter, integer, one_of
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.forwarding.destinations import FACILITIES, Log, Protocol, audit_name
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.forwarding.destinations import DestinationView
    from keystead.service.ports.page import Page

COLLECTION: Final = "/api/security/audit/destinations"
PORT: Final = integer(1, 65535)
FORMAT: Final = one_of("rfc_5424")
NO_OVERRIDE: Final = one_of("no_override")
_ONE: Final = f"{COLLECTION}/{{address}}/{{port}}"
_FORCE: Final = "force"


def _link(view: DestinationView) -> str:
    return f"{COLLECTION}/{segment(view.destination.host)}/{view.destination.port}"


def _constant(name: str, type_: Any, value: str, help_: str) -> Field:
    return Field(name=name, type=type_, help=help_, get=always(value), post=True, patch=True)


DESTINATIONS = Resource(
    name="audit_destination",
    ontap="SecurityAuditLogForward",
    help="A syslog server to which all audit records are forwarded from its creation on. Each arrives at least once,"
    " and those of one node in order; of more than 100,000 that wait, the oldest are dropped.",
    declared=(
        Field(
            name="address",
            type=TEXT,
            help="Host name or IP address. The [egress rules](reasons.md) apply.",
            get=attrgetter("destination.host"),
            read=Read.KEY,
            post=True,
            required=True,
        ),
        Field(
            name="port",
            type=PORT,
            help="Port; 514, or 6514 for ``tcp_encrypted``, if none is given.",
            get=attrgetter("destination.port"),
            read=Read.KEY,
            post=True,
        ),
        Field(
            name="protocol",
            type=one_of(Protocol.TCP, Protocol.TLS),
            help="``tcp_unencrypted`` if none is given. UDP is not served.",
            get=attrgetter("destination.protocol.value"),
            post=True,
        ),
        Field(
            name="facility",
            type=one_of(*(name for name in FACILITIES if name != "daemon")),
            help="The facility of the messages; ``user`` if none is given.",
            get=attrgetter("destination.facility"),
            post=True,
            patch=True,
        ),
        Field(
            name="verify_server",
            type=BOOLEAN,
            help="With ``tcp_encrypted``: whether the server must show a certificate of its name, from a ``server_ca``"
            " of the cluster or a CA of the system. False if it is not given.",
            get=attrgetter("destination.verify_server"),
            post=True,
            patch=True,
        ),
        Field(
            name="ipspace.name",
            type=one_of("Default"),
            help="Always ``Default``: there is one network here.",
            get=always("Default"),
            post=True,
            since="9.12",
        ),
        _constant("message_format", FORMAT, "rfc_5424", "Always ``rfc_5424``. The text is JSON."),
        _constant("timestamp_format_override", NO_OVERRIDE, "no_override", "Times are always UTC, in ISO 8601."),
        _constant("hostname_format_override", NO_OVERRIDE, "no_override", "The host name is always the node's name."),
        Field(name=_FORCE, type=BOOLEAN, help="Taken as the parameter of this name.", post=True, since="9.6"),
        *delivery_fields(),
    ),
    link=_link,
    key="port",
    in_path={"address": "address", "port": "port"},
    order=("place", TEXT, attrgetter("destination.name")),
)


def _name(request: Request, port: int) -> str:
    """Return the name of the destination that the path names, or raise 4 (404)."""
    try:
        return audit_name(request.path_text("address"), port)
    except (KeyError, ValueError):
        raise OntapError(errors.ENTRY_NOT_FOUND, target="address") from None


async def _page(request: Request, page: Page) -> tuple[DestinationView, ...]:
    return await request.services.destinations.page(request.call, Log.AUDIT, page)


async def _show(request: Request, _: Wanted) -> DestinationView:
    name = _name(request, request.key(DESTINATIONS))
    return await request.services.destinations.get(request.call, Log.AUDIT, name)


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> DestinationView:
    return await request.services.destinations.create(request.call, Log.AUDIT, values)


async def _patch(request: Request, port: int, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.destinations.change(request.call, Log.AUDIT, _name(request, port), values)


async def _delete(request: Request, port: int, _: WriteQuery) -> None:
    await request.services.destinations.delete(request.call, Log.AUDIT, _name(request, port))


_CODES = {
    "GET": OF_THE_CLUSTER,
    "POST": (*OF_THE_CLUSTER, errors.DUPLICATE_ENTRY, errors.DESTINATION_LIMIT, errors.INVALID_VALUE),
    "PATCH": (*OF_THE_CLUSTER, errors.INVALID_VALUE),
    "DELETE": OF_THE_CLUSTER,
}
_OWN = {"POST": {_FORCE: Parameter(BOOLEAN, "Accepted: there is no test of the connection to skip.")}}
PATHS: Paths = {
    COLLECTION: Collection(
        resource=DESTINATIONS,
        page=_page,
        show=_show,
        create=_create,
        patch=_patch,
        delete=_delete,
        own=_OWN,
        codes=_CODES,
    ).operations(),
    _ONE: {
        "GET": showing(DESTINATIONS, _show, OF_THE_CLUSTER),
        "PATCH": patching(DESTINATIONS, _patch, codes=_CODES["PATCH"]),
        "DELETE": deleting(DESTINATIONS, _delete, codes=OF_THE_CLUSTER),
    },
}

"""``/support/ems/destinations``: where events are forwarded to, as syslog or to a webhook over HTTPS.

Source: ONTAP REST API reference, support_ems_destinations.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.codes import OF_THE_CLUSTER
from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource, always, itself
from keystead.api.resources.audit_destinations import FORMAT, NO_OVERRIDE, PORT
from keystead.api.resources.certificates import certificate_link
from keystead.api.resources.delivery_fields import delivery_fields
from keystead.api.resources.ems_filters import filter_link
from keystead.api.values import BOOLEAN, TEXT, one_of
from keystead.core import errors
from keystead.core.forwarding.destinations import Log, Protocol
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.forwarding.destinations import Destination, Progress
    from keystead.core.query.query import Wanted
    from keystead.service.forwarding.destinations import DestinationView
    from keystead.service.ports.page import Page

COLLECTION: Final = "/api/support/ems/destinations"
_SYSLOG: Final = "syslog"


def _link(view: DestinationView) -> str:
    return f"{COLLECTION}/{segment(view.destination.name)}"


def _type(view: DestinationView) -> str:
    return Protocol.WEBHOOK.value if view.destination.protocol is Protocol.WEBHOOK else _SYSLOG


def _syslog(view: DestinationView) -> Destination | None:
    return None if view.destination.protocol is Protocol.WEBHOOK else view.destination


def _failures(view: DestinationView) -> tuple[Progress, ...] | None:
    progress = view.destination.progress
    return (progress,) if progress.failing_since else None


def _constant(name: str, type_: Any, value: str, help_: str) -> Field:
    return Field(name=name, type=type_, help=help_, get=always(value), post=True, patch=True, since="9.12")


DESTINATIONS = Resource(
    name="ems_destination",
    ontap="EmsDestination",
    help="A syslog server or webhook to which the events that its filters include are forwarded, from its creation on."
    " Each arrives at least once, and those of one node in order, while the node keeps them: its newest 10,000.",
    declared=(
        Field(
            name="name",
            type=TEXT,
            help="Unique name: 2 to 64 letters, digits and ``_ -``.",
            get=attrgetter("destination.name"),
            read=Read.KEY,
            post=True,
            required=True,
        ),
        Field(
            name="type",
            type=one_of(_SYSLOG, Protocol.WEBHOOK),
            help="``syslog`` or ``rest_api``. Mail and SNMP are not served.",
            get=_type,
            post=True,
            required=True,
            refusal=errors.EMS_TYPE_FIXED,
        ),
        Field(
            name="destination",
            type=TEXT,
            help="The syslog server's host name or IP address, or the webhook's URL: ``https://``, without a user or"
            " password. The [egress rules](reasons.md) apply.",
            get=lambda view: view.destination.url or view.destination.host,
            post=True,
            patch=True,
            required=True,
        ),
        Group(
            name="filters",
            help="The filters that choose events: one of them must include an event.",
            get=attrgetter("destination.filters"),
            many=True,
            link=filter_link,
        ),
        Field(name="filters.name", type=TEXT, help="A filter's name.", get=itself, post=True, patch=True),
        Group(
            name="certificate",
            help="The client certificate of the cluster that the webhook is shown, if it asks for one.",
            get=attrgetter("certificate"),
            link=lambda certificate: certificate_link(certificate.uuid),
        ),
        Field(
            name="certificate.ca",
            type=TEXT,
            help="The name of its issuer, with the serial number.",
            get=attrgetter("ca"),
            post=True,
            patch=True,
        ),
        Field(
            name="certificate.serial_number",
            type=TEXT,
            help="Its serial number.",
            get=attrgetter("serial_number"),
            post=True,
            patch=True,
        ),
        Field(name="certificate.name", type=TEXT, help="Its name.", get=attrgetter("name"), since="9.11"),
        Group(name="syslog", help="How a syslog server is reached; absent for others.", get=_syslog),
        Field(
            name="syslog.transport",
            type=one_of(Protocol.TCP, Protocol.TLS),
            help="``tcp_unencrypted`` if none is given. With ``tcp_encrypted`` the server's certificate is always"
            " verified. UDP is not served.",
            get=attrgetter("protocol.value"),
            post=True,
            patch=True,
            since="9.12",
        ),
        Field(
            name="syslog.port",
            type=PORT,
            help="Port; 514, or 6514 for ``tcp_encrypted``, if none is given.",
            get=attrgetter("port"),
            post=True,
            patch=True,
            since="9.12",
        ),
        _constant("syslog.format.message", FORMAT, "rfc_5424", "Always ``rfc_5424``."),
        _constant("syslog.format.timestamp_override", NO_OVERRIDE, "no_override", "Times are UTC, in ISO 8601."),
        _constant("syslog.format.hostname_override", NO_OVERRIDE, "no_override", "The host name is the node's name."),
        Field(
            name="connectivity.state",
            type=one_of("success", "fail"),
            help="How the last delivery went. Nothing is sent to find it out.",
            get=lambda view: "fail" if view.destination.progress.failing_since else "success",
            read=Read.EXPENSIVE,
            since="9.11",
        ),
        Group(
            name="connectivity.errors",
            help="Why the last delivery failed; absent after one that did not.",
            get=_failures,
            many=True,
        ),
        Field(
            name="connectivity.errors.message.message",
            type=TEXT,
            help="The reason as text.",
            get=attrgetter("reason"),
            read=Read.EXPENSIVE,
            since="9.11",
        ),
        Field(name="system_defined", type=BOOLEAN, help="Always false.", get=always(value=False), since="9.10"),
        *delivery_fields(),
    ),
    link=_link,
    key="name",
    order=("name", TEXT, attrgetter("destination.name")),
)


async def _page(request: Request, page: Page) -> tuple[DestinationView, ...]:
    return await request.services.destinations.page(request.call, Log.EVENTS, page)


async def _show(request: Request, _: Wanted) -> DestinationView:
    return await request.services.destinations.get(request.call, Log.EVENTS, request.key(DESTINATIONS))


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> DestinationView:
    return await request.services.destinations.create(request.call, Log.EVENTS, values)


async def _patch(request: Request, name: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.destinations.change(request.call, Log.EVENTS, name, values)


async def _delete(request: Request, name: str, _: WriteQuery) -> None:
    await request.services.destinations.delete(request.call, Log.EVENTS, name)


_WRITING = (
    *OF_THE_CLUSTER,
    *(errors.INVALID_VALUE, errors.EMS_URL_SCHEME, errors.EMS_URL_INVALID, errors.EMS_FILTER_NOT_FOUND),
    *(errors.EMS_CERTIFICATE_INCOMPLETE, errors.EMS_CERTIFICATE_NOT_OF_TYPE, errors.EMS_CERTIFICATE_NOT_FOUND),
    errors.EMS_NOT_OF_TYPE,
)
PATHS = Collection(
    resource=DESTINATIONS,
    page=_page,
    show=_show,
    create=_create,
    patch=_patch,
    delete=_delete,
    codes={
        "GET": OF_THE_CLUSTER,
        "POST": (*_WRITING, errors.DUPLICATE_ENTRY, errors.EMS_NAME_INVALID, errors.DESTINATION_LIMIT),
        "PATCH": (*_WRITING, errors.EMS_TYPE_FIXED),
        "DELETE": OF_THE_CLUSTER,
    },
).paths(COLLECTION)

"""``/support/ems/events``: the events that nodes reported about key servers and certificates.

Source: ONTAP REST API reference, ems_event. The table of events is in ``core/events.py``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.hal import segment
from keystead.api.operations import listing, showing
from keystead.api.resource import Field, Group, Resource
from keystead.api.resources.cluster import node_link
from keystead.api.resources.owner import svm_shown
from keystead.api.values import TEXT, TIME, UUID, integer, one_of, place_in_list
from keystead.core.events import SOURCE
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.cluster.events import EventView
    from keystead.service.ports.page import Page

COLLECTION = "/api/support/ems/events"
INDEX = integer(1, 2**63 - 1)
_PLACE = place_in_list(r"\d{8}T\d{6}\.\d{6}Z-.+-\d{19}")
_SEVERITIES = ("emergency", "alert", "error", "notice", "informational", "debug")


def event_link(view: EventView) -> str:
    """Return the path of an event: its node's name and its index on that node."""
    return f"{COLLECTION}/{segment(view.node.name)}/{view.event.index}"


EVENTS = Resource(
    name="ems_event",
    ontap="EmsEvent",
    help="An event of the Event Management System. Each node keeps its newest 10,000.",
    declared=(
        Group(name="node", help="The node that reported the event.", get=attrgetter("node"), link=node_link),
        Field(
            name="node.uuid",
            type=UUID,
            help="The node's identifier.",
            get=attrgetter("uuid"),
            read=Read.KEY,
            column="node",
        ),
        Field(name="node.name", type=TEXT, help="The node's name.", get=attrgetter("name"), read=Read.KEY),
        Field(
            name="index",
            type=INDEX,
            help="The event's number on its node.",
            get=attrgetter("event.index"),
            read=Read.KEY,
            column="index",
        ),
        Field(
            name="time",
            type=TIME,
            help="The time of the event.",
            get=lambda view: view.event.time.isoformat(),
            column="time",
        ),
        Field(
            name="message.name",
            type=TEXT,
            help="The event's name. In filters a comma separates names.",
            get=attrgetter("event.name"),
            column="name",
            listed=True,
        ),
        Field(
            name="message.severity",
            type=one_of(*_SEVERITIES),
            help="The event's severity.",
            get=attrgetter("event.severity"),
            column="severity",
        ),
        Group(name="parameters", help="The event's parameters.", get=attrgetter("parameters"), many=True),
        Field(name="parameters.name", type=TEXT, help="The parameter's name.", get=lambda pair: pair[0]),
        Field(name="parameters.value", type=TEXT, help="The parameter's value.", get=lambda pair: pair[1]),
        Field(
            name="log_message",
            type=TEXT,
            help="The event as one sentence.",
            get=lambda view: f"{view.event.name}: {view.log_message}",
        ),
        Field(name="source", type=TEXT, help="The program that reported the event.", get=lambda _: SOURCE),
        *svm_shown(attrgetter("event.svm"), "The SVM; absent for the cluster's events, and once the SVM is deleted."),
    ),
    link=event_link,
    key="index",
    order=("key", _PLACE, attrgetter("event.key")),
    absent=frozenset({"creation_time", "filter_name", "last_update_time", "state", "stateful"}),
)


async def _page(request: Request, page: Page) -> tuple[EventView, ...]:
    return await request.services.events.page(request.call, page)


async def _show(request: Request, _: Wanted) -> EventView:
    index: Any = request.key(EVENTS)
    return await request.services.events.get(request.call, request.path_text("node"), index)


PATHS: Paths = {
    COLLECTION: {"GET": listing(EVENTS, _page)},
    f"{COLLECTION}/{{node}}/{{index}}": {"GET": showing(EVENTS, _show)},
}

"""``/support/ems/messages``: the catalogue of events that nodes announce. Source: ONTAP REST API reference."""

from __future__ import annotations

import re
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from keystead.api.hal import segment
from keystead.api.operations import listing
from keystead.api.resource import Field, Resource, always
from keystead.api.values import BOOLEAN, TEXT, one_of, text
from keystead.core.events import KINDS
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.events import EventKind
    from keystead.service.ports.page import Page

COLLECTION: Final = "/api/support/ems/messages"
_SEVERITIES: Final = ("emergency", "alert", "error", "notice", "informational", "debug")
_PARAMETER: Final = re.compile(r"\{(\w+)\}")


def _description(kind: EventKind) -> str:
    """Return the text of an event with the names of its parameters."""
    return _PARAMETER.sub(r"<\1>", kind.text)


MESSAGES = Resource(
    name="ems_message",
    ontap="EmsMessage",
    help="A kind of event: its name, how severe it is, and what it says.",
    declared=(
        Field(name="name", type=TEXT, help="The event's name.", get=attrgetter("name"), read=Read.KEY),
        Field(
            name="severity",
            type=one_of(*_SEVERITIES),
            help="How severe it is.",
            get=attrgetter("severity"),
        ),
        Field(
            name="description",
            type=text(1000),
            help="The text, with the parameters' names.",
            get=_description,
            read=Read.EXPENSIVE,
        ),
        Field(name="deprecated", type=BOOLEAN, help="Always false.", get=always(value=False), read=Read.EXPENSIVE),
    ),
    link=lambda kind: f"{COLLECTION}?name={segment(kind.name)}",
    key="name",
    order=("name", TEXT, attrgetter("name")),
)


async def _page(_: Request, page: Page) -> tuple[EventKind, ...]:
    return page.cut([KINDS[name] for name in sorted(KINDS)], attrgetter("name"))


PATHS: Paths = {COLLECTION: {"GET": listing(MESSAGES, _page)}}

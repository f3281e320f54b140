"""``/support/attention``: everything that needs somebody, the worst first. Not ONTAP's.

The items and their order are in ``core/attention/``.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from keystead.api.hal import segment
from keystead.api.operations import listing
from keystead.api.resource import OURS, Field, Group, Resource
from keystead.api.resources import certificates, cluster, incarnation
from keystead.api.resources.key_fields import key_manager_path
from keystead.api.resources.owner import svm_shown
from keystead.api.values import TEXT, TIME, UUID, one_of, place_in_list
from keystead.core.attention.items import Severity, Subject
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.attention.items import Item
    from keystead.service.ports.page import Page

COLLECTION: Final = "/api/support/attention"


class _View(NamedTuple):
    """An item, and its place in the list."""

    of: Item
    place: str


_LINKS: Final[dict[Subject, Callable[[Item], str]]] = {
    Subject.KEYS: lambda item: f"{key_manager_path(item.key_manager)}/key-survival",
    Subject.KEY_SERVER: lambda item: f"{key_manager_path(item.key_manager)}/key-servers/{segment(item.identifier)}",
    Subject.UNCLAIMED_OBJECTS: lambda item: f"{key_manager_path(item.key_manager)}/unclaimed-objects",
    Subject.CERTIFICATE: lambda _: certificates.COLLECTION,
    Subject.NODE: lambda item: f"{cluster.NODES_PATH}/{item.identifier}",
    Subject.DESTRUCTION: lambda _: incarnation.PATH,
}
"""The path of what an item is about. Items about the node itself have the path of the list."""


def _link(view: _View) -> str:
    make = _LINKS.get(view.of.subject)
    return COLLECTION if make is None else make(view.of)


def _field(name: str, help_: str, get: Callable[[Any], Any], **options: Any) -> Field:
    return Field(name=name, type=options.pop("type", TEXT), help=help_, get=get, since=OURS, **options)


ATTENTION = Resource(
    name="attention",
    help="A thing that needs somebody, the worst first. An account of an SVM sees what concerns its SVM. What is wrong"
    " with a node itself (disk, backup, spool, settings) is shown by that node. ``_links`` leads to what it is about.",
    declared=(
        _field(
            "severity",
            "How bad it is. ``critical``: a key server is lost, or keys cannot be read.",
            attrgetter("of.severity.value"),
            type=one_of(*Severity),
            read=Read.KEY,
        ),
        _field("subject", "What it is about.", attrgetter("of.subject.value"), type=one_of(*Subject), read=Read.KEY),
        _field("name", "Which one: an address, names of keys, a common name.", attrgetter("of.name"), read=Read.KEY),
        _field(
            "since",
            "Since when; left out if that is not known.",
            lambda view: view.of.since.isoformat() if view.of.since else None,
            type=TIME,
        ),
        _field("reason", "What is wrong, as a sentence.", attrgetter("of.reason")),
        _field("advice", "What to do.", lambda view: view.of.advice or None),
        _field("command", "A command that helps.", attrgetter("of.command")),
        Group(name="key_manager", help="The key manager.", get=lambda view: view.of.key_manager or None),
        _field("key_manager.uuid", "Its identifier.", str, type=UUID),
        *svm_shown(attrgetter("of.svm"), "The SVM that it concerns; absent for the cluster."),
    ),
    link=_link,
    key="name",
    order=("place", place_in_list(r"\d{6}"), attrgetter("place")),
)


async def _page(request: Request, page: Page) -> tuple[_View, ...]:
    found = await request.services.attention.items(request.call)
    return page.cut([_View(item, f"{number:06}") for number, item in enumerate(found)], attrgetter("place"))


PATHS: Paths = {COLLECTION: {"GET": listing(ATTENTION, _page)}}

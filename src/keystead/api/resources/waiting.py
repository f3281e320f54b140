"""``.../waiting``: work on copies of keys that waits, and for what. Not ONTAP's."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, NamedTuple

from keystead.api.operations import listing
from keystead.api.resource import OURS, Field, Resource
from keystead.api.resources.key_fields import KEY_ID, ONE_KEY_MANAGER, key_manager_path, shown
from keystead.api.values import TEXT, TIME, one_of, place_in_list
from keystead.core.keys.waiting import WaitsFor, Work
from keystead.core.query.query import Read
from keystead.service.keys.reporting.waiting import MOST

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.keys.waiting import WaitingCopy
    from keystead.service.ports.page import Page

COLLECTION = f"{ONE_KEY_MANAGER}/waiting"


class _View(NamedTuple):
    """A copy with work that waits, the address of its primary, and its place in the list."""

    of: WaitingCopy
    server: str
    place: str


WAITING = Resource(
    name="waiting_work",
    help="Work on a copy of a key that waits, the oldest first: it is not known whether a server took the copy, or an"
    f" object is to be destroyed. At most {MOST} of each kind are listed. The service does the work by itself.",
    declared=(
        Field(
            name="work",
            type=one_of(*Work),
            help="``settle``: find out whether the server took the copy. ``destroy``: destroy what a failed creation"
            " left. ``purge``: destroy the copy of a deleted key.",
            get=attrgetter("of.work.value"),
            read=Read.KEY,
            since=OURS,
        ),
        Field(
            name="waits_for",
            type=one_of(*WaitsFor),
            help="``server``: the server must answer and show our keys. ``other_server``: another server of the failed"
            " creation must. ``release``: destruction must be released. ``late_register``: the hour in which an"
            " unanswered Register may still arrive must end. ``epoch_marker``: the server must"
            " store our next epoch marker. ``next_round``: nothing.",
            get=attrgetter("of.waits_for.value"),
            since=OURS,
        ),
        Field(
            name="since",
            type=TIME,
            help="When the creation began, or the recovery window ended.",
            get=lambda view: shown(view.of.since),
            since=OURS,
        ),
        Field(
            name="server",
            type=TEXT,
            help="The primary key server; left out if it is forgotten.",
            get=lambda view: view.server or None,
            read=Read.KEY,
            since=OURS,
        ),
        Field(
            name="secondary",
            type=TEXT,
            help="The secondary that has the copy; left out for the primary.",
            get=lambda view: view.of.copy.host or None,
            since=OURS,
        ),
        Field(
            name="key_id",
            type=KEY_ID,
            help="The key's id.",
            get=attrgetter("of.key.key_id"),
            read=Read.KEY,
            since=OURS,
        ),
        Field(name="name", type=TEXT, help="The key's name.", get=attrgetter("of.key.name"), since=OURS),
    ),
    link=lambda view: f"{key_manager_path(view.of.key.key_manager)}/waiting",
    key="key_id",
    order=("place", place_in_list(r"\d{6}"), attrgetter("place")),
)


async def _page(request: Request, page: Page) -> tuple[_View, ...]:
    found = await request.services.waiting_work.list(request.call, request.path_uuid())
    views = [_View(each.of, each.server, f"{number:06}") for number, each in enumerate(found)]
    return page.cut(views, attrgetter("place"))


PATHS: Paths = {COLLECTION: {"GET": listing(WAITING, _page)}}

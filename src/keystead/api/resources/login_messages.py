"""``/security/login/messages``: banner and message of the day, of the cluster and each SVM.

Source: ONTAP REST API reference, login_messages. Nothing logs in at a console here, so they are kept and shown by this
API only.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource
from keystead.api.resources.svms import svm_link
from keystead.api.values import BOOLEAN, TEXT, UUID, one_of, place_in_list, text
from keystead.core import errors
from keystead.core.query.query import Read
from keystead.service.accounts.login_messages import LoginMessagesChange

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.accounts.login_messages import LoginMessagesView
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/login/messages"
_TEXT = text(2048)
_PLACE = place_in_list(r"0|[0-9a-f-]{36}")


def _field(name: str, help_: str) -> Field:
    return Field(
        name=name,
        type=_TEXT,
        help=help_,
        get=lambda view: getattr(view.messages, name) or None,
        patch=True,
        restore=attrgetter(f"messages.{name}"),
    )


LOGIN_MESSAGES = Resource(
    name="login_messages",
    ontap="LoginMessages",
    help="What those who log in are to be told: of the cluster, or of an SVM. Kept for clients that read them; this"
    " service shows them nowhere else.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The identifier of the SVM, or of the cluster.",
            get=attrgetter("uuid"),
            read=Read.KEY,
        ),
        _field("banner", "The text before a login; left out if it is empty."),
        _field("message", "The message of the day; left out if it is empty."),
        Field(
            name="show_cluster_message",
            type=BOOLEAN,
            help="Whether an SVM's accounts are told the cluster's message, too. Only accounts of the cluster set it.",
            get=attrgetter("messages.show_cluster_message"),
            patch=True,
        ),
        Field(
            name="scope",
            type=one_of("cluster", "svm"),
            help="``svm`` for those of an SVM, else ``cluster``.",
            get=lambda view: "svm" if view.messages.svm else "cluster",
        ),
        Group(name="svm", help="The SVM; absent for the cluster's.", get=attrgetter("messages.svm"), link=svm_link),
        Field(name="svm.uuid", type=UUID, help="The SVM's identifier.", get=attrgetter("uuid")),
        Field(name="svm.name", type=TEXT, help="The SVM's name.", get=attrgetter("name")),
    ),
    link=lambda view: f"{COLLECTION}/{segment(view.uuid)}",
    order=("place", _PLACE, attrgetter("place")),
)


async def _patch(request: Request, uuid: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.login_messages.change(request.call, uuid, LoginMessagesChange(**values))


async def _page(request: Request, page: Page) -> tuple[LoginMessagesView, ...]:
    return await request.services.login_messages.page(request.call, page)


async def _show(request: Request, _: Wanted) -> LoginMessagesView:
    return await request.services.login_messages.get(request.call, request.path_uuid())


PATHS = Collection(
    resource=LOGIN_MESSAGES, page=_page, show=_show, patch=_patch, codes={"PATCH": (errors.NOT_AUTHORIZED,)}
).paths(COLLECTION)

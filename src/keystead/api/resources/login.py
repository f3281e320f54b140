"""``/security/login/whoami``: the caller's account and its privileges. Source: ONTAP REST API reference."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from keystead.api.operations import showing
from keystead.api.resource import Field, Group, Resource, always
from keystead.api.values import TEXT, one_of
from keystead.core.access import privileges_of
from keystead.core.model import Access

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.context import Caller

PATH = "/api/security/login/whoami"

WHOAMI = Resource(
    name="whoami",
    help="The account that calls.",
    declared=(
        Field(name="username", type=TEXT, help="The account's name.", get=attrgetter("account")),
        Field(name="roles", type=TEXT, help="The account's role.", get=lambda caller: [caller.role.value], many=True),
        Group(
            name="privileges",
            help="What the account may do. For a custom role this includes what no role like it may do.",
            get=lambda caller: privileges_of(caller.role),
            many=True,
        ),
        Field(name="privileges.path", type=TEXT, help="A path of the API.", get=attrgetter("path")),
        Field(
            name="privileges.access", type=one_of(*Access), help="The allowed access.", get=attrgetter("access.value")
        ),
    ),
    link=always(PATH),
)


async def _show(request: Request, _: Wanted) -> Caller:
    return request.call.caller


PATHS: Paths = {PATH: {"GET": showing(WHOAMI, _show)}}

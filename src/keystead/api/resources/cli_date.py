"""``/private/cli/cluster/date``: the time of the node that answers, as ONTAP's command ``cluster date show`` names it.

Clients that ask for "what happened since" read the service's time here first. Source: ONTAP command reference.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

from keystead.api.hal import segment
from keystead.api.operations import listing
from keystead.api.resource import Field, Resource, always
from keystead.api.resources.cli_certificates import cli_parameters
from keystead.api.values import TEXT, TIME
from keystead.core import errors
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.service.cluster.info import NodeTime
    from keystead.service.ports.page import Page

PATH: Final = "/api/private/cli/cluster/date"

DATES = Resource(
    name="cli_date",
    help="The time of a node as ONTAP's command ``cluster date show`` names it: of the node that answers. Only for"
    " reading.",
    declared=(
        Field(name="node", type=TEXT, help="The node's name.", get=attrgetter("node"), read=Read.KEY),
        Field(name="date", type=TIME, help="The time.", get=lambda view: view.time.isoformat(timespec="seconds")),
        Field(name="timezone", type=TEXT, help="Always ``Etc/UTC``.", get=always("Etc/UTC")),
    ),
    link=lambda view: f"{PATH}?node={segment(view.node)}",
    key="node",
    order=("node", TEXT, attrgetter("node")),
)


async def _page(request: Request, page: Page) -> tuple[NodeTime, ...]:
    return page.cut([await request.services.cluster.time(request.call)], attrgetter("node"))


PATHS: Paths = {PATH: {"GET": listing(DATES, _page, (errors.ALL_FIELDS_OF_CLI,), parameters=cli_parameters)}}

"""``/svm/svms``: the SVMs (tenants) of the cluster. Source: ONTAP REST API reference, SVM."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING

from keystead.api.hal import Reply, segment
from keystead.api.operations import Paths, created, listing, showing
from keystead.api.query import read_write
from keystead.api.resource import Field, Resource, column
from keystead.api.values import UUID, name
from keystead.core.query import Read

if TYPE_CHECKING:
    from keystead.api.request import Request
    from keystead.core.model import Svm

COLLECTION = "/api/svm/svms"


def svm_link(svm: Svm) -> str:
    """The path of an SVM."""
    return f"{COLLECTION}/{segment(svm.uuid)}"


SVMS = Resource(
    name="svm",
    help="A storage virtual machine: a tenant with certificates and a key manager of its own.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The SVM's identifier.",
            get=attrgetter("uuid"),
            read=Read.KEY,
            equals=column("uuid"),
        ),
        Field(
            name="name",
            type=name(255),
            help="The SVM's name, unique in the cluster.",
            get=attrgetter("name"),
            read=Read.KEY,
            post=True,
            required=True,
            equals=column("name"),
        ),
    ),
    link=svm_link,
    absent=frozenset({"state", "subtype", "language", "comment", "ipspace", "aggregates", "ip_interfaces"}),
)


async def _create(request: Request) -> Reply:
    request_query = read_write(SVMS, request.parameters(), "POST")
    values = await request.values(SVMS)
    svm = await request.services.svms.create(request.call, values["name"])
    return created(SVMS, request, request_query, [svm])


PATHS: Paths = {
    COLLECTION: {
        "GET": listing(SVMS, lambda request, page: request.services.svms.page(request.call, page)),
        "POST": _create,
    },
    f"{COLLECTION}/{{uuid}}": {
        "GET": showing(SVMS, lambda request, _: request.services.svms.get(request.call, request.path_uuid()))
    },
}

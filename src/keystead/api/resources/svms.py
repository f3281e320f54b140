"""``/svm/svms``: the SVMs (tenants) of the cluster. Source: ONTAP REST API reference, SVM."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource, itself
from keystead.api.values import TEXT, UUID, name, one_of
from keystead.core.query import Read

if TYPE_CHECKING:
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import Svm
    from keystead.core.query import Wanted
    from keystead.service.ports import Page

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
            column="uuid",
        ),
        Field(
            name="name",
            type=name(255),
            help="The SVM's name, unique in the cluster.",
            get=attrgetter("name"),
            read=Read.KEY,
            post=True,
            patch=True,
            required=True,
            column="name",
        ),
        Field(name="state", type=one_of("running"), help="Always ``running``.", get=lambda _: "running"),
        Field(name="subtype", type=one_of("default"), help="Always ``default``.", get=lambda _: "default"),
        Field(name="ipspace.name", type=TEXT, help="Always ``Default``.", get=lambda _: "Default"),
        Group(name="aggregates", help="None: there is no storage here.", get=lambda _: (), many=True),
        Field(name="aggregates.name", type=TEXT, help="An aggregate's name.", get=itself),
        Field(name="snapshot_policy.name", type=TEXT, help="Always ``none``.", get=lambda _: "none"),
    ),
    link=svm_link,
    absent=frozenset(
        {
            *("anti_ransomware", "auto_enable_activity_tracking", "auto_enable_analytics", "certificate", "cifs"),
            *("comment", "dns", "fcp", "fcp_interfaces", "fpolicy", "ip_interfaces", "iscsi", "language", "ldap"),
            *("max_volumes", "ndmp", "nfs", "nis", "nsswitch", "nvme", "qos_policy", "routes", "s3", "snapmirror"),
            *("storage",),
        }
    ),
)


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> Svm:
    return await request.services.svms.create(request.call, values["name"])


async def _patch(request: Request, key: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.svms.rename(request.call, key, values["name"])


async def _delete(request: Request, key: str, _: WriteQuery) -> None:
    await request.services.svms.delete(request.call, key)


async def _page(request: Request, page: Page) -> tuple[Svm, ...]:
    return await request.services.svms.page(request.call, page)


async def _show(request: Request, _: Wanted) -> Svm:
    return await request.services.svms.get(request.call, request.path_uuid())


PATHS = Collection(resource=SVMS, page=_page, show=_show, create=_create, patch=_patch, delete=_delete).paths(
    COLLECTION
)

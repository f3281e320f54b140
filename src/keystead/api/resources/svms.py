"""``/svm/svms``: the SVMs (tenants) of the cluster. Source: ONTAP REST API reference, SVM."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.resource import Field, Group, Resource
from keystead.api.resources.svm_storage import STATED
from keystead.api.values import UUID, name, one_of
from keystead.core import errors
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import Svm
    from keystead.core.query.query import Wanted
    from keystead.service.cluster.svms import Stated
    from keystead.service.configuration.key_manager_views import Serving
    from keystead.service.ports.page import Page

COLLECTION = "/api/svm/svms"
_KEY_MANAGER = "key_manager"
_STATED_NAMES = frozenset(each.name for each in STATED)
_STATES = ("starting", "running", "stopping", "stopped", "initializing")
_SUBTYPES = ("default", "dp_destination", "sync_source", "sync_destination")


def svm_link(svm: Svm) -> str:
    """Return the path of an SVM."""
    return f"{COLLECTION}/{segment(svm.uuid)}"


@dataclass(frozen=True, slots=True)
class SvmView:
    """An SVM, with those of the other parts that were wanted: its key manager, and what is stated about its storage."""

    svm: Svm
    key_manager: Serving | None = None
    stated: Stated = field(default_factory=dict)


SVMS = Resource(
    name="svm",
    ontap="Svm",
    help="A storage virtual machine: a tenant with certificates and a key manager of its own.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The SVM's identifier.",
            get=attrgetter("svm.uuid"),
            read=Read.KEY,
            column="uuid",
        ),
        Field(
            name="name",
            type=name(255),
            help="The SVM's name, unique in the cluster.",
            get=attrgetter("svm.name"),
            read=Read.KEY,
            post=True,
            patch=True,
            required=True,
            column="name",
        ),
        Field(
            name="state",
            type=one_of(*_STATES),
            help="Always ``running``.",
            get=lambda _: "running",
            given=one_of("running"),
            patch=True,
        ),
        Field(
            name="subtype",
            type=one_of(*_SUBTYPES),
            help="Always ``default``.",
            get=lambda _: "default",
            given=one_of("default"),
            post=True,
        ),
        *STATED,
        Group(
            name=_KEY_MANAGER,
            help="Not ONTAP's: the key manager that keeps the SVM's keys, its own or the cluster's; left out if none.",
            get=attrgetter("key_manager"),
        ),
        Field(
            name=f"{_KEY_MANAGER}.uuid",
            type=UUID,
            help="The key manager's identifier; the cluster's is shown to cluster accounts only.",
            get=attrgetter("uuid"),
            read=Read.EXPENSIVE,
        ),
        Field(
            name=f"{_KEY_MANAGER}.scope",
            type=one_of("cluster", "svm"),
            help="The scope of the key manager.",
            get=attrgetter("scope"),
            read=Read.EXPENSIVE,
        ),
    ),
    link=lambda view: svm_link(view.svm),
    order=("uuid", UUID, attrgetter("svm.uuid")),
    absent=frozenset({"fcp_interfaces", "fpolicy"}),
)


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> SvmView:
    stated = _about_storage(values)
    return SvmView(await request.services.svms.create(request.call, values["name"], stated), stated=stated)


async def _patch(request: Request, key: str, values: dict[str, Any], _: WriteQuery) -> None:
    await request.services.svms.change(request.call, key, values.get("name"), _about_storage(values))


def _about_storage(values: dict[str, Any]) -> Stated:
    """Return what a body states about the SVM's storage."""
    return {name: value for name, value in values.items() if name not in {"name", "state", "subtype"}}


async def _delete(request: Request, key: str, _: WriteQuery) -> None:
    await request.services.svms.delete(request.call, key)


async def _page(request: Request, page: Page) -> tuple[SvmView, ...]:
    return await _views(request, await request.services.svms.page(request.call, page), page.wanted)


async def _show(request: Request, wanted: Wanted) -> SvmView:
    (view,) = await _views(request, [await request.services.svms.get(request.call, request.path_uuid())], wanted)
    return view


async def _views(request: Request, svms: Sequence[Svm], wanted: Wanted) -> tuple[SvmView, ...]:
    serving: dict[str, Serving] = {}
    if any(name.startswith(_KEY_MANAGER) for name in wanted):
        serving = await request.services.key_managers.serving(request.call, [svm.uuid for svm in svms])
    stated: dict[str, Stated] = {}
    if not _STATED_NAMES.isdisjoint(wanted):
        stated = await request.services.svms.stated([svm.uuid for svm in svms])
    return tuple(SvmView(svm, serving.get(svm.uuid), stated.get(svm.uuid, {})) for svm in svms)


_CODES = {
    "POST": (errors.DUPLICATE_ENTRY,),
    "PATCH": (errors.DUPLICATE_ENTRY,),
    "DELETE": (errors.IN_USE,),
}

PATHS = Collection(
    resource=SVMS, page=_page, show=_show, create=_create, patch=_patch, delete=_delete, codes=_CODES
).paths(COLLECTION)

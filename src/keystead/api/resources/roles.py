"""``/security/roles``: the built-in roles and their privileges, read only. Source: ONTAP REST API reference."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING

from keystead.api.hal import segment
from keystead.api.operations import listing, showing
from keystead.api.resource import Field, Group, Resource, always
from keystead.api.resources.accounts import owner_link
from keystead.api.values import BOOLEAN, TEXT, UUID, one_of, place_in_list, text
from keystead.core import errors
from keystead.core.access import Access, Privilege
from keystead.core.errors import OntapError
from keystead.core.model import Role, Svm
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.accounts.roles import RoleView
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/roles"
_ONE = f"{COLLECTION}/{{owner}}/{{name}}"
_ACCESS = one_of(*Access)
_PLACE = place_in_list(r"([0-9a-f-]{36})?/.+")


@dataclass(frozen=True, slots=True)
class PrivilegeView:
    """A privilege of a role."""

    of: RoleView
    privilege: Privilege


def role_link(view: RoleView) -> str:
    """Return the path of a role."""
    return f"{COLLECTION}/{segment(view.owner.uuid)}/{segment(view.role)}"


def privilege_link(view: PrivilegeView) -> str:
    """Return the path of a privilege. The privilege's own path is one segment of it."""
    return f"{role_link(view.of)}/privileges/{segment(view.privilege.path)}"


ROLES = Resource(
    name="role",
    ontap="Role",
    help="A built-in role: ``admin`` and ``readonly`` of the cluster, ``vsadmin`` and ``vsadmin-readonly`` of each SVM,"
    " and ``key-reader`` of both.",
    declared=(
        Group(
            name="owner", help="The SVM that has the role, or the cluster.", get=attrgetter("owner"), link=owner_link
        ),
        Field(name="owner.uuid", type=UUID, help="Its identifier.", get=attrgetter("uuid"), read=Read.KEY),
        Field(name="owner.name", type=text(255), help="Its name.", get=attrgetter("name"), read=Read.KEY),
        Field(name="name", type=one_of(*Role), help="The role's name.", get=attrgetter("role.value"), read=Read.KEY),
        Field(
            name="scope",
            type=one_of("cluster", "svm"),
            help="``svm`` for a role of an SVM, else ``cluster``.",
            get=lambda view: "svm" if isinstance(view.owner, Svm) else "cluster",
        ),
        Field(name="builtin", type=BOOLEAN, help="Always true: roles cannot be created.", get=always(value=True)),
        Group(
            name="privileges",
            help="The role's privileges. The longest path that matches a request decides.",
            get=lambda view: tuple(PrivilegeView(view, row) for row in view.privileges),
            many=True,
            link=privilege_link,
        ),
        Field(name="privileges.path", type=TEXT, help="A path of the API.", get=attrgetter("privilege.path")),
        Field(
            name="privileges.access", type=_ACCESS, help="The allowed access.", get=attrgetter("privilege.access.value")
        ),
    ),
    link=role_link,
    key="name",
    order=("place", _PLACE, attrgetter("place")),
    absent=frozenset({"comment"}),
)

PRIVILEGES = Resource(
    name="role_privilege",
    ontap="RolePrivilege",
    help="The access of a role to a path and all paths below it.",
    declared=(
        Field(name="path", type=TEXT, help="A path of the API.", get=attrgetter("privilege.path"), read=Read.KEY),
        Field(
            name="access",
            type=_ACCESS,
            help="``none``; ``readonly`` (GET), ``read_create`` (and POST), ``read_modify`` (and PATCH),"
            " ``read_create_modify``, ``all`` (and DELETE).",
            get=attrgetter("privilege.access.value"),
            read=Read.KEY,
        ),
    ),
    link=privilege_link,
    key="path",
    order=("path", TEXT, attrgetter("privilege.path")),
)


async def _page(request: Request, page: Page) -> tuple[RoleView, ...]:
    return await request.services.roles.page(request.call, page)


async def _role(request: Request) -> RoleView:
    return await request.services.roles.get(request.call, request.path_uuid("owner"), request.path_text("name"))


async def _show(request: Request, _: Wanted) -> RoleView:
    return await _role(request)


async def _privileges(request: Request, page: Page) -> tuple[PrivilegeView, ...]:
    role = await _role(request)
    (after,) = page.after or ("",)
    views = [PrivilegeView(role, row) for row in role.privileges if row.path > after]
    return tuple(views[page.offset : page.offset + page.limit])


async def _privilege(request: Request, _: Wanted) -> PrivilegeView:
    role = await _role(request)
    path = "/" + request.path_text("path").lstrip("/")
    for row in role.privileges:
        if row.path == path:
            return PrivilegeView(role, row)
    raise OntapError(errors.ENTRY_NOT_FOUND, target="path")


PATHS: Paths = {
    COLLECTION: {"GET": listing(ROLES, _page)},
    _ONE: {"GET": showing(ROLES, _show)},
    f"{_ONE}/privileges": {"GET": listing(PRIVILEGES, _privileges)},
    f"{_ONE}/privileges/{{path:path}}": {"GET": showing(PRIVILEGES, _privilege)},
}

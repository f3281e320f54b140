"""``/security/roles``: built-in and custom roles, and their privileges. Source: ONTAP REST API reference."""

from __future__ import annotations

from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.collections import Collection
from keystead.api.hal import segment
from keystead.api.operations import deleting, patching, showing
from keystead.api.resource import Field, Group, Resource, always
from keystead.api.resources.accounts import ROLES_PATH, owner_link, role_path
from keystead.api.values import BOOLEAN, TEXT, UUID, Type, one_of, place_in_list, text
from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.model import Access, Privilege, Svm
from keystead.core.query.query import Read
from keystead.core.roles import NewRole

if TYPE_CHECKING:
    from keystead.api.declared import Paths
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.query.query import Wanted
    from keystead.service.accounts.roles import RoleView
    from keystead.service.ports.page import Page

COLLECTION = ROLES_PATH
_ONE = f"{COLLECTION}/{{owner}}/{{name}}"
_ACCESS = one_of(*Access)
_PATH = Type("<path>", lambda value: "/" + TEXT.parse(value).lstrip("/"), textual=True)
"""A path in a URL. There its first slash may have been joined with the one before it."""
_PLACE = place_in_list(r"([0-9a-f-]{36})?/.+")


@dataclass(frozen=True, slots=True)
class PrivilegeView:
    """A privilege of a role."""

    of: RoleView
    privilege: Privilege


def role_link(view: RoleView) -> str:
    """Return the path of a role."""
    return role_path(view.owner, view.role.value)


def privilege_link(view: PrivilegeView) -> str:
    """Return the path of a privilege. The privilege's own path is one segment of it."""
    return f"{role_link(view.of)}/privileges/{segment(view.privilege.path)}"


def _privilege_fields(group: str, read: Read = Read.NORMAL) -> tuple[Field, ...]:
    """Return the fields of a privilege. ``group`` goes before their names."""
    return (
        Field(
            name=f"{group}path",
            type=_PATH,
            given=TEXT,
            help="A path of the API, such as ``/api/security/certificates``. ``*`` stands for any identifier.",
            get=attrgetter("privilege.path"),
            read=read,
            post=True,
            required=True,
        ),
        Field(
            name=f"{group}access",
            type=_ACCESS,
            given=TEXT,
            help="``none``; ``readonly`` (GET), ``read_create`` (and POST), ``read_modify`` (and PATCH),"
            " ``read_create_modify``, ``all`` (and DELETE).",
            get=attrgetter("privilege.access.value"),
            read=read,
            post=True,
            patch=not group,
            required=True,
        ),
        Field(
            name=f"{group}query",
            type=TEXT,
            help="Never shown, and cannot be set: it is for ONTAP's paths of commands.",
            get=always(None),
            refusal=errors.QUERY_OF_API_PATH,
            since="9.11",
        ),
    )


ROLES = Resource(
    name="role",
    ontap="Role",
    help="A built-in role (``admin`` and ``readonly`` of the cluster; ``vsadmin``, ``vsadmin-readonly`` and"
    " ``kmip-client`` of each SVM; ``key-reader`` of both), or a custom one. A custom role grants what its privileges"
    " say and nothing else. It never grants more than its maker has, nor than ``vsadmin`` has if it is an SVM's. It"
    " never reads key material.",
    declared=(
        Group(
            name="owner", help="The SVM that has the role, or the cluster.", get=attrgetter("owner"), link=owner_link
        ),
        Field(name="owner.uuid", type=UUID, help="Its identifier.", get=attrgetter("uuid"), read=Read.KEY, post=True),
        Field(name="owner.name", type=text(255), help="Its name.", get=attrgetter("name"), read=Read.KEY, post=True),
        Field(
            name="name",
            type=TEXT,
            help="The role's name: up to 64 letters, digits and ``. _ -``; unique for its owner, ignoring case.",
            get=attrgetter("role.value"),
            read=Read.KEY,
            post=True,
            required=True,
        ),
        Field(
            name="scope",
            type=one_of("cluster", "svm"),
            help="``svm`` for a role of an SVM, else ``cluster``.",
            get=lambda view: "svm" if isinstance(view.owner, Svm) else "cluster",
        ),
        Field(
            name="builtin",
            type=BOOLEAN,
            help="Whether the role is built in, and can be neither changed nor deleted.",
            get=attrgetter("builtin"),
        ),
        Group(
            name="privileges",
            help="The role's privileges. The longest path that matches a request decides.",
            get=lambda view: tuple(PrivilegeView(view, row) for row in view.privileges),
            many=True,
            link=privilege_link,
        ),
        *_privilege_fields("privileges."),
    ),
    link=role_link,
    key="name",
    in_path={"owner.uuid": "owner", "name": "name"},
    order=("place", _PLACE, attrgetter("place")),
    absent=frozenset({"comment"}),
)

PRIVILEGES = Resource(
    name="role_privilege",
    ontap="RolePrivilege",
    help="The access of a role to a path and all paths below it.",
    declared=_privilege_fields("", Read.KEY),
    link=privilege_link,
    key="path",
    order=("path", TEXT, attrgetter("privilege.path")),
)


def _owner(request: Request) -> str | None:
    """Return the owner that the path names. Return None for a change by records, where the path names none."""
    try:
        return request.path_uuid("owner")
    except KeyError:
        return None


async def _page(request: Request, page: Page) -> tuple[RoleView, ...]:
    return await request.services.roles.page(request.call, page)


async def _role(request: Request) -> RoleView:
    return await request.services.roles.get(request.call, _owner(request), request.path_text("name"))


async def _show(request: Request, _: Wanted) -> RoleView:
    return await _role(request)


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> RoleView:
    owner = values.get("owner", {})
    written = tuple((row["path"], row["access"]) for row in values.get("privileges", ()))
    new = NewRole(values["name"], written, owner.get("uuid"), owner.get("name"))
    return await request.services.roles.create(request.call, new)


async def _delete(request: Request, key: str, _: WriteQuery) -> None:
    await request.services.roles.delete(request.call, _owner(request), key)


async def _privileges(request: Request, page: Page) -> tuple[PrivilegeView, ...]:
    role = await _role(request)
    (after,) = page.after or ("",)
    views = [PrivilegeView(role, row) for row in role.privileges if row.path > after]
    return tuple(views[page.offset : page.offset + page.limit])


async def _privilege(request: Request, _: Wanted) -> PrivilegeView:
    return _privilege_of(await _role(request), _PATH.parse(request.path_text("path")))


def _privilege_of(role: RoleView, path: str) -> PrivilegeView:
    for row in role.privileges:
        if row.path == path:
            return PrivilegeView(role, row)
    raise OntapError(errors.ENTRY_NOT_FOUND, target="path")


async def _add(request: Request, values: dict[str, Any], _: WriteQuery) -> PrivilegeView:
    owner, name, path = request.path_uuid("owner"), request.path_text("name"), values["path"]
    role = await request.services.roles.add_privilege(request.call, owner, name, path, values["access"])
    return _privilege_of(role, path)


async def _change(request: Request, key: str, values: dict[str, Any], _: WriteQuery) -> None:
    owner, name = request.path_uuid("owner"), request.path_text("name")
    await request.services.roles.change_privilege(request.call, owner, name, key, values["access"])


async def _remove(request: Request, key: str, _: WriteQuery) -> None:
    owner, name = request.path_uuid("owner"), request.path_text("name")
    await request.services.roles.remove_privilege(request.call, owner, name, key)


_GRANTING = (
    *(errors.INVALID_VALUE, errors.ACCESS_INVALID, errors.API_NOT_OF_SVMS, errors.ACCESS_NOT_OF_SVMS),
    *(errors.PATH_INVALID, errors.PATH_NOT_SERVED, errors.QUERY_OF_API_PATH),
)
_ROLE_CODES = {
    "POST": (
        *(errors.DUPLICATE_ENTRY, errors.ROLE_NAME_RESERVED, errors.SVM_NOT_FOUND, errors.VALUE_TWICE),
        *_GRANTING,
    ),
    "DELETE": (errors.ROLE_BUILT_IN, errors.ROLE_IN_USE),
}
_PRIVILEGE_CODES = {
    "POST": (errors.DUPLICATE_ENTRY, errors.ROLE_NOT_DEFINED, errors.ROLE_BUILT_IN, *_GRANTING),
    "PATCH": (errors.ROLE_BUILT_IN, *_GRANTING),
    "DELETE": (errors.ROLE_BUILT_IN, errors.ROLE_IN_USE, errors.INVALID_VALUE),
}
_ALL_ROLES = Collection(
    resource=ROLES, page=_page, show=_show, create=_create, delete=_delete, codes=_ROLE_CODES
).operations()
_ALL_PRIVILEGES = Collection(
    resource=PRIVILEGES,
    page=_privileges,
    show=_privilege,
    create=_add,
    patch=_change,
    delete=_remove,
    codes=_PRIVILEGE_CODES,
).operations()

PATHS: Paths = {
    COLLECTION: _ALL_ROLES,
    _ONE: {
        "GET": showing(ROLES, _show, key_again=True),
        "DELETE": deleting(ROLES, _delete, codes=_ROLE_CODES["DELETE"]),
    },
    f"{_ONE}/privileges": _ALL_PRIVILEGES,
    f"{_ONE}/privileges/{{path:path}}": {
        "GET": showing(PRIVILEGES, _privilege),
        "PATCH": patching(PRIVILEGES, _change, codes=_PRIVILEGE_CODES["PATCH"]),
        "DELETE": deleting(PRIVILEGES, _remove, codes=_PRIVILEGE_CODES["DELETE"]),
    },
}

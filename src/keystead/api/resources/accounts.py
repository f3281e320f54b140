"""``/security/accounts``: the accounts that may log in, and their methods.

Source: ONTAP REST API reference, security accounts. The only application is ``http``. A name is unique in the whole
cluster; in ONTAP it is unique per owner.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.collections import Collection
from keystead.api.declared import Form, Paths
from keystead.api.hal import Reply, segment
from keystead.api.operations import acting, deleting, patching, showing
from keystead.api.resource import Field, Group, Resource, always, itself
from keystead.api.resources.svms import svm_link
from keystead.api.values import BOOLEAN, SECRET, TEXT, UUID, one_of, text
from keystead.core import errors
from keystead.core.accounts import CERTIFICATE, PASSWORD, AccountChange, NewAccount, methods_of
from keystead.core.model import Role, Svm
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import Cluster
    from keystead.core.query.query import Wanted
    from keystead.service.accounts.accounts import AccountView
    from keystead.service.ports.page import Page

COLLECTION = "/api/security/accounts"
ROLES_PATH = "/api/security/roles"
PASSWORD_PATH = "/api/security/authentication/password"  # noqa: S105 - a path
CLUSTER_PATH = "/api/cluster"


def owner_link(owner: Svm | Cluster) -> str:
    """Return the path of an owner."""
    return svm_link(owner) if isinstance(owner, Svm) else CLUSTER_PATH


def role_path(owner: Svm | Cluster, role: str) -> str:
    """Return the path of a role of an owner."""
    return f"{ROLES_PATH}/{segment(owner.uuid)}/{segment(role)}"


_OWNER = Group(name="owner", help="The SVM or cluster that owns the account.", get=attrgetter("owner"), link=owner_link)


def _owner_field(name: str, type_: Any, help_: str, **options: Any) -> Field:
    return Field(name=f"owner.{name}", type=type_, help=help_, get=attrgetter(name), post=True, **options)


_NAME = Field(
    name="name",
    type=TEXT,
    help="3 to 64 letters, digits and ``. _ - @``; unique in the cluster, ignoring case.",
    get=attrgetter("account.name"),
    read=Read.KEY,
    post=True,
    required=True,
    column="name",
)
_PASSWORD = Field(
    name="password",
    type=SECRET,
    help="8 to 128 characters with a letter and a digit; never shown.",
    read=Read.NEVER,
    post=True,
    patch=True,
    secret=True,
)
_ALGORITHM = Field(
    name="password_hash_algorithm",
    type=one_of("sha512", "sha256", "md5"),
    help="Accepted and ignored: every password is hashed with argon2id.",
    read=Read.NEVER,
    post=True,
    patch=True,
    since="9.11",
)

ACCOUNTS = Resource(
    name="account",
    ontap="Account",
    help="An account of the cluster or of an SVM, which calls this API with a password or a client certificate.",
    declared=(
        _OWNER,
        _owner_field("uuid", UUID, "Its identifier.", read=Read.KEY),
        _owner_field("name", text(255), "Its name.", read=Read.KEY),
        _NAME,
        Field(
            name="scope",
            type=one_of("cluster", "svm"),
            help="``svm`` if the account belongs to an SVM, else ``cluster``.",
            get=lambda view: "svm" if view.account.svm else "cluster",
            column="scope",
        ),
        Group(
            name="role",
            help="The role, which says what the account may do.",
            get=itself,
            link=lambda view: role_path(view.owner, view.account.role.value),
        ),
        Field(
            name="role.name",
            type=TEXT,
            help="``admin`` (the default), ``readonly`` or ``key-reader`` for the cluster. ``vsadmin`` (the default),"
            " ``vsadmin-readonly``, ``key-reader`` or ``kmip-client`` for an SVM. Or a custom role of the account's"
            " owner.",
            get=lambda view: view.account.role.value,
            post=True,
            patch=True,
            column="role",
        ),
        Group(name="applications", help="The ways to log in.", get=lambda view: (view,), many=True),
        Field(
            name="applications.application",
            type=one_of("http", "kmip"),
            help="``kmip`` for the role ``kmip-client``, else ``http``. The role decides, whatever is sent.",
            get=lambda view: "kmip" if view.account.role is Role.KMIP_CLIENT else "http",
            post=True,
            patch=True,
        ),
        Field(
            name="applications.authentication_methods",
            type=one_of(PASSWORD, CERTIFICATE),
            help="``password``, ``certificate`` (with the account's name as its common name), or both.",
            get=lambda view: sorted(methods_of(view.account)),
            post=True,
            patch=True,
            required=True,
            many=True,
        ),
        Field(
            name="applications.second_authentication_method",
            type=one_of("none"),
            help="Always ``none``.",
            get=always("none"),
            post=True,
            patch=True,
        ),
        Field(
            name="locked",
            type=BOOLEAN,
            help="Whether the account is locked and cannot log in.",
            get=attrgetter("account.locked"),
            post=True,
            patch=True,
            column="locked",
        ),
        Field(
            name="comment",
            type=text(128),
            help="The purpose of the account.",
            get=attrgetter("account.comment"),
            post=True,
            patch=True,
            column="comment",
        ),
        _PASSWORD,
        _ALGORITHM,
    ),
    link=lambda view: f"{COLLECTION}/{segment(view.owner.uuid)}/{segment(view.account.name)}",
    key="name",
    in_path={"owner.uuid": "owner", "name": "name"},
    order=("name", TEXT, attrgetter("account.name")),
    absent=frozenset({"is_ldap_fastbind", "is_ns_switch_group", "ldap_fastbind", "public_key"}),
)

NEW_PASSWORD = Resource(
    name="account_password",
    help="A new password for the account with the given name. Each account may set its own password; administrators of"
    " the cluster may set any.",
    declared=(
        _OWNER,
        _owner_field("uuid", UUID, "Its identifier."),
        _owner_field("name", text(255), "Its name."),
        Field(name="name", type=TEXT, help="The account's name.", post=True, required=True),
        Field(
            name="password",
            type=SECRET,
            help="The new password.",
            read=Read.NEVER,
            post=True,
            required=True,
            secret=True,
        ),
        _ALGORITHM,
    ),
    link=always(PASSWORD_PATH),
)


def _methods(values: Mapping[str, Any]) -> frozenset[str] | None:
    """Return the authentication methods of a body, or None if the body has no applications."""
    if "applications" not in values:
        return None
    named = (application.get("authentication_methods", ()) for application in values["applications"])
    return frozenset(method for methods in named for method in methods)


def _role(values: Mapping[str, Any]) -> str | None:
    name: str | None = values.get("role", {}).get("name")
    return name


def _owner(request: Request) -> str | None:
    """Return the owner that the path names. Return None for a change by query or records, where the path names none."""
    try:
        return request.path_uuid("owner")
    except KeyError:
        return None


async def _create(request: Request, values: dict[str, Any], _: WriteQuery) -> AccountView:
    owner = values.get("owner", {})
    new = NewAccount(
        name=values["name"],
        methods=_methods(values) or frozenset(),
        owner_uuid=owner.get("uuid"),
        owner_name=owner.get("name"),
        role=_role(values),
        password=values.get("password"),
        locked=values.get("locked", False),
        comment=values.get("comment", ""),
    )
    return await request.services.accounts.create(request.call, new)


async def _patch(request: Request, key: str, values: dict[str, Any], _: WriteQuery) -> None:
    change = AccountChange(
        methods=_methods(values),
        role=_role(values),
        password=values.get("password"),
        locked=values.get("locked"),
        comment=values.get("comment"),
    )
    await request.services.accounts.change(request.call, _owner(request), key, change)


async def _delete(request: Request, key: str, _: WriteQuery) -> None:
    await request.services.accounts.delete(request.call, _owner(request), key)


async def _page(request: Request, page: Page) -> tuple[AccountView, ...]:
    return await request.services.accounts.page(request.call, page)


async def _show(request: Request, _: Wanted) -> AccountView:
    return await request.services.accounts.get(request.call, _owner(request), request.path_text("name"))


async def _set_password(request: Request, values: dict[str, Any], _: WriteQuery) -> Reply:
    owner = values.get("owner", {})
    await request.services.accounts.set_password(
        request.call, values["name"], values["password"], owner.get("uuid"), owner.get("name")
    )
    return Reply(201, {})


_PASSWORD_CODES = (
    *(errors.PASSWORD_HOLDS_NAME, errors.PASSWORD_TOO_LONG, errors.PASSWORD_TOO_SHORT, errors.PASSWORD_TOO_SIMPLE),
)
_CHANGE_CODES = (
    *(errors.ROLE_NOT_FOUND, errors.ROLE_OF_OTHER_SCOPE, errors.PASSWORD_MISSING, errors.LAST_ADMIN),
    *_PASSWORD_CODES,
)
_NAME_CODES = (errors.NAME_CHARACTERS, errors.NAME_LENGTH, errors.NAME_RESERVED)
_CODES = {
    "POST": (errors.DUPLICATE_ENTRY, *_NAME_CODES, *_CHANGE_CODES, errors.SVM_NOT_FOUND),
    "PATCH": (*_CHANGE_CODES, errors.PASSWORD_REPEATED),
    "DELETE": (errors.LAST_ADMIN,),
}
_ALL = Collection(resource=ACCOUNTS, page=_page, show=_show, create=_create, patch=_patch, delete=_delete, codes=_CODES)

PATHS: Paths = {
    COLLECTION: _ALL.operations(),
    f"{COLLECTION}/{{owner}}/{{name}}": {
        "GET": showing(ACCOUNTS, _show, key_again=True),
        "PATCH": patching(ACCOUNTS, _patch, codes=_CODES["PATCH"]),
        "DELETE": deleting(ACCOUNTS, _delete, codes=_CODES["DELETE"]),
    },
    PASSWORD_PATH: {
        "POST": acting(
            NEW_PASSWORD,
            _set_password,
            Form.COMMAND,
            "Set an account's password",
            (errors.USER_NOT_FOUND, errors.SVM_NOT_FOUND, errors.PASSWORD_REPEATED, *_PASSWORD_CODES),
        )
    },
}

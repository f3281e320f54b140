"""The rights of each role: tables from paths to access, and the access that a method needs. Pure.

``/security/roles`` shows the same tables. Source: ONTAP REST API reference, "REST roles". A privilege is for a path and
everything beneath it. ``*`` matches any one segment. The longest matching path counts. GET needs ``readonly``, POST
``read_create``, PATCH ``read_modify``, DELETE ``all``.

A custom role grants what its own table grants, and no more than ``admin`` has, or ``vsadmin`` if an SVM owns the role.
So no custom role reads key material.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from keystead.core.model import Access, CustomRole, Privilege, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

READS = frozenset({"GET", "HEAD", "OPTIONS"})

_METHODS = {
    Access.NONE: frozenset[str](),
    Access.READONLY: READS,
    Access.READ_CREATE: READS | {"POST"},
    Access.READ_MODIFY: READS | {"PATCH"},
    Access.READ_CREATE_MODIFY: READS | {"POST", "PATCH"},
}
"""The methods that an access allows. ``all`` allows every method, so that an unknown method is refused as unknown."""

_ACCESS = {methods: access for access, methods in _METHODS.items()}


_OWN_ACCOUNT = (
    Privilege("/api/security/accounts", Access.READ_MODIFY),
    Privilege("/api/security/authentication/password", Access.READ_CREATE),
)
"""Every account may change its own password. The use case refuses any other change."""

_OF_EVERY_SVM_ACCOUNT = (
    Privilege("/api", Access.NONE),
    Privilege("/api/cluster", Access.READONLY),
    Privilege("/api/cluster/nodes", Access.NONE),
    *_OWN_ACCOUNT,
    Privilege("/api/security/audit/messages", Access.READONLY),
    Privilege("/api/security/login/whoami", Access.READONLY),
    Privilege("/api/security/roles", Access.READONLY),
    Privilege("/api/support/attention", Access.READONLY),
    Privilege("/api/support/ems/events", Access.READONLY),
    Privilege("/api/svm/svms", Access.READONLY),
)

_LOGIN_MESSAGES = "/api/security/login/messages"
_JOBS = "/api/cluster/jobs"
_CLI_CERTIFICATES = Privilege("/api/private/cli/security/certificate", Access.READONLY)

RETRIEVE = "/api/security/key-managers/*/volume-keys/*/retrieve"
"""The path that returns key material: for ``key-reader`` alone. No other role includes it."""

CONFIRM = "/api/security/key-managers/*/key-servers/*/confirm"
"""The path that says that a key server is the right one: for administrators of the cluster alone."""

_RETRIEVE = RETRIEVE.split("/")
_NO_MATERIAL = Privilege(RETRIEVE, Access.NONE)

_KEY_MANAGEMENT = (
    "/api/security/certificate-signing-request",
    "/api/security/certificates",
    "/api/security/key-managers",
    "/api/security/key-stores",
)


def _table(*privileges: Privilege) -> tuple[Privilege, ...]:
    return tuple(sorted(privileges, key=lambda privilege: privilege.path))


PRIVILEGES = {
    Role.ADMIN: _table(Privilege("/api", Access.ALL), _NO_MATERIAL),
    Role.READONLY: _table(Privilege("/api", Access.READONLY), *_OWN_ACCOUNT),
    Role.VSADMIN: _table(
        *(*_OF_EVERY_SVM_ACCOUNT, _CLI_CERTIFICATES),
        *(Privilege(path, Access.ALL) for path in _KEY_MANAGEMENT),
        Privilege(_JOBS, Access.ALL),  # as in ONTAP: roles of SVMs are made with it
        *(Privilege(CONFIRM, Access.NONE), _NO_MATERIAL, Privilege(_LOGIN_MESSAGES, Access.READ_MODIFY)),
    ),
    Role.VSADMIN_READONLY: _table(
        *(*_OF_EVERY_SVM_ACCOUNT, _CLI_CERTIFICATES),
        *(Privilege(path, Access.READONLY) for path in (*_KEY_MANAGEMENT, _LOGIN_MESSAGES)),
    ),
    Role.KEY_READER: _table(
        *(Privilege("/api", Access.NONE), Privilege("/api/cluster", Access.READONLY), *_OWN_ACCOUNT),
        *(Privilege("/api/cluster/nodes", Access.NONE), Privilege("/api/security/login/whoami", Access.READONLY)),
        *(Privilege("/api/security/key-managers", Access.READONLY), Privilege(RETRIEVE, Access.READ_CREATE)),
    ),
    Role.KMIP_CLIENT: _table(Privilege("/api", Access.NONE)),
}
"""The table of all roles. An SVM role grants access on the account's own SVM only; other SVMs look absent."""

CLUSTER_ROLES = (Role.ADMIN, Role.READONLY, Role.KEY_READER)
SVM_ROLES = (Role.VSADMIN, Role.VSADMIN_READONLY, Role.KEY_READER, Role.KMIP_CLIENT)


ROOT = Privilege("", Access.NONE)
"""What custom roles grant on paths that they do not name."""

_Pattern = tuple[list[str], Access]


def _patterns(rows: Sequence[Privilege]) -> tuple[_Pattern, ...]:
    """Return a table in the form for lookups on each request: the longest paths first.

    Of paths of one length, the one that names a segment goes before the one with ``*`` there.
    """
    split = [(row.path.split("/") if row.path else [], row.access) for row in rows]
    return tuple(sorted(split, key=lambda each: (len(each[0]), [part != "*" for part in each[0]]), reverse=True))


_PATTERNS = {role: _patterns([*rows, Privilege("", rows[0].access)]) for role, rows in PRIVILEGES.items()}
"""The table of built-in roles for lookups. Its first row is for ``/api``, and for paths elsewhere as well."""


@lru_cache(maxsize=256)
def _custom_patterns(rows: tuple[Privilege, ...]) -> tuple[_Pattern, ...]:
    return _patterns([*rows, ROOT])


def limit_of(role: CustomRole) -> Role:
    """Return the built-in role that has everything a custom role may grant."""
    return Role.ADMIN if role.svm is None else Role.VSADMIN


def lesser(one: Access, other: Access) -> Access:
    """Return the access that allows what both allow."""
    if one is Access.ALL:
        return other
    return one if other is Access.ALL else _ACCESS[_METHODS[one] & _METHODS[other]]


def access_to(role: Role | CustomRole, path: str) -> Access:
    """Return what the role grants on a path without doubled slashes: the access of the longest matching row.

    A custom role never grants more than its limit does there.
    """
    segments = path.split("/")
    if isinstance(role, Role):
        return _granted(_PATTERNS[role], segments)
    own = _granted(_custom_patterns(role.privileges), segments)
    return lesser(own, _granted(_PATTERNS[limit_of(role)], segments))


def _granted(patterns: Sequence[_Pattern], segments: list[str]) -> Access:
    return next(access for pattern, access in patterns if _fits(pattern, segments))


def _fits(pattern: list[str], segments: list[str]) -> bool:
    if len(pattern) > len(segments):
        return False
    # A loop costs half as much as all(), and this runs some ten times for each request.
    for wanted, found in zip(pattern, segments, strict=False):  # noqa: SIM110
        if wanted not in ("*", found):
            return False
    return True


def privileges_of(role: Role | CustomRole) -> tuple[Privilege, ...]:
    """Return what the role really grants, by path: a custom role's rows, and what its limit denies beneath them."""
    if isinstance(role, Role):
        return PRIVILEGES[role]
    denied = [row for row in PRIVILEGES[limit_of(role)] if row.access is Access.NONE]
    granted = [row for row in role.privileges if row.access is not Access.NONE]
    paths = {row.path for row in role.privileges} | {
        below.path
        for below in denied
        for row in granted
        if below.path.count("/") > row.path.count("/") and _overlap(below.path, row.path)
    }
    return tuple(Privilege(path, access_to(role, path)) for path in sorted(paths))


def granted_beyond(rows: tuple[Privilege, ...], others: tuple[Privilege, ...]) -> str:
    """Return a path on which these rows grant what the other rows do not, else an empty text.

    Paths that two rows have in common show every difference. At such a path the same two rows win as at a path
    beneath it where they differ.
    """
    own, other = _custom_patterns(rows), _custom_patterns(others)
    pairs = ((row.path, each.path) for row in rows for each in (*others, ROOT))
    for path in filter(None, (_overlap(*pair) for pair in pairs)):
        segments = path.split("/")
        granted = _granted(own, segments)
        if lesser(granted, _granted(other, segments)) is not granted:
            return path
    return ""


def _overlap(one: str, other: str) -> str:
    """Return the path of everything that is at or beneath both paths, empty if there is nothing."""
    first, second = (path.split("/") if path else [] for path in (one, other))
    common: list[str] = []
    for mine, its in zip(first, second, strict=False):
        if mine != its and "*" not in (mine, its):
            return ""
        common.append(its if mine == "*" else mine)
    return "/".join([*common, *max(first, second, key=len)[len(common) :]])


def is_retrieval(path: str) -> bool:
    """Return True if the path is the one that returns key material."""
    segments = path.split("/")
    return len(segments) == len(_RETRIEVE) and _fits(_RETRIEVE, segments)


def is_allowed(role: Role | CustomRole, method: str, path: str) -> bool:
    """Return True if the role may call this method of the path."""
    access = access_to(role, path)
    return access is Access.ALL or method in _METHODS[access]

"""The rights of each built-in role: one table from paths to access, and the access that a method needs. Pure.

``/security/roles`` shows the same table. Source: ONTAP REST API reference, "REST roles". A privilege is for a path and
everything beneath it. ``*`` matches any one segment. The longest matching path counts. GET needs ``readonly``, POST
``read_create``, PATCH ``read_modify``, DELETE ``all``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from keystead.core.model import Role


class Access(StrEnum):
    """ONTAP's words for what a privilege grants."""

    NONE = "none"
    READONLY = "readonly"
    READ_CREATE = "read_create"
    READ_MODIFY = "read_modify"
    READ_CREATE_MODIFY = "read_create_modify"
    ALL = "all"


READS = frozenset({"GET", "HEAD", "OPTIONS"})

_METHODS = {
    Access.NONE: frozenset[str](),
    Access.READONLY: READS,
    Access.READ_CREATE: READS | {"POST"},
    Access.READ_MODIFY: READS | {"PATCH"},
    Access.READ_CREATE_MODIFY: READS | {"POST", "PATCH"},
}
"""The methods that an access allows. ``all`` allows every method, so that an unknown method is refused as unknown."""


@dataclass(frozen=True, slots=True)
class Privilege:
    """Access to a path and to everything beneath it."""

    path: str
    access: Access


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
        *_OF_EVERY_SVM_ACCOUNT,
        *(Privilege(path, Access.ALL) for path in _KEY_MANAGEMENT),
        *(Privilege(CONFIRM, Access.NONE), _NO_MATERIAL),
    ),
    Role.VSADMIN_READONLY: _table(
        *_OF_EVERY_SVM_ACCOUNT, *(Privilege(path, Access.READONLY) for path in _KEY_MANAGEMENT)
    ),
    Role.KEY_READER: _table(
        *(Privilege("/api", Access.NONE), Privilege("/api/cluster", Access.READONLY), *_OWN_ACCOUNT),
        *(Privilege("/api/cluster/nodes", Access.NONE), Privilege("/api/security/login/whoami", Access.READONLY)),
        *(Privilege("/api/security/key-managers", Access.READONLY), Privilege(RETRIEVE, Access.READ_CREATE)),
    ),
}
"""The table of all roles. An SVM role grants access on the account's own SVM only; other SVMs look absent."""

CLUSTER_ROLES = (Role.ADMIN, Role.READONLY, Role.KEY_READER)
SVM_ROLES = (Role.VSADMIN, Role.VSADMIN_READONLY, Role.KEY_READER)


_PATTERNS = {
    role: sorted(((row.path.split("/"), row.access) for row in rows), key=lambda each: len(each[0]), reverse=True)
    for role, rows in PRIVILEGES.items()
}
"""The table in the form for lookups on each request: the longest paths first, the row of ``/api`` last."""


def access_to(role: Role, path: str) -> Access:
    """Return what the role grants on a path without doubled slashes: the access of the longest matching row."""
    segments = path.split("/")
    return next((access for pattern, access in _PATTERNS[role] if _fits(pattern, segments)), _PATTERNS[role][-1][1])


def _fits(pattern: list[str], segments: list[str]) -> bool:
    if len(pattern) > len(segments):
        return False
    # A loop costs half as much as all(), and this runs some ten times for each request.
    for wanted, found in zip(pattern, segments, strict=False):  # noqa: SIM110
        if wanted not in ("*", found):
            return False
    return True


def is_retrieval(path: str) -> bool:
    """Return True if the path is the one that returns key material."""
    segments = path.split("/")
    return len(segments) == len(_RETRIEVE) and _fits(_RETRIEVE, segments)


def is_allowed(role: Role, method: str, path: str) -> bool:
    """Return True if the role may call this method of the path."""
    access = access_to(role, path)
    return access is Access.ALL or method in _METHODS[access]

"""What each built-in role may do: one table from path to access, and the access that a method needs.

The same table is shown by ``/security/roles``. Pure. Source: ONTAP REST API reference, "REST roles": a privilege is a
path and everything beneath it, ``*`` stands for any one segment, the longest that fits counts; GET needs ``readonly``,
POST ``read_create``, PATCH ``read_modify``, DELETE ``all``.
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
"""The methods that an access allows; ``all`` allows any, so that an unknown method is refused as such."""


@dataclass(frozen=True, slots=True)
class Privilege:
    """Access to a path and to what lies beneath it."""

    path: str
    access: Access


_OWN_ACCOUNT = (
    Privilege("/api/security/accounts", Access.READ_MODIFY),
    Privilege("/api/security/authentication/password", Access.READ_CREATE),
)
"""Every account changes its own password; the use case sees to it that it changes nothing else."""

_OF_EVERY_SVM_ACCOUNT = (
    Privilege("/api", Access.NONE),
    Privilege("/api/cluster", Access.READONLY),
    Privilege("/api/cluster/nodes", Access.NONE),
    *_OWN_ACCOUNT,
    Privilege("/api/security/audit/messages", Access.READONLY),
    Privilege("/api/security/login/whoami", Access.READONLY),
    Privilege("/api/security/roles", Access.READONLY),
    Privilege("/api/support/ems/events", Access.READONLY),
    Privilege("/api/svm/svms", Access.READONLY),
)

RETRIEVE = "/api/security/key-managers/*/volume-keys/*/retrieve"
"""Where key material leaves: for ``key-reader`` alone, which nothing else implies."""

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
        *_OF_EVERY_SVM_ACCOUNT, *(Privilege(path, Access.ALL) for path in _KEY_MANAGEMENT), _NO_MATERIAL
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
"""THE table. An SVM role grants it on the account's own SVM only: the rest is as if it did not exist."""

CLUSTER_ROLES = (Role.ADMIN, Role.READONLY, Role.KEY_READER)
SVM_ROLES = (Role.VSADMIN, Role.VSADMIN_READONLY, Role.KEY_READER)


_PATTERNS = {
    role: sorted(((row.path.split("/"), row.access) for row in rows), key=lambda each: len(each[0]), reverse=True)
    for role, rows in PRIVILEGES.items()
}
"""The table as it is looked up for each request: the longest paths first, ``/api``'s row last."""


def access_to(role: Role, path: str) -> Access:
    """What a role grants on a path, as written in a request without doubled slashes: the longest fitting row's."""
    segments = path.split("/")
    return next((access for pattern, access in _PATTERNS[role] if _fits(pattern, segments)), _PATTERNS[role][-1][1])


def _fits(pattern: list[str], segments: list[str]) -> bool:
    if len(pattern) > len(segments):
        return False
    # A loop, at half the cost of all(): this is done some ten times for each request.
    for wanted, found in zip(pattern, segments, strict=False):  # noqa: SIM110
        if wanted not in ("*", found):
            return False
    return True


def is_retrieval(path: str) -> bool:
    """Whether a path is where key material leaves."""
    segments = path.split("/")
    return len(segments) == len(_RETRIEVE) and _fits(_RETRIEVE, segments)


def is_allowed(role: Role, method: str, path: str) -> bool:
    """Whether a role may call a method of a path."""
    access = access_to(role, path)
    return access is Access.ALL or method in _METHODS[access]

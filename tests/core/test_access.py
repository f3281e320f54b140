"""keystead.core.access: the table of roles."""

from __future__ import annotations

import pytest

from keystead.core.access import (
    CLUSTER_ROLES,
    PRIVILEGES,
    RETRIEVE,
    SVM_ROLES,
    access_to,
    is_allowed,
    is_retrieval,
)
from keystead.core.model import Access, Role


def allowed(role: Role, path: str) -> str:
    """Return the initials of the methods that a role may call."""
    return "".join(method[0] for method in ("GET", "POST", "PATCH", "DELETE") if is_allowed(role, method, path))


@pytest.mark.parametrize(
    ("role", "path", "expected"),
    [
        (Role.ADMIN, "/api/security/key-managers", Access.ALL),
        (Role.ADMIN, "/nosuch", Access.ALL),
        (Role.READONLY, "/api/security/key-managers", Access.READONLY),
        (Role.READONLY, "/nosuch", Access.READONLY),
        (Role.READONLY, "/api/security/accounts/x/y", Access.READ_MODIFY),
        (Role.VSADMIN, "/api/security/key-managers", Access.ALL),
        (Role.VSADMIN, "/api/security/key-managers/x/key-servers/y", Access.ALL),
        (Role.VSADMIN, "/api/security/key-manager-configs", Access.NONE),
        (Role.VSADMIN, "/api/security/certificates/x/sign", Access.ALL),
        (Role.VSADMIN, "/api/security/audit", Access.NONE),
        (Role.VSADMIN, "/api/security/audit/messages", Access.READONLY),
        (Role.VSADMIN, "/api/security", Access.NONE),
        (Role.VSADMIN, "/api/private/cli/security/certificate", Access.READONLY),
        (Role.VSADMIN, "/api/private/cli/security/login", Access.NONE),
        (Role.VSADMIN, "/api/cluster", Access.READONLY),
        (Role.VSADMIN, "/api/cluster/jobs/x", Access.ALL),
        (Role.VSADMIN_READONLY, "/api/cluster/jobs/x", Access.READONLY),
        (Role.VSADMIN, "/api/cluster/nodes", Access.NONE),
        (Role.VSADMIN, "/api/cluster/nodes/x", Access.NONE),
        (Role.VSADMIN, "/api/clusters", Access.NONE),
        (Role.VSADMIN, "/api", Access.NONE),
        (Role.VSADMIN, "/", Access.NONE),
        (Role.VSADMIN, "", Access.NONE),
        (Role.VSADMIN_READONLY, "/api/security/key-managers/x", Access.READONLY),
        (Role.VSADMIN_READONLY, "/api/svm/svms", Access.READONLY),
        (Role.VSADMIN_READONLY, "/api/storage/volumes", Access.NONE),
        (Role.KEY_READER, "/api/security/key-managers/x/volume-keys", Access.READONLY),
        (Role.KEY_READER, "/api/security/key-managers/x/volume-keys/y/retrieve", Access.READ_CREATE),
        (Role.KEY_READER, "/api/security/certificates", Access.NONE),
        (Role.KEY_READER, "/api/private/cli/security/certificate", Access.NONE),
        (Role.KEY_READER, "/api/svm/svms", Access.NONE),
        (Role.KEY_READER, "/nosuch", Access.NONE),
    ],
)
def test_the_longest_path_that_fits_counts(role: Role, path: str, expected: Access) -> None:
    """A privilege holds for its path and the paths below it; names with the same beginning do not count."""
    assert access_to(role, path) is expected


@pytest.mark.parametrize(
    ("role", "path", "methods"),
    [
        (Role.VSADMIN, "/api", ""),
        (Role.VSADMIN, "/api/svm/svms", "G"),
        (Role.READONLY, "/api/security/authentication/password", "GP"),
        (Role.VSADMIN_READONLY, "/api/security/accounts", "GP"),
        (Role.VSADMIN, "/api/security/certificates", "GPPD"),
    ],
)
def test_an_access_is_for_some_methods(role: Role, path: str, methods: str) -> None:
    """GET needs readonly, POST read_create, PATCH read_modify, DELETE all."""
    assert allowed(role, path) == methods


def test_create_and_modify_are_told_apart() -> None:
    """read_create does not allow PATCH, read_modify does not allow POST, and an unknown method needs all."""
    accounts, password = "/api/security/accounts", "/api/security/authentication/password"
    assert is_allowed(Role.READONLY, "PATCH", accounts)
    assert not is_allowed(Role.READONLY, "POST", accounts)
    assert is_allowed(Role.READONLY, "POST", password)
    assert not is_allowed(Role.READONLY, "PATCH", password)
    assert not is_allowed(Role.READONLY, "PUT", accounts)
    assert is_allowed(Role.ADMIN, "PUT", accounts)


@pytest.mark.parametrize("role", Role)
def test_who_reads_may_ask_for_heads_and_methods(role: Role) -> None:
    """HEAD and OPTIONS go with GET."""
    for privilege in PRIVILEGES[role]:
        answers = {is_allowed(role, method, privilege.path) for method in ("GET", "HEAD", "OPTIONS")}
        assert answers == {privilege.access is not Access.NONE}


def test_every_role_has_rows_in_order_and_one_scope() -> None:
    """The table names each role once, each path once, sorted, ``/api`` first; one role alone is of both scopes."""
    assert {*CLUSTER_ROLES, *SVM_ROLES} == set(PRIVILEGES) == set(Role)
    assert {*CLUSTER_ROLES} & {*SVM_ROLES} == {Role.KEY_READER}
    for rows in PRIVILEGES.values():
        paths = [row.path for row in rows]
        assert paths == sorted(set(paths))
        assert paths[0] == "/api"


@pytest.mark.parametrize("role", Role)
def test_one_role_alone_reads_keys(role: Role) -> None:
    """Only one role reads key material, with the paths below it; no other role implies it."""
    path = RETRIEVE.replace("*", "x")
    assert is_allowed(role, "POST", path) is (role is Role.KEY_READER)
    assert is_allowed(role, "POST", f"{path}/x") is (role is Role.KEY_READER)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/security/key-managers/1/volume-keys/2/retrieve", True),
        ("/api/security/key-managers/1/volume-keys/2/retrieve/3", False),
        ("/api/security/key-managers/1/volume-keys/2", False),
    ],
)
def test_where_key_material_leaves(path: str, expected: bool) -> None:
    """Key material is returned at one path, and at none below it."""
    assert is_retrieval(path) is expected

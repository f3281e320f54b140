"""keystead.core.roles and custom roles in keystead.core.access: what may be granted, and what is granted."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.access import RETRIEVE, access_to, granted_beyond, is_allowed, lesser, privileges_of
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.model import Access, CustomRole, Privilege, Role, Svm
from keystead.core.roles import (
    MOST_PRIVILEGES,
    Maker,
    NewRole,
    plan_add,
    plan_change,
    plan_create,
    plan_remove,
)
from tests.core.outcomes import outcome

SVM = Svm("11111111-1111-4111-8111-111111111111", "vs1")
SERVED = (
    "/api/cluster",
    "/api/cluster/nodes/{uuid}",
    "/api/security/accounts/{owner}/{name}",
    "/api/security/certificates/{uuid}",
    "/api/security/key-managers/{uuid}/key-servers/{server}/confirm",
    "/api/security/key-managers/{uuid}/volume-keys/{key_id}/retrieve",
    "/api/security/roles/{owner}/{name}/privileges/{path:path}",
    "/api/svm/svms/{uuid}",
)
ADMIN = Maker(Role.ADMIN, SERVED)
KEY_MANAGERS = "/api/security/key-managers"


def rows(*privileges: tuple[str, str]) -> tuple[Privilege, ...]:
    """Return privileges as a role holds them."""
    return tuple(sorted((Privilege(path, Access(access)) for path, access in privileges), key=lambda row: row.path))


def custom(*privileges: tuple[str, str], svm: Svm | None = None) -> CustomRole:
    """Return a custom role with these privileges."""
    return CustomRole("made", svm, rows(*privileges))


def made(*privileges: tuple[str, str], svm: Svm | None = None, maker: Maker = ADMIN) -> CustomRole | OntapError:
    """Return the role that a maker gets for these privileges, or the refusal."""
    return outcome(lambda new: plan_create(new, svm, maker, ()), NewRole("made", privileges))


def refusal(found: object) -> tuple[ErrorKind, str | None]:
    """Return the kind and the target of a refusal."""
    assert isinstance(found, OntapError), found
    return found.kind, found.target


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/security/certificates", Access.READ_CREATE),
        ("/api/security/certificates/1", Access.READ_CREATE),
        ("/api/security/certificates/1/sign", Access.NONE),
        ("/api/security/certificates/2/sign", Access.ALL),
        ("/api/security/certificatesx", Access.NONE),
        ("/api/security", Access.NONE),
        ("/api", Access.NONE),
        ("/metrics", Access.NONE),
        ("/", Access.NONE),
        ("", Access.NONE),
    ],
)
def test_a_custom_role_grants_what_it_names(path: str, expected: Access) -> None:
    """The longest path counts; of two as long, the one that names a segment; what no path covers is denied."""
    role = custom(
        ("/api/security/certificates", "read_create"),
        ("/api/security/certificates/*/sign", "all"),
        ("/api/security/certificates/1/sign", "none"),
    )
    assert access_to(role, path) is expected


@pytest.mark.parametrize("svm", [None, SVM], ids=["cluster", "svm"])
@pytest.mark.parametrize(
    "path", ["/api", KEY_MANAGERS, RETRIEVE, RETRIEVE.replace("*", "1"), f"{KEY_MANAGERS}/1", f"{RETRIEVE}/x"]
)
def test_no_custom_role_reads_key_material(svm: Svm | None, path: str) -> None:
    """Whatever a row says, even one that no rule would have let in: nothing is allowed where material leaves."""
    role = custom((path, "all"), svm=svm)
    for key_path, method in product((RETRIEVE.replace("*", "1"), RETRIEVE.replace("*", "1") + "/x"), ("GET", "POST")):
        assert not is_allowed(role, method, key_path)


def test_a_role_of_an_svm_grants_no_more_than_vsadmin() -> None:
    """A row for everything gives an SVM's account what vsadmin has, and not one path more."""
    role = custom(("/api", "all"), svm=SVM)
    for path in (*SERVED, "/api", "/api/security/audit", "/api/cluster/nodes"):
        assert access_to(role, path) is access_to(Role.VSADMIN, path)


def test_what_a_role_really_grants_is_shown() -> None:
    """Beside its own rows, a custom role shows what it is denied beneath them; a built-in role shows its table."""
    shown = privileges_of(custom((KEY_MANAGERS, "all"), ("/api/svm/svms", "readonly"), svm=SVM))
    assert shown == rows(
        (KEY_MANAGERS, "all"),
        (f"{KEY_MANAGERS}/*/key-servers/*/confirm", "none"),
        (RETRIEVE, "none"),
        ("/api/svm/svms", "readonly"),
    )
    assert privileges_of(custom(("/api/svm/svms", "readonly"))) == rows(("/api/svm/svms", "readonly"))
    assert privileges_of(Role.READONLY)[0] == Privilege("/api", Access.READONLY)


@pytest.mark.parametrize(("one", "other"), list(product(Access, Access)))
def test_the_lesser_access_allows_what_both_allow(one: Access, other: Access) -> None:
    """Method by method, for every pair."""
    both = lesser(one, other)
    for method in ("GET", "POST", "PATCH", "DELETE", "PUT"):
        allowed = [is_allowed(custom(("/api", access)), method, "/api") for access in (one, other, both)]
        assert allowed[2] is (allowed[0] and allowed[1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", errors.INVALID_VALUE),
        ("a" * 65, errors.INVALID_VALUE),
        (".made", errors.INVALID_VALUE),
        ("two words", errors.INVALID_VALUE),
        ("a/b", errors.INVALID_VALUE),
        ("made\n", errors.INVALID_VALUE),
        ("admin", errors.ROLE_NAME_RESERVED),
        ("Key-Reader", errors.ROLE_NAME_RESERVED),
        ("vsadmin", errors.ROLE_NAME_RESERVED),
        ("there", errors.DUPLICATE_ENTRY),
        ("THERE", errors.DUPLICATE_ENTRY),
    ],
)
def test_names_of_roles(name: str, expected: ErrorKind) -> None:
    """Letters, digits and a few signs; no name of a built-in role of either scope, and none twice, in any case."""
    new = NewRole(name, (("/api/cluster", "readonly"),))
    there = CustomRole("there", None, ())
    assert refusal(outcome(lambda given: plan_create(given, None, ADMIN, [there]), new)) == (expected, "name")


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("", errors.PATH_INVALID),
        ("/", errors.PATH_INVALID),
        ("api", errors.PATH_INVALID),
        ("/api/", errors.PATH_INVALID),
        ("//api", errors.PATH_INVALID),
        ("/api//cluster", errors.PATH_INVALID),
        ("/api/cluster/", errors.PATH_INVALID),
        ("/api/cluster/.", errors.PATH_INVALID),
        ("/api/security/../cluster", errors.PATH_INVALID),
        ("/api%2Fcluster", errors.PATH_INVALID),
        ("/api/clust%65r", errors.PATH_INVALID),
        ("/api/cluster?x", errors.PATH_INVALID),
        ("/api/cluster\n", errors.PATH_INVALID),
        ("/API/cluster", errors.PATH_INVALID),
        ("/api/svm/svms/**", errors.PATH_INVALID),
        ("volume move start", errors.PATH_INVALID),
        ("DEFAULT", errors.PATH_INVALID),
        ("/metrics", errors.PATH_INVALID),
        ("*", errors.PATH_INVALID),
        ("/*", errors.PATH_INVALID),
        ("/api/*", errors.PATH_NOT_SERVED),
        ("/api/*/key-managers", errors.PATH_NOT_SERVED),
        ("/api/security/*", errors.PATH_NOT_SERVED),
        ("/api/v1/cluster", errors.PATH_NOT_SERVED),
        ("/api/storage/volumes", errors.PATH_NOT_SERVED),
        ("/api/cluster/1", errors.PATH_NOT_SERVED),
        ("/api/security/key-managers/*/*", errors.PATH_NOT_SERVED),
        ("/api/security/key-managers/*/volume-keys/*/retrieve/x", errors.PATH_NOT_SERVED),
    ],
)
def test_paths_of_privileges(path: str, expected: ErrorKind) -> None:
    """Only the spelling that decides, and only what is served; a wildcard stands for an identifier alone."""
    assert refusal(made((path, "none"))) == (expected, "privileges.path")


@pytest.mark.parametrize(
    "path", ["/api", "/api/security", f"{KEY_MANAGERS}/*", f"{KEY_MANAGERS}/1/volume-keys", "/api/cluster/nodes/a-1"]
)
def test_beginnings_of_served_paths_are_taken(path: str) -> None:
    """With identifiers, or with ``*`` for any."""
    assert made((path, "readonly")) == custom((path, "readonly"))


@pytest.mark.parametrize(
    ("privileges", "svm", "expected"),
    [
        ([], None, (errors.MISSING_VALUE, "privileges")),
        ([("/api/cluster", "write")], None, (errors.ACCESS_INVALID, "access")),
        ([("/api/cluster", "")], None, (errors.ACCESS_INVALID, "access")),
        ([("/api/cluster", "all")] * 2, None, (errors.VALUE_TWICE, "privileges.path")),
        ([("/api/cluster", "all")] * (MOST_PRIVILEGES + 1), None, (errors.INVALID_VALUE, "privileges.path")),
        ([(RETRIEVE, "readonly")], None, (errors.INVALID_VALUE, "privileges.path")),
        ([(RETRIEVE.replace("*", "1"), "all")], None, (errors.INVALID_VALUE, "privileges.path")),
        ([(RETRIEVE, "readonly")], SVM, (errors.API_NOT_OF_SVMS, "privileges.path")),
        ([("/api", "readonly")], SVM, (errors.API_NOT_OF_SVMS, "privileges.path")),
        ([("/api/cluster/nodes", "readonly")], SVM, (errors.API_NOT_OF_SVMS, "privileges.path")),
        ([("/api/cluster", "all")], SVM, (errors.ACCESS_NOT_OF_SVMS, "privileges.access")),
        ([("/api/security/roles", "all")], SVM, (errors.ACCESS_NOT_OF_SVMS, "privileges.access")),
    ],
)
def test_refused_privileges(
    privileges: list[tuple[str, str]], svm: Svm | None, expected: tuple[ErrorKind, str]
) -> None:
    """Wrong words, repetitions, too many, and what no role of this owner may have."""
    assert refusal(made(*privileges, svm=svm)) == expected


@pytest.mark.parametrize(
    ("own", "wanted", "beyond"),
    [
        ((("/api", "all"),), (("/api", "all"),), ""),
        ((("/api/svm", "all"),), (("/api/svm/svms", "all"),), ""),
        ((("/api/svm", "readonly"),), (("/api/svm/svms", "none"),), ""),
        ((("/api/svm/svms", "all"),), (("/api/svm", "readonly"),), "/api/svm"),
        ((("/api/svm", "readonly"),), (("/api/svm", "read_modify"),), "/api/svm"),
        ((("/api/svm", "read_create"),), (("/api/svm", "read_modify"),), "/api/svm"),
        ((("/api", "all"), ("/api/svm", "none")), (("/api", "all"),), "/api/svm"),
        ((("/api", "all"), ("/api/svm", "none")), (("/api", "all"), ("/api/svm", "none")), ""),
        ((("/api", "all"), ("/api/a/1", "none")), (("/api/a/*", "all"),), "/api/a/1"),
        ((("/api", "all"), ("/api/a/*", "none")), (("/api/a/1", "all"),), "/api/a/1"),
        ((("/api", "all"), ("/api/a/1/*", "none")), (("/api/a/*/c", "all"),), "/api/a/1/c"),
        ((), (("/api/svm", "readonly"),), "/api/svm"),
        ((), (("/api/svm", "none"),), ""),
    ],
)
def test_nobody_grants_more_than_they_have(
    own: tuple[tuple[str, str], ...], wanted: tuple[tuple[str, str], ...], beyond: str
) -> None:
    """A part, the same or less passes; more anywhere does not, also beneath a path that is granted."""
    assert granted_beyond(rows(*wanted), rows(*own)) == beyond
    served = (*SERVED, "/api/a/{b}/{c}")
    found = made(*wanted, maker=Maker(custom(*own), served))
    if beyond:
        assert refusal(found) == (errors.INVALID_VALUE, "privileges.path")
    else:
        assert isinstance(found, CustomRole)


def test_a_built_in_maker_is_held_to_its_table() -> None:
    """Readonly accounts write no roles; if a path ever let them, they could grant what they have."""
    assert isinstance(made(("/api/svm", "readonly"), maker=Maker(Role.READONLY, SERVED)), CustomRole)
    assert refusal(made(("/api/svm", "all"), maker=Maker(Role.READONLY, SERVED)))[0] is errors.INVALID_VALUE


_SEGMENTS = st.sampled_from(["a", "b", "*"])
_PATHS = st.lists(_SEGMENTS, max_size=3).map(lambda parts: "/".join(["/api", *parts]))
_ROWS = st.dictionaries(_PATHS, st.sampled_from(Access), max_size=4).map(lambda found: rows(*found.items()))


@given(_ROWS, _ROWS)
def test_differences_are_found_wherever_they_are(one: tuple[Privilege, ...], other: tuple[Privilege, ...]) -> None:
    """The comparison of two tables agrees with a comparison of every concrete path, to four segments."""
    concrete = ["/".join(["/api", *parts]) for size in range(5) for parts in product("abc", repeat=size)]
    mine, its = CustomRole("one", None, one), CustomRole("other", None, other)
    more = [path for path in concrete if lesser(access_to(mine, path), access_to(its, path)) != access_to(mine, path)]
    assert bool(granted_beyond(one, other)) is bool(more)


def test_privileges_are_added_changed_and_removed() -> None:
    """In the order of their paths; what is there is not added twice, what is not there is not changed."""
    role = custom(("/api/svm", "all"))
    added = plan_add(role, "/api/cluster", "readonly", ADMIN)
    assert added.privileges == rows(("/api/cluster", "readonly"), ("/api/svm", "all"))
    assert plan_change(added, "/api/cluster", "none", ADMIN).privileges[0].access is Access.NONE
    assert plan_remove(added, "/api/cluster", ADMIN) == role
    assert plan_remove(role, "/api/svm", ADMIN).privileges == ()
    twice = outcome(lambda found: plan_add(found, "/api/svm", "none", ADMIN), role)
    assert refusal(twice) == (errors.DUPLICATE_ENTRY, "path")
    for plan in (
        lambda found: plan_change(found, "/api/cluster", "none", ADMIN),
        lambda found: plan_remove(found, "/api/cluster", ADMIN),
    ):
        assert refusal(outcome(plan, role)) == (errors.ENTRY_NOT_FOUND, "path")


def test_the_removal_of_a_denial_is_a_grant() -> None:
    """Whoever may not use a path cannot open it for others, or for itself, by removing the row that closes it."""
    role = custom(("/api", "all"), ("/api/svm", "none"))
    maker = Maker(role, SERVED)
    assert refusal(outcome(lambda found: plan_remove(found, "/api/svm", maker), role))[0] is errors.INVALID_VALUE
    assert refusal(outcome(lambda found: plan_change(found, "/api/svm", "all", maker), role))[0] is errors.INVALID_VALUE
    assert plan_remove(role, "/api/svm", ADMIN) == custom(("/api", "all"))
    assert plan_change(role, "/api", "readonly", maker).privileges[0].access is Access.READONLY

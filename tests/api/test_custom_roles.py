"""Custom roles through the API: how they are made, what they let their accounts do, and what they never do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.access import RETRIEVE
from keystead.core.model import Access, CustomRole, Privilege
from keystead.settings import Settings
from keystead.store import open_store
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, Response, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.core.errors import ErrorKind
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

ROLES = "/api/security/roles"
ACCOUNTS = "/api/security/accounts"
PLAIN = {"accept": "application/json"}
WATCH = [{"path": "/api/security/key-managers", "access": "readonly"}]


@dataclass
class World:
    """A cluster with the SVMs vs1 and vs2."""

    api: Api
    cluster: str
    vs1: str
    vs2: str

    async def role(self, name: str, *privileges: tuple[str, str], owner: str | None = None) -> str:
        """Make a role as ``admin``, and return its path."""
        body: dict[str, Any] = {"name": name, "privileges": [{"path": p, "access": a} for p, a in privileges]}
        answer = await self.api.admin.post(ROLES, body | ({"owner": {"name": owner}} if owner else {}))
        assert answer.status == 201, answer.content
        return answer.headers["location"]

    async def account(self, name: str, role: str, owner: str | None = None) -> AsgiClient:
        """Make an account with this role, and return its client."""
        answer = await self.try_account(name, role, owner)
        assert answer.status == 201, answer.content
        return AsgiClient(self.api.admin.app, name, PASSWORD)

    async def try_account(self, name: str, role: str, owner: str | None = None) -> Response:
        """Ask for an account."""
        body: dict[str, Any] = {
            "name": name,
            "password": PASSWORD,
            "role": {"name": role},
            "applications": [{"application": "http", "authentication_methods": ["password"]}],
        }
        return await self.api.admin.post(ACCOUNTS, body | ({"owner": {"name": owner}} if owner else {}))

    async def roles(self) -> tuple[CustomRole, ...]:
        """Return all custom roles, as they are stored."""

        def read(tx: Transaction) -> tuple[CustomRole, ...]:
            return tx.custom_roles([None, tx.svm(self.vs1), tx.svm(self.vs2)])

        return await self.api.store.read(read)


@pytest.fixture
async def world(api: Api) -> World:
    """Make the SVMs through the API."""
    uuids = []
    for name in ("vs1", "vs2"):
        answer = await api.admin.post("/api/svm/svms?return_records=true", {"name": name})
        uuids.append(answer.body["records"][0]["uuid"])
    cluster = await api.store.read(lambda tx: tx.cluster())
    assert cluster is not None
    return World(api, cluster.uuid, *uuids)


async def test_a_role_is_made_shown_and_deleted(world: World) -> None:
    """Under its owner, with its privileges by path, not built in; audited; found by filters; gone after DELETE."""
    admin = world.api.admin
    path = await world.role("watch", ("/api/svm/svms", "readonly"), ("/api/cluster", "readonly"), owner="vs1")
    assert path == f"{ROLES}/{world.vs1}/watch"
    shown = (await admin.get(path, headers=PLAIN)).body
    assert shown == {
        "owner": {"uuid": world.vs1, "name": "vs1"},
        "name": "watch",
        "scope": "svm",
        "builtin": False,
        "privileges": [
            {"path": "/api/cluster", "access": "readonly"},
            {"path": "/api/svm/svms", "access": "readonly"},
        ],
    }
    record = (await world.api.audit())[-1]
    assert (record.message, record.state, record.svm) == ("created role watch", "success", "vs1")
    listed = (await admin.get(f"{ROLES}?name=watch&owner.name=vs1&fields=builtin")).body["records"]
    assert [item["builtin"] for item in listed] == [False]
    assert (await admin.delete(path)).status == 200
    assert (await world.api.audit())[-1].message == "deleted role watch"
    assert_error(await admin.get(path), errors.ENTRY_NOT_FOUND, "name")
    assert_error(await admin.delete(path), errors.ENTRY_NOT_FOUND, "name")


async def test_names_belong_to_owners(world: World) -> None:
    """Each owner may have a role of the same name; changes by query and lists of roles keep them apart."""
    admin = world.api.admin
    for owner in (None, "vs1", "vs2"):
        await world.role("same", ("/api/cluster", "readonly"), owner=owner)
    twice = await admin.post(ROLES, {"name": "SAME", "privileges": WATCH})
    assert_error(twice, errors.DUPLICATE_ENTRY, "name")
    assert (await admin.get(f"{ROLES}?name=same&return_records=false")).body["num_records"] == 3
    assert (await admin.delete(f"{ROLES}?name=same&owner.name=vs1")).body["num_records"] == 1
    assert [role.svm.name if role.svm else None for role in await world.roles()] == [None, "vs2"]


async def test_records_are_made_and_rolled_back(world: World) -> None:
    """Several roles in one body; if one is refused, those before it are gone, and only those."""
    admin = world.api.admin
    await world.role("first", ("/api/cluster", "all"))
    records = [{"name": "first", "owner": {"name": "vs1"}, "privileges": WATCH}, {"name": "admin", "privileges": WATCH}]
    answer = await admin.post(f"{ROLES}?return_timeout=15", {"records": records})
    assert answer.body["error"]["code"] == str(errors.RECORD_FAILED.code)
    assert errors.ROLE_NAME_RESERVED.text in answer.body["error"]["message"]
    assert [role.svm for role in await world.roles()] == [None]
    answer = await admin.post(f"{ROLES}?return_timeout=15", {"records": records[:1]})
    assert answer.status == 201, answer.content
    assert len(await world.roles()) == 2


async def test_privileges_are_added_changed_and_removed(world: World) -> None:
    """Each by itself, encoded or not; the role goes with its last privilege, unless an account has it."""
    admin = world.api.admin
    role = await world.role("some", ("/api/cluster", "readonly"))
    body = {"path": "/api/svm/svms", "access": "read_create"}
    added = await admin.post(f"{role}/privileges?return_records=true", body)
    assert (added.status, added.headers["location"]) == (201, f"{role}/privileges/%2Fapi%2Fsvm%2Fsvms")
    assert added.body["records"][0]["path"] == "/api/svm/svms"
    assert_error(await admin.post(f"{role}/privileges", body), errors.DUPLICATE_ENTRY, "path")
    changed = await admin.patch(f"{role}/privileges/%2Fapi%2Fsvm%2Fsvms?return_records=true", {"access": "none"})
    assert changed.body["records"][0]["path"] == "/api/svm/svms"
    assert (await admin.get(f"{role}/privileges/api/svm/svms")).body["access"] == "none"
    assert (await world.api.audit())[-1].message == "changed role some"
    many = await admin.patch(f"{role}/privileges?access=none", {"access": "readonly"})
    assert many.body["num_records"] == 1
    assert (await admin.delete(f"{role}/privileges/%2Fapi%2Fcluster")).status == 200
    await world.account("joe", "some")
    last = f"{role}/privileges/%2Fapi%2Fsvm%2Fsvms"
    for path in (last, role):
        error = assert_error(
            await admin.delete(path, headers={"x-dot-error-arguments": "true"}), errors.ROLE_IN_USE, "name"
        )
        assert error["arguments"] == [{"code": "account", "message": "joe"}]
    assert (await admin.delete(f"{ACCOUNTS}/{world.cluster}/joe")).status == 200
    assert (await admin.delete(last)).status == 200
    assert await world.roles() == ()


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({}, errors.MISSING_VALUE, "name"),
        ({"name": "some"}, errors.MISSING_VALUE, "privileges"),
        ({"name": "some", "privileges": []}, errors.MISSING_VALUE, "privileges"),
        ({"name": "some", "privileges": [{"path": "/api"}]}, errors.MISSING_VALUE, "privileges[0].access"),
        ({"name": "some", "privileges": [{"access": "all"}]}, errors.MISSING_VALUE, "privileges[0].path"),
        ({"name": "some", "privileges": WATCH, "builtin": True}, errors.FIELD_NOT_SETTABLE, "builtin"),
        ({"name": "some", "privileges": WATCH, "scope": "cluster"}, errors.FIELD_NOT_SETTABLE, "scope"),
        (
            {"name": "some", "privileges": [{**WATCH[0], "query": "-vserver vs1"}]},
            errors.QUERY_OF_API_PATH,
            "privileges[0].query",
        ),
        ({"name": "some", "privileges": [{**WATCH[0], "access": "write"}]}, errors.ACCESS_INVALID, "access"),
        ({"name": "some", "privileges": WATCH, "owner": {"name": "vs9"}}, errors.SVM_NOT_FOUND, "svm.name"),
        ({"name": "readonly", "privileges": WATCH}, errors.ROLE_NAME_RESERVED, "name"),
        ({"name": "some", "privileges": [{"path": "/api/", "access": "all"}]}, errors.PATH_INVALID, "privileges.path"),
        (
            {"name": "some", "privileges": [{"path": "/api%2F", "access": "all"}]},
            errors.PATH_INVALID,
            "privileges.path",
        ),
        (
            {"name": "some", "privileges": [{"path": "/api/*", "access": "all"}]},
            errors.PATH_NOT_SERVED,
            "privileges.path",
        ),
        (
            {"name": "some", "privileges": [{"path": RETRIEVE, "access": "read_create"}]},
            errors.INVALID_VALUE,
            "privileges.path",
        ),
        (
            {"name": "some", "privileges": [{"path": "/api", "access": "all"}], "owner": {"name": "vs1"}},
            errors.API_NOT_OF_SVMS,
            "privileges.path",
        ),
    ],
)
async def test_refused_roles(world: World, body: dict[str, Any], kind: ErrorKind, target: str) -> None:
    """Each with its own code, and nothing is stored."""
    assert_error(await world.api.admin.post(ROLES, body), kind, target)
    assert await world.roles() == ()


async def test_built_in_roles_stay_as_they_are(world: World) -> None:
    """Neither deleted nor changed, whoever asks."""
    admin = world.api.admin
    for role in (f"{ROLES}/{world.cluster}/readonly", f"{ROLES}/{world.vs1}/vsadmin"):
        before = (await admin.get(role)).content
        one = f"{role}/privileges/%2Fapi"
        for answer in (
            await admin.delete(role),
            await admin.post(f"{role}/privileges", {"path": "/api/cluster", "access": "all"}),
            await admin.patch(one, {"access": "all"}),
            await admin.delete(one),
        ):
            assert_error(answer, errors.ROLE_BUILT_IN, "name")
        assert (await admin.get(role)).content == before
    absent = f"{ROLES}/{world.vs1}/absent/privileges"
    assert_error(await admin.post(absent, WATCH[0]), errors.ROLE_NOT_DEFINED, "name")
    assert_error(await admin.patch(f"{absent}/%2Fapi", {"access": "all"}), errors.ENTRY_NOT_FOUND, "name")


async def test_accounts_have_roles_of_their_owner(world: World) -> None:
    """An account is made with, and changed to, a custom role of its owner; that of another owner is not found."""
    admin = world.api.admin
    await world.role("of-cluster", ("/api/cluster", "readonly"))
    await world.role("of-vs1", ("/api/cluster", "readonly"), owner="vs1")
    await world.account("joe", "of-cluster")
    await world.account("vs1joe", "of-vs1", "vs1")
    for name, role, owner in (("jim", "of-vs1", None), ("jim", "of-cluster", "vs1"), ("jim", "of-vs1", "vs2")):
        assert_error(await world.try_account(name, role, owner), errors.ROLE_NOT_FOUND, "role.name")
    one = f"{ACCOUNTS}/{world.cluster}/joe"
    assert_error(await admin.patch(one, {"role": {"name": "of-vs1"}}), errors.ROLE_NOT_FOUND, "role.name")
    assert (await admin.get(one)).body["role"]["name"] == "of-cluster"
    assert (await admin.patch(one, {"role": {"name": "readonly"}})).status == 200
    assert (await admin.patch(one, {"role": {"name": "of-cluster"}})).status == 200
    found = (await admin.get(f"{ACCOUNTS}?role.name=of-*")).body["records"]
    assert [item["name"] for item in found] == ["joe", "vs1joe"]


async def test_the_last_administrator_cannot_take_a_custom_role(world: World) -> None:
    """However much the role grants, it does not administer the cluster."""
    await world.role("everything", ("/api", "all"))
    answer = await world.api.admin.patch(f"{ACCOUNTS}/{world.cluster}/admin", {"role": {"name": "everything"}})
    assert_error(answer, errors.LAST_ADMIN)


async def test_the_caller_is_told_its_role(world: World) -> None:
    """Whoami shows the role's name and what it really grants; the audit record of a call names the role."""
    await world.role("watch", ("/api/security/key-managers", "all"), ("/api/security/login/whoami", "readonly"))
    joe = await world.account("joe", "watch")
    answer = (await joe.get("/api/security/login/whoami", headers=PLAIN)).body
    assert (answer["username"], answer["roles"]) == ("joe", ["watch"])
    assert answer["privileges"] == [
        {"path": "/api/security/key-managers", "access": "all"},
        {"path": RETRIEVE, "access": "none"},
        {"path": "/api/security/login/whoami", "access": "readonly"},
    ]
    assert_error(await joe.get("/api/cluster"), errors.NOT_AUTHORIZED)
    assert (await world.api.audit())[-1].role == "watch"


async def test_a_changed_role_counts_at_once(world: World, home: Path) -> None:
    """With the next request, also when another process on the same database made the change."""
    role = await world.role("watch", ("/api/svm/svms", "readonly"))
    joe = await world.account("joe", "watch")
    assert (await joe.get("/api/svm/svms")).status == 200
    await world.api.admin.patch(f"{role}/privileges/%2Fapi%2Fsvm%2Fsvms", {"access": "none"})
    assert_error(await joe.get("/api/svm/svms"), errors.NOT_AUTHORIZED)
    changed = CustomRole("watch", None, (Privilege("/api/svm/svms", Access.READ_CREATE),))
    other = open_store(Settings(data=home).database_url)
    try:
        await other.write(lambda tx: tx.put_role(changed))
        assert (await joe.post("/api/svm/svms", {"name": "vs3"})).status == 201
        await other.write(lambda tx: tx.put_role(CustomRole("watch", None, ())))
        assert_error(await joe.get("/api/svm/svms"), errors.NOT_AUTHORIZED)
    finally:
        await other.close()


@pytest.mark.parametrize(
    "path",
    [
        "/api/security/accounts",
        "/api//security/accounts",
        "/api/security/accounts/",
        "//api/security//accounts//",
        "/api/security%2Faccounts",
        "/api/%73ecurity/accounts",
        "/api/v1/security/accounts",
        "/api/security/key-managers/../accounts",
        "/api/security/key-managers/%2e%2e/accounts",
        "/api/security/key-managers%2F..%2Faccounts",
    ],
)
async def test_no_spelling_opens_a_closed_path(world: World, path: str) -> None:
    """Slashes and percent-encoding do not lead around a role, in whatever way the path is written."""
    await world.role(
        "some", ("/api/security/key-managers", "all"), ("/api/security/accounts", "none"), ("/api/svm", "all")
    )
    joe = await world.account("joe", "some")
    answer = await joe.get(path)
    assert answer.status in {403, 404}, answer.content
    assert b"admin" not in answer.content
    closed = await joe.get("/api/security/certificates")
    assert_error(closed, errors.NOT_AUTHORIZED)


async def test_a_role_that_writes_roles_grants_nothing_it_lacks(world: World) -> None:
    """It makes and narrows roles within its own rights; it widens none, least of all its own."""
    own = await world.role(
        "maker", ("/api/security/roles", "all"), ("/api/svm", "read_create"), ("/api/svm/svms/*", "none")
    )
    joe = await world.account("joe", "maker")
    assert (
        await joe.post(ROLES, {"name": "less", "privileges": [{"path": "/api/svm/svms/*", "access": "none"}]})
    ).status == 201
    before = await world.roles()
    for privilege in (
        {"path": "/api", "access": "all"},
        {"path": "/api/security", "access": "readonly"},
        {"path": "/api/svm", "access": "read_create"},
        {"path": "/api/svm/svms/*", "access": "readonly"},
        {"path": f"/api/svm/svms/{world.vs1}", "access": "readonly"},
        {"path": "/api/security/key-managers", "access": "readonly"},
    ):
        for owner in (None, "vs1"):
            body: dict[str, Any] = {"name": "more", "privileges": [privilege]}
            answer = await joe.post(ROLES, body | ({"owner": {"name": owner}} if owner else {}))
            assert answer.status == 400, (privilege, answer.content)
        answer = await joe.post(f"{own}/privileges", privilege)
        assert answer.status in {400, 409}, (privilege, answer.content)
    encoded = f"{own}/privileges/%2Fapi%2Fsvm%2Fsvms%2F*"
    for answer in (await joe.patch(encoded, {"access": "all"}), await joe.delete(encoded)):
        assert_error(answer, errors.INVALID_VALUE, "path")
    wider = await joe.patch(f"{own}/privileges/%2Fapi%2Fsvm", {"access": "all"})
    assert_error(wider, errors.INVALID_VALUE, "path")
    assert await world.roles() == before
    assert (await joe.patch(f"{own}/privileges/%2Fapi%2Fsvm", {"access": "readonly"})).status == 200
    assert (await joe.delete(own)).status == errors.ROLE_IN_USE.status


async def test_no_custom_role_writes_accounts(world: World) -> None:
    """With access to every path, it still makes, changes and deletes no account, and sets no other's password."""
    await world.role("everything", ("/api", "all"))
    joe = await world.account("joe", "everything")
    body = {
        "name": "mallory",
        "password": PASSWORD,
        "role": {"name": "key-reader"},
        "applications": [{"application": "http", "authentication_methods": ["password"]}],
    }
    password = "/api/security/authentication/password"
    for answer in (
        await joe.post(ACCOUNTS, body),
        await joe.patch(f"{ACCOUNTS}/{world.cluster}/joe", {"role": {"name": "admin"}}),
        await joe.patch(f"{ACCOUNTS}/{world.cluster}/admin", {"locked": True}),
        await joe.delete(f"{ACCOUNTS}/{world.cluster}/auditor"),
        await joe.post(password, {"name": "admin", "password": "another-horse-7"}),
        await joe.post(RETRIEVE.replace("*", ABSENT), {}),
    ):
        assert_error(answer, errors.NOT_AUTHORIZED)
    records = await joe.post(f"{ACCOUNTS}?return_timeout=15", {"records": [body]})
    assert records.body["error"]["code"] == str(errors.RECORD_FAILED.code)
    names = [item["name"] for item in (await joe.get(ACCOUNTS)).body["records"]]
    assert names == ["admin", "auditor", "joe"]
    assert (await joe.post(password, {"name": "joe", "password": "another-horse-7"})).status == 201


async def test_an_svms_administrators_write_no_roles(world: World) -> None:
    """Not its vsadmin, and not a custom role of the SVM; and its roles open nothing of the cluster or another SVM."""
    await world.role("wide", ("/api/security/roles", "readonly"), ("/api/svm/svms", "readonly"), owner="vs1")
    for client in (await world.account("vs1admin", "vsadmin", "vs1"), await world.account("vs1joe", "wide", "vs1")):
        for method, path, body in (
            ("POST", ROLES, {"name": "more", "privileges": WATCH}),
            ("POST", f"{ROLES}/{world.vs1}/wide/privileges", WATCH[0]),
            ("DELETE", f"{ROLES}/{world.vs1}/wide", None),
        ):
            assert_error(await client(method, path, body), errors.NOT_AUTHORIZED)
        owners = {item["owner"]["name"] for item in (await client.get(ROLES)).body["records"]}
        assert owners == {"vs1"}
        assert [svm["name"] for svm in (await client.get("/api/svm/svms")).body["records"]] == ["vs1"]


async def test_a_tunnelled_call_makes_roles_of_the_svm(world: World) -> None:
    """With ``X-Dot-SVM-Name`` the owner is that SVM, and what an SVM may not have is refused."""
    admin, tunnel = world.api.admin, {"x-dot-svm-name": "vs1"}
    answer = await admin.post(ROLES, {"name": "some", "privileges": WATCH}, headers=tunnel)
    assert answer.headers["location"] == f"{ROLES}/{world.vs1}/some"
    wide = {"name": "wide", "privileges": [{"path": "/api", "access": "all"}]}
    assert_error(await admin.post(ROLES, wide, headers=tunnel), errors.API_NOT_OF_SVMS, "privileges.path")


async def test_an_svms_roles_go_with_it(world: World) -> None:
    """A role alone does not keep an SVM; those of others stay."""
    await world.role("some", ("/api/cluster", "readonly"), owner="vs1")
    await world.role("some", ("/api/cluster", "readonly"), owner="vs2")
    assert (await world.api.admin.delete(f"/api/svm/svms/{world.vs1}")).status == 200
    (left,) = await world.api.store.read(lambda tx: tx.custom_roles([tx.svm(world.vs2)]))
    assert (left.name, left.svm and left.svm.uuid) == ("some", world.vs2)

"""keystead.api.resources.accounts, .roles and .login: who may log in, with what, and what that may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from keystead.api.resources.accounts import ACCOUNTS as ACCOUNTS_RESOURCE
from keystead.api.resources.roles import ROLES as ROLES_RESOURCE
from keystead.core import errors
from keystead.core.access import PRIVILEGES
from keystead.core.model import Access, Role
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, Response, assert_error
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from keystead.core.model import AuditRecord, Cluster, Svm
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api

ACCOUNTS = "/api/security/accounts"
ROLES = "/api/security/roles"
WHOAMI = "/api/security/login/whoami"
OWN_PASSWORD = "/api/security/authentication/password"
NEW = "another-horse-7"
BY_PASSWORD = [{"application": "http", "authentication_methods": ["password"]}]
BY_CERTIFICATE = [{"application": "http", "authentication_methods": ["certificate"]}]


@dataclass
class Owners:
    """The cluster, two SVMs, and an administrator of the first: ``vsadmin1``."""

    api: Api
    cluster: Cluster
    vs1: Svm
    vs2: Svm
    vsadmin: AsgiClient

    def client(self, name: str, password: str = PASSWORD) -> AsgiClient:
        """Return a client with this account's credential."""
        return AsgiClient(self.api.admin.app, name, password)

    async def create(self, name: str, owner: str | dict[str, str] | None = None, **more: object) -> Response:
        """Create an account with a password."""
        body: dict[str, Any] = {"name": name, "password": PASSWORD, "applications": BY_PASSWORD, **more}
        named = {"name": owner} if isinstance(owner, str) else owner
        return await self.api.admin.post(ACCOUNTS, body | ({"owner": named} if named else {}))

    def path(self, name: str, owner: Svm | Cluster | None = None) -> str:
        """Return the path of an account."""
        return f"{ACCOUNTS}/{(owner or self.cluster).uuid}/{name}"

    async def last_record(self) -> AuditRecord:
        """Return the newest audit record."""
        return (await self.api.audit())[-1]


@pytest.fixture
async def owners(api: Api) -> Owners:
    """Make them through the API."""
    for name in ("vs1", "vs2"):
        assert (await api.admin.post("/api/svm/svms", {"name": name})).status == 201

    def find(tx: Transaction) -> tuple[Cluster, Svm, Svm]:
        cluster, vs1, vs2 = tx.cluster(), tx.svm_named("vs1"), tx.svm_named("vs2")
        assert cluster is not None
        assert vs1 is not None
        assert vs2 is not None
        return cluster, vs1, vs2

    made = Owners(api, *await api.store.read(find), AsgiClient(api.admin.app, "vsadmin1", PASSWORD))
    assert (await made.create("vsadmin1", "vs1")).status == 201
    return made


async def test_an_account_is_created_and_shown(owners: Owners) -> None:
    """201 with its place; shown without its password; it logs in and is what it was made as."""
    answer = await owners.create("joe.smith", role={"name": "readonly"}, comment="on call")
    assert answer.status == 201
    assert answer.headers["location"] == owners.path("joe.smith")
    shown = await owners.api.admin.get(answer.headers["location"])
    assert shown.body == {
        "owner": {
            "uuid": owners.cluster.uuid,
            "name": owners.cluster.name,
            "_links": {"self": {"href": "/api/cluster"}},
        },
        "name": "joe.smith",
        "scope": "cluster",
        "role": {
            "name": "readonly",
            "_links": {"self": {"href": f"/api/security/roles/{owners.cluster.uuid}/readonly"}},
        },
        "applications": [
            {"application": "http", "authentication_methods": ["password"], "second_authentication_method": "none"}
        ],
        "locked": False,
        "comment": "on call",
        "_links": {"self": {"href": owners.path("joe.smith")}},
    }
    role = (await owners.api.admin.get(shown.body["role"]["_links"]["self"]["href"])).body
    assert (role["name"], role["scope"]) == ("readonly", "cluster")
    assert (await owners.client("joe.smith").get(WHOAMI)).body["roles"] == ["readonly"]
    record = await owners.last_record()
    assert (record.message, record.state) == ("created account joe.smith, role readonly", "success")
    assert PASSWORD not in record.input


async def test_an_account_of_an_svm_is_its_owners(owners: Owners) -> None:
    """Owner by name or uuid, the role by default vsadmin; it sees its SVM."""
    shown = (await owners.api.admin.get(owners.path("vsadmin1", owners.vs1))).body
    assert (shown["scope"], shown["role"]["name"], shown["owner"]["name"]) == ("svm", "vsadmin", "vs1")
    answer = await owners.create("reader", role={"name": "vsadmin-readonly"}, owner={"uuid": owners.vs2.uuid})
    assert answer.headers["location"] == owners.path("reader", owners.vs2)
    assert [svm["name"] for svm in (await owners.client("reader").get("/api/svm/svms")).body["records"]] == ["vs2"]


async def test_the_cluster_can_be_named_as_owner(owners: Owners) -> None:
    """By name or uuid, as no owner at all; not in a call that is confined to an SVM."""
    for number, owner in enumerate(({"name": owners.cluster.name}, {"uuid": owners.cluster.uuid})):
        answer = await owners.create(f"joe-{number}", owner)
        assert answer.headers["location"] == owners.path(f"joe-{number}")
    body = {"name": "joe-9", "password": PASSWORD, "applications": BY_PASSWORD, "owner": {"uuid": owners.cluster.uuid}}
    answer = await owners.api.admin.post(ACCOUNTS, body, headers={"x-dot-svm-name": "vs1"})
    assert_error(answer, errors.SVM_NOT_FOUND, "svm.uuid")


async def test_a_read_may_repeat_the_key(owners: Owners) -> None:
    """As Terraform's provider does for accounts and roles: another value finds nothing."""
    assert (await owners.create("joe-smith")).status == 201
    get, cluster = owners.api.admin.get, owners.cluster.uuid
    for path, name in ((owners.path("joe-smith"), "joe-smith"), (f"{ROLES}/{cluster}/readonly", "readonly")):
        shown = await get(f"{path}?fields=name&name={name}&owner.uuid={cluster}")
        assert (shown.status, shown.body["name"]) == (200, name)
        assert_error(await get(f"{path}?name=other"), errors.ENTRY_NOT_FOUND, "name")
        assert_error(await get(f"{path}?owner.uuid={owners.vs1.uuid}"), errors.ENTRY_NOT_FOUND, "owner.uuid")
        assert_error(await get(f"{path}?owner.uuid=x"), errors.INVALID_FIELD_VALUE, "owner.uuid")
        assert_error(await get(f"{path}?scope=cluster"), errors.FIELD_NOT_QUERYABLE, "scope")


async def test_a_name_is_taken_in_the_whole_cluster(owners: Owners) -> None:
    """One listener and names without SVM: the same name in another SVM is a duplicate."""
    for owner in (None, "vs1", "vs2"):
        assert_error(await owners.create("vsadmin1", owner), errors.DUPLICATE_ENTRY, "name")
        assert_error(await owners.create("VsAdmin1", owner), errors.DUPLICATE_ENTRY, "name")


@pytest.mark.parametrize(
    ("body", "kind", "target"),
    [
        ({"name": "jo"}, errors.NAME_LENGTH, "name"),
        ({"name": "a b c"}, errors.NAME_CHARACTERS, "name"),
        ({"name": "diag"}, errors.NAME_RESERVED, "name"),
        ({"role": {"name": "nosuch"}}, errors.ROLE_NOT_FOUND, "role.name"),
        ({"role": {"name": "vsadmin"}}, errors.ROLE_OF_OTHER_SCOPE, "role.name"),
        ({"owner": {"name": "vs1"}, "role": {"name": "admin"}}, errors.ROLE_OF_OTHER_SCOPE, "role.name"),
        ({"owner": {"name": "vs3"}}, errors.SVM_NOT_FOUND, "svm.name"),
        ({"password": "short-1"}, errors.PASSWORD_TOO_SHORT, "password"),
        ({"password": "x1" * 65}, errors.PASSWORD_TOO_LONG, "password"),
        ({"password": "canary-canary"}, errors.PASSWORD_TOO_SIMPLE, "password"),
        ({"password": "canary-joe-smith-1"}, errors.PASSWORD_HOLDS_NAME, "password"),
        ({"password": None}, errors.INVALID_SECRET_VALUE, "password"),
        ({"applications": BY_CERTIFICATE}, errors.FIELDS_EXCLUDE_EACH_OTHER, "password"),
        ({"applications": []}, errors.MISSING_VALUE, "applications.authentication_methods"),
        ({"applications": [{"application": "http"}]}, errors.MISSING_VALUE, "applications[0].authentication_methods"),
        (
            {"applications": [{"application": "ssh", "authentication_methods": ["password"]}]},
            errors.INVALID_FIELD_VALUE,
            "applications[0].application",
        ),
        (
            {"applications": [{"application": "http", "authentication_methods": ["domain"]}]},
            errors.INVALID_FIELD_VALUE,
            "applications[0].authentication_methods[0]",
        ),
    ],
)
async def test_what_makes_no_account(owners: Owners, body: dict[str, object], kind: ErrorKind, target: str) -> None:
    """Each rule with ONTAP's code and the field at fault; nothing is stored, and no password is repeated."""
    whole = {"name": "joe-smith", "password": PASSWORD, "applications": BY_PASSWORD} | body
    answer = await owners.api.admin.post(ACCOUNTS, whole)
    assert_error(answer, kind, target)
    assert b"canary" not in answer.content
    assert (await owners.api.admin.get(ACCOUNTS)).body["num_records"] == 3


async def test_a_password_is_needed_for_its_method(owners: Owners) -> None:
    """7078900 for an account without; one that logs in by certificate has none."""
    body = {"name": "joe-smith", "applications": BY_PASSWORD}
    assert_error(await owners.api.admin.post(ACCOUNTS, body), errors.PASSWORD_MISSING, "password")
    body = {"name": "joe-smith", "applications": BY_CERTIFICATE, "password_hash_algorithm": "sha512"}
    assert (await owners.api.admin.post(ACCOUNTS, body)).status == 201
    shown = (await owners.api.admin.get(owners.path("joe-smith"))).body
    assert shown["applications"][0]["authentication_methods"] == ["certificate"]
    assert_error(await owners.client("joe-smith", "").get(WHOAMI), errors.AUTHENTICATION_FAILED)


async def test_the_present_password_is_no_new_one(owners: Owners) -> None:
    """7077925, whoever sets it and however, with the text that Ansible knows; nothing else of the change is made."""
    assert (await owners.create("joe-smith")).status == 201
    admin, joe, path = owners.api.admin, owners.client("joe-smith"), owners.path("joe-smith")
    for answer in (
        await admin.patch(path, {"password": PASSWORD, "comment": "gone"}),
        await admin.patch(f"{path}?name=joe-smith&owner.uuid={owners.cluster.uuid}", {"password": PASSWORD}),
        await joe.patch(path, {"password": PASSWORD}),
        await joe.post(OWN_PASSWORD, {"name": "joe-smith", "password": PASSWORD}),
    ):
        assert_error(answer, errors.PASSWORD_REPEATED, "password")
        assert answer.body["error"]["message"] == "New password must be different from the old password."
    assert (await admin.get(f"{path}?fields=comment")).body["comment"] == ""
    for password in (NEW, PASSWORD):
        assert (await admin.patch(path, {"password": password})).status == 200


async def test_a_change_counts_with_the_next_request(owners: Owners) -> None:
    """Role, lock, password and end: no remembered credential outlives them."""
    assert (await owners.create("joe-smith")).status == 201
    joe, path, patch = owners.client("joe-smith"), owners.path("joe-smith"), owners.api.admin.patch
    assert (await joe.post("/api/svm/svms", {"name": "vs4"})).status == 201
    assert (await patch(path, {"role": {"name": "readonly"}})).status == 200
    assert_error(await joe.post("/api/svm/svms", {"name": "vs5"}), errors.NOT_AUTHORIZED)
    assert (await patch(path, {"locked": True, "comment": "gone"})).body == {}
    assert_error(await joe.get(WHOAMI), errors.AUTHENTICATION_FAILED)
    assert (await patch(path, {"locked": "false"})).status == 200
    assert (await joe.get(WHOAMI)).status == 200
    assert (await patch(path, {"password": NEW})).status == 200
    assert_error(await joe.get(WHOAMI), errors.AUTHENTICATION_FAILED)
    joe = owners.client("joe-smith", NEW)
    assert (await joe.get(WHOAMI)).status == 200
    assert (await patch(path, {"applications": BY_CERTIFICATE})).status == 200
    assert_error(await joe.get(WHOAMI), errors.AUTHENTICATION_FAILED)
    assert_error(await patch(path, {"applications": BY_PASSWORD}), errors.PASSWORD_MISSING, "password")
    assert (await patch(path, {"applications": BY_PASSWORD, "password": NEW})).status == 200
    assert (await joe.get(WHOAMI)).status == 200
    assert (await owners.api.admin.delete(path)).status == 200
    assert_error(await joe.get(WHOAMI), errors.AUTHENTICATION_FAILED)
    assert_error(await owners.api.admin.delete(path), errors.ENTRY_NOT_FOUND, "name")
    assert (await owners.create("joe-smith")).status == 201
    assert_error(await joe.get(WHOAMI), errors.AUTHENTICATION_FAILED)


async def test_the_key_of_the_path_may_be_repeated(owners: Owners) -> None:
    """Ansible does so. Another key finds nothing, other names are refused, and ``fields`` of a DELETE is checked."""
    await owners.create("ops")
    path = owners.path("ops")
    own = f"name=ops&owner.uuid={owners.cluster.uuid.upper()}"
    admin = owners.api.admin
    assert (await admin.patch(f"{path}?{own}", {"comment": "one"})).status == 200
    for method in ("PATCH", "DELETE"):
        body = {"comment": "two"} if method == "PATCH" else None
        assert_error(await admin(method, f"{path}?name=other", body), errors.ENTRY_NOT_FOUND, "name")
        answer = await admin(method, f"{path}?owner.uuid={ABSENT}", body)
        assert_error(answer, errors.ENTRY_NOT_FOUND, "owner.uuid")
        assert_error(await admin(method, f"{path}?comment=one", body), errors.UNEXPECTED_ARGUMENT, "comment")
    assert_error(await admin.delete(f"{path}?fields=nosuch"), errors.INVALID_FIELDS_VALUE, "fields")
    assert (await admin.get(f"{path}?fields=comment")).body["comment"] == "one"
    assert (await admin.delete(f"{path}?{own}&fields=name,locked")).status == 200
    assert_error(await admin.get(path), errors.ENTRY_NOT_FOUND, "name")


@pytest.mark.parametrize(
    "change", [{"locked": True}, {"role": {"name": "readonly"}}, {"applications": BY_CERTIFICATE}, None]
)
async def test_an_administrator_remains(owners: Owners, change: dict[str, object] | None) -> None:
    """5636098 for the last one: deleted, locked, of a lesser role or without password; with another one it may."""
    path = owners.path("admin")

    async def change_it() -> Response:
        if change is None:
            return await owners.api.admin.delete(path)
        return await owners.api.admin.patch(path, change)

    assert_error(await change_it(), errors.LAST_ADMIN)
    assert (await owners.api.admin.get(WHOAMI)).body["roles"] == ["admin"]
    assert (await owners.create("second-admin")).status == 201
    assert (await change_it()).status == 200
    second = owners.client("second-admin")
    assert_error(await second.delete(owners.path("second-admin")), errors.LAST_ADMIN)


async def test_accounts_change_their_own_password_and_nothing_else(owners: Owners) -> None:
    """By PATCH or by its own path, any role; another field, another account: 403."""
    assert (await owners.create("vsreader", "vs1", role={"name": "vsadmin-readonly"})).status == 201
    for name, owner in (("auditor", None), ("vsadmin1", owners.vs1), ("vsreader", owners.vs1)):
        client, path = owners.client(name), owners.path(name, owner)
        assert_error(await client.patch(path, {"comment": "x"}), errors.NOT_AUTHORIZED)
        assert_error(await client.patch(path, {"password": NEW, "locked": False}), errors.NOT_AUTHORIZED)
        assert_error(await client.patch(path, {"password": "short"}), errors.PASSWORD_TOO_SHORT, "password")
        assert (await client.patch(path, {"password": NEW})).status == 200
        assert_error(await client.get(WHOAMI), errors.AUTHENTICATION_FAILED)
        client = owners.client(name, NEW)
        answer = await client.post(OWN_PASSWORD, {"name": name, "password": PASSWORD})
        assert (answer.status, answer.body) == (201, {})
        assert (await owners.client(name).get(WHOAMI)).status == 200
    assert_error(await owners.api.readonly.patch(owners.path("admin"), {"password": NEW}), errors.NOT_AUTHORIZED)
    assert (await owners.last_record()).code == "6"
    body = {"name": "admin", "password": NEW}
    assert_error(await owners.api.readonly.post(OWN_PASSWORD, body), errors.NOT_AUTHORIZED)
    assert_error(await owners.api.readonly.post(ACCOUNTS, body), errors.NOT_AUTHORIZED)
    assert_error(await owners.api.readonly.delete(owners.path("auditor")), errors.NOT_AUTHORIZED)


async def test_a_password_is_set_by_name(owners: Owners) -> None:
    """Administrators set any; a name that there is not, or of another owner, is 1261218."""
    post = owners.api.admin.post
    assert (await post(OWN_PASSWORD, {"name": "vsadmin1", "owner": {"name": "vs1"}, "password": NEW})).status == 201
    assert (await owners.client("vsadmin1", NEW).get(WHOAMI)).status == 200
    for body in (
        {"name": "nobody"},
        {"name": "x" * 100},
        {"name": "vsadmin1", "owner": {"name": "vs2"}},
        {"name": "vsadmin1", "owner": {"uuid": owners.vs2.uuid}},
    ):
        assert_error(await post(OWN_PASSWORD, {**body, "password": NEW}), errors.USER_NOT_FOUND, "name")
    record = await owners.last_record()
    assert NEW not in record.input


async def test_an_svm_account_sees_itself_only(owners: Owners) -> None:
    """Others, of its own SVM as well, answer as missing ones do, in lists too."""
    assert (await owners.create("vsother1", "vs1")).status == 201
    assert (await owners.create("vsadmin2", "vs2")).status == 201
    vsadmin = owners.vsadmin
    answer = await vsadmin.get(ACCOUNTS)
    assert [record["name"] for record in answer.body["records"]] == ["vsadmin1"]
    assert (await vsadmin.get(f"{ACCOUNTS}?name=vsadmin2")).body["records"] == []
    assert (await vsadmin.get(owners.path("vsadmin1", owners.vs1))).status == 200
    missing = await vsadmin.get(owners.path("nobody1", owners.vs1))
    assert_error(missing, errors.ENTRY_NOT_FOUND, "name")
    for name, owner in (
        ("vsother1", owners.vs1),
        ("vsadmin2", owners.vs2),
        ("admin", owners.cluster),
        ("vsadmin1", owners.vs2),
    ):
        path = owners.path(name, owner)
        for answer in (await vsadmin.get(path), await vsadmin.patch(path, {"password": NEW})):
            assert (answer.status, answer.headers, answer.content) == (404, missing.headers, missing.content)
    unknown = await vsadmin.post(OWN_PASSWORD, {"name": "nobody1", "password": NEW})
    assert_error(unknown, errors.USER_NOT_FOUND, "name")
    foreign = await vsadmin.post(OWN_PASSWORD, {"name": "vsadmin2", "password": NEW})
    assert foreign.content == unknown.content


async def test_accounts_are_listed_filtered_and_changed_by_query(owners: Owners) -> None:
    """As every collection; a tunnelled call sees the accounts of its SVM."""
    get = owners.api.admin.get
    names = [record["name"] for record in (await get(f"{ACCOUNTS}?order_by=name desc")).body["records"]]
    assert names == ["vsadmin1", "auditor", "admin"]
    for query, expected in (
        ("role.name=readonly", ["auditor"]),
        ("scope=svm", ["vsadmin1"]),
        ("owner.name=vs1", ["vsadmin1"]),
        ("locked=true", []),
        ("name=*a*&scope=cluster", ["admin", "auditor"]),
        ("applications.authentication_methods=password&max_records=1", ["admin"]),
    ):
        assert [record["name"] for record in (await get(f"{ACCOUNTS}?{query}")).body["records"]] == expected, query
    tunnelled = {"x-dot-svm-name": "vs1"}
    assert [item["name"] for item in (await get(ACCOUNTS, headers=tunnelled)).body["records"]] == ["vsadmin1"]
    assert_error(await get(owners.path("admin"), headers=tunnelled), errors.ENTRY_NOT_FOUND, "name")
    answer = await owners.api.admin.patch(f"{ACCOUNTS}?owner.name=vs1", {"locked": True})
    assert (answer.status, answer.body["num_records"]) == (200, 1)
    assert_error(await owners.vsadmin.get(WHOAMI), errors.AUTHENTICATION_FAILED)
    body = {"name": "joe-smith", "password": PASSWORD, "applications": BY_PASSWORD}
    assert (await owners.api.admin.post(ACCOUNTS, body, headers=tunnelled)).headers["location"] == owners.path(
        "joe-smith", owners.vs1
    )


async def test_a_malformed_owner_is_no_uuid(owners: Owners) -> None:
    """Code 2, as in every path; a name that no account can have is missing."""
    assert_error(await owners.api.admin.get(f"{ACCOUNTS}/vs1/admin"), errors.INVALID_PATH_VALUE, "owner")
    for name in ("x" * 200, "%01%02", "%00"):
        assert_error(await owners.api.admin.get(owners.path(name)), errors.ENTRY_NOT_FOUND, "name")


@pytest.mark.parametrize("text", [ACCOUNTS_RESOURCE.fields["role.name"].help, ROLES_RESOURCE.help])
def test_every_role_is_described(text: str) -> None:
    """Where an account is given one, and where they are shown."""
    assert [role for role in Role if f"``{role}``" not in text] == []


async def test_roles_are_listed_owner_by_owner(owners: Owners) -> None:
    """The cluster's, then four of each SVM; pages follow each other; filters and counts are as everywhere."""
    get = owners.api.admin.get
    first, second = sorted((owners.vs1, owners.vs2), key=lambda svm: svm.uuid)
    expected = [(owner.name, role) for owner, roles in (
        (owners.cluster, ("admin", "key-reader", "readonly")),
        (first, ("key-reader", "kmip-client", "vsadmin", "vsadmin-readonly")),
        (second, ("key-reader", "kmip-client", "vsadmin", "vsadmin-readonly")),
    ) for role in roles]  # fmt: skip
    answer = (await get(ROLES)).body
    assert [(item["owner"]["name"], item["name"]) for item in answer["records"]] == expected
    for size in (1, 2, 3, 4, 5):
        found: list[tuple[str, str]] = []
        path: str | None = f"{ROLES}?max_records={size}"
        while path:
            page = (await get(path)).body
            found += [(item["owner"]["name"], item["name"]) for item in page["records"]]
            path = page["_links"].get("next", {}).get("href")
        assert found == expected, size
    filtered = (await get(f"{ROLES}?name=vsadmin&owner.name=vs2&fields=scope,builtin")).body["records"]
    assert [(item["scope"], item["builtin"]) for item in filtered] == [("svm", True)]
    assert (await get(f"{ROLES}?return_records=false")).body["num_records"] == 11
    assert (await get(f"{ROLES}?offset=4")).body["num_records"] == 7


async def test_a_role_shows_the_table_that_decides(owners: Owners) -> None:
    """Path and access, of the role and each by itself; the path in the URL is encoded, or not."""
    get = owners.api.admin.get
    role = f"{ROLES}/{owners.vs1.uuid}/vsadmin"
    shown = (await get(role)).body
    assert shown["privileges"][0]["_links"]["self"]["href"] == f"{role}/privileges/%2Fapi"
    table = [{"path": row.path, "access": row.access.value} for row in PRIVILEGES[Role.VSADMIN]]
    assert [{"path": row["path"], "access": row["access"]} for row in shown["privileges"]] == table
    listed = (await get(f"{role}/privileges", headers={"accept": "application/json"})).body
    assert listed["records"] == table
    href = (await get(f"{role}/privileges?max_records=1")).body["_links"]["next"]["href"]
    assert (await get(href)).body["records"][0]["path"] == table[1]["path"]
    for path in ("%2Fapi%2Fcluster", "/api/cluster"):
        answer = await get(f"{role}/privileges/{path}")
        assert (answer.status, answer.body["access"]) == (200, Access.READONLY)
    assert_error(await get(f"{role}/privileges/%2Fapi%2Fnosuch"), errors.ENTRY_NOT_FOUND, "path")
    for missing in (
        f"{ROLES}/{owners.vs1.uuid}/admin",
        f"{ROLES}/{owners.cluster.uuid}/vsadmin",
        f"{ROLES}/{ABSENT}/admin",
    ):
        assert_error(await get(missing), errors.ENTRY_NOT_FOUND, "name")


async def test_an_svm_account_sees_its_own_roles(owners: Owners) -> None:
    """Those of another SVM and of the cluster are missing."""
    records = (await owners.vsadmin.get(ROLES)).body["records"]
    assert [(item["owner"]["name"], item["name"]) for item in records] == [
        ("vs1", "key-reader"),
        ("vs1", "kmip-client"),
        ("vs1", "vsadmin"),
        ("vs1", "vsadmin-readonly"),
    ]
    missing = await owners.vsadmin.get(f"{ROLES}/{ABSENT}/vsadmin")
    for owner, name in ((owners.vs2, "vsadmin"), (owners.cluster, "admin")):
        foreign = await owners.vsadmin.get(f"{ROLES}/{owner.uuid}/{name}")
        assert (foreign.status, foreign.content) == (404, missing.content)


async def test_who_calls(owners: Owners) -> None:
    """Name, role and privileges of the caller, whoever it is."""
    for client, name, role in (
        (owners.api.admin, "admin", Role.ADMIN),
        (owners.api.readonly, "auditor", Role.READONLY),
        (owners.vsadmin, "vsadmin1", Role.VSADMIN),
    ):
        body = (await client.get(WHOAMI)).body
        assert (body["username"], body["roles"]) == (name, [role])
        assert [row["path"] for row in body["privileges"]] == [row.path for row in PRIVILEGES[role]]

"""Role x method x path x whose object: every cell against a table of its own, which names each path that is served.

What an SVM's account may not see answers byte for byte as what does not exist, shows up in no answer, and stays as it
was. A new path fails here until somebody says what each role may do with it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.api.resources import PATHS
from keystead.core import errors
from keystead.core.forwarding.destinations import Destination, Log, Protocol, audit_name
from keystead.core.forwarding.filters import Filter, Rule
from keystead.core.keys.model import Detached, Key, KeyState, KeyType, Orphan
from keystead.core.keys.names import key_id
from keystead.core.keys.report import KeyReport, ReportKind
from keystead.core.model import (
    Access,
    Account,
    Certificate,
    CertificateType,
    CustomRole,
    Event,
    Job,
    JobState,
    KeyManager,
    KeyServer,
    Privilege,
    Role,
    Svm,
)
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from tests.api.conftest import ABSENT
from tests.peers.asgi import AsgiClient, Response
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from keystead.core.model import Cluster, Node
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki

READ = ("GET", "HEAD", "OPTIONS")
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PATCH", "PUT", "DELETE")
GRANTS = {
    "none": (),
    "read": READ,
    "read, create": (*READ, "POST"),
    "read, modify": (*READ, "PATCH"),
    "all": METHODS,
}
ROLES = {
    "admin": "admin",
    "readonly": "auditor",
    "vsadmin": "vsadmin1",
    "vsadmin-readonly": "reader1",
    "key-reader": "keys1",
}
"""Each role with the account that calls; the last three belong to vs1."""

OF_CLUSTER_ACCOUNTS = ("admin", "readonly")

EVERYTHING = ("all", "read", "all", "read", "none")
KEY_MANAGERS = ("all", "read", "all", "read", "read")
READ_BY_ALL = ("all", "read", "read", "read", "read")
READ_BY_MOST = ("all", "read", "read", "read", "none")
OF_CLUSTER = ("all", "read", "none", "none", "none")
TABLE = {
    "/api/cluster": READ_BY_ALL,
    "/api/cluster/jobs": ("all", "read", "all", "read", "read"),
    "/api/cluster/jobs/{uuid}": ("all", "read", "all", "read", "read"),
    "/api/cluster/nodes": OF_CLUSTER,
    "/api/cluster/nodes/{uuid}": OF_CLUSTER,
    "/api/private/cli/cluster/date": OF_CLUSTER,
    "/api/private/cli/security/certificate": READ_BY_MOST,
    "/api/security": OF_CLUSTER,
    "/api/security/accounts": ("all", *["read, modify"] * 4),
    "/api/security/accounts/{owner}/{name}": ("all", *["read, modify"] * 4),
    "/api/security/audit": OF_CLUSTER,
    "/api/security/audit/destinations": OF_CLUSTER,
    "/api/security/audit/destinations/{address}/{port}": OF_CLUSTER,
    "/api/security/audit/messages": READ_BY_MOST,
    "/api/security/authentication/password": ("all", *["read, create"] * 4),
    "/api/security/certificate-signing-request": EVERYTHING,
    "/api/security/certificates": EVERYTHING,
    "/api/security/certificates/{uuid}": EVERYTHING,
    "/api/security/certificates/{uuid}/sign": EVERYTHING,
    "/api/security/key-manager-configs": OF_CLUSTER,
    "/api/security/key-manager-incarnation": OF_CLUSTER,
    "/api/security/key-managers": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/detached-key-servers": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/detached-key-servers/{server}": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/key-servers": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/key-servers/{server}": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/key-servers/{server}/confirm": ("all", "read", "none", "read", "read"),
    "/api/security/key-managers/{uuid}/auth-keys": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/key-reports": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/key-reports/{report_uuid}": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/key-survival": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/keys/{node_uuid}/key-ids": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/keys/{node_uuid}/key-ids/{key_id}": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/probe": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/prove": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/reboot-drill": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/replicate": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/restore": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/unclaimed-objects": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/unclaimed-objects/dismiss": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/waiting": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/volume-keys/{key_id}/retrieve": ("none", "read", "none", "read", "read, create"),
    "/api/security/key-managers/{uuid}/auth-keys/{key_id}": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/volume-keys": KEY_MANAGERS,
    "/api/security/key-managers/{uuid}/volume-keys/{key_id}": KEY_MANAGERS,
    "/api/security/key-stores": EVERYTHING,
    "/api/security/key-stores/{uuid}": EVERYTHING,
    "/api/security/login/messages": ("all", "read", "read, modify", "read", "none"),
    "/api/security/login/messages/{uuid}": ("all", "read", "read, modify", "read", "none"),
    "/api/security/login/whoami": READ_BY_ALL,
    "/api/security/roles": READ_BY_MOST,
    "/api/security/roles/{owner}/{name}": READ_BY_MOST,
    "/api/security/roles/{owner}/{name}/privileges": READ_BY_MOST,
    "/api/security/roles/{owner}/{name}/privileges/{path:path}": READ_BY_MOST,
    "/api/support/attention": READ_BY_MOST,
    "/api/support/ems/events": READ_BY_MOST,
    "/api/support/ems/events/{node}/{index}": READ_BY_MOST,
    "/api/support/ems/destinations": OF_CLUSTER,
    "/api/support/ems/destinations/{name}": OF_CLUSTER,
    "/api/support/ems/filters": OF_CLUSTER,
    "/api/support/ems/filters/{name}": OF_CLUSTER,
    "/api/support/ems/filters/{name}/rules": OF_CLUSTER,
    "/api/support/ems/filters/{name}/rules/{index}": OF_CLUSTER,
    "/api/support/ems/messages": OF_CLUSTER,
    "/api/svm/svms": READ_BY_MOST,
    "/api/svm/svms/{uuid}": READ_BY_MOST,
}
"""What each of ROLES may do, path by path."""

BODIES: dict[str, Any] = {
    "POST /api/security/certificates": {"type": "nosuch", "public_certificate": "no certificate"},
    "POST /api/security/certificates/{uuid}/sign": {"signing_request": "no request"},
    "POST /api/security/key-managers/{uuid}/key-servers": {"server": "127.0.0.1:1"},
    "POST /api/security/key-managers/{uuid}/volume-keys": {"name": "another key"},
    "POST /api/security/key-managers/{uuid}/unclaimed-objects": {
        "key_server": "127.0.0.1:1",
        "unique_identifier": "1",
        "name": "a found key",
    },
    "POST /api/security/key-managers/{uuid}/unclaimed-objects/dismiss": {
        "key_server": "127.0.0.1:1",
        "unique_identifier": "1",
    },
    "POST /api/security/authentication/password": {"name": "nobody99", "password": PASSWORD},
    "PATCH /api/cluster": {"name": "renamed"},
    "PATCH /api/security/accounts": {"password": PASSWORD},
    "PATCH /api/security/accounts/{owner}/{name}": {"password": PASSWORD},
    "PATCH /api/security/audit": {"http": True},
    "PATCH /api/security/certificates": {"name": "renamed"},
    "PATCH /api/security/certificates/{uuid}": {"name": "renamed"},
    "PATCH /api/security/key-managers": {"policy": "renamed"},
    "PATCH /api/security/key-managers/{uuid}": {"policy": "renamed"},
    "PATCH /api/security/key-managers/{uuid}/auth-keys": {"state": "committed"},
    "PATCH /api/security/key-managers/{uuid}/auth-keys/{key_id}": {"state": "committed"},
    "PATCH /api/security/key-managers/{uuid}/key-servers": {"timeout": 9},
    "PATCH /api/security/key-managers/{uuid}/key-servers/{server}": {"timeout": 9},
    "PATCH /api/security/key-managers/{uuid}/volume-keys": {"state": "committed"},
    "PATCH /api/security/key-managers/{uuid}/volume-keys/{key_id}": {"state": "committed"},
    "PATCH /api/security/key-stores": {"enabled": True},
    "PATCH /api/security/key-stores/{uuid}": {"enabled": True},
    "POST /api/security/roles": {"name": "made-role", "privileges": [{"path": "/api/svm/svms", "access": "readonly"}]},
    "POST /api/security/roles/{owner}/{name}/privileges": {"path": "/api/svm/svms", "access": "readonly"},
    "PATCH /api/security/roles/{owner}/{name}/privileges": {"access": "readonly"},
    "PATCH /api/security/roles/{owner}/{name}/privileges/{path:path}": {"access": "readonly"},
    "PATCH /api/security/login/messages": {"banner": "renamed"},
    "PATCH /api/security/login/messages/{uuid}": {"banner": "renamed"},
    "PATCH /api/security/audit/destinations": {"facility": "local1"},
    "PATCH /api/security/audit/destinations/{address}/{port}": {"facility": "local1"},
    "PATCH /api/support/ems/destinations": {"syslog": {"port": 1514}},
    "PATCH /api/support/ems/destinations/{name}": {"syslog": {"port": 1514}},
    "POST /api/support/ems/filters/{name}/rules": {"type": "include", "message_criteria": {"severities": "alert"}},
    "PATCH /api/support/ems/filters": {"rules": [{"type": "include", "message_criteria": {"severities": "alert"}}]},
    "PATCH /api/support/ems/filters/{name}": {"rules": []},
    "PATCH /api/support/ems/filters/{name}/rules": {"type": "exclude"},
    "PATCH /api/support/ems/filters/{name}/rules/{index}": {"type": "exclude"},
    "PATCH /api/svm/svms": {"name": "renamed"},
    "PATCH /api/svm/svms/{uuid}": {"name": "renamed"},
}
QUERIES = {
    "/api/security/accounts": "?name={account}",
    "/api/security/key-managers/{uuid}/auth-keys": "?key_id=*",
    "/api/security/key-managers/{uuid}/key-servers": "?server=*",
    "/api/security/key-managers/{uuid}/volume-keys": "?key_id=*",
    "/api/security/audit/destinations": "?address=*",
    "/api/security/roles": "?name=made*",
    "/api/security/roles/{owner}/{name}/privileges": "?path=*",
    "/api/support/ems/destinations": "?name=*",
    "/api/support/ems/filters": "?name=*",
    "/api/support/ems/filters/{name}/rules": "?index=*",
}
"""How a change of a whole collection chooses; by default ``?uuid=*``."""

ACTIONS = {"/api/cluster/jobs/{uuid}": "?action=cancel"}
"""What the URL of a PATCH of one object says, where it says something."""


@dataclass
class Owned:
    """The ids of what an owner (an SVM, or the cluster) has, or of things that nobody has."""

    svm: Svm | None
    owner: str
    certificate: str = field(default_factory=lambda: str(uuid4()))
    key_manager: str = field(default_factory=lambda: str(uuid4()))
    job: str = field(default_factory=lambda: str(uuid4()))
    report: str = field(default_factory=lambda: str(uuid4()))
    keys: dict[KeyType, str] = field(default_factory=lambda: {type_: key_id(type_, str(uuid4())) for type_ in KeyType})
    event: int = 0
    account: str = ""
    server: str = "127.0.0.1:1"
    named: str = field(default_factory=lambda: f"n{uuid4().hex}")
    """The name of a destination and of a filter. All belong to the cluster; each owner has some, to compare them."""

    @property
    def ids(self) -> set[str]:
        """Return what no stranger may ever be shown."""
        shown = {self.certificate, self.key_manager, self.job, self.report, self.account, *self.keys.values()}
        return shown | ({self.svm.uuid, self.svm.name} if self.svm else set())


@dataclass
class Matrix:
    """The world of the matrix, with what each owner has."""

    api: Api
    node: Node
    cluster: Cluster
    owned: dict[str, Owned]
    nobodys: Owned

    def client(self, role: str) -> AsgiClient:
        """Return the client of a role."""
        return AsgiClient(self.api.admin.app, ROLES[role], PASSWORD)

    def path(self, template: str, owned: Owned) -> str:
        """Return a path to what an owner has."""
        of_path = {
            "/api/cluster/jobs": owned.job,
            "/api/cluster/nodes": owned.job if owned is self.nobodys else self.node.uuid,
            "/api/security/certificates": owned.certificate,
            "/api/security/key-managers": owned.key_manager,
            "/api/security/key-stores": owned.key_manager,
            "/api/security/login/messages": owned.owner,
            "/api/svm/svms": owned.svm.uuid if owned.svm else owned.owner,
        }
        return template.format_map(
            {
                "uuid": of_path.get(template.partition("/{uuid}")[0], ""),
                "owner": owned.owner,
                "name": _name_of(template, owned),
                "address": owned.named,
                "port": "514",
                "server": owned.server.replace(":", "%3A"),
                "key_id": owned.keys[KeyType.NSE_AK if "/auth-keys/" in template else KeyType.VEK],
                "node": self.node.name,
                "node_uuid": self.node.uuid,
                "report_uuid": owned.report,
                "index": 1 if "/filters/" in template else owned.event,
                "path": "%2Fapi%2Fsvm%2Fsvms",
            }
        )

    async def call(self, role: str, method: str, template: str, owned: Owned) -> Response:
        """One call about what an owner has. A change of a whole collection chooses what it can."""
        path = self.path(template.replace("{path:path}", "{path}"), owned)
        body = BODIES.get(f"{method} {template}", {} if method in {"POST", "PATCH"} else None)
        if method in {"PATCH", "DELETE"} and _is_collection(template):
            path += QUERIES.get(template, "?uuid=*").format(account=ROLES[role])
        elif method == "GET" and _is_collection(template):
            path += "?fields=**"
        elif method == "PATCH":
            path += ACTIONS.get(template, "")
        return await self.client(role)(method, path, body)

    async def others(self, *, but: str) -> list[object]:
        """Everything that other owners have, as it is stored."""

        def read(tx: Transaction) -> list[object]:
            kinds: tuple[type[Any], ...] = (Certificate, KeyManager, Key, Account, Job, Event)
            found: list[object] = [
                item for kind in kinds for item in tx.page(kind, Page()) if item.svm is None or item.svm.name != but
            ]
            roles = tx.custom_roles([owned.svm for name, owned in self.owned.items() if name != but])
            messages = tx.login_messages([owned.svm for name, owned in self.owned.items() if name != but])
            servers = [tx.key_servers(owned.key_manager) for name, owned in self.owned.items() if name != but]
            return [*found, *servers, *roles, *messages, *tx.page(Svm, Page()), tx.cluster(), tx.options()]

        return await self.api.store.read(read)


def _name_of(template: str, owned: Owned) -> str:
    """Return a name. That of a role is a custom one where roles are written, a built-in one elsewhere."""
    if template.startswith("/api/security/accounts"):
        return owned.account
    if template.startswith("/api/support"):
        return owned.named
    if template.startswith("/api/security/roles/{owner}/{name}/"):
        return "made-role"
    return "vsadmin" if owned.svm else "admin"


def _is_collection(template: str) -> bool:
    return any(path.startswith(f"{template}/{{") for path in PATHS)


def _key_manager(owned: Owned) -> KeyManager:
    return KeyManager(owned.key_manager, owned.svm, enabled=True, client_certificate=ABSENT, server_ca_certificates=())


def _key_server(owned: Owned) -> KeyServer:
    return KeyServer(
        uuid=str(uuid4()),
        key_manager=owned.key_manager,
        position=1,
        address=ServerAddress.parse(owned.server),
        timeout=1,
        create_remove_timeout=1,
        username="",
        secondary_key_servers=(),
    )


def _key(owned: Owned, key_type: KeyType) -> Key:
    return Key(
        uuid=str(uuid4()),
        key_id=owned.keys[key_type],
        key_manager=owned.key_manager,
        svm=owned.svm,
        name=f"a {key_type}",
        key_tag="",
        key_type=key_type,
        state=KeyState.COMMITTED,
        length=64,
        created=datetime.now(UTC),
    )


def _job(owned: Owned, node: str) -> Job:
    now = datetime.now(UTC)
    return Job(owned.job, node, owned.svm, "admin", "POST /api/test", JobState.SUCCESS, "", 0, "", now, now)


def _report(owned: Owned) -> KeyReport:
    return KeyReport(owned.report, owned.key_manager, ReportKind.PROOF, datetime.now(UTC), 1, 0, 0, "a document")


def _certificate(owned: Owned, pem: str) -> Certificate:
    now = datetime.now(UTC)
    return Certificate(
        uuid=owned.certificate,
        svm=owned.svm,
        name="a certificate",
        type=CertificateType.SERVER_CA,
        common_name="ca",
        public_certificate=pem,
        intermediates=(),
        ca="ca",
        serial_number="01",
        not_before=now,
        expiry_time=now,
        key_size=256,
        hash_function="sha256",
        authority_key_identifier="",
        subject_key_identifier="",
    )


@pytest.fixture
async def matrix(api: Api, pki: Pki) -> Matrix:
    """Return the same things for vs1, vs2 and the cluster, and an account for each role; written through the store."""

    def fill(tx: Transaction) -> Matrix:
        admin, cluster, (node,) = tx.account("admin"), tx.cluster(), tx.nodes()
        assert admin is not None
        assert cluster is not None
        vs1, vs2 = Svm(str(uuid4()), "vs1"), Svm(str(uuid4()), "vs2")
        owned = {
            "vs1": Owned(vs1, vs1.uuid, account="vsadmin1"),
            "vs2": Owned(vs2, vs2.uuid, account="vsadmin2"),
            "cluster": Owned(None, cluster.uuid, account="auditor"),
        }
        tx.add_svm(vs1)
        tx.add_svm(vs2)
        for name, role, svm in (
            ("vsadmin1", Role.VSADMIN, vs1),
            ("reader1", Role.VSADMIN_READONLY, vs1),
            ("keys1", Role.KEY_READER, vs1),
            ("vsadmin2", Role.VSADMIN, vs2),
        ):
            tx.put_account(Account(name, role, admin.password_hash, svm=svm))
        for each in owned.values():
            rows = (Privilege("/api/cluster", Access.READONLY), Privilege("/api/svm/svms", Access.READONLY))
            tx.put_role(CustomRole("made-role", each.svm, rows))
            tx.add_certificate(_certificate(each, pki.server_ca.pem))
            tx.add_key_manager(_key_manager(each))
            server = _key_server(each)
            tx.add_key_servers([server])
            tx.add_detached_key_server(Detached(replace(server, uuid=str(uuid4())), datetime.now(UTC)))
            name = "keystead-00000000-k0000000000000000-1"
            tx.put_orphans([Orphan(each.key_manager, server.uuid, "1", name, datetime.now(UTC))])
            tx.add_key(_key(each, KeyType.VEK))
            host = each.named
            tx.put_destination(Destination(Log.AUDIT, audit_name(host, 514), Protocol.TCP, host, 514))
            tx.put_destination(Destination(Log.EVENTS, host, Protocol.TCP, "example.com", 514))
            tx.put_event_filter(Filter(host, (Rule("include"), Rule("exclude", severities="debug"), Rule("include"))))
            tx.add_job(_job(each, node.uuid))
            tx.add_key_report(_report(each), keep=1)
            event = Event(node.uuid, 0, datetime.now(UTC), "km.keyserver.available", "notice", each.svm, (), "text")
            tx.add_events([event], 100)
            each.event = max(found.index for found in tx.page(Event, Page()))
        tx.add_key(_key(owned["cluster"], KeyType.NSE_AK))
        keys = {type_: key_id(type_, ABSENT) for type_ in KeyType}
        nobodys = Owned(
            Svm(ABSENT, "vs9"),
            *(ABSENT, ABSENT, ABSENT, ABSENT),
            keys=keys,
            report=ABSENT,
            event=999_999,
            account="nobody99",
        )
        return Matrix(api, node, cluster, owned, nobodys)

    return await api.store.write(fill)


def test_every_path_has_its_place() -> None:
    """Whoever adds a path says here what each role may do with it."""
    assert set(TABLE) == set(PATHS)


@pytest.mark.parametrize(("role", "method"), list(product(ROLES, METHODS)))
async def test_every_cell(matrix: Matrix, role: str, method: str) -> None:
    """One role and one method: all paths, the deepest first (so that what is deleted is not missed), all owners."""
    of_svm = role not in OF_CLUSTER_ACCOUNTS
    matrix.owned["vs1"].account = ROLES[role] if of_svm else "vsadmin1"
    before = await matrix.others(but="vs1")
    wrong: list[str] = []
    denied: list[str] = []
    for template in sorted(PATHS, key=lambda path: (-path.count("/"), path)):
        grant = TABLE[template][list(ROLES).index(role)]
        for owner in ("vs2", "cluster", "vs1") if "{" in template else ("vs1",):
            owned = matrix.owned[owner]
            answer = await matrix.call(role, method, template, owned)
            compared = "{" in template and answer.status >= 400 and answer.status not in {403, 405}
            nothing = await matrix.call(role, method, template, matrix.nobodys) if compared else None
            expected = _expected(role, method, template, owner, grant)
            found = _found(answer, nothing, owned, matrix.nobodys)
            if found != expected:
                wrong.append(f"{method} {template} of {owner}: {found}, expected {expected}: {answer.content[:120]!r}")
            if of_svm:
                wrong += [
                    f"{method} {template} of {owner} shows {each}" for each in _leaks(answer, matrix, owner, denied)
                ]
                denied += [matrix.path(template.replace("{path:path}", "{path}"), owned)] * (answer.status == 403)
    assert wrong == []
    if of_svm:
        assert await matrix.others(but="vs1") == before


CUSTOM = {
    "nothing": (),
    "all": (("/api", "all"),),
    "watcher": (("/api/security/key-managers", "readonly"), ("/api/security/key-managers/*/volume-keys", "none")),
    "writer": (("/api/security/certificates", "read_create"), ("/api/svm", "read_modify")),
}
"""Custom roles of the cluster, with their privileges."""


def _granted(role: str, template: str) -> str:
    """Return a key of GRANTS: what a custom role must grant on a path, said without the rules of core/access.py."""
    if role == "nothing" or template.endswith("/retrieve"):
        return "none"
    if role == "all":
        return "all"
    if role == "watcher":
        keys = "/api/security/key-managers/{uuid}/volume-keys"
        return "read" if template.startswith("/api/security/key-managers") and not template.startswith(keys) else "none"
    if template.startswith("/api/security/certificates"):
        return "read, create"
    return "read, modify" if template.startswith("/api/svm/") else "none"


@pytest.mark.parametrize("name", CUSTOM)
async def test_a_custom_role_is_obeyed_everywhere(matrix: Matrix, name: str) -> None:
    """A custom role with every method of every path: forbidden (code 6) is what it does not grant, and only that."""
    privileges = tuple(Privilege(path, Access(access)) for path, access in CUSTOM[name])

    def employ(tx: Transaction) -> None:
        admin = tx.account("admin")
        assert admin is not None
        role = CustomRole(f"{name}-role", None, privileges)
        tx.put_role(role)
        tx.put_account(Account("custom1", role, admin.password_hash))

    await matrix.api.store.write(employ)
    client = AsgiClient(matrix.api.admin.app, "custom1", PASSWORD)
    wrong = []
    for template, method in product(sorted(PATHS), METHODS):
        path = matrix.path(template.replace("{path:path}", "{path}"), matrix.nobodys)
        answer = await client(method, path, {} if method in {"POST", "PATCH"} else None)
        allowed = method in GRANTS[_granted(name, template)]
        accounts = template.startswith("/api/security/accounts")
        if allowed and name == "all" and accounts and method in {"POST", "DELETE"}:
            continue  # decided by the use case: see tests/api/test_custom_roles.py
        if (answer.status == 403) is allowed:
            wrong.append(f"{method} {template}: {answer.status}, allowed: {allowed}")
    assert wrong == []


def _expected(role: str, method: str, template: str, owner: str, grant: str) -> str:
    """Return what a cell must be: ``forbidden``, ``missing``, ``no method`` or ``served``."""
    if method not in GRANTS[grant]:
        return "forbidden"
    served = {*PATHS[template], "OPTIONS"} | ({"HEAD"} if "GET" in PATHS[template] else set())
    if method not in served:
        return "no method"
    if method == "OPTIONS" or "{" not in template or template == "/api/cluster/nodes/{uuid}":
        return "served"
    if role not in OF_CLUSTER_ACCOUNTS and owner != "vs1":
        return "missing"
    if template == "/api/svm/svms/{uuid}" and owner == "cluster":
        return "missing"  # the cluster is no SVM
    if "/unclaimed-objects" in template and method == "POST" and role not in OF_CLUSTER_ACCOUNTS:
        return "status 404"  # no SVM finds one: whose it was is not known
    is_account = template.startswith("/api/security/accounts")
    if is_account and role == "readonly" and method == "PATCH" and owner != "cluster":
        return "forbidden"  # not the caller itself
    return "served"


def _found(answer: Response, nothing: Response | None, owned: Owned, nobodys: Owned) -> str:
    """Return what a cell is."""
    if answer.status == 405:
        return "no method"
    if answer.status == 403:
        return "forbidden"
    if answer.status >= 500:
        unreadable = errors.KEY_NOT_READ.text  # no key server answers here
        return "served" if answer.body["error"]["message"] == unreadable else "broken"
    if nothing is not None and _plain(answer, owned) == _plain(nothing, nobodys):
        return "missing"
    return "served" if answer.status in {200, 201, 202, 400, 409} else f"status {answer.status}"


def _plain(answer: Response, owned: Owned) -> tuple[int, bytes, dict[str, str]]:
    """Return an answer without the ids that the request named."""
    content = answer.content
    ids = (owned.key_manager, owned.certificate, owned.job, *owned.keys.values(), owned.owner, owned.account)
    for identifier in ids:
        content = content.replace(identifier.encode(), b"<id>")
    return answer.status, content, {name: text for name, text in answer.headers.items() if name != "content-length"}


def _leaks(answer: Response, matrix: Matrix, owner: str, denied: list[str]) -> list[str]:
    """Ids of other owners in an answer, but those that the request itself has named.

    ``denied`` are paths of denied calls, which audit records of the caller repeat.
    """
    told = matrix.owned[owner].ids
    others = set[str]().union(*(owned.ids for name, owned in matrix.owned.items() if name != "vs1")) - told
    text = answer.content.decode() + repr(answer.headers)
    for path in denied:
        text = text.replace(path, "")
    return sorted(each for each in others if each in text)


@pytest.mark.parametrize("role", ROLES)
async def test_lists_hold_what_the_role_sees(matrix: Matrix, role: str) -> None:
    """An SVM's account finds its own things in every list, an account of the cluster everybody's."""
    seen = ["vs1", "vs2", "cluster"] if role in OF_CLUSTER_ACCOUNTS else ["vs1"]
    for template, attribute in (
        ("/api/security/certificates", "certificate"),
        ("/api/security/key-managers", "key_manager"),
        ("/api/security/key-stores", "key_manager"),
        ("/api/cluster/jobs", "job"),
    ):
        if TABLE[template][list(ROLES).index(role)] == "none":
            continue
        answer = await matrix.client(role).get(template)
        ids = {getattr(matrix.owned[owner], attribute) for owner in seen}
        assert {record["uuid"] for record in answer.body["records"]} == ids, template
        counted = await matrix.client(role).get(f"{template}?return_records=false")
        assert counted.body["num_records"] == len(seen)
    if role == "key-reader":
        return  # neither events
    events = (await matrix.client(role).get("/api/support/ems/events")).body["records"]
    assert {record["index"] for record in events} == {matrix.owned[owner].event for owner in seen}


LISTS = {
    "/api/cluster/jobs": "job",
    "/api/security/certificates": "certificate",
    "/api/security/key-managers": "key_manager",
    "/api/security/key-stores": "key_manager",
}


@pytest.mark.parametrize("template", LISTS)
async def test_filters_find_nothing_of_others(matrix: Matrix, template: str) -> None:
    """A filter by a foreign uuid, SVM or name, with operators, counts, orders and pages, is as one by nothing's."""
    client = matrix.client("vsadmin")
    foreign = matrix.owned["vs2"]
    assert foreign.svm is not None
    pairs = [(f"uuid={getattr(foreign, LISTS[template])}", f"uuid={ABSENT}")]
    pairs += [(f"uuid={getattr(matrix.owned['cluster'], LISTS[template])}", f"uuid={ABSENT}")]
    if template != "/api/cluster/jobs":
        pairs += [(f"svm.name={name}", f"svm.name={nobody}") for name, nobody in (("vs2", "vs9"), ("vs2*", "vs9*"))]
        pairs += [(f"svm.uuid={foreign.svm.uuid}", f"svm.uuid={ABSENT}"), ("svm.name=!vs1", "svm.name=vs9")]
        pairs += [("scope=cluster", "svm.name=vs9")]
    for (wanted, nothing), more in product(
        pairs, ("", "&return_records=false", "&order_by=uuid desc", "&max_records=1")
    ):
        answer = await client.get(f"{template}?{wanted}{more}", headers={"accept": "application/json"})
        empty = await client.get(f"{template}?{nothing}{more}", headers={"accept": "application/json"})
        assert (answer.status, answer.content, answer.headers) == (200, empty.content, empty.headers), wanted
        assert answer.body["num_records"] == 0


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
@pytest.mark.parametrize("template", ["/api/security/certificates", "/api/security/key-managers"])
async def test_records_that_name_others_fail_as_missing_ones(matrix: Matrix, method: str, template: str) -> None:
    """A body with ``records`` is a job: its answer, its message and its results are those for what nobody has."""
    client, before = matrix.client("vsadmin"), await matrix.others(but="vs1")
    told = []
    for uuid in (getattr(matrix.owned["vs2"], LISTS[template]), ABSENT):
        record = {"uuid": uuid} | ({} if method == "DELETE" else BODIES[f"PATCH {template}"])
        answer = await client(method, f"{template}?return_timeout=15", {"records": [record]})
        newest = await client.get("/api/cluster/jobs?order_by=start_time desc&max_records=1")
        job = newest.body["records"][0]["uuid"]
        assert job != matrix.owned["vs1"].job
        results = await client.get(f"{template}?job_results_uuid={job}")
        shown = await client.get(f"/api/cluster/jobs/{job}?fields=state,message,code,error")
        whole = b"".join((answer.content, results.content, shown.content))
        told.append((answer.status, whole.replace(job.encode(), b"<job>").replace(uuid.encode(), b"<uuid>")))
    assert told[0] == told[1]
    assert b"entry doesn't exist" in told[0][1]
    assert await matrix.others(but="vs1") == before


@pytest.mark.parametrize("template", LISTS)
async def test_pages_lead_to_own_things_only(matrix: Matrix, template: str) -> None:
    """One record, and no link to a page in which another's record would stand."""
    answer = await matrix.client("vsadmin").get(f"{template}?max_records=1")
    assert answer.body["num_records"] == 1
    assert "next" not in answer.body["_links"]
    assert "link" not in answer.headers

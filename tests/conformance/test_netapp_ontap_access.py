"""The official client as other callers than the administrator: SVM accounts, certificates, tunnels; what they leave."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from netapp_ontap import HostConnection, NetAppRestError
from netapp_ontap.resources import (
    Account,
    AccountPassword,
    EmsEvent,
    EmsMessage,
    KeyManagerConfig,
    KeyServer,
    LoginMessages,
    Role,
    RolePrivilege,
    SecurityAudit,
    SecurityAuditLog,
    SecurityCertificate,
    SecurityKeyManager,
    Svm,
    Whoami,
)

from tests.conformance.test_netapp_ontap_methods import refusal
from tests.peers.certificates import DAY, Authority
from tests.peers.keystead import PASSWORD as ADMIN_PASSWORD

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conformance.conftest import Installed
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation, Service

PASSWORD = "a password of 1 SVM"
ANNOUNCED_WITHIN_S = 20
BY_PASSWORD = [{"application": "http", "authentication_methods": ["password"]}]
BY_CERTIFICATE = [{"application": "http", "authentication_methods": ["certificate"]}]


@dataclass(frozen=True)
class Tenants:
    """Two SVMs with a key manager each, and the first one's administrator."""

    service: Service
    mine: SecurityKeyManager
    other: SecurityKeyManager
    account: Account

    def connect(self, **login: Any) -> HostConnection:
        """Another connection to the service."""
        ca = self.service.installation.data / "tls.crt"
        return HostConnection("127.0.0.1", port=self.service.port, verify=str(ca), poll_interval=1, **login)

    def administrator(self, password: str = PASSWORD) -> HostConnection:
        """The first SVM's administrator."""
        return self.connect(username=self.account.name, password=password)


@pytest.fixture(scope="module")
def service(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service of the module's own, which looks at certificates every two seconds."""
    copy = initialised.copy(tmp_path_factory.mktemp("service") / "data")
    with replace(copy, settings={"monitor_probe_interval": "2"}).serving() as running:
        yield running


@pytest.fixture
def tenants(service: Service, installed: Installed) -> Tenants:
    """Make them."""
    mine = installed.key_manager(installed.servers[0])
    mine.post(hydrate=True)
    Svm(name=f"{installed.svm.name}-other").post()
    values = installed.key_manager(installed.servers[1], svm=False).to_dict()
    other = SecurityKeyManager.from_dict(values | {"svm": {"name": f"{installed.svm.name}-other"}})
    other.post(hydrate=True)
    account = Account(
        name=f"a-{uuid4().hex[:8]}",
        owner={"uuid": installed.svm.uuid},
        role={"name": "vsadmin"},
        applications=BY_PASSWORD,
        password=PASSWORD,
    )
    account.post(hydrate=True)
    return Tenants(service, mine, other, account)


def test_an_svms_administrator(tenants: Tenants, installed: Installed) -> None:
    """Sees and changes its SVM's key manager; the other's is as one that is not there, the cluster's is not its own."""
    with tenants.administrator() as connection:
        (seen,) = SecurityKeyManager.get_collection(fields="**")
        assert (seen.uuid, SecurityKeyManager.count_collection()) == (tenants.mine.uuid, 1)
        assert [svm.uuid for svm in Svm.get_collection()] == [installed.svm.uuid]
        KeyServer(seen.uuid, server=installed.servers[2]).post()
        assert KeyServer.count_collection(seen.uuid) == 2
        assert refusal(SecurityKeyManager(uuid=tenants.other.uuid).get) == (404, "4")
        assert refusal(KeyServer(tenants.other.uuid, server=installed.servers[1]).get) == (404, "4")
        assert refusal(KeyServer(tenants.other.uuid, server=installed.servers[2]).post) == (404, "4")
        assert refusal(Svm(name="another").post) == (403, "6")
        whoami = Whoami()
        whoami.get()
        assert (whoami.username, whoami.roles) == (tenants.account.name, ["vsadmin"])
        connection.session.close()


def test_login_messages(tenants: Tenants, installed: Installed) -> None:
    """The client reads, changes and clears them; the SVM's administrator sees its own."""
    (found,) = LoginMessages.get_collection(**{"svm.name": installed.svm.name, "fields": "*"})
    assert (found.uuid, found.scope, found.show_cluster_message) == (installed.svm.uuid, "svm", True)
    found.banner, found.message = "AUTHORIZED ACCESS ONLY", "WELCOME!"
    found.patch()
    with tenants.administrator() as connection:
        (mine,) = LoginMessages.get_collection(fields="banner,message")
        assert (mine.banner, mine.message) == ("AUTHORIZED ACCESS ONLY", "WELCOME!")
        connection.session.close()
    (cluster,) = LoginMessages.get_collection(scope="cluster")
    cluster.get()
    assert "banner" not in cluster.to_dict()
    found.banner, found.message = "", ""
    found.patch()
    cleared = LoginMessages(uuid=found.uuid)
    cleared.get(fields="*")
    assert not {"banner", "message"} & set(cleared.to_dict())


def test_custom_roles(tenants: Tenants, installed: Installed) -> None:
    """A role with its privileges, made, read, changed and deleted by the client; an account with it is held to it."""
    name, name_of_svm = f"r-{uuid4().hex[:8]}", f"r-{uuid4().hex[:8]}"
    readonly = {"path": "/api/svm/svms", "access": "readonly"}
    role = Role(name=name, privileges=[readonly, {"path": "/api/cluster", "access": "readonly"}])
    role.post(hydrate=True)
    assert (role.builtin, role.scope, len(role.privileges)) == (False, "cluster", 2)
    owner = role.owner.uuid
    Role(name=name_of_svm, owner={"uuid": installed.svm.uuid}, privileges=[readonly]).post()
    assert [found.name for found in Role.get_collection(name=name_of_svm, scope="svm")] == [name_of_svm]
    RolePrivilege(owner, name, path="/api/security/roles", access="readonly").post()
    privilege = RolePrivilege(owner, name, path="/api/svm/svms")
    privilege.get()
    privilege.access = "none"
    privilege.patch()
    RolePrivilege(owner, name, path="/api/cluster").delete()
    kept = {each.path: each.access for each in RolePrivilege.get_collection(owner, name)}
    assert kept == {"/api/svm/svms": "none", "/api/security/roles": "readonly"}
    account = Account(name=f"a-{uuid4().hex[:8]}", role={"name": name}, applications=BY_PASSWORD, password=PASSWORD)
    account.post(hydrate=True)
    with tenants.connect(username=account.name, password=PASSWORD) as connection:
        assert name in {found.name for found in Role.get_collection()}
        assert refusal(lambda: list(Svm.get_collection())) == (403, "6")
        assert refusal(Role(name="more", privileges=[readonly]).post) == (403, "6")
        connection.session.close()
    assert refusal(Role(name=name, **{"owner.uuid": owner}).delete) == (400, "5636172")
    account.delete()
    Role(name=name, **{"owner.uuid": owner}).delete()
    Role.delete_collection(name=name_of_svm)
    assert not list(Role.get_collection(name=f"{name}|{name_of_svm}"))


@pytest.mark.parametrize("by", ["X-Dot-SVM-Name", "X-Dot-SVM-UUID"])
def test_a_tunnel(tenants: Tenants, installed: Installed, by: str) -> None:
    """The cluster's administrator through the headers of one SVM: lists, objects, creations, contradictions."""
    svm = installed.svm.uuid if by.endswith("UUID") else installed.svm.name
    with tenants.connect(username="admin", password=ADMIN_PASSWORD, headers={by: svm}) as tunnel:
        assert [each.uuid for each in SecurityKeyManager.get_collection()] == [tenants.mine.uuid]
        assert refusal(SecurityKeyManager(uuid=tenants.other.uuid).get) == (404, "4")
        made = SecurityCertificate(type="root_ca", common_name="Tunnelled")
        made.post(hydrate=True)
        assert made.svm.uuid == installed.svm.uuid
        contradiction = SecurityCertificate(type="root_ca", common_name="T", svm={"uuid": tenants.other.svm.uuid})
        assert refusal(contradiction.post)[0] == 400
        assert refusal(SecurityKeyManager.count_collection, **{"svm.uuid": tenants.other.svm.uuid}) == (400, "262186")
        tunnel.session.close()
    for nobody in ("no such SVM", "-"):
        with tenants.connect(username="admin", password=ADMIN_PASSWORD, headers={"X-Dot-SVM-Name": nobody}) as tunnel:
            with pytest.raises(NetAppRestError, match="SVM"):
                SecurityKeyManager.count_collection()
            tunnel.session.close()


def test_login_by_certificate(tenants: Tenants, tmp_path: Path) -> None:
    """``HostConnection(cert=, key=)``: who the certificate names, by a CA that is installed for logins."""
    authority, name = Authority("Login CA"), f"c-{uuid4().hex[:8]}"
    files = tmp_path / "client.crt", tmp_path / "client.key"
    credentials = authority.issue((), common_name=name, purpose="client")
    files[0].write_text(credentials.certificate_pem)
    files[1].write_text(credentials.key_pem)
    ca = SecurityCertificate(type="client_ca", public_certificate=authority.pem, name=name)
    ca.post(hydrate=True)
    account = Account(name=name, role={"name": "readonly"}, applications=BY_CERTIFICATE)
    account.post(hydrate=True)
    with tenants.connect(cert=str(files[0]), key=str(files[1])) as connection:
        assert SecurityKeyManager.count_collection(uuid=f"{tenants.mine.uuid}|{tenants.other.uuid}") == 2
        assert refusal(SecurityKeyManager(uuid=tenants.mine.uuid).delete) == (403, "6")
        connection.session.close()
    account.delete()
    ca.delete()


def test_accounts(tenants: Tenants) -> None:
    """An account is listed with its role, locked, given another password, and deleted."""
    account = tenants.account
    assert (account.scope, account.role.name, account.locked) == ("svm", "vsadmin", False)
    found = Account.find(name=account.name, fields="**")
    assert (found.owner.uuid, "password" in found.to_dict()) == (tenants.mine.svm.uuid, False)
    AccountPassword(name=account.name, owner={"uuid": found.owner.uuid}, password=PASSWORD * 2).post()
    account.comment = "of one SVM"
    account.patch(hydrate=True)
    assert account.comment == "of one SVM"
    with tenants.administrator(PASSWORD * 2) as connection:
        Whoami().get()
        connection.session.close()
    with tenants.administrator() as connection:
        assert refusal(Whoami().get) == (401, "6691623")
        connection.session.close()
    account.locked = True
    account.patch()
    assert Account.count_collection(locked="true", name=account.name) == 1
    assert account.delete().http_response.json() == {}
    assert Account.find(name=account.name) is None
    assert {role.name for role in Role.get_collection(scope="cluster")} >= {"admin", "readonly"}
    role = Role.find(name="vsadmin", **{"owner.uuid": found.owner.uuid})
    assert (role.builtin, role.scope) == (True, "svm")


def test_the_audit_log(tenants: Tenants, installed: Installed) -> None:
    """A change is there with its caller and its input; a read only when asked for."""
    path = f"/api/security/key-managers/{tenants.mine.uuid}/key-servers"
    server = KeyServer(tenants.mine.uuid, server=installed.servers[3])
    server.post()
    newest = SecurityAuditLog.get_collection(order_by="timestamp desc", max_records=5, fields="*", user="admin")
    entry = next(each for each in newest if each.input.startswith(f"POST {path}"))
    assert (entry.state, entry.application, entry.location) == ("success", "http", "127.0.0.1")
    assert entry.svm.name == installed.svm.name
    reads = {"input": f"GET {path}*", "state": "success"}
    server.get()
    assert SecurityAuditLog.count_collection(**reads) == 0
    settings = SecurityAudit()
    settings.get()
    assert settings.http is False
    settings.http = True
    settings.patch()
    server.get()
    settings.http = False
    settings.patch(hydrate=True)
    assert (settings.http, SecurityAuditLog.count_collection(**reads)) == (False, 1)
    assert SecurityAuditLog.count_collection(state="pending", application="ssh") == 0  # words of ONTAP's


@pytest.mark.usefixtures("tenants")
def test_settings_of_key_managers() -> None:
    """They are one object, read and changed."""
    settings = KeyManagerConfig()
    settings.get()
    before = settings.health_monitor_polling_interval
    settings.health_monitor_polling_interval = 20
    settings.patch(hydrate=True)
    assert settings.health_monitor_polling_interval == 20
    settings.health_monitor_polling_interval = before
    settings.patch()


def test_events(installed: Installed, pki: Pki) -> None:
    """What the watch announces (here: the certificate ends in days) is a list with ONTAP's names and fields."""
    aged = pki.client_ca.issue(
        (), common_name="keystead", purpose="client", key=pki.client.key, starts=-100 * DAY, ends=10 * DAY
    )
    certificate = SecurityCertificate(
        type="client",
        public_certificate=aged.certificate_pem,
        private_key=aged.key_pem,
        name=f"{installed.svm.name}-aged",
    )
    certificate.post(hydrate=True)
    replace(installed, client=certificate).key_manager(installed.servers[0]).post()
    wanted = {"message.name": "mgmtgwd.certificate.expiring"}
    deadline = time.monotonic() + ANNOUNCED_WITHIN_S
    while EmsEvent.count_collection(**wanted) == 0:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    event, *_ = EmsEvent.get_collection(**wanted, fields="*", order_by="index desc", max_records=1)
    assert (event.message.severity, event.node.name, event.source) == ("error", "keystead-01", "keystead")
    assert event.log_message.startswith(f"{wanted['message.name']}: A digital certificate")
    assert {"common_name", "days"} <= {parameter.name for parameter in event.parameters}


def test_the_catalogue_of_events(installed: Installed) -> None:
    """As the client's own documentation reads it: filtered by name, page by page."""
    assert installed.svm.uuid
    found = list(EmsMessage.get_collection(max_records=2, fields="*", name="km.keyserver.*"))
    assert {each.severity for each in found} == {"alert", "notice"}
    assert all(each.name.startswith("km.keyserver.") for each in found)

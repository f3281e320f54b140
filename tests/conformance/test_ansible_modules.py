"""The real modules of Ansible's ``netapp.ontap``: check mode changes nothing, a run does, the next one need not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from tests.conformance.playbooks import Playbooks
from tests.peers.certificates import make_key

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.peers.certificates import Credentials
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service

pytestmark = pytest.mark.long

REFUSED = "127.0.0.1:1"
OURS = (
    *("cluster", "cluster/jobs", "cluster/nodes", "security/accounts", "security/audit", "security/audit/messages"),
    *("security/certificates", "security/key-manager-configs", "security/key-managers", "security/key-stores"),
    *("security/audit/destinations", "security/roles", "support/ems/destinations", "support/ems/events"),
    *("support/ems/filters", "svm/svms"),
)
SINGLE = {"cluster", "security/audit", "security/key-manager-configs"}


@pytest.fixture
def plays(service: Service, tmp_path: Path) -> Playbooks:
    """Ansible, set to the module's service."""
    return Playbooks(service, tmp_path)


@pytest.fixture
def svm(service: Service) -> str:
    """A new SVM."""
    name = f"svm-{uuid4().hex[:8]}"
    with service.client() as call:
        call.create("/svm/svms", {"name": name})
    return name


@pytest.fixture
def servers(sound_ports: list[int]) -> list[str]:
    """Six key servers."""
    return [f"127.0.0.1:{port}" for port in sound_ports]


def pair(pki: Pki, client: Credentials | None = None) -> dict[str, Any]:
    """The variables of certificates.yml: a client certificate and a server CA under new names."""
    name = uuid4().hex[:8]
    shown = client or pki.client
    return {
        "client": {"name": f"{name}-client", "certificate": shown.certificate_pem, "key": shown.key_pem},
        "server_ca": {"name": f"{name}-ca", "certificate": pki.server_ca.pem},
    }


def external(certificates: dict[str, Any], servers: Sequence[str]) -> dict[str, Any]:
    """The option of the key manager's module."""
    return {
        "client_certificate": certificates["client"]["name"],
        "server_ca_certificates": [certificates["server_ca"]["name"]],
        "servers": list(servers),
    }


def signing_request(common_name: str) -> str:
    """A certificate signing request, as its subject makes it."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(make_key("ec"), hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode()


def shown_servers(service: Service, svm: str) -> list[str]:
    """The servers of an SVM's key manager as the service shows them."""
    with service.client() as call:
        (manager,) = call.get(f"/security/key-managers?svm.name={svm}&fields=external")["records"]
    return [each["server"] for each in manager["external"]["servers"]]


def test_svm(plays: Playbooks) -> None:
    """An SVM is made, renamed and deleted, each once."""
    old, new = f"svm-{uuid4().hex[:8]}", f"svm-{uuid4().hex[:8]}"
    plays.expect_change_once("svm", svm=old)
    plays.expect_change_once("svm", svm=new, from_name=old)
    plays.expect_change_once("svm", svm=new, state="absent")


def test_an_svms_storage(plays: Playbooks) -> None:
    """An SVM keeps what a playbook says of its storage; comment and number of volumes can be changed later."""
    name = f"svm-{uuid4().hex[:8]}"
    stated = {"language": "c.utf_8", "ipspace": "Default", "subtype": "default", "snapshot_policy": "none"}
    plays.expect_change_once("svm", svm=name, storage=stated)
    for later in ({"comment": "of tests"}, {"max_volumes": "3"}):
        plays.expect_change_once("svm", svm=name, storage=stated | later)


def test_an_account(plays: Playbooks, svm: str) -> None:
    """Made, given another role, locked, given another password, and deleted, each once.

    With a password the module says in check mode that it would be changed: it cannot compare.
    """
    account = {"name": f"joe-{uuid4().hex[:8]}", "vserver": svm, "role_name": "vsadmin"}
    with_password = {"set_password": "a-horse-of-7"}
    assert plays.changes("account", account=account | with_password) == 1
    assert plays.changes("account", account=account | with_password) == 0
    for change in ({"role_name": "vsadmin-readonly"}, {"lock_user": True}):
        plays.expect_change_once("account", account=account | change)
    new_password = {"set_password": "another-horse-8"}
    assert [plays.changes("account", account=account | new_password) for _ in range(2)] == [1, 0]
    plays.expect_change_once("account", account=account | {"state": "absent"})


def test_a_role(plays: Playbooks, svm: str) -> None:
    """Made, given one more privilege and less access, left with one privilege, and deleted, each once."""
    role = {"name": "operator", "vserver": svm}
    certificates, key_managers = "/api/security/certificates", "/api/security/key-managers"
    for privileges in (
        [{"path": certificates, "access": "all"}],
        [{"path": certificates, "access": "readonly"}, {"path": key_managers, "access": "readonly"}],
        [{"path": key_managers, "access": "readonly"}],
    ):
        plays.expect_change_once("role", role=role | {"privileges": privileges})
    plays.expect_change_once("role", role=role | {"state": "absent"})


def test_svm_in_use(plays: Playbooks, svm: str, pki: Pki) -> None:
    """An SVM that owns certificates is not deleted; the task fails with the service's words."""
    plays.changes("certificates", svm=svm, **pair(pki))
    (message,) = plays.run("svm", svm=svm, state="absent").failures
    assert message.startswith("Error in delete: calling: svm/svms/")
    assert "'code': '8'" in message


@pytest.mark.parametrize("owned", [True, False], ids=["svm", "cluster"])
def test_certificates(plays: Playbooks, svm: str, pki: Pki, owned: bool) -> None:
    """Both certificates are installed and removed, of an SVM or of the cluster."""
    variables = pair(pki) | ({"svm": svm} if owned else {})
    plays.expect_change_once("certificates", **variables)
    plays.expect_change_once("certificates", **variables, state="absent")


def test_a_certificate_authority(plays: Playbooks) -> None:
    """An authority of our own is made, signs a request, and is removed."""
    name = f"root-{uuid4().hex[:8]}"
    plays.expect_change_once("root_ca", name=name)
    signing = plays.run("root_ca", name=name, signing_request=signing_request("ks.example.com"))
    assert not signing.failures
    assert signing.changed == 1  # so says the module of each signature
    certificate = x509.load_pem_x509_certificate(signing.results[0]["ontap_info"]["public_certificate"].encode())
    assert name in certificate.issuer.rfc4514_string()
    assert "ks.example.com" in certificate.subject.rfc4514_string()
    plays.expect_change_once("root_ca", name=name, state="absent")


def test_certificate_without_its_key(plays: Playbooks, pki: Pki) -> None:
    """A refused certificate fails the task with the code and text, and nothing is installed."""
    certificates = pair(pki)
    del certificates["client"]["key"]
    for _ in range(2):
        (message,) = plays.run("certificates", **certificates).failures
        assert message.startswith("Error creating or installing certificate: ")


def test_key_manager(plays: Playbooks, service: Service, svm: str, pki: Pki, servers: list[str]) -> None:
    """Made with two servers, given two more, left with the last, which is replaced; then deleted.

    The module removes servers before it adds others: a key manager outlives its only server.
    """
    certificates = pair(pki)
    plays.changes("certificates", svm=svm, **certificates)
    for some in (servers[:2], servers[:4], servers[3:4], servers[4:5]):
        plays.expect_change_once("key_manager", svm=svm, external=external(certificates, some))
        assert shown_servers(service, svm) == some
    plays.expect_change_once("key_manager", svm=svm, state="absent")


def test_key_manager_of_the_cluster(plays: Playbooks, pki: Pki, servers: list[str]) -> None:
    """Made and deleted without an SVM; only then can its certificates go."""
    certificates = pair(pki)
    plays.changes("certificates", **certificates)
    plays.expect_change_once("key_manager", external=external(certificates, servers[:2]))
    (message,) = plays.run("certificates", **certificates, state="absent").failures
    assert "3735683" in message
    assert "Cannot remove this certificate while external key manager is configured." in message
    plays.expect_change_once("key_manager", state="absent")
    assert plays.changes("certificates", **certificates, state="absent") == 2


def test_new_certificates(plays: Playbooks, svm: str, pki: Pki, servers: list[str]) -> None:
    """Those of the same key pair replace the configured ones, which can go then; those of another are refused."""
    old, new, foreign = pair(pki), pair(pki), pair(pki, pki.stranger)
    plays.changes("certificates", **old)
    plays.changes("certificates", svm=svm, **new)
    plays.changes("key_manager", svm=svm, external=external(old, servers[:1]))
    plays.expect_change_once("key_manager", svm=svm, external=external(new, servers[:1]))
    plays.expect_change_once("certificates", **old, state="absent")
    plays.changes("certificates", svm=svm, **foreign)
    (message,) = plays.run("key_manager", svm=svm, external=external(foreign, servers[:1])).failures
    assert message.startswith("Error modifying key manager for ")
    assert "65536850" in message


def test_refused_server(plays: Playbooks, service: Service, svm: str, pki: Pki, servers: list[str]) -> None:
    """A server that cannot be reached fails the task with ONTAP's code and text, every time, and changes nothing."""
    certificates = pair(pki)
    plays.changes("certificates", **certificates)
    plays.changes("key_manager", svm=svm, external=external(certificates, servers[:1]))
    for _ in range(2):
        (message,) = plays.run("key_manager", svm=svm, external=external(certificates, [servers[0], REFUSED])).failures
        assert message.startswith(f"Error adding external key server {REFUSED}: ")
        assert "66060341" in message
        assert "due to network configuration issues" in message
        assert "'connection_refused'" in message
    assert shown_servers(service, svm) == servers[:1]


def test_refused_key_manager(plays: Playbooks, svm: str, pki: Pki) -> None:
    """No key manager is left of one whose server was refused."""
    certificates = pair(pki)
    plays.changes("certificates", **certificates)
    for _ in range(2):
        (message,) = plays.run("key_manager", svm=svm, external=external(certificates, [REFUSED])).failures
        assert message.startswith("Error creating key manager for ")
        assert "66060341" in message
    assert plays.changes("key_manager", svm=svm, state="absent") == 0


def test_fifth_server(plays: Playbooks, service: Service, svm: str, pki: Pki, servers: list[str]) -> None:
    """A fifth server fails the task with ONTAP's code and text, and the four stay."""
    certificates = pair(pki)
    plays.changes("certificates", **certificates)
    plays.changes("key_manager", svm=svm, external=external(certificates, servers[:4]))
    (message,) = plays.run("key_manager", svm=svm, external=external(certificates, servers[:5])).failures
    assert "65536038" in message
    assert "A maximum of 4 active key servers are allowed." in message
    assert shown_servers(service, svm) == servers[:4]


def test_audit_destinations(plays: Playbooks) -> None:
    """Made, changed (the module makes it anew) and deleted; UDP is refused with the service's words."""
    host = "127.0.0.1"
    plays.expect_change_once("log_forward", destination=host)
    plays.expect_change_once("log_forward", destination=host, verify_server=True, facility="local3")
    plays.expect_change_once("log_forward", destination=host, protocol="tcp_unencrypted", facility="local3")
    plays.expect_change_once("log_forward", destination=host, state="absent")
    (message,) = plays.run("log_forward", destination=host, protocol="udp_unencrypted").failures
    assert "262197" in message
    assert "tcp_unencrypted|tcp_encrypted" in message


def rule(index: int, type_: str = "include", name_pattern: str = "*", severities: str = "*") -> dict[str, Any]:
    """A rule as the module of filters takes it."""
    criteria = {"name_pattern": name_pattern, "severities": severities}
    return {"index": index, "type": type_, "message_criteria": criteria}


def test_filters_of_events(plays: Playbooks) -> None:
    """Made, given another rule, changed, and deleted."""
    name = f"f{uuid4().hex[:8]}"
    first, second = rule(1, severities="ALERT,EMERGENCY"), rule(2, "exclude", "km.*", "error")
    plays.expect_change_once("ems_filter", name=name, rules=[first])
    plays.expect_change_once("ems_filter", name=name, rules=[first, second])
    plays.expect_change_once("ems_filter", name=name, rules=[first, rule(2, name_pattern="km.*", severities="notice")])
    plays.expect_change_once("ems_filter", name=name, state="absent")


@pytest.mark.parametrize("type_", ["syslog", "rest_api"])
def test_destinations_of_events(plays: Playbooks, pki: Pki, type_: str) -> None:
    """A syslog server, or a webhook with a client certificate: made, changed and deleted."""
    certificates = pair(pki)
    plays.changes("certificates", **certificates)
    issuer = pki.client.certificate.issuer.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value
    name = f"d{uuid4().hex[:8]}"
    syslog = {"transport": "tcp_encrypted", "port": 6514, "message_format": "rfc_5424"}
    wanted: dict[str, Any] = {"name": name, "type": type_, "filters": ["important-events"]}
    if type_ == "syslog":
        wanted |= {"destination": "127.0.0.1", "syslog": syslog}
        other: dict[str, Any] = {"syslog": syslog | {"port": 1514}, "filters": ["no-info-debug-events"]}
    else:
        wanted |= {"destination": "https://127.0.0.1:1/in"}
        wanted |= {"certificate": certificates["client"]["name"], "issuer": issuer}
        other = {"destination": "https://127.0.0.1:1/other"}
    plays.expect_change_once("ems_destination", **wanted)
    plays.expect_change_once("ems_destination", **(wanted | other))
    plays.expect_change_once("ems_destination", **wanted, state="absent")
    (message,) = plays.run("ems_destination", **(wanted | {"type": "email", "destination": "a@example.com"})).failures
    assert "262197" in message


def test_info(plays: Playbooks, svm: str) -> None:
    """Every subset of ours is gathered, with the default fields and with all; another one does not fail the task."""
    wanted = [*OURS, "storage/volumes"]
    for info in (plays.info(wanted), plays.info(wanted, fields=["*"])):
        assert info.pop("storage/volumes") == "API not found"
        assert {path for path, found in info.items() if "records" not in found} == SINGLE
        assert svm in [each["name"] for each in info["svm/svms"]["records"]]
    (identity,) = plays.info(["cluster_identity_info"]).values()
    assert identity["uuid"]


def test_info_by_page_and_filter(plays: Playbooks, svm: str, pki: Pki, servers: list[str]) -> None:
    """Pages are followed to the last; a filter and the choice of links arrive."""
    certificates = pair(pki)
    plays.changes("certificates", svm=svm, **certificates)
    plays.changes("key_manager", svm=svm, external=external(certificates, servers[:2]))
    whole = plays.info(["security/certificates"])["security/certificates"]
    paged = plays.info(["security/certificates"], max_records=1)["security/certificates"]
    assert paged["num_records"] == len(paged["records"]) > 1
    assert paged["records"] == whole["records"]
    for links in (True, False):
        chosen: dict[str, Any] = {"fields": ["external"], "parameters": {"svm.name": svm}, "hal_linking": links}
        (manager,) = plays.info(["security/key-managers"], **chosen)["security/key-managers"]["records"]
        assert [each["server"] for each in manager["external"]["servers"]] == servers[:2]
        assert ("_links" in manager) is links


def test_rest(plays: Playbooks, service: Service, svm: str) -> None:
    """A call of the user's own: read, refused with code and text, and not made in check mode."""
    read = {"api": "svm/svms", "query": {"name": svm, "fields": "name"}}
    outcome = plays.run("rest", call=read)
    assert outcome.changed == 0
    (record,) = outcome.results[0]["response"]["records"]
    again = {"api": "svm/svms", "method": "POST", "body": {"name": svm}}
    refused = plays.run("rest", call=again).results[0]
    with service.client() as call:
        error = call("POST", "/svm/svms", {"name": svm}).body["error"]
    assert (refused["failed"], refused["status_code"]) == (True, 409)
    assert (refused["error_code"], refused["error_message"]) == (error["code"], error["message"])
    tunnelled = plays.run("rest", call={"api": "svm/svms", "vserver_name": svm, "hal_linking": True}).results[0]
    assert [each["uuid"] for each in tunnelled["response"]["records"]] == [record["uuid"]]
    assert "_links" in tunnelled["response"]
    gone = {"api": f"svm/svms/{record['uuid']}", "method": "DELETE", "wait_for_completion": True}
    assert plays.changes("rest", check=True, call=gone) == 1
    assert plays.changes("rest", call=gone) == 1
    assert plays.run("rest", call=gone).results[0]["error_code"] == "4"

"""The request sequences of Ansible's ``netapp.ontap`` modules: the first run changes, the second changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conformance import ansible

if TYPE_CHECKING:
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service


@pytest.fixture
def svm(service: Service) -> str:
    """A new SVM."""
    with service.client() as call:
        name: str = call.create("/svm/svms", {"name": f"svm-{uuid4().hex[:8]}"})["name"]
    return name


def server_ca_of(pki: Pki) -> dict[str, str]:
    """The module's options for the key servers' CA; it insists on ``common_name``."""
    return {"type": "server_ca", "common_name": "Key Server CA", "public_certificate": pki.server_ca.pem}


@pytest.fixture
def certificates(service: Service, pki: Pki) -> tuple[str, str]:
    """The names of a pair of certificates of the cluster, installed by the module."""
    prefix = uuid4().hex[:8]
    client, server_ca = f"{prefix}-client", f"{prefix}-ca"
    assert ansible.security_certificate(
        service,
        name=client,
        type="client",
        common_name="keystead",
        public_certificate=pki.client.certificate_pem,
        private_key=pki.client.key_pem,
    )
    assert ansible.security_certificate(service, name=server_ca, **server_ca_of(pki))
    return client, server_ca


@pytest.mark.parametrize("owned", [True, False], ids=["svm", "cluster"])
def test_certificates(service: Service, svm: str, pki: Pki, owned: bool) -> None:
    """A certificate is installed once, for an SVM or for the cluster."""
    certificate = server_ca_of(pki) | {"name": f"ca-{svm}"}
    owner = svm if owned else None
    assert ansible.security_certificate(service, owner, **certificate) is True
    assert ansible.security_certificate(service, owner, **certificate) is False


def test_certificate_absent(service: Service, certificates: tuple[str, str]) -> None:
    """A certificate is removed once, by a DELETE without a body."""
    assert ansible.delete_certificate(service, certificates[1]) is True
    assert ansible.delete_certificate(service, certificates[1]) is False


def test_key_manager(service: Service, svm: str, certificates: tuple[str, str], sound_ports: list[int]) -> None:
    """Made by the first run and unchanged by the second; the third adds servers, the fourth changes nothing."""
    client, server_ca = certificates
    servers = [f"127.0.0.1:{port}" for port in sound_ports]
    runs = [servers[:2], servers[:2], servers[:4], servers[:4]]
    changed = [ansible.security_key_manager(service, client, [server_ca], run, svm) for run in runs]
    assert changed == [True, False, True, False]


def test_key_manager_of_the_cluster(service: Service, certificates: tuple[str, str], sound_ports: list[int]) -> None:
    """The same without an SVM; a removal of the certificates is refused then."""
    client, server_ca = certificates
    servers = [f"127.0.0.1:{port}" for port in sound_ports[:2]]
    assert ansible.security_key_manager(service, client, [server_ca], servers) is True
    assert ansible.security_key_manager(service, client, [server_ca], servers) is False
    with pytest.raises(ansible.ModuleError, match="3735683: Cannot remove this certificate"):
        ansible.delete_certificate(service, client)


def test_refused_key_manager(service: Service, svm: str, certificates: tuple[str, str]) -> None:
    """A refusal fails the module with code and text; nothing is left, so that the next run begins anew."""
    client, server_ca = certificates
    for _ in range(2):
        with pytest.raises(ansible.ModuleError, match="66060341: Failed to establish secure connection"):
            ansible.security_key_manager(service, client, [server_ca], ["nowhere.invalid"], svm)


def test_a_path_with_a_raw_colon(
    service: Service, svm: str, certificates: tuple[str, str], sound_ports: list[int]
) -> None:
    """Ansible does not encode the colon of a server in a path."""
    client, server_ca = certificates
    server = f"127.0.0.1:{sound_ports[0]}"
    ansible.security_key_manager(service, client, [server_ca], [server], svm)
    module = ansible.Module(service, "na_ontap_security_key_manager")
    manager = module.one("security/key-managers", fields="uuid", **{"svm.name": svm})
    assert manager is not None
    shown = module.answer("GET", f"security/key-managers/{manager['uuid']}/key-servers/{server}", fields="server")
    assert shown["server"] == server


@pytest.mark.parametrize("fields", ["", "*", "**", "status,external"])
@pytest.mark.parametrize("path", ["security/key-managers", "security/certificates", "svm/svms"])
def test_rest_info(service: Service, certificates: tuple[str, str], path: str, fields: str) -> None:
    """Everything is read page by page, with ``fields`` empty too; names of other resources are an error."""
    del certificates
    if "status" in fields and path != "security/key-managers":
        with pytest.raises(ansible.ModuleError, match="262197"):
            ansible.rest_info(service, path, fields, max_records=1)
        return
    records = ansible.rest_info(service, path, fields, max_records=1)
    with service.client() as call:
        assert len(records) == call.get(f"/{path}?return_records=false")["num_records"]

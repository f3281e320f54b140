"""The official client, set to a real service. Its settings are global: each test gets them afresh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from netapp_ontap import HostConnection, config
from netapp_ontap.resources import SecurityCertificate, SecurityKeyManager, Svm

from tests.peers.keystead import PASSWORD, Installation

FAST: dict[str, Any] = {"poll_interval": 0.1}
"""A connection's seconds between two looks at a job. (The client says whole ones, and sleeps what it is given.)"""

BOTH_DATABASES = pytest.mark.parametrize("service", ["sqlite", "postgresql"], indirect=True, scope="module")
"""Has a module's tests run on a service of each engine in turn."""

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Service
    from tests.peers.postgres import PostgresServer


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, initialised: Installation, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A service of the module's own, on SQLite unless a module asks for more: clients list what others made, too."""
    data = tmp_path_factory.mktemp("service") / "data"
    if getattr(request, "param", "sqlite") == "sqlite":
        with initialised.copy(data).serving() as running:
            yield running
        return
    postgres: PostgresServer = request.getfixturevalue("postgres")
    with postgres.database() as url, Installation(data, url).init().serving() as running:
        yield running


@pytest.fixture
def connection(service: Service, monkeypatch: pytest.MonkeyPatch) -> Iterator[HostConnection]:
    """netapp-ontap's connection to the service, its certificate verified."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # requests prefers them to a session's own ``verify``
        monkeypatch.delenv(name, raising=False)
    ca = service.installation.data / "tls.crt"
    with HostConnection("127.0.0.1", "admin", PASSWORD, port=service.port, verify=str(ca), **FAST) as made:
        monkeypatch.setattr(config, "CONNECTION", made)
        yield made
        made.session.close()


@dataclass(frozen=True)
class Installed:
    """What the client made: an SVM, its certificates, and key servers to add."""

    svm: Svm
    client: SecurityCertificate
    server_ca: SecurityCertificate
    servers: list[str]

    def key_manager(self, *servers: str, svm: bool = True) -> SecurityKeyManager:
        """A key manager to be posted."""
        values: dict[str, Any] = {
            "external": {
                "client_certificate": {"uuid": self.client.uuid},
                "server_ca_certificates": [{"uuid": self.server_ca.uuid}],
                "servers": [{"server": server} for server in servers],
            }
        }
        if svm:
            values["svm"] = {"name": self.svm.name}
        return SecurityKeyManager(**values)


@pytest.fixture
def installed(connection: HostConnection, pki: Pki, sound_ports: list[int]) -> Installed:
    """An SVM and a pair of certificates, made by the client."""
    del connection
    svm = Svm(name=f"svm-{uuid4().hex[:8]}")
    svm.post(hydrate=True)
    client = SecurityCertificate(
        type="client",
        public_certificate=pki.client.certificate_pem,
        private_key=pki.client.key_pem,
        name=f"{svm.name}-c",
    )
    server_ca = SecurityCertificate(type="server_ca", public_certificate=pki.server_ca.pem, name=f"{svm.name}-ca")
    client.post(hydrate=True)
    server_ca.post(hydrate=True)
    return Installed(svm, client, server_ca, [f"127.0.0.1:{port}" for port in sound_ports])

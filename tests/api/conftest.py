"""The whole service behind the REST face, in this process: real services, SQLite, real sealing, real probes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from keystead.api.app import create_app
from keystead.app.wiring import running
from keystead.core.model import Account, Role
from keystead.settings import Settings
from tests.peers.documented import DocumentedClient
from tests.peers.keystead import PASSWORD

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from keystead.core.model import AuditRecord
    from keystead.service.services import Services
    from keystead.store import SqlStore
    from tests.peers.fixtures import Pki
    from tests.peers.keystead import Installation

ABSENT = "00000000-0000-4000-8000-000000000000"


@dataclass
class Api:
    """A running service and clients of it."""

    admin: DocumentedClient
    readonly: DocumentedClient
    services: Services
    store: SqlStore

    async def audit(self) -> list[AuditRecord]:
        """Every audit record of the one node, without that of init."""
        (node,) = await self.store.read(lambda tx: tx.nodes())
        return list(await self.store.read(lambda tx: tx.audit_records(node.uuid, 1, 1000)))

    async def certificate(self, type_: str, pem: str, key: str | None = None, **more: object) -> str:
        """Install a certificate and return its uuid."""
        body = {"type": type_, "public_certificate": pem, **({"private_key": key} if key else {}), **more}
        answer = await self.admin.post("/api/security/certificates", body)
        assert answer.status == 201, answer.content
        return answer.headers["location"].rpartition("/")[2]

    async def certificates(self, pki: Pki) -> tuple[str, str]:
        """Install the session's client and server CA certificates; return their uuids."""
        client = await self.certificate("client", pki.client.certificate_pem, pki.client.key_pem)
        return client, await self.certificate("server_ca", pki.server_ca.pem)

    async def key_manager(self, pki: Pki, servers: list[str], **more: object) -> str:
        """Create a key manager with these servers and return its uuid."""
        client, server_ca = await self.certificates(pki)
        external = {
            "client_certificate": {"uuid": client},
            "server_ca_certificates": [{"uuid": server_ca}],
            "servers": [{"server": server} for server in servers],
        }
        answer = await self.admin.post("/api/security/key-managers", {"external": external, **more})
        assert answer.status == 201, answer.content
        return answer.headers["location"].rpartition("/")[2]


@pytest.fixture
def home(installation: Installation) -> Path:
    """A data directory of the test's own: once it is served, what is copied from it counts as a clone."""
    return installation.data


@pytest.fixture
async def api(home: Path) -> AsyncIterator[Api]:
    """Yield the service on a fresh database, with an account ``auditor`` of the role readonly."""
    async with running(Settings(data=home, egress_allow=("127.0.0.0/8",))) as open_:
        app = create_app(open_.services)

        def add(tx: object) -> None:
            admin = tx.account("admin")  # type: ignore[attr-defined]
            tx.put_account(Account("auditor", Role.READONLY, admin.password_hash))  # type: ignore[attr-defined]

        await open_.store.write(add)
        yield Api(
            DocumentedClient(app, "admin", PASSWORD),
            DocumentedClient(app, "auditor", PASSWORD),
            open_.services,
            open_.store,
        )

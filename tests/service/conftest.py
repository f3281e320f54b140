"""A world for use cases: the real services on a fresh SQLite database, and sound key servers to add."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from keystead.app.initialise import initialise
from keystead.app.wiring import Running, running
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.key_servers import AddRequest, ModifyRequest, NewKeyServer
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.service.context import Call, Caller
from keystead.settings import Settings
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from keystead.core.key_servers import ServersState
    from keystead.core.model import KeyServer
    from keystead.core.probing import ProbeResult
    from keystead.service.ports.store import Store, Transaction
    from keystead.service.services import Services
    from tests.peers.fixtures import Pki

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test")


@dataclass
class World:
    """The running services, with short ways to make what most tests need."""

    open: Running
    pki: Pki

    @property
    def services(self) -> Services:
        return self.open.services

    @property
    def store(self) -> Store[Transaction]:
        return self.open.store

    async def certificates(self, svm: str | None = None) -> tuple[str, str]:
        """Install the client certificate and the key servers' CA; return their uuids."""
        install = self.services.certificates.install
        key = Secret(self.pki.client.key_pem)
        client = await install(
            CALL, NewCertificate("client", self.pki.client.certificate_pem, svm_name=svm, private_key=key)
        )
        return client.uuid, await self.server_ca(self.pki.server_ca.pem, svm)

    async def server_ca(self, pem: str, svm: str | None = None) -> str:
        """Install a CA of key servers; return its uuid."""
        new = NewCertificate("server_ca", pem, svm_name=svm)
        return (await self.services.certificates.install(CALL, new)).uuid

    async def key_manager(self, *servers: str, svm: str | None = None) -> str:
        """Make certificates and a key manager with these servers; return its uuid."""
        client, ca = await self.certificates(svm)
        new = NewKeyManager(
            None, svm, CertificateName(client), (CertificateName(ca),), tuple(asked(server) for server in servers)
        )
        return (await self.services.key_managers.create(CALL, new)).key_manager.uuid

    async def add(self, key_manager: str, request: AddRequest) -> tuple[KeyServer, ...]:
        """Add servers, as a call does."""
        return await self.services.key_servers.add(CALL, await self._state(key_manager), request)

    async def modify(self, key_manager: str, server: str, **fields: Any) -> KeyServer:
        """Change a server, as a call does."""
        request = ModifyRequest(ServerAddress.parse(server), **fields)
        return await self.services.key_servers.modify(CALL, await self._state(key_manager), request)

    async def remove(self, key_manager: str, server: str) -> None:
        """Remove a server, as a call does."""
        address = ServerAddress.parse(server)
        await self.services.key_servers.remove(CALL, await self._state(key_manager), address)

    async def dry_run(self, key_manager: str, request: AddRequest | ModifyRequest) -> tuple[ProbeResult, ...]:
        """Try servers, as a call does."""
        return await self.services.key_servers.dry_run(CALL, await self._state(key_manager), request)

    async def probe(self, key_manager: str, *servers: str) -> tuple[ProbeResult, ...]:
        """Probe stored servers, as a call does."""
        addresses = tuple(map(ServerAddress.parse, servers))
        return await self.services.key_servers.probe(CALL, await self._state(key_manager), addresses)

    async def _state(self, key_manager: str) -> ServersState:
        return await self.services.key_servers.state(CALL, key_manager)

    async def server(self, key_manager: str, server: str) -> KeyServer:
        """Return a stored server."""
        return await self.services.key_servers.get(CALL, key_manager, ServerAddress.parse(server))

    async def rows(self, key_manager: str) -> tuple[KeyServer, ...]:
        """Return the stored servers, in order."""
        return await self.store.read(lambda tx: tx.key_servers(key_manager))

    async def stored(self, key_manager: str) -> list[str]:
        """Return the addresses of the stored servers, in order."""
        return [str(server.address) for server in await self.rows(key_manager)]

    async def audited(self) -> list[tuple[str, str]]:
        """Return state and code of this node's audit records, in order, without that of init."""
        (node,) = await self.store.read(lambda tx: tx.nodes())
        records = await self.store.read(lambda tx: tx.audit_records(node.uuid, 1, 1000))
        return [(record.state, record.code) for record in records]


def asked(server: str, **fields: object) -> NewKeyServer:
    """Ask for a server as a caller would."""
    return NewKeyServer(ServerAddress.parse(server), **fields)  # type: ignore[arg-type]


def add(*servers: NewKeyServer) -> AddRequest:
    """Ask for servers in one call."""
    return AddRequest(servers, prefix="" if len(servers) == 1 else "records[{index}].")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory that init made."""
    data = tmp_path_factory.mktemp("template") / "data"
    initialise(Settings(data=data), b"password of admin", terminal=False)
    return data


@pytest_asyncio.fixture
async def world(template: Path, tmp_path: Path, pki: Pki) -> AsyncIterator[World]:
    """Yield the services over a copy of the template."""
    data = tmp_path / "data"
    shutil.copytree(template, data)
    async with running(Settings(data=data, egress_allow=("127.0.0.0/8",))) as open_:
        await open_.keys.learner.close()  # its servers are scripts, which are counted and keep no keys
        yield World(open_, pki)


@pytest.fixture(scope="session")
def servers(pki: Pki) -> Iterator[list[str]]:
    """Addresses of five sound key servers."""
    context = server_context(pki.server, client_ca=pki.client_ca)
    with ExitStack() as stack:
        started = [stack.enter_context(fault.FaultServer(fault.tls(context, kmip.answering()))) for _ in range(5)]
        yield [f"127.0.0.1:{server.port}" for server in started]


@pytest.fixture(scope="session")
def closed() -> str:
    """Return an address on which nothing listens."""
    return f"127.0.0.1:{fault.refused_port()}"

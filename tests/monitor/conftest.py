"""A node that watches: the real services and monitor on a fresh SQLite database, with intervals that tests can wait."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.app.initialise import initialise
from keystead.app.wiring import Running, running
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.key_servers import NewKeyServer
from keystead.core.model import Event, Observation, Role, State
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.monitor import watcher
from keystead.service.context import Call, Caller
from keystead.service.ports.page import Page
from keystead.settings import Settings
from tests.peers.certificates import server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.kmip_answers import answering

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from tests.peers.fixtures import Pki

CALL = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "POST", "/api/test")
CHECK_S = 0.3
PROBE_S = 1.5
KNOWN_WITHIN_S = 60.0


@dataclass
class Node:
    """The running services of a node whose monitor runs."""

    open: Running
    pki: Pki

    async def certificates(self) -> tuple[str, str]:
        """Install the client certificate and the key servers' CA; return their uuids."""
        install = self.open.services.certificates.install
        name = uuid4().hex[:8]
        client = NewCertificate(
            "client",
            self.pki.client.certificate_pem,
            name=f"{name}-client",
            private_key=Secret(self.pki.client.key_pem),
        )
        ca = NewCertificate("server_ca", self.pki.server_ca.pem, name=f"{name}-ca")
        return (await install(CALL, client)).uuid, (await install(CALL, ca)).uuid

    async def key_manager(self, *servers: str, **fields: Any) -> str:
        """Make the cluster's key manager with these servers; return its uuid."""
        client, ca = await self.certificates()
        asked = tuple(NewKeyServer(ServerAddress.parse(server), **fields) for server in servers)
        new = NewKeyManager(None, None, CertificateName(client), (CertificateName(ca),), asked)
        return (await self.open.services.key_managers.create(CALL, new)).key_manager.uuid

    async def observations(self) -> tuple[Observation, ...]:
        """Return the stored observations of the node."""
        (node,) = await self.open.store.read(lambda tx: tx.nodes())
        return await self.open.store.read(lambda tx: tx.observations_of_node(node.uuid))

    async def observation(self) -> Observation:
        """Return the stored observation of the one address."""
        (found,) = await self.observations()
        return found

    async def events(self, family: str = "km.") -> list[Event]:
        """Return the events whose names begin so, in order."""
        found = await self.open.store.read(lambda tx: tx.page(Event, Page()))
        return [event for event in found if event.name.startswith(family)]

    async def expect(self, holds: Callable[[Observation], bool], within_s: float = KNOWN_WITHIN_S) -> Observation:
        """Wait until the observation of the one address has this property; fail after ``within_s`` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while not holds(found := await self.observation()):  # noqa: ASYNC110 - the database is polled
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"not within {within_s} s: {await self.observation()}")
        return found

    async def expect_connected(self, count: int = 1) -> None:
        """Wait until the monitor has so many kept connections; raise TimeoutError if it has not in time."""
        async with asyncio.timeout(KNOWN_WITHIN_S):
            while self.open.monitor.connected != count:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.02)


@pytest.fixture
def brief_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have looks at a server that is silent end earlier."""
    monkeypatch.setattr(watcher, "CHECK_S", 0.5)
    monkeypatch.setattr(watcher, "PROBE_S", 1.5)


def lost(reason: str) -> Callable[[Observation], bool]:
    """Return a condition: the server does not respond, for this reason."""
    return lambda found: found.state is State.NOT_RESPONDING and found.reason == reason


def available(found: Observation) -> bool:
    """Return True if the observation is of a server that answers."""
    return found.state is State.AVAILABLE


@asynccontextmanager
async def watching(data: Path, pki: Pki, **settings: Any) -> AsyncIterator[Node]:
    """Run a node on a data directory, with its monitor."""
    quick = {"monitor_interval": CHECK_S, "monitor_probe_interval": PROBE_S, "egress_allow": ("127.0.0.0/8",)}
    async with running(Settings(data=data, **(quick | settings))) as open_:  # type: ignore[arg-type]
        open_.monitor.start()
        yield Node(open_, pki)


@pytest.fixture(scope="session")
def watching_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a data directory that init made, to be copied."""
    data = tmp_path_factory.mktemp("watching") / "data"
    initialise(Settings(data=data), b"password of admin", terminal=False)
    return data


@pytest.fixture
def node_home(watching_home: Path, tmp_path: Path) -> Path:
    """Return a data directory of the test's own."""
    shutil.copytree(watching_home, tmp_path / "data")
    return tmp_path / "data"


@pytest.fixture
def servers(pki: Pki) -> Iterator[list[FaultServer]]:
    """Yield four sound key servers."""
    context = server_context(pki.server, client_ca=pki.client_ca)
    with ExitStack() as stack:
        script = tls(context, answering())
        yield [stack.enter_context(FaultServer(script)) for _ in range(4)]


@pytest.fixture
async def node(node_home: Path, pki: Pki, servers: list[FaultServer]) -> AsyncIterator[Node]:
    """Yield a node that watches, and ends before its key servers do."""
    del servers
    async with watching(node_home, pki) as running_:
        yield running_

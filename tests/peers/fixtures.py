"""The thin pytest layer over the peers: one set of certificates and one set of PyKMIP servers per test session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import uvloop

from tests.peers import groups, pykmip
from tests.peers.certificates import Authority, Credentials, client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.processes import Program

PYKMIP_SERVERS = 6
RUN_SECONDS = 50

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine, on each of the two event loops in turn."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else None

    async def limited(coroutine: Coroutine[Any, Any, Any]) -> Any:
        async with asyncio.timeout(RUN_SECONDS):  # an alarm signal does not interrupt uvloop
            return await coroutine

    def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(limited(coroutine))

    return run


@dataclass(frozen=True)
class Pki:
    """A CA for key servers and one for their clients, with a leaf of each; and a client that no server trusts."""

    server_ca: Authority
    client_ca: Authority
    server: Credentials
    client: Credentials
    stranger: Credentials


@pytest.fixture(scope="session")
def pki() -> Pki:
    """The certificates that the session's PyKMIP servers and their clients use."""
    server_ca, client_ca = Authority("Key Server CA"), Authority("Client CA")
    return Pki(server_ca, client_ca, server_ca.issue(), client(client_ca), client(Authority("Another CA")))


@pytest.fixture(scope="session")
def pykmip_servers(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Program]]:
    """Real KMIP servers on loopback, shared by the session: they must be left as they were found."""
    with pykmip.running(PYKMIP_SERVERS, tmp_path_factory.mktemp("pykmip"), pki.server, pki.client_ca) as servers:
        yield servers


@pytest.fixture(scope="session")
def _group(pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[groups.Group]:
    with groups.group(tmp_path_factory.mktemp("group"), pki.server, pki.client_ca, secondaries=1) as running:
        yield running


@pytest.fixture
def pykmip_group(_group: groups.Group) -> groups.Group:
    """Four real primaries with a secondary each: all run, empty; a test may do to them what it likes.

    The processes are shared by the session; what a test killed, paused or cut off is brought back for the next one.
    """
    _group.reset()
    return _group

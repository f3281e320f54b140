"""What the tests of objects on key servers are made with: a scripted server, and how it is reached."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import KeyForm
from keystead.core.secret import Secret
from keystead.keyservers.objects import Objects
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer
from keystead.kmip.ttlv.enums import Operation
from keystead.service.ports.objects import Endpoint, Fault, KeyServerFault
from tests.keyservers.cases import CLIENT_CA, LOOPBACK, SERVER, identity, target
from tests.peers.certificates import server_context

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from keystead.core.probing import TlsIdentity
    from keystead.kmip.server.profile import Profile
    from keystead.service.ports.objects import KeyObjects, ObjectSession

TIMEOUT_S = 20.0
"""Longer than anything that is not meant to run out of time."""

SHORT_S = 1.0

MATERIAL = Secret(bytes(range(64)))


def endpoint(port: int, ours: TlsIdentity | None = None, host: str = "127.0.0.1", **more: Any) -> Endpoint:
    """The way to a server on loopback."""
    wanted = target(port, host, **more)
    return Endpoint("a-key-server", "", wanted.server, wanted, ours or identity())


@contextlib.asynccontextmanager
async def objects(**options: Any) -> AsyncIterator[KeyObjects]:
    """Objects that may connect to loopback; closed afterwards."""
    made = Objects(LOOPBACK, **options)
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def server(profile: Profile = PLAIN, **options: Any) -> AsyncIterator[KeyServer]:
    """A scripted server that takes our identity."""
    context = server_context(SERVER, CLIENT_CA)
    async with KeyServer(context, Responder(profile=profile, **options)) as running:
        yield running


@contextlib.contextmanager
def fails(fault: Fault, reason: str) -> Iterator[None]:
    """Within, exactly this must be raised, and its text must be made of those two words."""
    with pytest.raises(KeyServerFault) as caught:
        yield
    assert (caught.value.fault, caught.value.reason) == (fault, reason)
    assert str(caught.value) == f"{fault}: {reason}"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def register(session: ObjectSession, name: str = "a") -> tuple[str, ...]:
    """Bring the material to the server."""
    return await session.register(name, MATERIAL, KeyForm.SECRET_DATA, application_information=None)


async def put(used: KeyObjects, way: Endpoint) -> tuple[str, ...]:
    """The same, in a session of its own."""
    async with used.session(way, timeout_s=TIMEOUT_S) as session:
        return await register(session)


async def read(used: KeyObjects, way: Endpoint, ids: tuple[str, ...], timeout_s: float = TIMEOUT_S) -> Secret:
    """Read it, in a session of its own."""
    async with used.session(way, timeout_s=timeout_s) as session:
        return await session.get(ids)


async def connect(used: KeyObjects, way: Endpoint, **options: Any) -> None:
    """Have a session, and ask nothing."""
    async with used.session(way, **options):
        pass


def handshakes(running: KeyServer) -> int:
    """How many connections got as far as their first question, one for each of them being Discover Versions."""
    return sum(request.batch_item[0].operation == Operation.DISCOVER_VERSIONS for request in running.requests)


@contextlib.asynccontextmanager
async def talking(
    profile: Profile = PLAIN, timeout_s: float = TIMEOUT_S, **options: Any
) -> AsyncIterator[tuple[KeyServer, ObjectSession]]:
    """A scripted server and a session with it."""
    async with (
        server(profile, **options) as running,
        objects() as used,
        used.session(endpoint(running.port), timeout_s=timeout_s) as session,
    ):
        yield running, session


async def seeds(session: ObjectSession, *names: str) -> list[tuple[str, ...]]:
    """Register a key under each of the names, each of other bytes."""
    return [
        await session.register(name, seed(number), KeyForm.SECRET_DATA, application_information=None)
        for number, name in enumerate(names)
    ]


def seed(number: int) -> Secret:
    """Material that tells its number."""
    return Secret(bytes([number]) * 64)


def asked(running: KeyServer, operation: Operation) -> int:
    """How often the server was asked for an operation; a batch counts once."""
    return sum(request.batch_item[0].operation == operation for request in running.requests)

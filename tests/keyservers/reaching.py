"""Helpers for the tests of objects on key servers: a scripted server, and sessions with it."""

from __future__ import annotations

import contextlib
from dataclasses import replace
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
    from collections.abc import AsyncIterator, Callable, Iterator

    from keystead.core.probing import TlsIdentity
    from keystead.kmip.server.profile import Profile
    from keystead.service.ports.objects import KeyObjects, ObjectSession

TIMEOUT_S = 20.0
"""Longer than anything that is not meant to run out of time."""

SHORT_S = 1.0

MATERIAL = Secret(bytes(range(64)))


def endpoint(port: int, ours: TlsIdentity | None = None, host: str = "127.0.0.1", **more: Any) -> Endpoint:
    """Return the way to a server on loopback."""
    wanted = target(port, host, **more)
    return Endpoint("a-key-server", "", wanted.server, wanted, ours or identity())


@contextlib.asynccontextmanager
async def objects(**options: Any) -> AsyncIterator[Objects]:
    """Objects that may connect to loopback; closed afterwards."""
    made = Objects(LOOPBACK, **options)
    try:
        yield made
    finally:
        await made.close()


@contextlib.asynccontextmanager
async def server(profile: Profile = PLAIN, **options: Any) -> AsyncIterator[KeyServer]:
    """Yield a scripted server that takes our identity."""
    context = server_context(SERVER, CLIENT_CA)
    async with KeyServer(context, Responder(profile=profile, **options)) as running:
        yield running


@contextlib.contextmanager
def expect_fault(fault: Fault, reason: str) -> Iterator[None]:
    """Expect that the block raises exactly this fault, with a text of fault and reason."""
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
    """Register the material."""
    return await session.register(name, MATERIAL, KeyForm.SECRET_DATA, application_information=None)


async def put(used: KeyObjects, way: Endpoint) -> tuple[str, ...]:
    """Register the material in a session of its own."""
    async with used.session(way, timeout_s=TIMEOUT_S) as session:
        return await register(session)


async def read(used: KeyObjects, way: Endpoint, ids: tuple[str, ...], timeout_s: float = TIMEOUT_S) -> Secret:
    """Read the material in a session of its own."""
    async with used.session(way, timeout_s=timeout_s) as session:
        return await session.get(ids)


async def connect(used: KeyObjects, way: Endpoint, **options: Any) -> None:
    """Open a session and ask nothing."""
    async with used.session(way, **options):
        pass


def handshakes(running: KeyServer) -> int:
    """Return how many connections asked their first question, which is always Discover Versions."""
    return sum(request.batch_item[0].operation == Operation.DISCOVER_VERSIONS for request in running.requests)


@contextlib.asynccontextmanager
async def talking(
    profile: Profile = PLAIN, timeout_s: float = TIMEOUT_S, **options: Any
) -> AsyncIterator[tuple[KeyServer, ObjectSession]]:
    """Yield a scripted server and a session with it."""
    async with (
        server(profile, **options) as running,
        objects() as used,
        used.session(endpoint(running.port), timeout_s=timeout_s) as session,
    ):
        yield running, session


async def seeds(session: ObjectSession, *names: str) -> list[tuple[str, ...]]:
    """Register a key under each of the names, each with other bytes."""
    return [
        await session.register(name, seed(number), KeyForm.SECRET_DATA, application_information=None)
        for number, name in enumerate(names)
    ]


def seed(number: int) -> Secret:
    """Return material that contains this number."""
    return Secret(bytes([number]) * 64)


def alter(running: KeyServer, change: Callable[[Any], Any], operation: Operation | None = None) -> None:
    """Let the server change the items of its answers (all, or those to one operation). The requests are carried out."""
    respond = running.responder.respond

    def altered(request: Any, client: str | None = None) -> Any:
        answer = respond(request, client)
        return replace(
            answer,
            batch_item=tuple(
                change(item) if operation in {None, item.operation} else item for item in answer.batch_item
            ),
        )

    running.responder.respond = altered  # type: ignore[method-assign]


def with_payload(**fields: Any) -> Callable[[Any], Any]:
    """Return a change for :func:`alter` that sets fields of the response payload."""
    return lambda item: replace(item, response_payload=replace(item.response_payload, **fields))


def asked(running: KeyServer, operation: Operation) -> int:
    """Return how often the server was asked for an operation; a batch counts once."""
    return sum(request.batch_item[0].operation == operation for request in running.requests)

"""TLS sessions: for how long they are kept and for whom, and what resuming does on a real connection."""

from __future__ import annotations

import contextlib
import socket
from typing import TYPE_CHECKING, Any, Literal, cast

import pytest

from keystead.kmip.client.client import Client
from keystead.kmip.testing import server as testing
from keystead.kmip.transport.connect import Address
from keystead.kmip.transport.dial import dial
from keystead.kmip.transport.sessions import AGE_S, Key, Sessions
from keystead.kmip.transport.tls import TLSError
from keystead.kmip.ttlv.errors import TransportError
from tests.kmip.pooled import CA, CONTEXT, SERVER, TIMEOUT
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import client, client_context, server_context

if TYPE_CHECKING:
    import ssl

    from keystead.kmip.transport.tls import Stream

SERVER_CREDENTIALS = CA.issue()

A, B, C = (Key(("127.0.0.1", port), "localhost", CONTEXT) for port in (1, 2, 3))
RESET = fault.after_client_hello(fault.reset)
"""Not at once: a connection may be reset before it is one."""


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def session(number: int) -> ssl.SSLSession:
    """Something that stands for a session: the cache looks into none."""
    return cast("ssl.SSLSession", f"session {number}")


def offered(sessions: Sessions, key: Key) -> Any:
    """Return what would be resumed."""
    found = sessions.find(key)
    return found.session if found else None


# --- the cache ---


def test_kept_for_its_peer_only() -> None:
    """A session is found only for the same address, name and context."""
    sessions = Sessions()
    sessions.keep(A, session(1))
    assert offered(sessions, A) == session(1)
    others = (B, A._replace(server_name=None), A._replace(context=client_context(CA)))
    assert [offered(sessions, key) for key in others] == [None] * 3
    sessions.drop(A)
    sessions.drop(A)
    assert offered(sessions, A) is None


def test_age_counts_from_the_full_handshake() -> None:
    """The age of a session counts from its full handshake, also after renewals."""
    clock = Clock()
    sessions = Sessions(clock=clock)
    sessions.keep(A, session(1))
    clock.now += AGE_S - 1
    found = sessions.find(A)
    assert found is not None
    sessions.renew(A, found, session(2))
    assert offered(sessions, A) == session(2)
    clock.now += 1
    assert offered(sessions, A) is None
    assert len(sessions) == 0
    sessions.renew(A, found, session(3))
    assert offered(sessions, A) is None
    sessions.keep(A, session(4))
    sessions.renew(A, found, session(5))
    assert offered(sessions, A) == session(4), "an older connection's session replaced a newer one"


def test_a_peer_that_cannot_resume_is_barred() -> None:
    """A peer that cannot resume gets no session for the lifetime of one."""
    clock = Clock()
    sessions = Sessions(clock=clock)
    sessions.keep(A, session(1))
    sessions.bar(A)
    sessions.drop(A)
    sessions.keep(A, session(2))
    assert offered(sessions, A) is None
    clock.now += AGE_S
    sessions.keep(A, session(3))
    assert offered(sessions, A) == session(3)


def test_no_more_than_the_limit() -> None:
    """The oldest session is dropped at the limit; forgetting all also forgets barred peers."""
    sessions = Sessions(limit=2)
    for number, key in enumerate((A, B, A, C)):
        sessions.keep(key, session(number))
    assert [offered(sessions, key) for key in (A, B, C)] == [session(2), None, session(3)]
    sessions.bar(A)
    sessions.clear()
    sessions.keep(A, session(4))
    assert offered(sessions, A) == session(4)


# --- on real connections ---


async def dialled(port: int, sessions: Sessions | None, context: ssl.SSLContext = CONTEXT) -> Stream:
    """Return a connection on which an answer came."""
    stream = await dial(
        [Address(socket.AF_INET, ("127.0.0.1", port))], context, server_name="localhost", sessions=sessions
    )
    try:
        await Client(stream).discover_versions(timeout=TIMEOUT)
    finally:
        stream.close()
    return stream


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
async def test_resuming(versions: Literal["1.2", "1.3"]) -> None:
    """A session is resumed only with the same identity, and only with a cache."""
    sessions = Sessions()
    async with testing.KeyServer(server_context(SERVER_CREDENTIALS, CA, versions=versions)) as server:
        found = [(await dialled(server.port, sessions)).resumed for _ in range(3)]
        assert found == [False, True, True]
        assert not (await dialled(server.port, None)).resumed
        assert not (await dialled(server.port, sessions, client_context(CA, client(CA)))).resumed
        assert len(sessions) == 2


@pytest.mark.parametrize("versions", ["1.2", "1.3"])
async def test_when_resuming_fails(versions: Literal["1.2", "1.3"]) -> None:
    """A failed resumption is followed by a full handshake, and the peer is barred."""
    context = server_context(SERVER_CREDENTIALS, CA, versions=versions)
    sessions = Sessions()
    async with testing.KeyServer(context) as server:
        await dialled(server.port, sessions)
    count = 0

    def script(connection: socket.socket) -> None:
        nonlocal count
        count += 1
        if count == 1:
            RESET(connection)
        else:
            fault.tls(context, kmip.answering())(connection)

    with fault.FaultServer(script, port=server.port):
        assert [(await dialled(server.port, sessions)).resumed for _ in range(2)] == [False, False]
        assert count == 3
        key = Key(("127.0.0.1", server.port), "localhost", CONTEXT)
        assert sessions.find(key) is None


async def test_a_failure_of_the_peer() -> None:
    """Without a session, the peer's error is raised; after data, the session is dropped without a bar."""
    sessions = Sessions()
    with fault.FaultServer(RESET) as peer, pytest.raises(TLSError) as caught:
        await dialled(peer.port, sessions)
    assert not caught.value.resuming
    async with testing.KeyServer(SERVER) as server:
        await dialled(server.port, sessions)
        server.request_faults = dict.fromkeys(range(64), testing.close)
        with pytest.raises(TransportError):
            await dialled(server.port, sessions)
        server.request_faults = {}
        assert not (await dialled(server.port, sessions)).resumed
        assert not (await dialled(server.port, sessions)).resumed, "a peer that closes when resumed was not barred"
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TransportError) as refused:
        await dialled(port, sessions)
    assert refused.value.phase == "connect"

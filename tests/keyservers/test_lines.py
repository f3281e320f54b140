"""Connections to dead, slow or wrong key servers: which fault is raised, and what is tried again."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.secret import Secret
from keystead.keyservers import lines
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.objects import Objects
from keystead.kmip.testing import server as testing
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.ports.objects import Fault
from tests.keyservers.cases import CLIENT, CLIENT_CA, OTHER_CA, SERVER, SERVER_CA, STRANGER, identity
from tests.keyservers.reaching import (
    MATERIAL,
    SHORT_S,
    TIMEOUT_S,
    Clock,
    connect,
    endpoint,
    expect_fault,
    handshakes,
    objects,
    put,
    read,
    register,
    server,
)
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import Credentials, client, server_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from keystead.core.probing import TlsIdentity
    from keystead.service.ports.objects import Endpoint, KeyObjects


# --- no connection ---


DAY = timedelta(days=1)


def peer(then: Any, credentials: Credentials = SERVER) -> Callable[[], fault.FaultServer]:
    """Return the maker of a server that does the TLS handshake and then this script."""
    return lambda: fault.FaultServer(fault.tls(server_context(credentials, CLIENT_CA), then))


SOUND = peer(kmip.answering())

UNREACHABLE: dict[str, tuple[Callable[[], fault.FaultServer], str, TlsIdentity]] = {
    "silent in TLS": (lambda: fault.FaultServer(fault.silence), "tls_timed_out", identity()),
    "silent in KMIP": (peer(fault.silence), "no_answer", identity()),
    "no TLS": (lambda: fault.FaultServer(fault.say(b"220 hello\r\n")), "not_tls", identity()),
    "garbage": (peer(fault.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")), "malformed_answer", identity()),
    "closes": (peer(fault.close_at_once), "connection_closed", identity()),
    "its certificate has expired": (
        peer(kmip.answering(), SERVER_CA.issue(starts=-3 * DAY, ends=-DAY)),
        "server_certificate_expired",
        identity(),
    ),
    "its authority is another": (SOUND, "server_certificate_issuer_not_found", identity(CLIENT, OTHER_CA)),
    "we are unknown": (SOUND, "client_certificate_untrusted", identity(STRANGER)),
    "our certificate has expired": (
        SOUND,
        "client_certificate_expired",
        identity(client(CLIENT_CA, starts=-3 * DAY, ends=-DAY)),
    ),
    "our key is another's": (SOUND, "client_certificate_key_mismatch", identity(CLIENT, key=STRANGER.key_pem)),
}


@pytest.mark.parametrize("name", UNREACHABLE)
async def test_no_connection(name: str) -> None:
    """A failed connection is a fault that sent nothing, with the reason of a probe, within the session's time."""
    made, reason, ours = UNREACHABLE[name]
    silent = name.startswith("silent")
    with made() as running:
        async with objects() as used:
            way = endpoint(running.port, ours)
            with expect_fault(Fault.UNREACHABLE, reason):
                await connect(used, way, timeout_s=SHORT_S if silent else TIMEOUT_S)
            assert used.circuit_open(way) == silent


async def test_nobody_listens_or_answers() -> None:
    """Three refused connections open the circuit; one that times out opens it at once."""
    async with objects() as used:
        way = endpoint(fault.refused_port())
        for tries in range(3):
            assert used.circuit_open(way) is (tries > 2)
            with expect_fault(Fault.UNREACHABLE, "connection_refused"):
                await read(used, way, ("id",))
        assert used.circuit_open(way)
        with fault.black_hole() as port:
            way = endpoint(port)
            with expect_fault(Fault.UNREACHABLE, "connect_timed_out"):
                await read(used, way, ("id",), SHORT_S)
            assert used.circuit_open(way)


async def test_where_we_may_not_connect() -> None:
    """Addresses are checked for each new connection, also when a name leads elsewhere by then."""
    found = ["127.0.0.1"]

    def getaddrinfo(host: str, port: int, **_: Any) -> Any:
        assert host == "localhost"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found[0], port))]

    async with server() as running, objects(getaddrinfo=getaddrinfo) as used:
        way = endpoint(running.port, host="localhost")
        ids = await put(used, way)
        found[0] = "169.254.169.254"
        assert await read(used, way, ids) == MATERIAL
        with expect_fault(Fault.UNREACHABLE, "address_not_allowed"):
            await connect(used, way, timeout_s=TIMEOUT_S, fresh=True)
    made = Objects(EgressRules())
    with expect_fault(Fault.UNREACHABLE, "address_not_allowed"):
        await read(made, endpoint(running.port), ids)
    await made.close()


async def test_a_name_that_is_not_known() -> None:
    """An unknown name is looked up again at each try."""

    def getaddrinfo(*_: Any, **__: Any) -> Any:
        raise socket.gaierror

    async with objects(getaddrinfo=getaddrinfo) as used:
        with expect_fault(Fault.UNREACHABLE, "name_not_resolved"):
            await read(used, endpoint(5696, host="ks.example"), ("id",))


async def test_a_credential() -> None:
    """User name and password go with each request, and a server that refuses them is not reached."""
    async with server(users={"user": "a password"}) as running, objects() as used:
        good = endpoint(running.port, username="user", password=Secret("a password"))
        assert await read(used, good, await put(used, good)) == MATERIAL
        bad = endpoint(running.port, username="user", password=Secret("another"))
        with expect_fault(Fault.UNREACHABLE, "credential_refused"):
            await put(used, bad)


# --- an answer that does not come ---

BROKEN: dict[str, tuple[Any, str]] = {
    "silent": (testing.silence, "no_answer"),
    "slow": (testing.drip(SHORT_S / 40), "no_answer"),
    "closed": (testing.close, "connection_closed"),
    "reset": (testing.reset, "connection_closed"),
    "half of it": (testing.truncate, "connection_closed"),
    "garbage": (testing.garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "malformed_answer"),
    "endless": (testing.huge_length, "answer_too_large"),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_a_register_whose_answer_does_not_come(name: str) -> None:
    """A Register without an answer is unanswered and sent once; session and connection end."""
    broken, reason = BROKEN[name]
    async with server() as running, objects() as used:
        running.faults[Operation.REGISTER] = broken
        async with used.session(endpoint(running.port), timeout_s=SHORT_S) as session:
            with expect_fault(Fault.UNANSWERED, reason):
                await register(session)
            for call in (register(session, "b"), session.get(["id"]), session.locate("a"), session.get_capabilities()):
                with expect_fault(Fault.UNREACHABLE, "connection_closed"):
                    await call
        assert len(running.responder.objects) == 1
        assert sum(request.batch_item[0].operation == Operation.REGISTER for request in running.requests) == 1
        assert used.circuit_open(endpoint(running.port)) == (reason == "no_answer")


async def test_a_session_of_a_pool_that_is_full() -> None:
    """A caller that waits too long for a connection gets a fault that does not count against the server."""
    async with server() as running, objects() as used, contextlib.AsyncExitStack() as lent:
        way = endpoint(running.port)
        for _ in range(lines.CONNECTIONS):
            await lent.enter_async_context(used.session(way, timeout_s=TIMEOUT_S))
        with expect_fault(Fault.UNREACHABLE, "no_free_connection"):
            await read(used, way, ("id",), 0.05)
        assert not used.circuit_open(way)


# --- kept connections ---


async def test_connections_are_used_again() -> None:
    """Sessions share a connection one after the other; a fresh session makes its own and leaves none."""
    async with server() as running, objects() as used:
        way = endpoint(running.port)
        ids = await put(used, way)
        for _ in range(3):
            assert await read(used, way, ids) == MATERIAL
        with expect_fault(Fault.NOT_FOUND, "item_not_found"):  # an answer like others
            await read(used, way, ("nothing",))
        assert handshakes(running) == 1
        for _ in range(2):
            async with used.session(way, timeout_s=TIMEOUT_S, fresh=True) as session:
                assert await session.get(ids) == MATERIAL
        assert handshakes(running) == 3
        async with used.session(way, timeout_s=TIMEOUT_S, exclusive=True) as session:
            assert await session.get(ids) == MATERIAL
        assert handshakes(running) == 3
        await read(used, way, ids)
        assert handshakes(running) == 4


async def resumed(used: KeyObjects, way: Endpoint, context: ssl.SSLContext, *, fresh: bool = False) -> bool:
    """Return True if the server (which has this context) sees that a new connection resumes a TLS session."""
    before = context.session_stats()["hits"]
    async with used.session(way, timeout_s=TIMEOUT_S, fresh=fresh, exclusive=True) as session:
        await session.locate_all()
    return context.session_stats()["hits"] > before


async def test_sessions_of_tls() -> None:
    """Later connections resume a TLS session for ten minutes; a fresh one never does."""
    clock, context = Clock(), server_context(SERVER, CLIENT_CA)
    async with testing.KeyServer(context) as running, objects(clock=clock) as used:
        way = endpoint(running.port, host="localhost")
        assert not await resumed(used, way, context)
        assert await resumed(used, way, context)
        assert not await resumed(used, way, context, fresh=True)
        clock.now += 601
        assert not await resumed(used, way, context)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
async def test_a_session_that_cannot_be_resumed(version: Any) -> None:
    """If a resumed handshake fails, a full one is done, and the caller notices nothing."""
    context = server_context(SERVER, CLIENT_CA, versions=version)
    async with testing.KeyServer(context) as running, objects() as used:
        way = endpoint(running.port, host="localhost")
        assert not await resumed(used, way, context)
        running.faults[Operation.DISCOVER_VERSIONS] = testing.first(1, testing.close)
        assert await resumed(used, way, context)  # this connection is closed, and the next one does not resume
        assert not await resumed(used, way, context)
        running.faults[Operation.DISCOVER_VERSIONS] = testing.close
        with expect_fault(Fault.UNREACHABLE, "connection_closed"):
            await resumed(used, way, context)


async def dead_on_next(exchange: testing.Exchange) -> None:
    """Answer, then reset when the next request comes."""
    await exchange.stream.send(exchange.answer)
    await exchange.stream.receive()
    exchange.reset()


@pytest.mark.parametrize("changes", [False, True])
async def test_a_kept_connection_that_died(changes: bool) -> None:
    """A dead idle connection is no failure: reads are repeated, Register is sent once on a checked connection."""
    clock = Clock()
    async with server() as running, objects(clock=clock) as used:
        way = endpoint(running.port)
        ids = await put(used, way)
        for _ in range(5):
            running.faults[Operation.GET] = testing.first(1, dead_on_next)
            assert await read(used, way, ids) == MATERIAL
            clock.now += 5
            async with used.session(way, timeout_s=TIMEOUT_S) as session:
                assert await (register(session) if changes else session.get(ids))
            assert not used.circuit_open(way)
        assert len(running.responder.objects) == (6 if changes else 1)


async def test_a_kept_connection_that_died_a_moment_ago() -> None:
    """Right after an answer the connection is not checked, so Register is unanswered, and was sent once."""
    async with server() as running, objects() as used:
        way = endpoint(running.port)
        ids = await put(used, way)
        running.faults[Operation.GET] = dead_on_next
        await read(used, way, ids)
        async with used.session(way, timeout_s=TIMEOUT_S) as session:
            with expect_fault(Fault.UNANSWERED, "connection_closed"):
                await register(session)
        assert len(running.responder.objects) == 1


async def test_a_look_that_is_refused_or_takes_all_the_time() -> None:
    """A refused check is an answer; a check that uses up the time leaves Register unsent."""
    clock = Clock()
    async with server() as running, objects(clock=clock) as used:
        way = endpoint(running.port)
        await put(used, way)
        clock.now += 5
        running.responder.refusals[Operation.DISCOVER_VERSIONS] = ResultReason.GENERAL_FAILURE
        await put(used, way)
        clock.now += 5

        async def slow(exchange: testing.Exchange) -> None:
            clock.now += TIMEOUT_S
            await exchange.stream.send(exchange.answer)

        running.faults[Operation.DISCOVER_VERSIONS] = slow
        with expect_fault(Fault.UNREACHABLE, "no_answer"):
            await put(used, way)
        assert len(running.responder.objects) == 2
        running.faults[Operation.DISCOVER_VERSIONS] = testing.silence
        clock.now += 5
        async with used.session(way, timeout_s=SHORT_S) as session:
            with expect_fault(Fault.UNANSWERED, "no_answer"):
                await register(session)
        assert len(running.responder.objects) == 2


async def test_a_server_that_restarts() -> None:
    """Sessions work after a restart of the server, although all idle connections are dead."""
    async with contextlib.AsyncExitStack() as stack:
        running = await stack.enter_async_context(server())
        used = await stack.enter_async_context(objects())
        way = endpoint(running.port)
        ids = await put(used, way)
        await asyncio.gather(*(read(used, way, ids) for _ in range(4)))
        await running.__aexit__(None, None, None)
        async with running:
            found = await asyncio.gather(*(read(used, way, ids) for _ in range(4)))
            assert found == [MATERIAL] * 4
            assert await put(used, way)

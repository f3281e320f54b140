"""The TLS pump against real sockets: both protocol versions, both event loops, both roles."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import struct
from typing import Any, Literal

import pytest

from keystead.kmip.transport.alerts import ALERTS
from keystead.kmip.transport.connect import Address, connect_tcp
from keystead.kmip.transport.sessions import Sessions
from keystead.kmip.transport.tls import Stream, TLSError, handshake
from tests.peers import fault_servers as fault
from tests.peers.certificates import Authority, client, client_context, server_context

PATIENCE = 20

SERVER_CA, CLIENT_CA, OTHER_CA = Authority(), Authority("Client CA"), Authority("Another CA")
SERVER = SERVER_CA.issue()
CLIENT, STRANGER = client(CLIENT_CA), client(OTHER_CA)

Version = Literal["1.2", "1.3"]
both_versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def address(port: int, host: str = "127.0.0.1") -> Address:
    """Return the socket address of a loopback port."""
    return Address(socket.AF_INET6, (host, port, 0, 0)) if ":" in host else Address(socket.AF_INET, (host, port))


async def open_stream(server: fault.FaultServer, context: ssl.SSLContext, name: str | None = "localhost") -> Stream:
    """Connect to a server and do the handshake."""
    return await handshake(await connect_tcp([address(server.port, server.host)]), context, server_name=name)


def echo(connection: Any) -> None:
    """Send back what comes."""
    while data := connection.recv(65536):
        connection.sendall(data)


@both_versions
def test_bytes_survive_both_ways(run: Any, version: Version) -> None:
    """A megabyte goes out and comes back, and the stream tells what was negotiated."""
    payload = bytes(range(256)) * 4096

    async def exchange(server: fault.FaultServer) -> None:
        stream = await open_stream(server, client_context(SERVER_CA, CLIENT))
        sender = asyncio.create_task(stream.send(payload))
        got = bytearray()
        while len(got) < len(payload):
            got += await stream.receive()
        await sender
        assert bytes(got) == payload
        assert stream.version == f"TLSv{version}"
        assert stream.cipher
        assert stream.peer_certificate == ssl.PEM_cert_to_DER_cert(SERVER.certificate_pem)
        assert stream.peer_chain[0] == stream.peer_certificate
        assert 0 < stream.handshake_seconds < PATIENCE
        assert stream.evidence.received
        stream.close()
        stream.close()

    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA, versions=version), echo)) as server:
        run(exchange(server))


@both_versions
def test_both_roles_speak_to_each_other(run: Any, version: Version) -> None:
    """The stream also serves: it sees the client's certificate and a proper close."""

    async def talk() -> None:
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setblocking(False)
        server_side = asyncio.create_task(
            handshake(right, server_context(SERVER, CLIENT_CA, versions=version), server_name=None, server_side=True)
        )
        near = await handshake(left, client_context(SERVER_CA, CLIENT), server_name="localhost")
        far = await server_side
        assert far.peer_certificate == ssl.PEM_cert_to_DER_cert(CLIENT.certificate_pem)
        await near.send(b"question")
        assert await far.receive() == b"question"
        await far.send(b"answer")
        assert await near.receive() == b"answer"
        near.close()
        assert await far.receive() == b""
        far.close()

    run(talk())


@pytest.mark.parametrize(
    ("name", "verify_code"), [("localhost", None), ("127.0.0.1", None), ("other.example", 62), ("127.0.0.2", 64)]
)
def test_the_name_is_checked(run: Any, name: str, verify_code: int | None) -> None:
    """A certificate for another host name (62) or another address (64) is refused."""

    async def attempt(server: fault.FaultServer) -> int | None:
        try:
            (await open_stream(server, client_context(SERVER_CA), name)).close()
        except TLSError as error:
            return error.verify_code
        return None

    with fault.FaultServer(fault.tls(server_context(SERVER), echo)) as server:
        assert run(attempt(server)) == verify_code


@pytest.mark.parametrize(("name", "seen"), [("localhost", "localhost"), ("127.0.0.1", None)])
def test_a_host_name_is_sent_as_sni_and_an_address_is_not(run: Any, name: str, seen: str | None) -> None:
    """RFC 6066 section 3: literal addresses are not permitted in the server name extension."""
    names: list[str | None] = []
    context = server_context(SERVER)
    context.sni_callback = lambda _connection, sent, _context: names.append(sent)

    async def attempt(server: fault.FaultServer) -> None:
        (await open_stream(server, client_context(SERVER_CA), name)).close()

    with fault.FaultServer(fault.tls(context, echo)) as server:
        run(attempt(server))
    assert names == [seen]


def test_a_name_that_cannot_be_sent_closes_the_socket(run: Any) -> None:
    """An over-long label is the caller's error and leaks no socket."""

    async def attempt(server: fault.FaultServer) -> None:
        sock = await connect_tcp([address(server.port)])
        with pytest.raises(ValueError, match="label"):
            await handshake(sock, client_context(SERVER_CA), server_name="a" * 64 + ".example")
        assert sock.fileno() == -1

    with fault.FaultServer(fault.silence) as server:
        run(attempt(server))


async def refusal(server: fault.FaultServer, context: ssl.SSLContext) -> TLSError | Stream:
    """Connect, send at once, and return what told that the server refused us (or the stream, if nothing told)."""
    try:
        stream = await open_stream(server, context)
        await stream.send(b"question" * 20)
        await stream.receive()
    except TLSError as error:
        return error
    stream.close()
    return stream


@both_versions
@pytest.mark.parametrize("dropping", [fault.tls, fault.hasty_tls])
def test_the_alert_is_never_lost(run: Any, version: Version, dropping: Any) -> None:
    """30 refused clients in parallel that write at once all see the alert, even when the server resets after it."""
    context = client_context(SERVER_CA, STRANGER)

    async def attempts(server: fault.FaultServer) -> list[TLSError | Stream]:
        return await asyncio.gather(*(refusal(server, context) for _ in range(30)))

    server_side = server_context(SERVER, CLIENT_CA, versions=version)
    with fault.FaultServer(dropping(server_side, echo)) as server:
        for outcome in run(attempts(server)):
            assert isinstance(outcome, TLSError)
            assert outcome.alert == 48
            assert outcome.phase == ("tls" if version == "1.2" else "exchange")
            assert outcome.evidence.handshake_done is (version == "1.3")


@both_versions
def test_no_client_certificate(run: Any, version: Version) -> None:
    """A missing client certificate gives alert 40 on TLS 1.2 and 116 on TLS 1.3."""
    with fault.FaultServer(fault.tls(server_context(SERVER, CLIENT_CA, versions=version), echo)) as server:
        outcome = run(refusal(server, client_context(SERVER_CA)))
    assert outcome.alert == {"1.2": 40, "1.3": 116}[version]
    assert outcome.evidence.server_hello
    assert not outcome.evidence.client_certificate_sent


@both_versions
@pytest.mark.parametrize("accepted", [True, False])
def test_a_ticket_tells_that_our_certificate_was_accepted(run: Any, version: Version, accepted: bool) -> None:
    """TLS 1.3 servers send a ticket to those they accept; one that refuses silently sends none."""
    context = client_context(SERVER_CA, CLIENT if accepted else STRANGER)

    async def attempt(server: fault.FaultServer) -> Stream | TLSError:
        return await refusal(server, context)

    script = fault.mute_tls(server_context(SERVER, CLIENT_CA, versions=version), fault.close_at_once)
    with fault.FaultServer(script) as server:
        evidence = run(attempt(server)).evidence
    assert evidence.ticket_received is (accepted and version == "1.3")
    assert evidence.handshake_done is (accepted or version == "1.3")
    assert evidence.client_certificate_sent is (version == "1.2")
    assert evidence.server_hello
    assert not evidence.received


def test_a_certificate_that_was_not_asked_for_was_not_sent(run: Any) -> None:
    """A client certificate counts as sent only if its message was sent."""
    script = fault.stop_before_finished(server_context(SERVER, versions="1.2"), fault.close_at_once)
    with fault.FaultServer(script) as server:
        outcome = run(refusal(server, client_context(SERVER_CA, CLIENT)))
    assert outcome.evidence.server_hello
    assert not outcome.evidence.client_certificate_sent


@pytest.mark.parametrize(
    ("script", "spoke_tls", "server_hello"),
    [
        (fault.close_at_once, None, False),
        (fault.after_client_hello(fault.close_at_once), None, False),
        (fault.after_client_hello(fault.reset), None, False),
        (fault.say(b"HTTP/1.1 400 Bad Request\r\n\r\n"), False, False),
        (fault.after_client_hello(lambda connection: connection.sendall(b"no")), False, False),
        (fault.alert(40), True, False),
        (fault.after_client_hello(lambda connection: connection.sendall(b"\x16")), True, False),
    ],
    ids=["closed", "closed after our hello", "reset", "http", "two letters", "alert", "one byte"],
)
def test_what_came_before_the_end_is_told(run: Any, script: Any, spoke_tls: bool | None, server_hello: bool) -> None:
    """After any end of a handshake, the evidence says whether the peer sent data, TLS, and its parameters."""
    with fault.FaultServer(script) as server:
        outcome = run(refusal(server, client_context(SERVER_CA)))
    assert isinstance(outcome, TLSError)
    assert outcome.phase == "tls"
    assert outcome.evidence.spoke_tls is spoke_tls
    assert outcome.evidence.server_hello is server_hello
    assert outcome.verify_code is None


def test_a_peer_that_has_gone_before_the_handshake(run: Any) -> None:
    """A reset before the handshake raises an error, also with a session to resume."""

    async def refused() -> TLSError:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            sock = socket.create_connection(listening.getsockname())
            peer, _ = listening.accept()
            with peer:
                fault.reset(peer)
        select.select([sock], [], [], PATIENCE)
        sock.setblocking(False)
        with pytest.raises(OSError, match="not connected"):
            sock.getpeername()
        with pytest.raises(TLSError) as raised:
            await handshake(sock, client_context(SERVER_CA), server_name="localhost", sessions=Sessions())
        assert sock.fileno() == -1
        return raised.value

    outcome = run(refused())
    assert (outcome.phase, outcome.resuming) == ("tls", False)


def test_a_certificate_that_we_refuse_is_reported_to_the_peer(run: Any) -> None:
    """Our alert leaves before the socket closes."""
    seen: list[str | None] = []

    def script(connection: socket.socket) -> None:
        try:
            server_context(SERVER).wrap_socket(connection, server_side=True)
        except ssl.SSLError as error:
            seen.append(error.reason)

    with fault.FaultServer(script) as server:
        outcome = run(refusal(server, client_context(OTHER_CA)))
    assert outcome.verify_code in {19, 20}
    assert seen == ["TLSV1_ALERT_UNKNOWN_CA"]


@both_versions
def test_a_silent_refusal_sends_no_alert(run: Any, version: Version) -> None:
    """With ``send_alert=False`` the peer sees the end of the stream without an alert."""

    async def talk() -> TLSError | bytes:
        left, right = socket.socketpair()
        for sock in (left, right):
            sock.setblocking(False)
        context = server_context(SERVER, CLIENT_CA, versions=version)
        refusing = asyncio.create_task(handshake(right, context, server_name=None, server_side=True, send_alert=False))
        try:
            near = await handshake(left, client_context(SERVER_CA, STRANGER), server_name="localhost")
            answer = await near.receive()
            near.close()
        except TLSError as error:
            return error
        finally:
            with pytest.raises(TLSError):
                await refusing
        return answer

    outcome = run(talk())
    if version == "1.3":
        assert outcome == b""
    else:
        assert isinstance(outcome, TLSError)
        assert outcome.alert is None
        assert outcome.evidence.client_certificate_sent


@both_versions
def test_a_reset_after_the_handshake(run: Any, version: Version) -> None:
    """A reset is an error of the exchange, with neither alert nor verify code."""

    def slam(connection: Any) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with fault.FaultServer(fault.tls(server_context(SERVER, versions=version), slam)) as server:
        outcome = run(refusal(server, client_context(SERVER_CA)))
    assert isinstance(outcome, TLSError)
    assert outcome.phase == "exchange"
    assert isinstance(outcome.__cause__, ConnectionResetError)
    assert outcome.alert is None
    assert outcome.verify_code is None


@both_versions
def test_what_was_said_before_the_end_is_read_after_a_failed_write(run: Any, version: Version) -> None:
    """An answer before a close is read although our next write fails."""

    def script(connection: Any) -> None:
        connection.sendall(b"goodbye")

    async def attempt(server: fault.FaultServer) -> bytes:
        sock = await connect_tcp([address(server.port)])
        stream = await handshake(sock, client_context(SERVER_CA), server_name="localhost")
        closed = select.poll()
        closed.register(sock, select.POLLRDHUP)
        assert closed.poll(PATIENCE * 1000)
        for _ in range(20):
            await stream.send(b"still there?" * 1000)
        said = bytearray()
        while data := await stream.receive():
            said += data
        stream.close()
        return bytes(said)

    with fault.FaultServer(fault.hasty_tls(server_context(SERVER, versions=version), script)) as server:
        assert run(attempt(server)) == b"goodbye"


@pytest.mark.parametrize("stage", ["handshake", "receive"])
def test_cancellation_closes_the_socket(run: Any, stage: str) -> None:
    """A deadline of the caller ends the wait and leaves no socket open."""

    async def attempt(server: fault.FaultServer) -> socket.socket:
        sock = await connect_tcp([address(server.port)])

        async def wait() -> None:
            stream = await handshake(sock, client_context(SERVER_CA), server_name="localhost")
            assert stage == "receive"
            await stream.receive()

        with pytest.raises(TimeoutError):
            await asyncio.wait_for(wait(), 0.2)
        return sock

    script = fault.silence if stage == "handshake" else fault.tls(server_context(SERVER), fault.silence)
    with fault.FaultServer(script) as server:
        assert run(attempt(server)).fileno() == -1


def test_a_flood_does_not_outrun_a_deadline(run: Any) -> None:
    """Records that carry nothing, as fast as they can be read, leave the event loop room for its timers."""
    hello_request = bytes([22, 3, 3, 0, 4, 0, 0, 0, 0])  # RFC 5246 section 7.4.1.1: ignored during a handshake

    def flood(connection: socket.socket) -> None:
        while True:
            connection.sendall(hello_request * 1000)

    async def attempt(server: fault.FaultServer) -> float:
        start = asyncio.get_running_loop().time()
        with pytest.raises((TimeoutError, TLSError)):
            async with asyncio.timeout(0.3):
                await open_stream(server, client_context(SERVER_CA))
        return asyncio.get_running_loop().time() - start

    with fault.FaultServer(fault.after_client_hello(flood)) as server:
        assert run(attempt(server)) < 3


@pytest.mark.parametrize(("name", "number"), ALERTS.items())
def test_every_alert_is_read_by_its_number(name: str, number: int) -> None:
    """The table agrees with what OpenSSL reports for each alert on the wire."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        engine.do_handshake()
    incoming.write(bytes([21, 3, 3, 0, 2, 2, number]))
    with pytest.raises(ssl.SSLError) as caught:
        engine.do_handshake()
    assert caught.value.reason == name

"""keystead.forwarding.sender over real connections (keyservers.outlets): what is taken, and every fault of a peer."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.app.proxy_protocol import START_BYTES, client_named, rest_bytes
from keystead.core.probing import TlsIdentity
from keystead.core.secret import Secret
from keystead.forwarding import sender
from keystead.forwarding.sender import NetworkSender
from keystead.keyservers import outlets
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.outlets import Outlets
from keystead.service.ports.forwarding import Endpoint, Undelivered
from tests.peers.certificates import DAY, Authority, client, server_context
from tests.peers.fault_servers import (
    FaultServer,
    black_hole,
    close_at_once,
    flood,
    hasty_tls,
    refused_port,
    reset,
    say,
    say_and_close,
    silence,
    tls,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.peers.certificates import Credentials
    from tests.peers.fixtures import Run

MESSAGES = (b"<14>1 - - - - - - one", b"<14>1 - - - - - - two\nlines", "<14>1 - - - - - - drei \N{SNOWMAN}".encode())
FRAMED = b"".join(b"%d %b" % (len(each), each) for each in MESSAGES)
LARGE = (b"x" * 1_000_000,) * 4
"""More than the buffers of a connection hold."""

LOOPBACK = EgressRules.parse(["127.0.0.0/8"])
CA = Authority("Log CA")
SERVER = CA.issue()


@pytest.fixture(autouse=True)
def _short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that say nothing are given up within a second."""
    monkeypatch.setattr(outlets, "CONNECT_S", 1.0)
    monkeypatch.setattr(sender, "SEND_S", 1.0)
    monkeypatch.setattr(sender, "ANSWER_S", 1.0)


class Reader:
    """A script that reads a connection to its end, and keeps what came."""

    def __init__(self, size: int = 65536, pause: float = 0.0) -> None:
        self.got = b""
        self._size = size
        self._pause = pause

    def __call__(self, connection: Any) -> None:
        while data := connection.recv(self._size):
            self.got += data
            time.sleep(self._pause)


def endpoint(port: int, *, host: str = "127.0.0.1", **more: Any) -> Endpoint:
    """Where the tests send to; with ``tls`` the peer's CA is trusted unless a test says otherwise."""
    return replace(Endpoint(host, port, tls=False, authorities=(CA.pem,)), **more)


def send(run: Run, to: Endpoint, *messages: bytes, rules: EgressRules = LOOPBACK) -> tuple[str, int] | None:
    """Send, and return None, or the reason for which it failed and how many messages were taken before."""

    async def sending() -> tuple[str, int] | None:
        try:
            await NetworkSender(Outlets(rules).open).send(to, messages or MESSAGES)
        except Undelivered as failure:
            return failure.reason, failure.delivered
        return None

    found: tuple[str, int] | None = run(sending())
    return found


def reason(run: Run, to: Endpoint, *messages: bytes, rules: EgressRules = LOOPBACK) -> str:
    """Send, and return the reason for which it failed."""
    failed = send(run, to, *messages, rules=rules)
    assert failed is not None
    assert failed[1] == 0
    return failed[0]


# --- syslog ---


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_all_messages_arrive_in_frames(run: Run, encrypted: bool) -> None:
    """Each message has its length in octets before it; when the sender returns, the server has read everything."""
    read = Reader()
    with FaultServer(tls(server_context(SERVER), read) if encrypted else read) as server:
        assert send(run, endpoint(server.port, tls=encrypted)) is None
        assert read.got == FRAMED


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
def test_a_slow_reader_gets_everything(run: Run, encrypted: bool) -> None:
    """The sender waits while the server reads, as long as it comes to the end in time."""
    read = Reader(300_000 if not encrypted else 16_384, pause=0.001)
    with FaultServer(tls(server_context(SERVER), read) if encrypted else read) as server:
        assert send(run, endpoint(server.port, tls=encrypted), *LARGE[:1]) is None
        assert read.got == b"1000000 " + LARGE[0]


def takes_nothing(released: threading.Event) -> Callable[[Any], None]:
    """A script that holds the connection and reads nothing."""

    def script(_: Any) -> None:
        released.wait(20)

    return script


def takes_a_part(connection: Any) -> None:
    """Read a little, and close with the rest unread: the host resets the connection."""
    connection.recv(5)
    time.sleep(0.1)


@pytest.mark.parametrize(
    ("messages", "encrypted"),
    [
        pytest.param(MESSAGES, False, id="few-tcp"),
        pytest.param(LARGE, True, id="many-tls"),
        pytest.param(MESSAGES, True, id="few-tls", marks=pytest.mark.long),
        pytest.param(LARGE, False, id="many-tcp", marks=pytest.mark.long),
    ],
)
def test_a_server_that_reads_nothing_has_taken_nothing(run: Run, encrypted: bool, messages: tuple[bytes, ...]) -> None:
    """Also when everything fits into the buffers of its host."""
    released = threading.Event()
    script = takes_nothing(released)
    with FaultServer(tls(server_context(SERVER), script) if encrypted else script) as server:
        assert reason(run, endpoint(server.port, tls=encrypted), *messages) == "it does not answer in time"
        released.set()


@pytest.mark.parametrize("encrypted", [False, True], ids=["tcp", "tls"])
@pytest.mark.parametrize("script", [close_at_once, takes_a_part], ids=["at once", "in the middle"])
def test_a_server_that_closes_before_the_end_has_not_taken_all(run: Run, encrypted: bool, script: Any) -> None:
    """A close before ours, or with something unread, is no receipt."""
    with FaultServer(hasty_tls(server_context(SERVER), script) if encrypted else script) as server:
        assert send(run, endpoint(server.port, tls=encrypted), *LARGE) is not None


def test_a_proxy_without_a_server_behind_it_takes_nothing(run: Run) -> None:
    """A few bytes to a peer that has already closed fit into its buffers, and are lost: this is noticed."""
    with FaultServer(close_at_once) as server:
        for _ in range(20):
            assert send(run, endpoint(server.port)) is not None


def test_a_reset_is_a_failure(run: Run) -> None:
    """As it is when a program is killed."""
    with FaultServer(reset) as server:
        assert "connection failed" in reason(run, endpoint(server.port), *LARGE)


def test_a_closed_port(run: Run) -> None:
    """Nobody listens."""
    assert reason(run, endpoint(refused_port())) == "the connection failed: Connection refused"


def test_a_host_that_is_away(run: Run) -> None:
    """Nothing is answered at all."""
    with black_hole() as port:
        assert reason(run, endpoint(port)) == "it does not answer in time"


def test_a_name_that_is_none(run: Run) -> None:
    """RFC 6761: nothing is ever below .invalid."""
    assert reason(run, endpoint(514, host="log.invalid")) == "its name is not resolved"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_egress_rules_hold_at_each_connection(run: Run, host: str) -> None:
    """An address, or a name that leads to one, that the rules refuse is never connected to."""
    with FaultServer(silence) as server:
        refused = reason(run, endpoint(server.port, host=host), rules=EgressRules())
        assert refused == "the egress rules refuse its address: loopback"
        assert server.accepted == 0


# --- certificates of servers ---

OTHER_CA = Authority("Another CA")
UNTRUSTED = {
    "wrong CA": (OTHER_CA.issue(), "its certificate is from a CA that the cluster does not trust"),
    "expired": (CA.issue(starts=-10 * DAY, ends=-DAY), "its certificate has expired"),
    "not yet valid": (CA.issue(starts=5 * DAY), "its certificate is not valid yet"),
    "wrong address": (CA.issue(["127.0.0.2"]), "its certificate is for another address"),
}


@pytest.mark.parametrize("kind", UNTRUSTED)
@pytest.mark.parametrize("path", ["", "/hook"], ids=["syslog", "webhook"])
def test_nothing_is_sent_to_a_server_that_is_not_verified(run: Run, kind: str, path: str) -> None:
    """Not one message leaves; the reason says what is wrong with the certificate."""
    shown, expected = UNTRUSTED[kind]
    read = Reader()
    with FaultServer(tls(server_context(shown), read)) as server:
        assert reason(run, endpoint(server.port, tls=True, path=path)) == expected
    assert read.got == b""


def test_a_certificate_for_another_name(run: Run) -> None:
    """The host is verified as it is configured."""
    with FaultServer(tls(server_context(CA.issue(["log.example.com"])), silence)) as server:
        refused = reason(run, endpoint(server.port, host="localhost", tls=True))
        assert refused == "its certificate is for another name"


def test_without_verification_any_certificate_is_taken(run: Run) -> None:
    """As ONTAP has it with ``verify_server`` false: encrypted, and no more."""
    read = Reader()
    with FaultServer(tls(server_context(OTHER_CA.issue(["elsewhere"], ends=-DAY, starts=-9 * DAY)), read)) as server:
        assert send(run, endpoint(server.port, tls=True, verify=False)) is None
    assert read.got == FRAMED


def test_a_server_without_tls(run: Run) -> None:
    """A plain server at the port of TLS."""
    with FaultServer(say(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as server:
        assert "TLS failed" in reason(run, endpoint(server.port, tls=True))


# --- webhooks ---

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Hook:
    """A webhook that keeps each request, and answers with the next of its answers (the last one for ever)."""

    def __init__(self, *answers: bytes) -> None:
        self.requests: list[bytes] = []
        self._answers = list(answers)

    def __call__(self, connection: Any) -> None:
        request = connection.recv(65536)
        while not request.endswith(b"}"):
            request += connection.recv(65536)
        self.requests.append(request)
        connection.sendall(self._answers.pop(0) if len(self._answers) > 1 else self._answers[0])


def posted(run: Run, hook: Any, *messages: bytes, **more: Any) -> tuple[str, int] | None:
    """Send to a webhook."""
    with FaultServer(tls(server_context(SERVER, more.pop("client_ca", None)), hook)) as server:
        return send(run, endpoint(server.port, tls=True, path="/hook?a=1", **more), *messages)


def test_a_webhook_gets_one_request_for_each_message(run: Run) -> None:
    """POST with the message as JSON; any status from 200 to 299 is a receipt."""
    hook = Hook(OK, b"HTTP/1.1 202 Accepted\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert posted(run, hook, b'{"n":1}', b'{"n":2}', b'{"n":3}') is None
    assert [each.rpartition(b"\r\n\r\n")[2] for each in hook.requests] == [b'{"n":1}', b'{"n":2}', b'{"n":3}']
    head = hook.requests[0].lower()
    assert head.startswith(b"post /hook?a=1 http/1.1\r\n")
    assert b"content-type: application/json\r\n" in head
    assert b"host: 127.0.0.1:" in head


REFUSING = {
    "500": (b"HTTP/1.1 500 Internal Server Error\r\n\r\n", "it answers HTTP 500"),
    "redirect": (b"HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/\r\n\r\n", "it answers HTTP 302"),
    "not HTTP": (b"220 mail.example.com ESMTP\r\n", "its answer is not HTTP, or not complete"),
    "half an answer": (b"HTTP/1.1 200 OK\r\nConte", "its answer is not HTTP, or not complete"),
    "nothing": (b"", "its answer is not HTTP, or not complete"),
    "endless head": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, "its answer is not HTTP, or not complete"),
}


@pytest.mark.parametrize("kind", REFUSING)
def test_what_is_no_receipt(run: Run, kind: str) -> None:
    """The first message is taken, the second is not: the failure says so, and nothing is sent after it."""
    answer, expected = REFUSING[kind]
    hook = Hook(OK, answer)
    assert posted(run, hook, b'{"n":1}', b'{"n":2}', b'{"n":3}') == (expected, 1)
    assert len(hook.requests) == 2


def test_a_webhook_that_says_nothing(run: Run) -> None:
    """It has a limited time for each answer."""
    assert posted(run, silence, b"{}") == ("it does not answer in time", 0)


def test_a_webhook_that_never_stops(run: Run) -> None:
    """An endless answer is given up."""
    assert posted(run, flood(b"x" * 1000), b"{}") == ("its answer is not HTTP, or not complete", 0)


def test_a_webhook_that_closes_early(run: Run) -> None:
    """Before it answers."""
    assert posted(run, say_and_close(b""), b"{}") == ("its answer is not HTTP, or not complete", 0)


CLIENT_CA = Authority("Client CA")


def identity(shown: Credentials, key: Credentials | None = None) -> TlsIdentity:
    """A client certificate, with its own key unless another one is given."""
    return TlsIdentity(shown.certificate_pem, Secret((key or shown).key_pem), (), ())


def test_a_client_certificate_is_shown_to_a_webhook_that_asks(run: Run) -> None:
    """The one that is configured; a stranger's, and none, are refused by the webhook."""
    assert posted(run, Hook(OK), b"{}", client_ca=CLIENT_CA, client=identity(client(CLIENT_CA))) is None
    for shown in (None, identity(client(OTHER_CA))):
        failed = posted(run, Hook(OK), b"{}", client_ca=CLIENT_CA, client=shown)
        assert failed is not None
        assert failed[0].startswith("TLS failed: ")


def test_a_client_certificate_with_another_key(run: Run) -> None:
    """It was damaged since it was installed: nothing is connected to."""
    damaged = identity(client(CLIENT_CA), client(CLIENT_CA))
    with FaultServer(silence) as server:
        failed = reason(run, endpoint(server.port, tls=True, path="/", client=damaged))
        assert failed == "TLS does not take the client certificate, or a CA certificate"
        assert server.accepted == 0


def test_a_cancelled_sending_leaves_no_connection(run: Run) -> None:
    """A stop of the service ends it at once."""
    closed = threading.Event()

    def script(connection: socket.socket) -> None:
        while connection.recv(65536):
            pass
        closed.set()
        time.sleep(0.1)

    async def cancelled(port: int) -> None:
        sending = asyncio.create_task(NetworkSender(Outlets(LOOPBACK).open).send(endpoint(port), LARGE))
        await asyncio.sleep(0.2)
        sending.cancel()
        await asyncio.wait([sending])

    with FaultServer(script) as server:
        run(cancelled(server.port))
        assert closed.wait(10)


# --- a server that is known by its certificate ---


def pinned(port: int, **more: Any) -> Endpoint:
    """Where the tests send to, with the certificate that the server must show."""
    certificate = hashlib.sha256(ssl.PEM_cert_to_DER_cert(SERVER.certificate_pem)).hexdigest()
    return Endpoint("127.0.0.1", port, tls=True, path="/path", pin=certificate, **more)


@pytest.mark.parametrize("proxies", [(), ("192.0.2.0/24", "::/0"), ("192.0.2.0/24", "127.0.0.0/8")])
def test_a_known_certificate_is_enough(run: Run, proxies: tuple[str, ...]) -> None:
    """No CA need vouch for it. A server that takes this host for a proxy gets the header of a connection of its own."""
    started: list[bytes] = []
    answer = tls(server_context(SERVER), say(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))

    def script(connection: socket.socket) -> None:
        if "127.0.0.0/8" in proxies:
            started.append(connection.recv(START_BYTES, socket.MSG_WAITALL))
        answer(connection)

    with FaultServer(script) as server:
        assert send(run, pinned(server.port, proxies=proxies), b"{}") is None
    assert [(rest_bytes(each), client_named(each, b"")) for each in started] == [(0, None)] * len(started)


def test_another_certificate_of_the_same_ca_is_not(run: Run) -> None:
    """Nothing is sent to its owner."""
    read = Reader()
    with FaultServer(tls(server_context(CA.issue()), read)) as server:
        told = "it shows another certificate than it told"
        assert reason(run, replace(pinned(server.port), authorities=(CA.pem,)), b"{}") == told
    assert read.got == b""

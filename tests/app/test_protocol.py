"""What clients send before they are known: bounded in size, time and number; and requests that end unusually."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from keystead.app.acceptor import Acceptor
from keystead.app.protocol import HttpProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.peers.keystead import Installation, Service

HEADER_S = 0.6
SMALL = f"""
from keystead.app import acceptor, protocol
protocol.HttpProtocol.header_s = acceptor.Acceptor.handshake_s = {HEADER_S}
from keystead.cli.main import main
main()
"""
ENDLESS = {
    "a header": b"GET /api/cluster HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 16384,
    "headers": b"GET /api/cluster HTTP/1.1\r\nHost: x\r\n" + b"X: xxxxxxxxxxxxxxxxxxxxxxxxx\r\n" * 512,
    "a url": b"GET /api/" + b"x" * 16384,
    "a trailer": b"POST /api/svm/svms HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX: "
    + b"x" * 16384,
}


@pytest.fixture(scope="module")
def service(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service with short limits."""
    installation = initialised.copy(tmp_path_factory.mktemp("small") / "data")
    program = [sys.executable, "-c", SMALL, *installation.command("serve", "--listen", "127.0.0.1:0")[3:]]
    with installation.serving(program) as running:
        yield running


@contextlib.contextmanager
def connected(service: Service) -> Iterator[ssl.SSLSocket]:
    """Yield a TLS connection that has sent nothing."""
    context = ssl.create_default_context(cafile=service.installation.data / "tls.crt")
    with (
        socket.create_connection(("127.0.0.1", service.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        yield secured


def received(connection: socket.socket) -> bytes:
    """Return all that comes until the end of the connection."""
    parts = []
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def credential(service: Service) -> str:
    """Return the header that names admin."""
    with service.client() as call:
        return f"Authorization: {call.headers['Authorization']}\r\n"


def memory(service: Service) -> int:
    """Return the most memory that the process has had, in kB."""
    status = Path(f"/proc/{service.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("what", ENDLESS)
def test_what_has_no_end_is_refused(service: Service, what: str) -> None:
    """400 and the end of the connection, without keeping what was sent."""
    with service.client() as call:
        assert call("GET", "/cluster").status == 200
    before = memory(service)
    sent = 0
    with connected(service) as connection, contextlib.suppress(ConnectionError, ssl.SSLError):
        connection.sendall(ENDLESS[what])
        while sent < 24 * 2**20:
            connection.sendall(ENDLESS[what][-8192:])
            sent += 8192
        assert received(connection).split(b" ")[1] in {b"400", b"401"}  # the trailer follows a request
    assert memory(service) - before < 12 * 1024


@pytest.mark.parametrize(
    ("headers", "status"), [("X: " + "x" * 60000, b"200"), ("X: " + "x" * 66000, b"400"), ("X: x\r\n" * 200, b"400")]
)
def test_complete_headers_have_a_limit_too(service: Service, headers: str, status: bytes) -> None:
    """The same whether they come in one piece or in many: 64 KiB, 128 headers."""
    lines = f"Host: x\r\nConnection: close\r\n{credential(service)}{headers}"
    request = f"GET /api/cluster HTTP/1.1\r\n{lines}\r\n\r\n".encode()
    for size in (len(request), 1000):
        with connected(service) as connection:
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                for start in range(0, len(request), size):
                    connection.sendall(request[start : start + size])
            assert received(connection).split(b" ")[1] == status


@pytest.mark.parametrize(
    "head",
    [
        "NOSUCH /api/cluster HTTP/1.1\r\nHost: x",
        "POST /api/svm/svms HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked",
        f"GET /api/{'x' * 66000} HTTP/1.1\r\nHost: x",
        "GET /healthz HTTP/1.1",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nhost: x",
        "GET /healthz HTTP/1.0\r\nHost: x\r\nHost: y",
        "GET /healthz HTTP/1.1\r\nHost: x\r\nAuthorization: Basic eA==\r\nauthorization: Basic eA==",
        "GET /healthz HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c",
    ],
    ids=[
        "an unknown method",
        "two framings",
        "a long url",
        "no host",
        "two hosts",
        "two hosts in HTTP/1.0",
        "two credentials",
        "an upgrade without host",
    ],
)
def test_what_is_no_request_is_answered_in_plain_text(service: Service, head: str) -> None:
    """By the parser, before anybody asks who calls: 400, and the end of the connection."""
    with connected(service) as connection:
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            connection.sendall(f"{head}\r\n\r\n".encode())
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"content-type: text/plain" in answer
    assert answer.endswith(b"Invalid HTTP request received.")


@pytest.mark.parametrize("head", ["GET /healthz HTTP/1.0", "GET /healthz HTTP/1.1\r\nConnection: close\r\nHost:"])
def test_who_need_not_name_a_host_is_answered(service: Service, head: str) -> None:
    """HTTP/1.0 has no Host, and in HTTP/1.1 it may be empty (RFC 9112, 3.2)."""
    with connected(service) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        assert received(connection).startswith(b"HTTP/1.1 200 ")


TRICKLE = [(b"\r\n", b"\r\n"), (b"GET /api/clu", b"s"), (b"GET /api/cluster HTTP/1.1\r\nHost: x\r\n", b"X")]


def seconds_until_closed(connection: socket.socket, pieces: Sequence[bytes]) -> float:
    """Send the pieces with a pause before each but the first; nothing is answered."""
    started = time.monotonic()
    for number, piece in enumerate(pieces):
        time.sleep(HEADER_S / 2 * bool(number))
        connection.sendall(piece)
    assert received(connection) == b""
    return time.monotonic() - started


@pytest.mark.parametrize("pieces", [(), *TRICKLE])
def test_who_sends_no_request_is_left(service: Service, pieces: Sequence[bytes]) -> None:
    """The time runs from the connection, whatever trickles in."""
    with connected(service) as connection:
        assert HEADER_S * 0.8 < seconds_until_closed(connection, pieces) < HEADER_S + 3


@pytest.mark.parametrize("pieces", TRICKLE)
def test_a_kept_connection_that_sends_half_a_request_is_left(service: Service, pieces: Sequence[bytes]) -> None:
    """The time runs from the first byte after the answer."""
    with connected(service) as connection:
        connection.sendall(b"GET /api/cluster HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += connection.recv(65536)
        assert HEADER_S * 0.8 < seconds_until_closed(connection, pieces) < HEADER_S + 3


def test_the_times_that_clients_have() -> None:
    """Fifteen seconds for the handshake, and as many for the headers, where nobody sets others."""
    assert (Acceptor.handshake_s, HttpProtocol.header_s) == (15, 15)


def test_without_tls_nothing_is_answered(service: Service) -> None:
    """A request in clear ends the connection."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert not received(connection).startswith(b"HTTP")


def test_a_handshake_that_does_not_go_on_is_left(service: Service) -> None:
    """As the silence before it."""
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01")
        assert received(connection) == b""


def test_a_kept_connection_may_be_silent_for_longer(service: Service) -> None:
    """The time for headers runs from their first byte."""
    with service.client() as call:
        assert call("GET", "/cluster").status == 200
        known = call.connection.sock
        time.sleep(HEADER_S * 1.5)
        assert call("GET", "/cluster").status == 200
        assert call.connection.sock is known


@pytest.mark.parametrize("body", [b'{"name": "%b"}', b""])
def test_an_upgrade_is_ignored(service: Service, body: bytes) -> None:
    """The request is answered as without it, with its body, and so is the next one on the connection."""
    name = f"upgraded-{len(body)}".encode()
    body = body and body % name
    method = b"POST" if body else b"GET"
    lines = b"Host: x\r\n%bContent-Length: %d\r\n" % (credential(service).encode(), len(body))
    head = b"%b /api/svm/svms HTTP/1.1\r\n%b" % (method, lines)
    upgrade = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\r\n"
    with connected(service) as connection:
        connection.sendall((head + upgrade + body) * 2 + head + b"Connection: close\r\n\r\n" + body)
        answers = received(connection)
    statuses = [part[:3] for part in answers.split(b"HTTP/1.1 ")[1:]]
    assert statuses == ([b"201", b"409", b"409"] if body else [b"200"] * 3), answers
    assert "pip" not in service.stderr.read_text()


def test_an_answer_before_the_body_closes_the_connection(service: Service) -> None:
    """Who expects 100 and is refused sends no body: the next request must not be taken for it."""
    expecting = b"POST /api/svm/svms HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n"
    with connected(service) as connection:
        connection.sendall(expecting)
        answer = received(connection)
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close\r\n" in answer.lower()


def test_who_expects_100_and_gets_it_keeps_the_connection(service: Service) -> None:
    """The body follows, and the connection serves the next request."""
    lines = f"Host: x\r\n{credential(service)}Expect: 100-continue\r\nContent-Length: 20\r\n\r\n"
    head = f"POST /api/svm/svms HTTP/1.1\r\n{lines}"
    with connected(service) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b'{"name": "expected"}')
        answer = connection.recv(65536)  # its head
        assert answer.startswith(b"HTTP/1.1 201 ")
        assert b"connection: close" not in answer.lower()

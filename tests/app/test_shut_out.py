"""Idle connections of one address, or of many, against a real process: others are served, and ends make room."""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.app.test_proxy_protocol import header

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.keystead import Client, Installation, Service

CONNECTIONS, SHARE = 40, 10
SHUT_OUT = {"connections": str(CONNECTIONS), "connections_per_address": "25", "connections_reserved": "50"}
IDLE, IDLE_TLS, MORE_IDLE, OTHER, UNKNOWN, PROXY = (f"127.0.0.{number}" for number in (11, 12, 13, 2, 3, 21))
PATIENT = """
from keystead.app import acceptor, protocol
protocol.HttpProtocol.header_s = acceptor.Acceptor.handshake_s = acceptor.Acceptor.proxy_header_s = 600
from keystead.cli.main import main
main()
"""


@contextlib.contextmanager
def serving(installation: Installation) -> Iterator[Service]:
    """Run a service with few connections, also behind a proxy that names its clients. It leaves idle ones alone."""
    program = [sys.executable, "-c", PATIENT, *installation.command("serve", "--listen", "127.0.0.1:0")[3:]]
    with replace(installation, settings=SHUT_OUT | {"trusted_proxies": PROXY}).serving(program) as running:
        yield running


@pytest.fixture(scope="module")
def service(initialised: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Yield a service for tests that use addresses of their own."""
    with serving(initialised.copy(tmp_path_factory.mktemp("few") / "data")) as running:
        yield running


def connect(service: Service, source: str) -> socket.socket:
    """Return a TCP connection from this address."""
    return socket.create_connection(("127.0.0.1", service.port), timeout=60, source_address=(source, 0))


def secured(service: Service, plain: socket.socket) -> ssl.SSLSocket:
    """Return TLS on a connection."""
    context = ssl.create_default_context(cafile=service.installation.data / "tls.crt")
    return context.wrap_socket(plain, server_hostname="127.0.0.1")


def is_closed(connection: socket.socket) -> bool:
    """Wait for the end of a connection; raise TimeoutError if it does not come."""
    with contextlib.suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


def idle(service: Service, source: str, count: int, *, tls: bool = False) -> list[socket.socket]:
    """Open idle connections, plain ones or inside TLS, one after the other; the server accepts them in this order."""
    opened = [connect(service, source) for _ in range(count)]
    return [secured(service, each) for each in opened[:SHARE]] + opened[SHARE:] if tls else opened


def is_served(service: Service, source: str) -> bool:
    """Return True if a new connection from this address gets its answer to a login."""
    with service.client(source=source) as call, contextlib.suppress(OSError):
        return call("GET", "/cluster").status == 200
    return False


def wait_until_served(service: Service, source: str) -> None:
    """Return once a new connection from this address is served."""
    deadline = time.monotonic() + 60
    while not is_served(service, source):
        assert time.monotonic() < deadline


def refused(call: Client, reason: str) -> float:
    """Return how many connections the metrics say were refused for this reason."""
    call.connection.request("GET", "/metrics", headers=call.headers)
    text = call.connection.getresponse().read().decode()
    line = f'keystead_connections_refused_total{{reason="{reason}"}} '
    return next((float(each.removeprefix(line)) for each in text.splitlines() if each.startswith(line)), 0.0)


@pytest.mark.parametrize(("source", "tls"), [(IDLE, False), (IDLE_TLS, True)], ids=["plain TCP", "inside TLS"])
def test_one_address_shuts_nobody_out(service: Service, source: str, tls: bool) -> None:
    """It has its quarter; the next are closed at once, others are served, and an end makes room."""
    with contextlib.ExitStack() as held, service.client(source=OTHER) as call:
        before = refused(call, "address")
        there = [held.enter_context(each) for each in idle(service, source, 3 * SHARE, tls=tls)]
        assert all(is_closed(each) for each in there[SHARE:])
        assert not is_served(service, source)
        assert is_served(service, OTHER)
        assert refused(call, "address") - before == 2 * SHARE + 1
        for each in there[: SHARE // 2]:
            each.close()
        wait_until_served(service, source)
    lines = [line for line in service.stderr.read_text().splitlines() if "connections are refused" in line]
    assert sum(source in line for line in lines) == 1


def test_many_addresses_leave_a_reserve_to_those_that_logged_in(installation: Installation) -> None:
    """An unknown address has to wait for an end, a known one is served."""
    with contextlib.ExitStack() as held:
        service = held.enter_context(serving(installation))
        call = held.enter_context(service.client(source=OTHER))
        assert call("GET", "/cluster").status == 200
        others = CONNECTIONS // 2 - 1
        there = idle(service, IDLE, SHARE) + idle(service, MORE_IDLE, others - SHARE)
        for each in there:
            held.enter_context(each)
        assert not is_served(service, UNKNOWN)
        assert is_served(service, OTHER)
        assert refused(call, "reserved") == 1
        there[0].close()
        wait_until_served(service, UNKNOWN)


# --- behind a proxy ---


def answer(service: Service, start: bytes, source: str = PROXY) -> str:
    """Send the start of a connection, then a login inside TLS; return the answer's status, or empty if it is closed."""
    with service.client() as call:
        credential = call.headers["Authorization"]
    try:
        with connect(service, source) as plain:
            plain.sendall(start)
            with secured(service, plain) as connection:
                head = f"GET /api/cluster HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {credential}"
                connection.sendall(f"{head}\r\n\r\n".encode())
                return connection.recv(65536).split(b" ")[1].decode()
    except OSError:
        return ""


def named(client: str, family: int = 0x11) -> bytes:
    """Return a header that names a client."""
    packed = socket.inet_pton(socket.AF_INET if family == 0x11 else socket.AF_INET6, client)
    return header(0x21, family, packed * 2 + bytes.fromhex("d431 20fb"))


V1 = b"PROXY TCP4 192.0.2.1 127.0.0.1 54321 8443\r\n"


# Python 3.11 leaves a socket open if its peer is gone before TLS begins.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(
    ("source", "start", "status"),
    [
        (PROXY, named("192.0.2.1"), "200"),
        (PROXY, named("2001:db8::1", 0x21), "200"),
        (PROXY, header(0x20, 0x00, b""), "200"),
        (PROXY, b"", ""),
        (PROXY, V1, ""),
        (PROXY, header(0x21, 0x31, bytes(216)), ""),
        (OTHER, b"", "200"),
        (OTHER, named("192.0.2.1"), ""),
        (OTHER, V1, ""),
    ],
    ids=[
        "IPv4",
        "IPv6",
        "LOCAL",
        "a proxy's TLS",
        "a proxy's version 1",
        "a Unix socket",
        "a client's TLS",
        "a client's header",
        "a client's version 1",
    ],
)
def test_who_may_name_a_client(service: Service, source: str, start: bytes, status: str) -> None:
    """A trusted proxy must, by version 2; nobody else can."""
    assert answer(service, start, source) == status


def test_a_header_in_pieces_is_read(service: Service) -> None:
    """And not a byte of TLS with it."""
    with connect(service, PROXY) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in named("192.0.2.1"):
            plain.sendall(bytes([byte]))
        with secured(service, plain) as connection:
            connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
            assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_a_proxy_that_ends_before_its_header_is_refused(service: Service) -> None:
    """The metric and the log say it, by the proxy's own address."""
    with service.client() as call:
        before = refused(call, "proxy_header")
        for sent in (b"", named("192.0.2.1")[:20]):
            with connect(service, PROXY) as plain:
                plain.sendall(sent)
                plain.shutdown(socket.SHUT_WR)
                assert is_closed(plain)
        assert refused(call, "proxy_header") - before == 2
    lines = [line for line in service.stderr.read_text().splitlines() if "proxy_header" in line]
    assert PROXY in lines[0]


def test_clients_behind_a_proxy_are_counted_by_their_own_addresses(service: Service) -> None:
    """One of them shuts neither the others out nor the proxy's own connections."""
    with contextlib.ExitStack() as held:
        for _ in range(SHARE):
            plain = held.enter_context(connect(service, PROXY))
            plain.sendall(named("192.0.2.99"))
            held.enter_context(secured(service, plain))
        assert answer(service, named("192.0.2.99")) == ""
        assert answer(service, named("192.0.2.98")) == "200"
        assert answer(service, header(0x20, 0x00, b"")) == "200"


def test_the_audit_names_the_client_behind_the_proxy(service: Service) -> None:
    """Also in the record of a request that is refused; LOCAL is the proxy itself."""
    for start in (named("192.0.2.77"), named("2001:db8::77", 0x21), header(0x20, 0x00, b"")):
        with connect(service, PROXY) as plain:
            plain.sendall(start)
            with secured(service, plain) as connection, service.client() as call:
                lines = f"Host: x\r\nConnection: close\r\nAuthorization: {call.headers['Authorization']}"
                connection.sendall(f"DELETE /api/svm/svms/none HTTP/1.1\r\n{lines}\r\n\r\n".encode())
                assert connection.recv(65536).split(b" ")[1].startswith(b"4")
    with service.client() as call:
        records = call.get("/security/audit/messages?fields=location&max_records=1000")["records"]
    assert {"192.0.2.77", "2001:db8::77", PROXY} <= {record.get("location") for record in records}

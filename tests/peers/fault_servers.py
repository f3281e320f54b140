"""Small real servers, each with one fault: a listening socket, a thread per connection, a script of a few lines.

A script is a function of the accepted connection; when it returns, the connection is closed. Scripts for the plain
socket come first, then those that speak TLS, whose own script gets the encrypted connection. Usable outside pytest.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType


class Connection(Protocol):
    """What a script may do with a connection, encrypted or not."""

    def recv(self, size: int, /) -> bytes: ...
    def sendall(self, data: bytes, /) -> None: ...


class FaultServer:
    """A TCP server on a loopback port (0: a free one); it runs ``script`` on each connection in a thread of its own."""

    def __init__(self, script: Callable[[socket.socket], None], host: str = "127.0.0.1", port: int = 0) -> None:
        self._script = script
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, port), family=family, backlog=128)
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.accepted = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing a socket does not wake the thread that sleeps in it; shutting it down does.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=10)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            connection.settimeout(30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is said leaves before a reset
            held = connection.dup()  # TLS takes the connection over; this one still reaches it
            with self._lock:
                self._open.add(held)
            thread = threading.Thread(target=self._serve, args=(connection, held), daemon=True)
            thread.start()
            self._threads.append(thread)

    def _serve(self, connection: socket.socket, held: socket.socket) -> None:
        with contextlib.suppress(OSError):
            self._script(connection)
        with self._lock:
            self._open.discard(held)
            held.close()
            connection.close()


def refused_port(host: str = "127.0.0.1") -> int:
    """A port that nobody listens on, nor ever will while this process lives: it stays bound."""
    holder = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holder.bind((host, 0))
    port: int = holder.getsockname()[1]
    holder.detach()
    return port


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port whose handshakes are never answered: ``listen(0)`` with the backlog filled. Yields the port."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        yield listener.getsockname()[1]


# --- on the plain socket ---


def silence(connection: Connection) -> None:
    """Read and never answer."""
    while connection.recv(65536):
        pass


def close_at_once(_: Connection) -> None:
    """Close before a byte was read."""


def reset(connection: socket.socket) -> None:
    """Close with a reset instead of an end."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def after_client_hello(then: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """Read one flight of the client, then run ``then``."""

    def script(connection: socket.socket) -> None:
        connection.recv(65536)
        then(connection)

    return script


def say(data: bytes) -> Callable[[Connection], None]:
    """Send ``data`` whatever was asked, then read until the peer leaves."""

    def script(connection: Connection) -> None:
        connection.recv(65536)
        connection.sendall(data)
        silence(connection)

    return script


def say_and_close(data: bytes) -> Callable[[Connection], None]:
    """Send ``data`` whatever was asked, and close."""

    def script(connection: Connection) -> None:
        connection.recv(65536)
        connection.sendall(data)

    return script


def alert(number: int) -> Callable[[socket.socket], None]:
    """Answer the ClientHello with one fatal alert."""
    return after_client_hello(lambda connection: connection.sendall(bytes([21, 3, 3, 0, 2, 2, number])))


def drip(data: bytes, *, pause: float = 1.0) -> Callable[[Connection], None]:
    """Send ``data`` one byte each ``pause`` seconds."""

    def script(connection: Connection) -> None:
        connection.recv(65536)
        for byte in data:
            connection.sendall(bytes([byte]))
            time.sleep(pause)

    return script


def flood(data: bytes) -> Callable[[Connection], None]:
    """Send ``data`` without end, as fast as it is taken."""

    def script(connection: Connection) -> None:
        while True:
            connection.sendall(data * 100)

    return script


# --- with TLS ---


def tls(context: ssl.SSLContext, then: Callable[[Any], None]) -> Callable[[socket.socket], None]:
    """Do the handshake, sending alerts as OpenSSL does, and run ``then`` on the encrypted connection."""

    def script(connection: socket.socket) -> None:
        try:
            encrypted = context.wrap_socket(connection, server_side=True)
        except ssl.SSLError:
            silence(connection)  # reading to the end keeps the alert from being overtaken by a reset
            return
        with encrypted:
            then(encrypted)

    return script


def hasty_tls(context: ssl.SSLContext, then: Callable[[Any], None]) -> Callable[[socket.socket], None]:
    """As :func:`tls`, but a refused client is dropped at once, with what it sent still unread: a reset follows."""

    def script(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as encrypted:
            then(encrypted)

    return script


def mute_tls(
    context: ssl.SSLContext, then: Callable[[Any], None], *, refuse: Callable[[socket.socket], None] = close_at_once
) -> Callable[[socket.socket], None]:
    """TLS that never sends an alert: a client that it refuses sees the connection closed (or reset) and no word."""

    def script(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                engine.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))
            except ssl.SSLError:
                refuse(connection)
                return
            else:
                break
        connection.sendall(outgoing.read())
        then(_Encrypted(connection, engine, incoming, outgoing))

    return script


def stop_before_finished(
    context: ssl.SSLContext, then: Callable[[socket.socket], None]
) -> Callable[[socket.socket], None]:
    """Send the server's first flight, read the client's answer to it, then run ``then`` on the plain socket."""

    def script(connection: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = context.wrap_bio(incoming, outgoing, server_side=True)
        incoming.write(connection.recv(65536))
        with contextlib.suppress(ssl.SSLWantReadError):
            engine.do_handshake()
        connection.sendall(outgoing.read())
        connection.recv(65536)
        then(connection)

    return script


class _Encrypted:
    """The two calls of a connection over a finished MemoryBIO handshake."""

    def __init__(
        self, connection: socket.socket, engine: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        self._connection, self._engine = connection, engine
        self._incoming, self._outgoing = incoming, outgoing

    def recv(self, size: int) -> bytes:
        while True:
            try:
                return self._engine.read(size)
            except ssl.SSLWantReadError:
                data = self._connection.recv(65536)
                if not data:
                    return b""
                self._incoming.write(data)
            except ssl.SSLError:
                return b""

    def sendall(self, data: bytes) -> None:
        self._engine.write(data)
        self._connection.sendall(self._outgoing.read())

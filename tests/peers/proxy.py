"""A TCP proxy in front of a server, whose network can fail: packets dropped or late, connections cut, answers lost."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import TYPE_CHECKING, Final, Literal

from tests.peers.fault_servers import FaultServer, reset

if TYPE_CHECKING:
    from collections.abc import Iterator

Direction = Literal["to server", "to client", "both"]

ENDINGS: Final = {"reset", "cut"}
"""Modes that end every connection: with a reset, or politely."""
PASSING: Final = {"forward", "lose"}
"""Modes in which bytes are passed on; ``lose`` is for once."""


class Network:
    """What the proxy does: ``forward``, ``drop`` (take everything, pass on nothing), ``reset``, ``cut`` or ``lose``.

    ``lose`` is for once: the next bytes are not passed on, and their connection ends. Those are an answer's; with the
    direction ``to server`` a request's. ``drop`` may be for one direction only. All of it, and ``delay``, the seconds
    by which bytes are late in each direction, may be changed at any time and holds for open connections as well.
    """

    def __init__(self, target: int | str) -> None:
        self.delay = 0.0
        self.mode = "forward"
        self._failing: Direction = "both"
        self._target = target
        self._open: set[socket.socket] = set()

    def fail(self, mode: str, direction: Direction | None = None) -> None:
        """Begin to fail, on open connections as well."""
        self._failing = direction or ("to client" if mode == "lose" else "both")
        self.mode = mode
        if mode in ENDINGS:
            for connection in list(self._open):
                with contextlib.suppress(OSError):  # it may have ended meanwhile
                    self._end(connection)
                    connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads; it closes, and so resets

    def lead_to(self, target: int) -> None:
        """Lead new connections to another port."""
        self._target = target

    def heal(self) -> None:
        """Forward again, at once."""
        self.delay = 0.0
        self.fail("forward")

    def script(self, connection: socket.socket) -> None:
        """Serve one connection."""
        if self.mode in ENDINGS:
            self._end(connection)
            return
        with _connected(self._target) as server:
            self._open.add(connection)
            back = threading.Thread(target=self._pump, args=(server, connection, "to client"), daemon=True)
            back.start()
            self._pump(connection, server, "to server")
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join(timeout=10)
            self._open.discard(connection)

    def _end(self, connection: socket.socket) -> None:
        if self.mode == "reset":
            reset(connection)

    def _pump(self, source: socket.socket, sink: socket.socket, direction: Direction) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                time.sleep(self.delay)
                mode = self.mode if self._failing in {"both", direction} else "forward"
                if mode == "lose":
                    self.mode = "forward"
                    for end in (source, sink):
                        end.shutdown(socket.SHUT_RDWR)
                    return
                if mode in PASSING:
                    sink.sendall(data)
            if self.mode == "forward":
                sink.shutdown(socket.SHUT_WR)


def _connected(target: int | str) -> socket.socket:
    """Return a connection to a loopback port, or to a socket's path."""
    if isinstance(target, str):
        server = socket.socket(socket.AF_UNIX)
        server.connect(target)
    else:
        server = socket.create_connection(("127.0.0.1", target), timeout=30)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


@contextlib.contextmanager
def proxy(target: int | str) -> Iterator[tuple[int, Network]]:
    """A proxy of a loopback port, or of a socket's path: its own port, and its network."""
    network = Network(target)
    with FaultServer(network.script) as server:
        yield server.port, network

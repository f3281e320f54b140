"""A TCP proxy in front of a server, whose network can fail: packets dropped, connections reset, answers lost."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING

from tests.peers.fault_servers import FaultServer, reset

if TYPE_CHECKING:
    from collections.abc import Iterator


class Network:
    """What the proxy does: ``forward``, ``drop`` (take everything, pass on nothing), ``reset`` or ``lose``.

    ``lose`` is for once: the next bytes from the server are not passed on, and their connection ends.
    """

    def __init__(self, target: int) -> None:
        self.mode = "forward"
        self._target = ("127.0.0.1", target)
        self._open: set[socket.socket] = set()

    def fail(self, mode: str) -> None:
        """Begin to fail, on open connections as well."""
        self.mode = mode
        if mode == "reset":
            for connection in list(self._open):
                reset(connection)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)  # wakes the thread that reads; it closes, and so resets

    def script(self, connection: socket.socket) -> None:
        """Serve one connection."""
        if self.mode == "reset":
            reset(connection)
            return
        with socket.create_connection(self._target, timeout=30) as server:
            self._open.add(connection)
            back = threading.Thread(target=self._pump, args=(server, connection), daemon=True)
            back.start()
            self._pump(connection, server)
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join(timeout=10)
            self._open.discard(connection)

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.mode == "lose" and sink in self._open:
                    self.mode = "forward"
                    sink.shutdown(socket.SHUT_RDWR)
                    return
                if self.mode in {"forward", "lose"}:
                    sink.sendall(data)
            if self.mode == "forward":
                sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def proxy(target: int) -> Iterator[tuple[int, Network]]:
    """A proxy of a loopback port: its own port, and its network."""
    network = Network(target)
    with FaultServer(network.script) as server:
        yield server.port, network

"""The way to a PostgreSQL server, which can break around a COMMIT: before it arrives, or before its answer does."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Literal

from tests.peers.fault_servers import FaultServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.peers.postgres import PostgresServer

Lost = Literal["request", "answer"]

COMMIT = b"COMMIT\0"
SOCKET = ".s.PGSQL.5432"


class Link:
    """One way. Each connection is passed on, until a COMMIT is the one that :meth:`cut` told of."""

    def __init__(self, server: PostgresServer) -> None:
        self._path = str(server.folder / "socket" / SOCKET)
        self._lock = threading.Lock()
        self._left = 0
        self._lost: Lost = "request"

    def cut(self, number: int, lost: Lost) -> None:
        """Cut the connection of the COMMIT of this number, from now on (1 is the next): it, or its answer, is lost."""
        with self._lock:
            self._left, self._lost = number, lost

    def script(self, client: socket.socket) -> None:
        """Serve one connection."""
        with socket.socket(socket.AF_UNIX) as server:
            server.connect(self._path)
            swallow = threading.Event()
            back = threading.Thread(target=self._back, args=(server, client, swallow), daemon=True)
            back.start()
            with contextlib.suppress(OSError):
                while data := client.recv(65536):
                    lost = self._loses() if COMMIT in data else None
                    if lost == "request":
                        break
                    if lost == "answer":
                        swallow.set()
                    server.sendall(data)
            for end in (server, client) if not swallow.is_set() else (server,):
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            back.join(timeout=10)

    def _loses(self) -> Lost | None:
        with self._lock:
            self._left -= 1
            return self._lost if self._left == 0 else None

    def _back(self, server: socket.socket, client: socket.socket, swallow: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(65536):
                if swallow.is_set():
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def database_link(server: PostgresServer, url: str) -> Iterator[tuple[str, Link]]:
    """A link to the database of this URL: the URL that leads through it, and the link."""
    link = Link(server)
    with FaultServer(link.script) as proxy:
        name = url.split("@/", 1)[1].split("?", 1)[0]
        login = url.split("@/", 1)[0]
        yield f"{login}@127.0.0.1:{proxy.port}/{name}", link

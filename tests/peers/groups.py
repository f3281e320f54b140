"""Groups of real key servers: PyKMIP primaries with their secondaries, which can be killed, paused and cut off.

Each primary has a database of its own; its secondaries are further PyKMIP processes on the same database, and so stand
for a replicated cluster. Addresses and databases outlive the processes. Usable without pytest.
"""

from __future__ import annotations

import contextlib
import signal
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tests.peers.nursery import Forked, Nursery
from tests.peers.processes import await_state, kept_port
from tests.peers.proxy import proxy
from tests.peers.pykmip import prepared

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.peers.certificates import Authority, Credentials, Trusted

LOCK_S: Final = 30
"""How long to wait for a database that a server is writing to."""


class Server:
    """One PyKMIP server. ``address`` is its own, ``proxied`` leads to it through ``network``, which can fail.

    Killed, its own address refuses connections; the proxied one takes them and closes them at once. What a client may
    not do to objects (lose them, spoil them) is done to the database, for all servers that share it.
    """

    def __init__(
        self, nursery: Nursery, folder: Path, credentials: Credentials, client_ca: Authority | Trusted, database: Path
    ) -> None:
        self.database = database
        self._nursery, self._folder = nursery, folder
        self._holder = kept_port()
        self.port: int = self._holder.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._options = prepared(folder, credentials, client_ca, self.port, database)
        self._proxy = proxy(self.port)
        proxy_port, self.network = self._proxy.__enter__()
        self.proxied = f"127.0.0.1:{proxy_port}"
        self._program: Forked | None = None
        self._paused = False

    # --- the process ---

    def start(self) -> None:
        """Start the process unless it runs; await it with :meth:`wait_until_ready`."""
        if self._program is None:
            self._program = self._nursery.launch(self._folder, self._options)

    def wait_until_ready(self) -> None:
        """Return when it accepts connections."""
        assert self._program is not None
        self._program.wait_until_ready()

    def kill(self) -> None:
        """SIGKILL: the kernel closes its connections. Killing twice is fine."""
        if self._program is not None:
            self._program.stop()
        self._program, self._paused = None, False

    def pause(self) -> None:
        """SIGSTOP: the kernel goes on to accept connections, and nobody answers."""
        self._signal(signal.SIGSTOP)
        assert self._program is not None
        await_state(self._program.pid, "T")
        self._paused = True

    def resume(self) -> None:
        """SIGCONT."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def restart(self) -> None:
        """Kill it and start it again on its port and its database; return when it accepts connections."""
        self.kill()
        self.start()
        self.wait_until_ready()

    def heal(self) -> None:
        """Have it run, with a sound network; :meth:`wait_until_ready` is left to the caller."""
        self.network.heal()
        if self._paused:
            self.resume()
        self.start()

    def close(self) -> None:
        """End it for good."""
        self.kill()
        self._proxy.__exit__(None, None, None)
        self._holder.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._program is not None
        self._program.signal(number)

    # --- the database ---

    def objects(self) -> dict[str, bytes]:
        """Unique Identifier to the bytes of all objects that are there."""
        with self._connection() as connection:
            return {
                str(uid): bytes(value) for uid, value in connection.execute("SELECT uid, value FROM managed_objects")
            }

    def forget(self, identifier: str) -> None:
        """Lose one object."""
        with self._connection() as connection:
            connection.execute("DELETE FROM managed_objects WHERE uid = ?", (identifier,))

    def forget_all(self) -> None:
        """Lose all objects; their Unique Identifiers are not given out again."""
        with self._connection() as connection:
            tables = connection.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'sqlite_sequence'"
            )
            for (table,) in tables.fetchall():
                connection.execute(f"DELETE FROM {table}")  # noqa: S608 - a name from the schema

    def rot(self, identifier: str) -> None:
        """Change an object's bytes, not their number."""
        spoiled = bytes(byte ^ 0x5A for byte in self.objects()[identifier])
        with self._connection() as connection:
            connection.execute("UPDATE managed_objects SET value = ? WHERE uid = ?", (spoiled, identifier))

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(sqlite3.connect(self.database, timeout=LOCK_S)) as connection, connection:
            yield connection


@dataclass(frozen=True)
class Group:
    """Primaries, and the secondaries of each."""

    primaries: tuple[Server, ...]
    secondaries: tuple[tuple[Server, ...], ...]

    @property
    def servers(self) -> tuple[Server, ...]:
        """All of them, primaries first."""
        return (*self.primaries, *(server for each in self.secondaries for server in each))

    def reset(self) -> None:
        """Have all servers run, with sound networks, and without objects."""
        for server in self.servers:
            server.heal()
        for server in self.servers:
            server.wait_until_ready()
        for primary in self.primaries:
            primary.forget_all()


@contextlib.contextmanager
def group(
    folder: Path,
    credentials: Credentials,
    client_ca: Authority | Trusted,
    *,
    primaries: int = 4,
    secondaries: int = 0,
) -> Iterator[Group]:
    """Run ``primaries`` servers and ``secondaries`` more for each of them, side by side, and end them afterwards."""
    with Nursery() as nursery, contextlib.ExitStack() as running:

        def server(number: int, member: int) -> Server:
            own = folder / f"primary-{number}" / f"member-{member}"
            made = Server(nursery, own, credentials, client_ca, own.parent / "pykmip.db")
            running.callback(made.close)
            made.start()
            return made

        first = tuple(server(number, 0) for number in range(primaries))
        for each in first:  # two servers must not both make the tables of one database
            each.wait_until_ready()
        others = tuple(tuple(server(number, 1 + each) for each in range(secondaries)) for number in range(primaries))
        made = Group(first, others)
        for each in made.servers:
            each.wait_until_ready()
        yield made

"""Key servers of a test: real TLS and KMIP on loopback, in this process, on an event loop in a thread of its own.

They go on while the test's thread works or waits. They keep their addresses through every fault.

::

    with KeyServers(4) as servers:
        servers[1].break_("expired")
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Self, overload

from keystead.testing.certificates import Authority, client
from keystead.testing.faults import Machine, named
from keystead.testing.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType


class KeyServer:
    """One key server. ``name`` is ``ks1``, ``ks2`` and so on; ``ca`` is the CA of its certificate in PEM."""

    def __init__(self, name: str, machine: Machine, loop: LoopThread) -> None:
        self.name = name
        self.ca = machine.authority.pem
        self._machine = machine
        self._loop = loop
        self._running = False
        self._broken = False
        # Bound and not listening: nobody else gets the port while the server is away.
        self._holder = socket.socket()
        self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._holder.bind(("127.0.0.1", 0))
        machine.server.port = self._holder.getsockname()[1]

    @property
    def address(self) -> str:
        """The address, as ``server`` of a key server in the REST API takes it."""
        return f"127.0.0.1:{self._machine.server.port}"

    @property
    def objects(self) -> int:
        """How many objects it keeps, destroyed ones not counted."""
        return len(self._machine.server.responder.objects)

    def break_(self, fault: str) -> None:
        """Begin a fault, which replaces the one before. Open connections are reset, so that it counts at once.

        ``fault`` is a word of :data:`keystead.testing.faults.FAULTS` or a reason of its table. Raise ValueError for
        another one, and change nothing.
        """
        begin = named(fault).begin

        def work() -> None:
            self._machine.mend()
            begin(self._machine)

        self._change(work)
        self._broken = True

    def kill(self) -> None:
        """Refuse connections, as if the process was killed. Its objects stay, as on a disk: the fault ``refused``."""
        self.break_("refused")

    def heal(self) -> None:
        """End the fault, if there is one; otherwise nothing happens. What ``wiped`` took comes back."""
        if self._broken:
            self._change(self._machine.mend)
        self._broken = False

    def start(self) -> None:
        """Listen."""
        self._loop.run(self._listen_or_not())

    def close(self) -> None:
        """End the server for good."""
        self._machine.listening = False
        self._loop.run(self._listen_or_not())
        self._holder.close()

    def _change(self, work: Callable[[], None]) -> None:
        async def on_the_loop() -> None:
            work()
            self._machine.server.disconnect()
            await self._listen_or_not()

        self._loop.run(on_the_loop())

    async def _listen_or_not(self) -> None:
        server, wanted = self._machine.server, self._machine.listening
        if wanted and not self._running:
            await server.__aenter__()
        elif self._running and not wanted:
            await server.__aexit__(None, None, None)
        self._running = wanted


class KeyServers(Sequence[KeyServer]):
    """Some key servers, and the client certificate that they accept (``client``).

    Each has a CA of its own, or all have one (``one_ca``).
    """

    def __init__(self, count: int, *, one_ca: bool = False) -> None:
        client_ca = Authority("Client CA")
        self.client = client(client_ca)
        self._loop = LoopThread()
        shared = Authority("Key Server CA")
        self._servers = [
            KeyServer(
                f"ks{number}",
                Machine(shared if one_ca else Authority(f"CA of ks{number}"), client_ca),
                self._loop,
            )
            for number in range(1, count + 1)
        ]

    def __enter__(self) -> Self:
        self._loop.__enter__()
        for server in self._servers:
            server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        self._loop.__exit__(kind, error, trace)

    @overload
    def __getitem__(self, index: int) -> KeyServer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[KeyServer]: ...
    def __getitem__(self, index: int | slice) -> KeyServer | Sequence[KeyServer]:
        return self._servers[index]

    def __len__(self) -> int:
        return len(self._servers)

    @property
    def cas(self) -> tuple[str, ...]:
        """The CAs of their certificates in PEM, each once."""
        return tuple(dict.fromkeys(server.ca for server in self))

    def named(self, name: str) -> KeyServer:
        """Return the key server with this name. Raise ValueError that lists the names."""
        for server in self:
            if server.name == name:
                return server
        raise ValueError(f"there is no key server {name!r}; there are {', '.join(each.name for each in self)}")

    def heal(self) -> None:
        """End all faults."""
        for server in self:
            server.heal()

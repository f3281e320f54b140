"""One fetch of a key: which addresses were asked, what each of them answered, and the material if one returned it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.core.key_servers import secondary_addresses
from keystead.core.keys.reading import DETACHED, OVERTAKEN, UNSETTLED, Tried, no_server_has, not_askable, not_asked

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from keystead.core.keys.model import Copy, Key
    from keystead.core.keys.reading import Source, SourceHealth
    from keystead.core.model import KeyServer
    from keystead.core.secret import Secret
    from keystead.core.server_address import ServerAddress
    from keystead.service.keys.reading.context import ReadContext


class Race:
    """One fetch: the sources in order, the running requests and the material found. Times are loop times.

    ``denied`` are the sources that answered that they do not have the object, and showed their canary. ``paused`` are
    those that were not asked because of their open circuits, and may be asked after a trial.
    """

    def __init__(self, key: Key, copies: Sequence[Copy], order: Sequence[Source], context: ReadContext) -> None:
        self.key = key
        self.copies = copies
        self.order = order
        self.context = context
        self.denied: set[Source] = set()
        self.paused: set[Source] = set()
        self.running: dict[asyncio.Task[Secret | None], Source] = {}
        self.began: dict[Source, float] = {}
        self.found: Secret | None = None
        self._ended: dict[Source, tuple[str, float]] = {}

    def start(self, source: Source, request: Coroutine[None, None, Secret | None]) -> None:
        """Start a request to a source."""
        self.running[asyncio.get_running_loop().create_task(request)] = source

    async def step(self, limit_s: float | None) -> bool:
        """Wait until a request ends, at most ``limit_s`` seconds (None: no limit). Return True if one ended."""
        done, _ = await asyncio.wait(self.running, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            del self.running[task]
            self.found = self.found or task.result()
        return bool(done)

    def end(self, source: Source, outcome: str) -> None:
        """Record the outcome of the request to a source."""
        self._ended[source] = outcome, self._elapsed_ms(source)

    def tried(self, source: Source, health: SourceHealth) -> Tried:
        """Return what happened at a source, for the explanation of the read."""
        server = str(address_of(source.server, source.host))
        if source in self._ended:
            return Tried(server, source.host, *self._ended[source])
        if source in self.began:
            return Tried(server, source.host, OVERTAKEN, self._elapsed_ms(source))
        return Tried(server, source.host, not_asked(health, source.copy.presence))

    @property
    def lost(self) -> bool:
        """True if no key server has the key. Asked when the fetch has ended without material."""
        return no_server_has(self.copies, self.order, self.denied)

    def reasons(self, tried: Sequence[Tried]) -> list[tuple[str, str]]:
        """Return the arguments of the error for a key that no server returned: each server, and its outcome."""
        asked = [pair for each in tried for pair in (("server", each.server), ("reason", each.outcome))]
        return asked + [pair for copy in not_askable(self.copies, self.order) for pair in self._why_not_asked(copy)]

    def _why_not_asked(self, copy: Copy) -> list[tuple[str, str]]:
        server = self.context.topology.server(copy.key_server)
        if server is None:
            return [("reason", DETACHED)]
        return [("server", str(address_of(server, ""))), ("reason", UNSETTLED)]

    def _elapsed_ms(self, source: Source) -> float:
        return round((asyncio.get_running_loop().time() - self.began[source]) * 1000, 3)


def address_of(server: KeyServer, host: str) -> ServerAddress:
    """Return the address of a server's primary (empty ``host``), or of one of its secondaries."""
    if not host:
        return server.address
    return dict(zip(server.secondary_key_servers, secondary_addresses(server), strict=True))[host]

"""The library's own test key server beside a test that is not asynchronous, or whose loop is in another process.

It runs on an event loop in a thread of its own. What it keeps and does (``responder``, ``faults``) may be read and
changed from the test's thread; what needs the loop goes through the methods here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from keystead.testing.loop_thread import LoopThread

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from keystead.kmip.server.responder import Responder
    from keystead.kmip.testing.server import KeyServer


class Appliance:
    """One key server in this process. Its address and its objects stay when it is stopped and started again."""

    def __init__(self, server: KeyServer) -> None:
        self.server = server
        self._loop = LoopThread()
        self._running = False

    @property
    def responder(self) -> Responder:
        """Return what it answers with."""
        return self.server.responder

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def __enter__(self) -> Self:
        self._loop.__enter__()
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._loop.__exit__(kind, error, trace)

    def start(self) -> None:
        """Listen, on the same port as before; nothing happens when it does already."""
        if not self._running:
            self._loop.run(self.server.__aenter__())
        self._running = True

    def stop(self) -> None:
        """Close all connections and refuse new ones; nothing happens when it does already."""
        if self._running:
            self._loop.run(self.server.__aexit__(None, None, None))
        self._running = False

    def disconnect(self) -> None:
        """Reset all open connections; new ones are welcome."""
        self._loop.run(_call(self.server.disconnect))


async def _call(function: Callable[[], None]) -> None:
    function()

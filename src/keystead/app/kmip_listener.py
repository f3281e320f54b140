"""The KMIP listener for applications. Its clients count among the connections of the process, as those of REST do."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from keystead.app.acceptor import Acceptor, cancel
from keystead.app.protocol import client_chain
from keystead.kmip_api.protocol import KmipProtocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from keystead.app.acceptor import Door
    from keystead.app.proxy_protocol import Client
    from keystead.kmip_api.responder import Responder

log = structlog.get_logger(__name__)

LAST_ANSWERS_S = 3.0
"""Seconds at a stop for answers that are due."""


class KmipListener:
    """The listener. It accepts connections from :meth:`start` to :meth:`close`."""

    def __init__(self, door: Door, responder: Responder) -> None:
        self._responder = responder
        self._acceptor = Acceptor(door, self._protocol)
        self._open: set[KmipProtocol] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._all_ended = asyncio.Event()

    def start(self, listening: socket.socket) -> None:
        """Accept connections on a listening socket."""
        host, port = listening.getsockname()[:2]
        log.info("listening for KMIP", address=host, port=port)
        self._accepting = asyncio.get_running_loop().create_task(self._acceptor.accept(listening))

    async def close(self) -> None:
        """Accept no more, let answers that are due be sent, and end all connections."""
        if self._accepting is not None:
            await cancel([self._accepting, *self._acceptor.handshakes])
        for each in tuple(self._open):
            each.close_soon()
        if self._open:
            try:
                async with asyncio.timeout(LAST_ANSWERS_S):
                    await self._all_ended.wait()
            except TimeoutError:
                for each in tuple(self._open):
                    each.abort()

    def _protocol(self, client: Client, leave: Callable[[], None]) -> KmipProtocol:
        def ended(protocol: KmipProtocol) -> None:
            leave()
            self._open.discard(protocol)
            if not self._open:
                self._all_ended.set()

        return KmipProtocol(
            self._responder,
            client[0],
            lambda transport: client_chain(transport.get_extra_info("ssl_object")),
            self._open.add,
            ended,
        )

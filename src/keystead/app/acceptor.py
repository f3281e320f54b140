"""The acceptor of connections: limits, the header of a proxy, and the TLS handshake, for the listeners of a process.

It accepts connections itself, because a loop's own server cannot count the connections that are in their handshake, and
does not read what a proxy sends before it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from keystead.app.connections import PROXY_HEADER
from keystead.app.proxy_protocol import START_BYTES, ProxyHeaderError, client_named, rest_bytes

if TYPE_CHECKING:
    import socket

    from keystead.app.connections import Connections, Place, TrustedProxies
    from keystead.app.proxy_protocol import Client
    from keystead.app.tls import TlsContexts

log = structlog.get_logger(__name__)

MakeProtocol = Callable[["Client", Callable[[], None]], asyncio.BaseProtocol]
"""A function that makes the protocol of a client's connection. It calls what it gets when the connection has ended."""


@dataclass(frozen=True)
class Door:
    """What all listeners of a process share: TLS, the count of connections, and the proxies."""

    contexts: TlsContexts
    connections: Connections
    proxies: TrustedProxies


class Acceptor:
    """The acceptor of one listener."""

    handshake_s = 15.0
    proxy_header_s = 5.0
    close_s = 5.0
    """Seconds for the peer to agree to the end of its connection (TLS close_notify)."""

    def __init__(self, door: Door, make_protocol: MakeProtocol) -> None:
        self._contexts = door.contexts
        self._connections = door.connections
        self._proxies = door.proxies
        self._make_protocol = make_protocol
        self.handshakes: set[asyncio.Task[None]] = set()
        """The connections that have no protocol yet."""

    async def accept(self, listening: socket.socket) -> None:
        """Accept connections for ever. Connections beyond a limit are closed before they cost a handshake."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                accepted, peer = await loop.sock_accept(listening)
            except OSError as error:  # because the peer has gone, or no descriptor is left
                log.warning("a connection cannot be accepted", reason=error.strerror)
                await asyncio.sleep(0.1)
                continue
            by_proxy = peer[0] in self._proxies
            place = (self._connections.enter_by_proxy if by_proxy else self._connections.enter)(peer[0])
            if place is None:
                accepted.close()
                continue
            handshake = loop.create_task(
                (self._ask_proxy if by_proxy else self._shake_hands)(accepted, peer[:2], place)
            )
            self.handshakes.add(handshake)
            handshake.add_done_callback(self.handshakes.discard)

    async def _ask_proxy(self, accepted: socket.socket, proxy: Client, unnamed: Place) -> None:
        """Read whose connection it is, and count it as the client's before its handshake."""
        client = await self._client_named(accepted, proxy)
        unnamed.leave()
        place = self._connections.enter(client[0]) if client else None
        if client and place:
            await self._shake_hands(accepted, client, place)
        else:
            accepted.close()

    async def _client_named(self, accepted: socket.socket, proxy: Client) -> Client | None:
        """Return the client that a proxy names, or the proxy itself; None if its header is not sound or late."""
        try:
            async with asyncio.timeout(self.proxy_header_s):
                return await _read_client(accepted) or proxy
        except (ProxyHeaderError, OSError) as error:  # also TimeoutError
            self._connections.refuse(proxy[0], PROXY_HEADER, why=str(error) or "timed out")
            return None

    async def _shake_hands(self, accepted: socket.socket, client: Client, place: Place) -> None:
        """Do the TLS handshake, and give the connection to a protocol of its own."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as failed:
            failed.callback(place.leave)
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make_protocol(client, place.leave),
                accepted,
                ssl=await self._contexts.newest(),
                ssl_handshake_timeout=self.handshake_s,
                ssl_shutdown_timeout=self.close_s,
            )
            failed.pop_all()  # because the protocol leaves the place


async def _read_client(accepted: socket.socket) -> Client | None:
    """Read a proxy's header, and not a byte more, because TLS follows it. Raises ProxyHeaderError, OSError.

    Return the client that it names, or None if the connection is the proxy's own.
    """
    start = await _received(accepted, START_BYTES)
    return client_named(start, await _received(accepted, rest_bytes(start)))


async def _received(accepted: socket.socket, count: int) -> bytes:
    """Return so many bytes, or fewer if the peer sends no more."""
    loop, received = asyncio.get_running_loop(), b""
    while len(received) < count and (part := await loop.sock_recv(accepted, count - len(received))):
        received += part
    return received


async def cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks, and wait for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)

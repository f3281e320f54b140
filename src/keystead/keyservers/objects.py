"""Objects on key servers: sessions on pooled connections, and what is remembered of each address.

Connections are shared by nobody but those who reach the same address under the same name with the same identity and
credential. What is remembered (idle connections, circuits, times) is bounded, and forgotten when it was not used for a
while. It knows no key manager and decides nothing about copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from keystead.keyservers.contexts import Contexts
from keystead.keyservers.lines import Line, Peer
from keystead.keyservers.object_session import Session
from keystead.keyservers.objects_faults import unreachable
from keystead.keyservers.opening import name_of
from keystead.keyservers.resolve import Resolver
from keystead.kmip.transport.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from keystead.keyservers.egress import EgressRules
    from keystead.keyservers.resolve import Answer
    from keystead.service.ports.objects import Endpoint

PEERS: Final = 4096
"""Peers that are remembered; more only while all of them are in use."""

REMEMBERED_S: Final = 600.0
"""How long an unused peer is remembered."""

LOOKUPS: Final = 2
"""Lookups of a peer's name at a time; its own, so that a resolver that hangs for it hangs for nobody else."""

TIDYING_S: Final = 10.0
"""How often idle connections and unused peers are looked at, while there are peers."""


class Objects:
    """Implements :class:`keystead.service.ports.keys.KeyObjects`. Belongs to one event loop.

    ``clock`` gives seconds that never go back.
    """

    def __init__(
        self,
        rules: EgressRules,
        *,
        getaddrinfo: Callable[..., Answer] = socket.getaddrinfo,  # type: ignore[assignment]
        peers: int = PEERS,
        tidying_s: float = TIDYING_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._getaddrinfo = getaddrinfo
        self._limit = peers
        self._tidying_s = tidying_s
        self._clock = clock
        self._contexts = Contexts()
        self._sessions = Sessions(clock=clock)
        self._secret = secrets.token_bytes(32)
        self._peers: OrderedDict[bytes, Peer] = OrderedDict()  # the longest unused first
        self._tidying: asyncio.TimerHandle | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def session(
        self, endpoint: Endpoint, *, timeout_s: float, fresh: bool = False, exclusive: bool = False, anew: bool = False
    ) -> AsyncIterator[Session]:
        """Lend a connection for the time of an ``async with`` block; see the port.

        A ``fresh`` one does its handshake in full. A connection is nobody else's for that time in any case.
        """
        peer = self._peer(endpoint)
        leave = peer.circuit.enter(anew=anew)
        if leave is None:
            raise unreachable(peer.circuit.reason)
        line = Line(peer, leave, timeout_s, fresh=fresh)
        try:
            await line.open()
            yield Session(peer, line)
        finally:
            leave.end()
            await line.close(keep=not exclusive)

    def slow_or_dead(self, endpoint: Endpoint) -> bool:
        """Whether the peer's circuit is open."""
        peer = self._peers.get(self._key(endpoint))
        return peer is not None and peer.circuit.open

    def latency_s(self, endpoint: Endpoint) -> float | None:
        """Return the median of the latest Gets from this peer."""
        peer = self._peers.get(self._key(endpoint))
        return peer.latencies.median_s() if peer else None

    def p95_s(self, endpoint: Endpoint) -> float | None:
        """Return the time that 95 of 100 of the latest Gets from this peer stayed below."""
        peer = self._peers.get(self._key(endpoint))
        return peer.latencies.p95_s() if peer else None

    async def close(self) -> None:
        """Close all connections: the idle ones now, the lent ones when they come back. Nothing is lent any more."""
        self._closed = True
        if self._tidying is not None:
            self._tidying.cancel()
        for peer in self._peers.values():
            peer.pool.close()
        self._peers.clear()

    # --- peers ---

    def _peer(self, endpoint: Endpoint) -> Peer:
        if self._closed:
            raise unreachable("closed")
        key = self._key(endpoint)
        peer = self._peers.get(key)
        if peer is None:
            resolver = Resolver(self._rules, lookups=LOOKUPS, getaddrinfo=self._getaddrinfo)
            self._make_room()
            peer = self._peers[key] = Peer(endpoint, resolver, self._contexts, self._sessions, self._clock)
        self._peers.move_to_end(key)
        peer.used = self._clock()
        self._tidy_later()
        return peer

    def _key(self, endpoint: Endpoint) -> bytes:
        """Tell peers apart without keeping what they are told apart by."""
        target = endpoint.target
        password = target.password.reveal() if target.password else b""
        name = name_of(endpoint.server, target)
        parts = (endpoint.server.key.encode(), name.encode(), target.username.encode(), password)
        told = b"".join([len(part).to_bytes(4) + part for part in (*parts, endpoint.identity.digest)])
        return hmac.digest(self._secret, told, "sha256")

    def _make_room(self) -> None:
        unused = [key for key, peer in self._peers.items() if not peer.pool.lent]
        for key in unused[: max(0, len(self._peers) + 1 - self._limit)]:
            self._forget(key)

    def _tidy_later(self) -> None:
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(self._tidying_s, self._tidy)

    def _tidy(self) -> None:
        self._tidying = None
        old = self._clock() - REMEMBERED_S
        for key, peer in list(self._peers.items()):
            if peer.used <= old and not peer.pool.lent:
                self._forget(key)
            else:
                peer.pool.reap()
        if self._peers:
            self._tidy_later()

    def _forget(self, key: bytes) -> None:
        self._peers.pop(key).pool.close()

"""Sessions on the objects of key servers, over pooled connections, and what is remembered per address.

Sessions share connections only if address, server name, identity and credential are the same. Idle connections,
circuits and times are remembered. Their number is bounded, and they are forgotten after a while without use. This
module knows no key manager and decides nothing about copies.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
import socket
import time
from collections import Counter, OrderedDict
from typing import TYPE_CHECKING, Final

from keystead.keyservers.contexts import Contexts
from keystead.keyservers.lines import Line, Peer
from keystead.keyservers.object_session import LOCATED, PAGE, Session
from keystead.keyservers.objects_faults import unreachable
from keystead.keyservers.opening import name_of
from keystead.keyservers.resolve import Resolver
from keystead.keyservers.traffic import SentOperations
from keystead.kmip.transport.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from keystead.keyservers.egress import EgressRules
    from keystead.keyservers.resolve import Answer
    from keystead.service.ports.objects import Endpoint

PEERS: Final = 4096
"""The most peers that are remembered. There are more only while all of them are in use."""

REMEMBERED_S: Final = 600.0
"""How long an unused peer is remembered."""

LOOKUPS: Final = 2
"""The most lookups of one peer's name at a time. The limit is per peer, so that a hanging resolver blocks only it."""

TIDYING_S: Final = 10.0
"""How often idle connections and unused peers are removed, while there are peers."""


class Objects:
    """An implementation of :class:`keystead.service.ports.objects.KeyObjects`. It belongs to one event loop.

    ``page`` and ``located`` are limits of Locate, see :class:`Session`. ``clock`` returns seconds of a monotonic clock.
    """

    def __init__(
        self,
        rules: EgressRules,
        *,
        getaddrinfo: Callable[..., Answer] = socket.getaddrinfo,  # type: ignore[assignment]
        peers: int = PEERS,
        tidying_s: float = TIDYING_S,
        page: int = PAGE,
        located: int = LOCATED,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._getaddrinfo = getaddrinfo
        self._limit = peers
        self._tidying_s = tidying_s
        self._page = page
        self._located = located
        self._clock = clock
        self._contexts = Contexts()
        self._sessions = Sessions(clock=clock)
        self._sent = SentOperations(clock)
        self._secret = secrets.token_bytes(32)
        self._peers: OrderedDict[bytes, Peer] = OrderedDict()  # least recently used first
        self._tidying: asyncio.TimerHandle | None = None
        self._closed = False

    @contextlib.asynccontextmanager
    async def session(
        self, endpoint: Endpoint, *, timeout_s: float, fresh: bool = False, exclusive: bool = False, anew: bool = False
    ) -> AsyncIterator[Session]:
        """Lend a connection for the time of an ``async with`` block; see the port.

        A ``fresh`` connection does a full handshake. In any case, no other session uses the connection during the
        block.
        """
        peer = self._peer(endpoint)
        permission = peer.circuit.enter(anew=anew)
        if permission is None:
            raise unreachable(peer.circuit.reason)
        line = Line(peer, permission, timeout_s, fresh=fresh)
        try:
            await line.open()
            yield Session(peer, line, page=self._page, located=self._located)
        finally:
            permission.end()
            await line.close(keep=not exclusive)

    def circuit_open(self, endpoint: Endpoint) -> bool:
        """Return True if the peer's circuit is open."""
        peer = self._peers.get(self._key(endpoint))
        return peer is not None and peer.circuit.open

    def latency_s(self, endpoint: Endpoint) -> float | None:
        """Return the median of the latest Gets from this peer, in seconds. None if there are none."""
        peer = self._peers.get(self._key(endpoint))
        return peer.latencies.median_s() if peer else None

    def p95_s(self, endpoint: Endpoint) -> float | None:
        """Return the 95th percentile of the latest Gets from this peer, in seconds. None if there are none."""
        peer = self._peers.get(self._key(endpoint))
        return peer.latencies.p95_s() if peer else None

    def connections(self) -> Mapping[str, int]:
        """Return how many connections are open or being made now, by address."""
        counts = Counter[str]()
        for peer in self._peers.values():
            counts[peer.server.key] += peer.pool.idle + peer.pool.lent
        return counts

    def operations_per_day(self) -> Mapping[str, int]:
        """Return the operations of a day; see the port :class:`keystead.service.ports.probing.ServerTraffic`."""
        return self._sent.per_day()

    async def close(self) -> None:
        """Close the idle connections now, and the lent ones when they are returned. No more connections are lent."""
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
            peer = self._peers[key] = Peer(endpoint, resolver, self._contexts, self._sessions, self._sent, self._clock)
        self._peers.move_to_end(key)
        peer.used = self._clock()
        self._tidy_later()
        return peer

    def _key(self, endpoint: Endpoint) -> bytes:
        """Return a keyed digest that identifies a peer, so that its credential is not kept as a key."""
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

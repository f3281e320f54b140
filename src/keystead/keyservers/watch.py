"""The watch of one address: probes on new connections, and light checks on the connection that the last probe kept.

A light check is not a probe. It sends the cheapest request that the server is known to answer, and says only yes or no.
The next probe finds the reason. A new connection is made by a probe only, so each new connection resolves names and
checks addresses. This module decides nothing about states.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

from keystead.keyservers.contexts import KeyMismatchError
from keystead.keyservers.conversation import ask_lightly
from keystead.keyservers.lines import CLOSED, Line, Peer
from keystead.keyservers.object_session import Session
from keystead.keyservers.objects_faults import unreachable
from keystead.keyservers.probe import Probe
from keystead.kmip.transport.sessions import Sessions
from keystead.kmip.ttlv.enums import ResultReason
from keystead.kmip.ttlv.errors import KMIPError, OperationFailed
from keystead.service.ports.objects import Endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.server_address import ServerAddress
    from keystead.keyservers.contexts import ClientContext, Contexts
    from keystead.keyservers.resolve import Resolver
    from keystead.keyservers.traffic import SentOperations
    from keystead.kmip.client.client import Client


class Watch:
    """An implementation of :class:`keystead.service.ports.probing.Watch`.

    Make one call at a time. At most one connection stays open.
    """

    def __init__(
        self,
        server: ServerAddress,
        target: ProbeTarget,
        identity: TlsIdentity,
        resolver: Resolver,
        contexts: Contexts,
        sent: SentOperations,
    ) -> None:
        self._server = server
        self._target = target
        self._identity = identity
        self._resolver = resolver
        self._contexts = contexts
        self._sent = sent
        self._context: ClientContext | None = None  # kept alive so that other watches of the identity share it
        self._client: Client | None = None

    @property
    def server(self) -> ServerAddress:
        """The address."""
        return self._server

    @property
    def connected(self) -> bool:
        """True if a connection is kept."""
        return self._client is not None

    async def probe(self, limit_s: float) -> ProbeResult:
        """Probe on a new connection within ``limit_s`` seconds.

        The kept connection is closed first. If the server is accepted, the new connection is kept.
        """
        self.close()
        self._hold_context()
        probe = Probe(
            self._server,
            self._target,
            self._identity,
            self._resolver,
            self._contexts,
            keep=True,
            on_request=self._sent.to(self._server),
        )
        result = await probe.run(limit_s)
        self._client = probe.kept
        return result

    async def check(self, limit_s: float) -> bool:
        """Return True if the server answers on the kept connection within ``limit_s`` seconds. False without one."""
        if self._client is None:
            return False
        try:
            await ask_lightly(self._client, limit_s)
        except OperationFailed as failure:
            answered = failure.reason == ResultReason.OPERATION_NOT_SUPPORTED
        except KMIPError:
            answered = False
        else:
            answered = True
        if not answered:
            self.close()
        return answered

    @contextlib.asynccontextmanager
    async def session(self, limit_s: float) -> AsyncIterator[Session]:
        """Yield a session on the kept connection. Each operation ends within ``limit_s`` seconds.

        If the connection fails, every operation raises KeyServerFault, and the next light check fails, too.
        """
        if self._client is None:
            raise unreachable(CLOSED)
        endpoint = Endpoint("", "", self._server, self._target, self._identity)
        peer = Peer(endpoint, self._resolver, self._contexts, Sessions(), self._sent)
        line = Line.over(peer, self._client, limit_s)
        try:
            yield Session(peer, line)
        finally:
            await line.close()
            peer.pool.close()

    def close(self) -> None:
        """Close the kept connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _hold_context(self) -> None:
        if self._context is None:
            with contextlib.suppress(KeyMismatchError, ssl.SSLError, ValueError):  # the probe reports it
                self._context = self._contexts.get(self._identity)

"""The watch of one address: probes on fresh connections, and light checks on the connection that the last one left.

A light check is no probe: it asks the cheapest question that the server is known to answer, on a kept-alive connection,
and says yes or no; why not is for the next probe to find out. Names are resolved and addresses checked at each probe,
which is the only way to a new connection. It decides nothing about states.
"""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING

from keystead.keyservers.contexts import KeyMismatchError
from keystead.keyservers.conversation import ask_lightly
from keystead.keyservers.probe import Probe
from keystead.kmip.ttlv.enums import ResultReason
from keystead.kmip.ttlv.errors import KMIPError, OperationFailed

if TYPE_CHECKING:
    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.server_address import ServerAddress
    from keystead.keyservers.contexts import ClientContext, Contexts
    from keystead.keyservers.resolve import Resolver
    from keystead.kmip.client.client import Client


class Watch:
    """Implements :class:`keystead.service.ports.store.Watch`. One call at a time; at most one connection stays open."""

    def __init__(
        self, server: ServerAddress, target: ProbeTarget, identity: TlsIdentity, resolver: Resolver, contexts: Contexts
    ) -> None:
        self._server = server
        self._target = target
        self._identity = identity
        self._resolver = resolver
        self._contexts = contexts
        self._context: ClientContext | None = None  # held, so that the other watches of the identity share it
        self._client: Client | None = None

    @property
    def connected(self) -> bool:
        """Whether a connection is kept."""
        return self._client is not None

    async def probe(self, limit_s: float) -> ProbeResult:
        """Probe on a fresh connection within ``limit_s`` seconds; it replaces the kept one, whatever comes of it."""
        self.close()
        self._hold_context()
        probe = Probe(self._server, self._target, self._identity, self._resolver, self._contexts, keep=True)
        result = await probe.run(limit_s)
        self._client = probe.kept
        return result

    async def check(self, limit_s: float) -> bool:
        """Whether the server answers on the kept connection within ``limit_s`` seconds; False when there is none."""
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

    def close(self) -> None:
        """Close the kept connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _hold_context(self) -> None:
        if self._context is None:
            with contextlib.suppress(KeyMismatchError, ssl.SSLError, ValueError):  # the probe says so
                self._context = self._contexts.get(self._identity)

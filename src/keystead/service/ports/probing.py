"""Key servers as they are probed and watched."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractAsyncContextManager

    from keystead.core.probing import ProbeResult, ProbeTarget, TlsIdentity
    from keystead.core.server_address import ServerAddress
    from keystead.service.ports.objects import ObjectSession


class Watch(Protocol):
    """One address of a key server, looked at again and again. One call at a time."""

    @property
    def connected(self) -> bool:
        """True while a connection is kept."""
        ...

    async def check(self, limit_s: float) -> bool:
        """Return True if the server answers a light request on the kept connection; else close the connection."""
        ...

    async def probe(self, limit_s: float) -> ProbeResult:
        """Probe on a fresh connection, and keep it if the server is accepted. Ends within ``limit_s`` seconds."""
        ...

    def session(self, limit_s: float) -> AbstractAsyncContextManager[ObjectSession]:
        """Lend the kept connection for operations on objects, each within ``limit_s`` seconds. No probe meanwhile.

        Raises KeyServerFault (``unreachable``) if no connection is kept.
        """
        ...

    def close(self) -> None:
        """Close the kept connection."""
        ...


class ServerTraffic(Protocol):
    """Connections to addresses of key servers, and the KMIP operations on them, of one part of this process."""

    def connections(self) -> Mapping[str, int]:
        """Return how many connections are open now, by address (:attr:`ServerAddress.key`). Call it on the loop."""
        ...

    def operations_per_day(self) -> Mapping[str, int]:
        """Return the operations that were sent in the last 24 hours, by address. Call it on the loop.

        If the first one was sent less than 24 hours ago, the number since then is scaled up to a day.
        """
        ...


class KeyServerGateway(Protocol):
    """The key servers themselves."""

    def can_use(self, identity: TlsIdentity) -> bool:
        """Return True if TLS accepts this certificate, its key and its intermediates."""
        ...

    def watch(self, server: ServerAddress, target: ProbeTarget, identity: TlsIdentity) -> Watch:
        """Return the watch of one address: a target's primary or one of its secondaries."""
        ...

    async def probe_all(
        self, targets: Sequence[ProbeTarget], identity: TlsIdentity, deadline_s: float, *, account: str
    ) -> list[ProbeResult]:
        """Probe every target and its secondaries at once and return one result per target, in order.

        ``account`` is who asks: what its probes hold back by hanging is its own probes only.
        Never raises for what a peer does; ends within ``deadline_s`` seconds.
        """
        ...

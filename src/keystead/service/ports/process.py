"""The process itself: its clock, its metrics and its listener."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.availability import UsedCertificate


class Telemetry(Protocol):
    """The counters and measurements of this process."""

    def answered(self, method: str, status: int) -> None: ...
    def refused(self, reason: str) -> None: ...
    def pushed(self, outcome: str) -> None: ...
    async def exposition(self) -> tuple[bytes, str]:
        """Return all metrics as text, and its media type."""
        ...


class Clock(Protocol):
    """The time, an argument of everything that depends on it."""

    def now(self) -> datetime: ...
    def monotonic(self) -> float: ...


class ListenerTls(NamedTuple):
    """The TLS that the listener offers: names of versions, the newest first, and IANA's names of suites."""

    protocol_versions: tuple[str, ...]
    cipher_suites: tuple[str, ...]


class NodeFacts(NamedTuple):
    """The facts that this node knows of itself.

    ``engine`` is the database's, with the schema ``revision``. ``folder`` is the data directory, made at ``made``, with
    ``free`` of ``size`` bytes of its file system. ``last_backup`` is None without one; ``makes_bundles``: the database
    has backups of its own. ``reads_wait``: audit records of reads wait in the spool. ``simulated`` are names of
    settings; ``allows_loopback``: key servers may be on this host.
    """

    uuid: str
    engine: str
    revision: str
    folder: str
    made: datetime
    free: int
    size: int
    last_backup: datetime | None
    makes_bundles: bool
    reads_wait: bool
    simulated: tuple[str, ...]
    allows_loopback: bool


class ListenerFacts(NamedTuple):
    """The HTTPS listener: its address, the certificate that new connections see, and how many of ``most`` it has."""

    address: str
    certificate: UsedCertificate
    connections: int
    most: int

"""Forwarding: rows of destinations and filters, the logs to read, and the way out to a destination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from keystead.core.forwarding.destinations import Destination, Log
    from keystead.core.forwarding.filters import Filter
    from keystead.core.model import AuditRecord, Event
    from keystead.core.probing import TlsIdentity


class DestinationRows(Protocol):
    """Destinations, and filters of events."""

    def destinations(self, log: Log | None = None) -> tuple[Destination, ...]:
        """Return the destinations of a log, or all, by log and name."""
        ...

    def destination(self, log: Log, name: str, *, lock: bool = False) -> Destination | None: ...

    def put_destination(self, destination: Destination) -> None:
        """Store a destination: a new one, or other values of the one with this name."""
        ...

    def delete_destination(self, log: Log, name: str) -> None: ...

    def event_filters(self) -> tuple[Filter, ...]:
        """Return the filters that administrators made, by name."""
        ...

    def put_event_filter(self, filter_: Filter) -> None:
        """Store a filter: a new one, or other rules of the one with this name."""
        ...

    def delete_event_filter(self, name: str) -> None: ...


class LogRows(Protocol):
    """The logs of all nodes, in the order in which each node wrote."""

    def log_heads(self, log: Log) -> Mapping[str, int]:
        """Return the index of the newest entry in each node's log, by the node's uuid."""
        ...

    def audit_records(self, node: str, after: int, limit: int) -> tuple[AuditRecord, ...]: ...
    def events_after(self, node: str, after: int, limit: int) -> tuple[Event, ...]: ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where messages are sent to. ``authorities`` are PEM texts of CAs that are trusted besides the system's.

    ``path`` is that of a webhook, empty for syslog. ``client`` is the certificate that is shown, if any. ``verify``:
    the server must show a certificate of its name from a trusted CA. With ``pin`` it must show the certificate with
    this SHA-256 fingerprint (hexadecimal digits) instead. ``proxies`` are networks from which it expects a header of
    the PROXY protocol.
    """

    host: str
    port: int
    tls: bool
    verify: bool = True
    path: str = ""
    authorities: tuple[str, ...] = ()
    client: TlsIdentity | None = None
    pin: str = ""
    proxies: tuple[str, ...] = ()


class Undelivered(Exception):  # noqa: N818 - named as what happened, like a Refusal
    """Messages were not taken. ``reason`` may be shown and logged; the first ``delivered`` ones were taken."""

    def __init__(self, reason: str, delivered: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.delivered = delivered


class Sender(Protocol):
    """The way out to destinations."""

    async def send(self, endpoint: Endpoint, messages: Sequence[bytes]) -> None:
        """Send messages in order, and return when the server has taken all of them. Ends in a bounded time.

        Raises Undelivered.
        """
        ...


class DeliveryTelemetry(Protocol):
    """The counters of forwarding, by log and name of the destination."""

    def delivered(self, log: str, name: str, count: int) -> None: ...
    def undelivered(self, log: str, name: str) -> None: ...
    def dropped(self, log: str, name: str, count: int) -> None: ...

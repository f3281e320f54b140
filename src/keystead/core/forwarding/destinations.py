"""Destinations: hosts outside to which the audit log or the events are forwarded. Pure.

A destination has no messages of its own: audit records and events are stored in order anyway, each with an index on its
node. So a destination only knows, for each node, the index of the last one that it got.

Source: ONTAP REST API reference, ``/security/audit/destinations`` and ``/support/ems/destinations``. UDP, ``http``,
mail and SNMP are not served, because none of them says whether a message arrived, or keeps it secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.events import MAX_EVENTS
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime


class Log(StrEnum):
    """A log whose entries are forwarded: audit records or events."""

    AUDIT = "audit"
    EVENTS = "events"


class Protocol(StrEnum):
    """How messages are sent: syslog (RFC 5424) over TCP or TLS, or one HTTPS request for each."""

    TCP = "tcp_unencrypted"
    TLS = "tcp_encrypted"
    WEBHOOK = "rest_api"


MOST_WAITING: Final = 100_000
"""Most messages that wait for a destination, in all nodes' logs. What is older is not sent any more, but counted."""

KEPT: Final = {Log.AUDIT: MOST_WAITING, Log.EVENTS: MAX_EVENTS}
"""Most messages of one node's log that can wait. Older events are deleted."""

MOST_DESTINATIONS: Final = 20
"""Most destinations of a log."""

URL_LIMIT: Final = 2048
"""The greatest length of a webhook's URL in characters."""

FACILITIES: Final = {"kern": 0, "user": 1, "daemon": 3} | {f"local{number}": 16 + number for number in range(8)}
"""Facilities of syslog, by ONTAP's names (RFC 5424 section 6.2.1)."""

_PORTS: Final = {Protocol.TCP: 514, Protocol.TLS: 6514, Protocol.WEBHOOK: 443}
_URL: Final = re.compile(r"[!-~]+", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9_])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a destination has got. ``cursors`` are the indexes of the last messages that it got, by node (uuid).

    ``failing_since`` and ``reason`` tell of a failure that lasts. ``dropped`` counts messages that were never sent.
    """

    cursors: Mapping[str, int] = field(default_factory=dict)
    failing_since: datetime | None = None
    reason: str = ""
    dropped: int = 0
    dropped_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Destination:
    """A destination. ``name`` is unique among those of its log.

    ``url`` is a webhook's, as it was written, else empty. ``certificate`` is the uuid of the client certificate that
    the webhook is shown, or empty. ``filters`` are the names of the filters that choose events.
    """

    log: Log
    name: str
    protocol: Protocol
    host: str
    port: int
    url: str = ""
    facility: str = "user"
    verify_server: bool = True
    certificate: str = ""
    filters: tuple[str, ...] = ()
    progress: Progress = field(default_factory=Progress)

    @property
    def address(self) -> str:
        """Host and port. A webhook's path stays out of logs, records and events, because it may be a secret."""
        return str(ServerAddress(self.host, self.port))

    @property
    def path(self) -> str:
        """The path and query of a webhook's request; empty for syslog."""
        parts = urlsplit(self.url)
        return self.url and (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def audit_name(address: str, port: int) -> str:
    """Return the name of an audit destination. Raises ValueError if the address is none."""
    return ServerAddress.parse_host(address, port).key


def audit_destination(values: Mapping[str, Any]) -> Destination:
    """Return the destination that the body of a POST describes. ONTAP does not verify servers unless it is asked to."""
    protocol = Protocol(values.get("protocol", Protocol.TCP))
    host = _host(values["address"], "address")
    port = values.get("port", _PORTS[protocol])
    made = Destination(Log.AUDIT, audit_name(host, port), protocol, host, port, verify_server=False)
    return changed_audit_destination(made, values)


def changed_audit_destination(destination: Destination, values: Mapping[str, Any]) -> Destination:
    """Return an audit destination with the values of a body. Raises 262185."""
    verify = values.get("verify_server", destination.verify_server)
    if verify and destination.protocol is not Protocol.TLS:
        raise _invalid("verify_server", "only a server of tcp_encrypted shows a certificate")
    return replace(destination, verify_server=verify, facility=values.get("facility", destination.facility))


def event_destination(values: Mapping[str, Any]) -> Destination:
    """Return the destination of events that the body of a POST describes."""
    name = values["name"]
    if not _NAME.fullmatch(name):
        raise OntapError(errors.EMS_NAME_INVALID, target="name")
    protocol = Protocol.WEBHOOK if values["type"] == Protocol.WEBHOOK else Protocol.TCP
    made = Destination(Log.EVENTS, name, protocol, "", 0, facility="daemon")
    return changed_event_destination(made, values)


def changed_event_destination(destination: Destination, values: Mapping[str, Any]) -> Destination:
    """Return a destination of events with the values of a body."""
    if "filters" in values:
        destination = replace(destination, filters=tuple(each["name"] for each in values["filters"]))
    if destination.protocol is not Protocol.WEBHOOK:
        return _changed_syslog(destination, values)
    if values.get("syslog"):
        raise OntapError(errors.EMS_NOT_OF_TYPE, target="syslog")
    return _changed_webhook(destination, values["destination"]) if "destination" in values else destination


def _changed_syslog(destination: Destination, values: Mapping[str, Any]) -> Destination:
    syslog = values.get("syslog", {})
    if values.get("certificate"):
        raise OntapError(errors.EMS_CERTIFICATE_NOT_OF_TYPE, target="certificate")
    protocol = Protocol(syslog.get("transport", destination.protocol))
    usual = destination.port or _PORTS[protocol]
    host = _host(values["destination"], "destination") if "destination" in values else destination.host
    return replace(destination, protocol=protocol, host=host, port=syslog.get("port", usual))


def _changed_webhook(destination: Destination, url: str) -> Destination:
    """Return the destination with another URL. A password in it is refused: it would be shown to every reader."""
    if not url.lower().startswith("https://"):
        raise OntapError(errors.EMS_URL_SCHEME, target="destination")
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS[Protocol.WEBHOOK]
        if not _URL.fullmatch(url) or len(url) > URL_LIMIT or "@" in parts.netloc or "#" in url:
            raise ValueError
        host = ServerAddress.parse_host(parts.hostname or "", port).host
    except ValueError:
        raise OntapError(errors.EMS_URL_INVALID, target="destination") from None
    return replace(destination, host=host, port=port, url=url)


def check_new(destination: Destination, others: Collection[Destination]) -> None:
    """Raise 1 (409) for a destination whose name another one of its log has, 983117 if there are too many."""
    if any(each.name == destination.name for each in others):
        raise OntapError(errors.DUPLICATE_ENTRY, target="address" if destination.log is Log.AUDIT else "name")
    if len(others) >= MOST_DESTINATIONS:
        raise OntapError(errors.DESTINATION_LIMIT)


def cursors_in(progress: Progress, heads: Mapping[str, int]) -> dict[str, int]:
    """Return the cursor of each node's log. ``heads`` are the indexes of the newest messages.

    A cursor beyond the log is of another database, before a restore: there the log is new.
    """
    cursors = {node: progress.cursors.get(node, 0) for node in heads}
    return {node: cursor if cursor <= heads[node] else 0 for node, cursor in cursors.items()}


def skipped(log: Log, cursors: Mapping[str, int], heads: Mapping[str, int]) -> tuple[dict[str, int], int]:
    """Return the cursors without what waits beyond the limits, and how many messages are dropped by that.

    The nodes' logs share :data:`MOST_WAITING` equally.
    """
    most = min(KEPT[log], MOST_WAITING // max(len(heads), 1))
    kept = {node: max(cursor, heads[node] - most) for node, cursor in cursors.items()}
    return kept, sum(kept.values()) - sum(cursors.values())


def _host(text: str, field_: str) -> str:
    try:
        return ServerAddress.parse_host(text, _PORTS[Protocol.TCP]).host
    except ValueError as error:
        raise _invalid(field_, str(error)) from None


def _invalid(field_: str, reason: str) -> OntapError:
    return OntapError(errors.INVALID_VALUE, target=field_, field=field_, reason=reason)

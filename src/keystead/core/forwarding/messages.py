"""Audit records and events as messages: syslog (RFC 5424), and the JSON body of a webhook. Pure.

A message says what the API shows, with the same masks. A syslog message is one line; ``sequenceId`` (RFC 5424 section
7.3.1) is the index on the node, by which a receiver finds what it got twice, or lacks.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Final

from keystead.core import events
from keystead.core.audit import application_of, call_of, cleaned
from keystead.core.forwarding.destinations import FACILITIES, Protocol
from keystead.core.model import Event

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.forwarding.destinations import Destination
    from keystead.core.model import AuditRecord

TEXT_LIMIT: Final = 2048
"""Most characters of an audit record's input, and of an event's text: receivers cut messages above 8 KiB."""

_SEVERITIES: Final = {"emergency": 0, "alert": 1, "error": 3, "notice": 5, "informational": 6, "debug": 7}
_OF_STATES: Final = {"success": 6, "error": 4}
_NOT_IN_HEADER: Final = re.compile(r"[^!-~]", re.ASCII)
_SEQUENCE: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Message:
    """An entry of a log, to be sent as one line of syslog. ``node`` is the name of the node that wrote it."""

    time: datetime
    node: str
    index: int
    severity: int
    id: str
    text: str


def of_record(record: AuditRecord, node: str) -> Message:
    """Return the message of an audit record: JSON with the names of ``/security/audit/messages``."""
    shown = {
        "index": record.index,
        "timestamp": record.timestamp.astimezone(UTC).isoformat(),
        "node": node,
        "application": application_of(record),
        "location": record.location,
        "user": record.account,
        "role": record.role,
        "input": cleaned(call_of(record), TEXT_LIMIT),
        "state": record.state,
        "code": record.code,
        "message": record.message,
        "scope": "svm" if record.svm_uuid else "cluster",
        "svm": record.svm,
    }
    text = json.dumps({name: value for name, value in shown.items() if value}, separators=(",", ":"))
    return Message(record.timestamp, node, record.index, _OF_STATES.get(record.state, 5), "audit", text)


def of_event(event: Event, node: str, link: str = "") -> Message:
    """Return the message of an event: its name and its sentence, as accounts of the cluster see it, and the link."""
    text = cleaned(f"{event.name}: {events.sentence(event, whole_cluster=True)}", TEXT_LIMIT)
    severity = _SEVERITIES.get(event.severity, 5)
    return Message(event.time, node, event.index, severity, event.name, f"{text} See {link}" if link else text)


def syslog(message: Message, facility: str) -> bytes:
    """Return a message in the form of RFC 5424, without a frame."""
    time = message.time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    head = f"<{8 * FACILITIES[facility] + message.severity}>1 {time} {_word(message.node, 255)} {events.SOURCE} -"
    sequence = (message.index - 1) % _SEQUENCE + 1
    data = f'[meta sequenceId="{sequence}"]'
    return f"{head} {_word(message.id, 32)} {data} {message.text}".encode(errors="replace")


def webhook(event: Event, node: str, link: str = "") -> bytes:
    """Return the body of a webhook's request: JSON with the names of ``/support/ems/events``, and the link if any."""
    body = {
        "node": {"name": node, "uuid": event.node},
        "index": event.index,
        "time": event.time.astimezone(UTC).isoformat(),
        "message": {"name": event.name, "severity": event.severity},
        "parameters": [{"name": name, "value": value} for name, value in events.shown(event, whole_cluster=True)],
        "log_message": of_event(event, node).text,
        "source": events.SOURCE,
        **({"link": link} if link else {}),
    }
    return json.dumps(body, separators=(",", ":")).encode()


def written(found: AuditRecord | Event, node: str, destination: Destination, link: str = "") -> bytes:
    """Return what is sent to a destination. ``node`` is the name of the node that wrote it.

    ``link`` is the URL of the console's page that explains an event; empty for none.
    """
    if not isinstance(found, Event):
        return syslog(of_record(found, node), destination.facility)
    if destination.protocol is Protocol.WEBHOOK:
        return webhook(found, node, link)
    return syslog(of_event(found, node, link), destination.facility)


def _word(text: str, limit: int) -> str:
    """Return a text as a field of a header: printable ASCII without blanks, ``-`` for nothing."""
    return _NOT_IN_HEADER.sub("_", text)[:limit] or "-"

"""What the pages of events and of the audit log show: their lists, filters and places, and the chains' state. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.core.audit import place
from keystead.core.console_paths import EVENTS
from keystead.core.query.where import Condition, Op, Order
from keystead.service.ports.page import Page
from keystead.web.lists import AFTER, FROM, UNTIL, choice_of, contains, equals, path_with, text_of, within_times
from keystead.web.rendering import counted
from keystead.web.tones import Tone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.query.where import Where
    from keystead.service.audit.chains import Chains, ChainState
    from keystead.service.audit.messages import AuditMessage
    from keystead.service.cluster.events import EventView

AUDIT: Final = "/audit"
"""The paths of the lists."""

SEVERITIES: Final = {
    "emergency": Tone.BAD,
    "alert": Tone.BAD,
    "error": Tone.WARN,
    "notice": Tone.OK,
    "informational": Tone.OK,
    "debug": Tone.UNKNOWN,
}
"""The tone of each severity, the worst first."""

OUTCOMES: Final = {"success": (Tone.OK, "done"), "error": (Tone.BAD, "refused")}
"""The tone and the word of each outcome of a call."""

_NEWEST: Final = (Order("key", descending=True),)
_EVENT_FILTER: Final = ("severity", "svm", "text", FROM, UNTIL)
_AUDIT_FILTER: Final = ("state", "account", "svm", "text", FROM, UNTIL)


@dataclass(frozen=True, slots=True)
class EventRow:
    """An event in the list. ``owner`` is whose key servers and certificates it is about."""

    of: EventView
    tone: Tone
    owner: str


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A record in the list. ``said`` is what was done or why it was refused, ``call`` the call's method and path."""

    of: AuditMessage
    tone: Tone
    word: str
    who: str
    said: str
    call: str


# --- events ---


def event_page(asked: Mapping[str, str], limit: int) -> Page:
    """Return the slice of the events that is asked for, the newest first. Raises 262185 (400) for a bad parameter."""
    where = (
        *equals("severity", choice_of(asked, "severity", SEVERITIES)),
        *_of_svm(asked, "svm_name"),
        *contains(text_of(asked, "text"), "name", "log_message"),
        *within_times(asked, "time"),
    )
    return _newest(where, asked, limit)


def event_values(asked: Mapping[str, str]) -> dict[str, str]:
    """Return what the form of the events was filled with."""
    return {name: asked.get(name, "") for name in _EVENT_FILTER}


def event_row(view: EventView) -> EventRow:
    """Return an event as a row."""
    event = view.event
    owner = event.svm.name if event.svm else dict(view.parameters).get("vserver", "the cluster")
    return EventRow(view, SEVERITIES.get(event.severity, Tone.UNKNOWN), owner)


def older_events(asked: Mapping[str, str], last: EventView) -> str:
    """Return the path of the page that follows the event."""
    return path_with(EVENTS, {**event_values(asked), AFTER: last.event.key})


# --- the audit log ---


def audit_page(asked: Mapping[str, str], limit: int) -> Page:
    """Return the slice of the records that is asked for, the newest first. Raises 262185 (400) for a bad parameter."""
    where = (
        *equals("state", choice_of(asked, "state", OUTCOMES)),
        *equals("account", text_of(asked, "account")),
        *_of_svm(asked, "svm"),
        *contains(text_of(asked, "text"), "message", "path"),
        *within_times(asked, "timestamp"),
    )
    return _newest(where, asked, limit)


def audit_values(asked: Mapping[str, str]) -> dict[str, str]:
    """Return what the form of the audit log was filled with."""
    return {name: asked.get(name, "") for name in _AUDIT_FILTER}


def audit_row(message: AuditMessage) -> AuditRow:
    """Return a record as a row. A record without an account is one of the service itself."""
    record = message.record
    tone, word = OUTCOMES.get(record.state, (Tone.UNKNOWN, record.state))
    call = f"{record.method} {record.path}".strip()
    return AuditRow(message, tone, word, record.account or "the service itself", record.message or call, call)


def older_records(asked: Mapping[str, str], last: AuditMessage) -> str:
    """Return the path of the page that follows the record."""
    return path_with(AUDIT, {**audit_values(asked), AFTER: place(last.record)})


def _newest(where: Where, asked: Mapping[str, str], limit: int) -> Page:
    after = text_of(asked, AFTER)
    return Page(where, _NEWEST, (after,) if after else None, limit=limit)


def _of_svm(asked: Mapping[str, str], column: str) -> Where:
    """Return the condition on the SVM's name. In it ``*`` stands for any characters."""
    name = text_of(asked, "svm")
    if "*" in name:
        return ((Condition(column, Op.LIKE, tuple(name.split("*"))),),)
    return equals(column, name)


# --- the chains ---


@dataclass(frozen=True, slots=True)
class ChainRow:
    """The chain of a node in words."""

    node: str
    tone: Tone
    word: str
    sentence: str


def chain_rows(found: Chains) -> list[ChainRow]:
    """Return the chains, the worst first."""
    made = [_chain_row(each) for each in found.chains]
    return sorted(made, key=lambda row: (row.tone.order, row.node))


def _chain_row(of: ChainState) -> ChainRow:
    node, report = of.name or f"{of.node} (gone)", of.report
    removed = f" R{str(of.cut)[1:]}." if of.cut else ""
    if report is None:
        sentence = f"It has {counted(of.records - of.removed, 'record')}.{removed}"
        return ChainRow(node, Tone.UNKNOWN, "not verified", sentence)
    if not report.intact:
        before = counted(max(report.records - of.removed, 0), "record")
        sentence = f"Record {report.broken_at} {report.reason}. {before} before it are as written.{removed}"
        return ChainRow(node, Tone.BAD, "broken", sentence)
    later = of.records - report.records
    since = f" {counted(later, 'record')} came later." if later > 0 else ""
    sentence = f"Verified up to record {report.records:,}, with MAC {report.mac.hex()[:16]}….{since}{removed}"
    return ChainRow(node, Tone.OK, "intact", sentence)

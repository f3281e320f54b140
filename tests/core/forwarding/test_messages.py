"""keystead.core.forwarding.messages: RFC 5424 and JSON, with nothing that could forge a line."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from keystead.core import events
from keystead.core.forwarding.destinations import Destination, Log, Protocol
from keystead.core.forwarding.messages import TEXT_LIMIT, of_event, of_record, syslog, webhook, written
from keystead.core.model import AuditRecord, Svm

NOON = datetime(2026, 3, 4, 13, 0, 0, 5, tzinfo=timezone(timedelta(hours=1)))
RECORD = AuditRecord(
    node="u1",
    index=7,
    timestamp=NOON,
    account="admin",
    location="192.0.2.1",
    svm="vs0",
    method="POST",
    path="/api/svm/svms",
    input='{"name":"vs0"}',
    state="success",
    code="",
    message="created",
    role="admin",
    svm_uuid="s1",
)
EVENT = replace(
    events.NOT_AVAILABLE.happened(
        "u1",
        NOON,
        Svm("s1", "vs0"),
        {
            "vserver": "vs0",
            "address": "ks:5696",
            "keyserver_status": "not_responding",
            "node_states": "n1: not_responding",
            "stage": "connect",
            "reason": "refused",
        },
    ),
    index=3,
)

# RFC 5424 section 6, with the header's fields as groups.
LINE = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\S+) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) (?P<proc>[!-~]{1,128}) "
    rb"(?P<id>[!-~]{1,32}) (?P<data>\[meta sequenceId=\"\d{1,10}\"\]) (?P<text>[^\x00-\x1f\x7f]*)"
)


def fields(line: bytes) -> dict[str, str]:
    """Return the fields of a message, which must be one line of RFC 5424."""
    found = LINE.fullmatch(line)
    assert found, line
    return {name: value.decode() for name, value in found.groupdict().items()}


def test_an_audit_record_as_syslog() -> None:
    """Facility and severity, UTC, node, and the record as JSON with the names of the API."""
    line = fields(syslog(of_record(RECORD, "node-1"), "local3"))
    assert line["pri"] == str(8 * 19 + 6)
    assert line["time"] == "2026-03-04T12:00:00.000005Z"
    assert (line["host"], line["app"], line["proc"], line["id"]) == ("node-1", "keystead", "-", "audit")
    assert line["data"] == '[meta sequenceId="7"]'
    assert json.loads(line["text"]) == {
        "index": 7,
        "timestamp": "2026-03-04T12:00:00.000005+00:00",
        "node": "node-1",
        "application": "http",
        "location": "192.0.2.1",
        "user": "admin",
        "role": "admin",
        "input": 'POST /api/svm/svms : {"name":"vs0"}',
        "state": "success",
        "message": "created",
        "scope": "svm",
        "svm": "vs0",
    }


@pytest.mark.parametrize(("state", "severity"), [("success", 6), ("error", 4)])
def test_severities_of_records(state: str, severity: int) -> None:
    """A refusal is a warning."""
    assert fields(syslog(of_record(replace(RECORD, state=state), "n"), "user"))["pri"] == str(8 + severity)


def test_an_event_as_syslog() -> None:
    """Its name is the message's id; the sentence is that for accounts of the cluster."""
    line = fields(syslog(of_event(EVENT, "node-1"), "daemon"))
    assert (line["pri"], line["id"]) == (str(8 * 3 + 1), "km.keyserver.notavailable")
    assert line["text"].startswith("km.keyserver.notavailable: The external key management server ")
    assert 'reason "refused"' in line["text"]


def test_an_event_for_a_webhook() -> None:
    """The names of ``/support/ems/events``."""
    body = json.loads(webhook(EVENT, "node-1"))
    assert body["message"] == {"name": "km.keyserver.notavailable", "severity": "alert"}
    assert body["node"] == {"name": "node-1", "uuid": "u1"}
    assert {"name": "reason", "value": "refused"} in body["parameters"]
    assert (body["index"], body["source"]) == (3, "keystead")
    assert body["log_message"] == of_event(EVENT, "node-1").text


def test_a_link_comes_with_an_event() -> None:
    """At the end of the text, also of a long one, or as a field of its own; without an address there is none."""
    link = "https://keys.example.com/events"
    long = replace(EVENT, log_message="x" * 2 * TEXT_LIMIT)
    syslog_to = Destination(Log.EVENTS, "d", Protocol.TCP, "h", 1, facility="daemon")
    assert fields(written(long, "n", syslog_to, link))["text"].endswith(f" See {link}")
    webhook_to = replace(syslog_to, protocol=Protocol.WEBHOOK)
    body = json.loads(written(EVENT, "n", webhook_to, link))
    assert body["link"] == link
    assert link not in body["log_message"]
    assert "link" not in json.loads(written(EVENT, "n", webhook_to))
    assert "See" not in fields(written(EVENT, "n", syslog_to))["text"]


@pytest.mark.parametrize("text", ["a\nb", "\r\n<0>1 forged", "\x1b[31m", "\u2028x", "a\tb", '"]}'])
def test_a_caller_forges_no_line(text: str) -> None:
    """A message is one line, whatever a record or event holds."""
    record = replace(RECORD, account=text, input=text, path=text, message=text, svm=text)
    assert json.loads(fields(syslog(of_record(record, text), "user"))["text"])["user"] == text
    assert fields(syslog(of_event(replace(EVENT, log_message=text), text), "user"))


def test_a_large_record_stays_small_enough_for_receivers() -> None:
    """Rsyslog cuts messages at 8 KiB."""
    line = syslog(of_record(replace(RECORD, input='"' * 8192), "n"), "user")
    assert TEXT_LIMIT < len(line) < 8192


def test_sequence_numbers_begin_again_after_the_last() -> None:
    """RFC 5424 section 7.3.1: at most 2147483647, then 1."""
    numbers = {index: f'"{number}"' for index, number in ((2**31 - 1, 2**31 - 1), (2**31, 1), (1, 1))}
    for index, number in numbers.items():
        assert number in fields(syslog(of_record(replace(RECORD, index=index), "n"), "user"))["data"]


def test_names_that_a_header_cannot_hold() -> None:
    """Blanks and other characters are replaced, nothing is ``-``."""
    assert fields(syslog(of_record(RECORD, "node \N{SNOWMAN}"), "user"))["host"] == "node__"
    assert fields(syslog(of_record(RECORD, ""), "user"))["host"] == "-"


@pytest.mark.parametrize("protocol", list(Protocol))
def test_each_destination_gets_its_form(protocol: Protocol) -> None:
    """JSON for webhooks, syslog for all else."""
    to = Destination(Log.EVENTS, "d", protocol, "h", 1, facility="daemon")
    assert written(EVENT, "n", to).startswith(b"{" if protocol is Protocol.WEBHOOK else b"<25>1 ")
    audit = Destination(Log.AUDIT, "d", Protocol.TCP, "h", 1)
    assert written(RECORD, "n", audit).startswith(b"<14>1 ")
    assert written(replace(RECORD, timestamp=NOON.astimezone(UTC)), "n", audit) == written(RECORD, "n", audit)

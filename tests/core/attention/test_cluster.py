"""What is wrong with the cluster and with a node, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.attention.cluster import (
    BACKUP_DUE,
    DROPPED_SHOWN,
    backup_items,
    certificate_items,
    destination_items,
    destruction_items,
    disk_items,
    node_items,
    retention_items,
    setting_items,
    spool_items,
)
from keystead.core.attention.items import Item, Severity, Subject, worst_first
from keystead.core.availability import SILENT_AFTER, UsedCertificate
from keystead.core.forwarding.destinations import Destination, Log, Progress, Protocol
from keystead.core.keys.model import Incarnation
from keystead.core.model import ONTAP_LEVEL, Node

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


def certificate(days: float, *, key_server: str = "", type_: str = "client") -> UsedCertificate:
    """Return a certificate of a year that ends in so many days."""
    ends = NOON + days * DAY
    return UsedCertificate("cn", "3F", "CA", type_, None, "vs0", ends, key_server, ends - 365 * DAY)


@pytest.mark.parametrize(
    ("days", "said", "since"),
    [
        (-1, "It ended on 2026-02-28 12:00 UTC.", NOON - DAY),
        (0, "It ended on 2026-03-01 12:00 UTC.", NOON),
        (30, "It ends on 2026-03-31 12:00 UTC.", NOON),
        (30.01, "", None),
    ],
)
def test_certificates_that_end(days: float, said: str, since: datetime | None) -> None:
    """From 30 days before the end; each names its serial number and issuer."""
    found = list(certificate_items([certificate(days)], NOON))
    assert [item.since for item in found] == ([since] if said else [])
    assert [item.reason for item in found] == (
        [f"{said} It is installed here: serial number 3F, issued by CA."] if said else []
    )


@pytest.mark.parametrize(
    ("used", "whose", "command"),
    [
        (
            certificate(1, key_server="ks1:5696", type_="server"),
            "The key server ks1:5696 shows it",
            "keystead security key-manager external probe",
        ),
        (certificate(1, type_="server"), "The HTTPS listener shows it", "keystead serve --help"),
        (certificate(1, type_="server_ca"), "It is installed here", "keystead security certificate show"),
    ],
)
def test_whose_certificate_it_is(used: UsedCertificate, whose: str, command: str) -> None:
    """Said in words; a certificate that is used twice is one item."""
    (item,) = certificate_items([used, used], NOON)
    assert item.command.startswith(command)
    assert whose in item.reason


def test_nodes_that_are_silent() -> None:
    """Since their last sign of life."""
    silent = NOON - SILENT_AFTER - timedelta(seconds=1)
    nodes = [Node("1", "node1", ONTAP_LEVEL, NOON), Node("2", "node2", ONTAP_LEVEL, silent)]
    (found,) = node_items(nodes)
    assert (found.name, found.since, found.identifier) == ("node2", silent, "2")
    assert found.advice.startswith("Start it again")


def test_nodes_that_were_stopped() -> None:
    """Whenever they were heard last."""
    (found,) = node_items([Node("1", "node1", ONTAP_LEVEL, NOON), Node("2", "node2", ONTAP_LEVEL, NOON, has_left=True)])
    assert (found.name, found.reason.partition(".")[0]) == ("node2", "The node was stopped")


def test_nodes_that_are_starting() -> None:
    """Are not to be started once more. One without others is not silent, so it is not listed."""
    starting = Node("2", "node2", ONTAP_LEVEL, NOON - DAY, starting=True)
    (found,) = node_items([Node("1", "node1", ONTAP_LEVEL, NOON), starting])
    assert (found.name, found.since) == ("node2", NOON - DAY)
    assert found.reason.startswith("It is starting")
    assert "Start it" not in found.advice
    assert [*node_items([starting])] == []


@pytest.mark.parametrize("destroys", [True, False])
def test_held_destruction(*, destroys: bool) -> None:
    """An item until it is released."""
    found = [*destruction_items(Incarnation("i", 2, NOON, "restored", "here", destroys=destroys))]
    assert [(item.name, item.since) for item in found] == ([] if destroys else [("incarnation 2", NOON)])


@pytest.mark.parametrize(
    ("unsaved", "overdue", "commands"),
    [
        (False, False, []),
        (True, False, ["keystead audit export FILE"]),
        (False, True, ["keystead audit verify"]),
        (True, True, ["keystead audit export FILE", "keystead audit verify"]),
    ],
)
def test_old_audit_records_that_stay(*, unsaved: bool, overdue: bool, commands: list[str]) -> None:
    """Because nothing has them, or for another reason."""
    assert [item.command for item in retention_items(unsaved=unsaved, overdue=overdue)] == commands


@pytest.mark.parametrize(("free", "count"), [(50, 0), (49, 1)])
def test_a_disk_that_is_nearly_full(free: int, count: int) -> None:
    """Below a twentieth."""
    assert len([*disk_items("/data", free * 2**20, 1000 * 2**20)]) == count


@pytest.mark.parametrize(
    ("age", "is_first", "said"),
    [
        (BACKUP_DUE, False, ""),
        (BACKUP_DUE + DAY, False, "The last backup is of 2026-02-21 12:00 UTC."),
        (BACKUP_DUE + DAY, True, "This node has made no backup."),
    ],
)
def test_backups(age: timedelta, is_first: bool, said: str) -> None:
    """Due a week after the last one, or after the database was made."""
    assert [item.reason for item in backup_items(NOON - age, NOON, is_first=is_first, is_bundle=False)] == (
        [said] if said else []
    )


@pytest.mark.parametrize(
    ("is_bundle", "command"), [(False, "keystead backup FILE"), (True, "keystead backup --bundle FILE")]
)
def test_what_backs_up(is_bundle: bool, command: str) -> None:
    """A bundle, if the database has backups of its own."""
    (item,) = backup_items(NOON - BACKUP_DUE - DAY, NOON, is_first=True, is_bundle=is_bundle)
    assert item.command == command


def test_what_a_node_says_of_itself() -> None:
    """Reads that wait in the spool, and settings for trials."""
    assert [*spool_items(is_waiting=False), *setting_items(allows_loopback=False)] == []
    found = [*spool_items(is_waiting=True), *setting_items(allows_loopback=True, simulated=["simulate_release"])]
    assert [item.subject for item in found] == [Subject.AUDIT, Subject.SETTING, Subject.SETTING]
    assert "KEYSTEAD_SIMULATE_RELEASE" in found[1].advice


def test_the_worst_comes_first() -> None:
    """By severity, then by subject, then the oldest."""

    def item(name: str, severity: Severity, subject: Subject, since: datetime | None = None) -> Item:
        return Item(subject, name, severity, "", "", "", since)

    ordered = [
        item("1", Severity.CRITICAL, Subject.KEYS),
        item("2", Severity.CRITICAL, Subject.KEY_SERVER, NOON - DAY),
        item("3", Severity.CRITICAL, Subject.KEY_SERVER, NOON),
        item("4", Severity.CRITICAL, Subject.KEY_SERVER),
        item("5", Severity.WARNING, Subject.KEYS),
        item("6", Severity.WARNING, Subject.SETTING),
    ]
    assert worst_first(reversed(ordered)) == ordered


def test_a_destination_that_takes_nothing_or_lacks_messages() -> None:
    """Since when, why, and where to look; a dropped message is told for some time only."""
    sound = Destination(Log.AUDIT, "log", Protocol.TLS, "log.example", 6514)
    failing = replace(sound, progress=Progress(failing_since=NOON, reason="connection_refused"))
    lacking = replace(sound, log=Log.EVENTS, progress=Progress(dropped=3, dropped_at=NOON))
    assert [*destination_items([sound, lacking], NOON + DROPPED_SHOWN)] == []
    (down, lost) = destination_items([failing, lacking], NOON)
    assert (down.name, down.since, down.command) == (
        "log.example:6514",
        NOON,
        "keystead security audit destination show",
    )
    assert down.reason == "It takes no messages of the log audit: connection_refused."
    assert lost.reason == "3 messages of the log events were dropped, because too many waited."
    assert (lost.since, lost.command) == (NOON, "keystead event log show")
    (audit,) = destination_items([replace(lacking, log=Log.AUDIT)], NOON)
    assert audit.command == "keystead security audit show"

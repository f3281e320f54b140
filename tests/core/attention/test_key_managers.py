"""What is wrong with a key manager's keys and servers, as tables of what is stored."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.attention.items import Item, Severity, Subject
from keystead.core.attention.key_managers import Watched, key_items, orphan_items, server_items, without_network
from keystead.core.keys.away import Away
from keystead.core.keys.model import Dismissal, Orphan
from keystead.core.keys.survival import CopyMark, KeyGroup, KeyName, survival
from keystead.core.model import ONTAP_LEVEL, CertificateType, KeyServer, Node, Observation, PeerCertificate, State, Svm
from keystead.core.server_address import ServerAddress
from tests.core.factories import certificate, key_manager

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SVM = Svm("svm-1", "vs0")
NODES = [Node("1", "node1", ONTAP_LEVEL, NOON)]
SERVERS = [
    KeyServer("a", "km", 0, ServerAddress("a.example", 5696), 25, 10, "", ("second",)),
    KeyServer("b", "km", 1, ServerAddress("b.example", 5696), 25, 10, "", ()),
]
SHOWN = PeerCertificate(
    subject="ks3",
    issuer="CA 2",
    serial_number="3FA9",
    not_before=NOON - timedelta(days=400),
    not_after=NOON - timedelta(hours=1),
)


def group(holders: str, keys: int, **unproven: CopyMark) -> KeyGroup:
    """Return keys with copies on these servers."""
    named = tuple(KeyName(f"id{number}", f"vol{number}") for number in range(1, keys + 1))
    elsewhere = {each.uuid: CopyMark.MISSING for each in SERVERS if each.uuid not in holders}
    return KeyGroup(frozenset(frozenset(each) for each in holders), keys, {}, named, elsewhere | unproven)


def watched(
    *observations: Observation,
    groups: Sequence[KeyGroup] = (),
    svm: Svm | None = SVM,
    away: Mapping[str, Away] | None = None,
) -> Watched:
    """Return a key manager of an SVM with two servers."""
    found = survival(SERVERS, {"a": "a", "b": "b"}, groups, away or {})
    return Watched(replace(key_manager(), uuid="km", svm=svm), svm.name if svm else "cl1", SERVERS, observations, found)


def seen(server: str, host: str = "", state: State = State.NOT_RESPONDING, **fields: Any) -> Observation:
    """Return what the node observed of an address."""
    return replace(Observation("1", server, host, state, NOON), **fields)


def in_short(items: Sequence[Item]) -> list[tuple[str, Severity]]:
    """Return names and severities."""
    return [(item.name, item.severity) for item in items]


def test_nothing_is_wrong() -> None:
    """No item for a key manager whose servers answer and whose keys are on both."""
    well = watched(seen("a", state=State.AVAILABLE), seen("b", state=State.AVAILABLE), groups=[group("ab", 5)])
    assert [*key_items(well), *server_items(well, NODES, full=True), *orphan_items(well)] == []


def test_keys_that_cannot_be_read_or_are_in_one_domain() -> None:
    """Both are named; those in one domain are a warning. So are those without a copy on a server that answers."""
    found = [*key_items(watched(groups=[group("a", 5), group("b", 1)], away={"a": Away.NOT_RESPONDING}))]
    assert [(item.name, item.severity, item.reason.partition(" ")[0]) for item in found] == [
        ("vol1, vol2, vol3 and 2 more", Severity.CRITICAL, "5"),
        ("vol1, vol1, vol2 and 3 more", Severity.WARNING, "6"),
        ("vol1, vol2, vol3 and 2 more", Severity.WARNING, "5"),
    ]
    assert found[2].reason == "5 keys without a copy on the key server b.example:5696, which answers."
    assert found[2].command == "keystead security key-manager external replicate --vserver vs0"
    assert found[0].command == "keystead security key-manager external survival --vserver vs0"


def test_nobody_knows_what_can_be_read_before_a_look() -> None:
    """One item says so, and no key counts as unreadable, if no node has looked at any server."""
    found = watched(groups=[group("ab", 5)], away={"a": Away.UNKNOWN, "b": Away.UNKNOWN})
    assert list(key_items(found)) == []
    (item,) = server_items(found, [replace(NODES[0], starting=True)], full=False)
    assert (item.name, item.severity) == ("2 key servers", Severity.WARNING)
    assert item.command == "keystead security key-manager external show-status --vserver vs0"


def test_copies_that_are_not_what_was_written() -> None:
    """One item for all of a server."""
    different = group("a", 1, b=CopyMark.DIFFERENT)
    _, item = key_items(watched(groups=[different, group("ab", 2)], svm=None))
    assert (item.name, item.reason, item.command) == (
        "vol1",
        "1 key: the key server b.example:5696 returns other bytes than were written.",
        "keystead report prove",
    )


def test_servers_that_replicate_hold_a_copy_together() -> None:
    """A key lacks nothing on the second server of a domain if the first one has it."""
    one_domain = survival(SERVERS, {"a": "a", "b": "a"}, [group("a", 1)], {})
    found = [*key_items(replace(watched(), survival=one_domain))]
    assert [item.reason for item in found if "without a copy" in item.reason] == []


def test_a_server_that_is_lost() -> None:
    """Since when, in which stage, why, which certificate exactly, and what to do."""
    sound = replace(SHOWN, subject="sound", not_after=NOON + timedelta(days=1))
    lost = seen("b", stage="tls", reason="server_certificate_expired", certificates=(sound, SHOWN))
    (item,) = server_items(watched(lost, away={"b": Away.NOT_RESPONDING}), NODES, full=True)
    assert (item.subject, item.name, item.severity, item.since) == (
        Subject.KEY_SERVER,
        "b.example:5696",
        Severity.CRITICAL,
        NOON,
    )
    assert item.reason == (
        "It is not available: stage tls, reason server_certificate_expired. It showed ks3, serial number 3FA9,"
        " issued by CA 2, which ended on 2026-03-01 11:00 UTC."
    )
    assert item.advice == "The server's certificate has expired: renew it on the key server."
    command = "keystead security key-manager external probe --key-servers b.example:5696 --vserver vs0"
    assert item.command == command


def test_our_certificate_is_refused() -> None:
    """It is named: which one exactly must the server take? An account of the SVM is not told the reason."""
    shown = certificate("c", CertificateType.CLIENT)
    ours = replace(shown, common_name="vs0-client", serial_number="3F", ca="Client CA", expiry_time=NOON)
    lost = seen("b", stage="tls", reason="client_certificate_untrusted")
    of = replace(watched(lost, away={"b": Away.NOT_RESPONDING}), client_certificate=ours)
    (item,) = server_items(of, NODES, full=True)
    assert item.reason == (
        "It is not available: stage tls, reason client_certificate_untrusted. We showed vs0-client, serial number 3F,"
        " issued by Client CA, which ended on 2026-03-01 12:00 UTC."
    )
    (item,) = server_items(of, NODES, full=False)
    assert item.reason == "It is not available: stage tls."
    (item,) = server_items(replace(of, client_certificate=None), NODES, full=True)
    assert item.reason == "It is not available: stage tls, reason client_certificate_untrusted."


def test_what_an_account_of_the_svm_is_told() -> None:
    """The stage, and not the reason; egress looks like a name that is not resolved."""
    lost = seen("b", stage="egress", reason="address_not_allowed")
    (item,) = server_items(watched(lost, away={"b": Away.NOT_RESPONDING}), NODES, full=False)
    assert (item.reason, item.advice) == ("It is not available: stage resolve.", "")


@pytest.mark.parametrize(
    ("observation", "away", "expected"),
    [
        (seen("a"), {}, [("a.example:5696", Severity.WARNING)]),
        (seen("a", "second"), {}, [("second (secondary of a.example:5696)", Severity.WARNING)]),
        (seen("b", state=State.UNKNOWN), {"b": Away.UNKNOWN}, [("b.example:5696", Severity.WARNING)]),
        (seen("b", state=State.AVAILABLE), {"b": Away.KEYS_HIDDEN}, [("b.example:5696", Severity.CRITICAL)]),
        (replace(seen("b"), node="silent"), {}, []),
    ],
)
def test_how_bad_it_is(observation: Observation, away: dict[str, Away], expected: list[tuple[str, Severity]]) -> None:
    """A server with an address that can be read is a warning; a silent node says nothing."""
    nodes = [*NODES, Node("silent", "node2", ONTAP_LEVEL, NOON - timedelta(hours=1))]
    assert in_short([*server_items(watched(observation, away=away), nodes, full=True)]) == expected


def test_a_loss_is_said_before_an_unknown_state() -> None:
    """Also if another node's fault is older: the loss is what needs somebody first."""
    fault = replace(seen("b", state=State.UNKNOWN, reason="look_failed"), node="2", since=NOON - timedelta(hours=1))
    nodes = [*NODES, Node("2", "node2", ONTAP_LEVEL, NOON)]
    (item,) = server_items(watched(fault, seen("b"), away={"b": Away.NOT_RESPONDING}), nodes, full=True)
    assert (item.severity, item.since) == (Severity.CRITICAL, NOON)


def test_a_lost_server_is_critical_once() -> None:
    """Its secondary is another item, and no second lost server."""
    both = (seen("a"), seen("a", "second"))
    items = server_items(watched(*both, away={"a": Away.NOT_RESPONDING}), NODES, full=True)
    assert in_short([*items]) == [
        ("a.example:5696", Severity.CRITICAL),
        ("second (secondary of a.example:5696)", Severity.WARNING),
    ]


def test_a_server_that_hides_its_keys() -> None:
    """Since the first look of any node that did not see them."""
    first, later = NOON - timedelta(minutes=2), NOON - timedelta(minutes=1)
    both = [
        seen("b", state=State.AVAILABLE, keys_visible=False, hidden_since=later),
        replace(seen("b", state=State.AVAILABLE, keys_visible=False, hidden_since=first), node="2"),
    ]
    nodes = [*NODES, Node("2", "node2", ONTAP_LEVEL, NOON)]
    (item,) = server_items(watched(*both, away={"b": Away.KEYS_HIDDEN}), nodes, full=True)
    assert (item.name, item.severity, item.since) == ("b.example:5696", Severity.CRITICAL, first)


def test_what_an_account_of_the_svm_is_not_told() -> None:
    """Neither an egress rule, nor why a server hides its keys. An address that is lost already is listed once."""
    refused = replace(watched(), refused=frozenset({"a.example"}))
    assert [*server_items(refused, NODES, full=False)] == []
    lost = watched(seen("a", stage="egress", reason="address_not_allowed"), away={"a": Away.NOT_RESPONDING})
    (item,) = server_items(replace(lost, refused=frozenset({"a.example"})), NODES, full=True)
    assert item.severity is Severity.CRITICAL
    hidden = watched(seen("b", state=State.AVAILABLE, keys_visible=False), away={"b": Away.KEYS_HIDDEN})
    (item,) = server_items(hidden, NODES, full=False)
    assert (item.reason, item.advice) == ("It answers, and does not show the keys that were left there.", "")


@pytest.mark.parametrize(
    ("stage", "reason", "shown_stage", "shown"),
    [
        ("egress", "address_not_allowed", "resolve", ()),
        ("tls", "server_certificate_expired", "tls", (SHOWN,)),
        ("tls", "server_certificate_issuer_not_found", "tls", ()),
    ],
)
def test_what_could_tell_about_our_network_is_left_out(
    stage: str, reason: str, shown_stage: str, shown: tuple[Any, ...]
) -> None:
    """Reasons, times of requests, and certificates that no CA of the key manager proved."""
    lost = seen("a", stage=stage, reason=reason, certificates=(SHOWN,), latency_ms=3, keys_visible=False)
    left = without_network(replace(watched(lost), refused=frozenset({"a.example"})))
    assert left.refused == frozenset()
    assert left.observations == [seen("a", stage=shown_stage, certificates=shown)]


def test_a_command_can_be_pasted_whatever_the_svm_is_called() -> None:
    """Its name is quoted for a shell."""
    named = replace(SVM, name="v x;id")
    (item, *_) = key_items(watched(groups=[group("a", 1)], svm=named))
    assert item.command == "keystead security key-manager external replicate --vserver 'v x;id'"


def test_an_address_that_would_be_refused_now() -> None:
    """A stored server goes on, and is listed."""
    (item,) = server_items(replace(watched(), refused=frozenset({"a.example"})), NODES, full=True)
    assert (item.name, item.severity) == ("a.example:5696", Severity.WARNING)


def test_orphans() -> None:
    """One item, since the first was found. A dismissed one needs nobody."""
    found = [Orphan("km", "a", str(day), f"name {day}", NOON + timedelta(days=day)) for day in (2, 1)]
    dismissed = replace(found[0], unique_identifier="0", found=NOON, dismissal=Dismissal(NOON, "admin", b""))
    assert list(orphan_items(replace(watched(), orphans=[dismissed]))) == []
    found.append(dismissed)
    (item,) = orphan_items(replace(watched(), orphans=found))
    assert (item.name, item.since) == ("2 objects", NOON + timedelta(days=1))
    assert item.command == "keystead security key-manager unclaimed show --vserver vs0"

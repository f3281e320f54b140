"""The rules from looks to states, events and connectivity, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.availability import (
    EXPIRES_SOON,
    SILENT_AFTER,
    CheckResult,
    UsedCertificate,
    WatchedAddress,
    announced,
    announced_certificate,
    certificate_events,
    connectivity,
    is_announced,
    observed,
    own_certificate,
    peer_certificates,
    results_by_address,
)
from keystead.core.events import sentence
from keystead.core.model import (
    Certificate,
    CertificateType,
    KeyServer,
    Node,
    Observation,
    PeerCertificate,
    Release,
    State,
    Svm,
)
from keystead.core.probing import ProbeResult
from keystead.core.server_address import ServerAddress

if TYPE_CHECKING:
    from keystead.core.model import Event

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(seconds=7)
PLACE = WatchedAddress("server-1", "")
SVM = Svm("svm-1", "vs0")
LEAF = PeerCertificate("ks1", "CA", "0A", NOW + timedelta(days=100))
GOOD = CheckResult(certificates=(LEAF,))
BAD = CheckResult("connect", "connection_refused")
AVAILABLE = observed("node-1", PLACE, None, GOOD, NOW)
LOST = observed("node-1", PLACE, None, BAD, NOW)


def test_the_first_look_decides() -> None:
    """The first look decides the state of an address, and the state begins at that look."""
    assert Observation("node-1", "server-1", "", State.AVAILABLE, NOW, certificates=(LEAF,)) == AVAILABLE
    assert Observation("node-1", "server-1", "", State.NOT_RESPONDING, NOW, "connect", "connection_refused") == LOST


@pytest.mark.parametrize("before", [AVAILABLE, LOST])
def test_a_look_that_shows_nothing_new_changes_nothing(before: Observation) -> None:
    """A look with the same result leaves the observation equal, with its time, so that nothing is stored."""
    again = GOOD if before is AVAILABLE else BAD
    assert observed("node-1", PLACE, before, again, LATER) == before


def test_since_moves_with_the_state_only() -> None:
    """Another reason or certificate changes the observation, but not the time since which the state holds."""
    other_reason = observed("node-1", PLACE, LOST, CheckResult("tls", "tls_timed_out"), LATER)
    assert (other_reason.since, other_reason.reason) == (NOW, "tls_timed_out")
    renewed = replace(LEAF, serial_number="0B")
    renewal = observed("node-1", PLACE, AVAILABLE, CheckResult(certificates=(renewed,)), LATER)
    assert (renewal.since, renewal.certificates) == (NOW, (renewed,))
    assert observed("node-1", PLACE, AVAILABLE, BAD, LATER).since == LATER
    assert observed("node-1", PLACE, LOST, GOOD, LATER).since == LATER


def test_certificates_stay_as_last_seen() -> None:
    """A server that cannot be reached shows no certificates, so the last ones stay."""
    assert observed("node-1", PLACE, AVAILABLE, BAD, LATER).certificates == (LEAF,)


@pytest.mark.parametrize(
    ("before", "after", "name"),
    [
        (None, AVAILABLE, None),
        (None, LOST, "km.keyserver.notavailable"),
        (AVAILABLE, LOST, "km.keyserver.notavailable"),
        (LOST, AVAILABLE, "km.keyserver.available"),
        (AVAILABLE, AVAILABLE, None),
        (LOST, replace(LOST, reason="no_answer"), None),
    ],
)
def test_a_loss_is_announced_once_and_a_return_only_after_a_loss(
    before: Observation | None, after: Observation, name: str | None
) -> None:
    """A loss is announced once, and a return only after a loss."""
    assert is_announced(before, after) is (name is not None)
    if name is not None:
        assert announced(after, SVM, "vs0", "ks1:5696").name == name


def test_an_event_says_what_it_is_about() -> None:
    """An event has ONTAP's parameters in order and ONTAP's sentence, and then stage and reason."""
    event = announced(replace(LOST, since=LATER), SVM, "vs0", "ks1:5696")
    assert event is not None
    assert (event.node, event.time, event.severity, event.svm) == ("node-1", LATER, "alert", SVM)
    assert event.parameters == (
        ("vserver", "vs0"),
        ("address", "ks1:5696"),
        ("keyserver_status", "not-responding"),
        ("stage", "connect"),
        ("reason", "connection_refused"),
    )
    assert event.log_message == (
        'The external key management server "ks1:5696" is not available for Vserver "vs0", status: "not-responding".'
    )


def test_what_a_probe_of_a_server_found_at_each_address() -> None:
    """The result at the primary and the result at each secondary are separate observations."""
    server = KeyServer("server-1", "manager", 1, ServerAddress("ks1", 5696), 25, 10, "", ("ks2",))
    primary = ProbeResult(server.address, None, None, None, None, (), {}, (LEAF,))
    assert results_by_address(replace(server, secondary_key_servers=()), primary) == {PLACE: GOOD}
    secondary = ProbeResult(ServerAddress("ks2", 5696), errors.NETWORK, "connect", "connection_refused", None, ())
    both = replace(primary, addresses=(primary, secondary))
    assert results_by_address(server, both) == {PLACE: GOOD, WatchedAddress("server-1", "ks2"): BAD}


def test_connectivity_is_what_all_nodes_say_of_the_primary() -> None:
    """A node without an observation is ``unknown``; the cluster is available if every node is."""
    nodes = [Node(f"node-{number}", f"n{number}", Release(9, 18, 1)) for number in (1, 2)]
    secondary = replace(LOST, host="ks2")
    others = replace(LOST, key_server="server-9")
    said = connectivity(["server-1", "server-2"], nodes, [AVAILABLE, secondary, others])
    assert [(state.node.name, state.state) for state in said["server-1"].node_states] == [
        ("n1", State.AVAILABLE),
        ("n2", State.UNKNOWN),
    ]
    assert not said["server-1"].cluster_availability
    assert {state.state for state in said["server-2"].node_states} == {State.UNKNOWN}
    assert set(said) == {"server-1", "server-2"}
    both = connectivity(["server-1"], nodes, [AVAILABLE, replace(AVAILABLE, node="node-2")])
    assert both["server-1"].cluster_availability


@pytest.mark.parametrize(
    ("behind", "state"),
    [
        (timedelta(), State.AVAILABLE),
        (SILENT_AFTER, State.AVAILABLE),
        (SILENT_AFTER + timedelta(seconds=1), State.UNKNOWN),
        (None, State.UNKNOWN),
    ],
)
def test_what_a_silent_node_said_does_not_count(behind: timedelta | None, state: State) -> None:
    """The observation of a silent node is ignored, so the state of the cluster is unknown."""
    heard = None if behind is None else NOW - behind
    nodes = [
        Node("node-1", "n1", Release(9, 18, 1), heard_at=heard),
        Node("node-2", "n2", Release(9, 18, 1), heard_at=NOW),
    ]
    said = connectivity(["server-1"], nodes, [AVAILABLE, replace(AVAILABLE, node="node-2")])["server-1"]
    assert [each.state for each in said.node_states] == [state, State.AVAILABLE]
    assert said.cluster_availability is (state is State.AVAILABLE)


# --- certificates ---


def used(left: timedelta, **more: str) -> UsedCertificate:
    """Return a certificate in use that ends this long from now."""
    return replace(UsedCertificate("ks1", "0A", "CA", "server", SVM, "vs0", NOW + left, "ks1:5696"), **more)  # type: ignore[arg-type]


def names(found: tuple[Event, ...]) -> list[str]:
    """Return the names of the announced events."""
    return [event.name.removeprefix("mgmtgwd.certificate.") for event in found]


@pytest.mark.parametrize(
    ("left", "announced_as"),
    [
        (EXPIRES_SOON + timedelta(seconds=1), []),
        (EXPIRES_SOON, ["expiring"]),
        (timedelta(seconds=1), ["expiring"]),
        (timedelta(), ["expired"]),
        (timedelta(days=-3), ["expired"]),
    ],
)
def test_a_certificate_is_announced_thirty_days_before_its_end_and_at_its_end(
    left: timedelta, announced_as: list[str]
) -> None:
    """The event that is due depends on the time to the end of the certificate: 30 days, or none."""
    assert names(certificate_events("node-1", [used(left)], frozenset(), NOW)) == announced_as


def test_a_certificate_is_announced_once_as_what_it_is() -> None:
    """A certificate is announced once when it expires soon and once when it has expired, however many use it."""
    expiring = certificate_events("node-1", [used(timedelta(days=2)), used(timedelta(days=2))], frozenset(), NOW)
    assert names(expiring) == ["expiring"]
    known = frozenset(map(announced_certificate, expiring))
    assert certificate_events("node-1", [used(timedelta(days=1))], known, NOW) == ()
    assert names(certificate_events("node-1", [used(timedelta(days=-1))], known, NOW)) == ["expired"]
    other = used(timedelta(days=2), key_server="ks2:5696")
    assert names(certificate_events("node-1", [other], known, NOW)) == ["expiring"]


def test_the_event_of_a_certificate() -> None:
    """The event has ONTAP's parameters and the key server that showed the certificate."""
    (event,) = certificate_events("node-1", [used(timedelta(days=2, hours=5))], frozenset(), NOW)
    assert dict(event.parameters) == {
        "common_name": "ks1",
        "serial_number": "0A",
        "certificate_authority": "CA",
        "type": "server",
        "vserver": "vs0",
        "key_server": "ks1:5696",
        "days": "3",
    }
    assert event.severity == "error"
    assert event.log_message.endswith('will expire in the next 3 day(s). The key server "ks1:5696" shows it.')
    (ours,) = certificate_events("node-1", [used(timedelta(hours=23), key_server="")], frozenset(), NOW)
    assert ours.log_message.endswith("will expire in the next 1 day(s).")


@pytest.mark.parametrize(
    ("lifetime", "left", "announced_as"),
    [
        (timedelta(days=21), timedelta(days=21), []),
        (timedelta(days=21), timedelta(days=7, seconds=1), []),
        (timedelta(days=21), timedelta(days=7), ["expiring"]),
        (timedelta(days=365), timedelta(days=30), ["expiring"]),
        (timedelta(days=365), timedelta(days=31), []),
    ],
)
def test_a_certificate_made_for_weeks_is_announced_in_its_last_third(
    lifetime: timedelta, left: timedelta, announced_as: list[str]
) -> None:
    """A certificate of short validity is announced in its last third, so a new one is no event."""
    found = replace(used(left), not_before=NOW + left - lifetime)
    assert names(certificate_events("node-1", [found], frozenset(), NOW)) == announced_as


def test_a_ca_that_several_key_servers_show_is_announced_once() -> None:
    """A CA is announced once for all servers, also after a restart.

    Each server's own certificate is announced separately.
    """
    servers = [f"ks{number}:5696" for number in range(4)]
    cas = [used(timedelta(days=2), type="server_ca", key_server=server) for server in servers]
    found = certificate_events("node-1", cas, frozenset(), NOW)
    assert [dict(event.parameters)["key_server"] for event in found] == servers[:1]
    known = frozenset(map(announced_certificate, found))
    assert certificate_events("node-1", [*cas[1:], replace(cas[0], key_server="")], known, NOW) == ()
    leaves = [used(timedelta(days=2), key_server=server) for server in servers]
    assert len(certificate_events("node-1", leaves, known, NOW)) == 4


def test_what_a_loss_looked_like_is_told_to_the_cluster_only() -> None:
    """Stage and reason of a loss are shown to the cluster only; an SVM sees ONTAP's sentence."""
    event = announced(replace(LOST, since=LATER), SVM, "vs0", "ks1:5696")
    assert sentence(event, whole_cluster=False) == event.log_message
    more = ' It failed in stage "connect", reason "connection_refused".'
    assert sentence(event, whole_cluster=True) == event.log_message + more


def test_whose_certificates_are_in_use() -> None:
    """A key manager uses its own certificates.

    A server's certificate is ``server``, and the chain above it is ``server_ca``.
    """
    ours = Certificate(
        "uuid",
        SVM,
        "name",
        CertificateType.CLIENT,
        "keystead",
        "pem",
        (),
        "CA",
        "0C",
        NOW,
        LATER,
        256,
        "sha256",
        "",
        "",
    )
    own = own_certificate(ours, SVM, "vs0")
    assert (own.common_name, own.type, own.key_server, own.not_after) == ("keystead", "client", "", LATER)
    chain = replace(AVAILABLE, certificates=(LEAF, replace(LEAF, subject="CA")))
    found = peer_certificates(chain, SVM, "vs0", "ks1:5696")
    assert [(each.common_name, each.type, each.key_server) for each in found] == [
        ("ks1", "server", "ks1:5696"),
        ("CA", "server_ca", "ks1:5696"),
    ]
    assert found[0].days_left(NOW) == 100

"""The rules from looks to states, events and connectivity, as tables."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors, events
from keystead.core.announcing import event_values
from keystead.core.availability import (
    EXPIRES_SOON,
    FAILED_LOOK,
    SILENT_AFTER,
    AddressCheck,
    CheckResult,
    UsedCertificate,
    WatchedAddress,
    announced_certificate,
    certificate_events,
    connectivity,
    has_proved_certificates,
    keys_visible,
    observation_without_network,
    observed,
    own_certificate,
    peer_certificates,
    results_by_address,
    silent_nodes,
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
SLOW, VISIBLE, HIDDEN = (
    replace(GOOD, latency_ms=40),
    replace(GOOD, keys_visible=True),
    replace(GOOD, keys_visible=False),
)


def after(before: Observation | None, look: CheckResult, now: datetime = LATER, **more: Any) -> Observation:
    """Return the observation after a look."""
    return observed("node-1", before, AddressCheck("manager", PLACE, look, now, **more))


AVAILABLE = after(None, GOOD, NOW)
LOST = after(None, BAD, NOW)


def test_the_first_look_decides() -> None:
    """The first look decides the state of an address, and the state begins at that look."""
    seen = Observation("node-1", "server-1", "", State.AVAILABLE, NOW, certificates=(LEAF,), last_available=NOW)
    assert seen == AVAILABLE
    assert Observation("node-1", "server-1", "", State.NOT_RESPONDING, NOW, "connect", "connection_refused") == LOST


@pytest.mark.parametrize("before", [AVAILABLE, LOST])
def test_a_look_that_shows_nothing_new_changes_nothing(before: Observation) -> None:
    """A look with the same result leaves the observation equal, with its time, so that nothing is stored."""
    again = GOOD if before is AVAILABLE else BAD
    assert after(before, again) == before


def test_since_moves_with_the_state_and_the_reason() -> None:
    """A new certificate changes the observation, but not the time since which state and reason hold."""
    renewed = replace(LEAF, serial_number="0B")
    renewal = after(AVAILABLE, CheckResult(certificates=(renewed,)))
    assert (renewal.since, renewal.certificates) == (NOW, (renewed,))
    for before, look in ((LOST, CheckResult("tls", "tls_timed_out")), (AVAILABLE, BAD), (LOST, GOOD)):
        found = after(before, look)
        assert (found.since, found.reason) == (LATER, look.reason)


def test_what_a_look_does_not_see_stays_as_last_seen() -> None:
    """A server that cannot be reached shows neither certificates nor keys, and no request has a time."""
    lost = after(after(AVAILABLE, replace(VISIBLE, latency_ms=40)), BAD)
    assert (lost.certificates, lost.keys_visible, lost.latency_ms) == ((LEAF,), True, 40)
    assert after(lost, HIDDEN).keys_visible is False


@pytest.mark.parametrize(("now_ms", "stored_ms"), [(19, 19), (20, 40), (40, 40), (80, 40), (81, 81)])
def test_the_time_of_a_request_is_stored_when_it_is_another_one(now_ms: int, stored_ms: int) -> None:
    """Times within half and twice of the stored one change nothing, so that not every look is stored."""
    assert after(after(AVAILABLE, SLOW), replace(GOOD, latency_ms=now_ms)).latency_ms == stored_ms


def test_when_a_server_was_last_available() -> None:
    """While lost, it is the last good look before; another reason does not change it."""
    good = LATER - timedelta(seconds=5)
    lost = after(AVAILABLE, BAD, last_good=good)
    assert lost.last_available == good
    assert after(lost, CheckResult("tls", "tls_timed_out"), LATER + timedelta(hours=1)).last_available == good
    assert after(lost, GOOD, LATER + timedelta(hours=1)).last_available == LATER + timedelta(hours=1)
    assert after(AVAILABLE, BAD).last_available == NOW
    assert LOST.last_available is None


def test_after_a_look_that_failed_for_our_own_fault_nothing_is_known() -> None:
    """The state is unknown: neither available nor lost."""
    found = after(AVAILABLE, CheckResult(reason=FAILED_LOOK))
    assert (found.state, found.last_available) == (State.UNKNOWN, NOW)


def test_since_when_the_keys_are_hidden() -> None:
    """Since the first look that did not see them, until one does; a loss in between changes nothing."""
    hidden = after(AVAILABLE, HIDDEN, NOW)
    assert hidden.hidden_since == NOW
    lost = after(hidden, BAD, LATER)
    back = after(lost, HIDDEN, LATER)
    assert (lost.hidden_since, back.hidden_since) == (NOW, NOW)
    assert after(back, VISIBLE, LATER).hidden_since is None
    assert after(None, VISIBLE, NOW).hidden_since is None


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


def test_a_node_that_was_stopped_is_silent_at_once() -> None:
    """Also one that is alone, and one that was heard a moment ago."""
    left = Node("node-1", "n1", Release(9, 18, 1), heard_at=NOW, has_left=True)
    assert silent_nodes([left]) == silent_nodes([left, replace(left, uuid="node-2", has_left=False)]) == {"node-1"}


def test_what_accounts_of_the_cluster_see_of_a_server_that_failed() -> None:
    """An account of an SVM sees when and at which stage, but not why: it chose the address."""
    node = Node("node-1", "n1", Release(9, 18, 1), heard_at=NOW)
    lost = replace(after(after(None, VISIBLE, NOW), replace(BAD, stage="egress"), last_good=NOW), latency_ms=3)
    (all_,) = connectivity(["server-1"], [node], [lost])["server-1"].node_states
    assert (all_.stage, all_.since, all_.last_available) == ("egress", LATER, NOW)
    assert (all_.reason, all_.latency_ms, all_.certificates, all_.keys_visible) == (BAD.reason, 3, (LEAF,), True)
    (some,) = connectivity(["server-1"], [node], [lost], full=False)["server-1"].node_states
    assert some.node.name == "n1"
    assert (some.stage, some.since, some.last_available) == ("resolve", LATER, NOW)
    assert (some.reason, some.latency_ms, some.certificates, some.keys_visible) == ("", None, (), None)


def test_what_a_starting_node_said_does_not_count() -> None:
    """Its observations are from before its start, until it has looked at all servers."""
    node = Node("node-1", "n1", Release(9, 18, 1), heard_at=NOW, starting=True)
    found = connectivity(["server-1"], [node], [after(None, VISIBLE)])["server-1"]
    assert [(said.state, said.since) for said in found.node_states] == [(State.UNKNOWN, None)]
    assert keys_visible([after(None, VISIBLE)], [node]) == {}


def test_an_available_server_was_available_when_its_node_was_last_heard() -> None:
    """Looks that show nothing new are not stored, so the node's sign of life tells."""
    node = Node("node-1", "n1", Release(9, 18, 1), heard_at=LATER)
    (said,) = connectivity(["server-1"], [node], [AVAILABLE])["server-1"].node_states
    assert (said.since, said.last_available) == (NOW, LATER)


def test_a_server_shows_its_keys_if_no_node_that_watches_says_otherwise() -> None:
    """Secondaries do not count, nor what a silent node saw."""
    nodes = [Node("node-1", "n1", Release(9, 18, 1), heard_at=NOW), Node("node-2", "n2", Release(9, 18, 1))]
    shows, hides = after(None, VISIBLE, NOW), after(None, HIDDEN, NOW)
    assert keys_visible([shows, replace(hides, host="ks2"), replace(hides, node="node-2")], nodes) == {"server-1": True}
    assert keys_visible([shows, replace(hides, node="node-2")], [nodes[0], replace(nodes[1], heard_at=NOW)]) == {
        "server-1": False
    }
    assert keys_visible([AVAILABLE], nodes) == {}


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
    event = events.NOT_AVAILABLE.happened("node-1", LATER, SVM, event_values(LOST, "vs0", "ks1:5696", [], {}))
    assert sentence(event, whole_cluster=False) == event.log_message
    more = ' It failed in stage "connect", reason "connection_refused".'
    assert sentence(event, whole_cluster=True) == event.log_message + more


@pytest.mark.parametrize(
    ("state", "reason", "proved"),
    [
        (State.AVAILABLE, "", True),
        (State.NOT_RESPONDING, "server_certificate_expired", True),
        (State.NOT_RESPONDING, "server_certificate_wrong_name", False),
        (State.NOT_RESPONDING, "connection_refused", False),
        (State.UNKNOWN, "", False),
    ],
)
def test_which_certificates_are_proved(state: State, reason: str, proved: bool) -> None:
    """Those of a server that is available, or whose certificate has ended since."""
    assert has_proved_certificates(Observation("n", "s", "", state, NOW, reason=reason)) is proved


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


def test_an_observation_without_network() -> None:
    """Stage and state stay. Certificates stay only if they were proved."""
    chain = (PeerCertificate("ks1", "CA", "1", NOW),)
    expired = Observation(
        *("n", "s", "", State.NOT_RESPONDING, NOW, "tls", "server_certificate_expired", chain), None, 12, True
    )
    refused = replace(expired, reason="server_certificate_wrong_name")
    assert observation_without_network(refused) == Observation("n", "s", "", State.NOT_RESPONDING, NOW, "tls")
    assert observation_without_network(expired).certificates == chain
    assert observation_without_network(replace(expired, stage="egress")).stage == "resolve"
    sound = replace(expired, state=State.AVAILABLE, stage="", reason="")
    assert observation_without_network(sound).certificates == chain

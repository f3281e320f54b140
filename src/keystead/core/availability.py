"""The rules of availability: the state of a key server after a look, and the events of certificates.

Pure: a look is a value, the time an argument. The monitor looks twice at a failure; only confirmed results come here.
Source: ONTAP's states of a key server (``available``, ``not_responding``, ``unknown``), EMS reference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core import events
from keystead.core.model import Observation, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from keystead.core.model import Certificate, Event, KeyManager, KeyServer, Node, PeerCertificate, Svm
    from keystead.core.probing import ProbeResult

EXPIRES_SOON: Final = timedelta(days=30)
"""How long before its end a certificate is announced: ONTAP's default."""

SILENT_AFTER: Final = timedelta(seconds=45)
"""How much older than the latest sign of life a node's own may be. An older one makes the node's observations void."""

SERVER: Final = "server"
"""The type of a server's own certificate: a key server's, or the listener's."""

ONE_REQUEST: Final = "credential"
"""The stage of a probe that sends one request on the connection, and so shows the time of a request."""

FAILED_LOOK: Final = "look_failed"
"""The reason of a look that ended with an unexpected failure of ours: nothing is known about the server."""

PRIMARY: Final = ""
"""The ``host`` in the observation of a primary. A secondary has its own host there."""


class WatchedAddress(NamedTuple):
    """An address that is watched: the primary of a key server (its uuid), or one of its secondaries."""

    key_server: str
    host: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a look at one address. ``reason`` is empty if the address was accepted.

    ``certificates`` are those that the server showed, none if the look failed before. ``latency_ms`` is the time of one
    request. ``keys_visible``: the address showed the canary and the newest copy there; None if that is not known.
    """

    stage: str = ""
    reason: str = ""
    certificates: tuple[PeerCertificate, ...] = ()
    latency_ms: int | None = None
    keys_visible: bool | None = None

    @classmethod
    def of(cls, result: ProbeResult) -> CheckResult:
        """Return the result of the probe of one address."""
        asked = [stage.elapsed_ms for stage in result.stages if stage.stage == ONE_REQUEST and stage.state == "passed"]
        latency_ms = max(1, round(asked[0])) if asked else None
        return cls(result.stage or "", result.reason or "", result.certificates, latency_ms)

    @property
    def state(self) -> State:
        """The state of an address after this look."""
        if self.reason == FAILED_LOOK:
            return State.UNKNOWN
        return State.NOT_RESPONDING if self.reason else State.AVAILABLE


class AddressCheck(NamedTuple):
    """The result of a look at an address of a key manager's server, and the time at which it was certain.

    ``last_good`` is the time of the last good look before. ``about`` is the configuration that was looked at: a result
    of a former configuration says nothing about the present one. None means the configuration that the transaction
    stores.
    """

    key_manager: str
    place: WatchedAddress
    look: CheckResult
    time: datetime
    about: tuple[KeyManager, KeyServer] | None = None
    last_good: datetime | None = None


def results_by_address(server: KeyServer, result: ProbeResult) -> dict[WatchedAddress, CheckResult]:
    """Return the result for each address of a server from its probe."""
    hosts = (PRIMARY, *server.secondary_key_servers)
    return {
        WatchedAddress(server.uuid, host): CheckResult.of(each) for host, each in zip(hosts, result.each, strict=True)
    }


def observed(node: str, before: Observation | None, change: AddressCheck) -> Observation:
    """Return the observation of an address after a look.

    ``before`` is its observation until now. ``since`` changes with the state and with the reason. What the look did not
    see stays as last seen: certificates, the time of a request, and whether the keys were visible.
    """
    look, now = change.look, change.time
    if before is None:
        before = Observation(node, *change.place, State.UNKNOWN, now)
    is_same = (look.state, look.reason) == (before.state, before.reason)
    last_available = now if look.state is State.AVAILABLE else change.last_good or before.last_available
    keys_visible = before.keys_visible if look.keys_visible is None else look.keys_visible
    return replace(
        before,
        state=look.state,
        since=before.since if is_same else now,
        stage=look.stage,
        reason=look.reason,
        certificates=look.certificates or before.certificates,
        last_available=before.last_available if look.state is before.state else last_available,
        latency_ms=_latency_ms(before.latency_ms, look.latency_ms),
        keys_visible=keys_visible,
        hidden_since=(before.hidden_since or now) if keys_visible is False else None,
    )


def _latency_ms(before: int | None, now: int | None) -> int | None:
    """Return the time of a request to store. It stays while the new one is within half and twice of it.

    Otherwise nearly every look would be stored.
    """
    if before is None or now is None:
        return now or before
    return before if before / 2 <= now <= before * 2 else now


def keys_visible(observations: Iterable[Observation], nodes: Sequence[Node]) -> dict[str, bool]:
    """Return, by key server (uuid), whether its primary shows its keys: False if a node that watches says no.

    Servers that no such node could ask are left out.
    """
    void = void_nodes(nodes)
    found: dict[str, bool] = {}
    for each in observations:
        if each.host == PRIMARY and each.node not in void and each.keys_visible is not None:
            found[each.key_server] = found.get(each.key_server, True) and each.keys_visible
    return found


# --- connectivity ---


@dataclass(frozen=True, slots=True)
class NodeState:
    """What one node says about a key server. ``since`` and the rest are empty without an observation.

    ``last_available`` of an available server is the node's last sign of life. ``reason`` and what follows are for
    accounts of the cluster: an account of an SVM chooses the address, so they could tell it about our network.
    """

    node: Node
    state: State
    stage: str = ""
    since: datetime | None = None
    last_available: datetime | None = None
    reason: str = ""
    latency_ms: int | None = None
    certificates: tuple[PeerCertificate, ...] = ()
    keys_visible: bool | None = None


@dataclass(frozen=True, slots=True)
class Connectivity:
    """What all nodes say about one primary, in the nodes' order."""

    node_states: tuple[NodeState, ...]

    @property
    def cluster_availability(self) -> bool:
        """True if every node reaches the key server."""
        return all(said.state is State.AVAILABLE for said in self.node_states)


def silent_nodes(nodes: Sequence[Node]) -> frozenset[str]:
    """Return the uuids of silent nodes: stopped ones, and those whose last sign of life is much older than the latest.

    The database's clock gave the time to all of them.
    """
    last = max((node.heard_at for node in nodes if node.heard_at is not None), default=None)
    return frozenset(node.uuid for node in nodes if node.has_left or _is_late(node.heard_at, last))


def _is_late(heard_at: datetime | None, last: datetime | None) -> bool:
    return last is not None and (heard_at is None or heard_at < last - SILENT_AFTER)


def void_nodes(nodes: Sequence[Node]) -> frozenset[str]:
    """Return the uuids of the nodes whose observations do not count: silent ones, and those that are starting."""
    return silent_nodes(nodes) | {node.uuid for node in nodes if node.starting}


def connectivity(
    key_servers: Iterable[str], nodes: Sequence[Node], observations: Iterable[Observation], *, full: bool = True
) -> dict[str, Connectivity]:
    """Return what the nodes say, by the key server's uuid; ``unknown`` for a node that is silent or is starting.

    Only the primary decides. A secondary that answers keeps keys readable, and is shown in the metrics. ``full``: with
    what accounts of the cluster may see.
    """
    void = void_nodes(nodes)
    said: dict[str, dict[str, Observation]] = {server: {} for server in key_servers}
    for observation in observations:
        if observation.host == PRIMARY and observation.key_server in said and observation.node not in void:
            said[observation.key_server][observation.node] = observation
    return {
        server: Connectivity(tuple(_node_state(node, found.get(node.uuid), full=full) for node in nodes))
        for server, found in said.items()
    }


def _node_state(node: Node, found: Observation | None, *, full: bool) -> NodeState:
    """Return what a node says about a server, from its observation; None if there is none that counts."""
    if found is None:
        return NodeState(node, State.UNKNOWN)
    heard = [time for time in (found.last_available, node.heard_at) if time is not None]
    last_available = max(heard, default=None) if found.state is State.AVAILABLE else found.last_available
    stage = "resolve" if found.stage == "egress" and not full else found.stage
    shown = NodeState(node, found.state, stage, found.since, last_available)
    if not full:
        return shown
    return replace(
        shown,
        reason=found.reason,
        latency_ms=found.latency_ms,
        certificates=found.certificates,
        keys_visible=found.keys_visible,
    )


# --- certificates ---


@dataclass(frozen=True, slots=True)
class UsedCertificate:
    """A certificate that something depends on: one of ours, or one that a key server showed (``key_server``)."""

    common_name: str
    serial_number: str
    certificate_authority: str
    type: str
    svm: Svm | None
    vserver: str
    not_after: datetime
    key_server: str = ""
    not_before: datetime | None = None

    @property
    def warning_span(self) -> timedelta:
        """How long before its end the certificate is announced: at most a third of its life, not while it is new."""
        if self.not_before is None:
            return EXPIRES_SOON
        return min(EXPIRES_SOON, (self.not_after - self.not_before) / 3)

    @property
    def identity(self) -> tuple[str, ...]:
        """The values that tell the certificate from others.

        Several key servers may show the same CA certificate, so they are not part of its identity.
        """
        shown_by = self.key_server if self.type == SERVER else ""
        return (self.certificate_authority, self.serial_number, self.type, self.vserver, shown_by)

    def days_left(self, now: datetime) -> float:
        """Return the days until it expires; negative afterwards."""
        return (self.not_after - now) / timedelta(days=1)


Announced = tuple[str, ...]
"""The name of an event, and the identity of the certificate in it."""


def announced_certificate(event: Event) -> Announced:
    """Return the certificate that an event was about."""
    values = dict(event.parameters)
    authority, serial_number, type_, vserver, key_server = (
        values.get(name, "") for name in ("certificate_authority", "serial_number", "type", "vserver", "key_server")
    )
    return (event.name, authority, serial_number, type_, vserver, key_server if type_ == SERVER else "")


def certificate_events(
    node: str, used: Iterable[UsedCertificate], known: AbstractSet[Announced], now: datetime
) -> tuple[Event, ...]:
    """Return the events that are due for certificates, without those in ``known`` (already announced)."""
    due = {}
    for certificate in used:
        left = certificate.not_after - now
        if left > certificate.warning_span:
            continue
        kind = events.EXPIRING if left > timedelta() else events.EXPIRED
        announced_as = (kind.name, *certificate.identity)
        if announced_as not in known and announced_as not in due:
            due[announced_as] = kind.happened(node, now, certificate.svm, _values(certificate, left))
    return tuple(due.values())


def own_certificate(certificate: Certificate, svm: Svm | None, vserver: str) -> UsedCertificate:
    """Return one of our certificates, as used by a key manager of an SVM (None: the cluster)."""
    return UsedCertificate(
        certificate.common_name,
        certificate.serial_number,
        certificate.ca,
        certificate.type.value,
        svm,
        vserver,
        certificate.expiry_time,
        not_before=certificate.not_before,
    )


def has_proved_certificates(observation: Observation) -> bool:
    """Return True if the key manager's CAs proved the certificates that a key server last showed.

    An account of an SVM is told of these only. A name that it chose may later lead to another host of our network,
    whose certificates would tell about it. The dates of a certificate are looked at after its issuer and its name.
    """
    return observation.state is State.AVAILABLE or observation.reason == "server_certificate_expired"


def observation_without_network(seen: Observation) -> Observation:
    """Return an observation as an account of an SVM may see it: without what could tell about our network."""
    return replace(
        seen,
        stage="resolve" if seen.stage == "egress" else seen.stage,
        reason="",
        certificates=seen.certificates if has_proved_certificates(seen) else (),
        latency_ms=None,
        keys_visible=None,
    )


def peer_certificates(observation: Observation, svm: Svm | None, vserver: str, address: str) -> list[UsedCertificate]:
    """Return the certificates that a key server last showed: its own, and those of its chain."""
    return [
        UsedCertificate(
            certificate.subject,
            certificate.serial_number,
            certificate.issuer,
            SERVER if depth == 0 else "server_ca",
            svm,
            vserver,
            certificate.not_after,
            address,
            certificate.not_before,
        )
        for depth, certificate in enumerate(observation.certificates)
    ]


def _values(certificate: UsedCertificate, left: timedelta) -> dict[str, str]:
    return {
        "common_name": certificate.common_name,
        "serial_number": certificate.serial_number,
        "certificate_authority": certificate.certificate_authority,
        "type": certificate.type,
        "vserver": certificate.vserver,
        "key_server": certificate.key_server,
        "days": str(-(-left // timedelta(days=1))),
        "shown_by": f' The key server "{certificate.key_server}" shows it.' if certificate.key_server else "",
    }

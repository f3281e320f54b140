"""The rules of availability: the state of a key server after a look, and the events to announce.

Pure: a look is a value, the time an argument. The monitor looks twice at a failure; only certain results come here.
Source: ONTAP's states of a key server (``available``, ``not_responding``, ``unknown``), EMS reference.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core import events
from keystead.core.model import Observation, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from datetime import datetime

    from keystead.core.model import Certificate, Event, KeyManager, KeyServer, Node, PeerCertificate, Svm
    from keystead.core.probing import ProbeResult

EXPIRES_SOON: Final = timedelta(days=30)
"""How long before its end a certificate is announced: ONTAP's default."""

SILENT_AFTER: Final = timedelta(seconds=45)
"""How much older than the latest sign of life a node's own may be. An older one makes the node's observations void."""

SERVER: Final = "server"
"""The type of a key server's own certificate."""

STATUS: Final = "not-responding"
"""``keyserver_status`` in events: ONTAP's word on its command line."""

PRIMARY: Final = ""
"""The ``host`` in the observation of a primary. A secondary has its own host there."""


class WatchedAddress(NamedTuple):
    """An address that is watched: the primary of a key server (its uuid), or one of its secondaries."""

    key_server: str
    host: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a look at one address. ``reason`` is empty if the address was accepted.

    ``certificates`` are those that the server showed, none if the look failed before.
    """

    stage: str = ""
    reason: str = ""
    certificates: tuple[PeerCertificate, ...] = ()

    @classmethod
    def of(cls, result: ProbeResult) -> CheckResult:
        """Return the result of the probe of one address."""
        return cls(result.stage or "", result.reason or "", result.certificates)


class AddressCheck(NamedTuple):
    """The result of a look at an address of a key manager's server, and the time at which it was certain.

    ``about`` is the configuration that was looked at: a result of a former configuration says nothing about the present
    one. None means the configuration that the transaction stores.
    """

    key_manager: str
    place: WatchedAddress
    look: CheckResult
    time: datetime
    about: tuple[KeyManager, KeyServer] | None = None


def results_by_address(server: KeyServer, result: ProbeResult) -> dict[WatchedAddress, CheckResult]:
    """Return the result for each address of a server from its probe."""
    hosts = (PRIMARY, *server.secondary_key_servers)
    return {
        WatchedAddress(server.uuid, host): CheckResult.of(each) for host, each in zip(hosts, result.each, strict=True)
    }


def observed(
    node: str, place: WatchedAddress, before: Observation | None, look: CheckResult, now: datetime
) -> Observation:
    """Return the observation of an address after a look.

    ``before`` is its observation until now. ``since`` changes only with the state. Certificates stay as last seen if
    the look saw none.
    """
    state = State.NOT_RESPONDING if look.reason else State.AVAILABLE
    if before is None:
        return Observation(node, *place, state, now, look.stage, look.reason, look.certificates)
    return replace(
        before,
        state=state,
        since=before.since if state is before.state else now,
        stage=look.stage,
        reason=look.reason,
        certificates=look.certificates or before.certificates,
    )


def is_announced(before: Observation | None, after: Observation) -> bool:
    """Return True if the change has an event: the loss of a server, or its return after a loss."""
    was_lost = before is not None and before.state is State.NOT_RESPONDING
    return was_lost != (after.state is State.NOT_RESPONDING)


def announced(after: Observation, svm: Svm | None, vserver: str, address: str) -> Event:
    """Return the event for a change. The change must be one that :func:`is_announced`."""
    is_lost = after.state is State.NOT_RESPONDING
    values = {"vserver": vserver, "address": address}
    if is_lost:
        values |= {"keyserver_status": STATUS, "stage": after.stage, "reason": after.reason}
    kind = events.NOT_AVAILABLE if is_lost else events.AVAILABLE
    return kind.happened(after.node, after.since, svm, values)


# --- connectivity ---


class NodeState(NamedTuple):
    """What one node says about a key server."""

    node: Node
    state: State


@dataclass(frozen=True, slots=True)
class Connectivity:
    """What all nodes say about one primary, in the nodes' order."""

    node_states: tuple[NodeState, ...]

    @property
    def cluster_availability(self) -> bool:
        """True if every node reaches the key server."""
        return all(said.state is State.AVAILABLE for said in self.node_states)


def silent_nodes(nodes: Sequence[Node]) -> frozenset[str]:
    """Return the uuids of silent nodes: their last sign of life is much older than the latest one.

    The latest is from the node that asks, because it runs.
    """
    heard = {node.uuid: node.heard_at for node in nodes}
    last = max((time for time in heard.values() if time is not None), default=None)
    if last is None:
        return frozenset()
    return frozenset(uuid for uuid, time in heard.items() if time is None or time < last - SILENT_AFTER)


def connectivity(
    key_servers: Iterable[str], nodes: Sequence[Node], observations: Iterable[Observation]
) -> dict[str, Connectivity]:
    """Return what the nodes say, by the key server's uuid; ``unknown`` for a node that is silent or has not looked yet.

    Only the primary decides. A secondary that answers keeps keys readable, and is shown in the metrics.
    """
    silent = silent_nodes(nodes)
    said: dict[str, dict[str, State]] = {server: {} for server in key_servers}
    for observation in observations:
        if observation.host == PRIMARY and observation.key_server in said and observation.node not in silent:
            said[observation.key_server][observation.node] = observation.state
    return {server: _connectivity(nodes, states) for server, states in said.items()}


def _connectivity(nodes: Sequence[Node], states: Mapping[str, State]) -> Connectivity:
    return Connectivity(tuple(NodeState(node, states.get(node.uuid, State.UNKNOWN)) for node in nodes))


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
    def warned_from(self) -> timedelta:
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
        if left > certificate.warned_from:
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

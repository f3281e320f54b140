"""From what looks at key servers showed to their states, and to what is announced of them.

Pure: a look is a value, the time an argument. Whether a failure was looked at twice is the monitor's business; what
comes here is certain. Source: ONTAP's states of a key server (``available``, ``not_responding``, ``unknown``), EMS
reference.
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
"""How far behind the others a node's last word may be until what it said does not count."""

SERVER: Final = "server"
"""The type of a key server's own certificate."""

STATUS: Final = "not-responding"
"""``keyserver_status`` in events: ONTAP's word on the command line."""

PRIMARY: Final = ""
"""The ``host`` of a primary's observation; a secondary's is its own."""


class WatchedAddress(NamedTuple):
    """One watched address: of a key server (its uuid) the primary, or one of its secondaries."""

    key_server: str
    host: str


@dataclass(frozen=True, slots=True)
class CheckResult:
    """What a look at one address showed: ``reason`` is empty when it was accepted.

    ``certificates`` are those that the server showed; none when it did not come to that.
    """

    stage: str = ""
    reason: str = ""
    certificates: tuple[PeerCertificate, ...] = ()

    @classmethod
    def of(cls, result: ProbeResult) -> CheckResult:
        """What the probe of one address found."""
        return cls(result.stage or "", result.reason or "", result.certificates)


class AddressCheck(NamedTuple):
    """What a look at an address of a key manager's server showed, and when it was certain.

    ``about`` is the configuration that was looked at: a change about one that is no more says nothing of the one that
    took its place. None is the one that the transaction stores.
    """

    key_manager: str
    place: WatchedAddress
    look: CheckResult
    time: datetime
    about: tuple[KeyManager, KeyServer] | None = None


def looks(server: KeyServer, result: ProbeResult) -> dict[WatchedAddress, CheckResult]:
    """What the probe of a server found at each of its addresses."""
    hosts = (PRIMARY, *server.secondary_key_servers)
    return {
        WatchedAddress(server.uuid, host): CheckResult.of(each) for host, each in zip(hosts, result.each, strict=True)
    }


def observed(
    node: str, place: WatchedAddress, before: Observation | None, look: CheckResult, now: datetime
) -> Observation:
    """What is known of an address after a look; ``before`` itself when the look showed nothing new.

    ``since`` moves with the state only. Certificates stay as last seen when a look saw none.
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
    """Whether a change has an event: the loss of a server once, its return only after a loss."""
    was_lost = before is not None and before.state is State.NOT_RESPONDING
    return was_lost != (after.state is State.NOT_RESPONDING)


def announced(after: Observation, svm: Svm | None, vserver: str, address: str) -> Event:
    """The event of a change that :func:`is_announced`."""
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
    """What all nodes say about one primary key server, in the nodes' order."""

    node_states: tuple[NodeState, ...]

    @property
    def cluster_availability(self) -> bool:
        """Whether every node reaches it."""
        return all(said.state is State.AVAILABLE for said in self.node_states)


def silent_nodes(nodes: Sequence[Node]) -> frozenset[str]:
    """The uuids of nodes that were heard of long before the last one: that is the node that asks, for it runs."""
    heard = {node.uuid: node.heard_at for node in nodes}
    last = max((time for time in heard.values() if time is not None), default=None)
    if last is None:
        return frozenset()
    return frozenset(uuid for uuid, time in heard.items() if time is None or time < last - SILENT_AFTER)


def connectivity(
    key_servers: Iterable[str], nodes: Sequence[Node], observations: Iterable[Observation]
) -> dict[str, Connectivity]:
    """What the nodes say, by the key server's uuid; ``unknown`` where a node said nothing yet, or is silent.

    A primary is judged by itself: a secondary that answers keeps its keys readable, and is shown in the metrics.
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
        """How long before its end it is announced: one that is made for weeks is not when it is new."""
        if self.not_before is None:
            return EXPIRES_SOON
        return min(EXPIRES_SOON, (self.not_after - self.not_before) / 3)

    @property
    def identity(self) -> tuple[str, ...]:
        """What tells it from others: of a CA that several key servers show, that is not who shows it."""
        shown_by = self.key_server if self.type == SERVER else ""
        return (self.certificate_authority, self.serial_number, self.type, self.vserver, shown_by)

    def days_left(self, now: datetime) -> float:
        """Days until it expires; negative afterwards."""
        return (self.not_after - now) / timedelta(days=1)


Announced = tuple[str, ...]
"""An event's name and the identity of the certificate that it was about."""


def announced_certificate(event: Event) -> Announced:
    """Which certificate an event was about."""
    values = dict(event.parameters)
    authority, serial_number, type_, vserver, key_server = (
        values.get(name, "") for name in ("certificate_authority", "serial_number", "type", "vserver", "key_server")
    )
    return (event.name, authority, serial_number, type_, vserver, key_server if type_ == SERVER else "")


def certificate_events(
    node: str, used: Iterable[UsedCertificate], known: AbstractSet[Announced], now: datetime
) -> tuple[Event, ...]:
    """The events that are due for certificates, without those announced already."""
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
    """A certificate of ours, as a key manager of an SVM (None: the cluster) uses it."""
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
    """The certificates that a key server last showed: its own and those above it."""
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

"""``connectivity`` of a key server: the nodes' observations, declared once for all resources that show key servers.

Source: ONTAP REST API reference, key_server_connectivity. These fields are costly, so they are shown only on request.
Inactive configurations have none.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.resource import OURS, Field, Group
from keystead.api.resources.cluster import node_link
from keystead.api.values import BOOLEAN, TEXT, TIME, UUID, Type, integer, one_of
from keystead.core.model import State
from keystead.core.probing import STAGES
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from keystead.core.availability import NodeState
    from keystead.core.model import PeerCertificate

_MILLISECONDS: Final = integer(0, 2**31 - 1)


_FACTS: Final[tuple[tuple[str, Type, str, Callable[[NodeState], Any]], ...]] = (
    (
        "stage",
        one_of(*STAGES),
        "The stage of the probe that failed; none while available.",
        lambda at: at.stage or None,
    ),
    ("since", TIME, "Since when the node reports this state for this reason.", lambda at: _shown(at.since)),
    (
        "last_available",
        TIME,
        "The last good look; for an available server, when the node last ran.",
        lambda at: _shown(at.last_available),
    ),
    ("reason", TEXT, "Why the server failed, a fixed word. For accounts of the cluster.", lambda at: at.reason or None),
    ("latency_ms", _MILLISECONDS, "The time of one request. For accounts of the cluster.", attrgetter("latency_ms")),
    (
        "keys_visible",
        BOOLEAN,
        "Whether it showed its canary and its newest copy when it last answered that. For accounts of the cluster.",
        attrgetter("keys_visible"),
    ),
)
_CERTIFICATE: Final[tuple[tuple[str, Type, str, Callable[[PeerCertificate], Any]], ...]] = (
    ("subject", TEXT, "The common name, or the whole name if it has none.", attrgetter("subject")),
    ("issuer", TEXT, "The same of its issuer.", attrgetter("issuer")),
    ("serial_number", TEXT, "Its serial number, in hexadecimal.", attrgetter("serial_number")),
    ("expiry_time", TIME, "Its end.", lambda certificate: _shown(certificate.not_after)),
)


def _shown(time: datetime | None) -> str | None:
    """Return a time as text; None for none."""
    return None if time is None else time.isoformat()


def _ours(name: str) -> tuple[Field | Group, ...]:
    """Return the fields that ONTAP does not have: since when, why, and what the server showed."""
    return (
        *(
            Field(name=f"{name}.{field}", type=type_, help=help_, get=get, read=Read.EXPENSIVE, since=OURS)
            for field, type_, help_, get in _FACTS
        ),
        Group(
            name=f"{name}.certificates",
            help="The certificates that the server showed last, its own first. For accounts of the cluster.",
            get=lambda at: at.certificates or None,
            many=True,
        ),
        *(
            Field(name=f"{name}.certificates.{field}", type=type_, help=help_, get=get, read=Read.EXPENSIVE, since=OURS)
            for field, type_, help_, get in _CERTIFICATE
        ),
    )


def connectivity_fields(within: str = "") -> tuple[Field | Group, ...]:
    """Return the fields. ``within`` is the dotted name of the key server's group with a final dot, or empty."""
    name = f"{within}connectivity"
    return (
        Group(name=name, help="Whether the nodes reach the server.", get=attrgetter("connectivity")),
        Field(
            name=f"{name}.cluster_availability",
            type=BOOLEAN,
            help="Whether all nodes report ``available``.",
            get=attrgetter("cluster_availability"),
            read=Read.EXPENSIVE,
            since="9.7",
        ),
        Group(
            name=f"{name}.node_states",
            help="The state that each node reports.",
            get=attrgetter("node_states"),
            many=True,
        ),
        Field(
            name=f"{name}.node_states.state",
            type=one_of(*State),
            help="The state of the primary; ``unknown`` until the node has probed it.",
            get=attrgetter("state.value"),
            read=Read.EXPENSIVE,
            since="9.13",
        ),
        *_ours(f"{name}.node_states"),
        Group(name=f"{name}.node_states.node", help="The node.", get=attrgetter("node"), link=node_link),
        Field(
            name=f"{name}.node_states.node.uuid",
            type=UUID,
            help="Its identifier.",
            get=attrgetter("uuid"),
            read=Read.EXPENSIVE,
            since="9.13",
        ),
        Field(
            name=f"{name}.node_states.node.name",
            type=TEXT,
            help="Its name.",
            get=attrgetter("name"),
            read=Read.EXPENSIVE,
            since="9.13",
        ),
    )

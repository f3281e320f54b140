"""``cost`` of a key server: what Keystead costs it. Not ONTAP's; declared once for all resources that show key servers.

These fields are counted when they are asked for, so they are shown only on request.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

from keystead.api.resource import OURS, Field, Group
from keystead.api.values import integer
from keystead.core.query.query import Read

if TYPE_CHECKING:
    from collections.abc import Callable

_COUNT: Final = integer(0, 2**63 - 1)
_OF_CLUSTER: Final = "For accounts of the cluster."
_OBJECTS: Final = (
    ("keys", "Objects of copies of keys. A copy in the form of two AES-256 keys is two objects."),
    ("descriptors", "Descriptors."),
    ("canary", "Objects of the canary; 0 until the server is learned."),
    ("markers", "Objects of epoch markers: the newest, the anchor, and the previous one until it is destroyed."),
)
_OPERATIONS: Final = (
    (
        "watching",
        (
            "KMIP operations of checks, probes and looks for the canary, which this node sent by itself to the server"
            " and its secondaries in the last 24 hours. If the first of them is younger, their number since then is"
            " scaled up to a day. Operations for other key managers with the same addresses count. Probes for calls do"
            " not."
            f" {_OF_CLUSTER}"
        ),
    ),
    (
        "keys",
        (
            "The same for work with keys: what the node does by itself (sweeps, copies, epoch markers), and what it"
            f" writes and reads for callers. Verifications and drills do not count. {_OF_CLUSTER}"
        ),
    ),
)


def cost_fields(within: str = "") -> tuple[Field | Group, ...]:
    """Return the fields. ``within`` is the dotted name of the key server's group with a final dot, or empty."""
    name = f"{within}cost"
    return (
        Group(name=name, help="What Keystead costs the server. Not ONTAP's.", get=attrgetter("cost")),
        Group(name=f"{name}.objects", help="Our objects there, as the database knows them.", get=attrgetter("objects")),
        *(_field(f"{name}.objects.{kind}", help_, attrgetter(kind)) for kind, help_ in _OBJECTS),
        _field(
            f"{name}.connections",
            "Connections that this node has open now to the server and its secondaries. Those for other key managers"
            f" with the same addresses count. {_OF_CLUSTER}",
            lambda cost: None if cost.traffic is None else cost.traffic.connections,
        ),
        Group(name=f"{name}.operations_per_day", help="The operations of a day.", get=attrgetter("traffic")),
        *(_field(f"{name}.operations_per_day.{work}", help_, attrgetter(work)) for work, help_ in _OPERATIONS),
    )


def _field(name: str, help_: str, get: Callable[[Any], int | None]) -> Field:
    return Field(name=name, type=_COUNT, help=help_, get=get, read=Read.BY_NAME, since=OURS)

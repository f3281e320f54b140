"""``connectivity`` of a key server: the nodes' observations, declared once for all resources that show key servers.

Source: ONTAP REST API reference, key_server_connectivity. These fields are costly, so they are shown only on request.
Inactive configurations have none.
"""

from __future__ import annotations

from operator import attrgetter

from keystead.api.resource import Field, Group
from keystead.api.resources.cluster import node_link
from keystead.api.values import BOOLEAN, TEXT, UUID, one_of
from keystead.core.model import State
from keystead.core.query.query import Read


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

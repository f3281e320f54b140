"""``connectivity`` of a key server: what the nodes say of it, declared alike wherever a key server is shown.

Source: ONTAP REST API reference, key_server_connectivity. Costly, so only shown when asked for; inactive configurations
have none.
"""

from __future__ import annotations

from operator import attrgetter

from keystead.api.resource import Field, Group
from keystead.api.resources.cluster import node_link
from keystead.api.values import BOOLEAN, TEXT, UUID, one_of
from keystead.core.model import State
from keystead.core.query.query import Read


def connectivity_fields(within: str = "") -> tuple[Field | Group, ...]:
    """The fields; ``within`` is the dotted name of the group that the key server is, with its dot."""
    name = f"{within}connectivity"
    return (
        Group(name=name, help="Whether the nodes reach the server.", get=attrgetter("connectivity")),
        Field(
            name=f"{name}.cluster_availability",
            type=BOOLEAN,
            help="Whether all nodes say ``available``.",
            get=attrgetter("cluster_availability"),
            read=Read.EXPENSIVE,
            since="9.7",
        ),
        Group(name=f"{name}.node_states", help="What each node says.", get=attrgetter("node_states"), many=True),
        Field(
            name=f"{name}.node_states.state",
            type=one_of(*State),
            help="Of the primary; ``unknown`` until the node has looked.",
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

"""``/cluster`` and ``/cluster/nodes``. Clients read the version here first.

Source: ONTAP REST API reference, cluster. The reported release is the ONTAP level of this API.
"""

from __future__ import annotations

from dataclasses import replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from keystead.api.hal import segment
from keystead.api.operations import deleting, listing, setting, showing
from keystead.api.resource import OURS, Field, Group, Resource, itself
from keystead.api.values import BOOLEAN, TEXT, UUID, Parameter, integer, name, one_of, text
from keystead.core import errors
from keystead.core.attention.items import Severity
from keystead.core.model import ONTAP_LEVEL
from keystead.core.query.query import Read
from keystead.service.cluster.info import ClusterChange

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.api.declared import Paths
    from keystead.api.query import WriteQuery
    from keystead.api.request import Request
    from keystead.core.model import Node, Release
    from keystead.core.query.query import Wanted
    from keystead.service.cluster.info import ClusterView

CLUSTER_PATH = "/api/cluster"
NODES_PATH = "/api/cluster/nodes"
NUMBER = integer(0, 999)


def node_link(node: Node) -> str:
    """Return the path of a node."""
    return f"{NODES_PATH}/{segment(node.uuid)}"


def _version(release: Callable[[Any], Release]) -> tuple[Field | Group, ...]:
    """Return the fields of ``version``. ``release`` reads the release."""
    return (
        Group(name="version", help="The release.", get=release),
        Field(
            name="version.full",
            type=TEXT,
            help="The release as text.",
            get=lambda release: f"Keystead Release {release}",
        ),
        Field(name="version.generation", type=NUMBER, help="Its first number.", get=attrgetter("generation")),
        Field(name="version.major", type=NUMBER, help="Its second number.", get=attrgetter("major")),
        Field(name="version.minor", type=NUMBER, help="Its third number.", get=attrgetter("minor")),
    )


CLUSTER = Resource(
    name="cluster",
    ontap="Cluster",
    help="The cluster: all nodes on one database.",
    declared=(
        Field(name="name", type=name(44), help="The cluster's name.", get=attrgetter("cluster.name"), patch=True),
        Field(name="uuid", type=UUID, help="The cluster's identifier.", get=attrgetter("cluster.uuid")),
        *(
            Field(name=each, type=text(255), help=f"{help_} Kept and shown.", get=attrgetter(each), patch=True)
            for each, help_ in (("contact", "Who looks after the cluster."), ("location", "Where it is."))
        ),
        *_version(lambda _: ONTAP_LEVEL),
        Field(
            name="health",
            type=one_of("ok", "degraded"),
            help="``degraded`` while something critical needs somebody: see [attention](#attention).",
            get=attrgetter("health"),
            read=Read.EXPENSIVE,
            since=OURS,
        ),
    ),
    link=lambda _: CLUSTER_PATH,
)

NODES = Resource(
    name="node",
    ontap="Node",
    help="A node: a Keystead process that serves the cluster's database.",
    declared=(
        Field(
            name="uuid",
            type=UUID,
            help="The node's identifier.",
            get=attrgetter("uuid"),
            read=Read.KEY,
            column="uuid",
        ),
        Field(
            name="name",
            type=TEXT,
            help="The node's name.",
            get=attrgetter("name"),
            read=Read.KEY,
            column="name",
        ),
        *_version(attrgetter("release")),
        Group(name="keystead", help="Keystead itself on this node.", get=itself),
        Field(
            name="keystead.release",
            type=TEXT,
            help="Keystead's own release, of the process that served last.",
            get=lambda node: node.process.release if node.process else "",
            since=OURS,
        ),
        Field(
            name="keystead.schema",
            type=TEXT,
            help="The database's schema that this release has.",
            get=attrgetter("schema"),
            since=OURS,
        ),
        Field(
            name="keystead.address",
            type=TEXT,
            help="Where the other nodes reach this node; left out until its process has told.",
            get=lambda node: node.contact.address if node.contact else None,
            since=OURS,
        ),
        Field(
            name="state",
            type=one_of("up", "down"),
            help="``down``: the node was stopped, or was not seen for 45 seconds.",
            get=lambda node: "up" if node.up else "down",
        ),
    ),
    link=node_link,
)


async def _show(request: Request, wanted: Wanted) -> ClusterView:
    view = await request.services.cluster.get(request.call)
    if "health" not in wanted:
        return view
    worst = {item.severity for item in await request.services.attention.items(request.call)}
    return replace(view, health="degraded" if Severity.CRITICAL in worst else "ok")


async def _change(request: Request, values: dict[str, Any]) -> None:
    await request.services.cluster.change(request.call, ClusterChange(**values))


async def _remove(request: Request, uuid: str, _: WriteQuery) -> None:
    await request.services.node_removal.remove(request.call, uuid)


_FORCE = Parameter(BOOLEAN, "Accepted, and changes nothing: a node that is heard is never removed.")

PATHS: Paths = {
    CLUSTER_PATH: {
        "GET": showing(CLUSTER, _show),
        "PATCH": setting(CLUSTER, _change, codes=(errors.DUPLICATE_ENTRY,)),
    },
    NODES_PATH: {"GET": listing(NODES, lambda request, page: request.services.cluster.nodes(request.call, page))},
    f"{NODES_PATH}/{{uuid}}": {
        "GET": showing(NODES, lambda request, _: request.services.cluster.node(request.call, request.path_uuid())),
        "DELETE": deleting(NODES, _remove, {"force": _FORCE}, codes=(errors.NODE_IS_UP,)),
    },
}

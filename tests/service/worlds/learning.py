"""What tests of learning key servers share: a learner of one process, and what it has stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import KeyForm
from keystead.core.keys.names import canary_name
from keystead.service.keys.learning.learn import ServerLearner
from tests.service.worlds.keys import KeyNode, KeyWorld, places_in

if TYPE_CHECKING:
    from keystead.core.model import KeyServer
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.keys.topology import ServerTopology

OF_PLAIN = {
    "form": KeyForm.SECRET_DATA,
    "application_information": True,
    "locate_by_name": True,
    "locate_offset": True,
    "batches": True,
    "activates": True,
}
"""The profile of a server that does all it can."""

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What depends on key servers only is tested on one engine."""


def learner(world: KeyWorld, node: KeyNode, **options: Any) -> ServerLearner:
    """Return the learner of one process."""
    return ServerLearner(node.store, node.objects, node.endpoints, world.home.keyring, world.clock, **options)


async def learned(world: KeyWorld, *servers: KmipServer | str) -> tuple[ServerLearner, str, ServerTopology]:
    """Return a learner, a key manager with these servers, and what is known once they were learned."""
    manager = await world.key_manager(*servers, know=False)
    learning = learner(world, await world.node())
    return learning, manager, await learning.ensure(manager)


async def topology(world: KeyWorld, manager: str) -> ServerTopology:
    """Return what is stored."""
    return await world.store.read(lambda tx: places_in(tx, manager))


def name(topology: ServerTopology, server: KeyServer, number: int = 1) -> str:
    """Return the name of a server's canary."""
    return str(canary_name(topology.incarnation.uuid, server.uuid, number))


def domain_count(topology: ServerTopology) -> int:
    """Return how many replication domains there are."""
    return len(set(topology.domain_of.values()))

"""``connectivity`` of key servers: when it is shown, what it says, and how it is filtered."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from keystead.core.model import ONTAP_LEVEL, Node, Observation, State

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from tests.api.conftest import Api
    from tests.peers.fixtures import Pki
    from tests.peers.processes import Program

SECOND = Node("20000000-0000-4000-8000-000000000002", "second", ONTAP_LEVEL)
MANAGERS = "/api/security/key-managers"


@pytest.fixture
async def manager(api: Api, pki: Pki, pykmip_servers: list[Program]) -> str:
    """Return a key manager with two servers, just created."""
    return await api.key_manager(pki, [server.address for server in pykmip_servers[:2]])


async def own_node(api: Api) -> Node:
    """Return the node of this process."""
    return next(node for node in await api.store.read(lambda tx: tx.nodes()) if node != SECOND)


async def observe(api: Api, manager: str, node: Node, state: State) -> None:
    """Have a node say something of the first server."""

    def work(tx: Transaction) -> None:
        server = tx.key_servers(manager)[0]
        found = [each for each in tx.observations([server.uuid]) if each.node != SECOND.uuid]
        if node == SECOND:
            tx.put_node(SECOND)
        known = any(each.node == node.uuid for each in tx.observations([server.uuid]))
        tx.put_observations([Observation(node.uuid, server.uuid, "", state, found[0].since)], new=not known)

    await api.store.write(work)


async def shown(api: Api, manager: str, query: str) -> Any:
    """Return the records of the key servers."""
    return (await api.admin.get(f"{MANAGERS}/{manager}/key-servers?{query}")).body["records"]


@pytest.mark.parametrize("query", ["", "fields=*", "fields=server"])
async def test_connectivity_is_shown_only_when_it_is_asked_for(api: Api, manager: str, query: str) -> None:
    """It is costly: neither by default nor with ``*``."""
    assert all("connectivity" not in record for record in await shown(api, manager, query))
    one = (await api.admin.get(f"{MANAGERS}/{manager}?{query}")).body
    assert "connectivity" not in str(one)


@pytest.mark.parametrize("query", ["fields=connectivity", "fields=**"])
async def test_a_server_just_added_is_available_at_once(api: Api, manager: str, query: str) -> None:
    """The node that accepted it says so, with its name, uuid and link (checklist 59)."""
    node = await own_node(api)
    for record in await shown(api, manager, query):
        connectivity = record["connectivity"]
        assert connectivity["cluster_availability"] is True
        (said,) = connectivity["node_states"]
        assert said["state"] == "available"
        assert said["node"]["uuid"] == node.uuid
        assert said["node"]["name"] == node.name
        assert said["node"]["_links"]["self"]["href"] == f"/api/cluster/nodes/{node.uuid}"


async def test_one_server_and_its_key_manager_show_the_same(
    api: Api, manager: str, pykmip_servers: list[Program]
) -> None:
    """In the instance, and in ``external.servers`` of the key manager."""
    path = f"{MANAGERS}/{manager}/key-servers/{quote(pykmip_servers[0].address, safe='')}?fields=connectivity"
    one = (await api.admin.get(path)).body["connectivity"]
    of_manager = (await api.admin.get(f"{MANAGERS}/{manager}?fields=external.servers.connectivity")).body
    assert of_manager["external"]["servers"][0]["connectivity"] == one
    listed = (await api.admin.get(f"{MANAGERS}?fields=external.servers.connectivity.cluster_availability")).body
    assert [server["connectivity"] for server in listed["records"][0]["external"]["servers"]] == [
        {"cluster_availability": True}
    ] * 2


async def test_every_node_has_its_say(api: Api, manager: str) -> None:
    """``unknown`` until it has looked; the cluster reaches a server when all nodes do."""
    await api.store.write(lambda tx: tx.put_node(SECOND))
    own = await own_node(api)
    states = {own.name: "available", "second": "unknown"}
    for state in (None, State.NOT_RESPONDING, State.AVAILABLE):
        if state is not None:
            await observe(api, manager, SECOND, state)
            states["second"] = state.value
        first = (await shown(api, manager, "fields=connectivity"))[0]["connectivity"]
        assert {said["node"]["name"]: said["state"] for said in first["node_states"]} == states
        assert first["cluster_availability"] is (state is State.AVAILABLE)


async def test_an_inactive_configuration_has_no_connectivity(api: Api, manager: str) -> None:
    """Do not watch what is not enabled."""

    def disable(tx: Transaction) -> None:
        found = tx.key_manager(manager)
        assert found is not None
        tx.change_key_manager(replace(found, enabled=False))

    await api.store.write(disable)
    for record in await shown(api, manager, "fields=connectivity"):
        assert "connectivity" not in record


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("connectivity.cluster_availability=false", 2),
        ("connectivity.cluster_availability=true", 0),
        ("connectivity.node_states.state=not_responding", 1),
        ("connectivity.node_states.state=unknown", 1),
        ("connectivity.node_states.node.name=second", 2),
        ("connectivity.node_states.node.name=third", 0),
        (f"connectivity.node_states.node.uuid={SECOND.uuid}", 2),
    ],
)
async def test_servers_are_filtered_by_connectivity(api: Api, manager: str, query: str, count: int) -> None:
    """Each of its fields is a filter."""
    await observe(api, manager, SECOND, State.NOT_RESPONDING)
    assert len(await shown(api, manager, query)) == count


async def test_a_filter_of_node_states_prunes_them_when_asked_to(api: Api, manager: str) -> None:
    """``return_unmatched_nested_array_objects=false`` leaves the states that matched (checklist 70)."""
    await observe(api, manager, SECOND, State.NOT_RESPONDING)
    asked = "fields=connectivity&connectivity.node_states.node.name=second"
    whole = (await shown(api, manager, asked))[0]["connectivity"]["node_states"]
    assert len(whole) == 2
    pruned = (await shown(api, manager, f"{asked}&return_unmatched_nested_array_objects=false"))[0]["connectivity"]
    assert [said["node"]["name"] for said in pruned["node_states"]] == ["second"]

"""Removing real key servers: PyKMIP's, killed, paused and cut off, down to the last."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.server_address import ServerAddress
from tests.service.worlds.changing import Changer, changer_of
from tests.service.worlds.guards import LONG_AGO_S
from tests.service.worlds.keys import CALL, KeyWorld

if TYPE_CHECKING:
    from tests.peers.groups import Group

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def remove(removing: Changer, address: str) -> None:
    """Remove a server by its address."""
    state = await removing.servers.state(CALL, removing.manager)
    await removing.servers.remove(CALL, state, ServerAddress.parse(address))


async def refused(removing: Changer, address: str) -> None:
    """Assert that a removal is refused: keys would be lost."""
    with pytest.raises(OntapError) as raised:
        await remove(removing, address)
    assert raised.value.kind is errors.SOLE_COPY


async def removed_in_time(removing: Changer, address: str) -> None:
    """Remove a server in time: one that has come back is left alone for a little while, and then asked again."""
    async with asyncio.timeout(120):
        while True:
            try:
                await remove(removing, address)
            except OntapError:
                await asyncio.sleep(0.2)
            else:
                return


async def test_down_to_the_last(key_world: KeyWorld, pykmip_group: Group) -> None:
    """Remove each only while another one answers with every key; the last one stays."""
    servers = pykmip_group.primaries
    addresses = [server.proxied for server in servers]
    manager = await key_world.key_manager(*addresses, know=False, timeout=2, create_remove_timeout=30)
    removing = changer_of(key_world, await key_world.node(), manager)
    await removing.node.learn(manager)
    keys = [await removing.node.create(manager, f"key {number}") for number in range(10)]
    key_world.clock.advance(LONG_AGO_S)

    servers[1].kill()
    servers[2].pause()
    servers[3].network.fail("reset")
    await refused(removing, servers[0].proxied)
    servers[2].resume()
    key_world.clock.advance(LONG_AGO_S)
    await removed_in_time(removing, servers[0].proxied)
    key_world.clock.advance(LONG_AGO_S)
    await refused(removing, servers[2].proxied)
    await removed_in_time(removing, servers[1].proxied)
    await removed_in_time(removing, servers[3].proxied)
    key_world.clock.advance(LONG_AGO_S)
    await refused(removing, servers[2].proxied)
    assert [str(server.address) for server in await key_world.servers(manager)] == [servers[2].proxied]
    assert len(await removing.guard.detached(CALL, manager)) == 3
    assert len(servers[2].objects()) == len(keys) + 1  # and its canary

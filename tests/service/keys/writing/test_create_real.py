"""Creating keys on real key servers: learned first, then killed, paused and cut off while keys are created."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.keys.model import KeyState, Presence
from keystead.core.secret import Secret
from tests.service.worlds.keys import on_sqlite

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from tests.peers.groups import Group
    from tests.service.worlds.keys import KeyWorld

PRESENT, SENT, MISSING, UNKNOWN = Presence.PRESENT, Presence.SENT, Presence.MISSING, Presence.UNKNOWN
MATERIAL = bytes(range(64))

pytestmark = on_sqlite


async def check_held(world: KeyWorld, group: Group, key: Key) -> None:
    """Every copy that is called present is there, with the material."""
    copies = {copy.key_server: copy for copy in await world.copies(key.uuid) if copy.presence is PRESENT}
    for row, primary in zip(await world.servers(key.key_manager), group.primaries, strict=True):
        if row.uuid in copies:
            (identifier,) = copies[row.uuid].unique_identifiers
            assert primary.objects()[identifier] == MATERIAL


async def test_four_primaries_that_fail(key_world: KeyWorld, pykmip_group: Group) -> None:
    """With one killed there are three copies; with one more paused there is no key, and when both are back there is."""
    first, second, *_ = pykmip_group.primaries
    manager = await key_world.key_manager(
        *(primary.proxied for primary in pykmip_group.primaries), know=False, create_remove_timeout=5
    )
    node = await key_world.node(grace_s=8.0)
    await node.learn(manager)
    key = await node.create(manager, "all", material=Secret(MATERIAL))
    assert await key_world.presences(key.uuid) == 4 * [PRESENT]
    assert {copy.object_state for copy in await key_world.copies(key.uuid)} == {"Active"}
    await check_held(key_world, pykmip_group, key)
    first.kill()
    key = await node.create(manager, "one killed", material=Secret(MATERIAL))
    assert (await key_world.presences(key.uuid))[1:] == 3 * [PRESENT]
    await check_held(key_world, pykmip_group, key)
    second.pause()
    error = await node.refused(manager, "one paused, too", material=Secret(MATERIAL))
    assert error.kind is errors.TOO_FEW_COPIES
    assert [value for name, value in error.arguments if name == "server"] == [first.proxied, second.proxied]
    second.resume()
    first.restart()
    while True:  # until the circuits of those that failed let somebody in
        key = await node.create(manager, f"back {asyncio.get_running_loop().time()}", material=Secret(MATERIAL))
        await check_held(key_world, pykmip_group, key)
        if await key_world.presences(key.uuid) == 4 * [PRESENT]:
            break
        await asyncio.sleep(0.2)


async def test_networks_that_lose_answers(key_world: KeyWorld, pykmip_group: Group) -> None:
    """Wherever a connection breaks, what is called present is there, and a key is committed or aborted."""
    manager = await key_world.key_manager(
        *(primary.proxied for primary in pykmip_group.primaries), know=False, create_remove_timeout=5
    )
    node = await key_world.node(grace_s=8.0)
    await node.create(manager, "learned", material=Secret(MATERIAL))
    faults = ("lose", "reset", "cut", "lose", "drop")
    for number, fault in enumerate(faults):
        for primary in pykmip_group.primaries:
            primary.network.heal()
        creation = asyncio.create_task(node.create(manager, f"key {number}", material=Secret(MATERIAL)))
        await asyncio.sleep(0.01 * number)
        pykmip_group.primaries[number % 4].network.fail(fault)
        await asyncio.gather(creation, return_exceptions=True)
    for uuid, _, state in await key_world.stored_keys(manager):
        assert state in {KeyState.COMMITTED, KeyState.ABORTED}
        await check_held(key_world, pykmip_group, await key_world.key(uuid))
        if state == KeyState.COMMITTED:
            assert (await key_world.presences(uuid)).count(PRESENT) >= 3

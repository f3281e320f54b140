"""Reboot drills: what could be read by a node that has just started."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, Presence
from keystead.core.keys.report import Result
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys.reading.fetch import Fetcher
from tests.service.worlds.keys import SECONDARY, KeyWorld, asked, lying, on_sqlite, places_in
from tests.service.worlds.reading import MATERIAL, reading
from tests.service.worlds.verification import failures, proving, results

if TYPE_CHECKING:
    from tests.peers.groups import Group

GET = Operation.GET

pytestmark = on_sqlite


async def test_the_first_server_in_order_is_asked(key_world: KeyWorld) -> None:
    """For all keys at once; the others are not asked when it has them, and nothing is stored of the copies."""
    node = await proving(key_world)
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    keys = [await node.of.create(manager, f"key {number}") for number in range(3)]
    copies = [await key_world.copies(key.uuid) for key in keys]
    before = [len(asked(server, GET)) for server in servers]
    said = await node.drill(manager)
    assert said["kind"] == "reboot_drill"
    assert said["keys"] == {"total": 3, "unreadable": 0}
    assert results(said) == [{"proven": 3}, {}, {}]
    assert [len(asked(server, GET)) for server in servers] == [before[0] + 3, *before[1:]]
    assert [await key_world.copies(key.uuid) for key in keys] == copies


async def test_what_a_running_node_holds_does_not_count(key_world: KeyWorld) -> None:
    """A key that the node still reads from its memory is unreadable after a restart when all its servers are gone."""
    node = await proving(key_world)
    async with reading(key_world) as running:
        servers = await key_world.start(2)
        manager = await key_world.key_manager(*servers)
        key = await running.create(manager)
        assert await running.read(key) == MATERIAL
        for server in servers:
            await server.__aexit__(None, None, None)
        said = await node.drill(manager)
        assert await running.read(key) == MATERIAL
    assert said["keys"] == {"total": 1, "unreadable": 1}
    assert said["failures"]["total"] == 1
    assert failures(said) == [(key.key_id, "unreachable", "connection_refused")] * 2


async def test_the_next_server_is_asked_for_what_the_first_does_not_give(key_world: KeyWorld) -> None:
    """Lost, spoiled or refused there: each key is found elsewhere, and the drill marks nothing."""
    node = await proving(key_world)
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    lost, spoiled = [await node.of.create(manager, name) for name in "ab"]
    servers[0].responder.store.forget((await key_world.copies(lost.uuid))[0].unique_identifiers[0])
    servers[0].responder.store.rot((await key_world.copies(spoiled.uuid))[0].unique_identifiers[0])
    servers[1].responder.refusals[GET] = ResultReason.PERMISSION_DENIED
    said = await node.drill(manager)
    assert results(said) == [{"not_shown": 1, "different": 1}, {"refused": 2}, {"proven": 2}]
    assert said["keys"]["unreadable"] == said["failures"]["total"] == 0
    assert await key_world.presences(spoiled.uuid) == [Presence.PRESENT] * 3


async def test_a_key_that_every_server_spoils_is_unreadable(key_world: KeyWorld) -> None:
    """With what each of them answered."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    key = await node.of.create(manager)
    for server in servers:
        lying(server)
    said = await node.drill(manager)
    assert failures(said) == [(key.key_id, "different", "")] * 2
    assert said["keys"]["unreadable"] == 1


async def test_secondaries_are_read_last(key_world: KeyWorld) -> None:
    """When the primaries are gone, what replicates with them is asked."""
    node = await proving(key_world)
    servers = await key_world.start(1)
    await key_world.start_secondary(servers[0])
    manager = await key_world.key_manager(*servers, secondary_key_servers=(SECONDARY,))
    await node.of.create(manager)
    await servers[0].__aexit__(None, None, None)
    said = await node.drill(manager)
    assert results(said) == [{"unreachable": 1, "proven": 1}]
    assert said["keys"]["unreadable"] == 0


async def test_only_keys_in_use_are_read(key_world: KeyWorld) -> None:
    """A retired one is read by nobody; one without any copy cannot be."""
    node = await proving(key_world)
    manager = await key_world.key_manager(*await key_world.start(1))
    retired, none = [await node.of.create(manager, name) for name in "ab"]
    (copy,) = await key_world.copies(none.uuid)

    await key_world.store.write(lambda tx: tx.change_key(replace(retired, state=KeyState.RETIRED), retired.state))
    await key_world.store.write(lambda tx: tx.put_copies([replace(copy, presence=Presence.DESTROYED)], new=False))
    said = await node.drill(manager)
    assert said["keys"] == {"total": 1, "unreadable": 1}
    assert failures(said) == [(none.key_id, Result.NO_COPY.value, "")]


async def test_what_a_node_knows_of_servers_does_not_count(key_world: KeyWorld) -> None:
    """A server that the node leaves alone, since it was dead lately, is asked: a restart forgets that."""
    node = await proving(key_world)
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers)
    key = await node.of.create(manager)
    fetcher = Fetcher(node.of.store, node.of.objects, node.of.endpoints, key_world.clock, node.of.uuid)
    await servers[0].__aexit__(None, None, None)
    for _ in range(4):
        with pytest.raises(OntapError) as refused:
            await fetcher.fetch(key)
        assert refused.value.kind is errors.KEY_NOT_READ
    await servers[0].__aenter__()
    read_context = fetcher.read_context(await key_world.store.read(lambda tx: places_in(tx, manager)))
    assert read_context is not None
    assert node.of.objects.circuit_open(next(iter(read_context.endpoints.values())))
    assert results(await node.drill(manager)) == [{"proven": 1}]


async def test_real_servers_are_drilled(key_world: KeyWorld, pykmip_group: Group) -> None:
    """Two of four PyKMIP servers are dead and a third has lost everything: the fourth has all keys."""
    node = await proving(key_world)
    manager = await key_world.key_manager(*(server.address for server in pykmip_group.primaries), know=False)
    await node.of.learn(manager)
    for number in range(8):
        await node.of.create(manager, f"key {number}")
    for server in pykmip_group.primaries[:2]:
        server.kill()
    pykmip_group.primaries[2].forget_all()
    said = await node.drill(manager)
    assert results(said) == [{"unreachable": 8}, {"unreachable": 8}, {"not_shown": 8}, {"proven": 8}]
    assert said["keys"] == {"total": 8, "unreadable": 0}

"""Removing key servers that hold keys: never the only proven copy, whoever else removes at the same time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.guarding import Removal, RemovalFindings
from keystead.core.keys.model import Presence
from keystead.core.model import Role
from keystead.core.server_address import ServerAddress
from keystead.kmip.testing.server import delay
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.context import Call, Caller
from keystead.service.keys.guarding import removal as key_guard
from tests.service.worlds.changing import configuration_context
from tests.service.worlds.keys import CALL, KeyNode, KeyWorld, asked

if TYPE_CHECKING:
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.keys.guarding.removal import RemovalGuard
    from keystead.service.ports.store import Transaction

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What depends on key servers only is tested on one engine."""

LONG_AGO_S = 3600
"""After so long no proof is fresh."""


@dataclass
class Remover:
    """One node's removals."""

    world: KeyWorld
    node: KeyNode
    guard: RemovalGuard
    servers: KeyServers

    async def remove(self, key_manager: str, server: KmipServer, call: Call = CALL) -> None:
        """Remove a server, as a call does."""
        state = await self.servers.state(call, key_manager)
        await self.servers.remove(call, state, ServerAddress.parse(f"127.0.0.1:{server.port}"))

    async def refused(self, key_manager: str, server: KmipServer, call: Call = CALL) -> OntapError:
        """The error of a removal, which changes nothing."""
        before = await self.world.servers(key_manager)
        with pytest.raises(OntapError) as raised:
            await self.remove(key_manager, server, call)
        assert await self.world.servers(key_manager) == before
        return raised.value


async def remover(world: KeyWorld) -> Remover:
    """One more node that removes servers."""
    node = await world.node()
    context = configuration_context(world, node)
    return Remover(world, node, context.removal_guard, KeyServers(context))


async def detached(removing: Remover, key_manager: str) -> list[str]:
    """The uuids of removed servers that are still known."""
    return [each.server.uuid for each in await removing.guard.detached(CALL, key_manager)]


async def test_a_server_goes_when_another_has_proven_copies(key_world: KeyWorld) -> None:
    """Read live from there; the removed one stays visible until its copies have come to their end."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    key = await removing.node.create(manager)
    first, second = await key_world.servers(manager)
    key_world.clock.advance(LONG_AGO_S)
    before = len(asked(servers[1], Operation.GET))
    await removing.remove(manager, servers[0])
    assert await key_world.servers(manager) == (second,)
    assert len(asked(servers[1], Operation.GET)) == before + 1
    assert await detached(removing, manager) == [first.uuid]
    (kept,) = await removing.guard.detached(CALL, manager)
    assert kept.server == first
    assert {copy.key_server for copy in await key_world.copies(key.uuid)} == {first.uuid, second.uuid}
    assert await key_world.store.read(lambda tx: tx.profiles([first.uuid]))  # its canary is needed for cleaning up
    error = await removing.refused(manager, servers[1])
    assert (error.kind, error.target) == (errors.SOLE_COPY, "server")
    assert error.arguments == (("keys", "1"), ("key_id", key.key_id))


async def test_a_server_without_keys_goes_for_good(key_world: KeyWorld) -> None:
    """The last one, too; nothing of it stays."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    removing = await remover(key_world)
    (row,) = await key_world.servers(manager)
    await removing.remove(manager, server)
    assert await key_world.servers(manager) == ()
    assert await detached(removing, manager) == []
    assert await key_world.store.read(lambda tx: tx.profiles([row.uuid])) == ()
    with pytest.raises(OntapError) as raised:
        await removing.guard.detached(CALL, "no key manager")
    assert raised.value.kind is errors.ENTRY_NOT_FOUND


async def learned(key_world: KeyWorld, *servers: KmipServer) -> tuple[Remover, str]:
    """A node and a key manager whose servers have canaries."""
    manager = await key_world.key_manager(*servers, know=False)
    removing = await remover(key_world)
    await removing.node.learner.ensure(manager)
    return removing, manager


@on_sqlite
async def test_a_fresh_proof_needs_no_other(key_world: KeyWorld) -> None:
    """What was just read is not read again, where the canary is seen."""
    servers = await key_world.start(2)
    removing, manager = await learned(key_world, *servers)
    for number in range(3):
        await removing.node.create(manager, f"key {number}")
    before = len(asked(servers[1], Operation.GET))
    await removing.remove(manager, servers[0])
    assert len(asked(servers[1], Operation.GET)) == before + 1


@on_sqlite
async def test_a_proof_does_not_outlive_its_server(key_world: KeyWorld) -> None:
    """Every other server died, however lately it was read: the last that lives stays."""
    servers = await key_world.start(4)
    removing, manager = await learned(key_world, *servers)
    key = await removing.node.create(manager)
    for server in servers[:3]:
        await server.__aexit__(None, None, None)
    error = await removing.refused(manager, servers[3])
    assert (error.kind, error.arguments[:2]) == (errors.SOLE_COPY, (("keys", "1"), ("key_id", key.key_id)))
    async with servers[0]:
        await removing.remove(manager, servers[1])


@on_sqlite
async def test_a_server_that_hangs_does_not_answer(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does its proof count; a removal does not wait for it when others do."""
    monkeypatch.setattr(key_guard, "LOOKING_S", 0.3)
    servers = await key_world.start(3)
    removing, manager = await learned(key_world, *servers)
    await removing.node.create(manager)
    servers[1].faults[Operation.GET] = delay(20)
    async with asyncio.timeout(15):
        await removing.remove(manager, servers[0])
    monkeypatch.setattr(key_guard, "PROVING_S", 0.3)
    assert ("reason", "not_proven_in_time") in (await removing.refused(manager, servers[2])).arguments


@on_sqlite
async def test_a_proof_from_the_future_is_none(key_world: KeyWorld) -> None:
    """It was noted by a node whose clock is ahead: the copy is read again, and was lost meanwhile."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    key = await removing.node.create(manager)

    def ahead(tx: Transaction) -> None:
        for copy in tx.copies([key.uuid]):
            tx.put_copies([replace(copy, proven=key_world.clock.now() + timedelta(minutes=10))], new=False)

    await key_world.store.write(ahead)
    servers[1].responder.store.forget_all()
    assert (await removing.refused(manager, servers[0])).kind is errors.SOLE_COPY


@on_sqlite
async def test_the_only_other_copy_cannot_be_read(key_world: KeyWorld) -> None:
    """The server is dead, lost it, spoiled it, refuses or lies: 65536700 with the reason, until it is well again."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    key = await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    responder = servers[1].responder
    (identifier,) = responder.objects

    responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    assert ("reason", "permission_denied") in (await removing.refused(manager, servers[0])).arguments
    responder.refusals.clear()
    responder.lying = True
    assert ("reason", "different_material") in (await removing.refused(manager, servers[0])).arguments
    responder.lying = False
    await servers[1].__aexit__(None, None, None)
    error = await removing.refused(manager, servers[0])
    assert error.kind is errors.SOLE_COPY
    assert error.arguments[:2] == (("keys", "1"), ("key_id", key.key_id))
    assert error.arguments[2][0] == "reason"
    async with servers[1]:
        kept = responder.objects[identifier].copy()
        responder.store.rot(identifier)
        assert ("reason", "different_material") in (await removing.refused(manager, servers[0])).arguments
        responder.store.forget(identifier)
        assert ("reason", "item_not_found") in (await removing.refused(manager, servers[0])).arguments
        responder.store.receive(identifier, kept)
        await removing.remove(manager, servers[0])


@on_sqlite
async def test_one_of_several_other_copies_is_enough(key_world: KeyWorld) -> None:
    """The next is asked when the first fails."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    await removing.node.create(manager)
    await removing.node.create(manager, "another")
    key_world.clock.advance(LONG_AGO_S)
    for identifier, server in zip(
        (next(iter(servers[1].responder.objects)), list(servers[2].responder.objects)[1]), servers[1:], strict=True
    ):
        server.responder.store.forget(identifier)
    await removing.remove(manager, servers[0])


@on_sqlite
async def test_a_member_of_a_cluster_can_be_replaced(key_world: KeyWorld) -> None:
    """Both servers of a replicated cluster hold the key: one may go, for the domain stays; the last one may not."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, know=False)
    await key_world.know(manager, sees={0: [1]})
    removing = await remover(key_world)
    await removing.node.create(manager)
    await removing.remove(manager, servers[0])
    assert (await removing.refused(manager, servers[1])).kind is errors.SOLE_COPY


@on_sqlite
async def test_an_svm_hears_no_reason(key_world: KeyWorld) -> None:
    """It chooses the addresses: what happened there is not for it."""
    svm = await key_world.home.svm()
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, svm=svm)
    removing = await remover(key_world)
    key = await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    servers[1].responder.lying = True
    call = Call(Caller("vsadmin", Role.VSADMIN, "127.0.0.1", svm), "DELETE", "/api/test", scope=svm)
    error = await removing.refused(manager, servers[0], call)
    assert error.arguments == (("keys", "1"), ("key_id", key.key_id))


async def test_two_removals_cannot_rely_on_each_other(key_world: KeyWorld) -> None:
    """Each has its proof on the other's server, on nodes of their own: one is removed, never both."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removers = [await remover(key_world) for _ in servers]
    await removers[0].node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    for server in servers:
        server.faults[Operation.GET] = delay(0.1)  # both have planned by then
    outcomes = await asyncio.gather(
        *(each.remove(manager, server) for each, server in zip(removers, servers, strict=True)),
        return_exceptions=True,
    )
    assert sorted(map(type, outcomes), key=str) == [type(None), OntapError]
    (error,) = (each for each in outcomes if isinstance(each, OntapError))
    assert error.kind is errors.SOLE_COPY
    assert len(await key_world.servers(manager)) == 1


@on_sqlite
async def test_what_changes_while_it_is_proved_is_proved_again(key_world: KeyWorld) -> None:
    """Its copy elsewhere is no longer what was read: the keeper found another object, say."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    key = await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    state = await removing.servers.state(CALL, manager)
    removal = Removal(state.key_manager, state.servers[0])
    found = await removing.guard.prove(CALL, removal, removing.servers._context.prover.deadline())

    async def check() -> bool:
        return await removing.node.store.write(lambda tx: removing.guard.check(tx, removal, found))

    assert await check()
    assert not await removing.node.store.write(lambda tx: removing.guard.check(tx, removal, RemovalFindings()))
    copies = await key_world.copies(key.uuid)
    elsewhere = next(copy for copy in copies if copy.key_server == state.servers[1].uuid)
    lost = replace(elsewhere, presence=Presence.UNKNOWN)
    await key_world.store.write(lambda tx: tx.put_copies([lost], new=False))
    assert not await check()
    await key_world.store.write(lambda tx: tx.put_copies([elsewhere], new=False))
    assert await check()
    key_world.clock.advance(LONG_AGO_S)
    assert not await check()
    await removing.remove(manager, servers[0])


@on_sqlite
async def test_many_keys_are_proved_page_by_page(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last page counts as the first."""
    monkeypatch.setattr(key_guard, "PAGE", 2)
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    keys = [await removing.node.create(manager, f"key {number}") for number in range(5)]
    key_world.clock.advance(LONG_AGO_S)
    last = max(keys, key=lambda key: key.uuid)
    second = (await key_world.servers(manager))[1].uuid
    (copy,) = [copy for copy in await key_world.copies(last.uuid) if copy.key_server == second]
    kept = servers[1].responder.objects[copy.unique_identifiers[0]].copy()
    servers[1].responder.store.forget(copy.unique_identifiers[0])
    assert ("key_id", last.key_id) in (await removing.refused(manager, servers[0])).arguments
    servers[1].responder.store.receive(copy.unique_identifiers[0], kept)
    await removing.remove(manager, servers[0])
    assert len(await detached(removing, manager)) == 1


@on_sqlite
async def test_what_cannot_be_proved_in_time(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and says so."""
    monkeypatch.setattr(key_guard, "PROVING_S", 0.3)
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    servers[1].faults[Operation.GET] = delay(2)
    assert ("reason", "not_proven_in_time") in (await removing.refused(manager, servers[0])).arguments


@on_sqlite
async def test_a_call_that_ends_before(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """503, by then: it says nothing of the copies."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    servers[1].faults[Operation.GET] = delay(30)
    monkeypatch.setattr(removing.servers._context.prover, "deadline", lambda: asyncio.get_running_loop().time() + 0.3)
    async with asyncio.timeout(20):
        error = await removing.refused(manager, servers[0])
    assert (error.kind, error.retry_after) == (errors.TOO_BUSY, 5)


@on_sqlite
async def test_servers_that_cannot_be_asked(key_world: KeyWorld) -> None:
    """The client certificate is gone: nothing can be proved, so nothing is removed."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = await remover(key_world)
    await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    await key_world.store.write(lambda tx: tx.delete_certificate(key_world.home.client_certificate))
    assert ("reason", "not_readable") in (await removing.refused(manager, servers[0])).arguments


@on_sqlite
async def test_a_server_whose_password_cannot_be_opened(key_world: KeyWorld) -> None:
    """It cannot be asked; the others can, so that it may go."""
    servers = await key_world.start(2)
    removing, manager = await learned(key_world, *servers)
    await removing.node.create(manager)
    (row, _) = await key_world.servers(manager)
    unsealed = replace(row, sealed_password=b"damaged")
    await key_world.store.write(lambda tx: tx.change_key_server(unsealed))
    assert (await removing.refused(manager, servers[1])).kind is errors.SOLE_COPY
    await removing.remove(manager, servers[0])

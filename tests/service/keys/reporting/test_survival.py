"""What would survive, of keys that were created on real sessions with scripted key servers."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.away import Away
from keystead.core.keys.model import Presence
from keystead.core.keys.survival import CopyMark, KeyName
from keystead.core.model import Observation, State, Svm
from keystead.service.context import Call
from keystead.service.keys.reporting.survival import KeySurvival
from tests.service.worlds.keys import CALL, SECONDARY, STANDBY, KeyWorld, full, on_sqlite
from tests.store.samples import NOON

if TYPE_CHECKING:
    from keystead.core.keys.survival import Survival
    from keystead.service.ports.store import Transaction


def lost(found: Survival) -> dict[str, int]:
    """Return what each set of domains would take along, by the positions of their servers."""
    place = {domain.uuid: str(number) for number, domain in enumerate(found.domains)}
    return {"".join(place[uuid] for uuid in loss.domains): loss.keys for loss in found.losses if loss.keys}


async def test_keys_are_lost_with_all_the_servers_that_hold_them(key_world: KeyWorld) -> None:
    """As created: where every server took a key, all must go; where one was full, the others."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    everywhere = await node.create(manager, "everywhere")
    full(servers[2])
    partly = await node.create(manager, "partly")
    found = await KeySurvival(key_world.store, key_world.clock).survival(CALL, manager)
    assert [domain.servers for domain in found.domains] == [(f"127.0.0.1:{server.port}",) for server in servers]
    assert (found.keys, found.unproven.keys, found.sole, found.survives) == (2, 0, 0, 1)
    assert lost(found) == {"01": 1, "012": 2}
    first, second = (KeyName(key.key_id, key.name) for key in (everywhere, partly))
    assert {loss.named for loss in found.losses if loss.keys} == {(second,), (first, second)}
    proven = [copy.proven for key in (everywhere, partly) for copy in await key_world.copies(key.uuid) if copy.proven]
    assert found.unproven.oldest_proof == min(proven)


@on_sqlite
async def test_servers_that_replicate_are_lost_together(key_world: KeyWorld) -> None:
    """Two of three are one domain: a key that only they hold has a sole copy."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, min_copies=1)
    await key_world.know(manager, sees={1: (0,)})
    full(servers[2])
    await (await key_world.node()).create(manager)
    found = await KeySurvival(key_world.store, key_world.clock).survival(CALL, manager)
    assert [len(domain.servers) for domain in found.domains] == [2, 1]
    assert (found.sole, found.survives, lost(found)) == (1, 0, {"0": 1, "01": 1})


@on_sqlite
@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "::1"])
async def test_what_one_secondary_has_for_two_servers_is_lost_with_either(key_world: KeyWorld) -> None:
    """While both are away it has all there is: too little for two; those who are there count."""
    servers, addresses = await key_world.start_with_standby()
    manager = await key_world.key_manager(*addresses, know=False, **STANDBY)
    node = await key_world.node(grace_s=20)
    assert len((await node.learner.ensure(manager)).profiles) == len(addresses)
    for server in servers[:2]:
        servers[2].responder.objects.update(server.responder.objects)  # it has their canaries
    on_both = await node.create(manager, "on both")
    for server in servers[:2]:
        await server.__aexit__(None, None, None)
    error = await node.refused(manager)
    assert error.kind is errors.TOO_FEW_COPIES
    found = (await key_world.topology(manager)).key_manager
    await key_world.store.write(lambda tx: tx.change_key_manager(replace(found, min_copies=1)))
    key = await node.create(manager, "on the secondary")
    there = [copy.host for copy in await key_world.copies(key.uuid) if copy.presence is Presence.PRESENT]
    assert there == [SECONDARY, SECONDARY]
    said = await KeySurvival(key_world.store, key_world.clock).survival(CALL, manager)
    assert [domain.servers for domain in said.domains] == [(address,) for address in addresses]
    assert (said.keys, said.sole, said.survives, lost(said)) == (2, 1, 0, {"0": 1, "1": 1, "01": 2})
    assert said.losses[0].named == said.losses[1].named == (KeyName(key.key_id, key.name),)
    assert said.unproven.oldest_proof == min(
        copy.proven for copy in await key_world.copies(on_both.uuid) if copy.proven
    )


@on_sqlite
async def test_the_outlook_of_new_keys(key_world: KeyWorld) -> None:
    """Who is learned, at which host a server can be read, and what refuses every key."""
    manager = await key_world.key_manager(*await key_world.start(3), know=False)
    found = await KeySurvival(key_world.store, key_world.clock).outlook(CALL, manager)
    uuids = [server.uuid for server in found.servers]
    assert found.manager.svm is not None
    assert (found.manager.uuid, found.vserver) == (manager, found.manager.svm.name)
    assert (set(found.unlearned), dict(found.readable_at), found.refusal) == (set(uuids), {}, None)
    await key_world.know(manager)
    await key_world.node()

    def change(tx: Transaction) -> None:
        (node, *_) = tx.nodes()
        tx.put_observations([Observation(node.uuid, uuids[0], "", State.AVAILABLE, NOON)], new=True)
        tx.change_key_manager(replace(found.manager, enabled=False))

    await key_world.store.write(change)
    found = await KeySurvival(key_world.store, key_world.clock).outlook(CALL, manager)
    assert (len(found.unlearned), found.readable_at) == (0, {uuids[0]: ""})
    assert found.refusal is not None
    assert found.refusal.kind is errors.NOT_ENABLED
    elsewhere = replace(CALL, scope=Svm(str(uuid4()), "elsewhere"))
    with pytest.raises(OntapError) as raised:
        await KeySurvival(key_world.store, key_world.clock).outlook(elsewhere, manager)
    assert raised.value.kind is errors.ENTRY_NOT_FOUND


@on_sqlite
async def test_what_is_not_proven_any_more_is_lost_already(key_world: KeyWorld) -> None:
    """A key whose copies are all unknown counts as lost."""
    manager = await key_world.key_manager(*await key_world.start(2))
    key = await (await key_world.node()).create(manager)
    unknown = [replace(copy, presence=Presence.UNKNOWN) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(unknown, new=False))
    found = await KeySurvival(key_world.store, key_world.clock).survival(CALL, manager)
    assert (found.unproven.keys, found.unproven.named, found.survives) == (1, (KeyName(key.key_id, key.name),), 0)


@on_sqlite
async def test_what_survives_now(key_world: KeyWorld) -> None:
    """A server that was lost, and one that hides its keys, have failed already; their proven copies are away."""
    manager = await key_world.key_manager(*await key_world.start(4))
    key = await (await key_world.node()).create(manager)
    servers = (await key_world.topology(manager)).servers
    said = zip(servers, [State.AVAILABLE] * 3 + [State.NOT_RESPONDING], [True, True, False, True], strict=True)

    def observe(tx: Transaction) -> None:
        node = tx.nodes()[0].uuid
        seen = [Observation(node, each.uuid, "", state, NOON, keys_visible=visible) for each, state, visible in said]
        tx.put_observations(seen, new=True)

    await key_world.store.write(observe)
    found = await KeySurvival(key_world.store, key_world.clock).survival(CALL, manager)
    assert found.now.away == {servers[2].uuid: Away.KEYS_HIDDEN, servers[3].uuid: Away.NOT_RESPONDING}
    assert (found.survives, found.now.survives, found.now.at_risk, found.now.unreadable.keys) == (3, 1, 1, 0)
    (pattern,) = found.patterns
    assert pattern.named == (KeyName(key.key_id, key.name),)
    assert [mark for _, mark in pattern.marks] == [CopyMark.PROVEN] * 2 + [CopyMark.PROVEN_AWAY] * 2


@on_sqlite
async def test_only_who_sees_the_key_manager_is_told(key_world: KeyWorld) -> None:
    """For an account of another SVM there is none; its own is answered."""
    svm, other = await key_world.home.svm(), await key_world.home.svm()
    manager = await key_world.key_manager(*await key_world.start(1), svm=svm)
    service = KeySurvival(key_world.store, key_world.clock)
    assert (await service.survival(Call(CALL.caller, "GET", "/", scope=svm), manager)).keys == 0
    for call, uuid in ((Call(CALL.caller, "GET", "/", scope=other), manager), (CALL, "absent")):
        with pytest.raises(OntapError) as refused:
            await service.survival(call, uuid)
        assert (refused.value.kind.code, refused.value.target) == (4, "uuid")

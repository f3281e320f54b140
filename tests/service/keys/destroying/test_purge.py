"""What is destroyed, in which steps, with which receipts; and what is not."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Copy, Detached, KeyState, Presence, Purpose
from keystead.core.keys.names import ObjectKind, object_name, parse
from keystead.kmip.server.responder import Responder, cluster
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import close, first
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.audit.log import AuditLog
from keystead.service.cluster.leases import LeaseLost
from keystead.service.keys.looking import visit as visits
from keystead.service.ports.store import StoreError
from tests.service.worlds.keepers import (
    PAIRS,
    WINDOW_S,
    Keeping,
    aborted,
    again,
    keeping,
    of_kind,
    retire_and_wait,
    set_incarnation,
)
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, asked, full, held
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import Exchange, Fault
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction
    from tests.peers.groups import Group

DESTROYED, PRESENT = Presence.DESTROYED, Presence.PRESENT
LATE_S = 3600 + 121


def keys_on(server: KmipServer) -> list[str]:
    """Return the names of the keys, and of their descriptors, that a server holds."""
    names = {name: parse(name) for name in held(server)}
    return sorted(name for name, parsed in names.items() if parsed and parsed.kind is not ObjectKind.CANARY)


async def purged(kept: Keeping) -> Key:
    """Create a key and have its window end."""
    key = await kept.node.create(kept.manager)
    await retire_and_wait(kept, key)
    return key


def without_answers(server: KmipServer) -> None:
    """Close each connection that asks for an object. So the canary is not seen, and nothing is sent."""
    server.request_faults[Operation.GET] = close


def about(server: KmipServer, ids: Collection[str]) -> Fault:
    """Close the connection when one of these objects is asked for; answer soundly otherwise."""

    async def fault(exchange: Exchange) -> None:
        asked_for: Any = server.requests[-1].batch_item[0].request_payload
        await (close(exchange) if asked_for.unique_identifier in ids else exchange.stream.send(exchange.answer))

    return fault


# --- purges ---


async def test_a_key_whose_window_has_ended_is_destroyed(key_world: KeyWorld) -> None:
    """Each copy is revoked, destroyed and gets a receipt; other objects and canaries stay."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    stays = await kept.node.create(kept.manager, "stays")
    key = await purged(kept)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert await kept.receipts(key) == [(place, action) for place in range(3) for action in ("destroyed", "revoked")]
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == 3 * [DESTROYED]
    assert [copy.presence for copy in await key_world.copies(stays.uuid)] == 3 * [PRESENT]
    assert all(len(keys_on(server)) == 1 and len(held(server)) == 2 for server in servers)
    assert all(asked(server)[-3:] == ["GET_ATTRIBUTES", "REVOKE", "DESTROY"] for server in servers)
    name_again = await kept.node.create(kept.manager)
    assert name_again.uuid != key.uuid
    await kept.end()
    assert len(await kept.receipts(key)) == 6


@on_sqlite
async def test_a_purge_begins_with_its_audit_record(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one transaction, so that a failover cannot lose the beginning alone: without a record there is no purge."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    with monkeypatch.context() as patched:
        patched.setattr(AuditLog, "append", _fail)
        with pytest.raises(StoreError, match="no record"):
            await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    assert "DESTROY" not in asked(servers[0])
    await kept.end()
    assert f"began to purge key {key.key_id}" in await key_world.messages()


def _fail(*_: object) -> None:
    raise StoreError("no record")


@on_sqlite
async def test_nothing_happens_before_the_window_ends(key_world: KeyWorld) -> None:
    """A retired key stays until its window ends, a recovered one stays."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await retire_and_wait(kept, key)
    key_world.clock.advance(-2)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    assert all("DESTROY" not in asked(server) for server in servers)


@on_sqlite
@pytest.mark.parametrize(
    "kind",
    [
        "names stay taken",
        "destroyed objects are kept",
        "destroyed objects are kept and not located",
        "destroy of active is permission denied",
        "destroy of active is allowed",
        "locate returns everything",
        "no offset items",
        "symmetric keys only",
        PAIRS,
        "no states",
        "active at once",
    ],
)
async def test_the_end_on_kinds_of_servers(key_world: KeyWorld, kind: str) -> None:
    """On every kind of server all objects of the key are destroyed."""
    servers = await key_world.start(2, [of_kind(kind), of_kind(kind)])
    kept = await keeping(key_world, *servers)
    stays = await kept.node.create(kept.manager, "stays")
    key = await purged(kept)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    parts = 2 if kind == PAIRS else 1
    assert [len(keys_on(server)) for server in servers] == [parts, parts]
    assert {action for _, action in await kept.receipts(key)} >= {"destroyed"}
    assert [copy.presence for copy in await key_world.copies(stays.uuid)] == [PRESENT, PRESENT]
    await kept.sweep(0)
    assert [copy.presence for copy in await key_world.copies(stays.uuid)] == [PRESENT, PRESENT]


@on_sqlite
async def test_a_state_that_is_not_told_is_found_out(key_world: KeyWorld) -> None:
    """When GetAttributes is refused, an object is known by its bytes; refused as Active, it is revoked first.

    What is noted as a descriptor is left alone then: nobody can say what it is.
    """
    profile = PROFILES["destroy of active is permission denied"]
    servers = await key_world.start(1, [Responder(profile=profile)])
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    servers[0].responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.PERMISSION_DENIED
    copies = await key_world.copies(key.uuid)
    (canary,) = set(servers[0].responder.objects) - set(copies[0].unique_identifiers)
    await key_world.store.write(lambda tx: tx.put_copies([replace(copies[0], descriptor=canary)], new=False))
    await kept.end()
    assert keys_on(servers[0]) == []
    assert set(servers[0].responder.objects) == {canary}
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    actions = {action for _, action in await kept.receipts(key)}
    assert actions == {"revoked", "destroyed"}


async def test_a_server_that_was_away_does_not_bring_a_key_back(key_world: KeyWorld) -> None:
    """The end waits for it, and only for it: the key is purging until its last copy has a receipt."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    servers[0].request_faults[Operation.GET] = close
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    assert [len(keys_on(server)) for server in servers] == [1, 0]
    with pytest.raises(OntapError):
        await kept.ending.recover(CALL, kept.manager, key.key_id)
    servers[0].request_faults.clear()
    key_world.clock.advance(120)
    await asyncio.sleep(0)
    await again(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert [len(keys_on(server)) for server in servers] == [0, 0]


@on_sqlite
async def test_a_copy_is_absent_only_where_the_canary_is_seen(key_world: KeyWorld) -> None:
    """What a server has lost needs no Destroy; one that shows nothing at all is asked again."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    for server, copy in zip(servers, await key_world.copies(key.uuid), strict=True):
        server.responder.store.forget(copy.unique_identifiers[0])
    servers[1].responder.store.forget_all()
    await kept.end()
    assert await kept.receipts(key) == [(0, "absent")]
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [DESTROYED, PRESENT]
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING


@on_sqlite
async def test_an_object_that_has_taken_the_identifier_is_left_alone(key_world: KeyWorld) -> None:
    """A server that was restored gives identifiers out again: the name says that this is another object."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    other = await kept.node.create(kept.manager, "another")
    key = await purged(kept)
    store = servers[0].responder.store
    ((old,),) = [copy.unique_identifiers for copy in await key_world.copies(key.uuid)]
    ((theirs,),) = [copy.unique_identifiers for copy in await key_world.copies(other.uuid)]
    store.objects[old] = store.objects.pop(theirs)
    await kept.end()
    assert await kept.receipts(key) == [(0, "absent")]
    assert len(keys_on(servers[0])) == 1
    assert "DESTROY" not in asked(servers[0])


@on_sqlite
async def test_a_descriptor_ends_with_its_copy(key_world: KeyWorld) -> None:
    """Whether or not it was noted that it was written; on a server that does not find it, the copy ends without."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    node = await key_world.node(describe=lambda *_: b"what the key is")
    key = await node.create(kept.manager)
    copies = await key_world.copies(key.uuid)
    assert all(copy.descriptor for copy in copies)
    await key_world.store.write(lambda tx: tx.put_copies([replace(copies[0], descriptor="")], new=False))
    await key_world.store.write(lambda tx: tx.put_copies([replace(copies[2], descriptor="")], new=False))
    servers[2].responder.refusals[Operation.LOCATE] = ResultReason.PERMISSION_DENIED
    await retire_and_wait(kept, key)
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [0, 0, 1]
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED


@on_sqlite
async def test_what_one_server_refuses_holds_up_no_other(key_world: KeyWorld) -> None:
    """A refused Destroy is repeated in the next round, and delays no other copy."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    servers[0].responder.refusals[Operation.REVOKE] = ResultReason.PERMISSION_DENIED
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [1, 0]
    servers[0].responder.refusals.clear()
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [0, 0]
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED


@on_sqlite
@pytest.mark.parametrize(("silent", "ended"), [([0], [1, 2, 3, 4]), ([0, 1, 4], [2, 3]), ([0, 1, 2], [])])
async def test_an_object_about_which_a_server_falls_silent(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, silent: list[int], ended: list[int]
) -> None:
    """Holds up no other, unless the server is silent about several in a row."""
    monkeypatch.setattr(visits, "RECONNECT_S", 0.0)
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    keys = [await kept.node.create(kept.manager, f"key {number}") for number in range(5)]
    keys.sort(key=lambda key: key.uuid)
    ids = [(await key_world.copies(key.uuid))[0].unique_identifiers[0] for key in keys]
    for key in keys:
        await kept.ending.retire(CALL, kept.manager, key.key_id)
    key_world.clock.advance(WINDOW_S + 1)
    servers[0].request_faults[Operation.GET_ATTRIBUTES] = about(servers[0], {ids[number] for number in silent})
    await kept.end()
    states = [(await key_world.key(key.uuid)).state for key in keys]
    assert [number for number, state in enumerate(states) if state is KeyState.PURGED] == ended


@on_sqlite
async def test_an_object_that_nobody_can_tell_is_left_alone(key_world: KeyWorld) -> None:
    """Where neither names nor bytes are told, nothing is destroyed, and no receipt says so."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    for operation in (Operation.GET_ATTRIBUTES, Operation.GET):
        servers[0].responder.refusals[operation] = ResultReason.PERMISSION_DENIED
    await kept.end()
    assert await kept.receipts(key) == []
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    assert "DESTROY" not in asked(servers[0])


@on_sqlite
async def test_a_server_whose_answer_to_destroy_is_lost(key_world: KeyWorld) -> None:
    """What was done by then is noted; the next round finds the object absent."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    servers[0].faults[Operation.DESTROY] = first(1, close)
    await kept.end()
    assert await kept.receipts(key) == [(0, "revoked")]
    await again(kept)
    assert sorted(await kept.receipts(key)) == [(0, "absent"), (0, "revoked")]
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED


@on_sqlite
async def test_servers_that_replicate_end_a_key_together(key_world: KeyWorld) -> None:
    """What is destroyed on one is absent on the other, where the canary is still seen."""
    members, _ = cluster(2)
    servers = await key_world.start(2, members)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert [keys_on(server) for server in servers] == [[], []]


@on_sqlite
@pytest.mark.parametrize("removed", [False, True])
async def test_no_server_stands_in_for_another_at_the_end(key_world: KeyWorld, removed: bool) -> None:
    """A secondary that fails, or was removed, may keep what its primary never had: the end waits for it."""
    (primary,) = await key_world.start(1)
    secondary = await key_world.start_secondary(primary, of_kind("plain"))
    manager = await key_world.key_manager(primary, know=False, secondary_key_servers=(SECONDARY,))
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    secondary.responder.objects.update(primary.responder.objects)  # it shows the canary
    other = await kept.node.create(kept.manager, "on the primary")
    full(primary)
    key = await kept.node.create(kept.manager)
    assert [len(keys_on(server)) for server in (primary, secondary)] == [1, 1]
    await kept.ending.retire(CALL, kept.manager, other.key_id)
    await retire_and_wait(kept, key)
    if removed:
        (server,) = await key_world.servers(manager)
        await key_world.store.write(lambda tx: tx.change_key_server(replace(server, secondary_key_servers=())))
    secondary.request_faults |= dict.fromkeys((Operation.LOCATE, Operation.GET, Operation.GET_ATTRIBUTES), close)
    for _ in range(5):
        await kept.end()
        key_world.clock.advance(LATE_S)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    assert (await key_world.key(other.uuid)).state is KeyState.PURGED
    secondary.request_faults.clear()
    await again(kept)
    assert [len(keys_on(server)) for server in (primary, secondary)] == [0, 0]
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED


# --- aborted attempts ---


async def test_what_an_aborted_attempt_left_is_destroyed(key_world: KeyWorld) -> None:
    """Under its identifier, or found by the attempt's name; what is absent counts once nothing can be on its way."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await aborted(kept, *servers)
    assert key.state is KeyState.ABORTED
    assert [len(keys_on(server)) for server in servers] == [1, 1]
    await again(kept)
    assert [len(keys_on(server)) for server in servers] == [0, 0]
    assert {copy.presence for copy in await key_world.copies(key.uuid)} == {DESTROYED}
    assert {action for _, action in await kept.receipts(key)} == {"destroyed"}


@on_sqlite
async def test_an_object_that_arrives_late_is_waited_for(key_world: KeyWorld) -> None:
    """A Register whose answer never came may arrive late: absence counts an hour after the attempt's time."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    servers[0].request_faults[Operation.REGISTER] = close
    with pytest.raises(OntapError):
        await kept.node.create(kept.manager)
    ((uuid, _, state),) = await key_world.stored_keys(kept.manager)
    assert state == "aborted"
    await again(kept)
    assert [copy.presence for copy in await key_world.copies(uuid)] != [DESTROYED]
    key_world.clock.advance(LATE_S)
    await again(kept)
    assert [copy.presence for copy in await key_world.copies(uuid)] == [DESTROYED]
    assert await kept.receipts(await key_world.key(uuid)) == [(0, "absent")]


@on_sqlite
@pytest.mark.parametrize("fails", [full, without_answers], ids=["refused", "not sent"])
async def test_a_copy_that_was_never_written_is_not_waited_for(
    key_world: KeyWorld, fails: Callable[[KmipServer], None]
) -> None:
    """A receipt says so when the attempt ends. So a deleted key is purged as soon as the other copies are destroyed."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    fails(servers[2])
    key = await kept.node.create(kept.manager)
    assert await kept.receipts(key) == [(2, "not_written")]
    await key_world.set_recovery_days(0)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    servers[2].responder.capacity = None
    servers[2].request_faults.clear()
    await again(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert await kept.receipts(key) == [
        *((place, action) for place in range(2) for action in ("destroyed", "revoked")),
        *((2, action) for action in ("not_written", "absent")),
    ]


@on_sqlite
async def test_the_copies_of_a_key_outlive_an_aborted_copy(key_world: KeyWorld) -> None:
    """Of a key in use, the objects of the aborted attempt go and no others: nor one that it lists by mistake."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    copies = await key_world.copies(key.uuid)
    begun = replace(attempt, number=2, purpose=Purpose.COPY, state=AttemptState.ABORTED, token="another")
    wrong = Copy(key.uuid, 2, copies[0].key_server, PRESENT, unique_identifiers=copies[0].unique_identifiers)
    await key_world.store.write(lambda tx: (tx.add_attempt(begun), tx.put_copies([wrong], new=True)))
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [1, 1]
    assert all("DESTROY" not in asked(server) for server in servers)
    assert await kept.receipts(key) == []


@on_sqlite
async def test_bytes_do_not_tell_the_copies_of_a_key_in_use_apart(key_world: KeyWorld) -> None:
    """A server that gave the aborted attempt's identifier to the key's own object: the name says whose it is."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    ((uid,),) = [copy.unique_identifiers for copy in await key_world.copies(key.uuid)]
    store = servers[0].responder.store
    store.objects["another"] = store.objects.pop(uid)
    begun = replace(attempt, number=2, purpose=Purpose.COPY, state=AttemptState.ABORTED, token="another")
    (server,) = await key_world.servers(kept.manager)
    left = Copy(key.uuid, 2, server.uuid, Presence.UNKNOWN, unique_identifiers=("another",))
    await key_world.store.write(lambda tx: (tx.add_attempt(begun), tx.put_copies([left], new=True)))
    await kept.end()
    assert "DESTROY" not in asked(servers[0])
    assert len(keys_on(servers[0])) == 1


# --- other lives, other keepers ---


@pytest.mark.parametrize("begun", [False, True])
async def test_nothing_is_destroyed_while_that_is_held(key_world: KeyWorld, begun: bool) -> None:
    """While destruction is held nothing is destroyed, not even what had begun to end."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    if begun:
        purging = replace(await key_world.key(key.uuid), state=KeyState.PURGING)
        await key_world.store.write(lambda tx: tx.change_key(purging, KeyState.RETIRED))
    await set_incarnation(key_world, destroys=False)
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [1, 1]
    assert (await key_world.key(key.uuid)).state is (KeyState.PURGING if begun else KeyState.RETIRED)
    await set_incarnation(key_world, destroys=True)
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [0, 0]


@on_sqlite
async def test_what_another_incarnation_aborted_or_retired_stays(key_world: KeyWorld) -> None:
    """Copies that another incarnation aborted or retired are not destroyed, even after a release."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    lost = await aborted(kept, *servers)
    await again(kept, end=False)
    key = await kept.node.create(kept.manager)
    await retire_and_wait(kept, key)
    await set_incarnation(key_world, uuid="another", number=2, began=key_world.clock.now(), destroys=True)
    await kept.end()
    assert [len(keys_on(server)) for server in servers] == [2, 2]
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    assert (await key_world.key(lost.uuid)).state is KeyState.ABORTED
    assert all("DESTROY" not in asked(server) for server in servers)


async def test_a_keeper_that_was_held_up_destroys_nothing(key_world: KeyWorld) -> None:
    """A keeper that was held up destroys nothing, whether another process has the lease or may take it."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await purged(kept)
    another = Keeping(key_world, await key_world.node(), kept.manager)

    async def held_up() -> None:
        key_world.clock.advance(300)

    kept.destroying._context = replace(kept.context, turn=held_up)
    async with kept.lease() as holding:
        with pytest.raises(LeaseLost):
            await kept.destroying.end(holding, kept.manager, await kept.everywhere())
    assert [len(keys_on(server)) for server in servers] == [1, 1]
    async with kept.lease() as holding:
        key_world.clock.advance(300)
        async with another.lease():
            with pytest.raises(LeaseLost):
                await kept.destroying.end(holding, kept.manager, await kept.everywhere())
    assert [len(keys_on(server)) for server in servers] == [1, 1]
    assert await kept.receipts(key) == []


# --- detached servers ---


async def detach(kept: Keeping, place: int) -> str:
    """Remove a server while copies are on it; return its uuid."""
    server = (await kept.world.servers(kept.manager))[place]
    detached = Detached(server, kept.world.clock.now())
    await kept.world.store.write(lambda tx: (tx.delete_key_server(server.uuid), tx.add_detached_key_server(detached)))
    return server.uuid


async def test_copies_on_a_removed_server_come_to_their_end(key_world: KeyWorld) -> None:
    """It stays visible until nothing of ours is on it; then it is forgotten, with what was learned of it."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    keys = [await kept.node.create(kept.manager, f"key {number}") for number in range(2)]
    uuid = await detach(kept, 2)
    await retire_and_wait(kept, keys[0])
    await kept.end()
    assert len(keys_on(servers[2])) == 1
    assert [each.server.uuid for each in await key_world.store.read(lambda tx: tx.detached_key_servers())] == [uuid]
    await retire_and_wait(kept, keys[1])
    await kept.end()
    assert keys_on(servers[2]) == []
    assert [(await key_world.key(key.uuid)).state for key in keys] == 2 * [KeyState.PURGED]
    assert await key_world.store.read(lambda tx: (tx.detached_key_servers(), tx.profiles([uuid]))) == ((), ())


@on_sqlite
async def test_a_removed_server_is_not_waited_for_in_vain(key_world: KeyWorld) -> None:
    """A removed server with copies of another incarnation only is forgotten."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    await aborted(kept, *servers)
    await detach(kept, 1)
    await set_incarnation(key_world, uuid="another", number=2, destroys=True)
    await kept.end()
    assert await key_world.store.read(lambda tx: tx.detached_key_servers()) == ()
    assert len(keys_on(servers[1])) == 1


# --- real servers ---


@on_sqlite
async def test_the_end_on_real_servers(key_world: KeyWorld, pykmip_group: Group) -> None:
    """PyKMIP denies Destroy of Active objects: all are revoked first; one that was away follows when it is back."""
    primaries = pykmip_group.primaries[:3]
    kept = await keeping(key_world, *[server.address for server in primaries])
    key = await purged(kept)
    before = [len(server.objects()) for server in primaries]
    await asyncio.to_thread(primaries[0].kill)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    await asyncio.to_thread(primaries[0].restart)
    await again(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert [len(server.objects()) for server in primaries] == [count - 1 for count in before]
    assert {action for _, action in await kept.receipts(key)} == {"revoked", "destroyed"}


@on_sqlite
async def test_what_another_key_has_adopted_is_left_alone(key_world: KeyWorld) -> None:
    """An object that another key adopted is not destroyed."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    other = await kept.node.create(kept.manager, "another key")
    (own,) = await key_world.attempts(other.uuid)
    name = str(object_name(attempt))

    def adopted(tx: Transaction) -> None:
        tx.add_attempt(replace(own, number=2, purpose=Purpose.COPY, token="t", adopted=name))

    await key_world.store.write(adopted)
    await retire_and_wait(kept, key)
    await again(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    assert "DESTROY" not in asked(servers[0])
    await retire_and_wait(kept, other)
    await again(kept)
    await again(kept)
    states = [(await key_world.key(each.uuid)).state for each in (key, other)]
    assert states == [KeyState.PURGED, KeyState.PURGED]


@on_sqlite
async def test_a_clock_that_jumps_ends_nobodys_undo(key_world: KeyWorld) -> None:
    """No recovery window ends by a clock that jumped; a clock that stays is trusted in the end."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    await kept.end()
    for ahead, passed in ((WINDOW_S + 60, 0), (WINDOW_S + 60, 1800), (0, 1800), (0, 1800)):
        key_world.clock.set(ahead)
        key_world.clock.advance(passed)
        await kept.end()
        assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    key_world.clock.set(WINDOW_S + 60)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    key_world.clock.advance(3600)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED

"""Removed key servers that never come back: what giving one up ends, and when it is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Copy, KeyState, Presence, Purpose
from keystead.core.server_address import ServerAddress
from keystead.service.cluster.trusted_clock import REST_S
from keystead.service.configuration import detached_servers as giving_up
from keystead.service.configuration.detached_servers import DetachedKeyServers
from keystead.service.keys.guarding.removal import RemovalGuard
from tests.service.keys.destroying.test_purge import detach
from tests.service.worlds.changing import changer
from tests.service.worlds.keepers import WINDOW_S, Keeping, again, keeping, retire_and_wait, set_incarnation
from tests.service.worlds.keys import CALL, KeyWorld, nothing_was_ended
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.keys.guarding import RemovalFindings
    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import KeyServer as KmipServer


async def give_up(kept: Keeping, server: KmipServer, guard: type[RemovalGuard] = RemovalGuard) -> None:
    """Give a removed server up, as a call does."""
    node = kept.node
    made = guard(node.store, node.objects, node.endpoints, kept.world.clock)
    address = ServerAddress.parse(f"127.0.0.1:{server.port}")
    await DetachedKeyServers(kept.context, made, node.audit).give_up(CALL, kept.manager, address)


async def refused(kept: Keeping, server: KmipServer) -> OntapError:
    """Return the error of a call, which changes nothing."""
    before = await left(kept)
    with pytest.raises(OntapError) as raised:
        await give_up(kept, server)
    assert await left(kept) == before
    return raised.value


async def left(kept: Keeping) -> tuple[object, ...]:
    """Return the removed servers, and all copies."""
    found = await kept.world.store.read(lambda tx: tx.detached_key_servers(kept.manager))
    keys = await kept.world.stored_keys(kept.manager)
    return found, await kept.world.store.read(lambda tx: tx.copies([uuid for uuid, *_ in keys]))


async def actions(kept: Keeping, key: Key, server: str) -> list[str]:
    """Return what was done to a key's copy on a server."""
    found = await kept.world.store.read(lambda tx: tx.receipts([key.uuid]))
    return [each.action for each in found if each.key_server == server]


async def test_what_is_given_up_holds_nothing_up(key_world: KeyWorld) -> None:
    """Keys that end do so, those in use go on, each with a receipt; the server is forgotten, and not asked again."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    keys = [await kept.node.create(kept.manager, f"key {number}") for number in range(2)]
    uuid = await detach(kept, 0)
    await servers[0].__aexit__(None, None, None)
    await retire_and_wait(kept, keys[0])
    await again(kept)
    assert (await key_world.key(keys[0].uuid)).state is KeyState.PURGING
    await give_up(kept, servers[0])
    await again(kept)
    assert [(await key_world.key(key.uuid)).state for key in keys] == [KeyState.PURGED, KeyState.COMMITTED]
    assert [await actions(kept, key, uuid) for key in keys] == [["abandoned"], ["abandoned"]]
    presences = {copy.key_server == uuid: copy.presence for copy in await key_world.copies(keys[1].uuid)}
    assert presences == {True: Presence.DESTROYED, False: Presence.PRESENT}
    assert await key_world.store.read(lambda tx: (tx.detached_key_servers(), tx.profiles([uuid]))) == ((), ())
    records = await key_world.store.read(lambda tx: tx.audit_records(kept.node.uuid, 0, 20))
    assert records[-1].message == f"gave up removed key server 127.0.0.1:{servers[0].port}"
    assert (await refused(kept, servers[0])).kind is errors.ENTRY_NOT_FOUND
    assert nothing_was_ended(servers[0])


@on_sqlite
async def test_no_key_in_use_is_given_up(key_world: KeyWorld) -> None:
    """65536700 when its copy elsewhere cannot be proven, although it once was; not for what is configured."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    assert (await refused(kept, servers[0])).kind is errors.ENTRY_NOT_FOUND
    await detach(kept, 0)
    servers[1].responder.store.forget_all()
    key_world.clock.advance(300)
    error = await refused(kept, servers[0])
    assert error.kind is errors.SOLE_COPY
    assert ("key_id", key.key_id) in error.arguments
    await retire_and_wait(kept, key)
    assert (await refused(kept, servers[0])).kind is errors.SOLE_COPY  # the clock may be wrong
    async with kept.lease() as holding:
        await kept.destroying.end(holding, kept.manager, set())  # no server takes a fence: its end cannot begin
    await set_incarnation(key_world, destroys=False)
    assert (await refused(kept, servers[0])).kind is errors.SOLE_COPY  # until it is released
    await set_incarnation(key_world, destroys=True)
    await give_up(kept, servers[0])


@on_sqlite
async def test_a_dead_server_goes_when_its_keys_were_deleted_long_ago(key_world: KeyWorld) -> None:
    """Their purge waits for a fence on it: it can be removed and given up, and then they end, and the key manager."""
    (server,) = await key_world.start(1)
    changing = await changer(key_world, server)
    kept = Keeping(key_world, changing.node, changing.manager)
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    await server.__aexit__(None, None, None)  # for good
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY  # it can be recovered
    key_world.clock.set(WINDOW_S + 1)  # by a clock that is not believed nothing is over
    await a_round(kept)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    key_world.clock.set(0)
    for passed_s in (WINDOW_S, REST_S):
        key_world.clock.advance(passed_s + 1)
        await a_round(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    with pytest.raises(OntapError):
        await kept.ending.recover(CALL, kept.manager, key.key_id)
    await changing.remove(row)
    await a_round(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.RETIRED
    with pytest.raises(OntapError) as raised:
        await changing.managers.delete(CALL, changing.manager)
    assert raised.value.kind is errors.KEYS_IN_USE
    await give_up(kept, server)
    await a_round(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert await actions(kept, key, row.uuid) == ["abandoned"]
    await changing.managers.delete(CALL, changing.manager)


async def a_round(kept: Keeping) -> None:
    """A round of the keeper."""
    async with kept.lease() as holding:
        await kept.rounds.keep(holding, kept.manager, changed=True)


@on_sqlite
async def test_what_is_being_written_is_not_given_up(key_world: KeyWorld) -> None:
    """65536700 until its attempt is over: it would store a copy that nobody ends."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    uuid = await detach(kept, 0)
    begun = replace(attempt, number=2, purpose=Purpose.COPY, state=AttemptState.PENDING, token="another")
    sent = Copy(key.uuid, 2, uuid, Presence.SENT)
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    await key_world.store.write(lambda tx: tx.put_copies([sent], new=True))
    assert (await refused(kept, servers[0])).kind is errors.SOLE_COPY
    await key_world.store.write(lambda tx: tx.end_attempt(begun, AttemptState.ABORTED))
    await give_up(kept, servers[0])
    assert await actions(kept, key, uuid) == ["abandoned", "abandoned"]


@on_sqlite
async def test_proofs_that_are_too_old_are_made_again(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the call has time."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    await kept.node.create(kept.manager)
    await detach(kept, 0)

    class HeldUp(RemovalGuard):
        """Its process is held up after the first proof."""

        async def prove(self, *args: Any) -> RemovalFindings:
            found = await super().prove(*args)
            key_world.clock.advance(delays.pop())
            return found

    delays = [60.0]
    monkeypatch.setattr(giving_up, "GIVE_UP_S", -1.0)
    with pytest.raises(OntapError) as raised:
        await give_up(kept, servers[0], HeldUp)
    assert raised.value.kind is errors.KEYS_UNPROVEN
    delays = [0.0, 60.0]
    monkeypatch.undo()
    await give_up(kept, servers[0], HeldUp)
    assert delays == []


@on_sqlite
async def test_a_removed_server_that_has_lost_its_keys_is_given_up(key_world: KeyWorld) -> None:
    """It is asked, as before it was removed: nothing of a key that nobody has is there to be given up."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await detach(kept, 0)
    copies = [replace(copy, presence=Presence.MISSING) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    assert (await refused(kept, servers[0])).kind is errors.SOLE_COPY
    for identifier in {copy.unique_identifiers[0] for copy in copies} & set(servers[0].responder.objects):
        servers[0].responder.store.forget(identifier)
    await give_up(kept, servers[0])

"""Copies that are not where they should be: they are asked for everywhere before their server goes, or moves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import ModifyRequest
from keystead.core.keys.model import Presence
from keystead.core.model import Role
from keystead.keyservers import lines
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import delay
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.context import Call, Caller
from keystead.service.keys.guarding import removal as key_guard
from keystead.service.keys.guarding.relocation import RelocationGuard
from tests.service.keys.guarding.test_relocation_moves import doubt, restored
from tests.service.worlds.changing import Changer, changer, identifier
from tests.service.worlds.keepers import Keeping, of_kind
from tests.service.worlds.keys import SECONDARY, KeyWorld, on_sqlite

if TYPE_CHECKING:
    from keystead.core.keys.guarding import Relocation
    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.kmip.testing.server import KeyServer as KmipServer

pytestmark = on_sqlite

DOUBTFUL = pytest.mark.parametrize("presence", [Presence.MISSING, Presence.DIFFERENT])


async def one_server(world: KeyWorld, presence: Presence) -> tuple[Changer, Key, list[KmipServer]]:
    """A key on one server, which was not found at the last look; and a place where it was restored without the key."""
    servers = await world.start(2)
    changing = await changer(world, servers[0])
    restored(*servers)
    key = await changing.node.create(changing.manager)
    await doubt(world, key, presence)
    return changing, key, servers


async def imported_again(changing: Changer, key: Key, server: KmipServer) -> None:
    """Its administrator has taken the key out, and imported it again: under its name, with another identifier."""
    id_ = await identifier(changing, key, 0)
    stored = server.responder.objects[id_]
    server.responder.store.forget(id_)
    server.responder.store.put("another", stored)


# --- under another identifier ---


@DOUBTFUL
async def test_a_server_stays_that_has_a_key_under_another_identifier(key_world: KeyWorld, presence: Presence) -> None:
    """A sweep finds it by its name; until then it is in doubt, and the server stays."""
    changing, key, servers = await one_server(key_world, presence)
    (row,) = await key_world.servers(changing.manager)
    await imported_again(changing, key, servers[0])
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT]


async def test_a_server_stays_that_does_not_find_objects_by_name(key_world: KeyWorld) -> None:
    """And has a key under another identifier: it is asked for the attributes of all that it has."""
    (server,) = await key_world.start(1, [of_kind("locate returns everything")])
    changing = await changer(key_world, server)
    key = await changing.node.create(changing.manager)
    await doubt(key_world, key, Presence.MISSING)
    (row,) = await key_world.servers(changing.manager)
    await imported_again(changing, key, server)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY


@pytest.mark.parametrize("presence", [Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN])
async def test_a_server_does_not_move_away_from_a_key_under_another_identifier(
    key_world: KeyWorld, presence: Presence
) -> None:
    """It moves to where that is found, too."""
    changing, key, servers = await one_server(key_world, presence)
    (row,) = await key_world.servers(changing.manager)
    await imported_again(changing, key, servers[0])
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    servers[1].responder.store.put("yet another", servers[0].responder.objects["another"].copy())
    assert (await changing.modify(row, port=servers[1].port)).address.port == servers[1].port
    assert await key_world.presences(key.uuid) == [presence]  # it is found by the next look
    await Keeping(key_world, changing.node, changing.manager).settle()
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert not await changing.lost(key)


async def beside(changing: Changer, key: Key, server: KmipServer, *, first_differs: bool) -> None:
    """One of two objects under a key's name is that of another key, which is gone since; the other one is right."""
    id_, responder = await identifier(changing, key, 0), server.responder
    other = await changing.node.create(changing.manager, "other")
    right = responder.objects[id_]
    theirs = responder.objects[await identifier(changing, other, 0)].managed_object
    responder.store.forget(id_)
    responder.store.put(id_ if first_differs else "a wrong one", replace(right.copy(), managed_object=theirs))
    responder.store.put("imported again", right)
    await changing.world.store.write(lambda tx: tx.drop_key(other.uuid))


@pytest.mark.parametrize("first_differs", [True, False])
async def test_a_server_stays_that_has_a_key_beside_one_that_differs(
    key_world: KeyWorld, *, first_differs: bool
) -> None:
    """Its object was damaged, and the right one imported again beside it: a sweep finds that."""
    presence = Presence.DIFFERENT if first_differs else Presence.MISSING
    changing, key, servers = await one_server(key_world, presence)
    (row,) = await key_world.servers(changing.manager)
    await beside(changing, key, servers[0], first_differs=first_differs)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT]
    assert not await changing.lost(key)


async def test_a_server_stays_that_does_not_say_what_is_beside_one_that_differs(key_world: KeyWorld) -> None:
    """It takes no Locate now: the copy may be there. That what it gives differs is known all the same."""
    changing, key, servers = await one_server(key_world, Presence.MISSING)
    (row,) = await key_world.servers(changing.manager)
    await beside(changing, key, servers[0], first_differs=True)
    servers[0].responder.refusals[Operation.LOCATE] = ResultReason.PERMISSION_DENIED
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert await key_world.presences(key.uuid) == [Presence.DIFFERENT]
    servers[0].responder.refusals.clear()
    servers[0].responder.store.forget("imported again")
    await changing.remove(row)


# --- whether it was taken is not known ---


@pytest.mark.parametrize("presence", [Presence.SENT, Presence.UNKNOWN])
async def test_a_server_does_not_move_away_from_what_was_sent(key_world: KeyWorld, presence: Presence) -> None:
    """It took the key, and its answer was lost; the other server has died since."""
    a, b, moved = await key_world.start(3)
    changing = await changer(key_world, a, b)
    restored(a, moved)
    key = await changing.node.create(changing.manager)
    copy = (await key_world.copies(key.uuid))[0]
    sent = replace(copy, presence=presence, unique_identifiers=(), proven=None)
    await key_world.store.write(lambda tx: tx.put_copies([sent], new=False))
    await b.__aexit__(None, None, None)
    one, _ = await key_world.servers(changing.manager)
    error = await changing.change_refused(one, port=moved.port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "unsettled"),))
    assert (await changing.removal_refused(one)).kind is errors.SOLE_COPY
    stored = a.responder.objects[copy.unique_identifiers[0]]
    a.responder.store.forget(copy.unique_identifiers[0])
    assert (await changing.change_refused(one, port=moved.port)).kind is errors.NETWORK  # it may still arrive
    moved.responder.store.put("there", stored)
    assert (await changing.modify(one, port=moved.port)).address.port == moved.port
    await Keeping(key_world, changing.node, changing.manager).settle()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]
    assert not await changing.lost(key)


@pytest.mark.parametrize("presence", [Presence.SENT, Presence.UNKNOWN])
async def test_what_never_arrived_holds_nothing_up(key_world: KeyWorld, presence: Presence) -> None:
    """After its time it is at neither place."""
    changing, key, servers = await one_server(key_world, presence)
    (row,) = await key_world.servers(changing.manager)
    (copy,) = await key_world.copies(key.uuid)
    sent = replace(copy, unique_identifiers=(), proven=None)
    await key_world.store.write(lambda tx: tx.put_copies([sent], new=False))
    servers[0].responder.store.forget(copy.unique_identifiers[0])
    key_world.clock.advance(200)
    assert (await changing.modify(row, port=servers[1].port)).address.port == servers[1].port


async def test_a_certificate_finds_what_was_sent(key_world: KeyWorld) -> None:
    """By its name; else it must not be there for the old one either."""
    changing, key, servers = await one_server(key_world, Presence.SENT)
    (copy,) = await key_world.copies(key.uuid)
    sent = replace(copy, presence=Presence.SENT, unique_identifiers=(), proven=None)
    await key_world.store.write(lambda tx: tx.put_copies([sent], new=False))
    stored = servers[0].responder.objects[copy.unique_identifiers[0]]
    servers[0].responder.store.forget(copy.unique_identifiers[0])
    assert (await changing.renewal_refused()).arguments[2:] == (("reason", "unsettled"),)
    servers[0].responder.store.put("there", stored)
    await changing.renew()


# --- on a secondary ---


@dataclass
class Replicated:
    """A key came to a primary and was replicated; then the primary was restored from a backup without it."""

    changing: Changer
    key: Key
    row: KeyServer
    primary: KmipServer
    replica: KmipServer

    async def forget(self) -> None:
        """The secondary loses it, too."""
        self.replica.responder.store.forget(await identifier(self.changing, self.key, 0))


@pytest.fixture(params=["missing", "unknown"])
async def replicated(key_world: KeyWorld, request: pytest.FixtureRequest) -> Replicated:
    """The last look at the primary found that, or found nothing out."""
    (a,) = await key_world.start(1)
    replica = await key_world.start_secondary(a, Responder())
    changing = await changer(key_world, a, secondary_key_servers=(SECONDARY,))
    key = await changing.node.create(changing.manager)
    restored(a, replica)
    a.responder.store.forget(await identifier(changing, key, 0))
    await doubt(key_world, key, Presence(request.param))
    assert not await changing.lost(key)
    (row,) = await key_world.servers(changing.manager)
    return Replicated(changing, key, row, a, replica)


async def test_a_server_stays_whose_secondary_has_a_key(replicated: Replicated) -> None:
    """Which every caller can read there. What is unknown has to be settled before."""
    changing = replicated.changing
    assert (await changing.removal_refused(replicated.row)).kind is errors.SOLE_COPY
    assert not await changing.lost(replicated.key)
    await replicated.forget()
    await doubt(changing.world, replicated.key, Presence.MISSING)
    await changing.remove(replicated.row)


async def test_the_keeper_gives_a_primary_back_what_its_secondary_has(replicated: Replicated) -> None:
    """As an attempt of its own; then the secondary may go."""
    changing, world = replicated.changing, replicated.changing.world
    await doubt(world, replicated.key, Presence.MISSING)
    kept = Keeping(world, changing.node, changing.manager)
    assert (await kept.fill()).copied == 1
    assert (await kept.fill()).copied == 0
    assert await world.presences(replicated.key.uuid) == [Presence.MISSING, Presence.PRESENT]
    await changing.modify(replicated.row, secondary_key_servers=())
    assert not await changing.lost(replicated.key)


async def test_a_server_stays_whose_secondary_is_silent(replicated: Replicated) -> None:
    """It may have the key."""
    await replicated.replica.__aexit__(None, None, None)
    assert (await replicated.changing.removal_refused(replicated.row)).kind is errors.SOLE_COPY


async def test_a_secondary_stays_that_alone_has_a_key(replicated: Replicated) -> None:
    """Until it has lost that, or its primary has it again."""
    changing = replicated.changing
    error = await changing.change_refused(replicated.row, secondary_key_servers=())
    assert error.kind is errors.SOLE_COPY
    await replicated.forget()
    assert (await changing.modify(replicated.row, secondary_key_servers=())).secondary_key_servers == ()


async def test_a_primary_that_was_repaired_lets_its_secondary_go(replicated: Replicated) -> None:
    """Its replication works again: the next look finds the key there."""
    changing, world = replicated.changing, replicated.changing.world
    restored(replicated.replica, replicated.primary)
    kept = Keeping(world, changing.node, changing.manager)
    await kept.settle()
    await kept.sweep()
    await changing.modify(replicated.row, secondary_key_servers=())
    assert not await changing.lost(replicated.key)


async def test_a_server_does_not_move_away_from_its_secondary_that_has_a_key(replicated: Replicated) -> None:
    """Unless the key is at one of the addresses that it will have."""
    changing, world = replicated.changing, replicated.changing.world
    (moved,) = await world.start(1)
    restored(replicated.replica, moved)
    stored = moved.responder.objects[await identifier(changing, replicated.key, 0)].copy()
    moved.responder.store.forget(await identifier(changing, replicated.key, 0))
    second = await world.start_secondary(moved, Responder())
    restored(moved, second)
    error = await changing.change_refused(replicated.row, port=moved.port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    second.responder.store.put("there", stored)
    await changing.modify(replicated.row, port=moved.port)


# --- who is silent, and who was not asked ---


async def test_a_server_that_does_not_answer_before_time_is_over(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say that it has the key: 503, and not that it is silent."""
    changing, key, servers = await one_server(key_world, Presence.MISSING)
    (row,) = await key_world.servers(changing.manager)
    servers[0].faults[Operation.GET] = delay(1.5)
    monkeypatch.setattr(changing.servers._context.prover, "deadline", lambda: asyncio.get_running_loop().time() + 1.0)
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.target, error.retry_after) == (errors.TOO_BUSY, "server", 5)
    servers[0].faults.clear()
    assert not await changing.lost(key)


async def test_a_server_that_was_silent_before(key_world: KeyWorld) -> None:
    """It is back, and this process still leaves it alone: it is asked all the same."""
    changing, key, servers = await one_server(key_world, Presence.MISSING)
    (row,) = await key_world.servers(changing.manager)
    kept = Keeping(key_world, changing.node, changing.manager)
    await servers[0].__aexit__(None, None, None)
    for _ in range(6):
        await kept.sweep()
    async with servers[0]:
        error = await changing.change_refused(row, port=servers[1].port)
        assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
        assert not await changing.lost(key)


async def test_a_server_that_was_asked_at_fewer_addresses(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another call has given it a secondary, which has the key: that is asked, too."""
    changing, key, servers = await one_server(key_world, Presence.MISSING)
    replica = await key_world.start_secondary(servers[0], Responder())
    await key_world.start_secondary(servers[1])
    restored(servers[0], replica)
    servers[0].responder.store.forget(await identifier(changing, key, 0))
    (row,) = await key_world.servers(changing.manager)
    proved = RelocationGuard.prove_moved
    changes = [row]

    async def and_change(*args: Any) -> Relocation | None:
        shown = await proved(*args)
        while changes:
            await changing.modify(changes.pop(), secondary_key_servers=(SECONDARY,))
        return shown

    monkeypatch.setattr(RelocationGuard, "prove_moved", and_change)
    with pytest.raises(OntapError) as raised:
        await changing.modify(row, port=servers[1].port, secondary_key_servers=(SECONDARY,))
    assert (raised.value.kind, raised.value.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    assert not await changing.lost(key)


async def test_a_server_to_which_all_connections_are_in_use(key_world: KeyWorld) -> None:
    """That is not its silence."""
    changing, _, servers = await one_server(key_world, Presence.MISSING)
    (row,) = await key_world.servers(changing.manager)
    row = await changing.modify(row, timeout=1)
    places = await key_world.topology(changing.manager)
    endpoint = changing.node.endpoints.addresses(places)[row.uuid, ""]
    async with AsyncExitStack() as stack:
        for _ in range(lines.CONNECTIONS):
            await stack.enter_async_context(changing.node.objects.session(endpoint, timeout_s=1, exclusive=True))
        assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.TOO_BUSY
        assert (await changing.removal_refused(row)).kind is errors.TOO_BUSY


async def test_a_server_that_does_not_answer_before_it_would_go(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would say that it has not the key: 503, and not that it alone has it."""
    monkeypatch.setattr(key_guard, "PROVING_S", 1.0)
    changing, key, servers = await one_server(key_world, Presence.MISSING)
    (row,) = await key_world.servers(changing.manager)
    servers[0].responder.store.forget(await identifier(changing, key, 0))
    servers[0].faults[Operation.GET] = delay(1.5)
    error = await changing.removal_refused(row)
    assert (error.kind, error.target, error.retry_after) == (errors.TOO_BUSY, "server", 5)
    await doubt(key_world, key, Presence.PRESENT)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY  # that needs no look
    await doubt(key_world, key, Presence.MISSING)
    servers[0].faults.clear()
    await changing.remove(row)


async def test_a_server_that_does_not_answer_whose_secondary_has_a_key(
    replicated: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is known in time."""
    monkeypatch.setattr(key_guard, "PROVING_S", 1.0)
    replicated.primary.faults[Operation.GET] = delay(1.5)
    assert (await replicated.changing.removal_refused(replicated.row)).kind is errors.SOLE_COPY


async def test_an_svm_hears_no_reason(key_world: KeyWorld) -> None:
    """As of a probe."""
    svm = await key_world.home.svm()
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0], svm=svm)
    restored(*servers)
    key = await changing.node.create(changing.manager)
    await doubt(key_world, key, Presence.MISSING)
    await imported_again(changing, key, servers[0])
    (row,) = await key_world.servers(changing.manager)
    call = Call(Caller("vsadmin", Role.ADMIN, "127.0.0.1", svm), "PATCH", "/api/test")
    state = await changing.servers.state(call, changing.manager)
    with pytest.raises(OntapError) as raised:
        await changing.servers.modify(call, state, ModifyRequest(row.address, port=servers[1].port))
    assert [name for name, _ in raised.value.arguments] == ["server", "stage"]
    with pytest.raises(OntapError) as raised:
        await changing.servers.remove(call, state, row.address)
    assert raised.value.arguments == (("keys", "1"), ("key_id", key.key_id))

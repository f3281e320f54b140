"""How one server gets its copy: when a secondary stands in, what is looked for first, and copies of older keys."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Key, KeyForm, KeyState, Presence, Purpose
from keystead.core.keys.names import object_name
from keystead.core.secret import Secret
from keystead.kmip.server.responder import Responder, cluster
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import close, first, silence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys import attempts as key_attempts
from keystead.service.ports.store import StoreError
from tests.service.worlds.keys import SECONDARY, asked, full, held, lying, nothing_was_ended, on_sqlite, until

if TYPE_CHECKING:
    from keystead.kmip.testing.server import Exchange, KeyServer
    from tests.service.worlds.keys import KeyNode, KeyWorld

PRESENT, MISSING, SENT, DIFFERENT, UNKNOWN, DESTROYED = (
    Presence.PRESENT,
    Presence.MISSING,
    Presence.SENT,
    Presence.DIFFERENT,
    Presence.UNKNOWN,
    Presence.DESTROYED,
)
REGISTER, GET, LOCATE = Operation.REGISTER, Operation.GET, Operation.LOCATE
MATERIAL = bytes(range(64))

pytestmark = on_sqlite


# --- secondaries ---


async def with_secondary(
    world: KeyWorld, responder: Responder | None = None, primary: Responder | None = None, *, timeout_s: int = 5
) -> tuple[KeyServer, KeyServer, str]:
    """One primary with a secondary, which shares its objects unless it has a responder of its own."""
    (first_,) = await world.start(1, [primary] if primary else [])
    second = await world.start_secondary(first_, responder)
    manager = await world.key_manager(first_, secondary_key_servers=(SECONDARY,), create_remove_timeout=timeout_s)
    return first_, second, manager


async def hosts(world: KeyWorld, key: str) -> list[tuple[str, Presence]]:
    """Where a key's copies are, and what is known of them."""
    return [(copy.host, copy.presence) for copy in await world.copies(key)]


async def test_a_secondary_is_left_alone_while_its_primary_works(key_world: KeyWorld) -> None:
    """While the primary works, the secondary gets no object and no row."""
    _, secondary, manager = await with_secondary(key_world)
    node = await key_world.node()
    key = await node.create(manager)
    assert await hosts(key_world, key.uuid) == [("", PRESENT)]
    assert not secondary.requests


async def test_a_secondary_stands_in_for_a_primary_that_was_sent_nothing(key_world: KeyWorld) -> None:
    """The row of the secondary is stored before Register is sent; its copy counts for the primary's domain."""
    seen: list[list[tuple[str, Presence]]] = []

    async def look(exchange: Exchange) -> None:
        key = await key_world.named(manager)
        assert key is not None
        seen.append(await hosts(key_world, key.uuid))
        await exchange.stream.send(exchange.answer)

    primary, secondary, manager = await with_secondary(key_world)
    secondary.request_faults[REGISTER] = look
    node = await key_world.node()
    await primary.__aexit__(None, None, None)
    key = await node.create(manager)
    assert await hosts(key_world, key.uuid) == [("", MISSING), (SECONDARY, PRESENT)]
    assert (await key_world.copies(key.uuid))[1].object_state == "Active"
    assert seen == [[("", SENT), (SECONDARY, SENT)]]
    assert not asked(secondary, LOCATE)


async def test_what_a_primary_did_without_answering_is_found_on_the_secondary(key_world: KeyWorld) -> None:
    """After a lost answer, the object that primary and secondary show is the copy; Register is not repeated."""
    primary, secondary, manager = await with_secondary(key_world)
    primary.faults[REGISTER] = primary.request_faults[LOCATE] = close
    node = await key_world.node()
    key = await node.create(manager)
    assert await hosts(key_world, key.uuid) == [("", SENT), (SECONDARY, PRESENT)]
    assert not asked(secondary, REGISTER)
    assert len(primary.responder.objects) == 1


async def test_what_a_primary_lost_is_looked_for_before_a_secondary_gets_it(key_world: KeyWorld) -> None:
    """The secondary is asked by Locate first, and gets one Register if it has no object."""
    primary, secondary, manager = await with_secondary(key_world, Responder())
    primary.request_faults[REGISTER] = close
    node = await key_world.node()
    key = await node.create(manager)
    assert await hosts(key_world, key.uuid) == [("", SENT), (SECONDARY, PRESENT)]
    sent = asked(secondary)
    assert sent.index("LOCATE") < sent.index("REGISTER")
    assert asked(primary, REGISTER) == ["REGISTER"]


async def test_a_primary_that_refused_was_sent_something(key_world: KeyWorld) -> None:
    """After a refusal of the primary, the secondary is asked by Locate before it gets a Register."""
    primary, secondary, manager = await with_secondary(key_world, Responder())
    full(primary)
    node = await key_world.node()
    key = await node.create(manager)
    assert await hosts(key_world, key.uuid) == [("", MISSING), (SECONDARY, PRESENT)]
    sent = asked(secondary)
    assert sent.index("LOCATE") < sent.index("REGISTER")


async def test_a_secondary_that_cannot_say_gets_nothing(key_world: KeyWorld) -> None:
    """Without an answer to Locate nothing is registered on the secondary, because it may have the object."""
    primary, secondary, manager = await with_secondary(key_world, Responder())
    primary.request_faults[REGISTER] = close
    secondary.responder.refusals[LOCATE] = ResultReason.PERMISSION_DENIED
    node = await key_world.node()
    error = await node.refused(manager)
    assert (error.kind, error.arguments[1]) == (errors.NOT_PUSHED, ("reason", "permission_denied"))
    assert not asked(secondary, REGISTER)
    ((uuid, _, state),) = await key_world.stored_keys(manager)
    assert (state, await hosts(key_world, uuid)) == ("aborted", [("", SENT), (SECONDARY, MISSING)])


async def test_a_lie_is_not_asked_elsewhere(key_world: KeyWorld) -> None:
    """A primary that returns other bytes is not replaced by its secondary, because its domain is not trusted."""
    primary, secondary, manager = await with_secondary(key_world, Responder())
    lying(primary)
    node = await key_world.node()
    error = await node.refused(manager)
    assert error.arguments[1] == ("reason", "different_material")
    assert not secondary.requests


async def test_a_secondary_that_fails_as_well(key_world: KeyWorld) -> None:
    """If primary and secondary fail, the key is aborted."""
    primary, secondary, manager = await with_secondary(key_world, Responder(), timeout_s=2)
    primary.request_faults[REGISTER] = secondary.faults[REGISTER] = secondary.faults[GET] = silence
    node = await key_world.node()
    assert (await node.refused(manager)).kind is errors.NOT_PUSHED
    ((uuid, _, state),) = await key_world.stored_keys(manager)
    assert (state, await hosts(key_world, uuid)) == ("aborted", [("", SENT), (SECONDARY, SENT)])
    assert nothing_was_ended(primary, secondary)


async def test_nothing_is_sent_for_an_attempt_that_was_ended(key_world: KeyWorld) -> None:
    """If the attempt was aborted meanwhile, the secondary gets no object and no row."""

    async def abort(exchange: Exchange) -> None:
        key = await key_world.named(manager)
        assert key is not None
        assert await key_world.abort(key.uuid)
        exchange.stream.close()

    primary, secondary, manager = await with_secondary(key_world, Responder())
    primary.request_faults[REGISTER] = abort
    node = await key_world.node()
    assert (await node.refused(manager)).kind is errors.TOO_BUSY
    ((uuid, _, state),) = await key_world.stored_keys(manager)
    assert (state, await hosts(key_world, uuid)) == ("aborted", [("", SENT)])
    assert not secondary.requests


async def test_nothing_is_sent_for_an_attempt_whose_time_is_over(key_world: KeyWorld) -> None:
    """Nothing is sent for a timed-out attempt, because others may abort it."""

    async def sleep(exchange: Exchange) -> None:
        key_world.clock.advance(key_attempts.EXPIRES.total_seconds())
        exchange.stream.close()

    primary, secondary, manager = await with_secondary(key_world, Responder())
    primary.request_faults[REGISTER] = sleep
    node = await key_world.node()
    error = await node.refused(manager)
    assert (error.kind, error.arguments[1]) == (errors.NOT_PUSHED, ("reason", "attempt_expired"))
    assert not secondary.requests


async def test_a_row_is_announced_once(key_world: KeyWorld) -> None:
    """A transaction that runs again after an unanswered commit finds its row."""
    primary, _, manager = await with_secondary(key_world, timeout_s=2)
    primary.request_faults[REGISTER] = silence
    node = await key_world.node()
    task = asyncio.create_task(node.create(manager))
    await until(lambda: asked(primary, REGISTER) != [])
    key = await key_world.named(manager)
    assert key is not None
    (attempt,) = await key_world.attempts(key.uuid)
    (copy,) = await key_world.copies(key.uuid)
    row = replace(copy, host=SECONDARY)
    for _ in range(2):
        assert await key_world.store.write(lambda tx: key_attempts.add_copy_row(tx, attempt, row))
    assert await hosts(key_world, key.uuid) == [("", SENT), (SECONDARY, SENT)]
    assert (await task).uuid == key.uuid
    stranger = replace(attempt, number=2)
    assert not await key_world.store.write(lambda tx: key_attempts.add_copy_row(tx, stranger, row))


async def test_a_database_that_is_away_leaves_the_secondary_alone(key_world: KeyWorld) -> None:
    """If the row cannot be stored nothing is sent, and the creation fails."""

    async def gone(exchange: Exchange) -> None:
        exchange.stream.close()
        await node.store.close()

    primary, secondary, manager = await with_secondary(key_world, Responder())
    primary.request_faults[REGISTER] = gone
    node = await key_world.node()
    with pytest.raises(StoreError):
        await node.create(manager)
    assert not secondary.requests


# --- names ---


async def test_members_of_one_cluster_that_know_a_name_once(key_world: KeyWorld) -> None:
    """Two primaries replicate, and refuse a second object of a name: the one that came first is the copy of both."""
    members, _ = cluster(2, profile=PROFILES["unique names"])
    servers = await key_world.start(2, members)
    site = {"replication_domain": "site"}
    manager = await key_world.key_manager(*servers, each={0: site, 1: site})
    node = await key_world.node()
    key = await node.create(manager)
    assert PRESENT in await key_world.presences(key.uuid)
    assert len(servers[0].responder.objects) == 1


async def test_members_of_one_cluster_that_nobody_knew_of(key_world: KeyWorld) -> None:
    """Two that refuse a second object of a name are one domain when it is committed, before their canaries tell."""
    members, _ = cluster(2, profile=PROFILES["unique names"])
    servers = await key_world.start(3, members)
    manager = await key_world.key_manager(*servers[:2], min_copies=2)
    node = await key_world.node()
    assert (await node.refused(manager)).kind is errors.TOO_FEW_COPIES
    manager = await key_world.key_manager(*servers, min_copies=2)
    key = await node.create(manager)
    assert (await key_world.presences(key.uuid))[2] is PRESENT
    full(servers[2])
    assert (await node.refused(manager, "another")).kind is errors.TOO_FEW_COPIES


async def test_members_of_one_cluster_that_take_a_name_twice(key_world: KeyWorld) -> None:
    """Each copy is the object that its own server made, also when an answer was lost and both are found."""
    members, _ = cluster(2)
    servers = await key_world.start(2, members)
    servers[1].faults[REGISTER] = close
    manager = await key_world.key_manager(*servers, min_copies=2)
    node = await key_world.node()
    key = await node.create(manager)
    one, two = await key_world.copies(key.uuid)
    assert {*one.unique_identifiers, *two.unique_identifiers} == set(servers[0].responder.objects)


async def test_half_a_pair_is_no_copy(key_world: KeyWorld) -> None:
    """When the answer to the second half's Register was lost, both halves are found; with one there is nothing."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, min_copies=1)
    await key_world.know(manager, form=KeyForm.SYMMETRIC_KEY_PAIR)
    node = await key_world.node()
    calls = 0

    async def second_is_lost(exchange: Exchange) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await exchange.stream.send(exchange.answer)
        else:
            exchange.stream.close()

    servers[0].request_faults[REGISTER] = second_is_lost
    key = await node.create(manager)
    assert await key_world.presences(key.uuid) == [SENT, PRESENT]
    servers[0].request_faults.clear()
    servers[0].faults[REGISTER] = close
    key = await node.create(manager, "b")
    assert (await key_world.presences(key.uuid))[1] is PRESENT


# --- a copy of a key that is there ---


async def created(world: KeyWorld, count: int = 2) -> tuple[list[KeyServer], KeyNode, Key]:
    """Return a key on all but the last of so many servers, which has forgotten it."""
    servers = await world.start(count)
    manager = await world.key_manager(*servers)
    node = await world.node()
    key = await node.create(manager, material=Secret(MATERIAL))
    servers[-1].responder.store.forget_all()
    lost = replace((await world.copies(key.uuid))[-1], presence=MISSING)
    await world.store.write(lambda tx: tx.put_copies([lost], new=False))
    return servers, node, key


async def copied(world: KeyWorld, node: KeyNode, key: Key, material: bytes = MATERIAL) -> bool:
    """Copy a key to the last of its servers; whether it took it."""
    server = (await world.servers(key.key_manager))[-1]
    return not await node.writer.copy_to(key, server, Secret(material), await world.topology(key.key_manager))


async def test_a_copy_that_was_lost_is_written_again(key_world: KeyWorld) -> None:
    """A lost copy is written by a new attempt under a new name; the key does not change."""
    servers, node, key = await created(key_world)
    assert await copied(key_world, node, key)
    attempt = (await key_world.attempts(key.uuid))[1]
    assert (attempt.number, attempt.purpose, attempt.state) == (2, Purpose.COPY, AttemptState.COMMITTED)
    copy = (await key_world.copies(key.uuid))[-1]
    assert (copy.attempt, copy.presence, copy.object_state) == (2, PRESENT, "Active")
    assert held(servers[-1]) == {str(object_name(attempt)): [MATERIAL]}
    assert await key_world.key(key.uuid) == key


async def test_nothing_is_written_where_a_copy_is(key_world: KeyWorld) -> None:
    """No copy is written where one is or may come to be, for a key that ends, or to an unknown server."""
    servers, node, key = await created(key_world)
    missing = (await key_world.copies(key.uuid))[-1]
    for presence in (PRESENT, SENT, UNKNOWN, DIFFERENT):
        there = replace(missing, presence=presence)
        await key_world.store.write(lambda tx, there=there: tx.put_copies([there], new=False))  # type: ignore[misc]
        assert not await copied(key_world, node, key)
    await key_world.store.write(lambda tx: tx.put_copies([missing], new=False))
    await key_world.store.write(lambda tx: tx.change_key(replace(key, state=KeyState.PURGING), KeyState.COMMITTED))
    assert not await copied(key_world, node, key)
    await key_world.store.write(lambda tx: tx.change_key(key, KeyState.PURGING))
    await key_world.store.write(lambda tx: tx.delete_profile(missing.key_server))
    assert not await copied(key_world, node, key)
    assert len(await key_world.attempts(key.uuid)) == 1
    assert not held(servers[-1])


async def test_other_material_is_never_written(key_world: KeyWorld) -> None:
    """Material that does not agree with the digest is not written."""
    servers, node, key = await created(key_world)
    with pytest.raises(ValueError, match=f"material is not that of key {key.uuid}"):
        await copied(key_world, node, key, bytes(64))
    assert not held(servers[-1])


async def test_a_copy_that_fails_is_aborted(key_world: KeyWorld) -> None:
    """The attempt of a failed copy is aborted; the key and its other copies stay."""
    called: list[Key] = []
    servers, _, key = await created(key_world)
    node = await key_world.node(on_aborted=called.append)
    lying(servers[-1])
    assert not await copied(key_world, node, key)
    attempt = (await key_world.attempts(key.uuid))[1]
    assert attempt.state is AttemptState.ABORTED
    assert called == []
    assert await key_world.presences(key.uuid) == [PRESENT, MISSING, DIFFERENT]
    servers[-1].responder.lying = False
    assert await copied(key_world, node, key)
    assert [each.number for each in await key_world.attempts(key.uuid)] == [1, 2, 3]
    assert nothing_was_ended(*servers)


@pytest.mark.parametrize(
    ("state", "end"), [(KeyState.RETIRED, AttemptState.COMMITTED), (KeyState.PURGING, AttemptState.ABORTED)]
)
async def test_a_key_that_changes_while_it_is_copied(key_world: KeyWorld, state: KeyState, end: AttemptState) -> None:
    """The copy counts while the key may be recovered; when its end has begun, the copy is aborted."""

    async def change(exchange: Exchange) -> None:
        await key_world.store.write(lambda tx: tx.change_key(replace(key, state=state), KeyState.COMMITTED))
        await exchange.stream.send(exchange.answer)

    servers, node, key = await created(key_world)
    servers[-1].faults[REGISTER] = change
    assert await copied(key_world, node, key) is (end is AttemptState.COMMITTED)
    assert [each.state for each in await key_world.attempts(key.uuid)][1:] == [end]
    assert (await key_world.key(key.uuid)).state is state


async def test_two_that_copy_one_key_to_one_server(key_world: KeyWorld) -> None:
    """Of two writers of the same copy, on any nodes, one writes it."""
    servers, node, key = await created(key_world)
    other = await key_world.node()
    done = await asyncio.gather(*(copied(key_world, each, key) for each in (node, other, node, other)))
    assert sorted(done) == [False, False, False, True]
    assert len(servers[-1].responder.objects) == 1


async def test_copies_while_the_service_stops(key_world: KeyWorld) -> None:
    """While the service stops, no copy is begun, and one under way is aborted."""
    servers, node, key = await created(key_world)
    servers[-1].request_faults[REGISTER] = first(1, silence)
    task = asyncio.create_task(copied(key_world, node, key))
    await until(lambda: len(asked(servers[-1], REGISTER)) > 1)
    await node.writer.close()
    assert not await task
    with pytest.raises(OntapError) as raised:
        await copied(key_world, node, key)
    assert raised.value.kind is errors.SHUTTING_DOWN
    assert [copy.presence for copy in await key_world.copies(key.uuid)][2:] == [SENT]

"""Settling: attempts whose time is over end, and copies of which nothing is known are looked at."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.names import object_name
from keystead.kmip.enums import Operation, ResultReason
from keystead.kmip.testing import held as held_up
from keystead.kmip.testing import silence
from keystead.service import key_attempts
from keystead.service.leases import LeaseLost
from tests.service.keepers import PAIRS, Keeping, keeping, of_kind
from tests.service.keyworlds import KeyWorld, held
from tests.service.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.keys.model import Copy, Key
    from keystead.service.ports import Transaction

PRESENT, SENT, MISSING, DIFFERENT, UNKNOWN = (
    Presence.PRESENT,
    Presence.SENT,
    Presence.MISSING,
    Presence.DIFFERENT,
    Presence.UNKNOWN,
)


async def put(world: KeyWorld, *copies: Copy) -> None:
    """Store copies in place of those that are there."""
    await world.store.write(lambda tx: tx.put_copies(copies, new=False))


async def unsettled(world: KeyWorld, key: Key) -> list[Copy]:
    """Forget what is known of a key's copies, as a coordinator leaves them whose answers never came."""
    copies = [
        replace(copy, presence=SENT, unique_identifiers=(), object_state="", proven=None, written=None)
        for copy in await world.copies(key.uuid)
    ]
    await put(world, *copies)
    return copies


# --- attempts ---


async def test_an_attempt_whose_time_is_over_is_aborted(key_world: KeyWorld) -> None:
    """And with it the key that it was to create; not before, and once."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    go_on = asyncio.Event()
    for server in servers:
        server.faults[Operation.REGISTER] = held_up(go_on)
    creating = asyncio.create_task(kept.node.create(kept.manager))
    while any(len(server.responder.objects) < 2 for server in servers):  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.01)
    key = await key_world.named(kept.manager)
    assert key is not None
    assert await kept.abort_expired() == 0
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    assert await kept.abort_expired() == 1
    assert await kept.abort_expired() == 0
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED
    assert [each.state for each in await key_world.attempts(key.uuid)] == [AttemptState.ABORTED]
    go_on.set()
    with pytest.raises(OntapError):
        await creating
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED


@on_sqlite
async def test_an_attempt_to_copy_is_aborted_alone(key_world: KeyWorld) -> None:
    """The key that it was about stays what it is."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(attempt, number=2, purpose=type(attempt.purpose).COPY, state=AttemptState.PENDING, token="another")
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    assert await kept.abort_expired() == 1
    assert await key_world.key(key.uuid) == key
    assert [each.state for each in await key_world.attempts(key.uuid)] == [AttemptState.COMMITTED, AttemptState.ABORTED]


async def test_nothing_is_aborted_or_settled_without_the_lease(key_world: KeyWorld) -> None:
    """A keeper that was held up finds its transactions refused once another keeps keys."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(attempt, number=2, state=AttemptState.PENDING, token="another")
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    another = Keeping(key_world, await key_world.node(), kept.manager)
    async with kept.lease() as holding:
        key_world.clock.advance(300)
        async with another.lease():
            with pytest.raises(LeaseLost):
                await kept.settling.abort_expired(holding)
            with pytest.raises(LeaseLost):
                await kept.settling.settle(holding, kept.manager)
    assert [each.state for each in await key_world.attempts(key.uuid)] == [AttemptState.COMMITTED, AttemptState.PENDING]
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [SENT, SENT]


# --- copies ---

KINDS = ("plain", "names stay taken", "locate returns everything", "no offset items", "no batches", "no states")


@on_sqlite
@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_that_arrived_is_found(key_world: KeyWorld, kind: str) -> None:
    """By its attempt's name, and proven by its bytes; it is activated where objects are."""
    servers = await key_world.start(2, [of_kind(kind), of_kind(kind)])
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = await key_world.copies(key.uuid)
    await unsettled(key_world, key)
    assert await kept.settle() == 2
    after = await key_world.copies(key.uuid)
    assert [copy.unique_identifiers for copy in after] == [copy.unique_identifiers for copy in before]
    assert [copy.presence for copy in after] == [PRESENT, PRESENT]
    assert all(copy.proven is not None for copy in after)
    assert {copy.object_state for copy in after} == {"" if kind == "no states" else "Active"}
    assert await kept.settle() == 0


@on_sqlite
async def test_a_pair_that_arrived_is_found(key_world: KeyWorld) -> None:
    """Both of its parts, in their order."""
    servers = await key_world.start(2, [of_kind(PAIRS), of_kind(PAIRS)])
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = await key_world.copies(key.uuid)
    assert [len(copy.unique_identifiers) for copy in before] == [2, 2]
    await unsettled(key_world, key)
    assert await kept.settle() == 2
    assert [copy.unique_identifiers for copy in await key_world.copies(key.uuid)] == [
        copy.unique_identifiers for copy in before
    ]


@on_sqlite
async def test_what_was_not_activated_is(key_world: KeyWorld) -> None:
    """A crash after the commit leaves Pre-Active objects; an Activate that is refused is tried again."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    servers[0].responder.refusals[Operation.ACTIVATE] = ResultReason.PERMISSION_DENIED
    key = await kept.node.create(kept.manager)
    assert [copy.object_state for copy in await key_world.copies(key.uuid)] == ["", "Active"]
    assert await kept.settle() == 1
    assert [copy.object_state for copy in await key_world.copies(key.uuid)] == ["Pre-Active", "Active"]
    servers[0].responder.refusals.clear()
    assert await kept.settle() == 1
    assert [copy.object_state for copy in await key_world.copies(key.uuid)] == ["Active", "Active"]


async def test_a_copy_that_never_arrived_is_missing(key_world: KeyWorld) -> None:
    """Once nothing can be on its way, and only where the canary is seen; then it is no loss, and announced as none."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)
    ours = str(object_name((await key_world.attempts(key.uuid))[0]))
    for server in servers[1:]:
        for uid, stored in list(server.responder.objects.items()):
            if ours in stored.names:
                server.responder.store.forget(uid)
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [PRESENT, UNKNOWN, UNKNOWN]
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    servers[2].responder.store.forget_all()
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [PRESENT, MISSING, UNKNOWN]
    assert await kept.events() == []


@on_sqlite
async def test_a_copy_with_other_bytes_is_different(key_world: KeyWorld) -> None:
    """It is marked, announced once, and left as it is."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (uid,) = (await key_world.copies(key.uuid))[0].unique_identifiers
    await unsettled(key_world, key)
    servers[0].responder.store.rot(uid)
    before = held(servers[0])
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [DIFFERENT, PRESENT]
    assert await kept.settle() == 0
    ((name, parameters),) = await kept.events()
    assert (name, parameters["key_id"]) == ("km.key.different", key.key_id)
    assert held(servers[0]) == before


@on_sqlite
async def test_a_server_that_refuses_says_nothing(key_world: KeyWorld) -> None:
    """After a change of our role there nothing is concluded; nor from one that is away, which holds up no other."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)
    servers[0].responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    servers[1].request_faults[Operation.GET_ATTRIBUTES] = silence
    (one, two, three) = await key_world.servers(kept.manager)
    await key_world.store.write(lambda tx: tx.change_key_server(replace(two, timeout=1)))
    await kept.settle()
    found = {copy.key_server: copy.presence for copy in await key_world.copies(key.uuid)}
    assert found == {one.uuid: UNKNOWN, two.uuid: SENT, three.uuid: PRESENT}


@on_sqlite
async def test_what_changed_meanwhile_is_not_overwritten(key_world: KeyWorld) -> None:
    """What a look says is stored only of a copy that is still as it was when it was looked at."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    copies = await unsettled(key_world, key)
    changed = replace(copies[0], presence=UNKNOWN, unique_identifiers=("another",))

    async def change() -> None:
        await put(key_world, changed)

    kept.settling._tools = replace(kept.tools, turn=change)
    await kept.settle()
    assert changed in await key_world.copies(key.uuid)


@on_sqlite
async def test_a_key_manager_that_is_gone_has_nothing_to_settle(key_world: KeyWorld) -> None:
    """Nor has one whose servers are not known yet."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)

    def forget(tx: Transaction) -> None:
        for server in tx.key_servers(kept.manager):
            tx.delete_profile(server.uuid)

    await key_world.store.write(forget)
    assert await kept.settle() == 0
    async with kept.lease() as holding:
        assert await kept.settling.settle(holding, "gone") == 0

"""Fences: a clone that nothing tells from its original is told at the key servers, before it destroys anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.epoch_markers import ANCHOR, FIRST
from keystead.core.keys.model import Detached, KeyState
from keystead.core.keys.names import parse
from keystead.core.keys.waiting import WaitsFor, Work
from keystead.core.model import State
from keystead.kmip.testing.server import close
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys.destroying.epoch_markers import EVERY_S, RETRY_S
from keystead.service.keys.learning.profiles import forget
from keystead.service.keys.reporting.waiting import WaitingWork
from tests.service.worlds.clones import GOES_ON, HELD, fences_on, keys_on, side, twin_of, with_retired_key
from tests.service.worlds.keepers import PAIRS, WINDOW_S, keeping, of_kind
from tests.service.worlds.keys import CALL, KeyWorld, asked, full, nothing_was_ended, observe
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers.groups import Group

pytestmark = on_sqlite

# --- clones ---


@pytest.mark.parametrize("rounds", [1, 2, 3])
async def test_a_clone_of_an_original_that_went_on_destroys_nothing(
    key_world: KeyWorld, tmp_path: Path, rounds: int
) -> None:
    """A clone holds destruction and announces it; the original continues."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    clone = await twin_of(original, tmp_path / "clone")
    await original.kept.ending.recover(CALL, original.kept.manager, key.key_id)
    for _ in range(rounds):
        key_world.clock.advance(EVERY_S + 1)
        await original.round()
    key_world.clock.advance(WINDOW_S + 1)
    for _ in range(2):
        await clone.round()
    assert await clone.stands() == HELD
    assert await clone.announced() == 1
    assert await clone.state(key) is KeyState.RETIRED
    assert [keys_on(server) for server in servers] == [1, 1]
    await original.round()
    assert await original.stands() == GOES_ON
    assert await original.announced() == 0


async def test_an_original_is_told_that_its_clone_went_on(key_world: KeyWorld, tmp_path: Path) -> None:
    """Of original and clone, the one that comes second holds destruction."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    clone = await twin_of(original, tmp_path / "clone")
    key_world.clock.advance(EVERY_S + 1)
    await clone.round()
    key_world.clock.advance(WINDOW_S + 1)
    await original.round()
    assert (await clone.stands(), await original.stands()) == (GOES_ON, HELD)
    assert [keys_on(server) for server in servers] == [1, 1]
    assert await original.state(key) is KeyState.RETIRED


async def test_of_two_at_once_one_goes_on_at_most(key_world: KeyWorld, tmp_path: Path) -> None:
    """Of two concurrent processes at most one continues, whatever the order of their steps."""
    original, _ = await with_retired_key(key_world, *await key_world.start(1))
    for number in range(4):
        clone = await twin_of(original, tmp_path / f"clone{number}")
        key_world.clock.advance(EVERY_S + 1)
        await asyncio.gather(original.advance(), clone.advance())
        first, second = await original.stands(), await clone.stands()
        assert not (first[2] and second[2])
        if not first[2]:
            await original.incarnations.release(CALL)


async def test_a_clone_from_before_the_first_fence(key_world: KeyWorld, tmp_path: Path) -> None:
    """A clone from before the first marker is found by the anchor, though the first markers are gone."""
    original = await side(await keeping(key_world, *(servers := await key_world.start(1))))
    clone = await twin_of(original, tmp_path / "clone")
    for number in range(3):
        assert len(await original.advance()) == 1
        assert fences_on(servers[0]) == [ANCHOR, FIRST + number]
        key_world.clock.advance(EVERY_S + 1)
    assert await clone.advance() == frozenset()
    assert (await clone.stands(), await original.stands()) == (HELD, GOES_ON)


async def test_a_new_incarnation_has_fences_of_its_own(key_world: KeyWorld, tmp_path: Path) -> None:
    """A released clone has markers of its own, and clones of it are found."""
    original, _ = await with_retired_key(key_world, *await key_world.start(1))
    clone = await twin_of(original, tmp_path / "clone")
    key_world.clock.advance(EVERY_S + 1)
    await original.round()
    await clone.round()
    await clone.incarnations.release(CALL)
    await clone.incarnations.cloned("another incarnation's uuid")
    for each in (clone, original, clone, original):
        key_world.clock.advance(EVERY_S + 1)
        assert len(await each.advance()) == 1
    assert (await clone.stands(), await original.stands()) == ((2, "cloned", True), GOES_ON)


KINDS = [
    "plain",
    "unique names",
    "names stay taken",
    "destroyed objects are kept",
    "destroyed objects are kept and not located",
    "pages of two",
    "symmetric keys only",
    "no states",
    "active at once",
    "usage mask required",
    PAIRS,
]


@pytest.mark.parametrize("kind", KINDS)
async def test_kinds_of_servers(key_world: KeyWorld, tmp_path: Path, kind: str) -> None:
    """On each kind of server the marker moves on, its anchor stays, and a clone is found."""
    (server,) = await key_world.start(1, [of_kind(kind)])
    original = await side(await keeping(key_world, server))
    clones = []
    for number in range(3):
        assert len(await original.advance()) == 1
        assert fences_on(server) == [ANCHOR, FIRST + number]
        clones.append(await twin_of(original, tmp_path / f"clone{number}"))
        key_world.clock.advance(EVERY_S + 1)
    assert len(await original.advance()) == 1
    for clone in clones:
        assert await clone.advance() == frozenset()
        assert await clone.stands() == HELD
    assert await original.stands() == GOES_ON


async def test_a_server_that_does_not_find_by_name(key_world: KeyWorld) -> None:
    """A server that cannot find objects by name has no marker, and destruction there goes on."""
    (server,) = await key_world.start(1, [of_kind("locate returns everything")])
    original, key = await with_retired_key(key_world, server)
    key_world.clock.advance(WINDOW_S + 1)
    await original.round()
    assert await original.state(key) is KeyState.PURGED
    assert fences_on(server) == []


# --- servers ---


async def test_nothing_is_destroyed_where_the_fence_stands_still(key_world: KeyWorld) -> None:
    """Nothing is destroyed on a server that takes no marker now, and that is told; other servers continue."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    key_world.clock.advance(WINDOW_S + 1)
    room = servers[0].responder.capacity
    full(servers[0])
    await original.round()
    assert [keys_on(server) for server in servers] == [1, 0]
    assert nothing_was_ended(servers[0])
    assert await original.state(key) is KeyState.PURGING
    manager = (await key_world.key(key.uuid)).key_manager
    await observe(key_world, manager, State.AVAILABLE, State.AVAILABLE)
    waiting = await WaitingWork(key_world.store, key_world.clock).list(CALL, manager)
    assert [(each.of.work, each.of.waits_for) for each in waiting] == [(Work.PURGE, WaitsFor.EPOCH_MARKER)]
    servers[0].responder.capacity = room
    await original.round()
    assert await original.state(key) is KeyState.PURGED
    assert [keys_on(server) for server in servers] == [0, 0]
    assert await original.stands() == GOES_ON


async def test_no_purge_begins_without_a_fence(key_world: KeyWorld) -> None:
    """A key whose servers are all away can be recovered where the database's twin is, and stays retired here."""
    (server,) = await key_world.start(1)
    original, key = await with_retired_key(key_world, server)
    key_world.clock.advance(WINDOW_S + 1)
    server.request_faults[Operation.LOCATE] = close
    await original.round()
    assert await original.state(key) is KeyState.RETIRED
    assert nothing_was_ended(server)


async def test_a_server_that_returns_other_bytes_is_no_clones(key_world: KeyWorld) -> None:
    """While a server returns other bytes nothing is destroyed there; it does not count as a clone."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    await original.advance()
    key_world.clock.advance(WINDOW_S + 1)
    servers[0].responder.lying = True
    await original.round()
    assert await original.stands() == GOES_ON
    assert await original.announced() == 0
    assert [keys_on(server) for server in servers] == [1, 0]
    servers[0].responder.lying = False
    await original.round()
    assert await original.state(key) is KeyState.PURGED
    assert [keys_on(server) for server in servers] == [0, 0]


async def test_a_fence_that_stays_stops_the_next(key_world: KeyWorld) -> None:
    """No marker is written until the one before is destroyed."""
    (server,) = await key_world.start(1)
    original = await side(await keeping(key_world, server))
    await original.advance()
    server.responder.refusals[Operation.DESTROY] = ResultReason.PERMISSION_DENIED
    for _ in range(2):
        key_world.clock.advance(EVERY_S + 1)
        assert await original.advance() == frozenset()
        assert fences_on(server) == [ANCHOR, FIRST, FIRST + 1]
    del server.responder.refusals[Operation.DESTROY]
    assert await original.advance() == frozenset()
    key_world.clock.advance(RETRY_S)
    assert len(await original.advance()) == 1
    assert fences_on(server) == [ANCHOR, FIRST + 2]


async def test_fences_move_on_each_hour(key_world: KeyWorld) -> None:
    """Markers move on once an hour where nothing is to be destroyed, not in each round."""
    (server,) = await key_world.start(1)
    original = await side(await keeping(key_world, server))
    for expected in (FIRST, FIRST):
        await original.round()
        assert fences_on(server) == [ANCHOR, expected]
    key_world.clock.advance(EVERY_S + 1)
    await original.round()
    assert fences_on(server) == [ANCHOR, FIRST + 1]
    await (await side(original.kept)).round()
    assert fences_on(server) == [ANCHOR, FIRST + 2]


async def test_a_server_that_lost_everything_is_no_clones(key_world: KeyWorld) -> None:
    """It begins again once it shows its canary; until then nothing is made of what it does not show."""
    (server,) = await key_world.start(1)
    original = await side(await keeping(key_world, server))
    for _ in range(2):
        key_world.clock.advance(EVERY_S + 1)
        await original.advance()
    canary = {id_: each for id_, each in server.responder.objects.items() if parse(min(each.names)).kind == "c"}  # type: ignore[union-attr]
    server.responder.store.forget_all()
    key_world.clock.advance(EVERY_S + 1)
    assert await original.advance() == frozenset()
    assert fences_on(server) == []
    server.responder.objects.update(canary)
    key_world.clock.advance(RETRY_S)
    assert len(await original.advance()) == 1
    assert fences_on(server) == [ANCHOR, FIRST + 1]
    assert await original.stands() == GOES_ON


async def test_a_server_that_is_learned_anew_keeps_its_fence(key_world: KeyWorld) -> None:
    """A server that is learned again keeps its marker, which may still be there."""
    (server,) = await key_world.start(1)
    original = await side(await keeping(key_world, server))
    await original.advance()

    def forgotten(tx: Any) -> None:
        servers = tx.key_servers(original.kept.manager)
        forget(tx, servers, servers[0].uuid)

    for _ in range(2):
        await key_world.store.write(forgotten)
    await original.kept.learner.ensure(original.kept.manager)
    key_world.clock.advance(EVERY_S + 1)
    assert len(await original.advance()) == 1
    assert fences_on(server) == [ANCHOR, FIRST + 1]
    assert await original.stands() == GOES_ON


async def test_fences_are_not_listed(key_world: KeyWorld) -> None:
    """Markers are not listed as orphans, also those of another incarnation."""
    (server,) = await key_world.start(1)
    original = await side(await keeping(key_world, server))
    await original.advance()
    await original.incarnations.cloned((await key_world.topology(original.kept.manager)).incarnation.uuid)
    key_world.clock.advance(EVERY_S + 1)
    await original.advance()
    assert len(fences_on(server)) == 4
    assert [name for _, name in await original.kept.scan() if "-f" in name] == []


async def test_a_detached_server_has_a_fence(key_world: KeyWorld) -> None:
    """A detached server has a marker, because a clone may have copies there."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    removed = (await key_world.servers(original.kept.manager))[1]

    def detach(tx: Any) -> None:
        tx.delete_key_server(removed.uuid)
        tx.add_detached_key_server(Detached(removed, key_world.clock.now()))

    await key_world.store.write(detach)
    key_world.clock.advance(WINDOW_S + 1)
    before = fences_on(servers[1])
    full(servers[1])
    await original.round()
    assert keys_on(servers[1]) == 1
    servers[1].responder.capacity = servers[0].responder.capacity
    await original.round()
    assert keys_on(servers[1]) == 0
    assert max(fences_on(servers[1])) > max(before)
    assert await original.state(key) is KeyState.PURGED
    assert "DESTROY" in asked(servers[1])


async def test_a_clone_at_real_servers(key_world: KeyWorld, pykmip_group: Group, tmp_path: Path) -> None:
    """PyKMIP finds by name, and destroys what is Pre-Active: fences move on, and the clone is told."""
    kept = await keeping(key_world, *[server.address for server in pykmip_group.primaries[:2]])
    original = await side(kept)
    assert len(await original.advance()) == 2
    clone = await twin_of(original, tmp_path / "clone")
    for _ in range(2):
        key_world.clock.advance(EVERY_S + 1)
        assert len(await original.advance()) == 2
    assert await clone.advance() == frozenset()
    assert (await clone.stands(), await original.stands()) == (HELD, GOES_ON)

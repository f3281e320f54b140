"""Fences: a clone that nothing tells from its original is told at the key servers, before it destroys anything."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url

from keystead.core import events
from keystead.core.keys.fencing import ANCHOR, FIRST, FenceState
from keystead.core.keys.incarnations import Storage, Witness
from keystead.core.keys.model import Detached, KeyState
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.model import Event
from keystead.kmip.enums import Operation, ResultReason
from keystead.kmip.testing import close
from keystead.service.audit import AuditLog
from keystead.service.incarnations import Incarnations
from keystead.service.key_fencing import EVERY_S, RETRY_S, KeyFencing
from keystead.service.key_ports import Fault, KeyServerFault
from keystead.service.key_profiles import forget
from keystead.service.key_rounds import KeyRounds
from keystead.service.ports import Page, StoreError
from keystead.store import open_store
from tests.service.keepers import PAIRS, WINDOW_S, Keeping, keeping, of_kind
from tests.service.keyworlds import CALL, KeyWorld, asked, full, held, key_node, nothing_was_ended
from tests.service.learning import on_sqlite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from keystead.core.keys.fencing import Fence
    from keystead.core.keys.model import Key
    from keystead.kmip.testing import KeyServer as KmipServer

pytestmark = on_sqlite


class Same:
    """What a data directory remembers, and where its database stands: of a block copy both are the original's."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    async def storage(self) -> Storage:
        """The same disk, the same file."""
        return self._storage

    async def read(self) -> Witness:
        """Nothing that the database does not know."""
        return Witness()

    async def write(self, witness: Witness) -> None:
        """Forget it."""


@dataclass
class Side:
    """One of two databases with one past, and the process that keeps keys with it."""

    kept: Keeping
    incarnations: Incarnations
    fencing: KeyFencing
    rounds: KeyRounds

    async def round(self) -> None:
        """Make a round."""
        async with self.rounds.holding() as holding:
            assert holding is not None
            await self.rounds.keep(holding, self.kept.manager)

    async def advance(self) -> frozenset[str]:
        """Move the fences on that are due; return where one may destroy."""
        async with self.rounds.holding() as holding:
            assert holding is not None
            return await self.fencing.advance(holding, self.kept.manager)

    async def stands(self) -> tuple[int, str, bool]:
        """Number and reason of the incarnation, and whether it destroys."""
        found = await self.kept.node.store.read(lambda tx: tx.incarnation())
        assert found is not None
        return found.number, found.reason, found.destroys

    async def announced(self) -> int:
        """How often it was announced that nothing is destroyed."""
        found = await self.kept.node.store.read(lambda tx: tx.page(Event, Page()))
        return sum(each.name == events.DESTRUCTION_HELD.name for each in found)

    async def state(self, key: Key) -> KeyState:
        """A key's state."""
        (found,) = await self.kept.node.store.read(lambda tx: tx.keys([key.uuid]))
        return found.state

    async def fences(self) -> list[Fence | None]:
        """What is stored, by server."""
        servers = await self.kept.node.store.read(lambda tx: tx.key_servers(self.kept.manager))
        return [await self.kept.node.store.read(lambda tx: tx.fence(server.uuid)) for server in servers]  # noqa: B023


GOES_ON, HELD = (1, "created", True), (2, "cloned", False)


async def side(kept: Keeping, tools: Any = None) -> Side:
    """A process that has just started."""
    made, node, clock = tools or kept.tools, kept.node, kept.world.clock
    found = await node.store.read(lambda tx: tx.incarnation())
    assert found is not None
    same = Same(Storage(*(found.storage or "sqlite:directory:file").split(":", 2)))
    incarnations = Incarnations(node.store, same, node.audit, clock, node.uuid)
    await incarnations.begin()
    fencing = KeyFencing(made, incarnations.cloned)
    parts = replace(kept.rounds._parts, fencing=fencing)
    return Side(kept, incarnations, fencing, KeyRounds(made, kept.leases, parts, look=incarnations.look))


def _copy(file: Path, folder: Path) -> None:
    folder.mkdir()
    for part in file.parent.glob(f"{file.name}*"):
        shutil.copyfile(part, folder / part.name)


async def twin_of(one: Side, folder: Path) -> Side:
    """A block copy of a database, in the hands of a process of its own."""
    world, node = one.kept.world, one.kept.node
    file = Path(make_url(world.home.database).database or world.home.database)
    _copy(file, folder)
    store = open_store(f"sqlite:///{folder / file.name}")
    world._stack.push_async_callback(store.close)
    audit = AuditLog(store, world.home.keyring, world.clock, node.uuid)
    world._stack.push_async_callback(audit.close)
    made = key_node(world._stack, store, world.home.keyring, audit, world.clock, node.uuid)
    return await side(Keeping(world, made, one.kept.manager))


async def with_retired_key(world: KeyWorld, *servers: KmipServer) -> tuple[Side, Key]:
    """An original that has made a round, and a key that was retired in it."""
    kept = await keeping(world, *servers)
    original = await side(kept)
    await original.round()
    key = await kept.node.create(kept.manager)
    return original, await kept.ending.retire(CALL, kept.manager, key.key_id)


def fences_on(server: KmipServer) -> list[int]:
    """The numbers of the fences that a server holds."""
    names = [parse(name) for name in held(server)]
    return sorted(name.attempt for name in names if name and name.kind is ObjectKind.FENCE)


def keys_on(server: KmipServer) -> int:
    """How many objects of keys a server holds."""
    return sum(name is not None and name.kind is ObjectKind.KEY for name in map(parse, held(server)))


# --- clones ---


@pytest.mark.parametrize("rounds", [1, 2, 3])
async def test_a_clone_of_an_original_that_went_on_destroys_nothing(
    key_world: KeyWorld, tmp_path: Path, rounds: int
) -> None:
    """It holds destruction, and says so; the original, in which the key was recovered, goes on."""
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
    """The one that comes second holds, whichever it is."""
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
    """However their steps fall together."""
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
    """It finds the anchor, though the first fences are gone."""
    original = await side(await keeping(key_world, *(servers := await key_world.start(1))))
    clone = await twin_of(original, tmp_path / "clone")
    for number in range(3):
        assert len(await original.advance()) == 1
        assert fences_on(servers[0]) == [ANCHOR, FIRST + number]
        key_world.clock.advance(EVERY_S + 1)
    assert await clone.advance() == frozenset()
    assert (await clone.stands(), await original.stands()) == (HELD, GOES_ON)


async def test_a_new_incarnation_has_fences_of_its_own(key_world: KeyWorld, tmp_path: Path) -> None:
    """A clone that was told so and released keeps out of its original's way, and has clones of its own."""
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
    """On each the fence moves on, leaving its anchor, and a clone is told."""
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
    """It has no fence, and what has to end there ends."""
    (server,) = await key_world.start(1, [of_kind("locate returns everything")])
    original, key = await with_retired_key(key_world, server)
    key_world.clock.advance(WINDOW_S + 1)
    await original.round()
    assert await original.state(key) is KeyState.PURGED
    assert fences_on(server) == []


# --- crashes ---


class Dying:
    """The way of a process to its database and its key servers, on which it dies at a step: before it, or after it."""

    def __init__(self, tools: Any, step: int, *, after: bool) -> None:
        self._tools, self._left, self._after = tools, step, after
        self.died = False

    def tools(self) -> Any:
        """What the process works with."""
        return replace(self._tools, store=_Steps(self._tools.store, self), objects=_Sessions(self))

    async def step(self, failure: Exception, call: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        """Do something, unless it is dead by then."""
        self._left -= 1
        self.died = self.died or self._left <= 0
        if self._left < 0 or (self.died and not self._after):
            raise failure
        result = await call(*arguments, **options)
        if self.died:
            raise failure
        return result


class _Steps:
    def __init__(self, store: Any, dying: Dying) -> None:
        self._store, self._dying = store, dying
        self.read = store.read

    async def write(self, work: Any) -> Any:
        return await self._dying.step(StoreError("died"), self._store.write, work)


class _Sessions:
    def __init__(self, dying: Dying) -> None:
        self._dying = dying

    @asynccontextmanager
    async def session(self, reach: Any, **options: Any) -> AsyncIterator[Any]:
        async with self._dying._tools.objects.session(reach, **options) as session:
            yield _Session(session, self._dying)


class _Session:
    def __init__(self, session: Any, dying: Dying) -> None:
        self._session, self._dying = session, dying

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: Any, **options: Any) -> Any:
            failure = KeyServerFault(Fault.UNANSWERED, "died")
            return await self._dying.step(failure, getattr(self._session, name), *arguments, **options)

        return call


@pytest.mark.parametrize("first", [True, False], ids=["the first fence", "a later fence"])
@pytest.mark.parametrize("after", [False, True], ids=["before it", "after it"])
async def test_a_crash_at_each_step(key_world: KeyWorld, tmp_path: Path, *, first: bool, after: bool) -> None:
    """The next process goes on from there, and is no clone; a clone of that moment is, once the original has."""
    kept = await keeping(key_world, *(servers := await key_world.start(1)))
    step = 0
    while True:
        step += 1
        if first:
            servers[0].responder.store.forget_all()
            await kept.learner.ensure(kept.manager)
            await key_world.store.write(lambda tx: _without_fences(tx, kept.manager))
        else:
            key_world.clock.advance(EVERY_S + 1)
            await (await side(kept)).advance()
        key_world.clock.advance(EVERY_S + 1)
        dying = Dying(kept.tools, step, after=after)
        try:
            await (await side(kept, dying.tools())).advance()
        except StoreError:
            assert dying.died
        original = await side(kept)
        clone = await twin_of(original, tmp_path / f"clone{step}")
        assert len(await original.advance()) == 1, f"step {step}"
        (fence,) = await original.fences()
        assert fence is not None
        assert (fence.state, fence.behind) == (FenceState.HELD, ())
        assert fences_on(servers[0]) == [ANCHOR, fence.number]
        assert await original.stands() == GOES_ON
        assert await clone.advance() == frozenset(), f"step {step}"
        assert await clone.stands() == HELD
        if not dying.died:
            break
    assert step > 8


def _without_fences(tx: Any, manager: str) -> None:
    for server in tx.key_servers(manager):
        (profile,) = tx.profiles([server.uuid])
        tx.delete_profile(server.uuid)
        tx.put_profile(profile)


# --- servers ---


async def test_nothing_is_destroyed_where_the_fence_stands_still(key_world: KeyWorld) -> None:
    """A server that takes none now waits for another round; the others do not."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    key_world.clock.advance(WINDOW_S + 1)
    room = servers[0].responder.capacity
    full(servers[0])
    await original.round()
    assert [keys_on(server) for server in servers] == [1, 0]
    assert nothing_was_ended(servers[0])
    assert await original.state(key) is KeyState.PURGING
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


async def test_a_fence_that_stays_stops_the_next(key_world: KeyWorld) -> None:
    """The one before must be gone, or its absence would tell nothing: a server that destroys nothing gets no more."""
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
    """And not in each round, where nothing is to be destroyed."""
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
    """It may be the same one: then its fence is there, and no other database's."""
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
    """They keep no key: nobody adopts one, be it another incarnation's."""
    (server,) = await key_world.start(1)
    original = await side(await keeping(key_world, server))
    await original.advance()
    await original.incarnations.cloned((await key_world.places(original.kept.manager)).incarnation.uuid)
    key_world.clock.advance(EVERY_S + 1)
    await original.advance()
    assert len(fences_on(server)) == 4
    assert [name for _, name in await original.kept.scan() if "-f" in name] == []


async def test_a_detached_server_has_a_fence(key_world: KeyWorld) -> None:
    """What has to end there may be another's by then as well."""
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

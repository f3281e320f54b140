"""A database that goes on from before it acknowledged something: nothing of that is destroyed, however new it is."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import make_url

from keystead.core.keys.incarnations import Storage, Witness
from keystead.core.keys.model import KeyState
from keystead.core.keys.names import object_name
from keystead.kmip.enums import Operation
from keystead.kmip.profiles import PROFILES
from keystead.kmip.responder import Responder
from keystead.kmip.testing import close
from keystead.service.incarnations import Incarnations
from keystead.service.key_describing import Describer
from keystead.service.key_destroying import KeyDestroying
from keystead.service.key_ending import KeyEnding
from keystead.service.key_fencing import RETRY_S, KeyFencing
from keystead.service.key_looking import reach_of
from keystead.service.key_rounds import KeyRounds
from keystead.service.ports import StoreError
from keystead.store import copying
from tests.service.keepers import WINDOW_S, Keeping, aborted, again, believed, keeping, of_kind
from tests.service.keyworlds import CALL, KeyWorld, held
from tests.service.learning import on_sqlite
from tests.service.twins import GOES_ON, HELD, Side, keys_on, side, twin_of, with_retired_key

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from keystead.core.keys.model import Key
    from keystead.kmip.testing import KeyServer as KmipServer

pytestmark = on_sqlite


class Remembered:
    """What a data directory remembers of the database that it serves, in memory."""

    def __init__(self) -> None:
        self.witness = Witness()

    async def storage(self) -> Storage:
        """The same place all the time."""
        return Storage("sqlite", "directory", "file")

    async def read(self) -> Witness:
        """What was remembered last."""
        return self.witness

    async def write(self, witness: Witness) -> None:
        """Remember."""
        self.witness = witness


class Served:
    """A process that goes on, whatever becomes of its database's file."""

    def __init__(self, kept: Keeping) -> None:
        self.kept, node, clock = kept, kept.node, kept.world.clock
        self.lives = Incarnations(node.store, Remembered(), node.audit, clock, node.uuid)
        self.fencing = KeyFencing(kept.tools, self.lives.cloned)
        destroying = KeyDestroying(
            kept.tools, believed(node.store, clock, node.uuid), self.lives.cloned, self.lives.check
        )
        self.parts = replace(kept.rounds._parts, fencing=self.fencing, destroying=destroying)
        self.rounds = KeyRounds(kept.tools, kept.leases, self.parts, look=self.lives.look)
        self.file = make_url(kept.world.home.database).database or ""

    def put_back(self, older: Path) -> None:
        """Restore into the file that is served, as SQLite's shell does."""
        with closing(sqlite3.connect(older)) as source, closing(sqlite3.connect(self.file)) as target:
            source.backup(target)


def while_registered(server: KmipServer, work: Callable[[], Awaitable[object]]) -> None:
    """Do something while a key's intent is stored, and its first copy, and nothing else."""

    async def answer(exchange: Any) -> None:
        del server.request_faults[Operation.REGISTER]
        await work()
        await exchange.stream.send(exchange.answer)

    server.request_faults[Operation.REGISTER] = answer


async def goes_on(one: Side) -> None:
    """Have a database be kept that has only a key's intent."""
    for _ in range(2):
        async with one.rounds.holding() as holding:
            assert holding is not None
            await one.rounds.abort_expired(holding)
            await one.rounds.keep(holding, one.kept.manager)
        one.kept.world.clock.advance(130)


async def listed(one: Side) -> list[str]:
    """The names of objects that are unclaimed, by a scan."""
    async with one.rounds.holding() as holding:
        assert holding is not None
        await one.rounds._parts.scan.scan(holding, one.kept.manager)
    found = await one.kept.node.store.read(lambda tx: tx.unclaimed(one.kept.manager))
    return [each.name for each in found]


async def stands(world: KeyWorld, key: Key, *servers: KmipServer) -> list[bool]:
    """On which servers a key's first copies are."""
    (attempt,) = await world.attempts(key.uuid)
    return [str(object_name(attempt)) in held(server) for server in servers]


# --- keys that it does not know to be committed ---


@pytest.mark.parametrize("described", [False, True])
async def test_a_disk_that_is_minutes_old(key_world: KeyWorld, tmp_path: Path, described: bool) -> None:
    """It has a key's intent, not its commit; no fence moved since. What is described was committed: it is a clone.

    What is Active may have been: it is unclaimed, and can be adopted.
    """
    servers = await key_world.start(2, [of_kind("no states") for _ in range(2)] if described else ())
    manager = await key_world.key_manager(*servers, know=False)
    describe = Describer((await key_world.node()).reacher)
    node = await (key_world.node(describe=describe) if described else key_world.node())
    kept = Keeping(key_world, node, manager)
    await kept.learner.ensure(manager)
    original, replicas = await side(kept), []
    await original.round()

    async def replicate() -> None:
        replicas.append(await twin_of(original, tmp_path / "replica"))

    while_registered(servers[0], replicate)
    key = await node.create(manager)
    assert key.state is KeyState.COMMITTED
    key_world.clock.advance(300)
    (replica,) = replicas
    await goes_on(replica)
    assert (await replica.stands(), await replica.state(key)) == (HELD if described else GOES_ON, KeyState.ABORTED)
    assert await stands(key_world, key, *servers) == [True, True]
    assert len(await listed(replica)) == 2


@pytest.mark.parametrize("kind", ["active at once", "no states"])
async def test_a_disk_that_is_minutes_old_and_servers_that_tell_nothing(
    key_world: KeyWorld, tmp_path: Path, kind: str
) -> None:
    """They take no descriptor, and their State says nothing: what was aborted for its time alone is unclaimed."""
    profile = replace(PROFILES[kind], object_types=PROFILES["symmetric keys only"].object_types)
    servers = await key_world.start(2, [Responder(profile=profile) for _ in range(2)])
    kept = await keeping(key_world, *servers)
    original, replicas = await side(kept), []
    await original.round()

    async def replicate() -> None:
        replicas.append(await twin_of(original, tmp_path / "replica"))

    while_registered(servers[0], replicate)
    key = await kept.node.create(kept.manager)
    key_world.clock.advance(300)
    (replica,) = replicas
    await goes_on(replica)
    assert await replica.stands() == GOES_ON
    assert await stands(key_world, key, *servers) == [True, True]
    assert len(await listed(replica)) == 2


async def test_no_copy_goes_before_every_server_was_asked(key_world: KeyWorld, tmp_path: Path) -> None:
    """One fell silent once the copies were proven: what is Active on the other saves both; while that is away, too."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    original, replicas = await side(kept), []
    await original.round()
    rows = await key_world.servers(kept.manager)
    low, high = sorted(servers, key=lambda each: rows[servers.index(each)].uuid)

    async def replicate() -> None:
        replicas.append(await twin_of(original, tmp_path / "replica"))
        low.request_faults[Operation.ACTIVATE] = close

    while_registered(low, replicate)
    key = await kept.node.create(kept.manager)
    low.request_faults.clear()
    key_world.clock.advance(300)
    (replica,) = replicas
    await high.__aexit__(None, None, None)
    await goes_on(replica)
    assert await stands(key_world, key, low) == [True]
    await high.__aenter__()
    await again(replica.kept, end=False)
    await goes_on(await side(replica.kept))
    assert await stands(key_world, key, *servers) == [True, True]
    (attempt,) = await replica.kept.node.store.read(lambda tx: tx.attempts([key.uuid]))
    assert attempt.incarnation == ""


async def test_what_an_administrator_activates_holds_nobody_elses_destruction(key_world: KeyWorld) -> None:
    """Or a policy that activates later: an attempt that was aborted by its coordinator is ended, whatever is shown."""
    (server,) = await key_world.start(1)
    kept = await keeping(key_world, server)
    one = await side(kept)
    await one.round()
    key = await aborted(kept, server)
    assert keys_on(server) == 1
    (attempt,) = await key_world.attempts(key.uuid)
    node, places = await key_world.node(), await key_world.places(kept.manager)
    async with node.objects.session(reach_of(kept.tools, places, places.servers[0], ""), timeout_s=5) as session:
        for id_ in await session.locate(str(object_name(attempt))):
            await session.activate(id_)
    await again(kept, end=False)
    key_world.clock.advance(300)
    await (await side(kept)).round()
    assert (await one.stands(), keys_on(server)) == (GOES_ON, 0)


@pytest.mark.parametrize("kind", ["active at once", "no states", "plain"])
async def test_what_was_aborted_is_ended_where_states_tell_nothing(key_world: KeyWorld, kind: str) -> None:
    """A server whose objects are Active at once says nothing by that."""
    servers = await key_world.start(1, [of_kind(kind)])
    kept = await keeping(key_world, *servers)
    one = await side(kept)
    await one.round()
    await aborted(kept, *servers)
    assert keys_on(servers[0]) == 1
    await again(kept, end=False)
    key_world.clock.advance(300)
    await (await side(kept)).round()
    assert await one.stands() == GOES_ON
    assert keys_on(servers[0]) == 0


async def test_a_database_that_loses_its_last_seconds(key_world: KeyWorld, tmp_path: Path) -> None:
    """Its host crashed, and its disk had not kept the commit: the process, its lease and the epoch are as they were."""
    servers = await key_world.start(2)
    served = Served(kept := await keeping(key_world, *servers))
    await served.lives.begin()
    lost = tmp_path / "lost.db"
    async with served.rounds.holding() as holding:
        assert holding is not None
        await served.rounds.keep(holding, kept.manager)
        while_registered(servers[0], lambda: asyncio.to_thread(copying.copy_file, kept.node.store.database, lost))
        key = await kept.node.create(kept.manager)
        (attempt,) = await key_world.attempts(key.uuid)
        served.put_back(lost)
        for _ in range(4):
            key_world.clock.advance(40)
            await holding.renew()
            await served.lives.begin()
            await served.rounds.abort_expired(holding)
            await served.rounds.keep(holding, kept.manager)
    assert [str(object_name(attempt)) in held(server) for server in servers] == [True, True]


# --- keys that it has retired, and that were recovered ---


async def test_a_machine_that_is_put_back_within_the_hour(key_world: KeyWorld, tmp_path: Path) -> None:
    """Fences move on soon after a recovery, though it is not time: a snapshot from before it is told so."""
    servers = await key_world.start(2)
    original, key = await with_retired_key(key_world, *servers)
    snapshot = await twin_of(original, tmp_path / "snapshot")
    await original.kept.ending.recover(CALL, original.kept.manager, key.key_id)
    before = await original.fences()
    await original.round()
    after = await original.fences()
    assert [fence.number for fence in after if fence] == [fence.number + 1 for fence in before if fence]
    await original.round()
    assert await original.fences() == after
    key_world.clock.advance(WINDOW_S + 1)
    for _ in range(2):
        await snapshot.round()
    assert (await snapshot.stands(), await snapshot.state(key)) == (HELD, KeyState.RETIRED)
    assert await stands(key_world, key, *servers) == [True, True]


async def test_a_fence_that_is_due_moves_when_its_server_is_back(key_world: KeyWorld) -> None:
    """It was away when the key was recovered."""
    (server,) = await key_world.start(1)
    original, key = await with_retired_key(key_world, server)
    await original.kept.ending.recover(CALL, original.kept.manager, key.key_id)
    (before,) = await original.fences()
    server.request_faults[Operation.LOCATE] = close
    await original.round()
    server.request_faults.clear()
    await again(original.kept, end=False)
    key_world.clock.advance(RETRY_S + 1)
    await original.round()
    (after,) = await original.fences()
    assert before is not None
    assert after is not None
    assert after.number > before.number


async def test_a_fence_that_is_due_moves_when_the_database_is_back(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the next round, not in an hour."""
    original, key = await with_retired_key(key_world, *await key_world.start(1))
    await original.kept.ending.recover(CALL, original.kept.manager, key.key_id)
    (before,) = await original.fences()

    async def away(*_: object) -> None:
        raise StoreError("the database is away")

    with monkeypatch.context() as patched:
        patched.setattr(original.fencing, "_store", away)
        await original.round()
    await original.round()
    (after,) = await original.fences()
    assert before is not None
    assert after is not None
    assert after.number > before.number


@pytest.mark.parametrize("when", ["before the look", "after the look"])
async def test_a_backup_that_is_restored_into_the_database_in_service(
    key_world: KeyWorld, tmp_path: Path, when: str
) -> None:
    """A key was retired when it was made, and recovered since; in that round another key is to be destroyed."""
    servers = await key_world.start(2)
    served = Served(kept := await keeping(key_world, *servers))
    backup, advance = tmp_path / "backup.db", served.fencing.advance

    async def then_restore(*args: Any) -> frozenset[str]:
        fenced = await advance(*args)
        await asyncio.to_thread(served.put_back, backup)
        return fenced

    await served.lives.begin()
    ending = KeyEnding(kept.node.store, kept.node.audit, key_world.clock, timedelta(seconds=100))
    async with served.rounds.holding() as holding:
        assert holding is not None
        await served.rounds.keep(holding, kept.manager)
        key, another = await kept.node.create(kept.manager), await kept.node.create(kept.manager, "another")
        await ending.retire(CALL, kept.manager, key.key_id)
        copying.copy_file(kept.node.store.database, backup)
        await ending.retire(CALL, kept.manager, another.key_id)
        await ending.recover(CALL, kept.manager, key.key_id)
        await served.lives.begin()
        await served.rounds.keep(holding, kept.manager)
        for _ in range(4):  # the window ends; the lease is renewed all the time
            key_world.clock.advance(40)
            await holding.renew()
        if when == "before the look":
            served.put_back(backup)
        else:
            served.fencing.advance = then_restore  # type: ignore[method-assign, assignment]
        for _ in range(2):
            await served.rounds.keep(holding, kept.manager)
            served.fencing.advance = advance  # type: ignore[method-assign]
    incarnation = await key_world.store.read(lambda tx: tx.incarnation())
    assert incarnation is not None
    assert (incarnation.reason, incarnation.destroys) == ("restored", False)
    assert await stands(key_world, key, *servers) == [True, True]

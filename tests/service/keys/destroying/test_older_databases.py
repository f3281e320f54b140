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
from keystead.core.keys.model import Key, KeyState
from keystead.core.keys.names import object_name
from keystead.kmip.testing.server import close
from keystead.kmip.ttlv.enums import Operation
from keystead.service.cluster.incarnations import Incarnations
from keystead.service.keys.destroying.epoch_markers import RETRY_S, EpochMarkers
from keystead.service.keys.destroying.purge import KeyPurge
from keystead.service.keys.keeping.rounds import KeyRounds
from keystead.service.ports.store import StoreError
from keystead.store import copying
from tests.service.worlds.clones import HELD, stands, twin_of, while_registered, with_retired_key
from tests.service.worlds.keepers import WINDOW_S, Keeping, again, believed, keeping
from tests.service.worlds.keys import CALL, KeyWorld, held
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from pathlib import Path

    from keystead.service.cluster.incarnations import Left


pytestmark = on_sqlite


class Remembered:
    """What a data directory remembers of the database that it serves, in memory."""

    def __init__(self) -> None:
        self.witness = Witness()

    async def storage(self) -> Storage:
        """Return the same place all the time."""
        return Storage("sqlite", "directory", "file")

    async def read(self) -> Witness:
        """Return what was remembered last."""
        return self.witness

    async def write(self, witness: Witness) -> None:
        """Remember."""
        self.witness = witness

    async def leave(self, left: Left) -> None:
        """Leave nothing."""

    async def take_left(self) -> Left | None:
        """Find nothing."""
        return None


class Served:
    """A process that goes on, whatever becomes of its database's file."""

    def __init__(self, kept: Keeping) -> None:
        self.kept, node, clock = kept, kept.node, kept.world.clock
        self.lives = Incarnations(node.store, Remembered(), node.audit, clock, node.uuid)
        self.epoch_markers = EpochMarkers(kept.context, self.lives.cloned)
        destroying = KeyPurge(kept.context, believed(node.store, clock, node.uuid), self.lives.cloned, self.lives.check)
        self.parts = replace(kept.parts, epoch_markers=self.epoch_markers, destroying=destroying)
        self.rounds = KeyRounds(kept.context, kept.leases, self.parts, look=self.lives.look)
        self.file = make_url(kept.world.home.database).database or ""

    def put_back(self, older: Path) -> None:
        """Restore into the file that is served, as SQLite's shell does."""
        with closing(sqlite3.connect(older)) as source, closing(sqlite3.connect(self.file)) as target:
            source.backup(target)


# --- keys that it does not know to be committed ---


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
    assert [marker.number for marker in after if marker] == [marker.number + 1 for marker in before if marker]
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
        patched.setattr(original.epoch_markers, "_store", away)
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
    backup, advance = tmp_path / "backup.db", served.epoch_markers.advance

    async def then_restore(*args: Any) -> frozenset[str]:
        fenced = await advance(*args)
        await asyncio.to_thread(served.put_back, backup)
        return fenced

    await served.lives.begin()
    soon = timedelta(seconds=100)

    async def retire(key: Key) -> None:
        """Retire a key whose window is as short as the lease lets the test be."""
        retired = await kept.ending.retire(CALL, kept.manager, key.key_id)
        shorter = replace(retired, purge_after=key_world.clock.now() + soon)
        await key_world.store.write(lambda tx: tx.change_key(shorter, retired.state))

    async with served.rounds.holding() as holding:
        assert holding is not None
        await served.rounds.keep(holding, kept.manager)
        key, another = await kept.node.create(kept.manager), await kept.node.create(kept.manager, "another")
        await retire(key)
        copying.copy_file(kept.node.store.database, backup)
        await retire(another)
        await kept.ending.recover(CALL, kept.manager, key.key_id)
        await served.lives.begin()
        await served.rounds.keep(holding, kept.manager)
        for _ in range(4):  # the window ends; the lease is renewed all the time
            key_world.clock.advance(40)
            await holding.renew()
        if when == "before the look":
            served.put_back(backup)
        else:
            served.epoch_markers.advance = then_restore  # type: ignore[method-assign, assignment]
        for _ in range(2):
            await served.rounds.keep(holding, kept.manager)
            served.epoch_markers.advance = advance  # type: ignore[method-assign]
    incarnation = await key_world.store.read(lambda tx: tx.incarnation())
    assert incarnation is not None
    assert (incarnation.reason, incarnation.destroys) == ("restored", False)
    assert await stands(key_world, key, *servers) == [True, True]

"""A round of the keeper: what fails holds up nothing else, but for a lease that is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import Presence
from keystead.service.cluster.leases import KEEPER, LeaseLost
from keystead.service.keys.keeping.rounds import HIDING_S, YOUNG, KeyRounds
from keystead.service.ports.store import StoreError
from tests.service.worlds.keepers import keeping
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from collections.abc import Collection

    from keystead.core.keys.keeping import Sweep
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.learning.learn import ServerLearner
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction
    from tests.service.worlds.keepers import Keeping
    from tests.service.worlds.keys import KeyWorld


class Broken:
    """A learner that fails."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    async def ensure(self, key_manager: str) -> ServerTopology:
        """Fail."""
        del key_manager
        raise self._failure

    async def look_for_canaries(self, key_manager: str) -> None:
        """Fail, too."""
        del key_manager
        raise self._failure


@on_sqlite
@pytest.mark.parametrize("failure", [StoreError("away"), RuntimeError("a secret"), KeyError("x")])
async def test_what_fails_holds_up_nothing_else(
    key_world: KeyWorld, failure: Exception, capsys: pytest.CaptureFixture[str]
) -> None:
    """A part that fails is told in the log, its text only where that is known to be safe; the others are done."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    servers[0].responder.store.forget((await key_world.copies(key.uuid))[0].unique_identifiers[0])
    rounds = KeyRounds(kept.context, kept.leases, replace(kept.parts, learner=Broken(failure)))
    (server, _) = await key_world.servers(kept.manager)
    async with rounds.holding() as holding:
        assert holding is not None
        tally = await rounds.keep(holding, kept.manager, [server.uuid], scan=True)
    assert tally is not None
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [
        Presence.MISSING,
        Presence.PRESENT,
        Presence.PRESENT,
    ]
    assert "a secret" not in capsys.readouterr().out


class Counting:
    """A learner that counts what is looked at."""

    def __init__(self, learner: ServerLearner) -> None:
        self._learner = learner
        self.looks = 0

    async def ensure(self, key_manager: str) -> ServerTopology:
        """Learn."""
        return await self._learner.ensure(key_manager)

    async def look_for_canaries(self, key_manager: str) -> None:
        """Look, and count."""
        self.looks += 1
        await self._learner.look_for_canaries(key_manager)


@on_sqlite
async def test_canaries_of_young_servers_are_looked_for_in_each_round(key_world: KeyWorld) -> None:
    """For an hour; then when servers are swept, and when something may have changed."""
    kept = await keeping(key_world, *await key_world.start(2))
    counting = Counting(kept.learner)
    rounds = KeyRounds(kept.context, kept.leases, replace(kept.parts, learner=counting))
    (server, _) = await key_world.servers(kept.manager)
    async with rounds.holding() as holding:
        assert holding is not None
        await rounds.keep(holding, kept.manager)
        await rounds.keep(holding, kept.manager)
        assert counting.looks == 2
    key_world.clock.advance(YOUNG.total_seconds() + 1)
    async with rounds.holding() as holding:
        assert holding is not None
        await rounds.keep(holding, kept.manager)
        assert counting.looks == 2
        await rounds.keep(holding, kept.manager, changed=True)
        await rounds.keep(holding, kept.manager, [server.uuid])
        assert counting.looks == 4


def take_away(tx: Transaction) -> None:
    """Have the lease change hands."""
    lease = tx.lease(KEEPER)
    assert lease is not None
    tx.put_lease(replace(lease, token=lease.token + 1))


@on_sqlite
async def test_a_lost_lease_ends_the_round(key_world: KeyWorld) -> None:
    """Nothing more is done under it, nor announced."""
    kept = await keeping(key_world, *await key_world.start(1))
    await kept.node.create(kept.manager)
    (found,) = await kept.rounds.enabled_key_managers()
    async with kept.lease() as holding:
        tally = await kept.rounds.keep(holding, kept.manager)
        assert tally is not None
        assert tally.sole == 1
        key_world.clock.advance(300)
        with pytest.raises(LeaseLost):
            await kept.rounds.keep(holding, kept.manager)
        await key_world.store.write(take_away)
        with pytest.raises(LeaseLost):
            await kept.rounds.announce(holding, found.key_manager, tally)
    assert await kept.events() == []


@on_sqlite
async def test_nothing_is_ended_before_a_look_at_the_database(key_world: KeyWorld) -> None:
    """Another one may have taken its place: attempts and objects are left alone until that is known."""
    kept = await keeping(key_world, *await key_world.start(1))
    looks: list[Exception | None] = [StoreError("away"), StoreError("away"), None, None]
    ended: list[str] = []

    async def look() -> None:
        if failure := looks.pop(0):
            raise failure

    class Ending:
        async def abort_expired(self, _: object) -> None:
            ended.append("attempts")

        async def settle(self, *_: object) -> None: ...

        async def end(self, *_: object) -> None:
            ended.append("objects")

    ending: Any = Ending()
    rounds = KeyRounds(kept.context, kept.leases, replace(kept.parts, settling=ending, destroying=ending), look=look)
    async with rounds.holding() as holding:
        assert holding is not None
        for expected in ([], ["attempts", "objects"]):
            await rounds.abort_expired(holding)
            await rounds.keep(holding, kept.manager)
            assert ended == expected
    assert looks == []


async def round_after(kept: Keeping, seconds: float, sweep: Collection[str] = ()) -> None:
    """Make a round when so much time has passed."""
    kept.world.clock.advance(seconds)
    async with kept.lease() as holding:
        await kept.rounds.keep(holding, kept.manager, sweep)


async def watch_and_keep(kept: Keeping) -> None:
    """Have the node's monitor look at all servers, then make a round."""
    await kept.watch()
    await round_after(kept, 300)


async def test_a_server_that_a_monitor_saw_wiped_is_swept(key_world: KeyWorld) -> None:
    """What it had is unknown, and that is announced once; when it shows it again, settling finds it."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = dict(servers[0].responder.store.objects)
    await round_after(kept, 0)
    servers[0].responder.store.forget_all()
    await round_after(kept, 30)
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]
    for _ in range(2):
        await watch_and_keep(kept)
        assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
    assert [name for name, _ in await kept.events()] == ["km.canary.notvisible"]
    servers[0].responder.store.objects.update(before)
    for _ in range(2):  # what one round leaves unknown is not the first that the next one asks for
        await round_after(kept, 1)
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]


@on_sqlite
async def test_a_canary_that_comes_and_goes_hides_no_loss(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has its server swept once an hour, and no more: each sweep tolerates that some copies are gone."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    keys = [await kept.node.create(kept.manager, f"key {number}") for number in range(20)]
    (row, _) = await key_world.servers(kept.manager)
    store = servers[0].responder.store
    hidden = (await key_world.topology(kept.manager)).profiles[row.uuid].canary[0]
    canary = store.objects[hidden]
    swept: list[str] = []
    ends = [False, True, True, True]
    sweep = kept.keeping.sweep

    async def counted(holding: Holding, key_manager: str, key_server: str) -> Sweep | None:
        swept.append(key_server)
        return await sweep(holding, key_manager, key_server) if ends.pop(0) else None

    monkeypatch.setattr(kept.keeping, "sweep", counted)
    await round_after(kept, 0)
    store.forget(hidden)
    await watch_and_keep(kept)  # this sweep does not come to its end
    for key in keys[:3]:
        await watch_and_keep(kept)
        store.put(hidden, canary)
        store.forget((await key_world.copies(key.uuid))[0].unique_identifiers[0])
        await watch_and_keep(kept)
        store.forget(hidden)
    assert swept == [row.uuid] * 2
    store.put(hidden, canary)
    await kept.watch()
    await round_after(kept, HIDING_S, [row.uuid])
    assert [name for name, _ in await kept.events()][-1] == "km.keys.masslost"
    assert Presence.MISSING not in [(await key_world.copies(key.uuid))[0].presence for key in keys]
    store.forget(hidden)
    await watch_and_keep(kept)
    assert swept == [row.uuid] * 4

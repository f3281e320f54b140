"""A round of the keeper: what fails holds up nothing else, but for a lease that is lost."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.model import Presence
from keystead.service.key_rounds import LEASE, YOUNG, KeyRounds
from keystead.service.leases import LeaseLost
from keystead.service.ports import StoreError
from tests.service.keepers import keeping
from tests.service.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.service.key_learning import KeyLearner
    from keystead.service.key_places import KeyPlaces
    from keystead.service.ports import Transaction
    from tests.service.keyworlds import KeyWorld


class Broken:
    """A learner that fails."""

    def __init__(self, failure: Exception) -> None:
        self._failure = failure

    async def ensure(self, key_manager: str) -> KeyPlaces:
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
    rounds = KeyRounds(kept.tools, kept.leases, replace(kept.rounds._parts, learner=Broken(failure)))
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

    def __init__(self, learner: KeyLearner) -> None:
        self._learner = learner
        self.looks = 0

    async def ensure(self, key_manager: str) -> KeyPlaces:
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
    rounds = KeyRounds(kept.tools, kept.leases, replace(kept.rounds._parts, learner=counting))
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
    lease = tx.lease(LEASE)
    assert lease is not None
    tx.put_lease(replace(lease, token=lease.token + 1))


@on_sqlite
async def test_a_lost_lease_ends_the_round(key_world: KeyWorld) -> None:
    """Nothing more is done under it, nor announced."""
    kept = await keeping(key_world, *await key_world.start(1))
    await kept.node.create(kept.manager)
    (found,) = await kept.rounds.kept()
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
    rounds = KeyRounds(
        kept.tools, kept.leases, replace(kept.rounds._parts, settling=ending, destroying=ending), look=look
    )
    async with rounds.holding() as holding:
        assert holding is not None
        for expected in ([], ["attempts", "objects"]):
            await rounds.abort_expired(holding)
            await rounds.keep(holding, kept.manager)
            assert ended == expected
    assert looks == []


async def test_a_server_that_was_wiped_is_noticed_in_the_next_round(key_world: KeyWorld) -> None:
    """What it had is unknown, and that is announced once; when it shows it again it is present at once."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = dict(servers[0].responder.store.objects)
    async with kept.lease() as holding:
        await kept.rounds.keep(holding, kept.manager)
        servers[0].responder.store.forget_all()
        for _ in range(2):
            await kept.rounds.keep(holding, kept.manager)
            assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
        assert [name for name, _ in await kept.events()] == ["km.canary.notvisible"]
        servers[0].responder.store.objects.update(before)
        await kept.rounds.keep(holding, kept.manager)
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]

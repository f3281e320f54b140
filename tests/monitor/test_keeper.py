"""The keeper: one process at a time makes rounds, kicks wake it, and it shows and announces the state of keys."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.names import ObjectKind, parse
from keystead.core.server_address import ServerAddress
from keystead.kmip.testing.server import close, delay
from keystead.kmip.ttlv.enums import Operation
from keystead.monitor.keeper import SLOW_AT_ONCE, SOON_S, Keeper, Periods
from keystead.monitor.key_counts import KeyCounts
from keystead.monitor.metrics import Metrics
from keystead.service.cluster.leases import LeaseLost
from keystead.service.keys.attempts import EXPIRES
from keystead.service.keys.keeping.rounds import KeyRounds
from keystead.service.keys.reporting.survival import KeySurvival
from keystead.service.ports.store import StoreError
from tests.service.worlds.keepers import WINDOW_S, Keeping, keeping
from tests.service.worlds.keys import CALL, KeyWorld, asked, held
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

    from keystead.core.keys.keeping import Tally
    from keystead.core.keys.model import Key
    from keystead.core.model import KeyManager
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.cluster.leases import Holding
    from keystead.service.keys.keeping.rounds import EnabledKeyManager

SOON = Periods(round_s=0.2, sweep_s=0.0, scan_s=0.0, take_s=0.1)
SELDOM = Periods(round_s=60, take_s=0.1)


@asynccontextmanager
async def kept_by(
    kept: Keeping, periods: Periods = SOON, *, slow_at_once: int = SLOW_AT_ONCE
) -> AsyncIterator[tuple[Keeper, Metrics]]:
    """Have a process keep keys."""
    metrics = Metrics()
    keeper = Keeper(kept.rounds, metrics, periods, slow_at_once=slow_at_once)
    counts = KeyCounts(KeySurvival(kept.node.store, kept.world.clock), keeper.holds, metrics, period_s=0.05)
    keeper.start()
    counts.start()
    try:
        yield keeper, metrics
    finally:
        await counts.close()
        await keeper.close()


async def expect_eventually(reached: Callable[[], Awaitable[bool]]) -> None:
    """Wait until the condition holds; raise TimeoutError after 90 s."""
    async with asyncio.timeout(90):
        while not await reached():  # noqa: ASYNC110 - the database and the servers set no event
            await asyncio.sleep(0.05)


async def text(metrics: Metrics) -> str:
    """Return the exposition of the metrics."""
    return (await metrics.exposition())[0].decode()


def shown(name: str, value: float) -> Callable[[str], bool]:
    """Return a condition: a gauge has this value in all of its series."""
    pattern = re.compile(rf"^{name}(?:{{.*}})? (\S+)$", re.MULTILINE)
    return lambda said: set(pattern.findall(said)) == {str(value)}


async def presences(kept: Keeping, key: Key) -> list[Presence]:
    """Return what is known of a key's copies."""
    return [copy.presence for copy in await kept.world.copies(key.uuid)]


def kept_on(server: KmipServer) -> list[str]:
    """Return the names of the objects on a server, except epoch markers."""
    names = {name: parse(name) for name in held(server)}
    return [name for name, parsed in names.items() if parsed and parsed.kind is not ObjectKind.EPOCH_MARKER]


PRESENT = Presence.PRESENT


async def test_everything_is_kept(key_world: KeyWorld) -> None:
    """Lost copies are written again, overdue keys are purged, and orphans are listed."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    key, other = [await kept.node.create(kept.manager, name) for name in ("one", "other")]
    (uid,) = (await key_world.copies(key.uuid))[1].unique_identifiers
    servers[1].responder.store.forget(uid)
    async with kept_by(kept, replace(SOON, rest_factor=0.0)) as (_, metrics):
        await expect_eventually(lambda: _is(presences(kept, key), [PRESENT, Presence.MISSING, PRESENT, PRESENT]))
        await kept.ending.retire(CALL, kept.manager, other.key_id)
        key_world.clock.advance(WINDOW_S + 1)
        await expect_eventually(lambda: _state(kept, other, KeyState.PURGED))
        await expect_eventually(lambda: _says(metrics, shown("keystead_keys", 1.0)))
        said = await text(metrics)
        assert shown("keystead_keys_sole_copy", 0.0)(said)
        assert shown("keystead_keeper", 1.0)(said)
        assert f'key_server="127.0.0.1:{servers[1].port}",presence=' in said
    assert all(len(kept_on(server)) == 2 for server in servers)
    assert "keystead_key_copies{" not in await text(metrics)
    assert [name for name, _ in await kept.events()] == ["km.key.missing"]


async def _is(found: Awaitable[object], wanted: object) -> bool:
    return await found == wanted


async def _state(kept: Keeping, key: Key, state: KeyState) -> bool:
    return (await kept.world.key(key.uuid)).state is state


async def _says(metrics: Metrics, holds: Callable[[str], bool]) -> bool:
    return holds(await text(metrics))


async def test_one_process_keeps_at_a_time(key_world: KeyWorld) -> None:
    """Only one process has the lease; when it ends, another one takes the lease at its next try."""
    kept = await keeping(key_world, *await key_world.start(1))
    other = Keeping(key_world, await key_world.node(), kept.manager)
    async with kept_by(other) as (_, theirs):
        await expect_eventually(lambda: _says(theirs, shown("keystead_keeper", 1.0)))
        async with kept_by(kept) as (_, mine):
            await asyncio.sleep(0.3)
            assert shown("keystead_keeper", 0.0)(await text(mine))
    async with kept_by(kept) as (_, mine):
        await expect_eventually(lambda: _says(mine, shown("keystead_keeper", 1.0)))


@on_sqlite
async def test_a_keeper_that_was_held_up_stops_and_begins_anew(key_world: KeyWorld) -> None:
    """A keeper whose lease another process took stops, and takes the lease again when it is free."""
    kept = await keeping(key_world, *await key_world.start(1))
    other = Keeping(key_world, await key_world.node(), kept.manager)
    async with kept_by(kept) as (_, metrics):
        await expect_eventually(lambda: _says(metrics, shown("keystead_keeper", 1.0)))
        key_world.clock.advance(120)
        await expect_eventually(lambda: _taken(other))
        await expect_eventually(lambda: _says(metrics, shown("keystead_keeper", 1.0)))


async def _taken(kept: Keeping) -> bool:
    async with kept.rounds.holding() as holding:
        return holding is not None


@on_sqlite
async def test_a_kick_is_answered_soon(key_world: KeyWorld) -> None:
    """A kick starts a round long before the next one is due; it destroys what an aborted creation left."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    rounds = failing_rounds(kept)
    async with kept_by(kept, SELDOM) as (keeper, _):
        await expect_eventually(lambda: _is(_count(rounds.made), 1))
        servers[0].request_faults[Operation.REGISTER] = close
        with pytest.raises(OntapError):
            await kept.node.create(kept.manager)
        assert len(kept_on(servers[1])) == 2
        keeper.kick("gone")
        keeper.kick(kept.manager)
        await asyncio.sleep(SOON_S / 2)
        assert len(kept_on(servers[1])) == 2  # who kicked may be answering still
        await expect_eventually(lambda: _is(_count(len(kept_on(servers[1]))), 1))


async def _count(number: int) -> int:
    return number


async def test_sole_copies_are_announced_while_they_stand(key_world: KeyWorld) -> None:
    """Sole copies are announced once when they begin, and once when all keys are on a second server."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, servers[0])
    key = await kept.node.create(kept.manager)
    async with kept_by(kept, replace(SOON, sweep_s=60)) as (keeper, metrics):
        await expect_eventually(lambda: _says(metrics, shown("keystead_keys_sole_copy", 1.0)))
        await expect_eventually(lambda: _is(_names(kept), ["km.key.solecopy"]))
        await asyncio.sleep(0.3)
        ((name, parameters),) = await kept.events()
        assert (name, parameters["sole"], parameters["unproven"]) == ("km.key.solecopy", "1", "0")
        (one,) = await key_world.servers(kept.manager)
        address = ServerAddress.parse(f"127.0.0.1:{servers[1].port}")
        second = replace(one, uuid="another", position=2, address=address)
        await key_world.store.write(lambda tx: tx.add_key_servers([second]))
        keeper.kick(kept.manager)
        await expect_eventually(lambda: _is(presences(kept, key), [PRESENT, PRESENT]))
        await expect_eventually(lambda: _is(_names(kept), ["km.key.solecopy", "km.key.solecopy.cleared"]))
        await expect_eventually(lambda: _says(metrics, shown("keystead_keys_sole_copy", 0.0)))


async def _due(keeper: Keeper, *uuids: str) -> set[str]:
    """Return those of these key managers and servers for which something is due."""
    return {uuid for _, uuid in keeper._due} & set(uuids)


async def _names(kept: Keeping) -> list[str]:
    return [name for name, _ in await kept.events()]


@on_sqlite
async def test_a_key_manager_that_is_gone_is_not_shown(key_world: KeyWorld) -> None:
    """Deleted key managers and removed servers are not in the metrics from the next round on."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    empty = await keeping(key_world, *servers)
    await kept.node.create(kept.manager)
    async with kept_by(kept) as (keeper, metrics):
        await expect_eventually(lambda: _says(metrics, lambda said: empty.manager in said))
        (_, removed) = await key_world.servers(kept.manager)
        await expect_eventually(lambda: _says(metrics, lambda said: str(removed.address) in said))
        await key_world.store.write(lambda tx: tx.delete_key_server(removed.uuid))
        await key_world.store.write(lambda tx: tx.delete_key_manager(empty.manager))
        await expect_eventually(
            lambda: _says(metrics, lambda said: empty.manager not in said and str(removed.address) not in said)
        )
        assert removed.uuid not in await text(metrics)
        await expect_eventually(lambda: _is(_due(keeper, empty.manager, removed.uuid), set()))


class Long(KeyRounds):
    """Rounds that do not end."""

    async def keep(
        self,
        holding: Holding,
        key_manager: str,
        sweep: Collection[str] = (),
        *,
        scan: bool = False,
        changed: bool = False,
    ) -> Tally | None:
        """Look at a million objects."""
        del holding, key_manager, sweep, scan, changed
        await asyncio.sleep(3600)
        return None


@on_sqlite
async def test_a_long_round_holds_up_no_name(key_world: KeyWorld) -> None:
    """Timed-out attempts and their keys are aborted while a long round goes on."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    kept.rounds = Long(kept.context, kept.leases, kept.parts)
    async with kept_by(kept, Periods(abort_s=0.1, take_s=0.1)) as (_, metrics):
        await expect_eventually(lambda: _says(metrics, shown("keystead_keeper", 1.0)))
        begun = replace(attempt, number=2, state=AttemptState.PENDING, token="another")
        await key_world.store.write(lambda tx: tx.add_attempt(begun))
        key_world.clock.advance(EXPIRES.total_seconds() + 1)
        await expect_eventually(lambda: _ended(kept, key))


async def _ended(kept: Keeping, key: Key) -> bool:
    return (await kept.world.attempts(key.uuid))[-1].state is AttemptState.ABORTED


@on_sqlite
async def test_a_slow_server_holds_up_no_other_key_manager(key_world: KeyWorld) -> None:
    """While one server is slow, missing copies of other key managers are written."""
    servers = await key_world.start(3)
    slow, other = await keeping(key_world, servers[0]), await keeping(key_world, *servers[1:])
    doubted = [await slow.node.create(slow.manager, f"key {number}") for number in range(24)]
    rows = [replace(copy, presence=Presence.UNKNOWN) for each in doubted for copy in await key_world.copies(each.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(rows, new=False))
    key = await other.node.create(other.manager)
    servers[0].request_faults[Operation.GET_ATTRIBUTES] = delay(0.5)
    looks = len(asked(servers[0], Operation.GET_ATTRIBUTES))
    async with kept_by(other, replace(SELDOM, share_s=0.5)) as (keeper, _):
        await expect_eventually(lambda: _is(_more(servers[0], looks), True))
        lost = replace((await key_world.copies(key.uuid))[1], presence=Presence.MISSING)
        servers[2].responder.store.forget(*lost.unique_identifiers)
        await key_world.store.write(lambda tx: tx.put_copies([lost], new=False))
        keeper.kick(other.manager)
        await expect_eventually(lambda: _is(presences(other, key), [PRESENT, Presence.MISSING, PRESENT]))
        assert await presences(slow, doubted[-1]) == [Presence.UNKNOWN]


async def _more(server: KmipServer, looks: int) -> bool:
    return len(asked(server, Operation.GET_ATTRIBUTES)) > looks


class Slow(KeyRounds):
    """Rounds of which those of some key managers take as long as a test says."""

    def __init__(self, kept: Keeping, slow: Sequence[Keeping]) -> None:
        super().__init__(kept.context, kept.leases, kept.parts)
        self.slow = tuple(each.manager for each in slow)
        self.go_on = asyncio.Event()
        self.began: Counter[str] = Counter()
        self.kicked: Counter[str] = Counter()
        self.under_way = 0
        self.failure: Exception | None = None

    async def keep(
        self,
        holding: Holding,
        key_manager: str,
        sweep: Collection[str] = (),
        *,
        scan: bool = False,
        changed: bool = False,
    ) -> Tally | None:
        """Count, and wait, where a key manager is slow."""
        del holding, sweep, scan
        self.began[key_manager] += 1
        self.kicked[key_manager] += changed
        if key_manager in self.slow:
            self.under_way += 1
            try:
                await self.go_on.wait()
            finally:
                self.under_way -= 1
            if self.failure is not None:
                raise self.failure
        return None


async def slow_rounds(key_world: KeyWorld, count: int) -> tuple[Slow, Keeping]:
    """Return rounds of some key managers that are slow, and of one that is not."""
    servers = await key_world.start(1)
    *slow, quick = [await keeping(key_world, *servers) for _ in range(count + 1)]
    quick.rounds = rounds = Slow(quick, slow)
    return rounds, quick


async def expect_at_least(counts: Counter[str], key_manager: str, number: int) -> None:
    """Wait until a key manager was kept so many times; raise TimeoutError after 20 s."""
    await expect_eventually(lambda: _is(_reached(counts, key_manager, number), True))


async def _reached(counts: Counter[str], key_manager: str, number: int) -> bool:
    return counts[key_manager] >= number


@on_sqlite
async def test_a_key_manager_that_takes_long_is_kept_once_at_a_time(key_world: KeyWorld) -> None:
    """While the round of a slow key manager goes on, others are kept, and a kick for it waits for its end."""
    rounds, quick = await slow_rounds(key_world, 1)
    (slow,) = rounds.slow
    async with kept_by(quick, replace(SOON, round_s=0.05, share_s=0.05)) as (keeper, _):
        await expect_at_least(rounds.began, slow, 1)
        keeper.kick(slow)
        await expect_at_least(rounds.began, quick.manager, 4)
        assert rounds.began[slow] == 1
        rounds.go_on.set()
        await expect_at_least(rounds.kicked, slow, 1)


@on_sqlite
async def test_a_key_manager_that_takes_long_rests(key_world: KeyWorld) -> None:
    """A slow key manager rests nine times as long as its round took; kicks wait for that, too."""
    rounds, quick = await slow_rounds(key_world, 1)
    (slow,) = rounds.slow
    async with kept_by(quick, replace(SOON, round_s=0.05, share_s=0.05)) as (keeper, _):
        await expect_at_least(rounds.began, quick.manager, 4)
        rounds.go_on.set()
        await expect_at_least(rounds.began, quick.manager, 8)
        assert rounds.began[slow] == 1
        rounds.go_on.clear()
        keeper.kick(slow)
        await expect_at_least(rounds.kicked, slow, 1)
        await expect_at_least(rounds.began, quick.manager, 12)
        keeper.kick(slow)
        rounds.go_on.set()
        await expect_at_least(rounds.began, quick.manager, 16)
        assert rounds.began[slow] == 2


@on_sqlite
async def test_how_many_key_managers_may_take_long_at_a_time(key_world: KeyWorld) -> None:
    """At most so many key managers that are known to be slow are kept at a time, and each has its turn."""
    rounds, quick = await slow_rounds(key_world, 2)
    async with kept_by(quick, replace(SOON, round_s=0.05, share_s=0.05, rest_factor=0.0), slow_at_once=1):
        for each in rounds.slow:
            await expect_at_least(rounds.began, each, 1)
        rounds.go_on.set()
        await asyncio.sleep(0)
        rounds.go_on.clear()
        await expect_at_least(rounds.began, quick.manager, rounds.began[quick.manager] + 4)
        assert sorted(rounds.began[each] for each in rounds.slow) == [1, 2]
        rounds.go_on.set()
        await asyncio.sleep(0)
        rounds.go_on.clear()
        await expect_at_least(rounds.began, quick.manager, rounds.began[quick.manager] + 4)
        assert [rounds.began[each] for each in rounds.slow] == [2, 2]


@on_sqlite
async def test_the_lease_is_held_while_anything_is_kept(key_world: KeyWorld) -> None:
    """A concurrent round has ended before the lease is given back, whatever ends the rounds."""
    rounds, quick = await slow_rounds(key_world, 1)
    (slow,) = rounds.slow
    other = Keeping(key_world, await key_world.node(), slow)
    async with kept_by(quick, replace(SOON, round_s=0.05, share_s=0.05)) as (_, metrics):
        await expect_at_least(rounds.began, quick.manager, 2)
        assert not await _taken(other)
        rounds.failure = LeaseLost("keeper")
        rounds.go_on.set()
        await expect_at_least(rounds.began, slow, 2)  # the lease was taken anew
        rounds.failure = None
        rounds.go_on.clear()
        await expect_eventually(lambda: _says(metrics, shown("keystead_keeper", 1.0)))
    assert rounds.under_way == 0
    assert await _taken(other)


@on_sqlite
async def test_a_lease_that_is_lost_beside_the_others_is_taken_anew_at_once(key_world: KeyWorld) -> None:
    """If a concurrent round loses the lease, the keeper takes it again at once, without a kick."""
    rounds, other = await slow_rounds(key_world, 1)
    (slow,) = rounds.slow
    rounds.failure = LeaseLost("keeper")
    async with kept_by(other, replace(SELDOM, round_s=3600, share_s=0.05)):
        await expect_at_least(rounds.began, slow, 1)
        await expect_at_least(rounds.began, other.manager, 1)
        await asyncio.sleep(0.2)  # the round is over but for the slow one
        rounds.go_on.set()
        await expect_at_least(rounds.began, slow, 2)


class Unannounced(KeyRounds):
    """Rounds after which a sole copy cannot be announced."""

    announced = 0

    async def announce(self, holding: Holding, key_manager: KeyManager, tally: Tally) -> None:
        """Fail."""
        del holding, key_manager, tally
        self.announced += 1
        raise StoreError("the database is away")


@on_sqlite
async def test_what_cannot_be_announced_ends_no_keeper(key_world: KeyWorld) -> None:
    """A failed announcement does not end the keeper; the next round announces again."""
    kept = await keeping(key_world, *await key_world.start(1))
    await kept.node.create(kept.manager)
    kept.rounds = rounds = Unannounced(kept.context, kept.leases, kept.parts)
    async with kept_by(kept, Periods(round_s=0.05, take_s=3600)):
        await expect_eventually(lambda: _is(_thrice(rounds), True))


async def _thrice(rounds: Unannounced) -> bool:
    return rounds.announced > 2


class Deaf(KeyRounds):
    """Rounds in which a cancelled task goes on, as one does whose transaction is being committed."""

    rounds = 0

    async def enabled_key_managers(self) -> tuple[EnabledKeyManager, ...]:
        """Take long, and do not hear."""
        self.rounds += 1
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(3600)
        return ()


@on_sqlite
async def test_a_keeper_that_is_ended_makes_no_other_round(key_world: KeyWorld) -> None:
    """A keeper whose cancellation was swallowed makes no other round and gives the lease back."""
    kept = await keeping(key_world, *await key_world.start(1))
    kept.rounds = deaf = Deaf(kept.context, kept.leases, kept.parts)
    async with kept_by(kept, Periods(round_s=0.0)):
        while not deaf.rounds:  # noqa: ASYNC110 - it sets no event
            await asyncio.sleep(0.01)
    assert await _taken(kept)
    assert deaf.rounds == 1


class Failing(KeyRounds):
    """Rounds that fail for a while. ``made`` counts those that did not."""

    failures: Sequence[Exception] = ()
    made = 0

    async def keep(self, *args: Any, **options: Any) -> Tally | None:
        """Make a round, and count it."""
        tally = await super().keep(*args, **options)
        self.made += 1
        return tally

    async def enabled_key_managers(self) -> tuple[EnabledKeyManager, ...]:
        """Fail, or do as the others."""
        if self.failures:
            *self.failures, failure = self.failures
            raise failure
        return await super().enabled_key_managers()


def failing_rounds(kept: Keeping, *failures: Exception) -> Failing:
    """Have a keeper make rounds that fail in these ways first, the last one first."""
    kept.rounds = failing = Failing(kept.context, kept.leases, kept.parts)
    failing.failures = failures
    return failing


@on_sqlite
async def test_failures_end_no_keeper(key_world: KeyWorld) -> None:
    """After a failure of the database, or an unexpected one, the keeper starts again."""
    kept = await keeping(key_world, *await key_world.start(1))
    failing = failing_rounds(kept, StoreError("away"), RuntimeError("unforeseen"))
    async with kept_by(kept):
        await expect_eventually(lambda: _is(_count(failing.made > 0), True))
    assert failing.failures == []


async def test_a_keeper_that_never_began_ends() -> None:
    """A keeper that was not started can be stopped and closed, as in a service that does not come up."""
    tried: list[str] = []

    class Never(KeyRounds):
        def __init__(self) -> None:
            pass

        @asynccontextmanager
        async def holding(self) -> AsyncIterator[Holding | None]:
            """Note that the keeper tried to get the lease."""
            tried.append("lease")
            yield None

    keeper = Keeper(Never(), Metrics())
    keeper.stop()
    async with asyncio.timeout(60):
        await keeper.close()
    assert tried == []

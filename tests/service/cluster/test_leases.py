"""Leases on real databases: one holder at a time, whose token fences the one before."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy import text

from keystead.app.clock import SystemClock
from keystead.service.cluster.leases import RENEWALS, LeaseLost, Leases
from keystead.store import open_store
from tests.peers.databases import set_clock
from tests.service.worlds.basics import HandClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from keystead.service.cluster.leases import HeldLease
    from keystead.service.ports.store import Store, Transaction
    from keystead.store import SqlStore

LENGTH = timedelta(seconds=60)


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[SqlStore]:
    """Another process' store of the same database."""
    opened = open_store(database_url)
    yield opened
    await opened.close()


@pytest.fixture
def clock(store: SqlStore, other: SqlStore) -> HandClock:
    """The database's clock, which is also that of both processes."""
    made = HandClock()
    set_clock(made, store, other)
    return made


def leases(store: SqlStore, clock: HandClock) -> Leases:
    """Return what one process has."""
    return Leases(store, clock, "node-1", LENGTH)


async def fenced(store: SqlStore, of: Leases, held: HeldLease) -> bool:
    """Return True if a transaction that checks the token is refused."""

    def work(tx: Transaction) -> None:
        of.check(tx, held)

    try:
        await store.write(work)
    except LeaseLost:
        return True
    return False


async def test_one_of_many_that_race_gets_it(store: SqlStore, other: SqlStore, clock: HandClock) -> None:
    """Of all who ask at once, through two stores, one process holds the lease, and renews it with the same token."""
    holders = [leases(each, clock) for each in (store, other) for _ in range(4)]
    first = await holders[0].take("keeper")
    assert first is not None
    await holders[0].release(first)
    held = await asyncio.gather(*(each.take("keeper") for each in holders))
    winners = [(each, got) for each, got in zip(holders, held, strict=True) if got is not None]
    assert [got.token for _, got in winners] == [2]
    ((winner, got),) = winners
    again = await winner.take("keeper")
    assert again is not None
    assert again.token == got.token


async def test_a_change_of_hands_fences_the_one_before(store: SqlStore, other: SqlStore, clock: HandClock) -> None:
    """Who is late finds every transaction refused once another holds the lease, and says so before each packet."""
    one, two = leases(store, clock), leases(other, clock)
    mine = await one.take("keeper")
    assert mine is not None
    assert await two.take("keeper") is None
    assert not await fenced(store, one, mine)
    one.check_time(mine)
    clock.advance(LENGTH.total_seconds())
    with pytest.raises(LeaseLost):
        one.check_time(mine)
    theirs = await two.take("keeper")
    assert theirs is not None
    assert theirs.token == mine.token + 1
    assert (await fenced(store, one, mine), await fenced(other, two, theirs)) == (True, False)
    await one.release(mine)
    assert await one.take("keeper") is None


async def test_a_late_renewal_is_a_change_of_hands(store: SqlStore, clock: HandClock) -> None:
    """A holder that comes back after its time has another token: what it permitted before is void."""
    one = leases(store, clock)
    before = await one.take("keeper")
    clock.advance(2 * LENGTH.total_seconds())
    after = await one.take("keeper")
    assert before is not None
    assert after is not None
    assert after.token == before.token + 1
    assert await fenced(store, one, before)


@pytest.mark.parametrize("seconds", [1200, -1200])
async def test_only_the_database_s_clock_ends_a_lease(
    store: SqlStore, other: SqlStore, clock: HandClock, seconds: float
) -> None:
    """A node whose own clock is wrong takes no lease that another renews, and keeps none for longer than others."""
    wrong = HandClock()
    wrong.advance(seconds)

    def let_it_expire() -> None:
        for each in (clock, wrong):
            each.advance(LENGTH.total_seconds())

    mine, theirs = Leases(store, clock, "node-1", LENGTH), Leases(other, wrong, "node-2", LENGTH)
    for one, two in ((mine, theirs), (theirs, mine)):
        assert await one.take("keeper") is not None
        assert await two.take("keeper") is None
        let_it_expire()
        assert await two.take("keeper") is not None
        let_it_expire()


async def test_the_engine_s_own_clock_ends_a_lease(store: SqlStore, other: SqlStore) -> None:
    """It is the real time, by which a lease is held and then is another's."""
    mine, theirs = Leases(store, SystemClock(), "node-1", SHORT), Leases(other, SystemClock(), "node-2", SHORT)
    assert await mine.take("keeper") is not None
    assert await theirs.take("keeper") is None
    await asyncio.sleep(SHORT.total_seconds() + 0.1)
    assert await theirs.take("keeper") is not None


async def test_a_lease_by_a_clock_ahead_is_free_when_it_is_left(
    store: SqlStore, other: SqlStore, clock: HandClock
) -> None:
    """The database was a year ahead when it was taken: when its holder died, others wait as long as for any."""
    ahead = HandClock()
    ahead.advance(365 * 86_400)
    set_clock(ahead, other)
    theirs, mine = leases(other, clock), leases(store, clock)
    for _ in range(3):
        assert await theirs.take("keeper") is not None
        assert await mine.take("keeper") is None
        for each in (clock, ahead):
            each.advance(LENGTH.total_seconds() / 2)
    assert await mine.take("keeper") is None
    clock.advance(LENGTH.total_seconds() / 2)
    assert await mine.take("keeper") is not None


async def test_processes_of_one_node_are_different_holders(store: SqlStore, clock: HandClock) -> None:
    """A node that restarts does not inherit what its earlier process may still be doing."""
    assert await leases(store, clock).take("keeper") is not None
    assert await leases(store, clock).take("keeper") is None
    assert await leases(store, clock).take("another") is not None


async def test_what_nobody_holds_fences_everybody(store: SqlStore, clock: HandClock) -> None:
    """A token counts only while its row is there, and releasing what is gone changes nothing."""
    one = leases(store, clock)
    held = await one.take("keeper")
    assert held is not None
    elsewhere = type(held)("never taken", held.token, held.until)
    assert await fenced(store, one, elsewhere)
    await one.release(elsewhere)
    assert await store.read(lambda tx: tx.lease("never taken")) is None


SHORT = timedelta(seconds=1.2)


async def test_work_under_a_lease_holds_it_until_it_ends(store: SqlStore, other: SqlStore) -> None:
    """It is renewed meanwhile; then another process can have it at once."""
    clock = SystemClock()
    one, two = Leases(store, clock, "node-1", SHORT), Leases(other, clock, "node-2", SHORT)
    async with one.holding("keeper") as holding, asyncio.timeout(60):
        assert holding is not None
        first = holding.held
        await asyncio.sleep(SHORT.total_seconds() / RENEWALS + 0.3)
        assert holding.held.until > first.until
        assert holding.held.token == first.token
        holding.check_time()
        await store.write(holding.check)
        async with two.holding("keeper") as not_held:
            assert not_held is None
    async with two.holding("keeper") as theirs:
        assert theirs is not None
        assert theirs.held.token == holding.held.token + 1
    with pytest.raises(LeaseLost):
        await store.write(holding.check)


async def test_a_release_that_became_too_old_loses_its_lease(store: SqlStore, clock: HandClock) -> None:
    """At its next renewal all work under the lease ends, also outside the database. Others wait for the lease's end."""
    async with leases(store, clock).holding("keeper") as holding:
        assert holding is not None
        with store.database.writer.begin() as connection:
            connection.execute(text("UPDATE compatibility SET writes_min = '9999'"))
        with pytest.raises(LeaseLost):
            await holding.renew()
        with pytest.raises(LeaseLost):
            holding.check_time()
    left = await store.read(lambda tx: tx.lease("keeper"))
    assert left is not None
    assert left.expires == clock.now() + LENGTH


async def test_work_ends_while_its_lease_is_renewed(store: SqlStore) -> None:
    """A renewal that is committed although it was cancelled is the last one: the lease is free afterwards."""

    class Deaf:
        """A store that is told too late that nobody waits for it."""

        def __init__(self) -> None:
            self.committed = asyncio.Queue[None]()

        read = store.read

        async def write(self, work: Callable[[Transaction], object]) -> object:
            result = await store.write(work)
            self.committed.put_nowait(None)
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0.2)
            return result

    deaf = Deaf()
    async with asyncio.timeout(60):
        async with Leases(cast("Store[Transaction]", deaf), SystemClock(), "node-1", SHORT).holding("keeper"):
            for _ in ("taken", "renewed"):
                await deaf.committed.get()
    async with Leases(store, SystemClock(), "node-2", SHORT).holding("keeper") as theirs:
        assert theirs is not None


async def test_work_whose_lease_was_another_s_meanwhile_ends(
    store: SqlStore, other: SqlStore, clock: HandClock
) -> None:
    """A renewal that comes too late says so, and permits nothing any more, also not to the same process."""
    one, two = leases(store, clock), leases(other, clock)
    async with one.holding("keeper") as holding:
        assert holding is not None
        clock.advance(LENGTH.total_seconds())
        assert await two.take("keeper") is not None
        with pytest.raises(LeaseLost):
            await holding.renew()
        with pytest.raises(LeaseLost):
            holding.check_time()
        with pytest.raises(LeaseLost):
            await store.write(holding.check)


async def test_a_lease_outlives_a_store_that_is_away(database_url: str) -> None:
    """What cannot be renewed or given back runs out; the work is not disturbed before that."""
    away = open_store(database_url)
    one = Leases(away, SystemClock(), "node-1", SHORT)
    async with one.holding("keeper") as holding:
        assert holding is not None
        await away.close()
        await asyncio.sleep(SHORT.total_seconds() / RENEWALS + 0.1)
        holding.check_time()

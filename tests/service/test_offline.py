"""How long reads are answered without the database, on both databases: since the last comparison, or for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from keystead.core.model import Contact, Node, NodeProcess, Release
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.offline import OfflineReads
from keystead.service.ports.store import StorageError, StoreError
from tests.service.worlds.basics import HandClock
from tests.store.samples import NODE

if TYPE_CHECKING:
    from keystead.store import SqlStore

LIMIT_S = 60
OTHER = Node("node-2", "other", Release(9, 18, 1))


@pytest.fixture
def clock() -> HandClock:
    """A clock that is set by hand."""
    return HandClock()


@pytest.fixture
async def offline(store: SqlStore, clock: HandClock) -> OfflineReads:
    """The reads of one of two nodes."""
    await store.write(lambda tx: (tx.put_node(NODE), tx.put_node(OTHER)))
    return OfflineReads(store, clock, NODE.uuid, LIMIT_S)


async def test_reads_end_after_the_limit(offline: OfflineReads, clock: HandClock) -> None:
    """Before the first comparison too, since the start; each comparison begins the time anew."""
    for _ in range(2):
        clock.advance(LIMIT_S - 1)
        assert offline.allowed()
        offline.require()
        clock.advance(2)
        assert not offline.allowed()
        with pytest.raises(StorageError) as caught:
            offline.require()
        assert "offline_reads_s" in caught.value.reason
        await offline.compare()


async def test_the_time_counts_from_the_begin_of_a_comparison(offline: OfflineReads, clock: HandClock) -> None:
    """What changed while it ran may have been missed."""

    async def slow() -> None:
        clock.advance(LIMIT_S - 10)

    offline.add(slow)
    await offline.compare()
    clock.advance(9)
    assert offline.allowed()
    clock.advance(2)
    assert not offline.allowed()


async def test_a_comparison_that_fails_does_not_count(offline: OfflineReads, clock: HandClock) -> None:
    """Neither does one that cannot commit; all parts are compared."""
    compared: list[float] = []

    async def part() -> None:
        compared.append(clock.monotonic())
        if len(compared) == 1:
            raise StoreError("it does not answer")

    offline.add(part)
    clock.advance(LIMIT_S + 1)
    with pytest.raises(StoreError):
        await offline.compare()
    failed = offline.allowed()
    await offline.compare()
    assert (failed, offline.allowed(), len(compared)) == (False, True, 2)


async def test_a_primary_that_commits_nothing_proves_nothing(
    store: SqlStore, offline: OfflineReads, clock: HandClock
) -> None:
    """A primary that was cut off from its standbys answers reads."""
    clock.advance(LIMIT_S + 1)
    with store.database.writer.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE nodes RENAME TO elsewhere")
    with pytest.raises(StoreError):
        await offline.compare()
    assert not offline.allowed()


async def test_a_node_that_is_alone_has_no_limit(store: SqlStore, clock: HandClock) -> None:
    """Once it knows that it is; and no longer when another node is registered."""
    await store.write(lambda tx: tx.put_node(NODE))
    offline = OfflineReads(store, clock, NODE.uuid, LIMIT_S)
    await offline.compare()
    clock.advance(100 * LIMIT_S)
    assert offline.allowed()
    assert not offline.can_read(), "no login is remembered for so long"
    await store.write(lambda tx: tx.put_node(OTHER))
    await offline.compare()
    clock.advance(LIMIT_S + 1)
    assert not offline.allowed()


async def test_with_0_nothing_is_read(store: SqlStore, clock: HandClock) -> None:
    """By a lone node neither, right after a comparison."""
    await store.write(lambda tx: tx.put_node(NODE))
    offline = OfflineReads(store, clock, NODE.uuid, 0)
    await offline.compare()
    assert not offline.allowed()


async def test_comparisons_run_twice_within_the_limit(store: SqlStore) -> None:
    """From start to close, without a further call."""
    await store.write(lambda tx: tx.put_node(NODE))
    offline, compared = OfflineReads(store, HandClock(), NODE.uuid, 0.02), asyncio.Event()

    async def part() -> None:
        compared.set()

    offline.add(part)
    offline.start()
    async with asyncio.timeout(60):
        for _ in range(2):
            await compared.wait()
            compared.clear()
    await offline.close()


KEY, CERTIFICATE = Withdrawn(Thing.KEY, "00ff"), Withdrawn(Thing.CERTIFICATE, "00ff")


async def test_what_is_withdrawn_is_forgotten_until_a_comparison(offline: OfflineReads, clock: HandClock) -> None:
    """One that began later and came to its end. What has the same id and is no key stays."""
    forgotten: list[str] = []
    offline.on_withdrawn(Thing.KEY, forgotten.append)
    offline.withdraw([KEY])
    assert (forgotten, offline.is_withdrawn(CERTIFICATE, KEY), offline.is_withdrawn(CERTIFICATE)) == (
        *(["00ff"], True, False),
    )

    async def fails() -> None:
        raise StoreError("it does not answer")

    clock.advance(1)
    parts = offline._parts
    offline.add(fails)
    with pytest.raises(StoreError):
        await offline.compare()
    assert offline.is_withdrawn(KEY)

    async def meanwhile() -> None:
        offline.withdraw([CERTIFICATE])

    parts[:] = [meanwhile]
    await offline.compare()
    assert (offline.is_withdrawn(KEY), offline.is_withdrawn(CERTIFICATE)) == (False, True)


async def test_rows_of_what_is_withdrawn_are_proven_by_a_commit(store: SqlStore, offline: OfflineReads) -> None:
    """A primary that was cut off reads old rows, and commits nothing."""
    assert len(await offline.read_few(lambda tx: tx.nodes(), KEY)) == 2
    offline.withdraw([KEY])
    assert len(await offline.read_few(lambda tx: tx.nodes(), KEY)) == 2
    with store.database.writer.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE nodes RENAME TO elsewhere")
    with pytest.raises(StoreError):
        await offline.read_few(lambda tx: tx.options(), KEY)
    await offline.read_few(lambda tx: tx.options(), CERTIFICATE)


async def test_other_nodes_are_told_how_this_one_is_reached(store: SqlStore, offline: OfflineReads) -> None:
    """And until when it reads keys by itself: nobody knows that of a node that is alone, nor of one that starts."""

    async def told() -> Node:
        return next(node for node in await store.read(lambda tx: tx.nodes()) if node.uuid == NODE.uuid)

    await offline.compare()
    assert ((await told()).contact, (await told()).reads_until) == (None, None)
    contact = Contact("node1:8443", "00ff", "a public key", ("192.0.2.0/24", "::1/128"))
    offline.contact = lambda: contact
    await offline.compare()
    now = await store.read(lambda tx: tx.now())
    until = (await told()).reads_until
    assert ((await told()).contact, until is not None and 0 <= LIMIT_S - (until - now).total_seconds() < LIMIT_S) == (
        *(contact, True),
    )
    assert [node.uuid for node in offline.nodes] == [NODE.uuid, OTHER.uuid]
    await store.write(lambda tx: tx.start_node(NODE.uuid, NodeProcess("a token")))
    assert ((await told()).contact, (await told()).reads_until) == (None, None)
    await store.write(lambda tx: tx.delete_node(OTHER.uuid))
    await offline.compare()
    assert ((await told()).contact, (await told()).reads_until) == (contact, None)

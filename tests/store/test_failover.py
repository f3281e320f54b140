"""A PostgreSQL server that goes away, and another one that takes its place: what transactions make of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from keystead.core.model import Svm
from keystead.service.ports.store import AWAY, OutcomeUnknown, StorageError
from keystead.store import open_store
from keystead.store import postgres_connection as limits
from keystead.store.opening import open_database
from keystead.store.postgres import WRITERS
from keystead.store.upgrade import upgrade
from tests.peers import pgbouncer
from tests.peers.postgres_cluster import pair
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator
    from pathlib import Path

    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore
    from tests.peers.postgres_cluster import Cluster
    from tests.peers.proxy import Network

ANSWER_S = 5.0
PREPARES_AFTER = 6
"""psycopg prepares a statement when it is executed so often on one connection."""


@pytest.fixture(scope="module")
def both() -> Iterator[tuple[Cluster, Cluster]]:
    """A primary with the newest schema, and its standby."""
    with pair() as (primary, standby):
        upgrade(primary.url)
        yield primary, standby


@pytest.fixture
def primary(both: tuple[Cluster, Cluster]) -> Cluster:
    """The one that is the primary now."""
    (found,) = [cluster for cluster in both if cluster.is_primary()]
    return found


def adding(name: str) -> Callable[[Transaction], None]:
    """Return a transaction that adds an SVM of this name."""
    return lambda tx: tx.add_svm(Svm(name, name))


async def await_true(asked: Callable[[], Any]) -> None:
    """Wait until a question to a server is answered by something true."""
    while not await asyncio.to_thread(asked):  # noqa: ASYNC110 - the server tells nobody
        await asyncio.sleep(0.02)


def waiting_for_standby(primary: Cluster) -> Callable[[], list[Any]]:
    """Return a question: who waits for a standby?"""
    return lambda: primary.execute("SELECT pid FROM pg_stat_activity WHERE wait_event = 'SyncRep'")


async def refused(call: Awaitable[object]) -> StorageError:
    """Return the error of a call that is told in time that the database is away."""
    began = time.monotonic()
    with pytest.raises(StorageError) as caught:
        await call
    assert time.monotonic() - began < ANSWER_S
    assert (caught.value.reason, caught.value.retry_after_s) == (AWAY, 1)
    return caught.value


@pytest.fixture
def synchronous(primary: Cluster) -> Iterator[None]:
    """Make commits wait for a standby that there is none of."""
    primary.execute("ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
    primary.execute("SELECT pg_reload_conf()")
    yield
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
    primary.execute("SELECT pg_reload_conf()")


@pytest.mark.usefixtures("synchronous")
async def test_a_commit_that_no_standby_confirms_is_of_unknown_outcome(primary: Cluster) -> None:
    """The wait is cancelled: the server answers as after any commit, with a warning. The change is there, as it is."""
    store = open_store(primary.url)
    writing = asyncio.create_task(store.write(adding("unconfirmed")))
    await await_true(waiting_for_standby(primary))
    primary.execute("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    with pytest.raises(OutcomeUnknown):
        await writing
    assert await store.read(lambda tx: tx.svm("unconfirmed")) is not None
    await store.close()


@pytest.mark.usefixtures("synchronous")
async def test_a_commit_at_a_frozen_server_is_of_unknown_outcome(
    primary: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server is silent and keeps the connection. The wait ends, and the next transaction has a new connection."""
    monkeypatch.setattr(limits, "COMMIT_S", 0.5)
    store = open_store(primary.url)
    writing = asyncio.create_task(store.write(adding("frozen")))
    await await_true(waiting_for_standby(primary))
    with primary.frozen([pid for (pid,) in waiting_for_standby(primary)()]):
        with pytest.raises(OutcomeUnknown):
            await writing
        assert await store.read(lambda tx: tx.svm("frozen")) is None
    primary.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
    await store.close()


async def test_a_connection_that_is_frozen_before_a_transaction_is_replaced(primary: Cluster) -> None:
    """BEGIN is answered at once, or never."""
    store = open_store(primary.url)
    await store.write(adding("before"))
    with primary.frozen(primary.backends()):
        began = time.monotonic()
        await store.write(adding("meanwhile"))
        assert time.monotonic() - began < ANSWER_S
        assert await store.read(lambda tx: tx.svm("meanwhile")) is not None
    await store.close()


async def test_a_server_that_drops_every_packet_is_away(primary: Cluster) -> None:
    """All callers know it in 5 s, however many wait; and soon after it is back, all is well."""
    with proxy(primary.port) as (port, network):
        store = open_store(primary.url.replace(str(primary.port), str(port)))
        await store.read(lambda tx: tx.svm("x"))
        network.fail("drop")
        reads = [refused(store.read(lambda tx: tx.svm("x"))) for _ in range(30)]
        writes = [refused(store.write(adding(f"dropped {number}"))) for number in range(20)]
        await asyncio.gather(*reads, *writes)
        await refused(store.write(adding("one more")))
        network.heal()
        await asyncio.sleep(1)
        await store.write(adding("healed"))
        await store.close()


async def flipped(store: SqlStore, network: Network, old: Cluster, new: Cluster) -> None:
    """Change the primary behind the proxy while a write runs: the address follows last."""
    old.stop()
    writing = asyncio.create_task(store.write(adding("flipped")))
    await asyncio.to_thread(new.promote)
    network.lead_to(new.port)
    await writing


async def test_a_change_of_the_primary_needs_no_restart(both: tuple[Cluster, Cluster]) -> None:
    """A standby is refused, by reads too. When it is the primary, everything goes on. Several hosts work as well."""
    primary, standby = both
    await await_true(lambda: standby.execute("SELECT 1 FROM alembic_version"))
    several = open_database(f"postgresql+psycopg://keystead@127.0.0.1:{standby.port},127.0.0.1:{primary.port}/postgres")
    with several.writer.connect() as connection:
        assert connection.execute(text("SHOW port")).scalar() == str(primary.port)
    with proxy(primary.port) as (port, network):
        store = open_store(primary.url.replace(str(primary.port), str(port)))
        await store.write(adding("first"))
        network.lead_to(standby.port)
        network.fail("reset")
        network.heal()
        assert "standby" in str(await refused(store.write(adding("no"))))
        await refused(store.read(lambda tx: tx.svm("first")))
        network.lead_to(primary.port)
        await asyncio.sleep(1)
        await store.write(adding("second"))
        await flipped(store, network, primary, standby)
        assert all(await store.read(lambda tx: [tx.svm(name) for name in ("first", "second", "flipped")]))
        await store.close()
    several.dispose()
    with several.writer.connect() as connection:
        assert connection.execute(text("SHOW port")).scalar() == str(standby.port)
    several.dispose()


async def test_when_writes_fail_reads_get_new_connections(primary: Cluster) -> None:
    """A former primary that is cut off would answer reads on old connections."""
    store = open_store(primary.url)
    opened: list[object] = []
    event.listen(store.database.reader, "connect", lambda *_: opened.append(1))
    await store.read(lambda tx: tx.svm("first"))
    before = len(opened)
    await store.write(adding("third"))
    pids = {pid for (pid,) in primary.execute("SELECT pid FROM pg_stat_activity WHERE query = 'COMMIT'")}
    assert pids
    primary.execute(f"SELECT pg_terminate_backend({pids.pop()})")
    await store.write(adding("fourth"))
    await store.read(lambda tx: tx.svm("first"))
    assert len(opened) == before + 1
    await store.close()


@pytest.mark.long
async def test_commits_that_wait_for_a_standby_end(primary: Cluster, request: pytest.FixtureRequest) -> None:
    """The wait is not cancelled, so that nobody sees a change that the standby lacks. It is made with the next commit.

    Those that still waited for their turn, or for a lock, change nothing.
    """
    store = open_store(primary.url)
    request.getfixturevalue("synchronous")
    began = time.monotonic()
    writes = [asyncio.create_task(store.write(adding(f"waits {number}"))) for number in range(2 * WRITERS)]
    await await_true(waiting_for_standby(primary))
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert time.monotonic() - began < limits.COMMIT_S + 1
    unknown = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, OutcomeUnknown)]
    assert unknown
    assert sum(isinstance(outcome, StorageError) for outcome in outcomes) == len(writes) - len(unknown)
    assert await store.read(lambda tx: [tx.svm(f"waits {number}") for number in unknown]) == [None] * len(unknown)
    primary.execute("ALTER SYSTEM RESET synchronous_standby_names")
    primary.execute("SELECT pg_reload_conf()")
    await store.write(adding("confirmed"))
    found = await store.read(lambda tx: [tx.svm(f"waits {number}") is not None for number in range(2 * WRITERS)])
    assert [number for number, is_there in enumerate(found) if is_there] == unknown
    await store.close()


@pytest.mark.skipif(bool(pgbouncer.MISSING), reason="pgbouncer is not installed")
@pytest.mark.parametrize("prepared", [True, False])
async def test_a_pool_of_transactions_in_between(primary: Cluster, tmp_path: Path, *, prepared: bool) -> None:
    """PgBouncer gives each transaction any of its connections. Whether it knows prepared statements does not matter."""
    with pgbouncer.pooling(tmp_path / "pool", primary.port, prepared=prepared, database="postgres") as url:
        stores = [open_store(url.replace("postgresql", "postgresql+psycopg", 1)) for _ in range(2)]

        def add_and_read(name: str) -> Callable[[Transaction], list[Svm | None]]:
            return lambda tx: (tx.add_svm(Svm(name, name)), [tx.svm(name) for _ in range(PREPARES_AFTER)])[1]

        names = [f"pooled {prepared} {number}" for number in range(20)]
        added = await asyncio.gather(
            *[store.write(add_and_read(name)) for store, name in zip(stores * 10, names, strict=True)]
        )
        assert added == [[Svm(name, name)] * PREPARES_AFTER for name in names]
        with stores[0].database.writer.connect() as connection:
            assert connection.execute(text("SHOW statement_timeout")).scalar() == "10s"
            assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar() == 0
        for store in stores:
            await store.close()


async def test_without_a_pool_statements_are_prepared(primary: Cluster) -> None:
    """The server plans them once per connection."""
    store = open_store(primary.url)
    for _ in range(PREPARES_AFTER):
        await store.write(lambda tx: tx.svm("x"))
    with store.database.writer.connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM pg_prepared_statements")).scalar()
    await store.close()

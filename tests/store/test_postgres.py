"""What PostgreSQL in particular must do: repeat what a conflict or a lost connection undid, and wait in bounds."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event, make_url, text

from keystead.core.model import Svm
from keystead.service.ports.store import OutcomeUnknown, StorageError, StoreConflict, StoreError
from keystead.store import SqlStore, open_store, outage
from keystead.store import postgres as engine
from keystead.store.failures import BUSY
from keystead.store.opening import open_database, parse
from tests.store import samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from keystead.service.ports.store import Transaction
    from tests.peers.postgres import PostgresServer


@pytest.fixture
def url(postgres: PostgresServer) -> Iterator[str]:
    """Yield a database with the newest schema."""
    with postgres.database() as url:
        yield url


@pytest.fixture
async def store(url: str) -> AsyncIterator[SqlStore]:
    """Yield an open store with the samples and a second certificate."""
    opened = open_store(url)
    await opened.write(samples.fill)
    await opened.write(lambda tx: tx.add_certificate(samples.certificate("cert-2")))
    yield opened
    await opened.close()


@pytest.fixture
def kick(postgres: PostgresServer, url: str) -> Callable[[], None]:
    """Break all connections to the database, as a restart does."""
    name = make_url(url).database
    where = f"datname = '{name}' AND pid <> pg_backend_pid()"
    statement = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {where}"  # noqa: S608

    def all_connections() -> None:
        postgres.execute(statement)

    return all_connections


@pytest.mark.parametrize(("name", "isolation"), [("reader", "repeatable read"), ("writer", "read committed")])
def test_every_connection_is_set_up(store: SqlStore, name: str, isolation: str) -> None:
    """A read sees one snapshot and cannot write; every wait has an end."""
    with getattr(store.database, name).connect() as connection:
        show = {
            setting: connection.execute(text(f"SHOW {setting}")).scalar()
            for setting in (
                *("transaction_isolation", "transaction_read_only", "statement_timeout", "lock_timeout"),
                *("idle_in_transaction_session_timeout", "synchronous_commit"),
            )
        }
    assert show == {
        "transaction_isolation": isolation,
        "transaction_read_only": "on" if name == "reader" else "off",
        "statement_timeout": "10s",
        "lock_timeout": "10s",
        "idle_in_transaction_session_timeout": "20s",
        "synchronous_commit": "on",
    }


async def test_a_transaction_that_waits_for_a_lock_ends_in_time(store: SqlStore) -> None:
    """Nothing was changed then, so it may be sent again. One that begins later waits the less."""
    impatient = SqlStore(store.database, deadline_s=0.5)
    with store.database.writer.connect() as other:
        other.execute(text("UPDATE svms SET name = name"))
        began = time.monotonic()
        with pytest.raises(StorageError) as caught:
            await impatient.write(lambda tx: tx.svm("svm-1", lock=True))
        assert time.monotonic() - began < 2
    assert (caught.value.reason, caught.value.retry_after_s) == (BUSY, 1)


@pytest.mark.long
async def test_the_lock_of_a_frozen_transaction_goes(store: SqlStore) -> None:
    """A waiter is answered within 10 s. After 20 s the lock is free, and what the frozen one had done is undone."""
    started, release = threading.Event(), threading.Event()

    def freeze(tx: Transaction) -> None:
        tx.svm("svm-1", lock=True)
        tx.add_svm(Svm("frozen", "frozen"))
        started.set()
        release.wait(60)
        tx.add_svm(Svm("thawed", "thawed"))

    frozen = asyncio.create_task(store.write(freeze))
    await asyncio.to_thread(started.wait)
    began = time.monotonic()
    with pytest.raises(StorageError):
        await store.write(lambda tx: tx.svm("svm-1", lock=True))
    assert time.monotonic() - began < 11
    await asyncio.sleep(20.5 - (time.monotonic() - began))
    await store.write(lambda tx: tx.svm("svm-1", lock=True))
    release.set()
    with pytest.raises(StorageError):
        await frozen
    assert await store.read(lambda tx: (tx.svm("frozen"), tx.svm("thawed"))) == (None, None)


@pytest.mark.parametrize(
    ("url", "hosts", "ports", "rest"),
    [
        ("h1:5432,h2:5433/db", "h1,h2", "5432,5433", {}),
        ("u:p%40w@h1,h2:6000/db?sslmode=verify-full", "h1,h2", "5432,6000", {"password": "p@w", "user": "u"}),
        ("u@[::1]:1,10.0.0.1:2/db", "::1,10.0.0.1", "1,2", {"user": "u"}),
        ("u@/db?host=h1:1&host=h2:2", "h1,h2", "1,2", {"user": "u"}),
    ],
    ids=["libpq", "default_port", "ipv6", "sqlalchemy"],
)
def test_a_url_may_name_several_hosts(url: str, hosts: str, ports: str, rest: dict[str, str]) -> None:
    """In libpq's form, or in SQLAlchemy's. The first that takes writes is used."""
    dialect = open_database(f"postgresql+psycopg://{url}").writer.dialect
    _, given = dialect.create_connect_args(parse(f"postgresql+psycopg://{url}"))
    assert (given["host"], given["port"], given["dbname"]) == (hosts, ports, "db")
    assert rest.items() <= given.items()


def test_several_hosts_with_a_port_that_is_no_number_are_malformed() -> None:
    """As with one host. The text holds no part of the URL."""
    with pytest.raises(StoreError, match="malformed") as caught:
        parse("postgresql+psycopg://u@h1:pp,h2:5432/db")
    assert "h1" not in str(caught.value)


async def test_a_commit_waits_for_the_disk(store: SqlStore, postgres: PostgresServer, url: str) -> None:
    """Whatever is set for the database: nobody may get a key whose record a loss of power undoes."""
    del store
    postgres.execute(f"ALTER DATABASE {make_url(url).database} SET synchronous_commit = off")
    other = open_store(url)
    with other.database.writer.connect() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    await other.close()


async def test_a_deadlock_is_run_again(store: SqlStore, postgres: PostgresServer, url: str) -> None:
    """Two writers that lock two rows in opposite order both get through."""
    postgres.execute(f"ALTER DATABASE {make_url(url).database} SET deadlock_timeout = '50ms'")
    other = open_store(url)
    both = threading.Barrier(2)
    runs: list[str] = []

    def work(first: str, second: str) -> Callable[[Transaction], None]:
        def lock(tx: Transaction) -> None:
            runs.append(first)
            tx.certificate(first, lock=True)
            if runs.count(first) == 1:
                both.wait(10)
            tx.certificate(second, lock=True)
            tx.add_svm(Svm(f"of {first}", first))

        return lock

    await asyncio.gather(other.write(work("cert-1", "cert-2")), other.write(work("cert-2", "cert-1")))
    assert len(runs) > 2  # where the machine is busy both may be chosen to give way
    assert await store.read(lambda tx: (tx.svm_named("cert-1"), tx.svm_named("cert-2"))) == (
        Svm("of cert-1", "cert-1"),
        Svm("of cert-2", "cert-2"),
    )
    await other.close()


async def test_a_serialization_failure_is_run_again_until_it_is_a_conflict(store: SqlStore) -> None:
    """A few times: a database that always says 40001 must not keep a thread for ever."""
    runs = []

    def work(tx: Transaction) -> None:
        runs.append(1)
        tx.cluster()

    with store.database.writer.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger AS"
                " $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40001'; END $$ LANGUAGE plpgsql"
            )
        )
        connection.execute(text("CREATE TRIGGER fail BEFORE INSERT ON svms FOR EACH ROW EXECUTE FUNCTION fail()"))
    with pytest.raises(StoreConflict, match="40001"):
        await store.write(lambda tx: (work(tx), tx.add_svm(Svm("new", "new"))))
    assert len(runs) == engine.CONFLICT_RUNS


async def test_a_commit_that_fails_for_a_conflict_is_run_again(store: SqlStore) -> None:
    """PostgreSQL may find a conflict as late as that; nothing was committed then."""
    with store.database.writer.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger AS $$ BEGIN IF NEW.name = 'new' THEN"
                " RAISE EXCEPTION USING ERRCODE = '40001'; END IF; RETURN NULL; END $$ LANGUAGE plpgsql"
            )
        )
        connection.execute(
            text(
                "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON svms DEFERRABLE INITIALLY DEFERRED"
                " FOR EACH ROW EXECUTE FUNCTION fail()"
            )
        )
    runs = []

    def work(tx: Transaction) -> None:
        runs.append(1)
        tx.add_svm(Svm("new", "new" if len(runs) == 1 else "newer"))

    await store.write(work)
    assert len(runs) == 2
    assert await store.read(lambda tx: tx.svm("new")) == Svm("new", "newer")


async def test_a_database_that_went_away_is_a_store_error(
    store: SqlStore, postgres: PostgresServer, url: str, kick: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as it is away: for reads and for writes, and it is no use to run them again and again."""
    monkeypatch.setattr(outage, "PATIENCE_S", 1.0)
    name = make_url(url).database
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
    kick()
    for call in (store.read, store.write):
        with pytest.raises(StorageError) as caught:
            await call(lambda tx: tx.svm("svm-1"))
        assert caught.value.retry_after_s == 1
    postgres.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await asyncio.sleep(outage.PAUSE_S)
    assert await store.read(lambda tx: tx.svm("svm-1")) == samples.SVM


async def test_connections_that_broke_while_idle_are_replaced(store: SqlStore, kick: Callable[[], None]) -> None:
    """After a restart of the database the next transactions work, whatever thread they run on."""
    await asyncio.gather(*[store.read(lambda tx: tx.svm("svm-1")) for _ in range(20)])
    kick()
    assert all(await asyncio.gather(*[store.read(lambda tx: tx.svm("svm-1")) for _ in range(20)]))
    kick()
    await store.write(lambda tx: tx.add_svm(Svm("new", "new")))


async def test_a_connection_that_breaks_in_a_transaction_is_no_harm(store: SqlStore, kick: Callable[[], None]) -> None:
    """Nothing was committed, so the function runs again."""
    runs = []

    def work(tx: Transaction) -> None:
        runs.append(1)
        tx.add_svm(Svm("new", "new"))
        if len(runs) == 1:
            kick()
        tx.add_svm(Svm("newer", "newer"))

    await store.write(work)
    assert len(runs) == 2


async def test_a_connection_that_breaks_in_the_commit_is_not_run_again(
    store: SqlStore, kick: Callable[[], None]
) -> None:
    """The commit may have happened: running it again could store it twice."""
    runs = []
    event.listen(store.database.writer, "commit", lambda _: kick(), once=True)
    with pytest.raises(OutcomeUnknown):
        await store.write(lambda tx: (runs.append(1), tx.add_svm(Svm("new", "new"))))
    assert len(runs) == 1


async def test_what_the_function_raises_passes_though_the_connection_broke(
    store: SqlStore, kick: Callable[[], None]
) -> None:
    """The failing rollback does not hide it."""

    def work(tx: Transaction) -> None:
        tx.add_svm(Svm("new", "new"))
        kick()
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        await store.write(work)


async def test_a_server_that_is_away_is_a_store_error(store: SqlStore, tmp_path: object) -> None:
    """Within the bounds of connecting."""
    del store
    with pytest.raises(StoreError, match="cannot be reached"):
        open_store(f"postgresql+psycopg://u@/d?host={tmp_path}")


async def test_unique_violations_name_the_constraint_only(store: SqlStore) -> None:
    """PostgreSQL's own text would quote the key."""
    with pytest.raises(StoreConflict, match="uq_svms_name") as caught:
        await store.write(lambda tx: tx.add_svm(Svm("new", "svm1")))
    assert "svm1" not in str(caught.value)


def test_there_is_no_version_without_a_read(store: SqlStore) -> None:
    """PostgreSQL is behind a network."""
    assert store.version() is None


@pytest.mark.parametrize(
    ("state", "reason"),
    [("53100", "its disk is full"), ("58030", "its disk cannot be read or written")],
    ids=["disk_full", "io_error"],
)
async def test_a_disk_that_fails_is_a_storage_error(store: SqlStore, state: str, reason: str) -> None:
    """Raised by a trigger in the server, with the codes that PostgreSQL gives it."""
    with store.database.writer.connect() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql"
                f" AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$"
            )
        )
        connection.execute(text("CREATE TRIGGER fail BEFORE INSERT ON svms FOR EACH ROW EXECUTE FUNCTION fail()"))
        connection.commit()
    with pytest.raises(StorageError) as raised:
        await store.write(lambda tx: tx.add_svm(Svm("new", "new")))
    assert raised.value.reason == reason

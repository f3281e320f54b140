"""The contract of transactions on SQLite and on a real PostgreSQL: isolation, failure, cancellation."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from keystead.core.errors import DUPLICATE_ENTRY, OntapError
from keystead.core.model import (
    Certificate,
    Svm,
)
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from keystead.store import SqlStore, open_store
from tests.store import samples
from tests.store.samples import SVM

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports.store import Transaction


async def test_a_conflict_that_the_second_run_settles_is_none(filled: SqlStore) -> None:
    """If two transactions create the same SVM, the second run sees the first one's row."""
    refusal = OntapError(DUPLICATE_ENTRY)
    runs = []

    def work(tx: Transaction) -> None:
        runs.append(1)
        if len(runs) == 2:
            raise refusal
        tx.add_svm(Svm("new", "svm1"))

    with pytest.raises(OntapError) as caught:
        await filled.write(work)
    assert caught.value is refusal


async def test_what_the_function_raises_rolls_back_and_passes_unchanged(filled: SqlStore) -> None:
    """The same exception is raised, and nothing is stored."""
    error = LookupError("mine")

    def work(tx: Transaction) -> None:
        tx.add_svm(Svm("new", "new"))
        raise error

    with pytest.raises(LookupError) as caught:
        await filled.write(work)
    assert caught.value is error
    assert await filled.read(lambda tx: tx.svm("new")) is None


async def test_a_write_is_seen_by_another_store(filled: SqlStore, database_url: str) -> None:
    """Another store sees a write as soon as it has returned."""
    other = open_store(database_url)
    await filled.write(lambda tx: tx.add_svm(Svm("new", "new")))
    assert await other.read(lambda tx: tx.svm("new")) == Svm("new", "new")
    await other.close()


async def test_a_read_sees_one_snapshot(filled: SqlStore) -> None:
    """A read sees one snapshot, also if another transaction commits meanwhile."""
    reading, written = threading.Event(), threading.Event()

    def work(tx: Transaction) -> tuple[int, int]:
        before = len(tx.key_servers("km-1"))
        reading.set()
        assert written.wait(10)
        return before, len(tx.key_servers("km-1"))

    async with asyncio.TaskGroup() as group:
        read = group.create_task(filled.read(work))
        await asyncio.to_thread(reading.wait, 10)
        await filled.write(lambda tx: tx.add_key_servers([samples.key_server(3)]))
        written.set()
    assert read.result() == (3, 3)
    assert len(await filled.read(lambda tx: tx.key_servers("km-1"))) == 4


async def test_a_read_cannot_write(filled: SqlStore) -> None:
    """Connections of readers refuse writes."""
    with pytest.raises(StoreError):
        await filled.read(lambda tx: tx.add_svm(Svm("new", "new")))
    assert await filled.read(lambda tx: tx.svm("new")) is None


@pytest.mark.parametrize(
    "read",
    [
        pytest.param(lambda tx: tx.key_manager("km-1", lock=True), id="key manager"),
        pytest.param(lambda tx: tx.certificate("cert-1", lock=True), id="certificate"),
        pytest.param(lambda tx: tx.audit_head("node-1"), id="audit chain"),
    ],
)
async def test_a_locked_row_makes_the_next_writer_wait(
    filled: SqlStore, database_url: str, read: Callable[[Transaction], object]
) -> None:
    """A writer waits for a locked row until the holder ends, and then sees the holder's changes."""
    other = open_store(database_url)
    await filled.write(lambda tx: tx.add_audit_records([samples.audit_record(1)], samples.audit_head(1)))
    locked, release = threading.Event(), threading.Event()
    order: list[str] = []

    def holder(tx: Transaction) -> None:
        read(tx)
        locked.set()
        assert release.wait(10)
        tx.add_key_servers([samples.key_server(3)])
        order.append("holder")

    def waiter(tx: Transaction) -> int:
        read(tx)
        order.append("waiter")
        return len(tx.key_servers("km-1"))

    async with asyncio.TaskGroup() as group:
        group.create_task(filled.write(holder))
        await asyncio.to_thread(locked.wait, 10)
        waiting = group.create_task(other.write(waiter))
        await asyncio.sleep(0.1)
        release.set()
    assert order == ["holder", "waiter"]
    assert waiting.result() == 4
    await other.close()


async def test_a_lost_table_is_a_store_error_that_the_function_can_catch(filled: SqlStore) -> None:
    """A lost table raises StoreError inside the function, so that a use case can go on without that table."""
    with filled.database.writer.begin() as connection:
        connection.execute(text("DROP TABLE secondary_key_servers"))
        for other in ("observations", "announced_states"):  # they refer to it
            connection.execute(text(f"DROP TABLE {other}"))
        connection.execute(text("DROP TABLE key_servers"))

    def work(tx: Transaction) -> str:
        assert tx.account("nobody") is None
        try:
            tx.key_servers("km-1")
        except StoreError:
            return "unreadable"
        return "readable"

    assert await filled.read(work) == "unreadable"
    assert await filled.read(lambda tx: tx.account("nobody")) is None


@pytest.mark.parametrize(
    "svm",
    [pytest.param(Svm("new", "canary"), id="is there"), pytest.param(Svm("new", "\ud800canary"), id="lone surrogate")],
)
async def test_no_error_quotes_a_value(filled: SqlStore, svm: Svm) -> None:
    """No error text contains a value, neither of a duplicate nor of an unstorable one."""
    await filled.write(lambda tx: tx.add_svm(Svm("s", "canary")))
    with pytest.raises(StoreError) as caught:
        await filled.write(lambda tx: tx.add_svm(svm))
    assert "canary" not in _all_texts(caught.value)


async def test_a_number_that_no_column_holds_is_a_store_error(filled: SqlStore) -> None:
    """A number too large for a column raises StoreError, not an exception of the driver."""
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_key_servers([samples.key_server(9, timeout=10**30)]))


async def test_a_naive_time_is_refused(filled: SqlStore) -> None:
    """A naive time is refused, because it would mean the machine's local time."""
    naive = samples.certificate("new", not_before=samples.NOON.replace(tzinfo=None))
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_certificate(naive))


async def test_a_damaged_row_is_a_store_error(filled: SqlStore) -> None:
    """A row from which no model value can be made raises StoreError."""
    with filled.database.writer.begin() as connection:
        connection.execute(text("UPDATE key_servers SET host = '::zz'"))
        connection.execute(text("UPDATE certificates SET type = 'nonsense'"))
    for work in (lambda tx: tx.key_servers("km-1"), lambda tx: tx.page(Certificate, Page())):
        with pytest.raises(StoreError):
            await filled.read(work)


async def test_a_closed_store_says_so(database_url: str) -> None:
    """A closed store refuses work; closing twice is no error."""
    store = open_store(database_url)
    await store.close()
    await store.close()
    for call in (store.read, store.write):
        with pytest.raises(StoreError):
            await call(lambda tx: tx.cluster())


async def test_closing_waits_for_what_is_under_way(database_url: str) -> None:
    """A close waits until a started transaction is committed and its caller has the result."""
    store = open_store(database_url)
    started, release = threading.Event(), threading.Event()

    def work(tx: Transaction) -> str:
        tx.add_svm(SVM)
        started.set()
        assert release.wait(10)
        return "done"

    writing = asyncio.create_task(store.write(work))
    await asyncio.to_thread(started.wait, 10)
    closing = asyncio.create_task(store.close())
    await asyncio.sleep(0.05)
    release.set()
    await closing
    assert await writing == "done"


async def test_a_caller_cancelled_before_the_commit_leaves_nothing(filled: SqlStore) -> None:
    """If the caller is cancelled before the commit, nothing is stored."""
    started, release = threading.Event(), threading.Event()

    def work(tx: Transaction) -> None:
        tx.add_svm(Svm("new", "new"))
        started.set()
        assert release.wait(10)

    writing = asyncio.create_task(filled.write(work))
    await asyncio.to_thread(started.wait, 10)
    writing.cancel()
    await asyncio.sleep(0.05)
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert await filled.read(lambda tx: tx.svm("new")) is None


async def test_a_caller_cancelled_during_the_commit_gets_its_result(filled: SqlStore) -> None:
    """If the caller is cancelled during the commit, it gets the result."""
    committing, release = threading.Event(), threading.Event()

    def pause(_connection: Any) -> None:
        committing.set()
        assert release.wait(10)

    event.listen(filled.database.writer, "commit", pause)
    writing = asyncio.create_task(filled.write(lambda tx: (tx.add_svm(Svm("new", "new")), "stored")[1]))
    await asyncio.to_thread(committing.wait, 10)
    writing.cancel()
    await asyncio.sleep(0.05)
    release.set()
    assert await writing == "stored"
    assert await filled.read(lambda tx: tx.svm("new")) is not None


async def test_a_failure_that_nobody_waits_for_any_more_is_not_logged(filled: SqlStore) -> None:
    """A transaction that fails after its caller was cancelled is not logged by asyncio, with a traceback."""
    store = SqlStore(filled.database, closing_s=0.05)
    shown: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: shown.append(context))
    started, release = threading.Event(), threading.Event()

    def work(_tx: Transaction) -> None:
        started.set()
        assert release.wait(10)
        raise StoreError("the database is locked")

    writing = asyncio.create_task(store.write(work))
    await asyncio.to_thread(started.wait, 10)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    del writing
    release.set()
    await store.close()
    await asyncio.sleep(0.05)
    gc.collect()
    assert shown == []


async def test_a_write_that_is_cancelled_in_the_queue_is_never_run(filled: SqlStore) -> None:
    """A write that is cancelled while it waits is never run."""
    release = threading.Event()
    blockers = [asyncio.create_task(filled.write(lambda _: release.wait(10))) for _ in range(filled.database.writers)]
    await asyncio.sleep(0.05)
    ran = []
    queued = asyncio.create_task(filled.write(lambda _: ran.append(1)))
    await asyncio.sleep(0.05)
    queued.cancel()
    with pytest.raises(asyncio.CancelledError):
        await queued
    release.set()
    await asyncio.gather(*blockers)
    assert ran == []


async def test_listeners_see_every_statement_and_commit(filled: SqlStore) -> None:
    """Event listeners see every statement and commit, so that a test can stop there. The last moves a change mark."""
    seen: list[str] = []
    event.listen(filled.database.writer, "before_cursor_execute", lambda *call: seen.append(call[2].split()[0]))
    event.listen(filled.database.writer, "commit", lambda _: seen.append("COMMIT"))
    await filled.write(lambda tx: tx.add_key_servers([samples.key_server(3)]))
    assert [word for word in seen if word != "BEGIN"] == ["INSERT", "INSERT", "UPDATE", "COMMIT"]


def _all_texts(error: BaseException | None) -> str:
    """Return the texts of an exception and of everything chained to it that would be printed."""
    shown = ""
    while error is not None:
        shown += f"{error} {error.args!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown

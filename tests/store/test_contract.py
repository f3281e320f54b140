"""What every store must do, run on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from keystead.core.errors import DUPLICATE_ENTRY, OntapError
from keystead.core.model import (
    Account,
    Certificate,
    Cluster,
    DataKey,
    KeyManager,
    KeyServer,
    Node,
    Release,
    Role,
    Svm,
)
from keystead.service.ports import Page, StoreConflict, StoreError
from keystead.store import SqlStore, open_store
from tests.store import samples
from tests.store.samples import NODE, OTHER_SVM, SVM

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports import Transaction


@pytest.fixture
async def filled(store: SqlStore) -> SqlStore:
    """A store that holds the samples."""
    await store.write(samples.fill)
    return store


async def test_an_empty_store_has_nothing(store: SqlStore) -> None:
    """Absent single values are None, absent lists are empty."""

    def work(tx: Transaction) -> list[object]:
        return [
            *(tx.cluster(), tx.svm("x"), tx.svm_named("x"), tx.certificate("x"), tx.key_manager("x")),
            *(tx.key_manager_of(None), tx.account("x"), tx.audit_head("x")),
            *(tx.nodes(), tx.key_servers("x"), tx.data_keys(), tx.audit_records("x", 0, 9), tx.audit_nodes()),
            *(tx.page(kind, Page()) for kind in (Certificate, KeyManager, KeyServer, Svm, Node)),
        ]

    assert await store.read(work) == [None] * 8 + [()] * 10


@pytest.mark.parametrize("svm", [None, SVM], ids=["cluster", "svm"])
async def test_a_certificate_comes_back_as_it_was(store: SqlStore, svm: Svm | None) -> None:
    """Every field, microseconds, zones, bytes and the order of intermediates survive."""
    certificate = samples.certificate(svm=svm)
    bare = samples.certificate("cert-2", svm=svm, intermediates=(), sealed_private_key=None)
    await store.write(lambda tx: (tx.add_svm(SVM), tx.add_certificate(certificate), tx.add_certificate(bare)))
    assert await store.read(lambda tx: (tx.certificate("cert-1"), tx.certificate("cert-2"))) == (certificate, bare)


@pytest.mark.parametrize("svm", [None, SVM], ids=["cluster", "svm"])
async def test_a_key_manager_comes_back_as_it_was(store: SqlStore, svm: Svm | None) -> None:
    """The SVM with its name and the CA certificates in their order."""
    manager = samples.key_manager(svm=svm)
    await store.write(lambda tx: (tx.add_svm(SVM), tx.add_key_manager(manager)))
    assert await store.read(lambda tx: tx.key_manager("km-1")) == manager


@pytest.mark.parametrize("address", ["Host.Example.:5696", "[2001:DB8::0:1]:1", "10.0.0.1"])
async def test_a_key_server_keeps_the_spelling_of_its_address(filled: SqlStore, address: str) -> None:
    """What is shown is what the caller wrote."""
    server = samples.key_server(9, address, timeout=-1, create_remove_timeout=0, username="", sealed_password=None)
    await filled.write(lambda tx: tx.add_key_servers([server]))
    found = (await filled.read(lambda tx: tx.key_servers("km-1")))[-1]
    assert found == server
    assert str(found.address) == str(server.address)
    assert found.address.host == server.address.host


async def test_key_servers_are_in_the_order_of_their_position(filled: SqlStore) -> None:
    """However they were inserted; a server without secondaries is none the less there."""
    lone = replace(samples.key_server(3), secondary_key_servers=())
    await filled.write(lambda tx: tx.add_key_servers([samples.key_server(4), lone]))
    servers = await filled.read(lambda tx: tx.key_servers("km-1"))
    assert [server.position for server in servers] == [0, 1, 2, 3, 4]
    assert [server.secondary_key_servers for server in servers] == [("Zeta", "alpha")] * 3 + [(), ("Zeta", "alpha")]


async def test_no_key_servers_can_be_added(filled: SqlStore) -> None:
    """An empty list is no statement at all."""
    await filled.write(lambda tx: tx.add_key_servers([]))
    assert len(await filled.read(lambda tx: tx.key_servers("km-1"))) == 3


async def test_the_cluster_is_one(store: SqlStore) -> None:
    """Putting it again replaces it, another uuid included."""
    await store.write(lambda tx: tx.put_cluster(Cluster("c1", "one")))
    await store.write(lambda tx: tx.put_cluster(Cluster("c2", "two", metrocluster=True)))
    assert await store.read(lambda tx: tx.cluster()) == Cluster("c2", "two", metrocluster=True)


async def test_a_node_is_replaced_by_its_uuid(store: SqlStore) -> None:
    """A node that comes back with another release has one row."""
    older = replace(NODE, release=Release(9, 5, 0))
    await store.write(
        lambda tx: (tx.put_node(older), tx.put_node(NODE), tx.put_node(Node("a", "n2", Release(9, 6, 0))))
    )
    assert await store.read(lambda tx: tx.nodes()) == (Node("a", "n2", Release(9, 6, 0)), NODE)


async def test_svms_are_found_by_uuid_and_name(filled: SqlStore) -> None:
    """Names are compared exactly."""
    found = await filled.read(lambda tx: (tx.svm("svm-1"), tx.svm_named("svm1"), tx.svm_named("SVM1")))
    assert found == (SVM, SVM, None)


async def test_an_accounts_version_grows_with_every_change(store: SqlStore) -> None:
    """Whatever version the caller says: remembered credentials depend on it."""
    account = Account("admin", Role.ADMIN, "hash", version=1)
    for changed in (account, replace(account, password_hash="other"), replace(account, role=Role.READONLY)):
        await store.write(lambda tx, changed=changed: tx.put_account(changed))
    assert await store.read(lambda tx: tx.account("admin")) == Account("admin", Role.READONLY, "hash", version=3)


async def test_data_keys_are_in_order(store: SqlStore) -> None:
    """By id."""
    keys = (DataKey(1, b"\x00one", b"check"), DataKey(2, b"two", b"check"))
    await store.write(lambda tx: (tx.add_data_key(keys[1]), tx.add_data_key(keys[0])))
    assert await store.read(lambda tx: tx.data_keys()) == keys


async def test_an_audit_chain_grows_and_is_read_in_slices(store: SqlStore) -> None:
    """Records in order of index, the head at the last one, each node its own."""

    def work(tx: Transaction) -> None:
        for index in range(1, 6):
            tx.add_audit_record(samples.audit_record(index), samples.audit_head(index))
        tx.add_audit_record(samples.audit_record(1, "other"), samples.audit_head(1, "other"))
        tx.put_node(Node("silent", "n", Release(9, 18, 1)))

    await store.write(work)
    records, head, nodes = await store.read(
        lambda tx: (tx.audit_records("node-1", 2, 2), tx.audit_head("node-1"), tx.audit_nodes())
    )
    assert records == (samples.audit_record(3), samples.audit_record(4))
    assert head == samples.audit_head(5)
    assert nodes == ("node-1", "other", "silent")


async def test_the_key_manager_of_an_owner_is_the_enabled_one(store: SqlStore) -> None:
    """One that is not enabled does not count, and the cluster's is no SVM's."""
    enabled, cluster = samples.key_manager("km-1", SVM), samples.key_manager("km-3")

    def work(tx: Transaction) -> None:
        tx.add_svm(SVM)
        for manager in (enabled, samples.key_manager("km-0", SVM, enabled=False), cluster):
            tx.add_key_manager(manager)

    await store.write(work)
    found = await store.read(lambda tx: [tx.key_manager_of(owner) for owner in ("svm-1", None, "svm-2")])
    assert found == [enabled, cluster, None]


async def test_a_certificate_can_vanish_underneath_a_key_manager(filled: SqlStore) -> None:
    """Key managers name certificates, they do not hold them."""
    await filled.write(lambda tx: tx.delete_certificate("cert-1"))
    certificate, manager = await filled.read(lambda tx: (tx.certificate("cert-1"), tx.key_manager("km-1")))
    assert certificate is None
    assert manager is not None
    assert manager.client_certificate == "cert-1"


async def test_a_certificate_is_in_use_as_client_or_as_ca(filled: SqlStore) -> None:
    """Whatever key manager names it."""
    used = await filled.read(lambda tx: [tx.certificate_in_use(uuid) for uuid in ("cert-1", "ca-1", "ca-2", "ca-3")])
    assert used == [True, True, True, False]


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(lambda tx: tx.add_svm(Svm("new", "svm1")), id="svm name"),
        pytest.param(lambda tx: tx.add_svm(Svm("svm-1", "new")), id="svm uuid"),
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", SVM, name="name of cert-1")), id="certificate name"
        ),
        pytest.param(lambda tx: tx.add_key_manager(samples.key_manager("new", SVM)), id="enabled key manager"),
        pytest.param(
            lambda tx: tx.add_key_servers([samples.key_server(3), samples.key_server(4, "HOST0.example.")]),
            id="key server address",
        ),
        pytest.param(
            lambda tx: tx.add_key_servers([replace(samples.key_server(0, "new"), uuid="new")]), id="key server position"
        ),
        pytest.param(lambda tx: tx.add_key_servers([samples.key_server(0, manager="absent")]), id="no key manager"),
        pytest.param(
            lambda tx: tx.add_key_manager(samples.key_manager("new", Svm("absent", "absent"))),
            id="no svm of a key manager",
        ),
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", Svm("absent", "absent"))),
            id="no svm of a certificate",
        ),
    ],
)
async def test_what_must_be_unique_or_present_is_a_conflict(
    filled: SqlStore, work: Callable[[Transaction], object]
) -> None:
    """The function runs once more, to see the other writer's row; then it is StoreConflict, and nothing is stored."""
    runs = []
    before = await filled.read(_everything)

    def counted(tx: Transaction) -> None:
        runs.append(1)
        tx.put_cluster(Cluster("c", "c"))
        work(tx)

    with pytest.raises(StoreConflict):
        await filled.write(counted)
    assert len(runs) == 2
    assert await filled.read(_everything) == before


@pytest.mark.parametrize(
    "work",
    [
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", OTHER_SVM, name="name of cert-1")),
            id="certificate of another svm",
        ),
        pytest.param(
            lambda tx: tx.add_certificate(samples.certificate("new", None, name="name of cert-1")),
            id="certificate of the cluster",
        ),
        pytest.param(
            lambda tx: tx.add_key_manager(samples.key_manager("new", OTHER_SVM)), id="key manager of another svm"
        ),
        pytest.param(lambda tx: tx.add_key_manager(samples.key_manager("new", None)), id="key manager of the cluster"),
        pytest.param(
            lambda tx: tx.add_key_manager(samples.key_manager("new", SVM, enabled=False)), id="key manager not enabled"
        ),
    ],
)
async def test_uniqueness_ends_at_the_owner(filled: SqlStore, work: Callable[[Transaction], object]) -> None:
    """Another SVM, or the cluster, may use the same name and have its own key manager."""
    await filled.write(work)


async def test_a_conflict_that_the_second_run_settles_is_none(filled: SqlStore) -> None:
    """As when two create the same SVM: the second run sees the first's row and says so."""
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
    """The same object, and nothing stored."""
    error = LookupError("mine")

    def work(tx: Transaction) -> None:
        tx.add_svm(Svm("new", "new"))
        raise error

    with pytest.raises(LookupError) as caught:
        await filled.write(work)
    assert caught.value is error
    assert await filled.read(lambda tx: tx.svm("new")) is None


async def test_a_write_is_seen_by_another_store(filled: SqlStore, database_url: str) -> None:
    """As soon as the write returned."""
    other = open_store(database_url)
    await filled.write(lambda tx: tx.add_svm(Svm("new", "new")))
    assert await other.read(lambda tx: tx.svm("new")) == Svm("new", "new")
    await other.close()


async def test_a_read_sees_one_snapshot(filled: SqlStore) -> None:
    """A commit in the middle of a read is not half seen."""
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
    """The connections of readers refuse."""
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
    """Until the holder's transaction ends; then it sees what the holder did."""
    other = open_store(database_url)
    await filled.write(lambda tx: tx.add_audit_record(samples.audit_record(1), samples.audit_head(1)))
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
    """So that a use case can say that key servers cannot be read, while accounts can."""
    with filled.database.writer.begin() as connection:
        connection.execute(text("DROP TABLE secondary_key_servers"))
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
    """Neither one that is there already nor one that cannot be stored."""
    await filled.write(lambda tx: tx.add_svm(Svm("s", "canary")))
    with pytest.raises(StoreError) as caught:
        await filled.write(lambda tx: tx.add_svm(svm))
    assert "canary" not in _all_texts(caught.value)


async def test_a_number_that_no_column_holds_is_a_store_error(filled: SqlStore) -> None:
    """Not an exception of the driver's."""
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_key_servers([samples.key_server(9, timeout=10**30)]))


async def test_a_naive_time_is_refused(filled: SqlStore) -> None:
    """It would mean the machine's local time."""
    naive = samples.certificate("new", not_before=samples.NOON.replace(tzinfo=None))
    with pytest.raises(StoreError):
        await filled.write(lambda tx: tx.add_certificate(naive))


async def test_a_damaged_row_is_a_store_error(filled: SqlStore) -> None:
    """A row that no model value can be made of was not written by this program."""
    with filled.database.writer.begin() as connection:
        connection.execute(text("UPDATE key_servers SET host = '::zz'"))
        connection.execute(text("UPDATE certificates SET type = 'root_ca'"))
    for work in (lambda tx: tx.key_servers("km-1"), lambda tx: tx.page(Certificate, Page())):
        with pytest.raises(StoreError):
            await filled.read(work)


async def test_a_closed_store_says_so(database_url: str) -> None:
    """Closing twice does no harm."""
    store = open_store(database_url)
    await store.close()
    await store.close()
    for call in (store.read, store.write):
        with pytest.raises(StoreError):
            await call(lambda tx: tx.cluster())


async def test_closing_waits_for_what_is_under_way(database_url: str) -> None:
    """A transaction that was started is committed, and its caller told."""
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
    """So that a shutdown can say that nothing was stored."""
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
    """What is stored is answered as stored."""
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


async def test_a_write_that_is_cancelled_in_the_queue_is_never_run(filled: SqlStore) -> None:
    """A caller that went away costs nothing."""
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
    """A harness can stop the process at any of them."""
    seen: list[str] = []
    event.listen(filled.database.writer, "before_cursor_execute", lambda *call: seen.append(call[2].split()[0]))
    event.listen(filled.database.writer, "commit", lambda _: seen.append("COMMIT"))
    await filled.write(lambda tx: tx.add_key_servers([samples.key_server(3)]))
    assert [word for word in seen if word != "BEGIN"] == ["INSERT", "INSERT", "COMMIT"]


def _everything(tx: Transaction) -> list[object]:
    pages = [tx.page(kind, Page()) for kind in (Certificate, KeyManager, Svm, Node)]
    return [*pages, tx.cluster(), tx.key_servers("km-1"), tx.key_servers("absent")]


def _all_texts(error: BaseException | None) -> str:
    """The texts of an exception and of everything chained to it that would be printed."""
    shown = ""
    while error is not None:
        shown += f"{error} {error.args!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return shown

"""The audit log over a real store: a change has its record in its transaction, a refusal in one of its own."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog
from sqlalchemy import text

from keystead.core.errors import KEY_SERVER_LIMIT, OntapError
from keystead.core.model import Account, Node, Release, Role, Svm
from keystead.service.audit.log import BUCKETS, AuditLog, LogLimits, begin
from keystead.service.audit.verifying import ChainReport, verify
from keystead.service.context import Call, Caller
from tests.service.worlds.basics import KEYRING, HandClock

if TYPE_CHECKING:
    from keystead.core.model import AuditRecord
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

NODE = "node-1"
SVM = Svm("svm-1", "svm1")
CALL = Call(Caller("admin", Role.ADMIN, "192.0.2.1"), "POST", "/api/svm/svms", '{"name":"a"}')


@pytest.fixture
def clock() -> HandClock:
    """Noon and half a minute."""
    return HandClock()


@pytest.fixture
def audit(store: SqlStore, clock: HandClock) -> AuditLog:
    """Return the log of one node, which has no record yet: init would have written one."""
    return AuditLog(store, KEYRING, clock, NODE)


async def records(store: SqlStore) -> tuple[AuditRecord, ...]:
    """Return what was recorded."""
    return await store.read(lambda tx: tx.audit_records(NODE, 0, 10_000))


async def begun(store: SqlStore, clock: HandClock, node: str = NODE) -> None:
    """Write record 1, as init does."""
    await store.write(lambda tx: begin(tx, KEYRING, clock, node))


async def test_a_changes_record_is_in_its_transaction(store: SqlStore, audit: AuditLog, clock: HandClock) -> None:
    """The record of a change is stored with it, and has everything that is known about the call."""

    def work(tx: Transaction) -> None:
        tx.add_svm(Svm("s", "s"))
        audit.succeed(tx, CALL, "created", svm=SVM)

    await store.write(work)
    (record,) = await records(store)
    assert (record.index, record.node, record.timestamp) == (1, NODE, clock.now())
    assert (record.account, record.location, record.svm) == ("admin", "192.0.2.1", "svm1")
    assert (record.method, record.path, record.input) == ("POST", "/api/svm/svms", '{"name":"a"}')
    assert (record.state, record.code, record.message) == ("success", "", "created")
    assert (record.role, record.svm_uuid) == ("admin", "svm-1")


async def test_without_the_change_there_is_no_record(store: SqlStore, audit: AuditLog) -> None:
    """A rollback removes the change and its record."""

    def work(tx: Transaction) -> None:
        audit.succeed(tx, CALL)
        raise OntapError(KEY_SERVER_LIMIT)

    with pytest.raises(OntapError):
        await store.write(work)
    assert await records(store) == ()


async def test_a_refusals_record_has_its_code_and_text(store: SqlStore, audit: AuditLog) -> None:
    """The record of a refusal has the code and text of the answer."""
    error = OntapError(KEY_SERVER_LIMIT)
    error.svm = SVM
    await audit.refuse(CALL, error)
    (record,) = await records(store)
    assert (record.state, record.code, record.message) == ("error", "65536038", KEY_SERVER_LIMIT.text)
    assert record.svm == "svm1"


async def test_a_refusal_is_the_callers_svms(store: SqlStore, audit: AuditLog) -> None:
    """Whatever it asked for. One that only tunnels to an SVM may have named another's things: the SVM reads nothing."""
    for caller in (replace(CALL.caller, svm=SVM), CALL.caller):
        await audit.refuse(replace(CALL, caller=caller, scope=SVM), OntapError(KEY_SERVER_LIMIT))
    await store.write(lambda tx: audit.succeed(tx, replace(CALL, scope=SVM)))
    assert [(record.svm, record.svm_uuid) for record in await records(store)] == [
        ("svm1", "svm-1"),
        ("", ""),
        ("svm1", "svm-1"),
    ]


async def test_a_refusal_that_cannot_be_recorded_is_logged_only(store: SqlStore, audit: AuditLog) -> None:
    """If the record of a refusal cannot be stored, the answer stays, and the loss is logged."""
    with store.database.writer.begin() as connection:
        connection.execute(text("DROP TABLE audit_records"))
    with structlog.testing.capture_logs() as logs:
        await audit.refuse(CALL, OntapError(KEY_SERVER_LIMIT))
    assert [(line["event"], line["code"]) for line in logs] == [("audit record lost", "65536038")]


async def test_an_answer_does_not_wait_for_a_busy_database(store: SqlStore, clock: HandClock) -> None:
    """The record of a refusal is written when the database is free; at the latest, the close waits for it."""
    audit = AuditLog(store, KEYRING, clock, NODE, LogLimits(refusal_wait_s=0.05))
    release = threading.Event()
    holders = [asyncio.create_task(store.write(lambda _: release.wait(120))) for _ in range(store.database.writers)]
    await asyncio.sleep(0.05)
    with structlog.testing.capture_logs() as logs:
        async with asyncio.timeout(60):
            await audit.refuse(CALL, OntapError(KEY_SERVER_LIMIT))
    assert [(line["event"], line["code"]) for line in logs] == [("audit record late", "65536038")]
    assert await records(store) == ()
    release.set()
    await audit.close()
    assert [record.code for record in await records(store)] == ["65536038"]
    await asyncio.gather(*holders)


async def test_a_late_record_that_is_lost_is_logged(store: SqlStore, clock: HandClock) -> None:
    """A record that is lost after its answer is logged, as one before its answer is."""
    audit = AuditLog(store, KEYRING, clock, NODE, LogLimits(refusal_wait_s=0))
    with store.database.writer.begin() as connection:
        connection.execute(text("DROP TABLE audit_records"))
    with structlog.testing.capture_logs() as logs:
        await audit.refuse(CALL, OntapError(KEY_SERVER_LIMIT))
        await audit.close()
    assert [line["event"] for line in logs] == ["audit record late", "audit record lost"]


async def test_late_records_are_bounded(store: SqlStore, clock: HandClock) -> None:
    """If too many records are late, an answer waits for its own record."""
    audit = AuditLog(store, KEYRING, clock, NODE, LogLimits(refusal_wait_s=0, late=2))
    release = threading.Event()
    holders = [asyncio.create_task(store.write(lambda _: release.wait(120))) for _ in range(store.database.writers)]
    refusals = [asyncio.create_task(audit.refuse(CALL, OntapError(KEY_SERVER_LIMIT))) for _ in range(3)]
    _, waiting = await asyncio.wait(refusals, timeout=0.3)
    assert len(waiting) == 1
    release.set()
    await asyncio.gather(*holders, *refusals)
    await audit.close()
    assert len(await records(store)) == 3


async def test_no_text_of_a_caller_can_stop_a_record(store: SqlStore, audit: AuditLog) -> None:
    """Characters that a database refuses are replaced, and long texts are cut."""
    strange = Call(Caller("a\x00\ud800", Role.ADMIN, "\n"), "PO\x00ST", "/" + "x" * 5000, "\x00" + "y" * 100_000)
    await audit.refuse(strange, OntapError(KEY_SERVER_LIMIT))
    (record,) = await records(store)
    assert (record.account, record.location, record.method) == ("a��", "�", "PO�ST")
    assert (len(record.path), len(record.input)) == (1024, 8192)


async def test_failed_logins_are_one_record_per_minute_account_and_address(
    store: SqlStore, audit: AuditLog, clock: HandClock
) -> None:
    """Failed logins are counted and written when their minute is over."""
    for _ in range(3):
        audit.login_failed("admin", "192.0.2.1")
    audit.login_failed("admin", "192.0.2.2")
    await audit.flush()
    assert await records(store) == ()
    clock.advance(30)
    audit.login_failed("root\x00", "192.0.2.1")
    await audit.flush()
    first = [(record.account, record.location, record.code, record.message) for record in await records(store)]
    assert first == [
        ("admin", "192.0.2.1", "6691623", "3 failed logins in the minute of 2026-03-01T12:00Z"),
        ("admin", "192.0.2.2", "6691623", "1 failed login in the minute of 2026-03-01T12:00Z"),
    ]
    await audit.close()
    assert (await records(store))[2].account == "root�"
    await audit.close()
    assert len(await records(store)) == 3


async def test_failed_logins_of_an_svms_account_are_its_to_read(store: SqlStore, audit: AuditLog) -> None:
    """A failed login belongs to the SVM and role of its account; one of an unknown name to the cluster."""
    audit.login_failed("owner", "::1", Account("owner", Role.VSADMIN, "", svm=SVM))
    audit.login_failed("nobody", "::1")
    await audit.close()
    assert [(record.account, record.svm, record.svm_uuid, record.role) for record in await records(store)] == [
        ("owner", "svm1", "svm-1", "vsadmin"),
        ("nobody", "", "", ""),
    ]


async def test_failed_logins_are_flushed_by_themselves(store: SqlStore, clock: HandClock) -> None:
    """Failed logins of past minutes are written without a further call, also those after an earlier flush."""
    audit = AuditLog(store, KEYRING, clock, NODE, LogLimits(flush_s=0.01))
    for count in (1, 2):
        audit.login_failed("admin", "::1")
        clock.advance(60)
        async with asyncio.timeout(60):
            while len(await records(store)) < count:  # noqa: ASYNC110 - the service has no event for it
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)  # the timer has ended
    audit.login_failed("admin", "::1")
    await audit.close()
    assert len(await records(store)) == 3


async def test_failed_logins_wait_for_a_store_that_is_away(store: SqlStore, audit: AuditLog, clock: HandClock) -> None:
    """If the store fails, failed logins are counted on and written later."""
    audit.login_failed("admin", "::1")
    clock.advance(60)
    with store.database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE audit_records RENAME TO away"))
    with structlog.testing.capture_logs() as logs:
        await audit.flush()
    assert [line["event"] for line in logs] == ["failed logins not recorded yet"]
    with store.database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE away RENAME TO audit_records"))
    await audit.close()
    assert [record.message[:15] for record in await records(store)] == ["1 failed login "]


async def test_a_login_that_fails_during_a_flush_is_not_lost(store: SqlStore, audit: AuditLog) -> None:
    """A login that fails during a flush is written by the next flush."""
    audit.login_failed("admin", "::1")
    flushing = asyncio.create_task(audit.flush(everything=True))
    await asyncio.sleep(0)
    audit.login_failed("admin", "::1")
    await flushing
    await audit.close()
    assert [record.message[:14] for record in await records(store)] == ["1 failed login"] * 2


async def test_a_flood_of_names_is_bounded(store: SqlStore, audit: AuditLog) -> None:
    """Failed logins above the bound share one count; none is lost."""
    for number in range(BUCKETS + 500):
        audit.login_failed(f"name{number}", "192.0.2.1")
    await audit.close()
    found = await records(store)
    assert len(found) == BUCKETS + 1
    assert found[-1].account == "(others)"
    assert found[-1].message.startswith("500 failed logins")


async def test_intact_chains_are_reported(store: SqlStore, audit: AuditLog, clock: HandClock) -> None:
    """The chains of all nodes are verified in pages; the last record's MAC is shown, so that it can be noted."""
    other = AuditLog(store, KEYRING, clock, "node-2")
    for node, log, count in ((NODE, audit, 3), ("node-2", other, 2)):
        await begun(store, clock, node)
        for _ in range(count):
            await log.refuse(CALL, OntapError(KEY_SERVER_LIMIT))
    reports = await verify(store, KEYRING.mac, page=2)
    assert reports == (ChainReport("node-1", 4), ChainReport("node-2", 3))
    assert all(report.intact for report in reports)
    mac = (await records(store))[-1].mac.hex()
    assert str(reports[0]) == f"node node-1: intact, 4 records, the last with MAC {mac}"


@pytest.mark.parametrize("later", [False, True], ids=["and nothing later", "and records since"])
async def test_a_chain_that_was_deleted_as_a_whole_is_reported(
    store: SqlStore, audit: AuditLog, clock: HandClock, *, later: bool
) -> None:
    """Its node is still there, or known to who asks; what is recorded afterwards is no beginning."""
    await begun(store, clock)
    assert [report.intact for report in await verify(store, KEYRING.mac, NODE)] == [True]
    await store.write(lambda tx: tx.put_node(Node(NODE, "n", Release(9, 18, 1))))
    with store.database.writer.begin() as connection:
        connection.execute(text("DELETE FROM audit_records"))
        connection.execute(text("DELETE FROM audit_heads"))
    if later:
        await audit.refuse(CALL, OntapError(KEY_SERVER_LIMIT))
    (report,) = await verify(store, KEYRING.mac)
    assert (report.broken_at, report.intact) == (1, False)
    with store.database.writer.begin() as connection:
        connection.execute(text("DELETE FROM nodes"))
    assert [report.broken_at for report in await verify(store, KEYRING.mac, NODE)] == [1]


async def test_a_chain_begins_once(store: SqlStore, clock: HandClock) -> None:
    """A second begin adds no record, so that init may be repeated."""
    for _ in range(2):
        await begun(store, clock)
    assert [record.message for record in await records(store)] == ["initialised"]


@pytest.mark.parametrize(
    ("damage", "broken_at"),
    [
        ("UPDATE audit_records SET account = 'other' WHERE \"index\" = 4", 4),
        ('DELETE FROM audit_records WHERE "index" = 3', 3),
        ('DELETE FROM audit_records WHERE "index" > 5', 6),
        ("DELETE FROM audit_heads", 7),
        ('UPDATE audit_heads SET "index" = 5', 7),
    ],
    ids=["altered", "deleted", "cut", "head gone", "head moved"],
)
async def test_what_was_done_to_a_chain_behind_its_back_is_reported(
    store: SqlStore,
    audit: AuditLog,
    clock: HandClock,
    damage: str,
    broken_at: int,
) -> None:
    """A change of a chain in the database is reported with the first index that is wrong."""
    await begun(store, clock)
    for _ in range(6):
        await audit.refuse(CALL, OntapError(KEY_SERVER_LIMIT))
    with store.database.writer.begin() as connection:
        connection.execute(text(damage))
    (report,) = await verify(store, KEYRING.mac, page=3)
    assert (report.broken_at, report.intact) == (broken_at, False)
    assert str(report).startswith(f"node node-1: BROKEN: record {broken_at} ")

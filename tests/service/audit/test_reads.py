"""Records of reads: durable before the answer, in common commits, spooled during an outage, merged once."""

from __future__ import annotations

import asyncio
import gc
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from keystead.core import audit
from keystead.core.keys.model import KeyState
from keystead.core.model import Account, Cluster, Event, Role
from keystead.core.withdrawals import Thing, Withdrawn
from keystead.service.audit.log import AuditLog, begin
from keystead.service.audit.reads import ReadAudit, ReadLimits
from keystead.service.audit.spool import ReadSpool
from keystead.service.audit.verifying import verify
from keystead.service.context import Call, Caller
from keystead.service.offline import OfflineReads
from keystead.service.ports.page import Page
from keystead.service.ports.store import StorageError, StoreError
from tests.service.worlds.basics import KEYRING, HandClock
from tests.store import keys, samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path
    from typing import Any

    from keystead.core.keys.model import Key
    from keystead.core.model import AuditRecord, Svm
    from keystead.service.audit.spool import Piece
    from keystead.store import SqlStore

NODE = "node-1"
CALL = Call(Caller("reader", Role.KEY_READER, "192.0.2.1"), "POST", "/api/security/key-managers/km/retrieve")
_READ_ID = re.compile(r"\b[0-9a-f]{16}\b")


QUICK = ReadLimits(away_s=0.05)


class FaultySpool(ReadSpool):
    """A spool that raises what a test says."""

    fault: Exception | None = None

    def append(self, records: Sequence[AuditRecord]) -> None:
        """Raise the fault, or append."""
        if self.fault is not None:
            raise self.fault
        super().append(records)

    def read(self, start: int, limit: int) -> Piece:
        """Raise the fault, or read."""
        if self.fault is not None:
            raise self.fault
        return super().read(start, limit)


class Reads:
    """The records of one node's reads, over a database that a test takes away and gives back."""

    def __init__(self, store: SqlStore, folder: Path, *, offline_s: float = 60, limits: ReadLimits = QUICK) -> None:
        self.store = store
        self.limits = limits
        self.folder = folder
        self.clock = HandClock()
        self.log = AuditLog(store, KEYRING, self.clock, NODE)
        self.spool = FaultySpool(folder / "reads.spool", KEYRING.mac)
        self.offline = OfflineReads(store, self.clock, NODE, offline_s)
        self.audit = ReadAudit(store, self.log, self.spool, self.clock, NODE, self.offline, limits=limits)

    async def read(self, *names: str) -> None:
        """Read keys at once; those that there are not yet are made."""
        keys = [await self.key(name) for name in names]
        assert all(await asyncio.gather(*(self.audit.keep(CALL, key) for key in keys)))

    async def key(self, name: str) -> Key:
        """Return the committed key of this name."""
        key = keys.key(name, key_id=name, svm=samples.SVM, state=KeyState.COMMITTED)
        if await self.store.read(lambda tx: tx.key(name)) is None:
            await self.store.write(lambda tx: tx.add_key(key))
        return key

    def lose_database(self) -> None:
        """From now on the chain can neither be read nor written."""
        self.execute("ALTER TABLE audit_heads RENAME TO lost")

    def find_database(self) -> None:
        """It is back, and it is time to ask it again."""
        self.execute("ALTER TABLE lost RENAME TO audit_heads")
        self.clock.advance(self.limits.away_s)

    def execute(self, statement: str) -> None:
        """Execute a statement, without the store."""
        with self.store.database.writer.begin() as connection:
            connection.execute(text(statement))

    async def announced(self) -> list[tuple[str, str, Svm | None]]:
        """Return the name, the account and the SVM of each event."""
        found = await self.store.read(lambda tx: tx.page(Event, Page()))
        return [(each.name, dict(each.parameters)["account"], each.svm) for each in found]

    async def recorded(self) -> list[str]:
        """Return the keys whose reads are in the chain, in order, each found by its id; the chain is intact."""
        (report,) = await verify(self.store, KEYRING.mac)
        assert report.intact, report
        records = await self.store.read(lambda tx: tx.audit_records(NODE, 1, 10_000))
        ids = {record.read_id for record in records if record.read_id}
        assert len(ids) == len(records)
        assert await self.store.read(lambda tx: tx.recorded_reads(NODE, ids)) == ids
        return [record.message.removeprefix("retrieval of key ").partition(",")[0] for record in records]

    @property
    def spooled(self) -> bool:
        """Return True if records wait in the spool."""
        return (self.folder / "reads.spool").exists()

    async def merged(self) -> list[str]:
        """Wait until the spool is gone, then as above."""
        async with asyncio.timeout(60):
            while self.spooled:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.01)
        return await self.recorded()


@pytest.fixture
def limits() -> ReadLimits:
    """Return the limits of :func:`reads`; a test may give others as a parameter."""
    return QUICK


@pytest.fixture
async def reads(store: SqlStore, tmp_path: Path, limits: ReadLimits) -> AsyncIterator[Reads]:
    """Yield the records on a node that has just been started."""
    await store.write(samples.fill)
    await store.write(lambda tx: begin(tx, KEYRING, HandClock(), NODE))
    reads = Reads(store, tmp_path, limits=limits)
    reads.audit.start()
    yield reads
    await reads.audit.close()


async def test_a_read_is_in_the_chain_when_it_is_answered(reads: Reads) -> None:
    """The record has the caller, the SVM of the key, and the id of the read."""
    await reads.read("one")
    (record,) = await reads.store.read(lambda tx: tx.audit_records(NODE, 1, 10))
    assert (record.account, record.role, record.svm, record.state) == ("reader", "key-reader", "svm1", "success")
    assert record.timestamp == reads.clock.now()
    assert record.read_id
    assert record.message == f"retrieval of key one, read {record.read_id}"
    assert not reads.spooled


async def test_reads_that_come_together_are_few_commits(reads: Reads) -> None:
    """The first read is committed alone; reads that come meanwhile share the next commit, in order."""
    commits: list[object] = []
    names = [str(number) for number in range(100)]
    found = [await reads.key(name) for name in names]
    event.listen(reads.store.database.writer, "commit", commits.append)
    assert all(await asyncio.gather(*(reads.audit.keep(CALL, key) for key in found)))
    assert await reads.recorded() == names
    assert len(commits) <= 2


async def test_reads_of_one_key_by_one_account_from_one_address_are_one_record(reads: Reads) -> None:
    """If one commit has them: the record has their number and every read id. A record has a limited number of them."""
    one, two = await reads.key("one"), await reads.key("two")
    elsewhere = replace(CALL, caller=replace(CALL.caller, location="192.0.2.99"))
    other = replace(CALL, caller=replace(CALL.caller, account="other"))
    calls = [(CALL, one)] * 120 + [(CALL, two), (elsewhere, one), (other, one)]
    assert all(await asyncio.gather(*(reads.audit.keep(call, key) for call, key in calls)))
    assert await reads.recorded() == ["one", "one", "one", "two", "one", "one"]
    records = await reads.store.read(lambda tx: tx.audit_records(NODE, 1, 10))
    assert [len(_READ_ID.findall(record.message)) for record in records] == [50, 50, 20, 1, 1, 1]
    assert f", 20 reads: {records[2].read_id} " in records[2].message
    assert len({id_ for record in records for id_ in _READ_ID.findall(record.message)}) == len(calls)
    assert max(len(record.message) for record in records) < 1024


async def test_reads_that_share_a_record_share_its_fate(reads: Reads) -> None:
    """None of a changed key is answered. In the spool they are one record too, which is merged once."""
    one = await reads.key("one")
    await reads.store.write(lambda tx: tx.change_key(replace(one, version=2), KeyState.COMMITTED))
    new = replace(one, version=2)
    assert await asyncio.gather(*(reads.audit.keep(CALL, key) for key in (one, new, one, new))) == [False, True] * 2
    reads.lose_database()
    assert all(await asyncio.gather(*(reads.audit.keep(CALL, new) for _ in range(3))))
    reads.find_database()
    assert await reads.merged() == ["one", "one"]
    records = await reads.store.read(lambda tx: tx.audit_records(NODE, 1, 10))
    assert [len(_READ_ID.findall(record.message)) for record in records] == [2, 3]


async def test_a_read_of_a_key_that_has_changed_is_not_recorded(reads: Reads) -> None:
    """A read of a changed or deleted key is not recorded; other reads of the same commit are."""
    one, two = await reads.key("one"), await reads.key("two")
    gone = replace(one, key_id="gone")
    await reads.store.write(lambda tx: tx.change_key(replace(one, version=2), KeyState.COMMITTED))
    said = await asyncio.gather(*(reads.audit.keep(CALL, key) for key in (one, two, gone)))
    assert said == [False, True, False]
    assert not await reads.audit.keep(CALL, one)
    assert await reads.recorded() == ["two"]
    assert await reads.audit.keep(CALL, replace(one, version=2))


async def test_a_read_whose_caller_went_away_is_recorded_all_the_same(reads: Reads) -> None:
    """A read is recorded although its caller has gone, because it may have been answered."""
    asyncio.ensure_future(reads.audit.keep(CALL, await reads.key("one"))).cancel()
    await reads.read("two")
    assert await reads.recorded() == ["one", "two"]


async def test_while_the_database_is_away_reads_are_spooled_and_then_merged_once(reads: Reads) -> None:
    """Spooled reads are merged once, in order and with their own times."""
    await reads.read("before")
    reads.lose_database()
    then = reads.clock.now()
    with structlog.testing.capture_logs() as logs:
        await reads.read("one", "two")
        await reads.read("three")
    assert [entry["event"] for entry in logs] == ["reads are recorded in the spool"]
    assert reads.spooled
    reads.find_database()
    assert await reads.merged() == ["before", "one", "two", "three"]
    await reads.read("after")
    assert await reads.recorded() == ["before", "one", "two", "three", "after"]
    records = await reads.store.read(lambda tx: tx.audit_records(NODE, 2, 1))
    assert records[0].timestamp == then


@pytest.mark.parametrize("happened", [True, False], ids=["happened", "did not happen"])
async def test_a_commit_of_which_nobody_knows_is_in_the_chain_once(reads: Reads, happened: bool) -> None:
    """After an unanswered commit the read is spooled, and merged only if the chain lacks it."""

    def breaks(connection: Any) -> None:
        raw = connection.connection.dbapi_connection
        if happened:
            raw.execute("COMMIT")
        else:
            raw.execute("ROLLBACK")
        raise DBAPIError("COMMIT", None, Exception("cut"), connection_invalidated=True)

    await reads.key("one")
    event.listen(reads.store.database.writer, "commit", breaks)
    await reads.read("one")
    assert reads.spooled
    event.remove(reads.store.database.writer, "commit", breaks)
    await reads.read("two")
    reads.clock.advance(1)
    assert sorted(await reads.merged()) == ["one", "two"]


@pytest.mark.parametrize("limits", [replace(QUICK, together=2)], ids=["two together"])
async def test_a_merge_that_breaks_off_is_begun_again(reads: Reads) -> None:
    """A merge that begins again does not append the records of the pieces that were merged before."""
    reads.lose_database()
    await reads.read(*"abcde")
    commits: list[object] = []

    def fails(connection: Any) -> None:
        commits.append(connection)
        if len(commits) == 2:
            raise DBAPIError("COMMIT", None, Exception("refused"))

    event.listen(reads.store.database.writer, "commit", fails)
    reads.execute("ALTER TABLE lost RENAME TO audit_heads")
    commits.clear()
    reads.clock.advance(1)
    async with asyncio.timeout(60):
        while reads.spooled:
            reads.clock.advance(1)
            await asyncio.sleep(0.01)
    assert await reads.recorded() == list("abcde")
    assert len(commits) == 5


@pytest.mark.parametrize("changed", ["NULL", "'0123456789abcdef'", "''"])
async def test_a_read_id_that_was_changed_breaks_the_chain(reads: Reads, changed: str) -> None:
    """A changed read id, also of a read that was spooled, is reported with its record and what differs."""
    await reads.read("one")
    reads.lose_database()
    await reads.read("two")
    reads.find_database()
    assert await reads.merged() == ["one", "two"]
    reads.execute(f'UPDATE audit_records SET read_id = {changed} WHERE "index" = 3')  # noqa: S608 - constants
    (report,) = await verify(reads.store, KEYRING.mac)
    assert str(report) == "node node-1: BROKEN: record 3 was altered: its read_id is not the one in its message"
    reads.execute("UPDATE audit_records SET read_id = '1' WHERE \"index\" = 1")
    (report,) = await verify(reads.store, KEYRING.mac)
    assert report.broken_at == 1


@pytest.mark.parametrize("changed", ["'2020' || substr(key, 5)", "key || '0'", "''"])
async def test_a_sort_key_that_was_changed_breaks_the_chain(reads: Reads, changed: str) -> None:
    """Lists are in its order, and the MAC does not cover it: the record is named, and nothing before it."""
    await reads.read("one")
    await reads.read("two")
    reads.execute(f'UPDATE audit_records SET key = {changed} WHERE "index" = 2')  # noqa: S608 - constants
    (report,) = await verify(reads.store, KEYRING.mac)
    assert report.broken_at == 2
    assert str(report).endswith("record 2 was altered: its sort key is not that of its time and place")


async def test_an_error_that_quotes_a_read_is_no_read(reads: Reads) -> None:
    """A record of an error whose message quotes a read leaves the chain intact."""
    record = reads.log.success(CALL, audit.read_message("one", "0123456789abcdef"))
    await reads.store.write(lambda tx: reads.log.append(tx, replace(record, state="error")))
    (report,) = await verify(reads.store, KEYRING.mac)
    assert report.intact


async def test_what_a_process_left_is_merged_by_the_next(reads: Reads) -> None:
    """The spool of an earlier process is merged without a further read."""
    reads.lose_database()
    await reads.read("one")
    await reads.audit.close()
    assert reads.spooled
    reads.find_database()
    after = Reads(reads.store, reads.folder)
    after.audit.start()
    assert await after.merged() == ["one"]
    await after.audit.close()


async def test_a_spool_that_cannot_be_looked_at_keeps_nobody_from_reading(store: SqlStore, tmp_path: Path) -> None:
    """A spool that cannot be opened is logged, and the node starts and records reads all the same."""
    await store.write(samples.fill)
    await store.write(lambda tx: begin(tx, KEYRING, HandClock(), NODE))
    (tmp_path / "reads.spool").symlink_to("reads.spool")
    reads = Reads(store, tmp_path)
    with structlog.testing.capture_logs() as logs:
        reads.audit.start()
        await reads.read("one")
        async with asyncio.timeout(60):
            while not logs:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.01)
    assert logs[0]["event"] == "the spool of reads cannot be merged"
    assert await reads.recorded() == ["one"]
    await reads.audit.close()


@pytest.mark.parametrize("limits", [replace(QUICK, patience_s=0.05)], ids=["impatient"])
async def test_a_slow_database_is_not_waited_for(reads: Reads) -> None:
    """While the database is slow, records also go to the spool, and are in the chain once."""
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(_: object) -> None:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(10)

    await reads.key("one")
    holders = [asyncio.create_task(reads.store.write(hold)) for _ in range(reads.store.database.writers)]
    await asyncio.sleep(0)
    await reads.read("one")
    assert reads.spooled
    release.set()
    await asyncio.gather(*holders)
    reads.clock.advance(1)
    assert await reads.merged() == ["one"]


async def test_a_node_that_may_not_read_offline_answers_no_read(store: SqlStore, tmp_path: Path) -> None:
    """Nothing is spooled, and the database is asked again at once."""
    await store.write(samples.fill)
    await store.write(lambda tx: begin(tx, KEYRING, HandClock(), NODE))
    reads = Reads(store, tmp_path, offline_s=0)
    reads.audit.start()
    reads.lose_database()
    with pytest.raises(StorageError, match="without the database"):
        await reads.read("one")
    assert not reads.spooled
    reads.execute("ALTER TABLE lost RENAME TO audit_heads")
    await reads.read("two")
    assert await reads.recorded() == ["two"]
    await reads.audit.close()


async def test_without_database_and_spool_no_read_is_answered(reads: Reads, tmp_path: Path) -> None:
    """If database and spool fail, as on a full disk, the read is refused."""
    (tmp_path / "reads.spool").mkdir()
    reads.lose_database()
    with pytest.raises(StoreError, match="neither the database nor the spool"):
        await reads.read("one")
    (tmp_path / "reads.spool").rmdir()
    await reads.read("two")
    reads.find_database()
    assert await reads.merged() == ["two"]


async def test_an_unexpected_fault_answers_no_read_either(reads: Reads) -> None:
    """After an unexpected error the read is refused, and the next read is recorded."""
    reads.lose_database()
    reads.spool.fault = TypeError("unforeseen")
    with structlog.testing.capture_logs() as logs, pytest.raises(StoreError, match="cannot be written"):
        await reads.read("one")
    assert logs[-1] == {"event": "reads not recorded", "why": "TypeError", "log_level": "error"}
    reads.find_database()
    await reads.read("two")
    assert await reads.recorded() == ["two"]


async def test_torn_lines_are_told_of(reads: Reads, tmp_path: Path) -> None:
    """Torn lines of the spool are logged, and the other lines are merged."""
    reads.lose_database()
    await reads.read("one")
    with (tmp_path / "reads.spool").open("ab") as file:
        file.write(b'\n{"id": "torn"')
    with structlog.testing.capture_logs() as logs:
        reads.find_database()
        assert await reads.merged() == ["one"]
    assert {"event": "read spool: lines skipped, torn or without a valid MAC", "lines": 1, "log_level": "error"} in logs


async def test_a_spool_that_cannot_be_read_waits(reads: Reads, tmp_path: Path) -> None:
    """A spool that cannot be read is logged and tried again."""
    reads.lose_database()
    await reads.read("one")
    spool = tmp_path / "reads.spool"
    spool.rename(tmp_path / "aside")
    spool.mkdir()
    with structlog.testing.capture_logs() as logs:
        reads.find_database()
        async with asyncio.timeout(60):
            while not logs:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.01)
    assert logs[0]["event"] == "the spool of reads cannot be merged"
    spool.rmdir()
    (tmp_path / "aside").rename(spool)
    reads.clock.advance(1)
    assert await reads.merged() == ["one"]


async def test_a_merge_that_breaks_holds_up_no_read(reads: Reads) -> None:
    """An unexpected error of a merge is logged, reads go on, and the merge begins again."""
    reads.lose_database()
    await reads.read("one")
    reads.spool.fault = TypeError("unforeseen")
    with structlog.testing.capture_logs() as logs:
        reads.find_database()
        async with asyncio.timeout(60):
            while not logs:  # noqa: ASYNC110 - a list
                await asyncio.sleep(0.01)
            await reads.read("two")
    assert logs[0] == {"event": "the spool of reads cannot be merged", "why": "TypeError", "log_level": "error"}
    assert await reads.recorded() == ["two"]
    reads.spool.fault = None
    reads.clock.advance(1)
    assert await reads.merged() == ["two", "one"]


async def test_a_spool_that_somebody_deleted_is_forgotten(reads: Reads, tmp_path: Path) -> None:
    """Reads continue after the spool was deleted."""
    reads.lose_database()
    await reads.read("one")
    (tmp_path / "reads.spool").unlink()
    reads.find_database()
    await asyncio.sleep(0.1)
    await reads.read("two")
    assert await reads.recorded() == ["two"]


async def test_no_read_is_recorded_after_the_end(reads: Reads) -> None:
    """A closed recorder raises StoreError, so that the read is not answered."""
    await reads.audit.close()
    with pytest.raises(StoreError, match="any more"):
        await reads.read("one")


async def test_a_failure_that_nobody_waits_for_is_no_fault(store: SqlStore, tmp_path: Path) -> None:
    """A record that fails after its read has failed is not logged by asyncio as an unhandled exception."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    await store.write(samples.fill)
    reads = Reads(store, tmp_path, offline_s=0)
    reads.audit.start()
    reads.lose_database()
    reads.audit.keep(CALL, await reads.key("one"))
    await reads.audit.close()
    reads.find_database()
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []


FIRST = ("km.keyreader.firstread", "reader", None)
AFTER_FIRST = replace(CALL, caller=replace(CALL.caller, has_read_keys=True))


async def add_readers(store: SqlStore) -> None:
    """Store the account of these calls, and one of an SVM."""
    await store.write(
        lambda tx: (
            tx.put_cluster(Cluster("c", "keystead")),
            tx.put_account(Account("reader", Role.KEY_READER, "hash")),
            tx.put_account(Account("svm-reader", Role.KEY_READER, "hash", svm=samples.SVM)),
        )
    )


async def test_the_first_read_of_an_account_is_announced_once(reads: Reads) -> None:
    """With the record, for each account: whatever node reads next, together or alone, and not again after a lock."""
    await add_readers(reads.store)
    of_svm = replace(CALL, caller=Caller("svm-reader", Role.KEY_READER, "192.0.2.3", samples.SVM))
    key = await reads.key("one")
    assert all(await asyncio.gather(*(reads.audit.keep(call, key) for call in (CALL, CALL, of_svm, CALL))))
    assert sorted(await reads.announced(), key=str) == sorted([FIRST, (FIRST[0], "svm-reader", samples.SVM)], key=str)
    account = await reads.store.read(lambda tx: tx.account("reader"))
    assert account == Account("reader", Role.KEY_READER, "hash", has_read_keys=True)
    await reads.store.write(lambda tx: tx.put_account(replace(account, locked=True, has_read_keys=False)))
    await reads.read("two")
    assert len(await reads.announced()) == 2
    await reads.store.write(lambda tx: tx.delete_account("reader"))
    await add_readers(reads.store)
    await reads.read("three")
    assert len(await reads.announced()) == 3


async def test_a_read_after_the_first_looks_at_no_account(reads: Reads) -> None:
    """Its transaction has no statement about accounts or events."""
    await add_readers(reads.store)
    key = await reads.key("one")
    statements: list[str] = []

    def executed(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(reads.store.database.writer, "before_cursor_execute", executed)
    assert await reads.audit.keep(AFTER_FIRST, key)
    assert not [each for each in statements if "accounts" in each or "events" in each]
    assert statements
    assert await reads.audit.keep(CALL, key)
    assert [each for each in statements if "accounts" in each]


async def test_a_first_read_that_was_spooled_is_announced_by_the_merge(reads: Reads) -> None:
    """Once, although its record may have been stored."""
    await add_readers(reads.store)
    reads.lose_database()
    await reads.read("one", "two")
    assert await reads.announced() == []
    reads.find_database()
    assert await reads.merged() == ["one", "two"]
    await reads.read("three")
    assert await reads.announced() == [FIRST]


async def test_a_first_read_of_a_key_that_has_changed_is_none(reads: Reads) -> None:
    """It is neither recorded nor announced, and the next one is the first."""
    await add_readers(reads.store)
    key = await reads.key("one")
    assert not await reads.audit.keep(CALL, replace(key, version=9))
    assert await reads.announced() == []
    assert await reads.audit.keep(CALL, key)
    assert await reads.announced() == [FIRST]


async def test_no_read_of_what_another_node_withdrew_is_spooled(reads: Reads) -> None:
    """Neither of its key nor by its account, also if that comes while the disk writes. With the database they are."""
    keys = [await reads.key(name) for name in ("one", "two")]
    reads.offline.withdraw([Withdrawn(Thing.KEY, "one")])
    await reads.read("one", "two")
    reads.lose_database()
    one, two = await asyncio.gather(*(reads.audit.keep(CALL, key) for key in keys), return_exceptions=True)
    assert (type(one), two) == (StorageError, True)
    append = reads.spool.append

    def slow(records: Sequence[AuditRecord]) -> None:
        append(records)
        reads.offline.withdraw([Withdrawn(Thing.ACCOUNT, CALL.caller.account)])

    reads.spool.append = slow  # type: ignore[method-assign]
    for _ in range(2):
        with pytest.raises(StorageError):
            await reads.audit.keep(CALL, keys[1])
    reads.spool.append = append  # type: ignore[method-assign]
    reads.find_database()
    assert await reads.merged() == ["one", "two", "two", "two"], "the third was on disk when the withdrawal came"

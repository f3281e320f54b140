"""The removal of old audit records: only what is saved, never silently, whoever interferes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlalchemy import event, text

from keystead.core.audit_retention import AuditSave, Retention, Way, signed
from keystead.core.forwarding.destinations import Destination, Log, Progress, Protocol
from keystead.core.model import AuditRecord, Role
from keystead.service.audit.log import AuditLog, begin
from keystead.service.audit.saving import note_saved
from keystead.service.audit.verifying import verify
from keystead.service.cluster.audit_retention import Retainer, Waiting, waiting
from keystead.service.cluster.leases import Leases
from keystead.service.context import Call, Caller
from keystead.service.ports.page import Page
from tests.service.worlds.basics import KEYRING, HandClock

if TYPE_CHECKING:
    from keystead.service.audit.verifying import ChainReport
    from keystead.store import SqlStore

NODE, OTHER = "node-1", "node-2"
CALL = Call(Caller("admin", Role.ADMIN, "192.0.2.1"), "POST", "/api/svm/svms")
TWENTY = 20
PUT_BACK = (
    "INSERT INTO audit_records SELECT node, 1, timestamp, account, location, svm, method, path, input, state, code,"
    " message, mac, role, svm_uuid, 'x', read_id FROM audit_records LIMIT 1"
)


class Killed(BaseException):
    """The end of a process in the middle of a statement."""


class Chains:
    """Two nodes' chains, and what removes their old records: those that are more than ten, five at a time."""

    def __init__(self, store: SqlStore, retention: Retention) -> None:
        self.store = store
        self.clock = HandClock()
        self.retention = retention
        self.retainer = self.another(NODE)

    def another(self, node: str) -> Retainer:
        """Return the retainer of a node."""
        leases = Leases(self.store, self.clock, node, rests=True)
        return Retainer(self.store, leases, KEYRING.mac, self.clock, self.retention, together=5)

    async def grow(self, node: str, count: int) -> None:
        """Add records, one transaction each."""
        log = AuditLog(self.store, KEYRING, self.clock, node)
        await self.store.write(lambda tx: begin(tx, KEYRING, self.clock, node))
        for _ in range(count):
            await self.store.write(lambda tx: log.succeed(tx, CALL, "made"))

    async def save(self, way: Way = Way.EXPORT) -> None:
        """Note that everything so far is saved."""
        ends = await self.store.read(lambda tx: tx.audit_ends())
        reached = [(end.node, end.index, end.mac) for end in ends]
        await note_saved(self.store, KEYRING.mac, self.clock, way, reached)

    async def indexes(self, node: str = NODE) -> list[int]:
        """Return the indexes of a node's records."""
        return [each.index for each in await self.store.read(lambda tx: tx.audit_records(node, 0, 10_000))]

    async def verify(self) -> list[ChainReport]:
        """Verify all chains, three records at a time."""
        return [*await verify(self.store, KEYRING.mac, page=3)]

    def damage(self, statement: str) -> None:
        """Change the database behind its back."""
        with self.store.database.writer.begin() as connection:
            connection.execute(text(statement))


@pytest.fixture
def chains(store: SqlStore) -> Chains:
    """Return chains of which ten records are kept."""
    return Chains(store, Retention(records=10))


async def test_what_is_too_much_goes_and_the_chain_says_so(chains: Chains) -> None:
    """In several transactions; the last one removes what is left over. A second round finds nothing to do."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    await chains.retainer.round()
    held = await chains.indexes()
    assert len(held) == 10
    assert held == [*range(held[0], held[0] + 10)]
    await chains.retainer.round()
    assert await chains.indexes() == held
    (report,) = await chains.verify()
    assert report.intact
    assert str(report).endswith(f"; records 1 to {held[0] - 1} were removed on 2026-03-01 12:00 UTC after export")
    newest = (await chains.store.read(lambda tx: tx.audit_records(NODE, held[-2], 1)))[0]
    assert newest.message.startswith(f"removed audit records 1 to {held[0] - 1}, the last with MAC ")
    assert newest.message.endswith(" because of audit_keep_records, after export")


async def test_what_is_too_old_goes(store: SqlStore) -> None:
    """By age, from both chains; a quiet chain keeps the record of its cut and gets no further ones."""
    chains = Chains(store, Retention(days=30))
    for node, count in ((NODE, 7), (OTHER, 2)):
        await chains.grow(node, count)
    await chains.save(Way.BACKUP)
    await chains.retainer.round()
    assert len(await chains.indexes()) == 8
    chains.clock.advance(timedelta(days=31).total_seconds())
    await chains.retainer.round()
    assert (await chains.indexes(), await chains.indexes(OTHER)) == ([9, 10], [4])
    for _ in range(2):
        chains.clock.advance(timedelta(days=31).total_seconds())
        await chains.save()
        await chains.retainer.round()
    assert (await chains.indexes(), await chains.indexes(OTHER)) == ([9, 10], [4])
    assert [report.intact for report in await chains.verify()] == [True, True]


async def test_for_ever_is_the_default(store: SqlStore) -> None:
    """Then nothing runs."""
    chains = Chains(store, Retention())
    await chains.grow(NODE, TWENTY)
    await chains.save()
    chains.retainer.start()
    await chains.retainer.close()
    await chains.retainer.round()
    assert len(await chains.indexes()) == TWENTY + 1
    assert await store.read(lambda tx: waiting(tx, chains.retention, chains.clock.now())) == Waiting(False, False)


async def test_what_nothing_has_stays(chains: Chains) -> None:
    """Records go up to the last backup or export, and the list of what needs somebody says what waits."""

    async def waits() -> Waiting:
        return await chains.store.read(lambda tx: waiting(tx, chains.retention, chains.clock.now()))

    await chains.grow(NODE, 11)
    await chains.retainer.round()
    assert (len(await chains.indexes()), await waits()) == (12, Waiting(unsaved=True, overdue=False))
    await chains.save()
    assert await waits() == Waiting(unsaved=False, overdue=False)
    await chains.grow(NODE, TWENTY)
    await chains.retainer.round()
    assert (await chains.indexes())[0] == 13
    assert await waits() == Waiting(unsaved=True, overdue=False)


async def test_old_records_that_do_not_go_are_overdue(store: SqlStore) -> None:
    """Whatever the reason: here, that no node removes them."""
    chains = Chains(store, Retention(days=30))
    await chains.grow(NODE, 2)
    await chains.save()
    for days, expected in ((31, False), (2, True)):
        chains.clock.advance(timedelta(days=days).total_seconds())
        assert await store.read(lambda tx: waiting(tx, chains.retention, chains.clock.now())) == Waiting(
            unsaved=False, overdue=expected
        )
    await chains.retainer.round()
    assert await store.read(lambda tx: waiting(tx, chains.retention, chains.clock.now())) == Waiting(False, False)


@pytest.mark.parametrize("forged", ["the MAC", "the record"])
async def test_a_forged_note_removes_nothing(chains: Chains, forged: str) -> None:
    """Neither one without our MAC, nor one of another chain: that of the database before a restore."""
    await chains.grow(NODE, TWENTY)
    (end,) = await chains.store.read(lambda tx: tx.audit_ends())
    note = signed(AuditSave(NODE, Way.EXPORT, end.index, b"other", chains.clock.now()), KEYRING.mac)
    if forged == "the MAC":
        note = replace(note, mac=end.mac)
    await chains.store.write(lambda tx: tx.put_audit_save(note))
    await chains.retainer.round()
    assert len(await chains.indexes()) == TWENTY + 1


async def test_what_a_destination_lacks_stays(chains: Chains) -> None:
    """Until it has the records, or too many wait for it."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    away = Destination(Log.AUDIT, "a:514", Protocol.TCP, "a", 514, progress=Progress({NODE: 4}))
    await chains.store.write(lambda tx: tx.put_destination(away))
    await chains.retainer.round()
    assert (await chains.indexes())[0] == 5


async def test_few_records_wait_for_the_next_day(chains: Chains) -> None:
    """So that the records of cuts do not crowd out the others."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    await chains.retainer.round()
    held = await chains.indexes()
    await chains.grow(NODE, 2)
    await chains.save()
    await chains.retainer.round()
    assert (await chains.indexes())[0] == held[0]
    chains.clock.advance(timedelta(days=1).total_seconds())
    await chains.retainer.round()
    assert len(await chains.indexes()) == 10


async def test_two_nodes_at_once(chains: Chains) -> None:
    """One of them makes the cuts, and calls go on being recorded in both chains."""
    for node in (NODE, OTHER):
        await chains.grow(node, TWENTY)
    await chains.save()
    retainers = [chains.retainer, chains.another(OTHER)]
    await asyncio.gather(*(each.round() for each in retainers), chains.grow(NODE, 3), chains.grow(OTHER, 3))
    reports = await chains.verify()
    assert [report.intact for report in reports] == [True, True]
    assert all(report.cut for report in reports)


async def test_killed_in_the_middle(chains: Chains) -> None:
    """A cut is there as a whole or not at all. The next round goes on."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    statements: list[str] = []

    def fail(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)
        if statement.startswith("INSERT INTO audit_records") and "audit_cuts" in "".join(statements[-8:]):
            raise Killed

    engine = chains.store.database.writer
    event.listen(engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(Killed):
            await chains.retainer.round()
    finally:
        event.remove(engine, "before_cursor_execute", fail)
    assert await chains.indexes() == [*range(1, TWENTY + 2)]
    assert (await chains.verify())[0].cut is None
    chains.clock.advance(120)  # the lease of the one that died
    await chains.retainer.round()
    assert len(await chains.indexes()) == 10
    assert [report.intact for report in await chains.verify()] == [True]


async def test_a_broken_chain_is_not_cut(chains: Chains) -> None:
    """So that the trace of tampering stays. The log says it; the other chain is cut."""
    for node in (NODE, OTHER):
        await chains.grow(node, TWENTY)
    await chains.save()
    chains.damage("UPDATE audit_records SET account = 'x' WHERE node = 'node-1' AND \"index\" = 3")
    with structlog.testing.capture_logs() as logs:
        await chains.retainer.round()
    assert [line["node"] for line in logs] == [NODE]
    assert (len(await chains.indexes()), len(await chains.indexes(OTHER))) == (TWENTY + 1, 10)


@pytest.mark.parametrize(
    "damage",
    [
        'DELETE FROM audit_records WHERE "index" = (SELECT min("index") FROM audit_records)',
        "DELETE FROM audit_cuts",
        'UPDATE audit_cuts SET "index" = "index" - 1',
        'UPDATE audit_cuts SET "index" = "index" + 1',
        "UPDATE audit_cuts SET rule = 'audit_keep_days'",
        "UPDATE audit_cuts SET saved = 'backup'",
        "UPDATE audit_cuts SET time = '2026-02-01 12:00:00.000000+00:00'",
        "DELETE FROM audit_records WHERE message LIKE 'removed audit%'",
        "UPDATE audit_records SET message = 'made' WHERE message LIKE 'removed audit%'",
        PUT_BACK,
    ],
    ids=[
        "one more", "row gone", "row back", "row on", "other rule", "other way", "other time", "record of the cut gone",
        "its text", "put back",
    ],
)  # fmt: skip
async def test_what_was_done_to_a_cut_is_reported(chains: Chains, damage: str) -> None:
    """The row, the record of the cut and the records must agree."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    await chains.retainer.round()
    chains.damage(damage)
    assert [report.intact for report in await chains.verify()] == [False]


async def test_a_cut_that_somebody_moved_on_with_its_row_is_reported(chains: Chains) -> None:
    """The row has the right MAC, and the records up to there are gone: but no record tells of it."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    await chains.retainer.round()
    chains.damage(
        'UPDATE audit_cuts SET "index" = "index" + 1,'
        ' mac = (SELECT mac FROM audit_records WHERE "index" = audit_cuts."index" + 1)'
    )
    chains.damage('DELETE FROM audit_records WHERE "index" = (SELECT "index" FROM audit_cuts)')
    (report,) = await chains.verify()
    assert "without the record that tells of it" in report.reason


async def test_a_cut_during_a_verification(chains: Chains) -> None:
    """The verification goes on after the records that were removed."""
    await chains.grow(NODE, TWENTY)
    await chains.save()
    read, reads = chains.store.read, 0

    async def cutting(work: Any) -> Any:
        nonlocal reads
        reads += 1
        if reads == 3:
            chains.store.read = read  # type: ignore[method-assign]
            await chains.retainer.round()
        return await read(work)

    chains.store.read = cutting  # type: ignore[method-assign]
    (report,) = await chains.verify()
    assert report.intact
    assert report.cut is not None


async def test_pages_go_on_after_a_cut(chains: Chains) -> None:
    """The list by time has what is left, also from a place that is gone."""
    await chains.grow(NODE, TWENTY)
    everything = await chains.store.read(lambda tx: tx.page(AuditRecord, Page(limit=100)))
    ((_, place),) = await chains.store.read(lambda tx: tx.placed_audit_records(NODE, 2, 1))
    await chains.save()
    await chains.retainer.round()
    held = await chains.indexes()
    rest = await chains.store.read(lambda tx: tx.page(AuditRecord, Page(after=(place,), limit=100)))
    assert [each.index for each in rest] == held
    assert len(everything) == TWENTY + 1


async def test_a_cut_and_then_an_older_database(chains: Chains, store: SqlStore) -> None:
    """A backup from before the cut has all records and no cut: it is intact, and can be cut again."""
    await chains.grow(NODE, TWENTY)
    await chains.save(Way.BACKUP)
    older = await store.read(lambda tx: (tx.audit_records(NODE, 0, 100), tx.audit_head(NODE), tx.audit_saves(NODE)))
    await chains.retainer.round()
    for table in ("audit_records", "audit_heads", "audit_cuts", "audit_saves"):
        chains.damage(f"DELETE FROM {table}")  # noqa: S608 - names of this test
    records, head, saves = older
    assert head is not None
    await store.write(lambda tx: tx.add_audit_records(records, head))
    for save in saves:
        await store.write(lambda tx, save=save: tx.put_audit_save(save))  # type: ignore[misc]
    (report,) = await chains.verify()
    assert (report.intact, report.cut) == (True, None)
    await chains.grow(NODE, 3)
    await chains.retainer.round()
    assert len(await chains.indexes()) == 10
    assert [each.intact for each in await chains.verify()] == [True]

"""The audit log: its lists with a million records against a thousand, and what a verification costs for each record."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import sqlite3
import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import text

from bench.row import Row
from keystead.core import audit
from keystead.core.model import AuditRecord
from keystead.core.query.where import Condition, Op, Order
from keystead.core.secret import Secret
from keystead.sealing import Keyring
from keystead.service.audit.log import INITIALISED, own_record
from keystead.service.audit.messages import by_place
from keystead.service.audit.verifying import verify
from keystead.service.ports.page import Page
from keystead.store import open_store
from keystead.store.opening import open_database
from keystead.store.upgrade import upgrade
from tests.peers.postgres import postgres_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.store import SqlStore

FEW, MANY, VERIFIED = 1_000, 1_000_000, 50_000
STEP = 50_000  # rows written at a time
ROUNDS = 40
SHOWN = 51
START = datetime(2026, 1, 1, tzinfo=UTC)
NEWEST = (Order("timestamp", descending=True),)
_MIDDLE = START + timedelta(microseconds=500)
LISTS: Final = {
    "newest": Page(order=NEWEST, limit=SHOWN),
    "errors": Page(order=NEWEST, limit=SHOWN).within(state="error"),
    "of an account": Page(order=NEWEST, limit=SHOWN).within(account="user7"),
    "by time": Page(((Condition("timestamp", Op.AT_MOST, _MIDDLE),),), NEWEST, limit=SHOWN),
}
"""The lists that are measured. The slowest of them counts."""

_FILL: Final = """
INSERT INTO audit_records (node, "index", timestamp, account, location, svm, method, path, input, state, code, message,
  mac, role, svm_uuid, key, read_id)
WITH RECURSIVE numbers (i) AS (SELECT {first} UNION ALL SELECT i + 1 FROM numbers WHERE i < {last}),
  named (i, place) AS (SELECT i, substr(cast(1000000 + i - 1 AS TEXT), 2) FROM numbers)
SELECT 'node', i, {time}, 'user' || (i % 20), '192.0.2.1', 'vs1', 'POST', '/api/security/key-managers', '',
  CASE WHEN i % 10 = 0 THEN 'error' ELSE 'success' END, '', 'made', {mac}, 'admin', '',
  '2026-01-01T00:00:00.' || place || ' node ' || place, NULL FROM named
"""
_DIALECTS: Final = {
    "sqlite": {"time": "'2026-01-01 00:00:00.' || place", "mac": "X'00'"},
    "postgresql": {"time": "CAST('2026-01-01 00:00:00.' || place || '+00' AS timestamptz)", "mac": "'\\x00'::bytea"},
}


def lists_of_many(engine: str) -> Row:
    """Time of the slowest list of the newest 51 of 1,000,000 audit records, as a multiple of the same of 1,000."""
    with _filled(engine, FEW) as few, _filled(engine, MANY) as many, asyncio.Runner() as runner:
        small, large = runner.run(_alternating(few, many))
    slowest = max(LISTS, key=lambda name: large[name] / small[name])
    against = f"51 of {FEW:,}, {slowest} ({small[slowest] * 1000:.1f} ms)"
    return Row(large[slowest] / small[slowest], "x", 1.5, "lower", against)


def verification() -> Row:
    """CPU of a verification of audit records, as a multiple of reading the rows and computing their MACs."""
    keyring, _ = Keyring.create(Secret(bytes(32)))
    with tempfile.TemporaryDirectory() as name, asyncio.Runner() as runner:
        file = Path(name) / "audit.db"
        upgrade(file)
        runner.run(_written(file, keyring))
        floor = _floor(file)
        began = time.process_time()
        runner.run(_verified(file, keyring))
        spent = time.process_time() - began
    against = f"rows and MACs alone; {spent / VERIFIED * 1e6:.1f} µs for each record"
    return Row(spent / floor, "x", None, "lower", against)


@contextlib.contextmanager
def _filled(engine: str, size: int) -> Iterator[SqlStore]:
    """Yield a store with so many records, which differ by a microsecond each."""
    with contextlib.ExitStack() as stack:
        if engine == "postgresql":
            url: str | Path = stack.enter_context(stack.enter_context(postgres_server(None)).empty_database())
        else:
            url = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "audit.db"
        upgrade(url)
        database = open_database(url)
        for first in range(1, size, STEP):  # one statement for all would take longer than a statement may
            with database.writer.begin() as connection:
                last = min(first + STEP - 1, size)
                connection.execute(text(_FILL.format(first=first, last=last, **_DIALECTS[engine])))
        if database.row_locks:  # PostgreSQL would do so by itself within a minute; SQLite has no statistics
            with database.writer.begin() as connection:
                connection.execute(text("ANALYZE"))
        database.dispose()
        yield open_store(url)


async def _alternating(few: SqlStore, many: SqlStore) -> tuple[dict[str, float], dict[str, float]]:
    """Return the median seconds of each list, taken in turns."""
    times: dict[tuple[SqlStore, str], list[float]] = {(store, name): [] for store in (few, many) for name in LISTS}
    for _ in range(ROUNDS):
        for (store, name), into in times.items():
            began = time.perf_counter()
            found = await store.read(lambda tx: tx.page(AuditRecord, by_place(LISTS[name])))  # noqa: B023 - called at once
            into.append(time.perf_counter() - began)
            assert len(found) > SHOWN // 2, (name, len(found))
    await few.close()
    await many.close()
    small, large = ({name: statistics.median(times[store, name]) for name in LISTS} for store in (few, many))
    return small, large


async def _written(file: Path, keyring: Keyring) -> None:
    """Write a chain as a busy node does."""
    store = open_store(file)
    records = [own_record("node", START, INITIALISED)]
    path = f"/api/security/key-managers/{'a' * 36}/volume-keys"
    for number in range(1, VERIFIED):
        message, read_id = audit.read_message("b" * 64, f"{number:016x}"), f"{number:016x}"
        texts = ("reader", "192.0.2.1", "vs1", "POST", path, "", "success", "", message, "key-reader", "c" * 36)
        records.append(AuditRecord("node", 0, START, *texts, read_id=read_id))
    chained, head = audit.append_all(records, None, keyring.mac)
    await store.write(lambda tx: tx.add_audit_records(chained, head))
    await store.close()


async def _verified(file: Path, keyring: Keyring) -> None:
    store = open_store(file)
    (report,) = await verify(store, keyring.mac)
    assert report.records == VERIFIED, report
    await store.close()


def _floor(file: Path) -> float:
    """Return the CPU seconds of reading all rows in pages, and of one MAC for each."""
    with contextlib.closing(sqlite3.connect(file)) as database:
        began, last = time.process_time(), 0
        page = 'SELECT * FROM audit_records WHERE node = ? AND "index" > ? ORDER BY "index" LIMIT 1000'
        while rows := database.execute(page, ("node", last)).fetchall():
            last = rows[-1][1]
            for _ in rows:
                hmac.digest(b"key", bytes(500), "sha256")
        return time.process_time() - began


ROWS = {
    "audit_lists_sqlite": partial(lists_of_many, "sqlite"),
    "audit_lists_postgresql": partial(lists_of_many, "postgresql"),
    "audit_verification_cpu": verification,
}

"""Lists of audit records by time: they are told by sort keys, which have an index, and are the same lists."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event

from keystead.core.audit import place
from keystead.core.model import AuditHead, AuditRecord
from keystead.core.query.where import Condition, Op, Order
from keystead.service.audit.messages import by_place
from keystead.service.ports.page import Page
from tests.store.samples import NOON

if TYPE_CHECKING:
    from keystead.store import SqlStore

TIMES = [NOON + timedelta(microseconds=step) for step in (0, 0, 1, 2, 2, 1_000_000)]
NEWEST = (Order("timestamp", descending=True),)
LATER, EARLIER = NOON + timedelta(microseconds=1), NOON + timedelta(microseconds=2)
BETWEEN = ((Condition("timestamp", Op.RANGE, (LATER, EARLIER)),),)


def record(index: int, node: str = "n1", state: str = "success", account: str = "admin") -> AuditRecord:
    """Return a record, several of which have the same time."""
    texts = (account, "::1", "", "POST", "/", "", state, "", "")
    return AuditRecord(node, index, TIMES[index - 1], *texts, mac=b"mac", svm_uuid="svm-1")


@pytest.fixture
async def records(store: SqlStore) -> list[AuditRecord]:
    """Return the records of two nodes, by time."""
    states = ("success", "error")
    made = [
        record(index, node, states[index % 2], f"user{index % 3}") for node in ("n1", "n2") for index in range(1, 7)
    ]
    for node in ("n1", "n2"):
        of_node = [each for each in made if each.node == node]
        await store.write(lambda tx: tx.add_audit_records(of_node, AuditHead(of_node[0].node, 6, b"", b"")))  # noqa: B023 - called at once
    return sorted(made, key=place)


@pytest.mark.parametrize(
    "conditions",
    [
        [(Op.AT_LEAST, LATER)],
        [(Op.MORE, LATER)],
        [(Op.AT_MOST, LATER)],
        [(Op.LESS, LATER)],
        [(Op.EQUAL, EARLIER)],
        [(Op.RANGE, (LATER, EARLIER))],
        [(Op.AT_LEAST, LATER), (Op.LESS, EARLIER)],
        [(Op.LESS, NOON)],
    ],
)
async def test_a_list_by_time_is_the_same(
    store: SqlStore, records: list[AuditRecord], conditions: list[tuple[Op, Any]]
) -> None:
    """Whatever the condition, also where times are equal; and if it is negated, or one of several."""
    plain = tuple((Condition("timestamp", op, operand),) for op, operand in conditions)
    negated = tuple((Condition("timestamp", op, operand, negated=True),) for op, operand in conditions)
    several = (tuple(Condition("timestamp", op, operand) for op, operand in conditions),)
    for where in (plain, negated, several):
        expected = await store.read(lambda tx: tx.page(AuditRecord, Page(where)))  # noqa: B023 - called at once
        assert await store.read(lambda tx: tx.page(AuditRecord, by_place(Page(where)))) == expected  # noqa: B023
    assert len(records) == 12


@pytest.mark.parametrize("descending", [True, False])
async def test_pages_by_time(store: SqlStore, records: list[AuditRecord], *, descending: bool) -> None:
    """Each begins after the last record of the one before, and none is left out or shown twice."""
    order, seen = (Order("timestamp", descending),), list[AuditRecord]()
    after: tuple[Any, ...] | None = None
    while True:
        page = by_place(Page(order=order, after=after, limit=5))
        found = await store.read(lambda tx: tx.page(AuditRecord, page))  # noqa: B023 - called at once
        if not found:
            break
        seen += found
        after = (found[-1].timestamp, place(found[-1]))
    assert seen == (records[::-1] if descending else records)


def test_other_orders_stay() -> None:
    """Only the order of time is that of the sort keys."""
    for order in ((), (Order("account"),), (Order("timestamp"), Order("account")), (Order("key", descending=True),)):
        assert by_place(Page(order=order)) == Page(order=order)


def where_of(**values: str) -> Page:
    """Return the newest records with these values."""
    return Page(order=NEWEST, limit=50).within(**values)


@pytest.mark.parametrize(
    ("page", "index"),
    [
        (where_of(), "uq_audit_records_key"),
        (where_of(state="error"), "ix_audit_records_errors"),
        (where_of(state="success"), "uq_audit_records_key"),
        (where_of(account="user1"), "ix_audit_records_account_key"),
        (where_of(account="user1", state="error"), "ix_audit_records_errors_of_account"),
        (where_of(svm_uuid="svm-1"), "ix_audit_records_svm_uuid_key"),
        (where_of(svm_uuid="svm-1", state="error"), "ix_audit_records_errors_of_svm"),
        (
            Page(((Condition("timestamp", Op.RANGE, (LATER, EARLIER)),),), NEWEST),
            "uq_audit_records_key (key>? AND key<?)",
        ),
    ],
)
async def test_a_list_follows_an_index(store: SqlStore, page: Page, index: str) -> None:
    """And nothing is sorted. PostgreSQL would look at statistics, so it is not asked here."""
    if store.database.row_locks:
        pytest.skip("the plan depends on statistics")
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        plans.append("; ".join(row[-1] for row in plan.fetchall()))

    event.listen(store.database.reader, "before_cursor_execute", explain)
    await store.read(lambda tx: tx.page(AuditRecord, by_place(page)))
    (plan,) = plans
    assert plan.endswith(index) or f"{index} (" in plan
    assert "TEMP" not in plan


async def test_a_state_is_no_statement(store: SqlStore, records: list[AuditRecord]) -> None:
    """It stands in the statement, quoted."""
    found = await store.read(lambda tx: tx.page(AuditRecord, where_of(state="x' OR '1%'='1%")))
    assert (found, len(records)) == ((), 12)

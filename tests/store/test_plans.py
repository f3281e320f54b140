"""The plans of the statements of frequent calls, in PostgreSQL, made without the values that a statement gets.

PostgreSQL plans a prepared statement so after some executions. Then an index that only fits certain values may be lost.
"""

from __future__ import annotations

import contextlib
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from keystead.core.keys.model import KeyState
from keystead.core.model import Account, Role
from keystead.core.sessions import Session
from keystead.store.opening import open_database
from keystead.store.repository import SqlTransaction
from tests.store import keys, samples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

    from keystead.service.ports.store import Transaction
    from tests.peers.postgres import PostgresServer

ROWS = 1000
MORE = {
    "svms": "'uuid', 'svm ' || n, 'name', 'svm ' || n",
    "key_managers": "'uuid', 'manager ' || n, 'owner', 'svm ' || n, 'svm_uuid', 'svm ' || n, 'enabled', 1",
    "keys": "'uuid', 'key ' || n, 'key_id', 'id ' || n, 'name', 'name ' || n",
    "key_attempts": "'key', 'key ' || n",
    "key_copies": "'key', 'key ' || n",
    "accounts": "'name', 'account ' || n",
    "sessions": "'digest', 'digest ' || n, 'account', 'account ' || n",
    "audit_records": "'index', n + 1, 'key', 'record ' || n, 'read_id', 'read ' || n",
}
"""What differs between the rows of a table, in the order of their foreign keys."""
KEY = keys.key(state=KeyState.COMMITTED)


def fill(tx: Transaction) -> None:
    """Store one row of each table."""
    samples.fill(tx)
    tx.put_account(Account("admin", Role.ADMIN, "hash"))
    tx.put_session(Session("digest", "admin", 1, "", "192.0.2.1", samples.NOON, samples.NOON, None))
    tx.add_key(KEY)
    tx.add_attempt(keys.attempt())
    tx.put_copies([keys.copy()], new=True)
    tx.add_audit_records([samples.audit_record(1, read_id="read")], samples.audit_head(1))


@pytest.fixture
def opened(postgres: PostgresServer) -> Iterator[tuple[Connection, Transaction]]:
    """A transaction and its connection, with many rows. Statements are prepared, and planned without their values."""
    with contextlib.ExitStack() as stack:
        database = open_database(stack.enter_context(postgres.database()))
        stack.callback(database.dispose)
        with database.writer.connect() as connection:
            tx = SqlTransaction(connection, database.classify, database.now, row_locks=True)
            fill(tx)
            for table, differs in MORE.items():
                connection.execute(
                    text(
                        f"INSERT INTO {table} SELECT (jsonb_populate_record(NULL::{table}, to_jsonb(one) ||"  # noqa: S608 - no value of anybody's
                        f" jsonb_build_object({differs}))).* FROM {table} AS one, generate_series(1, {ROWS}) AS n"
                        f" WHERE one.ctid = (SELECT min(ctid) FROM {table})"
                    )
                )
                connection.execute(text(f"ANALYZE {table}"))
            connection.execute(text("SET LOCAL plan_cache_mode = force_generic_plan"))
            connection.connection.driver_connection.prepare_threshold = 0  # type: ignore[union-attr]
            yield connection, tx
            connection.rollback()


CALLS: dict[str, Callable[[Transaction], object]] = {
    "log in": lambda tx: tx.account("account 7"),
    "open a page": lambda tx: tx.session("digest 7"),
    "find an SVM": lambda tx: (tx.svm("svm 7"), tx.svm_named("svm 7")),
    "find a key": lambda tx: (tx.key_by_id("km-1", "id 7", within="svm-1"), tx.key_named("km-1", "name 7")),
    "lock a key": lambda tx: tx.key("key 7", lock=True),
    "compare keys": lambda tx: tx.key_standings({"id 7", "id 8"}),
    "record a read": lambda tx: (
        tx.audit_head("node-1"),
        tx.recorded_reads("node-1", {"read 7"}),
        tx.add_audit_records([samples.audit_record(ROWS + 2)], samples.audit_head(ROWS + 2)),
    ),
    "look at a key": lambda tx: (tx.attempts(["key 7"]), tx.copies(["key 7"])),
    "create a key": lambda tx: (
        tx.add_key(keys.key("new")),
        tx.add_attempt(keys.attempt("new")),
        tx.put_copies([keys.copy("new")], new=True),
        tx.change_key(replace(keys.key("new"), state=KeyState.COMMITTED), KeyState.PENDING),
    ),
    "find an SVM's key manager": lambda tx: tx.enabled_key_managers(["svm-1"]),
    "adopt an orphan": lambda tx: tx.keys_adopting("name 7"),
    "walk over keys": lambda tx: tx.keys_in("km-1", [KeyState.COMMITTED, KeyState.RETIRED], "", 10),
    "keep copies": lambda tx: (
        tx.open_copies("server-1", "", 10, inactive=True, undescribed=True),
        tx.aborted_copies("km-1", "inc-1", "", 10),
    ),
    "look for overdue attempts": lambda tx: tx.expired_attempts(samples.NOON, samples.NOON, 10),
}


def test_frequent_statements_use_indexes(opened: tuple[Connection, Transaction]) -> None:
    """None reads the whole of a table that grows."""
    connection, tx = opened
    for call in CALLS.values():
        call(tx)
    prepared = connection.execute(
        text("SELECT name, statement, cardinality(parameter_types) FROM pg_prepared_statements WHERE NOT from_sql")
    ).all()
    assert len(prepared) > len(CALLS)
    whole = []
    for name, statement, number in prepared:
        values = f"({', '.join(['NULL'] * number)})" if number else ""
        if re.match(r"SELECT|INSERT|UPDATE|DELETE", statement):
            plan = "\n".join(connection.execute(text(f"EXPLAIN EXECUTE {name}{values}")).scalars())
            whole += [f"{statement}\n{plan}" for table in MORE if f"Seq Scan on {table}" in plan]
    assert whole == []


OF_KEYS = ("find a key", "create a key", "walk over keys", "keep copies")


def test_statements_about_keys_use_indexes_in_sqlite(sqlite_url: str) -> None:
    """None scans a table."""
    database = open_database(sqlite_url)
    plans: list[str] = []

    def explain(_: Connection, cursor: Any, statement: str, parameters: Any, *_more: object) -> None:
        if statement.startswith("SELECT"):
            rows = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.extend(f"{row[3]} in {statement}" for row in rows)

    with contextlib.ExitStack() as stack:
        stack.callback(database.dispose)
        with database.writer.connect() as connection:
            tx = SqlTransaction(connection, database.classify, database.now, row_locks=False)
            fill(tx)
            event.listen(database.writer, "before_cursor_execute", explain)
            for name in OF_KEYS:
                CALLS[name](tx)
            tx.keys_lacking("km-1", [["server-1"], ["server-2"]])
            connection.rollback()
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN key")] == []

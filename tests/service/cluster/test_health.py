"""Readiness of a node whose database reads but commits nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from keystead.app.clock import SystemClock
from keystead.core.model import ONTAP_LEVEL, Node
from keystead.monitor.metrics import Metrics
from keystead.service.cluster.health import Health
from keystead.service.offline import OfflineReads
from keystead.service.ports.process import NodeFacts

if TYPE_CHECKING:
    from keystead.store import SqlStore

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
NODE = Node("node-1", "one", ONTAP_LEVEL)
FACTS = NodeFacts(NODE.uuid, "sqlite", "0042", "/data", NOON, 1, 2, None, False, False, (), False)
REFUSE_WRITES = {"sqlite": "PRAGMA query_only = 1", "postgresql": "SET default_transaction_read_only = on"}
DISK_FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$;
CREATE TRIGGER full_disk BEFORE UPDATE ON nodes FOR EACH ROW EXECUTE FUNCTION full_disk()
"""


@pytest.fixture
def health(store: SqlStore) -> Health:
    """The health of a process of one node."""
    clock = SystemClock()
    return Health(store, Metrics(), lambda: FACTS, clock, OfflineReads(store, clock, NODE.uuid, limit_s=0))


async def test_a_node_that_commits_is_ready(store: SqlStore, health: Health) -> None:
    """An empty text says so."""
    await store.write(lambda tx: tx.put_node(NODE))
    assert await health.not_ready() == ""


async def test_a_database_that_only_reads_is_not_ready(store: SqlStore, health: Health) -> None:
    """As a standby does, or a primary that was demoted."""
    await store.write(lambda tx: tx.put_node(NODE))
    writer = store.database.writer
    writer.dispose()

    @event.listens_for(writer, "checkout")
    def refuse(connection: object, *_: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]
        cursor.execute(REFUSE_WRITES[writer.dialect.name])
        cursor.close()
        connection.commit()  # type: ignore[attr-defined]

    assert (await health.not_ready()).startswith("the database commits nothing")


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_full_disk_is_named(store: SqlStore, health: Health) -> None:
    """By the database's own error code."""
    await store.write(lambda tx: tx.put_node(NODE))
    with store.database.writer.begin() as connection:
        connection.exec_driver_sql(DISK_FULL)
    assert await health.not_ready() == "the database commits nothing: its disk is full"

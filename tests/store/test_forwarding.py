"""Rows of destinations, filters of events and the logs that are forwarded, on both engines."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from keystead.core.forwarding.destinations import Destination, Log, Progress, Protocol
from keystead.core.forwarding.filters import Filter, Rule
from keystead.core.model import Event, Node, Release
from keystead.service.audit.log import begin
from keystead.service.ports.store import StoreError
from keystead.store import tables
from tests.service.worlds.basics import KEYRING, HandClock
from tests.store.samples import NOON

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

HOOK = Destination(
    log=Log.EVENTS,
    name="hook",
    protocol=Protocol.WEBHOOK,
    host="hook.example.com",
    port=8443,
    url="https://hook.example.com:8443/in",
    facility="daemon",
    verify_server=True,
    certificate="c1",
    filters=("a", "b"),
    progress=Progress({"n1": 3, "n2": 2**40}, NOON, "it is away", 7, NOON),
)
SYSLOG = Destination(Log.AUDIT, "log.example.com:514", Protocol.TCP, "log.example.com", 514, verify_server=False)


async def test_a_destination_comes_back_as_it_was_stored(store: SqlStore) -> None:
    """Every value, at first and after a change; a name is there once in each log."""
    other = replace(SYSLOG, log=Log.EVENTS, name="hook2")

    def fill(tx: Transaction) -> None:
        for each in (HOOK, SYSLOG, other):
            tx.put_destination(each)

    await store.write(fill)
    assert await store.read(lambda tx: tx.destinations()) == (SYSLOG, HOOK, other)
    assert await store.read(lambda tx: tx.destinations(Log.EVENTS)) == (HOOK, other)
    changed = replace(HOOK, port=1, filters=(), progress=Progress())
    await store.write(lambda tx: tx.put_destination(changed))
    assert await store.write(lambda tx: tx.destination(Log.EVENTS, "hook", lock=True)) == changed
    assert await store.read(lambda tx: tx.destination(Log.AUDIT, "hook")) is None
    await store.write(lambda tx: tx.delete_destination(Log.EVENTS, "hook"))
    assert await store.read(lambda tx: tx.destinations()) == (SYSLOG, other)


@pytest.mark.parametrize("damage", ["no JSON", '{"protocol": "carrier pigeon", "filters": []}'])
async def test_a_damaged_row_is_a_store_error(store: SqlStore, damage: str) -> None:
    """It quotes nothing of the row."""
    await store.write(lambda tx: tx.put_destination(HOOK))
    with store.database.writer.begin() as connection:
        connection.execute(update(tables.destinations).values(settings=damage))
    with pytest.raises(StoreError, match="damaged"):
        await store.read(lambda tx: tx.destinations())


async def test_filters(store: SqlStore) -> None:
    """Rules keep their order; a filter is replaced as a whole."""
    two = Filter("two", (Rule("include", "a.*", "alert,error"), Rule("exclude")))
    await store.write(lambda tx: (tx.put_event_filter(two), tx.put_event_filter(Filter("one"))))
    assert await store.read(lambda tx: tx.event_filters()) == (Filter("one"), two)
    changed = replace(two, rules=two.rules[1:])
    await store.write(lambda tx: (tx.put_event_filter(changed), tx.delete_event_filter("one")))
    assert await store.read(lambda tx: tx.event_filters()) == (changed,)


async def test_the_logs_of_nodes(store: SqlStore) -> None:
    """Heads are the newest indexes; events come in the order of a node's indexes, from any place."""
    node = "n1"

    def add(tx: Transaction) -> None:
        tx.put_node(Node(node, "one", Release(9, 18, 1)))
        begin(tx, KEYRING, HandClock(), node)
        tx.add_events([Event(node, 0, NOON, f"e{number}", "alert", None, (), "") for number in range(5)], 3)

    assert await store.read(lambda tx: (tx.log_heads(Log.AUDIT), tx.log_heads(Log.EVENTS))) == ({}, {})
    await store.write(add)
    assert await store.read(lambda tx: (tx.log_heads(Log.AUDIT), tx.log_heads(Log.EVENTS))) == ({node: 1}, {node: 5})
    for after, limit, expected in ((0, 10, [3, 4, 5]), (3, 1, [4]), (5, 10, [])):
        found = await store.read(lambda tx: tx.events_after(node, after, limit))  # noqa: B023 - run at once
        assert [each.index for each in found] == expected

"""Observations and events, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core.announcing import AnnouncedState
from keystead.core.model import Account, Cluster, Event, Observation, PeerCertificate, Role, State
from keystead.service.ports.page import Page
from keystead.service.ports.store import SchemaError, StoreError
from tests.store import samples
from tests.store.samples import NODE, NOON, OTHER_SVM, SVM

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

PEER = PeerCertificate("ks, with a comma", "CA \N{SNOWMAN}", "0A", NOON + timedelta(days=1))
SEEN = Observation(
    "node-1",
    "km-1-server-0",
    "",
    State.AVAILABLE,
    NOON,
    certificates=(PEER, replace(PEER, subject="CA", not_before=NOON)),
)
LOST = Observation("node-1", "km-1-server-0", "Zeta", State.NOT_RESPONDING, NOON, "tls", "tls_timed_out")


def event(node: str = "node-1", name: str = "km.keyserver.available", **changes: object) -> Event:
    """Return an event whose texts all differ."""
    made = Event(node, 0, NOON, name, "notice", SVM, (("vserver", "svm1"), ("address", "a:1")), "log message")
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_an_observation_comes_back_as_it_was(filled: SqlStore) -> None:
    """Observations of primaries and secondaries are read back, with and without certificates."""
    await filled.write(lambda tx: tx.put_observations([SEEN, LOST], new=True))
    assert set(await filled.read(lambda tx: tx.observations_of_node("node-1"))) == {SEEN, LOST}
    assert await filled.read(lambda tx: tx.observations(["km-1-server-0", "km-1-server-1"])) == (SEEN, LOST)
    assert await filled.read(lambda tx: tx.observations(["km-1-server-1"])) == ()
    assert await filled.read(lambda tx: tx.observations([])) == ()
    assert await filled.read(lambda tx: tx.observations_of_node("node-2")) == ()


async def test_a_newer_observation_takes_the_place_of_the_older(filled: SqlStore) -> None:
    """There is one row per node and address; other rows stay."""
    other = replace(SEEN, node="node-2")
    newer = replace(SEEN, state=State.NOT_RESPONDING, since=NOON + timedelta(seconds=1), stage="s", reason="r")
    await filled.write(
        lambda tx: (tx.put_observations([SEEN, other, LOST], new=True), tx.put_observations([newer], new=False))
    )
    assert await filled.read(lambda tx: tx.observations(["km-1-server-0"])) == (newer, other, LOST)


async def test_observations_go_with_what_they_are_about(filled: SqlStore) -> None:
    """Observations are deleted with their server, or with the host that a server no longer has."""
    other = replace(LOST, node="node-2")
    await filled.write(lambda tx: tx.put_observations([SEEN, LOST, other], new=True))
    await filled.write(lambda tx: tx.forget_observations("km-1-server-0", ["", "alpha"]))
    assert await filled.read(lambda tx: tx.observations(["km-1-server-0"])) == (SEEN,)
    await filled.write(lambda tx: tx.delete_key_manager("km-1"))
    assert await filled.read(lambda tx: tx.observations_of_node("node-1")) == ()


async def test_what_is_announced_stays_until_it_is_over(filled: SqlStore) -> None:
    """One row for each address that is lost or hides its keys. It goes with its server, or with its host."""
    lost = AnnouncedState("km-1-server-0", "", reason="tls_timed_out")
    hiding = AnnouncedState("km-1-server-0", "Zeta", keys_hidden=True)
    other = replace(lost, key_server="km-1-server-1")
    await filled.write(lambda tx: tx.put_announced_states([lost, hiding, other]))
    assert await filled.read(lambda tx: tx.announced_states()) == (lost, hiding, other)
    assert await filled.read(lambda tx: tx.announced_states(["km-1-server-0"])) == (lost, hiding)
    assert await filled.read(lambda tx: tx.announced_states([])) == ()
    newer = replace(lost, reason="expired")
    await filled.write(lambda tx: tx.put_announced_states([newer, replace(other, reason="")]))
    assert await filled.read(lambda tx: tx.announced_states()) == (newer, hiding)
    await filled.write(lambda tx: tx.forget_observations("km-1-server-0", [""]))
    assert await filled.read(lambda tx: tx.announced_states()) == (newer,)
    await filled.write(lambda tx: tx.delete_key_manager("km-1"))
    assert await filled.read(lambda tx: tx.announced_states()) == ()


async def test_what_is_watched_is_every_enabled_key_manager(filled: SqlStore) -> None:
    """Every enabled key manager is returned with its servers and their secondaries in order."""
    second = samples.key_manager("km-0", OTHER_SVM)
    empty = samples.key_manager("km-2")
    inactive = replace(samples.key_manager("km-3", enabled=False))
    servers = [samples.key_server(position, manager="km-0") for position in range(3)]
    await filled.write(
        lambda tx: (
            *(tx.add_key_manager(each) for each in (second, empty, inactive)),
            tx.add_key_servers([*servers, samples.key_server(0, manager="km-3")]),
        )
    )
    first = (samples.key_manager(svm=SVM), tuple(samples.key_server(position) for position in range(3)))
    assert await filled.read(lambda tx: tx.watched()) == ((second, tuple(servers)), first, (empty, ()))


async def test_several_key_managers_are_read_at_once(filled: SqlStore) -> None:
    """Existing key managers are read by uuid with their CAs, locked for the transaction or not."""
    cluster = samples.key_manager("km-0")
    await filled.write(lambda tx: tx.add_key_manager(cluster))
    wanted = ["km-0", "km-1", "km-9"]
    both = (cluster, samples.key_manager(svm=SVM))
    assert await filled.read(lambda tx: tx.key_managers(wanted)) == both
    assert await filled.write(lambda tx: tx.lock_free_key_managers(wanted)) == both


CHANGES: list[Callable[[Transaction], object]] = [
    lambda tx: tx.put_cluster(Cluster("c", "renamed")),
    lambda tx: tx.rename_svm(SVM.uuid, "renamed"),
    lambda tx: tx.add_certificate(samples.certificate("cert-9", name="nine")),
    lambda tx: tx.delete_certificate("cert-9"),
    lambda tx: tx.add_key_manager(samples.key_manager("km-9")),
    lambda tx: tx.change_key_manager(samples.key_manager(enabled=False)),
    lambda tx: tx.delete_key_manager("km-9"),
    lambda tx: tx.add_key_servers([samples.key_server(9)]),
    lambda tx: tx.change_key_server(samples.key_server(0, timeout=7)),
    lambda tx: tx.delete_key_server("ks-9"),
    lambda tx: tx.put_account(Account("a", Role.ADMIN, "hash")),
    lambda tx: tx.delete_account("a"),
]


@pytest.mark.parametrize("change", CHANGES, ids=map(str, range(len(CHANGES))))
async def test_the_marker_moves_with_every_change(filled: SqlStore, change: Callable[[Transaction], object]) -> None:
    """The audit record of a change moves the marker, and this process is notified at once."""

    def work(tx: Transaction) -> None:
        change(tx)
        tx.add_audit_records([samples.audit_record(1)], samples.audit_head(1))

    before = await filled.read(lambda tx: tx.change_marker())
    await filled.changed(0)
    await filled.write(work)
    async with asyncio.timeout(30):
        await filled.changed(60)
    after = await filled.read(lambda tx: tx.change_marker())
    assert after != before
    assert await filled.read(lambda tx: tx.audit_head("node-1")) == samples.audit_head(1)


async def test_the_marker_stays_where_nothing_is_changed(filled: SqlStore) -> None:
    """Records of refusals, failed logins and reads do not move the marker."""
    await filled.write(lambda tx: tx.add_audit_records([samples.audit_record(1)], samples.audit_head(1)))
    before = await filled.read(lambda tx: tx.change_marker())
    await filled.changed(0)
    await filled.write(lambda tx: tx.add_audit_records([samples.audit_record(2)], samples.audit_head(2)))
    assert await filled.read(lambda tx: tx.change_marker()) == before
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await filled.changed(5)


async def test_events_are_numbered_per_node(filled: SqlStore) -> None:
    """Events are numbered from 1 per node in the order of adding, and are read back unchanged."""
    await filled.write(lambda tx: tx.add_events([event(), event(svm=None), event("node-2")], keep=10))
    await filled.write(lambda tx: tx.add_events([event(name="x", parameters=(), severity="alert")], keep=10))
    found = await filled.read(lambda tx: tx.page(Event, Page()))
    assert [(each.node, each.index) for each in found] == [("node-1", 1), ("node-1", 2), ("node-1", 3), ("node-2", 1)]
    assert found[0] == event(index=1)
    assert found[1] == event(index=2, svm=None)
    assert await filled.read(lambda tx: tx.event("node-1", 3)) == found[2]
    assert await filled.read(lambda tx: (tx.event("node-1", 4), tx.event("node-1", 2**70))) == (None, None)
    assert await filled.read(lambda tx: tx.events_named("node-1", ["x", "y"])) == (found[2],)


async def test_events_outlive_their_svm(filled: SqlStore) -> None:
    """Events of a deleted SVM become events of the cluster, and no SVM sees them."""
    await filled.write(lambda tx: tx.add_events([event(svm=OTHER_SVM)], keep=10))
    await filled.write(lambda tx: tx.delete_svm(OTHER_SVM.uuid))
    assert await filled.read(lambda tx: tx.event("node-1", 1)) == event(index=1, svm=None)
    for svm in (SVM, OTHER_SVM):
        page = Page().within(svm_uuid=svm.uuid)
        assert await filled.read(lambda tx, of=page: tx.page(Event, of)) == ()  # type: ignore[misc]


async def test_the_newest_events_of_each_node_are_kept(filled: SqlStore) -> None:
    """Events above the limit are deleted; the numbers continue."""
    await filled.write(lambda tx: tx.add_events([event("node-2")], keep=3))
    for _ in range(3):
        await filled.write(lambda tx: tx.add_events([event(), event()], keep=3))
    found = await filled.read(lambda tx: tx.page(Event, Page()))
    assert sorted((each.node, each.index) for each in found) == [
        ("node-1", 4),
        ("node-1", 5),
        ("node-1", 6),
        ("node-2", 1),
    ]


async def test_events_are_listed_in_the_order_of_time(filled: SqlStore) -> None:
    """Events of all nodes are listed by time; a page continues after the last event of the one before."""
    times = [NOON + timedelta(seconds=seconds) for seconds in (2, 0, 1)]
    await filled.write(
        lambda tx: tx.add_events(
            [event("node-1", time=times[0]), event("node-2", time=times[1]), event("node-3", time=times[2])], keep=9
        )
    )
    found = await filled.read(lambda tx: tx.page(Event, Page()))
    assert [each.node for each in found] == ["node-2", "node-3", "node-1"]
    assert len(await filled.read(lambda tx: tx.page(Event, Page().within(svm_uuid=SVM.uuid)))) == 3
    assert await filled.read(lambda tx: tx.page(Event, Page().within(svm_uuid=OTHER_SVM.uuid))) == ()


async def test_events_added_at_once_get_different_numbers(filled: SqlStore) -> None:
    """Two concurrent transactions of one node get different numbers."""
    await filled.write(lambda tx: tx.put_node(NODE))
    await asyncio.gather(*(filled.write(lambda tx: tx.add_events([event()], keep=100)) for _ in range(20)))
    found = await filled.read(lambda tx: tx.page(Event, Page()))
    assert [each.index for each in found] == list(range(1, 21))


async def test_the_store_says_whether_it_can_be_used(store: SqlStore) -> None:
    """The check finds a schema that another release has changed meanwhile."""
    await store.check()
    with store.database.writer.connect() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        connection.exec_driver_sql("UPDATE compatibility SET writes_min = '9999'")
        connection.commit()
    with pytest.raises(SchemaError):
        await store.check()
    await store.close()
    with pytest.raises(StoreError):
        await store.check()

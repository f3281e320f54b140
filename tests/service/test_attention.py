"""What needs somebody, read together for all key managers, and read again only after a write. On both engines."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import event

from keystead.app.clock import SystemClock
from keystead.core.announcing import STATUS
from keystead.core.attention.items import Item, Severity, Subject
from keystead.core.events import NOT_AVAILABLE
from keystead.core.keys.model import AttemptState, KeyState, Orphan, Presence
from keystead.core.model import (
    Cluster,
    KeyManager,
    KeyServer,
    NodeProcess,
    Observation,
    PeerCertificate,
    Role,
    State,
    Svm,
)
from keystead.core.server_address import ServerAddress
from keystead.service.attention import Attention
from keystead.service.context import Call, Caller
from keystead.store.change_marks import PART_OF
from keystead.store.tables import metadata
from tests.store import samples
from tests.store.keys import attempt, copy, key
from tests.store.samples import NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from keystead.core.model import Event
    from keystead.service.attention import Overview
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

SERVERS = 4
CLUSTER = Call(Caller("admin", Role.ADMIN, "127.0.0.1"), "GET", "/")
SHOWN = PeerCertificate("key server", "CA", "0A", NOON)


def svm(number: int) -> Svm:
    """Return an SVM."""
    return Svm(f"svm-{number}", f"svm{number}")


def of_svm(number: int) -> Call:
    """Return a call by an account of an SVM."""
    return replace(CLUSTER, caller=replace(CLUSTER.caller, svm=svm(number)), scope=svm(number))


def tunnelled(number: int) -> Call:
    """Return a call by an account of the cluster, confined to an SVM."""
    return replace(CLUSTER, scope=svm(number))


def fill(tx: Transaction, managers: int) -> None:
    """Store the cluster and key managers: each is of an SVM, and has a lost server with an orphan, and a key."""
    tx.put_node(samples.NODE)
    tx.put_cluster(Cluster("c", "cluster"))
    for number in range(managers):
        tx.add_svm(svm(number))
        tx.add_certificate(samples.certificate(f"client-{number}", svm(number)))
        manager = KeyManager(f"km-{number}", svm(number), True, f"client-{number}", ())
        tx.add_key_manager(manager)
        servers = [server(manager, position) for position in range(SERVERS)]
        tx.add_key_servers(servers)
        seen = [Observation("node-1", each.uuid, "", State.AVAILABLE, NOON, certificates=(SHOWN,)) for each in servers]
        lost = replace(seen[0], state=State.NOT_RESPONDING, stage="connect", reason="connection_refused")
        tx.put_observations([lost, *seen[1:]], new=True)
        tx.put_orphans([Orphan(manager.uuid, servers[0].uuid, "1", "name", NOON)])
        uuid = f"key-{number}"
        tx.add_key(key(uuid, key_manager=manager.uuid, svm=manager.svm, state=KeyState.COMMITTED))
        tx.add_attempt(attempt(uuid, state=AttemptState.COMMITTED))
        tx.put_copies([copy(uuid, servers[0].uuid, presence=Presence.PRESENT, proven=NOON)], new=True)


def server(manager: KeyManager, position: int) -> KeyServer:
    """Return a key server of a key manager, with a password."""
    address = ServerAddress(f"{manager.uuid}-{position}.example", 5696)
    uuid = f"{manager.uuid}-server-{position}"
    return KeyServer(uuid, manager.uuid, position, address, 25, 10, "user", (), sealed_password=b"sealed")


def loss(number: int) -> Event:
    """Return the event that a key server of a key manager was lost just now."""
    values = {
        "vserver": f"svm{number}",
        "address": f"km-{number}-server-0.example:5696",
        "keyserver_status": STATUS,
        "node_states": "",
    }
    return NOT_AVAILABLE.happened(
        samples.NODE.uuid, SystemClock().now(), svm(number), values | {"stage": "", "reason": ""}
    )


def attention_of(store: SqlStore) -> Attention:
    """Return the list over a database; the egress rules refuse nothing."""
    return Attention(store, SystemClock(), lambda _: False)


@contextmanager
def statements(store: SqlStore) -> Iterator[list[str]]:
    """Count the statements that read."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        found.append(statement)

    event.listen(store.database.reader, "before_cursor_execute", note)
    yield found
    event.remove(store.database.reader, "before_cursor_execute", note)


def tables_in(statements: list[str]) -> set[str]:
    """Return the names of the tables that statements read."""
    return {name for each in statements for name in re.findall(r"(?:FROM|JOIN) \(*(\w+)", each)} & set(metadata.tables)


async def test_all_that_is_used_again_has_a_change_mark(store: SqlStore) -> None:
    """Each table that is read once and not again has a mark; the others are read each time."""
    await store.write(lambda tx: (fill(tx, 2), tx.add_events([loss(0)], 1000)))
    attention, read = attention_of(store), []
    for _ in range(2):
        with statements(store) as found:
            await attention.overview(CLUSTER)
            await attention.outages(CLUSTER)
        read.append(tables_in(found))
    first, again = read
    assert again == {"nodes", "cluster", "change_marks", "incarnations", "destinations"}
    assert {"keys", "key_copies", "key_servers", "observations", "events"} < first - again <= set(PART_OF)


def _off(tx: Transaction) -> None:
    manager = tx.key_manager("km-0")
    assert manager
    tx.change_key_manager(replace(manager, enabled=False))


def _heal(tx: Transaction) -> None:
    (lost,) = tx.observations(["km-0-server-0"])
    tx.put_observations([replace(lost, state=State.AVAILABLE, reason="", stage="")], new=False)


def _forget_orphans(tx: Transaction) -> None:
    for orphan in tx.orphans("km-0"):
        tx.delete_orphans(orphan.key_server, [orphan.unique_identifier])


def _add_key(tx: Transaction) -> None:
    tx.add_key(replace(key("new", key_manager="km-0", svm=svm(0), state=KeyState.COMMITTED), name="new"))
    tx.add_attempt(attempt("new", state=AttemptState.COMMITTED))


def _lose(tx: Transaction) -> None:
    (kept,) = tx.keys_in("km-0", {KeyState.COMMITTED}, "", 10)
    copies = tx.copies([kept.uuid])
    tx.put_copies([replace(each, presence=Presence.MISSING) for each in copies], new=False)


CHANGES: dict[str, tuple[Callable[[Transaction], object], Callable[[Overview], object]]] = {
    "svm": (lambda tx: tx.rename_svm("svm-0", "other"), lambda found: found.managers[0].vserver),
    "cluster": (lambda tx: tx.put_cluster(Cluster("c", "other")), lambda found: found.cluster),
    "node": (
        lambda tx: tx.start_node(samples.NODE.uuid, NodeProcess("token")),
        lambda found: found.managers[0].survival.now,
    ),
    "key manager": (_off, lambda found: len(found.managers)),
    "key server": (lambda tx: tx.delete_key_server("km-0-server-1"), lambda found: len(found.managers[0].servers)),
    "observation": (_heal, lambda found: found.items),
    "certificate": (lambda tx: tx.delete_certificate("client-0"), lambda found: len(found.certificates)),
    "key": (_add_key, lambda found: found.managers[0].survival.keys),
    "copy": (_lose, lambda found: found.managers[0].survival.sole),
    "orphan": (_forget_orphans, lambda found: len(found.managers[0].orphans)),
}


@pytest.mark.parametrize(("change", "shown"), CHANGES.values(), ids=CHANGES)
async def test_a_change_is_seen_by_the_next_call(
    store: SqlStore, change: Callable[[Transaction], object], shown: Callable[[Overview], object]
) -> None:
    """Whatever kind of row it is; also after a call that used what was read before."""
    await store.write(lambda tx: fill(tx, 2))
    attention = attention_of(store)
    before = [shown(await attention.overview(CLUSTER)) for _ in range(2)]
    await store.write(change)
    after = shown(await attention.overview(CLUSTER))
    assert before == [before[0]] * 2
    assert after != before[0]
    assert after == shown(await attention_of(store).overview(CLUSTER))


async def test_each_key_manager_has_what_is_its_own(store: SqlStore) -> None:
    """Servers, observations, keys, orphans and certificates are not mixed up."""
    await store.write(lambda tx: fill(tx, 3))
    found = await attention_of(store).overview(CLUSTER)
    assert [each.of.uuid for each in found.managers] == ["km-0", "km-1", "km-2"]
    for each in found.managers:
        uuids = {server.uuid for server in each.servers}
        assert uuids == {f"{each.of.uuid}-server-{number}" for number in range(SERVERS)}
        assert {seen.key_server for seen in each.observations} == uuids
        assert (each.survival.keys, each.survival.sole) == (1, 1)
        assert [orphan.key_manager for orphan in each.orphans] == [each.of.uuid]
        assert each.client_certificate is not None
        assert each.client_certificate.uuid == f"client-{each.of.uuid[3:]}"
        of_manager = {(item.subject, item.severity) for item in found.items if item.key_manager == each.of.uuid}
        assert of_manager == {
            (Subject.KEYS, Severity.CRITICAL),
            (Subject.KEYS, Severity.WARNING),
            (Subject.KEY_SERVER, Severity.CRITICAL),
            (Subject.UNCLAIMED_OBJECTS, Severity.WARNING),
        }
    assert {(each.vserver, each.key_server.partition("-")[0]) for each in found.certificates} == {
        (f"svm{number}", place) for number in range(3) for place in ("", "km")
    }


async def test_statements_do_not_grow_with_key_managers(store: SqlStore) -> None:
    """Twenty key managers are read by as many statements as one."""
    numbers = []
    await store.write(lambda tx: fill(tx, 20))
    for call in (of_svm(1), CLUSTER):
        attention = attention_of(store)
        with statements(store) as found:
            assert len((await attention.overview(call)).managers) == (1 if call.scope else 20)
        numbers.append(len(found))
    few, many = numbers
    assert few <= many <= few + 3, "orphans, the incarnation and destinations are read for the whole cluster only"


async def test_nothing_is_read_again_before_a_write(store: SqlStore) -> None:
    """The items of the node are asked each time; what is stored is read after a write."""
    await store.write(lambda tx: fill(tx, 1))
    attention, full = attention_of(store), [True]
    disk = Item(Subject.DISK, "disk", Severity.WARNING, "full", "", "")
    attention.add_source(lambda: [disk] if full else [])
    first = await attention.items(CLUSTER)
    full.clear()
    with statements(store) as found:
        second = await attention.items(CLUSTER)
    assert not tables_in(found) & set(PART_OF)
    assert disk in first
    assert second == [each for each in first if each != disk]
    assert first == [*dict.fromkeys(first)]

    def heal(tx: Transaction) -> None:
        (lost,) = (each for each in tx.observations(["km-0-server-0"]))
        tx.put_observations([replace(lost, state=State.AVAILABLE, reason="", stage="")], new=False)

    await store.write(heal)
    assert not [each for each in await attention.items(CLUSTER) if each.subject is Subject.KEY_SERVER]


async def test_outages_are_not_read_again_before_a_write(store: SqlStore) -> None:
    """Whoever may see the same gets what was read; a new event counts at once; the SVM's accounts get their own."""
    await store.write(lambda tx: (fill(tx, 2), tx.add_events([loss(0)], 1000)))
    attention = attention_of(store)
    first = await attention.outages(CLUSTER)
    assert list(first) == [("svm0", "km-0-server-0.example:5696")]
    assert (await attention.outages(of_svm(0))).keys() == first.keys()
    assert await attention.outages(of_svm(1)) == {}
    with statements(store) as found:
        assert (await attention.outages(CLUSTER)).keys() == first.keys()
    assert tables_in(found) == {"change_marks"}
    await store.write(lambda tx: tx.add_events([loss(1)], 1000))
    assert len(await attention.outages(CLUSTER)) == 2


@pytest.mark.parametrize("order", [1, -1])
async def test_no_caller_gets_what_another_may_see(store: SqlStore, order: int) -> None:
    """Whoever asks first, each gets the same: the cluster, a call confined to an SVM, and accounts of two SVMs."""
    await store.write(lambda tx: fill(tx, 2))
    calls = [CLUSTER, tunnelled(0), of_svm(0), of_svm(1)]
    alone = [await attention_of(store).overview(call) for call in calls]
    attention = attention_of(store)
    together = {id(call): await attention.overview(call) for call in calls[::order]}
    for call, expected in zip(calls, alone, strict=True):
        assert replace(together[id(call)], time=NOON) == replace(expected, time=NOON)
        again = await attention.overview(call)
        assert replace(again, time=NOON) == replace(expected, time=NOON)
    cluster, confined, own, other = alone
    assert [len(each.managers) for each in alone] == [2, 1, 1, 1]
    assert (confined.managers[0].observations[0].reason, own.managers[0].observations[0].reason) == (
        "connection_refused",
        "",
    )
    assert {each.of.svm for each in other.managers} == {svm(1)}
    assert {item.subject for item in cluster.items} > {item.subject for item in own.items}


async def test_no_sealed_value_is_held(store: SqlStore) -> None:
    """Neither passwords of key servers nor private keys, although they are sealed."""
    await store.write(lambda tx: fill(tx, 1))
    found = await attention_of(store).overview(CLUSTER)
    (manager,) = found.managers
    assert manager.client_certificate is not None
    assert manager.client_certificate.sealed_private_key is None
    assert {each.sealed_password for each in manager.servers} == {None}

"""Observations and events of one node from many transactions at once, on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from keystead.core.availability import PRIMARY, AddressCheck, CheckResult, WatchedAddress
from keystead.core.model import Cluster, Event, KeyManager, KeyServer, Node, Release, State, Svm
from keystead.core.probing import ProbeResult
from keystead.core.server_address import ServerAddress
from keystead.service.ports.page import Page
from keystead.service.probing.observations import Observations
from keystead.service.probing.watching import Watching
from tests.service.worlds.basics import HandClock

if TYPE_CHECKING:
    from keystead.service.ports.store import Transaction
    from keystead.store import SqlStore

NODE = Node("node-1", "n1", Release(9, 18, 1))
MANAGERS = 6
BAD, GOOD = CheckResult("connect", "connection_refused"), CheckResult()


def manager(number: int) -> KeyManager:
    """Return a key manager of an SVM of its own; the first is the cluster's."""
    svm = Svm(f"svm-{number}", f"vs{number}") if number else None
    return KeyManager(f"km-{number}", svm, enabled=True, client_certificate="c", server_ca_certificates=("ca",))


def server(number: int) -> KeyServer:
    """Its one key server."""
    return KeyServer(f"server-{number}", f"km-{number}", 1, ServerAddress(f"ks{number}", 5696), 25, 10, "", ())


def fill(tx: Transaction) -> None:
    """A cluster, a node, and the key managers with their servers."""
    tx.put_cluster(Cluster("cluster", "the cluster"))
    tx.put_node(NODE)
    for number in range(MANAGERS):
        found = manager(number)
        if found.svm is not None:
            tx.add_svm(found.svm)
        tx.add_key_manager(found)
        tx.add_key_servers([server(number)])


async def test_many_transactions_of_one_node_store_all_that_they_saw(store: SqlStore) -> None:
    """The monitor's, over all key managers, and those of calls, each about one: none waits for ever, none is lost."""
    await store.write(fill)
    clock = HandClock()
    observing = Observations(clock, NODE.uuid)
    unused: Any = None
    watching = Watching(store, unused, unused, observing, clock, NODE.uuid)
    for round_ in range(4):
        look = GOOD if round_ % 2 else BAD
        time = clock.now() + timedelta(seconds=round_)
        changes = [
            AddressCheck(f"km-{number}", WatchedAddress(f"server-{number}", PRIMARY), look, time)
            for number in range(MANAGERS)
        ]
        await asyncio.gather(
            *(watching.record(changes[first:] + changes[:first]) for first in range(3)),
            *(accept(store, observing, number) for number in range(MANAGERS) if look is GOOD),
        )
        stored = await store.read(lambda tx: tx.observations_of_node(NODE.uuid))
        assert {found.state for found in stored} == {State.AVAILABLE if look is GOOD else State.NOT_RESPONDING}
        assert len(stored) == MANAGERS
    found = await store.read(lambda tx: tx.page(Event, Page()))
    assert sorted(event.index for event in found) == list(range(1, 4 * MANAGERS + 1))
    vservers = {dict(event.parameters)["vserver"] for event in found}
    assert vservers == {"the cluster", *(f"vs{number}" for number in range(1, MANAGERS))}


async def test_a_key_manager_that_is_locked_holds_up_no_other(store: SqlStore) -> None:
    """Its changes are left to be stored later; the others' are stored at once. SQLite has one writer: none is left."""
    await store.write(fill)
    clock = HandClock()
    unused: Any = None
    watching = Watching(store, unused, unused, Observations(clock, NODE.uuid), clock, NODE.uuid)
    changes = [
        AddressCheck(f"km-{number}", WatchedAddress(f"server-{number}", PRIMARY), BAD, clock.now())
        for number in range(3)
    ]
    locked, done = threading.Event(), threading.Event()

    def hold(tx: Transaction) -> None:
        tx.key_manager("km-1", lock=True)
        locked.set()
        done.wait(60)

    holding = asyncio.create_task(store.write(hold))
    await asyncio.to_thread(locked.wait)
    if not store.database.row_locks:
        done.set()
    held = await watching.record(changes)
    done.set()
    await holding
    assert held == (frozenset({"km-1"}) if store.database.row_locks else frozenset())
    await watching.record([change for change in changes if change.key_manager in held])
    assert len(await watching.observations()) == 3


async def accept(store: SqlStore, observing: Observations, number: int) -> None:
    """Do what a call does that proved a key manager's server."""
    result = ProbeResult(server(number).address, None, None, None, None, ())

    def work(tx: Transaction) -> None:
        found = tx.key_manager(f"km-{number}", lock=True)
        assert found is not None
        observing.accepted(tx, found.svm, tx.key_servers(found.uuid), [result])

    await store.write(work)

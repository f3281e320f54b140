"""keystead.service.forwarding.delivery on real databases, to real collectors: at least once, in order, one by one."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.app.clock import SystemClock
from keystead.core import events
from keystead.core.forwarding import destinations as rules
from keystead.core.forwarding.destinations import Destination, Log, Progress, Protocol
from keystead.core.forwarding.filters import Filter, Rule
from keystead.core.model import Certificate, CertificateType, Event, KeyManager, Node, Release, Role, Svm
from keystead.core.secret import Secret
from keystead.forwarding import sender
from keystead.forwarding.sender import NetworkSender
from keystead.keyservers.egress import EgressRules
from keystead.keyservers.outlets import Outlets
from keystead.monitor.metrics import Metrics
from keystead.service.audit.log import AuditLog
from keystead.service.cluster.leases import Leases
from keystead.service.context import Call, Caller
from keystead.service.forwarding import delivery as module
from keystead.service.forwarding.delivery import LEASE, Delivery
from keystead.service.ports.page import Page
from keystead.service.probing.prober import private_key_context
from keystead.store import SqlStore, open_store
from tests.peers.certificates import Authority, client, server_context
from tests.peers.collector import Collector, index_of, messages_in
from tests.peers.fault_servers import FaultServer, refused_port, tls
from tests.service.worlds.basics import KEYRING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from keystead.service.ports.store import Transaction

NODES = (Node("node-1", "one", Release(9, 18, 1)), Node("node-2", "two", Release(9, 18, 1)))
CALL = Call(Caller("admin", Role.ADMIN, "192.0.2.1"), "POST", "/api/svm/svms", '{"name":"a"}')
LEASE_LENGTH = timedelta(seconds=10)
PATIENCE_S = 60


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of seconds take parts of them."""
    for name, seconds in (("PERIOD_S", 0.02), ("TAKE_S", 0.1), ("FIRST_PAUSE_S", 0.02), ("LONGEST_PAUSE_S", 0.1)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(sender, "SEND_S", 2.0)


@dataclass
class World:
    """Two nodes on one database, and what they write."""

    store: SqlStore
    metrics: Metrics

    async def destination(self, port: int, log: Log = Log.AUDIT, **more: Any) -> Destination:
        """Make a destination of this host."""
        made = Destination(log, more.pop("name", f"d{port}"), Protocol.TCP, "127.0.0.1", port)
        made = replace(made, **more)

        def put(tx: Transaction) -> Destination:
            stored = replace(made, progress=Progress(tx.log_heads(log)))
            tx.put_destination(stored)
            return stored

        return await self.store.write(put)

    async def record(self, count: int, node: str = "node-1") -> None:
        """Write audit records, one transaction each, as calls do."""
        audit = AuditLog(self.store, KEYRING, SystemClock(), node)
        for _ in range(count):
            await self.store.write(lambda tx: audit.succeed(tx, CALL, "done"))

    async def announce(self, *severities: str) -> None:
        """Announce an event of each severity."""
        now = SystemClock().now()
        found = [Event("node-1", 0, now, f"km.test.{each}", each, None, (), f"it is {each}") for each in severities]
        await self.store.write(lambda tx: tx.add_events(found, events.MAX_EVENTS))

    @asynccontextmanager
    async def delivering(
        self, node: str = "node-1", store: SqlStore | None = None, console: str = ""
    ) -> AsyncIterator[Delivery]:
        """Deliver until the block ends."""
        used, clock = store or self.store, SystemClock()
        leases = Leases(used, clock, node, LEASE_LENGTH, rests=True)
        out = NetworkSender(Outlets(EgressRules.parse(["127.0.0.0/8"])).open)
        delivery = Delivery(used, leases, out, KEYRING, clock, self.metrics, node, console)
        delivery.start()
        try:
            yield delivery
        finally:
            await delivery.close()
            pool: Any = used.database.reader.pool
            await until(lambda: not pool.checkedout())  # a read that was cancelled ends by itself

    async def progress(self, of: Destination) -> Progress:
        """Return how far a destination has got."""
        stored = await self.store.read(lambda tx: tx.destination(of.log, of.name))
        assert stored is not None
        return stored.progress

    async def counted(self, name: str) -> dict[str, float]:
        """Return a metric, by destination."""
        text, _ = await self.metrics.exposition()
        lines = [line.rpartition(" ") for line in text.decode().splitlines() if line.startswith(f"{name}{{")]
        return {line.partition('destination="')[2].partition('"')[0]: float(value) for line, _, value in lines}


@pytest.fixture
async def world(store: SqlStore) -> World:
    """Return an empty cluster of two nodes."""

    def fill(tx: Transaction) -> None:
        for node in NODES:
            tx.put_node(node)

    await store.write(fill)
    return World(store, Metrics())


async def until(done: Callable[[], Any]) -> None:
    """Wait until a function, perhaps an asynchronous one, says yes."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            found = done()
            if await found if asyncio.iscoroutine(found) else found:
                return
            await asyncio.sleep(0.01)


async def test_records_arrive_once_and_in_order(world: World) -> None:
    """More than a batch, written before and while the node delivers; nothing from before the destination was made."""
    collector = Collector()
    await world.record(3)
    await world.destination(collector.port)
    await world.record(120)
    with collector.running():
        async with world.delivering() as delivery:
            await until(lambda: len(collector.messages) >= 120)
            await world.record(30)
            await until(lambda: len(collector.messages) >= 150)
            await until(lambda: dict(delivery.waiting())["audit", f"d{collector.port}"] == 0)
    assert collector.indexes == [*range(4, 154)]
    assert {each["node"] for each in collector.records} == {"one"}
    assert await world.counted("keystead_forwarded_messages_total") == {f"d{collector.port}": 150}


async def test_logs_of_several_nodes_arrive_in_one_stream(world: World) -> None:
    """Each node's records in its own order."""
    collector = Collector()
    await world.destination(collector.port)
    await asyncio.gather(world.record(40), world.record(40, "node-2"))
    with collector.running():
        async with world.delivering():
            await until(lambda: len(collector.messages) >= 80)
    for node in ("one", "two"):
        of_node = [each["index"] for each in collector.records if each["node"] == node]
        assert of_node == [*range(1, 41)]
    times = [each["timestamp"] for each in collector.records]
    assert times == sorted(times)


async def test_what_waits_while_a_destination_is_away_arrives_when_it_is_back(world: World) -> None:
    """The failure is stored once, with its time, and is gone after the next success."""
    collector = Collector()
    made = await world.destination(collector.port)
    await world.record(5)
    async with world.delivering() as delivery:
        await until(lambda: _fails(world, made))
        failing = await world.progress(made)
        assert failing.reason == "the connection failed: Connection refused"
        await world.record(5)
        await until(lambda: dict(delivery.waiting())["audit", made.name] == 10)
        assert (await world.progress(made)).failing_since == failing.failing_since
        with collector.running():
            await until(lambda: len(collector.messages) >= 10)
            await until(lambda: _works(world, made))
    assert collector.indexes == [*range(1, 11)]
    assert (await world.counted("keystead_forwarding_failures_total"))[made.name] >= 1


async def _fails(world: World, of: Destination) -> bool:
    return (await world.progress(of)).failing_since is not None


async def _works(world: World, of: Destination) -> bool:
    progress = await world.progress(of)
    return progress.failing_since is None and progress.reason == ""


async def test_a_destination_that_closes_in_the_middle_gets_all_of_it_again(world: World) -> None:
    """A message that was not read to its end is sent again, so that nothing is missing."""
    collector = Collector()
    cut = [True, True, False]

    def hinder(connection: Any) -> bool:
        if not (cut.pop(0) if cut else False):
            return False
        connection.recv(100)
        time.sleep(0.05)
        return True

    collector.hinder = hinder
    await world.destination(collector.port)
    await world.record(300)
    with collector.running():
        async with world.delivering():
            await until(lambda: 300 in collector.indexes)
    seen = list(dict.fromkeys(collector.indexes))
    assert seen == [*range(1, 301)]
    assert not cut


async def test_a_destination_that_hangs_holds_up_no_other(world: World) -> None:
    """Each has a task of its own."""
    released = threading.Event()
    collector = Collector()

    def hang(_: Any) -> None:
        released.wait(20)

    with FaultServer(hang) as hanging, collector.running():
        stuck = await world.destination(hanging.port)
        await world.destination(collector.port)
        await world.record(20)
        async with world.delivering():
            await until(lambda: len(collector.messages) >= 20)
            assert (await world.progress(stuck)).cursors == {}
            released.set()


async def test_filters_choose_events(world: World) -> None:
    """The system's and administrators' filters; what none includes is passed over, and not sent later."""
    await world.store.write(lambda tx: tx.put_event_filter(Filter("mine", (Rule("include", "km.test.debug"),))))
    collector = Collector()
    made = await world.destination(collector.port, Log.EVENTS, filters=("important-events", "mine"))
    await world.announce("alert", "notice", "debug", "error", "emergency")
    with collector.running():
        async with world.delivering():
            await until(lambda: len(collector.messages) >= 3)
            await until(lambda: _cursor(world, made, 5))
            await world.announce("notice")
            await until(lambda: _cursor(world, made, 6))
    assert [index_of(each) for each in collector.messages] == [1, 3, 5]
    assert "km.test.debug: it is debug" in collector.messages[1]


async def test_an_event_carries_the_link_to_its_page(world: World) -> None:
    """Of the key manager of its SVM, at the origin that is set."""
    key_manager = KeyManager("k1", None, enabled=True, client_certificate="", server_ca_certificates=())
    values = {
        "vserver": "one",
        "address": "ks1:5696",
        "keyserver_status": "",
        "node_states": "",
        "stage": "tls",
        "reason": "expired",
    }
    lost = events.NOT_AVAILABLE.happened("node-1", SystemClock().now(), None, values)

    def happen(tx: Transaction) -> None:
        tx.add_key_manager(key_manager)
        tx.add_events([lost], events.MAX_EVENTS)

    collector = Collector()
    await world.destination(collector.port, Log.EVENTS, filters=("important-events",))
    await world.store.write(happen)
    with collector.running():
        async with world.delivering(console="https://keys.example.com"):
            await until(lambda: len(collector.messages) >= 1)
    assert collector.messages[0].endswith(" See https://keys.example.com/key-managers/k1/key-servers/ks1:5696")


async def _cursor(world: World, of: Destination, index: int) -> bool:
    return (await world.progress(of)).cursors == {"node-1": index}


async def test_a_webhook_that_fails_in_between_goes_on_where_it_was(world: World) -> None:
    """Each event that was answered with 200 is not sent again."""
    ca = Authority("Hook CA")
    await world.store.write(lambda tx: tx.add_certificate(_authority(ca)))
    bodies: list[dict[str, Any]] = []
    statuses = [200, 500, 200, 302]

    def hook(connection: Any) -> None:
        request = connection.recv(65536)
        while not request.endswith(b"}"):
            request += connection.recv(65536)
        status = statuses.pop(0) if statuses else 200
        if status == 200:
            bodies.append(json.loads(request.rpartition(b"\r\n\r\n")[2]))
        connection.sendall(b"HTTP/1.1 %d Said\r\nContent-Length: 0\r\n\r\n" % status)

    with FaultServer(tls(server_context(ca.issue()), hook)) as server:
        await world.destination(
            server.port,
            Log.EVENTS,
            protocol=Protocol.WEBHOOK,
            url=f"https://127.0.0.1:{server.port}/in",
            filters=("no-info-debug-events",),
        )
        await world.announce("alert", "error", "notice", "alert")
        async with world.delivering():
            await until(lambda: len(bodies) >= 4)
    assert [each["index"] for each in bodies] == [1, 2, 3, 4]
    assert [each["message"]["severity"] for each in bodies] == ["alert", "error", "notice", "alert"]


async def test_a_client_certificate_that_is_gone_is_said(world: World) -> None:
    """Nothing is sent without it; when it is there, it is shown."""
    server_ca, client_ca = Authority("Hook CA"), Authority("Client CA")
    await world.store.write(lambda tx: tx.add_certificate(_authority(server_ca)))
    shown: list[Any] = []

    def hook(connection: Any) -> None:
        connection.recv(65536)
        shown.append(connection.getpeercert()["subject"])
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    with FaultServer(tls(server_context(server_ca.issue(), client_ca), hook)) as server:
        made = await world.destination(
            server.port,
            Log.EVENTS,
            protocol=Protocol.WEBHOOK,
            url=f"https://127.0.0.1:{server.port}/in",
            certificate="c-client",
            filters=("important-events",),
        )
        await world.announce("alert")
        async with world.delivering():
            await until(lambda: _fails(world, made))
            assert (await world.progress(made)).reason == "its client certificate is not installed any more"
            credentials = client(client_ca)
            sealed = KEYRING.seal(Secret(credentials.key_pem), private_key_context("c-client"))
            added = replace(
                _authority(client_ca),
                uuid="c-client",
                name="mine",
                type=CertificateType.CLIENT,
                public_certificate=credentials.certificate_pem,
                sealed_private_key=sealed,
            )
            await world.store.write(lambda tx: tx.add_certificate(added))
            await until(lambda: shown)


def _authority(ca: Authority) -> Certificate:
    """A server_ca of the cluster."""
    now = SystemClock().now()
    return Certificate(
        uuid=f"c-{ca.certificate.serial_number}",
        svm=None,
        name=f"ca {ca.certificate.serial_number}",
        type=CertificateType.SERVER_CA,
        common_name="ca",
        public_certificate=ca.pem,
        intermediates=(),
        ca="ca",
        serial_number="01",
        not_before=now,
        expiry_time=now,
        key_size=256,
        hash_function="sha256",
        authority_key_identifier="",
        subject_key_identifier="",
    )


async def test_of_too_many_the_oldest_are_dropped_and_counted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the destination is back: in its progress, in a metric and as one event; the newest arrive in order."""
    monkeypatch.setattr(rules, "MOST_WAITING", 20)
    collector = Collector()
    made = await world.destination(collector.port)
    await world.record(50)
    async with world.delivering():
        await until(lambda: _fails(world, made))
        assert (await world.progress(made)).dropped == 0
        with collector.running():
            await until(lambda: 50 in collector.indexes)
            await until(lambda: _works(world, made))
    assert collector.indexes == [*range(31, 51)]
    progress = await world.progress(made)
    assert (progress.dropped, progress.dropped_at is not None) == (30, True)
    assert await world.counted("keystead_forwarding_dropped_messages_total") == {made.name: 30}
    (event,) = await world.store.read(lambda tx: tx.page(Event, Page()))
    assert (event.name, event.severity) == ("forwarding.messages.dropped", "error")
    assert dict(event.parameters) == {"log": "audit", "destination": made.address, "count": "30"}


async def test_one_of_two_nodes_delivers_and_the_other_takes_over(world: World, database_url: str) -> None:
    """Each record arrives once while both run; one that stops gives the work away, and may leave a batch half done."""
    collector = Collector()
    other = open_store(database_url)
    try:
        await world.destination(collector.port)
        with collector.running():
            async with world.delivering("node-2", other) as second:
                async with world.delivering() as first:
                    await world.record(60)
                    await until(lambda: len(collector.messages) >= 60)
                    assert collector.indexes == [*range(1, 61)]
                    assert len([each for each in (first, second) if dict(each.waiting())]) == 1
                await world.record(60)
                await until(lambda: 120 in collector.indexes)
                assert [*dict.fromkeys(collector.indexes)] == [*range(1, 121)]
    finally:
        await other.close()


async def test_a_node_that_died_is_replaced_when_its_lease_is_over(world: World) -> None:
    """Its lease is as it left it."""
    collector = Collector()
    await world.destination(collector.port)
    dead = Leases(world.store, SystemClock(), "node-2", timedelta(seconds=0.6), rests=True)
    assert await dead.take(LEASE) is not None
    await world.record(10)
    with collector.running():
        async with world.delivering():
            await until(lambda: len(collector.messages) >= 10)
    assert collector.indexes == [*range(1, 11)]


async def test_a_lease_that_rested_for_long_says_nothing_about_clocks(world: World) -> None:
    """A destination that is made a day after the last one was deleted must not stop the destruction of keys."""

    class Later(SystemClock):
        def now(self) -> Any:
            return super().now() + timedelta(days=1)

    first = Leases(world.store, SystemClock(), "node-1", LEASE_LENGTH, rests=True)
    held = await first.take(LEASE)
    assert held is not None
    await first.release(held)
    assert await Leases(world.store, Later(), "node-2", LEASE_LENGTH, rests=True).take(LEASE) is not None
    assert not any(node.clock_doubted for node in await world.store.read(lambda tx: tx.nodes()))


async def test_a_destination_that_is_made_anew_while_another_of_its_name_is_served(world: World) -> None:
    """A message to the first does not count for the second; what the second waits for is not skipped."""
    collector, released = Collector(), threading.Event()

    def hold(_: Any) -> bool:
        released.wait(20)
        return False

    collector.hinder = hold
    made = await world.destination(collector.port, name="same")
    await world.record(5)
    with collector.running():
        async with world.delivering():
            await asyncio.sleep(0.3)  # the first batch is under way
            await world.store.write(lambda tx: tx.put_destination(replace(made, progress=Progress({"node-1": 2}))))
            released.set()
            await until(lambda: len(collector.messages) >= 8)
            await until(lambda: _cursor(world, made, 5))
    assert collector.indexes == [1, 2, 3, 4, 5, 3, 4, 5]


async def test_a_deleted_destination_gets_nothing_more(world: World) -> None:
    """Also when it failed before."""
    made = await world.destination(refused_port())
    await world.record(2)
    async with world.delivering() as delivery:
        await until(lambda: _fails(world, made))
        await world.store.write(lambda tx: tx.delete_destination(made.log, made.name))
        await until(lambda: not dict(delivery.waiting()))


async def test_an_svms_events_go_to_the_clusters_destinations(world: World) -> None:
    """With the sentence for accounts of the cluster."""
    svm, collector = Svm("11111111-1111-4111-8111-111111111111", "vs1"), Collector()
    await world.store.write(lambda tx: tx.add_svm(svm))
    await world.destination(collector.port, Log.EVENTS, filters=("important-events",))
    values = {
        "vserver": "vs1",
        "address": "ks:5696",
        "keyserver_status": "x",
        "node_states": "",
        "stage": "connect",
        "reason": "refused",
    }
    lost = events.NOT_AVAILABLE.happened("node-1", SystemClock().now(), svm, values)
    await world.store.write(lambda tx: tx.add_events([lost], events.MAX_EVENTS))
    with collector.running():
        async with world.delivering():
            await until(lambda: collector.messages)
    assert 'reason "refused"' in collector.messages[0]


def test_frames_of_the_collector() -> None:
    """The peer of these tests reads nothing but whole frames."""
    assert messages_in(b"3 abc4 d\ne\n") == ["abc", "d\ne\n"]
    for broken in (b"4 abc", b"abc", b"x abc"):
        with pytest.raises(ValueError, match=r"frame|invalid"):
            messages_in(broken)

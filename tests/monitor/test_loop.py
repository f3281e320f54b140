"""The monitor: it follows the configuration, stores what it finds, and ends without leftovers."""

from __future__ import annotations

import asyncio
import resource
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from keystead.core.availability import AddressCheck, CheckResult, WatchedAddress
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.key_managers import CertificateName, KeyManagerChange
from keystead.core.key_servers import AddRequest, ModifyRequest, NewKeyServer
from keystead.core.model import KeyServer, State
from keystead.core.server_address import ServerAddress
from keystead.monitor.recorder import Recorder
from keystead.service.ports.store import StoreError
from tests.monitor.conftest import CALL, CHECK_S, KNOWN_WITHIN_S, PROBE_S, Node, available, lost, watching
from tests.peers.key_server import KeyServerProcess
from tests.peers.proxy import proxy

if TYPE_CHECKING:
    from pathlib import Path

    from tests.peers import fault_servers as fault
    from tests.peers.fixtures import Pki

WATCHED_S = 3.0
"""Longer than a check and a probe of a silent server with ``brief_looks``."""


def address(server: fault.FaultServer) -> str:
    """Return the address of a server."""
    return f"127.0.0.1:{server.port}"


async def add(node: Node, key_manager: str, *servers: str) -> tuple[KeyServer, ...]:
    """Add servers, as a call does."""
    asked = tuple(NewKeyServer(ServerAddress.parse(server)) for server in servers)
    key_servers = node.open.services.key_servers
    request = AddRequest(asked, prefix="records[{index}].")
    return await key_servers.add(CALL, await key_servers.state(CALL, key_manager), request)


# --- the first observation ---


async def test_the_probe_that_accepts_a_server_is_its_first_observation(
    node_home: Path, pki: Pki, servers: list[fault.FaultServer]
) -> None:
    """The probe of an add is the first observation, with certificates, even if no monitor runs."""
    async with watching(node_home, pki) as node:
        await node.open.monitor.close()
        manager = await node.key_manager(address(servers[0]))
        first = await node.observation()
        assert (first.state, first.stage, first.reason) == (State.AVAILABLE, "", "")
        assert [certificate.subject for certificate in first.certificates] == ["key server"]
        await add(node, manager, address(servers[1]))
        assert [found.state for found in await node.observations()] == [State.AVAILABLE] * 2
        assert await node.events() == []


async def test_secondaries_are_observed_and_forgotten(node: Node, servers: list[fault.FaultServer]) -> None:
    """Each secondary has an observation from its own probe until it is removed."""
    manager = await node.key_manager(address(servers[0]), secondary_key_servers=("localhost",))
    assert {found.host: found.state for found in await node.observations()} == {
        "": State.AVAILABLE,
        "localhost": State.AVAILABLE,
    }
    await node.expect_connected(2)
    key_servers = node.open.services.key_servers
    change = ModifyRequest(ServerAddress.parse(address(servers[0])), secondary_key_servers=())
    await key_servers.modify(CALL, await key_servers.state(CALL, manager), change)
    assert [found.host for found in await node.observations()] == [""]
    await node.expect_connected(1)


# --- following the configuration ---


async def test_servers_that_come_and_go_are_noticed(node: Node, servers: list[fault.FaultServer]) -> None:
    """Added servers are watched within seconds; removed servers and their observations are dropped."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected(1)
    await add(node, manager, address(servers[1]), address(servers[2]))
    await node.expect_connected(3)
    key_servers = node.open.services.key_servers
    gone = ServerAddress.parse(address(servers[1]))
    await key_servers.remove(CALL, await key_servers.state(CALL, manager), gone)
    await node.expect_connected(2)
    assert len(await node.observations()) == 2
    await node.open.services.key_managers.delete(CALL, manager)
    await node.expect_connected(0)
    assert await node.observations() == ()


async def test_a_key_manager_has_an_interval_of_its_own(
    node_home: Path, pki: Pki, servers: list[fault.FaultServer]
) -> None:
    """It applies from its change on, without a restart, and so does the setting once it is 0 again.

    With the node's interval of a day, no look falls into the test. So the loss is seen by the key manager's own looks.
    """
    async with watching(node_home, pki, monitor_interval=86_400) as node:
        manager = await node.key_manager(address(servers[0]))
        change = node.open.services.key_managers.change
        assert node.open.monitor.connected == 0
        await change(CALL, manager, KeyManagerChange(monitor_interval=1))
        await node.expect_connected(1)
        servers[0].__exit__(None, None, None)
        await node.expect(lost("connection_refused"))
        await change(CALL, manager, KeyManagerChange(monitor_interval=0))
        await node.expect_connected(0)


async def test_changes_of_another_node_are_noticed(
    node: Node, node_home: Path, pki: Pki, servers: list[fault.FaultServer]
) -> None:
    """A server that another process stored in the database is watched."""
    manager = await node.key_manager(address(servers[0]))
    async with watching(node_home, pki) as other:
        await other.open.monitor.close()
        await add(other, manager, address(servers[1]))
    await node.expect_connected(2)


async def test_new_certificates_are_used(node: Node, pki: Pki, servers: list[fault.FaultServer]) -> None:
    """After a change of certificates, the servers are connected to again with the new ones."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected()
    accepted = servers[0].accepted
    new = NewCertificate("server_ca", pki.client_ca.pem, name="another")
    uuid = (await node.open.services.certificates.install(CALL, new)).uuid
    stored = await node.open.store.read(lambda tx: tx.key_manager(manager))
    assert stored is not None
    watcher = next(iter(node.open.monitor._watchers.values()))[0]
    cas = (*stored.server_ca_certificates, uuid)
    change = KeyManagerChange(server_ca_certificates=tuple(map(CertificateName, cas)))
    await node.open.services.key_managers.change(CALL, manager, change)
    async with asyncio.timeout(60):
        while next(iter(node.open.monitor._watchers.values()), (watcher,))[0] is watcher:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    await node.expect_connected()
    assert servers[0].accepted > accepted + 1
    (now,) = node.open.monitor._watchers.values()
    assert now[0].watched.certificates[1:] == cas


async def test_an_inactive_configuration_is_not_watched(node: Node, servers: list[fault.FaultServer]) -> None:
    """Servers of a key manager that is not enabled are not watched."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected()

    def disable(tx: object) -> None:
        found = tx.key_manager(manager)  # type: ignore[attr-defined]
        tx.change_key_manager(replace(found, enabled=False))  # type: ignore[attr-defined]

    await node.open.store.write(disable)
    await node.certificates()  # the change was no call's, so it has no record that moves the marker
    await node.expect_connected(0)


# --- time ---


@pytest.mark.usefixtures("brief_looks")
async def test_a_server_that_hangs_delays_nobody(node: Node, servers: list[fault.FaultServer]) -> None:
    """While one server hangs, the others are checked on time."""
    with proxy(servers[0].port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}", *map(address, servers[1:]))
        await node.expect_connected(4)
        network.fail("drop")
        metrics = node.open.services.health.telemetry
        before = (await metrics.exposition())[0].decode()
        await asyncio.sleep(WATCHED_S)
        after = (await metrics.exposition())[0].decode()
        (found,) = [found for found in await node.observations() if found.state is State.NOT_RESPONDING]
    looks = sample(after, "keystead_light_check_seconds_count") - sample(before, "keystead_light_check_seconds_count")
    assert looks >= 3 * WATCHED_S / CHECK_S * 0.6
    assert found.reason == "tls_timed_out"
    assert sample(after, "keystead_time_to_detect_seconds_count") == 1
    assert sample(after, "keystead_time_to_detect_seconds_sum") < 10


async def test_one_failed_look_is_no_loss(node: Node, servers: list[fault.FaultServer]) -> None:
    """A connection that breaks while the server is sound is made again, and nothing is announced."""
    with proxy(servers[0].port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}")
        await node.expect_connected()
        first = await node.observation()
        for _ in range(3):
            network.fail("reset")
            network.fail("forward")
            await asyncio.sleep(2 * CHECK_S)
        assert replace(await node.observation(), latency_ms=first.latency_ms) == first
        assert await node.events() == []


@pytest.mark.usefixtures("brief_looks")
async def test_a_loss_while_this_process_was_held_up_is_not_believed(node: Node, pki: Pki, tmp_path: Path) -> None:
    """A failed look during which this process was held up is discarded; the next look counts."""
    server = KeyServerProcess(tmp_path / "server", pki.server, pki.client_ca)
    try:
        await node.key_manager(server.address)
        await node.expect_connected()
        server.pause()
        ends = time.monotonic() + 60
        while not await discarded(node):
            assert time.monotonic() < ends
            time.sleep(0.9)  # noqa: ASYNC251 - whatever else waits for this thread
            await asyncio.sleep(0.2)
        server.resume()
        await asyncio.sleep(1)
    finally:
        server.kill()
    assert await node.events() == []


async def test_a_flapping_server_is_announced_at_each_change(node: Node, servers: list[fault.FaultServer]) -> None:
    """Announcements of losses and returns alternate."""
    with proxy(servers[0].port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}")
        await node.expect_connected()
        for _ in range(2):
            network.fail("reset")
            await node.expect(lost("connection_closed"))
            network.fail("forward")
            await node.expect(available)
    names = [event.name.removeprefix("km.keyserver.") for event in await node.events()]
    assert names == ["notavailable", "available"] * 2


# --- the store, restarts and the end ---


async def test_a_restart_keeps_what_is_known(node_home: Path, pki: Pki, servers: list[fault.FaultServer]) -> None:
    """State and since stay over a restart, and a loss is not announced again."""
    with proxy(servers[0].port) as (port, network):
        async with watching(node_home, pki) as node:
            await node.key_manager(f"127.0.0.1:{port}", address(servers[1]))
            await node.expect_connected(2)
            network.fail("reset")
            await node.expect_connected(1)
            await asyncio.sleep(1)
            before = await node.observations()
        assert {found.state for found in before} == {State.AVAILABLE, State.NOT_RESPONDING}
        async with watching(node_home, pki) as node:
            await node.expect_connected(1)
            await asyncio.sleep(4 * CHECK_S)
            now = await node.observations()
            assert {replace(each, latency_ms=None) for each in now} == {
                replace(each, latency_ms=None) for each in before
            }
            network.fail("forward")
            await node.expect_connected(2)
            await asyncio.sleep(0.5)
            names = [event.name for event in await node.events()]
            assert names == ["km.keyserver.notavailable", "km.keyserver.available"]


async def test_what_cannot_be_stored_is_stored_later(
    node: Node, servers: list[fault.FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the database fails, changes are stored in order when it works again."""
    with proxy(servers[0].port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}")
        await node.expect_connected()
        watching_ = node.open.monitor._watching
        record, failed = watching_.record, []

        async def away(changes: list[AddressCheck]) -> None:
            failed.append(len(changes))
            raise StoreError("away")

        monkeypatch.setattr(watching_, "record", away)
        network.fail("reset")
        async with asyncio.timeout(60):
            while len(failed) < 2:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)
        assert available(await node.observation())
        monkeypatch.setattr(watching_, "record", record)
        await node.expect(lost("connection_closed"))
        assert [event.name for event in await node.events()] == ["km.keyserver.notavailable"]


async def test_one_key_manager_that_cannot_be_stored_holds_up_no_other(node: Node) -> None:
    """Changes of each key manager are stored in order, even if those of others cannot be."""
    stored: list[str] = []

    class Partly:
        async def record(self, changes: list[AddressCheck]) -> frozenset[str]:
            named = {change.key_manager for change in changes}
            if "damaged" in named:
                raise StoreError("a stored row is damaged")
            stored.extend(change.look.reason for change in changes if change.key_manager != "locked")
            return frozenset(named & {"locked"})

    del node
    recorder = Recorder(Partly())  # type: ignore[arg-type]
    running = asyncio.create_task(recorder.run())
    for number in range(3):
        for name in ("damaged", "locked", "sound"):
            change = AddressCheck(
                name,
                WatchedAddress(name, ""),
                CheckResult("connect", f"{name} {number}"),
                datetime(2026, 5, 1, tzinfo=UTC),
            )
            recorder.put(change)
    async with asyncio.timeout(60):
        while len(stored) < 3:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.05)
    running.cancel()
    assert stored == ["sound 0", "sound 1", "sound 2"]


@pytest.mark.parametrize("state", [State.AVAILABLE, State.NOT_RESPONDING])
async def test_a_store_that_says_something_else_is_put_right(
    node: Node, servers: list[fault.FaultServer], state: State
) -> None:
    """If the stored state differs from the watcher's, the next look corrects it."""
    with proxy(servers[0].port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}")
        await node.expect_connected()
        if state is State.NOT_RESPONDING:
            network.fail("reset")
            await node.expect(lost("connection_closed"))
        await asyncio.sleep(3 * CHECK_S)
        other = State.AVAILABLE if state is State.NOT_RESPONDING else State.NOT_RESPONDING
        wrong = replace(await node.observation(), state=other)
        await node.open.store.write(lambda tx: tx.put_observations([wrong], new=False))
        await node.expect(lambda found: found.state is state, within_s=KNOWN_WITHIN_S)


async def test_the_first_look_of_a_new_watch_is_told_whatever_it_began_with(
    node: Node, servers: list[fault.FaultServer]
) -> None:
    """The first look of a new watch is always stored, because an older change may be stored late."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected()
    await asyncio.sleep(3 * CHECK_S)
    node.open.monitor._watchers.clear()
    node.open.monitor._marker = None
    while not node.open.monitor._watchers:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.01)
    ((watcher, _),) = node.open.monitor._watchers.values()
    assert watcher.known is not None
    assert watcher.known.state is State.AVAILABLE
    late = AddressCheck(
        manager, watcher.watched.place, CheckResult("connect", "connection_refused"), node.open.monitor._watching.now()
    )
    node.open.monitor._recorder.put(late)
    await node.expect(available, within_s=PROBE_S * 0.9)


async def test_what_this_node_changes_is_watched_at_once(node: Node, servers: list[fault.FaultServer]) -> None:
    """A change by this node is watched at once, before the next check of the marker."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected()
    await asyncio.sleep(0.3)
    added = await add(node, manager, address(servers[1]))
    async with asyncio.timeout(0.5):
        while WatchedAddress(added[0].uuid, "") not in node.open.monitor._watchers:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)
    await node.expect_connected(2)


WITHOUT_DATABASE = (
    "the monitor cannot read its configuration",
    "observations are not stored yet",
    "certificates are not announced yet",
)


async def test_without_its_database_the_monitor_goes_on_and_ends_in_time(
    node: Node, servers: list[fault.FaultServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without its database the monitor logs what cannot be read or stored, goes on, and ends in time."""
    with proxy(servers[0].port) as (port, network):
        await node.key_manager(f"127.0.0.1:{port}", address(servers[1]))
        await node.expect_connected(2)
        node.open.monitor._announced = None  # as before they were read for the first time
        await node.open.store.close()
        network.fail("reset")
        said = ""
        async with asyncio.timeout(60):
            while not all(text in said for text in WITHOUT_DATABASE):
                await asyncio.sleep(0.1)
                said += capsys.readouterr().out
        assert node.open.monitor.connected == 1
        began = time.monotonic()
        await node.open.monitor.close()
        assert time.monotonic() - began < 30


async def test_a_look_that_breaks_is_followed_by_another(
    node: Node, servers: list[fault.FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error in a look ends neither this watch nor others."""
    await node.key_manager(address(servers[0]))
    await node.expect_connected()
    ((watcher, task),) = node.open.monitor._watchers.values()
    looked, again = asyncio.Event(), asyncio.Event()

    async def check(_: object, limit_s: float) -> bool:
        (again if looked.is_set() else looked).set()
        raise RuntimeError(f"unforeseen within {limit_s} s")

    with monkeypatch.context() as patched:
        patched.setattr(type(watcher._watch), "check", check)
        async with asyncio.timeout(30):
            await again.wait()
    assert not task.done()
    await asyncio.sleep(2 * CHECK_S)
    assert available(await node.observation())


async def test_a_loop_that_breaks_goes_on(
    node: Node, servers: list[fault.FaultServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unexpected error in reading the configuration or storing changes does not end the loop."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected()

    async def broken(*_: object) -> None:
        raise RuntimeError("unforeseen")

    with monkeypatch.context() as patched:
        patched.setattr(node.open.monitor._watching, "marker", broken)
        await add(node, manager, address(servers[1]))
        await asyncio.sleep(1.5)
        assert node.open.monitor.connected == 1
    await node.expect_connected(2)


async def test_too_few_open_files_are_told(
    node: Node, servers: list[fault.FaultServer], capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning is logged if the addresses need more than half of the permitted open files."""
    manager = await node.key_manager(address(servers[0]))
    await node.expect_connected()
    await add(node, manager, address(servers[1]), address(servers[2]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    await node.expect_connected(3)
    assert "too few open files" not in capsys.readouterr().out
    resource.setrlimit(resource.RLIMIT_NOFILE, (5, hard))
    try:
        node.open.monitor._check_descriptors()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "too few open files" in capsys.readouterr().out


async def test_the_monitor_ends_in_time_and_leaves_nothing(
    node_home: Path, pki: Pki, servers: list[fault.FaultServer]
) -> None:
    """The monitor ends in time during looks, and leaves no task and no connection."""
    with proxy(servers[0].port) as (port, network):
        async with watching(node_home, pki) as node:
            await node.key_manager(f"127.0.0.1:{port}", *map(address, servers[1:]))
            await node.expect_connected(4)
            network.fail("drop")
            await asyncio.sleep(CHECK_S * 3)
            began = time.monotonic()
            await node.open.monitor.close()
            assert time.monotonic() - began < 30
            assert node.open.monitor.connected == 0
            names = {getattr(task.get_coro(), "__qualname__", "") for task in asyncio.all_tasks()}
            assert not any(
                name.startswith(("Watcher", "Monitor", "Recorder", "Heartbeat", "_for_ever")) for name in names
            )
        async with asyncio.timeout(60):
            while any(server._open for server in servers[1:]):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.05)


async def discarded(node: Node) -> float:
    """Return how many looks were discarded."""
    text = (await node.open.services.health.telemetry.exposition())[0].decode()
    return sample(text, "keystead_looks_discarded_total")


def sample(text: str, name: str) -> float:
    """Return the value of a metric without labels."""
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(f"{name} ")))

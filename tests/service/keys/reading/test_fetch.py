"""Fetching from key servers: which is asked, when the next one is, and what becomes of one that lies."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from sqlalchemy import text

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Presence
from keystead.core.model import Event
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import KeyServer, close, delay, held, silence
from keystead.kmip.ttlv.enums import Operation
from keystead.service.announcing import cluster_name
from keystead.service.cluster.events import Events
from keystead.service.keys.reading.fetch import FetchLimits, Hedges
from keystead.service.ports.page import Page
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, asked
from tests.service.worlds.reading import MATERIAL, ReadingNode, reader_of, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.core.keys.model import Key
    from keystead.service.ports.store import Transaction

GET = Operation.GET


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Return one engine: what depends on key servers only is tested there."""
    return sqlite_url


UNHEDGED = FetchLimits(hedges_saved=0.0)


@pytest.fixture
def limits() -> FetchLimits:
    """Return limits without hedged requests, so that tests know who is asked; a test may give others as a parameter."""
    return UNHEDGED


@pytest.fixture
async def node(key_world: KeyWorld, limits: FetchLimits) -> AsyncIterator[ReadingNode]:
    """Yield a node with these limits; it holds one key in memory."""
    async with reading(key_world, most=1, limits=limits) as node:
        yield node


async def fetched(node: ReadingNode, key: Key) -> list[str]:
    """Read a key from the servers; how each one's turn ended, in order."""
    node.cache.close()
    assert await node.read(key) == MATERIAL
    node.cache.close()
    return [outcome for _, outcome in await node.explained(key)]


async def presences(world: KeyWorld, key: Key) -> list[Presence]:
    """Return what is known of a key's copies, by server."""
    return [copy.presence for copy in await world.copies(key.uuid)]


def gets(*servers: KeyServer) -> list[int]:
    """Return how many Gets came to each."""
    return [len(asked(server, GET)) for server in servers]


async def test_one_server_is_asked(key_world: KeyWorld, node: ReadingNode) -> None:
    """A read asks one server if it answers."""
    servers = await key_world.start(3)
    key = await node.create(await key_world.key_manager(*servers))
    before = gets(*servers)
    assert sorted(await fetched(node, key)) == ["not_needed", "not_needed", "read"]
    assert sum(gets(*servers)) - sum(before) == 2


async def test_the_server_that_answers_best_comes_first(key_world: KeyWorld, node: ReadingNode) -> None:
    """Servers are asked in the order of their recent Gets, including those that proved the copies."""
    servers = await key_world.start(2)
    servers[0].faults[GET] = delay(1.0)
    key = await node.create(await key_world.key_manager(*servers))
    node.cache.close()
    (first, *_) = await node.explained(key)
    assert first == (f"127.0.0.1:{servers[1].port}", "read")


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [(close, "connection_closed"), (None, "item_not_found")],
    ids=["it closes", "it lost the object"],
)
async def test_the_next_server_is_asked_when_one_fails(
    key_world: KeyWorld, node: ReadingNode, fault: Any, outcome: str
) -> None:
    """The next server is asked at once, and a failed read does not change the stored copy."""
    servers = await key_world.start(2)
    servers[1].faults[GET] = delay(0.2)  # the second choice
    key = await node.create(await key_world.key_manager(*servers))
    await fetched(node, key)
    if fault:
        servers[0].faults[GET] = fault
    else:
        servers[0].responder.store.forget_all()
    assert await fetched(node, key) == [outcome, "read"]
    assert await presences(key_world, key) == [Presence.PRESENT, Presence.PRESENT]


@pytest.mark.parametrize("limits", [replace(UNHEDGED, late_s=0.1)], ids=["impatient"])
async def test_a_dead_server_is_asked_once_and_then_left_alone(key_world: KeyWorld, node: ReadingNode) -> None:
    """A silent server is asked once; then its circuit is open, and reads begin at another server."""
    servers = await key_world.start(2)
    servers[1].faults[GET] = delay(0.3)  # the second choice
    key = await node.create(await key_world.key_manager(*servers, timeout=30))
    await fetched(node, key)
    servers[0].request_faults[GET] = silence
    before = gets(servers[0])[0]
    node.cache.close()
    assert (await node.explained(key))[0][1] == "overtaken"
    for _ in range(5):
        node.cache.close()
        order = await node.explained(key)
        assert [outcome for _, outcome in order] == ["read", "circuit_open"]
    assert gets(servers[0])[0] - before == 1


@pytest.mark.parametrize("limits", [replace(UNHEDGED, late_s=0.05)], ids=["impatient"])
async def test_a_server_that_is_late_may_still_win(key_world: KeyWorld, node: ReadingNode) -> None:
    """The read waits for all servers that were asked, and the first answer wins."""
    servers = await key_world.start(2)
    key = await node.create(await key_world.key_manager(*servers))
    release = asyncio.Event()
    for server in servers:
        server.faults[GET] = held(release)
    node.cache.close()
    reading_ = asyncio.create_task(node.read(key))
    await asyncio.sleep(0.2)
    assert not reading_.done()
    release.set()
    assert await reading_ == MATERIAL


@pytest.mark.parametrize("limits", [FetchLimits(late_s=30, hedges_saved=1.0)], ids=["one hedge"])
async def test_few_reads_ask_a_second_server_early(key_world: KeyWorld, node: ReadingNode) -> None:
    """A read above the 95th percentile sends a hedged request; without budget it waits until the server is late."""
    servers = await key_world.start(2)
    key = await node.create(await key_world.key_manager(*servers))
    servers[1].faults[GET] = delay(0.02)
    for _ in range(60):
        node.cache.close()
        await node.read(key)
    assert gets(*servers)[1] < 10
    servers[0].faults[GET] = delay(1.5)
    node.fetcher._hedges = Hedges(1.0)  # a busy machine may have used some

    async def seconds_of_a_read() -> float:
        node.cache.close()
        began = time.monotonic()
        await node.read(key)
        return time.monotonic() - began

    assert await seconds_of_a_read() < 1.2
    await asyncio.sleep(1.6)  # the one that was overtaken is done
    assert await seconds_of_a_read() > 1.2


def test_hedges_are_a_twentieth_of_all_fetches() -> None:
    """One in twenty fetches may be hedged; ten unused ones are saved."""
    hedges = Hedges()
    assert [hedges.take() for _ in range(11)] == [True] * 10 + [False]
    taken = 0
    for _ in range(1000):
        hedges.count()
        taken += hedges.take()
    assert 49 <= taken <= 50


async def test_a_secondary_is_asked_when_its_primary_is_gone(key_world: KeyWorld, node: ReadingNode) -> None:
    """A secondary is asked if its primary does not answer."""
    (primary,) = await key_world.start(1)
    await key_world.start_secondary(primary)
    key = await node.create(await key_world.key_manager(primary, secondary_key_servers=(SECONDARY,)))
    await primary.__aexit__(None, None, None)
    assert (await fetched(node, key))[-1] == "read"


async def test_a_server_that_lies_is_passed_over_marked_and_announced(key_world: KeyWorld, node: ReadingNode) -> None:
    """A server with other bytes is marked and announced once, and not asked for this key again."""
    servers = await key_world.start(2)
    servers[1].faults[GET] = delay(0.2)  # the second choice
    key = await node.create(await key_world.key_manager(*servers, of_cluster=True))
    await fetched(node, key)
    (uid,) = servers[0].responder.objects
    servers[0].responder.store.rot(uid)
    node.cache.close()
    with structlog.testing.capture_logs() as logs:
        assert await node.read(key) == MATERIAL
        await node.fetcher.close()
    assert [entry["event"] for entry in logs] == ["key server returned other material"]
    assert logs[0]["address"] == f"127.0.0.1:{servers[0].port}"
    assert MATERIAL.hex() not in repr(logs)
    assert await presences(key_world, key) == [Presence.DIFFERENT, Presence.PRESENT]
    assert await fetched(node, key) == ["read", "different_material"]
    events = await key_world.store.read(lambda tx: tx.page(Event, Page()))
    assert [(event.name, dict(event.parameters)["key_id"]) for event in events] == [("km.key.different", key.key_id)]
    assert not {"REGISTER", "DESTROY"} & set(asked(servers[0])[asked(servers[0]).index("ACTIVATE") :])


async def test_who_is_told_of_a_server_that_lies(key_world: KeyWorld, node: ReadingNode) -> None:
    """The event about a wrong copy is shown only to callers who see the server."""
    svm = await key_world.home.svm()
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server, of_cluster=True), svm=svm)
    server.responder.lying = True
    node.cache.close()
    with pytest.raises(OntapError):
        await node.read(key, reader_of(svm))
    await node.fetcher.close()
    cluster = await key_world.store.read(cluster_name)
    told = await Events(key_world.store).page(CALL, Page())
    assert [dict(event.parameters) for event in told] == [
        {"vserver": cluster, "address": f"127.0.0.1:{server.port}", "key_id": key.key_id}
    ]
    assert await Events(key_world.store).page(reader_of(svm), Page()) == ()


async def test_a_secondary_that_lies_says_nothing_about_its_primary(key_world: KeyWorld, node: ReadingNode) -> None:
    """Wrong bytes on a secondary leave the primary's copy proven."""
    (primary,) = await key_world.start(1)
    manager = await key_world.key_manager(primary, secondary_key_servers=(SECONDARY,))
    key = await node.create(manager)
    lying = Responder()
    for uid, stored in primary.responder.objects.items():
        lying.store.receive(uid, stored.copy())
        lying.store.rot(uid)
    await key_world.start_secondary(primary, lying)
    primary.faults[GET] = close
    node.cache.close()
    with pytest.raises(OntapError) as refused:
        await node.read(key)
    assert ("reason", "different_material") in refused.value.arguments
    assert await presences(key_world, key) == [Presence.PRESENT]


async def test_a_key_that_no_server_has(key_world: KeyWorld, node: ReadingNode) -> None:
    """A key that no server returns gives the code of its type, with each server and its reason."""
    servers = await key_world.start(2)
    key = await node.create(await key_world.key_manager(*servers))
    node.cache.close()
    for server in servers:
        server.responder.store.forget_all()
    with pytest.raises(OntapError) as refused:
        await node.read(key)
    assert refused.value.kind is errors.VOLUME_KEY_NOT_RESTORED
    assert [value for name, value in refused.value.arguments if name == "reason"] == 2 * ["item_not_found"]
    assert {value for name, value in refused.value.arguments if name == "server"} == {
        f"127.0.0.1:{server.port}" for server in servers
    }


@pytest.mark.parametrize("limits", [replace(UNHEDGED, fetch_s=0.2)], ids=["short"])
async def test_a_fetch_has_an_end(key_world: KeyWorld, node: ReadingNode) -> None:
    """A fetch ends at its own time limit, whatever the time-outs of the servers are."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server, timeout=-1))
    node.cache.close()
    server.request_faults[GET] = silence
    with pytest.raises(OntapError) as refused:
        await node.read(key)
    assert ("reason", "overtaken") in refused.value.arguments


async def test_without_a_usable_identity_nobody_is_asked(key_world: KeyWorld, node: ReadingNode) -> None:
    """If the client certificate cannot be used, no server is asked, and the error says so."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    key = await node.create(manager)
    node.cache.close()
    before = gets(server)
    await key_world.store.write(lambda tx: tx.delete_certificate(key_world.home.server_ca))
    with pytest.raises(OntapError) as refused:
        await node.read(key)
    assert refused.value.arguments == (("reason", "identity_unusable"),)
    assert gets(server) == before


@pytest.mark.parametrize("limits", [replace(UNHEDGED, read_contexts=1)], ids=["one context"])
async def test_a_changed_configuration_is_heeded_at_once(key_world: KeyWorld, node: ReadingNode) -> None:
    """The servers of a key manager are cached until an audit record tells of a change, also if few fit the cache."""
    servers = await key_world.start(2)
    manager, other = await key_world.key_manager(*servers), await key_world.key_manager(*servers)
    key, another = await node.create(manager), await node.create(other)
    for each in (key, another, key, key):
        await fetched(node, each)
    removed, kept = await key_world.servers(manager)

    def remove(tx: Transaction) -> None:
        tx.delete_key_server(removed.uuid)
        node.of.audit.succeed(tx, CALL)

    await node.of.store.write(remove)
    node.cache.close()
    assert await node.explained(key) == [(str(kept.address), "read")]


async def test_what_an_aborted_attempt_left_is_not_read(key_world: KeyWorld, node: ReadingNode) -> None:
    """Copies of an aborted attempt are not read, because they will be destroyed."""
    servers = await key_world.start(2)
    key = await node.create(await key_world.key_manager(*servers))
    (attempt,) = await key_world.attempts(key.uuid)
    assert attempt.state is AttemptState.COMMITTED
    standing = await key_world.store.read(lambda tx: tx.copies_not_aborted([key.uuid]))
    assert len(standing) == 2
    with key_world.store.database.writer.begin() as connection:
        connection.execute(text("UPDATE key_attempts SET state = 'aborted'"))
    assert await key_world.store.read(lambda tx: tx.copies_not_aborted([key.uuid])) == ()

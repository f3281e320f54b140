"""Restoring keys into a node's memory: which, from where, over whom; and what a node says of key ids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, Presence
from keystead.core.model import Node, Observation, Release, State
from keystead.core.server_address import ServerAddress
from keystead.kmip.testing.server import close, first, silence
from keystead.kmip.ttlv.enums import Operation
from keystead.service.keys.ids import key_ids
from keystead.service.keys.reading.restore import Filters
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, asked
from tests.service.worlds.reading import MATERIAL, ReadingNode, reader_of, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import KeyServer
    from keystead.service.context import Call
    from keystead.service.ports.store import Transaction

GET = Operation.GET

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def restoring() -> dict[str, int]:
    """Return the options of KeyRestorer; a test may give others as a parameter."""
    return {}


@pytest.fixture
async def node(key_world: KeyWorld, restoring: dict[str, int]) -> AsyncIterator[ReadingNode]:
    """Yield a node with memory."""
    async with reading(key_world, restoring=restoring) as node:
        yield node


async def made(node: ReadingNode, manager: str, count: int = 5) -> list[Key]:
    """Keys, named by letters."""
    return [await node.create(manager, name, key_tag=f"tag-{name}") for name in "abcdefghij"[:count]]


def gets(servers: list[KeyServer]) -> list[int]:
    """Return how many objects each was asked for."""
    return [sum(len(r.batch_item) for r in s.requests if r.batch_item[0].operation == GET) for s in servers]


async def test_all_keys_are_restored_in_few_messages(key_world: KeyWorld, node: ReadingNode) -> None:
    """Keys that are in memory are not asked for again, and all others are asked for in batches."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    keys = await made(node, manager)
    await node.read(keys[0])
    before = gets(servers)
    assert await node.restore(manager) == (list("bcde"), [])
    assert sum(gets(servers)) - sum(before) == 4
    assert all(node.reader.held(key) for key in keys)
    assert node.progress == ["5 of 5 records complete."]
    assert await node.restore(manager) == ([], [])
    records = await key_world.store.read(lambda tx: tx.audit_records(node.of.uuid, 0, 100))
    assert [each.message for each in records][-2:] == ["restored 4 keys into memory", "restored 0 keys into memory"]
    for server in servers:
        await server.__aexit__(None, None, None)
    assert [await node.read(key) for key in keys] == 5 * [MATERIAL]


@on_sqlite
@pytest.mark.parametrize("restoring", [{"page": 2, "together": 1}], ids=["small"])
async def test_keys_are_looked_at_in_pages(key_world: KeyWorld, node: ReadingNode) -> None:
    """Keys are restored in pages, each in batches, with progress after each page."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    await made(node, manager)
    assert await node.restore(manager) == (list("abcde"), [])
    assert node.progress == [f"{done} of 5 records complete." for done in (2, 4, 5)]


@on_sqlite
async def test_filters(key_world: KeyWorld, node: ReadingNode) -> None:
    """Keys are restored by key id and tag; a filter that matches no key is no failure."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers)
    keys = await made(node, manager)
    assert await node.restore(manager, key_id=keys[1].key_id) == (["b"], [])
    assert await node.restore(manager, key_tag="tag-c") == (["c"], [])
    assert await node.restore(manager, key_tag="tag-c", key_id=keys[3].key_id) == ([], [])
    assert await node.restore(manager, node_uuid=node.of.uuid) == (["a", "d", "e"], [])
    counted = [await node.held(manager, **filters) for filters in ({}, {"key_tag": "tag-c"}, {"key_tag": "none"})]
    assert counted == [5, 1, 0]


@on_sqlite
async def test_only_keys_that_may_be_read_are_restored(key_world: KeyWorld, node: ReadingNode) -> None:
    """Only committed keys of the call's SVM are restored."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    svm = await key_world.home.svm()
    await node.create(manager, "of the SVM", svm=svm)
    retired, other = [await node.create(manager, name) for name in ("of the cluster", "another")]
    assert await node.restore(manager, reader_of(svm)) == (["of the SVM"], [])
    with key_world.store.database.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE keys SET state = 'retired' WHERE name = 'of the cluster'")
    assert (await key_world.key(retired.uuid)).state is KeyState.RETIRED
    assert await node.restore(manager) == (["another"], [])
    for call, key_id in ((CALL, retired.key_id), (reader_of(svm), other.key_id)):
        with pytest.raises(OntapError) as refused:
            await node.restore(manager, call, key_id=key_id)
        assert (refused.value.kind, refused.value.target) == (errors.ENTRY_NOT_FOUND, "key_id")


@on_sqlite
@pytest.mark.parametrize("restoring", [{"page": 2}], ids=["small"])
async def test_an_svm_is_told_of_its_own_keys_only(key_world: KeyWorld, node: ReadingNode) -> None:
    """A restore of an SVM shows neither the number of other keys nor the cluster's servers."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    svm = await key_world.home.svm()
    await made(node, manager)
    await node.create(manager, "of the SVM", svm=svm)
    restored = await node.restored(manager, reader_of(svm))
    assert [(each.key.name, each.server) for each in restored] == [("of the SVM", None)]
    assert node.progress == ["1 of 1 records complete."]
    assert {each.server for each in await node.restored(manager)} == set(await key_world.servers(manager))


@on_sqlite
async def test_from_one_server(key_world: KeyWorld, node: ReadingNode) -> None:
    """Only the named server is asked; a key that it does not return fails."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    await made(node, manager, 3)
    before = gets(servers)
    servers[1].responder.store.forget(next(iter(servers[1].responder.objects)))
    address = ServerAddress.parse(f"127.0.0.1:{servers[1].port}")
    assert await node.restore(manager, key_server=address) == (["b", "c"], ["a"])
    assert gets(servers)[0] == before[0]
    assert await node.restore(manager) == (["a"], [])


@on_sqlite
async def test_one_server_that_loses_a_connection_is_asked_again(key_world: KeyWorld, node: ReadingNode) -> None:
    """No other returns what it was asked for."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    await made(node, manager, 3)
    servers[1].faults[GET] = first(3, close)
    address = ServerAddress.parse(f"127.0.0.1:{servers[1].port}")
    assert await node.restore(manager, key_server=address) == (list("abc"), [])


@pytest.mark.parametrize(
    ("filters", "kind", "target"),
    [
        ({"key_server": f"[{SECONDARY}]"}, errors.ONLY_PRIMARIES, "key_server"),
        ({"key_server": "192.0.2.9"}, errors.KEY_SERVER_NOT_CONFIGURED, "key_server"),
        ({"node_uuid": "nobody"}, errors.INVALID_VALUE, "node.uuid"),
        ({"node_name": "nobody"}, errors.INVALID_VALUE, "node.name"),
        ({"node_name": "another"}, errors.INVALID_VALUE, "node.name"),
        ({"key_id": "f" * 64 + "0" * 16}, errors.ENTRY_NOT_FOUND, "key_id"),
    ],
    ids=["a secondary", "an unknown server", "no node's uuid", "no node's name", "another node", "no key's id"],
)
@on_sqlite
async def test_what_cannot_be_restored_is_said_before_a_job_is_made(
    key_world: KeyWorld, node: ReadingNode, filters: dict[str, str], kind: errors.ErrorKind, target: str
) -> None:
    """A wrong field is refused with its code before a job is created."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, secondary_key_servers=(SECONDARY,))
    await key_world.store.write(lambda tx: tx.put_node(Node("another", "another", Release(9, 18, 1))))
    if "key_server" in filters:
        filters = {"key_server": f"{filters['key_server']}:{server.port}"}
    given = {n: ServerAddress.parse(v) if n == "key_server" else v for n, v in filters.items()}
    with pytest.raises(OntapError) as refused:
        await node.restorer.plan(CALL, manager, Filters(**given))  # type: ignore[arg-type]
    assert (refused.value.kind, refused.value.target) == (kind, target)


@on_sqlite
@pytest.mark.parametrize("host", ["127.0.0.1", f"[{SECONDARY}]", "192.0.2.9"])
async def test_an_svm_learns_no_address_of_the_clusters_servers(
    key_world: KeyWorld, node: ReadingNode, host: str
) -> None:
    """The answer to an SVM is the same for every address."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True, secondary_key_servers=(SECONDARY,))
    svm = await key_world.home.svm()
    address = ServerAddress.parse(f"{host}:{server.port}")
    with pytest.raises(OntapError) as refused:
        await node.restorer.plan(reader_of(svm), manager, Filters(key_server=address))
    assert (refused.value.kind, refused.value.target) == (errors.KEY_SERVER_NOT_CONFIGURED, "key_server")


@on_sqlite
async def test_an_svm_does_not_restore_from_anothers_key_manager(key_world: KeyWorld, node: ReadingNode) -> None:
    """A key manager of another SVM does not exist for the call."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    with pytest.raises(OntapError) as refused:
        await node.restorer.plan(reader_of(await key_world.home.svm()), manager, Filters())
    assert refused.value.kind is errors.ENTRY_NOT_FOUND


@on_sqlite
async def test_what_one_server_lost_or_spoiled_comes_from_another(key_world: KeyWorld, node: ReadingNode) -> None:
    """A lost or different copy is read from another server, and the different one is marked."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    keys = await made(node, manager)
    first_, second, *_ = servers[0].responder.objects
    servers[0].responder.store.forget(first_)
    servers[0].responder.store.rot(second)
    assert await node.restore(manager) == (list("abcde"), [])
    await node.fetcher.close()
    assert [await node.read(key) for key in keys] == 5 * [MATERIAL]


@on_sqlite
async def test_a_server_that_lies_is_marked_by_a_restore(key_world: KeyWorld, node: ReadingNode) -> None:
    """A wrong copy is marked, and the key comes from the other server."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    (key,) = await made(node, manager, 1)
    servers[0].responder.store.rot(next(iter(servers[0].responder.objects)))
    address = ServerAddress.parse(f"127.0.0.1:{servers[0].port}")
    assert await node.restore(manager, key_server=address) == ([], ["a"])
    await node.fetcher.close()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [Presence.DIFFERENT, Presence.PRESENT]
    assert await node.restore(manager) == (["a"], [])


@on_sqlite
async def test_dead_servers_do_not_keep_keys_from_being_restored(key_world: KeyWorld, node: ReadingNode) -> None:
    """Keys of dead servers are restored from the others."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    await made(node, manager)
    await servers[0].__aexit__(None, None, None)
    servers[1].faults[GET] = first(1, close)
    assert await node.restore(manager) == (list("abcde"), [])


@on_sqlite
async def test_a_server_that_falls_silent_costs_one_time_out(key_world: KeyWorld, node: ReadingNode) -> None:
    """Keys of a silent server are restored from others after one time-out."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, timeout=1)
    await made(node, manager)
    servers[0].request_faults[GET] = silence
    assert await node.restore(manager) == (list("abcde"), [])


@on_sqlite
async def test_keys_that_no_server_returns_fail(key_world: KeyWorld, node: ReadingNode) -> None:
    """The error has the code of the first key's type and names some keys."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    keys = await made(node, manager, 3)
    for server in servers:
        await server.__aexit__(None, None, None)
    plan = await node.restorer.plan(CALL, manager, Filters())

    async def progress(_: OntapError) -> None:
        """Nobody listens."""

    done = await node.restorer.restore(plan, progress)
    assert done.error is not None
    assert done.error.kind is errors.VOLUME_KEY_NOT_RESTORED
    assert sorted(done.error.arguments) == sorted(("key_id", key.key_id) for key in keys)
    assert plan.svm == keys[0].svm


@on_sqlite
async def test_without_a_usable_identity_all_fail(key_world: KeyWorld, node: ReadingNode) -> None:
    """If the client certificate cannot be used, all keys fail and no server is asked."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    await made(node, manager, 2)
    await key_world.store.write(lambda tx: tx.delete_certificate(key_world.home.server_ca))
    before = len(asked(server))
    assert await node.restore(manager) == ([], ["a", "b"])
    assert len(asked(server)) == before


@on_sqlite
async def test_a_key_without_a_proven_copy_is_looked_for_singly(key_world: KeyWorld, node: ReadingNode) -> None:
    """A key without a proven copy is fetched singly, because a copy may be there."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    await made(node, manager, 2)
    with key_world.store.database.writer.begin() as connection:
        connection.exec_driver_sql("UPDATE key_copies SET presence = 'missing'")
    assert await node.restore(manager) == (["a", "b"], [])


# --- key ids ---


async def test_what_a_node_says_of_key_ids(key_world: KeyWorld, node: ReadingNode) -> None:
    """A key counts as restored if it is in memory or has a proven copy on an available server."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    svm = await key_world.home.svm()
    held, proven = await node.create(manager, "held", svm=svm), await node.create(manager, "proven")
    await node.read(held)
    rows = await key_world.servers(manager)

    async def said(call: Call, of_node: str) -> list[tuple[str, bool]]:
        def read(tx: Transaction) -> list[tuple[str, bool]]:
            found = tx.key_manager(manager)
            assert found is not None
            mine = of_node == node.of.uuid
            views = key_ids(tx, call, found, [held, proven], of_node, node.reader.held if mine else lambda _: False)
            return [(view.server, view.restored) for view in views]

        return await key_world.store.read(read)

    address = str(rows[0].address)
    assert await said(CALL, node.of.uuid) == [(address, True), (address, False)]
    assert await said(reader_of(svm), node.of.uuid) == [("", True), ("", False)]
    seen = Observation(node.of.uuid, rows[1].uuid, "", State.AVAILABLE, key_world.clock.now())
    await key_world.store.write(lambda tx: tx.put_observations([seen], new=True))
    assert await said(CALL, node.of.uuid) == [(address, True), (address, True)]
    assert await said(CALL, "another") == [(address, False), (address, False)]
    lost = replace(seen, key_server=rows[0].uuid, state=State.NOT_RESPONDING)
    await key_world.store.write(lambda tx: tx.put_observations([lost], new=True))
    assert await said(CALL, node.of.uuid) == [(str(rows[1].address), True), (str(rows[1].address), True)]
    assert await said(CALL, "another") == [(address, False), (address, False)]

"""Reading keys: from memory or from servers, by whom, recorded first, and what goes on while the database is away."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import KeyState, KeyType
from keystead.kmip.testing.server import held, silence
from keystead.kmip.ttlv.enums import Operation
from keystead.service.audit import reads as module
from keystead.service.keys.catalogue import Keys
from keystead.service.ports.store import OutcomeUnknown, StorageError, StoreError
from tests.service.worlds.keys import KeyWorld, asked
from tests.service.worlds.reading import MATERIAL, READER, ReadingNode, reader_of, reading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from keystead.core.keys.model import Key
    from keystead.service.context import Call
    from keystead.service.keys.reading.retrieve import KeyReader
    from keystead.store import SqlStore

GET = Operation.GET

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
async def node(key_world: KeyWorld) -> AsyncIterator[ReadingNode]:
    """Yield a node with memory."""
    async with reading(key_world) as node:
        yield node


async def change(world: KeyWorld, key: Key, state: KeyState) -> None:
    """Change a key's state, as another node does."""
    now = await world.key(key.uuid)
    assert await world.store.write(
        lambda tx: tx.change_key(replace(now, state=state, version=now.version + 1), now.state)
    )


async def away(_: object) -> None:
    """Return what is read from a database that is away."""
    raise StoreError("away")


async def refused(node: ReadingNode, key: Key, call: Call = READER) -> OntapError:
    """Return the error of a read."""
    with pytest.raises(OntapError) as raised:
        await node.read(key, call)
    return raised.value


async def retrieved(world: KeyWorld, node: ReadingNode) -> list[tuple[str, str]]:
    """Return the reads in the audit chain: account, and what was retrieved."""
    records = await world.store.read(lambda tx: tx.audit_records(node.of.uuid, 0, 100))
    said = [(record.account, record.message.partition(", read ")[0]) for record in records]
    return [(account, message) for account, message in said if message.startswith("retrieval")]


@contextmanager
def without(store: SqlStore, *tables: str) -> Iterator[None]:
    """Take tables away: whoever needs them finds the database broken."""
    for back in (False, True):
        with store.database.writer.begin() as connection:
            for table in tables:
                names = (f"lost_{table}", table) if back else (table, f"lost_{table}")
                connection.execute(text(f"ALTER TABLE {names[0]} RENAME TO {names[1]}"))
        if not back:
            yield


async def test_a_key_is_fetched_once_and_recorded_each_time(key_world: KeyWorld, node: ReadingNode) -> None:
    """The second read comes from memory, and both are recorded."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    before = asked(server, GET)
    assert not node.reader.held(key)
    found = [
        await node.reader.retrieve(READER, key.key_manager, key.key_id, explain=True),
        await node.reader.retrieve(READER, key.key_manager, key.key_id),
    ]
    assert [each.material.reveal() for each in found] == [MATERIAL, MATERIAL]
    assert found[0].key == key
    assert found[0].explanation is not None
    assert not found[0].explanation.cached
    assert found[1].explanation is None
    assert await node.explained(key) == []
    assert len(asked(server, GET)) == len(before) + 1
    assert await retrieved(key_world, node) == 3 * [("reader", f"retrieval of key {key.key_id}")]
    assert node.reader.held(key)
    assert "Secret(***)" not in repr(found[0])
    assert MATERIAL.hex() not in repr(found)


@pytest.mark.parametrize(
    ("state", "kind"),
    [(KeyState.RETIRED, errors.INVALID_VALUE), (KeyState.PURGING, errors.ENTRY_NOT_FOUND)],
)
async def test_a_key_that_was_retired_is_not_read_from_memory(
    key_world: KeyWorld, node: ReadingNode, state: KeyState, kind: errors.ErrorKind
) -> None:
    """Each read compares the row, so a retired key is refused and leaves the memory."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    await node.read(key)
    await change(key_world, key, KeyState.RETIRED)
    if state is not KeyState.RETIRED:
        await change(key_world, key, state)
    assert (await refused(node, key)).kind is kind
    assert not node.reader.held(key)
    assert len(node.cache) == 0


@on_sqlite
async def test_a_key_that_is_known_to_be_retired_is_not_read_while_the_database_is_away(
    key_world: KeyWorld, node: ReadingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the database a key known to be retired is refused, even if an earlier read has just ended."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    fetched = await node.fetcher.fetch(key)
    await change(key_world, key, KeyState.RETIRED)
    node.reader.forget(await key_world.key(key.uuid))
    node.cache.put(key, fetched.material)
    monkeypatch.setattr(node.of.store, "read_few", away)
    with pytest.raises(StoreError):
        await node.read(key)


@on_sqlite
async def test_a_key_of_which_the_record_showed_that_it_changed_is_forgotten(
    key_world: KeyWorld, node: ReadingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that changed when its read was recorded leaves the memory, also if its row cannot be read again."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    await node.read(key)
    await change(key_world, key, KeyState.RETIRED)
    monkeypatch.setattr(node.of.store, "read_few", away)
    with pytest.raises(StoreError):
        await node.read(key)
    assert len(node.cache) == 0


@on_sqlite
async def test_a_key_that_was_recovered_is_fetched_anew(key_world: KeyWorld, node: ReadingNode) -> None:
    """A recovered key is fetched again, because the memory has an earlier version."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    await node.read(key)
    await change(key_world, key, KeyState.RETIRED)
    await change(key_world, key, KeyState.COMMITTED)
    before = len(asked(server, GET))
    assert await node.read(key) == MATERIAL
    assert len(asked(server, GET)) == before + 1


@on_sqlite
async def test_a_node_can_be_told_to_forget(key_world: KeyWorld, node: ReadingNode) -> None:
    """Retiring a key removes it from the memory."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    await node.read(key)
    node.reader.forget(key)
    assert not node.reader.held(key)


async def test_an_svms_reader_reads_its_keys_only(key_world: KeyWorld, node: ReadingNode) -> None:
    """A reader of an SVM reads its keys, also in the cluster's key manager; other keys do not exist for it."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    svm, other = await key_world.home.svm(), await key_world.home.svm()
    of_svm = await node.create(manager, "one", svm=svm)
    of_cluster = await node.create(manager, "two")
    assert await node.read(of_svm, reader_of(svm)) == MATERIAL
    assert await node.read(of_svm) == MATERIAL
    missing = await refused(node, replace(of_svm, key_id="0" * 80), reader_of(svm))
    for key, call in ((of_svm, reader_of(other)), (of_cluster, reader_of(svm)), (of_cluster, reader_of(other))):
        error = await refused(node, key, call)
        assert (error.kind, error.target, error.arguments) == (missing.kind, missing.target, missing.arguments)
    elsewhere = await refused(node, replace(of_svm, key_manager="other"), reader_of(svm))
    assert elsewhere.kind is errors.ENTRY_NOT_FOUND


@on_sqlite
async def test_what_was_tried_is_told_to_cluster_accounts_only(key_world: KeyWorld, node: ReadingNode) -> None:
    """An SVM's account hears neither of servers nor of reasons."""
    (server,) = await key_world.start(1)
    svm = await key_world.home.svm()
    key = await node.create(await key_world.key_manager(server, svm=svm))
    found = await node.reader.retrieve(reader_of(svm), key.key_manager, key.key_id, explain=True)
    assert found.explanation is None
    node.reader.forget(key)
    server.responder.store.forget_all()
    assert (await refused(node, key, reader_of(svm))).arguments == ()
    assert (await refused(node, key)).arguments != ()


@on_sqlite
async def test_an_authentication_key_has_its_own_code(key_world: KeyWorld, node: ReadingNode) -> None:
    """It is read as such only."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    key = await node.create(manager, "", key_type=KeyType.NSE_AK, material=b"a passphrase of 24 bytes")
    assert (await refused(node, key)).kind is errors.ENTRY_NOT_FOUND
    server.responder.store.forget_all()
    with pytest.raises(OntapError) as raised:
        await node.reader.retrieve(READER, manager, key.key_id, key_type=KeyType.NSE_AK)
    assert raised.value.kind is errors.AUTH_KEY_NOT_RESTORED
    await change(key_world, key, KeyState.RETIRED)
    assert (await refused(node, key)).kind is errors.ENTRY_NOT_FOUND


@on_sqlite
async def test_reads_of_one_key_at_once_are_one_fetch(key_world: KeyWorld, node: ReadingNode) -> None:
    """A caller that goes away ends it for nobody else; each is recorded, all in one record."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    release = asyncio.Event()
    server.faults[GET] = held(release)
    before = len(asked(server, GET))
    reads = [asyncio.create_task(node.read(key)) for _ in range(10)]
    await asyncio.sleep(0.1)
    reads[0].cancel()
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*reads[1:]) == 9 * [MATERIAL]
    assert len(asked(server, GET)) == before + 1
    ((_, message),) = await retrieved(key_world, node)
    assert f"retrieval of key {key.key_id}, 10 reads: " in message
    assert reads[0].cancelled()


@on_sqlite
async def test_an_error_that_nobody_waits_for_is_no_fault(key_world: KeyWorld, node: ReadingNode) -> None:
    """All callers went away, and then no server had the key."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    server.responder.store.forget_all()
    release = asyncio.Event()
    server.faults[GET] = held(release)
    read = asyncio.create_task(node.read(key))
    await asyncio.sleep(0.1)
    read.cancel()
    await asyncio.wait([read])
    release.set()
    async with asyncio.timeout(60):
        while node.reader._fetching:  # noqa: ASYNC110 - a dictionary
            await asyncio.sleep(0.01)
    assert (await refused(node, key)).kind is errors.VOLUME_KEY_NOT_RESTORED


@on_sqlite
async def test_keys_in_memory_are_read_while_every_key_server_is_down(key_world: KeyWorld, node: ReadingNode) -> None:
    """Those that are not, are not."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    kept, other = await node.create(manager, "kept"), await node.create(manager, "other")
    await node.read(kept)
    for server in servers:
        await server.__aexit__(None, None, None)
    assert await node.read(kept) == MATERIAL
    assert (await refused(node, other)).kind is errors.KEY_NOT_READ


async def test_keys_in_memory_are_read_while_the_database_is_away(key_world: KeyWorld, node: ReadingNode) -> None:
    """By those who could read them; nothing else is. What was read is in the chain when it is back."""
    (server,) = await key_world.start(1)
    svm = await key_world.home.svm()
    manager = await key_world.key_manager(server, of_cluster=True)
    kept = await node.create(manager, "kept", svm=svm)
    other = await node.create(manager, "other")
    await node.read(kept)
    with without(key_world.store, "keys", "audit_heads"):
        assert await node.read(kept) == MATERIAL
        assert await node.read(kept, reader_of(svm)) == MATERIAL
        for key, call in ((other, READER), (kept, reader_of(await key_world.home.svm()))):
            with pytest.raises(StoreError):
                await node.read(key, call)
    key_world.clock.advance(2)
    await node.read(kept)
    async with asyncio.timeout(60):
        while len(await retrieved(key_world, node)) < 4:
            key_world.clock.advance(2)
            await asyncio.sleep(0.05)
    accounts = [account for account, _ in await retrieved(key_world, node)]
    assert sorted(accounts) == ["reader", "reader", "reader", "svm-reader"]


async def test_a_key_that_was_retired_meanwhile_is_not_read_once_the_database_is_back(
    key_world: KeyWorld, node: ReadingNode
) -> None:
    """Its row is compared again."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    await node.read(key)
    with without(key_world.store, "keys"):
        await node.read(key)
    await change(key_world, key, KeyState.RETIRED)
    key_world.clock.advance(module.AWAY_S)
    assert (await refused(node, key)).kind is errors.INVALID_VALUE


async def test_a_node_that_may_not_read_offline_reads_nothing_without_the_database(key_world: KeyWorld) -> None:
    """Neither when the row cannot be read, nor when the record cannot be written."""
    (server,) = await key_world.start(1)
    async with reading(key_world, offline_s=0) as node:
        key = await node.create(await key_world.key_manager(server))
        await node.read(key)
        for table in ("keys", "audit_heads"):
            with without(key_world.store, table), pytest.raises(StoreError):
                await node.read(key)
        assert await node.read(key) == MATERIAL


async def test_a_node_reads_offline_until_the_limit(key_world: KeyWorld) -> None:
    """Then no key in memory is read before the database is back."""
    (server,) = await key_world.start(1)
    async with reading(key_world, offline_s=60) as node:
        key = await node.create(await key_world.key_manager(server))
        await node.read(key)
        with without(key_world.store, "audit_heads"):
            assert await node.read(key) == MATERIAL
            key_world.clock.advance(61)
            with pytest.raises(StorageError):
                await node.read(key)
        assert await node.read(key) == MATERIAL


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_a_slow_database_is_not_waited_for(key_world: KeyWorld) -> None:
    """A key that is in memory is read all the same."""
    (server,) = await key_world.start(1)
    async with reading(key_world, patience_s=0.5) as node:
        key = await node.create(await key_world.key_manager(server))
        await node.read(key)
        with key_world.store.database.writer.begin() as connection:
            connection.execute(text("LOCK TABLE keys IN ACCESS EXCLUSIVE MODE"))
            async with asyncio.timeout(8):  # a statement waits ten seconds for a lock
                assert await node.read(key) == MATERIAL


@on_sqlite
async def test_a_node_that_stops_ends_its_fetches_and_forgets(key_world: KeyWorld, node: ReadingNode) -> None:
    """Callers hear that it stops."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    kept, waiting = await node.create(manager, "kept"), await node.create(manager, "waiting")
    await node.read(kept)
    server.request_faults[GET] = silence
    read = asyncio.create_task(node.read(waiting))
    await asyncio.sleep(0.1)
    await node.reader.close()
    with pytest.raises(OntapError) as raised:
        await read
    assert raised.value.kind is errors.SHUTTING_DOWN
    assert (await refused(node, waiting)).kind is errors.SHUTTING_DOWN
    assert len(node.cache) == 0


@on_sqlite
async def test_a_key_that_keeps_changing_is_not_read(
    key_world: KeyWorld, node: ReadingNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it is begun anew, and not recorded; then the caller is told to come again."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    rows = type(node.reader)._row

    async def changing(reader: KeyReader, call: Call, key_manager: str, key_id: str) -> Key | None:
        row = await rows(reader, call, key_manager, key_id)
        await change(key_world, key, KeyState.RETIRED)
        await change(key_world, key, KeyState.COMMITTED)
        return row

    monkeypatch.setattr(type(node.reader), "_row", changing)
    error = await refused(node, key)
    assert (error.kind, error.retry_after) == (errors.TOO_BUSY, 5)
    assert await retrieved(key_world, node) == []


@on_sqlite
async def test_a_key_that_now_is_another_svms(key_world: KeyWorld, node: ReadingNode) -> None:
    """Whoever could read it from memory cannot any more; who can now reads it anew."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    was, now = await key_world.home.svm(), await key_world.home.svm()
    key = await node.create(manager, "a key", svm=was)
    await node.read(key, reader_of(was))
    with key_world.store.database.writer.begin() as connection:
        moved = text("UPDATE keys SET svm_uuid = :svm, owner = :svm WHERE uuid = :key")
        connection.execute(moved, {"svm": now.uuid, "key": key.uuid})
    assert (await refused(node, key, reader_of(was))).kind is errors.ENTRY_NOT_FOUND
    assert await node.read(key, reader_of(now)) == MATERIAL


@pytest.mark.parametrize("state", [None, KeyState.PENDING, KeyState.ABORTED, KeyState.RETIRED])
async def test_a_database_that_does_not_commit_refuses_no_read(
    key_world: KeyWorld, node: ReadingNode, monkeypatch: pytest.MonkeyPatch, state: KeyState | None
) -> None:
    """It may be a former primary that is cut off: it lacks the key, or has an old row of it."""
    (server,) = await key_world.start(1)
    key = await node.create(await key_world.key_manager(server))
    if state is None:
        key = replace(key, key_id="0" * 96)
    else:
        await change(key_world, key, state)

    async def hang(*_: object) -> None:
        raise OutcomeUnknown("no standby confirmed it")

    monkeypatch.setattr(node.of.store, "write", hang)
    with pytest.raises(StorageError):
        await node.read(key)
    catalogue = Keys(node.of.store, node.reader.held, "node")
    with pytest.raises(StorageError):
        await catalogue.get(READER, key.key_manager, key.key_id, KeyType.VEK, states={KeyState.COMMITTED})

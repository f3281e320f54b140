"""A database is lost: its configuration and the key servers give the inventory back, with every key as it was."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys import incarnations
from keystead.core.keys.descriptors import describe, encode
from keystead.core.keys.incarnations import Reason
from keystead.core.keys.model import AttemptState, Dismissal, KeyForm, KeyState, Presence
from keystead.core.keys.names import object_name
from keystead.core.keys.rebuilding import Doubt
from keystead.core.secret import Secret
from keystead.kmip.testing.server import close
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.audit.log import AuditLog
from keystead.service.keys.keeping.settle import AttemptSettlement
from keystead.service.keys.reading.fetch import Fetcher
from keystead.service.keys.rebuilding.import_keys import KeyImporter
from keystead.service.keys.rebuilding.rebuild import Rebuilder, Rebuilt
from keystead.service.keys.writing.descriptors import Describer
from keystead.service.loading import incarnation_of
from keystead.store import SqlStore, copying, open_store
from keystead.store.upgrade import upgrade
from tests.service.keys.orphans.test_adopt import adopt, leave
from tests.service.worlds.clones import side, twin_of
from tests.service.worlds.keepers import Keeping, of_kind, retire_and_wait
from tests.service.worlds.keys import KeyNode, KeyWorld, asked, held, places_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from keystead.core.keys.model import Attempt, Copy, Key
    from keystead.core.model import KeyManager, Svm
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What depends on key servers only is tested on one engine."""


@dataclass
class Lost:
    """What was before, and the new database that holds the configuration alone."""

    world: KeyWorld
    node: KeyNode
    manager: str
    store: SqlStore

    async def rebuild(self, *also: str) -> Rebuilt:
        """Rebuild the key manager, and then others; return what came of the first."""

        def wanted(tx: Transaction) -> list[KeyManager]:
            return [found for uuid in (self.manager, *also) if (found := tx.key_manager(uuid))]

        found = await self.store.read(wanted)
        audit = AuditLog(self.store, self.world.home.keyring, self.world.clock, self.node.uuid)
        node = self.node
        rebuilder = Rebuilder(self.store, node.objects, node.endpoints, audit, self.world.clock, node.uuid)
        return (await rebuilder.rebuild(found))[0]

    async def lose(self) -> None:
        """Have a new database with the configuration of now."""
        copying.fill(self.store.database, copying.configuration(self.world.store.database))

    async def restored(self) -> None:
        """Begin another incarnation of the new database."""

        def begin(tx: Transaction) -> None:
            current = incarnation_of(tx)
            tx.put_incarnation(incarnations.next_incarnation(current, Reason.RESTORED, "", str(uuid4()), current.began))

        await self.store.write(begin)

    async def has(self, key: Key, attempts: Sequence[Attempt], copies: Sequence[Copy]) -> None:
        """Have the new database know so much of a key."""

        def add(tx: Transaction) -> None:
            tx.add_key(key)
            for attempt in attempts:
                tx.add_attempt(attempt)
            tx.put_copies(copies, new=True)

        await self.store.write(add)

    async def unclaimed(self) -> set[tuple[str, str]]:
        """Server and kind of the unclaimed objects."""
        found = await self.store.read(lambda tx: tx.orphans(self.manager))
        return {(each.key_server, each.name.split("-")[2][0]) for each in found}


@pytest.fixture
async def new_store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    """Yield a database that holds nothing."""
    url = f"sqlite:///{tmp_path / 'new.db'}"
    upgrade(url)
    store = open_store(url)
    yield store
    await store.close()


async def keeping(
    world: KeyWorld,
    store: SqlStore,
    servers: Sequence[KmipServer | str],
    *,
    svm: Svm | None = None,
    of_cluster: bool = False,
) -> Lost:
    """Return a key manager whose servers were learned, and a node that describes the keys that it creates."""
    manager = await world.key_manager(*servers, know=False, svm=svm, of_cluster=of_cluster)
    endpoints = (await world.node()).endpoints
    node = await world.node(describe=Describer(endpoints))
    await node.learn(manager)
    return Lost(world, node, manager, store)


def plain(key: Key) -> Key:
    """Return a key without the times that only its database knows."""
    return replace(key, committed=None)


def reasons(rebuilt: Rebuilt) -> list[str]:
    """Why servers were not read, in their order."""
    return [reason for _, reason in rebuilt.unread]


def place(copy: Copy) -> tuple[object, ...]:
    """Return what is the same of a copy, whoever found it."""
    return copy.key, copy.attempt, copy.key_server, copy.unique_identifiers, copy.presence, copy.descriptor


async def test_every_key_comes_back(key_world: KeyWorld, new_store: SqlStore) -> None:
    """With name, tag, SVM, id, digest and copies as they were; nothing is written to any key server."""
    svm = await key_world.home.svm()
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers, of_cluster=True)
    keys = [
        await lost.node.create(lost.manager, "first", key_tag="tag", svm=svm),
        await lost.node.create(lost.manager, "second", material=Secret(bytes(range(64)))),
    ]
    await lost.lose()
    before = [len(asked(server)) for server in servers]
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete, rebuilt.single_domain) == (2, True, False)
    writes = {"REGISTER", "ACTIVATE", "REVOKE", "DESTROY"}
    for server, count in zip(servers, before, strict=True):
        assert not writes & set(asked(server)[count:])
    uuids = sorted(key.uuid for key in keys)
    found = await new_store.read(lambda tx: tx.keys(uuids))
    stored = await key_world.store.read(lambda tx: tx.keys(uuids))
    assert list(map(plain, found)) == list(map(plain, stored))
    copies = await new_store.read(lambda tx: tx.copies(uuids))
    assert list(map(place, copies)) == list(map(place, await key_world.store.read(lambda tx: tx.copies(uuids))))
    assert {copy.object_state for copy in copies} == {"Active"}
    attempts = await new_store.read(lambda tx: tx.attempts(uuids))
    assert {(each.number, each.state) for each in attempts} == {(1, AttemptState.COMMITTED)}
    incarnation = await key_world.store.read(lambda tx: tx.incarnation())
    assert incarnation is not None
    assert {each.incarnation for each in attempts} == {incarnation.uuid}
    records = await new_store.read(lambda tx: tx.audit_records(lost.node.uuid, 0, 9))
    assert [record.message for record in records] == [f"rebuilt key manager {lost.manager}: 2 keys"]
    again = await lost.rebuild()
    assert (again.added, again.complete) == (0, True)


@on_sqlite
@pytest.mark.parametrize("state", [KeyState.PENDING, KeyState.ABORTED])
async def test_a_key_of_which_the_database_has_only_the_beginning(
    key_world: KeyWorld, new_store: SqlStore, state: KeyState
) -> None:
    """The backup was made while it was created: it was committed, as its descriptors say. Not in this life of it."""
    lost = await keeping(key_world, new_store, await key_world.start(2))
    key = await lost.node.create(lost.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(attempt, state=AttemptState(state.value))
    sent = [replace(copy, presence=Presence.SENT, unique_identifiers=()) for copy in await key_world.copies(key.uuid)]
    await lost.lose()
    await lost.has(replace(key, state=state, digest=b"", committed=None), [begun], sent)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.doubts) == (0, (Doubt.UNDER_WAY,))
    await lost.restored()
    assert (await lost.rebuild()).added == 1
    (found,) = await new_store.read(lambda tx: tx.keys([key.uuid]))
    assert plain(found) == plain(key)
    copies = await new_store.read(lambda tx: tx.copies([key.uuid]))
    assert [copy.presence for copy in copies] == [Presence.PRESENT] * 2
    (after,) = await new_store.read(lambda tx: tx.attempts([key.uuid]))
    assert (after.number, after.state) == (1, AttemptState.COMMITTED)
    assert (await lost.rebuild()).added == 0


@on_sqlite
async def test_a_disk_that_is_minutes_old_and_a_rebuild(key_world: KeyWorld, tmp_path: Path) -> None:
    """It has the intent, not the commit, and does not know that it is another one: what it took is not destroyed."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, know=False)
    endpoints = (await key_world.node()).endpoints
    kept = Keeping(key_world, await key_world.node(describe=Describer(endpoints)), manager)
    await kept.learner.ensure(manager)
    original = await side(kept)
    await original.round()
    replicas = []

    async def replicate(exchange: Any) -> None:
        del servers[0].request_faults[Operation.REGISTER]
        replicas.append(await twin_of(original, tmp_path / "replica"))
        await exchange.stream.send(exchange.answer)

    servers[0].request_faults[Operation.REGISTER] = replicate
    key = await kept.node.create(manager)
    (replica,) = replicas
    lost = Lost(key_world, replica.kept.node, manager, replica.kept.node.store)
    assert (await lost.rebuild()).doubts == (Doubt.UNDER_WAY,)
    key_world.clock.advance(300)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete) == (1, True)
    async with replica.rounds.holding() as holding:
        assert holding is not None
        await replica.rounds.abort_expired(holding)
        await replica.rounds.keep(holding, manager)
    assert await replica.state(key) is KeyState.COMMITTED
    (attempt,) = await key_world.attempts(key.uuid)
    assert [str(object_name(attempt)) in held(server) for server in servers] == [True, True]


@on_sqlite
async def test_what_was_begun_here_and_is_not_described_is_the_keepers(
    key_world: KeyWorld, new_store: SqlStore
) -> None:
    """Nobody says that it was committed: it is neither taken nor listed."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers, know=False)
    lost = Lost(key_world, await key_world.node(), manager, new_store)
    await Keeping(key_world, lost.node, manager).learner.ensure(manager)
    key = await lost.node.create(manager)
    (attempt,) = await key_world.attempts(key.uuid)
    await lost.lose()
    await lost.has(replace(key, state=KeyState.ABORTED), [replace(attempt, state=AttemptState.ABORTED)], [])
    key_world.clock.advance(300)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete) == (0, True)


@dataclass
class Moved:
    """A key whose first server is dead; an older database has that one copy of it alone."""

    lost: Lost
    key: Key
    attempts: tuple[Attempt, ...]
    copies: tuple[Copy, ...]

    async def is_read(self) -> bool:
        """Return True if the new database can have it read, under its id."""
        node, clock = self.lost.node, self.lost.world.clock
        fetcher = Fetcher(self.lost.store, node.objects, node.endpoints, clock, node.uuid)
        try:
            return bool((await fetcher.fetch(self.key)).material)
        except OntapError:
            return False
        finally:
            await fetcher.close()


async def moved(world: KeyWorld, store: SqlStore) -> Moved:
    """Create a key on one server, then copy it to two others; the first one dies, and the database is lost."""
    servers = await world.start(3)
    lost = await keeping(world, store, servers[:1])
    kept = Keeping(world, lost.node, lost.manager)
    key = await lost.node.create(lost.manager)
    (first,) = await world.servers(lost.manager)
    more = [
        replace(first, uuid=str(uuid4()), position=place, address=replace(first.address, port=server.port))
        for place, server in enumerate(servers[1:], 2)
    ]
    await world.store.write(lambda tx: tx.add_key_servers(more))
    await kept.learner.ensure(lost.manager)
    assert (await kept.fill()).copied == 2
    await lost.lose()
    servers[0].responder.store.forget_all()
    return Moved(lost, key, await world.attempts(key.uuid), await world.copies(key.uuid))


@on_sqlite
@pytest.mark.parametrize("state", [KeyState.COMMITTED, KeyState.RETIRED])
async def test_a_key_that_moved_since_the_backup(key_world: KeyWorld, new_store: SqlStore, state: KeyState) -> None:
    """The copies that the database does not know of are its, too, and nothing else of it changes."""
    found = await moved(key_world, new_store)
    lost, key = found.lost, replace(found.key, state=state)
    await lost.has(key, found.attempts[:1], found.copies[:1])
    await lost.restored()
    assert not await found.is_read()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.completed, rebuilt.doubts, rebuilt.unclaimed) == (0, 1, (), 0)
    assert await new_store.read(lambda tx: tx.keys([key.uuid])) == (key,)
    assert (await new_store.read(lambda tx: tx.attempts([key.uuid])))[0] == found.attempts[0]
    copies = await new_store.read(lambda tx: tx.copies([key.uuid]))
    assert copies[0] == found.copies[0]
    assert list(map(place, copies)) == list(map(place, found.copies))
    assert await found.is_read()
    assert (await lost.rebuild()).completed == 0


@on_sqlite
@pytest.mark.parametrize("state", [AttemptState.PENDING, AttemptState.ABORTED])
async def test_a_copy_of_which_the_database_has_only_the_beginning(
    key_world: KeyWorld, new_store: SqlStore, state: AttemptState
) -> None:
    """It was committed, as its descriptor says: taken when nobody here can commit it any more."""
    found = await moved(key_world, new_store)
    lost = found.lost
    begun = [found.attempts[0], *(replace(each, state=state) for each in found.attempts[1:])]
    sent = [replace(each, presence=Presence.SENT, unique_identifiers=()) for each in found.copies[1:]]
    await lost.has(found.key, begun, [found.copies[0], *sent])
    rebuilt = await lost.rebuild()
    assert (rebuilt.completed, rebuilt.doubts) == (0, (Doubt.UNDER_WAY,))
    key_world.clock.advance(300)
    assert (await lost.rebuild()).completed == 1
    attempts = await new_store.read(lambda tx: tx.attempts([found.key.uuid]))
    assert {each.state for each in attempts} == {AttemptState.COMMITTED}
    copies = await new_store.read(lambda tx: tx.copies([found.key.uuid]))
    assert list(map(place, copies)) == list(map(place, found.copies))
    assert await found.is_read()


@on_sqlite
async def test_copies_that_are_not_a_known_keys(key_world: KeyWorld, new_store: SqlStore) -> None:
    """An attempt's number that this life has given to another one, another digest, a key that has ended: as it was."""
    found = await moved(key_world, new_store)
    lost, uuid = found.lost, found.key.uuid
    others = [replace(each, incarnation=str(uuid4())) for each in found.attempts[1:]]
    await lost.has(found.key, [found.attempts[0], *others], found.copies[:1])
    assert (await lost.rebuild()).completed == 0
    for known in (replace(found.key, digest=bytes(32)), replace(found.key, state=KeyState.PURGING)):
        await new_store.write(lambda tx: tx.drop_key(uuid))
        await lost.has(known, found.attempts[:1], found.copies[:1])
        assert (await lost.rebuild()).completed == 0
        assert await new_store.read(lambda tx: tx.copies([uuid])) == found.copies[:1]


async def test_a_copy_that_is_gone_in_one_domain(key_world: KeyWorld, new_store: SqlStore) -> None:
    """One domain alone is not believed where there are two: unclaimed, until the other is back."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    key = await lost.node.create(lost.manager)
    first, second = await key_world.servers(lost.manager)
    await lost.lose()
    await servers[1].__aexit__(None, None, None)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, len(rebuilt.doubts), rebuilt.unclaimed) == (0, 1, 1)
    assert [address for address, _ in rebuilt.unread] == [str(second.address)]
    assert await lost.unclaimed() == {(first.uuid, "k")}
    async with servers[1]:
        lost.world.clock.advance(60)
        rebuilt = await lost.rebuild()
        while rebuilt.unread:  # its circuit is open for a while
            rebuilt = await lost.rebuild()
        assert (rebuilt.added, rebuilt.complete) == (1, True)
        assert await new_store.read(lambda tx: tx.keys([key.uuid]))
        assert await lost.unclaimed() == set()


@on_sqlite
async def test_key_managers_that_share_servers(key_world: KeyWorld, new_store: SqlStore) -> None:
    """What belongs to a key of another one is not unclaimed, be it rebuilt later; without that one it is nobody's."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    other = await keeping(key_world, new_store, servers)
    await lost.node.create(lost.manager)
    for name in "abc":
        await other.node.create(other.manager, name)
    await lost.lose()
    assert (await lost.rebuild()).unclaimed == 6
    assert len(await lost.unclaimed()) == 2
    rebuilt = await lost.rebuild(other.manager)
    assert (rebuilt.added, rebuilt.unclaimed, rebuilt.complete) == (0, 0, True)
    assert await lost.unclaimed() == await other.unclaimed() == set()
    assert (await other.rebuild()).complete


@on_sqlite
async def test_what_was_adopted_is_not_unclaimed(key_world: KeyWorld, new_store: SqlStore) -> None:
    """Its name is not the key's that it is a copy of."""
    servers = await key_world.start(1)
    lost = await keeping(key_world, new_store, servers)
    key = await lost.node.create(lost.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    servers[0].responder.store.rot((await key_world.copies(key.uuid))[0].descriptor)
    await lost.lose()
    assert (await lost.rebuild()).unclaimed == 1
    adopted = replace(key, uuid=str(uuid4()), key_id="another", name="adopted")
    begun = replace(attempt, key=adopted.uuid, token="another", adopted=str(object_name(attempt)))
    await new_store.write(lambda tx: tx.add_key(adopted))
    await new_store.write(lambda tx: tx.add_attempt(begun))
    assert (await lost.rebuild()).unclaimed == 0
    assert await lost.unclaimed() == set()


@on_sqlite
async def test_an_adopted_key_comes_back(key_world: KeyWorld, new_store: SqlStore) -> None:
    """Under its key id, with the copy that has another key's name; the key that it was is not taken beside it."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    kept = Keeping(key_world, lost.node, lost.manager)
    kept.settling = AttemptSettlement(kept.context, Describer(lost.node.endpoints))
    before = await lost.node.create(lost.manager)
    (attempt,) = await key_world.attempts(before.uuid)
    (uid,) = (await key_world.copies(before.uuid))[0].unique_identifiers
    await key_world.store.write(lambda tx: tx.drop_key(before.uuid))
    await kept.scan()
    key = await adopt(kept, 0, uid)
    assert (await kept.fill()).copied == 1
    await kept.settle()
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete) == (1, True)
    found = await new_store.read(lambda tx: tx.keys_in(lost.manager, tuple(KeyState), "", 9))
    assert list(map(plain, found)) == [plain(key)]
    attempts = await new_store.read(lambda tx: tx.attempts([key.uuid]))
    assert [each.adopted for each in attempts] == [str(object_name(attempt)), ""]
    copies = await new_store.read(lambda tx: tx.copies([key.uuid]))
    assert {place(copy) for copy in await key_world.copies(key.uuid)} <= set(map(place, copies))


@on_sqlite
async def test_one_domain_is_all_there_is(key_world: KeyWorld, new_store: SqlStore) -> None:
    """Then it is taken, and marked so."""
    lost = await keeping(key_world, new_store, await key_world.start(1))
    await lost.node.create(lost.manager)
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.single_domain) == (1, True)


@on_sqlite
async def test_descriptors_are_believed_if_they_are_ours(key_world: KeyWorld, new_store: SqlStore) -> None:
    """One that a key server altered, or moved to another name, describes nothing; a spoiled copy is no copy."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    altered = await lost.node.create(lost.manager, "altered")
    spoiled = await lost.node.create(lost.manager, "spoiled")
    for server, copy in zip(servers, await key_world.copies(altered.uuid), strict=True):
        server.responder.store.rot(copy.descriptor)
    (copy, _) = await key_world.copies(spoiled.uuid)
    servers[0].responder.store.rot(copy.unique_identifiers[0])
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert rebuilt.added == 0
    assert rebuilt.doubts == ("too few replication domains hold a copy that agrees",)
    assert rebuilt.unclaimed == 4
    assert rebuilt.unproven == ((f"127.0.0.1:{servers[0].port}", "different_material", 1),)
    assert not rebuilt.complete


@on_sqlite
async def test_rotten_material_beside_enough_copies(key_world: KeyWorld, new_store: SqlStore) -> None:
    """The key is taken from the other servers, and the rebuild is not complete: a copy must be looked at."""
    servers = await key_world.start(3)
    lost = await keeping(key_world, new_store, servers)
    key = await lost.node.create(lost.manager)
    (copy, *_) = await key_world.copies(key.uuid)
    servers[0].responder.store.rot(copy.unique_identifiers[0])
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.doubts, rebuilt.unclaimed) == (1, (), 1)
    assert rebuilt.unproven == ((f"127.0.0.1:{servers[0].port}", "different_material", 1),)
    assert not rebuilt.complete


@on_sqlite
async def test_dismissed_objects_need_nobody(key_world: KeyWorld, new_store: SqlStore) -> None:
    """A rebuild that leaves only such objects is complete; an object with another name is not dismissed."""
    servers = await key_world.start(1)
    lost = await keeping(key_world, new_store, servers)
    key = await lost.node.create(lost.manager)
    (copy,) = await key_world.copies(key.uuid)
    servers[0].responder.store.forget(copy.descriptor)
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert (rebuilt.unclaimed, rebuilt.complete) == (1, False)
    (orphan,) = await new_store.read(lambda tx: tx.orphans(lost.manager))
    dismissal = Dismissal(key_world.clock.now(), "admin", b"digest")
    await new_store.write(lambda tx: tx.dismiss_orphan(orphan, dismissal))
    rebuilt = await lost.rebuild()
    assert (rebuilt.unclaimed, rebuilt.dismissed, rebuilt.complete) == (0, 1, True)

    def rename(tx: Transaction) -> None:
        tx.delete_orphans(orphan.key_server, [orphan.unique_identifier])
        tx.put_orphans([replace(orphan, name="keystead-99999999-k1234567890abcdef-1")])
        tx.dismiss_orphan(orphan, dismissal)

    await new_store.write(rename)
    rebuilt = await lost.rebuild()
    assert (rebuilt.unclaimed, rebuilt.dismissed) == (1, 0)


@on_sqlite
async def test_servers_without_descriptors(key_world: KeyWorld, new_store: SqlStore) -> None:
    """A pair of AES keys has none beside it: the descriptor on another server speaks for it."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    second = (await key_world.servers(lost.manager))[1].uuid
    (profile,) = await key_world.store.read(lambda tx: tx.profiles([second]))
    pair = replace(profile, form=KeyForm.SYMMETRIC_KEY_PAIR)
    await key_world.store.write(lambda tx: tx.put_profile(pair))
    key = await lost.node.create(lost.manager)
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete) == (1, True)
    copies = await new_store.read(lambda tx: tx.copies([key.uuid]))
    assert sorted(len(copy.unique_identifiers) for copy in copies) == [1, 2]
    assert all(copy.presence is Presence.PRESENT for copy in copies)


@on_sqlite
async def test_objects_of_which_nothing_is_told(key_world: KeyWorld, new_store: SqlStore) -> None:
    """None of them is ours; a server that tells nothing, not even of its canary, was not read."""
    servers = await key_world.start(1)
    lost = await keeping(key_world, new_store, servers)
    await lost.node.create(lost.manager)
    await lost.lose()
    servers[0].responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.PERMISSION_DENIED
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.unclaimed, reasons(rebuilt)) == (0, 0, ["canary_not_seen"])
    servers[0].responder.refusals = {Operation.GET: ResultReason.PERMISSION_DENIED}
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.unclaimed, reasons(rebuilt)) == (0, 1, ["canary_not_seen"])
    servers[0].responder.refusals = {}
    servers[0].faults[Operation.GET_ATTRIBUTES] = close
    rebuilt = await lost.rebuild()
    assert len(rebuilt.unread) == 1


@on_sqlite
async def test_nothing_was_learned_yet(key_world: KeyWorld, new_store: SqlStore) -> None:
    """Then there is no digest key, and nobody knows whose a key is that was created since: it is unclaimed."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, know=False)
    endpoints = (await key_world.node()).endpoints
    lost = Lost(key_world, await key_world.node(describe=Describer(endpoints)), manager, new_store)
    await lost.lose()
    await Keeping(key_world, lost.node, manager).learner.ensure(manager)
    await lost.node.create(manager)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.unclaimed, reasons(rebuilt)) == (0, 2, ["no_digest_key"] * 2)
    assert not rebuilt.complete
    assert len(await lost.unclaimed()) == 2


@on_sqlite
async def test_servers_that_show_nothing(key_world: KeyWorld, new_store: SqlStore) -> None:
    """To this role, or for now: not even the canary, or nothing at all where none is known. They were not read."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    await lost.node.create(lost.manager)
    await lost.lose()
    second = (await key_world.servers(lost.manager))[1].uuid
    await new_store.write(lambda tx: tx.delete_profile(second))
    for server in servers:
        server.responder.store.forget_all()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, reasons(rebuilt)) == (0, ["canary_not_seen", "nothing_seen"])
    assert not rebuilt.complete


@on_sqlite
async def test_a_server_that_was_not_learned_yet(key_world: KeyWorld, new_store: SqlStore) -> None:
    """Its canary was written after the bundle: what it shows is taken."""
    lost = await keeping(key_world, new_store, await key_world.start(2))
    await lost.node.create(lost.manager)
    await lost.lose()
    second = (await key_world.servers(lost.manager))[1].uuid
    await new_store.write(lambda tx: tx.delete_profile(second))
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete) == (1, True)


@on_sqlite
async def test_an_object_with_two_of_our_names(key_world: KeyWorld, new_store: SqlStore) -> None:
    """It is one object, and keeps nobody from what is another key manager's."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers[:1])
    other = await keeping(key_world, new_store, servers[1:])
    kept = Keeping(key_world, lost.node, lost.manager)
    (uid,) = await leave(kept, 0)
    (another,) = await leave(kept, 0, "keystead-99999999-k0000000000000002-1")
    store = servers[0].responder.store
    named = [each for each in store.objects[another].attributes if each.attribute_name == "Name"]
    store.objects[uid].attributes += named  # as Add Attribute does
    store.forget(another)
    await leave(Keeping(key_world, other.node, other.manager), 0)
    await lost.lose()
    assert (await lost.rebuild(other.manager)).unclaimed == 1
    assert (len(await lost.unclaimed()), len(await other.unclaimed())) == (1, 1)


@on_sqlite
async def test_a_key_manager_whose_certificate_cannot_be_used(key_world: KeyWorld, new_store: SqlStore) -> None:
    """Its servers are not read; others' are."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers[:1])
    other = await keeping(key_world, new_store, servers[1:])
    await other.node.create(other.manager)
    await lost.lose()

    def spoil(tx: Transaction) -> None:
        manager = tx.key_manager(lost.manager)
        assert manager is not None
        tx.change_key_manager(replace(manager, client_certificate=key_world.home.server_ca))

    await new_store.write(spoil)
    assert reasons(await lost.rebuild(other.manager)) == ["identity"]
    assert len(await new_store.read(lambda tx: tx.keys_in(other.manager, tuple(KeyState), "", 9))) == 1


@on_sqlite
async def test_what_was_destroyed_is_not_unclaimed(key_world: KeyWorld, new_store: SqlStore) -> None:
    """There are servers that show it for ever: nobody can adopt it."""
    servers = await key_world.start(1, [of_kind("destroyed objects are kept")])
    lost = await keeping(key_world, new_store, servers)
    kept = Keeping(key_world, lost.node, lost.manager)
    await retire_and_wait(kept, await lost.node.create(lost.manager))
    await kept.end()
    assert len(servers[0].responder.objects) == 3
    await lost.lose()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.unclaimed, rebuilt.complete) == (0, 0, True)


@on_sqlite
async def test_a_name_that_an_earlier_life_began(key_world: KeyWorld, new_store: SqlStore) -> None:
    """The backup was made while it was created, in vain, and it was created again: the name is that key's."""
    lost = await keeping(key_world, new_store, await key_world.start(2))
    key = await lost.node.create(lost.manager, "vol1")
    (attempt,) = await key_world.attempts(key.uuid)
    await lost.lose()
    begun = replace(key, uuid=str(uuid4()), key_id="another", state=KeyState.PENDING, committed=None)
    pending = replace(attempt, key=begun.uuid, state=AttemptState.PENDING)
    await lost.has(begun, [pending], [])
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.doubts) == (0, (Doubt.NAME_TAKEN,))  # it may be committed yet
    await lost.restored()
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.complete) == (1, True)
    assert await new_store.read(lambda tx: tx.key_named(lost.manager, "vol1")) is not None
    (ended,) = await new_store.read(lambda tx: tx.keys([begun.uuid]))
    (attempt,) = await new_store.read(lambda tx: tx.attempts([begun.uuid]))
    assert (ended.state, attempt.state) == (KeyState.ABORTED, AttemptState.ABORTED)


async def test_what_is_said_of_a_key(key_world: KeyWorld) -> None:
    """A node's descriptors are those of its key manager's digest key; none can be written without one."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    key = await node.create(manager)
    (attempt,) = await key_world.attempts(key.uuid)
    places = await key_world.store.read(lambda tx: places_in(tx, manager))
    content = Describer(node.endpoints)(key, attempt, places)
    assert content == encode(describe(key, attempt), node.endpoints.digest_key(places))


# --- what is changed while it is read ---


@on_sqlite
async def test_an_object_that_two_lives_adopted_is_one_key(key_world: KeyWorld, new_store: SqlStore) -> None:
    """The second life adopts it before it rebuilds: the key that the first one made of it is not taken beside that."""
    servers = await key_world.start(2)
    lost = await keeping(key_world, new_store, servers)
    kept = Keeping(key_world, lost.node, lost.manager)
    kept.settling = AttemptSettlement(kept.context, Describer(lost.node.endpoints))
    before = await lost.node.create(lost.manager)
    (uid,) = (await key_world.copies(before.uuid))[0].unique_identifiers
    await key_world.store.write(lambda tx: tx.drop_key(before.uuid))
    await kept.scan()
    one = await adopt(kept, 0, uid, "one")
    assert (await kept.fill()).copied == 1
    await kept.settle()
    await key_world.store.write(lambda tx: tx.drop_key(one.uuid))  # the second life begins, and knows nothing of it
    await kept.scan()
    await adopt(kept, 0, uid, "other")
    await kept.settle()
    rebuilt = await replace(lost, store=key_world.store).rebuild()
    assert rebuilt.added == 0
    found = await key_world.store.read(lambda tx: tx.keys_in(lost.manager, tuple(KeyState), "", 9))
    assert [key.name for key in found] == ["other"]


@on_sqlite
async def test_an_adopted_object_is_its_new_keys(key_world: KeyWorld, new_store: SqlStore) -> None:
    """The key that it was before is not taken beside that, and both would go with one purge."""
    servers = await key_world.start(1)
    lost = await keeping(key_world, new_store, servers)
    key = await lost.node.create(lost.manager)
    await lost.lose()
    assert (await lost.rebuild()).added == 1

    def adopt(tx: Transaction) -> None:
        (attempt,) = tx.attempts([key.uuid])
        (copy,) = tx.copies([key.uuid])
        tx.drop_key(key.uuid)
        uuid = str(uuid4())
        tx.add_key(replace(key, uuid=uuid, key_id=uuid, name="adopted"))
        tx.add_attempt(replace(attempt, key=uuid, adopted=str(object_name(attempt))))
        tx.put_copies([replace(copy, key=uuid)], new=True)

    await new_store.write(adopt)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.doubts, rebuilt.unclaimed) == (0, (), 0)
    (left,) = await new_store.read(lambda tx: tx.keys_in(lost.manager, tuple(KeyState), "", 9))
    assert left.name == "adopted"


@on_sqlite
@pytest.mark.parametrize("what", ["server", "address", "certificate", "name", "svm"])
async def test_a_change_while_it_is_read(
    key_world: KeyWorld, new_store: SqlStore, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """No key is taken onto a server that is gone, or was read by somebody else: it is in doubt, until the next time."""
    svm = await key_world.home.svm()
    servers = await key_world.start(1)
    lost = await keeping(key_world, new_store, servers, of_cluster=True)
    key = await lost.node.create(lost.manager, svm=svm)
    await lost.lose()
    storing = KeyImporter.store

    def change(tx: Transaction) -> None:
        (server,) = tx.key_servers(lost.manager)
        manager = tx.key_manager(lost.manager)
        assert manager is not None
        if what == "server":
            tx.delete_key_server(server.uuid)
        elif what == "address":
            tx.change_key_server(replace(server, address=replace(server.address, port=1)))
        elif what == "certificate":
            tx.change_key_manager(replace(manager, client_certificate=key_world.home.server_ca))
        elif what == "svm":
            tx.delete_svm(svm.uuid)
        else:
            tx.add_key(replace(key, uuid=str(uuid4()), key_id="another"))

    async def then_change(*args: Any) -> Any:
        await new_store.write(change)
        return await storing(*args)

    monkeypatch.setattr(KeyImporter, "store", then_change)
    rebuilt = await lost.rebuild()
    assert (rebuilt.added, rebuilt.doubts) == (0, (Doubt.CHANGED,))
    assert await new_store.read(lambda tx: tx.keys([key.uuid])) == ()

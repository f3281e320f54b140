"""Objects under our names that nothing accounts for: found, listed, adopted; and those that ought to be gone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.creating import AUTH_KEY_LIMIT
from keystead.core.keys.model import AttemptState, Copy, KeyForm, KeyState, KeyType, Presence, Purpose
from keystead.core.keys.names import ObjectKind, object_name
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.kmip.server.responder import cluster
from keystead.kmip.testing.server import close
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.cluster.leases import LeaseLost
from keystead.service.context import Call, Caller
from keystead.service.keys.looking.visit import endpoint_of
from keystead.service.keys.orphans import listed
from keystead.service.keys.orphans.scan import OrphanScan
from tests.service.worlds.keepers import PAIRS, Keeping, again, keeping, of_kind, retire_and_wait, set_incarnation
from tests.service.worlds.keys import CALL, KeyWorld, asked, held, places_in
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.errors import ErrorKind
    from keystead.core.keys.model import Key
    from keystead.core.model import Svm
    from keystead.service.ports.store import Transaction

NAME = "keystead-99999999-k1234567890abcdef-1"
MATERIAL = bytes(range(64))


async def leave(
    kept: Keeping, place: int, name: str = NAME, material: bytes = MATERIAL, form: KeyForm = KeyForm.SECRET_DATA
) -> tuple[str, ...]:
    """Have another life of the database leave an object on a server; return its identifiers."""
    places = await kept.world.store.read(lambda tx: places_in(tx, kept.manager))
    endpoint = endpoint_of(kept.context, places, places.servers[place], "")
    async with kept.context.objects.session(endpoint, timeout_s=5) as session:
        return await session.register(name, Secret(material), form, application_information=None)


async def adopt(kept: Keeping, place: int, uid: str, name: str = "adopted", call: Call = CALL, **fields: Svm) -> Key:
    """Adopt an object, as a call does."""
    server = (await kept.world.servers(kept.manager))[place]
    return await kept.unclaimed.adopt(call, kept.manager, server.uuid, uid, name, **fields)


async def refusal(kept: Keeping, place: int, uid: str, name: str = "adopted", call: Call = CALL) -> ErrorKind:
    """Why an adoption is refused; nothing may change."""
    return (await refused(kept, place, uid, name, call)).kind


async def refused(
    kept: Keeping, place: int, uid: str, name: str = "adopted", call: Call = CALL, **fields: Svm
) -> OntapError:
    """With what an adoption is refused."""
    before = await kept.world.stored_keys(kept.manager)
    listed = await kept.world.store.read(lambda tx: tx.orphans(kept.manager))
    with pytest.raises(OntapError) as raised:
        await adopt(kept, place, uid, name, call, **fields)
    assert await kept.world.stored_keys(kept.manager) == before
    assert await kept.world.store.read(lambda tx: tx.orphans(kept.manager)) == listed
    return raised.value


# --- what is listed ---


async def test_what_nothing_accounts_for_is_listed(key_world: KeyWorld) -> None:
    """Not our keys and canaries, nor what is another product's, which is asked about once; gone ones leave the list."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    await kept.node.create(kept.manager)
    await leave(kept, 1)
    await leave(kept, 0, "payroll")
    assert await kept.scan() == [(1, NAME)]
    (listed,) = await kept.unclaimed.list(CALL, kept.manager)
    assert not listed.own
    assert (listed.of.name, listed.of.unique_identifier) in {
        (NAME, uid) for uid, stored in servers[1].responder.objects.items() if NAME in stored.names
    }
    looks = asked(servers[0]).count("GET_ATTRIBUTES")
    assert await kept.scan() == [(1, NAME)]
    assert asked(servers[0]).count("GET_ATTRIBUTES") == looks
    assert await kept.unclaimed.list(CALL, kept.manager) == (listed,)
    (placed,) = await kept.unclaimed.of_all(CALL)
    stored = await kept.world.store.read(lambda tx: tx.key_servers(kept.manager))
    assert (placed.of, placed.own, placed.server) == (listed.of, listed.own, str(stored[1].address))
    servers[1].responder.store.forget(listed.of.unique_identifier)
    assert await kept.scan() == []
    assert all("DESTROY" not in asked(server) for server in servers)


@on_sqlite
async def test_a_refusal_hides_no_orphan(key_world: KeyWorld) -> None:
    """An object whose attributes are refused is asked about again, and listed once the server answers."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    await leave(kept, 0)
    refusals = servers[0].responder.refusals
    refusals[Operation.GET_ATTRIBUTES] = ResultReason.PERMISSION_DENIED
    assert await kept.scan() == []
    refusals.clear()
    assert await kept.scan() == [(0, NAME)]


@on_sqlite
@pytest.mark.parametrize("kind", ["locate returns everything", "no offset items", "pages of two", "no states"])
async def test_objects_on_kinds_of_servers(key_world: KeyWorld, kind: str) -> None:
    """However a product lists its objects."""
    servers = await key_world.start(1, [of_kind(kind)])
    kept = await keeping(key_world, *servers)
    await kept.node.create(kept.manager)
    await leave(kept, 0)
    assert await kept.scan() == [(0, NAME)]


@on_sqlite
async def test_a_server_that_shows_nothing_keeps_its_list(key_world: KeyWorld) -> None:
    """Without its canary, or without an answer, nothing is concluded; nor of a key manager that is gone."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    await leave(kept, 0)
    await leave(kept, 1)
    assert await kept.scan() == [(0, NAME), (1, NAME)]
    servers[0].responder.store.forget_all()
    servers[1].request_faults[Operation.LOCATE] = close
    assert await kept.scan() == [(0, NAME), (1, NAME)]
    async with kept.lease() as holding:
        await kept.scanning.scan(holding, "gone")


@on_sqlite
async def test_what_others_account_for_is_not_listed(key_world: KeyWorld) -> None:
    """Keys of another key manager on the same server, and copies on servers that replicate with it."""
    members, _ = cluster(2)
    servers = await key_world.start(2, members)
    kept = await keeping(key_world, *servers)
    other = await keeping(key_world, servers[0])
    await kept.node.create(kept.manager)
    await other.node.create(other.manager)
    assert await kept.scan() == []


@on_sqlite
async def test_an_object_that_vanishes_while_it_is_looked_at(key_world: KeyWorld) -> None:
    """Is none."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)

    async def forget() -> None:
        servers[0].responder.store.objects.pop(uid, None)

    kept.scanning._context = replace(kept.context, turn=forget)
    assert await kept.scan() == []


async def test_nothing_is_listed_without_the_lease(key_world: KeyWorld) -> None:
    """What a keeper found out that was held up is not stored."""
    kept = await keeping(key_world, *await key_world.start(1))
    await leave(kept, 0)
    another = Keeping(key_world, await key_world.node(), kept.manager)
    async with kept.lease() as holding:
        key_world.clock.advance(300)
        async with another.lease():
            with pytest.raises(LeaseLost):
                await kept.scanning.scan(holding, kept.manager)
    assert await kept.unclaimed.list(CALL, kept.manager) == ()


async def test_whose_life_wrote_it(key_world: KeyWorld) -> None:
    """An earlier one of this database: its keys were forgotten, by a restore for example. Or one that it never had."""
    kept = await keeping(key_world, *await key_world.start(1))
    current = await key_world.store.read(lambda tx: tx.incarnation())
    assert current is not None
    earlier = f"keystead-{current.uuid[:8]}-k1234567890abcdef-1"
    await leave(kept, 0, earlier)
    await leave(kept, 0)
    await set_incarnation(key_world, uuid="another", number=2)
    await kept.scan()
    listed = await kept.unclaimed.list(CALL, kept.manager)
    assert {view.of.name: view.own for view in listed} == {earlier: True, NAME: False}


@on_sqlite
async def test_what_can_be_no_key_is_not_listed(key_world: KeyWorld) -> None:
    """Another life's canaries and descriptors: nobody can adopt them, and nobody destroys them."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    others = ["keystead-99999999-c1234567890abcdef-1", "keystead-99999999-d1234567890abcdef-1"]
    for name in (*others, NAME):
        await leave(kept, 0, name)
    assert await kept.scan() == [(0, NAME)]
    assert set(others) <= held(servers[0]).keys()


@on_sqlite
async def test_what_is_adopted_while_it_is_looked_for(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that is adopted during the scan is not listed again; all other objects are."""
    kept = await keeping(key_world, *await key_world.start(1))
    kept.scanning = OrphanScan(kept.context, listed=1)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    others = [f"keystead-99999999-k000000000000000{number}-1" for number in (1, 2)]
    for name in others:
        await leave(kept, 0, name)
    scanned = kept.scanning._find_unlisted

    async def then_adopt(*args: Any) -> Any:
        found = await scanned(*args)
        await adopt(kept, 0, uid)
        return found

    monkeypatch.setattr(kept.scanning, "_find_unlisted", then_adopt)
    assert await kept.scan() == [(0, name) for name in others]


# --- what ought to be gone ---


async def test_what_comes_back_is_ended_again(key_world: KeyWorld) -> None:
    """A server that was restored brings a purged key back: its end goes on, and is over once more."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = dict(servers[0].responder.objects)
    await retire_and_wait(kept, key)
    await kept.end()
    servers[0].responder.store.objects.update(before)
    assert await kept.scan() == []
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert len(held(servers[0])) == 1


@on_sqlite
async def test_what_was_destroyed_is_not_back(key_world: KeyWorld) -> None:
    """Servers that keep it show it, and say that it is destroyed; once it is not, it is ended again."""
    (server,) = await key_world.start(1, [of_kind("destroyed objects are kept")])
    kept = await keeping(key_world, server)
    key = await kept.node.create(kept.manager)
    (uid,) = (await key_world.copies(key.uuid))[0].unique_identifiers
    before = server.responder.objects[uid].copy()
    await retire_and_wait(kept, key)
    await kept.end()
    purged = await key_world.key(key.uuid)
    for _ in range(2):
        assert await kept.scan() == []
    assert await key_world.key(key.uuid) == purged
    server.responder.store.receive(uid, before)
    await kept.scan()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    await again(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED


@on_sqlite
async def test_what_was_aborted_and_comes_late_is_ended(key_world: KeyWorld) -> None:
    """Its objects, and a descriptor, on a server where the attempt has, or had, no copy."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(attempt, number=2, state=AttemptState.ABORTED, token="another")
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    late = [str(object_name(begun)), str(object_name(begun, ObjectKind.DESCRIPTOR))]
    await leave(kept, 0, late[0])
    await leave(kept, 1, late[1])
    assert await kept.scan() == []
    assert await kept.scan() == []
    key_world.clock.advance(4000)
    await kept.end()
    assert [set(late) & held(server).keys() for server in servers] == [set(), set()]
    assert len(held(servers[0])) == len(held(servers[1])) == 2
    await set_incarnation(key_world, uuid="another", number=2)
    await leave(kept, 0, late[0])
    assert (0, late[0]) in await kept.scan()


@on_sqlite
async def test_what_comes_back_is_its_own_key_managers(key_world: KeyWorld) -> None:
    """Two use a server: the scan of one finds the other's purged key there, and leaves its end to that one."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    other = await keeping(key_world, servers[0])
    key = await kept.node.create(kept.manager)
    before = dict(servers[0].responder.objects)
    await retire_and_wait(kept, key)
    await kept.end()
    servers[0].responder.store.objects.update(before)
    assert await other.scan() == []
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert await kept.scan() == []
    assert (await key_world.key(key.uuid)).state is KeyState.PURGING
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert len(held(servers[0])) == 2  # both canaries


@on_sqlite
async def test_what_was_aborted_is_its_own_key_managers(key_world: KeyWorld) -> None:
    """The scan of another comes before it is destroyed; the key manager whose attempt it was can go all the same."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    other = await keeping(key_world, servers[0])
    servers[1].request_faults[Operation.REGISTER] = close
    await kept.node.refused(kept.manager)
    assert [state for *_, state in await key_world.stored_keys(kept.manager)] == ["aborted"]
    assert len(held(servers[0])) == 3
    assert await other.scan() == []
    key_world.clock.advance(4000)
    await again(kept)
    assert len(held(servers[0])) == 2
    current = await key_world.store.read(lambda tx: tx.incarnation())
    assert current is not None
    assert await key_world.store.read(lambda tx: tx.keys_left(kept.manager, current.uuid)) == 0


# --- adoption ---


async def test_an_object_is_adopted(key_world: KeyWorld) -> None:
    """It becomes the one copy of a key, which is audited, written to the other servers, read; a purge leaves it."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 1)
    await kept.scan()
    key = await adopt(kept, 1, uid, "found again")
    assert await key_world.key(key.uuid) == key
    assert (key.name, key.state, key.length, key.key_type) == ("found again", KeyState.COMMITTED, 64, KeyType.VEK)
    (copy,) = await key_world.copies(key.uuid)
    assert (copy.unique_identifiers, copy.presence) == ((uid,), Presence.PRESENT)
    assert await kept.unclaimed.list(CALL, kept.manager) == ()
    records = await key_world.store.read(lambda tx: tx.audit_records(kept.node.uuid, 0, 10))
    assert [record.message for record in records[-1:]] == [f"adopted key {key.key_id}"]
    assert (await kept.fill()).copied == 1
    assert [MATERIAL] in held(servers[0]).values()
    await kept.settle()
    assert await kept.scan() == []
    sweep = await kept.sweep(1)
    assert sweep is not None
    assert (sweep.proven, sweep.lost) == (1, [])
    await retire_and_wait(kept, key)
    await kept.end()
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert [MATERIAL] not in held(servers[0]).values()
    assert held(servers[1])[NAME] == [MATERIAL]
    assert await kept.receipts(key) == [(0, "destroyed"), (0, "revoked"), (1, "left")]
    assert await kept.scan() == [(1, NAME)]
    assert (await adopt(kept, 1, uid, "once more")).state is KeyState.COMMITTED


@on_sqlite
async def test_an_adopted_object_is_one_key_s(key_world: KeyWorld) -> None:
    """On all servers that show it, and in all key managers that use them: no other key's end is its end."""
    members, _ = cluster(2)
    servers = await key_world.start(2, members)
    kept = await keeping(key_world, *servers)
    other = await keeping(key_world, *servers)
    await kept.learner.look_for_canaries(kept.manager)
    (uid,) = await leave(kept, 0)
    assert await kept.scan() == await other.scan() == [(0, NAME), (1, NAME)]
    key = await adopt(kept, 0, uid, "one")
    for each in (kept, other):
        assert await each.unclaimed.list(CALL, each.manager) == ()
    assert await refusal(kept, 1, uid, "two") is errors.ENTRY_NOT_FOUND
    assert await refusal(other, 0, uid, "three") is errors.ENTRY_NOT_FOUND
    assert await kept.scan() == await other.scan() == []
    await retire_and_wait(kept, key)
    await kept.end()
    assert held(servers[0])[NAME] == [MATERIAL]


@on_sqlite
@pytest.mark.parametrize("noted", [False, True])
async def test_an_adopted_object_is_left_by_the_attempt_that_wrote_it(key_world: KeyWorld, noted: bool) -> None:
    """What another incarnation's aborted attempt left, and noted perhaps, of a key that ends: by then another key's."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    copies = await key_world.copies(key.uuid)
    (material,) = held(servers[0])[str(object_name(attempt))]
    begun = replace(attempt, number=2, purpose=Purpose.COPY, state=AttemptState.ABORTED, token="another")
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    (uid,) = await leave(kept, 1, str(object_name(begun)), material)
    left = Copy(key.uuid, 2, copies[1].key_server, Presence.SENT, unique_identifiers=(uid,) if noted else ())
    await key_world.store.write(lambda tx: tx.put_copies([left], new=True))
    await set_incarnation(key_world, uuid="another", number=2)
    assert (1, str(object_name(begun))) in await kept.scan()
    adopted = await adopt(kept, 1, uid)
    await retire_and_wait(kept, key)
    await again(kept)
    assert (await key_world.key(key.uuid)).state is KeyState.PURGED
    assert held(servers[1])[str(object_name(begun))] == [material]
    assert (await key_world.key(adopted.uuid)).state is KeyState.COMMITTED


@on_sqlite
async def test_a_pair_is_adopted_as_a_whole(key_world: KeyWorld) -> None:
    """By either of its parts; half of one is no key."""
    kept = await keeping(key_world, *await key_world.start(1, [of_kind(PAIRS)]))
    ids = await leave(kept, 0, form=KeyForm.SYMMETRIC_KEY_PAIR)
    half = await leave(kept, 0, "keystead-99999999-kfedcba0987654321-1", form=KeyForm.SYMMETRIC_KEY_PAIR)
    await kept.scan()
    key = await adopt(kept, 0, ids[1])
    assert (await key_world.copies(key.uuid))[0].unique_identifiers == ids
    server = (await key_world.servers(kept.manager))[0]
    await key_world.store.write(lambda tx: tx.delete_orphans(server.uuid, half[:1]))
    assert await refusal(kept, 0, half[1]) is errors.ENTRY_NOT_FOUND


async def test_of_two_that_adopt_an_object_one_does(key_world: KeyWorld) -> None:
    """It is one key; the other call is refused as for what is not there."""
    kept = await keeping(key_world, *await key_world.start(1))
    (uid,) = await leave(kept, 0)
    await kept.scan()
    await adopt(kept, 0, uid, "one")
    assert await refusal(kept, 0, uid, "two") is errors.ENTRY_NOT_FOUND


@on_sqlite
async def test_a_copy_of_another_owners_key_is_not_adopted(key_world: KeyWorld) -> None:
    """By its name, whatever attempt wrote it, while that key is in use; its own key manager may adopt it, beside it."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    other = await keeping(key_world, servers[0])
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    (uid,) = await leave(kept, 0, str(object_name(replace(attempt, number=7))))
    await kept.scan()
    await other.scan()
    with pytest.raises(OntapError) as raised:
        await adopt(other, 0, uid)
    assert (raised.value.kind, raised.value.target) == (errors.DUPLICATE_ENTRY, "unique_identifier")
    assert [*raised.value.arguments] == [("key_id", key.key_id)]
    assert await other.unclaimed.list(CALL, other.manager)
    assert (await adopt(kept, 0, uid)).key_manager == kept.manager


@on_sqlite
async def test_what_cannot_be_adopted(key_world: KeyWorld) -> None:
    """What is not listed, no copy of a key, of no key's length, unreadable; under a name that is taken or is none."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    await kept.node.create(kept.manager, "taken")
    (uid,) = await leave(kept, 0)
    (canary,) = await leave(kept, 0, "keystead-99999999-c1234567890abcdef-1")
    (short,) = await leave(kept, 0, "keystead-99999999-k0000000000000001-1", bytes(16))
    (alike,) = await leave(kept, 0, "keystead-99999999-k0000000000000002-1", bytes(64))
    await kept.scan()
    assert await refusal(kept, 0, "unknown") is errors.ENTRY_NOT_FOUND
    assert await refusal(kept, 1, uid) is errors.ENTRY_NOT_FOUND
    assert await refusal(kept, 0, canary) is errors.ENTRY_NOT_FOUND
    assert await refusal(kept, 0, short) is errors.KEY_LENGTH
    halves = await refused(kept, 0, alike)
    assert (halves.kind, halves.target) == (errors.INVALID_VALUE, "unique_identifier")
    assert await refusal(kept, 0, uid, "taken") is errors.DUPLICATE_ENTRY
    assert await refusal(kept, 0, uid, "") is errors.INVALID_VALUE
    servers[0].responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    assert await refusal(kept, 0, uid) is errors.NOT_PUSHED
    servers[0].responder.refusals.clear()
    server = (await key_world.servers(kept.manager))[0]
    await key_world.store.write(lambda tx: tx.delete_key_server(server.uuid))
    with pytest.raises(OntapError):
        await kept.unclaimed.adopt(CALL, kept.manager, server.uuid, uid, "adopted")
    await kept.scan()
    assert await kept.unclaimed.list(CALL, kept.manager) == ()


@on_sqlite
async def test_of_authentication_keys_no_more_are_adopted_than_may_be(key_world: KeyWorld) -> None:
    """128, as for those that are created."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers, of_cluster=True, know=False)
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    (uid,) = await leave(kept, 0, material=b"a" * 32)
    await kept.scan()
    key = await kept.node.create(manager, "", key_type=KeyType.NSE_AK)

    def add(tx: Transaction) -> None:
        for number in range(AUTH_KEY_LIMIT - 1):
            tx.add_key(replace(key, uuid=str(uuid4()), key_id=f"id{number}", name=f"n{number}"))

    await key_world.store.write(add)
    assert await refusal(kept, 0, uid) is errors.AUTH_KEY_LIMIT
    await key_world.store.write(lambda tx: tx.drop_key(key.uuid))
    assert (await adopt(kept, 0, uid)).key_type is KeyType.NSE_AK


def of(svm: Svm) -> Call:
    """Return a call of an SVM's account."""
    return Call(Caller("vsadmin", Role.VSADMIN, "127.0.0.1", svm), "POST", "/api/test", scope=svm)


@on_sqlite
async def test_who_lists_and_adopts(key_world: KeyWorld) -> None:
    """Those who see the key manager: of an unclaimed object on the cluster's nobody knows which SVM's it is."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers, of_cluster=True, know=False)
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    (uid,) = await leave(kept, 0)
    (secret,) = await leave(kept, 0, "keystead-99999999-k0000000000000001-1", b"a" * 32)
    await kept.scan()
    svm = await key_world.home.svm()
    with pytest.raises(OntapError) as raised:
        await kept.unclaimed.list(of(svm), manager)
    assert raised.value.kind is errors.ENTRY_NOT_FOUND
    assert await refusal(kept, 0, uid, call=of(svm)) is errors.ENTRY_NOT_FOUND
    adopted = await adopt(kept, 0, uid, svm=svm)
    assert adopted.svm == svm
    no_svms = await refused(kept, 0, secret, svm=svm)
    assert (no_svms.kind, no_svms.target) == (errors.INVALID_VALUE, "svm")
    authentication = await adopt(kept, 0, secret, "authentication")
    assert (authentication.key_type, authentication.length, authentication.svm) == (KeyType.NSE_AK, 32, None)


@on_sqlite
@pytest.mark.parametrize("life", [{"number": 2}, {}], ids=["an earlier life", "one that was forgotten as well"])
async def test_an_svm_adopts_nothing_in_its_own_key_manager(key_world: KeyWorld, life: dict[str, int]) -> None:
    """On a server that the cluster uses with the same certificate: what a restore forgot may be any tenant's key."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers, of_cluster=True, know=False)
    clusters = Keeping(key_world, await key_world.node(), manager)
    await clusters.learner.ensure(manager)
    forgotten = await clusters.node.create(manager, "another tenant's")
    kept = await keeping(key_world, *servers)
    (uid,) = (await key_world.copies(forgotten.uuid))[0].unique_identifiers
    await key_world.store.write(lambda tx: tx.drop_key(forgotten.uuid))
    await set_incarnation(key_world, uuid="another", **life)
    await kept.scan()
    (listed,) = await kept.unclaimed.list(CALL, kept.manager)
    assert (listed.of.unique_identifier, listed.own) == (uid, bool(life))
    owner = (await key_world.topology(kept.manager)).key_manager.svm
    assert owner is not None
    assert await kept.unclaimed.list(of(owner), kept.manager) == ()
    assert await refusal(kept, 0, uid, call=of(owner)) is errors.ENTRY_NOT_FOUND
    tunnelled = Call(CALL.caller, "POST", "/api/test", scope=owner)
    assert await refusal(kept, 0, uid, call=tunnelled) is errors.ENTRY_NOT_FOUND
    assert (await adopt(kept, 0, uid)).svm == owner


@on_sqlite
async def test_what_is_adopted_is_still_there(key_world: KeyWorld) -> None:
    """A server that has lost it since is asked in vain, and the next look takes it from the list."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    servers[0].responder.store.forget(uid)
    assert await refusal(kept, 0, uid) is errors.NOT_PUSHED
    await again(kept, end=False)
    assert await kept.scan() == []


@on_sqlite
async def test_an_identifier_that_another_object_has_by_now(key_world: KeyWorld) -> None:
    """A server that was emptied and filled since the look: the name says that this is somebody's key."""
    servers = await key_world.start(1)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    key = await kept.node.create(kept.manager, "in use")
    (copy,) = await key_world.copies(key.uuid)
    store = servers[0].responder.store
    store.objects[uid] = store.objects.pop(copy.unique_identifiers[0])
    assert await refusal(kept, 0, uid) is errors.ENTRY_NOT_FOUND


@on_sqlite
@pytest.mark.parametrize("what", ["server", "incarnation"])
async def test_a_change_after_an_object_was_read(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """It is read again: no key has its only copy on a server that is gone."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (uid,) = await leave(kept, 0)
    await kept.scan()
    server = (await key_world.servers(kept.manager))[0]
    check, rounds = listed._check_names, []

    async def then_change(*args: Any) -> None:
        await check(*args)
        rounds.append(what)
        if what == "server":
            await key_world.store.write(lambda tx: tx.delete_key_server(server.uuid))
        elif len(rounds) == 1:
            await set_incarnation(key_world, uuid="i2")

    monkeypatch.setattr(listed, "_check_names", then_change)
    if what == "incarnation":
        key = await adopt(kept, 0, uid)
        assert [each.incarnation for each in await key_world.attempts(key.uuid)] == ["i2"]
        assert len(rounds) == 2
        return
    with pytest.raises(OntapError) as raised:
        await adopt(kept, 0, uid)
    assert (raised.value.kind, raised.value.target) == (errors.ENTRY_NOT_FOUND, "key_server")
    assert await key_world.stored_keys(kept.manager) == []

"""Creating keys: what is sent and stored, how many copies are enough, and who may create which key."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys import creating
from keystead.core.keys.model import AttemptState, KeyForm, KeyState, KeyType, Presence, Purpose
from keystead.core.keys.names import ObjectKind, object_name
from keystead.core.model import Role
from keystead.core.secret import Secret
from keystead.kmip.client.client import Client
from keystead.kmip.messages.objects import KeyBlock, KeyValue, SecretData
from keystead.kmip.server.responder import cluster
from keystead.kmip.ttlv.enums import KeyFormatType, Operation, ResultReason, SecretDataType
from keystead.service.context import Call, Caller
from tests.service.worlds.keys import asked, full, held, on_sqlite

if TYPE_CHECKING:
    from keystead.kmip.testing.server import Exchange
    from tests.service.worlds.keys import KeyWorld

PRESENT, SENT = Presence.PRESENT, Presence.SENT
MATERIAL = bytes(range(64))
REGISTER = Operation.REGISTER

# --- on sound servers ---


async def test_a_key_on_four_servers(key_world: KeyWorld) -> None:
    """Each server has one Active object with the material under the attempt's name, as the rows and the record say."""
    servers = await key_world.start(4)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    key = await node.create(manager, material=Secret(MATERIAL), key_tag="tag")
    (attempt,) = await key_world.attempts(key.uuid)
    copies = await key_world.copies(key.uuid)
    assert await key_world.key(key.uuid) == key
    assert (key.state, key.name, key.key_tag, key.version) == (KeyState.COMMITTED, "a key", "tag", 1)
    assert key.committed is not None
    assert (attempt.number, attempt.purpose, attempt.state) == (1, Purpose.CREATE, AttemptState.COMMITTED)
    assert attempt.node == node.uuid
    assert [held(server) for server in servers] == 4 * [{str(object_name(attempt)): [MATERIAL]}]
    for server, copy in zip(servers, copies, strict=True):
        assert list(copy.unique_identifiers) == list(server.responder.objects)
        assert (copy.presence, copy.object_state, copy.host) == (PRESENT, "Active", "")
        assert copy.written is not None
        assert copy.proven is not None
        (stored,) = server.responder.objects.values()
        assert stored.state is not None
        assert stored.state.name == "ACTIVE"
        assert asked(server)[-3:] == ["REGISTER", "GET", "ACTIVATE"]
    records = await key_world.store.read(lambda tx: tx.audit_records(node.uuid, 1, 10))
    assert [(record.state, record.message) for record in records] == [("success", f"created key {key.key_id}")]
    assert all(MATERIAL.hex() not in repr(each) and key.digest.hex() not in repr(each) for each in (*records, key))


@on_sqlite
async def test_material_that_is_made(key_world: KeyWorld) -> None:
    """Generated material is random: 64 bytes with different halves, or 32 for an authentication key."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    node = await key_world.node()
    for number in range(3):
        await node.create(manager, f"key {number}")
    await node.create(manager, "", key_type=KeyType.NSE_AK)
    made = [material for each in held(servers[0]).values() for material in each]
    assert sorted(map(len, made)) == [32, 64, 64, 64]
    assert len({*made, *(each[:32] for each in made), *(each[32:] for each in made if each[32:])}) == 4 + 3 + 3
    assert sorted(made) == sorted(material for each in held(servers[1]).values() for material in each)


@on_sqlite
async def test_the_intent_precedes_the_first_packet(key_world: KeyWorld) -> None:
    """When Register arrives, the key, the attempt and the row of this very copy are stored: pending, and sent."""
    seen: list[tuple[KeyState, list[AttemptState]]] = []

    async def look(exchange: Exchange) -> None:
        key = await key_world.named(manager)
        assert key is not None
        seen.append((key.state, [each.state for each in await key_world.attempts(key.uuid)]))
        assert await key_world.presences(key.uuid) == [SENT, SENT]
        await exchange.stream.send(exchange.answer)

    servers = await key_world.start(2)
    for server in servers:
        server.request_faults[REGISTER] = look
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    await node.create(manager)
    assert seen == 2 * [(KeyState.PENDING, [AttemptState.PENDING])]
    assert not [failure for server in servers for failure in server.failures]


@on_sqlite
async def test_servers_that_keep_keys_otherwise(key_world: KeyWorld) -> None:
    """Each is sent the form that it takes; what it cannot keep is not sent, and the reason says so."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    await key_world.know(manager, form=KeyForm.SYMMETRIC_KEY_PAIR, application_information=False, activates=False)
    node = await key_world.node()
    key = await node.create(manager, material=Secret(MATERIAL))
    (attempt,) = await key_world.attempts(key.uuid)
    name = str(object_name(attempt))
    assert held(servers[0]) == {f"{name}-1": [MATERIAL[:32]], f"{name}-2": [MATERIAL[32:]]}
    assert [(copy.object_state, len(copy.unique_identifiers)) for copy in await key_world.copies(key.uuid)] == [
        ("", 2),
        ("", 2),
    ]
    error = await node.refused(manager, "", key_type=KeyType.NSE_AK, material=Secret(b"a passphrase of 24 bytes"))
    assert error.kind is errors.NOT_PUSHED
    assert [value for name, value in error.arguments if name == "reason"] == 2 * ["key_length_not_supported"]


# --- how many copies ---


@on_sqlite
@pytest.mark.parametrize("count", [1, 2, 3, 4])
async def test_as_many_as_the_default_asks_for(key_world: KeyWorld, count: int) -> None:
    """By default a majority of the primaries is needed, and two of two; with fewer no key is created."""
    servers = await key_world.start(count)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    enough = count // 2 + 1
    for dead in range(count + 1):
        if dead:
            full(servers[dead - 1])
        if count - dead >= enough:
            key = await node.create(manager, f"{dead} dead", material=Secret(MATERIAL))
            assert (await key_world.presences(key.uuid)).count(PRESENT) == count - dead
            (attempt,) = await key_world.attempts(key.uuid)
            holders = [server for server in servers if held(server).get(str(object_name(attempt))) == [MATERIAL]]
            assert holders == servers[dead:]
        else:
            error = await node.refused(manager, f"{dead} dead")
            assert error.kind is (errors.NOT_PUSHED if dead == count else errors.TOO_FEW_COPIES)


@on_sqlite
async def test_the_policy(key_world: KeyWorld) -> None:
    """The policy may ask for more or fewer copies than a majority; if it asks for too many, no key is created."""
    servers = await key_world.start(3)
    node = await key_world.node()
    for wanted, sound, made in ((1, 1, True), (3, 2, False), (3, 3, True), (4, 3, False)):
        for server in servers[sound:]:
            full(server)
        manager = await key_world.key_manager(*servers, min_copies=wanted)
        if made:
            await node.create(manager)
        else:
            assert (await node.refused(manager)).kind is errors.TOO_FEW_COPIES
        for server in servers:
            server.responder.capacity = None


@on_sqlite
@pytest.mark.parametrize("declared", [True, False])
async def test_two_primaries_that_are_one_cluster(key_world: KeyWorld, declared: bool) -> None:
    """They are one domain, declared or found out: with the third one dead there are two copies in one domain."""
    members, _ = cluster(2)
    servers = await key_world.start(3, members)
    site = {"replication_domain": "site"}
    manager = await key_world.key_manager(*servers, each={0: site, 1: site} if declared else {}, min_copies=2)
    if not declared:
        await key_world.know(manager, sees={0: [1]})
    node = await key_world.node()
    key = await node.create(manager)
    assert await key_world.presences(key.uuid) == 3 * [PRESENT]
    full(servers[2])
    assert (await node.refused(manager, "b")).kind is errors.TOO_FEW_COPIES
    servers[2].responder.capacity = None
    full(servers[0])
    key = await node.create(manager, "c")
    assert (await key_world.presences(key.uuid))[1:] == [PRESENT, PRESENT]


@on_sqlite
async def test_one_message_where_a_server_takes_batches(key_world: KeyWorld) -> None:
    """A Register and the Get of what it made; where the Get is not answered there, it is asked for alone."""
    servers = await key_world.start(2)
    servers[1].responder.refusals[Operation.GET] = ResultReason.ITEM_NOT_FOUND

    async def allow(exchange: Exchange) -> None:
        exchange.answer  # noqa: B018 - carried out, and refused
        servers[1].responder.refusals.clear()
        await exchange.stream.send(exchange.answer)

    servers[1].request_faults[REGISTER] = allow
    manager = await key_world.key_manager(*servers, know=False)
    await key_world.know(manager, batches=True, locate_by_name=True)
    node = await key_world.node()
    key = await node.create(manager)
    assert await key_world.presences(key.uuid) == [PRESENT, PRESENT]
    assert [asked(server)[-2:] for server in servers] == [["GET", "ACTIVATE"], ["GET", "ACTIVATE"]]
    messages = [[len(request.batch_item) for request in server.requests][-3:] for server in servers]
    assert messages == [[1, 2, 1], [2, 1, 1]]


@on_sqlite
async def test_a_get_that_means_another_object(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the Get of a batch returns another object, the object is asked for by its identifier."""
    real = Client.register_and_get
    others = SecretData(SecretDataType.SEED, KeyBlock(KeyFormatType.RAW, key_value=KeyValue(bytes(64))))

    async def of_another(*arguments: Any, **options: Any) -> Any:
        registered, got = await real(*arguments, **options)
        return registered, replace(got, managed_object=others)  # type: ignore[type-var]

    monkeypatch.setattr(Client, "register_and_get", of_another)
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, know=False)
    await key_world.know(manager, batches=True, locate_by_name=True)
    node = await key_world.node()
    key = await node.create(manager)
    assert await key_world.presences(key.uuid) == [PRESENT]
    assert asked(server)[-4:] == ["REGISTER", "GET", "GET", "ACTIVATE"]


@on_sqlite
async def test_servers_of_which_nothing_is_known(key_world: KeyWorld) -> None:
    """Servers that are not learned get nothing; if the others are too few, no server gets anything."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    rows = await key_world.servers(manager)
    node = await key_world.node()
    await node.learner.close()  # or they would be known at once
    await key_world.store.write(lambda tx: tx.delete_profile(rows[0].uuid))
    key = await node.create(manager)
    assert [copy.key_server for copy in await key_world.copies(key.uuid)] == [row.uuid for row in rows[1:]]
    for number, kind in ((1, errors.TOO_FEW_COPIES), (2, errors.NOT_PUSHED)):
        await key_world.store.write(lambda tx, row=rows[number]: tx.delete_profile(row.uuid))  # type: ignore[misc]
        before = [len(server.requests) for server in servers]
        error = await node.refused(manager, "b")
        unknown = [(("server", str(row.address)), ("reason", "not_reached")) for row in rows[: number + 1]]
        assert (error.kind, list(error.arguments)) == (kind, [pair for both in unknown for pair in both])
        assert [len(server.requests) for server in servers] == before
        assert await key_world.named(manager, "b") is None


@on_sqlite
async def test_servers_that_cannot_be_learned(key_world: KeyWorld) -> None:
    """The refusal says why; so soon they are not asked again, but are after a change."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, know=False)
    node = await key_world.node()
    server.responder.refusals[REGISTER] = ResultReason.PERMISSION_DENIED
    (row,) = await key_world.servers(manager)
    for _ in range(2):
        error = await node.refused(manager, "a")
        assert error.kind is errors.NOT_PUSHED
        assert error.arguments == (("server", str(row.address)), ("reason", "permission_denied"))
        assert len(asked(server, REGISTER)) == 1
    server.responder.refusals.clear()
    node.learner.retry(manager)
    await node.create(manager)
    assert not node.learner.unlearned(manager)


@on_sqlite
async def test_what_is_written_beside_a_copy(key_world: KeyWorld) -> None:
    """The descriptor lies under a name of its own beside each copy, where Secret Data can be; its object is noted."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    pair = (await key_world.know(manager))[1]
    await key_world.store.write(lambda tx: tx.put_profile(replace(pair, form=KeyForm.SYMMETRIC_KEY_PAIR)))
    node = await key_world.node(describe=lambda key, *_: key.name.encode())
    key = await node.create(manager)
    (attempt,) = await key_world.attempts(key.uuid)
    first, second = await key_world.copies(key.uuid)
    assert held(servers[0])[str(object_name(attempt, ObjectKind.DESCRIPTOR))] == [b"a key"]
    assert {*first.unique_identifiers, first.descriptor} == set(servers[0].responder.objects)
    assert (second.descriptor, len(held(servers[1]))) == ("", 2)


@on_sqlite
async def test_activation_holds_up_no_descriptor(key_world: KeyWorld) -> None:
    """A slow activation delays no descriptor, and a server that does neither delays no other."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    await key_world.know(manager)
    servers[0].responder.refusals[Operation.ACTIVATE] = ResultReason.PERMISSION_DENIED
    node = await key_world.node(describe=lambda key, *_: key.name.encode())
    first, second = await key_world.copies((await node.create(manager)).uuid)
    assert (first.object_state, second.object_state) == ("", "Active")
    assert first.descriptor in servers[0].responder.objects
    assert second.descriptor in servers[1].responder.objects


# --- who may create, and what is told ---

VSADMIN = Caller("vsadmin", Role.VSADMIN, "127.0.0.1")


@on_sqlite
async def test_an_svms_key_in_the_clusters_key_manager(key_world: KeyWorld) -> None:
    """An account of an SVM creates its key in the cluster's key manager; a failure names no server."""
    servers = await key_world.start(1)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    svm, other = await key_world.home.svm(), await key_world.home.svm()
    node = await key_world.node()
    call = Call(replace(VSADMIN, svm=svm), "POST", "/api/test", scope=svm)
    key = await node.create(manager, call=call)
    assert key.svm == svm
    with pytest.raises(OntapError) as raised:
        await node.create(manager, "b", call=call, svm=other)
    assert (raised.value.kind, raised.value.target) == (errors.INVALID_VALUE, "svm")
    full(servers[0])
    with pytest.raises(OntapError) as raised:
        await node.create(manager, "c", call=call)
    assert (raised.value.kind, list(raised.value.arguments)) == (errors.NOT_PUSHED, [])
    own = await key_world.key_manager(*servers, svm=other)
    with pytest.raises(OntapError) as raised:
        await node.create(own, call=call)
    assert raised.value.kind is errors.ENTRY_NOT_FOUND


@on_sqlite
async def test_what_an_svms_account_is_told_of_its_own_servers(key_world: KeyWorld) -> None:
    """A failure names the SVM's servers that failed, without reasons."""
    (server,) = await key_world.start(1)
    svm = await key_world.home.svm()
    manager = await key_world.key_manager(server, svm=svm)
    full(server)
    node = await key_world.node()
    error = await node.refused(manager, call=Call(replace(VSADMIN, svm=svm), "POST", "/api/test", scope=svm))
    assert list(error.arguments) == [("server", f"127.0.0.1:{server.port}")]


@on_sqlite
async def test_more_copies_than_there_are_domains(key_world: KeyWorld) -> None:
    """No server is blamed, and nothing is sent; who does not see the key manager is told neither number."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, of_cluster=True, min_copies=4)
    node = await key_world.node()
    error = await node.refused(manager)
    assert error.kind is errors.TOO_FEW_COPIES
    assert list(error.arguments) == [("min_copies", "4"), ("replication_domains", "3")]
    assert asked(servers[0], REGISTER) == []
    svm = await key_world.home.svm()
    error = await node.refused(manager, call=Call(replace(VSADMIN, svm=svm), "POST", "/api/test", scope=svm))
    assert list(error.arguments) == []
    found = (await key_world.topology(manager)).key_manager
    await key_world.store.write(lambda tx: tx.change_key_manager(replace(found, min_copies=3)))
    await node.create(manager)


@on_sqlite
async def test_at_most_128_authentication_keys(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that hold a name count for the limit of 128; aborted ones do not."""
    monkeypatch.setattr(creating, "AUTH_KEY_LIMIT", 2)
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    node = await key_world.node()
    await node.create(manager, "volume")
    full(server)
    assert (await node.refused(manager, "", key_type=KeyType.NSE_AK)).kind is errors.NOT_PUSHED
    server.responder.capacity = None
    for _ in range(2):
        await node.create(manager, "", key_type=KeyType.NSE_AK)
    assert (await node.refused(manager, "", key_type=KeyType.NSE_AK)).kind is errors.AUTH_KEY_LIMIT
    await node.create(manager, "another volume")


async def test_a_name_is_taken_once(key_world: KeyWorld) -> None:
    """A repeat hears which key has it; nothing is sent for it. In another key manager the name is free."""
    servers = await key_world.start(1)
    manager, other = await key_world.key_manager(*servers), await key_world.key_manager(*servers)
    node = await key_world.node()
    key = await node.create(manager)
    error = await node.refused(manager)
    assert (error.kind, error.target) == (errors.DUPLICATE_ENTRY, "name")
    assert list(error.arguments) == [("key_id", key.key_id), ("name", "a key")]
    assert (await node.create(other)).name == "a key"
    assert asked(servers[0], REGISTER) == 2 * ["REGISTER"]

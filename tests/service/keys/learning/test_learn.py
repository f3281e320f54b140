"""Learning key servers: what is known of each kind afterwards, who is one domain, and many who learn at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange, NewKeyManager
from keystead.core.key_servers import AddRequest, ModifyRequest, NewKeyServer
from keystead.core.keys.digests import agrees
from keystead.core.keys.model import Incarnation, KeyForm, ServerProfile
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.keyservers.forms import material_of
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder, cluster
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import held as answered_after
from keystead.kmip.testing.server import silence
from keystead.kmip.ttlv.enums import ObjectType, Operation, ResultReason, State
from keystead.service.configuration.key_managers import KeyManagers
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.keys.learning.profiles import forget, store_profile, store_seen
from keystead.service.keys.looking.canaries import CanarySight, find_own_canary
from keystead.service.probing.prober import password_context
from tests.service.worlds.changing import configuration_context
from tests.service.worlds.keys import CALL, KeyWorld, asked, held
from tests.service.worlds.learning import OF_PLAIN, domain_count, learned, learner, name, on_sqlite, topology

if TYPE_CHECKING:
    from keystead.core.model import KeyServer
    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.service.keys.learning.learn import ServerLearner
    from keystead.service.keys.topology import ServerTopology
    from tests.peers.groups import Group

REGISTER, ACTIVATE = Operation.REGISTER, Operation.ACTIVATE

# --- what is learned ---


async def test_four_servers_are_learned_at_once(key_world: KeyWorld) -> None:
    """Each has one Active canary of its own, whose digest is stored; nothing is asked when all is known."""
    servers = await key_world.start(4)
    learning, manager, found = await learned(key_world, *servers)
    assert found == await topology(key_world, manager)
    assert len(found.profiles) == domain_count(found) == 4
    digest_key = (await key_world.node()).endpoints.digest_key(found)
    for row, server in zip(found.servers, servers, strict=True):
        profile = found.profiles[row.uuid]
        ((held_name, (material,)),) = held(server).items()
        assert held_name == profile.canary_name == name(found, row)
        assert agrees(digest_key, row.uuid, Secret(material), profile.canary_digest)
        (stored,) = server.responder.objects.values()
        assert stored.state is State.ACTIVE
        assert asked(server, REGISTER) == ["REGISTER"]
    assert len({profile.canary_digest for profile in found.profiles.values()}) == 4
    before = [len(server.requests) for server in servers]
    assert await learning.ensure(manager) == found
    assert [len(server.requests) for server in servers] == before


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "unique names": {},
    "names stay taken": {},
    "locate returns everything": {"locate_by_name": False},
    "pages of two": {},
    "no offset items": {"locate_offset": False},
    "offset items ignored": {"locate_offset": False},
    "application specific information is an invalid field": {"application_information": False},
    "application specific information is not supported": {"application_information": False},
    "application specific information is dropped": {},
    "usage mask encrypt and decrypt only": {},
    "usage mask required": {},
    "no batches": {"batches": False},
    "symmetric keys only": {"form": KeyForm.SYMMETRIC_KEY},
    "no states": {"activates": False},
    "active at once": {"activates": False},
    "query denied": {"operations": (), "object_types": (), "vendor": ""},
    "no query": {"operations": (), "object_types": (), "vendor": ""},
    "objects belong to their certificate": {},
}


@on_sqlite
async def test_kinds_of_servers(key_world: KeyWorld) -> None:
    """What is peculiar about each is in its profile; the canary is there, whatever the server is like."""
    for kind, differs in KINDS.items():
        (server,) = await key_world.start(1, [Responder(profile=PROFILES[kind])])
        _, _, found = await learned(key_world, server)
        (profile,) = found.profiles.values()
        expected = OF_PLAIN | {"vendor": "Keystead test key server", "version": "2.1"} | differs
        assert {field: getattr(profile, field) for field in expected} == expected, kind
        assert bool(profile.operations) is ("operations" not in differs), kind
        assert held(server).keys() == {profile.canary_name}, kind


class ShortKeys(Responder):
    """A server that takes AES keys of 256 bits and nothing longer, and no Secret Data."""

    def respond(self, request: RequestMessage, client: str | None = None) -> ResponseMessage:
        payload: Any = request.batch_item[0].request_payload
        if request.batch_item[0].operation == REGISTER:
            taken = payload.object_type == ObjectType.SYMMETRIC_KEY
            taken = taken and len(material_of(payload.managed_object) or b"") == 32
            self.refusals = {} if taken else {REGISTER: ResultReason.INVALID_FIELD}
        return super().respond(request, client)


@on_sqlite
async def test_a_server_that_takes_short_keys_only(key_world: KeyWorld) -> None:
    """Its canary is a pair, after all other ways were refused; it is found on other servers by both names."""
    (pair, plain) = await key_world.start(2, [ShortKeys()])
    learning, manager, found = await learned(key_world, pair, plain)
    profile = found.profiles[found.servers[0].uuid]
    canary = name(found, found.servers[0], 5)
    assert (profile.form, profile.application_information) == (KeyForm.SYMMETRIC_KEY_PAIR, True)
    assert (profile.canary_name, len(profile.canary)) == (canary, 2)
    assert held(pair).keys() == {f"{canary}-1", f"{canary}-2"}
    for identifier, stored in pair.responder.objects.items():
        plain.responder.store.put(f"elsewhere {identifier}", stored.copy())
    await learning.look_for_canaries(manager)
    assert domain_count(await topology(key_world, manager)) == 1


async def test_real_servers(key_world: KeyWorld, pykmip_group: Group) -> None:
    """PyKMIP is learned; two servers that share a database are one domain before the first key."""
    first_, second = pykmip_group.primaries[:2]
    shared = pykmip_group.secondaries[0][0]
    manager = await key_world.key_manager(first_.address, shared.address, second.address, know=False)
    await (await key_world.node()).learn(manager)
    found = await topology(key_world, manager)
    domains = [found.domain_of[server.uuid] for server in found.servers]
    assert domains == [domains[0], domains[0], domains[2]]
    assert domains[0] != domains[2]
    for profile in found.profiles.values():
        assert {field: getattr(profile, field) for field in OF_PLAIN} == OF_PLAIN | {"form": profile.form}
        assert int(ACTIVATE) in profile.operations


# --- clusters ---


async def test_a_cluster_is_found_when_it_has_replicated(key_world: KeyWorld) -> None:
    """Servers count apart until a canary turns up on another; equal identifiers of other servers join nobody."""
    members, link = cluster(2, delay=None)
    servers = await key_world.start(3, members)
    learning, manager, found = await learned(key_world, *servers)
    one, other, apart = (server.uuid for server in found.servers)
    assert len({found.profiles[uuid].canary for uuid in (one, other, apart)}) <= 3
    assert domain_count(found) == 3
    link.deliver()
    await learning.look_for_canaries(manager)
    joined = await topology(key_world, manager)
    assert joined.domain_of == {one: one, other: one, apart: apart}
    assert joined.profiles[one].sees == (other,)
    assert joined.profiles[other].sees == (one,)
    await learning.look_for_canaries(manager)
    assert await topology(key_world, manager) == joined


@on_sqlite
async def test_a_cluster_that_replicates_at_once(key_world: KeyWorld) -> None:
    """It is known to be one before a key is written, on servers that find nothing by name as well."""
    for kind in ("plain", "locate returns everything", "unique names"):
        members, _ = cluster(2, profile=PROFILES[kind])
        _, _, found = await learned(key_world, *await key_world.start(3, members))
        assert domain_count(found) == 2, kind


@on_sqlite
async def test_a_slow_server_does_not_hide_that_others_replicate(key_world: KeyWorld) -> None:
    """Keys are kept on what was learned, while it is still being tried: by then it is known that these are one."""
    members, _ = cluster(2)
    servers = await key_world.start(3, members)
    servers[2].faults[Operation.QUERY] = silence
    manager = await key_world.key_manager(*servers, know=False)
    learning = learner(key_world, await key_world.node(), wait_s=0.1)
    while len((found := await learning.ensure(manager)).profiles) < 2:
        pass
    await learning.close()
    one, other = found.profiles.values()
    assert found.domain_of[one.key_server] == found.domain_of[other.key_server]


@on_sqlite
async def test_who_was_learned_meanwhile_is_looked_for(key_world: KeyWorld) -> None:
    """By whoever stores a profile later."""
    (one, other) = await key_world.start(2)
    _, manager, found = await learned(key_world, one, other)
    row = found.servers[0]
    await key_world.store.write(lambda tx: tx.delete_profile(row.uuid))
    then = await topology(key_world, manager)

    async def stored(looked_for: dict[str, ServerProfile]) -> bool | None:
        profile = found.profiles[row.uuid]
        return await key_world.store.write(lambda tx: store_profile(tx, then, row, None, profile, looked_for))

    uuid = found.servers[1].uuid
    anew = replace(found.profiles[uuid], canary_name=name(found, found.servers[1], 2))
    for looked_for in ({}, {uuid: anew}):
        assert await stored(looked_for) is None
        assert await topology(key_world, manager) == then
    assert await stored({uuid: found.profiles[uuid]})
    assert await topology(key_world, manager) == found


@on_sqlite
async def test_what_looks_like_a_canary_is_none(key_world: KeyWorld) -> None:
    """An object under another server's canary's name with other bytes does not join the two."""
    one, other = await key_world.start(2)
    learning, manager, found = await learned(key_world, one, other)
    (identifier,) = one.responder.objects
    other.responder.store.put("planted", one.responder.objects[identifier].copy())
    other.responder.store.rot("planted")
    await learning.look_for_canaries(manager)
    assert await topology(key_world, manager) == found


# --- what others do meanwhile ---


async def test_two_nodes_learn_at_once(key_world: KeyWorld) -> None:
    """They end with the same profiles and one digest key; canaries are proven under that key."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, know=False)
    nodes = [await key_world.node() for _ in range(3)]
    found = await asyncio.gather(*(learner(key_world, node).ensure(manager) for node in nodes))
    stored = await topology(key_world, manager)
    assert len(stored.profiles) == 3
    for seen in found:
        assert seen.sealed_digest_key == stored.sealed_digest_key
        assert all(stored.profiles[uuid] == profile for uuid, profile in seen.profiles.items())
    digest_key = nodes[0].endpoints.digest_key(stored)
    for row, server in zip(stored.servers, servers, strict=True):
        profile = stored.profiles[row.uuid]
        canary = material_of(server.responder.objects[profile.canary[0]].managed_object)
        assert agrees(digest_key, row.uuid, Secret(canary or b""), profile.canary_digest)


async def test_many_callers_learn_once(key_world: KeyWorld) -> None:
    """They wait for the same work."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, know=False)
    learning = learner(key_world, await key_world.node())
    found = await asyncio.gather(*(learning.ensure(manager) for _ in range(8)))
    assert all(len(seen.profiles) == 2 for seen in found)
    assert [asked(server, REGISTER) for server in servers] == [["REGISTER"]] * 2


async def test_what_is_not_as_it_was_is_not_stored(key_world: KeyWorld) -> None:
    """A server that moved or went, another's profile, life, user or certificate, a key manager that is gone."""
    (server,) = await key_world.start(1)
    _, manager, found = await learned(key_world, server)
    (row,) = found.servers
    profile = found.profiles[row.uuid]
    another = replace(profile, canary_name=name(found, row, 2))

    async def stored(
        before: ServerProfile | None, *, at: KeyServer = row, then: ServerTopology = found, new: ServerProfile = another
    ) -> bool | None:
        return await key_world.store.write(lambda tx: store_profile(tx, then, at, before, new, {}))

    assert not await stored(None)
    assert not await stored(another)
    assert not await stored(profile, at=replace(row, address=replace(row.address, port=1)))
    assert not await stored(profile, at=replace(row, username="another"))
    assert not await stored(profile, at=replace(row, uuid="removed"))
    life = Incarnation("another", found.incarnation.number + 1, key_world.clock.now(), "cloned", "", destroys=False)
    assert not await stored(profile, then=replace(found, incarnation=life))
    was = found.key_manager
    for other in (replace(was, uuid="gone"), replace(was, client_certificate="another")):
        assert not await stored(profile, then=replace(found, key_manager=other))
    await key_world.store.write(lambda tx: store_seen(tx, replace(found, incarnation=life), {row.uuid: [row.uuid]}))
    as_another = replace(found, servers=(replace(row, username="another"),))
    await key_world.store.write(lambda tx: store_seen(tx, as_another, {row.uuid: [row.uuid]}))
    assert await topology(key_world, manager) == found
    assert await stored(profile)
    await key_world.store.write(lambda tx: store_seen(tx, found, {row.uuid: [row.uuid]}))
    assert (await topology(key_world, manager)).profiles[row.uuid] == another


class OfUsers(Responder):
    """A server on which objects are their user's, who alone may look at them."""

    def respond(self, request: RequestMessage, client: str | None = None) -> ResponseMessage:
        authentication: Any = request.request_header.authentication
        users = [each.credential_value.username for each in authentication.credential] if authentication else []
        return super().respond(request, users[0] if users else client)


@on_sqlite
async def test_what_was_learned_as_another_user_is_not_stored(key_world: KeyWorld) -> None:
    """The user was changed meanwhile, who would never see that canary; it is learned as that one."""
    profile = replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED)
    (server,) = await key_world.start(1, [OfUsers(profile=profile)])
    manager = await key_world.key_manager(server, know=False)
    (row,) = await key_world.servers(manager)
    node = await key_world.node()
    learning = learner(key_world, node, wait_s=0.1)
    may_answer = asyncio.Event()
    server.faults[Operation.QUERY] = answered_after(may_answer)
    assert not (await learning.ensure(manager)).profiles
    server.faults.clear()
    sealed = key_world.home.keyring.seal(Secret("a password"), password_context(row.uuid))
    await key_world.store.write(lambda tx: tx.change_key_server(replace(row, username="two", sealed_password=sealed)))
    may_answer.set()
    while not (profiles := (await learning.ensure(manager)).profiles):
        pass
    assert profiles[row.uuid].canary != tuple(server.responder.objects)[:1]
    found = await topology(key_world, manager)
    endpoint = node.endpoints.primary(found.servers[0], node.endpoints.identity(found))
    async with node.objects.session(endpoint, timeout_s=5) as session:
        assert await find_own_canary(session, profiles[row.uuid], node.endpoints.digest_key(found)) is CanarySight.SEEN


async def test_a_server_that_moved_is_forgotten(key_world: KeyWorld) -> None:
    """Its profile, and that its canary was seen elsewhere; what is there now is found again by its name."""
    members, _ = cluster(2)
    learning, manager, found = await learned(key_world, *await key_world.start(2, members))
    one, other = found.servers
    await key_world.store.write(lambda tx: forget(tx, found.servers, one.uuid))
    gone = await topology(key_world, manager)
    assert gone.profiles == {other.uuid: replace(found.profiles[other.uuid], sees=())}
    again = await learning.ensure(manager)
    assert again.profiles[one.uuid].canary == found.profiles[one.uuid].canary
    assert domain_count(again) == 1


@on_sqlite
async def test_what_is_not_learned(key_world: KeyWorld) -> None:
    """A configuration that is not in use, one whose certificate is gone, and no key manager: 4 (404)."""
    (server,) = await key_world.start(1)
    learning = learner(key_world, await key_world.node())
    for change in ({"enabled": False}, {"client_certificate": "gone"}):
        manager = await key_world.key_manager(server, know=False)
        row = (await topology(key_world, manager)).key_manager
        await key_world.store.write(lambda tx: tx.change_key_manager(replace(row, **change)))  # noqa: B023
        assert not (await learning.ensure(manager)).profiles
        await learning.look_for_canaries(manager)
    assert not server.requests
    with pytest.raises(OntapError):
        await learning.ensure("none")
    manager = await key_world.key_manager(server, know=False)
    assert (await learning.ensure(manager)).profiles


# --- who is told ---


async def test_the_learner_is_told_of_what_was_stored(key_world: KeyWorld) -> None:
    """A new key manager, servers that were added or moved, other certificates; of nothing that needed no proof."""
    told: list[str] = []
    servers = await key_world.start(3)
    addresses = [ServerAddress("127.0.0.1", server.port) for server in servers]
    managers, key_servers, learning = await services(key_world, told)
    home = key_world.home
    new = NewKeyManager(
        None,
        (await home.svm()).name,
        CertificateName(home.client_certificate),
        (CertificateName(home.server_ca),),
        (NewKeyServer(addresses[0]),),
    )
    manager = (await managers.create(CALL, new)).key_manager.uuid
    state = await key_servers.state(CALL, manager)
    await key_servers.add(CALL, state, AddRequest((NewKeyServer(addresses[1]),)))
    assert len((await learning.ensure(manager)).profiles) == 2
    state = await key_servers.state(CALL, manager)
    await key_servers.modify(CALL, state, ModifyRequest(addresses[0], timeout=3, replication_domain="a"))
    assert len((await topology(key_world, manager)).profiles) == 2
    await managers.change(CALL, manager, KeyManagerChange(min_copies=2))
    assert told == [manager] * 2
    cas = (CertificateName(home.server_ca),)
    await managers.change(CALL, manager, KeyManagerChange(server_ca_certificates=cas))
    assert told == [manager] * 3
    state = await key_servers.state(CALL, manager)
    await key_servers.modify(CALL, state, ModifyRequest(addresses[0], port=addresses[2].port))
    moved = await topology(key_world, manager)
    assert moved.profiles.keys() == {moved.servers[1].uuid}
    assert told == [manager] * 4
    with pytest.raises(OntapError):
        await key_servers.add(CALL, state, AddRequest((NewKeyServer(addresses[1]),)))
    assert told == [manager] * 4


async def services(world: KeyWorld, told: list[str]) -> tuple[KeyManagers, KeyServers, ServerLearner]:
    """Return the use cases that tell the learner, told what they tell it."""
    node = await world.node()
    context = configuration_context(world, node, on_changed=told.append)
    return KeyManagers(context), KeyServers(context), learner(world, node)

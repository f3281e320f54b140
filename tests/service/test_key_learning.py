"""Learning key servers by canaries: on kinds of servers, on clusters, on servers that fail, and by nodes at once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys.digests import agrees
from keystead.core.keys.learning import LOST_LOOKS, LOST_S, TRIALS
from keystead.core.keys.model import Incarnation, KeyForm, ServerProfile
from keystead.core.keys.names import canary_name
from keystead.core.secret import Secret
from keystead.keyservers.forms import material_of
from keystead.kmip.enums import ObjectType, Operation, ResultReason, State
from keystead.kmip.profiles import PROFILES
from keystead.kmip.responder import Responder, cluster
from keystead.kmip.testing import close, first, reset, silence
from keystead.service.key_learning import REST_S, KeyLearner
from keystead.service.key_profiles import forget, store_profile
from tests.service.keyworlds import KeyNode, KeyWorld, asked, held, places_in

if TYPE_CHECKING:
    from keystead.core.model import KeyServer
    from keystead.kmip.messages import RequestMessage, ResponseMessage
    from keystead.kmip.testing import KeyServer as KmipServer
    from keystead.service.key_places import KeyPlaces
    from tests.peers.groups import Group

REGISTER, GET, LOCATE = Operation.REGISTER, Operation.GET, Operation.LOCATE
ACTIVATE, QUERY = Operation.ACTIVATE, Operation.QUERY
WAYS = len(TRIALS)
OF_PLAIN = {
    "form": KeyForm.SECRET_DATA,
    "application_information": True,
    "locate_by_name": True,
    "locate_offset": True,
    "batches": True,
    "activates": True,
}

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What depends on key servers only is tested on one engine."""


def learner(world: KeyWorld, node: KeyNode, **options: Any) -> KeyLearner:
    """The learner of one process."""
    return KeyLearner(node.store, node.objects, node.reacher, world.home.keyring, world.clock, **options)


async def learned(world: KeyWorld, *servers: KmipServer | str) -> tuple[KeyLearner, str, KeyPlaces]:
    """A learner, a key manager with these servers, and what is known once they were learned."""
    manager = await world.key_manager(*servers, know=False)
    learning = learner(world, await world.node())
    return learning, manager, await learning.ensure(manager)


async def places(world: KeyWorld, manager: str) -> KeyPlaces:
    """What is stored."""
    return await world.store.read(lambda tx: places_in(tx, manager))


def name(places: KeyPlaces, server: KeyServer, number: int = 1) -> str:
    """The name of a server's canary."""
    return str(canary_name(places.incarnation.uuid, server.uuid, number))


def domain_count(places: KeyPlaces) -> int:
    """How many replication domains there are."""
    return len(set(places.domain_of.values()))


# --- what is learned ---


async def test_four_servers_are_learned_at_once(key_world: KeyWorld) -> None:
    """Each has one Active canary of its own, whose digest is stored; nothing is asked when all is known."""
    servers = await key_world.start(4)
    learning, manager, found = await learned(key_world, *servers)
    assert found == await places(key_world, manager)
    assert len(found.profiles) == domain_count(found) == 4
    digest_key = (await key_world.node()).reacher.digest_key(found)
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
    assert domain_count(await places(key_world, manager)) == 1


async def test_real_servers(key_world: KeyWorld, pykmip_group: Group) -> None:
    """PyKMIP is learned; two servers that share a database are one domain before the first key."""
    first_, second = pykmip_group.primaries[:2]
    shared = pykmip_group.secondaries[0][0]
    _, _, found = await learned(key_world, first_.address, shared.address, second.address)
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
    joined = await places(key_world, manager)
    assert joined.domain_of == {one: one, other: one, apart: apart}
    assert joined.profiles[one].sees == (other,)
    assert joined.profiles[other].sees == (one,)
    await learning.look_for_canaries(manager)
    assert await places(key_world, manager) == joined


@on_sqlite
async def test_a_cluster_that_replicates_at_once(key_world: KeyWorld) -> None:
    """It is known to be one before a key is written, on servers that find nothing by name as well."""
    for kind in ("plain", "locate returns everything", "unique names"):
        members, _ = cluster(2, profile=PROFILES[kind])
        _, _, found = await learned(key_world, *await key_world.start(3, members))
        assert domain_count(found) == 2, kind


@on_sqlite
async def test_what_looks_like_a_canary_is_none(key_world: KeyWorld) -> None:
    """An object under another server's canary's name with other bytes does not join the two."""
    one, other = await key_world.start(2)
    learning, manager, found = await learned(key_world, one, other)
    (identifier,) = one.responder.objects
    other.responder.store.put("planted", one.responder.objects[identifier].copy())
    other.responder.store.rot("planted")
    await learning.look_for_canaries(manager)
    assert await places(key_world, manager) == found


# --- servers that fail ---


@on_sqlite
async def test_a_canary_without_an_answer_is_looked_for(key_world: KeyWorld) -> None:
    """It is not written again: found under its name, it is the canary. Meanwhile the server is left alone."""
    (server,) = await key_world.start(1)
    server.faults[REGISTER] = first(1, reset)
    learning, manager, found = await learned(key_world, server)
    assert not found.profiles
    assert found.sealed_digest_key is not None
    requests = len(server.requests)
    await learning.ensure(manager)
    assert len(server.requests) == requests
    key_world.clock.advance(REST_S)
    (profile,) = (await learning.ensure(manager)).profiles.values()
    assert asked(server, REGISTER) == ["REGISTER"]
    assert held(server).keys() == {profile.canary_name}
    assert profile.application_information


@on_sqlite
async def test_each_answer_may_be_lost(key_world: KeyWorld) -> None:
    """Whatever breaks off, the next time ends with one canary and the same profile; only a lost batch is a no."""
    for operation in (QUERY, LOCATE, REGISTER, GET, Operation.GET_ATTRIBUTES, ACTIVATE):
        (server,) = await key_world.start(1)
        server.faults[operation] = first(1, close)
        learning, manager, _ = await learned(key_world, server)
        learning.kick(manager)
        (profile,) = (await learning.ensure(manager)).profiles.values()
        assert {field: getattr(profile, field) for field in OF_PLAIN} == OF_PLAIN, operation
        assert held(server).keys() == {profile.canary_name}, operation


@on_sqlite
async def test_a_name_that_is_taken_unseen(key_world: KeyWorld) -> None:
    """A canary that somebody destroyed holds its name: the same way is tried under the next round's."""
    (server,) = await key_world.start(1, [Responder(profile=PROFILES["names stay taken"])])
    manager = await key_world.key_manager(server, know=False)
    before = await places(key_world, manager)
    (row,) = before.servers
    node = await key_world.node()
    reach = node.reacher.primary(row, node.reacher.identity(before))
    async with node.objects.session(reach, timeout_s=5) as session:
        (identifier,) = await session.register(
            name(before, row), Secret(bytes(64)), KeyForm.SECRET_DATA, application_information=None
        )
        await session.destroy(identifier)
    (profile,) = (await learner(key_world, node).ensure(manager)).profiles.values()
    assert profile.canary_name == name(before, row, 1 + WAYS)
    assert (profile.form, profile.application_information) == (KeyForm.SECRET_DATA, True)


@on_sqlite
async def test_a_destroyed_canary_that_is_still_found(key_world: KeyWorld) -> None:
    """What is located and not given out is no canary: the next round's name is used."""
    responder = Responder(profile=replace(PROFILES["destroyed objects are kept"], unique_names=False))
    (server,) = await key_world.start(1, [responder])
    learning, manager, found = await learned(key_world, server)
    (row,) = found.servers
    (stored,) = responder.objects.values()
    stored.change_state(State.DESTROYED)
    await key_world.store.write(lambda tx: tx.delete_profile(row.uuid))
    (profile,) = (await learning.ensure(manager)).profiles.values()
    assert profile.canary_name == name(found, row, 1 + WAYS)


@on_sqlite
async def test_servers_that_take_no_canary(key_world: KeyWorld) -> None:
    """All ways are tried where the way is refused, one where the client is; a kick tries them again."""
    for reason, tries in ((ResultReason.INVALID_FIELD, WAYS), (ResultReason.PERMISSION_DENIED, 1)):
        (server,) = await key_world.start(1)
        server.responder.refusals[REGISTER] = reason
        learning, manager, found = await learned(key_world, server)
        assert not found.profiles
        assert len(asked(server, REGISTER)) == tries
        del server.responder.refusals[REGISTER]
        learning.kick(manager)
        assert (await learning.ensure(manager)).profiles


@on_sqlite
async def test_a_server_that_lies_keeps_no_keys(key_world: KeyWorld) -> None:
    """Bytes that come back changed are a refusal, of every way; what it has by then is no canary later either."""
    (server,) = await key_world.start(1)
    server.responder.lying = True
    learning, manager, found = await learned(key_world, server)
    assert not found.profiles
    objects = len(server.responder.objects)
    assert objects == WAYS + 2  # two ways are pairs
    learning.kick(manager)
    assert not (await learning.ensure(manager)).profiles
    assert len(server.responder.objects) == objects
    server.responder.lying = False
    learning.kick(manager)
    assert (await learning.ensure(manager)).profiles
    assert len(server.responder.objects) == objects


@on_sqlite
async def test_a_server_that_hangs_holds_up_nobody_for_long(key_world: KeyWorld) -> None:
    """The others are known when the wait is over; learning goes on until it is closed, and then nothing begins."""
    hangs, sound = await key_world.start(2)
    hangs.faults[REGISTER] = silence
    manager = await key_world.key_manager(hangs, sound, know=False)
    learning = learner(key_world, await key_world.node(), wait_s=0.3)
    found = await learning.ensure(manager)
    assert found.profiles.keys() == {found.servers[1].uuid}
    async with asyncio.timeout(1):
        await learning.close()
    learning.kick(manager)
    assert await learning.ensure(manager) == found
    assert asked(hangs, REGISTER) == ["REGISTER"]


@on_sqlite
async def test_a_server_that_is_away(key_world: KeyWorld) -> None:
    """It is without a profile, and is learned when it is back."""
    away, sound = await key_world.start(2)
    await away.__aexit__(None, None, None)
    learning, manager, found = await learned(key_world, away, sound)
    assert found.profiles.keys() == {found.servers[1].uuid}
    await learning.look_for_canaries(manager)
    await away.__aenter__()
    learning.kick(manager)
    assert len((await learning.ensure(manager)).profiles) == 2


# --- canaries that are lost ---


@on_sqlite
async def test_a_canary_that_is_lost_for_good(key_world: KeyWorld) -> None:
    """After some looks over an hour there is another, of the next round; what was seen there counts no more."""
    members, link = cluster(2)
    servers = await key_world.start(2, members)
    learning, manager, found = await learned(key_world, *servers)
    one, other = found.servers
    assert domain_count(found) == 1
    link.delay = None
    servers[0].responder.store.forget_all()
    for _ in range(LOST_LOOKS - 1):
        await learning.look_for_canaries(manager)
        assert await places(key_world, manager) == found
        key_world.clock.advance(LOST_S)
    await learning.look_for_canaries(manager)
    anew = await places(key_world, manager)
    assert anew.profiles[one.uuid].canary_name == name(found, one, 1 + WAYS)
    assert domain_count(anew) == 2
    assert anew.profiles[other.uuid] == replace(found.profiles[other.uuid], sees=())


@on_sqlite
async def test_a_canary_that_comes_back(key_world: KeyWorld) -> None:
    """A look that finds it begins the count anew; answers that say nothing count for nothing."""
    (server,) = await key_world.start(1)
    learning, manager, found = await learned(key_world, server)
    for _ in range(2):
        server.responder.refusals[GET] = ResultReason.ITEM_NOT_FOUND
        server.responder.refusals[LOCATE] = ResultReason.PERMISSION_DENIED  # not found, and not to be looked for
        for _ in range(LOST_LOOKS + 1):
            await learning.look_for_canaries(manager)
            key_world.clock.advance(LOST_S)
        server.responder.refusals.clear()
        kept = dict(server.responder.objects)
        server.responder.store.forget_all()
        for _ in range(LOST_LOOKS - 1):
            await learning.look_for_canaries(manager)
            key_world.clock.advance(LOST_S)
        for identifier, stored in kept.items():
            server.responder.store.put(identifier, stored)
        await learning.look_for_canaries(manager)
    assert await places(key_world, manager) == found


@on_sqlite
async def test_a_canary_that_was_destroyed(key_world: KeyWorld) -> None:
    """It is lost like one that is gone, where the server keeps its attributes; one that is hidden is not."""
    for state, relearned in ((State.DESTROYED, True), (State.ACTIVE, False)):
        (server,) = await key_world.start(1, [Responder(profile=PROFILES["destroyed objects are kept"])])
        learning, manager, found = await learned(key_world, server)
        (stored,) = server.responder.objects.values()
        stored.change_state(state)
        if not relearned:
            server.responder.refusals[GET] = ResultReason.PERMISSION_DENIED
        for _ in range(LOST_LOOKS):
            await learning.look_for_canaries(manager)
            key_world.clock.advance(LOST_S)
        assert (await places(key_world, manager) != found) is relearned


# --- what others do meanwhile ---


async def test_two_nodes_learn_at_once(key_world: KeyWorld) -> None:
    """They end with the same profiles and one digest key; canaries are proven under that key."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, know=False)
    nodes = [await key_world.node() for _ in range(3)]
    found = await asyncio.gather(*(learner(key_world, node).ensure(manager) for node in nodes))
    stored = await places(key_world, manager)
    assert len(stored.profiles) == 3
    for seen in found:
        assert seen.sealed_digest_key == stored.sealed_digest_key
        assert all(stored.profiles[uuid] == profile for uuid, profile in seen.profiles.items())
    digest_key = nodes[0].reacher.digest_key(stored)
    for row, server in zip(stored.servers, servers, strict=True):
        profile = stored.profiles[row.uuid]
        canary = material_of(server.responder.objects[profile.canary[0]].managed_object)
        assert agrees(digest_key, row.uuid, Secret(canary or b""), profile.canary_digest)


async def test_many_callers_learn_once(key_world: KeyWorld) -> None:
    """They wait for the same work."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, know=False)
    learning = learner(key_world, await key_world.node())
    learning.kick(manager)
    found = await asyncio.gather(*(learning.ensure(manager) for _ in range(8)))
    assert all(len(seen.profiles) == 2 for seen in found)
    assert [asked(server, REGISTER) for server in servers] == [["REGISTER"]] * 2


async def test_what_is_not_as_it_was_is_not_stored(key_world: KeyWorld) -> None:
    """A server that moved or went, another's profile, another life of the database, a key manager that is gone."""
    (server,) = await key_world.start(1)
    _, manager, found = await learned(key_world, server)
    (row,) = found.servers
    profile = found.profiles[row.uuid]
    another = replace(profile, canary_name=name(found, row, 2))

    async def stored(
        before: ServerProfile | None, *, at: KeyServer = row, then: KeyPlaces = found, new: ServerProfile = another
    ) -> bool:
        return await key_world.store.write(lambda tx: store_profile(tx, then, at, before, new))

    assert not await stored(None)
    assert not await stored(another)
    assert not await stored(profile, at=replace(row, address=replace(row.address, port=1)))
    assert not await stored(profile, at=replace(row, uuid="removed"))
    life = Incarnation("another", found.incarnation.number + 1, key_world.clock.now(), "cloned", "", destroys=False)
    assert not await stored(profile, then=replace(found, incarnation=life))
    assert not await stored(profile, then=replace(found, key_manager=replace(found.key_manager, uuid="gone")))
    assert await places(key_world, manager) == found
    assert await stored(profile)
    assert (await places(key_world, manager)).profiles[row.uuid] == another


async def test_a_server_that_moved_is_forgotten(key_world: KeyWorld) -> None:
    """Its profile, and that its canary was seen elsewhere; what is there now is found again by its name."""
    members, _ = cluster(2)
    learning, manager, found = await learned(key_world, *await key_world.start(2, members))
    one, other = found.servers
    await key_world.store.write(lambda tx: forget(tx, found.servers, one.uuid))
    gone = await places(key_world, manager)
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
        row = (await places(key_world, manager)).key_manager
        await key_world.store.write(lambda tx: tx.change_key_manager(replace(row, **change)))  # noqa: B023
        assert not (await learning.ensure(manager)).profiles
        await learning.look_for_canaries(manager)
    assert not server.requests
    with pytest.raises(OntapError):
        await learning.ensure("none")

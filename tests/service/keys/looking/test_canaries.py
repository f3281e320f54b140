"""Canaries on servers that fail, lie and lose things: found again, written anew, and never twice for one answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.learning import LOST_LOOKS, LOST_S, TRIALS
from keystead.core.keys.model import KeyForm, Presence
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.kmip.server.responder import Responder, cluster
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import first, reset, silence
from keystead.kmip.testing.server import held as answered_after
from keystead.kmip.ttlv.enums import Operation, ResultReason, State
from keystead.kmip.ttlv.versions import V1_2
from keystead.service.keys.learning.learn import REST_S
from keystead.service.keys.looking import canaries
from tests.service.worlds.keepers import Keeping
from tests.service.worlds.keys import KeyWorld, asked, held
from tests.service.worlds.learning import OF_PLAIN, domain_count, learned, learner, name, on_sqlite, topology

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.kmip.testing.server import Exchange
    from keystead.kmip.testing.server import KeyServer as KmipServer

REGISTER, GET, LOCATE = Operation.REGISTER, Operation.GET, Operation.LOCATE
WAYS = len(TRIALS)
LEAST_REQUESTS = 10
"""Learning asks more than this, so a sweep that ended earlier has met something else."""

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
    """Whichever it is, the next time ends with one canary and the same profile; only a lost batch is a no."""
    lost_at, interrupted = 1, True
    while interrupted:
        (server,) = await key_world.start(1)
        server.faults.update(dict.fromkeys(map(int, Operation), losing(server, lost_at)))
        learning, manager, _ = await learned(key_world, server)
        interrupted = len(server.requests) >= lost_at
        learning.retry(manager)
        (profile,) = (await learning.ensure(manager)).profiles.values()
        batches = not interrupted or len(server.requests[lost_at - 1].batch_item) == 1
        assert {field: getattr(profile, field) for field in OF_PLAIN} == OF_PLAIN | {"batches": batches}, lost_at
        assert held(server).keys() == {profile.canary_name}, lost_at
        assert asked(server, REGISTER) == ["REGISTER"], lost_at
        lost_at += 1
    assert lost_at > LEAST_REQUESTS


def losing(server: KmipServer, number: int) -> Callable[[Exchange], Awaitable[None]]:
    """Close the connection instead of answering the request with this number."""

    async def fault(exchange: Exchange) -> None:
        if len(server.requests) == number:
            exchange.stream.close()
        else:
            await exchange.stream.send(exchange.answer)

    return fault


@on_sqlite
async def test_a_server_without_pages(key_world: KeyWorld) -> None:
    """KMIP 1.2 has no Offset Items; all else is learned as ever."""
    (server,) = await key_world.start(1, [Responder([V1_2])])
    (profile,) = (await learned(key_world, server))[2].profiles.values()
    assert {field: getattr(profile, field) for field in OF_PLAIN} == OF_PLAIN | {"locate_offset": False}
    assert profile.version == "1.2"


class Twice(Responder):
    """A server to which every Register comes twice, as through a proxy that repeats; the second answer is returned."""

    def respond(self, request: RequestMessage, client: str | None = None) -> ResponseMessage:
        if request.batch_item[0].operation == REGISTER:
            super().respond(request, client)
        return super().respond(request, client)


@on_sqlite
async def test_a_canary_that_is_there_when_it_is_refused(key_world: KeyWorld) -> None:
    """Its name is taken by what was to be written: it is the canary, and no other way is tried."""
    (server,) = await key_world.start(1, [Twice(profile=PROFILES["unique names"])])
    _, _, found = await learned(key_world, server)
    (profile,) = found.profiles.values()
    assert profile.canary_name == name(found, found.servers[0])
    assert asked(server, REGISTER) == ["REGISTER"]


@on_sqlite
async def test_a_name_that_is_taken_unseen(key_world: KeyWorld) -> None:
    """A canary that somebody destroyed holds its name: the same way is tried under the next round's."""
    (server,) = await key_world.start(1, [Responder(profile=PROFILES["names stay taken"])])
    manager = await key_world.key_manager(server, know=False)
    before = await topology(key_world, manager)
    (row,) = before.servers
    node = await key_world.node()
    endpoint = node.endpoints.primary(row, node.endpoints.identity(before))
    async with node.objects.session(endpoint, timeout_s=5) as session:
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
    """All ways are tried where the way is refused, one where the client is; they are tried again after a change."""
    for reason, tries in ((ResultReason.INVALID_FIELD, WAYS), (ResultReason.PERMISSION_DENIED, 1)):
        (server,) = await key_world.start(1)
        server.responder.refusals[REGISTER] = reason
        learning, manager, found = await learned(key_world, server)
        assert not found.profiles
        assert len(asked(server, REGISTER)) == tries
        del server.responder.refusals[REGISTER]
        learning.retry(manager)
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
    learning.retry(manager)
    assert not (await learning.ensure(manager)).profiles
    assert len(server.responder.objects) == objects
    server.responder.lying = False
    learning.retry(manager)
    assert (await learning.ensure(manager)).profiles
    assert len(server.responder.objects) == objects


@on_sqlite
async def test_a_server_that_hangs_holds_up_nobody_for_long(key_world: KeyWorld) -> None:
    """The others are known when the wait is over; learning goes on until it is closed, and then nothing begins."""
    hangs, sound = await key_world.start(2)
    hangs.faults[REGISTER] = silence
    manager = await key_world.key_manager(hangs, sound, know=False)
    learning = learner(key_world, await key_world.node(), wait_s=2)
    found = await learning.ensure(manager)
    assert found.profiles.keys() == {found.servers[1].uuid}
    async with asyncio.timeout(60):
        await learning.close()
    learning.retry(manager)
    assert await learning.ensure(manager) == found
    assert asked(hangs, REGISTER) == ["REGISTER"]


@on_sqlite
async def test_a_server_that_is_away(key_world: KeyWorld) -> None:
    """It is without a profile, and is learned when it is back; when it goes again, nothing that is known changes."""
    away, sound = await key_world.start(2)
    await away.__aexit__(None, None, None)
    learning, manager, found = await learned(key_world, away, sound)
    assert found.profiles.keys() == {found.servers[1].uuid}
    await learning.look_for_canaries(manager)
    await away.__aenter__()
    learning.retry(manager)
    both = await learning.ensure(manager)
    assert len(both.profiles) == 2
    await away.__aexit__(None, None, None)
    for _ in range(LOST_LOOKS):
        await learning.look_for_canaries(manager)
        key_world.clock.advance(LOST_S)
    assert await topology(key_world, manager) == both


# --- canaries that are lost ---


@on_sqlite
async def test_a_canary_that_is_lost_for_good(key_world: KeyWorld) -> None:
    """After some looks over an hour there is another, as soon as it is taken; what was seen there counts no more."""
    members, link = cluster(2)
    servers = await key_world.start(2, members)
    learning, manager, found = await learned(key_world, *servers)
    one, other = found.servers
    assert domain_count(found) == 1
    link.delay = None
    servers[0].responder.store.forget_all()
    for _ in range(LOST_LOOKS - 1):
        await learning.look_for_canaries(manager)
        assert await topology(key_world, manager) == found
        key_world.clock.advance(LOST_S)
    servers[0].responder.refusals[REGISTER] = ResultReason.PERMISSION_DENIED
    await learning.look_for_canaries(manager)
    assert await topology(key_world, manager) == found
    servers[0].responder.refusals.clear()
    await learning.look_for_canaries(manager)
    anew = await topology(key_world, manager)
    assert anew.profiles[one.uuid].canary_name == name(found, one, 1 + WAYS)
    assert domain_count(anew) == 2
    assert anew.profiles[other.uuid] == replace(found.profiles[other.uuid], sees=())
    link.deliver()
    await learning.look_for_canaries(manager)
    assert domain_count(await topology(key_world, manager)) == 1


@on_sqlite
async def test_members_of_a_cluster_that_lost_everything(key_world: KeyWorld) -> None:
    """Their new canaries join them again at once."""
    members, _ = cluster(2)
    servers = await key_world.start(2, members)
    learning, manager, found = await learned(key_world, *servers)
    for server in servers:
        server.responder.store.forget_all()
    for _ in range(LOST_LOOKS):
        await learning.look_for_canaries(manager)
        key_world.clock.advance(LOST_S)
    anew = await topology(key_world, manager)
    assert {profile.canary_name for profile in anew.profiles.values()} == {
        name(found, row, 1 + WAYS) for row in found.servers
    }
    assert domain_count(anew) == 1


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
        server.faults[GET] = reset
        await learning.look_for_canaries(manager)
        server.faults.clear()
        kept = dict(server.responder.objects)
        server.responder.store.forget_all()
        for _ in range(LOST_LOOKS - 1):
            await learning.look_for_canaries(manager)
            key_world.clock.advance(LOST_S)
        for identifier, stored in kept.items():
            server.responder.store.put(identifier, stored)
        await learning.look_for_canaries(manager)
    assert await topology(key_world, manager) == found


@on_sqlite
async def test_a_canary_that_comes_back_while_there_is_another(key_world: KeyWorld) -> None:
    """Another look finds it while the server is learned again; the new one counts all the same."""
    (server,) = await key_world.start(1)
    learning, manager, found = await learned(key_world, server)
    kept = dict(server.responder.objects)
    server.responder.store.forget_all()
    for _ in range(LOST_LOOKS - 1):
        await learning.look_for_canaries(manager)
        key_world.clock.advance(LOST_S)
    begun, may_answer = asyncio.Event(), asyncio.Event()

    async def answer_later(exchange: Exchange) -> None:
        begun.set()
        await answered_after(may_answer)(exchange)

    server.faults[REGISTER] = answer_later
    looking = asyncio.create_task(learning.look_for_canaries(manager))
    async with asyncio.timeout(10):
        await begun.wait()
        for identifier, stored in kept.items():
            server.responder.store.put(identifier, stored)
        await learning.look_for_canaries(manager)
        may_answer.set()
        await looking
    anew = await topology(key_world, manager)
    assert anew.profiles[found.servers[0].uuid].canary_name == name(found, found.servers[0], 1 + WAYS)


@on_sqlite
@pytest.mark.parametrize("given_out", [True, False])
async def test_a_canary_whose_identifier_is_anothers(key_world: KeyWorld, given_out: bool) -> None:
    """The server was wiped, filled again and numbers its objects anew: lost, unless it is found under its name.

    Where its bytes agree there, that is its identifier from then on; where they are not given out it is unclear.
    """
    (server,) = await key_world.start(1)
    learning, manager, found = await learned(key_world, server)
    node = await key_world.node()
    key = await node.create(manager)
    store, (canary,) = server.responder.store, found.profiles[found.servers[0].uuid].canary
    stored = server.responder.objects[canary]
    another = server.responder.objects[(await key_world.copies(key.uuid))[0].unique_identifiers[0]]
    store.forget_all()
    store.put(canary, another)
    store.put("renumbered", stored)
    if not given_out:
        server.responder.refusals[GET] = ResultReason.PERMISSION_DENIED
    for _ in range(LOST_LOOKS):
        await learning.look_for_canaries(manager)
        key_world.clock.advance(LOST_S)
    known = replace(found.profiles[found.servers[0].uuid], canary=("renumbered",) if given_out else (canary,))
    assert (await topology(key_world, manager)).profiles == {found.servers[0].uuid: known}
    store.forget("renumbered")
    for _ in range(LOST_LOOKS):
        await learning.look_for_canaries(manager)
        key_world.clock.advance(LOST_S)
    server.responder.refusals.clear()
    await learning.look_for_canaries(manager)
    anew = await topology(key_world, manager)
    assert anew.profiles[found.servers[0].uuid].canary_name == name(found, found.servers[0], 1 + WAYS)


@on_sqlite
async def test_what_bears_a_canarys_name_is_none_unless_its_bytes_agree(key_world: KeyWorld) -> None:
    """Another server in its place has an object of that name: nothing is stored of it, and no absence counts there."""
    (server,) = await key_world.start(1)
    learning, manager, found = await learned(key_world, server)
    node = await key_world.node()
    key = await node.create(manager)
    (profile,) = found.profiles.values()
    server.responder.store.forget_all()
    endpoint = node.endpoints.primary(found.servers[0], node.endpoints.identity(found))
    async with node.objects.session(endpoint, timeout_s=5) as session:
        material = Secret(bytes(64))
        await session.register(profile.canary_name, material, KeyForm.SECRET_DATA, application_information=None)
    kept = Keeping(key_world, node, manager)
    for _ in range(LOST_LOOKS + 1):
        await learning.look_for_canaries(manager)
        await kept.sweep()
        key_world.clock.advance(LOST_S)
    assert (await topology(key_world, manager)).profiles == found.profiles
    assert await key_world.presences(key.uuid) == [Presence.UNKNOWN]


@on_sqlite
async def test_a_canary_that_was_found_where_the_server_is_no_more(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It moved while it was looked at: what was found under the canary's name there is not stored."""
    (server,) = await key_world.start(1)
    learning, manager, found = await learned(key_world, server)
    for identifier, stored in dict(server.responder.objects).items():
        server.responder.store.forget(identifier)
        server.responder.store.put("renumbered", stored)
    (row,) = found.servers
    look = canaries.found_under

    async def and_move(*args: Any) -> tuple[str, ...]:
        ids = await look(*args)
        moved = replace(row, address=ServerAddress("127.0.0.1", 1))
        await key_world.store.write(lambda tx: tx.change_key_server(moved))
        return ids

    monkeypatch.setattr("keystead.service.keys.learning.canary_looks.found_under", and_move)
    await learning.look_for_canaries(manager)
    assert (await topology(key_world, manager)).profiles == found.profiles


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
        assert (await topology(key_world, manager) != found) is relearned

"""Attempts that were aborted for their time alone, of keys that may have been acknowledged: what they left stays."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core.keys.guarding import Removal
from keystead.core.keys.model import KeyState
from keystead.core.keys.names import object_name
from keystead.keyservers.forms import material_of
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import close
from keystead.kmip.testing.server import held as held_up
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.configuration.detached_servers import DetachedKeyServers
from keystead.service.keys import attempts as key_attempts
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.looking.visit import endpoint_of
from keystead.service.keys.writing.descriptors import Describer
from tests.service.worlds.clones import (
    GOES_ON,
    HELD,
    Side,
    goes_on,
    keys_on,
    listed,
    side,
    stands,
    twin_of,
    while_registered,
)
from tests.service.worlds.keepers import Keeping, aborted, again, keeping, of_kind
from tests.service.worlds.keys import CALL, KeyWorld, held
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.kmip.testing.server import KeyServer as KmipServer

pytestmark = on_sqlite

DESCRIPTOR = re.compile("keystead-[0-9a-f]{8}-d[0-9a-f]{16}")


@dataclass
class Lost:
    """An acknowledged key, and the database that lacks its commit, which has been kept for some minutes since."""

    world: KeyWorld
    servers: list[KmipServer]
    kept: Keeping
    key: Key
    replica: Side

    async def stands(self, *numbers: int) -> list[bool]:
        """On which of the servers the key is."""
        return await stands(self.world, self.key, *[self.servers[number] for number in numbers])

    async def row(self, number: int) -> KeyServer:
        """Return a server, as it is configured."""
        rows = await self.world.servers(self.kept.manager)
        return next(row for row in rows if row.address.port == self.servers[number].port)


async def lost(
    world: KeyWorld,
    folder: Path,
    responders: Sequence[Responder],
    *,
    described: bool = False,
    then: Callable[[list[KmipServer]], None] = lambda _: None,
) -> Lost:
    """Have a key be created, and the database be copied while it has the intent alone; ``then`` follows the copy."""
    servers = await world.start(len(responders), responders)
    manager = await world.key_manager(*servers, know=False)
    describe = Describer((await world.node()).endpoints)
    node = await (world.node(describe=describe) if described else world.node())
    kept = Keeping(world, node, manager)
    await kept.learner.ensure(manager)
    original, replicas = await side(kept), []
    await original.round()

    async def replicate() -> None:
        replicas.append(await twin_of(original, folder / "replica"))
        then(servers)

    while_registered(servers[0], replicate)
    key = await node.create(manager)
    assert key.state is KeyState.COMMITTED
    world.clock.advance(300)
    return Lost(world, servers, kept, key, replicas[0])


def falls_silent(servers: list[KmipServer]) -> None:
    """After its copy was proven, the first server: it has it Pre-Active, without a descriptor."""
    servers[0].request_faults |= {Operation.ACTIVATE: close, Operation.REGISTER: close}


# --- what was committed ---


@pytest.mark.parametrize("described", [False, True])
async def test_what_is_described_or_active(key_world: KeyWorld, tmp_path: Path, described: bool) -> None:
    """No fence moved since. What is described was committed: it is a clone. What is Active may have been: unclaimed."""
    responders = [of_kind("no states") if described else Responder() for _ in range(2)]
    found = await lost(key_world, tmp_path, responders, described=described)
    await goes_on(found.replica)
    assert await found.replica.stands() == (HELD if described else GOES_ON)
    assert await found.replica.state(found.key) is KeyState.ABORTED
    assert await found.stands(0, 1) == [True, True]
    assert len(await listed(found.replica)) == 2


SYMMETRIC = PROFILES["symmetric keys only"].object_types


@pytest.mark.parametrize("kind", ["active at once", "no states"])
async def test_servers_that_tell_nothing(key_world: KeyWorld, tmp_path: Path, kind: str) -> None:
    """They take no descriptor, and their State says nothing."""
    mute = [Responder(profile=replace(PROFILES[kind], object_types=SYMMETRIC)) for _ in range(2)]
    found = await lost(key_world, tmp_path, mute)
    await goes_on(found.replica)
    assert await found.replica.stands() == GOES_ON
    assert await found.stands(0, 1) == [True, True]
    assert len(await listed(found.replica)) == 2


class SmallSecrets(Responder):
    """Takes Secret Data of 128 bytes at most: keys, canaries and fences, and no descriptor."""

    def respond(self, request: Any, client: str | None = None) -> Any:
        """Refuse longer ones."""
        item = request.batch_item[0]
        if item.operation == Operation.REGISTER:
            long = len(material_of(item.request_payload.managed_object) or b"") > 128
            self.refusals = {Operation.REGISTER: ResultReason.INVALID_FIELD} if long else {}
        return super().respond(request, client)


async def test_servers_that_refuse_descriptors(key_world: KeyWorld, tmp_path: Path) -> None:
    """That there is none says nothing, whatever else such a server takes."""
    small = [SmallSecrets(profile=PROFILES["no states"]) for _ in range(2)]
    found = await lost(key_world, tmp_path, small, described=True)
    assert not any(DESCRIPTOR.match(name) for server in found.servers for name in held(server))
    await goes_on(found.replica)
    assert await found.stands(0, 1) == [True, True]


async def test_no_copy_goes_before_every_server_was_asked(key_world: KeyWorld, tmp_path: Path) -> None:
    """One fell silent once the copies were proven: what is Active on the other saves both; while that is away, too."""
    found = await lost(key_world, tmp_path, [Responder(), Responder()], then=falls_silent)
    found.servers[0].request_faults.clear()
    await found.servers[1].__aexit__(None, None, None)
    await goes_on(found.replica)
    assert await found.stands(0) == [True]
    await found.servers[1].__aenter__()
    await again(found.replica.kept, end=False)
    await goes_on(await side(found.replica.kept))
    assert await found.stands(0, 1) == [True, True]
    (attempt,) = await found.replica.kept.node.store.read(lambda tx: tx.attempts([found.key.uuid]))
    assert attempt.incarnation == ""


async def test_one_that_denies_beside_one_that_tells_nothing(key_world: KeyWorld, tmp_path: Path) -> None:
    """One fell silent once the copies were proven, and the other cannot tell."""
    mute = Responder(profile=replace(PROFILES["no states"], object_types=SYMMETRIC))
    found = await lost(key_world, tmp_path, [Responder(), mute], described=True, then=falls_silent)
    found.servers[0].request_faults.clear()
    await goes_on(found.replica)
    assert await found.stands(0, 1) == [True, True]


async def test_what_was_deactivated_was_active(key_world: KeyWorld, tmp_path: Path) -> None:
    """By an administrator of the key server, or its policy."""
    found = await lost(key_world, tmp_path, [of_kind("symmetric keys only") for _ in range(2)])
    (attempt,) = await key_world.attempts(found.key.uuid)
    node, places = await key_world.node(), await key_world.topology(found.kept.manager)
    for row in places.servers:
        async with node.objects.session(endpoint_of(found.kept.context, places, row, ""), timeout_s=5) as session:
            for id_ in await session.locate(str(object_name(attempt))):
                await session.revoke(id_)
                assert (await session.get_attributes(id_)).state == "Deactivated"
    await goes_on(found.replica)
    assert await found.stands(0, 1) == [True, True]


# --- servers that cannot deny it any more ---


async def test_a_witness_that_was_wiped(key_world: KeyWorld, tmp_path: Path) -> None:
    """It was described there, and the server is learned anew since: that nothing is there says nothing."""
    found = await lost(key_world, tmp_path, [Responder(), Responder()], described=True, then=falls_silent)
    found.servers[0].request_faults.clear()
    found.servers[1].responder.store.forget_all()
    kept = found.replica.kept
    await again(kept, end=False)
    one = await side(kept)
    await goes_on(one)
    assert await found.stands(0) == [True]
    for _ in range(4):
        await kept.learner.look_for_canaries(kept.manager)
        key_world.clock.advance(2000)
    await goes_on(one)
    assert await found.stands(0) == [True]
    (attempt,) = await kept.node.store.read(lambda tx: tx.attempts([found.key.uuid]))
    assert attempt.incarnation == ""


async def test_a_witness_that_is_given_up(key_world: KeyWorld, tmp_path: Path) -> None:
    """It died for good: nobody can be asked any more, so what the other has is unclaimed."""
    found = await lost(key_world, tmp_path, [Responder(), Responder()], then=falls_silent)
    found.servers[0].request_faults.clear()
    gone, replica = await found.row(1), found.replica
    await found.servers[1].__aexit__(None, None, None)
    await goes_on(replica)
    node, manager = replica.kept.node, found.kept.manager
    guard = RemovalGuard(node.store, node.objects, node.endpoints, key_world.clock)
    stored = await node.store.read(lambda tx: tx.key_manager(manager))
    assert stored is not None
    await guard.prove(CALL, Removal(stored, gone), asyncio.get_running_loop().time() + 30)

    def remove(tx: Any) -> None:
        guard.detach(tx, gone)
        tx.delete_key_server(gone.uuid)

    await node.store.write(remove)
    await DetachedKeyServers(replica.kept.context, guard, node.audit).give_up(CALL, manager, gone.address)
    await goes_on(await side(replica.kept))
    assert await found.stands(0) == [True]
    assert len(await listed(replica)) == 1


# --- servers that refuse to say ---


class Refuses(Responder):
    """Refuses what ``asked`` finds in a request, once it is set."""

    asked: Callable[[Any], bool] | None = None
    refused = 0

    def respond(self, request: Any, client: str | None = None) -> Any:
        """Count what is refused."""
        item = request.batch_item[0]
        self.refusals = {}
        if self.asked is not None and self.asked(item):
            self.refused += 1
            self.refusals = {item.operation: ResultReason.GENERAL_FAILURE}
        return super().respond(request, client)


def locates(pattern: re.Pattern[str], item: Any) -> bool:
    """Return True if an object with such a name is looked for."""
    return item.operation == Operation.LOCATE and pattern.search(str(item.request_payload)) is not None


def gets_a_descriptor(responder: Refuses, item: Any) -> bool:
    """Return True if one is to be returned."""
    if item.operation != Operation.GET:
        return False
    stored = responder.objects.get(item.request_payload.unique_identifier)
    return stored is not None and any(map(DESCRIPTOR.match, stored.names))


@pytest.mark.parametrize("get", [False, True])
async def test_a_descriptor_that_is_not_shown(key_world: KeyWorld, tmp_path: Path, get: bool) -> None:
    """A server without States has it, and refuses to find it, or to return it."""
    responder = Refuses(profile=PROFILES["no states"])
    found = await lost(key_world, tmp_path, [responder], described=True)
    assert any(map(DESCRIPTOR.match, held(found.servers[0])))
    responder.asked = partial(gets_a_descriptor, responder) if get else partial(locates, DESCRIPTOR)
    await goes_on(found.replica)
    assert responder.refused
    assert await found.stands(0) == [True]
    assert await found.replica.stands() == GOES_ON


async def closes_where_refused(responder: Refuses, exchange: Any) -> None:
    """Close the connection where a refusal would be answered."""
    before, answer = responder.refused, exchange.answer
    if responder.refused > before:
        await close(exchange)
    else:
        await exchange.stream.send(answer)


@pytest.mark.parametrize("silent", [False, True])
async def test_an_attempt_of_which_a_server_does_not_speak_holds_up_no_other(key_world: KeyWorld, silent: bool) -> None:
    """Refused, it is unclaimed; where the server falls silent about it, it waits. The next one is ended."""
    (server,) = await key_world.start(1, [responder := Refuses()])
    kept = await keeping(key_world, server)
    await (await side(kept)).round()
    go_on = asyncio.Event()
    server.faults[Operation.REGISTER] = held_up(go_on)
    creating = [asyncio.create_task(kept.node.create(kept.manager, f"vol{number}")) for number in range(2)]
    while keys_on(server) < len(creating):  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.01)
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    assert await kept.abort_expired() == len(creating)
    for task in creating:
        task.cancel()
    await asyncio.wait(creating)
    server.faults.clear()
    attempts = [(await key_world.attempts(uuid))[0] for uuid, *_ in sorted(await key_world.stored_keys(kept.manager))]
    names = [str(object_name(attempt)) for attempt in attempts]
    responder.asked = partial(locates, re.compile(re.escape(names[0])))
    if silent:
        server.request_faults[Operation.LOCATE] = partial(closes_where_refused, responder)
    key_world.clock.advance(4000)
    await again(kept, end=False)
    await (await side(kept)).round()
    assert responder.refused
    assert [name in held(server) for name in names] == [True, False]
    assert [attempt.incarnation == "" for uuid in attempts for attempt in await key_world.attempts(uuid.key)] == [
        not silent, False,
    ]  # fmt: skip


async def test_fences_stand_while_an_attempt_waits(key_world: KeyWorld, tmp_path: Path) -> None:
    """For a server that is away; where it is back, all are moved on, and what was not committed ends."""
    found = await lost(key_world, tmp_path, [Responder(), Responder()])
    await found.servers[1].__aexit__(None, None, None)
    await goes_on(found.replica)
    live, numbers = (await found.row(0)).uuid, []
    for _ in range(4):
        await found.replica.round()
        key_world.clock.advance(40)
        marker = await found.replica.kept.node.store.read(lambda tx: tx.epoch_marker(live))
        assert marker is not None
        numbers.append(marker.number)
    assert len(set(numbers)) == 1


# --- what was aborted otherwise ---


async def test_what_an_administrator_activates_holds_nobody_elses_destruction(key_world: KeyWorld) -> None:
    """Or a policy that activates later: an attempt that was aborted by its coordinator is ended, whatever is shown."""
    (server,) = await key_world.start(1)
    kept = await keeping(key_world, server)
    one = await side(kept)
    await one.round()
    key = await aborted(kept, server)
    assert keys_on(server) == 1
    (attempt,) = await key_world.attempts(key.uuid)
    node, places = await key_world.node(), await key_world.topology(kept.manager)
    async with node.objects.session(endpoint_of(kept.context, places, places.servers[0], ""), timeout_s=5) as session:
        for id_ in await session.locate(str(object_name(attempt))):
            await session.activate(id_)
    await again(kept, end=False)
    key_world.clock.advance(300)
    await (await side(kept)).round()
    assert (await one.stands(), keys_on(server)) == (GOES_ON, 0)


@pytest.mark.parametrize("kind", ["active at once", "no states", "plain"])
async def test_what_was_aborted_is_ended_where_states_tell_nothing(key_world: KeyWorld, kind: str) -> None:
    """A server whose objects are Active at once says nothing by that."""
    servers = await key_world.start(1, [of_kind(kind)])
    kept = await keeping(key_world, *servers)
    one = await side(kept)
    await one.round()
    await aborted(kept, *servers)
    assert keys_on(servers[0]) == 1
    await again(kept, end=False)
    key_world.clock.advance(300)
    await (await side(kept)).round()
    assert await one.stands() == GOES_ON
    assert keys_on(servers[0]) == 0

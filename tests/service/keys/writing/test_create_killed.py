"""A process that dies at any statement or commit of a creation loses no key that was acknowledged, and leaves no
object of which nobody knows; once its attempt was settled, the name is free, or the key is there and whole.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.names import parse
from keystead.core.secret import Secret
from tests.peers.appliances import Appliance
from tests.peers.certificates import server_context
from tests.peers.killing import Harness
from tests.service.worlds.keys import WorldServer, full, held, nothing_was_ended, on_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterator

    from keystead.core.keys.model import Key
    from tests.peers.fixtures import Pki
    from tests.service.worlds.keys import KeyNode, KeyWorld

STORED = "stored"
MATERIAL = bytes(range(64))


@pytest.fixture(scope="module")
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """Yield the fork server that runs what is killed: at commits, and with ``--long`` at every statement."""
    with Harness(statements=request.config.getoption("--long")) as running:
        yield running


@pytest.fixture
def appliances(key_world: KeyWorld, pki: Pki) -> Iterator[list[Appliance]]:
    """Two key servers that run whatever the test's loop does, and show their canaries."""
    with ExitStack() as stack:
        context = server_context(pki.server, client_ca=pki.client_ca)
        servers = [WorldServer(context) for _ in range(2)]
        started = [stack.enter_context(Appliance(server)) for server in servers]
        for server in servers:
            key_world.show_canary_of(server)
        yield started


async def check_objects(world: KeyWorld, manager: str, appliances: list[Appliance]) -> None:
    """Every object on a server is of an attempt whose copy there is stored; nothing was ever ended."""
    known = [(uuid, await world.copies(uuid)) for uuid, _, _ in await world.stored_keys(manager)]
    for row, appliance in zip(await world.servers(manager), appliances, strict=True):
        names = [parse(name) for name in held(appliance.server)]
        stored = {uuid.replace("-", "")[:16] for uuid, copies in known if any(c.key_server == row.uuid for c in copies)}
        assert {name.id for name in names if name} <= stored
        assert None not in names
    assert nothing_was_ended(*(appliance.server for appliance in appliances))


async def settled(world: KeyWorld, node: KeyNode, manager: str, name: str) -> Key:
    """Settle what a dead process left under a name, as others do after its time, and have a key of this name."""
    left = await world.named(manager, name)
    if left is not None and left.state is KeyState.COMMITTED:
        assert not await world.abort(left.uuid)
        error = await node.refused(manager, name)
        assert (error.kind, error.arguments[0]) == (errors.DUPLICATE_ENTRY, ("key_id", left.key_id))
        return left
    if left is not None:
        assert (await node.refused(manager, name)).kind is errors.DUPLICATE_ENTRY
        assert await world.abort(left.uuid)
    return await node.create(manager, name)


async def test_a_creation_killed_at_every_point(
    harness: Harness, key_world: KeyWorld, appliances: list[Appliance]
) -> None:
    """At each: the key is there with all its copies, or it is not and its name can be had; every object is known."""
    manager = await key_world.key_manager(*(appliance.address for appliance in appliances))
    node = await key_world.node()
    place: dict[str, Any] = {"data": str(key_world.home.data), "database": key_world.home.database}
    seen: set[str] = set()
    point = 0
    while True:
        name = f"key {point}"
        outcome = harness.run("create_key", at=point, key_manager=manager, name=name, **place)
        await check_objects(key_world, manager, appliances)
        if not outcome.killed:
            break
        left = await key_world.named(manager, name)
        seen.add(left.state if left else "none")
        key = await settled(key_world, node, manager, name)
        assert await key_world.presences(key.uuid) == 2 * [Presence.PRESENT], f"killed at point {point}"
        point += 1
    assert outcome.result == STORED
    assert seen == {"none", KeyState.PENDING, KeyState.COMMITTED}
    assert point == len(outcome.points) > 2
    assert outcome.points.count("commit") == 4, "three of the creation, and one as the node leaves"
    await check_objects(key_world, manager, appliances)
    await key_world.home.check_chain()


@pytest.mark.long
@on_sqlite
async def test_a_creation_that_fails_killed_at_every_point(
    harness: Harness, key_world: KeyWorld, appliances: list[Appliance]
) -> None:
    """One server of two takes nothing: the key is pending or aborted, never committed, and its name can be had."""
    manager = await key_world.key_manager(*(appliance.address for appliance in appliances))
    node = await key_world.node()
    place: dict[str, Any] = {"data": str(key_world.home.data), "database": key_world.home.database}
    states: set[str] = set()
    point = 0
    while True:
        full(appliances[1].server)
        outcome = harness.run("create_key", at=point, key_manager=manager, name=f"key {point}", **place)
        appliances[1].responder.capacity = None
        await check_objects(key_world, manager, appliances)
        states |= {state for _, name, state in await key_world.stored_keys(manager) if name == f"key {point}"}
        if not outcome.killed:
            break
        assert KeyState.COMMITTED not in states
        await settled(key_world, node, manager, f"key {point}")
        point += 1
    assert outcome.result == str(errors.TOO_FEW_COPIES.code)
    assert states == {KeyState.PENDING, KeyState.ABORTED}
    assert point == len(outcome.points) > 2


@pytest.mark.long
@on_sqlite
async def test_a_copy_killed_at_every_point(harness: Harness, key_world: KeyWorld, appliances: list[Appliance]) -> None:
    """The key and its other copies stay as they are; once the attempt was settled, the server has its copy."""
    manager = await key_world.key_manager(*(appliance.address for appliance in appliances))
    node = await key_world.node()
    place: dict[str, Any] = {"data": str(key_world.home.data), "database": key_world.home.database}
    point = 0
    while True:
        key = await node.create(manager, f"key {point}", material=Secret(MATERIAL))
        kept, lost = await key_world.copies(key.uuid)
        appliances[1].responder.store.forget_all()
        gone = replace(lost, presence=Presence.MISSING)
        await key_world.store.write(lambda tx: tx.put_copies([gone], new=False))  # noqa: B023 - run at once
        order: dict[str, Any] = {"key": key.uuid, "number": 1, "material": MATERIAL.hex()}
        outcome = harness.run("copy_key", at=point, **order, **place)
        await check_objects(key_world, manager, appliances)
        assert (await key_world.key(key.uuid), (await key_world.copies(key.uuid))[0]) == (key, kept)
        if not outcome.killed:
            break
        for attempt in (await key_world.attempts(key.uuid))[1:]:
            await key_world.store.write(lambda tx: tx.end_attempt(attempt, AttemptState.ABORTED))  # noqa: B023
        harness.run("copy_key", **order, **place)
        proven = {attempt.number for attempt in await key_world.attempts(key.uuid) if attempt.state == "committed"}
        assert len([c for c in await key_world.copies(key.uuid) if c.attempt in proven - {1}]) == 1
        point += 1
    assert outcome.result == "True"
    assert point == len(outcome.points) > 2

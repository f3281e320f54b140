"""Creating keys while somebody else acts: another node, an operator, the caller, the service's own end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, Key, KeyState, Presence
from keystead.core.secret import Secret
from keystead.kmip.testing.server import first
from keystead.kmip.testing.server import held as held_up
from keystead.kmip.ttlv.enums import Operation
from keystead.service.keys import attempts as key_attempts
from keystead.service.keys.writing import attempt_runner as attempt_work
from keystead.service.ports.store import StoreError
from tests.service.worlds.keys import asked, lying, nothing_was_ended, on_sqlite, until

if TYPE_CHECKING:
    from keystead.kmip.testing.server import KeyServer
    from keystead.service.ports.store import Transaction
    from tests.service.worlds.keys import KeyNode, KeyWorld

PRESENT, MISSING, SENT = Presence.PRESENT, Presence.MISSING, Presence.SENT
REGISTER = Operation.REGISTER
MATERIAL = Secret(bytes(range(64)))


class HeldUp:
    """A creation on two servers, the first of which has taken the object and not answered yet."""

    def __init__(self, world: KeyWorld, servers: list[KeyServer], manager: str, node: KeyNode) -> None:
        self.world, self.servers, self.manager, self.node = world, servers, manager, node
        self._answer = asyncio.Event()
        servers[0].faults[REGISTER] = first(1, held_up(self._answer))
        self.task = asyncio.create_task(node.create(manager))

    async def begun(self) -> Key:
        """Return the key when all servers have their objects."""
        await until(lambda: all(server.responder.objects for server in self.servers))
        key = await self.world.named(self.manager)
        assert key is not None
        return key

    def copies_read(self) -> int:
        """Return how many servers were asked for what they hold."""
        return sum("GET" in asked(server) for server in self.servers)

    async def ended(self) -> Key | OntapError:
        """Let the server answer; return what became of the creation."""
        self._answer.set()
        try:
            return await self.task
        except OntapError as error:
            return error


Begin = Callable[..., Awaitable[tuple[HeldUp, Key]]]


@pytest.fixture
def begin(key_world: KeyWorld) -> Begin:
    """Begin a creation on so many servers, and return it when it is held up."""

    async def begin(count: int = 2, min_copies: int = 0, **options: Any) -> tuple[HeldUp, Key]:
        servers = await key_world.start(count)
        manager = await key_world.key_manager(*servers, min_copies=min_copies)
        creation = HeldUp(key_world, servers, manager, await key_world.node(**({"grace_s": 20} | options)))
        return creation, await creation.begun()

    return begin


# --- other nodes ---


async def test_two_nodes_create_one_name(key_world: KeyWorld) -> None:
    """Of all who try at once one makes the key; the others hear which one has the name, and leave no object."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    nodes = [await key_world.node() for _ in range(2)]
    for number in range(3):
        tried = [node.create(manager, f"key {number}") for node in nodes for _ in range(2)]
        outcomes = await asyncio.gather(*tried, return_exceptions=True)
        (made,) = [each for each in outcomes if not isinstance(each, BaseException)]
        refused = [each for each in outcomes if isinstance(each, OntapError)]
        assert [each.kind for each in refused] == 3 * [errors.DUPLICATE_ENTRY]
        assert {each.arguments for each in refused} == {(("key_id", made.key_id), ("name", made.name))}
    assert [len(server.responder.objects) for server in servers] == [3, 3]
    assert [state for _, _, state in await key_world.stored_keys(manager)] == 3 * ["committed"]


async def test_a_name_that_is_about_to_be_taken(key_world: KeyWorld, begin: Begin) -> None:
    """A pending key holds it as well, for every node; once it was aborted the name is free."""
    creation, key = await begin(min_copies=2)
    other = await key_world.node()
    for node in (creation.node, other):
        error = await node.refused(creation.manager)
        assert (error.kind, error.arguments) == (errors.DUPLICATE_ENTRY, (("key_id", key.key_id), ("name", "a key")))
    lying(creation.servers[0])
    assert isinstance(await creation.ended(), OntapError)
    creation.servers[0].responder.lying = False
    assert (await other.create(creation.manager)).uuid != key.uuid


async def test_a_coordinator_that_wakes_too_late(key_world: KeyWorld, begin: Begin) -> None:
    """Its attempt was aborted meanwhile: it answers an error, and only notes which objects it knows of."""
    aborted: list[Key] = []
    creation, key = await begin(on_aborted=aborted.append)
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds())
    assert await key_world.abort(key.uuid)
    again = await (await key_world.node()).create(creation.manager)
    error = await creation.ended()
    assert isinstance(error, OntapError)
    assert (error.kind, error.retry_after) == (errors.TOO_BUSY, 5)
    assert await key_world.key(key.uuid) == replace(key, state=KeyState.ABORTED)
    assert [attempt.state for attempt in await key_world.attempts(key.uuid)] == [AttemptState.ABORTED]
    copies = await key_world.copies(key.uuid)
    for copy, server in zip(copies, creation.servers, strict=True):
        assert copy.unique_identifiers == (next(iter(server.responder.objects)),)
    assert await key_world.named(creation.manager) == again
    assert [each.uuid for each in aborted] == [key.uuid]
    assert nothing_was_ended(*creation.servers)


@on_sqlite
async def test_what_was_found_out_about_a_late_coordinators_objects_stays(key_world: KeyWorld, begin: Begin) -> None:
    """Rows that already name the object are not touched when the coordinator wakes."""
    creation, key = await begin()
    assert await key_world.abort(key.uuid)
    first, second = await key_world.copies(key.uuid)
    identifier = next(iter(creation.servers[0].responder.objects))
    known = replace(first, presence=Presence.DESTROYED, unique_identifiers=(identifier,))
    await key_world.store.write(lambda tx: tx.put_copies([known], new=False))
    assert isinstance(await creation.ended(), OntapError)
    assert (await key_world.copies(key.uuid))[0] == known
    assert (await key_world.copies(key.uuid))[1] != second


# --- operators ---


async def come_again(creation: HeldUp) -> bool:
    """Return True if the caller of a creation under which something changed is told to repeat it."""
    error = await creation.ended()
    return isinstance(error, OntapError) and (error.kind, error.retry_after) == (errors.TOO_BUSY, 5)


async def change(world: KeyWorld, manager: str, **fields: object) -> None:
    """Change a key manager."""

    def work(tx: Transaction) -> None:
        now = tx.key_manager(manager, lock=True)
        assert now is not None
        tx.change_key_manager(replace(now, **fields))  # type: ignore[arg-type]

    await world.store.write(work)


@pytest.mark.parametrize(("min_copies", "made"), [(0, True), (2, False)])
async def test_a_server_that_is_removed_meanwhile(
    key_world: KeyWorld, begin: Begin, min_copies: int, made: bool
) -> None:
    """Its copy does not count: what is left must be enough for the policy, as it is applied to what is left."""
    creation, key = await begin(min_copies=min_copies)
    servers = await key_world.servers(creation.manager)
    await key_world.store.write(lambda tx: tx.delete_key_server(servers[0].uuid))
    ended = await creation.ended()
    assert isinstance(ended, OntapError) is not made
    assert (await key_world.key(key.uuid)).state is (KeyState.COMMITTED if made else KeyState.ABORTED)
    assert sorted(await key_world.presences(key.uuid)) == [PRESENT, PRESENT]
    assert nothing_was_ended(*creation.servers)


@on_sqlite
async def test_a_server_that_is_replaced_meanwhile(key_world: KeyWorld, begin: Begin) -> None:
    """One that was removed and added again is another one, of which nothing is proven."""
    creation, key = await begin(min_copies=2)
    (first, _) = await key_world.servers(creation.manager)

    def work(tx: Transaction) -> None:
        tx.delete_key_server(first.uuid)
        tx.add_key_servers([replace(first, uuid=str(uuid4()), position=3)])

    await key_world.store.write(work)
    assert await come_again(creation)
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED


@on_sqlite
async def test_a_policy_that_is_raised_meanwhile(key_world: KeyWorld, begin: Begin) -> None:
    """The policy at the time of the commit counts."""
    creation, key = await begin(min_copies=1)
    await change(key_world, creation.manager, min_copies=3)
    assert await come_again(creation)
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED


@on_sqlite
async def test_a_certificate_that_is_changed_meanwhile(key_world: KeyWorld, begin: Begin) -> None:
    """The copies belong to whom we were: they cannot be counted on any more."""
    creation, key = await begin()
    await change(key_world, creation.manager, client_certificate=str(uuid4()))
    assert await come_again(creation)
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED
    assert nothing_was_ended(*creation.servers)


@on_sqlite
async def test_another_life_of_the_database(key_world: KeyWorld, begin: Begin) -> None:
    """What was begun in an earlier incarnation is not committed in a later one."""
    creation, key = await begin()

    def work(tx: Transaction) -> None:
        now = tx.incarnation()
        assert now is not None
        tx.put_incarnation(replace(now, uuid=str(uuid4()), number=now.number + 1, destroys=False))

    await key_world.store.write(work)
    assert await come_again(creation)
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED


@on_sqlite
async def test_a_key_manager_that_is_deleted_meanwhile(key_world: KeyWorld, begin: Begin) -> None:
    """With its key gone there is nothing to commit: the call fails, and nothing is ended."""
    creation, _ = await begin()
    (first, second) = await key_world.servers(creation.manager)

    def work(tx: Transaction) -> None:
        tx.drop_keys(creation.manager, tuple(KeyState))
        for server in (first, second):
            tx.delete_key_server(server.uuid)
        tx.delete_key_manager(creation.manager)

    await key_world.store.write(work)
    with pytest.raises(StoreError, match="was deleted while it was written"):
        await creation.ended()
    assert nothing_was_ended(*creation.servers)


# --- the caller, and the end of the service ---


async def test_a_caller_that_goes_away(key_world: KeyWorld, begin: Begin) -> None:
    """A creation ends as usual although its caller has gone."""
    creation, key = await begin()
    creation.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await creation.ended()
    await until(lambda: all("ACTIVATE" in asked(server) for server in creation.servers))
    assert (await key_world.key(key.uuid)).state is KeyState.COMMITTED
    assert await key_world.presences(key.uuid) == [PRESENT, PRESENT]


@pytest.mark.parametrize(("count", "made"), [(2, False), (3, True)])
async def test_a_stop_in_the_middle(key_world: KeyWorld, begin: Begin, count: int, made: bool) -> None:
    """It ends the waiting: the key is committed when there are enough copies by now, else aborted with 503."""
    creation, key = await begin(count)
    await until(lambda: creation.copies_read() == count - 1)
    creation.node.writer.stop()
    await creation.node.writer.close()
    assert creation.task.done()
    ended = await creation.ended()
    if made:
        assert isinstance(ended, Key)
        assert await key_world.presences(key.uuid) == [SENT, PRESENT, PRESENT]
    else:
        assert isinstance(ended, OntapError)
        assert (ended.kind, ended.retry_after) == (errors.SHUTTING_DOWN, 5)
    assert (await key_world.key(key.uuid)).state is (KeyState.COMMITTED if made else KeyState.ABORTED)
    error = await creation.node.refused(creation.manager, "later")
    assert error.kind is errors.SHUTTING_DOWN
    assert nothing_was_ended(*creation.servers)


@on_sqlite
async def test_more_than_a_node_can_do_at_once(
    key_world: KeyWorld, begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Creations above the limit of a node are told to come again, and nothing is stored or sent."""
    creation, _ = await begin()
    monkeypatch.setattr(attempt_work, "SLOTS", 1)
    error = await creation.node.refused(creation.manager, "another")
    assert (error.kind, error.retry_after) == (errors.TOO_BUSY, 5)
    assert await key_world.named(creation.manager, "another") is None
    assert isinstance(await creation.ended(), Key)


async def test_nobody_has_all_places(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key manager with slow servers takes at most half of the free places; copies have their own places."""
    monkeypatch.setattr(attempt_work, "SLOTS", 8)
    slow, fast, empty = await key_world.start(3)
    manager, others = [await key_world.key_manager(at, timeout=10, create_remove_timeout=30) for at in (slow, fast)]
    node = await key_world.node()
    answer = asyncio.Event()
    slow.faults[REGISTER] = held_up(answer)
    creating = [asyncio.create_task(node.create(manager, f"key {number}")) for number in range(4)]
    await until(lambda: len(slow.responder.objects) == 4)
    error = await node.refused(manager, "one more")
    assert (error.kind, error.retry_after) == (errors.TOO_BUSY, 5)
    await asyncio.gather(*(node.create(others, f"key {number}") for number in range(2)))
    key = await node.create(others, material=MATERIAL)
    (server,) = await key_world.servers(others)
    added = replace(server, uuid=str(uuid4()), position=2, address=replace(server.address, port=empty.port))
    await key_world.store.write(lambda tx: tx.add_key_servers([added]))
    places = await node.learner.ensure(others)
    monkeypatch.setattr(attempt_work, "SLOTS", 4)
    assert (await node.refused(others, "one more")).kind is errors.TOO_BUSY
    assert await node.writer.copy_to(key, added, MATERIAL, places) == ""
    answer.set()
    assert len(await asyncio.gather(*creating)) == 4
    await node.create(manager, "one more")

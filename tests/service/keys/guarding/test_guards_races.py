"""Guards while others change something: what was proven before that does not count, and is proven again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.guarding import Removal, RemovalFindings
from keystead.core.keys.model import Presence, Purpose
from keystead.core.secret import Secret
from keystead.kmip.server.profile import PLAIN
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import delay, first
from keystead.kmip.testing.server import held as answered_after
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys.guarding import pages as key_pages
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.keeping.settle import AttemptSettlement
from keystead.service.keys.writing.copies import AttemptCopies
from tests.service.worlds.changing import changer, changer_of, identifier
from tests.service.worlds.guards import LONG_AGO_S, restore_from
from tests.service.worlds.keepers import Keeping
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, asked, full, on_sqlite, until

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction

ITEM_NOT_FOUND = errors.NETWORK, (("reason", "item_not_found"),)


AfterProof = Callable[[type, str, Callable[[], Awaitable[object]]], list[Any]]


@pytest.fixture
def after_proof(monkeypatch: pytest.MonkeyPatch) -> AfterProof:
    """Have something done once, right after a guard has proven something; return all that it has proven."""

    def told(guard: type, method: str, change: Callable[[], Awaitable[object]]) -> list[Any]:
        proved, left = getattr(guard, method), [change]
        found: list[Any] = []

        async def and_change(*args: Any) -> Any:
            found.append(await proved(*args))
            while left:
                await left.pop()()
            return found[-1]

        monkeypatch.setattr(guard, method, and_change)
        return found

    return told


def of(error: OntapError) -> tuple[object, object]:
    """Return the kind of a refusal, and its reason."""
    return error.kind, error.arguments[2:]


# --- a server moves ---


@on_sqlite
async def test_a_key_comes_to_a_server_while_it_moves(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Ask the server again: it had nothing when it was asked."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    (row,) = await key_world.servers(changing.manager)
    found = after_proof(RelocationGuard, "prove_moved", lambda: changing.node.create(changing.manager))
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK
    assert found == [None]


@on_sqlite
async def test_a_key_comes_to_the_old_place_while_a_server_moves(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Ask for a late key at the new place, too."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    await changing.node.create(changing.manager, "an old key")
    restore_from(servers[0], servers[1])
    (row,) = await key_world.servers(changing.manager)
    late: list[Key] = []

    async def create() -> None:
        late.append(await changing.node.create(changing.manager, "a late key"))

    after_proof(RelocationGuard, "prove_moved", create)
    assert of(await changing.change_refused(row, port=servers[1].port)) == ITEM_NOT_FOUND
    assert await changing.fetch(late[0])


@on_sqlite
async def test_a_late_key_that_another_server_has(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Ask for a late key at the new place only if no other server has it, as for older ones."""
    a, b, moved = await key_world.start(3)
    changing = await changer(key_world, a, b, min_copies=1)
    restore_from(a, moved)
    row = (await key_world.servers(changing.manager))[0]
    await changing.node.create(changing.manager, "an old key")
    late: list[Key] = []

    async def create() -> None:
        late.append(await changing.node.create(changing.manager, "on both"))
        full(b)
        late.append(await changing.node.create(changing.manager, "on a alone"))
        id_ = await identifier(changing, late[1], 0)
        moved.responder.store.put(id_, a.responder.objects[id_].copy())

    after_proof(RelocationGuard, "prove_moved", create)
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    assert [await changing.lost(key) for key in late] == [False, False]


@on_sqlite
async def test_a_copy_on_a_former_secondary_that_was_just_read(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Look again for a late key, and ask no address for a copy that is at no address of the server."""
    a, b = await key_world.start(2)
    (moved,) = await key_world.start(1, [a.responder])
    changing = await changer(key_world, a, b, min_copies=1)
    old = await changing.node.create(changing.manager, "on a former secondary, and on b")
    row = (await key_world.servers(changing.manager))[0]
    (attempt,) = await key_world.attempts(old.uuid)
    copy = replace((await key_world.copies(old.uuid))[0], host=SECONDARY, attempt=2)

    def on_secondary(tx: Transaction) -> None:
        tx.add_attempt(replace(attempt, number=2, token="another", purpose=Purpose.COPY))
        tx.put_copies([copy], new=True)

    await key_world.store.write(on_secondary)
    late: list[Key] = []

    async def create() -> None:
        full(b)
        late.append(await changing.node.create(changing.manager, "a late key, on a alone"))

    after_proof(RelocationGuard, "prove_moved", create)
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    assert not await changing.lost(late[0])


@on_sqlite
async def test_the_other_server_is_removed_while_one_moves(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Prove the move again: the removed server had the key when the move was proven."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restore_from(servers[1], servers[2])
    key = await changing.node.create(changing.manager)
    one, other = await key_world.servers(changing.manager)
    after_proof(RelocationGuard, "prove_moved", partial(changing.remove, one))
    with pytest.raises(OntapError) as raised:
        await changing.modify(other, port=servers[2].port)
    assert of(raised.value) == ITEM_NOT_FOUND
    assert await key_world.servers(changing.manager) == (other,)
    assert await changing.fetch(key)


@on_sqlite
async def test_a_server_moves_while_the_other_one_is_removed(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Refuse the removal: the key was read on the other server where that was, which does not count any more."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restore_from(servers[1], servers[2])
    key = await changing.node.create(changing.manager)
    key_world.clock.advance(LONG_AGO_S)
    one, other = await key_world.servers(changing.manager)
    after_proof(RemovalGuard, "prove", partial(changing.modify, other, port=servers[2].port))
    with pytest.raises(OntapError) as raised:
        await changing.remove(one)
    assert raised.value.kind is errors.SOLE_COPY
    assert await changing.fetch(key)


@on_sqlite
async def test_a_server_that_was_asked_at_fewer_addresses(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Ask a secondary that another call has given the server: it has the key."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    restore_from(*servers)
    key = await changing.node.create(changing.manager)
    copies = [replace(copy, presence=Presence.MISSING) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    replica = await key_world.start_secondary(servers[0], Responder())
    await key_world.start_secondary(servers[1])
    restore_from(servers[0], replica)
    servers[0].responder.store.forget(await identifier(changing, key, 0))
    (row,) = await key_world.servers(changing.manager)
    after_proof(RelocationGuard, "prove_moved", partial(changing.modify, row, secondary_key_servers=(SECONDARY,)))
    with pytest.raises(OntapError) as raised:
        await changing.modify(row, port=servers[1].port, secondary_key_servers=(SECONDARY,))
    assert of(raised.value) == ITEM_NOT_FOUND
    assert not await changing.lost(key)


async def test_a_key_is_created_while_a_server_moves(key_world: KeyWorld) -> None:
    """Store that the key was written to the old place, and do not rely on it."""
    servers = await key_world.start(4)
    changing = await changer(key_world, *servers[:2], min_copies=1)
    restore_from(servers[0], servers[2])
    restore_from(servers[1], servers[3])
    one, other = await key_world.servers(changing.manager)
    node = await key_world.node(grace_s=20)
    answer = asyncio.Event()
    servers[1].faults[Operation.REGISTER] = first(1, answered_after(answer))
    before = len(servers[0].responder.objects)
    creating = asyncio.create_task(node.create(changing.manager))
    await until(lambda: len(servers[0].responder.objects) > before)
    await changing.modify(one, port=servers[2].port)
    answer.set()
    key = await creating
    assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
    assert (await changing.removal_refused(other)).kind is errors.SOLE_COPY
    assert (await changing.change_refused(other, port=servers[3].port)).kind is errors.NETWORK
    assert await changing.fetch(key)


@on_sqlite
async def test_a_server_moves_under_load(key_world: KeyWorld) -> None:
    """Catch up with keys that are created all the time, on this server alone."""
    servers = await key_world.start(1)
    (moved,) = await key_world.start(1, [servers[0].responder])
    changing = await changer(key_world, servers[0])
    for number in range(30):
        await changing.node.create(changing.manager, f"old {number}")
    (row,) = await key_world.servers(changing.manager)
    done = asyncio.Event()

    async def create() -> int:
        number = 0
        while not done.is_set():
            number += 1
            with contextlib.suppress(OntapError):  # the server has just moved
                await changing.node.create(changing.manager, f"new {number}")
        return number

    creating = asyncio.create_task(create())
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    done.set()
    assert await creating > 1


# --- the keeper looks ---


@on_sqlite
async def test_what_was_seen_at_the_old_place_is_not_stored(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Store no look that was under way when the server moved: it says nothing of the new place."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restore_from(servers[0], servers[2])
    kept = Keeping(key_world, changing.node, changing.manager)
    key = await changing.node.create(changing.manager)
    row, _ = await key_world.servers(changing.manager)
    copy = (await key_world.copies(key.uuid))[0]
    await key_world.store.write(lambda tx: tx.put_copies([replace(copy, presence=Presence.UNKNOWN)], new=False))
    after_proof(AttemptSettlement, "_settled", partial(changing.modify, row, port=servers[2].port))
    await kept.settle()
    assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]


@on_sqlite
async def test_a_look_as_somebody_else_is_not_stored(
    key_world: KeyWorld, after_proof: AfterProof, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Store no look that was under way when the client certificate was renewed, or the user was changed."""
    servers = await key_world.start(2)
    changing = await changer(key_world, *servers)
    kept = Keeping(key_world, changing.node, changing.manager)
    key = await changing.node.create(changing.manager)
    row = (await key_world.servers(changing.manager))[0]
    copy = (await key_world.copies(key.uuid))[0]
    await key_world.store.write(lambda tx: tx.put_copies([replace(copy, presence=Presence.UNKNOWN)], new=False))
    as_user = partial(changing.modify, row, username="somebody", password=Secret("a password"))
    for change in (as_user, changing.renew):
        after_proof(AttemptSettlement, "_settled", change)
        await kept.settle()
        assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
        monkeypatch.undo()
    await kept.settle()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]


# --- a server is removed ---


async def test_two_removals_cannot_rely_on_each_other(key_world: KeyWorld) -> None:
    """Remove one of two servers, never both: each removal has its proof on the other's server, on its own node."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = [changer_of(key_world, await key_world.node(), manager) for _ in servers]
    rows = await key_world.servers(manager)
    await removing[0].node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    for server in servers:
        server.faults[Operation.GET] = delay(0.1)  # both have planned by then
    outcomes = await asyncio.gather(
        *(each.remove(row) for each, row in zip(removing, rows, strict=True)), return_exceptions=True
    )
    assert sorted(map(type, outcomes), key=str) == [type(None), OntapError]
    (error,) = (each for each in outcomes if isinstance(each, OntapError))
    assert error.kind is errors.SOLE_COPY
    assert len(await key_world.servers(manager)) == 1


@on_sqlite
async def test_what_changes_while_a_removal_is_proven(key_world: KeyWorld) -> None:
    """Prove the removal again when the copy elsewhere is no longer what was read, or its proof is too old."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers)
    removing = changer_of(key_world, await key_world.node(), manager)
    key = await removing.node.create(manager)
    key_world.clock.advance(LONG_AGO_S)
    state = await removing.servers.state(CALL, manager)
    removal = Removal(state.key_manager, state.servers[0])
    found = await removing.guard.prove(CALL, removal, removing.servers._context.prover.deadline())

    async def check(findings: RemovalFindings = found) -> bool:
        return await removing.node.store.write(lambda tx: removing.guard.check(tx, removal, findings))

    assert await check()
    assert not await check(RemovalFindings())
    copies = await key_world.copies(key.uuid)
    elsewhere = next(copy for copy in copies if copy.key_server == state.servers[1].uuid)
    lost = replace(elsewhere, presence=Presence.UNKNOWN)
    await key_world.store.write(lambda tx: tx.put_copies([lost], new=False))
    assert not await check()
    await key_world.store.write(lambda tx: tx.put_copies([elsewhere], new=False))
    assert await check()
    key_world.clock.advance(LONG_AGO_S)
    assert not await check()
    await removing.remove(state.servers[0])


# --- a client certificate is renewed ---


async def test_keys_that_come_meanwhile_are_read_as_well(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prove what was committed after the proof before the certificate is taken; read the rest only once."""
    monkeypatch.setattr(key_pages, "PAGE", 2)
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    for number in range(3):
        await changing.node.create(changing.manager, f"key {number}")
    proved = RelocationGuard.prove_certificate_change
    rounds = []

    async def and_create(guard: RelocationGuard, *args: Any) -> bool:
        rounds.append(len(asked(servers[0], Operation.GET)))
        whole = await proved(guard, *args)
        if len(rounds) == 1:
            await changing.node.create(changing.manager, "a late key")
        return whole

    monkeypatch.setattr(RelocationGuard, "prove_certificate_change", and_create)
    await changing.renew()
    assert await changing.certificate() == changing.renewed
    assert len(rounds) == 2
    assert len(asked(servers[0], Operation.GET)) - rounds[1] == 1 + 1  # the canary and the late key


@on_sqlite
async def test_a_server_dies_after_its_canary(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Refuse with 66060341: it is not the certificate's fault."""
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    await changing.node.create(changing.manager)
    after_proof(RelocationGuard, "_check_canaries", partial(servers[0].__aexit__, None, None, None))
    error = await changing.renewal_refused()
    assert (error.kind, error.target) == (errors.NETWORK, "external.client_certificate")


@on_sqlite
async def test_a_server_moves_while_its_keys_are_read(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Read the keys again, where the server is then."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0], name="somebody else")
    key = await changing.node.create(changing.manager)
    restore_from(*servers)
    servers[1].responder.profile = replace(PLAIN, others_objects=ResultReason.PERMISSION_DENIED)
    (row,) = await key_world.servers(changing.manager)
    canary = (await key_world.topology(changing.manager)).profiles[row.uuid].canary

    async def move() -> None:
        await changing.modify(row, port=servers[1].port)
        for id_ in canary:
            servers[1].responder.objects[id_].owner = "somebody else"  # which then sees that, and not the key

    after_proof(RelocationGuard, "prove_certificate_change", move)
    assert (await changing.renewal_refused()).arguments[2:] == (("reason", "permission_denied"),)
    assert await changing.fetch(key)


def hide(server: KmipServer, id_: str, name: str) -> None:
    """Have a server hide this object, and nothing else, from the client of this name from now on."""
    respond = server.responder.respond

    def answer(request: RequestMessage, client: str | None = None) -> ResponseMessage:
        ids = {getattr(item.request_payload, "unique_identifier", None) for item in request.batch_item}
        if client != name or id_ not in ids:
            return respond(request, client)
        server.responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
        try:
            return respond(request, client)
        finally:
            del server.responder.refusals[Operation.GET]

    server.responder.respond = answer  # type: ignore[method-assign]


@on_sqlite
async def test_a_server_moves_away_and_back(key_world: KeyWorld, after_proof: AfterProof) -> None:
    """Count nothing that was read where the server was in between."""
    a, moved = await key_world.start(2)
    changing = await changer(key_world, a, name="renewed")
    (row,) = await key_world.servers(changing.manager)
    key = await changing.node.create(changing.manager)
    restore_from(a, moved)
    hide(a, await identifier(changing, key, 0), "renewed")

    async def move_back() -> None:
        (there,) = await key_world.servers(changing.manager)
        assert there != row
        await changing.modify(there, port=a.port)

    after_proof(RelocationGuard, "_check_canaries", partial(changing.modify, row, port=moved.port))
    after_proof(RelocationGuard, "prove_certificate_change", move_back)
    assert (await changing.renewal_refused()).arguments[2:] == (("reason", "permission_denied"),)
    assert await key_world.servers(changing.manager) == (row,)
    assert not await changing.lost(key)


@on_sqlite
async def test_a_key_that_was_committed_long_after_it_was_read_back(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Read a key although its proof is older than the certificate's: its process was held up in between."""
    (a,) = await key_world.start(1)
    changing = await changer(key_world, a)
    await changing.node.create(changing.manager, "an old key")
    wake, asleep = asyncio.Event(), asyncio.Event()
    write, prove = AttemptCopies.write, RelocationGuard.prove_certificate_change

    async def and_sleep(*args: Any) -> None:
        await write(*args)
        asleep.set()
        await wake.wait()

    async def and_wake(*args: Any) -> bool:
        whole = await prove(*args)
        if not wake.is_set():
            wake.set()
            late = await creating
            a.responder.store.forget(await identifier(changing, late, 0))  # as if that were hidden from it
        return whole

    monkeypatch.setattr(AttemptCopies, "write", and_sleep)
    creating = asyncio.create_task(changing.node.create(changing.manager, "a late key"))
    await asleep.wait()
    key_world.clock.advance(100)
    monkeypatch.setattr(RelocationGuard, "prove_certificate_change", and_wake)
    assert (await changing.renewal_refused()).arguments[2:] == (("reason", "item_not_found"),)

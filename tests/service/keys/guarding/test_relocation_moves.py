"""Servers that move, lose addresses, or are somebody else: keys are readable as before, or nothing changes."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import Presence, Purpose
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.server import first
from keystead.kmip.testing.server import held as answered_after
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys.guarding.relocation import RelocationGuard
from keystead.service.keys.guarding.removal import RemovalGuard
from keystead.service.keys.keeping.settle import AttemptSettlement
from tests.service.worlds.changing import changer, identifier
from tests.service.worlds.keepers import Keeping, retire_and_wait
from tests.service.worlds.keys import SECONDARY, KeyWorld, full, on_sqlite, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from keystead.core.keys.guarding import Relocation
    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction
    from tests.service.worlds.changing import Changer


async def test_a_server_moves_when_its_canary_is_there(key_world: KeyWorld) -> None:
    """The same objects behind another port."""
    servers = await key_world.start(1)
    (moved,) = await key_world.start(1, [servers[0].responder])
    changing = await changer(key_world, servers[0])
    await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    before = await key_world.topology(changing.manager)
    after = await changing.modify(row, port=moved.port)
    assert after.address == ServerAddress("127.0.0.1", moved.port)
    assert (await key_world.topology(changing.manager)).profiles == before.profiles  # it is the same server


@on_sqlite
async def test_a_server_of_which_nothing_is_known_stays(key_world: KeyWorld) -> None:
    """It has keys, and no canary that it could be told by."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    await key_world.store.write(lambda tx: tx.delete_profile(row.uuid))
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.target) == (errors.NETWORK, "server")
    assert error.arguments[2:] == (("reason", "canary_not_seen"),)


@on_sqlite
@pytest.mark.parametrize("presence", [Presence.UNKNOWN, Presence.SENT])
async def test_a_server_that_may_have_a_key_shows_its_canary(key_world: KeyWorld, presence: Presence) -> None:
    """Nobody knows what came of a Register there."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    copies = [replace(copy, presence=presence) for copy in await key_world.copies(key.uuid)]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK


@on_sqlite
async def test_a_server_that_was_restored_elsewhere(key_world: KeyWorld) -> None:
    """It has its canary there, and not the key that came later: refused while no other domain has that."""
    servers = await key_world.start(3)
    changing = await changer(key_world, servers[0], servers[1])
    moved = servers[2]
    for id_, stored in servers[0].responder.objects.items():
        moved.responder.store.put(id_, stored)
    key = await changing.node.create(changing.manager)
    row, other = await key_world.servers(changing.manager)
    copies = {copy.key_server: copy for copy in await key_world.copies(key.uuid)}
    missing = replace(copies[other.uuid], presence=Presence.MISSING)
    await key_world.store.write(lambda tx: tx.put_copies([missing], new=False))
    error = await changing.change_refused(row, port=moved.port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    assert (await changing.modify(row, timeout=7)).timeout == 7
    await key_world.store.write(lambda tx: tx.put_copies([copies[other.uuid]], new=False))
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port


@on_sqlite
async def test_a_key_that_comes_to_a_server_while_it_moves(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had nothing when it was asked: it is asked again."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    (row,) = await key_world.servers(changing.manager)
    proved = RelocationGuard.prove_moved
    rounds: list[Relocation | None] = []

    async def and_create(*args: Any) -> Relocation | None:
        rounds.append(await proved(*args))
        await changing.node.create(changing.manager)
        return rounds[-1]

    monkeypatch.setattr(RelocationGuard, "prove_moved", and_create)
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK
    assert rounds == [None]


@on_sqlite
async def test_another_server_is_not_taken_for_it(key_world: KeyWorld) -> None:
    """Another port, or a secondary, that has not what it has: 66060341, as long as keys are there."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    (row,) = await key_world.servers(changing.manager)
    stranger = await key_world.start_secondary(servers[0], servers[1].responder)
    key = await changing.node.create(changing.manager)
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.target) == (errors.NETWORK, "server")
    assert error.arguments == (
        ("server", f"127.0.0.1:{servers[1].port}"), ("stage", "keys"), ("reason", "canary_not_seen"),
    )  # fmt: skip
    error = await changing.change_refused(row, secondary_key_servers=(SECONDARY,))
    assert error.arguments[0] == ("server", f"[{SECONDARY}]:{stranger.port}")
    copies = [
        replace(copy, unique_identifiers=(), presence=Presence.MISSING) for copy in await key_world.copies(key.uuid)
    ]
    await key_world.store.write(lambda tx: tx.put_copies(copies, new=False))
    assert (await changing.modify(row, port=servers[1].port)).address.port == servers[1].port


@on_sqlite
async def test_a_secondary_with_the_only_copy_stays(key_world: KeyWorld) -> None:
    """It took the key when its primary was away: it goes when the primary has it, too."""
    servers = await key_world.start(1)
    await key_world.start_secondary(servers[0])
    changing = await changer(key_world, servers[0], secondary_key_servers=(SECONDARY,))
    (row,) = await key_world.servers(changing.manager)
    key = await changing.node.create(changing.manager)
    copy = await key_world.only_on_secondary(key.uuid)
    error = await changing.change_refused(row, secondary_key_servers=())
    assert (error.kind, error.arguments[:2]) == (errors.SOLE_COPY, (("keys", "1"), ("key_id", key.key_id)))
    await key_world.store.write(lambda tx: tx.put_copies([copy], new=False))
    assert (await changing.modify(row, secondary_key_servers=())).secondary_key_servers == ()


# --- what was proven stays behind where it was proven ---


def restored(old: KmipServer, new: KmipServer) -> None:
    """The new server has what the old one has now: it was restored from a backup that was just made."""
    for id_, stored in old.responder.objects.items():
        new.responder.store.put(id_, stored.copy())


@on_sqlite
async def test_no_server_moves_on_what_another_had_before_it_moved(key_world: KeyWorld) -> None:
    """Both were restored elsewhere, from backups without the key: one of them may move there."""
    servers = await key_world.start(4)
    changing = await changer(key_world, *servers[:2])
    restored(servers[0], servers[2])
    restored(servers[1], servers[3])
    key = await changing.node.create(changing.manager)
    one, other = await key_world.servers(changing.manager)
    await changing.modify(one, port=servers[2].port)
    assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
    error = await changing.change_refused(other, port=servers[3].port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    assert (await changing.removal_refused(other)).kind is errors.SOLE_COPY
    assert await changing.fetch(key)
    kept = Keeping(key_world, changing.node, changing.manager)
    await kept.settle()
    await kept.sweep(0)
    assert await key_world.presences(key.uuid) == [Presence.MISSING, Presence.PRESENT]
    assert (await kept.fill()).copied == 1
    await changing.modify(other, port=servers[3].port)


async def test_what_a_server_has_shown_where_it_moved_is_present(key_world: KeyWorld) -> None:
    """Of the keys that no other server has; the rest is found out by the next round."""
    servers = await key_world.start(2)
    (moved,) = await key_world.start(1, [servers[0].responder])
    changing = await changer(key_world, *servers)
    both = await changing.node.create(changing.manager, "on both")
    sole = await changing.node.create(changing.manager, "on the one that moves")
    row = (await key_world.servers(changing.manager))[0]
    lost = replace((await key_world.copies(sole.uuid))[1], presence=Presence.MISSING, unique_identifiers=())
    await key_world.store.write(lambda tx: tx.put_copies([lost], new=False))
    await changing.modify(row, port=moved.port)
    assert await key_world.presences(sole.uuid) == [Presence.PRESENT, Presence.MISSING]
    assert await key_world.presences(both.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
    await Keeping(key_world, changing.node, changing.manager).settle()
    assert await key_world.presences(both.uuid) == [Presence.PRESENT, Presence.PRESENT]


@on_sqlite
async def test_the_other_server_is_removed_while_one_moves(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had the key when the move was proved: it is proved again."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restored(servers[1], servers[2])
    key = await changing.node.create(changing.manager)
    one, other = await key_world.servers(changing.manager)
    proved = RelocationGuard.prove_moved
    removals = [one]

    async def and_remove(*args: Any) -> Relocation | None:
        shown = await proved(*args)
        while removals:
            await changing.remove(removals.pop())
        return shown

    monkeypatch.setattr(RelocationGuard, "prove_moved", and_remove)
    with pytest.raises(OntapError) as raised:
        await changing.modify(other, port=servers[2].port)
    assert (raised.value.kind, raised.value.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    assert await key_world.servers(changing.manager) == (other,)
    assert await changing.fetch(key)


@on_sqlite
async def test_a_server_moves_while_the_other_one_is_removed(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key was read on it where it was: that does not count any more."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restored(servers[1], servers[2])
    key = await changing.node.create(changing.manager)
    key_world.clock.advance(3600)
    one, other = await key_world.servers(changing.manager)
    proved = RemovalGuard.prove

    async def and_move(*args: Any) -> Any:
        found = await proved(*args)
        monkeypatch.undo()
        await changing.modify(other, port=servers[2].port)
        return found

    monkeypatch.setattr(RemovalGuard, "prove", and_move)
    with pytest.raises(OntapError) as raised:
        await changing.remove(one)
    assert raised.value.kind is errors.SOLE_COPY
    assert await changing.fetch(key)


@on_sqlite
async def test_a_key_that_comes_to_the_old_place_while_a_server_moves(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is asked for at the new one, too."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    await changing.node.create(changing.manager, "an old key")
    restored(servers[0], servers[1])
    (row,) = await key_world.servers(changing.manager)
    proved = RelocationGuard.prove_moved
    late: list[Key] = []

    async def and_create(*args: Any) -> Relocation | None:
        shown = await proved(*args)
        if not late:
            late.append(await changing.node.create(changing.manager, "a late key"))
        return shown

    monkeypatch.setattr(RelocationGuard, "prove_moved", and_create)
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    assert await changing.fetch(late[0])


# --- what was not there at the last look ---


async def doubt(world: KeyWorld, key: Key, presence: Presence) -> None:
    """The last look at a key's copies found them so, wrongly."""
    copies = [replace(copy, presence=presence) for copy in await world.copies(key.uuid)]
    await world.store.write(lambda tx: tx.put_copies(copies, new=False))


@on_sqlite
@pytest.mark.parametrize("presence", [Presence.MISSING, Presence.DIFFERENT])
async def test_a_server_is_asked_once_more_before_it_goes(key_world: KeyWorld, presence: Presence) -> None:
    """It had one bad moment, and has the key: it stays. One that has lost it may go; one that is silent may not."""
    servers = await key_world.start(2)
    changing = await changer(key_world, *servers)
    key = await changing.node.create(changing.manager)
    one, other = await key_world.servers(changing.manager)
    await doubt(key_world, key, presence)
    assert (await changing.removal_refused(one)).kind is errors.SOLE_COPY
    servers[0].responder.store.forget(await identifier(changing, key, 0))
    await changing.remove(one)
    await servers[1].__aexit__(None, None, None)
    assert (await changing.removal_refused(other)).kind is errors.SOLE_COPY


@on_sqlite
async def test_a_secondary_is_asked_once_more_before_it_goes(key_world: KeyWorld) -> None:
    """As a server is."""
    servers = await key_world.start(1)
    await key_world.start_secondary(servers[0])
    changing = await changer(key_world, servers[0], secondary_key_servers=(SECONDARY,))
    (row,) = await key_world.servers(changing.manager)
    key = await changing.node.create(changing.manager)
    copy = await key_world.only_on_secondary(key.uuid, Presence.DIFFERENT)
    assert (await changing.change_refused(row, secondary_key_servers=())).kind is errors.SOLE_COPY
    servers[0].responder.store.rot(copy.unique_identifiers[0])
    assert (await changing.modify(row, secondary_key_servers=())).secondary_key_servers == ()


@on_sqlite
@pytest.mark.parametrize("presence", [Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN])
async def test_what_was_not_there_is_asked_for_where_a_server_moves(key_world: KeyWorld, presence: Presence) -> None:
    """The key can be read at the old place, and so must be at the new one. If it can be at neither, it was lost."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    restored(servers[0], servers[1])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    await doubt(key_world, key, presence)
    error = await changing.change_refused(row, port=servers[1].port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    servers[0].responder.store.forget(await identifier(changing, key, 0))
    assert (await changing.modify(row, port=servers[1].port)).address.port == servers[1].port


@on_sqlite
async def test_a_server_moves_without_a_deleted_key(key_world: KeyWorld) -> None:
    """Once that cannot be recovered, it need not be where the server is going to be."""
    a, moved = await key_world.start(2)
    changing = await changer(key_world, a)
    restored(a, moved)
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    kept = Keeping(key_world, changing.node, changing.manager)
    await retire_and_wait(kept, key)
    error = await changing.change_refused(row, port=moved.port)
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
    async with kept.lease() as held:
        await kept.destroying.end(held, changing.manager, set())  # its purge waits for a fence
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port


@on_sqlite
async def test_what_cannot_be_asked_for_as_before(key_world: KeyWorld) -> None:
    """A copy in doubt on a secondary that comes with the move: nobody can say that it was lost."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    restored(servers[0], servers[1])
    await key_world.start_secondary(servers[1])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    await key_world.only_on_secondary(key.uuid, Presence.DIFFERENT)
    error = await changing.change_refused(row, port=servers[1].port, secondary_key_servers=(SECONDARY,))
    assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))


@on_sqlite
async def test_what_was_seen_at_the_old_place_is_not_stored(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look was under way when the server moved: it says nothing of the new place."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restored(servers[0], servers[2])
    kept = Keeping(key_world, changing.node, changing.manager)
    key = await changing.node.create(changing.manager)
    row, _ = await key_world.servers(changing.manager)
    copy = (await key_world.copies(key.uuid))[0]
    await key_world.store.write(lambda tx: tx.put_copies([replace(copy, presence=Presence.UNKNOWN)], new=False))
    settled = AttemptSettlement._settled
    moves = [row]

    async def and_move(*args: Any) -> Any:
        change = await settled(*args)
        while moves:
            await changing.modify(moves.pop(), port=servers[2].port)
        return change

    monkeypatch.setattr(AttemptSettlement, "_settled", and_move)
    await kept.settle()
    assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]


@asynccontextmanager
async def routed(name: str, there: KmipServer, other: KmipServer) -> AsyncIterator[int]:
    """The port of a router by SNI, as load balancers are: this name leads there, any other one to the other server."""

    async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
        sink.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = await reader.read(65536)
        port = there.port if name.encode() in hello else other.port
        up, down = await asyncio.open_connection("127.0.0.1", port)
        down.write(hello)
        await asyncio.gather(pump(reader, down), pump(up, writer))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


@on_sqlite
async def test_another_name_is_another_place(key_world: KeyWorld) -> None:
    """Behind one address it leads to a server that was restored without the key: nobody relies on that."""
    a, b, elsewhere, moved = await key_world.start(4)
    async with routed("localhost", elsewhere, a) as port:
        changing = await changer(key_world, f"127.0.0.1:{port}", b)
        restored(a, elsewhere)
        restored(b, moved)
        key = await changing.node.create(changing.manager)
        one, other = await key_world.servers(changing.manager)
        await changing.modify(one, tls_server_name="localhost")
        assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
        key_world.clock.advance(600)
        error = await changing.change_refused(other, port=moved.port)
        assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
        assert not await changing.lost(key)
        error = await changing.change_refused(other, tls_server_name="127.0.0.1", port=moved.port)
        assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))


@on_sqlite
async def test_the_name_that_is_used_anyway_is_the_same_place(key_world: KeyWorld) -> None:
    """To say the host's own, or to say it no more, changes nothing: what was proven counts."""
    a, b = await key_world.start(2)
    changing = await changer(key_world, a, b)
    key = await changing.node.create(changing.manager)
    one, other = await key_world.servers(changing.manager)
    for name in ("127.0.0.1", ""):
        assert (await changing.modify(one, tls_server_name=name)).tls_server_name == name
        assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]
    await changing.remove(other)


@on_sqlite
async def test_another_server_is_asked_at_each_of_its_addresses(key_world: KeyWorld) -> None:
    """Its secondary, which alone has its copy, is dead: that its primary shows the canary says nothing of it."""
    a, b, moved = await key_world.start(3)
    second = await key_world.start_secondary(b, Responder())
    changing = await changer(key_world, a, b, each={1: {"secondary_key_servers": (SECONDARY,)}})
    restored(a, moved)
    restored(b, second)  # from now on they do not replicate
    await b.__aexit__(None, None, None)  # away while the key is made
    key = await (await key_world.node(grace_s=20)).create(changing.manager)
    places = [(copy.host, copy.presence) for copy in await key_world.copies(key.uuid)]
    assert places == [("", Presence.PRESENT), ("", Presence.MISSING), (SECONDARY, Presence.PRESENT)]
    async with b:
        one, _ = await key_world.servers(changing.manager)
        await second.__aexit__(None, None, None)
        await asyncio.sleep(1.5)  # b's circuit closes
        error = await changing.change_refused(one, port=moved.port)
        assert (error.kind, error.arguments[2:]) == (errors.NETWORK, (("reason", "item_not_found"),))
        async with second:
            await asyncio.sleep(1.5)
            assert (await changing.modify(one, port=moved.port)).address.port == moved.port
            assert not await changing.lost(key)


@on_sqlite
async def test_a_copy_on_a_former_secondary_that_was_just_read(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A late key has the move look again: what stands at no address of the server is not asked for at any."""
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
    proved = RelocationGuard.prove_moved
    late: list[Key] = []

    async def and_create(*args: Any) -> Relocation | None:
        shown = await proved(*args)
        if not late:
            full(b)
            late.append(await changing.node.create(changing.manager, "a late key, on a alone"))
        return shown

    monkeypatch.setattr(RelocationGuard, "prove_moved", and_create)
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    assert not await changing.lost(late[0])


@on_sqlite
async def test_a_late_key_that_another_server_has(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It need not be where the server moves, as little as older ones."""
    a, b, moved = await key_world.start(3)
    changing = await changer(key_world, a, b, min_copies=1)
    restored(a, moved)
    row = (await key_world.servers(changing.manager))[0]
    await changing.node.create(changing.manager, "an old key")
    proved = RelocationGuard.prove_moved
    late: list[Key] = []

    async def and_create(*args: Any) -> Relocation | None:
        shown = await proved(*args)
        if not late:
            late.append(await changing.node.create(changing.manager, "on both"))
            full(b)
            late.append(await changing.node.create(changing.manager, "on a alone"))
            id_ = await identifier(changing, late[1], 0)
            moved.responder.store.put(id_, a.responder.objects[id_].copy())
        return shown

    monkeypatch.setattr(RelocationGuard, "prove_moved", and_create)
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    assert [await changing.lost(key) for key in late] == [False, False]


# --- what others do meanwhile ---


async def test_a_key_is_created_while_a_server_moves(key_world: KeyWorld) -> None:
    """It was written to the old place: that is stored, and not relied on."""
    servers = await key_world.start(4)
    changing = await changer(key_world, *servers[:2], min_copies=1)
    restored(servers[0], servers[2])
    restored(servers[1], servers[3])
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
    """Keys are created all the time, on this server alone: they are caught up with."""
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


@on_sqlite
async def test_another_server_that_was_proven_long_ago(key_world: KeyWorld) -> None:
    """It is dead: nothing relies on it."""
    servers = await key_world.start(3)
    changing = await changer(key_world, *servers[:2])
    restored(servers[0], servers[2])
    key = await changing.node.create(changing.manager)
    row = (await key_world.servers(changing.manager))[0]
    await servers[1].__aexit__(None, None, None)
    assert (await changing.change_refused(row, port=servers[2].port)).kind is errors.NETWORK
    assert await changing.fetch(key)


# --- who says that a copy is lost ---


@on_sqlite
@pytest.mark.parametrize("reason", [ResultReason.PERMISSION_DENIED, ResultReason.GENERAL_FAILURE, None])
async def test_what_a_server_hides_is_not_lost(key_world: KeyWorld, reason: ResultReason | None) -> None:
    """It refuses to show the key, or shows nothing at all, its canary neither."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    restored(servers[0], servers[1])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    await doubt(key_world, key, Presence.MISSING)
    servers[0].responder.refusals[Operation.GET] = reason or ResultReason.ITEM_NOT_FOUND
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK


@on_sqlite
async def test_a_lost_key_does_not_hold_a_server_at_a_dead_address(key_world: KeyWorld) -> None:
    """Nobody is there who could be asked, and the others are where it is now."""
    servers = await key_world.start(1)
    (moved,) = await key_world.start(1, [servers[0].responder])
    changing = await changer(key_world, servers[0])
    key = await changing.node.create(changing.manager, "a key")
    lost = await changing.node.create(changing.manager, "a lost key")
    (row,) = await key_world.servers(changing.manager)
    servers[0].responder.store.forget(await identifier(changing, lost, 0))
    await doubt(key_world, lost, Presence.MISSING)
    await servers[0].__aexit__(None, None, None)
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    assert await changing.fetch(key)


@on_sqlite
async def test_one_copy_that_was_read_is_enough(key_world: KeyWorld) -> None:
    """What else of the key was in doubt there need not be asked for."""
    servers = await key_world.start(1)
    (moved,) = await key_world.start(1, [servers[0].responder])
    changing = await changer(key_world, servers[0])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    (copy,) = await key_world.copies(key.uuid)
    (attempt,) = await key_world.attempts(key.uuid)
    old = replace(copy, attempt=2, presence=Presence.DIFFERENT, unique_identifiers=("gone",))

    def in_doubt(tx: Transaction) -> None:
        tx.add_attempt(replace(attempt, number=2, token="another", purpose=Purpose.COPY))
        tx.put_copies([old], new=True)
        tx.put_copies([replace(copy, presence=Presence.UNKNOWN)], new=False)

    await key_world.store.write(in_doubt)
    await servers[0].__aexit__(None, None, None)
    assert (await changing.modify(row, port=moved.port)).address.port == moved.port
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.DIFFERENT]


@on_sqlite
async def test_a_look_as_somebody_else_is_not_stored(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was under way when the client certificate was renewed, or the user was changed."""
    servers = await key_world.start(2)
    changing = await changer(key_world, *servers)
    kept = Keeping(key_world, changing.node, changing.manager)
    key = await changing.node.create(changing.manager)
    row = (await key_world.servers(changing.manager))[0]
    copy = (await key_world.copies(key.uuid))[0]
    await key_world.store.write(lambda tx: tx.put_copies([replace(copy, presence=Presence.UNKNOWN)], new=False))
    settled = AttemptSettlement._settled
    as_user = partial(changing.modify, row, username="somebody", password=Secret("a password"))
    changes: list[Callable[[], Awaitable[object]]] = [changing.renew, as_user]

    async def and_change(*args: Any) -> Any:
        change = await settled(*args)
        await changes.pop()()
        return change

    monkeypatch.setattr(AttemptSettlement, "_settled", and_change)
    for _ in range(2):
        await kept.settle()
        assert await key_world.presences(key.uuid) == [Presence.UNKNOWN, Presence.PRESENT]
    monkeypatch.undo()
    await kept.settle()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT, Presence.PRESENT]


@on_sqlite
async def test_a_server_that_has_numbered_its_objects_anew_has_lost_none(key_world: KeyWorld) -> None:
    """Under the identifiers that are known it has nothing, its canary neither: the next look finds them by name."""
    servers = await key_world.start(2)
    changing = await changer(key_world, servers[0])
    restored(servers[0], servers[1])
    key = await changing.node.create(changing.manager)
    (row,) = await key_world.servers(changing.manager)
    for id_, stored in tuple(servers[0].responder.objects.items()):
        servers[0].responder.store.forget(id_)
        servers[0].responder.store.put(f"another {id_}", stored)
    await doubt(key_world, key, Presence.MISSING)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    assert (await changing.change_refused(row, port=servers[1].port)).kind is errors.NETWORK
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert await key_world.presences(key.uuid) == [Presence.PRESENT]


def renumbered(old: KmipServer, new: KmipServer) -> None:
    """From now on the new server has what the old one has, and nothing else, under other identifiers."""
    objects = dict(old.responder.objects)
    new.responder.store.forget_all()
    for id_, stored in objects.items():
        new.responder.store.put(f"another {id_}", stored.copy())


async def round_of(kept: Keeping) -> None:
    """A round of the keeper, some time later, in which all is looked at."""
    kept.world.clock.advance(3601)
    servers = [server.uuid for server in await kept.world.servers(kept.manager)]
    async with kept.lease() as holding:
        await kept.rounds.keep(holding, kept.manager, servers, changed=True)


@on_sqlite
@pytest.mark.parametrize("in_place", [False, True])
async def test_a_server_that_has_numbered_its_objects_anew_is_kept_as_before(
    key_world: KeyWorld, in_place: bool
) -> None:
    """Its canary is seen again: what it loses from then on is missing, and is written again, and others rely on it."""
    a, b, moved, elsewhere = await key_world.start(4)
    changing = await changer(key_world, a, b)
    keys = [await changing.node.create(changing.manager, f"key {number}") for number in range(2)]
    one, other = await key_world.servers(changing.manager)
    there = a if in_place else moved
    renumbered(a, there)
    if not in_place:
        await changing.modify(one, port=moved.port)
    kept = Keeping(key_world, changing.node, changing.manager)
    await round_of(kept)
    assert await key_world.presences(keys[0].uuid) == [Presence.PRESENT, Presence.PRESENT]
    canary = (await key_world.topology(changing.manager)).profiles[one.uuid].canary
    assert all(id_.startswith("another ") for id_ in canary)
    restored(b, elsewhere)
    elsewhere.responder.store.forget(await identifier(changing, keys[1], 1))
    await changing.modify(other, port=elsewhere.port)  # the first server has the key
    there.responder.store.forget(await identifier(changing, keys[0], 0))
    await round_of(kept)
    assert await key_world.presences(keys[0].uuid) == [Presence.MISSING, Presence.PRESENT, Presence.PRESENT]
    await elsewhere.__aexit__(None, None, None)
    for key in keys:
        assert not await is_lost(changing, key)


# --- what a secondary was given, and its primary has ---


async def stood_in(world: KeyWorld, a: KmipServer, *others: KmipServer) -> tuple[Changer, Key, KmipServer]:
    """A key that came to A's secondary while A's primary was away; that has it, too, now that it is back."""
    secondary = await world.start_secondary(a)  # one store: they replicate
    changing = await changer(world, a, *others, each={0: {"secondary_key_servers": (SECONDARY,)}})
    await a.__aexit__(None, None, None)
    node = await world.node(grace_s=20)
    key = await node.create(changing.manager)
    await a.__aenter__()
    assert await places_of(world, key) == [("", Presence.MISSING), (SECONDARY, Presence.PRESENT)]
    return changing, key, secondary


async def places_of(world: KeyWorld, key: Key) -> list[tuple[str, Presence]]:
    """The hosts and presences of a key's copies on the first server."""
    copies = await world.copies(key.uuid)
    return [(copy.host, copy.presence) for copy in copies if copy.key_server == copies[0].key_server]


async def is_lost(changing: Changer, key: Key) -> bool:
    """Whether no configured server gives a key."""
    try:
        await changing.fetch(key)
    except OntapError:
        return True
    return False


@on_sqlite
async def test_a_server_must_have_what_its_former_secondary_was_given(key_world: KeyWorld) -> None:
    """A sweep has read it on the primary, which alone has it: it moves to no backup without it."""
    a, b, moved = await key_world.start(3)
    changing, key, _ = await stood_in(key_world, a, b)
    (row, _) = await key_world.servers(changing.manager)
    await changing.modify(row, secondary_key_servers=())  # B has the key
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert await places_of(key_world, key) == [("", Presence.PRESENT), (SECONDARY, Presence.PRESENT)]
    restored(a, moved)
    moved.responder.store.forget((await key_world.copies(key.uuid))[0].unique_identifiers[0])
    await b.__aexit__(None, None, None)  # for good
    (row, _) = await key_world.servers(changing.manager)
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    assert (await changing.change_refused(row, port=moved.port)).kind is errors.NETWORK
    assert not await is_lost(changing, key)


@on_sqlite
async def test_what_a_former_secondary_was_given_lets_the_other_server_go(key_world: KeyWorld) -> None:
    """The primary has it, as a sweep has found: nothing is written, and the other server is not needed."""
    a, b = await key_world.start(2)
    changing, key, _ = await stood_in(key_world, a, b)
    (row, _) = await key_world.servers(changing.manager)
    await changing.modify(row, secondary_key_servers=())
    kept = Keeping(key_world, changing.node, changing.manager)
    await kept.sweep()
    assert (await kept.replicate()).message == "0 copies written"
    await changing.remove((await key_world.servers(changing.manager))[1])
    assert not await is_lost(changing, key)


@on_sqlite
async def test_a_dead_secondary_goes_whose_primary_has_all_that_it_had(key_world: KeyWorld) -> None:
    """One sweep finds that, though the secondary fails in it; from then on nothing is known of that one's copy."""
    (primary,) = await key_world.start(1)
    changing, key, secondary = await stood_in(key_world, primary)
    (row,) = await key_world.servers(changing.manager)
    (_, before) = await key_world.copies(key.uuid)
    await secondary.__aexit__(None, None, None)
    key_world.clock.advance(3600)
    assert await Keeping(key_world, changing.node, changing.manager).sweep() is not None
    (there, on_secondary) = await key_world.copies(key.uuid)
    assert (there.presence, there.unique_identifiers) == (Presence.PRESENT, before.unique_identifiers)
    assert there.proven is not None
    assert there.proven > key_world.clock.now() - timedelta(minutes=1)
    assert on_secondary == before
    assert (await changing.renewal_refused()).kind is errors.NETWORK  # while it is configured it is asked
    await changing.modify(row, secondary_key_servers=())
    await changing.renew()
    assert not await is_lost(changing, key)


@on_sqlite
async def test_a_secondary_stays_that_has_what_its_primary_has_not(key_world: KeyWorld) -> None:
    """They have not replicated: that the secondary is away lets nobody take its copy."""
    (primary,) = await key_world.start(1)
    changing, key, secondary = await stood_in(key_world, primary)
    (row,) = await key_world.servers(changing.manager)
    (_, copy) = await key_world.copies(key.uuid)
    primary.responder.store.forget(copy.unique_identifiers[0])
    await secondary.__aexit__(None, None, None)
    await Keeping(key_world, changing.node, changing.manager).sweep()
    assert await places_of(key_world, key) == [("", Presence.MISSING), (SECONDARY, Presence.UNKNOWN)]
    assert (await changing.change_refused(row, secondary_key_servers=())).kind is errors.SOLE_COPY


@on_sqlite
async def test_a_server_must_have_what_its_secondary_was_given_that_was_just_dropped(key_world: KeyWorld) -> None:
    """No sweep has been since: it is asked for on the primary, as a sweep would."""
    a, b, moved = await key_world.start(3)
    changing, key, _ = await stood_in(key_world, a, b)
    (row, _) = await key_world.servers(changing.manager)
    (_, copy, _) = await key_world.copies(key.uuid)
    await changing.modify(row, secondary_key_servers=())  # B has the key
    restored(a, moved)
    stored = moved.responder.objects[copy.unique_identifiers[0]]
    moved.responder.store.forget(copy.unique_identifiers[0])
    await b.__aexit__(None, None, None)  # for good
    (row, _) = await key_world.servers(changing.manager)
    assert (await changing.change_refused(row, port=moved.port)).kind is errors.NETWORK
    moved.responder.store.put(copy.unique_identifiers[0], stored)
    await changing.modify(row, port=moved.port)
    assert not await is_lost(changing, key)

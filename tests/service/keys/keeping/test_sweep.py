"""Sweeps, which decide what is missing, and repairs, which write what is lacking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.jobs import JobOutcome
from keystead.core.keys.model import KeyForm, KeyState, KeyType, Presence, Purpose
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.kmip.server.responder import cluster
from keystead.kmip.testing.server import close
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.cluster.leases import LeaseLost
from keystead.service.keys.keeping import sweep as key_keeping
from keystead.service.keys.keeping.backoff import FIRST_S
from keystead.service.keys.keeping.replicate_now import KeyReplicator
from keystead.service.keys.keeping.sweep import CopySweep
from tests.service.worlds.changing import changer_of
from tests.service.worlds.keepers import PAIRS, Keeping, again, keeping, of_kind
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, asked, full, held
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.errors import OntapError
    from keystead.core.keys.model import Key
    from keystead.core.model import KeyServer
    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction
    from tests.peers.groups import Group

PRESENT, MISSING, DIFFERENT, UNKNOWN = Presence.PRESENT, Presence.MISSING, Presence.DIFFERENT, Presence.UNKNOWN


async def created(kept: Keeping, count: int) -> list[Key]:
    """Create so many keys, in the order of their uuids."""
    keys = [await kept.node.create(kept.manager, f"key {number}") for number in range(count)]
    return sorted(keys, key=lambda key: key.uuid)


async def presences(kept: Keeping, key: Key) -> list[Presence]:
    """Return what is known of a key's copies."""
    return [copy.presence for copy in await kept.world.copies(key.uuid)]


async def lose(kept: Keeping, server: KmipServer, place: int, *keys: Key) -> None:
    """Have a server lose its copies of keys."""
    uuid = (await kept.world.servers(kept.manager))[place].uuid
    for key in keys:
        for copy in await kept.world.copies(key.uuid):
            for uid in copy.unique_identifiers if copy.key_server == uuid else ():
                server.responder.store.forget(uid)


def material(server: KmipServer) -> list[bytes]:
    """Return all that a server holds under names of keys."""
    return sorted(each for name, values in held(server).items() for each in values if "-k" in name)


# --- sweeps ---


async def test_a_sweep_proves_what_is_there(key_world: KeyWorld) -> None:
    """Every copy gets the time of the look; the canary is read first, in the same session; nothing is announced."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    keys = await created(kept, 3)
    before = await key_world.copies(keys[0].uuid)
    key_world.clock.advance(60)
    sweep = await kept.sweep()
    assert sweep is not None
    assert (sweep.proven, sweep.lost) == (3, [])
    first_, second = await key_world.copies(keys[0].uuid)
    assert first_.proven is not None
    assert before[0].proven is not None
    assert first_.proven > before[0].proven
    assert second == before[1]
    assert await kept.events() == []


@on_sqlite
async def test_pairs_are_swept(key_world: KeyWorld) -> None:
    """A key that is two objects is missing when one of them is."""
    servers = await key_world.start(2, [of_kind(PAIRS), of_kind(PAIRS)])
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    await kept.sweep()
    assert await presences(kept, key) == [PRESENT, PRESENT]
    servers[0].responder.store.forget((await key_world.copies(key.uuid))[0].unique_identifiers[1])
    await kept.sweep()
    assert await presences(kept, key) == [MISSING, PRESENT]


async def test_a_copy_that_is_gone_is_missing_and_written_again(key_world: KeyWorld) -> None:
    """By an attempt of its own, from a copy that was proven; the old row stays missing."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    keys = await created(kept, 3)
    await lose(kept, servers[1], 1, keys[1])
    await kept.sweep(1)
    assert [await presences(kept, key) for key in keys] == [3 * [PRESENT], [PRESENT, MISSING, PRESENT], 3 * [PRESENT]]
    ((name, parameters),) = await kept.events()
    assert (name, parameters["count"]) == ("km.key.missing", "1")
    filled = await kept.fill()
    assert (filled.copied, filled.failed, filled.tally.keys, filled.tally.sole) == (1, 0, 3, 0)
    assert await presences(kept, keys[1]) == [PRESENT, MISSING, PRESENT, PRESENT]
    assert [material(server) for server in servers] == 3 * [material(servers[0])]
    assert (await kept.fill()).copied == 0
    await kept.sweep(1)
    assert len(await kept.events()) == 1


async def test_when_too_much_is_missing_nothing_is(key_world: KeyWorld) -> None:
    """More than 5 % at once is the server's fault: an alarm, no copy is written, and each sweep says so again."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    keys = await created(kept, 4)
    await lose(kept, servers[0], 0, *keys[:2])
    sweeps = [await kept.sweep(), await kept.sweep()]
    assert [sweep.stopped for sweep in sweeps if sweep is not None] == [True, True]
    assert [await presences(kept, key) for key in keys] == 2 * [[UNKNOWN, PRESENT]] + 2 * [[PRESENT, PRESENT]]
    await kept.settle()
    filled = await kept.fill()
    assert (filled.copied, filled.tally.sole) == (0, 2)
    assert [await presences(kept, key) for key in keys[:2]] == 2 * [[UNKNOWN, PRESENT]]
    assert [(name, parameters["count"]) for name, parameters in await kept.events()] == 2 * [("km.keys.masslost", "2")]


@on_sqlite
async def test_all_that_a_server_has_lost_is_known(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """If more copies are lost than may go missing at once, all of them become unknown."""
    monkeypatch.setattr("keystead.core.keys.keeping.MAX_MISSING", 1)
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    kept.keeping = CopySweep(replace(kept.context, copies_per_read=2), kept.node.writer)
    keys = await created(kept, 4)
    await lose(kept, servers[0], 0, *keys)
    sweep = await kept.sweep()
    assert sweep is not None
    assert (sweep.gone, sweep.stopped) == (4, True)
    assert [await presences(kept, key) for key in keys] == 4 * [[UNKNOWN, PRESENT]]
    assert [(name, parameters["count"]) for name, parameters in await kept.events()] == [("km.keys.masslost", "4")]
    assert (await kept.fill()).tally.sole == 4


@on_sqlite
async def test_a_server_that_was_wiped_is_removed_and_added_again(key_world: KeyWorld) -> None:
    """That is how an operator says so: it is another server then, and gets all keys."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    await created(kept, 3)
    servers[0].responder.store.forget_all()
    await kept.sweep()
    assert (await kept.fill()).copied == 0
    await changer_of(key_world, kept.node, kept.manager).remove((await key_world.servers(kept.manager))[0])
    await add_server(kept, servers[0], 3)
    assert (await kept.fill()).copied == 3
    assert (await kept.fill()).tally.sole == 0
    assert material(servers[0]) == material(servers[1])
    await kept.sweep(1)
    assert await kept.events() == []


async def test_a_server_without_its_canary_says_nothing(key_world: KeyWorld) -> None:
    """It has lost all, or takes us for another: an alarm, and what was promised of it is not counted on."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    servers[0].responder.store.forget_all()
    await kept.sweep()
    assert await presences(kept, key) == [UNKNOWN, PRESENT]
    await kept.watch()
    assert [name for name, _ in await kept.events()] == ["km.canary.notvisible"]
    filled = await kept.fill()
    assert (filled.copied, filled.tally.sole) == (0, 1)
    assert asked(servers[0]).count("REGISTER") == 2


@on_sqlite
async def test_bytes_that_agree_prove_nothing_without_the_canary(key_world: KeyWorld) -> None:
    """The address may lead to another of our servers: no copy is proven there, and identifiers stay as they are."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    before = await key_world.copies(key.uuid)
    store = servers[0].responder.store
    ((canary,),) = [
        profile.canary
        for server, profile in (await key_world.topology(kept.manager)).profiles.items()
        if server == before[0].key_server
    ]
    hidden = store.objects[canary]
    store.forget(canary)
    await kept.sweep()
    assert await presences(kept, key) == [UNKNOWN, PRESENT]
    assert (await key_world.copies(key.uuid))[0].unique_identifiers == before[0].unique_identifiers
    store.put(canary, hidden)
    await kept.sweep()
    assert await presences(kept, key) == [PRESENT, PRESENT]


@on_sqlite
async def test_what_is_back_counts_again(key_world: KeyWorld) -> None:
    """Copies of a server whose role was changed are unknown, and proven when it is changed back."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    servers[0].responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    await kept.sweep()
    assert await presences(kept, key) == [UNKNOWN, PRESENT]
    servers[0].responder.refusals.clear()
    await kept.sweep()
    assert await presences(kept, key) == [PRESENT, PRESENT]


@on_sqlite
async def test_a_copy_that_rots_is_marked_and_left(key_world: KeyWorld) -> None:
    """Announced once, neither written over nor counted; a server that lies is found out alike."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    servers[0].responder.store.rot((await key_world.copies(key.uuid))[0].unique_identifiers[0])
    rotten = held(servers[0])
    await kept.sweep()
    await kept.sweep()
    assert await presences(kept, key) == [DIFFERENT, PRESENT, PRESENT]
    assert [name for name, _ in await kept.events()] == ["km.key.different"]
    assert (await kept.fill()).copied == 0
    assert held(servers[0]) == rotten
    servers[1].responder.lying = True
    await kept.sweep(1)
    assert await presences(kept, key) == [DIFFERENT, DIFFERENT, PRESENT]
    await kept.watch()
    assert [name for name, _ in await kept.events()] == 2 * ["km.key.different"] + ["km.canary.notvisible"]


@on_sqlite
async def test_a_server_that_breaks_off_decides_nothing(key_world: KeyWorld) -> None:
    """A walk that was not to the end concludes nothing from what it did not see; nor one of what is not there."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    keys = await created(kept, 2)
    await lose(kept, servers[0], 0, keys[0])
    servers[0].request_faults[Operation.GET] = close
    assert await kept.sweep() is None
    assert [await presences(kept, key) for key in keys] == 2 * [[PRESENT, PRESENT]]
    async with kept.lease() as holding:
        assert await kept.keeping.sweep(holding, kept.manager, "gone") is None
        assert await kept.keeping.sweep(holding, "gone", "gone") is None
    assert await kept.events() == []


@on_sqlite
async def test_ended_keys_are_not_swept(key_world: KeyWorld) -> None:
    """Retired ones are: they may be recovered. What aborted attempts left is no copy."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    retired, purging = await created(kept, 2)
    await kept.ending.retire(CALL, kept.manager, retired.key_id)
    await key_world.store.write(lambda tx: tx.change_key(replace(purging, state=KeyState.PURGING), KeyState.COMMITTED))
    sweep = await kept.sweep()
    assert sweep is not None
    assert sweep.proven == 1
    assert (await kept.fill()).tally.keys == 1


@on_sqlite
async def test_retired_keys_are_repaired(key_world: KeyWorld) -> None:
    """One that is recovered has all its copies."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    await kept.ending.retire(CALL, kept.manager, key.key_id)
    await lose(kept, servers[0], 0, key)
    await kept.sweep()
    filled = await kept.fill()
    assert (filled.copied, filled.tally.keys, filled.tally.sole) == (1, 1, 1)
    assert await presences(kept, key) == [MISSING, PRESENT, PRESENT]


async def test_nothing_is_swept_without_the_lease(key_world: KeyWorld) -> None:
    """What a keeper found out that was held up is not stored."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    await lose(kept, servers[0], 0, key)
    another = Keeping(key_world, await key_world.node(), kept.manager)
    (server, _) = await key_world.servers(kept.manager)
    async with kept.lease() as holding:
        key_world.clock.advance(300)
        async with another.lease():
            with pytest.raises(LeaseLost):
                await kept.keeping.sweep(holding, kept.manager, server.uuid)
    assert await presences(kept, key) == [PRESENT, PRESENT]


@on_sqlite
async def test_a_copy_on_a_secondary_is_swept(key_world: KeyWorld) -> None:
    """Through the secondary that it was written to; through the primary once that one is away, or is none any more."""
    (primary, other) = await key_world.start(2)
    secondary = await key_world.start_secondary(primary)
    manager = await key_world.key_manager(primary, other, know=False, each={0: {"secondary_key_servers": (SECONDARY,)}})
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    (key,) = await created(kept, 1)
    (copy, _) = await key_world.copies(key.uuid)
    there = replace(copy, attempt=2, host=SECONDARY)
    (attempt,) = await key_world.attempts(key.uuid)
    second = replace(attempt, number=2, purpose=Purpose.COPY, token="another")

    def store(tx: Transaction) -> None:
        tx.add_attempt(second)
        tx.put_copies([there], new=True)

    await key_world.store.write(store)

    async def proven(at: float) -> bool:
        found = (await key_world.copies(key.uuid))[-1]
        assert (found.host, found.presence) == (SECONDARY, PRESENT)
        return found.proven is not None and found.proven.timestamp() >= at

    began = key_world.clock.monotonic()
    await kept.sweep()
    assert "GET" in asked(secondary)
    assert await proven(began)
    secondary.request_faults[Operation.GET] = close
    for _ in range(5):
        await kept.sweep()
    key_world.clock.advance(1)
    began = key_world.clock.monotonic()
    await kept.sweep()
    assert await proven(began)
    (one, _) = await key_world.servers(manager)
    await key_world.store.write(lambda tx: tx.change_key_server(replace(one, secondary_key_servers=())))
    key_world.clock.advance(1)
    began = key_world.clock.monotonic()
    await kept.sweep()
    assert await proven(began)


@on_sqlite
async def test_what_a_secondary_has_not_replicated_is_not_missing(key_world: KeyWorld) -> None:
    """Its primary has not the key, and stands in for it while it is away: that says nothing, and alarms nobody."""
    (primary,) = await key_world.start(1)
    secondary = await key_world.start_secondary(primary)
    manager = await key_world.key_manager(primary, know=False, secondary_key_servers=(SECONDARY,))
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    (key,) = await created(kept, 1)
    copy = await key_world.only_on_secondary(key.uuid)
    primary.responder.store.forget(copy.unique_identifiers[0])
    await secondary.__aexit__(None, None, None)
    sweep = None
    while sweep is None:  # it counts as away once it has failed a few times
        sweep = await kept.sweep()
    assert (sweep.proven, sweep.gone) == (1, 0)
    assert await presences(kept, key) == [MISSING, UNKNOWN]
    assert await kept.events() == []


# --- repairs ---


async def add_server(kept: Keeping, server: KmipServer, position: int) -> None:
    """Make one more server a primary of the key manager, learned."""
    (one, *_) = await kept.world.servers(kept.manager)
    address = ServerAddress.parse(f"127.0.0.1:{server.port}")
    row: KeyServer = replace(one, uuid=f"another-{position}", position=position, address=address)
    await kept.world.store.write(lambda tx: tx.add_key_servers([row]))
    await kept.learner.ensure(kept.manager)


async def test_a_primary_that_is_added_gets_all_keys(key_world: KeyWorld) -> None:
    """A job writes all keys to added servers and shows its progress; the keys survive the loss of the other servers."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, servers[0])
    filling = CopySweep(replace(kept.context, copies_per_read=2), kept.node.writer)
    kept.replicator = KeyReplicator(kept.context, kept.learner, filling)
    keys = await created(kept, 5)
    assert (await kept.fill()).tally.sole == 5
    await add_server(kept, servers[1], 2)
    await add_server(kept, servers[2], 3)
    said: list[str] = []

    async def progress(text: OntapError) -> None:
        said.append(text.message)

    assert await kept.replicate(progress) == JobOutcome(message="10 copies written")
    assert said == [f"{done} of 5 records complete." for done in (2, 4, 5)]
    assert [await presences(kept, key) for key in keys] == 5 * [3 * [PRESENT]]
    assert [material(server) for server in servers] == 3 * [material(servers[0])]
    filled = await kept.fill()
    assert (filled.copied, filled.tally.sole, filled.tally.unproven) == (0, 0, 0)


@on_sqlite
async def test_two_who_bring_copies_do_not_fail_each_other(key_world: KeyWorld) -> None:
    """The keeper and a job, say: each copy is written by one of them, and a server is not left alone for it."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, servers[0])
    await created(kept, 12)
    await add_server(kept, servers[1], 2)
    both = await asyncio.gather(kept.fill(), kept.fill())
    assert sum(each.copied for each in both) == 12
    assert [(each.failed, each.down) for each in both] == 2 * [(0, {})]
    assert len(material(servers[1])) == 12


@on_sqlite
async def test_a_server_that_takes_no_copy_is_asked_once_in_a_walk(key_world: KeyWorld) -> None:
    """The job fails, the others' copies are written; the next walk tries again."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, servers[0])
    await created(kept, 12)
    await add_server(kept, servers[1], 2)
    await add_server(kept, servers[2], 3)
    servers[1].responder.capacity = len(servers[1].responder.objects)
    outcome = await kept.replicate()
    assert outcome.error is not None
    assert outcome.error.kind is errors.TOO_FEW_COPIES
    address = f"127.0.0.1:{servers[1].port}"
    assert outcome.error.arguments == (("server", address), ("reason", "general_failure"))
    assert asked(servers[1]).count("REGISTER") <= 1 + key_keeping.WRITTEN
    assert len(material(servers[2])) == 12
    servers[1].responder.capacity = None
    key_world.clock.advance(1)
    await again(kept, end=False)
    assert (await kept.fill()).copied == 12


async def with_odd_server(world: KeyWorld, *servers: KmipServer) -> Keeping:
    """Return a key manager of the cluster whose second server takes AES keys only."""
    manager = await world.key_manager(*servers, of_cluster=True, know=False, min_copies=1)
    kept = Keeping(world, await world.node(), manager)
    await kept.learner.ensure(manager)
    odd = (await world.servers(manager))[1].uuid
    profile = (await world.topology(manager)).profiles[odd]
    await world.store.write(lambda tx: tx.put_profile(replace(profile, form=KeyForm.SYMMETRIC_KEY)))
    return kept


@on_sqlite
async def test_keys_that_a_server_cannot_keep_hold_up_no_others(key_world: KeyWorld) -> None:
    """They are not offered to it, and do not fail the job."""
    servers = await key_world.start(2)
    kept = await with_odd_server(key_world, *servers)
    passphrase = Secret(b"a passphrase of 21 by")
    for number in range(key_keeping.WRITTEN):
        await kept.node.create(kept.manager, f"odd {number}", key_type=KeyType.NSE_AK, material=passphrase)
    keys = await created(kept, 4)
    await lose(kept, servers[1], 1, *keys[:1])
    copies = [(await key_world.copies(key.uuid))[1] for key in keys]
    await key_world.store.write(
        lambda tx: tx.put_copies([replace(copy, presence=MISSING) for copy in copies], new=False)
    )
    filled = await kept.fill()
    assert (filled.copied, filled.failed, filled.tally.sole) == (4, 0, 4 + key_keeping.WRITTEN)


@on_sqlite
async def test_a_key_that_a_server_does_not_take_holds_up_others_for_one_walk(key_world: KeyWorld) -> None:
    """The next time the server gets those after it; it is tried again with it, more and more seldom."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, servers[0])
    keys = await created(kept, 12)
    await add_server(kept, servers[1], 2)
    hated, respond = keys[0].uuid.replace("-", "")[:16], servers[1].responder.respond

    def picky(request: RequestMessage, client: str | None = None) -> ResponseMessage:
        registers = request.batch_item[0].operation == Operation.REGISTER
        servers[1].responder.capacity = 0 if registers and hated in repr(request) else None
        return respond(request, client)

    servers[1].responder.respond = picky  # type: ignore[method-assign]
    copied = []
    for _ in range(3):
        copied.append((await kept.fill()).copied)
        key_world.clock.advance(FIRST_S)
    assert sum(copied) == 11
    assert copied[2] == 0
    for _ in range(30):
        await kept.fill()
        key_world.clock.advance(FIRST_S)
    assert len(await key_world.attempts(keys[0].uuid)) <= 8


@on_sqlite
async def test_a_writer_that_takes_no_work_is_no_server_s_fault(key_world: KeyWorld) -> None:
    """It stops, or has too much to do: no server pauses for that."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, servers[0])
    await created(kept, 2)
    await add_server(kept, servers[1], 2)
    await kept.node.writer.close()
    filled = await kept.fill()
    assert (filled.copied, filled.failed, filled.down) == (0, 2, {})


@on_sqlite
async def test_another_server_of_the_domain_stands_in(key_world: KeyWorld) -> None:
    """For one that takes no copy, and for one that is down."""
    servers = await key_world.start(3)
    declared = {1: {"replication_domain": "x"}, 2: {"replication_domain": "x"}}
    manager = await key_world.key_manager(*servers, min_copies=1, each=declared, know=False)
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    full(servers[1])
    full(servers[2])
    keys = await created(kept, 2)
    first, second = sorted((1, 2), key=[each.uuid for each in await key_world.servers(manager)].__getitem__)
    servers[second].responder.capacity = None
    await again(kept, end=False)
    assert (await kept.fill()).copied == 2
    assert (await kept.fill()).tally.sole == 0
    await lose(kept, servers[second], second, *keys)
    copies = [copy for key in keys for copy in await key_world.copies(key.uuid) if copy.presence is PRESENT]
    gone = [replace(copy, presence=MISSING) for copy in copies if copy.attempt > 1]
    await key_world.store.write(lambda tx: tx.put_copies(gone, new=False))
    servers[first].responder.capacity = None
    await servers[second].__aexit__(None, None, None)
    await again(kept, end=False)
    await kept.fill()
    await kept.fill()
    assert (await kept.fill()).tally.sole == 0
    assert len(material(servers[first])) == 2


@on_sqlite
async def test_a_full_server_costs_few_attempts(key_world: KeyWorld) -> None:
    """It is tried after pauses that become longer, and nobody is called to clean up after each of them."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, min_copies=1, know=False)
    called: list[Key] = []
    kept = Keeping(key_world, await key_world.node(on_aborted=called.append), manager)
    await kept.learner.ensure(manager)
    full(servers[1])
    keys = await created(kept, 8)
    for _ in range(60):
        await kept.fill()
        key_world.clock.advance(30)
    tried = sum([len(await key_world.attempts(key.uuid)) - 1 for key in keys])
    assert tried <= 8 * 5
    assert called == []


@on_sqlite
async def test_copies_are_written_from_what_is_proven_now(key_world: KeyWorld) -> None:
    """A proven copy that has rotted, or whose server is away, is no source; without any, nothing is written."""
    servers = await key_world.start(4)
    kept = await keeping(key_world, *servers[:3])
    (key,) = await created(kept, 1)
    await add_server(kept, servers[3], 4)
    copies = await key_world.copies(key.uuid)
    servers[0].responder.store.rot(copies[0].unique_identifiers[0])
    servers[1].request_faults[Operation.GET] = close
    servers[2].request_faults[Operation.GET] = close
    assert (await kept.fill()).copied == 0
    assert material(servers[3]) == []
    servers[2].request_faults.clear()
    await again(kept, end=False)
    assert (await kept.fill()).copied == 1
    assert material(servers[3]) == material(servers[2])


@on_sqlite
async def test_servers_that_replicate_need_one_copy(key_world: KeyWorld) -> None:
    """What is missing on one of them and proven on the other is not written twice."""
    members, _ = cluster(2)
    servers = await key_world.start(3, members)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    missing = replace((await key_world.copies(key.uuid))[0], presence=MISSING)
    await key_world.store.write(lambda tx: tx.put_copies([missing], new=False))
    before = [len(server.responder.objects) for server in servers]
    filled = await kept.fill()
    assert (filled.copied, filled.failed, filled.tally.sole) == (0, 0, 0)
    assert [len(server.responder.objects) for server in servers] == before


@on_sqlite
async def test_a_copy_in_doubt_is_not_written_twice(key_world: KeyWorld) -> None:
    """A copy whose Register was never answered is settled first; and a key manager that is gone has no keys."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    (key,) = await created(kept, 1)
    sent = replace((await key_world.copies(key.uuid))[0], presence=Presence.SENT, unique_identifiers=())
    await key_world.store.write(lambda tx: tx.put_copies([sent], new=False))
    assert (await kept.fill()).copied == 0
    await kept.settle()
    assert await presences(kept, key) == [PRESENT, PRESENT]
    assert (await kept.keeping.fill("gone")).tally.keys == 0


# --- real servers ---


@on_sqlite
async def test_keeping_on_real_servers(key_world: KeyWorld, pykmip_group: Group) -> None:
    """A server that comes back without an object gets it again; one that comes back without any raises an alarm."""
    primaries = pykmip_group.primaries[:3]
    kept = await keeping(key_world, *[server.address for server in primaries])
    keys = await created(kept, 2)
    await asyncio.to_thread(primaries[0].kill)
    assert await kept.sweep() is None
    primaries[0].forget((await key_world.copies(keys[0].uuid))[0].unique_identifiers[0])
    await asyncio.to_thread(primaries[0].restart)
    await again(kept, end=False)
    await kept.sweep()
    assert await presences(kept, keys[0]) == [MISSING, PRESENT, PRESENT]
    assert (await kept.fill()).copied == 1
    primaries[1].forget_all()
    await kept.sweep(1)
    assert [(await presences(kept, key))[1] for key in keys] == [UNKNOWN, UNKNOWN]
    await kept.watch()
    assert [name for name, _ in await kept.events()] == ["km.key.missing", "km.canary.notvisible"]
    assert (await kept.fill()).copied == 0

"""Settling: attempts whose time is over end, and copies of which nothing is known are looked at."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from keystead.core.errors import OntapError
from keystead.core.keys.descriptors import decode
from keystead.core.keys.model import AttemptState, KeyState, Presence
from keystead.core.keys.names import ObjectKind, object_name
from keystead.kmip.server.profile import Offset
from keystead.kmip.server.responder import Responder
from keystead.kmip.testing.profiles import PROFILES
from keystead.kmip.testing.server import close, silence
from keystead.kmip.testing.server import held as held_up
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.kmip.ttlv.errors import TransportError
from keystead.service.cluster.leases import LeaseLost
from keystead.service.keys import attempts as key_attempts
from keystead.service.keys.keeping.settle import UNDESCRIBED_S, AttemptSettlement
from keystead.service.keys.looking.visit import visit
from keystead.service.keys.topology import Endpoints
from keystead.service.keys.writing.descriptors import Describer
from tests.service.worlds.keepers import PAIRS, Keeping, again, keeping, of_kind
from tests.service.worlds.keys import KeyWorld, asked, full, held, places_in
from tests.service.worlds.learning import on_sqlite

if TYPE_CHECKING:
    from keystead.core.keys.model import Copy, Key
    from keystead.core.secret import Secret
    from keystead.kmip.messages.messages import RequestMessage, ResponseMessage
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.keys.topology import ServerTopology
    from keystead.service.ports.store import Transaction
    from tests.peers.groups import Group

PRESENT, SENT, MISSING, DIFFERENT, UNKNOWN = (
    Presence.PRESENT,
    Presence.SENT,
    Presence.MISSING,
    Presence.DIFFERENT,
    Presence.UNKNOWN,
)


async def put(world: KeyWorld, *copies: Copy) -> None:
    """Store copies in place of those that are there."""
    await world.store.write(lambda tx: tx.put_copies(copies, new=False))


async def unsettled(world: KeyWorld, key: Key) -> list[Copy]:
    """Forget what is known of a key's copies, as a coordinator leaves them whose answers never came."""
    copies = [
        replace(copy, presence=SENT, unique_identifiers=(), object_state="", proven=None, written=None)
        for copy in await world.copies(key.uuid)
    ]
    await put(world, *copies)
    return copies


# --- attempts ---


async def test_an_attempt_whose_time_is_over_is_aborted(key_world: KeyWorld) -> None:
    """And with it the key that it was to create; not before, and once."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    go_on = asyncio.Event()
    for server in servers:
        server.faults[Operation.REGISTER] = held_up(go_on)
    creating = asyncio.create_task(kept.node.create(kept.manager))
    while any(len(server.responder.objects) < 2 for server in servers):  # noqa: ASYNC110 - it sets no event
        await asyncio.sleep(0.01)
    key = await key_world.named(kept.manager)
    assert key is not None
    assert await kept.abort_expired() == 0
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    assert await kept.abort_expired() == 1
    assert await kept.abort_expired() == 0
    assert f"aborted attempt 1 of key {key.key_id}, which timed out" in await key_world.messages()
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED
    assert [each.state for each in await key_world.attempts(key.uuid)] == [AttemptState.ABORTED]
    go_on.set()
    with pytest.raises(OntapError):
        await creating
    assert (await key_world.key(key.uuid)).state is KeyState.ABORTED


@on_sqlite
async def test_an_attempt_of_a_clock_far_ahead_is_aborted(key_world: KeyWorld) -> None:
    """The name of its key is not taken until that clock's time has come."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(
        attempt, number=2, state=AttemptState.PENDING, token="another", expires=attempt.expires + timedelta(days=365)
    )
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    assert await kept.abort_expired() == 1


@on_sqlite
async def test_an_attempt_to_copy_is_aborted_alone(key_world: KeyWorld) -> None:
    """The key that it was about stays what it is."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(attempt, number=2, purpose=type(attempt.purpose).COPY, state=AttemptState.PENDING, token="another")
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    assert await kept.abort_expired() == 1
    assert await key_world.key(key.uuid) == key
    assert [each.state for each in await key_world.attempts(key.uuid)] == [AttemptState.COMMITTED, AttemptState.ABORTED]


async def test_nothing_is_aborted_or_settled_without_the_lease(key_world: KeyWorld) -> None:
    """A keeper that was held up finds its transactions refused once another keeps keys."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)
    (attempt,) = await key_world.attempts(key.uuid)
    begun = replace(attempt, number=2, state=AttemptState.PENDING, token="another")
    await key_world.store.write(lambda tx: tx.add_attempt(begun))
    another = Keeping(key_world, await key_world.node(), kept.manager)
    async with kept.lease() as holding:
        key_world.clock.advance(300)
        async with another.lease():
            with pytest.raises(LeaseLost):
                await kept.settling.abort_expired(holding)
            with pytest.raises(LeaseLost):
                await kept.settling.settle(holding, kept.manager)
    assert [each.state for each in await key_world.attempts(key.uuid)] == [AttemptState.COMMITTED, AttemptState.PENDING]
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [SENT, SENT]


# --- descriptors ---


async def described(world: KeyWorld, *servers: KmipServer) -> tuple[Keeping, Key]:
    """Return a process that describes copies, and a key whose copies are not described yet."""
    kept = await keeping(world, *servers)
    key = await kept.node.create(kept.manager)
    kept.settling = AttemptSettlement(kept.context, Describer(kept.node.endpoints))
    return kept, key


async def test_copies_are_described_later(key_world: KeyWorld) -> None:
    """Whatever kept that from being done at creation: the descriptor stands under the attempt's name, once."""
    servers = await key_world.start(2)
    kept, key = await described(key_world, *servers)
    (attempt,) = await key_world.attempts(key.uuid)
    name = str(object_name(attempt, ObjectKind.DESCRIPTOR))
    assert await kept.settle() == 2
    assert await kept.settle() == 0
    copies = await key_world.copies(key.uuid)
    digest_key = kept.node.endpoints.digest_key(await key_world.topology(kept.manager))
    for server, copy in zip(servers, copies, strict=True):
        (content,) = held(server)[name]
        found = decode(content, digest_key)
        assert found is not None
        assert found.uuid == key.uuid
        assert name in server.responder.objects[copy.descriptor].names
    await put(key_world, *[replace(copy, descriptor="") for copy in copies])
    assert await kept.settle() == 2
    assert await key_world.copies(key.uuid) == tuple(
        replace(copy, proven=now.proven) for copy, now in zip(copies, await key_world.copies(key.uuid), strict=True)
    )


@on_sqlite
async def test_a_refused_descriptor_is_left_for_long(key_world: KeyWorld) -> None:
    """The server is not asked about each copy for nothing; then it is tried again."""
    servers = await key_world.start(2)
    kept, key = await described(key_world, *servers)
    for server in servers:
        full(server)
    before = [len(asked(server)) for server in servers]
    await kept.settle()
    tried = [len(asked(server)) for server in servers]
    assert tried > before
    assert await kept.settle() == 0
    assert [len(asked(server)) for server in servers] == tried
    for server in servers:
        server.responder.capacity = None
    key_world.clock.advance(UNDESCRIBED_S + 1)
    assert await kept.settle() == 2
    assert all(copy.descriptor for copy in await key_world.copies(key.uuid))


@on_sqlite
async def test_a_descriptor_without_an_answer_is_found(key_world: KeyWorld) -> None:
    """In the next round, by its name; where Locate does not look at names, another one is written."""
    servers = await key_world.start(1)
    kept, key = await described(key_world, *servers)
    servers[0].faults[Operation.REGISTER] = close
    assert await kept.settle() == 0
    servers[0].faults.clear()
    for name_counts, objects in ((True, 3), (False, 4)):
        await again(kept, end=False)
        kept.settling = AttemptSettlement(kept.context, Describer(kept.node.endpoints))
        await know_names(kept, name_counts)
        assert await kept.settle() == 1
        assert len(servers[0].responder.objects) == objects
        (copy,) = await key_world.copies(key.uuid)
        await put(key_world, replace(copy, descriptor=""))


async def know_names(kept: Keeping, locate_by_name: bool) -> None:
    """Store whether the first server looks at names."""
    (server, *_) = await kept.world.servers(kept.manager)
    profile = (await kept.world.topology(kept.manager)).profiles[server.uuid]
    await kept.world.store.write(lambda tx: tx.put_profile(replace(profile, locate_by_name=locate_by_name)))


# --- copies ---

KINDS = ("plain", "names stay taken", "locate returns everything", "no offset items", "no batches", "no states")


@on_sqlite
@pytest.mark.parametrize("kind", KINDS)
async def test_a_copy_that_arrived_is_found(key_world: KeyWorld, kind: str) -> None:
    """By its attempt's name, and proven by its bytes; it is activated where objects are."""
    servers = await key_world.start(2, [of_kind(kind), of_kind(kind)])
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = await key_world.copies(key.uuid)
    await unsettled(key_world, key)
    assert await kept.settle() == 2
    after = await key_world.copies(key.uuid)
    assert [copy.unique_identifiers for copy in after] == [copy.unique_identifiers for copy in before]
    assert [copy.presence for copy in after] == [PRESENT, PRESENT]
    assert all(copy.proven is not None for copy in after)
    assert {copy.object_state for copy in after} == {"" if kind == "no states" else "Active"}
    assert await kept.settle() == 0


async def some_keys(kept: Keeping, count: int) -> list[Key]:
    """So many keys of whose copies nothing is known, in the order of their uuids."""
    keys = [await kept.node.create(kept.manager, f"key {number}") for number in range(count)]
    for key in keys:
        copies = await kept.world.copies(key.uuid)
        await put(kept.world, *[replace(copy, presence=UNKNOWN) for copy in copies])
    return sorted(keys, key=lambda key: key.uuid)


@on_sqlite
async def test_copies_that_stay_unknown_hide_no_others(key_world: KeyWorld) -> None:
    """The next round continues after copies that stay unknown, and begins again after the last copy."""
    (server,) = await key_world.start(1)
    kept = await keeping(key_world, server)
    kept.settling = AttemptSettlement(replace(kept.context, copies_per_read=2))
    keys = await some_keys(kept, 5)
    lost = [(await key_world.copies(key.uuid))[0] for key in keys[:2]]
    store = server.responder.store
    taken = {uid: store.objects.pop(uid) for copy in lost for uid in copy.unique_identifiers}
    assert [await kept.settle() for _ in range(4)] == [0, 3, 0, 0]
    assert [await key_world.presences(key.uuid) for key in keys] == 2 * [[UNKNOWN]] + 3 * [[PRESENT]]
    store.objects.update(taken)
    assert sum([await kept.settle() for _ in range(2)]) == 2


@on_sqlite
async def test_a_copy_on_which_a_server_falls_silent_hides_no_others(key_world: KeyWorld) -> None:
    """What was found out before it is stored, and the next round goes on after it."""
    (server,) = await key_world.start(1)
    kept = await keeping(key_world, server)
    keys = await some_keys(kept, 4)
    (bad,) = (await key_world.copies(keys[1].uuid))[0].unique_identifiers
    respond = server.responder.respond

    def broken(request: RequestMessage, client: str | None = None) -> ResponseMessage:
        item = request.batch_item[0]
        if item.operation == Operation.GET_ATTRIBUTES and item.request_payload.unique_identifier == bad:
            raise TransportError("exchange", "the connection is closed")
        return respond(request, client)

    server.responder.respond = broken  # type: ignore[method-assign]
    assert await kept.settle() == 1
    assert await kept.settle() == 2
    assert [await key_world.presences(key.uuid) for key in keys] == [[PRESENT], [UNKNOWN], [PRESENT], [PRESENT]]
    server.responder.respond = respond  # type: ignore[method-assign]
    await again(kept, end=False)
    assert await kept.settle() == 1


@on_sqlite
async def test_a_pair_that_arrived_is_found(key_world: KeyWorld) -> None:
    """Both of its parts, in their order."""
    servers = await key_world.start(2, [of_kind(PAIRS), of_kind(PAIRS)])
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    before = await key_world.copies(key.uuid)
    assert [len(copy.unique_identifiers) for copy in before] == [2, 2]
    await unsettled(key_world, key)
    assert await kept.settle() == 2
    assert [copy.unique_identifiers for copy in await key_world.copies(key.uuid)] == [
        copy.unique_identifiers for copy in before
    ]


@on_sqlite
async def test_what_was_not_activated_is(key_world: KeyWorld) -> None:
    """A crash after the commit leaves Pre-Active objects; an Activate that is refused is tried again."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    servers[0].responder.refusals[Operation.ACTIVATE] = ResultReason.PERMISSION_DENIED
    key = await kept.node.create(kept.manager)
    assert [copy.object_state for copy in await key_world.copies(key.uuid)] == ["", "Active"]
    assert await kept.settle() == 1
    assert [copy.object_state for copy in await key_world.copies(key.uuid)] == ["Pre-Active", "Active"]
    servers[0].responder.refusals.clear()
    assert await kept.settle() == 1
    assert [copy.object_state for copy in await key_world.copies(key.uuid)] == ["Active", "Active"]


async def test_a_copy_that_never_arrived_is_missing(key_world: KeyWorld) -> None:
    """Once nothing can be on its way, and only where the canary is seen; then it is no loss, and announced as none."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)
    ours = str(object_name((await key_world.attempts(key.uuid))[0]))
    for server in servers[1:]:
        for uid, stored in list(server.responder.objects.items()):
            if ours in stored.names:
                server.responder.store.forget(uid)
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [PRESENT, UNKNOWN, UNKNOWN]
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    servers[2].responder.store.forget_all()
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [PRESENT, MISSING, UNKNOWN]
    assert await kept.events() == []


@on_sqlite
async def test_a_copy_with_other_bytes_is_different(key_world: KeyWorld) -> None:
    """It is marked, announced once, and left as it is."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    (uid,) = (await key_world.copies(key.uuid))[0].unique_identifiers
    await unsettled(key_world, key)
    servers[0].responder.store.rot(uid)
    before = held(servers[0])
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [DIFFERENT, PRESENT]
    assert await kept.settle() == 0
    ((name, parameters),) = await kept.events()
    assert (name, parameters["key_id"]) == ("km.key.different", key.key_id)
    assert held(servers[0]) == before


@on_sqlite
async def test_a_server_that_refuses_says_nothing(key_world: KeyWorld) -> None:
    """After a change of our role there nothing is concluded; nor from one that is away, which holds up no other."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)
    servers[0].responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    servers[1].request_faults[Operation.GET_ATTRIBUTES] = silence
    (one, two, three) = await key_world.servers(kept.manager)
    await key_world.store.write(lambda tx: tx.change_key_server(replace(two, timeout=1)))
    await kept.settle()
    found = {copy.key_server: copy.presence for copy in await key_world.copies(key.uuid)}
    assert found == {one.uuid: UNKNOWN, two.uuid: SENT, three.uuid: PRESENT}


@on_sqlite
async def test_what_changed_meanwhile_is_not_overwritten(key_world: KeyWorld) -> None:
    """What a look says is stored only of a copy that is still as it was when it was looked at."""
    servers = await key_world.start(2)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    copies = await unsettled(key_world, key)
    changed = replace(copies[0], presence=UNKNOWN, unique_identifiers=("another",))

    async def change() -> None:
        await put(key_world, changed)

    kept.settling._context = replace(kept.context, turn=change)
    await kept.settle()
    assert changed in await key_world.copies(key.uuid)


@on_sqlite
async def test_a_key_manager_that_is_gone_has_nothing_to_settle(key_world: KeyWorld) -> None:
    """Nor has one whose servers are not known yet."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    await unsettled(key_world, key)

    def forget(tx: Transaction) -> None:
        for server in tx.key_servers(kept.manager):
            tx.delete_profile(server.uuid)

    await key_world.store.write(forget)
    assert await kept.settle() == 0
    async with kept.lease() as holding:
        assert await kept.settling.settle(holding, "gone") == 0


@on_sqlite
async def test_copies_in_doubt_on_kinds_of_objects(key_world: KeyWorld) -> None:
    """An object that was destroyed is absent, one under our identifier that is another's too; half a pair is none."""
    kinds = [of_kind("destroyed objects are kept"), of_kind("plain"), of_kind(PAIRS)]
    servers = await key_world.start(3, kinds)
    kept = await keeping(key_world, *servers)
    key = await kept.node.create(kept.manager)
    other = await kept.node.create(kept.manager, "another")
    copies = await key_world.copies(key.uuid)
    theirs = (await key_world.copies(other.uuid))[1].unique_identifiers[0]
    topology = await key_world.store.read(lambda tx: places_in(tx, kept.manager))
    async with visit(kept.context, topology, topology.servers[0]) as at:
        await at.session.revoke(copies[0].unique_identifiers[0])
        await at.session.destroy(copies[0].unique_identifiers[0])
    objects = servers[1].responder.store.objects
    objects[copies[1].unique_identifiers[0]] = objects.pop(theirs)
    servers[2].responder.store.forget(copies[2].unique_identifiers[1])
    await put(key_world, *(replace(copy, presence=UNKNOWN, proven=None) for copy in copies))
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [MISSING, MISSING, MISSING]


@on_sqlite
async def test_a_server_whose_list_is_cut_short_says_nothing(key_world: KeyWorld) -> None:
    """What Locate does not name may be there; nor is it looked for by name where that asks about every object."""
    profile = replace(PROFILES["locate returns everything"], page_limit=2, offset_items=Offset.REFUSED)
    servers = await key_world.start(2, [Responder(profile=profile), of_kind("locate returns everything")])
    kept = await keeping(key_world, *servers)
    for number in range(3):
        await kept.node.create(kept.manager, f"key {number}")
    key = await kept.node.create(kept.manager)
    copies = await key_world.copies(key.uuid)
    for server, copy in zip(servers, copies, strict=True):
        server.responder.store.forget(copy.unique_identifiers[0])
    blank = replace(copies[0], unique_identifiers=())
    await put(key_world, *(replace(copy, presence=UNKNOWN, proven=None) for copy in (blank, copies[1])))
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    before = asked(servers[1]).count("LOCATE")
    await kept.settle()
    assert [copy.presence for copy in await key_world.copies(key.uuid)] == [UNKNOWN, MISSING]
    assert asked(servers[1]).count("LOCATE") == before


@on_sqlite
@pytest.mark.parametrize("lost", ["certificate", "digest key"])
async def test_without_our_own_secrets_nothing_is_concluded(key_world: KeyWorld, lost: str) -> None:
    """A certificate that is gone, or a digest key that is not there, is no fault of a server's."""
    kept = await keeping(key_world, *await key_world.start(1))
    key = await kept.node.create(kept.manager)
    copies = await unsettled(key_world, key)
    manager = await key_world.store.read(lambda tx: tx.key_manager(kept.manager))
    assert manager is not None
    if lost == "certificate":
        gone = replace(manager, client_certificate="gone")
        await key_world.store.write(lambda tx: tx.change_key_manager(gone))
    else:
        kept.settling = AttemptSettlement(replace(kept.context, endpoints=Unsealed(kept.context.endpoints)))
    await kept.settle()
    assert list(await key_world.copies(key.uuid)) == copies
    assert (await kept.fill()).copied == 0


class Unsealed(Endpoints):
    """Reaches servers, and has lost what digests are made with."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints._prover, endpoints._sealer)

    def digest_key(self, topology: ServerTopology) -> Secret:
        """There is none."""
        return super().digest_key(replace(topology, sealed_digest_key=None))


# --- real servers ---


@on_sqlite
async def test_a_server_that_was_paused_while_a_key_was_created(key_world: KeyWorld, pykmip_group: Group) -> None:
    """What it does with the Register when it goes on is found out; then it has exactly one copy, proven."""
    primaries = pykmip_group.primaries[:3]
    kept = await keeping(key_world, *[server.address for server in primaries])
    before = len(primaries[0].objects())
    await asyncio.to_thread(primaries[0].pause)
    key = await kept.node.create(kept.manager)
    await asyncio.to_thread(primaries[0].resume)
    key_world.clock.advance(key_attempts.EXPIRES.total_seconds() + 1)
    servers = {server.uuid for server in await key_world.servers(kept.manager)}
    proven: set[str] = set()
    async with asyncio.timeout(90):
        while proven != servers:  # until its circuit lets the keeper in
            await again(kept, end=False)
            await kept.settle()
            await kept.fill()
            proven = {copy.key_server for copy in await key_world.copies(key.uuid) if copy.presence is PRESENT}
    assert len(primaries[0].objects()) == before + 1

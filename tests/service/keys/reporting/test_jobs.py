"""Proofs: what is read of each copy, what is stored of it, and what the report says."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import Attempt, AttemptState, Copy, KeyForm, KeyState, Presence, Purpose
from keystead.core.keys.report import MAX_REPORTS, Result
from keystead.core.model import Event, JobState
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.kmip.testing.server import KeyServer, silence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.cluster.job_runner import JobSteps
from keystead.service.context import Call
from keystead.service.keys.looking import look as key_looking
from keystead.service.keys.reporting import proof as key_proof
from keystead.service.keys.reporting.proof import CopyVerification
from keystead.service.keys.reporting.reports import KeyReports
from keystead.service.ports.page import Page
from keystead.service.ports.store import StoreError
from tests.service.worlds.keepers import Keeping
from tests.service.worlds.keys import CALL, SECONDARY, KeyWorld, on_sqlite
from tests.service.worlds.learning import learner
from tests.service.worlds.verification import ProvingNode, failures, proving, results

if TYPE_CHECKING:
    from keystead.core.keys.model import Key
    from tests.peers.groups import Group

PRESENT, UNKNOWN = Presence.PRESENT, Presence.UNKNOWN


async def learned(world: KeyWorld, node: ProvingNode, *servers: KeyServer | str, **fields: Any) -> str:
    """Make a key manager whose servers were learned: their canaries are there."""
    manager = await world.key_manager(*servers, know=False, **fields)
    found = await learner(world, node.of).ensure(manager)
    assert len(found.profiles) == len(servers)
    return manager


async def object_of(world: KeyWorld, key: Key, place: int) -> str:
    """Return the Unique Identifier of a key's copy on the server at this place."""
    return (await world.copies(key.uuid))[place].unique_identifiers[0]


async def test_every_copy_is_proven(key_world: KeyWorld) -> None:
    """Each is Active, its proof is of now, and the report says who proved what."""
    node = await proving(key_world)
    servers = await key_world.start(3)
    manager = await learned(key_world, node, *servers)
    keys = [await node.of.create(manager, f"key {number}") for number in range(3)]
    created = {copy.proven for key in keys for copy in await key_world.copies(key.uuid)}
    key_world.clock.advance(3600)
    said = await node.prove(manager)
    assert said["kind"] == "proof"
    assert said["keys"] == {"total": 3, "unreadable": 0, "by_domains": {"3": 3}}
    assert results(said) == [{"proven": 3}] * 3
    assert [each["states"] for each in said["servers"]] == [{"Active": 3}] * 3
    assert said["failures"] == {"total": 0, "listed": []}
    assert said["node"]["uuid"] == node.of.uuid
    assert said["key_manager"]["uuid"] == manager
    for key in keys:
        for copy in await key_world.copies(key.uuid):
            assert copy.presence is PRESENT
            assert copy.proven is not None
            assert copy.proven - max(each for each in created if each) > timedelta(minutes=59)
    kept = await node.newest(manager)
    assert (kept.keys, kept.unreadable, kept.failed, kept.uuid) == (3, 0, 0, said["uuid"])
    records = await key_world.store.read(lambda tx: tx.audit_records(node.of.uuid, 1, 100))
    assert [record.message for record in records][-1] == "read 3 keys, 0 unreadable, 0 failures"


@on_sqlite
async def test_each_page_is_read_on_connections_made_for_it(key_world: KeyWorld) -> None:
    """Each page is read on a new connection with a full handshake, and the canary is read before all else."""
    node = await proving(key_world, keys_per_read=2)
    (server,) = await key_world.start(1)
    manager = await learned(key_world, node, server)
    for number in range(3):
        await node.of.create(manager, f"key {number}")
    before = len(server.requests)
    assert results(await node.prove(manager)) == [{"proven": 3}]
    operations = [Operation(item.operation).name for request in server.requests[before:] for item in request.batch_item]
    connections = " ".join(operations).split("DISCOVER_VERSIONS")[1:]
    assert [each.split() for each in connections] == [
        ["GET", *["GET"] * keys, *["GET_ATTRIBUTES"] * keys] for keys in (2, 1)
    ]


@on_sqlite
async def test_a_lost_copy_is_missing_where_the_canary_is_there(key_world: KeyWorld) -> None:
    """It is not proven any more; that it is missing is decided by a sweep, which sees all."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    key, other = [await node.of.create(manager, name) for name in "ab"]
    servers[1].responder.store.forget(await object_of(key_world, key, 1))
    said = await node.prove(manager)
    assert results(said) == [{"proven": 2}, {"proven": 1, "missing": 1}]
    assert said["keys"] == {"total": 2, "unreadable": 0, "by_domains": {"2": 1, "1": 1}}
    assert failures(said) == [(key.key_id, "missing", "")]
    assert await key_world.presences(key.uuid) == [PRESENT, UNKNOWN]
    assert await key_world.presences(other.uuid) == [PRESENT, PRESENT]


@on_sqlite
async def test_a_server_that_shows_nothing_says_nothing(key_world: KeyWorld) -> None:
    """As after a change of the client's role: without the canary, what is not shown is not missing."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    await node.of.create(manager)
    servers[0].responder.store.forget_all()
    assert results(await node.prove(manager)) == [{"not_shown": 1}, {"proven": 1}]


@on_sqlite
async def test_a_copy_that_differs_is_marked_and_announced_and_left_as_it_is(key_world: KeyWorld) -> None:
    """Its bytes stay what they are, for those who find out why."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    key = await node.of.create(manager)
    spoiled = await object_of(key_world, key, 1)
    servers[1].responder.store.rot(spoiled)
    bytes_then = servers[1].responder.objects[spoiled].managed_object
    said = await node.prove(manager)
    assert failures(said) == [(key.key_id, "different", "")]
    assert await key_world.presences(key.uuid) == [PRESENT, Presence.DIFFERENT]
    assert servers[1].responder.objects[spoiled].managed_object == bytes_then
    for _ in range(2):
        events = await key_world.store.read(lambda tx: tx.page(Event, Page(limit=10)))
        assert [event.name for event in events] == ["km.key.different"]
        await node.prove(manager)  # what is known is not announced again


@on_sqlite
async def test_a_server_that_does_not_answer_leaves_what_is_known(key_world: KeyWorld) -> None:
    """Neither one that is gone, nor one that falls silent in the middle; what it answered before counts."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers, timeout=1)
    keys = [await node.of.create(manager, name) for name in "ab"]
    servers[0].request_faults[Operation.DISCOVER_VERSIONS] = silence
    servers[1].request_faults[Operation.GET_ATTRIBUTES] = silence
    said = await node.prove(manager)
    assert results(said) == [{"unreachable": 2}] * 2
    assert said["keys"]["unreadable"] == 2
    assert all(reason for _, _, reason in failures(said))
    for key in keys:
        assert await key_world.presences(key.uuid) == [PRESENT, PRESENT]


@on_sqlite
async def test_a_server_that_refuses_is_said_to(key_world: KeyWorld) -> None:
    """Its copies are unknown then: they cannot be read."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    key = await node.of.create(manager)
    servers[0].responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    assert results(await node.prove(manager)) == [{"refused": 1}, {"proven": 1}]
    assert await key_world.presences(key.uuid) == [UNKNOWN, PRESENT]


@on_sqlite
async def test_a_server_without_states_is_proven_all_the_same(key_world: KeyWorld) -> None:
    """The bytes prove; the report says no State."""
    node = await proving(key_world)
    servers = await key_world.start(1)
    manager = await learned(key_world, node, *servers)
    key = await node.of.create(manager)
    servers[0].responder.refusals[Operation.GET_ATTRIBUTES] = ResultReason.OPERATION_NOT_SUPPORTED
    said = await node.prove(manager)
    assert (results(said), said["servers"][0]["states"]) == ([{"proven": 1}], {})
    assert (await key_world.copies(key.uuid))[0].object_state == "Active"


async def test_retired_keys_are_proven_and_what_is_on_its_way_is_not(key_world: KeyWorld) -> None:
    """A key that can be recovered counts; a copy whose attempt is open, or whose end has come, does not."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    key = await node.of.create(manager)
    first, second = await key_world.copies(key.uuid)
    number, began = 2, key_world.clock.now()
    open_ = Attempt(key.uuid, number, Purpose.COPY, "inc", "token", "node", AttemptState.PENDING, began, began)

    def change(tx: Any) -> None:
        assert tx.change_key(replace(key, state=KeyState.RETIRED), key.state)
        tx.add_attempt(open_)
        tx.put_copies([Copy(key.uuid, number, second.key_server, Presence.SENT)], new=True)
        tx.put_copies([replace(second, presence=Presence.DESTROYED)], new=False)

    await key_world.store.write(change)
    said = await node.prove(manager)
    assert results(said) == [{"proven": 1}, {}]
    assert said["keys"] == {"total": 1, "unreadable": 0, "by_domains": {"1": 1}}
    assert await key_world.presences(key.uuid) == [PRESENT, Presence.DESTROYED, Presence.SENT]
    assert first.key_server != second.key_server


@on_sqlite
async def test_copies_that_nobody_knows_where_to_look_for_are_listed(key_world: KeyWorld) -> None:
    """One whose identifier is not known yet, and a key of which there is no copy at all."""
    node = await proving(key_world)
    servers = await key_world.start(1)
    manager = await learned(key_world, node, *servers)
    sent, none = [await node.of.create(manager, name) for name in "ab"]
    (copy,) = await key_world.copies(sent.uuid)
    (gone,) = await key_world.copies(none.uuid)
    changed = [replace(copy, presence=Presence.SENT, unique_identifiers=()), replace(gone, presence=Presence.DESTROYED)]
    await key_world.store.write(lambda tx: tx.put_copies(changed, new=False))
    before = len(servers[0].requests)
    said = await node.prove(manager)
    assert sorted(failures(said)) == sorted([(sent.key_id, "unsettled", ""), (none.key_id, "no_copy", "")])
    assert len(servers[0].requests) == before


@on_sqlite
async def test_a_server_that_was_down_has_no_copy_until_one_is_written(key_world: KeyWorld) -> None:
    """What was never sent there is no copy: the key is missing there, and once it was written it is proven only.

    The drill, which asks for what there is, has nothing to say of it before and after.
    """
    node = await proving(key_world)
    servers = await key_world.start(3)
    manager = await learned(key_world, node, *servers)
    await servers[2].__aexit__(None, None, None)
    key = await node.of.create(manager, material=(material := Secret(bytes(range(64)))))
    await servers[2].__aenter__()
    assert await key_world.presences(key.uuid) == [PRESENT, PRESENT, Presence.MISSING]
    said = await node.prove(manager)
    assert results(said) == [{"proven": 1}, {"proven": 1}, {"missing": 1}]
    assert failures(said) == [(key.key_id, "missing", "not_written")]
    assert results(await node.drill(manager)) == [{"proven": 1}, {}, {}]
    places = await key_world.topology(manager)
    assert not await (await key_world.node()).writer.copy_to(key, places.servers[2], material, places)
    said = await node.prove(manager)
    assert results(said) == [{"proven": 1}] * 3
    assert said["failures"]["total"] == 0
    assert results(await node.drill(manager)) == [{"proven": 1}, {}, {}]


@on_sqlite
async def test_a_server_that_is_added_lacks_its_copies(key_world: KeyWorld) -> None:
    """They are to be written; where another server of its replication domain has them, none is."""
    node = await proving(key_world)
    servers = await key_world.start(4)
    manager = await learned(key_world, node, *servers[:2])
    key = await node.of.create(manager)
    (one, *_) = await key_world.servers(manager)
    addresses = [ServerAddress.parse(f"127.0.0.1:{server.port}") for server in servers]
    added = [replace(one, uuid=f"added {place}", position=place + 1, address=addresses[place]) for place in (2, 3)]
    await key_world.store.write(lambda tx: tx.add_key_servers(added))
    assert results(await node.prove(manager)) == [{"proven": 1}] * 2 + [{"missing": 1}] * 2
    site = [replace(each, replication_domain="site") for each in (one, added[1])]
    await key_world.store.write(lambda tx: [tx.change_key_server(each) for each in site])
    said = await node.prove(manager)
    assert results(said) == [{"proven": 1}, {"proven": 1}, {"missing": 1}, {}]
    assert failures(said) == [(key.key_id, "missing", "not_written")]


@on_sqlite
async def test_both_halves_of_a_pair_are_proven(key_world: KeyWorld) -> None:
    """Where a key is two objects, one that is lost loses the copy."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    for profile in await key_world.store.read(lambda tx: tx.profiles([s.uuid for s in tx.key_servers(manager)])):
        pair = replace(profile, form=KeyForm.SYMMETRIC_KEY_PAIR)
        await key_world.store.write(lambda tx: tx.put_profile(pair))  # noqa: B023 - awaited
    key = await node.of.create(manager)
    assert results(await node.prove(manager)) == [{"proven": 1}] * 2
    half = (await key_world.copies(key.uuid))[0].unique_identifiers[1]
    servers[0].responder.store.forget(half)
    assert results(await node.prove(manager)) == [{"missing": 1}, {"proven": 1}]


@on_sqlite
async def test_a_change_that_came_between_stays(key_world: KeyWorld, monkeypatch: Any) -> None:
    """What is stored of a look is stored only if the copy is known as it was."""
    node = await proving(key_world)
    servers = await key_world.start(1)
    manager = await learned(key_world, node, *servers)
    key = await node.of.create(manager)
    (copy,) = await key_world.copies(key.uuid)
    look = key_looking.look_at_many

    async def overtaken(*arguments: Any) -> Any:
        ended = replace(copy, presence=Presence.DESTROYED)
        await key_world.store.write(lambda tx: tx.put_copies([ended], new=False))
        return await look(*arguments)

    monkeypatch.setattr(key_proof, "look_at_many", overtaken)
    assert results(await node.prove(manager)) == [{"proven": 1}]
    assert await key_world.presences(key.uuid) == [Presence.DESTROYED]


async def test_the_job_says_how_far_it_is(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job shows its progress after each page; a verification of no keys gives a report, too."""
    node = await proving(key_world, keys_per_read=2)
    manager = await learned(key_world, node, *await key_world.start(1))
    assert (await node.prove(manager))["keys"] == {"total": 0, "unreadable": 0, "by_domains": {}}
    for number in range(3):
        await node.of.create(manager, f"key {number}")
    said, store = [], JobSteps.store

    async def stored(steps: JobSteps, *step: Any) -> None:
        await store(steps, *step)
        said.append((await node.jobs.get(CALL, steps.job.uuid)).message)

    monkeypatch.setattr(JobSteps, "store", stored)
    job = await node.run(await node.prover.prove(CALL, manager))
    assert said == [errors.RECORDS_DONE.text.format(done=done, all=3) for done in (2, 3)]
    assert job.resumable is not None
    assert (job.resumable.done, job.resumable.total, job.resumable.cursor) == (3, 3, "")


@on_sqlite
async def test_reports_are_kept_for_those_who_see_the_key_manager(key_world: KeyWorld) -> None:
    """The newest first, so many; another SVM finds neither the key manager nor its reports."""
    node = await proving(key_world)
    svm, other = await key_world.home.svm(), await key_world.home.svm()
    manager = await learned(key_world, node, *await key_world.start(1), svm=svm)
    mine, theirs = (Call(CALL.caller, "POST", "/prove", scope=scope) for scope in (svm, other))
    said = [await node.prove(manager, mine), await node.drill(manager, mine)]
    reports = await node.reports.all(mine, manager)
    assert [report.uuid for report in reports] == [each["uuid"] for each in reversed(said)]
    whole = await node.reports.get(mine, manager, reports[1].uuid)
    assert (reports[1].document, replace(whole, document="")) == ("", reports[1])
    assert said[0]["key_manager"]["svm"] == {"uuid": svm.uuid, "name": svm.name}
    calls = [
        node.reports.all(theirs, manager),
        node.reports.get(theirs, manager, reports[0].uuid),
        node.reports.get(mine, manager, "absent"),
        node.prover.prove(theirs, manager),
        node.prover.drill(theirs, manager),
        node.prover.prove(CALL, "absent"),
    ]
    for call in calls:
        with pytest.raises(OntapError) as refused:
            await call
        assert (refused.value.kind.code, refused.value.target) == (4, "uuid")
    assert MAX_REPORTS >= 10


@on_sqlite
async def test_a_key_manager_that_is_deleted_meanwhile_has_no_report(key_world: KeyWorld) -> None:
    """The job fails as a call for it would."""
    node = await proving(key_world)
    manager = await learned(key_world, node, *await key_world.start(1))
    task = await node.prover.prove(CALL, manager)
    await key_world.store.write(lambda tx: tx.delete_key_manager(manager))
    job = await node.run(task)
    assert (job.state, job.code) == (JobState.FAILURE, 4)


@on_sqlite
async def test_without_its_certificate_nothing_is_reached(key_world: KeyWorld) -> None:
    """A certificate that is gone makes all unreachable, and changes nothing."""
    node = await proving(key_world)
    servers = await key_world.start(2)
    manager = await learned(key_world, node, *servers)
    key = await node.of.create(manager)
    found = await key_world.store.read(lambda tx: tx.key_manager(manager))
    assert found is not None
    await key_world.store.write(lambda tx: tx.change_key_manager(replace(found, client_certificate="gone")))
    assert failures(await node.prove(manager)) == [(key.key_id, "unreachable", "identity")] * 2
    assert failures(await node.drill(manager)) == [(key.key_id, "unreachable", "identity_unusable")]
    assert await key_world.presences(key.uuid) == [PRESENT, PRESENT]


@on_sqlite
async def test_real_servers_are_proven(key_world: KeyWorld, pykmip_group: Group) -> None:
    """Four PyKMIP servers: one is dead, one has lost a copy, one has spoiled another, one is well."""
    node = await proving(key_world)
    addresses = [server.address for server in pykmip_group.primaries]
    manager = await learned(key_world, node, *addresses)
    keys = [await node.of.create(manager, name) for name in "ab"]
    pykmip_group.primaries[0].kill()
    pykmip_group.primaries[1].forget(await object_of(key_world, keys[0], 1))
    pykmip_group.primaries[2].rot(await object_of(key_world, keys[1], 2))
    said = await node.prove(manager)
    assert results(said) == [
        {"unreachable": 2},
        {"proven": 1, "missing": 1},
        {"proven": 1, "different": 1},
        {"proven": 2},
    ]
    assert said["keys"]["by_domains"] == {"2": 2}


@on_sqlite
async def test_a_node_without_a_row_makes_no_report(key_world: KeyWorld) -> None:
    """As in a database of another installation: the report could not say who made it."""
    node = await proving(key_world)
    reports = KeyReports(node.of.store, node.signer, key_world.clock, "absent")
    with pytest.raises(StoreError, match="run keystead init"):
        await key_world.store.read(reports.maker)


# --- what a secondary was given ---


@on_sqlite
async def test_a_dead_secondary_is_not_proven_by_its_primary(key_world: KeyWorld) -> None:
    """However often it is asked: what the primary has is the primary's, and a proof asks that one when a sweep has."""
    (primary,) = await key_world.start(1)
    secondary = await key_world.start_secondary(primary)  # one store: they replicate
    node = await key_world.node()
    manager = await key_world.key_manager(primary, know=False, secondary_key_servers=(SECONDARY,))
    kept = Keeping(key_world, node, manager)
    await kept.learner.ensure(manager)
    key = await node.create(manager)
    copy = await key_world.only_on_secondary(key.uuid)
    (row,) = await key_world.servers(manager)

    async def found() -> list[tuple[str, Result]]:
        proof = CopyVerification(kept.context, await key_world.topology(manager))
        page = await proof.prove([key])
        await key_world.store.write(lambda tx: proof.store(tx, page))
        return sorted((each.host, each.result) for each in page.found[key.uuid])

    assert await found() == [(SECONDARY, Result.PROVEN)]
    await secondary.__aexit__(None, None, None)
    for _ in range(4):  # its circuit opens meanwhile
        assert await found() == [(SECONDARY, Result.UNREACHABLE)]
    await kept.sweep()
    assert await found() == [("", Result.PROVEN), (SECONDARY, Result.UNREACHABLE)]
    await key_world.store.write(lambda tx: tx.change_key_server(replace(row, secondary_key_servers=())))
    assert await found() == [("", Result.PROVEN)]  # once: it is one object
    (there, _) = await key_world.copies(key.uuid)
    assert (there.presence, there.unique_identifiers) == (PRESENT, copy.unique_identifiers)


@on_sqlite
async def test_a_former_secondary_is_proven_by_its_primary(key_world: KeyWorld) -> None:
    """It is asked no more; what was given to it is looked for on the primary, and known to be there."""
    (primary,) = await key_world.start(1)
    node = await proving(key_world)
    manager = await learned(key_world, node, primary)
    key = await node.of.create(manager)
    copy = await key_world.only_on_secondary(key.uuid)
    for _ in range(2):
        said = await node.prove(manager)
        assert (results(said), said["failures"]["total"]) == ([{"proven": 1}], 0)
        (there, _) = await key_world.copies(key.uuid)
        assert (there.presence, there.unique_identifiers) == (PRESENT, copy.unique_identifiers)

"""Replication that is asked for: servers that failed lately are asked anew, and those that do not answer are named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from keystead.core.keys.model import Presence
from keystead.core.model import JobState, Role
from keystead.keyservers import circuits
from keystead.service.context import Call, Caller
from tests.service.worlds.jobs import jobs_of
from tests.service.worlds.keepers import Keeping, keeping
from tests.service.worlds.keys import CALL, KeyWorld, on_sqlite

if TYPE_CHECKING:
    import pytest

    from keystead.core.keys.model import Key
    from keystead.kmip.testing.server import KeyServer as KmipServer

pytestmark = on_sqlite

PRESENT, MISSING = Presence.PRESENT, Presence.MISSING
VSADMIN = Caller("vsadmin", Role.VSADMIN, "127.0.0.1")


async def left_alone(kept: Keeping, server: KmipServer) -> Key:
    """Have the last server down while a key is created, and reached for in vain until it is left alone; a key."""
    await server.__aexit__(None, None, None)
    key = await kept.node.create(kept.manager)
    places = await kept.world.topology(kept.manager)
    away = places.servers[-1]
    (endpoint, *_) = kept.node.endpoints.each(away, kept.node.endpoints.identity(places))
    while not kept.node.objects.circuit_open(endpoint):
        await kept.node.create(kept.manager, f"another {len(await kept.world.stored_keys(kept.manager))}")
    return key


async def test_servers_that_are_back_get_their_copies_at_once(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That they failed lately does not count: whoever asks may know that they are well again."""
    monkeypatch.setattr(circuits, "FIRST_PAUSE_S", 60.0)
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    key = await left_alone(kept, servers[2])
    await servers[2].__aenter__()
    assert (await kept.fill()).failed  # the keeper has patience
    outcome = await kept.replicate()
    assert outcome.error is None
    assert await key_world.presences(key.uuid) == [PRESENT, PRESENT, MISSING, PRESENT]


async def test_what_does_not_answer_is_named(key_world: KeyWorld) -> None:
    """With the reason, in the error and in the job."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, of_cluster=True, know=False)
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    await left_alone(kept, servers[2])
    address = f"127.0.0.1:{servers[2].port}"
    assert await _failed(kept, CALL) == [("server", address), ("reason", "connection_refused")]


async def test_what_an_svm_is_told(key_world: KeyWorld) -> None:
    """Of its own servers which, and no reason. A job of the cluster's administrator tells it neither."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    await left_alone(kept, servers[2])
    address = f"127.0.0.1:{servers[2].port}"
    svm = (await key_world.topology(kept.manager)).key_manager.svm
    of_svm = Call(replace(VSADMIN, svm=svm), "POST", "/api/test", scope=svm)
    assert await _failed(kept, of_svm) == [("server", address)]
    assert await _failed(kept, CALL, seen_by=of_svm) == []


async def _failed(kept: Keeping, call: Call, seen_by: Call | None = None) -> list[tuple[str, str]]:
    """Run the job. Return the arguments of its error, as another call sees them in the job, or else as both tell."""
    node = kept.node
    task = await kept.replicator.replicate(call, kept.manager)
    jobs = jobs_of(node.store, kept.world.clock, node.uuid, audit=node.audit)
    ran = await jobs.run(call, task.work, svm=task.svm, return_timeout=30)
    assert (ran.job.state, ran.job.code) == (JobState.FAILURE, 65536987)
    assert ran.error is not None
    assert ran.job.message == ran.error.message
    assert (await jobs.view(call, ran.job.uuid)).arguments == ran.error.arguments
    return list((await jobs.view(seen_by or call, ran.job.uuid)).arguments)


async def test_servers_that_could_not_be_learned_are_tried_again(key_world: KeyWorld) -> None:
    """At once, as they would be after a change of the configuration."""
    servers = await key_world.start(2)
    await servers[1].__aexit__(None, None, None)
    manager = await key_world.key_manager(*servers, know=False, min_copies=1)
    kept = Keeping(key_world, await key_world.node(), manager)
    await kept.learner.ensure(manager)
    assert (await kept.replicate()).message == "0 copies written"  # there is no key yet
    key = await kept.node.create(manager)
    outcome = await kept.replicate()
    assert outcome.error is not None
    assert [text for _, text in outcome.error.arguments] == [f"127.0.0.1:{servers[1].port}", "connection_refused"]
    await servers[1].__aenter__()
    assert (await kept.replicate()).message == "1 copy written"
    assert await key_world.presences(key.uuid) == [PRESENT, PRESENT]


async def test_a_server_that_shows_nothing_of_ours(key_world: KeyWorld) -> None:
    """It was wiped, or takes us for another: nobody can say that nothing is lacking there."""
    servers = await key_world.start(3)
    kept = await keeping(key_world, *servers)
    await kept.node.create(kept.manager)
    servers[2].responder.store.forget_all()
    address = f"127.0.0.1:{servers[2].port}"
    assert await _failed(kept, CALL) == [("server", address), ("reason", "canary_not_seen")]


async def test_copies_of_which_nothing_is_known(key_world: KeyWorld) -> None:
    """They are not written again, and counted."""
    kept = await keeping(key_world, *await key_world.start(2))
    key = await kept.node.create(kept.manager)
    (copy, _) = await key_world.copies(key.uuid)
    await key_world.store.write(lambda tx: tx.put_copies([replace(copy, presence=Presence.UNKNOWN)], new=False))
    assert (await kept.replicate()).message == "0 copies written, 1 unknown"

"""Proofs and drills that one process leaves and another one goes on with: the report is of every key, once."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from keystead.core.jobs import Action
from keystead.core.keys.model import Presence
from keystead.core.model import JobState
from keystead.kmip.ttlv.enums import Operation
from keystead.service.cluster.job_runner import JobSteps
from tests.service.worlds.keys import CALL, asked, on_sqlite
from tests.service.worlds.learning import learner
from tests.service.worlds.verification import proving, results

if TYPE_CHECKING:
    import pytest

    from keystead.core.keys.model import Key
    from keystead.core.model import Job
    from keystead.kmip.testing.server import Exchange, KeyServer
    from keystead.service.cluster.jobs import StepRequest
    from tests.service.worlds.keys import KeyWorld
from tests.service.worlds.verification import ProvingNode

GET = Operation.GET


class Holding:
    """A key server that answers no Get once a job on it has stored its first step."""

    def __init__(self, server: KeyServer, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.gate, self._stored = asyncio.Event(), asyncio.Event(), False
        self._server = server
        store = JobSteps.store

        async def stored(steps: JobSteps, *step: Any) -> None:
            await store(steps, *step)
            self._stored = True

        monkeypatch.setattr(JobSteps, "store", stored)
        server.faults[GET] = self._hold

    async def _hold(self, exchange: Exchange) -> None:
        if self._stored:
            self.reached.set()
            await self.gate.wait()
        await exchange.stream.send(exchange.answer)

    def end(self) -> None:
        """Answer again."""
        del self._server.faults[GET]
        self.gate.set()


async def left_after_a_page(
    node: ProvingNode, request: StepRequest, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> Job:
    """Begin a job, and stop its process in the second page of keys."""
    with monkeypatch.context() as patched:
        holding = Holding(server, patched)
        uuid = (await node.jobs.run_in_steps(CALL, request)).job.uuid
        async with asyncio.timeout(20):
            await holding.reached.wait()
        await node.jobs.close()
        holding.end()
    left = await node.jobs.get(CALL, uuid)
    assert left.resumable is not None
    assert (left.state, left.resumable.done) == (JobState.QUEUED, 2)
    return left


async def gone_on(node: ProvingNode, job: Job, key_manager: str) -> dict[str, Any]:
    """Let a process go on with a job to its end. Return what the report says."""
    await node.jobs._runner.look()
    async with asyncio.timeout(20):
        while True:
            job = await node.jobs.get(CALL, job.uuid)
            if job.state is JobState.SUCCESS:
                return await node._said(key_manager, job)
            await asyncio.sleep(0.01)


async def five_keys(world: KeyWorld, node: ProvingNode) -> tuple[str, KeyServer, list[Key]]:
    """Return a key manager with one server and five keys, of which the second one is wrong on the server."""
    (server,) = await world.start(1)
    manager = await world.key_manager(server, know=False)
    await learner(world, node.of).ensure(manager)
    keys = sorted([await node.of.create(manager, f"key {number}") for number in range(5)], key=lambda key: key.uuid)
    (copy,) = await world.copies(keys[1].uuid)
    server.responder.store.rot(copy.unique_identifiers[0])
    return manager, server, keys


async def test_a_proof_goes_on_where_it_was(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another node: each key is read once in all, what was found before is in the report, and it began then."""
    first, second = await proving(key_world, keys_per_read=2), await proving(key_world, keys_per_read=2)
    manager, server, keys = await five_keys(key_world, first)
    whole = await first.prove(manager)
    assert [each["result"] for each in whole["failures"]["listed"]] == ["different"]
    began = key_world.clock.now()
    job = await left_after_a_page(first, await first.prover.prove(CALL, manager), server, monkeypatch)
    key_world.clock.advance(120)
    before = len(server.requests)
    said = await gone_on(second, job, manager)
    read = [item.request_payload for request in server.requests[before:] for item in request.batch_item]
    objects = [(await key_world.copies(key.uuid))[0].unique_identifiers[0] for key in keys]
    times = [sum(getattr(payload, "unique_identifier", "") == each for payload in read) for each in objects]
    assert times[:2] == [0, 0]
    assert all(times[2:])
    for name in ("kind", "key_manager", "keys", "servers", "failures"):
        assert said[name] == whole[name], name
    assert said["node"]["uuid"] == second.of.uuid
    assert began <= datetime.fromisoformat(said["began"]) < began + timedelta(seconds=60)
    reports = await second.reports.all(CALL, manager)
    assert len(reports) == 2
    records = await key_world.store.read(lambda tx: tx.audit_records(second.of.uuid, 0, 99))
    assert [record.message for record in records][-1] == "read 5 keys, 1 unreadable, 1 failures"
    assert records[-1].account == CALL.caller.account


@on_sqlite
async def test_what_a_page_saw_is_stored_with_its_step(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy that differs is known as soon as its page is done, not at the end of the job."""
    node = await proving(key_world, keys_per_read=2)
    manager, server, keys = await five_keys(key_world, node)
    await left_after_a_page(node, await node.prover.prove(CALL, manager), server, monkeypatch)
    assert await key_world.presences(keys[1].uuid) == [Presence.DIFFERENT]


@on_sqlite
async def test_a_proof_of_other_servers_begins_anew(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report is about the servers that are configured: another one came meanwhile."""
    first, second = await proving(key_world, keys_per_read=2), await proving(key_world, keys_per_read=2)
    manager, server, _ = await five_keys(key_world, first)
    job = await left_after_a_page(first, await first.prover.prove(CALL, manager), server, monkeypatch)
    (row,) = await key_world.servers(manager)
    await key_world.store.write(lambda tx: tx.change_key_server(replace(row, replication_domain="declared")))
    assert (await gone_on(second, job, manager))["keys"]["total"] == 5
    key_world.clock.advance(60)
    (new,) = await key_world.start(1)
    job = await left_after_a_page(second, await second.prover.prove(CALL, manager), server, monkeypatch)
    added = replace(row, uuid="new", position=2, address=replace(row.address, port=new.port))
    await key_world.store.write(lambda tx: tx.add_key_servers([added]))
    third = await proving(key_world, keys_per_read=2)
    said = await gone_on(third, job, manager)
    assert said["keys"]["total"] == 5
    assert len(said["servers"]) == 2
    assert sum(results(said)[0].values()) == 5


@on_sqlite
async def test_a_drill_is_of_one_node(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another node reads every key itself; the same node goes on after its restart."""
    first, second = await proving(key_world, keys_per_read=2), await proving(key_world, keys_per_read=2)
    manager, server, keys = await five_keys(key_world, first)
    before = len(asked(server, GET))
    job = await left_after_a_page(first, await first.prover.drill(CALL, manager), server, monkeypatch)
    said = await gone_on(second, job, manager)
    assert said["keys"] == {"total": 5, "unreadable": 1}
    assert said["node"]["uuid"] == second.of.uuid
    assert len(asked(server, GET)) - before >= 2 + len(keys)


@on_sqlite
async def test_a_proof_is_paused_and_resumed(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever may: the report comes when it went on."""
    node = await proving(key_world, keys_per_read=2)
    manager, server, _ = await five_keys(key_world, node)
    with monkeypatch.context() as patched:
        holding = Holding(server, patched)
        waiting = asyncio.create_task(node.run(await node.prover.prove(CALL, manager)))
        async with asyncio.timeout(20):
            await holding.reached.wait()
        (found,) = await key_world.store.read(lambda tx: tx.resumable_jobs())
        await node.jobs.ask(CALL, found.uuid, Action.PAUSE)
        holding.end()
    job = await waiting
    assert job.resumable is not None
    assert (job.state, job.resumable.done) == (JobState.PAUSED, 4)
    assert await node.reports.all(CALL, manager) == ()
    await node.jobs.ask(CALL, job.uuid, Action.RESUME)
    assert (await gone_on(node, job, manager))["keys"]["total"] == 5

"""A key server that answers and does not show its keys: known within one look, announced, and swept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from keystead.core.keys.creating import NewKey
from keystead.core.keys.model import Presence
from keystead.core.model import State
from keystead.core.server_address import ServerAddress
from keystead.kmip.testing.server import KeyServer, silence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.monitor import watcher
from tests.monitor.conftest import CALL, available, watching
from tests.peers.certificates import server_context
from tests.service.worlds.keys import asked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from keystead.core.model import Observation
    from tests.monitor.conftest import Node
    from tests.peers.fixtures import Pki


@pytest.fixture
async def server(pki: Pki) -> AsyncIterator[KeyServer]:
    """Yield a key server on the test's loop."""
    async with KeyServer(server_context(pki.server, client_ca=pki.client_ca)) as started:
        yield started


def visible(*, shown: bool) -> Callable[[Observation], bool]:
    """Return a condition: the server is available, and shows its keys or not."""
    return lambda found: available(found) and found.keys_visible is shown


async def with_keys(node: Node, server: KeyServer, count: int = 2) -> str:
    """Have keys on a server, which a monitor has seen there; return their key manager."""
    manager = await node.key_manager(f"127.0.0.1:{server.port}")
    for number in range(count):
        await node.open.services.key_writer.create(CALL, manager, NewKey(f"key {number}"))
    await node.expect(visible(shown=True))
    return manager


async def events_of_keys(node: Node) -> list[str]:
    """Return the names of events about the canary, in order."""
    return [event.name for event in await node.events("km.canary")]


async def test_a_server_that_was_wiped_while_connected(node: Node, server: KeyServer) -> None:
    """The next probe finds out, the keeper sweeps the copies, and what comes back is visible again."""
    node.open.keys.keeper.start()
    manager = await with_keys(node, server)
    stored = dict(server.responder.objects)
    server.responder.store.forget_all()
    found = await node.expect(visible(shown=False))
    assert await events_of_keys(node) == ["km.canary.notvisible"]
    async with asyncio.timeout(60):
        while await presences(node, manager) != {Presence.UNKNOWN}:  # noqa: ASYNC110 - the database is polled
            await asyncio.sleep(0.05)
    server.responder.objects.update(stored)
    assert (await node.expect(visible(shown=True))).since == found.since
    assert await events_of_keys(node) == ["km.canary.notvisible", "km.canary.visible"]


async def test_a_server_that_comes_back_wiped(node: Node, server: KeyServer) -> None:
    """The look that finds it again asks for its canary, so it is never shown as sound."""
    await with_keys(node, server)
    server.responder.store.forget_all()
    server.disconnect()
    await node.expect(visible(shown=False))
    seen = [event.name for event in await node.events()]
    assert seen[-1] == "km.canary.notvisible"


async def test_a_server_that_was_confirmed(node_home: Path, pki: Pki, server: KeyServer) -> None:
    """It shows its new canary in the next look, long before a probe is due."""
    async with watching(node_home, pki, monitor_probe_interval=3600) as node:
        node.open.keys.keeper.start()
        manager = await with_keys(node, server)
        server.responder.store.forget_all()
        pki.server_ca.issue().load_into(server.context)
        server.disconnect()
        await node.expect(visible(shown=False))
        async with asyncio.timeout(60):
            while await presences(node, manager) != {Presence.UNKNOWN}:  # noqa: ASYNC110 - the database is polled
                await asyncio.sleep(0.05)
        address = ServerAddress("127.0.0.1", server.port)
        await node.open.services.server_confirmation.confirm(CALL, manager, address)
        await node.expect(visible(shown=True), within_s=10)


async def test_a_server_that_was_restored_from_an_older_copy(node: Node, server: KeyServer) -> None:
    """It shows its canary, but not the newest copy."""
    manager = await with_keys(node, server, 1)
    older = dict(server.responder.objects)
    await node.open.services.key_writer.create(CALL, manager, NewKey("newer"))
    server.responder.store.forget_all()
    server.responder.objects.update(older)
    await node.expect(visible(shown=False))


async def test_a_server_that_takes_us_for_another_client(node: Node, server: KeyServer) -> None:
    """It refuses what it returned before."""
    await with_keys(node, server)
    server.responder.refusals[Operation.GET] = ResultReason.PERMISSION_DENIED
    await node.expect(visible(shown=False))
    server.responder.refusals.clear()
    await node.expect(visible(shown=True))


async def test_a_server_that_does_not_answer_a_get(
    node: Node, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could not be asked: what was seen last stays, and it is still available."""
    monkeypatch.setattr(watcher, "KEYS_S", 0.5)
    await with_keys(node, server)
    before = await node.observation()
    server.request_faults[Operation.GET] = silence
    unanswered = len(asked(server, Operation.GET))
    async with asyncio.timeout(60):
        while len(asked(server, Operation.GET)) < unanswered + 3:  # noqa: ASYNC110 - the server sets no event
            await asyncio.sleep(0.05)
    now = await node.observation()
    assert (now.state, now.keys_visible, now.since) == (State.AVAILABLE, True, before.since)


async def test_a_look_that_fails_for_our_own_fault(
    node: Node, server: KeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state is unknown, not available, and the members of a group of exceptions are in the log."""
    await with_keys(node, server)
    errors = ExceptionGroup("a secret", [ValueError("a secret"), KeyError("x")])

    async def fail(*_: object) -> None:
        raise errors

    (watching_,) = [each for each, _ in node.open.monitor._watchers.values()]
    monkeypatch.setattr(watching_._watch, "probe", fail)
    await node.expect(lambda found: found.state is State.UNKNOWN and found.reason == "look_failed")
    monkeypatch.undo()
    await node.expect(available)


async def presences(node: Node, manager: str) -> set[Presence]:
    """Return what is known of the copies of all keys."""
    return await node.open.store.read(
        lambda tx: {copy.presence for server in tx.key_servers(manager) for copy in tx.copies_on(server.uuid, "", 100)}
    )

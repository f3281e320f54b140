"""Guards that get no answer in time: the call says so, and says nothing of the copies."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.keys.model import Presence
from keystead.keyservers import lines
from keystead.kmip.testing.server import delay
from keystead.kmip.ttlv.enums import Operation
from keystead.service.keys.guarding import relocation as identity_guard
from keystead.service.keys.guarding import removal as key_guard
from tests.service.keys.guarding.secondaries import replicated
from tests.service.worlds.changing import changer
from tests.service.worlds.guards import BACKUP, LONG_AGO_S, PROFILES, Before, Guards, built
from tests.service.worlds.keys import KeyWorld, on_sqlite

if TYPE_CHECKING:
    from keystead.service.probing.prober import ServerProber

pytestmark = on_sqlite

MISSING = Presence.MISSING


def end_calls_after(monkeypatch: pytest.MonkeyPatch, prober: ServerProber, seconds: float) -> None:
    """Have calls end after so long."""
    monkeypatch.setattr(prober, "deadline", lambda: asyncio.get_running_loop().time() + seconds)


def unproven(reason: str, *, keys: int = 1, proven: int = 0) -> tuple[tuple[str, str], ...]:
    """Return what a removal says that was not proven in time."""
    return ("keys", str(keys)), ("proven", str(proven)), ("reason", reason)


async def other_copy_is_old(world: KeyWorld, servers: str = "ab") -> Guards:
    """Build a key on servers, of which nothing was read for long."""
    guards = await built(world, Before(servers, knows=PROFILES))
    world.clock.advance(LONG_AGO_S)
    return guards


# --- removals ---


async def test_a_server_that_hangs_does_not_answer(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove a server without waiting for one that hangs while others answer; its proof does not count either."""
    monkeypatch.setattr(key_guard, "LOOKING_S", 1.0)
    guards = await built(key_world, Before("abc"))
    guards.peers["b"].faults[Operation.GET] = delay(20)
    async with asyncio.timeout(15):
        await guards.changing.remove(await guards.row("a"))
    end_calls_after(monkeypatch, guards.changing.servers._context.prover, 0.3)
    error = await guards.changing.removal_refused(await guards.row("c"))
    assert (error.kind, error.arguments) == (errors.KEYS_UNPROVEN, unproven("not_proven_in_time"))


async def test_the_other_copy_is_not_proven_in_time(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read it once more without a limit, and remove the server, because that proof is fresh."""
    monkeypatch.setattr(key_guard, "PROVING_S", 0.3)
    guards = await other_copy_is_old(key_world)
    guards.peers["b"].faults[Operation.GET] = delay(0.6)
    row = await guards.row("a")
    await guards.changing.remove(row)
    assert row not in await key_world.servers(guards.changing.manager)
    assert not await guards.is_lost("key")


async def test_a_call_ends_before_the_other_copy_is_proven(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse with 503 by the end of the call."""
    guards = await other_copy_is_old(key_world)
    guards.peers["b"].faults[Operation.GET] = delay(30)
    end_calls_after(monkeypatch, guards.changing.servers._context.prover, 0.3)
    async with asyncio.timeout(20):
        error = await guards.changing.removal_refused(await guards.row("a"))
    assert (error.kind, error.retry_after) == (errors.KEYS_UNPROVEN, 5)


async def test_a_server_does_not_say_in_time_that_it_has_lost_a_key(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse with 503, and not because the server alone has the key; a present copy needs no look."""
    guards = await built(key_world, Before("a", rows={"a": MISSING}))
    end_calls_after(monkeypatch, guards.changing.servers._context.prover, 1.0)
    row, changing, server = await guards.row("a"), guards.changing, guards.peers["a"]
    server.responder.store.forget(await guards.identifier("a"))
    server.faults[Operation.GET] = delay(1.5)
    error = await changing.removal_refused(row)
    assert (error.kind, error.target, error.retry_after) == (errors.KEYS_UNPROVEN, "server", 5)
    await guards.know({"a": Presence.PRESENT})
    assert (await changing.removal_refused(row)).kind is errors.SOLE_COPY
    await guards.know({"a": MISSING})
    server.faults.clear()
    await changing.remove(row)


@pytest.mark.parametrize("presence", [MISSING, Presence.UNKNOWN])
async def test_a_primary_is_late_and_its_secondary_has_the_key(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, presence: Presence
) -> None:
    """Refuse the removal as the only copy: that is known in time."""
    monkeypatch.setattr(key_guard, "PROVING_S", 1.0)
    guards = await built(key_world, replicated(presence))
    guards.peers["a"].faults[Operation.GET] = delay(1.5)
    assert (await guards.changing.removal_refused(await guards.row("a"))).kind is errors.SOLE_COPY


# --- moves ---


async def test_a_server_does_not_say_in_time_that_it_has_a_key(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refuse with 503, and do not take the server for silent: it would say that it has the key."""
    guards = await built(key_world, Before("a", moves={"a": BACKUP}, rows={"a": MISSING}))
    guards.peers["a"].faults[Operation.GET] = delay(1.5)
    end_calls_after(monkeypatch, guards.changing.servers._context.prover, 1.0)
    error = await guards.changing.change_refused(await guards.row("a"), port=guards.peers["a'"].port)
    assert (error.kind, error.target, error.retry_after) == (errors.TOO_BUSY, "server", 5)
    guards.peers["a"].faults.clear()
    assert not await guards.is_lost("key")


async def test_all_connections_to_a_server_are_in_use(key_world: KeyWorld) -> None:
    """Refuse with 503: the server is not silent."""
    guards = await built(key_world, Before("a", moves={"a": BACKUP}, rows={"a": MISSING}))
    changing = guards.changing
    row = await changing.modify(await guards.row("a"), timeout=1)
    endpoint = changing.node.endpoints.addresses(await key_world.topology(changing.manager))[row.uuid, ""]
    async with AsyncExitStack() as stack:
        for _ in range(lines.CONNECTIONS):
            await stack.enter_async_context(changing.node.objects.session(endpoint, timeout_s=1, exclusive=True))
        assert (await changing.change_refused(row, port=guards.peers["a'"].port)).kind is errors.TOO_BUSY
        assert (await changing.removal_refused(row)).kind is errors.KEYS_UNPROVEN


# --- client certificates ---


@pytest.mark.parametrize("slow", ["canary", "keys"])
async def test_a_certificate_is_not_proven_in_time(
    key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    """Refuse the call with 503; a job has the time for it."""
    servers = await key_world.start(1)
    changing = await changer(key_world, *servers)
    if slow == "keys":
        monkeypatch.setattr(identity_guard, "_has_canary", lambda *_: False)
        await changing.node.create(changing.manager)
    servers[0].faults[Operation.GET] = delay(1.5)
    end_calls_after(monkeypatch, changing.managers._context.prover, 1.0)
    error = await changing.renewal_refused()
    assert (error.kind, error.target, error.retry_after) == (errors.TOO_BUSY, "external.client_certificate", 5)
    await changing.renew(patient=True)

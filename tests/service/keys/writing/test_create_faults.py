"""Creating keys on servers that fail: enough proven copies make a key, too few leave none, and nothing is ended."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import pytest

from keystead.core import errors
from keystead.core.keys.model import KeyState, Presence
from keystead.core.secret import Secret
from keystead.kmip.testing.server import close, delay, garbage, reset, silence
from keystead.kmip.ttlv.enums import Operation, ResultReason
from keystead.service.keys.writing import create as key_writing
from keystead.service.keys.writing.copies import limit_s
from tests.core import factories
from tests.service.worlds.keys import STANDBY, asked, full, lying, nothing_was_ended, on_sqlite

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.kmip.testing.server import Exchange, KeyServer
    from tests.service.worlds.keys import KeyWorld

PRESENT, MISSING, SENT, DIFFERENT, UNKNOWN = (
    Presence.PRESENT,
    Presence.MISSING,
    Presence.SENT,
    Presence.DIFFERENT,
    Presence.UNKNOWN,
)
MATERIAL = bytes(range(64))
REGISTER, GET, ACTIVATE = Operation.REGISTER, Operation.GET, Operation.ACTIVATE

# --- servers that fail ---


class Fault(NamedTuple):
    """What a server does, what is known of its copy afterwards, and the reason that is told."""

    name: str
    begin: Callable[[KeyServer], object]
    presence: Presence
    reason: str


def refusing(operation: Operation, reason: ResultReason) -> Callable[[KeyServer], None]:
    """It refuses an operation."""
    return lambda server: server.responder.refusals.update({operation: reason})


def when_asked(operation: Operation, fault: object) -> Callable[[KeyServer], None]:
    """It fails instead of doing something."""
    return lambda server: server.request_faults.update({operation: fault})  # type: ignore[dict-item]


FAULTS = [
    Fault("silent", when_asked(REGISTER, silence), SENT, "no_answer"),
    Fault("resetting", when_asked(REGISTER, reset), SENT, "connection_closed"),
    Fault("closing", when_asked(REGISTER, close), SENT, "connection_closed"),
    Fault("garbage", when_asked(REGISTER, garbage(b"HTTP/1.1 400 Bad Request\r\n\r\n")), SENT, "malformed_answer"),
    Fault("full", full, MISSING, "general_failure"),
    Fault("lying", lying, DIFFERENT, "different_material"),
    Fault("denied", refusing(REGISTER, ResultReason.PERMISSION_DENIED), MISSING, "permission_denied"),
    Fault("unreadable", refusing(GET, ResultReason.PERMISSION_DENIED), UNKNOWN, "permission_denied"),
    Fault("deaf", when_asked(GET, silence), UNKNOWN, "no_answer"),
]


CASES = [(fault, batches) for fault in FAULTS for batches in (False, True) if not (batches and fault.name == "deaf")]
"""With and without a Register and its Get in one message; a Get that nobody answers alone is one of its own."""


@on_sqlite
@pytest.mark.parametrize(
    ("fault", "batches"), CASES, ids=[f"{fault.name}{', in one message' * batches}" for fault, batches in CASES]
)
async def test_servers_that_fail(
    key_world: KeyWorld, fault: Fault, *, batches: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key is created if one of three servers fails, and aborted if two or three fail; no object is destroyed."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, create_remove_timeout=2, know=False)
    await key_world.know(manager, batches=batches, locate_by_name=True)
    node = await key_world.node()
    addresses = [str(server.address) for server in await key_world.servers(manager)]
    fault.begin(servers[0])
    key = await node.create(manager, "one fails", material=Secret(MATERIAL))
    assert key.state is KeyState.COMMITTED
    assert (await key_world.presences(key.uuid))[1:] == [PRESENT, PRESENT]
    assert (await key_world.presences(key.uuid))[0] is fault.presence
    for number, kind in ((1, errors.TOO_FEW_COPIES), (2, errors.NOT_PUSHED)):
        fault.begin(servers[number])
        error = await node.refused(manager, f"{number + 1} fail")
        failed = [pair for each in addresses[: number + 1] for pair in (("server", each), ("reason", fault.reason))]
        assert (error.kind, list(error.arguments)) == (kind, failed)
        assert await key_world.named(manager, f"{number + 1} fail") is None
    states = sorted(state for _, _, state in await key_world.stored_keys(manager))
    assert states == ["aborted", "aborted", "committed"]
    assert nothing_was_ended(*servers)
    told = "".join(capsys.readouterr())
    assert not any(each in told for each in (MATERIAL.hex(), key.digest.hex(), repr(MATERIAL), repr(key.digest)))


@on_sqlite
@pytest.mark.parametrize("batches", [False, True])
async def test_answers_that_were_lost(key_world: KeyWorld, *, batches: bool) -> None:
    """A Register with a lost answer is found by name and proven, so it is a copy."""
    servers = await key_world.start(4)
    for server, fault in zip(servers, (reset, close, garbage(b"nonsense"), delay(0.05)), strict=True):
        server.faults[REGISTER] = fault
    manager = await key_world.key_manager(*servers, know=False)
    await key_world.know(manager, batches=batches, locate_by_name=True)
    node = await key_world.node()
    key = await node.create(manager)
    assert await key_world.presences(key.uuid) == 4 * [PRESENT]
    assert [asked(server, REGISTER) for server in servers] == 4 * [["REGISTER"]]
    assert [len(server.responder.objects) for server in servers] == [1, 1, 1, 1]


@on_sqlite
async def test_dead_servers_cost_little(key_world: KeyWorld) -> None:
    """Once enough domains have proven copies, a silent server is waited for no longer than the grace."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node(grace_s=0.1)
    servers[0].request_faults[REGISTER] = silence
    began = asyncio.get_running_loop().time()
    key = await node.create(manager)
    assert asyncio.get_running_loop().time() - began < 4
    assert await key_world.presences(key.uuid) == [SENT, PRESENT, PRESENT]


@on_sqlite
async def test_the_time_of_a_call(key_world: KeyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """A creation is committed or aborted when its time is over, whatever the time-outs of the servers are."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, create_remove_timeout=-1)
    node = await key_world.node()
    await node.create(manager, "first")  # connects: the other server then answers well within the time
    monkeypatch.setattr(key_writing, "COPYING_S", 2.0)
    servers[0].request_faults[REGISTER] = silence
    error = await node.refused(manager)
    assert (error.kind, [value for name, value in error.arguments if name == "reason"]) == (
        errors.TOO_FEW_COPIES,
        ["no_answer"],
    )


@on_sqlite
async def test_activation_that_fails_changes_no_answer(key_world: KeyWorld) -> None:
    """A key is committed before it is activated; what was not activated stays as it was."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    servers[0].responder.refusals[ACTIVATE] = ResultReason.PERMISSION_DENIED
    servers[1].request_faults[ACTIVATE] = close
    key = await node.create(manager)
    copies = await key_world.copies(key.uuid)
    assert [(copy.presence, copy.object_state) for copy in copies] == [
        (PRESENT, ""),
        (PRESENT, ""),
        (PRESENT, "Active"),
    ]


def test_the_time_of_one_server() -> None:
    """A server has its ``create_remove_timeout``; 0 is one second, and -1 the whole time of the call."""
    for stored, seconds in ((0, 1.0), (10, 10.0), (60, 34.0), (-1, 34.0)):
        assert limit_s(replace(factories.server("a:5696"), create_remove_timeout=stored), 34.0) == seconds


async def stalls(exchange: Exchange) -> None:
    """Take longer than a creation waits, and then do nothing."""
    await asyncio.sleep(1)
    await close(exchange)


@on_sqlite
@pytest.mark.allow_hosts(["127.0.0.1", "127.0.0.2", "::1"])
@pytest.mark.parametrize("min_copies", [0, 2])
async def test_a_standby_of_both_is_no_second_domain_beside_one_of_them(key_world: KeyWorld, min_copies: int) -> None:
    """Two copies are wanted, and waited for: what the standby has is lost with the server that is there."""
    servers, addresses = await key_world.start_with_standby()
    manager = await key_world.key_manager(*addresses, know=False, min_copies=min_copies, **STANDBY)
    node = await key_world.node(grace_s=0.2)
    assert len((await node.learner.ensure(manager)).profiles) == len(addresses)
    servers[1].request_faults[Operation.REGISTER] = stalls
    assert (await node.refused(manager)).kind is errors.TOO_FEW_COPIES
    servers[1].request_faults.clear()
    key = await node.create(manager)
    there = [copy.host for copy in await key_world.copies(key.uuid) if copy.presence is Presence.PRESENT]
    assert there == ["", ""]

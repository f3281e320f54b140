"""Creating keys on sound servers and on servers that fail: committed with enough proven copies, else aborted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.keys.model import AttemptState, KeyForm, KeyState, KeyType, Presence, Purpose
from keystead.core.keys.names import object_name
from keystead.core.secret import Secret
from keystead.kmip.enums import Operation, ResultReason
from keystead.kmip.testing import close, delay, garbage, reset, silence
from tests.service.keyworlds import KeyNode, KeyWorld, asked, held

if TYPE_CHECKING:
    from collections.abc import Callable

    from keystead.kmip.testing import Exchange, KeyServer

PRESENT, MISSING, SENT, DIFFERENT, UNKNOWN = (
    Presence.PRESENT,
    Presence.MISSING,
    Presence.SENT,
    Presence.DIFFERENT,
    Presence.UNKNOWN,
)
MATERIAL = bytes(range(64))
REGISTER, GET, LOCATE, ACTIVATE = Operation.REGISTER, Operation.GET, Operation.LOCATE, Operation.ACTIVATE

on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""What depends on key servers only is tested on one engine."""


async def refused(node: KeyNode, key_manager: str, name: str = "a key", **fields: Any) -> OntapError:
    """The error of a creation."""
    with pytest.raises(OntapError) as raised:
        await node.create(key_manager, name, **fields)
    return raised.value


async def presences(world: KeyWorld, key: str) -> list[Presence]:
    """What is known of a key's copies, by server."""
    return [copy.presence for copy in await world.copies(key)]


def nothing_was_ended(*servers: KeyServer) -> bool:
    """Whether no server was asked to end an object."""
    return not any({"REVOKE", "DESTROY"} & set(asked(server)) for server in servers)


# --- on sound servers ---


async def test_a_key_on_four_servers(key_world: KeyWorld) -> None:
    """Each holds one Active object with the material under the attempt's name; the record and all rows say so."""
    servers = await key_world.start(4)
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    key = await node.create(manager, material=Secret(MATERIAL), key_tag="tag")
    (attempt,) = await key_world.attempts(key.uuid)
    copies = await key_world.copies(key.uuid)
    assert await key_world.key(key.uuid) == key
    assert (key.state, key.name, key.key_tag, key.version) == (KeyState.COMMITTED, "a key", "tag", 1)
    assert key.committed is not None
    assert (attempt.number, attempt.purpose, attempt.state) == (1, Purpose.CREATE, AttemptState.COMMITTED)
    assert attempt.node == node.uuid
    assert [held(server) for server in servers] == 4 * [{str(object_name(attempt)): [MATERIAL]}]
    for server, copy in zip(servers, copies, strict=True):
        assert list(copy.unique_identifiers) == list(server.responder.objects)
        assert (copy.presence, copy.object_state, copy.host) == (PRESENT, "Active", "")
        assert copy.written is not None
        assert copy.proven is not None
        (stored,) = server.responder.objects.values()
        assert stored.state is not None
        assert stored.state.name == "ACTIVE"
        assert asked(server)[-3:] == ["REGISTER", "GET", "ACTIVATE"]
    records = await key_world.store.read(lambda tx: tx.audit_records(node.uuid, 0, 10))
    assert [(record.state, record.message) for record in records] == [("success", f"created key {key.key_id}")]
    assert all(MATERIAL.hex() not in repr(each) and key.digest.hex() not in repr(each) for each in (*records, key))


@on_sqlite
async def test_material_that_is_made(key_world: KeyWorld) -> None:
    """64 random bytes, whose halves differ, other ones for each key; 32 for an authentication key."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    node = await key_world.node()
    for number in range(3):
        await node.create(manager, f"key {number}")
    await node.create(manager, "", key_type=KeyType.NSE_AK)
    made = [material for each in held(servers[0]).values() for material in each]
    assert sorted(map(len, made)) == [32, 64, 64, 64]
    assert len({*made, *(each[:32] for each in made), *(each[32:] for each in made if each[32:])}) == 4 + 3 + 3
    assert sorted(made) == sorted(material for each in held(servers[1]).values() for material in each)


@on_sqlite
async def test_the_intent_precedes_the_first_packet(key_world: KeyWorld) -> None:
    """When Register arrives, the key, the attempt and the row of this very copy are stored: pending, and sent."""
    seen: list[tuple[KeyState, list[AttemptState]]] = []

    async def look(exchange: Exchange) -> None:
        key = await key_world.named(manager)
        assert key is not None
        seen.append((key.state, [each.state for each in await key_world.attempts(key.uuid)]))
        assert await presences(key_world, key.uuid) == [SENT, SENT]
        await exchange.stream.send(exchange.answer)

    servers = await key_world.start(2)
    for server in servers:
        server.request_faults[REGISTER] = look
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    await node.create(manager)
    assert seen == 2 * [(KeyState.PENDING, [AttemptState.PENDING])]
    assert not [failure for server in servers for failure in server.failures]


@on_sqlite
async def test_servers_that_keep_keys_otherwise(key_world: KeyWorld) -> None:
    """Each is sent the form that it takes; what it cannot keep is not sent, and the reason says so."""
    servers = await key_world.start(2)
    manager = await key_world.key_manager(*servers, of_cluster=True)
    await key_world.know(manager, form=KeyForm.SYMMETRIC_KEY_PAIR, application_information=False, activates=False)
    node = await key_world.node()
    key = await node.create(manager, material=Secret(MATERIAL))
    (attempt,) = await key_world.attempts(key.uuid)
    name = str(object_name(attempt))
    assert held(servers[0]) == {f"{name}-1": [MATERIAL[:32]], f"{name}-2": [MATERIAL[32:]]}
    assert [(copy.object_state, len(copy.unique_identifiers)) for copy in await key_world.copies(key.uuid)] == [
        ("", 2),
        ("", 2),
    ]
    error = await refused(node, manager, "", key_type=KeyType.NSE_AK, material=Secret(b"a passphrase of 24 bytes"))
    assert error.kind is errors.NOT_PUSHED
    assert [value for name, value in error.arguments if name == "reason"] == 2 * ["key_length_not_supported"]


# --- how many copies ---


class Fault(NamedTuple):
    """What a server does, what is known of its copy afterwards, and the reason that is told."""

    name: str
    begin: Callable[[KeyServer], object]
    presence: Presence
    reason: str


def full(server: KeyServer) -> None:
    """It takes no more objects."""
    server.responder.capacity = 0


def lying(server: KeyServer) -> None:
    """It returns other bytes than it was given."""
    server.responder.lying = True


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


@on_sqlite
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_servers_that_fail(key_world: KeyWorld, fault: Fault) -> None:
    """One of three does not matter, two are one too many, and of three no key remains; nothing is ever ended."""
    servers = await key_world.start(3)
    manager = await key_world.key_manager(*servers, create_remove_timeout=0)
    node = await key_world.node()
    addresses = [str(server.address) for server in await key_world.servers(manager)]
    fault.begin(servers[0])
    key = await node.create(manager, "one fails")
    assert key.state is KeyState.COMMITTED
    assert (await presences(key_world, key.uuid))[1:] == [PRESENT, PRESENT]
    assert (await presences(key_world, key.uuid))[0] is fault.presence
    for number, kind in ((1, errors.TOO_FEW_COPIES), (2, errors.NOT_PUSHED)):
        fault.begin(servers[number])
        error = await refused(node, manager, f"{number + 1} fail")
        failed = [pair for each in addresses[: number + 1] for pair in (("server", each), ("reason", fault.reason))]
        assert (error.kind, list(error.arguments)) == (kind, failed)
        assert await key_world.named(manager, f"{number + 1} fail") is None
    states = sorted(state for _, _, state in await key_world.stored_keys(manager))
    assert states == ["aborted", "aborted", "committed"]
    assert nothing_was_ended(*servers)


@on_sqlite
async def test_answers_that_were_lost(key_world: KeyWorld) -> None:
    """A Register that was done, and whose answer did not come, is found by its name and proven: it is a copy."""
    servers = await key_world.start(4)
    for server, fault in zip(servers, (reset, close, garbage(b"nonsense"), delay(0.05)), strict=True):
        server.faults[REGISTER] = fault
    manager = await key_world.key_manager(*servers)
    node = await key_world.node()
    key = await node.create(manager)
    assert await presences(key_world, key.uuid) == 4 * [PRESENT]
    assert [asked(server, REGISTER) for server in servers] == 4 * [["REGISTER"]]
    assert [len(server.responder.objects) for server in servers] == [1, 1, 1, 1]

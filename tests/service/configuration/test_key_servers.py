"""Adding key servers as a use case: plan, prove, plan again and store, on a real database with real key servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import ModifyRequest
from keystead.core.model import Node, Release
from keystead.core.quorum import Quorum
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.service.configuration.key_servers import KeyServers
from keystead.service.ports.page import Page
from keystead.service.probing.prober import password_context
from tests.peers.certificates import server_context
from tests.peers.fault_servers import FaultServer, tls
from tests.peers.kmip_answers import answering
from tests.service.conftest import CALL, World, add, asked

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from keystead.service.ports.store import Transaction


async def refused(call: Awaitable[object]) -> OntapError:
    with pytest.raises(OntapError) as raised:
        await call
    return raised.value


async def test_add_stores_what_was_asked(world: World, servers: list[str]) -> None:
    """A server is stored as asked for, its password sealed to its row, after those that exist."""
    manager = await world.key_manager(servers[0])
    new = asked(
        servers[1], timeout=0, create_remove_timeout=-1, username="u", password=Secret("hunter2"),
        secondary_key_servers=("127.0.0.1",),
    )  # fmt: skip
    secondary_is_primary = await refused(world.add(manager, add(new)))
    assert secondary_is_primary.kind is errors.SECONDARY_IS_OWN_PRIMARY
    (stored,) = await world.add(manager, add(replace(new, secondary_key_servers=())))
    assert (str(stored.address), stored.timeout, stored.create_remove_timeout) == (servers[1], 0, -1)
    assert (stored.username, stored.position) == ("u", 2)
    assert stored.sealed_password is not None
    assert b"hunter2" not in stored.sealed_password
    assert world.open.sealer.unseal(stored.sealed_password, password_context(stored.uuid)) == Secret("hunter2")
    assert await world.stored(manager) == servers[:2]
    assert (await world.audited())[-1] == ("success", "")


async def test_one_bad_server_refuses_all(world: World, servers: list[str], closed: str) -> None:
    """All or nothing: the first failure in request order gives the code, the arguments name every failure."""
    manager = await world.key_manager(servers[0])
    request = add(asked(servers[1]), asked(closed), asked("no-such-host.invalid"))
    error = await refused(world.add(manager, request))
    assert (error.kind, error.target) == (errors.NETWORK, "records[1].server")
    assert error.arguments == (
        ("server", closed),
        ("stage", "connect"),
        ("reason", "connection_refused"),
        ("server", "no-such-host.invalid:5696"),
        ("stage", "resolve"),
        ("reason", "name_not_resolved"),
    )
    assert await world.stored(manager) == servers[:1]


async def test_dry_run_stores_nothing_and_is_audited(world: World, servers: list[str], closed: str) -> None:
    """A dry run tells of each server, leaves the servers as they are, and is on record."""
    manager = await world.key_manager(servers[0])
    results = await world.dry_run(manager, add(asked(servers[1]), asked(closed)))
    assert [(result.accepted, result.reason) for result in results] == [(True, None), (False, "connection_refused")]
    assert await world.stored(manager) == servers[:1]
    assert (await world.audited())[-1] == ("success", "")
    error = await refused(world.dry_run(manager, add(asked(servers[0]))))
    assert error.kind is errors.KEY_SERVER_EXISTS


async def test_a_probe_of_four_stored_servers(world: World, servers: list[str]) -> None:
    """Each is told of as it is now, also when there is no room for another; on record, and nothing is changed."""
    sound = server_context(world.pki.server, client_ca=world.pki.client_ca)
    with FaultServer(tls(sound, answering())) as stopped:
        lost = f"127.0.0.1:{stopped.port}"
        manager = await world.key_manager(*servers[:3], lost)
    before = await world.rows(manager)
    results = await world.probe(manager)
    assert [(str(result.server), result.reason) for result in results] == [
        *((server, None) for server in servers[:3]),
        (lost, "connection_refused"),
    ]
    (result,) = await world.probe(manager, servers[1])
    assert (str(result.server), result.accepted) == (servers[1], True)
    assert await world.rows(manager) == before
    assert (await world.audited())[-2:] == [("success", "")] * 2


async def test_no_change_while_a_node_is_out_of_quorum(world: World, servers: list[str]) -> None:
    """With the setting. Nothing is probed or stored; ``force`` removes."""
    manager = await world.key_manager(servers[0])
    required = replace(world.services.key_servers._context, quorum=Quorum(required=True))
    key_servers = KeyServers(required)

    def stop_another(tx: Transaction) -> None:
        (own,) = tx.nodes()
        tx.put_node(replace(own, uuid="gone", name="keystead-02"))
        for uuid in (own.uuid, "gone"):
            tx.hear_node(uuid, datetime.now(UTC))
        tx.leave_node("gone")

    await world.store.write(stop_another)
    state, address = await key_servers.state(CALL, manager), ServerAddress.parse(servers[0])
    for change in (
        key_servers.add(CALL, state, add(asked(servers[1]))),
        key_servers.modify(CALL, state, ModifyRequest(address, timeout=7)),
        key_servers.remove(CALL, state, address),
    ):
        error = await refused(change)
        assert (error.kind, '"keystead-02"' in error.message) == (errors.OUT_OF_QUORUM, True)
    assert await world.stored(manager) == servers[:1]
    await key_servers.remove(CALL, state, address, force=True)
    assert await world.stored(manager) == []


async def test_a_probe_of_an_unknown_server(world: World, servers: list[str]) -> None:
    """Nothing is probed."""
    manager = await world.key_manager(servers[0])
    error = await refused(world.probe(manager, servers[0], servers[1]))
    assert (error.kind, error.arguments) == (errors.KEY_SERVER_NOT_CONFIGURED, (("server", servers[1]),))


async def test_the_second_plan_counts(world: World, servers: list[str]) -> None:
    """Two callers that both found room cannot both store: the loser gets the code of the state that it meets."""
    manager = await world.key_manager(servers[0])
    calls = [
        world.add(manager, add(asked(servers[1]), asked(servers[2]))),
        world.add(manager, add(asked(servers[3]), asked(servers[4]))),
        world.add(manager, add(asked(servers[1]), asked(servers[3]))),
    ]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, OntapError)]
    assert len(failures) == 2
    assert {failure.kind for failure in failures} <= {errors.KEY_SERVER_LIMIT, errors.KEY_SERVER_EXISTS}
    assert len(await world.stored(manager)) == 3


async def test_unreadable_key_servers(world: World, servers: list[str]) -> None:
    """When the table of key servers cannot be read, 65536834 says so: adding, listing and showing."""
    manager = await world.key_manager(servers[0])
    with world.open.store.database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE key_servers RENAME TO lost"))
    address = ServerAddress.parse(servers[0])
    for call in (
        world.add(manager, add(asked(servers[1]))),
        world.services.key_servers.page(CALL, manager, Page()),
        world.services.key_servers.get(CALL, manager, address),
    ):
        assert (await refused(call)).kind is errors.KEY_SERVERS_UNREADABLE


async def test_certificate_gone(world: World, servers: list[str]) -> None:
    """A certificate row removed underneath is 65536821, before anything is probed."""
    manager = await world.key_manager(servers[0])
    (found,) = await world.services.key_managers.page(CALL, Page())
    await world.store.write(lambda tx: tx.delete_certificate(found.key_manager.client_certificate))
    error = await refused(world.add(manager, add(asked(servers[1]))))
    assert error.kind is errors.CERTIFICATE_NOT_INSTALLED


async def test_an_old_node_joins_while_we_probe(world: World, servers: list[str]) -> None:
    """A node row below 9.6.0 forbids an SVM's key manager, not the cluster's."""
    await world.services.svms.create(CALL, "vs0")
    of_svm = await world.key_manager(servers[0], svm="vs0")
    of_cluster = await world.key_manager(servers[0])
    await world.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 5, 0))))
    error = await refused(world.add(of_svm, add(asked(servers[1]))))
    assert error.kind is errors.CLUSTER_VERSION
    await world.add(of_cluster, add(asked(servers[1])))


async def test_missing(world: World, servers: list[str]) -> None:
    """A key manager or server that is not there is code 4, and a path finds a server however it is spelled."""
    manager = await world.key_manager(servers[0])
    for call in (
        world.services.key_servers.state(CALL, "nope"),
        world.add("nope", add(asked(servers[1]))),
        world.services.key_servers.get(CALL, manager, ServerAddress.parse(servers[1])),
        world.services.key_servers.page(CALL, "nope", Page()),
    ):
        assert (await refused(call)).kind is errors.ENTRY_NOT_FOUND
    assert (
        str((await world.services.key_servers.get(CALL, manager, ServerAddress.parse(servers[0]))).address)
        == servers[0]
    )

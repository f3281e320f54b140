"""Inactive key managers: made, enabled, discarded, on a real database with real key servers."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import text

from keystead.core import errors
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.service.ports.page import Page
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import server_context
from tests.service.configuration.test_key_managers import change, install, key_manager, renewed
from tests.service.configuration.test_key_servers import refused
from tests.service.conftest import CALL, World, add, asked

if TYPE_CHECKING:
    from keystead.service.context import Call


async def inactive(world: World, *servers: str) -> str:
    """Make an inactive key manager of the cluster."""
    client, ca = map(CertificateName, await world.certificates())
    new = NewKeyManager(None, None, client, (ca,), tuple(map(asked, servers)), inactive=True)
    return (await world.services.key_managers.create(CALL, new)).key_manager.uuid


async def test_the_life_of_an_inactive_key_manager(world: World, servers: list[str]) -> None:
    """It is there, cannot be changed nor get servers, is the only one, is enabled, and then is like any other."""
    uuid = await inactive(world, servers[0])
    services = world.services
    client = await install(world, "client", renewed(world.pki), "renewed", key=True)
    error = await refused(services.key_managers.change(CALL, uuid, change(client)))
    assert error.kind is errors.INACTIVE_UNCHANGEABLE
    assert (await refused(world.add(uuid, add(asked(servers[1]))))).kind is errors.NOT_ENABLED
    assert (await refused(services.key_managers.delete(CALL, uuid))).kind is errors.NOT_ENABLED
    ca = (await key_manager(world, uuid)).server_ca_certificates[0]
    new = NewKeyManager(None, None, CertificateName(client), (CertificateName(ca),), (asked(servers[0]),))
    error = await refused(services.key_managers.create(CALL, new))
    assert (error.kind, error.arguments) == (errors.ENABLE_BESIDE_INACTIVE, (("key_manager", uuid),))
    error = await refused(services.key_managers.create(CALL, replace(new, inactive=True)))
    assert error.kind is errors.INACTIVE_BESIDE_ANOTHER
    error = await refused(services.key_stores.enable(CALL, uuid, enabled=False))
    assert error.kind is errors.NO_DISABLING
    await services.key_stores.enable(CALL, uuid, enabled=True)
    assert (await refused(services.key_stores.enable(CALL, uuid, enabled=True))).kind is errors.ALREADY_ENABLED
    assert (await refused(services.key_stores.discard(CALL, uuid))).kind is errors.KEY_STORE_ENABLED
    await world.add(uuid, add(asked(servers[1])))
    await services.key_managers.change(CALL, uuid, change(client))
    assert (await refused(services.key_managers.create(CALL, new))).kind is errors.ADMIN_SVM_HAS_KEY_MANAGER


async def test_an_inactive_key_manager_is_enabled_when_its_servers_are_proved(world: World) -> None:
    """A server that is down by now is 65536987, with which and why; it can be discarded, and is gone."""
    context = server_context(world.pki.server, client_ca=world.pki.client_ca)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        address = f"127.0.0.1:{server.port}"
        uuid = await inactive(world, address)
    stores = world.services.key_stores
    error = await refused(stores.enable(CALL, uuid, enabled=True))
    assert error.kind is errors.SERVERS_UNAVAILABLE
    assert error.arguments == (("server", address), ("stage", "connect"), ("reason", "connection_refused"))
    assert not (await stores.get(CALL, uuid)).enabled
    await stores.discard(CALL, uuid)
    assert await world.stored(uuid) == []
    for call in (stores.enable(CALL, uuid, enabled=True), stores.discard(CALL, uuid)):
        assert (await refused(call)).kind is errors.KEY_STORE_UNKNOWN
    assert (await refused(stores.get(CALL, uuid))).kind is errors.ENTRY_NOT_FOUND


async def test_two_that_enable_at_once(world: World, servers: list[str]) -> None:
    """One does, the other hears that it is enabled."""
    uuid = await inactive(world, servers[0])
    calls = [world.services.key_stores.enable(CALL, uuid, enabled=True) for _ in range(2)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert sorted(str(getattr(outcome, "kind", outcome)) for outcome in outcomes) == sorted(
        [str(None), str(errors.ALREADY_ENABLED)]
    )


async def test_others_key_stores_do_not_exist(world: World, servers: list[str]) -> None:
    """For a call that is confined to an SVM the cluster's answer as none, in every method."""
    svm = await world.services.svms.create(CALL, "vs0")
    uuid = await inactive(world, servers[0])
    own: Call = replace(CALL, scope=svm)
    stores = world.services.key_stores
    assert (await refused(stores.get(own, uuid))).kind is errors.ENTRY_NOT_FOUND
    assert await stores.page(own, Page()) == ()
    for call in (stores.enable(own, uuid, enabled=True), stores.discard(own, uuid)):
        assert (await refused(call)).kind is errors.KEY_STORE_UNKNOWN
    assert (await refused(world.services.key_managers.delete(own, uuid))).kind is errors.ENTRY_NOT_FOUND
    assert (await refused(world.services.key_managers.change(own, uuid, change("x")))).kind is errors.ENTRY_NOT_FOUND


async def test_unreadable_key_servers(world: World, servers: list[str]) -> None:
    """65536834, as for a key manager."""
    uuid = await inactive(world, servers[0])
    with world.open.store.database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE key_servers RENAME TO lost"))
    error = await refused(world.services.key_stores.enable(CALL, uuid, enabled=True))
    assert error.kind is errors.KEY_SERVERS_UNREADABLE

"""What keys hold: their key manager, their SVM, and where the keys of an SVM are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.key_servers import NewKeyServer
from keystead.core.keys.guarding import TERMINAL_STATES
from keystead.core.keys.model import AttemptState, Copy, Detached, KeyState, Presence
from keystead.core.server_address import ServerAddress
from keystead.service.cluster.svms import Svms
from keystead.service.configuration.key_managers import KeyManagers
from tests.service.worlds.changing import configuration_context
from tests.service.worlds.keepers import set_incarnation
from tests.service.worlds.keys import CALL, KeyNode, KeyWorld

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from keystead.core.keys.model import Key
    from keystead.core.model import Svm
    from keystead.kmip.testing.server import KeyServer as KmipServer
    from keystead.service.ports.store import Transaction


def key_managers(world: KeyWorld, node: KeyNode) -> KeyManagers:
    """Return the use cases of key managers on a node."""
    return KeyManagers(configuration_context(world, node))


def new(world: KeyWorld, svm: Svm, server: KmipServer) -> NewKeyManager:
    """Return a key manager of an SVM."""
    return NewKeyManager(
        None,
        svm.name,
        CertificateName(world.home.client_certificate),
        (CertificateName(world.home.server_ca),),
        (NewKeyServer(ServerAddress.parse(f"127.0.0.1:{server.port}")),),
    )


async def refused(call: Awaitable[object]) -> OntapError:
    """Return the error of a call."""
    with pytest.raises(OntapError) as raised:
        await call
    return raised.value


async def end(world: KeyWorld, key: Key, state: KeyState) -> None:
    """Have a key in a state; a final one with all of its copies destroyed."""
    now = await world.key(key.uuid)
    assert await world.store.write(lambda tx: tx.change_key(replace(now, state=state), now.state))
    if state in TERMINAL_STATES:
        copies = [replace(copy, presence=Presence.DESTROYED) for copy in await world.copies(key.uuid)]
        await world.store.write(lambda tx: tx.put_copies(copies, new=False))


async def test_a_key_manager_with_keys_is_not_deleted(key_world: KeyWorld) -> None:
    """65536867 until each has come to its end; what is left of them then goes with it."""
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server)
    node = await key_world.node()
    managers = key_managers(key_world, node)
    key = await node.create(manager)
    (row,) = await key_world.servers(manager)
    (profile,) = await key_world.store.read(lambda tx: tx.profiles([row.uuid]))
    removed = replace(row, uuid="a removed server")

    def detach(tx: Transaction) -> None:
        tx.add_detached_key_server(Detached(removed, key_world.clock.now()))
        tx.put_profile(replace(profile, key_server=removed.uuid))

    await key_world.store.write(detach)
    for state in (KeyState.COMMITTED, KeyState.RETIRED, KeyState.PURGING):
        await end(key_world, key, state)
        error = await refused(managers.delete(CALL, manager))
        assert (error.kind, error.arguments[0]) == (errors.KEYS_IN_USE, ("keys", "1"))
    await end(key_world, key, KeyState.PURGED)
    await managers.delete(CALL, manager)
    assert await key_world.store.read(lambda tx: tx.key_manager(manager)) is None
    assert await key_world.store.read(lambda tx: tx.keys([key.uuid])) == ()
    assert await key_world.store.read(lambda tx: tx.profiles([row.uuid, removed.uuid])) == ()


async def test_an_svm_with_keys_at_the_cluster(key_world: KeyWorld) -> None:
    """It gets no key manager of its own (65536878) and is not deleted, until its keys have come to their end."""
    svm = await key_world.home.svm()
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    node = await key_world.node()
    managers, svms = key_managers(key_world, node), Svms(node.store, node.audit)
    key = await node.create(manager, svm=svm)
    error = await refused(managers.create(CALL, new(key_world, svm, server)))
    assert (error.kind, error.arguments) == (errors.KEYS_AT_CLUSTER, (("keys", "1"),))
    error = await refused(svms.delete(CALL, svm.uuid))
    assert (error.kind, error.arguments[0]) == (errors.IN_USE, ("keys", "1"))
    await end(key_world, key, KeyState.PURGED)
    own = (await managers.create(CALL, new(key_world, svm, server))).key_manager
    assert own.svm == svm
    await managers.delete(CALL, own.uuid)
    await svms.delete(CALL, svm.uuid)
    assert await key_world.store.read(lambda tx: tx.svm(svm.uuid)) is None


async def test_what_ended_keys_left_on_servers_is_waited_for(key_world: KeyWorld) -> None:
    """Without the key's row, nobody would know whose it is; not for what another incarnation's attempt left."""
    svm = await key_world.home.svm()
    (server,) = await key_world.start(1)
    manager = await key_world.key_manager(server, of_cluster=True)
    node = await key_world.node()
    managers, svms = key_managers(key_world, node), Svms(node.store, node.audit)
    key = await node.create(manager, svm=svm)
    await end(key_world, key, KeyState.ABORTED)
    (attempt,) = await key_world.attempts(key.uuid)
    (copy,) = await key_world.copies(key.uuid)
    left = replace(attempt, number=2, state=AttemptState.ABORTED, token="another")
    late = Copy(key.uuid, 2, copy.key_server, Presence.UNKNOWN)
    await key_world.store.write(lambda tx: (tx.add_attempt(left), tx.put_copies([late], new=True)))
    error = await refused(managers.delete(CALL, manager))
    assert (error.kind, error.arguments[0]) == (errors.KEYS_IN_USE, ("keys", "1"))
    error = await refused(svms.delete(CALL, svm.uuid))
    assert (error.kind, error.arguments[0]) == (errors.IN_USE, ("keys", "1"))
    await set_incarnation(key_world, uuid="another", number=2)
    await svms.delete(CALL, svm.uuid)
    await managers.delete(CALL, manager)

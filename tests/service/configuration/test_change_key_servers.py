"""Changing and removing key servers as use cases: planned, proved, planned again and stored, with real key servers."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.key_servers import ModifyRequest
from keystead.core.model import Node, Release
from keystead.core.secret import Secret
from keystead.core.server_address import ServerAddress
from keystead.service.probing.prober import password_context
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import Authority, server_context
from tests.service.conftest import CALL, World, add, asked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from keystead.core.model import KeyServer
    from tests.peers.fixtures import Pki


async def refused(call: Awaitable[object]) -> OntapError:
    with pytest.raises(OntapError) as raised:
        await call
    return raised.value


def port_of(server: str) -> int:
    return ServerAddress.parse(server).port


def password_of(world: World, server: KeyServer) -> bytes | None:
    """Return the stored password, opened where it stands."""
    sealed = server.sealed_password
    return world.open.sealer.unseal(sealed, password_context(server.uuid)).reveal() if sealed else None


@contextmanager
def counted(pki: Pki, *names: str) -> Iterator[fault.FaultServer]:
    """Yield a sound key server of one's own, whose connections can be counted; ``names`` stand in its certificate."""
    credentials = pki.server_ca.issue(names) if names else pki.server
    context = server_context(credentials, client_ca=pki.client_ca)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        yield server


# --- modify ---


async def test_timeouts_are_stored_unproved(world: World, pki: Pki) -> None:
    """A change that is not about reaching the server needs nobody's answer: the server is gone by then."""
    with counted(pki) as server:
        address = f"127.0.0.1:{server.port}"
        manager = await world.key_manager(address)
        before = server.accepted
        changed = await world.modify(manager, address, timeout=-1, create_remove_timeout=0)
        assert server.accepted == before
    assert await world.server(manager, address) == changed
    assert (changed.timeout, changed.create_remove_timeout) == (-1, 0)
    await world.modify(manager, address, timeout=60)
    assert (await world.server(manager, address)).timeout == 60


async def test_all_else_is_proved(world: World, pki: Pki, closed: str) -> None:
    """What cannot be proved is not stored: same codes and arguments as in an add, target server, or the port."""
    with counted(pki) as server:
        address = f"127.0.0.1:{server.port}"
        manager = await world.key_manager(address)
        stored = await world.server(manager, address)
        error = await refused(world.modify(manager, address, port=port_of(closed), timeout=1))
        assert (error.kind, error.target) == (errors.NETWORK, "port")
        assert error.arguments == (("server", closed), ("stage", "connect"), ("reason", "connection_refused"))
        error = await refused(world.modify(manager, address, secondary_key_servers=("nosuch.invalid",)))
        assert (error.kind, error.target) == (errors.NETWORK, "server")
        assert ("server", f"nosuch.invalid:{server.port}") in error.arguments
    for change in ({"username": "u", "password": Secret("p")}, {"tls_server_name": "kms.example.com"}):
        error = await refused(world.modify(manager, address, **change))
        assert (error.kind, error.target) == (errors.NETWORK, "server")
    assert await world.server(manager, address) == stored
    assert (await world.audited())[-1] == ("success", "")


async def test_a_port_is_changed(world: World, servers: list[str]) -> None:
    """The server is found at its new address only, in its old place; everything else stays."""
    manager = await world.key_manager(servers[0], servers[1])
    first = await world.modify(manager, servers[0], username="u", password=Secret("p"), timeout=7)
    changed = await world.modify(manager, servers[0], port=port_of(servers[2]))
    assert changed == replace(first, address=ServerAddress.parse(servers[2]))
    assert await world.stored(manager) == [servers[2], servers[1]]
    assert password_of(world, changed) == b"p"
    assert (await refused(world.modify(manager, servers[0], timeout=1))).kind is errors.KEY_SERVER_NOT_CONFIGURED
    error = await refused(world.modify(manager, servers[2], port=port_of(servers[1])))
    assert (error.kind, error.target) == (errors.KEY_SERVER_EXISTS, "port")
    assert error.arguments == (("server", servers[1]),)


async def test_a_credential_is_changed_and_cleared(world: World, servers: list[str]) -> None:
    """A new password is sealed to its row, also for the same user name; clearing the name clears both."""
    manager = await world.key_manager(servers[0])
    for username, password in (("u", "first"), ("u", "second"), ("v", "third")):
        await world.modify(manager, servers[0], username=username, password=Secret(password))
        stored = await world.server(manager, servers[0])
        assert (stored.username, password_of(world, stored)) == (username, password.encode())
        assert password.encode() not in (stored.sealed_password or b"")
    await world.modify(manager, servers[0], password=Secret("fourth"))
    await world.modify(manager, servers[0], timeout=9)
    stored = await world.server(manager, servers[0])
    assert (stored.username, password_of(world, stored), stored.timeout) == ("v", b"fourth", 9)
    await world.modify(manager, servers[0], username="")
    stored = await world.server(manager, servers[0])
    assert (stored.username, stored.sealed_password) == ("", None)
    assert (await refused(world.modify(manager, servers[0], password=Secret("p")))).kind is errors.MISSING_USERNAME


async def test_the_stored_credential_is_shown_to_a_changed_server(world: World, pki: Pki, servers: list[str]) -> None:
    """A server that is moved is proved with the password that is kept."""
    context = server_context(pki.server, client_ca=pki.client_ca)
    script = kmip.answering({kmip.LOCATE: kmip.failure(kmip.LOCATE, kmip.AUTHENTICATION_NOT_SUCCESSFUL)})
    manager = await world.key_manager(servers[0])
    await world.modify(manager, servers[0], username="u", password=Secret("p"))
    with fault.FaultServer(fault.tls(context, script)) as strict:
        error = await refused(world.modify(manager, servers[0], port=strict.port))
        assert error.kind is errors.KMIP_COMMAND, "with a credential it is the credential that is refused"
        error = await refused(world.modify(manager, servers[0], port=strict.port, username=""))
        assert error.kind is errors.CLIENT_CERTIFICATE_REFUSED, "without one it is the certificate"


async def test_secondaries_are_replaced_and_removed(world: World, servers: list[str]) -> None:
    """An empty list removes them all; in between they go with their primary to another port."""
    manager = await world.key_manager(servers[0])
    await world.modify(manager, servers[0], secondary_key_servers=("localhost",))
    await world.modify(manager, servers[0], port=port_of(servers[1]))
    assert (await world.server(manager, servers[1])).secondary_key_servers == ("localhost",)
    await world.modify(manager, servers[1], secondary_key_servers=())
    assert (await world.server(manager, servers[1])).secondary_key_servers == ()


@pytest.mark.parametrize("named", ["kms.example.com", "192.0.2.9"])
async def test_the_name_in_the_certificate(world: World, pki: Pki, named: str) -> None:
    """A server whose certificate names another host is refused without that name, accepted with it; secondaries too."""
    with counted(pki, named) as server, counted(pki) as sound:
        address, other = (f"127.0.0.1:{each.port}" for each in (server, sound))
        manager = await world.key_manager(other)
        error = await refused(world.add(manager, add(asked(address))))
        assert error.kind is errors.SERVER_CA_REFUSED
        assert ("reason", "server_certificate_wrong_name") in error.arguments
        new = asked(address, tls_server_name=named, secondary_key_servers=("localhost",))
        (stored,) = await world.add(manager, add(new))
        assert stored.tls_server_name == named
        error = await refused(world.modify(manager, address, tls_server_name=""))
        assert (error.kind, error.target) == (errors.SERVER_CA_REFUSED, "server")
        assert (await world.server(manager, address)).tls_server_name == named
        error = await refused(world.modify(manager, other, port=server.port))
        assert error.kind is errors.KEY_SERVER_EXISTS
        await world.remove(manager, address)
        await world.modify(manager, other, port=server.port, tls_server_name=named)
        assert await world.stored(manager) == [address]


async def test_a_dry_run_of_a_change(world: World, servers: list[str], closed: str) -> None:
    """The rules hold, the server as it would be is proved whatever is changed, nothing is stored, it is on record."""
    manager = await world.key_manager(servers[0])
    address = ServerAddress.parse(servers[0])
    stored = await world.server(manager, servers[0])
    for request, reason in (
        (ModifyRequest(address, port=port_of(closed)), "connection_refused"),
        (ModifyRequest(address, port=port_of(servers[1])), None),
        (ModifyRequest(address, timeout=3), None),
    ):
        (result,) = await world.dry_run(manager, request)
        assert result.reason == reason
    assert await world.server(manager, servers[0]) == stored
    assert [state for state, _ in await world.audited()][-3:] == ["success"] * 3
    elsewhere = ModifyRequest(ServerAddress.parse(closed), timeout=3)
    assert (await refused(world.dry_run(manager, elsewhere))).kind is errors.KEY_SERVER_NOT_CONFIGURED


async def test_releases_of_nodes(world: World, servers: list[str]) -> None:
    """One node below the release forbids what that release brought."""
    manager = await world.key_manager(servers[0])
    await world.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 18, 0))))
    assert (await refused(world.modify(manager, servers[0], port=1))).kind is errors.PORT_RELEASE
    await world.store.write(lambda tx: tx.put_node(Node("old", "old", Release(9, 11, 0))))
    new = asked(servers[1], secondary_key_servers=("127.0.0.2",))
    assert (await refused(world.add(manager, add(new)))).kind is errors.SECONDARIES_RELEASE
    error = await refused(world.modify(manager, servers[0], secondary_key_servers=("127.0.0.2",)))
    assert error.kind is errors.SECONDARIES_RELEASE


# --- remove ---


async def test_servers_are_removed_to_the_last(world: World, servers: list[str]) -> None:
    """The others keep their places; the key manager lives on without servers, and takes new ones."""
    manager = await world.key_manager(*servers[:3])
    await world.modify(manager, servers[1], secondary_key_servers=("localhost",))
    places = {str(server.address): server.position for server in await world.rows(manager)}
    for gone in (servers[1], servers[0], servers[2]):
        del places[gone]
        await world.remove(manager, gone)
        assert {str(server.address): server.position for server in await world.rows(manager)} == places
        assert (await refused(world.remove(manager, gone))).kind is errors.KEY_SERVER_NOT_CONFIGURED
    assert (await world.services.key_servers.state(CALL, manager)).servers == ()
    (again,) = await world.add(manager, add(asked(servers[1])))
    assert (again.position, again.secondary_key_servers) == (1, ())


async def test_what_is_missing(world: World, servers: list[str]) -> None:
    """A key manager that is not there is code 4, a server that is not there 65536843."""
    assert (await refused(world.remove("nope", servers[0]))).kind is errors.ENTRY_NOT_FOUND
    assert (await refused(world.modify("nope", servers[0], timeout=1))).kind is errors.ENTRY_NOT_FOUND
    manager = await world.key_manager(servers[0])
    for call in (world.remove(manager, servers[1]), world.modify(manager, servers[1], timeout=1)):
        error = await refused(call)
        assert (error.kind, error.target) == (errors.KEY_SERVER_NOT_CONFIGURED, "server")


# --- what others do while a change is proved ---


async def moved(world: World, manager: str, server: str, others: Awaitable[object], **change: Any) -> OntapError | None:
    """Move a server, and let others do something while it is being proved at its new port."""
    reached, go_on = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    answering = kmip.answering()

    def hold(connection: Any) -> None:
        loop.call_soon_threadsafe(reached.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result()
        answering(connection)

    context = server_context(world.pki.server, client_ca=world.pki.client_ca)
    with fault.FaultServer(fault.tls(context, hold)) as slow:
        task = asyncio.create_task(world.modify(manager, server, port=slow.port, **change))
        await reached.wait()
        try:
            await others
        finally:
            go_on.set()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
        assert not isinstance(outcome, BaseException) or isinstance(outcome, OntapError), outcome
        return outcome if isinstance(outcome, OntapError) else None


async def test_a_server_removed_meanwhile(world: World, servers: list[str]) -> None:
    """It does not come back."""
    manager = await world.key_manager(servers[0], servers[1])
    error = await moved(world, manager, servers[0], world.remove(manager, servers[0]))
    assert error is not None
    assert error.kind is errors.KEY_SERVER_NOT_CONFIGURED
    assert await world.stored(manager) == [servers[1]]


async def test_a_server_removed_and_added_again_meanwhile(world: World, servers: list[str]) -> None:
    """The new row is proved anew, and a password is sealed to it."""
    manager = await world.key_manager(servers[0])

    async def replace_it() -> None:
        await world.remove(manager, servers[0])
        await world.add(manager, add(asked(servers[0], timeout=3)))

    assert not await moved(world, manager, servers[0], replace_it(), username="u", password=Secret("p"))
    (stored,) = await world.rows(manager)
    assert (stored.username, password_of(world, stored), stored.timeout) == ("u", b"p", 3)


async def test_a_credential_changed_meanwhile_is_not_lost(world: World, servers: list[str]) -> None:
    """Both changes count, and the two together were proved."""
    manager = await world.key_manager(servers[0])
    other = world.modify(manager, servers[0], username="u", password=Secret("p"), timeout=4)
    assert not await moved(world, manager, servers[0], other)
    (stored,) = await world.rows(manager)
    assert (stored.username, password_of(world, stored), stored.timeout) == ("u", b"p", 4)
    assert str(stored.address) != servers[0]


async def test_certificates_replaced_meanwhile(world: World, servers: list[str]) -> None:
    """A proof with the certificates of before does not count: it is made again with those that are there now."""
    manager = await world.key_manager(servers[0])
    before = (await world.services.key_servers.state(CALL, manager)).key_manager
    changed = replace(before, server_ca_certificates=(await world.server_ca(Authority("Another CA").pem),))
    replaced = world.store.write(lambda tx: tx.change_key_manager(changed))
    error = await moved(world, manager, servers[0], replaced)
    assert error is not None
    assert error.kind is errors.SERVER_CA_REFUSED
    assert await world.stored(manager) == [servers[0]]


async def test_a_change_that_is_overtaken_again_and_again_ends(
    world: World, servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All proofs of a change share one deadline; then it is refused with 262145, and nothing is stored."""
    manager = await world.key_manager(servers[0])
    store, write = world.store, world.store.write
    names = itertools.count()

    async def write_after_another(work: Any) -> Any:
        state = await world.services.key_servers.state(CALL, manager)
        overtaking = replace(state.key_manager, configuration_name=f"c{next(names)}")
        await write(lambda tx: tx.change_key_manager(overtaking))
        return await write(work)

    monkeypatch.setattr(store, "write", write_after_another)
    monkeypatch.setattr(world.open.queue, "deadline_s", 1.0)
    error = await refused(world.modify(manager, servers[0], username="u", password=Secret("p")))
    assert (error.kind, error.retry_after is None) == (errors.TOO_BUSY, False)
    assert next(names) > 1
    assert (await world.rows(manager))[0].username == ""


async def test_what_needed_no_proof_and_now_does_is_proved(
    world: World, pki: Pki, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change that needs no proof is proved if another call changes the stored name meanwhile."""
    with counted(pki, "127.0.0.1", "alpha.test", "beta.test") as server:
        address = f"127.0.0.1:{server.port}"
        manager = await world.key_manager(address)
        await world.modify(manager, address, tls_server_name="alpha.test")
        store, write = world.store, world.store.write
        before = server.accepted

        async def write_after_another(work: Any) -> Any:
            monkeypatch.setattr(store, "write", write)
            await world.modify(manager, address, tls_server_name="beta.test")
            return await write(work)

        monkeypatch.setattr(store, "write", write_after_another)
        changed = await world.modify(manager, address, tls_server_name="alpha.test")
        assert changed.tls_server_name == "alpha.test"
        assert server.accepted == before + 2

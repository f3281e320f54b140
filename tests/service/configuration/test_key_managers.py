"""Changing, deleting, reading key managers as use cases, on a real database with real key servers."""

from __future__ import annotations

import asyncio
import itertools
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from keystead.core import errors
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.key_managers import CertificateName, KeyManagerChange, NewKeyManager
from keystead.core.model import Certificate, KeyManager
from keystead.core.secret import Secret
from keystead.service.loading import incarnation_of
from keystead.service.ports.page import Page
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.certificates import Authority, server_context
from tests.service.configuration.test_key_servers import refused
from tests.service.conftest import CALL, World, add, asked

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Iterator

    from keystead.core.errors import OntapError
    from tests.peers.fixtures import Pki

EVERYTHING = frozenset({"external.servers.server", "external.client_certificate.name"})


@pytest.fixture(scope="module")
def other_ca() -> Authority:
    """Another authority of key servers."""
    return Authority("another CA")


@pytest.fixture
def moved(pki: Pki, other_ca: Authority) -> Iterator[str]:
    """Yield a server whose certificate is of the other authority."""
    context = server_context(other_ca.issue(), client_ca=pki.client_ca)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        yield f"127.0.0.1:{server.port}"


def renewed(pki: Pki) -> str:
    """Return a client certificate of the same key pair, as the authority that key servers trust renews it."""
    return pki.client_ca.issue((), common_name="keystead", purpose="client", key=pki.client.key).certificate_pem


async def install(world: World, type_: str, pem: str, name: str, *, key: bool = False, svm: str | None = None) -> str:
    """Install a certificate with the client's key, or without one; return its uuid."""
    private_key = Secret(world.pki.client.key_pem) if key else None
    new = NewCertificate(type_, pem, name=name, svm_name=svm, private_key=private_key)
    return (await world.services.certificates.install(CALL, new)).uuid


def change(client: str | None = None, *cas: str, policy: str | None = None) -> KeyManagerChange:
    """Return a change that names certificates by uuid."""
    return KeyManagerChange(
        CertificateName(client) if client else None, tuple(map(CertificateName, cas)) if cas else None, policy
    )


async def key_manager(world: World, uuid: str) -> KeyManager:
    """Return the stored key manager."""
    found = await world.store.read(lambda tx: tx.key_manager(uuid))
    assert found is not None
    return found


# --- change ---


async def test_certificates_are_replaced_when_every_server_accepts_them(world: World, servers: list[str]) -> None:
    """The renewed client certificate and one more CA, with a user name and a secondary on the way."""
    uuid = await world.key_manager(servers[0])
    await world.add(uuid, add(asked(servers[1], username="u", password=Secret("hunter2"))))
    before = await world.store.read(lambda tx: tx.key_servers(uuid))
    client = await install(world, "client", renewed(world.pki), "renewed", key=True)
    ca = await install(world, "server_ca", world.pki.server_ca.pem, "again")
    await world.services.key_managers.change(CALL, uuid, change(client, ca))
    after = await key_manager(world, uuid)
    assert (after.client_certificate, after.server_ca_certificates) == (client, (ca,))
    assert await world.store.read(lambda tx: tx.key_servers(uuid)) == before
    assert (await world.audited())[-1] == ("success", "")


async def test_a_server_that_refuses_keeps_the_old_ones(world: World, servers: list[str], other_ca: Authority) -> None:
    """The code, target and arguments are those of the server that fails; nothing is stored."""
    uuid = await world.key_manager(*servers[:2])
    before = await key_manager(world, uuid)
    wrong = await install(world, "server_ca", other_ca.pem, "wrong")
    client = await install(world, "client", renewed(world.pki), "renewed", key=True)
    for asked_for in (change(None, wrong), change(client, wrong)):
        error = await refused(world.services.key_managers.change(CALL, uuid, asked_for))
        assert (error.kind, error.target) == (errors.SERVER_CA_REFUSED, "external.server_ca_certificates")
        assert ("reason", "server_certificate_issuer_not_found") in error.arguments
        assert [text for name, text in error.arguments if name == "server"] == servers[:2]
    assert await key_manager(world, uuid) == before
    strict = Authority("another client CA")
    context = server_context(world.pki.server, client_ca=strict)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        await world.store.write(
            lambda tx: tx.change_key_server(
                replace(tx.key_servers(uuid)[1], address=asked(f"127.0.0.1:{server.port}").server)
            )
        )
        error = await refused(world.services.key_managers.change(CALL, uuid, change(client)))
    assert (error.kind, error.target) == (errors.CLIENT_CERTIFICATE_REFUSED, "external.client_certificate")
    assert await key_manager(world, uuid) == before


async def test_another_key_pair_is_refused_before_any_server_is_asked(world: World, servers: list[str]) -> None:
    """65536850: key servers know their keys' owner by it."""
    uuid = await world.key_manager(servers[0])
    other = world.pki.client_ca.issue((), purpose="client")
    new = NewCertificate("client", other.certificate_pem, name="other", private_key=Secret(other.key_pem))
    client = (await world.services.certificates.install(CALL, new)).uuid
    assert (await refused(world.services.key_managers.check_change(CALL, uuid, change(client)))).kind is errors.KEY_PAIR
    error = await refused(world.services.key_managers.change(CALL, uuid, change(client)))
    assert (error.kind, error.target) == (errors.KEY_PAIR, "external.client_certificate")


async def test_without_servers_nothing_is_proved(world: World, servers: list[str], other_ca: Authority) -> None:
    """The certificates are stored: there is nobody to ask. A policy needs no proof at all."""
    await world.services.svms.create(CALL, "vs0")
    uuid = await world.key_manager(servers[0], svm="vs0")
    await world.remove(uuid, servers[0])
    ca = await install(world, "server_ca", other_ca.pem, "other")
    await world.services.key_managers.change(CALL, uuid, change(None, ca))
    await world.services.key_managers.change(CALL, uuid, change(policy="gold"))
    after = await key_manager(world, uuid)
    assert (after.server_ca_certificates, after.policy) == ((ca,), "gold")


class Gate:
    """A key server that keeps its callers waiting while it is shut."""

    def __init__(self, authority: Authority, pki: Pki) -> None:
        self.reached, self._open = threading.Event(), threading.Event()
        self._open.set()
        self._script = fault.tls(server_context(authority.issue(), client_ca=pki.client_ca), kmip.answering())
        self.server = fault.FaultServer(self._serve)
        self.address = f"127.0.0.1:{self.server.port}"

    def _serve(self, connection: socket.socket) -> None:
        self.reached.set()
        self._open.wait(60)
        self._script(connection)

    @asynccontextmanager
    async def shut(self, call: Awaitable[Any]) -> AsyncIterator[asyncio.Future[Any]]:
        """Run a call that calls here, and do something else while it waits."""
        self.reached.clear()
        self._open.clear()
        waiting = asyncio.ensure_future(call)
        assert await asyncio.to_thread(self.reached.wait, 10)
        yield waiting
        self._open.set()


async def test_a_server_that_comes_while_a_change_is_proved(
    world: World, servers: list[str], other_ca: Authority, pki: Pki
) -> None:
    """The change meets a server that it has not proved: it proves again, and that one refuses it."""
    gate = Gate(other_ca, pki)
    uuid = await world.key_manager(servers[0])
    await world.remove(uuid, servers[0])
    new = await install(world, "server_ca", other_ca.pem, "new")
    both = (*(await key_manager(world, uuid)).server_ca_certificates, new)
    changed = world.services.key_managers.change
    await changed(CALL, uuid, change(None, *both))
    with gate.server:
        await world.add(uuid, add(asked(gate.address)))
        async with gate.shut(changed(CALL, uuid, change(None, new))) as waiting:
            await world.add(uuid, add(asked(servers[1])))
        error = await refused(waiting)
    assert (error.kind, error.target) == (errors.SERVER_CA_REFUSED, "external.server_ca_certificates")
    assert dict(error.arguments)["server"] == servers[1]
    assert (await key_manager(world, uuid)).server_ca_certificates == both


async def test_a_change_that_comes_while_a_server_is_proved(
    world: World, servers: list[str], moved: str, other_ca: Authority, pki: Pki
) -> None:
    """The server was proved with certificates that are gone: it is proved again, with those that count."""
    gate = Gate(pki.server_ca, pki)
    uuid = await world.key_manager(servers[0])
    await world.remove(uuid, servers[0])
    new = await install(world, "server_ca", other_ca.pem, "new")
    both = (*(await key_manager(world, uuid)).server_ca_certificates, new)
    changed = world.services.key_managers.change
    await changed(CALL, uuid, change(None, *both))
    await world.add(uuid, add(asked(moved)))
    with gate.server:
        async with gate.shut(world.add(uuid, add(asked(gate.address)))) as waiting:
            await changed(CALL, uuid, change(None, new))
        error = await refused(waiting)
    assert (error.kind, error.target) == (errors.SERVER_CA_REFUSED, "server")
    assert await world.stored(uuid) == [moved]


async def test_a_name_that_comes_to_mean_another_certificate(world: World, other_ca: Authority, pki: Pki) -> None:
    """A creation proves again when the CA of this name is another one by the time it is stored."""
    gate = Gate(pki.server_ca, pki)
    client, _ = await world.certificates()
    old = await install(world, "server_ca", pki.server_ca.pem, "ca")
    names = CertificateName(client), (CertificateName(name="ca"),)
    create = world.services.key_managers.create(CALL, NewKeyManager(None, None, *names, (asked(gate.address),)))
    with gate.server:
        async with gate.shut(create) as waiting:
            await world.services.certificates.delete(CALL, old)
            await install(world, "server_ca", other_ca.pem, "ca")
        assert (await refused(waiting)).kind is errors.SERVER_CA_REFUSED
    assert await world.services.key_managers.page(CALL, Page()) == ()


# --- who may name which certificate ---


async def overtaken(world: World, monkeypatch: pytest.MonkeyPatch, call: Awaitable[object], swap: Any) -> OntapError:
    """Return the refusal of a call before each of whose attempts to store others change something, within a second."""
    store, write = world.store, world.store.write
    attempts = itertools.count()

    async def write_after_another(work: Any) -> Any:
        await write(lambda tx: swap(tx, next(attempts)))
        return await write(work)

    monkeypatch.setattr(store, "write", write_after_another)
    monkeypatch.setattr(world.open.queue, "deadline_s", 1.0)
    error = await refused(call)
    monkeypatch.undo()
    assert next(attempts) > 1
    return error


@pytest.mark.parametrize("number", [0, 1], ids=["without servers", "with one"])
async def test_a_change_that_is_overtaken_again_and_again_ends(
    world: World, servers: list[str], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """All its proofs have one deadline: then it is 262145, to be sent again, and nothing of it is stored."""
    uuid = await world.key_manager(*servers[:number] or servers[:1])
    if not number:
        await world.remove(uuid, servers[0])
    before = await key_manager(world, uuid)
    ca = await install(world, "server_ca", world.pki.server_ca.pem, "another")

    def swap(tx: Any, attempt: int) -> None:
        tx.change_key_manager(replace(before, configuration_name=f"c{attempt}"))

    error = await overtaken(world, monkeypatch, world.services.key_managers.change(CALL, uuid, change(None, ca)), swap)
    assert (error.kind, error.retry_after is None) == (errors.TOO_BUSY, False)
    assert (await key_manager(world, uuid)).server_ca_certificates == before.server_ca_certificates


async def test_a_creation_that_is_overtaken_again_and_again_ends(
    world: World, servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that means another certificate each time: 262145 in time, and nothing is created."""
    client, _ = await world.certificates()
    cas = [await install(world, "server_ca", world.pki.server_ca.pem, name) for name in ("chosen", "other")]

    def swap(tx: Any, attempt: int) -> None:
        tx.rename_certificate(cas[attempt % 2], "moving")
        tx.rename_certificate(cas[1 - attempt % 2], "chosen")
        tx.rename_certificate(cas[attempt % 2], "other")

    new = NewKeyManager(None, None, CertificateName(client), (CertificateName(name="chosen"),), (asked(servers[0]),))
    error = await overtaken(world, monkeypatch, world.services.key_managers.create(CALL, new), swap)
    assert (error.kind, error.retry_after is None) == (errors.TOO_BUSY, False)
    assert await world.services.key_managers.page(CALL, Page()) == ()


async def test_an_svms_call_names_its_own_certificates_only(world: World, servers: list[str]) -> None:
    """The cluster's and another SVM's count as not installed; a cluster call may name the cluster's."""
    svm = await world.services.svms.create(CALL, "vs0")
    await world.services.svms.create(CALL, "vs1")
    own = replace(CALL, scope=svm)
    client, ca = await world.certificates()
    foreign_client, foreign_ca = await world.certificates("vs1")
    own_client, own_ca = await world.certificates("vs0")

    def new(client: str, ca: str) -> NewKeyManager:
        return NewKeyManager(None, "vs0", CertificateName(client), (CertificateName(ca),), (asked(servers[0]),))

    create = world.services.key_managers.create
    for asked_for in (
        new(client, own_ca),
        new(own_client, ca),
        new(foreign_client, own_ca),
        new(own_client, foreign_ca),
    ):
        assert (await refused(create(own, asked_for))).kind is errors.CERTIFICATE_NOT_INSTALLED
    for asked_for in (new(foreign_client, ca), new(client, foreign_ca)):
        assert (await refused(create(CALL, asked_for))).kind is errors.CERTIFICATE_NOT_INSTALLED
    uuid = (await create(CALL, new(client, ca))).key_manager.uuid
    of_cluster = await install(world, "client", renewed(world.pki), "renewed", key=True)
    error = await refused(world.services.key_managers.change(own, uuid, change(of_cluster)))
    assert error.kind is errors.CERTIFICATE_NOT_INSTALLED
    await world.services.key_managers.change(own, uuid, change(None, own_ca))
    assert (await key_manager(world, uuid)).client_certificate == client


async def test_a_name_is_the_svms_before_the_clusters(world: World, servers: list[str]) -> None:
    """Both have a certificate with this name; without one of its own, an SVM gets the cluster's."""
    await world.services.svms.create(CALL, "vs0")
    key = Secret(world.pki.client.key_pem)
    install_client = NewCertificate("client", world.pki.client.certificate_pem, name="c", private_key=key)
    of_cluster = await world.services.certificates.install(CALL, install_client)
    await install(world, "server_ca", world.pki.server_ca.pem, "ca")
    own = await world.services.certificates.install(CALL, replace(install_client, svm_name="vs0"))
    new = NewKeyManager(
        None, "vs0", CertificateName(name="c"), (CertificateName(name="ca"),), (asked(servers[0]),), "p"
    )
    made = (await world.services.key_managers.create(CALL, new)).key_manager
    assert (made.client_certificate, made.policy) == (own.uuid, "p")
    both = CertificateName(of_cluster.uuid, "c")
    await world.services.key_managers.change(CALL, made.uuid, KeyManagerChange(both))
    assert (await key_manager(world, made.uuid)).client_certificate == of_cluster.uuid
    contradiction = CertificateName(of_cluster.uuid, "ca")
    error = await refused(world.services.key_managers.change(CALL, made.uuid, KeyManagerChange(contradiction)))
    assert error.kind is errors.CERTIFICATE_NOT_INSTALLED


# --- delete ---


async def test_none_is_deleted_while_destruction_is_held(world: World, servers: list[str]) -> None:
    """The database was restored, say: keys that it lacks would have nobody any more who can tell whose they are."""
    uuid = await world.key_manager(servers[0])
    life = await world.store.read(incarnation_of)
    await world.store.write(lambda tx: tx.put_incarnation(replace(life, destroys=False)))
    assert (await refused(world.services.key_managers.delete(CALL, uuid))).kind is errors.KEYS_IN_USE
    await world.store.write(lambda tx: tx.put_incarnation(life))
    await world.services.key_managers.delete(CALL, uuid)


async def test_a_deleted_key_manager_frees_its_certificates(world: World, servers: list[str]) -> None:
    """Its servers go with it, another one's stay; its certificates can be deleted, its owner can have a new one."""
    await world.services.svms.create(CALL, "vs0")
    of_svm = await world.key_manager(servers[0], svm="vs0")
    uuid = await world.key_manager(servers[0], servers[1])
    await world.services.key_managers.delete(CALL, uuid)
    assert await world.stored(uuid) == []
    assert await world.stored(of_svm) == servers[:1]
    for found in await world.store.read(lambda tx: tx.page(Certificate, Page().within(svm_uuid=None))):
        await world.services.certificates.delete(CALL, found.uuid)
    assert (await refused(world.services.key_managers.delete(CALL, uuid))).kind is errors.ENTRY_NOT_FOUND
    await world.key_manager(servers[0])


# --- read ---


async def test_a_page_reads_servers_and_names_at_once(world: World, servers: list[str]) -> None:
    """As many statements for five key managers as for one; and none for what is not wanted."""
    for number in range(5):
        await world.services.svms.create(CALL, f"vs{number}")
        await world.key_manager(servers[0], svm=f"vs{number}")
    counted: list[str] = []
    event.listen(
        world.open.store.database.reader, "before_cursor_execute", lambda *arguments: counted.append(arguments[2])
    )
    costs = {}
    for limit in (1, 5):
        for wanted in (EVERYTHING, frozenset[str]()):
            counted.clear()
            views = await world.services.key_managers.page(CALL, Page(limit=limit, wanted=wanted))
            costs[limit, bool(wanted)] = len([sql for sql in counted if sql.startswith("SELECT")])
            assert len(views) == limit
            for view in views:
                assert [str(server.address) for server in view.servers] == (servers[:1] if wanted else [])
                assert (view.client_certificate_name is not None) == bool(wanted)
    assert costs[1, True] == costs[5, True] == costs[1, False] + 2
    assert costs[1, False] == costs[5, False]


async def test_unreadable_key_servers(world: World, servers: list[str]) -> None:
    """65536834 where servers are shown, and only there."""
    uuid = await world.key_manager(servers[0])
    with world.open.store.database.writer.begin() as connection:
        connection.execute(text("ALTER TABLE key_servers RENAME TO lost"))
    key_managers = world.services.key_managers
    for call in (key_managers.get(CALL, uuid, EVERYTHING), key_managers.page(CALL, Page(wanted=EVERYTHING))):
        assert (await refused(call)).kind is errors.KEY_SERVERS_UNREADABLE
    assert (await key_managers.get(CALL, uuid, frozenset())).key_manager.uuid == uuid

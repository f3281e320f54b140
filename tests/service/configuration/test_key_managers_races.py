"""Callers that create, change and delete at once, on both engines: never what no order of them would give."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from keystead.core import errors
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.key_managers import CertificateName, KeyManagerChange, NewKeyManager
from keystead.core.key_servers import AddRequest
from keystead.service.cluster.info import ClusterChange
from tests.peers import fault_servers as fault
from tests.peers import kmip_answers as kmip
from tests.peers.adding import CALL, new_key_server, opened
from tests.peers.certificates import Authority, server_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from keystead.core.model import KeyManager
    from keystead.service.ports.store import Transaction
    from keystead.service.services import Services
    from tests.peers.fixtures import Pki
    from tests.peers.homes import Home

ROUNDS = 5


@pytest.fixture(scope="module")
def moved_to() -> Authority:
    """Another authority of key servers."""
    return Authority("another CA")


@pytest.fixture
def moved(pki: Pki, moved_to: Authority) -> Iterator[str]:
    """Yield a server whose certificate is of the other authority."""
    context = server_context(moved_to.issue(), client_ca=pki.client_ca)
    with fault.FaultServer(fault.tls(context, kmip.answering())) as server:
        yield f"127.0.0.1:{server.port}"


async def at_once(*calls: Awaitable[Any]) -> list[ErrorKind | None]:
    """Make calls at once; return what refused each, None for success."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, OntapError):
            raise outcome
    return [outcome.kind if isinstance(outcome, OntapError) else None for outcome in outcomes]


def trusting(*cas: str) -> KeyManagerChange:
    """Return a change of the server CA certificates."""
    return KeyManagerChange(server_ca_certificates=tuple(map(CertificateName, cas)))


async def install_ca(services: Services, authority: Authority, name: str) -> str:
    """Install a CA of the cluster; return its uuid."""
    return (await services.certificates.install(CALL, NewCertificate("server_ca", authority.pem, name=name))).uuid


async def stored(home: Home, uuid: str) -> KeyManager:
    """Return the key manager as it is stored."""
    found = await home.store.read(lambda tx: tx.key_manager(uuid))
    assert found is not None
    return found


async def test_a_name_is_the_clusters_or_an_svms(home: Home) -> None:
    """Whoever gives it second is refused, whatever is created or renamed at once."""
    async with opened(str(home.data), home.database) as services:
        svm = await services.svms.create(CALL, "vs-renamed")
        for number in range(ROUNDS):
            name = f"name-{number}"
            ended = await at_once(
                services.cluster.change(CALL, ClusterChange(name=name)),
                services.svms.create(CALL, name),
                services.svms.change(CALL, svm.uuid, name, {}),
            )
            assert sorted(ended, key=str) == [errors.DUPLICATE_ENTRY] * 2 + [None]


async def test_the_cluster_gets_one(home: Home, sound_ports: list[int]) -> None:
    """Enabled or not: whoever comes second hears what there is."""
    client, ca = CertificateName(home.client_certificate), CertificateName(home.server_ca)
    server = new_key_server({"server": f"127.0.0.1:{sound_ports[0]}"})
    async with opened(str(home.data), home.database) as services:
        for _ in range(ROUNDS):
            new = [NewKeyManager(None, None, client, (ca,), (server,), inactive=bool(each % 2)) for each in range(4)]
            refusals = await at_once(*(services.key_managers.create(CALL, each) for each in new))
            assert refusals.count(None) == 1, refusals
            made = await home.store.read(lambda tx: tx.key_manager_of(None))
            assert made is not None
            assert made.enabled is (refusals.index(None) % 2 == 0)
            to_enabled = errors.ADMIN_SVM_HAS_KEY_MANAGER if made.enabled else errors.ENABLE_BESIDE_INACTIVE
            expected = [errors.INACTIVE_BESIDE_ANOTHER if each.inactive else to_enabled for each in new]
            assert all(kind in {None, wanted} for kind, wanted in zip(refusals, expected, strict=True)), refusals
            if not made.enabled:
                await services.key_stores.enable(CALL, made.uuid, enabled=True)
            await services.key_managers.delete(CALL, made.uuid)


async def test_no_server_stands_there_that_was_proved_with_other_certificates(
    home: Home, sound_ports: list[int], moved: str, moved_to: Authority
) -> None:
    """The old authority goes while a server of it is added: whichever is stored first, the other is refused."""
    key_manager = await home.key_manager()
    old_server = f"127.0.0.1:{sound_ports[0]}"
    async with opened(str(home.data), home.database) as services:
        old, new = home.server_ca, await install_ca(services, moved_to, "new")
        await services.key_managers.change(CALL, key_manager, trusting(old, new))
        state = await services.key_servers.state(CALL, key_manager)
        await services.key_servers.add(CALL, state, AddRequest((new_key_server({"server": moved}),)))
        for _ in range(ROUNDS):
            state = await services.key_servers.state(CALL, key_manager)
            request = AddRequest((new_key_server({"server": old_server}),))
            refusals = await at_once(
                services.key_managers.change(CALL, key_manager, trusting(new)),
                services.key_servers.add(CALL, state, request),
            )
            servers = [str(server.address) for server in await home.servers(key_manager)]
            trusted = (await stored(home, key_manager)).server_ca_certificates
            assert (old_server in servers) == (old in trusted), refusals
            assert sorted(map(str, refusals)) == sorted(map(str, [None, errors.SERVER_CA_REFUSED]))
            if old_server in servers:
                state = await services.key_servers.state(CALL, key_manager)
                await services.key_servers.remove(CALL, state, request.servers[0].server)
            await services.key_managers.change(CALL, key_manager, trusting(old, new))


@pytest.mark.parametrize("creates", [True, False], ids=["create", "change"])
async def test_a_certificate_that_is_being_deleted(
    home: Home, moved: str, moved_to: Authority, *, creates: bool
) -> None:
    """Who names it waits for the deletion, and then hears that it is not installed."""
    looked = threading.Event()

    def delete(tx: Transaction) -> None:
        tx.certificate(ca, lock=True)
        assert not tx.certificate_users(ca)
        looked.set()
        time.sleep(0.5)
        tx.delete_certificate(ca)

    key_manager = await home.key_manager()
    async with opened(str(home.data), home.database) as services:
        ca = await install_ca(services, moved_to, "ca")
        gone = asyncio.ensure_future(home.store.write(delete))
        assert await asyncio.to_thread(looked.wait, 10)
        client, server = CertificateName(home.client_certificate), new_key_server({"server": moved})
        new = NewKeyManager(None, None, client, (CertificateName(ca),), (server,))
        call = (
            services.key_managers.create(CALL, new)
            if creates
            else services.key_managers.change(CALL, key_manager, trusting(ca))
        )
        assert await at_once(call, gone) == [errors.CERTIFICATE_NOT_INSTALLED, None]
    assert (await stored(home, key_manager)).server_ca_certificates == (home.server_ca,)
    assert await home.store.read(lambda tx: tx.key_manager_of(None)) is None

"""Certificates, key managers, SVMs, cluster and nodes as use cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keystead.core import errors
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.key_managers import CertificateName, NewKeyManager
from keystead.core.model import Certificate
from keystead.core.secret import Secret
from keystead.service.ports.page import Page
from keystead.service.probing.prober import private_key_context
from tests.service.configuration.test_key_servers import refused
from tests.service.conftest import CALL, World, asked

if TYPE_CHECKING:
    from keystead.core.model import Svm

WANTED = frozenset({"external.servers.server", "external.client_certificate.name"})


async def test_private_key_is_sealed(world: World) -> None:
    """The store holds the private key sealed to its row only."""
    client, _ = await world.certificates()
    stored = await world.store.read(lambda tx: tx.certificate(client))
    assert stored is not None
    assert stored.sealed_private_key is not None
    assert b"PRIVATE" not in stored.sealed_private_key
    opened = world.open.sealer.unseal(stored.sealed_private_key, private_key_context(client))
    assert opened == Secret(world.pki.client.key_pem)


async def test_certificate_names_are_unique_per_scope(world: World) -> None:
    """The same name again is code 1, in another scope it is free."""
    new = NewCertificate("server_ca", world.pki.server_ca.pem, name="ca")
    await world.services.certificates.install(CALL, new)
    error = await refused(world.services.certificates.install(CALL, new))
    assert (error.kind, error.target) == (errors.DUPLICATE_ENTRY, "name")
    await world.services.svms.create(CALL, "vs0")
    of_svm = NewCertificate("server_ca", world.pki.server_ca.pem, name="ca", svm_name="vs0")
    assert (await world.services.certificates.install(CALL, of_svm)).svm is not None
    names = [found.name for found in await world.services.certificates.page(CALL, Page().within(svm_name="vs0"))]
    assert names == ["ca"]


async def test_certificate_in_use(world: World, servers: list[str]) -> None:
    """A certificate of a key manager stays; others go, and then are not there."""
    await world.key_manager(servers[0])
    for found in await world.store.read(lambda tx: tx.page(Certificate, Page())):
        error = await refused(world.services.certificates.delete(CALL, found.uuid))
        assert error.kind is errors.CERTIFICATE_IN_USE
    spare = await world.services.certificates.install(
        CALL, NewCertificate("server_ca", world.pki.server_ca.pem, name="spare")
    )
    await world.services.certificates.delete(CALL, spare.uuid)
    for call in (
        world.services.certificates.get(CALL, spare.uuid),
        world.services.certificates.delete(CALL, spare.uuid),
    ):
        assert (await refused(call)).kind is errors.ENTRY_NOT_FOUND


async def test_svms(world: World) -> None:
    """SVM names are unique; a body may name an SVM by uuid, by name, or by both if they agree."""
    made: Svm = await world.services.svms.create(CALL, "vs0")
    await world.services.svms.create(CALL, "vs1")
    assert (await refused(world.services.svms.create(CALL, "vs0"))).kind is errors.DUPLICATE_ENTRY
    assert await world.services.svms.get(CALL, made.uuid) == made
    assert (await refused(world.services.svms.get(CALL, "nope"))).kind is errors.ENTRY_NOT_FOUND
    assert len(await world.services.svms.page(CALL, Page())) == 2
    for uuid, name, target in ((None, "nope", "svm.name"), ("nope", None, "svm.uuid"), (made.uuid, "vs1", "svm.uuid")):
        new = NewCertificate("server_ca", world.pki.server_ca.pem, svm_uuid=uuid, svm_name=name)
        error = await refused(world.services.certificates.install(CALL, new))
        assert (error.kind, error.target) == (errors.SVM_NOT_FOUND, target)


async def test_key_manager_is_proved_and_unique(world: World, servers: list[str], closed: str) -> None:
    """A key manager is stored when all of its servers are proved, once per scope."""
    client, ca = map(CertificateName, await world.certificates())
    bad = NewKeyManager(None, None, client, (ca,), (asked(servers[0]), asked(closed)))
    error = await refused(world.services.key_managers.create(CALL, bad))
    assert (error.kind, error.target) == (errors.NETWORK, "external.servers[1].server")
    assert await world.services.key_managers.page(CALL, Page()) == ()
    good = NewKeyManager(None, None, client, (ca,), (asked(servers[0]), asked(servers[1])))
    made = await world.services.key_managers.create(CALL, good)
    assert await world.services.key_managers.get(CALL, made.key_manager.uuid, WANTED) == made
    assert [server.position for server in made.servers] == [1, 2]
    error = await refused(world.services.key_managers.create(CALL, good))
    assert (error.kind, error.arguments) == (
        errors.ADMIN_SVM_HAS_KEY_MANAGER,
        (("key_manager", made.key_manager.uuid),),
    )
    assert (await refused(world.services.key_managers.get(CALL, "nope", WANTED))).kind is errors.ENTRY_NOT_FOUND
    incomplete = NewKeyManager(None, None, client, (), (asked(servers[0]),))
    assert (await refused(world.services.key_managers.create(CALL, incomplete))).kind is errors.EXTERNAL_INCOMPLETE


async def test_cluster_and_nodes(world: World) -> None:
    """Init made one cluster and this node."""
    assert (await world.services.cluster.get(CALL)).cluster.name == "keystead"
    (node,) = await world.services.cluster.nodes(CALL, Page())
    assert (node.name, str(node.release)) == ("keystead-01", "9.18.1")
    assert await world.services.cluster.node(CALL, node.uuid) == node
    assert (await refused(world.services.cluster.node(CALL, "nope"))).kind is errors.ENTRY_NOT_FOUND

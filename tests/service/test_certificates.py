"""Certificates as use cases: keys are sealed, calls see what is theirs, races have one outcome."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from keystead.core import errors
from keystead.core.certificates import NewCertificate
from keystead.core.certificates_making import NewRequest, NewSelfSigned
from keystead.core.certificates_signing import SigningOrder
from keystead.core.errors import OntapError
from keystead.core.model import Certificate
from keystead.service.ports import Page
from keystead.service.proving import private_key_place
from tests.service.conftest import CALL, World
from tests.service.test_key_servers import refused

ROOT = NewSelfSigned("root_ca", "Root", name="root")


async def test_a_made_key_is_sealed(world: World) -> None:
    """The key of a self-signed certificate is the certificate's, and stands in the store sealed to its row only."""
    made = await world.services.certificates.create(CALL, NewSelfSigned("client", "a"))
    stored = await world.store.read(lambda tx: tx.certificate(made.uuid))
    assert stored == made
    assert stored.sealed_private_key is not None
    assert b"PRIVATE" not in stored.sealed_private_key
    opened = world.open.sealer.unseal(stored.sealed_private_key, private_key_place(made.uuid))
    key = serialization.load_pem_private_key(opened.reveal(), None)
    assert key.public_key() == x509.load_pem_x509_certificate(made.public_certificate.encode()).public_key()
    assert (await world.audited()) == [("success", "")]


async def test_a_call_sees_its_own_svm_only(world: World) -> None:
    """Another SVM's certificate, or the cluster's, is not there: to read, rename, sign with or delete."""
    certificates, svms = world.services.certificates, world.services.svms
    mine, other = [await svms.create(CALL, name) for name in ("vs0", "vs1")]
    confined = replace(CALL, scope=mine)
    own = await certificates.create(confined, ROOT)
    assert own.svm == mine
    foreign = [await certificates.create(CALL, replace(ROOT, svm_uuid=svm)) for svm in (other.uuid, None)]
    order = SigningOrder((await certificates.request(confined, NewRequest("CN=a", algorithm="ec"))).csr)
    assert await certificates.page(confined, Page()) == (own,)
    for uuid in [each.uuid for each in foreign] + ["00000000-0000-4000-8000-000000000000"]:
        for call in (
            certificates.get(confined, uuid),
            certificates.rename(confined, uuid, "x"),
            certificates.sign(confined, uuid, order),
            certificates.delete(confined, uuid),
        ):
            error = await refused(call)
            assert (error.kind, error.target, error.svm) == (errors.ENTRY_NOT_FOUND, "uuid", None)
    elsewhere = await refused(certificates.create(confined, replace(ROOT, name="x", svm_uuid=other.uuid)))
    assert elsewhere.kind is errors.SVM_NOT_FOUND
    installed = await refused(
        certificates.install(confined, NewCertificate("server_ca", world.pki.server_ca.pem, svm_name="vs1"))
    )
    assert installed.kind is errors.SVM_NOT_FOUND
    assert "BEGIN CERTIFICATE" in await certificates.sign(confined, own.uuid, order)
    await certificates.rename(confined, own.uuid, "mine")
    await certificates.delete(confined, own.uuid)
    assert len(await certificates.page(CALL, Page())) == len(foreign)


async def test_a_name_is_refused_before_a_key_is_made(world: World) -> None:
    """What is known to fail costs no key; the argument names who has the name."""
    made = await world.services.certificates.create(CALL, ROOT)
    world.open.queue.close()  # a key could not be made any more
    error = await refused(world.services.certificates.create(CALL, ROOT))
    assert (error.kind, error.arguments) == (errors.DUPLICATE_ENTRY, (("uuid", made.uuid),))
    stopping = await refused(world.services.certificates.create(CALL, replace(ROOT, name="other")))
    assert stopping.kind is errors.SHUTTING_DOWN


async def test_one_name_at_a_time(world: World) -> None:
    """Of calls at once that ask for one name, one gets it."""
    outcomes = await asyncio.gather(
        *(world.services.certificates.create(CALL, ROOT) for _ in range(4)), return_exceptions=True
    )
    made = [each for each in outcomes if isinstance(each, Certificate)]
    kinds = [each.kind for each in outcomes if isinstance(each, OntapError)]
    assert len(made) == 1
    assert kinds == [errors.DUPLICATE_ENTRY] * 3


async def test_a_deleted_authority_signs_nothing(world: World) -> None:
    """A signature is given when its record is stored, and only while the authority is there."""
    certificates = world.services.certificates
    ca = await certificates.create(CALL, ROOT)
    order = SigningOrder((await certificates.request(CALL, NewRequest("CN=a", algorithm="ec"))).csr)
    signing = asyncio.ensure_future(certificates.sign(CALL, ca.uuid, order))
    await certificates.delete(CALL, ca.uuid)
    outcome = (await asyncio.gather(signing, return_exceptions=True))[0]
    records = [state for state, _ in await world.audited()]
    if isinstance(outcome, OntapError):
        assert outcome.kind is errors.ENTRY_NOT_FOUND
    else:
        assert isinstance(outcome, str)
    assert records.count("success") == (4 if isinstance(outcome, str) else 3)

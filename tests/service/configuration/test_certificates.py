"""Certificates as use cases: keys are sealed, calls see what is theirs, races have one outcome."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import NameOID

from keystead.core import errors
from keystead.core.certificates.certificates import NewCertificate
from keystead.core.certificates.making import NewRequest, NewSelfSigned
from keystead.core.certificates.signing import SigningOrder
from keystead.core.errors import OntapError
from keystead.core.model import Certificate
from keystead.core.probing import TlsIdentity
from keystead.core.secret import Secret
from keystead.keyservers.contexts import build
from keystead.service.ports.page import Page
from keystead.service.probing.prober import private_key_context
from tests.core import hostile_keys as hostile
from tests.core.certificates.test_certificates import key_pem
from tests.service.configuration.test_key_servers import refused
from tests.service.conftest import CALL, World

ROOT = NewSelfSigned("root_ca", "Root", name="root")


async def test_a_made_key_is_sealed(world: World) -> None:
    """The key of a self-signed certificate is the certificate's, and stands in the store sealed to its row only."""
    made = await world.services.certificates.create(CALL, NewSelfSigned("client", "a"))
    stored = await world.store.read(lambda tx: tx.certificate(made.uuid))
    assert stored == made
    assert stored.sealed_private_key is not None
    assert b"PRIVATE" not in stored.sealed_private_key
    opened = world.open.sealer.unseal(stored.sealed_private_key, private_key_context(made.uuid))
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


def _certified(key: Any) -> str:
    """Return a certificate of a key, signed by another, which makes the key's own signature unnecessary."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
    made = builder.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


KEYS = {
    "rsa": rsa.generate_private_key(65537, 2048),
    "rsa, e = 3": rsa.generate_private_key(3, 2048),
    "ed25519": ed25519.Ed25519PrivateKey.generate(),
    "ed448": ed448.Ed448PrivateKey.generate(),
    **{
        curve.name: ec.generate_private_key(curve)
        for curve in (ec.SECP224R1(), ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1(), ec.BrainpoolP256R1())
    },
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
async def test_what_is_installed_tls_can_use(world: World, key: Any) -> None:
    """Every kind of key that is accepted is one that a connection can be made with; other text around it is dropped."""
    text = Secret(b"a note\n" + key_pem(key).reveal() + pem_block_of_another_kind())
    new = NewCertificate("client", _certified(key), private_key=text)
    stored = await world.services.certificates.install(CALL, new)
    assert stored.sealed_private_key is not None
    opened = world.open.sealer.unseal(stored.sealed_private_key, private_key_context(stored.uuid))
    assert opened == key_pem(key)
    build(TlsIdentity(stored.public_certificate, opened, (), ()))  # raises what it cannot use


def pem_block_of_another_kind() -> bytes:
    """Return what OpenSSL would take for a certificate of the chain."""
    return hostile.pem("CERTIFICATE", b"\x30\0")


async def test_what_tls_takes_not_is_not_installed(world: World) -> None:
    """A sound key on a curve that TLS refuses for its strength: the certificate is at fault, now and not at a probe."""
    key = ec.generate_private_key(ec.SECP192R1())
    new = NewCertificate("client", _certified(key), private_key=key_pem(key))
    error = await refused(world.services.certificates.install(CALL, new))
    assert (error.kind, error.target) == (errors.CERTIFICATE_MALFORMED, "public_certificate")
    assert await world.services.certificates.page(CALL, Page()) == ()


async def test_a_key_that_signs_nothing_is_found_beside_the_loop(world: World) -> None:
    """The most expensive key that the numbers allow, 8192 bits without primes: refused, and others go on meanwhile."""
    text = Secret(hostile.pem("RSA PRIVATE KEY", hostile.numbers(*hostile.composite_rsa(8192))))
    key = serialization.load_pem_private_key(text.reveal(), None, unsafe_skip_rsa_key_validation=True)
    new = NewCertificate("client", _certified(key), private_key=text)
    installing = asyncio.ensure_future(refused(world.services.certificates.install(CALL, new)))
    turns, began = 0, time.monotonic()
    while not installing.done():
        await asyncio.sleep(0.001)
        turns += 1
    took_s = time.monotonic() - began
    error = await installing
    assert (error.kind, error.target) == (errors.KEY_MALFORMED, "private_key")
    assert turns > took_s * 20, (turns, took_s)

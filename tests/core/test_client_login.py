"""keystead.core.client_login: the certificate chains that authenticate an account."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keystead.core.client_login import ClientProof, NotProvenError, account_named, prove, trusted_cas
from tests.peers.certificates import DAY, Authority, Credentials

NOW = datetime.now(UTC)
CA = Authority("Login CA")
OTHER = Authority("Other CA")
INTERMEDIATE = Authority("Login Intermediate", parent=CA)


def pem(certificate: x509.Certificate) -> str:
    """Return a certificate as text."""
    return certificate.public_bytes(Encoding.PEM).decode()


def chain(credentials: Credentials, *, whole: bool = True) -> list[str]:
    """Return the chain that a client sends."""
    rest = credentials.intermediates if whole else ()
    return [pem(certificate) for certificate in (credentials.certificate, *rest)]


def self_signed(*, names: tuple[str, ...] = ("alice",), ca: bool | None = None) -> str:
    """Return a self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), 7, NOW - DAY, NOW + DAY)
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca, None), critical=True)
    return pem(builder.sign(key, hashes.SHA256()))


def test_the_account_is_the_common_name() -> None:
    """The account is the common name of the certificate, which must have exactly one."""
    assert account_named(self_signed()) == "alice"
    for names in ((), ("alice", "admin")):
        with pytest.raises(NotProvenError, match="exactly one common name"):
            account_named(self_signed(names=names))
    with pytest.raises(NotProvenError, match="cannot be read"):
        account_named("no certificate")


def test_a_chain_to_an_authority_proves() -> None:
    """A chain is valid directly, through an intermediate that the client sends, or to an installed intermediate."""
    leaf = CA.issue((), common_name="alice", purpose="client")
    proof = prove(chain(leaf), {"o": OTHER.pem, "c": CA.pem}, NOW)
    assert proof.authority == "c"
    assert proof.valid_from == leaf.certificate.not_valid_before_utc
    assert proof.valid_until == leaf.certificate.not_valid_after_utc
    beneath = INTERMEDIATE.issue((), common_name="alice", purpose="client")
    assert prove(chain(beneath), {"c": CA.pem}, NOW).authority == "c"
    assert prove(chain(beneath, whole=False), {"i": INTERMEDIATE.pem}, NOW).authority == "i"


@pytest.mark.parametrize("ca", [True, False, None])
def test_an_installed_certificate_proves_itself(ca: bool | None) -> None:
    """A self-signed certificate that is installed as ``client_ca``, as ONTAP's guides make it."""
    own = self_signed(ca=ca)
    assert prove([own], {"own": own}, NOW).authority == "own"


def of_version_1(certificate: x509.Certificate, issuer: ec.EllipticCurvePrivateKey) -> str:
    """Return a certificate without extensions as version 1 has it: without a version, and signed anew."""

    def der(tag: int, content: bytes) -> bytes:
        length = len(content).to_bytes(2).lstrip(b"\0")
        return bytes([tag, *([0x80 | len(length)] if len(content) > 0x7F else []), *length]) + content

    version, algorithm = bytes.fromhex("a003020102"), bytes.fromhex("300a06082a8648ce3d040302")  # v3, ecdsa-with-SHA256
    signed = der(0x30, certificate.tbs_certificate_bytes.partition(version)[2])
    signature = issuer.sign(signed, ec.ECDSA(hashes.SHA256()))
    whole = x509.load_der_x509_certificate(der(0x30, signed + algorithm + der(0x03, b"\0" + signature)))
    assert whole.version is x509.Version.v1
    return pem(whole)


def test_a_certificate_of_version_1_proves_nothing() -> None:
    """Neither one that an installed CA signed, nor one that is installed itself; of version 3 both do."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")])
    own = x509.CertificateBuilder(name, name, key.public_key(), 7, NOW - DAY, NOW + DAY).sign(key, hashes.SHA256())
    issued = x509.CertificateBuilder(CA.certificate.subject, name, key.public_key(), 8, NOW - DAY, NOW + DAY)
    assert isinstance(CA.key, ec.EllipticCurvePrivateKey)
    leaf = issued.sign(CA.key, hashes.SHA256())
    for certificate, signer, installed in ((own, key, None), (leaf, CA.key, CA.pem)):
        shown, older = pem(certificate), of_version_1(certificate, signer)
        assert prove([shown], {"c": installed or shown}, NOW).authority == "c"
        with pytest.raises(NotProvenError):
            prove([older], {"c": installed or older}, NOW)


def test_what_proves_nothing() -> None:
    """Another CA, a missing intermediate, another purpose, dates, an issuer that is no CA or may not sign."""
    leaf = CA.issue((), common_name="alice", purpose="client")
    beneath = INTERMEDIATE.issue((), common_name="alice", purpose="client")
    cases: list[tuple[list[str], dict[str, str]]] = [
        (chain(leaf), {}),
        (chain(leaf), {"o": OTHER.pem}),
        (chain(leaf), {"broken": "no certificate"}),
        (["no certificate"], {"c": CA.pem}),
        ([self_signed()], {"c": CA.pem}),
        (chain(beneath, whole=False), {"c": CA.pem}),
        (chain(CA.issue((), purpose="server")), {"c": CA.pem}),
        (chain(CA.issue((), purpose="client", starts=-3 * DAY, ends=-DAY)), {"c": CA.pem}),
        (chain(CA.issue((), purpose="client", starts=DAY)), {"c": CA.pem}),
    ]
    for sent, authorities in cases:
        with pytest.raises(NotProvenError):
            prove(sent, authorities, NOW)
    for more in ({"ca": False}, {"ca": None}, {"ca": True, "usage": True}):
        key = ec.generate_private_key(ec.SECP256R1())
        issuer, sent_leaf = issued_by(key, **more)
        with pytest.raises(NotProvenError):
            prove([sent_leaf], {"i": issuer}, NOW)


def issued_by(key: ec.EllipticCurvePrivateKey, *, ca: bool | None, usage: bool = False) -> tuple[str, str]:
    """Return a leaf and an issuer that lacks a property of a CA."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    issuer = x509.CertificateBuilder(subject, subject, key.public_key(), 7, NOW - DAY, NOW + DAY)
    if ca is not None:
        issuer = issuer.add_extension(x509.BasicConstraints(ca, None), critical=True)
    if usage:
        issuer = issuer.add_extension(
            x509.KeyUsage(
                digital_signature=True,
                content_commitment=False,
                key_encipherment=False,
                data_encipherment=False,
                key_agreement=False,
                key_cert_sign=False,
                crl_sign=False,
                encipher_only=False,
                decipher_only=False,
            ),
            critical=True,
        )
    leaf = x509.CertificateBuilder(
        subject,
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "alice")]),
        ec.generate_private_key(ec.SECP256R1()).public_key(),
        8,
        NOW - DAY,
        NOW + DAY,
    )
    return pem(issuer.sign(key, hashes.SHA256())), pem(leaf.sign(key, hashes.SHA256()))


def test_a_proof_ends_with_its_certificates() -> None:
    """A chain is valid from its latest begin to its earliest end, both included."""
    proof = ClientProof("c", NOW, NOW + DAY)
    assert proof.holds(NOW)
    assert proof.holds(NOW + DAY)
    assert not proof.holds(NOW - timedelta(seconds=1))
    assert not proof.holds(NOW + DAY + timedelta(seconds=1))


def test_an_svms_ca_cannot_hide_one_of_the_cluster() -> None:
    """Of two CAs with one name, TLS trusts the cluster's. Each CA is there once."""
    impostor = Authority("Login CA")
    trusted = trusted_cas([CA.pem, CA.pem], [impostor.pem, OTHER.pem, OTHER.pem])
    assert trusted == (CA.pem, OTHER.pem)

"""The facts of a certificate that are read from its PEM text only to show them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keystead.core.certificates.subjects import NO_NAMES, alternatives_in

if TYPE_CHECKING:
    from keystead.core.certificates.subjects import AlternativeNames


class CertificateFacts(NamedTuple):
    """A certificate's whole names, its key in words, and its SHA-256 fingerprint: hexadecimal pairs with colons."""

    subject: str
    issuer: str
    key: str
    fingerprint: str
    alternatives: AlternativeNames


def certificate_facts(pem: str) -> CertificateFacts:
    """Return the facts of an installed certificate. Raises ValueError for a text that is none."""
    found = x509.load_pem_x509_certificate(pem.encode())
    return CertificateFacts(
        found.subject.rfc4514_string(),
        found.issuer.rfc4514_string(),
        _key(found),
        found.fingerprint(hashes.SHA256()).hex(":").upper(),
        alternatives_in(pem) or NO_NAMES,
    )


def _key(certificate: x509.Certificate) -> str:
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA, {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC, {key.curve.name}"
    return type(key).__name__.removesuffix("PublicKey")

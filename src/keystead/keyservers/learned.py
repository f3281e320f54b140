"""The facts that a probe learned about a key server, as plain JSON values for cluster accounts and operators.

Facts come from the peer, but for those of the certificates that we show. Texts are shortened and control characters are
replaced. No fact may enter an error.
"""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keystead.core.certificates.shown import UNREADABLE, clean, facts, from_der, from_pem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import PeerCertificate
    from keystead.core.probing import TlsIdentity

NAMES_LIMIT: Final = 32


def certificate_facts(certificate: bytes) -> dict[str, object]:
    """Return subject, issuer, dates and names of a certificate (DER). Empty if the certificate cannot be read."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        return {
            "subject": clean(parsed.subject.rfc4514_string()),
            "issuer": clean(parsed.issuer.rfc4514_string()),
            "not_before": parsed.not_valid_before_utc.isoformat(),
            "not_after": parsed.not_valid_after_utc.isoformat(),
            "names": _names(parsed),
        }
    except UNREADABLE:
        return {}


def peer_certificates(chain: Sequence[bytes]) -> tuple[PeerCertificate, ...]:
    """Return facts of the certificates (DER) that a key server showed; its own first. Unreadable ones are left out."""
    return facts(from_der(chain))


def client_certificates(identity: TlsIdentity) -> tuple[PeerCertificate, ...]:
    """Return facts of the certificates that we show to key servers: the client certificate, then its issuers."""
    return facts(from_pem((identity.certificate, *identity.intermediates)))


def public_key_digest(chain: Sequence[bytes]) -> str:
    """Return the SHA-256 of the public key in the first certificate (DER), in hexadecimal. Empty if there is none.

    The public key is encoded as SubjectPublicKeyInfo (RFC 5280 section 4.1), so a renewed certificate may keep it.
    """
    with contextlib.suppress(*UNREADABLE, UnsupportedAlgorithm):
        for certificate in chain[:1]:
            key = x509.load_der_x509_certificate(certificate).public_key()
            return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return ""


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return [clean(str(name)) for name in (*hosts, *addresses)][:NAMES_LIMIT]

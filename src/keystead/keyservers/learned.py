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
from cryptography.x509.oid import NameOID

from keystead.core.model import PeerCertificate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from keystead.core.probing import TlsIdentity

TEXT_LIMIT: Final = 256
NAMES_LIMIT: Final = 32
CHAIN_LIMIT: Final = 8
UNREADABLE: Final = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""Errors of a certificate that cannot be read."""


def clean(text: str) -> str:
    """Make a peer's text safe to show: one line, printable, at most 256 characters."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:TEXT_LIMIT]
    )


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
    return _facts(from_der(chain))


def client_certificates(identity: TlsIdentity) -> tuple[PeerCertificate, ...]:
    """Return facts of the certificates that we show to key servers: the client certificate, then its issuers."""
    return _facts(from_pem((identity.certificate, *identity.intermediates)))


def from_der(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """Return the first certificates of a chain (DER). Unreadable ones are left out."""
    return _read(x509.load_der_x509_certificate, chain[:CHAIN_LIMIT])


def from_pem(texts: Sequence[str]) -> list[x509.Certificate]:
    """Return certificates (PEM). Unreadable ones are left out."""
    return _read(x509.load_pem_x509_certificate, [text.encode() for text in texts])


def facts_of(certificate: x509.Certificate) -> PeerCertificate:
    """Return the facts of a certificate. Raises one of :data:`UNREADABLE`."""
    return PeerCertificate(
        subject=clean(_common_name(certificate.subject)),
        issuer=clean(_common_name(certificate.issuer)),
        serial_number=f"{certificate.serial_number:X}",
        not_after=certificate.not_valid_after_utc,
        not_before=certificate.not_valid_before_utc,
    )


def _read(read: Callable[[bytes], x509.Certificate], encoded: Sequence[bytes]) -> list[x509.Certificate]:
    found = []
    for each in encoded:
        with contextlib.suppress(*UNREADABLE):
            found.append(read(each))
    return found


def _facts(certificates: Sequence[x509.Certificate]) -> tuple[PeerCertificate, ...]:
    found = []
    for certificate in certificates:
        with contextlib.suppress(*UNREADABLE):
            found.append(facts_of(certificate))
    return tuple(found)


def public_key_digest(chain: Sequence[bytes]) -> str:
    """Return the SHA-256 of the public key in the first certificate (DER), in hexadecimal. Empty if there is none.

    The public key is encoded as SubjectPublicKeyInfo (RFC 5280 section 4.1), so a renewed certificate may keep it.
    """
    with contextlib.suppress(*UNREADABLE, UnsupportedAlgorithm):
        for certificate in chain[:1]:
            key = x509.load_der_x509_certificate(certificate).public_key()
            return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()
    return ""


def _common_name(name: x509.Name) -> str:
    """Return the common name of a name, or the whole name if it has no common name."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    return [clean(str(name)) for name in (*hosts, *addresses)][:NAMES_LIMIT]

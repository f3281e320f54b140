"""The facts of certificates that are shown in a chain: by a key server, or by us to it. Pure.

A peer may show anything, so texts are shortened and cleaned, and what cannot be read is left out.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Final

from cryptography import x509
from cryptography.x509.oid import NameOID

from keystead.core.model import PeerCertificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from keystead.core.model import Certificate

TEXT_LIMIT: Final = 256
CHAIN_LIMIT: Final = 8
UNREADABLE: Final = (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""Errors of a certificate that cannot be read."""


def clean(text: str) -> str:
    """Make a peer's text safe to show: one line, printable, at most 256 characters."""
    return "".join(
        character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text[:TEXT_LIMIT]
    )


def from_der(chain: Sequence[bytes]) -> list[x509.Certificate]:
    """Return the first certificates of a chain (DER). Unreadable ones are left out."""
    return _read(x509.load_der_x509_certificate, chain[:CHAIN_LIMIT])


def from_pem(texts: Iterable[str]) -> list[x509.Certificate]:
    """Return certificates (PEM). Unreadable ones are left out."""
    return _read(x509.load_pem_x509_certificate, [text.encode() for text in texts])


def chain_of(certificate: Certificate) -> tuple[PeerCertificate, ...]:
    """Return what we show with an installed certificate: itself, then its intermediates."""
    of = certificate
    leaf = PeerCertificate(of.common_name, of.ca, of.serial_number, of.expiry_time, of.not_before)
    return (leaf, *facts(from_pem(of.intermediates)))


def facts(certificates: Iterable[x509.Certificate]) -> tuple[PeerCertificate, ...]:
    """Return the facts of certificates. Unreadable ones are left out."""
    found = []
    for certificate in certificates:
        with contextlib.suppress(*UNREADABLE):
            found.append(facts_of(certificate))
    return tuple(found)


def facts_of(certificate: x509.Certificate) -> PeerCertificate:
    """Return the facts of a certificate. Raises one of :data:`UNREADABLE`."""
    return PeerCertificate(
        subject=clean(_common_name(certificate.subject)),
        issuer=clean(_common_name(certificate.issuer)),
        serial_number=f"{certificate.serial_number:X}",
        not_after=certificate.not_valid_after_utc,
        not_before=certificate.not_valid_before_utc,
    )


def _read(read: Callable[[bytes], x509.Certificate], encoded: Iterable[bytes]) -> list[x509.Certificate]:
    found = []
    for each in encoded:
        with contextlib.suppress(*UNREADABLE):
            found.append(read(each))
    return found


def _common_name(name: x509.Name) -> str:
    """Return the common name of a name, or the whole name if it has no common name."""
    found = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else name.rfc4514_string()

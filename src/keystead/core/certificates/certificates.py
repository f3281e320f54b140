"""The rules of installing a certificate: what is read from it, and the ONTAP codes of refusals.

Pure: the time is an argument and no file is read. Source: ONTAP page of ``POST /security/certificates``. Certificates
are read as RFC 5280 says, by ``cryptography``. See making.py for making them, signing.py for signing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keystead.core import errors
from keystead.core.certificates.keys import PublicKey, check_key_size, read_private_key, spki
from keystead.core.certificates.subjects import check_common_name, common_name_of, extension_of, printable
from keystead.core.errors import OntapError
from keystead.core.model import Certificate, CertificateType

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.certificates.keys import PrivateKey
    from keystead.core.model import Svm
    from keystead.core.secret import Secret

SERIAL_NUMBERS = range(1, 1 << 160)
"""RFC 5280 section 4.1.2.2: positive, at most 20 octets."""

NAME_LIMIT = 255
"""The greatest length of a certificate's name in characters."""

_WITH_KEY = {CertificateType.CLIENT, CertificateType.SERVER}
_AUTHORITIES = {CertificateType.CLIENT_CA, CertificateType.SERVER_CA}


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """A certificate to install, in PEM texts. ``name`` and ``common_name`` are made up if they are absent."""

    type: str
    public_certificate: str
    name: str | None = None
    svm_uuid: str | None = None
    svm_name: str | None = None
    common_name: str | None = None
    private_key: Secret | None = None
    intermediate_certificates: tuple[str, ...] = ()


def check_install(
    new: NewCertificate, uuid: str, svm: Svm | None, now: datetime
) -> tuple[Certificate, PrivateKey | None]:
    """Return the certificate to store and its private key, or raise the rule that is broken.

    The caller must still prove the key with :func:`keys.is_proved`, and seal it.
    """
    type_ = _checked_type(new)
    leaf = _read_certificate(new.public_certificate, "public_certificate")
    if leaf.not_valid_before_utc > now:
        raise OntapError(errors.CERTIFICATE_NOT_YET_VALID, target="public_certificate")
    if leaf.not_valid_after_utc < now:
        raise OntapError(errors.CERTIFICATE_EXPIRED, target="public_certificate")
    if type_ in _AUTHORITIES and not _is_ca(leaf):
        raise OntapError(errors.NOT_A_CA, target="public_certificate")
    private_key = None if new.private_key is None else _checked_key(new.private_key, leaf)
    intermediates = tuple(
        pem_of(_read_certificate(text, f"intermediate_certificates[{index}]"))
        for index, text in enumerate(new.intermediate_certificates)
    )
    made = described(leaf, type_, name=new.name, common_name=new.common_name)
    return replace(made, uuid=uuid, svm=svm, intermediates=intermediates), private_key


def _checked_type(new: NewCertificate) -> CertificateType:
    """Return the type, after a check of the values that may and must come with it.

    A ``root_ca`` is refused, because it is made here and never installed.
    """
    if new.type not in _WITH_KEY | _AUTHORITIES:
        raise OntapError(errors.CERTIFICATE_TYPE, target="type")
    type_ = CertificateType(new.type)
    if type_ in _WITH_KEY and not new.private_key:
        raise OntapError(errors.PRIVATE_KEY_EMPTY, target="private_key")
    if type_ in _AUTHORITIES and new.private_key is not None:
        raise OntapError(errors.KEY_FOR_CA, target="private_key")
    if type_ in _AUTHORITIES and new.intermediate_certificates:
        raise OntapError(errors.INTERMEDIATES_FOR_CA, target="intermediate_certificates")
    return type_


def _read_certificate(text: str, target: str) -> x509.Certificate:
    """Read exactly one certificate. Touch the values that the library reads lazily, so that a broken one fails here."""
    try:
        (certificate,) = x509.load_pem_x509_certificates(text.encode())
        _ = certificate.subject, certificate.issuer, certificate.extensions
        _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        public = certificate.public_key()
        if not isinstance(public, PublicKey):
            raise OntapError(errors.CERTIFICATE_MALFORMED, target=target)
        check_key_size(public, target)
        if certificate.serial_number not in SERIAL_NUMBERS:
            raise OntapError(errors.CERTIFICATE_MALFORMED, target=target)
    except OntapError:
        raise
    except Exception:  # noqa: BLE001 - the parser raises many types for hostile bytes; each means "not readable"
        raise OntapError(errors.CERTIFICATE_MALFORMED, target=target) from None
    return certificate


def _is_ca(certificate: x509.Certificate) -> bool:
    constraints = extension_of(certificate.extensions, x509.BasicConstraints)
    return constraints is not None and constraints.ca


def _checked_key(key: Secret, leaf: x509.Certificate) -> PrivateKey:
    """Return the private key with its numbers checked, but not yet proved. Raise 52559976 if it is another's key."""
    loaded = read_private_key(key)
    if spki(loaded.public_key()) != spki(cast("PublicKey", leaf.public_key())):  # its type was checked when it was read
        raise OntapError(errors.KEY_MISMATCH, target="private_key")
    return loaded


def described(
    leaf: x509.Certificate, type_: CertificateType, *, name: str | None, common_name: str | None
) -> Certificate:
    """Return a certificate with everything that ONTAP shows of it. The caller fills in its uuid, SVM and key."""
    common_name = _common_name(leaf, common_name)
    serial_number = f"{leaf.serial_number:X}"
    authority = extension_of(leaf.extensions, x509.AuthorityKeyIdentifier)
    subject = extension_of(leaf.extensions, x509.SubjectKeyIdentifier)
    public = leaf.public_key()
    made_up = f"_{serial_number}_{type_.value}"
    return Certificate(
        uuid="",
        svm=None,
        name=name or common_name[: NAME_LIMIT - len(made_up)] + made_up,
        type=type_,
        common_name=common_name,
        public_certificate=pem_of(leaf),
        intermediates=(),
        ca=_issuer(leaf),
        serial_number=serial_number,
        not_before=leaf.not_valid_before_utc,
        expiry_time=leaf.not_valid_after_utc,
        key_size=public.key_size if isinstance(public, rsa.RSAPublicKey | ec.EllipticCurvePublicKey) else 256,
        hash_function=_hash_function(leaf),
        authority_key_identifier=_hex_with_colons(authority.key_identifier if authority else None),
        subject_key_identifier=_hex_with_colons(subject.digest if subject else None),
    )


def _common_name(leaf: x509.Certificate, given: str | None) -> str:
    """Return the name that the caller gives, else the subject's common name, else the whole subject.

    Raises 3735676 if all of them are empty.
    """
    if given:
        return check_common_name(given, "common_name")
    name = common_name_of(leaf.subject) or leaf.subject.rfc4514_string()
    if not name:
        raise OntapError(errors.NO_COMMON_NAME, target="common_name")
    return check_common_name(name, "public_certificate")


def _issuer(leaf: x509.Certificate) -> str:
    """Return the issuer's common name, else the whole issuer, which can be empty."""
    name = common_name_of(leaf.issuer) or leaf.issuer.rfc4514_string()
    if name and not printable(name):
        raise OntapError(errors.NOT_A_CA, target="public_certificate")
    return name


def _hash_function(leaf: x509.Certificate) -> str:
    try:
        algorithm = leaf.signature_hash_algorithm
    except Exception:  # noqa: BLE001 - an algorithm that the library does not know
        return ""
    return algorithm.name.replace("-", "") if algorithm else ""


def is_self_signed(pem: str) -> bool:
    """Return True if a certificate's own key signed it. False also for a signature that cannot be checked here."""
    certificate = x509.load_pem_x509_certificate(pem.encode())
    try:
        certificate.verify_directly_issued_by(certificate)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _hex_with_colons(digest: bytes | None) -> str:
    return digest.hex(":").upper() if digest else ""


def pem_of(certificate: x509.Certificate) -> str:
    """Return the certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()

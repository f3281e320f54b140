"""The rules of signing: the certificate that a local ``root_ca`` makes from a certificate signing request.

A request decides the subject, its key and its alternative names, and nothing else. The result is the certificate of a
TLS client or server, never of an authority. Pure: keys, serial numbers and the time are arguments. Source: ONTAP page
of ``POST /security/certificates/{ca.uuid}/sign``; RFC 2986; RFC 5280 section 4.2.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from keystead.core import errors
from keystead.core.certificates.keys import PublicKey, check_key_size
from keystead.core.certificates.making import (
    YEAR,
    Expiry,
    hash_named,
    key_usage,
    leaf_usages,
    load_key,
    validity,
    with_alternatives,
)
from keystead.core.certificates.subjects import (
    AlternativeNames,
    alternatives_of,
    check_common_name,
    common_name_of,
    common_names,
    dns_name,
    email_address,
    extension_of,
    printable,
    uri,
)
from keystead.core.errors import OntapError
from keystead.core.model import CertificateType

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.model import Certificate
    from keystead.core.secret import Secret

PURPOSES = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH)
"""The purposes that a signed certificate may have. A request that names no purpose gets both."""

_CHECKS = {"dns": dns_name, "email": email_address, "uri": uri}


@dataclass(frozen=True, slots=True)
class SigningOrder:
    """A signing request (PEM) and how to sign it. Without ``expiry``: a year, but no longer than the authority."""

    signing_request: str
    expiry: Expiry | None = None
    hash_function: str = "sha256"


@dataclass(frozen=True, slots=True)
class Approved:
    """The contents of the certificate to sign. They were read from a request that was signed with its own key."""

    sealed_key: bytes = field(repr=False)
    hash_function: str
    subject: x509.Name
    public_key: PublicKey
    alternatives: AlternativeNames
    purposes: tuple[x509.ObjectIdentifier, ...]
    starts: datetime
    ends: datetime


def check_order(order: SigningOrder, ca: Certificate, now: datetime) -> Approved:
    """Return what to sign, or raise the rule that is broken."""
    if ca.type is not CertificateType.ROOT_CA or ca.sealed_private_key is None:
        raise OntapError(errors.CA_UNUSABLE, target="uuid")
    if not ca.not_before <= now < ca.expiry_time:
        raise OntapError(errors.CA_UNUSABLE, target="uuid")
    hash_named(order.hash_function)
    starts, ends = _validity(order, ca, now)
    request, public_key = _read(order.signing_request)
    names = _alternatives(request)
    _check_common_name(request, names)
    authority = x509.load_pem_x509_certificate(ca.public_certificate.encode()).subject
    if not common_names(request.subject).isdisjoint(common_names(authority)):
        raise OntapError(errors.COMMON_NAME_OF_CA, target="signing_request")
    return Approved(
        sealed_key=ca.sealed_private_key,
        hash_function=order.hash_function,
        subject=request.subject,
        public_key=public_key,
        alternatives=names,
        purposes=_purposes(request),
        starts=starts,
        ends=ends,
    )


def sign(approved: Approved, ca: Certificate, ca_key: Secret, serial_number: int) -> x509.Certificate:
    """Sign the certificate that :func:`check_order` approved."""
    issuer = x509.load_pem_x509_certificate(ca.public_certificate.encode())
    public = approved.public_key
    builder = x509.CertificateBuilder(
        issuer.subject, approved.subject, public, serial_number, approved.starts, approved.ends
    )
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(
        issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    )
    builder = (
        builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(leaf_usages(public)), critical=True)
        .add_extension(x509.ExtendedKeyUsage(approved.purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(authority, critical=False)
    )
    builder = with_alternatives(builder, approved.alternatives, critical=not list(approved.subject))
    return builder.sign(load_key(ca_key), hash_named(approved.hash_function))


def _validity(order: SigningOrder, ca: Certificate, now: datetime) -> tuple[datetime, datetime]:
    starts, ends = validity(order.expiry or YEAR, now)
    if order.expiry is None:
        return starts, min(ends, ca.expiry_time)
    if ends > ca.expiry_time:
        raise OntapError(errors.OUTLIVES_CA, target="expiry_time")
    return starts, ends


def _read(text: str) -> tuple[x509.CertificateSigningRequest, PublicKey]:
    """Read a whole request. Check the size of its key before using it, and that the sender has the private key."""
    try:
        request = x509.load_pem_x509_csr(text.encode())
        public_key = request.public_key()
        _ = request.subject, request.extensions
        if not isinstance(public_key, PublicKey):
            raise _not_signed("signature")
        check_key_size(public_key, "signing_request")
        if not request.is_signature_valid:
            raise _not_signed("signature")
    except OntapError:
        raise
    except Exception:  # noqa: BLE001 - the parser raises many types for hostile bytes; each means "not readable"
        raise _not_signed("malformed") from None
    if not all(printable(str(attribute.value)) for attribute in request.subject):
        raise OntapError(errors.COMMON_NAME_INVALID, target="signing_request")
    return request, public_key


def _alternatives(request: x509.CertificateSigningRequest) -> AlternativeNames:
    """Return the alternative names of a request. Raise 3735626 for an unsound name or an unsupported kind."""
    extension = extension_of(request.extensions, x509.SubjectAlternativeName)
    names = alternatives_of(request.extensions)
    counted = len(names.dns) + len(names.ip) + len(names.email) + len(names.uri)
    try:
        for kind, check in _CHECKS.items():
            for name in getattr(names, kind):
                check(name)
    except ValueError:
        raise _not_signed("subject_alternatives") from None
    if extension is not None and len(list(extension)) != counted:
        raise _not_signed("subject_alternatives")
    return names


def _check_common_name(request: x509.CertificateSigningRequest, names: AlternativeNames) -> None:
    common_name = common_name_of(request.subject)
    if common_name:
        check_common_name(common_name, "signing_request")
    elif not names:
        raise OntapError(errors.COMMON_NAME_ABSENT, target="signing_request")


def _purposes(request: x509.CertificateSigningRequest) -> tuple[x509.ObjectIdentifier, ...]:
    asked = extension_of(request.extensions, x509.ExtendedKeyUsage)
    if asked is None:
        return PURPOSES
    allowed = tuple(purpose for purpose in PURPOSES if purpose in list(asked))
    if not allowed:
        raise _not_signed("extended_key_usages")
    return allowed


def _not_signed(reason: str) -> OntapError:
    return OntapError(errors.NOT_SIGNED, target="signing_request", arguments=[("reason", reason)])

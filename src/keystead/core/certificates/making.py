"""The rules of making key pairs: for self-signed certificates and certificate signing requests.

Pure: private keys, serial numbers and the time are arguments. Source: ONTAP pages of ``POST /security/certificates``
and ``POST /security/certificate-signing-request``; extensions as RFC 5280 section 4.2 says.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeVar, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from keystead.core import errors
from keystead.core.certificates.subjects import (
    COMMON_NAME_LIMIT,
    NO_NAMES,
    AlternativeNames,
    check_common_name,
    common_name_of,
    parse_subject,
)
from keystead.core.errors import OntapError
from keystead.core.model import CertificateType

if TYPE_CHECKING:
    from collections.abc import Mapping

    from keystead.core.secret import Secret

Expiry = datetime | timedelta
"""When a certificate shall expire: at a time, or after a duration from now."""

Hash = hashes.SHA224 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512
Builder = TypeVar("Builder", x509.CertificateBuilder, x509.CertificateSigningRequestBuilder)

YEAR = timedelta(days=365)
VALIDITY = (timedelta(days=1), timedelta(days=3652))
"""The shortest and longest time from now to a certificate's end."""

BACKDATED = timedelta(minutes=5)
"""How long before now a certificate becomes valid, because the clocks of peers are not exact."""

KEY_SIZES = (2048, 3072, 4096)
"""The sizes of RSA keys that are made: ONTAP's two, and the largest that is made within seconds."""

HASHES: Mapping[str, type[Hash]] = {
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}

CRITICAL = "critical"
KEY_USAGES: Mapping[str, str] = {
    "digitalsignature": "digital_signature",
    "nonrepudiation": "content_commitment",
    "keyencipherment": "key_encipherment",
    "dataencipherment": "data_encipherment",
    "keyagreement": "key_agreement",
    "keycertsign": "key_cert_sign",
    "crlsign": "crl_sign",
    "encipheronly": "encipher_only",
    "decipheronly": "decipher_only",
}
"""The words of ``key_usages``, and the bits of the extension (RFC 5280 section 4.2.1.3)."""

EXTENDED_KEY_USAGES: Mapping[str, x509.ObjectIdentifier] = {
    "serverauth": ExtendedKeyUsageOID.SERVER_AUTH,
    "clientauth": ExtendedKeyUsageOID.CLIENT_AUTH,
    "codesigning": ExtendedKeyUsageOID.CODE_SIGNING,
    "emailprotection": ExtendedKeyUsageOID.EMAIL_PROTECTION,
    "timestamping": ExtendedKeyUsageOID.TIME_STAMPING,
    "ocspsigning": ExtendedKeyUsageOID.OCSP_SIGNING,
    "anyextendedkeyusage": ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE,
}

_DURATION = re.compile(
    r"P(?=.)(?:(?P<years>\d{1,6})Y)?(?:(?P<months>\d{1,6})M)?(?:(?P<weeks>\d{1,6})W)?(?:(?P<days>\d{1,6})D)?"
    r"(?:T(?:(?P<hours>\d{1,9})H)?(?:(?P<minutes>\d{1,9})M)?(?:(?P<seconds>\d{1,9})S)?)?",
    re.ASCII,
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_BLANK_BEFORE_ZONE = re.compile(r" (?=[+-]\d)")


class KeyAlgorithm(NamedTuple):
    """A kind of private key: RSA with this number of bits, or the NIST curve of this number of bits."""

    name: Literal["rsa", "ec"]
    bits: int


_STRENGTHS: Mapping[tuple[str, int], KeyAlgorithm] = {
    ("rsa", 112): KeyAlgorithm("rsa", 2048),
    ("rsa", 128): KeyAlgorithm("rsa", 3072),
    ("ec", 112): KeyAlgorithm("ec", 224),
    ("ec", 128): KeyAlgorithm("ec", 256),
    ("ec", 192): KeyAlgorithm("ec", 384),
}
_STRENGTH_BITS = (112, 128, 192)
_MADE_FOR: Mapping[CertificateType, tuple[x509.ObjectIdentifier, ...]] = {
    CertificateType.CLIENT: (ExtendedKeyUsageOID.CLIENT_AUTH,),
    CertificateType.SERVER: (ExtendedKeyUsageOID.SERVER_AUTH,),
    CertificateType.ROOT_CA: (),
}


@dataclass(frozen=True, slots=True)
class NewSelfSigned:
    """A self-signed certificate as the caller asks for it. Its key is made here. An absent ``name`` is made up."""

    type: str
    common_name: str | None = None
    name: str | None = None
    svm_uuid: str | None = None
    svm_name: str | None = None
    expiry: Expiry = YEAR
    key_size: int = 2048
    hash_function: str = "sha256"
    alternatives: AlternativeNames = NO_NAMES


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A certificate signing request as the caller asks for it. Usages are words of the tables above."""

    subject_name: str = ""
    alternatives: AlternativeNames = NO_NAMES
    algorithm: str = "rsa"
    hash_function: str = "sha256"
    security_strength: int = 112
    key_usages: tuple[str, ...] = ()
    extended_key_usages: tuple[str, ...] = ()


# --- self-signed certificates ----------------------------------------------------------------------------------------


def check_self_signed(new: NewSelfSigned, now: datetime) -> KeyAlgorithm:
    """Return the kind of key to make, or raise the rule that is broken."""
    if new.type in {CertificateType.CLIENT_CA, CertificateType.SERVER_CA}:  # only installed, because others make it
        raise OntapError(errors.MISSING_VALUE, target="public_certificate", field="public_certificate")
    if new.type not in set(CertificateType):
        raise OntapError(errors.CERTIFICATE_TYPE, target="type")
    if new.common_name is None:
        raise OntapError(errors.MISSING_VALUE, target="common_name", field="common_name")
    check_common_name(new.common_name, "common_name", COMMON_NAME_LIMIT)
    if new.key_size not in KEY_SIZES:
        raise OntapError(errors.KEY_SIZE, target="key_size")
    hash_named(new.hash_function)
    validity(new.expiry, now)
    return KeyAlgorithm("rsa", new.key_size)


def self_signed(new: NewSelfSigned, private_key: Secret, serial_number: int, now: datetime) -> x509.Certificate:
    """Make a self-signed certificate that :func:`check_self_signed` accepted."""
    key = load_key(private_key)
    type_ = CertificateType(new.type)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, new.common_name or "")])
    starts, ends = validity(new.expiry, now)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial_number, starts, ends)
    subject_key = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    authority = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(subject_key)
    is_ca = type_ is CertificateType.ROOT_CA
    usages = ("key_cert_sign", "crl_sign") if is_ca else leaf_usages(key.public_key())
    builder = (
        # A path length of 0 allows leaves only, because an authority below the CA could sign for anybody.
        builder.add_extension(x509.BasicConstraints(ca=is_ca, path_length=0 if is_ca else None), critical=True)
        .add_extension(key_usage(usages), critical=True)
        .add_extension(subject_key, critical=False)
        .add_extension(authority, critical=False)
    )
    if _MADE_FOR[type_]:
        builder = builder.add_extension(x509.ExtendedKeyUsage(_MADE_FOR[type_]), critical=False)
    return with_alternatives(builder, new.alternatives, critical=False).sign(key, hash_named(new.hash_function))


# --- certificate signing requests ------------------------------------------------------------------------------------


def check_request(new: NewRequest) -> KeyAlgorithm:
    """Return the kind of key to make, or raise the rule that is broken."""
    if not common_name_of(parse_subject(new.subject_name)) and not new.alternatives:
        raise OntapError(errors.NO_NAME_TO_CERTIFY, target="subject_name")
    hash_named(new.hash_function)
    for field, words in (("key_usages", new.key_usages), ("extended_key_usages", new.extended_key_usages)):
        if set(words) == {CRITICAL}:
            raise OntapError(errors.ONLY_CRITICAL, target=field)
    if {"encipheronly", "decipheronly"} & set(new.key_usages) and "keyagreement" not in new.key_usages:
        reason = "encipheronly and decipheronly need keyagreement"
        raise OntapError(errors.INVALID_VALUE, target="key_usages", field="key_usages", reason=reason)
    if new.security_strength not in _STRENGTH_BITS:
        raise OntapError(errors.SECURITY_STRENGTH, target="security_strength")
    algorithm = _STRENGTHS.get((new.algorithm, new.security_strength))
    if algorithm is None:
        raise OntapError(errors.KEY_SIZE, target="security_strength")
    return algorithm


def signing_request(new: NewRequest, private_key: Secret) -> str:
    """Make a certificate signing request (PEM) that :func:`check_request` accepted."""
    key = load_key(private_key)
    subject = parse_subject(new.subject_name)
    builder = x509.CertificateSigningRequestBuilder(subject)
    builder = with_alternatives(builder, new.alternatives, critical=not list(subject))
    usages = [KEY_USAGES[word] for word in new.key_usages if word != CRITICAL]
    if usages:
        builder = builder.add_extension(key_usage(usages), critical=CRITICAL in new.key_usages)
    purposes = [EXTENDED_KEY_USAGES[word] for word in dict.fromkeys(new.extended_key_usages) if word != CRITICAL]
    if purposes:
        extended = x509.ExtendedKeyUsage(purposes)
        builder = builder.add_extension(extended, critical=CRITICAL in new.extended_key_usages)
    made = builder.sign(key, hash_named(new.hash_function))
    return made.public_bytes(serialization.Encoding.PEM).decode()


# --- shared with signing ----------------------------------------------------------------------------------------------


def parse_expiry(text: str) -> Expiry:
    """Parse ``P365D``, ``P1DT2H3M4S``, ``2030-01-25T11:20:13Z`` or ``2030-01-25``. Raises ValueError.

    A year counts 365 days and a month 30. A time needs its zone. A date alone means its start in UTC.
    """
    if _DATE.fullmatch(text):
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    found = _DURATION.fullmatch(text)
    if found is None:
        time = datetime.fromisoformat(_BLANK_BEFORE_ZONE.sub("", text))
        if time.tzinfo is None:
            raise ValueError("a time without zone")
        return time
    counts = {unit: int(digits) for unit, digits in found.groupdict(default="0").items()}
    days = counts.pop("years") * 365 + counts.pop("months") * 30 + counts.pop("days")
    return timedelta(days=days, **counts)


def validity(expiry: Expiry, now: datetime) -> tuple[datetime, datetime]:
    """Return the start and end of a certificate made now, in whole seconds. Raise 3735701 for a forbidden period."""
    period = expiry if isinstance(expiry, timedelta) else expiry - now
    if not VALIDITY[0] <= period <= VALIDITY[1]:
        raise OntapError(errors.VALIDITY_PERIOD, target="expiry_time")
    return (now - BACKDATED).replace(microsecond=0), (now + period).replace(microsecond=0)


def hash_named(name: str) -> Hash:
    """Return the hash function, or raise 52560173."""
    if name not in HASHES:
        raise OntapError(errors.HASH_FUNCTION, target="hash_function")
    return HASHES[name]()


def load_key(private_key: Secret) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """Load a private key that was made here, so that its numbers need no check."""
    loaded = serialization.load_pem_private_key(private_key.reveal(), None, unsafe_skip_rsa_key_validation=True)
    return cast("rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey", loaded)


def key_usage(names: tuple[str, ...] | list[str]) -> x509.KeyUsage:
    """Return the key usage extension with these bits set."""
    return x509.KeyUsage(**{name: name in names for name in KEY_USAGES.values()})


def leaf_usages(public: object) -> tuple[str, ...]:
    """Return the key usages of a TLS client or server. An RSA key also has key encipherment, for RSA key exchange."""
    return ("digital_signature", "key_encipherment") if isinstance(public, rsa.RSAPublicKey) else ("digital_signature",)


def with_alternatives(builder: Builder, names: AlternativeNames, *, critical: bool) -> Builder:
    """Return the builder with the subject alternative names added, if there are any."""
    return builder.add_extension(names.extension(), critical=critical) if names else builder

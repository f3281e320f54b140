"""The rules of signing with a root_ca: what is signed, what is refused, and with which code."""

from __future__ import annotations

import base64
import datetime as dt
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.certificates.certificates import described, pem_of
from keystead.core.certificates.making import NewSelfSigned, self_signed
from keystead.core.certificates.signing import PURPOSES, SigningOrder, check_order, sign
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.model import CertificateType
from tests.core import hostile_keys as hostile
from tests.core.certificates.test_certificates import KEY, NOW, OTHER_KEY, key_pem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.model import Certificate

DAY = dt.timedelta(days=1)
CA_KEY = key_pem(rsa.generate_private_key(65537, 2048))
NEW_CA = NewSelfSigned("root_ca", "Root", expiry=400 * DAY)
CA_MADE = self_signed(NEW_CA, CA_KEY, 1, NOW)
CA = replace(described(CA_MADE, CertificateType.ROOT_CA, name=None, common_name="Root"), sealed_private_key=b"sealed")


def csr(
    *extensions: x509.ExtensionType,
    subject: Iterable[tuple[ObjectIdentifier, str]] = ((NameOID.COMMON_NAME, "ks.example"),),
    key: Any = KEY,
) -> str:
    """Make a request."""
    name = x509.Name([x509.NameAttribute(oid, value, _validate=False) for oid, value in subject])
    builder = x509.CertificateSigningRequestBuilder(name)
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def damaged(text: str) -> str:
    """Return a request with the signature of another request."""
    der = bytearray(x509.load_pem_x509_csr(text.encode()).public_bytes(serialization.Encoding.DER))
    der[-1] ^= 1
    encoded = base64.encodebytes(bytes(der)).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{encoded}-----END CERTIFICATE REQUEST-----\n"


SPACED = replace(
    CA, public_certificate=pem_of(self_signed(replace(NEW_CA, common_name="Storage Root"), CA_KEY, 1, NOW))
)
HUGE_SPKI = hostile.rsa_spki(hostile.number(3072), hostile.number(3000))
HUGE_EXPONENT = hostile.pem(
    "CERTIFICATE REQUEST",
    hostile.tlv(
        0x30,
        hostile.tlv(0x30, b"\2\1\0", b"\x30\0", HUGE_SPKI, b"\xa0\0"),
        bytes.fromhex("300d06092a864886f70d01010b0500"),
        hostile.tlv(3, bytes(385)),
    ),
).decode()


def signed(order: SigningOrder) -> x509.Certificate:
    return sign(check_order(order, CA, NOW), CA, CA_KEY, 99)


ORDER = SigningOrder(csr())
NAMED = x509.SubjectAlternativeName

REFUSED: dict[str, tuple[SigningOrder, Certificate, ErrorKind, str, str]] = {
    "no authority": (ORDER, replace(CA, type=CertificateType.SERVER_CA), errors.CA_UNUSABLE, "uuid", ""),
    "an authority without key": (ORDER, replace(CA, sealed_private_key=None), errors.CA_UNUSABLE, "uuid", ""),
    "an authority of tomorrow": (ORDER, replace(CA, not_before=NOW + DAY), errors.CA_UNUSABLE, "uuid", ""),
    "an expired authority": (ORDER, replace(CA, expiry_time=NOW), errors.CA_UNUSABLE, "uuid", ""),
    "md5": (replace(ORDER, hash_function="md5"), CA, errors.HASH_FUNCTION, "hash_function", ""),
    "twelve hours": (replace(ORDER, expiry=DAY / 2), CA, errors.VALIDITY_PERIOD, "expiry_time", ""),
    "after the authority": (replace(ORDER, expiry=401 * DAY), CA, errors.OUTLIVES_CA, "expiry_time", ""),
    "not PEM": (SigningOrder("x"), CA, errors.NOT_SIGNED, "signing_request", "malformed"),
    "a certificate": (SigningOrder(pem_of(CA_MADE)), CA, errors.NOT_SIGNED, "signing_request", "malformed"),
    "enormous": (
        SigningOrder("-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 60_000), CA, errors.NOT_SIGNED, "signing_request",
        "malformed",
    ),
    "another's signature": (
        SigningOrder(damaged(csr(key=rsa.generate_private_key(65537, 2048)))), CA, errors.NOT_SIGNED,
        "signing_request", "signature",
    ),
    "a key that TLS has not": (
        SigningOrder(csr(key=dsa.generate_private_key(1024))), CA, errors.NOT_SIGNED, "signing_request", "signature"
    ),
    "a small key": (
        SigningOrder(csr(key=rsa.generate_private_key(65537, 1024))), CA, errors.KEY_SIZE, "signing_request", ""
    ),
    "nobody": (SigningOrder(csr(subject=())), CA, errors.COMMON_NAME_ABSENT, "signing_request", ""),
    "the authority's name": (
        SigningOrder(csr(subject=[(NameOID.COMMON_NAME, "Root")])), CA, errors.COMMON_NAME_OF_CA, "signing_request", ""
    ),
    "the authority's name, written differently": (
        SigningOrder(csr(subject=[(NameOID.COMMON_NAME, "STORAGE   root")])), SPACED, errors.COMMON_NAME_OF_CA,
        "signing_request", "",
    ),
    "the authority's name among others": (
        SigningOrder(csr(subject=[(NameOID.COMMON_NAME, "Root"), (NameOID.COMMON_NAME, "ks.example")])), CA,
        errors.COMMON_NAME_OF_CA, "signing_request", "",
    ),
    "a huge public exponent": (SigningOrder(HUGE_EXPONENT), CA, errors.KEY_SIZE, "signing_request", ""),
    "a control character": (
        SigningOrder(csr(subject=[(NameOID.COMMON_NAME, "a\x1b[2J")])), CA, errors.COMMON_NAME_INVALID,
        "signing_request", "",
    ),
    "one in the organisation": (
        SigningOrder(csr(subject=[(NameOID.COMMON_NAME, "a"), (NameOID.ORGANIZATION_NAME, "a\0")])), CA,
        errors.COMMON_NAME_INVALID, "signing_request", "",
    ),
    "a bad DNS name": (
        SigningOrder(csr(NAMED([x509.DNSName("a\nb")]))), CA, errors.NOT_SIGNED, "signing_request",
        "subject_alternatives",
    ),
    "a name of another kind": (
        SigningOrder(csr(NAMED([x509.DNSName("a"), x509.RegisteredID(ObjectIdentifier("1.2.3"))]))), CA,
        errors.NOT_SIGNED, "signing_request", "subject_alternatives",
    ),
    "a purpose that is not TLS": (
        SigningOrder(csr(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]))), CA, errors.NOT_SIGNED,
        "signing_request", "extended_key_usages",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_not_signed(case: tuple[SigningOrder, Certificate, ErrorKind, str, str]) -> None:
    """Each fault gives its code and names the field; arguments tell the causes of one code apart."""
    order, ca, kind, target, reason = case
    with pytest.raises(OntapError) as raised:
        check_order(order, ca, NOW)
    assert (raised.value.kind, raised.value.target) == (kind, target)
    assert raised.value.arguments == ((("reason", reason),) if reason else ())


@pytest.mark.filterwarnings("ignore:Attribute's length")
def test_a_long_common_name() -> None:
    """A common name longer than the field permits is refused, though a request can hold it."""
    with pytest.raises(OntapError) as raised:
        check_order(SigningOrder(csr(subject=[(NameOID.COMMON_NAME, "a" * 256)])), CA, NOW)
    assert raised.value.kind is errors.COMMON_NAME_INVALID


def test_what_a_signed_certificate_says() -> None:
    """Subject, key and names come from the request; the rest comes from the authority."""
    names = NAMED([x509.DNSName("ks.example"), x509.RFC822Name("a@b.example"), x509.UniformResourceIdentifier("urn:x")])
    made = signed(replace(ORDER, signing_request=csr(names), hash_function="sha512", expiry=NOW + 10 * DAY))
    made.verify_directly_issued_by(CA_MADE)
    assert (made.serial_number, made.not_valid_after_utc) == (99, NOW + 10 * DAY)
    assert made.public_key() == KEY.public_key()
    assert made.subject.rfc4514_string() == "CN=ks.example"
    assert made.signature_hash_algorithm is not None
    assert made.signature_hash_algorithm.name == "sha512"
    assert made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value == names
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == list(PURPOSES)
    issuer = CA_MADE.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert authority.key_identifier == issuer.digest


def test_a_signature_never_reaches_beyond_its_authority() -> None:
    """An authority signs until its last second; one second later the order is refused with 3735630."""
    with pytest.raises(OntapError) as raised:
        check_order(replace(ORDER, expiry=CA.expiry_time + dt.timedelta(seconds=1)), CA, NOW)
    assert raised.value.kind is errors.OUTLIVES_CA
    last = CA.expiry_time - dt.timedelta(seconds=1)
    assert check_order(ORDER, CA, last).ends == CA.expiry_time
    with pytest.raises(OntapError) as raised:
        check_order(replace(ORDER, expiry=DAY), CA, last)
    assert raised.value.kind is errors.OUTLIVES_CA


def test_how_long_it_is_valid() -> None:
    """A certificate is valid for 365 days by default, and never longer than its authority."""
    assert signed(ORDER).not_valid_after_utc == NOW + 365 * DAY
    short = replace(CA, expiry_time=NOW + dt.timedelta(hours=7))
    assert check_order(ORDER, short, NOW).ends == short.expiry_time
    assert check_order(replace(ORDER, expiry=400 * DAY), CA, NOW).ends == CA.expiry_time


def test_a_request_makes_no_authority() -> None:
    """Whatever a request asks for, the signed certificate is not a CA and must not sign."""
    usage = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), True
    )
    asked = csr(
        x509.BasicConstraints(ca=True, path_length=None),
        x509.KeyUsage(**usage, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False),
        x509.NameConstraints([x509.DNSName("example")], None),
    )
    made = signed(SigningOrder(asked))
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    allowed = made.extensions.get_extension_for_class(x509.KeyUsage).value
    assert not allowed.key_cert_sign
    assert not allowed.crl_sign
    assert not [item for item in made.extensions if isinstance(item.value, x509.NameConstraints)]


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ([ExtendedKeyUsageOID.CLIENT_AUTH], [ExtendedKeyUsageOID.CLIENT_AUTH]),
        ([ExtendedKeyUsageOID.CODE_SIGNING, ExtendedKeyUsageOID.SERVER_AUTH], [ExtendedKeyUsageOID.SERVER_AUTH]),
    ],
)
def test_purposes(asked: list[ObjectIdentifier], given_: list[ObjectIdentifier]) -> None:
    """Of the purposes in the request, only those of TLS are certified."""
    made = signed(SigningOrder(csr(x509.ExtendedKeyUsage(asked))))
    assert list(made.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == given_


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "ec", "ed25519"],
)
def test_keys_of_requests(key: Any) -> None:
    """RSA, EC and Edwards keys are certified; only an RSA key gets the usage key encipherment."""
    usage = signed(SigningOrder(csr(key=key))).extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature
    assert usage.key_encipherment is isinstance(key, rsa.RSAPrivateKey)


def test_names_alone() -> None:
    """A request without subject is signed for its names, which become critical; a thousand names are accepted."""
    names = NAMED([x509.DNSName(f"ks{number}.example") for number in range(1000)])
    made = signed(SigningOrder(csr(names, subject=())))
    extension = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert (extension.critical, len(list(extension.value))) == (True, 1000)


@given(st.integers(min_value=0), st.binary(min_size=1, max_size=3))
def test_mutated_requests(position: int, change: bytes) -> None:
    """A damaged request is refused by an OntapError, or it is signed for the key and names that were sent."""
    request = x509.load_pem_x509_csr(csr(NAMED([x509.DNSName("a")]), key=OTHER_KEY).encode())
    der = bytearray(request.public_bytes(serialization.Encoding.DER))
    start = position % len(der)
    der[start : start + len(change)] = change
    text = base64.encodebytes(bytes(der)).decode()
    order = SigningOrder(f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n")
    try:
        made = signed(order)
    except OntapError:
        return
    assert made.public_key() == OTHER_KEY.public_key()
    assert list(made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value) == [x509.DNSName("a")]


@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    """Any text in place of a request raises OntapError."""
    with pytest.raises(OntapError):
        check_order(SigningOrder(text), CA, NOW)

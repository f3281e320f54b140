"""The rules of making self-signed certificates and requests, checked by reading the results with ``cryptography``."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.certificates.making import (
    NewRequest,
    NewSelfSigned,
    check_request,
    check_self_signed,
    parse_expiry,
    self_signed,
    signing_request,
    validity,
)
from keystead.core.certificates.subjects import AlternativeNames
from keystead.core.errors import ErrorKind, OntapError
from tests.core.certificates.test_certificates import NOW, key_pem

DAY = dt.timedelta(days=1)
RSA = key_pem(rsa.generate_private_key(65537, 2048))
NAMES = AlternativeNames(dns=("ks.example",), ip=("10.0.0.1",))
SERVER = NewSelfSigned("server", "ks.example")
REQUEST = NewRequest("C=US,O=NTAP,CN=test.domain.com")

REFUSED: dict[str, tuple[NewSelfSigned, ErrorKind, str]] = {
    "an authority that is trusted": (replace(SERVER, type="server_ca"), errors.MISSING_VALUE, "public_certificate"),
    "a client authority": (replace(SERVER, type="client_ca"), errors.MISSING_VALUE, "public_certificate"),
    "no such type": (replace(SERVER, type="nonsense"), errors.CERTIFICATE_TYPE, "type"),
    "no common name": (replace(SERVER, common_name=None), errors.MISSING_VALUE, "common_name"),
    "an empty one": (replace(SERVER, common_name=""), errors.COMMON_NAME_INVALID, "common_name"),
    "a long one": (replace(SERVER, common_name="x" * 65), errors.COMMON_NAME_INVALID, "common_name"),
    "a line end": (replace(SERVER, common_name="a\nb"), errors.COMMON_NAME_INVALID, "common_name"),
    "a blank at its end": (replace(SERVER, common_name="a "), errors.COMMON_NAME_INVALID, "common_name"),
    "a small key": (replace(SERVER, key_size=1024), errors.KEY_SIZE, "key_size"),
    "a large key": (replace(SERVER, key_size=8192), errors.KEY_SIZE, "key_size"),
    "md5": (replace(SERVER, hash_function="md5"), errors.HASH_FUNCTION, "hash_function"),
    "sha1": (replace(SERVER, hash_function="sha1"), errors.HASH_FUNCTION, "hash_function"),
    "less than a day": (replace(SERVER, expiry=dt.timedelta(hours=23)), errors.VALIDITY_PERIOD, "expiry_time"),
    "more than ten years": (replace(SERVER, expiry=3653 * DAY), errors.VALIDITY_PERIOD, "expiry_time"),
    "yesterday": (replace(SERVER, expiry=NOW - DAY), errors.VALIDITY_PERIOD, "expiry_time"),
    "the end of time": (
        replace(SERVER, expiry=dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-12)))),
        errors.VALIDITY_PERIOD, "expiry_time",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_no_self_signed_certificate(case: tuple[NewSelfSigned, ErrorKind, str]) -> None:
    """Each fault in an order gives its code and names the field."""
    new, kind, target = case
    with pytest.raises(OntapError) as raised:
        check_self_signed(new, NOW)
    assert (raised.value.kind, raised.value.target) == (kind, target)


@pytest.mark.parametrize(
    ("type_", "ca", "purposes", "usages"),
    [
        ("client", False, [ExtendedKeyUsageOID.CLIENT_AUTH], {"digital_signature", "key_encipherment"}),
        ("server", False, [ExtendedKeyUsageOID.SERVER_AUTH], {"digital_signature", "key_encipherment"}),
        ("root_ca", True, None, {"key_cert_sign", "crl_sign"}),
    ],
)
def test_what_a_self_signed_certificate_says(
    type_: str, ca: bool, purposes: list[x509.ObjectIdentifier] | None, usages: set[str]
) -> None:
    """The type decides the key usages; a root_ca signs leaves only."""
    new = replace(SERVER, type=type_, alternatives=NAMES, hash_function="sha384", expiry=NOW + 30 * DAY)
    assert check_self_signed(new, NOW) == ("rsa", 2048)
    made = self_signed(new, RSA, 4711, NOW)
    made.verify_directly_issued_by(made)
    assert made.subject == made.issuer == x509.Name.from_rfc4514_string("CN=ks.example")
    assert (made.serial_number, made.not_valid_after_utc) == (4711, NOW + 30 * DAY)
    assert made.not_valid_before_utc == NOW - dt.timedelta(minutes=5)
    assert made.signature_hash_algorithm is not None
    assert made.signature_hash_algorithm.name == "sha384"
    constraints = made.extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value.ca, constraints.value.path_length) == (True, ca, 0 if ca else None)
    usage = made.extensions.get_extension_for_class(x509.KeyUsage).value
    bits = {"digital_signature", "key_encipherment", "key_cert_sign", "crl_sign", "key_agreement", "data_encipherment"}
    assert {bit for bit in bits if getattr(usage, bit)} == usages
    extended = [item.value for item in made.extensions if isinstance(item.value, x509.ExtendedKeyUsage)]
    assert [list(item) for item in extended] == ([purposes] if purposes else [])
    subject_key = made.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    authority = made.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    assert subject_key.digest == authority.key_identifier
    alternatives = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["ks.example"]


def test_defaults_of_a_self_signed_certificate() -> None:
    """The defaults are 2048 bits, sha256, 365 days and no alternative names."""
    made = self_signed(SERVER, RSA, 1, NOW)
    assert made.not_valid_after_utc == NOW + 365 * DAY
    assert made.signature_hash_algorithm is not None
    assert made.signature_hash_algorithm.name == "sha256"
    assert not [item for item in made.extensions if isinstance(item.value, x509.SubjectAlternativeName)]


NO_REQUEST: dict[str, tuple[NewRequest, ErrorKind, str]] = {
    "malformed": (replace(REQUEST, subject_name="nonsense"), errors.SUBJECT_MALFORMED, "subject_name"),
    "nobody": (NewRequest(), errors.NO_NAME_TO_CERTIFY, "subject_name"),
    "no common name": (replace(REQUEST, subject_name="C=US"), errors.NO_NAME_TO_CERTIFY, "subject_name"),
    "md5": (replace(REQUEST, hash_function="md5"), errors.HASH_FUNCTION, "hash_function"),
    "critical alone": (replace(REQUEST, key_usages=("critical",)), errors.ONLY_CRITICAL, "key_usages"),
    "critical alone, extended": (
        replace(REQUEST, extended_key_usages=("critical", "critical")), errors.ONLY_CRITICAL, "extended_key_usages"
    ),
    "no agreement": (replace(REQUEST, key_usages=("encipheronly",)), errors.INVALID_VALUE, "key_usages"),
    "strength": (replace(REQUEST, security_strength=100), errors.SECURITY_STRENGTH, "security_strength"),
    "an RSA key that takes too long": (replace(REQUEST, security_strength=192), errors.KEY_SIZE, "security_strength"),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_REQUEST.values(), ids=NO_REQUEST)
def test_no_request(case: tuple[NewRequest, ErrorKind, str]) -> None:
    """Each fault in an order gives its code and names the field."""
    new, kind, target = case
    with pytest.raises(OntapError) as raised:
        check_request(new)
    assert (raised.value.kind, raised.value.target) == (kind, target)


@pytest.mark.parametrize(
    ("algorithm", "strength", "bits"),
    [("rsa", 112, 2048), ("rsa", 128, 3072), ("ec", 112, 224), ("ec", 128, 256), ("ec", 192, 384)],
)
def test_keys_of_a_strength(algorithm: str, strength: int, bits: int) -> None:
    """The sizes of keys follow NIST SP 800-57 part 1, table 2."""
    new = replace(REQUEST, algorithm=algorithm, security_strength=strength)
    assert check_request(new) == (algorithm, bits)


def test_what_a_request_says() -> None:
    """Subject, names, usages and whether they are critical are as asked; its signature proves the key."""
    new = replace(
        REQUEST,
        alternatives=NAMES,
        key_usages=("digitalsignature", "critical", "keyagreement", "encipheronly"),
        extended_key_usages=("serverauth", "clientauth", "serverauth"),
    )
    check_request(new)
    made = x509.load_pem_x509_csr(signing_request(new, key_pem()).encode())
    assert made.is_signature_valid
    assert [item.value for item in made.subject] == ["US", "NTAP", "test.domain.com"]
    usage = made.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert usage.value.encipher_only
    assert not usage.value.key_cert_sign
    extended = made.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert (list(extended.value), extended.critical) == (
        [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
        False,
    )
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == ["ks.example"]
    assert not names.critical


def test_a_request_without_subject() -> None:
    """Alternative names alone are critical (RFC 5280 section 4.2.1.6), and the request holds nothing else."""
    new = NewRequest(alternatives=NAMES)
    check_request(new)
    made = x509.load_pem_x509_csr(signing_request(new, key_pem()).encode())
    assert not list(made.subject)
    assert [item.critical for item in made.extensions] == [True]


@pytest.mark.parametrize(
    ("text", "expiry"),
    [
        ("P365D", 365 * DAY),
        ("P365DT", 365 * DAY),
        ("P1DT2H3M4S", DAY + dt.timedelta(hours=2, minutes=3, seconds=4)),
        ("P1Y2M3W4D", (365 + 60 + 21 + 4) * DAY),
        ("PT48H", 2 * DAY),
        ("PT", dt.timedelta()),
        ("2027-01-01", dt.datetime(2027, 1, 1, tzinfo=dt.UTC)),
        ("2030-01-25T11:20:13Z", dt.datetime(2030, 1, 25, 11, 20, 13, tzinfo=dt.UTC)),
        ("2030-01-25 06:20:13 -0500", dt.datetime(2030, 1, 25, 11, 20, 13, tzinfo=dt.UTC)),
    ],
)
def test_expiry(text: str, expiry: dt.datetime | dt.timedelta) -> None:
    """An expiry is a duration, or a time with its zone, as in ONTAP's documentation."""
    assert parse_expiry(text) == expiry


@pytest.mark.parametrize(
    "text",
    [
        "",
        "P",
        "365",
        "P365",
        "PD",
        "P1D2H",
        "P-1D",
        "P1.5D",
        "P٣D",
        "P9999999D",
        "2030-01-25T11:20:13",
        "20300125",
        "2030-02-30",
        "soon",
    ],
)
def test_no_expiry(text: str) -> None:
    """Any other text raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        parse_expiry(text)


@given(st.from_regex(r"P(\d{1,6}[YMWD]){0,3}(T(\d{1,9}[HMS]){0,3})?", fullmatch=True))
def test_any_duration(text: str) -> None:
    """No duration overflows: it raises ValueError, or it is read and then accepted or refused with OntapError."""
    try:
        expiry = parse_expiry(text)
    except ValueError:
        return
    try:
        starts, ends = validity(expiry, NOW)
    except OntapError as error:
        assert error.kind is errors.VALIDITY_PERIOD  # noqa: PT017 - either outcome is right, no other
    else:
        assert starts < NOW < ends <= NOW + 3652 * DAY

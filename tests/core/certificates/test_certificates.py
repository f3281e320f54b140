"""The rules of installing certificates, on certificates made for the purpose."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from keystead.core import errors
from keystead.core.certificates.certificates import NewCertificate, check_install, is_self_signed
from keystead.core.errors import ErrorKind, OntapError
from keystead.core.secret import Secret
from tests.core import hostile_keys as hostile
from tests.core.outcomes import outcome
from tests.costs import cpu_seconds

if TYPE_CHECKING:
    from keystead.core.model import Certificate

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
KEY = ec.generate_private_key(ec.SECP256R1())
OTHER_KEY = ec.generate_private_key(ec.SECP256R1())
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def pem(
    *,
    cn: str | None = "leaf",
    ca: bool | None = None,
    start: int = -1,
    end: int = 1,
    key: Key = KEY,
    ids: bool = False,
    issuer: str | None = None,
) -> str:
    """Make a self-signed certificate; ``start`` and ``end`` are days from NOW, ``ca`` None leaves constraints out."""
    name = x509.Name([] if cn is None else [x509.NameAttribute(NameOID.COMMON_NAME, cn)])
    signer = name if issuer is None else x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)])
    builder = x509.CertificateBuilder(signer, name, key.public_key(), 255)
    builder = builder.not_valid_before(NOW + dt.timedelta(start)).not_valid_after(NOW + dt.timedelta(end))
    if ca is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    if ids:
        builder = builder.add_extension(x509.SubjectKeyIdentifier(b"\x01\xab"), critical=False)
        builder = builder.add_extension(x509.AuthorityKeyIdentifier(b"\x02\xcd", None, None), critical=False)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM).decode()


def key_pem(key: object = KEY, password: bytes | None = None) -> Secret:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return Secret(
        key.private_bytes(  # type: ignore[attr-defined]
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
    )


def installed(new: NewCertificate) -> Certificate:
    """Return the stored values of a certificate, as far as core decides them."""
    return check_install(new, "u", None, NOW)[0]


CLIENT = NewCertificate("client", pem(), private_key=key_pem())
CA = NewCertificate("server_ca", pem(ca=True, cn="root"))

REFUSED: dict[str, tuple[NewCertificate, ErrorKind, str]] = {
    "type unknown": (replace(CA, type="nonsense"), errors.CERTIFICATE_TYPE, "type"),
    "a root_ca from elsewhere": (replace(CLIENT, type="root_ca"), errors.CERTIFICATE_TYPE, "type"),
    "server without key": (replace(CLIENT, type="server", private_key=None), errors.PRIVATE_KEY_EMPTY, "private_key"),
    "client without key": (replace(CLIENT, private_key=None), errors.PRIVATE_KEY_EMPTY, "private_key"),
    "client, empty key": (replace(CLIENT, private_key=Secret("")), errors.PRIVATE_KEY_EMPTY, "private_key"),
    "client CA with key": (replace(CA, type="client_ca", private_key=key_pem()), errors.KEY_FOR_CA, "private_key"),
    "client CA flag false": (
        replace(CA, type="client_ca", public_certificate=pem(ca=False)), errors.NOT_A_CA, "public_certificate"
    ),
    "CA with key": (replace(CA, private_key=key_pem()), errors.KEY_FOR_CA, "private_key"),
    "CA with intermediates": (
        replace(CA, intermediate_certificates=(CA.public_certificate,)),
        errors.INTERMEDIATES_FOR_CA, "intermediate_certificates",
    ),
    "not PEM": (replace(CA, public_certificate="x"), errors.CERTIFICATE_MALFORMED, "public_certificate"),
    "empty": (replace(CA, public_certificate=""), errors.CERTIFICATE_MALFORMED, "public_certificate"),
    "two": (
        replace(CA, public_certificate=CA.public_certificate * 2), errors.CERTIFICATE_MALFORMED, "public_certificate"
    ),
    "cut": (
        replace(CA, public_certificate=CA.public_certificate.replace("MII", "MIA", 1)),
        errors.CERTIFICATE_MALFORMED, "public_certificate",
    ),
    "a key instead": (
        replace(CA, public_certificate=key_pem().reveal().decode()),
        errors.CERTIFICATE_MALFORMED, "public_certificate",
    ),
    "not yet valid": (
        replace(CA, public_certificate=pem(ca=True, start=1, end=2)),
        errors.CERTIFICATE_NOT_YET_VALID, "public_certificate",
    ),
    "expired": (
        replace(CA, public_certificate=pem(ca=True, start=-2, end=-1)),
        errors.CERTIFICATE_EXPIRED, "public_certificate",
    ),
    "CA flag false": (replace(CA, public_certificate=pem(ca=False)), errors.NOT_A_CA, "public_certificate"),
    "no constraints": (replace(CA, public_certificate=pem()), errors.NOT_A_CA, "public_certificate"),
    "no subject": (replace(CA, public_certificate=pem(cn=None, ca=True)), errors.NO_COMMON_NAME, "common_name"),
    "a common name with a line end": (
        replace(CA, public_certificate=pem(cn="ro\not", ca=True)), errors.COMMON_NAME_INVALID, "public_certificate"
    ),
    "a common name with a NUL": (
        replace(CA, public_certificate=pem(cn="ro\0ot", ca=True)), errors.COMMON_NAME_INVALID, "public_certificate"
    ),
    "a long common name": (
        replace(CA, common_name="x" * 256), errors.COMMON_NAME_INVALID, "common_name"
    ),
    "an issuer with an escape": (
        replace(CLIENT, public_certificate=pem(issuer="\x1b[2J")), errors.NOT_A_CA, "public_certificate"
    ),
    "an enormous text": (
        replace(CA, public_certificate="-----BEGIN CERTIFICATE-----\n" + "A" * 60_000),
        errors.CERTIFICATE_MALFORMED, "public_certificate",
    ),
    "other key": (replace(CLIENT, private_key=key_pem(OTHER_KEY)), errors.KEY_MISMATCH, "private_key"),
    "key not PEM": (replace(CLIENT, private_key=Secret("x")), errors.KEY_MALFORMED, "private_key"),
    "encrypted key": (replace(CLIENT, private_key=key_pem(password=b"p")), errors.KEY_MALFORMED, "private_key"),
    "DSA key": (
        replace(CLIENT, private_key=key_pem(dsa.generate_private_key(1024))), errors.KEY_MALFORMED, "private_key"
    ),
    "bad intermediate": (
        replace(CLIENT, intermediate_certificates=(CA.public_certificate, "x")),
        errors.CERTIFICATE_MALFORMED, "intermediate_certificates[1]",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def testoutcome(case: tuple[NewCertificate, ErrorKind, str]) -> None:
    """Each fault gives its code and names the field."""
    asked, kind, target = case
    with pytest.raises(OntapError) as raised:
        check_install(asked, "u", None, NOW)
    assert (raised.value.kind, raised.value.target) == (kind, target)


def test_client_is_described() -> None:
    """What ONTAP shows of a certificate is read from it; names are made up when absent."""
    asked = NewCertificate(
        "client", pem(ids=True), private_key=key_pem(), intermediate_certificates=(CA.public_certificate,)
    )
    stored = installed(asked)
    assert (stored.uuid, stored.type, stored.common_name, stored.name) == ("u", "client", "leaf", "leaf_FF_client")
    assert (stored.ca, stored.serial_number, stored.key_size, stored.hash_function) == ("leaf", "FF", 256, "sha256")
    assert (stored.subject_key_identifier, stored.authority_key_identifier) == ("01:AB", "02:CD")
    assert stored.expiry_time == NOW + dt.timedelta(1)
    assert stored.intermediates == (CA.public_certificate,)
    assert stored.sealed_private_key is None


def test_what_is_self_signed() -> None:
    """A name that signs itself is not enough, nor is another name with the same key; DSA cannot be checked."""
    assert is_self_signed(pem())
    assert not is_self_signed(pem(issuer="another"))
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "leaf")])
    for signer in (OTHER_KEY, dsa.generate_private_key(1024)):
        made = x509.CertificateBuilder(name, name, KEY.public_key(), 1, NOW, NOW + dt.timedelta(1))
        text = made.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        assert not is_self_signed(text)


def test_names_given() -> None:
    """A name and a common name that the caller gives are stored unchanged."""
    stored = installed(replace(CA, name="mine", common_name="cn", public_certificate=pem(cn=None, ca=True)))
    assert (stored.name, stored.common_name) == ("mine", "cn")


def test_a_made_up_name_fits() -> None:
    """A generated name has at most the longest permitted length, and differs between types of one certificate."""
    for type_ in ("server_ca", "client_ca"):
        stored = installed(replace(CA, type=type_, common_name="x" * 255))
        assert len(stored.name) == 255
        assert stored.name.endswith(f"x_FF_{type_}")


def test_without_a_common_name() -> None:
    """A subject or issuer without common name is named by the whole of it; an empty issuer by nothing."""
    unit = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "NTAP")])
    for issuer, shown in ((unit, "O=NTAP"), (x509.Name([]), "")):
        made = x509.CertificateBuilder(issuer, unit, KEY.public_key(), 1, NOW - dt.timedelta(1), NOW + dt.timedelta(1))
        text = made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
        stored = installed(NewCertificate("server", text, private_key=key_pem()))
        assert (stored.common_name, stored.ca) == ("O=NTAP", shown)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_a_negative_serial_number() -> None:
    """A serial number that RFC 5280 forbids cannot be shown."""
    der = x509.load_pem_x509_certificate(CA.public_certificate.encode()).public_bytes(serialization.Encoding.DER)
    strange = base64.encodebytes(der.replace(bytes.fromhex("020200ff"), bytes.fromhex("020281ff"), 1)).decode()
    text = f"-----BEGIN CERTIFICATE-----\n{strange}-----END CERTIFICATE-----\n"
    assert x509.load_pem_x509_certificate(text.encode()).serial_number < 0
    with pytest.raises(OntapError) as raised:
        check_install(replace(CA, public_certificate=text), "u", None, NOW)
    assert raised.value.kind is errors.CERTIFICATE_MALFORMED


@pytest.mark.parametrize("form", ["TraditionalOpenSSL", "PKCS8"])
def test_private_key_forms(form: str) -> None:
    """PKCS #8 and the older forms, with what openssl writes before them."""
    encryption, encoding = serialization.NoEncryption(), serialization.Encoding.PEM
    written = KEY.private_bytes(encoding, getattr(serialization.PrivateFormat, form), encryption)
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    for text in (written, parameters + written, b"a note\n" + written):
        stored = installed(replace(CLIENT, type="server", private_key=Secret(text)))
        assert stored.type == "server"


def test_surrounding_text_is_dropped() -> None:
    """Text around the PEM block, as openssl writes it, is not stored."""
    asked = replace(CA, public_certificate="subject=root\n" + CA.public_certificate + "\ntrailing")
    assert installed(asked).public_certificate == CA.public_certificate


@pytest.mark.parametrize(
    ("key", "size", "hash_function"),
    [(rsa.generate_private_key(65537, 2048), 2048, "sha256"), (ed25519.Ed25519PrivateKey.generate(), 256, "")],
    ids=["rsa", "ed25519"],
)
def test_key_types(key: Key, size: int, hash_function: str) -> None:
    """RSA and Edwards keys are accepted beside EC keys."""
    stored = installed(NewCertificate("client", pem(key=key), private_key=key_pem(key)))
    assert (stored.key_size, stored.hash_function) == (size, hash_function)


def test_unsupported_public_key() -> None:
    """A certificate with a key that TLS cannot use is refused as unreadable."""
    key = dsa.generate_private_key(1024)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "dsa")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW - dt.timedelta(1), NOW + dt.timedelta(1))
    text = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    with pytest.raises(OntapError) as raised:
        check_install(NewCertificate("client", text, private_key=key_pem()), "u", None, NOW)
    assert raised.value.kind is errors.CERTIFICATE_MALFORMED


@given(st.text(max_size=200), st.binary(max_size=200))
def test_any_text(text: str, key: bytes) -> None:
    """Any text in place of a certificate or key raises OntapError, never another exception."""
    for asked in (replace(CA, public_certificate=text), replace(CLIENT, private_key=Secret(b"x" + key))):
        with pytest.raises(OntapError):
            check_install(asked, "u", None, NOW)


@given(st.integers(min_value=0), st.binary(min_size=1, max_size=3))
def test_mutated_certificate(position: int, change: bytes) -> None:
    """A damaged certificate is refused or read, without any other exception."""
    der = bytearray(
        x509.load_pem_x509_certificate(CA.public_certificate.encode()).public_bytes(serialization.Encoding.DER)
    )
    start = position % len(der)
    der[start : start + len(change)] = change
    text = "-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(bytes(der)).decode() + "-----END CERTIFICATE-----\n"
    with contextlib.suppress(OntapError):
        check_install(replace(CA, public_certificate=text), "u", None, NOW)


@pytest.mark.parametrize("bits", [1024, 9216])
def test_key_sizes(bits: int) -> None:
    """An RSA key of a size that TLS refuses, or that would slow a handshake, is refused whatever its numbers are."""
    modulus = (1 << (bits - 1)) + 1
    public = rsa.RSAPublicNumbers(65537, modulus)
    numbers = rsa.RSAPrivateNumbers(3, modulus // 3 | 1, 3, 1, 1, 1, public)
    key = key_pem(numbers.private_key(unsafe_skip_rsa_key_validation=True))
    with pytest.raises(OntapError) as raised:
        check_install(replace(CLIENT, private_key=key), "u", None, NOW)
    assert (raised.value.kind, raised.value.target) == (errors.KEY_SIZE, "private_key")


def test_certificate_of_a_small_key() -> None:
    """A certificate with too small a key is refused as well."""
    text = pem(ca=True, key=rsa.generate_private_key(65537, 1024))
    with pytest.raises(OntapError) as raised:
        check_install(replace(CA, public_certificate=text), "u", None, NOW)
    assert (raised.value.kind, raised.value.target) == (errors.KEY_SIZE, "public_certificate")


def test_hostile_public_keys() -> None:
    """The key of a certificate is bounded before its numbers are used. The check takes milliseconds."""
    whole = x509.load_pem_x509_certificate(CA.public_certificate.encode())
    der = whole.public_bytes(serialization.Encoding.DER)
    old = KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    inner = whole.tbs_certificate_bytes
    rest = der[der.index(inner) + len(inner) :]
    huge = hostile.number(170_000)
    dsa_key = hostile.tlv(
        0x30, hostile.tlv(0x30, hostile.DSA_OID, hostile.numbers(huge, 3, 5)), hostile.tlv(3, b"\0", b"\2\1\7")
    )
    for spki, kind in (
        (hostile.rsa_spki(hostile.number(3072), hostile.number(3000)), errors.KEY_SIZE),
        (hostile.rsa_spki(hostile.number(8192), huge), errors.CERTIFICATE_MALFORMED),
        (hostile.rsa_spki(huge, 65537), errors.KEY_SIZE),
        (dsa_key, errors.CERTIFICATE_MALFORMED),
    ):
        changed = hostile.tlv(0x30, inner[inner.index(b"\xa0") :].replace(old, spki))
        text = hostile.pem("CERTIFICATE", hostile.tlv(0x30, changed, rest)).decode()
        install = partial(check_install, replace(CA, public_certificate=text), "u", None)
        with pytest.raises(OntapError) as raised:
            install(NOW)
        assert cpu_seconds(partial(outcome, install, NOW)) < 0.05
        assert (raised.value.kind, raised.value.target) == (kind, "public_certificate")


def test_numbers_that_are_no_key() -> None:
    """A private key with the certificate's modulus and other numbers is malformed: a signature would not verify."""
    numbers = rsa.generate_private_key(65537, 2048).private_numbers()
    whole = numbers.private_key()
    broken = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, numbers.d + 2, numbers.dmp1 + 2, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    asked = NewCertificate("client", pem(key=whole), private_key=key_pem(broken))
    with pytest.raises(OntapError) as raised:
        check_install(asked, "u", None, NOW)
    assert raised.value.kind is errors.KEY_MALFORMED
    assert installed(replace(asked, private_key=key_pem(whole))).key_size == 2048


def test_an_unknown_signature_algorithm() -> None:
    """A certificate whose signature algorithm is unknown here is accepted without a hash function."""
    certificate = x509.load_pem_x509_certificate(CA.public_certificate.encode())
    der = certificate.public_bytes(serialization.Encoding.DER)
    ecdsa_with_sha256, unknown = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06082a8648ce3d04037f")
    strange = base64.encodebytes(der.replace(ecdsa_with_sha256, unknown)).decode()
    text = f"-----BEGIN CERTIFICATE-----\n{strange}-----END CERTIFICATE-----\n"
    assert installed(replace(CA, public_certificate=text)).hash_function == ""

"""The facts of certificates in a chain, also of one that a hostile peer made."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from keystead.core.certificates import shown
from keystead.core.model import CertificateType
from tests.core.factories import certificate
from tests.peers.certificates import Authority

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
_HIDDEN = "\N{REPLACEMENT CHARACTER}"


def made(name: x509.Name) -> x509.Certificate:
    """Return a certificate with this subject and issuer."""
    key = ed25519.Ed25519PrivateKey.generate()
    return x509.CertificateBuilder(name, name, key.public_key(), 0xAB, NOON, NOON).sign(key, None)


def test_a_chain() -> None:
    """Each certificate with its names, serial number and dates."""
    der = made(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ks1")])).public_bytes(Encoding.DER)
    (found,) = shown.facts(shown.from_der([der]))
    assert (found.subject, found.issuer, found.serial_number) == ("ks1", "ks1", "AB")
    assert (found.not_before, found.not_after) == (NOON, NOON)


def test_without_a_common_name() -> None:
    """The whole name is shown."""
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Acme")])
    assert shown.facts_of(made(name)).subject == "O=Acme"


def test_what_we_show() -> None:
    """The installed certificate, then its intermediates; those that cannot be read are left out."""
    pem = Authority("Issuing CA").pem
    of = replace(certificate("c", CertificateType.CLIENT), common_name="client", intermediates=(pem, "nonsense"))
    found = shown.chain_of(of)
    assert [each.subject for each in found] == ["client", "Issuing CA"]
    assert found[0].not_after == of.expiry_time


@pytest.mark.parametrize("hostile", [b"", b"nonsense", b"\x30\x80"])
def test_what_is_no_certificate(hostile: bytes) -> None:
    """It is left out."""
    assert shown.from_der([hostile]) == []


def test_a_chain_without_an_end() -> None:
    """Only the first certificates are read."""
    der = made(x509.Name([])).public_bytes(Encoding.DER)
    assert len(shown.from_der([der] * 100)) == shown.CHAIN_LIMIT


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [("ks1", "ks1"), ("a\nb\x1b", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"), ("a" * 999, "a" * 256)],
)
def test_a_text_of_a_peer(text: str, cleaned: str) -> None:
    """It is one line, printable and short."""
    assert shown.clean(text) == cleaned

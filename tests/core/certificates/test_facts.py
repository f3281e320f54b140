"""The facts of a certificate that are read only to show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from keystead.core.certificates.facts import certificate_facts
from tests.peers.certificates import Authority

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(("kind", "key"), [("ec", "EC, secp256r1"), ("rsa", "RSA, 2048 bits")])
def test_facts(kind: str, key: str) -> None:
    """Names, key and fingerprint."""
    made = Authority("Some CA").issue(["a.example"], common_name="leaf", key=kind)  # type: ignore[arg-type]
    found = certificate_facts(made.certificate_pem)
    assert (found.subject, found.issuer, found.key) == ("CN=leaf", "CN=Some CA", key)
    assert found.alternatives.dns == ("a.example",)
    assert len(found.fingerprint) == 32 * 3 - 1


def test_a_key_of_another_kind() -> None:
    """It is shown by its name."""
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, NOON, NOON + timedelta(days=1)).sign(key, None)
    assert certificate_facts(made.public_bytes(serialization.Encoding.PEM).decode()).key == "Ed25519"


def test_what_is_no_certificate() -> None:
    """It raises ValueError."""
    with pytest.raises(ValueError, match="PEM"):
        certificate_facts("nonsense")

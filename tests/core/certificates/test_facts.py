"""The facts of a certificate that are read only to show them."""

from __future__ import annotations

import pytest

from keystead.core.certificates.facts import certificate_facts
from tests.peers.certificates import Authority


@pytest.mark.parametrize(("kind", "key"), [("ec", "EC, secp256r1"), ("rsa", "RSA, 2048 bits")])
def test_facts(kind: str, key: str) -> None:
    """Names, key and fingerprint."""
    made = Authority("Some CA").issue(["a.example"], common_name="leaf", key=kind)  # type: ignore[arg-type]
    found = certificate_facts(made.certificate_pem)
    assert (found.subject, found.issuer, found.key) == ("CN=leaf", "CN=Some CA", key)
    assert found.alternatives.dns == ("a.example",)
    assert len(found.fingerprint) == 32 * 3 - 1


def test_what_is_no_certificate() -> None:
    """It raises ValueError."""
    with pytest.raises(ValueError, match="PEM"):
        certificate_facts("nonsense")

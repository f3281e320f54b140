"""The cluster's signature: what it covers, what it refuses, and that OpenSSL agrees."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keystead.sealing.signing import SIGNING, Signer, one_line, public_key, verify
from keystead.service.ports.sealing import SealContext, SealError
from tests.service.worlds.basics import KEYRING

if TYPE_CHECKING:
    from pathlib import Path

SIGNER, ROW = Signer.create(KEYRING)
SIGNATURE = SIGNER.sign("report", b"message")
SIGNER_PLACE = SealContext("cluster_keys", SIGNING, "sealed")


def test_a_signature_holds_for_its_message_purpose_and_key() -> None:
    """Either form of the public key will do; anything else that differs fails."""
    other, _ = Signer.create(KEYRING)
    assert verify(SIGNER.public, "report", b"message", SIGNATURE)
    assert verify(one_line(SIGNER.public) + "\n", "report", b"message", SIGNATURE)
    assert not verify(SIGNER.public, "report", b"massage", SIGNATURE)
    assert not verify(SIGNER.public, "other", b"message", SIGNATURE)
    assert not verify(SIGNER.public, "repor", b"tmessage", SIGNATURE)
    assert not verify(other.public, "report", b"message", SIGNATURE)
    assert not verify(SIGNER.public, "report", b"message", SIGNATURE[:-1] + bytes([SIGNATURE[-1] ^ 1]))
    assert not verify(SIGNER.public, "report", b"message", b"")


def test_the_stored_key_is_sealed_and_opens() -> None:
    """The row says the public part in clear and the private part nowhere; what was opened signs the same."""
    private = KEYRING.unseal(ROW.sealed, SIGNER_PLACE).reveal()
    assert (ROW.name, ROW.public, len(private)) == (SIGNING, SIGNER.public, 32)
    assert private not in ROW.sealed
    opened = Signer.open(KEYRING, ROW)
    assert opened.sign("report", b"message") == SIGNATURE
    assert repr(opened) == f"Signer({one_line(SIGNER.public)})"


@pytest.mark.parametrize(
    "damaged",
    [replace(ROW, sealed=ROW.sealed[:-1] + b"\0\0"), replace(ROW, public=Signer.create(KEYRING)[0].public)],
    ids=["sealed", "public"],
)
def test_a_damaged_row_does_not_open(damaged: object) -> None:
    """Neither an altered private part, nor a public part that somebody has put in its place."""
    with pytest.raises(SealError):
        Signer.open(KEYRING, damaged)  # type: ignore[arg-type]


def _der(key: ec.EllipticCurvePrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no public key"),
        ("not base64!", "no public key"),
        (base64.b64encode(b"no key").decode(), "no public key"),
        (SIGNER.public.replace("M", "N"), "no public key"),
        (_der(ec.generate_private_key(ec.SECP256R1())), "not Ed25519"),
    ],
)
def test_what_is_no_ed25519_key_is_refused(text: str, says: str) -> None:
    """With a text that says what is wrong, and does not quote it."""
    with pytest.raises(ValueError, match=says):
        public_key(text)


def test_openssl_agrees(tmp_path: Path) -> None:
    """Who does not trust this program checks a signature by another one: the bytes signed are plain."""
    (tmp_path / "key.pem").write_text(SIGNER.public)
    (tmp_path / "message").write_bytes(b"keystead\0report\0message")
    (tmp_path / "signature").write_bytes(SIGNATURE)
    command = "openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in message -sigfile signature"
    done = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "Signature Verified Successfully\n"), done.stderr

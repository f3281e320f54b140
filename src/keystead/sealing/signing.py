"""The signature of the cluster: Ed25519 (RFC 8032). The key is made once; its private part is sealed in the database.

Each signature is bound to a purpose, so that a signature of one kind of document is never valid for another kind. The
public part is shown in two forms: PEM, and its base64 text as one line. :func:`verify` takes both.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from keystead.core.keys.model import ClusterKey
from keystead.core.secret import Secret
from keystead.service.ports.sealing import SealContext, SealError

if TYPE_CHECKING:
    from keystead.service.ports.sealing import Sealer

SIGNING: Final = "signing"
"""The name of the cluster's signing key."""

_PEM: Final = "-----BEGIN PUBLIC KEY-----"


class Signer:
    """An implementation of :class:`keystead.service.ports.sealing.Signer`. Its repr shows only the public part."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        """PEM, SubjectPublicKeyInfo (RFC 8410)."""

    @classmethod
    def create(cls, sealer: Sealer) -> tuple[Signer, ClusterKey]:
        """Make a key pair. The caller must store the returned row."""
        made = cls(Ed25519PrivateKey.generate())
        private = Secret(made._key.private_bytes_raw())
        return made, ClusterKey(SIGNING, made.public, sealer.seal(private, _place()))

    @classmethod
    def open(cls, sealer: Sealer, row: ClusterKey) -> Signer:
        """Unseal the stored key. Raises SealError, also if the public part of the row does not belong to the key."""
        opened = cls(Ed25519PrivateKey.from_private_bytes(sealer.unseal(row.sealed, _place()).reveal()))
        if opened.public != row.public:
            raise SealError("the public part of the cluster's signing key was altered")
        return opened

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the signature (64 bytes) of a message for one purpose."""
        return self._key.sign(_bound(purpose, message))

    def __repr__(self) -> str:
        return f"Signer({one_line(self.public)})"


def verify(public: str, purpose: str, message: bytes, signature: bytes) -> bool:
    """Return True if the owner of the public key signed the message for this purpose.

    Raises ValueError if ``public`` is not a public key.
    """
    try:
        public_key(public).verify(signature, _bound(purpose, message))
    except InvalidSignature:
        return False
    return True


def public_key(text: str) -> Ed25519PublicKey:
    """Read an Ed25519 public key in PEM or as one line of base64. Raises ValueError."""
    text = text.strip()
    try:
        loaded = (
            load_pem_public_key(text.encode())
            if text.startswith(_PEM)
            else load_der_public_key(base64.b64decode(text, validate=True))
        )
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError("this is no public key") from None
    if not isinstance(loaded, Ed25519PublicKey):
        raise ValueError("this is a public key, but not Ed25519")  # noqa: TRY004 - the text is at fault, not its type
    return loaded


def one_line(public: str) -> str:
    """Return a public key as one line of base64, as `keystead init` shows it. Raises ValueError."""
    der = public_key(public).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(der).decode()


def _place() -> SealContext:
    return SealContext("cluster_keys", SIGNING, "sealed")


def _bound(purpose: str, message: bytes) -> bytes:
    return b"keystead\0" + purpose.encode() + b"\0" + message

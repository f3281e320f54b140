"""What a node and a new one that joins prove to each other, and how the root key is sealed on its way.

Both know a token of 160 random bits. Its hash is the key of two MACs, one from each side, over the public keys of both.
So whoever stands in between, with keys of their own, cannot pass on a proof. The root key is sealed to the new node's
key by HPKE (RFC 9180: X25519, HKDF-SHA-256, AES-256-GCM).
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from keystead.core.secret import Secret
from keystead.service.ports.sealing import SealError

KEY_BYTES: Final = 32
"""The length of a public key, and of the fingerprint of a certificate."""

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
_LABEL: Final = b"keystead join v1 "
_TOKEN_BYTES: Final = 20
_GROUP: Final = 4
_TOKEN: Final = re.compile(r"[A-Z2-7]{32}")


class Side(Enum):
    """Who proves to know the token."""

    NEW_NODE = b"new node"
    INVITER = b"inviter"


@dataclass(frozen=True, slots=True)
class Parties:
    """The new node's public key, and the SHA-256 of the inviter's certificate, as one of them knows both."""

    new_node: bytes
    inviter: bytes


def new_token() -> Secret:
    """Make a token: eight groups of four letters and digits."""
    text = base64.b32encode(secrets.token_bytes(_TOKEN_BYTES)).decode().lower()
    return Secret("-".join(text[start : start + _GROUP] for start in range(0, len(text), _GROUP)))


def hash_of(token: Secret) -> Secret:
    """Return the hash of a token that somebody may have typed. Raises ValueError, without the token, if it is none."""
    text = re.sub(r"[\s-]", "", token.reveal().decode("ascii", "replace")).upper()
    if not _TOKEN.fullmatch(text):
        raise ValueError("a token has 8 groups of 4 letters and digits")
    return Secret(sha256(_LABEL + b"token" + text.encode()).digest())


def proof(token_hash: Secret, side: Side, parties: Parties, content: bytes = b"") -> bytes:
    """Return the MAC by which a side proves that it knows the token, and that it sent this content."""
    message = _LABEL + side.value + parties.new_node + parties.inviter + content
    return hmac.digest(token_hash.reveal(), message, "sha256")


def is_proof(given: bytes, token_hash: Secret, side: Side, parties: Parties, content: bytes = b"") -> bool:
    """Return True if this is the :func:`proof`."""
    return hmac.compare_digest(given, proof(token_hash, side, parties, content))


def seal(content: Secret, parties: Parties) -> bytes:
    """Seal a content to the new node's key. Raises SealError if that is no key."""
    try:
        public = X25519PublicKey.from_public_bytes(parties.new_node)
        return _SUITE.encrypt(content.reveal(), public, info=_LABEL + parties.inviter)
    except ValueError:
        raise SealError("the new node's key cannot be used") from None


def fingerprint(public: bytes) -> str:
    """Return the SHA-256 of a public key that people can compare: hexadecimal, in pairs."""
    return sha256(public).digest().hex(":").upper()


class NewNodeKey:
    """The private key of a new node, made for one invitation. Its repr shows nothing."""

    def __init__(self) -> None:
        self._private = X25519PrivateKey.generate()
        self.public = self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes, parties: Parties) -> Secret:
        """Return what was sealed to this key. Raises SealError."""
        try:
            return Secret(_SUITE.decrypt(sealed, self._private, info=_LABEL + parties.inviter))
        except (InvalidTag, ValueError):
            raise SealError("what the inviter sent is not sealed to this node's key") from None

    def __repr__(self) -> str:
        return "NewNodeKey(***)"

"""Keyed digests of key material: how a copy is recognised without keeping the key.

HMAC-SHA-256 (RFC 2104) under a secret of the key manager. The key's uuid is part of the message, so that equal digests
never tell that two keys are the same. A digest is stored, compared and never shown.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.core.secret import Secret

DIGEST_KEY_BYTES = 32


def digest(digest_key: Secret, uuid: str, material: Secret) -> bytes:
    """Return the digest (32 bytes) of the material of the key, or the canary's server, with this uuid."""
    return hmac.digest(digest_key.reveal(), uuid.encode() + b"\0" + material.reveal(), hashlib.sha256)


def agrees(digest_key: Secret, uuid: str, material: Secret, expected: bytes) -> bool:
    """Whether material is what the digest was made of. Takes the same time for all material of one length."""
    return hmac.compare_digest(digest(digest_key, uuid, material), expected)

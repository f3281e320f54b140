"""Keyed digests of key material: with them a copy is recognised although the key is not stored.

The digest is HMAC-SHA-256 (RFC 2104) under the digest key, a secret of the key manager. The message contains the uuid
of the key. So equal keys have different digests. A key's digest is stored and compared, and never shown. That of a
dismissed object (an orphan) is made with the object's name, and is shown: it says which content was dismissed.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keystead.core.secret import Secret

DIGEST_KEY_BYTES = 32


def digest(digest_key: Secret, uuid: str, material: Secret) -> bytes:
    """Return the digest (32 bytes) of material that belongs to this uuid: a key's, or a server's for its canary.

    For a dismissed object, its name takes the place of the uuid. Called when a key, a canary or an epoch marker is
    made, when an object is dismissed, and when material is checked.
    """
    return hmac.digest(digest_key.reveal(), uuid.encode() + b"\0" + material.reveal(), hashlib.sha256)


def agrees(digest_key: Secret, uuid: str, material: Secret, expected: bytes) -> bool:
    """Return True if the material has the digest ``expected``. All material of one length takes the same time.

    Called with material that a server returned.
    """
    return hmac.compare_digest(digest(digest_key, uuid, material), expected)

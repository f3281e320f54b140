"""Keyed digests: which material agrees with them, and what they do not disclose."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from keystead.core.keys.digests import DIGEST_KEY_BYTES, agrees, digest
from keystead.core.secret import Secret

KEY = Secret(bytes(range(DIGEST_KEY_BYTES)))
OTHER_KEY = Secret(bytes(DIGEST_KEY_BYTES))
MATERIAL = Secret(bytes(64))


def test_a_digest_is_hmac_of_uuid_and_material() -> None:
    """RFC 2104 with SHA-256, so that a bundle and servers can be checked without this code."""
    assert digest(KEY, "u", MATERIAL) == hmac.digest(KEY.reveal(), b"u\0" + bytes(64), hashlib.sha256)


@pytest.mark.parametrize(
    ("key", "uuid", "material"),
    [
        (OTHER_KEY, "u", MATERIAL),
        (KEY, "v", MATERIAL),
        (KEY, "u", Secret(bytes(63) + b"\1")),
        (KEY, "u", Secret(bytes(63))),
        (KEY, "u", Secret(bytes(65))),
    ],
    ids=["another key", "another uuid", "one bit", "shorter", "longer"],
)
def test_what_differs_does_not_agree(key: Secret, uuid: str, material: Secret) -> None:
    """Two keys with equal material have different digests; any other material disagrees."""
    expected = digest(KEY, "u", MATERIAL)
    assert agrees(KEY, "u", MATERIAL, expected)
    assert not agrees(key, uuid, material, expected)

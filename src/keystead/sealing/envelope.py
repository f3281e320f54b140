"""The envelope of a sealed value: AES-256-GCM, bound to the place where the value is stored.

Layout: version (1 byte) | key id (4 bytes, big-endian) | nonce (12 bytes) | ciphertext and tag (16 bytes longer than
the value). The associated data are the header and the place. Each part has its length before it, so that two different
places never have equal bytes. The nonce is random (NIST SP 800-38D section 8.2.2): a data key may seal 2**32 values.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag

from keystead.service.ports.sealing import SealError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from keystead.service.ports.sealing import SealContext

VERSION = 1
KEY_BYTES = 32
_HEADER = struct.Struct(">BI")
_NONCE_BYTES = 12
_TAG_BYTES = 16
_SHORTEST = _HEADER.size + _NONCE_BYTES + _TAG_BYTES


def seal(key: AESGCM, key_id: int, value: bytes, place: SealContext) -> bytes:
    """Return the sealed value, which is 33 bytes longer than the value."""
    header = _HEADER.pack(VERSION, key_id)
    nonce = os.urandom(_NONCE_BYTES)
    return header + nonce + key.encrypt(nonce, value, header + _encoded(place))


def key_id_of(sealed: bytes) -> int:
    """Return the id of the key that sealed a value. Raises SealError if it is not an envelope of a known version."""
    if len(sealed) < _SHORTEST:
        raise SealError("a sealed value is too short")
    version, key_id = _HEADER.unpack_from(sealed)
    if version != VERSION:
        raise SealError(f"a sealed value has the unknown version {version}")
    return int(key_id)


def unseal(key: AESGCM, sealed: bytes, place: SealContext) -> bytes:
    """Open a value that :func:`key_id_of` accepts.

    Raises SealError if the value was altered, moved, or sealed by another key.
    """
    header, rest = sealed[: _HEADER.size], sealed[_HEADER.size :]
    try:
        return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + _encoded(place))
    except InvalidTag:
        raise SealError(f"a sealed value of {place.table}.{place.column} was altered or moved") from None


def _encoded(place: SealContext) -> bytes:
    parts = [part.encode() for part in place]
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

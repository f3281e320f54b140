"""Files sealed under a passphrase: argon2id derives the key (RFC 9106), envelopes of AES-256-GCM hold the parts.

Layout: header | salt (16 bytes) | parts, each with its length (4 bytes, big-endian) before it. Each envelope is bound
to the file's salt, to its own number, and to whether it is the last. So it is noticed if a part is lost or moved, or if
the file is cut off.
"""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Final

from argon2.low_level import Type, hash_secret_raw
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keystead.sealing import envelope
from keystead.service.ports.sealing import SealContext, SealError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from keystead.core.secret import Secret

HEADER: Final = b"keystead sealed file 1\n"
SALT_BYTES: Final = 16
MEMORY_KIB: Final = 256 * 1024
PASSES: Final = 3
LANES: Final = 4
"""The parameters of RFC 9106, with less memory.

They are high because a passphrase can be guessed offline, and restoring may take time.
"""

LONGEST_PART: Final = 16 * 1024 * 1024
_LENGTH_BYTES: Final = 4
_KEY_ID: Final = 0
_OVERHEAD: Final = 33


def write_sealed(file: IO[bytes], parts: Iterable[bytes], passphrase: Secret) -> None:
    """Seal and write parts, each of at most :data:`LONGEST_PART` bytes. Raises what the file raises."""
    salt = os.urandom(SALT_BYTES)
    key = _key(passphrase, salt)
    file.write(HEADER + salt)
    waiting: bytes | None = None
    number = 0
    for part in parts:
        if waiting is not None:
            _write(file, envelope.seal(key, _KEY_ID, waiting, _place(salt, number, last=False)))
            number += 1
        waiting = part
    _write(file, envelope.seal(key, _KEY_ID, waiting or b"", _place(salt, number, last=True)))


def read_sealed(file: IO[bytes], passphrase: Secret) -> Iterator[bytes]:
    """Yield the parts one by one.

    Raises SealError for a wrong passphrase, an altered file, or a file that is not a sealed file. The error may come
    after some parts. So do not use any part for good before all parts have been read.
    """
    if file.read(len(HEADER)) != HEADER:
        raise SealError("the file is no sealed file of Keystead")
    salt = file.read(SALT_BYTES)
    key = _key(passphrase, salt) if len(salt) == SALT_BYTES else None
    number, sealed = 0, _read(file)
    while key is not None and sealed is not None:
        following = _read(file)
        yield _opened(key, sealed, _place(salt, number, last=following is None))
        number, sealed = number + 1, following
    if not number:
        raise SealError("the file ends too early")


def _opened(key: AESGCM, sealed: bytes, place: SealContext) -> bytes:
    try:
        envelope.key_id_of(sealed)
        return envelope.unseal(key, sealed, place)
    except SealError:
        raise SealError("the passphrase is not the file's, or the file was altered") from None


def _write(file: IO[bytes], sealed: bytes) -> None:
    file.write(len(sealed).to_bytes(_LENGTH_BYTES, "big") + sealed)


def _read(file: IO[bytes]) -> bytes | None:
    """Return the next envelope, or None at the end. Raises SealError if it is cut off or too long."""
    header = file.read(_LENGTH_BYTES)
    if not header:
        return None
    length = int.from_bytes(header, "big")
    sealed = file.read(length) if length <= LONGEST_PART + _OVERHEAD else b""
    if len(header) < _LENGTH_BYTES or len(sealed) < length:
        raise SealError("the file was altered, or ends too early")
    return sealed


def _place(salt: bytes, number: int, *, last: bool) -> SealContext:
    return SealContext("sealed file", f"{salt.hex()}-{number}", "last" if last else "part")


def _key(passphrase: Secret, salt: bytes) -> AESGCM:
    raw = hash_secret_raw(passphrase.reveal(), salt, PASSES, MEMORY_KIB, LANES, envelope.KEY_BYTES, Type.ID)
    return AESGCM(raw)

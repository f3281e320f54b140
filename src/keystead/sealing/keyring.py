"""The keyring: the root key, the data keys that it wraps, and keys derived from it. Implements the Sealer port.

It works on plain rows (:class:`keystead.core.model.DataKey`); the caller loads and stores them. The root key seals only
data keys. So the root key can be changed without sealing every value again.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keystead.core.model import DataKey
from keystead.core.secret import Secret
from keystead.sealing import envelope
from keystead.service.ports.sealing import SealContext, SealError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROOT_KEY_ID = 0
"""The key id in the envelopes of data keys. The data keys are numbered from 1."""


class WrongRootKeyError(SealError):
    """The data keys of the database are wrapped by another root key."""

    def __init__(self) -> None:
        super().__init__(
            "the root key is not the one that this database was set up with: start with the one that belongs to it"
        )


class Keyring:
    """A keyring that seals with the newest data key and opens with any. Its repr shows nothing."""

    def __init__(self, root_key: Secret, data_keys: dict[int, AESGCM]) -> None:
        self._data_keys = data_keys
        self._newest = max(data_keys)
        self.mac = audit_mac(root_key)
        """The MAC of audit records."""

    @classmethod
    def create(cls, root_key: Secret, key_id: int = 1) -> tuple[Keyring, DataKey]:
        """Make a keyring with a new data key. The caller must store the returned row."""
        data_key = os.urandom(envelope.KEY_BYTES)
        wrapped = envelope.seal(_wrapping(root_key), ROOT_KEY_ID, data_key, _place(key_id))
        return cls(root_key, {key_id: AESGCM(data_key)}), DataKey(key_id, wrapped, _check(root_key))

    @classmethod
    def open(cls, root_key: Secret, data_keys: Sequence[DataKey]) -> Keyring:
        """Unwrap the stored data keys.

        Raises WrongRootKeyError; raises SealError if a row is damaged or there are no rows.
        """
        if not data_keys:
            raise SealError("the database holds no data keys: run `keystead init`")
        if not all(hmac.compare_digest(row.root_key_check, _check(root_key)) for row in data_keys):
            raise WrongRootKeyError
        wrapping = _wrapping(root_key)
        return cls(root_key, {row.id: _unwrapped(wrapping, row) for row in data_keys})

    def seal(self, value: Secret, place: SealContext) -> bytes:
        """Seal a value for one place."""
        return envelope.seal(self._data_keys[self._newest], self._newest, value.reveal(), place)

    def unseal(self, sealed: bytes, place: SealContext) -> Secret:
        """Open a value that was sealed for this place. Raises SealError."""
        key_id = envelope.key_id_of(sealed)
        key = self._data_keys.get(key_id)
        if key is None:
            raise SealError(f"a sealed value needs the data key {key_id}, which the database does not hold")
        return Secret(envelope.unseal(key, sealed, place))

    def __repr__(self) -> str:
        return "Keyring(***)"


def audit_mac(root_key: Secret) -> Callable[[bytes], bytes]:
    """Return the function that computes HMAC-SHA-256 under a key derived from the root key, for the audit chain."""
    key = _derive(root_key, "keystead audit mac v1")
    return lambda message: hmac.digest(key, message, "sha256")


def _unwrapped(wrapping: AESGCM, row: DataKey) -> AESGCM:
    envelope.key_id_of(row.wrapped)
    return AESGCM(envelope.unseal(wrapping, row.wrapped, _place(row.id)))


def _place(key_id: int) -> SealContext:
    return SealContext("data_keys", str(key_id), "wrapped")


def _wrapping(root_key: Secret) -> AESGCM:
    return AESGCM(_derive(root_key, "keystead data key wrap v1"))


def _check(root_key: Secret) -> bytes:
    """Return a one-way value that identifies the root key and reveals nothing about it."""
    return _derive(root_key, "keystead root key check v1")


def _derive(root_key: Secret, purpose: str) -> bytes:
    """Derive the key of one purpose from the root key: HKDF-SHA-256, RFC 5869."""
    return HKDF(SHA256(), envelope.KEY_BYTES, salt=None, info=purpose.encode()).derive(root_key.reveal())

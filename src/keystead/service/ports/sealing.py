"""Secrets: encryption at rest, password hashing, private keys and signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from keystead.core.certificates.keys import PrivateKey
    from keystead.core.certificates.making import KeyAlgorithm
    from keystead.core.secret import Secret


class SealError(Exception):
    """A sealed value cannot be opened: it was altered or moved, or its key is unknown."""


class SealContext(NamedTuple):
    """Where a sealed value stands; it can be opened nowhere else."""

    table: str
    row: str
    column: str


class Sealer(Protocol):
    """Encryption at rest. The store sees only what :meth:`seal` returns."""

    def seal(self, value: Secret, place: SealContext) -> bytes: ...

    def unseal(self, sealed: bytes, place: SealContext) -> Secret:
        """Return the value. Raises SealError."""
        ...

    def mac(self, message: bytes) -> bytes:
        """Return the 32-byte MAC of an audit record under a key derived from the root key."""
        ...


class PasswordHasher(Protocol):
    """Slow, salted password hashing; at most two hashes are computed at a time."""

    async def hash(self, password: Secret) -> str: ...
    async def verify(self, password_hash: str, password: Secret) -> bool: ...


class KeyMaker(Protocol):
    """Private keys: making an RSA key takes up to seconds, proving one 0.2 s: never on the event loop."""

    async def make(self, algorithm: KeyAlgorithm) -> Secret:
        """Return a new private key, PKCS #8 in PEM."""
        ...

    async def prove(self, key: PrivateKey) -> bool:
        """Return True if a signature of this key is valid."""
        ...


class Signer(Protocol):
    """The cluster's signature. ``public`` is the public key, PEM."""

    public: str

    def sign(self, purpose: str, message: bytes) -> bytes:
        """Return the signature of a message; one for another purpose never passes for it."""
        ...

"""Secrets at rest: sealing with keys that the root key wraps, and password hashing. Implements two service ports."""

from keystead.sealing.keyring import Keyring, WrongRootKeyError
from keystead.sealing.passwords import Argon2Hasher
from keystead.sealing.sources import create_root_key, read_root_key

__all__ = ["Argon2Hasher", "Keyring", "WrongRootKeyError", "create_root_key", "read_root_key"]

"""Making and storing secrets: sealed values, data keys under the root key, password hashes, private keys.

Implements three service ports.
"""

from keystead.sealing.key_maker import ThreadedKeyMaker
from keystead.sealing.keyring import Keyring, WrongRootKeyError, audit_mac
from keystead.sealing.passwords import Argon2Hasher
from keystead.sealing.sources import create_root_key, read_root_key

__all__ = [
    "Argon2Hasher",
    "Keyring",
    "ThreadedKeyMaker",
    "WrongRootKeyError",
    "audit_mac",
    "create_root_key",
    "read_root_key",
]

"""Cheap password hashes: the suite makes thousands of accounts, and a hash of the real cost takes 50 ms or more."""

from __future__ import annotations

from keystead.sealing import Argon2Hasher


def hash_passwords_cheaply() -> None:
    """Give hashers of this process the lowest cost of argon2. Processes that tests start hash at the real cost."""
    defaults = Argon2Hasher.__init__.__kwdefaults__
    assert defaults is not None
    assert set(defaults) == {"memory_kib", "passes"}
    defaults.update(memory_kib=8, passes=1)

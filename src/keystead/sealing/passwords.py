"""Password hashing: argon2id, 19 MiB, two passes, one lane (OWASP's first choice), at most two at a time.

A hash takes tens of milliseconds and 19 MiB. So hashes run in separate threads, and a flood of logins waits in a queue.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from argon2 import PasswordHasher as Argon2
from argon2 import Type
from argon2.exceptions import InvalidHashError, VerificationError

if TYPE_CHECKING:
    from keystead.core.secret import Secret

AT_ONCE = 2
MEMORY_KIB = 19 * 1024
PASSES = 2
LANES = 1


class Argon2Hasher:
    """An implementation of :class:`keystead.service.ports.sealing.PasswordHasher`.

    Its threads start with the first hash. A hash names its own cost, so one made at another cost can be verified.
    """

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._argon2 = Argon2(time_cost=passes, memory_cost=memory_kib, parallelism=LANES, type=Type.ID)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="keystead-password")

    async def hash(self, password: Secret) -> str:
        """Return the hash in PHC text form, with a new salt."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._argon2.hash, password.reveal())

    async def verify(self, password_hash: str, password: Secret) -> bool:
        """Return True if the password belongs to the hash. False if the hash is damaged."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._verify, password_hash, password.reveal())

    def close(self) -> None:
        """Cancel queued hashes and let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False

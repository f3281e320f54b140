"""Private keys, made in threads of their own: an RSA key of 4096 bits takes up to seconds, two at a time at most."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keystead.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.core.certificates_making import KeyAlgorithm

AT_ONCE = 2
_CURVES: Mapping[int, Callable[[], ec.EllipticCurve]] = {224: ec.SECP224R1, 256: ec.SECP256R1, 384: ec.SECP384R1}


class ThreadedKeyMaker:
    """Implements :class:`keystead.service.ports.KeyMaker`. Threads start with the first key."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="keystead-key")

    async def make(self, algorithm: KeyAlgorithm) -> Secret:
        """Return a new key, PKCS #8 in PEM."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _make, algorithm)

    def close(self) -> None:
        """Let queued keys go and the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _make(algorithm: KeyAlgorithm) -> Secret:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if algorithm.name == "rsa":
        key = rsa.generate_private_key(65537, algorithm.bits)
    else:
        key = ec.generate_private_key(_CURVES[algorithm.bits]())
    return Secret(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )

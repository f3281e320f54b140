"""Making and proving private keys in separate threads, two at a time, because an RSA key takes up to seconds."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keystead.core.certificates.keys import is_proved, written

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.core.certificates.keys import PrivateKey
    from keystead.core.certificates.making import KeyAlgorithm
    from keystead.core.secret import Secret

AT_ONCE = 2
_CURVES: Mapping[int, Callable[[], ec.EllipticCurve]] = {224: ec.SECP224R1, 256: ec.SECP256R1, 384: ec.SECP384R1}


class ThreadedKeyMaker:
    """An implementation of :class:`keystead.service.ports.sealing.KeyMaker`. Its threads start with the first key."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="keystead-key")

    async def make(self, algorithm: KeyAlgorithm) -> Secret:
        """Return a new key, PKCS #8 in PEM."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, _make, algorithm)

    async def prove(self, key: PrivateKey) -> bool:
        """Return True if a signature by the key is valid."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, is_proved, key)

    def close(self) -> None:
        """Cancel queued keys and let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)


def _make(algorithm: KeyAlgorithm) -> Secret:
    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    if algorithm.name == "rsa":
        key = rsa.generate_private_key(65537, algorithm.bits)
    else:
        key = ec.generate_private_key(_CURVES[algorithm.bits]())
    return written(key)

"""Private keys: of the kind asked for, never the same twice, and made beside the event loop."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from keystead.core.certificates.making import KeyAlgorithm
from keystead.core.secret import Secret
from keystead.sealing import ThreadedKeyMaker, key_maker

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def maker() -> Iterator[ThreadedKeyMaker]:
    """A maker with its threads."""
    made = ThreadedKeyMaker()
    yield made
    made.close()


@pytest.mark.parametrize("bits", [2048, 3072])
async def test_rsa_keys(maker: ThreadedKeyMaker, bits: int) -> None:
    """RSA keys have the size asked for and the usual exponent, and pass OpenSSL's check."""
    made = await maker.make(KeyAlgorithm("rsa", bits))
    key = serialization.load_pem_private_key(made.reveal(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert (key.key_size, key.public_key().public_numbers().e) == (bits, 65537)


@pytest.mark.parametrize("bits", [224, 256, 384])
async def test_ec_keys(maker: ThreadedKeyMaker, bits: int) -> None:
    """EC keys lie on the NIST curve of that size; each is another."""
    secrets = [await maker.make(KeyAlgorithm("ec", bits)) for _ in range(2)]
    assert secrets[0] != secrets[1]
    key = serialization.load_pem_private_key(secrets[0].reveal(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.curve.name == f"secp{bits}r1"


async def test_at_most_two_are_made_at_a_time(maker: ThreadedKeyMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood queues; the event loop goes on meanwhile."""
    running, most, lock = 0, 0, threading.Lock()

    def slow(_: object) -> Secret:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.02)
        with lock:
            running -= 1
        return Secret("")

    monkeypatch.setattr(key_maker, "_make", slow)
    turns = 0
    making = asyncio.gather(*[maker.make(KeyAlgorithm("ec", 256)) for _ in range(8)])
    while not making.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert most == key_maker.AT_ONCE == 2
    assert turns > 10

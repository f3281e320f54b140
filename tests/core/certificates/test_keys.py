"""Reading of private keys, and keys whose numbers would make a library compute for seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from keystead.core import errors
from keystead.core.certificates.keys import check_key_size, is_proved, read_private_key, written
from keystead.core.errors import OntapError
from keystead.core.secret import Secret
from tests.core import hostile_keys as hostile
from tests.core.certificates.test_certificates import key_pem
from tests.core.hostile_keys import number, numbers, pem, pkcs8, tlv
from tests.core.outcomes import outcome
from tests.costs import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

KEY = rsa.generate_private_key(65537, 2048)
OF_KEY = KEY.private_numbers()
N, P, Q, D = OF_KEY.public_numbers.n, OF_KEY.p, OF_KEY.q, OF_KEY.d
SOUND = (0, N, 65537, D, P, Q, OF_KEY.dmp1, OF_KEY.dmq1, OF_KEY.iqmp)
PHI = (P - 1) * (Q - 1)
P4096 = number(4096)


def with_number(place: int, value: int) -> bytes:
    """Return the sound RSA key with one number changed."""
    return pem("RSA PRIVATE KEY", numbers(*SOUND[:place], value, *SOUND[place + 1 :]))


def ec_key(private: bytes, parameters: bytes = hostile.P256_OID) -> bytes:
    """Return an EC private key (RFC 5915)."""
    return pem("EC PRIVATE KEY", tlv(0x30, tlv(2, b"\1"), tlv(4, private), tlv(0xA0, parameters)))


DSA = numbers(P4096, number(256), number(4000))
EXPLICIT = tlv(0x30, tlv(2, b"\1"), numbers(number(100_000), 1, 2))
MALFORMED: dict[str, Callable[[], bytes]] = {
    "d + k phi(n)": lambda: with_number(3, D + PHI * number(320_000)),
    "d + phi(n)": lambda: with_number(3, D + PHI),
    "a negative d": lambda: pem("RSA PRIVATE KEY", numbers(*SOUND).replace(numbers(D)[4:], b"\2\1\x81", 1)),
    "d of 1": lambda: with_number(3, 1),
    "a huge p": lambda: with_number(4, number(350_000)),
    "p of 1": lambda: pem("RSA PRIVATE KEY", numbers(0, N, 65537, D, 1, N, *SOUND[6:])),
    "other primes": lambda: with_number(5, Q + 2),
    "a huge dP": lambda: with_number(6, OF_KEY.dmp1 + (P - 1) * number(320_000)),
    "a huge dQ": lambda: with_number(7, number(350_000)),
    "a huge qInv": lambda: with_number(8, OF_KEY.iqmp + P * number(300_000)),
    "another qInv": lambda: with_number(8, OF_KEY.iqmp + 1),
    "another e": lambda: with_number(2, 65539),
    "zeros": lambda: pem("RSA PRIVATE KEY", numbers(0, N, 65537, *[0] * 6)),
    "a DSA key that is computed with when it is loaded": lambda: pkcs8(
        hostile.DSA_OID, DSA, tlv(2, number(300_000).to_bytes(37_501))
    ),
    "an older DSA key": lambda: pem("DSA PRIVATE KEY", numbers(0, P4096, number(256), 3, 5, number(300_000))),
    "a DSA key under another name": lambda: pkcs8(
        hostile.DSA_OID, DSA, tlv(2, number(300_000).to_bytes(37_501))
    ).replace(b"PRIVATE", b"RSA PRIVATE"),
    "a Diffie-Hellman key": lambda: pkcs8(
        hostile.DH_OID, numbers(number(9_900), 2), tlv(2, number(9_800).to_bytes(1_226))
    ),
    "one of X9.42": lambda: pkcs8(hostile.DHX_OID, numbers(number(9_900), 3, number(900)), tlv(2, b"\5")),
    "an RSA-PSS key, which its certificate does not go with": lambda: pkcs8(hostile.PSS_OID, b"", numbers(*SOUND)),
    "an EC key of zero": lambda: ec_key(bytes(32)),
    "one beyond its order": lambda: ec_key(b"\xff" * 32),
    "a long one": lambda: ec_key(b"\1" * 45_000),
    "an explicit curve": lambda: ec_key(b"\1" * 32, EXPLICIT),
    "an explicit curve in PKCS #8": lambda: pkcs8(hostile.EC_OID, EXPLICIT, b"\0"),
    "two keys": lambda: key_pem(KEY).reveal() * 2,
    "many beginnings": lambda: b"-----BEGIN PRIVATE KEY-----\n" * 2_300,
    "no end": lambda: b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 65_000,
    "nothing": lambda: b"",
}


@pytest.mark.parametrize("make", MALFORMED.values(), ids=MALFORMED)
def test_malformed(make: Callable[[], bytes]) -> None:
    """A text that is not a key for TLS is refused with 52560123 within milliseconds, whatever its numbers are."""
    key = Secret(make())
    assert len(key.reveal()) < 1 << 16
    with pytest.raises(OntapError) as raised:
        read_private_key(key)
    assert cpu_seconds(lambda: outcome(read_private_key, key)) < 0.05
    assert (raised.value.kind, raised.value.target) == (errors.KEY_MALFORMED, "private_key")


@pytest.mark.parametrize("place", [1, 2], ids=["modulus", "public exponent"])
def test_huge_public_numbers(place: int) -> None:
    """A modulus or public exponent of a size that TLS does not use is refused with 3735700."""
    with pytest.raises(OntapError) as raised:
        read_private_key(Secret(with_number(place, number(300_000))))
    assert raised.value.kind is errors.KEY_SIZE


def test_public_exponents() -> None:
    """The largest public exponent has 64 bits; a key without an RSA exponent has none."""
    check_key_size(rsa.RSAPublicNumbers(number(64), N).public_key(), "x")
    check_key_size(ec.generate_private_key(ec.SECP256R1()).public_key(), "x")
    with pytest.raises(OntapError) as raised:
        check_key_size(rsa.RSAPublicNumbers(number(65), N).public_key(), "x")
    assert (raised.value.kind, raised.value.target) == (errors.KEY_SIZE, "x")


def test_sound_numbers() -> None:
    """The numbers from which the hostile keys are made form a sound key, and it is written back unchanged."""
    text = b"a note\n" + pem("RSA PRIVATE KEY", numbers(*SOUND)) + b"-----BEGIN CERTIFICATE-----\nAAAA\n"
    read = read_private_key(Secret(text))
    assert is_proved(read)
    assert written(read) == key_pem(KEY)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()], ids=["ec", "ed25519"]
)
def test_keys_without_primes(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    """EC and Edwards keys are read, proved and written as RSA keys are."""
    read = read_private_key(key_pem(key))
    assert is_proved(read)
    assert written(read) == key_pem(key)


def test_primes_that_are_none() -> None:
    """A key whose factors are not primes is found by a signature that does not verify."""
    read = read_private_key(Secret(pem("RSA PRIVATE KEY", numbers(*hostile.composite_rsa(2048)))))
    assert not is_proved(read)

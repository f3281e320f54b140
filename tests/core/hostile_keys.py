"""Hostile keys, written number by number, that would make a library compute for a long time."""

from __future__ import annotations

import base64
import math
import random
from functools import cache

RSA_OID = bytes.fromhex("06092a864886f70d010101")
PSS_OID = bytes.fromhex("06092a864886f70d01010a")
DSA_OID = bytes.fromhex("06072a8648ce380401")
DH_OID = bytes.fromhex("06092a864886f70d010301")
DHX_OID = bytes.fromhex("06072a8648ce3e0201")
EC_OID = bytes.fromhex("06072a8648ce3d0201")
P256_OID = bytes.fromhex("06082a8648ce3d030107")


def tlv(tag: int, *content: bytes) -> bytes:
    """Return one value in DER."""
    whole = b"".join(content)
    size = len(whole).to_bytes((len(whole).bit_length() + 7) // 8)
    return bytes([tag]) + (bytes([len(whole)]) if len(whole) < 128 else bytes([0x80 | len(size)]) + size) + whole


def numbers(*values: int) -> bytes:
    """Return a SEQUENCE of INTEGERs."""
    return tlv(0x30, *(tlv(2, value.to_bytes(value.bit_length() // 8 + 1)) for value in values))


def _source(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same in every run, and secret to nobody


def number(bits: int) -> int:
    """Return an odd number of so many bits, always the same."""
    return _source(bits).getrandbits(bits) | 1 | 1 << (bits - 1)


def pem(label: str, der: bytes) -> bytes:
    """Return a PEM block."""
    return f"-----BEGIN {label}-----\n{base64.encodebytes(der).decode()}-----END {label}-----\n".encode()


def pkcs8(oid: bytes, parameters: bytes, key: bytes) -> bytes:
    """Return a PrivateKeyInfo (RFC 5958)."""
    return pem("PRIVATE KEY", tlv(0x30, tlv(2, b"\0"), tlv(0x30, oid, parameters), tlv(4, key)))


def rsa_spki(modulus: int, exponent: int) -> bytes:
    """Return a SubjectPublicKeyInfo of RSA."""
    return tlv(0x30, tlv(0x30, RSA_OID, b"\5\0"), tlv(3, b"\0", numbers(modulus, exponent)))


@cache
def composite_rsa(bits: int) -> tuple[int, ...]:
    """Return the numbers of an RSA private key (RFC 8017 A.1.2) that are consistent, but p and q are not primes."""
    e, source = 65537, _source(bits)
    while True:
        half = source.getrandbits(bits // 2 - 2) | 3 << (bits // 2 - 2)
        other = source.getrandbits(bits // 2 - 2) | 3 << (bits // 2 - 2)
        p, q = half - half % 30 + 15, other - other % 14 + 7  # odd multiples of 15 and of 7
        order = math.lcm(p - 1, q - 1)
        if p > q and math.gcd(p, q) == 1 == math.gcd(e, order) and (p * q).bit_length() == bits:
            d = pow(e, -1, order)
            return 0, p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p)

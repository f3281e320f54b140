"""Private and public keys from callers: read, and checked for their cost before they are used. Pure.

An exponent of some hundred thousand bits keeps one signature busy for seconds. Loading a DSA or Diffie-Hellman key can
take minutes. So the kind of a key is checked before the key is loaded, and its numbers before they are used. Source:
RFC 5958 (PKCS #8), RFC 8017 section 3.2 and appendix A.1.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa

from keystead.core import errors
from keystead.core.errors import OntapError
from keystead.core.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Iterator

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
"""The keys that TLS can use."""

RSA_BITS = (2048, 8192)
"""The smallest and largest RSA keys: TLS refuses smaller ones, and a handshake with a larger one takes too long."""

EXPONENT_BITS = 64
"""The largest public exponent: OpenSSL's own limit for moduli of more than 3072 bits."""

_BLOCK = re.compile(
    rb"-----BEGIN ((?:RSA |EC )?PRIVATE KEY)-----([A-Za-z0-9+/=\s]+)-----END \1-----", re.ASCII
)  # one class of characters between the marks, so that a text without an end is read once, not once per beginning
# PrivateKeyInfo: version, then an AlgorithmIdentifier below 128 octets, so that a curve's parameters do not fit.
_PKCS8 = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x81.|\x82..)\x02\x01[\x00\x01]\x30[\x00-\x7f]\x06"
    rb"(?:\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"  # rsaEncryption
    rb"|\x07\x2a\x86\x48\xce\x3d\x02\x01\x06"  # id-ecPublicKey with a named curve
    rb"|\x03\x2b\x65[\x70\x71])",  # Ed25519, Ed448
    re.DOTALL,
)


def read_private_key(key: Secret) -> PrivateKey:
    """Load the one unencrypted RSA, EC or Edwards key in a PEM text.

    Raises 52560123 for any other text and for invalid numbers, 3735700 for a key size that TLS does not accept.
    """
    try:
        (block,) = _BLOCK.finditer(key.reveal())
        is_pkcs8 = block[1] == b"PRIVATE KEY"
        if is_pkcs8 and not _PKCS8.match(base64.b64decode(b"".join(block[2].split()), validate=True)):
            raise ValueError("a key of another kind")
        # The library's check of the primes takes seconds for a large key, so the numbers are checked below.
        loaded = serialization.load_pem_private_key(block[0], None, unsafe_skip_rsa_key_validation=True)
    except Exception:  # noqa: BLE001 - the parser raises many types for hostile bytes; each means "not readable"
        raise OntapError(errors.KEY_MALFORMED, target="private_key") from None
    key_of_tls = cast("PrivateKey", loaded)  # because no other kind of key matches the patterns
    check_key_size(key_of_tls.public_key(), "private_key")
    if isinstance(loaded, rsa.RSAPrivateKey) and not all(_consistent_numbers(loaded.private_numbers())):
        raise OntapError(errors.KEY_MALFORMED, target="private_key")
    return key_of_tls


def _consistent_numbers(numbers: rsa.RSAPrivateNumbers) -> Iterator[bool]:
    """Yield whether each rule holds that makes the numbers one key.

    Stop at the first False: each rule bounds the cost of the next ones.
    """
    p, q, d, n, e = numbers.p, numbers.q, numbers.d, numbers.public_numbers.n, numbers.public_numbers.e
    yield 1 < p < n and 1 < q < n
    yield p * q == n
    yield 1 < d < n
    yield (numbers.dmp1, numbers.dmq1) == (d % (p - 1), d % (q - 1))
    yield e * numbers.dmp1 % (p - 1) == 1 == e * numbers.dmq1 % (q - 1)
    yield 0 < numbers.iqmp < p and numbers.iqmp * q % p == 1


def check_key_size(public: PublicKey, target: str) -> None:
    """Raise 3735700 for an RSA key that TLS refuses or that takes too long to use."""
    if not isinstance(public, rsa.RSAPublicKey):
        return
    if not RSA_BITS[0] <= public.key_size <= RSA_BITS[1] or public.public_numbers().e.bit_length() > EXPONENT_BITS:
        raise OntapError(errors.KEY_SIZE, target=target)


def written(key: PrivateKey) -> Secret:
    """Return the key as PKCS #8 in PEM. It keeps only the numbers of the text that the key was read from."""
    return Secret(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )


def is_proved(private: PrivateKey) -> bool:
    """Return True if a signature of the key is valid. The numbers alone do not tell whether p and q are prime.

    It takes up to 0.2 s for an RSA key of 8192 bits.
    """
    message = b"keystead"
    try:
        if isinstance(private, rsa.RSAPrivateKey):
            signature = private.sign(message, padding.PKCS1v15(), hashes.SHA256())
            private.public_key().verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            algorithm = ec.ECDSA(hashes.SHA256())
            private.public_key().verify(private.sign(message, algorithm), message, algorithm)
        else:
            private.public_key().verify(private.sign(message), message)
    except Exception:  # noqa: BLE001 - numbers that are no key fail in many ways
        return False
    return True


def spki(key: PublicKey) -> bytes:
    """Return the public key as DER. Equal keys give equal bytes."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

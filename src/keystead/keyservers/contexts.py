"""TLS contexts for key servers: built once per identity, shared by all connections, bounded in number.

The settings are explicit, so that every supported Python behaves alike. A private key reaches OpenSSL through an
anonymous memory file. If there is none, a temporary file is used that is encrypted under a random password. The key is
never in a file in clear. This module decides nothing about a peer; it only finds faults in our own certificate.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from cachetools import LRUCache
from cryptography import x509
from cryptography.hazmat.primitives import serialization

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from keystead.core.probing import TlsIdentity

CONTEXTS: Final = 256
"""The most contexts that are kept. Each takes about 100 KiB, and 0.3 ms to build."""

# Python's default list with a fixed security level, so that RSA below 2048 bits and SHA-1 signatures are refused.
# No DHE, because the server chooses the prime, and a prime of 10,000 bits blocks the event loop for seconds.
CIPHERS: Final = "@SECLEVEL=2:ECDH+AESGCM:ECDH+CHACHA20:ECDH+AES:!aNULL:!eNULL:!aDSS:!SHA1:!AESCCM"

# NO_CERTIFICATE_ASSIGNED: for a key of another type (RSA, EC), OpenSSL looks for a certificate of that type.
_KEY_DOES_NOT_MATCH: Final = frozenset({"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED"})


class KeyMismatchError(Exception):
    """The private key does not belong to the client certificate."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class ClientContext:
    """A shared SSLContext, and the period in which its client certificate is valid."""

    ssl: ssl.SSLContext
    not_before: datetime
    not_after: datetime


class Contexts:
    """The contexts in use, an LRU cache. A context that a caller still holds is not built again."""

    def __init__(self, limit: int = CONTEXTS) -> None:
        self._known: LRUCache[bytes, ClientContext] = LRUCache(limit)
        self._held: WeakValueDictionary[bytes, ClientContext] = WeakValueDictionary()

    def get(self, identity: TlsIdentity) -> ClientContext:
        """Return the context of an identity.

        Raises:
            KeyMismatchError: the private key does not belong to the certificate.
            ssl.SSLError, ValueError: OpenSSL cannot read the certificate, the key or a CA certificate.
        """
        digest = identity.digest
        context = self._held.get(digest) or build(identity)
        self._known[digest] = self._held[digest] = context
        return context


def build(identity: TlsIdentity) -> ClientContext:
    """Build a context for TLS 1.2 and 1.3. It checks the peer's certificate against ``server_cas`` and the peer's name.

    Every certificate in ``server_cas`` is trusted, so an intermediate may be listed instead of its root
    (PARTIAL_CHAIN). Certificates without an Authority Key Identifier are accepted (no X509_STRICT). Raises like
    :meth:`Contexts.get`.
    """
    certificate = x509.load_pem_x509_certificate(identity.certificate.encode())
    context = _strict_context(identity.server_cas)
    _show(context, identity)
    return ClientContext(context, certificate.not_valid_before_utc, certificate.not_valid_after_utc)


def destination_context(cas: Sequence[str], client: TlsIdentity | None, *, verify: bool) -> ssl.SSLContext:
    """Build a context for a server that is no key server: ``cas`` (PEM) are trusted, and those of the system.

    ``client`` is the certificate to show, if any. Without ``verify``, any certificate is taken. Raises like
    :meth:`Contexts.get`.
    """
    context = _strict_context(cas)
    if client is not None:
        _show(context, client)
    if verify:
        context.load_default_certs()
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _strict_context(cas: Sequence[str]) -> ssl.SSLContext:
    """Return a context that trusts these CAs only. An intermediate may be trusted instead of its root."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.verify_flags = ssl.VerifyFlags.VERIFY_X509_TRUSTED_FIRST | ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if cas:
        context.load_verify_locations(cadata="\n".join(cas))
    return context


def _show(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    """Have the context show the client certificate. Raises KeyMismatchError, ssl.SSLError."""
    try:
        _load_client_certificate(context, identity)
    except ssl.SSLError as error:
        if getattr(error, "reason", None) in _KEY_DOES_NOT_MATCH:
            raise KeyMismatchError from None
        raise


def _load_client_certificate(context: ssl.SSLContext, identity: TlsIdentity) -> None:
    chain = "\n".join([identity.certificate, *identity.intermediates])
    try:
        with _memory_file(chain.encode() + b"\n" + identity.private_key.reveal()) as path:
            context.load_cert_chain(path, password=_no_password)
    except (AttributeError, FileNotFoundError):  # the system has no memfd_create, or no /proc
        _load_through_encrypted_file(context, chain, identity.private_key.reveal())


@contextlib.contextmanager
def _memory_file(content: bytes) -> Iterator[str]:
    handle = os.memfd_create("keystead", os.MFD_CLOEXEC)
    try:
        os.write(handle, content)
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)


def _load_through_encrypted_file(context: ssl.SSLContext, chain: str, key: bytes) -> None:
    password = secrets.token_bytes(32).hex()
    encrypted = serialization.load_pem_private_key(key, password=None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "identity.pem"
        path.write_bytes(chain.encode() + b"\n" + encrypted)
        context.load_cert_chain(path, password=password)


def _no_password() -> str:
    """Return an empty password, so that OpenSSL does not ask for one on the terminal."""
    return ""

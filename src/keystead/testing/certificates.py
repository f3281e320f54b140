"""Certificates made on the fly: sound ones, and some of the kinds that a peer must refuse.

Keys are made anew for each authority and each leaf. Nothing here is for anything but tests.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cryptography.x509.extensions import ExtensionType

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
KeyKind = Literal["ec", "rsa", "rsa-1024"]
Purpose = Literal["server", "client", "both", "mail", "unstated"]

DAY = timedelta(days=1)
LOOPBACK = ("localhost", "127.0.0.1", "::1")

_PURPOSES = {
    "server": [ExtendedKeyUsageOID.SERVER_AUTH],
    "client": [ExtendedKeyUsageOID.CLIENT_AUTH],
    "both": [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
    "mail": [ExtendedKeyUsageOID.EMAIL_PROTECTION],
}


@dataclass(frozen=True)
class Credentials:
    """A certificate, its private key, and the intermediates between it and the root."""

    certificate: x509.Certificate
    key: Key = field(repr=False)
    intermediates: tuple[x509.Certificate, ...] = ()

    @property
    def certificate_pem(self) -> str:
        """The certificate in PEM."""
        return _pem(self.certificate)

    @property
    def chain_pem(self) -> str:
        """The certificate followed by its intermediates."""
        return "".join(map(_pem, (self.certificate, *self.intermediates)))

    @property
    def key_pem(self) -> str:
        """The private key in PEM, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ).decode()

    def without_intermediates(self) -> Credentials:
        """Return the same without the intermediates, as a badly configured peer shows it."""
        return Credentials(self.certificate, self.key)

    def write(self, folder: Path, name: str) -> tuple[Path, Path]:
        """Write chain (``NAME.pem``) and key (``NAME.key``, mode 0600). Return the two paths."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_text(self.chain_pem)
        key.touch(mode=0o600)
        key.write_text(self.key_pem)
        return chain, key

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a context show this certificate in its handshakes."""
        with _memory_file(self.chain_pem + self.key_pem) as path:
            context.load_cert_chain(path)


class Authority:
    """A certificate authority; with a parent, an intermediate one."""

    def __init__(
        self,
        name: str = "Key Server CA",
        *,
        parent: Authority | None = None,
        identifiers: bool = True,
        ends: timedelta = 30 * DAY,
    ) -> None:
        self.key: Key = make_key("ec")
        self.parent = parent
        self._identifiers = identifiers
        issuer = parent or self
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = _builder(
            self.subject, issuer.subject, self.key, datetime.now(UTC) - 30 * DAY, datetime.now(UTC) + ends
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        builder = builder.add_extension(usage, critical=True)
        self.certificate = issuer.sign(builder, self.key)

    @property
    def pem(self) -> str:
        """The authority's certificate in PEM."""
        return _pem(self.certificate)

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """This authority and those above it, without the root."""
        return (self.certificate, *self.parent.chain) if self.parent else ()

    def issue(
        self,
        names: Sequence[str] = LOOPBACK,
        *,
        common_name: str = "key server",
        purpose: Purpose = "server",
        key: KeyKind | Key = "ec",
        starts: timedelta = -DAY,
        ends: timedelta = 10 * DAY,
    ) -> Credentials:
        """Issue a leaf for a new key, or for one that is there; ``starts`` and ``ends`` count from now."""
        now = datetime.now(UTC)
        private_key = make_key(key) if isinstance(key, str) else key
        builder = _builder(_subject(common_name), self.subject, private_key, now + starts, now + ends)
        if purpose != "unstated":
            builder = builder.add_extension(x509.ExtendedKeyUsage(_PURPOSES[purpose]), critical=False)
        builder = _with_names(builder, names)
        return Credentials(self.sign(builder, private_key), private_key, self.chain)

    def sign(self, builder: x509.CertificateBuilder, key: Key) -> x509.Certificate:
        """Sign a certificate for this key. It gets key identifiers (RFC 5280) if the authority writes them."""
        extensions: list[ExtensionType] = []
        if self._identifiers:
            extensions.append(x509.SubjectKeyIdentifier.from_public_key(key.public_key()))
            extensions.append(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256())


def client(authority: Authority, *, starts: timedelta = -DAY, ends: timedelta = 10 * DAY) -> Credentials:
    """Issue a client certificate. Its common name is the owner of what it makes on the key server."""
    return authority.issue((), common_name="keystead", purpose="client", starts=starts, ends=ends)


def self_signed(names: Sequence[str] = LOOPBACK) -> Credentials:
    """Make a server certificate that is its own issuer and no authority."""
    now, key = datetime.now(UTC), make_key("ec")
    subject = _subject("key server")
    builder = _with_names(_builder(subject, subject, key, now - DAY, now + 10 * DAY), names)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    return Credentials(builder.sign(key, hashes.SHA256()), key)


def make_key(kind: KeyKind) -> Key:
    """Make a private key; ``rsa-1024`` is too weak for security level 2."""
    if kind == "ec":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=1024 if kind == "rsa-1024" else 2048)


def server_context(
    credentials: Credentials,
    client_ca: Authority | None = None,
    *,
    versions: Literal["1.2", "1.3", "both"] = "both",
    ciphers: str = "DEFAULT:@SECLEVEL=0",
) -> ssl.SSLContext:
    """Return a server's context that asks for a client certificate of ``client_ca``, if one is given.

    The security level is that of an old appliance, so that weak certificates can be offered.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(ciphers)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if versions == "1.3" else ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2 if versions == "1.2" else ssl.TLSVersion.TLSv1_3
    credentials.load_into(context)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(cadata=client_ca.pem)
    return context


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, starts: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(starts)
        .not_valid_after(ends)
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _with_names(builder: x509.CertificateBuilder, names: Sequence[str]) -> x509.CertificateBuilder:
    if not names:
        return builder
    return builder.add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@contextlib.contextmanager
def _memory_file(text: str) -> Iterator[str]:
    handle = os.memfd_create("pem")
    try:
        os.write(handle, text.encode())
        yield f"/proc/self/fd/{handle}"
    finally:
        os.close(handle)

"""The subjects of certificates: subject names and subject alternative names, read, checked and built.

Source: RFC 5280 sections 4.1.2.4 and 4.2.1.6; ONTAP pages of ``/security/certificate-signing-request`` (the form of
``subject_name``) and ``/security/certificates`` (``subject_alternatives``).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.x509.oid import NameOID

from keystead.core import errors
from keystead.core.errors import OntapError

COMMON_NAME_LIMIT = 64
"""The greatest length in characters of a common name that is made here (RFC 5280's upper bound)."""

READ_LIMIT = 255
"""The greatest length in characters of a common name that is read from a certificate, or given with one."""

_FURTHER_NAMES = {"emailAddress": NameOID.EMAIL_ADDRESS, "serialNumber": NameOID.SERIAL_NUMBER}
_BLANKS = re.compile(r"(?<!\\),[ ]+")
_DNS = re.compile(r"(?=.{1,253}\Z)(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
                  r"(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?)*")  # fmt: skip
_EMAIL = re.compile(r"(?=.{3,254}\Z)[!-?A-~]{1,64}@[A-Za-z0-9.-]+")
_URI = re.compile(r"(?=.{3,2048}\Z)[A-Za-z][A-Za-z0-9+.-]*:[!-~]+")

Kind = TypeVar("Kind", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class AlternativeNames:
    """Subject alternative names, each kind in its order."""

    dns: tuple[str, ...] = ()
    ip: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    uri: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return any((self.dns, self.ip, self.email, self.uri))

    def extension(self) -> x509.SubjectAlternativeName:
        """Return the extension with these names."""
        return x509.SubjectAlternativeName(
            [
                *map(x509.DNSName, self.dns),
                *(x509.IPAddress(ipaddress.ip_address(address)) for address in self.ip),
                *map(x509.RFC822Name, self.email),
                *map(x509.UniformResourceIdentifier, self.uri),
            ]
        )


NO_NAMES = AlternativeNames()


# --- what a caller writes --------------------------------------------------------------------------------------------


def dns_name(text: str) -> str:
    """Check a DNS name and return it. It may begin with ``*.``. Raises ValueError."""
    return _matching(_DNS, text)


def email_address(text: str) -> str:
    """Check an email address in ASCII and return it. Raises ValueError."""
    return _matching(_EMAIL, text)


def uri(text: str) -> str:
    """Check a URI in ASCII, with its scheme, and return it. Raises ValueError."""
    return _matching(_URI, text)


def ip_address(text: str) -> str:
    """Return an IPv4 or IPv6 address in its usual form. Raises ValueError."""
    if "%" in text:  # a zone means nothing to another machine
        raise ValueError("not an address")
    return str(ipaddress.ip_address(text))


def _matching(pattern: re.Pattern[str], text: str) -> str:
    if not pattern.fullmatch(text):
        raise ValueError("not of this kind")
    return text


def parse_subject(text: str) -> x509.Name:
    """Parse ``C=US,O=NTAP,CN=test.domain.com``, or raise 52560423. The order is kept; a backslash escapes a comma."""
    try:
        parsed = x509.Name.from_rfc4514_string(_BLANKS.sub(",", text), _FURTHER_NAMES)
    except ValueError:
        raise OntapError(errors.SUBJECT_MALFORMED, target="subject_name") from None
    subject = x509.Name(reversed(parsed.rdns))
    if not all(printable(str(attribute.value)) for attribute in subject):
        raise OntapError(errors.SUBJECT_MALFORMED, target="subject_name")
    return subject


def check_common_name(text: str, target: str, limit: int = READ_LIMIT) -> str:
    """Return a common name that can be shown and compared, or raise 3735588."""
    if not printable(text) or len(text) > limit:
        raise OntapError(errors.COMMON_NAME_INVALID, target=target)
    return text


def printable(text: str) -> bool:
    """Return True if a name is not empty, has no blanks at its ends, and can be shown by any terminal."""
    return text.isprintable() and text == text.strip() != ""


# --- what a certificate or request contains --------------------------------------------------------------------------


def common_name_of(name: x509.Name) -> str:
    """Return the last common name, or an empty text."""
    values = [str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return values[-1] if values else ""


def common_names(name: x509.Name) -> frozenset[str]:
    """Return all common names, folded for comparison (RFC 5280 section 7.1): case and extra blanks do not count."""
    values = (str(attribute.value) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME))
    return frozenset(" ".join(value.split()).casefold() for value in values)


def extension_of(extensions: x509.Extensions, kind: type[Kind]) -> Kind | None:
    """Return the value of an extension, None if it is absent."""
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def alternatives_of(extensions: x509.Extensions) -> AlternativeNames:
    """Return the alternative names of the four kinds that ONTAP shows."""
    names = extension_of(extensions, x509.SubjectAlternativeName)
    if names is None:
        return NO_NAMES
    return AlternativeNames(
        dns=tuple(names.get_values_for_type(x509.DNSName)),
        ip=tuple(str(address) for address in names.get_values_for_type(x509.IPAddress)),
        email=tuple(names.get_values_for_type(x509.RFC822Name)),
        uri=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
    )


@lru_cache(maxsize=1024)
def alternatives_in(public_certificate: str) -> AlternativeNames | None:
    """Return the alternative names of an installed certificate (PEM), None if it has none of these kinds."""
    extensions = x509.load_pem_x509_certificate(public_certificate.encode()).extensions
    return alternatives_of(extensions) or None

"""Which certificate is at fault when a key server is refused.

OpenSSL tells Python what is wrong, but not with which certificate. So the chain is walked again: from the server's
certificate up to one that is trusted, as OpenSSL does it, or along the certificates that we show.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from keystead.core.certificates.shown import UNREADABLE, facts_of, from_der, from_pem
from keystead.core.probing import AtFault, Whose

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from keystead.core.probing import TlsIdentity

WEAKEST_RSA: Final = 2048
_OLD_HASHES: Final = frozenset({"md5", "sha1"})
_SERVER_PURPOSES: Final = frozenset({ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE})

Extension = TypeVar("Extension", bound=x509.ExtensionType)


class Link(NamedTuple):
    """A certificate in a chain, and whose it is. ``depth`` is 0 for the chain's first."""

    certificate: x509.Certificate
    whose: Whose
    depth: int = 0


def at_fault(reason: str, shown: Sequence[bytes], identity: TlsIdentity) -> AtFault | None:
    """Return the certificate that the reason of a refusal is about, and whose it is.

    ``shown`` are the certificates (DER) that the server showed. None if the reason is about no certificate, or if none
    has the fault.
    """
    with contextlib.suppress(*UNREADABLE, UnsupportedAlgorithm):  # a peer may show anything
        found = _found(reason, shown, identity)
        return AtFault(found.whose, facts_of(found.certificate)) if found else None
    return None


def _found(reason: str, shown: Sequence[bytes], identity: TlsIdentity) -> Link | None:
    if reason in _OF_SERVER:
        chain = _server_chain(shown, identity.server_cas)
        return _OF_SERVER[reason](chain) if chain else None
    if reason in _OF_CLIENT:
        ours = [Link(each, Whose.CLIENT) for each in from_pem((identity.certificate, *identity.intermediates))]
        return _OF_CLIENT[reason](ours) if ours else None
    return None


def _server_chain(shown: Sequence[bytes], trusted: Sequence[str]) -> list[Link]:
    """Return the chain from the server's own certificate to the first that is trusted, as far as issuers are known."""
    links = [Link(each, Whose.SERVER) for each in from_der(shown)]
    pool = [Link(each, Whose.SERVER_CA) for each in from_pem(trusted)] + links[1:]
    chain = links[:1]
    while issuer := _issuer(chain, pool):
        pool.remove(issuer)
        chain.append(issuer._replace(depth=len(chain)))
    return chain


def _issuer(chain: Sequence[Link], pool: Sequence[Link]) -> Link | None:
    """Return the issuer of a chain's last certificate; None if that is trusted, a root, or its issuer is not there."""
    if not chain or chain[-1].whose is Whose.SERVER_CA or _is_root(chain[-1].certificate):
        return None
    issuers = [each for each in pool if _may_have_issued(each.certificate, chain[-1].certificate)]
    return min(issuers, key=lambda each: not _is_valid(each.certificate), default=None)  # as OpenSSL prefers it


def _is_root(certificate: x509.Certificate) -> bool:
    return _may_have_issued(certificate, certificate)


def _may_have_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Return True if the names agree, and the key identifiers where both certificates have them."""
    if issuer.subject != certificate.issuer:
        return False
    named = _extension(certificate, x509.AuthorityKeyIdentifier)
    own = _extension(issuer, x509.SubjectKeyIdentifier)
    return named is None or own is None or named.key_identifier in {None, own.key_identifier}


def _extension(certificate: x509.Certificate, kind: type[Extension]) -> Extension | None:
    with contextlib.suppress(x509.ExtensionNotFound):
        return certificate.extensions.get_extension_for_class(kind).value
    return None


# --- which certificate has a fault ---


def _own(chain: Sequence[Link]) -> Link:
    return chain[0]


def _last_shown(chain: Sequence[Link]) -> Link:
    """Return the certificate whose issuer is missing or not trusted."""
    return [link for link in chain if link.whose is not Whose.SERVER_CA][-1]


def _first(has_fault: Callable[[Link], bool]) -> Callable[[Sequence[Link]], Link | None]:
    return lambda chain: next(filter(has_fault, chain), None)


def _first_or_own(has_fault: Callable[[Link], bool]) -> Callable[[Sequence[Link]], Link | None]:
    return lambda chain: next(filter(has_fault, chain), chain[0])


def _has_ended(link: Link) -> bool:
    return link.certificate.not_valid_after_utc < datetime.now(UTC)


def _has_not_begun(link: Link) -> bool:
    return link.certificate.not_valid_before_utc > datetime.now(UTC)


def _is_valid(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_before_utc <= datetime.now(UTC) <= certificate.not_valid_after_utc


def _may_not_issue(link: Link) -> bool:
    """Return True for an issuer that is no CA, or may not sign certificates."""
    constraints = _extension(link.certificate, x509.BasicConstraints)
    usage = _extension(link.certificate, x509.KeyUsage)
    may = constraints is not None and constraints.ca and (usage is None or usage.key_cert_sign)
    return link.depth > 0 and not may


def _is_not_for_servers(link: Link) -> bool:
    purposes = _extension(link.certificate, x509.ExtendedKeyUsage)
    return purposes is not None and _SERVER_PURPOSES.isdisjoint(purposes)


def _is_weak(link: Link) -> bool:
    """Return True for a short RSA key, or an old hash in a signature that counts: a root's own does not."""
    certificate = link.certificate
    key, hashed = certificate.public_key(), certificate.signature_hash_algorithm
    if isinstance(key, RSAPublicKey) and key.key_size < WEAKEST_RSA:
        return True
    return not _is_root(certificate) and hashed is not None and hashed.name in _OLD_HASHES


_OF_SERVER: Final[Mapping[str, Callable[[Sequence[Link]], Link | None]]] = {
    "server_certificate_self_signed": _last_shown,
    "server_certificate_issuer_not_found": _last_shown,
    "server_certificate_invalid_ca": _first(_may_not_issue),
    "server_certificate_not_yet_valid": _first(_has_not_begun),
    "server_certificate_expired": _first(_has_ended),
    "server_certificate_revoked": _own,
    "server_certificate_wrong_purpose": _first(_is_not_for_servers),
    "server_certificate_weak": _first(_is_weak),
    "server_certificate_wrong_name": _own,
}
_OF_CLIENT: Final[Mapping[str, Callable[[Sequence[Link]], Link | None]]] = {
    "client_certificate_expired": _first_or_own(_has_ended),
    "client_certificate_not_yet_valid": _first_or_own(_has_not_begun),
    "client_certificate_key_mismatch": _own,
    "client_certificate_required": _own,
    "client_certificate_untrusted": _last_shown,
    "client_certificate_revoked": _own,
    "client_certificate_refused": _own,
    "client_certificate_probably_refused": _own,
    "client_certificate_not_registered": _own,
}

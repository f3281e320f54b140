"""The rules of client certificates: whether a certificate proves an account, by chain, dates and common name. Pure.

TLS has proved that the client holds the private key. But TLS trusts the CAs of all owners. So the chain is built again
here, to the CAs of the account's owner alone. A CA certificate that the client itself presents is accepted if it is
installed, because ONTAP's guides make self-signed certificates. Source: RFC 5280, section 6, as
``cryptography.x509.verification`` implements it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder, Store, VerificationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from cryptography.x509.verification import Policy

CERTIFICATES = 8
"""How many certificates of a client are read."""

INTERMEDIATES = 4
"""The greatest number of certificates between a leaf and a CA.

With equal names, the number of possible chains grows exponentially with their length.
"""

_CLIENT_PURPOSES = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}


class NotProvenError(Exception):
    """The certificate proves nothing here. The text says why, for the operator's log."""


@dataclass(frozen=True, slots=True)
class ClientProof:
    """What a chain proves: the uuid of the CA that it leads to, and the times between which it is valid."""

    authority: str
    valid_from: datetime
    valid_until: datetime

    def holds(self, now: datetime) -> bool:
        """Return True if every certificate of the chain is valid at this time."""
        return self.valid_from <= now <= self.valid_until


def account_named(leaf: str) -> str:
    """Return the only common name in a leaf's subject (PEM). Raises NotProvenError."""
    try:
        names = x509.load_pem_x509_certificate(leaf.encode()).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    except ValueError:
        raise NotProvenError("the certificate cannot be read") from None
    if len(names) != 1 or not isinstance(names[0].value, str):
        raise NotProvenError("the certificate's subject has not exactly one common name")
    return names[0].value


def trusted_cas(of_cluster: Sequence[str], of_svms: Sequence[str]) -> tuple[str, ...]:
    """Return the CAs (PEM) that TLS is to trust: the cluster's, and those of SVMs with other subject names.

    OpenSSL finds an issuer by its name before it checks signatures. So an SVM's CA with the name of a cluster's CA
    would break the cluster's logins.
    """
    names = {x509.load_pem_x509_certificate(pem.encode()).subject for pem in of_cluster}
    others = [pem for pem in of_svms if x509.load_pem_x509_certificate(pem.encode()).subject not in names]
    return tuple(dict.fromkeys([*of_cluster, *others]))


def prove(chain: Sequence[str], authorities: Mapping[str, str], now: datetime) -> ClientProof:
    """Verify a chain (PEM, the leaf first) against authorities (PEM by uuid). Raises NotProvenError."""
    try:
        leaf, *rest = [x509.load_pem_x509_certificate(pem.encode()) for pem in chain[:CERTIFICATES]]
        anchors = {uuid: x509.load_pem_x509_certificate(pem.encode()) for uuid, pem in authorities.items()}
    except ValueError:
        raise NotProvenError("a certificate cannot be read") from None
    if not anchors:
        raise NotProvenError("no client_ca certificate is installed")
    builder = PolicyBuilder().store(Store(list(anchors.values()))).time(now).max_chain_depth(INTERMEDIATES)
    builder = builder.extension_policies(ca_policy=_AUTHORITY, ee_policy=_LEAF)
    try:
        found = builder.build_client_verifier().verify(leaf, rest).chain
    except VerificationError as error:
        raise NotProvenError(str(error)) from None
    anchor = found[-1].public_bytes(Encoding.DER)
    return ClientProof(
        authority=next(uuid for uuid, known in anchors.items() if known.public_bytes(Encoding.DER) == anchor),
        valid_from=max(certificate.not_valid_before_utc for certificate in found),
        valid_until=min(certificate.not_valid_after_utc for certificate in found),
    )


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an issuer may not sign certificates")


def _is_for_clients(_policy: Policy, _certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and not _CLIENT_PURPOSES & set(usage):
        raise ValueError("the certificate is not for clients")


_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, None)  # the CA flag itself is always checked
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
)
_LEAF = ExtensionPolicy.permit_all().may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)

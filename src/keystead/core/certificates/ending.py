"""What ends with a certificate: the key servers that a key manager cannot reach any more on the day after. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from keystead.core.availability import has_proved_certificates

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from keystead.core.model import Certificate, KeyManager, Observation, PeerCertificate


class Ending(NamedTuple):
    """The key servers (uuids) that are lost with a certificate, and those of which that is not known."""

    lost: frozenset[str]
    unknown: frozenset[str]


def ending(
    certificate: Certificate,
    key_manager: KeyManager,
    trusted: Iterable[Certificate],
    servers: Collection[str],
    observations: Iterable[Observation],
) -> Ending:
    """Return which of the key manager's servers (uuids) are lost when one of its certificates ends.

    Without its client certificate all are. Without a server CA those are whose certificates it proves. ``trusted`` are
    the key manager's server CAs: another one with the same key that lasts longer proves them as well. A server that has
    shown no proven certificate is unknown. Called to show what the end of a certificate would mean.
    """
    if certificate.uuid == key_manager.client_certificate:
        return Ending(frozenset(servers), frozenset())
    if any(_replaces(other, certificate) for other in trusted):
        return Ending(frozenset(), frozenset())
    chains: defaultdict[str, list[bool]] = defaultdict(list)
    for seen in observations:
        if seen.certificates and has_proved_certificates(seen):
            chains[seen.key_server].append(_hangs_on(seen.certificates, certificate))
    return Ending(
        frozenset(server for server in servers if chains[server] and all(chains[server])),
        frozenset(server for server in servers if not chains[server]),
    )


def _replaces(other: Certificate, certificate: Certificate) -> bool:
    """Return True if another CA certificate is of the same key and name, and lasts longer."""
    of_key = other.subject_key_identifier
    same = (
        bool(of_key) and of_key == certificate.subject_key_identifier and other.common_name == certificate.common_name
    )
    return same and other.uuid != certificate.uuid and other.expiry_time > certificate.expiry_time


def _hangs_on(chain: tuple[PeerCertificate, ...], certificate: Certificate) -> bool:
    """Return True if a CA certificate proves a chain: it is in the chain, or issued the last certificate of it."""
    identity = (certificate.ca, certificate.serial_number)
    return chain[-1].issuer == certificate.common_name or identity in {
        (each.issuer, each.serial_number) for each in chain
    }

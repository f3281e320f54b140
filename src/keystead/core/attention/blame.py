"""Which certificate a stored observation blames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.probing import AtFault, Whose

if TYPE_CHECKING:
    from collections.abc import Sequence

    from keystead.core.model import Observation, PeerCertificate

NO_ISSUER: Final = frozenset(
    {"server_certificate_self_signed", "server_certificate_issuer_not_found", "client_certificate_untrusted"}
)
"""The reasons about the issuer of the last certificate of a chain."""


def blamed(failed: Observation, ours: Sequence[PeerCertificate]) -> AtFault | None:
    """Return the certificate that the reason of a failed look is about: one that the server showed, or one of ours.

    ``ours`` is our client certificate with its intermediates. The certificates of an observation may be older than its
    reason. None if the reason is about no certificate, or if it is not known.
    """
    if failed.reason.startswith("server_certificate"):
        whose, chain = Whose.SERVER, failed.certificates
    elif failed.reason.startswith("client_certificate"):
        whose, chain = Whose.CLIENT, tuple(ours)
    else:
        return None
    if not chain:
        return None
    if failed.reason in NO_ISSUER:
        return AtFault(whose, chain[-1])
    return AtFault(whose, next((each for each in chain if each.not_after <= failed.since), chain[0]))

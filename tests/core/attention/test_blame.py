"""Which certificate a failed look blames."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.attention.blame import blamed
from keystead.core.model import Observation, PeerCertificate, State
from keystead.core.probing import AtFault, Whose

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)
LEAF = PeerCertificate("ks1", "Issuing CA", "1", NOON + DAY)
ENDED = PeerCertificate("Issuing CA", "Root CA", "2", NOON - DAY)
OURS = PeerCertificate("client", "Client CA", "3", NOON + DAY)
OUR_CA = PeerCertificate("Client CA", "Client root", "4", NOON + DAY)
FAILED = Observation(
    "n", "s", "", State.NOT_RESPONDING, NOON, "tls", "server_certificate_expired", (LEAF, ENDED), None, 12, True
)


@pytest.mark.parametrize(
    ("reason", "whose", "certificate"),
    [
        ("server_certificate_expired", Whose.SERVER, ENDED),
        ("server_certificate_issuer_not_found", Whose.SERVER, ENDED),
        ("client_certificate_refused", Whose.CLIENT, OURS),
        ("client_certificate_untrusted", Whose.CLIENT, OUR_CA),
    ],
)
def test_the_certificate_that_a_reason_is_about(reason: str, whose: Whose, certificate: PeerCertificate) -> None:
    """One that has ended; or the last of the chain if its issuer is not known; or else the first."""
    assert blamed(replace(FAILED, reason=reason), (OURS, OUR_CA)) == AtFault(whose, certificate)


def test_one_that_is_valid() -> None:
    """Of a chain in which none has ended, the first is blamed."""
    failed = replace(FAILED, reason="server_certificate_wrong_name", certificates=(LEAF,))
    assert blamed(failed, ()) == AtFault(Whose.SERVER, LEAF)


@pytest.mark.parametrize("reason", ["connection_refused", "", "client_certificate_untrusted"])
def test_no_certificate(reason: str) -> None:
    """The reason is about none, or it is not known which."""
    assert blamed(replace(FAILED, reason=reason), ()) is None

"""What to do about each reason, in steps that somebody can carry out."""

from __future__ import annotations

import pytest

from keystead.core.errors.key_reasons import WORDS
from keystead.core.errors.probe_reasons import ADVICE
from keystead.core.errors.remedies import ABOUT_STAGES, OF_THE_NETWORK, OURS, Remedy, Who, advice_of, remedy
from keystead.core.probing import STAGES


@pytest.mark.parametrize("reason", [*ADVICE, *WORDS])
def test_each_reason_has_steps(reason: str) -> None:
    """What happened is a sentence, and so is each step."""
    found = remedy(reason)
    assert found is not None
    for sentence in (found.happened, *found.steps):
        assert len(sentence) > len("Do it.")
        assert sentence.endswith(".")
        assert not sentence.endswith("..")
        assert "`" not in sentence
    assert found.happened[0].isupper()


def test_clauses_are_steps() -> None:
    """A semicolon divides steps as a full stop does."""
    assert remedy("client_certificate_not_registered") == Remedy(
        "The server trusts our client certificate, but no client is registered with it.",
        Who.KEY_SERVER,
        (
            "Register one.",
            "On GKLM, accept the certificate on its pending list.",
            "On CipherTrust, register a client with this certificate.",
        ),
    )


@pytest.mark.parametrize(
    ("reason", "who"),
    [
        ("client_certificate_untrusted", Who.KEY_SERVER),
        ("server_certificate_expired", Who.KEY_SERVER),
        ("canary_not_seen", Who.KEY_SERVER),
        ("server_certificate_issuer_not_found", Who.KEYSTEAD),
        ("look_failed", Who.KEYSTEAD),
        ("identity", Who.KEYSTEAD),
        ("digest_key", Who.KEYSTEAD),
        ("connect_timed_out", Who.NETWORK),
    ],
)
def test_who_must_act(reason: str, who: Who) -> None:
    """The one who can change it."""
    found = remedy(reason)
    assert found is not None
    assert found.who is who


def test_the_lists_name_reasons() -> None:
    """No list of who must act has a word that is no reason, and each stage has its words."""
    assert {*ADVICE, *WORDS} >= (OURS | OF_THE_NETWORK)
    assert not OURS & OF_THE_NETWORK
    assert tuple(ABOUT_STAGES) == STAGES


def test_an_unknown_reason() -> None:
    """It has no remedy."""
    assert remedy("") is None
    assert remedy("nonsense") is None
    assert advice_of("nonsense") == ""


@pytest.mark.parametrize("reason", [*ADVICE, *WORDS])
def test_the_advice_of_a_reason(reason: str) -> None:
    """It is found in both tables, as it is written."""
    assert advice_of(reason) == (WORDS[reason].advice if reason in WORDS else ADVICE[reason])

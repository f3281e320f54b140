"""What to do about a failure of a key server, in words."""

from __future__ import annotations

from typing import Final

_ABOUT_STAGES: Final = {
    "egress": "Keystead may not connect to this address.",
    "resolve": "The host name has no address that Keystead may use: check its spelling.",
    "connect": "Nothing answers at the host and port: check both, and the firewalls between.",
    "tls": "TLS fails: check the certificates of both sides, and the TLS versions of the server.",
    "kmip": "TLS works and KMIP does not: check that the port is KMIP's, and look at the log of the server.",
    "credential": "The server refuses our requests: check which client certificate and which username it knows.",
}
_WHO_SEES_MORE: Final = "An account of the cluster sees the reason."


def advice_about(reason: str) -> str:
    """Return the advice about a reason word, or an empty text for a word without advice."""
    from keystead.core.errors.key_reasons import WORDS
    from keystead.core.errors.probe_reasons import ADVICE  # a command without a failure starts without the tables

    word = WORDS.get(reason)
    return word.advice if word else ADVICE.get(reason, "")


def advice_without_reason(stage: str) -> str:
    """Return what a stage is about, for accounts of SVMs, which see no reason. Empty for an unknown stage."""
    return f"{_ABOUT_STAGES[stage]} {_WHO_SEES_MORE}" if stage in _ABOUT_STAGES else ""

"""What to do about a reason, in steps, and who must act. Made from the advice; each step is one of its sentences."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core.errors.key_reasons import WORDS
from keystead.core.errors.probe_reasons import ADVICE

if TYPE_CHECKING:
    from collections.abc import Mapping


class Who(StrEnum):
    """Who must act so that a key server is accepted."""

    KEYSTEAD = "Whoever runs Keystead"
    KEY_SERVER = "Whoever runs the key server"
    NETWORK = "Whoever runs the network"


class Remedy(NamedTuple):
    """The remedy for a reason: what happened, in words; who must act, and in which steps."""

    happened: str
    who: Who
    steps: tuple[str, ...]


OURS: Final = frozenset(
    {
        *("address_not_allowed", "name_not_resolved", "no_answer", "engine_error", "look_failed", "not_tls"),
        *("client_certificate_expired", "client_certificate_not_yet_valid", "client_certificate_key_mismatch"),
        *("client_certificate_revoked", "server_certificate_self_signed", "server_certificate_issuer_not_found"),
        *("server_name_not_recognised", "malformed_answer", "answer_too_large", "identity", "digest_key"),
    }
)
"""The reasons about which Keystead's administrator does something."""

OF_THE_NETWORK: Final = frozenset({"unreachable", "connect_timed_out"})

ABOUT_STAGES: Final[Mapping[str, str]] = {
    "egress": "Keystead may not connect to this address.",
    "resolve": "The host name has no address that Keystead may use: check its spelling.",
    "connect": "Nothing answers at the host and port: check both, and the firewalls between.",
    "tls": "TLS fails: check the certificates of both sides, and the TLS versions of the server.",
    "kmip": "TLS works and KMIP does not: check that the port is KMIP's, and look at the log of the server.",
    "credential": "The server refuses our requests: check which client certificate and which username it knows.",
}
"""What a failed stage means, for accounts of SVMs, which see no reason."""


def advice_of(reason: str) -> str:
    """Return the advice for a reason as it is written, empty for an unknown word."""
    word = WORDS.get(reason)
    return word.advice if word else ADVICE.get(reason, "")


def remedy(reason: str) -> Remedy | None:
    """Return what to do about the reason of a failed probe or look. None for an unknown word."""
    if reason in WORDS:
        happened, advice = WORDS[reason]
    elif reason in ADVICE:
        happened, _, advice = ADVICE[reason].partition(": ")
    else:
        return None
    return Remedy(_sentence(happened), _who(reason), _steps(advice))


def _who(reason: str) -> Who:
    if reason in OURS:
        return Who.KEYSTEAD
    return Who.NETWORK if reason in OF_THE_NETWORK else Who.KEY_SERVER


def _steps(advice: str) -> tuple[str, ...]:
    """Return an advice as steps: its sentences, and its clauses that a semicolon divides."""
    return tuple(_sentence(clause) for clause in advice.replace("; ", ". ").split(". "))


def _sentence(clause: str) -> str:
    """Return a clause as a sentence, without the backticks around commands."""
    begin = clause[:1].upper() + clause[1:]
    return f"{begin.replace('`', '').removesuffix('.')}."

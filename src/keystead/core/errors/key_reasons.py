"""The reasons why keys could not be written to, read from or found on a key server: what each fixed word means.

Use cases and :mod:`keystead.keyservers.objects_faults` give these reasons. Failed connections have the reasons of a
probe, in :mod:`keystead.keyservers.failures`. ``docs/reference/reasons.md`` is generated from both modules.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Word(NamedTuple):
    """The meaning of a reason, and the advice for the operator."""

    meaning: str
    advice: str


_LOG: Final = "Look at the log of the key server."
_IDENTITY: Final = (
    "Look at the log of Keystead: the key manager's client certificate or a sealed secret is missing, or the root key"
    " is not the right one."
)
_AGAIN: Final = "Send the same call again."
_ENOUGH: Final = "Do nothing if enough other servers took the key. Otherwise send the same call again."
_BY_ITSELF: Final = "Do nothing: Keystead asks the server again by itself."
_MATERIAL: Final = (
    "The object on the key server is not the key: keep the other copies, and find out who changed the object."
    " `keystead report prove` shows which copies are affected, and proves them again after the repair."
)

WORDS: Final[Mapping[str, Word]] = {
    "canary_not_seen": Word(
        "the server does not show the canary, the object that we wrote there to recognise the server",
        "Check address, port and user: another server may answer there, or this one no longer shows our objects to us."
        " After a change of the client certificate, check that the new one belongs to the same client and may read the"
        " objects of the old one. If the server was wiped, wait one to two hours: it is learned again if its TLS"
        " certificate kept its key pair. Otherwise use `external confirm-server`, or remove it and add it again."
        " If it also returns other bytes for keys, its storage is damaged: repair it, or replace the server.",
    ),
    "look_failed": Word(
        "the node's check of the server failed for a fault of the node itself, so the state is unknown",
        "Look at the log of Keystead, and report the fault.",
    ),
    "different_material": Word("the server returned other bytes than the key's", _MATERIAL),
    "not_readable": Word(
        "the copy could not be asked for: a certificate or a password is missing, or the server is silent", _IDENTITY
    ),
    "unsettled": Word(
        "it is not known yet whether the server took the copy, and the server does not find the copy by its name",
        "Wait for the next round of the keeper (half a minute to ten minutes), and send the same call again.",
    ),
    "detached": Word(
        "a removed key server may still have a copy of the key, and it is not asked",
        "`external detached show` lists such servers. Give the server up if it never comes back.",
    ),
    "not_proven_in_time": Word("the copy was not read in the time that the call has", _AGAIN),
    "not_reached": Word(
        "nothing was sent: the server's profile is not known yet",
        "Probe the server with `keystead kmip probe`, and repair what the probe finds.",
    ),
    "key_length_not_supported": Word(
        "the server does not take keys of this length",
        "Allow symmetric keys or secret data of 64 bytes on the server, or use another server.",
    ),
    "attempt_expired": Word("the time of the attempt was over before the server was asked", _AGAIN),
    "attempt_ended": Word("the attempt was decided before the server was asked", _ENOUGH),
    "circuit_open": Word("the server failed moments ago, so Keystead does not ask it for some seconds", _BY_ITSELF),
    "no_free_connection": Word(
        "all connections to the server are in use", "Send the same call again; look at the load of the key server."
    ),
    "identity": Word("our certificate, or the password, cannot be opened", _IDENTITY),
    "identity_unusable": Word("our certificate, or a secret of the key manager, cannot be opened", _IDENTITY),
    "digest_key": Word("the digest key, with which digests of keys are made, cannot be opened", _IDENTITY),
    "locate_incomplete": Word("the server lists objects, but not to the end", _LOG),
    "unusable_identifier": Word("the server's identifier of an object is not a text", _LOG),
    "unusable_material": Word(
        "the server returned the key wrapped, or in a form that Keystead does not read",
        "Turn off the wrapping of keys for our client on the server.",
    ),
    "operation_pending": Word("the server postponed the operation, although it was not asked to", _LOG),
    "no_result_reason": Word("the server refuses, and does not say why", _LOG),
    "unknown_result_reason": Word("the server refuses for a reason that KMIP does not define", _LOG),
}
"""Meaning and advice by reason.

Any other reason is the name of a Result Reason in lower case, such as ``permission_denied``.
"""

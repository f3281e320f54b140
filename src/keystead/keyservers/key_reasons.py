"""Why keys could not be written to a key server, read there or told to be there: what each fixed word means.

Connections fail for the reasons of a probe, in :mod:`keystead.keyservers.failures`; the words here are said by use
cases, and by :mod:`keystead.keyservers.objects_faults`. ``docs/reference/reasons.md`` is generated from both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Word(NamedTuple):
    """What a reason says, and what to do about it."""

    meaning: str
    advice: str


_LOG: Final = "Look at the log of the key server."
_IDENTITY: Final = (
    "Look at the log of Keystead: the key manager's client certificate or a sealed secret is gone, or the root key is"
    " another."
)
_AGAIN: Final = "Send the same call again."
_ENOUGH: Final = "Nothing, where enough other servers took the key; else send the same call again."
_BY_ITSELF: Final = "Nothing: it is asked again by itself."
_MATERIAL: Final = (
    "What is on the key server is not the key: keep the other copies, and find out who changed it."
    " `keystead report prove` tells which copies are concerned."
)

WORDS: Final[Mapping[str, Word]] = {
    "canary_not_seen": Word(
        "the server does not show the object that was written there to tell it by",
        "Another server answers there, or the same one does not show us what it showed before: check address, port and"
        " user; with another client certificate, that it belongs to the same client, and may read what that one wrote."
        " A server that was replaced or wiped is removed, and added anew.",
    ),
    "different_material": Word("the server returned other bytes than the key's", _MATERIAL),
    "not_readable": Word(
        "the copy could not be asked for: a certificate or a password is missing, or the server is silent", _IDENTITY
    ),
    "unsettled": Word(
        "nobody knows yet whether the server took the copy, and it does not find it under its name",
        "Wait for the next round of the keeper (half a minute), and send the same call again.",
    ),
    "not_proven_in_time": Word("the copy was not read in the time that the call has", _AGAIN),
    "not_reached": Word(
        "nothing was sent: what the server can do is not known yet",
        "Probe it with `keystead kmip probe`, and mend what that finds.",
    ),
    "key_length_not_supported": Word(
        "the server does not take keys of this length",
        "Allow symmetric keys or secret data of 64 bytes on the server, or use another.",
    ),
    "attempt_expired": Word("the time of the attempt was over before the server was asked", _AGAIN),
    "attempt_ended": Word("the attempt was decided before the server was asked", _ENOUGH),
    "circuit_open": Word("the server failed moments ago, and is left alone for some seconds", _BY_ITSELF),
    "no_free_connection": Word(
        "all connections to the server are in use", "Send the same call again; look at the load of the key server."
    ),
    "identity": Word("our certificate, or the password, cannot be opened", _IDENTITY),
    "identity_unusable": Word("our certificate, or a secret of the key manager, cannot be opened", _IDENTITY),
    "digest_key": Word("what digests of keys are made with cannot be opened", _IDENTITY),
    "locate_incomplete": Word("the server lists objects, but not to the end", _LOG),
    "unusable_identifier": Word("the server calls an object something that is no text", _LOG),
    "unusable_material": Word(
        "the key came wrapped, or in a form that is not asked for",
        "Turn off the wrapping of keys for our client on the server.",
    ),
    "operation_pending": Word("the server put the operation off, which it was not asked to", _LOG),
    "no_result_reason": Word("the server refuses, and does not say why", _LOG),
    "unknown_result_reason": Word("the server refuses for a reason that KMIP does not know", _LOG),
}
"""By reason. Any other word is the name of a Result Reason in lower case, such as ``permission_denied``."""

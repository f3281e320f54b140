"""Epoch markers: how a database detects, on the key servers, a clone of itself. Pure.

On each key server this incarnation keeps one small object of random bytes, its epoch marker. Before it destroys
anything there, it writes the next marker and destroys the last one. A clone that went on from the same past does the
same under the same names. So it has written another object under the next name, or has destroyed the last marker. Both
are detected.

Markers are numbered from 2. Number 1 is the anchor: it is written once after the first marker, and never destroyed. It
shows that there were markers when none is left. A marker's token is no secret. It contains a digest, which shows that a
database with this past made it. A server that returns other bytes proves no clone.

To advance, look for the next name, then the marker before it, then the anchor, in this order. Look again after writing:
if two databases write at once, at least one of them sees the other.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, replace
from enum import Enum, StrEnum
from typing import Final

from keystead.core.keys.digests import digest
from keystead.core.secret import Secret

ANCHOR: Final = 1
FIRST: Final = 2

TOKEN_BYTES: Final = 32
"""The length of a token: that of the shortest key that every form can hold."""

RANDOM_BYTES: Final = 16
"""The number of random bytes at the start of a token. A digest of them follows."""


class EpochMarkerState(StrEnum):
    """The state of a marker. ``sent``: it may be on the server. ``held``: it was seen there, and no other marker."""

    SENT = "sent"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class EpochMarker:
    """The newest marker of an incarnation on a key server. ``behind`` are the identifiers of the marker before it.

    ``behind`` is kept until that marker is destroyed. It is empty for a first marker.
    """

    key_server: str
    incarnation: str
    number: int
    token: bytes
    state: EpochMarkerState = EpochMarkerState.SENT
    unique_identifiers: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()


def token(digest_key: Secret, key_server: str, random: bytes) -> bytes:
    """Return the token for a marker on this server, made of :data:`RANDOM_BYTES` random bytes."""
    return random + digest(digest_key, f"fence {key_server}", Secret(random))[: TOKEN_BYTES - RANDOM_BYTES]


def is_token(digest_key: Secret, key_server: str, octets: bytes) -> bool:
    """Return True if the bytes are exactly a token for this server."""
    return hmac.compare_digest(token(digest_key, key_server, octets[:RANDOM_BYTES]), octets)


def first_marker(key_server: str, incarnation: str, token: bytes) -> EpochMarker:
    """Return the first marker of an incarnation on a server. A server that lost all markers gets a first one again."""
    return EpochMarker(key_server, incarnation, FIRST, token)


def next_marker(marker: EpochMarker, token: bytes) -> EpochMarker:
    """Return the marker after a held one. The marker before the held one must have been destroyed."""
    return EpochMarker(
        marker.key_server, marker.incarnation, marker.number + 1, token, behind=marker.unique_identifiers
    )


def as_held(marker: EpochMarker, unique_identifiers: tuple[str, ...]) -> EpochMarker:
    """Return the marker in state ``held``, with the identifiers of its object."""
    return replace(marker, state=EpochMarkerState.HELD, unique_identifiers=unique_identifiers)


class MarkerOwner(Enum):
    """Who owns the objects under a marker's name."""

    NONE_THERE = "nobody's"
    OURS = "ours"
    OTHER = "another's"


class Predecessor(Enum):
    """What was seen of the marker before. ``none``: there was no marker before."""

    NONE = "none"
    THERE = "there"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class MarkersSeen:
    """What was seen on a server, in this order. ``canary``: the server shows its canary."""

    marker: MarkerOwner
    behind: Predecessor
    anchor: MarkerOwner
    canary: bool


class Verdict(Enum):
    """The conclusion. ``write``: the marker may be written, since it is not there yet. ``ours``: the marker is there.

    ``cloned``: a database with the same past is, or was, in use elsewhere. ``lost``: the server has lost all markers.
    ``unclear``: the server does not show its canary either.
    """

    WRITE = "write"
    OURS = "ours"
    CLONED = "cloned"
    LOST = "lost"
    UNCLEAR = "unclear"


def verdict_of(seen: MarkersSeen) -> Verdict:
    """Return the conclusion from what was seen."""
    if seen.marker is MarkerOwner.OTHER:
        return Verdict.CLONED
    if seen.behind is Predecessor.GONE:
        return _without_predecessor(seen)
    if seen.behind is Predecessor.NONE and _was_begun_before(seen):
        return Verdict.CLONED
    return Verdict.OURS if seen.marker is MarkerOwner.OURS else Verdict.WRITE


def _without_predecessor(seen: MarkersSeen) -> Verdict:
    """Return the conclusion if the marker before is gone: a clone destroyed it, or the server lost everything."""
    if seen.anchor is not MarkerOwner.NONE_THERE:
        return Verdict.CLONED
    return Verdict.LOST if seen.canary else Verdict.UNCLEAR


def _was_begun_before(seen: MarkersSeen) -> bool:
    """Return True if another first marker was on the server.

    The anchor shows it: either the anchor is another database's, or it is ours although our first marker is missing.
    """
    return seen.anchor is MarkerOwner.OTHER or (
        seen.anchor is MarkerOwner.OURS and seen.marker is MarkerOwner.NONE_THERE
    )

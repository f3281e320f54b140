"""Epoch markers: how a database detects, on the key servers, a clone of itself. Pure.

A clone is a copy of the database that is in use elsewhere, with the same key servers. On each key server this
incarnation has one small object of random bytes, its epoch marker. Before it destroys anything there, it writes the
next marker and destroys the previous one. A clone does the same under the same names, because it has the same data. So
it has written another object under the next name, or has destroyed the previous marker. Both are detected.

Markers are numbered from 2. Number 1 is the anchor: it is written once after the first marker, and never destroyed. It
shows that there were markers when none is left. A marker's token is no secret. It contains a digest, which shows that
this database or a clone of it made the token. A server that returns other bytes proves no clone.

To write the next marker, look for its name, then for the previous marker, then for the anchor, in this order. Look
again after writing: if two databases write at once, at least one of them sees the other.
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
    """The newest marker of an incarnation on a key server.

    ``previous_identifiers`` are the Unique Identifiers of the marker with the number before. They are stored until that
    marker is destroyed. They are empty for a first marker.
    """

    key_server: str
    incarnation: str
    number: int
    token: bytes
    state: EpochMarkerState = EpochMarkerState.SENT
    unique_identifiers: tuple[str, ...] = ()
    previous_identifiers: tuple[str, ...] = ()


def token(digest_key: Secret, key_server: str, random: bytes) -> bytes:
    """Return the token for a marker on this server, made of :data:`RANDOM_BYTES` random bytes.

    Called before a new marker is stored and written.
    """
    return random + digest(digest_key, f"fence {key_server}", Secret(random))[: TOKEN_BYTES - RANDOM_BYTES]


def is_token(digest_key: Secret, key_server: str, octets: bytes) -> bool:
    """Return True if the bytes are exactly a token for this server, made by this database or by a clone of it.

    Called when an object under a marker's name was read. If it is False, the server returned other bytes than it was
    sent.
    """
    return hmac.compare_digest(token(digest_key, key_server, octets[:RANDOM_BYTES]), octets)


def first_marker(key_server: str, incarnation: str, token: bytes) -> EpochMarker:
    """Return the first marker of an incarnation on a server. A server that lost all markers gets a first one again.

    Called by the keeper if this incarnation has no marker there, or the server lost its markers. Nothing is written
    here.
    """
    return EpochMarker(key_server, incarnation, FIRST, token)


def next_marker(marker: EpochMarker, token: bytes) -> EpochMarker:
    """Return the marker that replaces ``marker``. It has the next number, and is to be written.

    ``marker`` must be in state ``held``, without ``previous_identifiers``: its previous marker is destroyed already.
    Called when a marker is due: before objects are destroyed on its server, after a recovery of a key, or after an
    hour.
    """
    return EpochMarker(
        marker.key_server, marker.incarnation, marker.number + 1, token, previous_identifiers=marker.unique_identifiers
    )


def as_held(marker: EpochMarker, unique_identifiers: tuple[str, ...]) -> EpochMarker:
    """Return the marker in state ``held``, with the identifiers of its object.

    Called once the keeper has seen the marker on its server, and no marker of a clone.
    """
    return replace(marker, state=EpochMarkerState.HELD, unique_identifiers=unique_identifiers)


class MarkerOwner(Enum):
    """Who owns the objects under a marker's name."""

    NONE_THERE = "nobody's"
    OURS = "ours"
    OTHER = "another's"


class PreviousMarker(Enum):
    """What was seen of the previous marker.

    ``never written``: the marker is a first one, so this incarnation has no previous marker. ``gone``: this incarnation
    wrote a previous marker and did not destroy it, but it is not on the server any more.
    """

    NEVER_WRITTEN = "never written"
    PRESENT = "present"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class MarkersSeen:
    """What was seen on a server, in this order. ``canary``: the server shows its canary."""

    marker: MarkerOwner
    previous: PreviousMarker
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
    """Return what follows from what was seen on a server: may the marker be written, or is there a clone?

    The marker is the one that is to be written, or was just written. There are three signs of a clone. The name of the
    marker belongs to an object of another database. The previous marker is gone while the anchor is there. Or this is a
    first marker, and the server had another first marker before.

    If the previous marker and the anchor are gone, the server has lost all markers; without its canary nothing is
    clear. Called before a marker is written, and again after it was written.
    """
    if seen.marker is MarkerOwner.OTHER:
        return Verdict.CLONED
    if seen.previous is PreviousMarker.GONE:
        return _without_previous(seen)
    if seen.previous is PreviousMarker.NEVER_WRITTEN and _had_other_first_marker(seen):
        return Verdict.CLONED
    return Verdict.OURS if seen.marker is MarkerOwner.OURS else Verdict.WRITE


def _without_previous(seen: MarkersSeen) -> Verdict:
    """Return the conclusion if the previous marker is gone: a clone destroyed it, or the server lost everything."""
    if seen.anchor is not MarkerOwner.NONE_THERE:
        return Verdict.CLONED
    return Verdict.LOST if seen.canary else Verdict.UNCLEAR


def _had_other_first_marker(seen: MarkersSeen) -> bool:
    """Return True if another first marker was on the server.

    The anchor shows it: either the anchor is another database's, or it is ours although our first marker is missing.
    """
    return seen.anchor is MarkerOwner.OTHER or (
        seen.anchor is MarkerOwner.OURS and seen.marker is MarkerOwner.NONE_THERE
    )

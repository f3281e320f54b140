"""Fences: how two databases with one past are told apart at the key servers that both of them reach. Pure.

On each key server this incarnation keeps a small object of random bytes, its fence, and puts the next one in its place
before it destroys anything there. Whose database went on from the same past has put another object under the next name,
or has taken the last one away: both are seen. Fences are numbered from 2; number 1 is the anchor, written once after
the first fence and never destroyed: it says that there were fences where none is left. A token is no secret; by a
digest it shows that a database with this past has made it: a server that returns other bytes says nothing of twins.

Whoever advances looks for the next name, for the fence before it, and for the anchor, in this order, and again after it
has written: of two that write at once, at least one sees the other.
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
"""As long as the shortest key that every form of keeping keys takes."""

RANDOM_BYTES: Final = 16
"""Of a token; its digest follows."""


class EpochMarkerState(StrEnum):
    """``sent``: it may be there. ``held``: it was there, alone."""

    SENT = "sent"
    HELD = "held"


@dataclass(frozen=True, slots=True)
class EpochMarker:
    """The newest fence of an incarnation on a key server. ``behind`` are the identifiers of the one before it.

    They are kept until that one is destroyed; there are none of a first one.
    """

    key_server: str
    incarnation: str
    number: int
    token: bytes
    state: EpochMarkerState = EpochMarkerState.SENT
    unique_identifiers: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()


def token(digest_key: Secret, key_server: str, random: bytes) -> bytes:
    """A token that is made of so many random bytes, for a fence on this server."""
    return random + digest(digest_key, f"fence {key_server}", Secret(random))[: TOKEN_BYTES - RANDOM_BYTES]


def is_token(digest_key: Secret, key_server: str, octets: bytes) -> bool:
    """Whether bytes are a token for this server, each bit of them."""
    return hmac.compare_digest(token(digest_key, key_server, octets[:RANDOM_BYTES]), octets)


def begun(key_server: str, incarnation: str, token: bytes) -> EpochMarker:
    """The first fence of an incarnation on a server, or the first one again on a server that lost them all."""
    return EpochMarker(key_server, incarnation, FIRST, token)


def following(marker: EpochMarker, token: bytes) -> EpochMarker:
    """The fence after one that is held, and whose own predecessor is no more."""
    return EpochMarker(
        marker.key_server, marker.incarnation, marker.number + 1, token, behind=marker.unique_identifiers
    )


def held(marker: EpochMarker, unique_identifiers: tuple[str, ...]) -> EpochMarker:
    """A fence that is there."""
    return replace(marker, state=EpochMarkerState.HELD, unique_identifiers=unique_identifiers)


class Whose(Enum):
    """Whose objects stand under a name."""

    NOBODYS = "nobody's"
    OURS = "ours"
    ANOTHERS = "another's"


class Behind(Enum):
    """What was seen of the fence before. ``none``: there was no other."""

    NONE = "none"
    THERE = "there"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class MarkersSeen:
    """What was seen on a server, in this order. ``canary``: the server shows what must be there."""

    marker: Whose
    behind: Behind
    anchor: Whose
    canary: bool


class Verdict(Enum):
    """What follows. ``write``: nothing speaks against the fence, which is not there yet. ``ours``: it is there.

    ``cloned``: a database with the same past goes on elsewhere, or went on. ``lost``: the server has lost all fences.
    ``unclear``: it does not show what must be there.
    """

    WRITE = "write"
    OURS = "ours"
    CLONED = "cloned"
    LOST = "lost"
    UNCLEAR = "unclear"


def judged(seen: MarkersSeen) -> Verdict:
    """What follows of what was seen."""
    if seen.marker is Whose.ANOTHERS:
        return Verdict.CLONED
    if seen.behind is Behind.GONE:
        return _without_predecessor(seen)
    if seen.behind is Behind.NONE and _was_begun_before(seen):
        return Verdict.CLONED
    return Verdict.OURS if seen.marker is Whose.OURS else Verdict.WRITE


def _without_predecessor(seen: MarkersSeen) -> Verdict:
    """Somebody took it away, and goes on; or everything is gone."""
    if seen.anchor is not Whose.NOBODYS:
        return Verdict.CLONED
    return Verdict.LOST if seen.canary else Verdict.UNCLEAR


def _was_begun_before(seen: MarkersSeen) -> bool:
    """Whether another first fence was there: its anchor is, or ours is without the fence that was there before it."""
    return seen.anchor is Whose.ANOTHERS or (seen.anchor is Whose.OURS and seen.marker is Whose.NOBODYS)

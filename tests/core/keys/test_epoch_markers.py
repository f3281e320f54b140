"""The table from what is seen of epoch markers to a verdict, and the order of markers."""

from __future__ import annotations

from itertools import product

import pytest

from keystead.core.keys.epoch_markers import (
    FIRST,
    RANDOM_BYTES,
    TOKEN_BYTES,
    EpochMarker,
    EpochMarkerState,
    MarkerOwner,
    MarkersSeen,
    PreviousMarker,
    Verdict,
    as_held,
    first_marker,
    is_token,
    next_marker,
    token,
    verdict_of,
)
from keystead.core.secret import Secret

DIGEST_KEY = Secret(bytes(range(32)))
NONE_THERE, OURS, OTHER = MarkerOwner.NONE_THERE, MarkerOwner.OURS, MarkerOwner.OTHER
NEVER, PRESENT, GONE = PreviousMarker.NEVER_WRITTEN, PreviousMarker.PRESENT, PreviousMarker.GONE

TABLE = [
    # the marker, the previous one, the anchors, the canary, what follows
    ({OTHER}, set(PreviousMarker), set(MarkerOwner), {True, False}, Verdict.CLONED),
    ({NONE_THERE}, {PRESENT}, set(MarkerOwner), {True, False}, Verdict.WRITE),
    ({OURS}, {PRESENT}, set(MarkerOwner), {True, False}, Verdict.OURS),
    ({NONE_THERE, OURS}, {GONE}, {OURS, OTHER}, {True, False}, Verdict.CLONED),
    ({NONE_THERE, OURS}, {GONE}, {NONE_THERE}, {True}, Verdict.LOST),
    ({NONE_THERE, OURS}, {GONE}, {NONE_THERE}, {False}, Verdict.UNCLEAR),
    ({NONE_THERE, OURS}, {NEVER}, {OTHER}, {True, False}, Verdict.CLONED),
    ({NONE_THERE}, {NEVER}, {OURS}, {True, False}, Verdict.CLONED),
    ({NONE_THERE}, {NEVER}, {NONE_THERE}, {True, False}, Verdict.WRITE),
    ({OURS}, {NEVER}, {NONE_THERE, OURS}, {True, False}, Verdict.OURS),
]
CASES = [
    (MarkersSeen(*seen), verdict)
    for markers, previous, anchors, canaries, verdict in TABLE
    for seen in product(markers, previous, anchors, canaries)
]


@pytest.mark.parametrize(("seen", "verdict"), CASES)
def test_what_follows(seen: MarkersSeen, verdict: Verdict) -> None:
    """A foreign marker, or a marker that was replaced by another node, shows a clone; hidden markers show nothing."""
    assert verdict_of(seen) is verdict


def test_the_table_is_whole() -> None:
    """Each observation has exactly one verdict."""
    seen = [each for each, _ in CASES]
    assert len(seen) == len(set(seen)) == 3 * 3 * 3 * 2


def test_one_after_the_other() -> None:
    """The first marker has no predecessor; each later one names the identifiers of the one before."""
    first = first_marker("server", "incarnation", b"one")
    assert first == EpochMarker("server", "incarnation", FIRST, b"one", EpochMarkerState.SENT, (), ())
    second = next_marker(as_held(first, ("id",)), b"two")
    assert second == EpochMarker("server", "incarnation", FIRST + 1, b"two", EpochMarkerState.SENT, (), ("id",))
    assert as_held(second, ("other",)) == EpochMarker(
        "server", "incarnation", FIRST + 1, b"two", EpochMarkerState.HELD, ("other",), ("id",)
    )


def test_a_token_shows_who_made_it() -> None:
    """A token is valid for one database history and one server, and no bit of it can change."""
    made = token(DIGEST_KEY, "server", bytes(RANDOM_BYTES))
    assert len(made) == TOKEN_BYTES
    assert is_token(DIGEST_KEY, "server", made)
    assert not is_token(DIGEST_KEY, "another", made)
    assert not is_token(Secret(bytes(32)), "server", made)
    changed = [bytes([*made[:at], made[at] ^ 1, *made[at + 1 :]]) for at in range(TOKEN_BYTES)]
    assert not any(is_token(DIGEST_KEY, "server", other) for other in [*changed, b"", made[:-1], made + b"\0"])

"""How many objects the epoch markers are."""

from __future__ import annotations

from keystead.core.keys.epoch_markers import EpochMarker
from keystead.core.server_costs import marker_objects


def test_objects_of_markers() -> None:
    """The newest marker and the anchor, and the previous marker until it is destroyed. A pair is two objects each."""
    first = EpochMarker("s", "i", 1, b"token")
    assert marker_objects(first) == 0
    assert marker_objects(EpochMarker("s", "i", 1, b"token", unique_identifiers=("a",))) == 2
    assert (
        marker_objects(
            EpochMarker("s", "i", 2, b"token", unique_identifiers=("a", "b"), previous_identifiers=("c", "d"))
        )
        == 6
    )

"""The rule that all nodes must be heard before key servers change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keystead.core.availability import SILENT_AFTER
from keystead.core.model import ONTAP_LEVEL, Node
from keystead.core.quorum import OFF, Quorum

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


@pytest.mark.parametrize(
    ("quorum", "other", "missing"),
    [
        (OFF, Node("2", "n2", ONTAP_LEVEL, NOON, has_left=True), ""),
        (Quorum(required=True), Node("2", "n2", ONTAP_LEVEL, NOON - SILENT_AFTER), ""),
        (Quorum(required=True), Node("2", "n2", ONTAP_LEVEL, NOON - SILENT_AFTER - SECOND), "n2"),
        (Quorum(required=True), Node("2", "n2", ONTAP_LEVEL, NOON, has_left=True), "n2"),
        (Quorum(required=True), Node("2", "n2", ONTAP_LEVEL, NOON - timedelta(minutes=15)), "n2"),
        (Quorum(required=True), Node("2", "n2", ONTAP_LEVEL, NOON - timedelta(minutes=15) - SECOND), ""),
        (
            Quorum(required=True, evicted_after=timedelta(hours=1)),
            Node("2", "n2", ONTAP_LEVEL, NOON - timedelta(minutes=59)),
            "n2",
        ),
        (Quorum(required=True), Node("2", "n2", ONTAP_LEVEL), ""),
    ],
)
def test_who_is_missing(quorum: Quorum, other: Node, missing: str) -> None:
    """A silent node is, until it is evicted. One that was never heard has never been part of it."""
    assert quorum.missing([Node("1", "n1", ONTAP_LEVEL, NOON), other]) == missing


def test_nobody_was_heard_yet() -> None:
    """Then nobody is missing."""
    nodes = [Node("1", "n1", ONTAP_LEVEL), Node("2", "n2", ONTAP_LEVEL, has_left=True)]
    assert Quorum(required=True).missing(nodes) == ""

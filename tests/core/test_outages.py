"""Outages of key servers from their events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keystead.core import events
from keystead.core.model import Event
from keystead.core.outages import Outage, outages

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SINCE = NOON - timedelta(hours=24)
LOST, BACK = events.NOT_AVAILABLE.name, events.AVAILABLE.name


def event(name: str, hour: int, node: str = "1", address: str = "ks1:5696") -> Event:
    """Return an event so many hours before noon."""
    values = (("vserver", "vs0"), ("address", address))
    return Event(node, 0, NOON - timedelta(hours=hour), name, "alert", None, values, "")


def outage(begin: int, end: int) -> Outage:
    """Return an outage between so many hours before noon."""
    return Outage(NOON - timedelta(hours=begin), NOON - timedelta(hours=end))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(LOST, 5), (BACK, 3)], [outage(5, 3)]),
        ([(LOST, 5)], [outage(5, 0)]),
        ([(BACK, 5)], [outage(24, 5)]),
        ([(LOST, 5), (LOST, 4), (BACK, 3)], [outage(5, 3)]),
        ([(LOST, 9), (BACK, 8), (BACK, 7)], [outage(9, 8)]),
        ([(LOST, 9), (BACK, 8), (LOST, 2), (BACK, 1)], [outage(9, 8), outage(2, 1)]),
        ([(LOST, 9, "1"), (LOST, 8, "2"), (BACK, 7, "3")], [outage(9, 7)]),
    ],
)
def test_outages(found: list[tuple[str, int]], expected: list[Outage]) -> None:
    """From loss to return, whichever nodes announce them; what began before, or has not ended, reaches the border."""
    happened = [event(*each) for each in found]
    assert outages(reversed(happened), SINCE, NOON) == {("vs0", "ks1:5696"): tuple(expected)}


def test_each_server_has_its_own() -> None:
    """And a server without events has none."""
    found = outages([event(LOST, 2), event(LOST, 1, address="ks2:5696")], SINCE, NOON)
    assert found == {("vs0", "ks1:5696"): (outage(2, 0),), ("vs0", "ks2:5696"): (outage(1, 0),)}
    assert outages([], SINCE, NOON) == {}

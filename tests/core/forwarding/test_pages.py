"""keystead.core.forwarding.pages: each kind of event leads to a page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from keystead.core import events
from keystead.core.forwarding.pages import _OF_KINDS, page_path
from keystead.core.model import Event

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
EVENT = Event("n", 1, NOON, events.NOT_AVAILABLE.name, "alert", None, (("address", "[::1]:5696"),), "")


def test_each_kind_has_a_page() -> None:
    """A new kind of event needs a row."""
    assert _OF_KINDS.keys() == events.KINDS.keys()


@pytest.mark.parametrize(
    ("name", "path", "without_key_manager"),
    [
        (events.NOT_AVAILABLE.name, "/key-managers/u1/key-servers/[::1]:5696", "/key-servers"),
        (events.SOLE_COPIES.name, "/key-managers/u1/survival", "/survival"),
        (events.EXPIRED.name, "/certificates", "/certificates"),
        ("of.another.release", "/events", "/events"),
    ],
)
def test_an_event_leads_to_its_page(name: str, path: str, without_key_manager: str) -> None:
    event = replace(EVENT, name=name)
    assert page_path(event, "u1") == path
    assert page_path(event, "") == without_key_manager


def test_an_address_cannot_leave_its_place_in_the_path() -> None:
    """Nor end the URL within a line of syslog."""
    event = replace(EVENT, parameters=(("address", "a/../b?c d#e"),))
    assert page_path(event, "u1") == "/key-managers/u1/key-servers/a%2F..%2Fb%3Fc%20d%23e"

"""The page that an item of attention leads to, if the account may open it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from starlette.routing import compile_path

from keystead.core import events
from keystead.core.attention.items import Item, Severity, Subject
from keystead.core.forwarding.pages import page_path
from keystead.core.model import Event
from keystead.web.links import item_path
from keystead.web.pages import PAGES


@pytest.mark.parametrize(
    ("subject", "identifier", "path"),
    [
        (Subject.KEY_SERVER, "ks1:5696", "/key-managers/u/key-servers/ks1:5696"),
        (Subject.KEY_SERVER, "", "/key-servers"),
        (Subject.KEYS, "", "/key-managers/u/survival"),
        (Subject.CERTIFICATE, "", "/certificates"),
        (Subject.NODE, "n", ""),
        (Subject.SETTING, "", ""),
    ],
)
def test_an_item_leads_to_its_page(subject: Subject, identifier: str, path: str) -> None:
    """What has no page has no link; nor has a page that the account may not open."""
    item = Item(subject, "name", Severity.WARNING, "", "", "", key_manager="u", identifier=identifier)
    assert item_path(item, lambda _method, _path: True) == path
    assert item_path(item, lambda _method, _path: False) == ""


@pytest.mark.parametrize("kind", sorted(events.KINDS))
def test_the_link_in_an_alert_leads_to_a_page(kind: str) -> None:
    """With the key manager of its SVM, and without."""
    event = Event("n", 1, datetime(2026, 3, 4, tzinfo=UTC), kind, "alert", None, (("address", "ks1:5696"),), "")
    patterns = [compile_path(page.path)[0] for page in PAGES if page.method == "GET"]
    for key_manager in ("u1", ""):
        path = page_path(event, key_manager)
        assert any(pattern.match(path) for pattern in patterns), path

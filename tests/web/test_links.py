"""The page that an item of attention leads to, if the account may open it."""

from __future__ import annotations

import pytest

from keystead.core.attention.items import Item, Severity, Subject
from keystead.web.links import item_path


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

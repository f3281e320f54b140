"""The paths of pages about one thing, and the page that an item of attention leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from keystead.core.attention.items import Subject

if TYPE_CHECKING:
    from keystead.core.attention.items import Item

KEY_SERVERS: Final = "/key-servers"
"""The path of the list of key servers."""


def key_manager_path(key_manager: str) -> str:
    """Return the path under which the pages of a key manager (uuid) are."""
    return f"/key-managers/{quote(key_manager, safe='')}"


def key_server_path(key_manager: str, address: str) -> str:
    """Return the path of a key server's page."""
    return f"{key_manager_path(key_manager)}/key-servers/{quote(address, safe=':[]')}"


def item_path(item: Item) -> str:
    """Return the path of the page about what needs somebody, empty if there is none."""
    if item.subject is Subject.KEY_SERVER and item.key_manager and item.identifier:
        return key_server_path(item.key_manager, item.identifier)
    return ""

"""The page that adds key servers, and the page that an item of attention leads to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core.attention.items import Subject
from keystead.core.console_paths import CERTIFICATES, KEY_SERVERS, key_manager_path, key_server_path, survival_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.core.attention.items import Item


def add_path(key_manager: str) -> str:
    """Return the path of the page that adds key servers to a key manager (uuid)."""
    return f"{key_manager_path(key_manager)}/key-servers/add"


_OF_ITEMS: Final[Mapping[Subject, tuple[str, Callable[[Item], str]]]] = {
    Subject.KEY_SERVER: (
        "/api/security/key-managers/-/key-servers/-",
        lambda item: key_server_path(item.key_manager, item.identifier) if item.identifier else KEY_SERVERS,
    ),
    Subject.KEYS: ("/api/security/key-managers/-/key-survival", lambda item: survival_path(item.key_manager)),
    Subject.CERTIFICATE: ("/api/security/certificates", lambda _: CERTIFICATES),
}
"""For each subject the call of the API that its page stands for, and the page's path."""


def item_path(item: Item, may: Callable[[str, str], bool]) -> str:
    """Return the path of the page about what needs somebody, empty if there is none that the account may open."""
    need, path = _OF_ITEMS.get(item.subject, ("", None))
    return path(item) if path and may("GET", need) else ""

"""The paths of the console's pages that other parts lead to. Pure."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

ACCOUNTS: Final = "/accounts"
CERTIFICATES: Final = "/certificates"
EVENTS: Final = "/events"
HEALTH: Final = "/health"
KEY_SERVERS: Final = "/key-servers"
RECOVERY: Final = "/recovery"
SURVIVAL: Final = "/survival"


def key_manager_path(key_manager: str) -> str:
    """Return the path under which the pages of a key manager (uuid) are."""
    return f"/key-managers/{quote(key_manager, safe='')}"


def key_server_path(key_manager: str, address: str) -> str:
    """Return the path of a key server's page."""
    return f"{key_manager_path(key_manager)}/key-servers/{quote(address, safe=':[]')}"


def survival_path(key_manager: str) -> str:
    """Return the path of the page about the survival of a key manager's keys."""
    return f"{key_manager_path(key_manager)}/survival"

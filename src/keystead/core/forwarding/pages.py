"""The page of the console that explains an event, for the link in its message. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from keystead.core import console_paths as paths
from keystead.core import events

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from keystead.core.model import Event


def _key_server(key_manager: str, values: Mapping[str, str]) -> str:
    return paths.key_server_path(key_manager, values["address"]) if key_manager else paths.KEY_SERVERS


def _survival(key_manager: str, _values: Mapping[str, str]) -> str:
    return paths.survival_path(key_manager) if key_manager else paths.SURVIVAL


_OF_KINDS: Final[Mapping[str, Callable[[str, Mapping[str, str]], str] | str]] = {
    events.NOT_AVAILABLE.name: _key_server,
    events.AVAILABLE.name: _key_server,
    events.EXPIRING.name: paths.CERTIFICATES,
    events.EXPIRED.name: paths.CERTIFICATES,
    events.KEY_DIFFERENT.name: _key_server,
    events.KEYS_MISSING.name: _key_server,
    events.KEYS_LOST.name: _key_server,
    events.CANARY_HIDDEN.name: _key_server,
    events.CANARY_VISIBLE.name: _key_server,
    events.SERVER_CONFIRMED.name: _key_server,
    events.SOLE_COPIES.name: _survival,
    events.NO_SOLE_COPIES.name: _survival,
    events.LISTENER_UNUSABLE.name: paths.HEALTH,
    events.NODE_COPIED.name: paths.HEALTH,
    events.INVITATION.name: paths.HEALTH,
    events.DESTRUCTION_HELD.name: paths.RECOVERY,
    events.DESTRUCTION_RELEASED.name: paths.RECOVERY,
    events.PASSWORD_RESET.name: paths.ACCOUNTS,
    events.RECOVERY_DAYS_CHANGED.name: paths.EVENTS,
    events.KEY_READER_GRANTED.name: paths.ACCOUNTS,
    events.FIRST_KEY_READ.name: paths.ACCOUNTS,
    events.MESSAGES_DROPPED.name: paths.HEALTH,
}
"""The page of each kind of event: its path, or the function that makes it of the key manager and the parameters."""


def page_path(event: Event, key_manager: str) -> str:
    """Return the path of the page that explains an event: for a kind that is not known, the list of events.

    ``key_manager`` is the uuid of the key manager of the event's SVM, empty if there is none any more. Then the path
    is that of the page about all of them.
    """
    found = _OF_KINDS.get(event.name, paths.EVENTS)
    return found if isinstance(found, str) else found(key_manager, dict(event.parameters))

"""What the page of recovery shows: which key servers hide their keys, and objects that no key accounts for. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from keystead.core.keys.away import Away

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from keystead.core.attention.key_managers import Watched
    from keystead.core.model import Svm
    from keystead.service.keys.orphans.adopt import PlacedOrphan

REASONS: Final = {
    "restored": "the database is an older one than this node has seen, as after the restore of a backup",
    "cloned": "a copy of the database went on from the same past",
    "promoted": "a replica of the database was promoted",
}
"""Why an incarnation began, in words."""


@dataclass(frozen=True, slots=True)
class HiddenServer:
    """A key server that answers and does not show our keys. ``svm`` owns the key manager, None: the cluster."""

    key_manager: str
    address: str
    svm: Svm | None
    since: datetime | None


def hidden_servers(managers: Iterable[Watched]) -> list[HiddenServer]:
    """Return the key servers that hide their keys, the longest hidden first."""
    found = []
    for each in managers:
        for server in each.servers:
            if each.survival.now.away.get(server.uuid) is Away.KEYS_HIDDEN:
                times = [seen.hidden_since for seen in each.observations if seen.key_server == server.uuid]
                since = min((time for time in times if time), default=None)
                found.append(HiddenServer(each.of.uuid, str(server.address), each.of.svm, since))
    return sorted(found, key=lambda server: (server.since is None, server.since.timestamp() if server.since else 0))


def waiting_first(objects: Iterable[PlacedOrphan]) -> list[PlacedOrphan]:
    """Return the objects that wait for somebody, the oldest first; then those that were dismissed."""
    return sorted(objects, key=lambda each: (each.of.dismissal is not None, each.of.found, each.of.name))


def reason_words(reason: str) -> str:
    """Return why an incarnation began, in words."""
    return REASONS.get(reason, reason)

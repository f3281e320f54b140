"""Outlooks of key managers whose key servers are letters, for tests of what the page of survival says."""

from __future__ import annotations

from datetime import UTC, datetime

from keystead.core.keys.away import Away
from keystead.core.keys.survival import CopyMark, KeyGroup, KeyName, survival
from keystead.core.model import KeyManager, KeyServer
from keystead.core.server_address import ServerAddress
from keystead.service.keys.reporting.survival import Outlook

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MANAGER = KeyManager("km", None, True, "client", ("ca",))
PAIRED = {"a": "a", "b": "a", "c": "c"}
DOWN, UNKNOWN = Away.NOT_RESPONDING, Away.UNKNOWN


def group(holders: str, keys: int, **marks: CopyMark) -> KeyGroup:
    """Return keys whose proven copies are on these servers; the other servers lack them unless ``marks`` say more."""
    times = dict.fromkeys(map(frozenset, holders), NOON)
    named = tuple(KeyName(f"{holders}{number}", f"{holders}-{number:02}") for number in range(keys))
    others = {name: CopyMark.MISSING for name in "abcd" if name not in holders} | marks
    return KeyGroup(frozenset(times), keys, times, named, others)


def outlook(
    names: str,
    *groups: KeyGroup,
    domain_of: dict[str, str] | None = None,
    away: dict[str, Away] | None = None,
    shared: str = "",
    **facts: object,
) -> Outlook:
    """Return the outlook of servers whose uuids are letters. ``shared`` is a secondary of the first two."""
    servers = tuple(
        KeyServer(
            name,
            "km",
            position,
            ServerAddress(f"{name}.example", 5696),
            25,
            10,
            "",
            (shared,) if shared and position < 2 else (),
        )
        for position, name in enumerate(names)
    )
    of = {name: (domain_of or {}).get(name, name) for name in names}
    gone = away or {}
    at_primary = {name: "" for name in names if name not in gone}
    given = {"readable_at": at_primary, "unlearned": frozenset(), "refusal": None, "manager": MANAGER} | facts
    return Outlook(vserver="vs1", servers=servers, domain_of=of, survival=survival(servers, of, groups, gone), **given)  # type: ignore[arg-type]

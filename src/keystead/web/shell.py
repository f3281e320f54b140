"""What stands around every page: the navigation with its counts, the account, the colours, the time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from keystead.core import console_paths as paths
from keystead.core.attention.items import Severity, Subject
from keystead.web.security import THEME_COOKIE, THEMES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keystead.core.attention.items import Item
    from keystead.web.request import PageRequest

ATTENTION: Final = "/api/support/attention"


@dataclass(frozen=True, slots=True)
class Place:
    """A place in the navigation. ``subjects`` are those whose items are counted beside it."""

    path: str
    name: str
    icon: str
    subjects: frozenset[Subject] | None = frozenset()


OF_HEALTH: Final = frozenset(
    {Subject.NODE, Subject.DISK, Subject.BACKUP, Subject.SETTING, Subject.DESTRUCTION, Subject.DESTINATION}
)
"""What is about the service itself."""

PLACES: Final = (
    Place("/", "Overview", "home", None),
    Place(paths.KEY_SERVERS, "Key servers", "server", frozenset({Subject.KEY_SERVER})),
    Place("/keys", "Keys", "key", frozenset({Subject.KEYS})),
    Place(paths.CERTIFICATES, "Certificates", "certificate", frozenset({Subject.CERTIFICATE})),
    Place(paths.SURVIVAL, "Survival", "shield"),
    Place(paths.EVENTS, "Events", "pulse"),
    Place("/audit", "Audit log", "log", frozenset({Subject.AUDIT})),
    Place("/jobs", "Jobs", "work"),
    Place(paths.RECOVERY, "Recovery", "life", frozenset({Subject.DESTRUCTION, Subject.UNCLAIMED_OBJECTS})),
    Place(paths.ACCOUNTS, "Accounts", "who"),
    Place(paths.HEALTH, "Health", "life", OF_HEALTH),
    Place("/sessions", "Sessions", "who"),
    Place("/developer", "For developers", "help"),
)
"""The navigation. ``subjects`` None counts every item."""


@dataclass(frozen=True, slots=True)
class Link:
    """A place in the navigation as one account sees it. ``count`` is how many things there need somebody."""

    place: Place
    is_here: bool
    count: int
    is_bad: bool


async def shell(request: PageRequest, here: str, items: Iterable[Item] | None = None) -> dict[str, Any]:
    """Return what the frame of a page shows. ``here`` is the page's path in the navigation.

    ``items`` are what needs somebody, if the page has read them already. Who may not read their list gets no counts. A
    page that answers a form is not live: its path cannot be read again.
    """
    if not request.may("GET", ATTENTION):
        items = []
    elif items is None:
        items = await request.services.attention.items(request.call)
    now = datetime.now(UTC)
    theme = request.http.cookies.get(THEME_COOKIE, "")
    return {
        "links": list(_links(request, here, list(items))),
        "caller": request.caller,
        "path": request.path,
        "is_live": request.http.method == "GET",
        "form_token": request.form_token,
        "may": request.may,
        "theme": theme if theme in THEMES else THEMES[0],
        "themes": THEMES,
        "now": now,
        "is_confirmed": request.is_confirmed(now),
    }


def _links(request: PageRequest, here: str, items: list[Item]) -> Iterable[Link]:
    """Yield the places that the account may open."""
    for place in PLACES:
        if not request.may_open(place.path):
            continue
        counted = [item for item in items if place.subjects is None or item.subject in place.subjects]
        severities = Counter(item.severity for item in counted)
        yield Link(place, place.path == here, len(counted), severities[Severity.CRITICAL] > 0)

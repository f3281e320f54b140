"""The times at which key servers were not available, from their events. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from keystead.core import events
from keystead.core.query.where import Condition, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from keystead.core.model import Event

BOUNDS: Final = tuple(Condition("name", Op.EQUAL, each.name) for each in (events.NOT_AVAILABLE, events.AVAILABLE))
"""The condition on the events that begin and end an outage."""

OfServer = tuple[str, str]
"""The name of an SVM, or of the cluster, and the address of its key server, as events name both."""


class Outage(NamedTuple):
    """A time during which a key server was not available for at least one node."""

    begin: datetime
    end: datetime


def outages(found: Iterable[Event], since: datetime, now: datetime) -> Mapping[OfServer, tuple[Outage, ...]]:
    """Return the outages of each key server between ``since`` and ``now``.

    ``found`` are events within :data:`BOUNDS` from that time, in any order. An outage that began earlier begins at
    ``since``, one that has not ended ends at ``now``.
    """
    by_server: dict[OfServer, list[Outage]] = {}
    lost: dict[OfServer, datetime] = {}
    heard: set[OfServer] = set()
    for event in sorted(found, key=lambda each: each.time):
        values = dict(event.parameters)
        server = values["vserver"], values["address"]
        if event.name == events.NOT_AVAILABLE.name:
            lost.setdefault(server, event.time)
        elif server in lost or server not in heard:
            by_server.setdefault(server, []).append(Outage(lost.pop(server, since), event.time))
        heard.add(server)
    for server, begin in lost.items():
        by_server.setdefault(server, []).append(Outage(begin, now))
    return {server: tuple(of_server) for server, of_server in by_server.items()}

"""The fields that say how far a destination has got. ONTAP does not have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from keystead.api.resource import OURS, Field, Group
from keystead.api.values import TEXT, TIME, integer

if TYPE_CHECKING:
    from datetime import datetime

COUNT = integer(0, 2**63 - 1)


def _time(value: datetime | None) -> str | None:
    return value.isoformat() if value else None


def delivery_fields() -> tuple[Field | Group, ...]:
    """Return the group ``delivery``."""
    rows: tuple[tuple[str, Any, str, Any], ...] = (
        (
            "failing_since",
            TIME,
            "Since when it takes no messages; left out while it does.",
            lambda of: _time(of.failing_since),
        ),
        ("reason", TEXT, "Why it takes no messages; left out while it does.", lambda of: of.reason or None),
        ("dropped", COUNT, "How many messages it never got, because too many waited.", lambda of: of.dropped),
        ("dropped_at", TIME, "When some were last dropped.", lambda of: _time(of.dropped_at)),
    )
    return (
        Group(name="delivery", help="How far it has got.", get=lambda view: view.destination.progress),
        *(
            Field(name=f"delivery.{name}", type=type_, help=help_, get=get, since=OURS)
            for name, type_, help_, get in rows
        ),
    )

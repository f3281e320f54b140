"""Attempts: when one has expired, and the names of the objects that it writes. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keystead.core.keys.names import object_name

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.keys.model import Attempt


AHEAD: Final = timedelta(minutes=12)
"""What expires later than this was begun by a node whose clock is wrong: no attempt may take so long by far."""


def is_expired(attempt: Attempt, now: datetime) -> bool:
    """Whether others may abort an attempt that is still pending, and nothing of it is on its way any more."""
    return not now < attempt.expires <= now + AHEAD


def object_names(attempt: Attempt) -> tuple[tuple[str, ...], ...]:
    """The names of the objects that an attempt may have brought to a server: one for a whole, or two for a pair."""
    name = object_name(attempt)
    return (str(name),), tuple(str(replace(name, part=part)) for part in (1, 2))

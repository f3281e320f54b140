"""The rules of attempts: when an attempt has expired, and which objects it may have written. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from keystead.core.keys.names import object_name

if TYPE_CHECKING:
    from datetime import datetime

    from keystead.core.keys.model import Attempt


AHEAD: Final = timedelta(minutes=12)
"""The longest time from now to the end of an attempt.

A later end shows that the clock of the attempt's node was wrong, because no attempt takes nearly so long.
"""


def is_expired(attempt: Attempt, now: datetime) -> bool:
    """Return True if the attempt's time is over, so that other nodes may abort it if it is pending.

    The state of the attempt is not checked. Nothing of an expired attempt is on its way to a server any more. An
    attempt also counts as expired when its end is more than :data:`AHEAD` away. Called to judge whether a copy that was
    not found may still arrive, and during a rebuild.
    """
    return not now < attempt.expires <= now + AHEAD


def object_names(attempt: Attempt) -> tuple[tuple[str, ...], ...]:
    """Return the names of the objects that the attempt may have written to a server.

    The first tuple has the name of a single object. The second tuple has the names of a pair of objects. Called when a
    server's objects are looked for by name, or an object's name is checked.
    """
    name = object_name(attempt)
    return (str(name),), tuple(str(replace(name, part=part)) for part in (1, 2))
